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
                _ => None,
            }
        })
    }

    fn by_signature(start: &[u8]) -> Option<Self> {
        let signatures: &[(usize, &[u8], Self)] = &[
            (0, b"PAR1", Self::Parquet),
            (0, b"ARROW1", Self::Arrow),
            (0, b"\x93NUMPY", Self::Npy),
            (0, b"\x89HDF\r\n\x1A\n", Self::Hdf5),
            // After MATLAB's own header.
            (512, b"\x89HDF\r\n\x1A\n", Self::Hdf5),
            (0, &[0x0A, 0x23, 0xD7, 0xCE], Self::RecordIo),
            (0, b"7z\xBC\xAF\x27\x1C", Self::SevenZip),
            (0, b"Rar!\x1A\x07", Self::Rar),
            (0, &[0x04, 0x22, 0x4D, 0x18], Self::Compressed),
            (0, b"LZIP\x01", Self::Compressed),
            (0, &[0x5D, 0, 0, 0x80, 0, 0xFF], Self::Compressed),
            (0, &[0x1F, 0x9D], Self::Compressed),
            (0, b"SQLite format 3\0", Self::Sqlite),
            (0, b"%PDF-", Self::Pdf),
            (0, b"version https://git-lfs.github.com/spec/", Self::LfsPointer),
            // Matroska and WebM, Flash, Ogg, MPEG, Windows Media, AVI, QuickTime.
            (0, &[0x1A, 0x45, 0xDF, 0xA3], Self::Video),
            (0, b"FLV\x01", Self::Video),
            (0, b"OggS", Self::Video),
            (0, &[0, 0, 1, 0xBA], Self::Video),
            (0, &[0, 0, 1, 0xB3], Self::Video),
            (0, &[0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11], Self::Video),
            (8, b"AVI LIST", Self::Video),
            (4, b"moov", Self::Video),
            (4, b"mdat", Self::Video),
            (4, b"wide", Self::Video),
            // PyTorch before version 1.6.
            (0, b"\x80\x02\x8A\nl\xFC\x9CF\xF9 j\xA8P\x19", Self::PyTorch),
        ];
        let matches = |&&(at, bytes, _): &&(usize, &[u8], Self)| {
            start.get(at..).is_some_and(|rest| rest.starts_with(bytes))
        };
        signatures.iter().find(matches).map(|&(.., format)| format)
    }

    fn by_structure(start: &[u8]) -> Option<Self> {
        let head = |length| start.get(..length);
        if head(4) == Some(b"PK\x03\x04") {
            // The name of a zip archive's first file.
            let length = usize::from(u16::from_le_bytes([*start.get(26)?, *start.get(27)?]));
            let name = start.get(30..30 + length)?;
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
            let brand = start.get(8..12)?;
            let image = [&b"heic"[..], b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"];
            return Some(if image.contains(&brand) { Self::Heif } else { Self::Video });
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
