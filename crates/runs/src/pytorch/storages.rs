//! The two formats: where the pickle and the storages are in the file.

use super::PyTorchProblem;
use super::contents::{Contents, storage_id};
use pickle::{Pickle, PickleError, Value};
use rawzip::{
    CompressionMethod, FileReader, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ReaderAt as _, ZipArchive,
    ZipArchiveEntryWayfinder,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

/// The longest pickle: names and shapes of a million tensors take less.
const MAX_PICKLE: u64 = 64 << 20;
/// What is first read of a legacy file.
const HEAD: u64 = 1 << 20;
/// `LONG1` with the magic number of the legacy format, 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = b"\x8A\nl\xFC\x9CF\xF9 j\xA8P\x19";
/// The version of the legacy format.
const VERSION: i64 = 1001;

/// Why a file cannot be read.
pub(super) enum Failure {
    Io(io::Error),
    Problem(PyTorchProblem),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PyTorchProblem> for Failure {
    fn from(problem: PyTorchProblem) -> Self {
        Self::Problem(problem)
    }
}

impl From<PickleError> for Failure {
    fn from(error: PickleError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<rawzip::Error> for Failure {
    fn from(error: rawzip::Error) -> Self {
        match error.into_kind() {
            rawzip::ErrorKind::IO(error) => Self::Io(error),
            kind => Self::Problem(PyTorchProblem::Zip(kind.to_string())),
        }
    }
}

/// The storages of a file, by their keys.
pub(super) enum Storages {
    Zip {
        archive: ZipArchive<FileReader>,
        entries: BTreeMap<String, ZipArchiveEntryWayfinder>,
    },
    /// Position and length in bytes.
    Legacy {
        file: FileReader,
        places: BTreeMap<String, (u64, u64)>,
    },
}

/// Reads what is not a storage of a file of `bytes` bytes.
pub(super) fn open(file: File, bytes: u64) -> Result<(Storages, Contents), Failure> {
    let file = FileReader::from(file);
    let mut start = [0; 4];
    file.read_exact_at(&mut start, 0)?;
    if start == *b"PK\x03\x04" { open_zip(file, bytes) } else { open_legacy(file, bytes) }
}

impl Storages {
    pub fn format(&self) -> &'static str {
        match self {
            Self::Zip { .. } => "zip",
            Self::Legacy { .. } => "legacy",
        }
    }

    /// The length of a storage in bytes.
    pub fn bytes(&self, key: &str) -> Option<u64> {
        match self {
            Self::Zip { entries, .. } => entries.get(key).map(|e| e.uncompressed_size_hint()),
            Self::Legacy { places, .. } => places.get(key).map(|(_, length)| *length),
        }
    }

    /// Reads a storage; in a zip archive its checksum is verified. `None` without memory for it.
    pub fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let missing =
            || PyTorchProblem::Storage { key: key.to_owned(), problem: "it is missing".to_owned() };
        match self {
            Self::Zip { archive, entries } => {
                read_entry(archive, *entries.get(key).ok_or_else(missing)?)
            }
            Self::Legacy { file, places } => {
                let &(at, length) = places.get(key).ok_or_else(missing)?;
                let Some(mut bytes) = zeros(length) else { return Ok(None) };
                file.read_exact_at(&mut bytes, at)?;
                Ok(Some(bytes))
            }
        }
    }
}

fn zeros(length: u64) -> Option<Vec<u8>> {
    let length = usize::try_from(length).ok()?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).ok()?;
    bytes.resize(length, 0);
    Some(bytes)
}

/// Reads a stored entry, which was checked to be inside the file.
fn read_entry(
    archive: &ZipArchive<FileReader>,
    place: ZipArchiveEntryWayfinder,
) -> Result<Option<Vec<u8>>, Failure> {
    let length = place.uncompressed_size_hint();
    let Some(mut bytes) = zeros(length) else { return Ok(None) };
    let entry = archive.get_entry(place)?;
    let damaged = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            Failure::Problem(PyTorchProblem::Zip(error.to_string()))
        }
        _ => Failure::Io(error),
    };
    let mut reader = entry.verifying_reader(entry.reader());
    reader.read_exact(&mut bytes).map_err(damaged)?;
    // The checksum is compared at the end.
    if reader.read(&mut [0]).map_err(damaged)? > 0 {
        return Err(PyTorchProblem::Zip("an entry is longer than declared".to_owned()).into());
    }
    Ok(Some(bytes))
}

