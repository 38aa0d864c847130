//! Tar archives, the shards of WebDataset: the headers are read once, then each file in place. A
//! folder of archives is one dataset, shard after shard.
//!
//! A compressed archive cannot be read at random positions. It is unpacked into memory once, up to
//! [`MAX_UNPACKED_BYTES`]; a larger one is better stored as a plain tar or a zip archive, since
//! images are compressed already.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rawzip::{FileReader, ReaderAt as _};
use tar::{Archive, Entry};

use super::compression::Compression;
use super::file_store::{FileEntry, FileStore, START_BYTES, checked_name, is_hidden};
use super::image_files::ImageFiles;
use super::split_name::split_of;
use super::{
    Confidence, DetectionInput, Format, MAX_DEFLATE_RATIO, MAX_UNPACKED_BYTES, any_shape,
    has_extension, io as io_error, read_start,
};
use crate::decode::{MAX_DECODED_BYTES, has_image_extension, one_line};
use crate::error::{DataError, EntryProblem, FileProblem};
use crate::source::Split;

const FORMAT_NAME: &str = "tar archive";
const BLOCK: u64 = 512;

pub(crate) static FORMAT: Format = Format {
    name: "tar",
    about: "a tar archive of images, plain or compressed (gzip, bzip2, xz, Zstandard), or a folder \
            of plain ones (WebDataset)",
    detect,
    open: |path, split, _| {
        let compression = match path.is_dir() {
            true => None,
            false => Compression::of(&read_start(path)?),
        };
        Ok(Box::new(match compression {
            Some(compression) => open_compressed(path, split, compression, MAX_UNPACKED_BYTES)?,
            None => open(path, split)?,
        }))
    },
    image_shape: any_shape,
};

fn detect(candidate: &DetectionInput<'_>) -> Result<Option<Confidence>, DataError> {
    let path = candidate.path;
    let Some(start) = &candidate.start else {
        return Ok(Confidence::Likely.when(holds_only_shards(path)?));
    };
    let short = ["tar", "tgz", "tbz", "tbz2", "txz", "tzst"];
    let named = has_extension(path, &short)
        || has_extension(path, &["gz", "bz2", "xz", "zst"])
            && path.file_stem().is_some_and(|stem| has_extension(Path::new(stem), &["tar"]));
    let unpacked = match Compression::of(start) {
        Some(compression) => unpack_start(path, compression),
        None => start.clone(),
    };
    Ok(Confidence::Likely.when(named || is_tar_start(&unpacked)))
}

/// Whether these are the first bytes of a tar archive.
pub(super) fn is_tar_start(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// The first bytes of a compressed file's content, at most a tar header.
fn unpack_start(path: &Path, compression: Compression) -> Vec<u8> {
    let mut unpacked = Vec::new();
    if let Ok(file) = file_io::open(path) {
        // The bytes before an error are kept.
        let _ = compression.unpack(file).take(512).read_to_end(&mut unpacked);
    }
    unpacked
}

/// Files of plain tars, by offset.
struct TarFiles {
    shards: Vec<PathBuf>,
    places: Vec<TarEntry>,
}

struct TarEntry {
    shard: u32,
    start: u64,
    size: u64,
}

/// Files of a compressed tar, in memory.
struct TarContents {
    format: &'static str,
    /// `None` for one that is too large to be an image.
    files: Vec<Option<Vec<u8>>>,
}

/// Opens the images of `split` in a tar archive, or in the archives of a folder.
fn open(path: &Path, split: Split) -> Result<ImageFiles, DataError> {
    let Shards { shards, split, left_out } = match path.is_dir() {
        true => shards(path, split)?,
        false => Shards { shards: vec![path.to_owned()], split, left_out: String::new() },
    };
    let (mut members, mut places) = (Vec::new(), Vec::new());
    for (shard, path) in (0u32..).zip(&shards) {
        for (name, start, size) in read_headers(path)? {
            members.push(FileEntry { shard, path: name.into_bytes(), number: places.len() });
            places.push(TarEntry { shard, start, size });
        }
    }
    let mut images = ImageFiles::open(path, Box::new(TarFiles { shards, places }), members, split)?;
    images.describe(&left_out);
    Ok(images)
}

/// Whether a folder holds archives, and no sub-folder or image.
fn holds_only_shards(folder: &Path) -> Result<bool, DataError> {
    let paths = entries(folder)?;
    Ok(paths.iter().any(|path| is_shard(path))
        && !paths.iter().any(|path| path.is_dir() || has_image_extension(path)))
}

/// The paths directly in a folder, sorted, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let paths = folder
        .read_dir()
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut paths = paths.map_err(|error| io_error(folder, error))?;
    paths.retain(|path| path.file_name().is_some_and(|name| !is_hidden(name.as_encoded_bytes())));
    paths.sort();
    Ok(paths)
}

