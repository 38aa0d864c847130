//! The part of MATLAB's level 5 MAT-file format that SVHN needs: little-endian numeric arrays, by
//! name, compressed or not.
//!
//! A file is a header of 128 bytes and elements of `[type, length, data]`, padded to 8 bytes; a
//! compressed element is a zlib stream of one element. An array is an element of elements: flags,
//! sides, name, data ("MAT-File Format", MathWorks). Lengths are trusted only as far as the file
//! could hold the data.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::{MAX_DEFLATE_RATIO, io as io_error};
use crate::decode::one_line;
use crate::error::FileProblem::{Damaged, Truncated, Unsupported};
use crate::error::{DataError, FileProblem};

/// The first bytes of a file of this level.
pub(super) const MAGIC: &[u8] = b"MATLAB 5.0 MAT-file";

const FORMAT_NAME: &str = "MAT-file";
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// The arrays read here have fewer dimensions and shorter names.
const MAX_HEAD: u64 = 256;

/// A numeric array, as bytes of its element type.
pub(super) struct MatArray {
    pub name: String,
    /// Column-major: the first side runs fastest.
    pub sides: Vec<u64>,
    pub element: ElementType,
    pub data: Vec<u8>,
}

/// The element types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

impl ElementType {
    fn of(kind: u32) -> Option<Self> {
        Some(match kind {
            1 => Self::I8,
            2 => Self::U8,
            3 => Self::I16,
            4 => Self::U16,
            5 => Self::I32,
            6 => Self::U32,
            7 => Self::F32,
            9 => Self::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl MatArray {
    /// The elements as `f64`.
    pub fn numbers(&self) -> Vec<f64> {
        fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            data.as_chunks().0.iter().map(|&bytes| number(bytes)).collect()
        }
        let data = &self.data;
        match self.element {
            ElementType::U8 => each(data, |b: [u8; 1]| f64::from(b[0])),
            ElementType::I8 => each(data, |b| f64::from(i8::from_le_bytes(b))),
            ElementType::U16 => each(data, |b| f64::from(u16::from_le_bytes(b))),
            ElementType::I16 => each(data, |b| f64::from(i16::from_le_bytes(b))),
            ElementType::U32 => each(data, |b| f64::from(u32::from_le_bytes(b))),
            ElementType::I32 => each(data, |b| f64::from(i32::from_le_bytes(b))),
            ElementType::F32 => each(data, |b| f64::from(f32::from_le_bytes(b))),
            ElementType::F64 => each(data, f64::from_le_bytes),
        }
    }
}

/// The numeric arrays of the given names.
pub(super) fn read(path: &Path, names: &[&str]) -> Result<Vec<MatArray>, DataError> {
    let file = file_io::open(path).map_err(|error| io_error(path, error))?;
    let length = file.metadata().map_err(|error| io_error(path, error))?.len();
    parse(BufReader::with_capacity(1 << 16, file), length, names).map_err(|failure| match failure {
        MatReadError::Problem(problem) => DataError::malformed(FORMAT_NAME, path, problem),
        MatReadError::Memory(bytes) => {
            DataError::Memory { what: "the arrays of a MAT-file".to_owned(), bytes }
        }
        MatReadError::Io(error) => io_error(path, error),
    })
}

enum MatReadError {
    Problem(FileProblem),
    Memory(u64),
    Io(io::Error),
}

impl From<io::Error> for MatReadError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error.kind() {
            UnexpectedEof => Self::Problem(Truncated("it ends inside an array".to_owned())),
            InvalidData | InvalidInput => {
                Self::Problem(Damaged(format!("its compressed data: {}", one_line(&error))))
            }
            _ => Self::Io(error),
        }
    }
}

impl From<FileProblem> for MatReadError {
    fn from(problem: FileProblem) -> Self {
        Self::Problem(problem)
    }
}

fn parse(
    mut file: impl Read + Seek,
    length: u64,
    names: &[&str],
) -> Result<Vec<MatArray>, MatReadError> {
    let mut header = [0; 128];
    file.read_exact(&mut header).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Truncated("it is shorter than a MAT-file's header of 128 bytes".to_owned()).into()
        }
        _ => MatReadError::Io(error),
    })?;
    if !header.starts_with(MAGIC) {
        let problem = "it does not start with \"MATLAB 5.0 MAT-file\": only that level is read \
                       (save it with -v7 or -v6)";
        return Err(Unsupported(problem.to_owned()).into());
    }
    if header[124..] != [0x00, 0x01, b'I', b'M'] {
        let problem =
            "it is of another version or byte order than those that little-endian machines write";
        return Err(Unsupported(problem.to_owned()).into());
    }
    let mut arrays = Vec::new();
    let mut at = 128u64;
    while at < length {
        let Tag { kind, size, .. } = Tag::read(&mut file)?;
        let (start, available) = (at + 8, length.saturating_sub(at + 8));
        if u64::from(size) > available {
            return Err(Truncated(format!(
                "an array of {size} bytes is declared where {available} are left"
            ))
            .into());
        }
        let body = file.by_ref().take(size.into());
        let array = match kind {
            COMPRESSED => read_compressed(body, u64::from(size), names)?,
            MATRIX => read_array(body, u64::from(size), names)?,
            _ => None,
        };
        arrays.extend(array);
        // Compressed elements are not padded.
        at = start
            + if kind == COMPRESSED {
                u64::from(size)
            } else {
                u64::from(size).next_multiple_of(8)
            };
        file.seek(SeekFrom::Start(at))?;
    }
    Ok(arrays)
}

