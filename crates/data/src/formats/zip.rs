//! Zip archives: the central directory is read once, then each file in place, inflated and verified
//! by its checksum.
//!
//! A zip bomb is refused: a file of more than [`MAX_DECODED_BYTES`], and an archive whose files
//! unpack to more than deflate can compress into its length, which takes overlapping files.

use std::io::Read;
use std::path::Path;

use flate2::read::DeflateDecoder;
use rawzip::{
    CompressionMethod, FileReader, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ZipArchive,
    ZipArchiveEntryWayfinder,
};

use super::file_store::{FileEntry, FileStore, START_BYTES, checked_name};
use super::image_files::ImageFiles;
use super::{Confidence, DetectionInput, Format, MAX_DEFLATE_RATIO, any_shape, has_extension, io};
use crate::decode::{MAX_DECODED_BYTES, one_line};
use crate::error::DataError;

const FORMAT_NAME: &str = "zip archive";

pub(crate) static FORMAT: Format = Format {
    name: "zip",
    about: "a zip archive of images",
    detect: |candidate| Ok(Confidence::Likely.when(is_zip(candidate))),
    open: |path, split, _| {
        let (files, members) = ZipFiles::open(path)?;
        Ok(Box::new(ImageFiles::open(path, Box::new(files), members, split)?))
    },
    image_shape: any_shape,
};

/// Whether a path is a zip archive, by its signature or its name.
pub(super) fn is_zip(candidate: &DetectionInput<'_>) -> bool {
    candidate.start.as_ref().is_some_and(|start| {
        [&b"PK\x03\x04"[..], b"PK\x05\x06"].iter().any(|s| start.starts_with(s))
            || has_extension(candidate.path, &["zip"])
    })
}

pub(crate) struct ZipFiles {
    archive: ZipArchive<FileReader>,
    files: Vec<ZipEntry>,
}

/// The position of a file and its compression.
struct ZipEntry {
    entry: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
    encrypted: bool,
}

impl ZipFiles {
    /// Reads the central directory.
    pub fn open(path: &Path) -> Result<(Self, Vec<FileEntry>), DataError> {
        let bad = |problem: String| DataError::malformed(FORMAT_NAME, path, problem);
        let of_library = |error: rawzip::Error| match error.into_kind() {
            rawzip::ErrorKind::IO(error) => io(path, error),
            rawzip::ErrorKind::MissingEndOfCentralDirectory => {
                bad("truncated: its table of contents, at its end, is missing".to_owned())
            }
            rawzip::ErrorKind::Eof => bad("truncated: it ends early".to_owned()),
            kind => bad(one_line(&kind)),
        };
        let file = file_io::open(path).map_err(|error| io(path, error))?;
        let length = file.metadata().map_err(|error| io(path, error))?.len();
        let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(of_library)?;
        let promised = archive.entries_hint();
        let (mut count, mut total) = (0u64, 0u64);
        let (mut members, mut files) = (Vec::new(), Vec::new());
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(of_library)? {
            count += 1;
            let raw = entry.file_path();
            let name = match std::str::from_utf8(raw.as_ref()) {
                Ok(_) => checked_name(raw.as_ref()),
                Err(_) => checked_name(from_cp437(raw.as_ref()).as_bytes()),
            };
            let name = name.map_err(bad)?;
            if entry.mode().is_symlink() {
                return Err(bad(format!("{name:?} in it is a link: pack the file itself")));
            }
            if entry.is_dir() {
                continue;
            }
            total = total.saturating_add(entry.uncompressed_size_hint());
            members.push(FileEntry { shard: 0, path: name.into_bytes(), number: files.len() });
            let encrypted = entry.flags().is_encrypted();
            files.push(ZipEntry {
                entry: entry.wayfinder(),
                method: entry.compression_method(),
                encrypted,
            });
        }
        if count != promised {
            return Err(bad(format!(
                "it declares {promised} files and its table of contents has {count}"
            )));
        }
        if total > length.saturating_mul(MAX_DEFLATE_RATIO) {
            return Err(bad(format!(
                "its files would unpack to {total} bytes, more than {length} bytes can hold: a \
                 zip bomb"
            )));
        }
        Ok((Self { archive, files }, members))
    }

    /// Calls `take` with a file's content, at most one byte more than its declared size; reading
    /// ends in an error if the length or the checksum is wrong.
    pub fn with<T>(
        &self,
        number: usize,
        take: impl FnOnce(&mut dyn Read) -> T,
    ) -> Result<T, String> {
        let ZipEntry { entry: place, method, encrypted } = &self.files[number];
        if *encrypted {
            return Err("it is encrypted".to_owned());
        }
        let entry = self.archive.get_entry(*place).map_err(|error| one_line(&error))?;
        let packed: Box<dyn Read> = match *method {
            CompressionMethod::STORE => Box::new(entry.reader()),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(entry.reader())),
            other => {
                return Err(format!(
                    "it is packed by {other:?}; only stored and deflated files are read"
                ));
            }
        };
        // One byte more than declared, so that a wrong size is detected.
        let limit = place.uncompressed_size_hint().saturating_add(1);
        Ok(take(&mut entry.verifying_reader(packed.take(limit))))
    }
}

impl FileStore for ZipFiles {
    fn format(&self) -> &'static str {
        FORMAT_NAME
    }

    fn read(&self, number: usize) -> Result<Vec<u8>, String> {
        let place = &self.files[number].entry;
        let size = place.uncompressed_size_hint();
        if size > MAX_DECODED_BYTES {
            return Err(format!("it would unpack to more than {} MiB", MAX_DECODED_BYTES >> 20));
        }
        let available = place.compressed_size_hint().saturating_mul(MAX_DEFLATE_RATIO);
        let mut bytes = Vec::with_capacity(size.min(available) as usize);
        self.with(number, |content| content.read_to_end(&mut bytes))?
            .map_err(|error| one_line(&error))?;
        Ok(bytes)
    }

    fn read_start(&self, number: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(START_BYTES);
        let read = self.with(number, |content| {
            content
                .take(START_BYTES as u64)
                .read_to_end(&mut bytes)
                .map_err(|error| one_line(&error))
        });
        read?.map(|_| bytes)
    }
}

/// The characters of the bytes from 128 on in code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙\
                     ╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A name in code page 437, which is what zip files hold unless they say that it is UTF-8. Names in
/// other code pages become other letters, but stay different from each other.
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
