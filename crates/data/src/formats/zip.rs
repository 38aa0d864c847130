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

use super::compression::Compression;
use super::file_store::{FileEntry, FileStore, START_BYTES, checked_name};
use super::image_files::ImageFiles;
use super::{
    Confidence, DetectionInput, Format, MAX_DEFLATE_RATIO, any_shape, has_extension, io,
    read_start, tar,
};
use crate::decode::{MAX_DECODED_BYTES, one_line};
use crate::error::{DataError, EntryProblem, FileProblem};

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

/// Whether a path is a zip archive, by its signature, or by its name where its start is not that of
/// a tar archive.
pub(super) fn is_zip(candidate: &DetectionInput<'_>) -> bool {
    candidate.start.as_ref().is_some_and(|start| {
        let is_tar = || tar::is_tar_start(start) || Compression::of(start).is_some();
        is_signed(start) || has_extension(candidate.path, &["zip"]) && !is_tar()
    })
}

fn is_signed(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
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
        let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, path, problem);
        let is_signed = is_signed(&read_start(path)?);
        let of_library = |error: rawzip::Error| match error.into_kind() {
            rawzip::ErrorKind::IO(error) => io(path, error),
            rawzip::ErrorKind::MissingEndOfCentralDirectory if !is_signed => {
                bad(FileProblem::Damaged("it neither starts nor ends as one".to_owned()))
            }
            rawzip::ErrorKind::MissingEndOfCentralDirectory => {
                let problem = "its table of contents, at its end, is missing".to_owned();
                bad(FileProblem::Truncated(problem))
            }
            rawzip::ErrorKind::Eof => bad(FileProblem::Truncated("it ends early".to_owned())),
            kind => bad(FileProblem::Other(one_line(&kind))),
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
            let name = checked_name(entry.file_path().as_ref()).map_err(bad)?;
            if entry.mode().is_symlink() {
                return Err(bad(FileProblem::Entry { name, problem: EntryProblem::Link }));
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
            return Err(bad(FileProblem::Damaged(format!(
                "it declares {promised} files and its table of contents has {count}"
            ))));
        }
        if total > length.saturating_mul(MAX_DEFLATE_RATIO) {
            return Err(bad(FileProblem::TooLarge(format!(
                "its files would unpack to {total} bytes, more than {length} bytes can hold: a \
                 zip bomb"
            ))));
        }
        Ok((Self { archive, files }, members))
    }

    /// Where a file is: its offset if it is stored as it is, its length in the archive, and its
    /// length.
    pub fn place(&self, number: usize) -> Result<(Option<u64>, u64, u64), String> {
        let ZipEntry { entry, method, encrypted } = &self.files[number];
        let (packed, size) = (entry.compressed_size_hint(), entry.uncompressed_size_hint());
        if *method != CompressionMethod::STORE || *encrypted || packed != size {
            return Ok((None, packed, size));
        }
        let found = self.archive.get_entry(*entry).map_err(|error| one_line(&error))?;
        Ok((Some(found.compressed_data_range().0), packed, size))
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
            return Err("it is encrypted: unpack it with its password".to_owned());
        }
        let entry = self.archive.get_entry(*place).map_err(|error| one_line(&error))?;
        let packed: Box<dyn Read> = match *method {
            CompressionMethod::STORE => Box::new(entry.reader()),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(entry.reader())),
            other => {
                return Err(format!(
                    "it is packed by method {other}, and only stored and deflated files are read: \
                     repack it"
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
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size.min(available) as usize).map_err(|error| one_line(&error))?;
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
