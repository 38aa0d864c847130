//! Tar archives, the shards of WebDataset: the headers are read once, then each file from its place.
//!
//! A gzipped one has no places to read from. It is unpacked into memory once, up to [`MAX_UNPACKED_BYTES`]; what is larger
//! is better kept as a plain tar or a zip archive, since images are packed already.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use rawzip::{FileReader, ReaderAt as _};
use tar::{Archive, Entry};

use super::archive::{ArchiveSource, Container, Member, checked_name};
use super::io as io_error;
use crate::dataset::CACHE_BYTES;
use crate::decode::{MAX_DECODED_BYTES, one_line};
use crate::error::DataError;
use crate::spec::Split;

/// A gzipped archive may unpack to so much.
const MAX_UNPACKED_BYTES: u64 = CACHE_BYTES;

const FORMAT: &str = "tar archive";
const BLOCK: u64 = 512;

/// Files of a plain tar, at their places.
struct TarFiles {
    file: FileReader,
    /// Offset and length.
    places: Vec<(u64, u64)>,
}

/// Files of a gzipped tar, in memory.
struct TarContents(Vec<Vec<u8>>);

/// Opens the images of `split` in a tar archive.
pub(super) fn open(path: &Path, split: Split) -> Result<ArchiveSource, DataError> {
    let as_io = |error| io_error(path, error);
    let bad = |problem: String| DataError::bad(FORMAT, path, problem);
    let file = File::open(path).map_err(as_io)?;
    let length = file.metadata().map_err(as_io)?.len();
    if length % BLOCK != 0 {
        return Err(bad(format!("truncated: {length} bytes are not a whole number of blocks of {BLOCK}")));
    }
    let mut archive = Archive::new(&file);
    let (mut members, mut places) = (Vec::new(), Vec::new());
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(as_io)? {
        let entry = entry.map_err(|error| bad(problem(&error)))?;
        let (start, size) = (entry.raw_file_position(), entry.size());
        end = start.saturating_add(size);
        if end > length {
            return Err(bad(format!("truncated: it ends inside {:?}", String::from_utf8_lossy(&entry.path_bytes()))));
        }
        let Some(name) = file_name(&entry).map_err(bad)? else { continue };
        members.push(Member { name, number: places.len() });
        places.push((start, size));
    }
    let file = FileReader::from(file);
    // Zeros mark the end; without them there may have been more files.
    let mut mark = [1; BLOCK as usize];
    if file.read_exact_at(&mut mark, end.next_multiple_of(BLOCK)).is_err() || mark != [0; BLOCK as usize] {
        return Err(bad("truncated: the zeros that mark its end are missing".to_owned()));
    }
    ArchiveSource::new(path, Box::new(TarFiles { file, places }), members, split)
}

/// Opens the images of `split` in a gzipped tar archive.
pub(super) fn open_gzipped(path: &Path, split: Split) -> Result<ArchiveSource, DataError> {
    let bad = |problem: String| DataError::bad("tar.gz archive", path, problem);
    let file = File::open(path).map_err(|error| io_error(path, error))?;
    let stream = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file)).take(MAX_UNPACKED_BYTES);
    let mut archive = Archive::new(stream);
    let (mut members, mut contents) = (Vec::new(), Vec::new());
    for entry in archive.entries().map_err(|error| io_error(path, error))? {
        let mut entry = entry.map_err(|error| bad(problem(&error)))?;
        let Some(name) = file_name(&entry).map_err(bad)? else { continue };
        // Grows as it is read, so that a lying size costs nothing.
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| bad(problem(&error)))?;
        if (content.len() as u64) < entry.size() {
            return Err(bad(format!("it ends inside {name:?}, or unpacks to more than {} MiB", MAX_UNPACKED_BYTES >> 20)));
        }
        content.shrink_to_fit();
        members.push(Member { name, number: contents.len() });
        contents.push(content);
    }
    let mut rest = archive.into_inner();
    // Reading on to the end has gzip verify its checksum.
    io::copy(&mut rest, &mut io::sink()).map_err(|error| bad(problem(&error)))?;
    if rest.limit() == 0 {
        return Err(bad(format!(
            "it unpacks to more than {} MiB: gunzip it, a plain .tar may be larger",
            MAX_UNPACKED_BYTES >> 20
        )));
    }
    ArchiveSource::new(path, Box::new(TarContents(contents)), members, split)
}

/// The name of a file; `None` for a folder or what only describes the archive.
fn file_name<R: Read>(entry: &Entry<'_, R>) -> Result<Option<String>, String> {
    let name = checked_name(&entry.path_bytes())?;
    let kind = entry.header().entry_type();
    if kind.is_file() || kind.is_contiguous() {
        return Ok(Some(name));
    }
    if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
        return Ok(None);
    }
    if kind.is_symlink() || kind.is_hard_link() {
        return Err(format!("{name:?} in it is a link: pack the file itself (tar --dereference --hard-dereference)"));
    }
    Err(format!("{name:?} in it is neither a file nor a folder (type {:?})", char::from(kind.as_byte())))
}

/// What the library says went wrong with the archive.
fn problem(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "truncated: it ends early".to_owned(),
        _ => format!("damaged: {}", one_line(error)),
    }
}

impl Container for TarFiles {
    fn format(&self) -> &'static str {
        FORMAT
    }

    fn read(&self, number: usize) -> Result<Vec<u8>, String> {
        let (start, size) = self.places[number];
        if size > MAX_DECODED_BYTES {
            return Err(format!("the file has more than {} MiB", MAX_DECODED_BYTES >> 20));
        }
        // Opening saw that the archive is long enough.
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, start).map_err(|error| one_line(&error))?;
        Ok(bytes)
    }
}

impl Container for TarContents {
    fn format(&self) -> &'static str {
        "tar.gz archive"
    }

    fn read(&self, number: usize) -> Result<Vec<u8>, String> {
        match self.0.get(number) {
            Some(content) if content.len() as u64 <= MAX_DECODED_BYTES => Ok(content.clone()),
            Some(_) => Err(format!("the file has more than {} MiB", MAX_DECODED_BYTES >> 20)),
            None => Err("it is no longer in memory".to_owned()),
        }
    }

    fn forget(&mut self) {
        self.0 = Vec::new();
    }
}
