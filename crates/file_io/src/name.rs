//! Names found in data as names of files.

use std::collections::HashSet;

/// The longest file name in bytes: file systems allow 255, and temporary names add to it.
const MAX_BYTES: usize = 200;

/// Turns a name found in data, such as that of a class, into the name of one file: without
/// separators, control characters and what some file system rejects, neither `.` nor `..` nor
/// hidden, not empty, at most 200 bytes.
///
/// ```
/// assert_eq!(file_io::file_name("T-shirt/top"), "T-shirt-top");
/// assert_eq!(file_io::file_name(".."), "--");
/// assert_eq!(file_io::file_name("../run"), "---run");
/// ```
#[must_use]
pub fn file_name(name: &str) -> String {
    let plain = |c: char| match c {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
        c if is_unprintable(c) => '-',
        c => c,
    };
    let name: String = name.chars().map(plain).collect();
    let mut name = shortened(&name, MAX_BYTES).to_owned();
    // A leading dot hides a file, and Windows drops a dot or space at the end.
    let start = name.len() - name.trim_start_matches(['.', ' ']).len();
    let end = name.trim_end_matches(['.', ' ']).len();
    name = name
        .char_indices()
        .map(|(at, c)| if (at < start || at >= end) && matches!(c, '.' | ' ') { '-' } else { c })
        .collect();
    if name.is_empty() || is_device(&name) {
        name.insert(0, '-');
    }
    name
}

/// [`file_name`] of each name, all different, also where a file system ignores case: a later equal
/// one gets a number.
///
/// ```
/// assert_eq!(file_io::file_names(["a/b", "a-b", "A?B"]), ["a-b", "a-b-2", "A-B-3"]);
/// ```
pub fn file_names<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut taken = HashSet::new();
    let unique = |name: T| {
        let plain = file_name(name.as_ref());
        let mut unique = plain.clone();
        let mut count = 1;
        while !taken.insert(unique.to_lowercase()) {
            count += 1;
            let number = format!("-{count}");
            unique = shortened(&plain, MAX_BYTES - number.len()).to_owned() + &number;
        }
        unique
    };
    names.into_iter().map(unique).collect()
}

/// Whether a terminal may act on the character instead of showing it: control characters (C0, DEL
/// and C1), marks that reorder the text, and separators of lines.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The longest start of `text` that has at most `most` bytes.
pub(crate) fn shortened(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// Whether Windows takes the name for a device.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL")
        || ["COM", "LPT"].iter().any(|port| {
            stem.strip_prefix(port).is_some_and(|digit| {
                digit.len() == 1 && digit.bytes().all(|byte| byte.is_ascii_digit())
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Component, Path};

    #[test]
    fn a_name_is_one_component() {
        let long = "ü".repeat(300);
        let names = [
            "",
            ".",
            "..",
            "...",
            "/",
            "\\",
            "../x",
            "..\\x",
            "/etc/passwd",
            "C:\\x",
            "C:x",
            "a\0b",
            "a\nb",
            "\u{1b}[2J",
            "\u{9b}31m",
            "\u{202e}gpj.exe",
            " ",
            "x.",
            "x ",
            ".hidden",
            "nul",
            "COM1.txt",
            "a:b",
            &long,
        ];
        for name in names {
            let file = file_name(name);
            let parts: Vec<_> = Path::new(&file).components().collect();
            assert!(matches!(parts[..], [Component::Normal(_)]), "{name:?} became {file:?}");
            assert!((1..=MAX_BYTES).contains(&file.len()), "{name:?} became {file:?}");
            assert!(!file.contains(is_unprintable), "{name:?} became {file:?}");
            assert!(!file.starts_with('.') && !file.ends_with(['.', ' ']), "{file:?}");
        }
        for name in ["cat", "T-shirt", "naïve", "犬", "a b", "v1.5", "no", "COMet"] {
            assert_eq!(file_name(name), name);
        }
    }

    #[test]
    fn names_stay_different() {
        let long = "x".repeat(300);
        let names = ["..", "//", "--", "Cat", "cat", "cat-2", &long, &long, ""];
        let files = file_names(names);
        let different: HashSet<String> = files.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(different.len(), names.len(), "{files:?}");
        assert!(files.iter().all(|name| name.len() <= MAX_BYTES), "{files:?}");
    }
}