fn is_shard(path: &Path) -> bool {
    has_extension(path, &["tar"]) && path.is_file()
}

/// The archives of a folder that hold a split.
struct Shards {
    shards: Vec<PathBuf>,
    /// Which split of their contents it is.
    split: Split,
    /// Which split it is by the archives' names, and how many hold the other.
    left_out: String,
}

/// The archives of a folder that hold the split, by the words of their names.
fn shards(folder: &Path, split: Split) -> Result<Shards, DataError> {
    let all: Vec<PathBuf> = entries(folder)?.into_iter().filter(|path| is_shard(path)).collect();
    let is_test = |path: &PathBuf| split_of(path) == Some(Split::Test);
    let (test, train): (Vec<_>, Vec<_>) = all.into_iter().partition(is_test);
    if train.is_empty() && test.is_empty() {
        return Err(DataError::NoImages { path: folder.to_owned(), files: 0, notes: Vec::new() });
    }
    if test.is_empty() {
        // Without such names, the archives may contain folders for the splits.
        return Ok(Shards { shards: train, split, left_out: String::new() });
    }
    let (shards, others) = match split {
        Split::Train => (train, test),
        Split::Test => (test, train),
    };
    let first = others.first().and_then(|path| path.file_name());
    if shards.is_empty() {
        let first = first.unwrap_or_default().to_string_lossy().into_owned();
        return Err(DataError::HeldOutOnly { path: folder.to_owned(), folder: first });
    }
    let (shown, other) = (split.name(), others.len());
    let left_out = match first {
        Some(first) => {
            let archives = if other == 1 { "archive" } else { "archives" };
            format!("; split {shown} ({other} other {archives} left out, {first:?} is the first)")
        }
        None => format!("; split {shown}"),
    };
    Ok(Shards { shards, split: Split::Train, left_out })
}

/// Reads archives that follow each other in one file; the zeros that mark the end of each would
/// end the reading.
fn read_past_zeros<R: Read>(stream: R) -> Archive<R> {
    let mut archive = Archive::new(stream);
    archive.set_ignore_zeros(true);
    archive
}

/// Name, start and length of each file in an archive.
fn read_headers(path: &Path) -> Result<Vec<(String, u64, u64)>, DataError> {
    let as_io = |error| io_error(path, error);
    let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, path, problem);
    let file = file_io::open(path).map_err(as_io)?;
    let length = file.metadata().map_err(as_io)?.len();
    if length % BLOCK != 0 {
        return Err(bad(FileProblem::Truncated(format!(
            "{length} bytes are not a whole number of blocks of {BLOCK}"
        ))));
    }
    let mut archive = read_past_zeros(&file);
    let (mut files, mut end, mut records) = (Vec::new(), 0, PaxRecords::Valid);
    for entry in archive.entries_with_seek().map_err(as_io)? {
        let mut entry = entry.map_err(|error| bad(problem(&error)))?;
        records = records.max(check_pax(&mut entry).map_err(bad)?);
        let (start, size) = (entry.raw_file_position(), entry.size());
        end = start.saturating_add(size);
        if end > length {
            let path = entry.path_bytes();
            let problem = format!("it ends inside {:?}", String::from_utf8_lossy(&path));
            return Err(bad(FileProblem::Truncated(problem)));
        }
        if let Some(name) = file_name(&entry).map_err(bad)? {
            files.push((name, start, size));
        }
    }
    if records == PaxRecords::Suspect {
        check_raw_pax(read_past_zeros(file_io::open(path).map_err(as_io)?)).map_err(bad)?;
    }
    // A block of zeros marks the end; without it the archive may have had more files.
    let mut mark = [1; BLOCK as usize];
    if FileReader::from(file).read_exact_at(&mut mark, end.next_multiple_of(BLOCK)).is_err()
        || mark != [0; BLOCK as usize]
    {
        let problem = "the zeros that mark its end are missing".to_owned();
        return Err(bad(FileProblem::Truncated(problem)));
    }
    Ok(files)
}

