//! Formats that are known and not read, so that an error can name them.

use std::fmt;
use std::path::Path;

/// A format of datasets, models or downloads that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignFormat {
    /// Apache Parquet, in which Hugging Face stores datasets.
    Parquet,
    /// Apache Arrow or Feather, in which Hugging Face caches datasets.
    Arrow,
    /// An array of NumPy.
    Npy,
    /// A zip archive of NumPy's arrays.
    Npz,
    /// HDF5, or MATLAB's files of version 7.3.
    Hdf5,
    /// TensorFlow's records.
    TfRecord,
    /// MXNet's records.
    RecordIo,
    /// FFCV's datasets.
    Beton,
    /// A pickled Python object, such as CIFAR's Python version.
    Pickle,
    /// Weights or other objects that PyTorch saved.
    PyTorch,
    /// Weights in the safetensors format.
    Safetensors,
    /// A 7-Zip archive.
    SevenZip,
    /// A RAR archive.
    Rar,
    /// A file compressed by a program that is not read: lz4, lzip, lzma, compress.
    Compressed,
    /// A file compressed by a program that is read, which holds no tar archive.
    CompressedFile,
    /// A text, such as a list or a table of images.
    Text,
    /// A video.
    Video,
    /// An SQLite database.
    Sqlite,
    /// A PDF document.
    Pdf,
    /// An SVG drawing.
    Svg,
    /// A HEIC or AVIF image.
    Heif,
    /// A web page or the error of a server, which was saved in the place of a download.
    WebPage,
    /// A Git LFS pointer, which stands for a file that was not fetched.
    LfsPointer,
}

/// The signature of HDF5.
const HDF5: &[u8] = b"\x89HDF\r\n\x1A\n";

impl fmt::Display for ForeignFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "a Parquet file",
            Self::Arrow => "an Arrow file",
            Self::Npy => "a NumPy array (npy)",
            Self::Npz => "an archive of NumPy arrays (npz)",
            Self::Hdf5 => "an HDF5 file",
            Self::TfRecord => "a TFRecord file",
            Self::RecordIo => "a RecordIO file of MXNet",
            Self::Beton => "an FFCV dataset",
            Self::Pickle => "a Python pickle",
            Self::PyTorch => "a PyTorch file of weights",
            Self::Safetensors => "a safetensors file of weights",
            Self::SevenZip => "a 7-Zip archive",
            Self::Rar => "a RAR archive",
            Self::Compressed => "a compressed file (lz4, lzip, lzma or compress)",
            Self::CompressedFile => "a compressed file that holds no tar archive",
            Self::Text => "a text file",
            Self::Video => "a video",
            Self::Sqlite => "an SQLite database",
            Self::Pdf => "a PDF document",
            Self::Svg => "an SVG drawing",
            Self::Heif => "a HEIC or AVIF image",
            Self::WebPage => "a web page or a server's error, not the file that was to be fetched",
            Self::LfsPointer => "a Git LFS pointer, not the file itself",
        })
    }
}

impl ForeignFormat {
    /// The format of a file with these first bytes (1024 are enough) and this name.
    pub(crate) fn of(start: &[u8], name: &Path) -> Option<Self> {
        Self::by_signature(start).or_else(|| Self::by_structure(start)).or_else(|| {
            // Formats without a signature in all versions.
            let extension = name.extension()?.to_str()?.to_ascii_lowercase();
            match extension.as_str() {
                "arrow" | "feather" if start.starts_with(&[0xFF; 4]) => Some(Self::Arrow),
                "beton" => Some(Self::Beton),
                "pkl" | "pickle" => Some(Self::Pickle),
                _ => None,
            }
        })
    }

