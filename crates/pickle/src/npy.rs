//! The header of NumPy's array files: magic, version, and a Python dict literal, before the raw
//! values.
//!
//! Format: numpy.lib.format, versions 1.0 and 2.0 (3.0 differs in the header's encoding only).

use std::io::{self, Read};

/// The header of an array file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyHeader {
    /// The element type as NumPy writes it: `|u1`, `<f4`, `>i8` …
    pub dtype: String,
    /// Whether the first axis runs fastest.
    pub fortran_order: bool,
    /// The extents of the axes.
    pub shape: Vec<u64>,
    /// The number of bytes before the values.
    pub bytes: u64,
}

/// Why a header cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// It violates the format, in the words of the message.
    #[error("{0}")]
    Malformed(String),
    /// The stream failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl NpyError {
    fn of(problem: impl Into<String>) -> Self {
        Self::Malformed(problem.into())
    }
}

/// Headers have less than 200 bytes; NumPy itself reads at most 10,000 of a file that it does not
/// trust.
const MAX_HEADER: u32 = 1 << 16;

impl NpyHeader {
    /// The first bytes of an array file.
    pub const MAGIC: &'static [u8] = b"\x93NUMPY";

    /// Reads the header; after it `stream` is at the values.
    ///
    /// ```
    /// let file = b"\x93NUMPY\x01\x00\x3c\x00\
    ///              {'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n\x01\x02\x03";
    /// let mut rest = &file[..];
    /// let header = pickle::NpyHeader::read(&mut rest).unwrap();
    /// assert_eq!((header.dtype.as_str(), &header.shape[..]), ("|u1", &[2, 3][..]));
    /// assert_eq!((header.elements(), rest), (Some(6), &[1, 2, 3][..]));
    /// ```
    ///
    /// # Errors
    /// Returns an error if the stream ends early, is no array file, or has an element type that is
    /// a structure.
    pub fn read(stream: &mut impl Read) -> Result<Self, NpyError> {
        let mut magic = Vec::new();
        stream.by_ref().take(Self::MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic != Self::MAGIC {
            return Err(NpyError::of("it does not start with the .npy magic"));
        }
        let version = part::<2>(stream)?;
        let (length, before) = match version {
            [1, _] => (u32::from(u16::from_le_bytes(part(stream)?)), 10),
            [2 | 3, _] => (u32::from_le_bytes(part(stream)?), 12),
            [major, minor] => {
                return Err(NpyError::of(format!(
                    "its version is {major}.{minor}, versions 1 to 3 are read"
                )));
            }
        };
        if length > MAX_HEADER {
            return Err(NpyError::of(format!(
                "its header has {length} bytes, at most {MAX_HEADER} are read"
            )));
        }
        let mut text = Vec::new();
        stream.by_ref().take(length.into()).read_to_end(&mut text)?;
        if text.len() < length as usize {
            return Err(ended());
        }
        let text =
            std::str::from_utf8(&text).map_err(|_| NpyError::of("its header is not UTF-8"))?;
        let dtype = value_of(text, "descr")
            .and_then(quoted)
            .ok_or_else(|| NpyError::of("its header has no plain type (descr)"))?;
        let fortran_order = match value_of(text, "fortran_order") {
            Some(text) if text.starts_with("True") => true,
            Some(text) if text.starts_with("False") => false,
            _ => return Err(NpyError::of("its header has no fortran_order of True or False")),
        };
        let shape = value_of(text, "shape")
            .and_then(tuple)
            .ok_or_else(|| NpyError::of("its header has no shape"))?;
        let bytes = before + u64::from(length);
        Ok(Self { dtype: dtype.to_owned(), fortran_order, shape, bytes })
    }

    /// The number of elements; `None` if it exceeds 64 bits.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, &extent| product.checked_mul(extent))
    }
}

/// The next bytes of the header.
fn part<const N: usize>(stream: &mut impl Read) -> Result<[u8; N], NpyError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ended(),
        _ => NpyError::Io(error),
    })?;
    Ok(bytes)
}

fn ended() -> NpyError {
    NpyError::of("it ends inside the header")
}

/// The text after `'key':` in a dict literal.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header
        .split_once(&format!("'{key}'"))
        .or_else(|| header.split_once(&format!("\"{key}\"")))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.get(1..)?.split_once(quote).map(|(inside, _)| inside)
}

/// `(3, 4)`, `(3,)` or `()`; Python 2 wrote `3L`.
fn tuple(text: &str) -> Option<Vec<u64>> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let mut extents: Vec<&str> = inside.split(',').map(str::trim).collect();
    if extents.last() == Some(&"") {
        extents.pop();
    }
    extents.into_iter().map(|extent| extent.trim_end_matches('L').parse().ok()).collect()
}