/// Opens the images of `split` in a compressed tar archive that unpacks to at most `limit` bytes.
fn open_compressed(
    path: &Path,
    split: Split,
    compression: Compression,
    limit: u64,
) -> Result<ImageFiles, DataError> {
    let format = match compression {
        Compression::Gzip => "tar.gz archive",
        Compression::Bzip2 => "tar.bz2 archive",
        Compression::Xz => "tar.xz archive",
        Compression::Zstandard => "tar.zst archive",
    };
    let refused = |problem: FileProblem| DataError::malformed(format, path, problem);
    if Compression::of(&unpack_start(path, compression)).is_some() {
        let problem = "it is compressed twice: unpack it once".to_owned();
        return Err(refused(FileProblem::Unsupported(problem)));
    }
    let bad = |error: io::Error| refused(problem(&error));
    let open = || {
        let file = file_io::open(path).map_err(|error| io_error(path, error))?;
        let length = file.metadata().map_err(|error| io_error(path, error))?.len();
        // Images are compressed already: what unpacks to more than deflate could is not a dataset.
        let available = length.saturating_mul(MAX_DEFLATE_RATIO).saturating_add(1 << 20);
        let limit = limit.min(available);
        let stream = compression.unpack(file);
        Ok::<_, DataError>(read_past_zeros(LimitedReader { stream, left: limit, limit }))
    };
    let mut archive = open()?;
    let (mut members, mut files, mut records) = (Vec::new(), Vec::new(), PaxRecords::Valid);
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        records = records.max(check_pax(&mut entry).map_err(refused)?);
        let Some(name) = file_name(&entry).map_err(refused)? else { continue };
        let size = entry.size();
        members.push(FileEntry { shard: 0, path: name.into_bytes(), number: files.len() });
        let kept = size <= MAX_DECODED_BYTES;
        // Grows as it is read, so that a wrong size costs no memory.
        let mut content = Vec::new();
        let read = if kept {
            entry.read_to_end(&mut content).map(|read| read as u64)
        } else {
            io::copy(&mut entry, &mut io::sink())
        };
        if read.map_err(bad)? < size {
            return Err(bad(io::ErrorKind::UnexpectedEof.into()));
        }
        content.shrink_to_fit();
        files.push(kept.then_some(content));
    }
    // Reading to the end verifies the checksums.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(bad)?;
    if records == PaxRecords::Suspect {
        check_raw_pax(open()?).map_err(refused)?;
    }
    ImageFiles::open(path, Box::new(TarContents { format, files }), members, split)
}

/// Whether the library read an entry's extended header (pax) to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PaxRecords {
    Valid,
    /// A record is malformed, or has a line break in its value.
    Suspect,
}

/// Checks an entry's pax records: the library ignores those that it does not understand, and would
/// read the file under another name or with another length.
fn check_pax<R: Read>(entry: &mut Entry<'_, R>) -> Result<PaxRecords, FileProblem> {
    let Some(records) = entry.pax_extensions().map_err(|error| problem(&error))? else {
        return Ok(PaxRecords::Valid);
    };
    let mut state = PaxRecords::Valid;
    for record in records {
        let Ok(record) = record else {
            state = PaxRecords::Suspect;
            continue;
        };
        match record.key() {
            Ok("size") if !record.value().is_ok_and(|size| size.parse::<u64>().is_ok()) => {
                let problem = "a length in its pax headers is not a number".to_owned();
                return Err(FileProblem::Damaged(problem));
            }
            Ok(key) if key.starts_with("GNU.sparse.") => {
                let problem = "it holds a sparse file: repack it without --sparse".to_owned();
                return Err(FileProblem::Unsupported(problem));
            }
            _ => {}
        }
    }
    Ok(state)
}

/// Checks all pax records of an archive by their lengths (POSIX.1-2001, pax), which the library
/// splits at line breaks instead.
fn check_raw_pax<R: Read>(mut archive: Archive<R>) -> Result<(), FileProblem> {
    for entry in archive.entries().map_err(|error| problem(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| problem(&error))?;
        let kind = entry.header().entry_type();
        if !kind.is_pax_local_extensions() && !kind.is_pax_global_extensions() {
            continue;
        }
        let mut records = Vec::new();
        let limit = &mut entry.by_ref().take(MAX_DECODED_BYTES);
        limit.read_to_end(&mut records).map_err(|error| problem(&error))?;
        if !are_pax_records(&records) {
            let problem = "its extended headers (pax) are malformed".to_owned();
            return Err(FileProblem::Damaged(problem));
        }
    }
    Ok(())
}

/// Whether these are records `LENGTH KEY=VALUE\n`.
fn are_pax_records(mut records: &[u8]) -> bool {
    while !records.is_empty() {
        let length = records.iter().position(|&byte| byte == b' ').and_then(|space| {
            let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
            let record = records.get(space + 1..length)?;
            (record.contains(&b'=') && record.ends_with(b"\n")).then_some(length)
        });
        match length {
            Some(length) => records = &records[length..],
            None => return false,
        }
    }
    true
}