    fn by_signature(start: &[u8]) -> Option<Self> {
        let signatures: &[(Self, &[&[u8]])] = &[
            (Self::Parquet, &[b"PAR1"]),
            (Self::Arrow, &[b"ARROW1", b"FEA1"]),
            (Self::Npy, &[b"\x93NUMPY"]),
            (Self::Hdf5, &[HDF5]),
            (Self::RecordIo, &[b"\x0A\x23\xD7\xCE"]),
            (Self::SevenZip, &[b"7z\xBC\xAF\x27\x1C"]),
            (Self::Rar, &[b"Rar!\x1A\x07"]),
            (
                Self::Compressed,
                &[b"\x04\x22\x4D\x18", b"LZIP\x01", b"\x5D\0\0\x80\0\xFF", b"\x1F\x9D"],
            ),
            (Self::Sqlite, &[b"SQLite format 3\0"]),
            (Self::Pdf, &[b"%PDF-"]),
            (Self::LfsPointer, &[b"version https://git-lfs.github.com/spec/"]),
            // Matroska and WebM, Flash, Ogg, MPEG (two).
            (
                Self::Video,
                &[b"\x1A\x45\xDF\xA3", b"FLV\x01", b"OggS", b"\0\0\x01\xBA", b"\0\0\x01\xB3"],
            ),
            // Windows Media.
            (Self::Video, &[b"\x30\x26\xB2\x75\x8E\x66\xCF\x11"]),
            // PyTorch before version 1.6.
            (Self::PyTorch, &[b"\x80\x02\x8A\nl\xFC\x9CF\xF9 j\xA8P\x19"]),
        ];
        let starts = |known: &[&[u8]]| known.iter().any(|bytes| start.starts_with(bytes));
        if let Some((format, _)) = signatures.iter().find(|(_, known)| starts(known)) {
            return Some(*format);
        }
        let is_at =
            |at: usize, bytes: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(bytes));
        // QuickTime, after the length of its first part.
        let is_quicktime = [b"moov", b"mdat", b"wide"].into_iter().any(|kind| is_at(4, kind));
        // HDF5 after MATLAB's own header.
        if is_at(512, HDF5) {
            Some(Self::Hdf5)
        } else if is_quicktime || is_at(8, b"AVI LIST") {
            Some(Self::Video)
        } else {
            None
        }
    }

    fn by_structure(start: &[u8]) -> Option<Self> {
        let head = |length| start.get(..length);
        if head(4) == Some(b"PK\x03\x04") {
            let name = first_in_zip(start)?;
            return if name.ends_with(b".npy") {
                Some(Self::Npz)
            } else if name.ends_with(b"/data.pkl")
                || name.ends_with(b"/.format_version")
                || name.ends_with(b"/byteorder")
            {
                Some(Self::PyTorch)
            } else {
                None
            };
        }
        if start.get(4..8) == Some(b"ftyp") {
            start.get(8..12)?;
            return Some(isobmff_image(start).map_or(Self::Video, |_| Self::Heif));
        }
        // A record's length is followed by its masked checksum.
        if let (Some(length), Some(sum)) = (head(8), start.get(8..12))
            && crc32c::crc32c(length).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
                == *sum
        {
            return Some(Self::TfRecord);
        }
        if start.get(8..10) == Some(b"{\"") && start.get(3..8) == Some(&[0; 5]) {
            return Some(Self::Safetensors);
        }
        // Protocols 2 to 5, then a frame, or an empty dictionary, list or tuple, or a class.
        if let [0x80, 2..=5, 0x95 | b'}' | b']' | b')' | b'c' | b'(', ..] = start {
            return Some(Self::Pickle);
        }
        let text = String::from_utf8_lossy(start);
        let text = text.trim_start_matches('\u{FEFF}').trim_start().to_ascii_lowercase();
        let xml = text.starts_with("<?xml");
        if text.starts_with("<svg") || xml && text.contains("<svg") {
            return Some(Self::Svg);
        }
        let page = ["<!doctype html", "<html", "<head", "<body"];
        let is_page = page.iter().any(|tag| text.starts_with(tag));
        (is_page || xml && (text.contains("<error>") || text.contains("<html")))
            .then_some(Self::WebPage)
    }
}

/// The name of the first file of a zip archive that starts with these bytes.
pub(crate) fn first_in_zip(start: &[u8]) -> Option<&[u8]> {
    let length = u16::from_le_bytes([*start.get(26)?, *start.get(27)?]);
    start.get(30..30 + usize::from(length))
}

/// The format of an image in the ISO base media file format.
pub(crate) fn isobmff_image(start: &[u8]) -> Option<&'static str> {
    match start.get(4..12)? {
        [b'f', b't', b'y', b'p', brand @ ..] => match brand {
            b"heic" | b"heix" | b"mif1" | b"msf1" | b"hevc" => Some("HEIC"),
            b"avif" | b"avis" => Some("AVIF"),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        let zip = |name: &[u8]| {
            [&b"PK\x03\x04"[..], &[0; 22], &[name.len() as u8, 0, 0, 0], name, &[0; 40]].concat()
        };
        // The masked CRC-32C of a length of 7.
        const TFRECORD_SUM: [u8; 4] = [0xBB, 0xD7, 0x9F, 0x11];
        let record = [&7u64.to_le_bytes()[..], &TFRECORD_SUM, b"content"].concat();
        let cases: [(&[u8], ForeignFormat); 17] = [
            (b"PAR1\x15\x04", ForeignFormat::Parquet),
            (b"\x93NUMPY\x01\0", ForeignFormat::Npy),
            (&zip(b"arr_0.npy"), ForeignFormat::Npz),
            (&zip(b"archive/data.pkl"), ForeignFormat::PyTorch),
            (b"\x80\x02\x8A\nl\xFC\x9CF\xF9 j\xA8P\x19.", ForeignFormat::PyTorch),
            (b"\x80\x02}q\x01(U\x0Bbatch_label", ForeignFormat::Pickle),
            (b"\x80\x04\x95\x10\0\0\0\0\0\0\0", ForeignFormat::Pickle),
            (b"\x89HDF\r\n\x1A\n\0", ForeignFormat::Hdf5),
            (&record, ForeignFormat::TfRecord),
            (b"7z\xBC\xAF\x27\x1C\0\x04", ForeignFormat::SevenZip),
            (b"Rar!\x1A\x07\x01\0", ForeignFormat::Rar),
            (b"\0\0\0\x20ftypisom\0\0\x02\0", ForeignFormat::Video),
            (b"\0\0\0\x24ftypheic\0\0\0\0", ForeignFormat::Heif),
            (b"\n <!DOCTYPE html><title>Sign in", ForeignFormat::WebPage),
            (b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied", ForeignFormat::WebPage),
            (b"version https://git-lfs.github.com/spec/v1\noid ", ForeignFormat::LfsPointer),
            (b"\x58\0\0\0\0\0\0\0{\"__metadata__\"", ForeignFormat::Safetensors),
        ];
        for (start, format) in cases {
            assert_eq!(ForeignFormat::of(start, Path::new("x")), Some(format));
        }
        let others: [&[u8]; 5] =
            [&zip(b"cat/1.png"), b"\x89PNG\r\n\x1A\n", &[0; 1024], b"", &[0, 0, 8, 3, 0, 0, 0, 9]];
        for start in others {
            assert_eq!(ForeignFormat::of(start, Path::new("x.zip")), None, "{start:?}");
        }
    }
}