fn open_zip(file: FileReader, bytes: u64) -> Result<(Storages, Contents), Failure> {
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let archive = ZipArchive::from_file(file.into_inner(), &mut buffer)?;
    let mut found = BTreeMap::new();
    let mut total = 0u64;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry()? {
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        let plain = entry.compression_method() == CompressionMethod::STORE
            && !entry.flags().is_encrypted()
            && entry.compressed_size_hint() == entry.uncompressed_size_hint();
        total = total.saturating_add(entry.uncompressed_size_hint());
        found.insert(name, (entry.wayfinder(), plain));
    }
    if total > bytes {
        let problem = format!("its entries have {total} bytes, the file has {bytes}");
        return Err(PyTorchProblem::Zip(problem).into());
    }
    let root = found.keys().find_map(|name| name.strip_suffix("/data.pkl"));
    let root = root.ok_or(PyTorchProblem::NoPickle)?.to_owned();
    let place = |name: &str| match found.get(&format!("{root}/{name}")) {
        Some((_, false)) => Err(PyTorchProblem::Compressed { entry: format!("{root}/{name}") }),
        Some((place, true)) => Ok(Some(*place)),
        None => Ok(None),
    };
    if place("constants.pkl")?.is_some() {
        return Err(PyTorchProblem::TorchScript.into());
    }
    if let Some(order) = place("byteorder")?
        && order.uncompressed_size_hint() < 64
        && read_entry(&archive, order)?.is_some_and(|order| order.starts_with(b"big"))
    {
        return Err(PyTorchProblem::BigEndian.into());
    }
    let pickle = place("data.pkl")?.ok_or(PyTorchProblem::NoPickle)?;
    let too_long = || PyTorchProblem::PickleSize { limit: MAX_PICKLE };
    if pickle.uncompressed_size_hint() > MAX_PICKLE {
        return Err(too_long().into());
    }
    let pickled = read_entry(&archive, pickle)?.ok_or_else(too_long)?;
    let contents = Contents::of(&Pickle::parse(&pickled)?)?;
    let mut entries = BTreeMap::new();
    for tensor in contents.dicts.values().flat_map(BTreeMap::values) {
        if let Some(storage) = place(&format!("data/{}", tensor.storage))? {
            entries.insert(tensor.storage.clone(), storage);
        }
    }
    Ok((Storages::Zip { archive, entries }, contents))
}

fn open_legacy(file: FileReader, bytes: u64) -> Result<(Storages, Contents), Failure> {
    let mut length = HEAD;
    loop {
        let mut head =
            zeros(length.min(bytes)).ok_or(PyTorchProblem::PickleSize { limit: length })?;
        file.read_exact_at(&mut head, 0)?;
        match read_head(&file, &head, bytes) {
            Err(Failure::Problem(PyTorchProblem::Pickle(PickleError::Truncated { .. })))
                if length < bytes =>
            {
                if length >= MAX_PICKLE {
                    return Err(PyTorchProblem::PickleSize { limit: MAX_PICKLE }.into());
                }
                length *= 8;
            }
            Ok((contents, places)) => return Ok((Storages::Legacy { file, places }, contents)),
            Err(failure) => return Err(failure),
        }
    }
}

type Places = BTreeMap<String, (u64, u64)>;

/// Reads the five pickles at the start of a legacy file, and where the storages after them are.
fn read_head(file: &FileReader, head: &[u8], bytes: u64) -> Result<(Contents, Places), Failure> {
    let mut rest = head;
    let mut next = || -> Result<Pickle<'_>, PickleError> {
        let pickle = Pickle::parse(rest)?;
        rest = rest.get(pickle.length()..).unwrap_or_default();
        Ok(pickle)
    };
    let magic = next()?;
    let magic = head.get(..magic.length()).unwrap_or_default();
    if !magic.windows(MAGIC.len()).any(|window| window == MAGIC) {
        return Err(PyTorchProblem::NotTorch.into());
    }
    let version = next()?;
    match version.int(version.root()) {
        Some(VERSION) => {}
        other => return Err(PyTorchProblem::Version(other.unwrap_or(0)).into()),
    }
    let machine = next()?;
    let little = machine.entry(machine.root(), "little_endian");
    if little.is_some_and(|id| *machine.get(id) == Value::Bool(false)) {
        return Err(PyTorchProblem::BigEndian.into());
    }
    let object = next()?;
    let contents = Contents::of(&object)?;
    let keys = next()?;
    let mut at = (head.len() - rest.len()) as u64;

    let mut described = BTreeMap::new();
    for value in object.values() {
        if let Value::Persistent(id) = value
            && let Some(storage) = storage_id(&object, *id)?
        {
            described.insert(storage.key, (storage.element, storage.count));
        }
    }
    let mut places = BTreeMap::new();
    for &key in keys.list(keys.root()).unwrap_or_default() {
        let key = keys.text(key).unwrap_or_default();
        let refused = |problem: &str| PyTorchProblem::Storage {
            key: key.chars().take(80).collect(),
            problem: problem.to_owned(),
        };
        let (element, count) = described.get(key).ok_or_else(|| refused("nothing refers to it"))?;
        let element = element.ok_or_else(|| refused("its type of elements is not read"))?;
        let mut stored = [0; 8];
        file.read_exact_at(&mut stored, at)?;
        if u64::from_le_bytes(stored) != *count {
            return Err(refused("its length is not the one of the pickle").into());
        }
        let length = count.checked_mul(element.bytes());
        let end = length.and_then(|length| length.checked_add(at + 8));
        match (length, end) {
            (Some(length), Some(end)) if end <= bytes => {
                places.insert(key.to_owned(), (at + 8, length));
                at = end;
            }
            _ => return Err(refused("it is longer than the file").into()),
        }
    }
    Ok((contents, places))
}