/// A stream that returns an error when it exceeds a limit.
struct LimitedReader<R> {
    stream: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                let mib = self.limit >> 20;
                let problem = format!(
                    "it unpacks to more than {mib} MiB: unpack it, since a plain .tar may have \
                     any length"
                );
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
            }
        }
        Ok(read)
    }
}

/// The name of a file; `None` for a folder or an entry that only describes the archive.
pub(crate) fn file_name<R: Read>(entry: &Entry<'_, R>) -> Result<Option<String>, FileProblem> {
    let name = checked_name(&entry.path_bytes())?;
    let kind = entry.header().entry_type();
    if kind.is_file() || kind.is_contiguous() {
        return Ok(Some(name));
    }
    if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
        return Ok(None);
    }
    if kind.is_symlink() || kind.is_hard_link() {
        return Err(FileProblem::Entry { name, problem: EntryProblem::Link });
    }
    let problem = EntryProblem::Special(char::from(kind.as_byte()));
    Err(FileProblem::Entry { name, problem })
}

/// The defect that the tar library reported.
fn problem(error: &io::Error) -> FileProblem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FileProblem::Truncated("it ends early".to_owned()),
        io::ErrorKind::FileTooLarge => FileProblem::TooLarge(one_line(error)),
        io::ErrorKind::OutOfMemory => {
            let problem = "its content, or the window of its compression, is too large for the \
                           memory: unpack it, or compress it at a lower level";
            FileProblem::TooLarge(problem.to_owned())
        }
        // The message quotes the bytes.
        _ if error.to_string().contains("numeric field") => {
            FileProblem::Damaged("a header in it has no numbers where tar has them".to_owned())
        }
        _ => FileProblem::Damaged(one_line(error)),
    }
}

impl FileStore for TarFiles {
    fn format(&self) -> &'static str {
        FORMAT_NAME
    }

    fn read(&self, number: usize) -> Result<Vec<u8>, String> {
        let size = self.places[number].size;
        if size > MAX_DECODED_BYTES {
            return Err(format!("the file has more than {} MiB", MAX_DECODED_BYTES >> 20));
        }
        self.read_bytes(number, size)
    }

    fn read_start(&self, number: usize) -> Result<Vec<u8>, String> {
        self.read_bytes(number, self.places[number].size.min(START_BYTES as u64))
    }
}

impl TarFiles {
    /// The first `size` bytes of a file.
    fn read_bytes(&self, number: usize, size: u64) -> Result<Vec<u8>, String> {
        let TarEntry { shard, start, .. } = self.places[number];
        // Opened for each read: there may be more shards than a process may open files.
        let file = FileReader::from(
            file_io::open(&self.shards[shard as usize]).map_err(|error| one_line(&error))?,
        );
        // Opening the dataset checked that the archive is long enough.
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size as usize).map_err(|error| one_line(&error))?;
        bytes.resize(size as usize, 0);
        file.read_exact_at(&mut bytes, start).map_err(|error| one_line(&error))?;
        Ok(bytes)
    }
}

impl FileStore for TarContents {
    fn format(&self) -> &'static str {
        self.format
    }

    fn read(&self, number: usize) -> Result<Vec<u8>, String> {
        match self.files.get(number) {
            Some(Some(content)) => Ok(content.clone()),
            Some(None) => Err(format!("the file has more than {} MiB", MAX_DECODED_BYTES >> 20)),
            None => Err("it is no longer in memory".to_owned()),
        }
    }

    fn read_start(&self, number: usize) -> Result<Vec<u8>, String> {
        let content = self.files.get(number).and_then(Option::as_ref);
        let start = content.map(|content| content[..content.len().min(START_BYTES)].to_vec());
        start.ok_or_else(|| "it is not in memory".to_owned())
    }

    fn drop_cache(&mut self) -> u64 {
        std::mem::take(&mut self.files).iter().flatten().map(|content| content.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn gzipped_archives_are_unpacked_within_a_limit() {
        let mut builder =
            tar::Builder::new(GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, size) in [("a.pgm", 20u64), ("b.pgm", 3 << 20)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(size);
            builder.append_data(&mut header, name, io::repeat(7).take(size)).unwrap();
        }
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let open = |limit| open_compressed(file.path(), Split::Train, Compression::Gzip, limit);
        assert!(open(4 << 20).is_ok());
        let error = open(2 << 20).err().unwrap();
        assert!(
            matches!(error, DataError::Malformed { problem: FileProblem::TooLarge(_), .. }),
            "{error}"
        );
    }
}
