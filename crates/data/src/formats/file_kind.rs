//! Which files of a folder or archive are images: by their extension; by their content where they
//! have none, or that of an image format which is not read.

use std::path::Path;

use imaging::is_signed;

use crate::decode::{has_image_extension, is_image_start};
use crate::foreign::isobmff_image;
use crate::layout_report::ARCHIVE;

/// The role of a file in a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Image,
    /// An image that this program drew or generated.
    OwnImage,
    /// An image, a video or an archive that is not read, by its format's name.
    Unread(&'static str),
    Other,
}

/// Extensions of images in formats that are read, under names that the decoders do not list; those
/// of stereoscopic and 360° cameras are JPEG.
const OTHER_NAMES: &[&str] =
    &["jpe", "jif", "jfi", "pjp", "pjpeg", "mpo", "jps", "insp", "dib", "apng", "btf"];

/// Formats that are not read, with their extensions.
const UNREAD_FORMATS: &[(&str, &[&str])] = &[
    (ARCHIVE, &["zip", "tar", "tgz", "tbz", "tbz2", "txz", "tzst", "7z", "rar"]),
    ("HEIC", &["heic", "heics", "heif", "hif"]),
    ("AVIF", &["avif", "avifs"]),
    ("JXL", &["jxl"]),
    ("JP2", &["jp2", "j2k", "jpf", "jpx", "jpm", "j2c", "jpc"]),
    ("ICO", &["ico", "cur"]),
    ("PSD", &["psd", "psb"]),
    (
        "RAW",
        &[
            "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "gpr", "iiq", "kdc",
            "mef", "mos", "mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2",
            "srf", "srw", "x3f",
        ],
    ),
    ("SVG", &["svg", "svgz"]),
    ("EPS", &["eps", "ai"]),
    ("EXR", &["exr"]),
    ("HDR", &["hdr"]),
    ("DDS", &["dds"]),
    ("XCF", &["xcf"]),
    ("PCX", &["pcx"]),
    ("JXR", &["jxr", "wdp"]),
    ("DICOM", &["dcm", "dicom"]),
    ("FITS", &["fit", "fits", "fts"]),
    ("NIfTI", &["nii"]),
    ("ICNS", &["icns"]),
    ("WMF", &["emf", "wmf"]),
    ("XPM", &["xpm"]),
    ("XBM", &["xbm"]),
    ("SGI", &["sgi"]),
    ("PFM", &["pfm"]),
    ("PICT", &["pct", "pict"]),
    ("BPG", &["bpg"]),
    ("FLIF", &["flif"]),
    ("JPEG-LS", &["jls"]),
    ("MNG", &["mng"]),
    ("KTX", &["ktx", "ktx2"]),
    (
        "video",
        &[
            "3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv",
            "vob", "webm", "wmv", "y4m",
        ],
    ),
];

/// The kind of the file called `name`; `start` reads its first bytes where they matter.
pub(super) fn file_kind(name: &str, start: impl FnOnce() -> Option<Vec<u8>>) -> FileKind {
    let extension = extension(name);
    let is = |known: &[&str]| extension.as_deref().is_some_and(|own| known.contains(&own));
    let unread =
        UNREAD_FORMATS.iter().find(|(_, extensions)| is(extensions)).map(|(format, _)| *format);
    if extension.is_some() && has_image_extension(Path::new(name)) {
        // The images that this program writes are PNG or GIF.
        return match is(&["png", "gif"]) && start().is_some_and(|start| is_signed(&start)) {
            true => FileKind::OwnImage,
            false => FileKind::Image,
        };
    }
    if extension.is_some() && unread.is_none() && !is(OTHER_NAMES) {
        return FileKind::Other;
    }
    let start = start().unwrap_or_default();
    match unread.or_else(|| isobmff_image(&start)) {
        // RAW files start like TIFF.
        Some(format)
            if !is_image(&start) || start.starts_with(b"II") || start.starts_with(b"MM") =>
        {
            FileKind::Unread(format)
        }
        _ if !is_image(&start) => FileKind::Other,
        _ if is_signed(&start) => FileKind::OwnImage,
        _ => FileKind::Image,
    }
}

/// The extension in lower case: letters, or letters and digits. `10.22.33` and `a. b` have none.
fn extension(name: &str) -> Option<String> {
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    let is_word = extension.len() <= 12
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-~".contains(&byte))
        && !extension.bytes().all(|byte| byte.is_ascii_digit());
    is_word.then_some(extension)
}

/// Whether these are the first bytes of an image. Unlike the magic numbers alone, which are two
/// letters in some formats, it does not take a text for one.
fn is_image(start: &[u8]) -> bool {
    let plausible = match start {
        // The length of the second header.
        [b'B', b'M', ..] => matches!(start.get(14..18), Some([12..=124, 0, 0, 0])),
        [b'P', b'1'..=b'7', rest @ ..] => is_pnm_header(rest),
        _ => true,
    };
    plausible && is_image_start(start)
}

/// Whether a size follows the two letters of PNM, or the first key of PAM.
fn is_pnm_header(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&rest[..rest.len().min(200)]);
    let mut words = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().split_ascii_whitespace());
    let number = |word: Option<&str>| word.is_some_and(|word| word.parse::<u32>().is_ok());
    rest.first().is_some_and(u8::is_ascii_whitespace)
        && match words.next() {
            Some("WIDTH") => true,
            word => number(word) && number(words.next()),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_decide_and_content_where_there_is_none() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
        let bmp = [&b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"[..], &[1; 20]].concat();
        let heic = b"\0\0\0\x24ftypheic";
        use FileKind::{Image, Other, Unread};
        for (name, start, wanted) in [
            ("a.png", &b"garbage"[..], Image),
            ("a.JPG", b"", Image),
            ("cars.txt", b"BMW models", Other),
            ("notes.txt", png, Other),
            ("x.json", png, Other),
            ("x.csv", &bmp, Other),
            ("cars", b"BMW models", Other),
            ("notes", b"P3 is the parking level", Other),
            ("more", b"BMI table", Other),
            ("README", b"P5 5 pictures of", Other),
            ("x", b"P5\n# a comment\n4 4\n255\n0123", Image),
            ("x", png, Image),
            ("x", &bmp, Image),
            ("frame.0001", png, Image),
            ("photo 10.22.33", png, Image),
            ("x.pjpeg", b"\xFF\xD8\xFF\xE0", Image),
            ("x.pjpeg", b"text", Other),
            ("x.HEIC", heic, Unread("HEIC")),
            ("x.heic", b"\xFF\xD8\xFF\xE0", Image),
            ("x.nef", b"MM\0*", Unread("RAW")),
            ("x.dng", b"II*\0", Unread("RAW")),
            ("x", heic, Unread("HEIC")),
            ("x", b"", Other),
            ("x.mp4", heic, Unread("video")),
            ("x.ico", b"\0\0\x01\0", Unread("ICO")),
            ("x.dat", png, Other),
            ("x.MPO", b"\xFF\xD8\xFF\xE1", Image),
            ("x.insp", b"text", Other),
            ("x.icns", b"icns", Unread("ICNS")),
            ("x.3gp", b"\0\0\0\x18ftyp3gp5", Unread("video")),
            ("more.zip", b"PK\x03\x04", Unread(ARCHIVE)),
            ("Thumbs.db", png, Other),
        ] {
            assert_eq!(file_kind(name, || Some(start.to_vec())), wanted, "{name} {start:?}");
        }
    }
}
