//! The files of a folder or an archive: their paths, and access to their contents.

use std::path::{Path, PathBuf};

use crate::error::{EntryProblem, FileProblem};

/// The bytes that [`FileStore::read_start`] returns at most.
pub(super) const START_BYTES: usize = 1024;

/// Access to the contents of files, which folders, zip and tar archives implement.
pub(super) trait FileStore: Send + Sync {
    /// The format's name, for messages.
    fn format(&self) -> &'static str;

    /// The content of a file, at most [`MAX_DECODED_BYTES`](crate::MAX_DECODED_BYTES).
    fn read(&self, number: usize) -> Result<Vec<u8>, String>;

    /// The first [`START_BYTES`] of a file.
    fn read_start(&self, number: usize) -> Result<Vec<u8>, String>;

    /// The path of a file in the folder, if it is a folder.
    fn file(&self, _number: usize) -> Option<&Path> {
        None
    }

    /// The path of a file on disk, if it is one.
    fn full_path(&self, _number: usize) -> Option<PathBuf> {
        None
    }

    /// Frees the memory that only `read` needs, and returns its bytes.
    fn drop_cache(&mut self) -> u64 {
        0
    }
}

/// A file in a folder or an archive.
#[derive(Debug)]
pub(crate) struct FileEntry {
    /// The index of its archive, where several archives are one dataset.
    pub shard: u32,
    /// The file's path inside the folder or archive, with `/` between the components.
    pub path: Vec<u8>,
    /// The file's index in the store.
    pub number: usize,
}

impl FileEntry {
    /// The path for messages, with replacement characters for what is not UTF-8.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// The path of a file in an archive, with `/` between its components; one that is not UTF-8 is read
/// in code page 437. The error is the reason for which an archive with such a path is refused.
///
/// Nothing is written under these paths, but a malicious archive must not become training data.
pub(crate) fn checked_name(bytes: &[u8]) -> Result<String, FileProblem> {
    let shown = match std::str::from_utf8(bytes) {
        Ok(name) => name.to_owned(),
        Err(_) => from_cp437(bytes),
    };
    let refuse = |problem| Err(FileProblem::Entry { name: shown.clone(), problem });
    let name = shown.replace('\\', "/");
    let drive = name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic();
    if name.starts_with('/') || drive {
        return refuse(EntryProblem::Absolute);
    }
    if name.split('/').any(|part| part == "..") {
        return refuse(EntryProblem::LeadsOut);
    }
    if name.contains('\0') {
        return refuse(EntryProblem::ZeroByte);
    }
    Ok(clean_path(&name))
}

/// Whether a file or folder is hidden, by its name: dot files, and folders that systems add to
/// archives (macOS) and disks (Windows, Linux, network storage), with previews or deleted files.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    const ADDED: [&[u8]; 6] = [
        b"__MACOSX",
        b"$RECYCLE.BIN",
        b"System Volume Information",
        b"lost+found",
        b"@eaDir",
        b"#recycle",
    ];
    name.starts_with(b".") || ADDED.contains(&name)
}

/// A relative path without `.` and empty components, with `/` between the others.
pub(crate) fn clean_path(path: &str) -> String {
    path.split(['/', '\\'])
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/")
}

/// The characters of the bytes from 128 on in code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙\
                     ╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A name in code page 437, which is what zip files hold unless they say that it is UTF-8. Names in
/// other encodings become other letters, but stay different from each other.
fn from_cp437(bytes: &[u8]) -> String {
    let high: Vec<char> = CP437.chars().collect();
    let character = |&byte: &u8| match byte.checked_sub(128) {
        Some(index) => high[usize::from(index)],
        None => char::from(byte),
    };
    bytes.iter().map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_cp437_have_a_letter_for_each_byte() {
        assert_eq!(CP437.chars().count(), 128);
        assert_eq!(from_cp437(b"caf\x82/\x81\xe1.png"), "café/üß.png");
        assert_eq!(from_cp437(&[0x80, 0xff, b'a']), "Ç\u{a0}a");
    }
}