/// The head of an element, which contains data of at most 4 bytes.
struct Tag {
    kind: u32,
    size: u32,
    small: Option<[u8; 4]>,
}

impl Tag {
    fn read(stream: &mut impl Read) -> Result<Self, MatReadError> {
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes)?;
        let [first, second] =
            [[0, 1, 2, 3], [4, 5, 6, 7]].map(|at| u32::from_le_bytes(at.map(|k: usize| bytes[k])));
        if first >> 16 == 0 {
            return Ok(Self { kind: first, size: second, small: None });
        }
        let size = first >> 16;
        if size > 4 {
            return Err(Damaged("it has a small element of more than 4 bytes".to_owned()).into());
        }
        Ok(Self { kind: first & 0xFFFF, size, small: Some(second.to_le_bytes()) })
    }
}

fn read_compressed(
    stream: impl Read,
    size: u64,
    names: &[&str],
) -> Result<Option<MatArray>, MatReadError> {
    let mut stream = ZlibDecoder::new(stream);
    let tag = Tag::read(&mut stream)?;
    if tag.kind != MATRIX {
        return Ok(None);
    }
    let array = read_array(
        stream.by_ref().take(tag.size.into()),
        size.saturating_mul(MAX_DEFLATE_RATIO),
        names,
    )?;
    if array.is_some() {
        // Reading to the end makes zlib verify its checksum; after the array there is at most
        // padding.
        io::copy(&mut stream.take(8), &mut io::sink())?;
    }
    Ok(array)
}

/// Reads the elements of an array from a stream that can yield at most `available` bytes; `None` if
/// its name is not in `names`.
fn read_array(
    mut stream: impl Read,
    available: u64,
    names: &[&str],
) -> Result<Option<MatArray>, MatReadError> {
    let stream: &mut dyn Read = &mut stream;
    let _flags = read_element(stream, MAX_HEAD)?;
    let (_, sides) = read_element(stream, MAX_HEAD)?;
    let (_, name) = read_element(stream, MAX_HEAD)?;
    let Ok(name) = String::from_utf8(name) else { return Ok(None) };
    if !names.contains(&name.as_str()) {
        return Ok(None);
    }
    let mut lengths = Vec::new();
    for side in sides.as_chunks().0 {
        let side = i32::from_le_bytes(*side);
        lengths.push(u64::try_from(side).map_err(|_| {
            MatReadError::from(Damaged(format!("array {name:?} has a side of {side}")))
        })?);
    }
    let (kind, data) = read_element(stream, available)?;
    let element = ElementType::of(kind).ok_or_else(|| {
        MatReadError::from(Unsupported(format!("array {name:?} has elements of type {kind}")))
    })?;
    let count = lengths.iter().try_fold(1u64, |product, &side| product.checked_mul(side));
    if count.and_then(|count| count.checked_mul(element.bytes())) != Some(data.len() as u64) {
        let sides = lengths.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
        let problem = format!("array {name:?} of {sides} elements has {} bytes", data.len());
        return Err(Damaged(problem).into());
    }
    Ok(Some(MatArray { name, sides: lengths, element, data }))
}

/// An element's type and its data, of at most `limit` bytes.
fn read_element(mut stream: &mut dyn Read, limit: u64) -> Result<(u32, Vec<u8>), MatReadError> {
    let Tag { kind, size, small } = Tag::read(&mut stream)?;
    if let Some(bytes) = small {
        return Ok((kind, bytes[..size as usize].to_vec()));
    }
    if u64::from(size) > limit {
        return Err(Damaged(format!(
            "an element of {size} bytes is declared where at most {limit} can be"
        ))
        .into());
    }
    let mut data = Vec::new();
    data.try_reserve_exact(size as usize).map_err(|_| MatReadError::Memory(size.into()))?;
    Read::take(&mut stream, size.into()).read_to_end(&mut data)?;
    if data.len() < size as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let padding = u64::from(size).next_multiple_of(8) - u64::from(size);
    io::copy(&mut stream.take(padding), &mut io::sink())?;
    Ok((kind, data))
}
