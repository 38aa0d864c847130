//! The signature in image files that this program draws or generates: they are distinguished by it
//! from photographs when a folder is read as a dataset.

/// The program's name, with which a signature starts.
const SOFTWARE: &str = "dcgan";

/// The keyword of the PNG text that holds the signature.
pub const SOFTWARE_KEYWORD: &str = "Software";

/// The signature of a version of the program: PNG's text `Software`, GIF's comment.
///
/// ```
/// assert_eq!(imaging::signature("1.2"), "dcgan 1.2");
/// ```
pub fn signature(version: &str) -> String {
    format!("{SOFTWARE} {version}")
}

/// Whether the first bytes of a PNG or GIF file (a kilobyte is enough) have the signature.
///
/// ```
/// let gif = b"GIF89a\x01\0\x01\0\0\0\0\x21\xFE\x09dcgan 1.2\0";
/// assert!(imaging::is_signed(gif));
/// assert!(!imaging::is_signed(b"GIF89a\x01\0\x01\0\0\0\0\x21\xFE\x05hello\0"));
/// ```
pub fn is_signed(start: &[u8]) -> bool {
    let name = format!("{SOFTWARE} ");
    if start.starts_with(b"\x89PNG\r\n\x1a\n") {
        let text = [b"tEXt", SOFTWARE_KEYWORD.as_bytes(), b"\0", name.as_bytes()].concat();
        return contains(start, &text);
    }
    let is_comment = |part: &[u8]| part.starts_with(b"\x21\xFE") && part[3..] == *name.as_bytes();
    start.starts_with(b"GIF8") && start.windows(3 + name.len()).any(is_comment)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
