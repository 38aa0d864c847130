//! idx, the format of MNIST: a big-endian header `[0, 0, type, dimensions]`, one `u32` per
//! dimension, then the elements.
//!
//! The elements read here are unsigned bytes: images `[N, H, W]` or labels `[N]`, gzipped or not. A
//! header is trusted only as far as the file could hold the declared data, so that a wrong one
//! cannot cause an allocation. Images are read in place; those of a gzipped file are unpacked into
//! memory.

use std::cmp::Ordering;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::array_source::{ArrayPixels, ArraySource, ImageShape};
use super::idx_files::{self, IdxFiles, UNSIGNED_BYTE};
use super::labels::ClassLabels;
use super::{
    Confidence, DetectionInput, Format, MAX_DEFLATE_RATIO, MAX_UNPACKED_BYTES, is_gzip, read_start,
};
use crate::decode::{MAX_SIDE, one_line};
use crate::error::{DataError, IdxProblem};

pub(crate) static FORMAT: Format = Format {
    name: "idx",
    about: "an idx file of images (MNIST), gzipped or not, or a folder of idx files",
    detect,
    open: |path, split, classes| Ok(Box::new(open(&idx_files::find(path, split)?, classes)?)),
    image_shape: |path, split| {
        let [height, width] = size(&idx_files::find(path, split)?)?;
        Ok(Some([height, width, 1]))
    },
};

fn detect(candidate: &DetectionInput<'_>) -> Result<Option<Confidence>, DataError> {
    let found = match &candidate.start {
        None => !idx_files::image_files(candidate.path)?.is_empty(),
        // A file named idx is one, so that a damaged magic number is reported as such.
        Some(start) => {
            idx_files::starts_like_idx(start) || idx_files::has_idx_file_name(candidate.path)
        }
    };
    Ok(Confidence::Likely.when(found))
}

/// Reads the files; `classes` are the labels' names, by default their numbers.
fn open(files: &IdxFiles, classes: Option<&[&str]>) -> Result<ArraySource, DataError> {
    let ([count, height, width], unpacked) =
        with_stream(&files.images, |mut stream, length, packed| {
            if packed {
                let (sides, pixels) = parse::<3>(&mut stream, length, packed, MAX_UNPACKED_BYTES)?;
                return Ok((sides, Some(pixels)));
            }
            let sides = parse_header::<3>(&mut stream, packed)?;
            check_length(elements(&sides), length.saturating_sub(header_bytes(3)))?;
            Ok((sides, None))
        })?;
    let pixels = match unpacked {
        Some(pixels) => ArrayPixels::Memory(pixels),
        None => ArrayPixels::open(&files.images, header_bytes(3))?,
    };
    let count = count as usize;
    let classes = match &files.labels {
        None => None,
        Some(path) => {
            let labels = read_labels(path)?;
            if labels.len() != count {
                return Err(DataError::LabelCount {
                    images_path: files.images.clone(),
                    images: count,
                    labels_path: path.clone(),
                    labels: labels.len(),
                });
            }
            let used = labels.iter().max().map_or(0, |&label| usize::from(label) + 1);
            let names = match classes {
                Some(names) if names.len() >= used => {
                    names.iter().map(|&name| name.to_owned()).collect()
                }
                _ => (0..used).map(|label| label.to_string()).collect(),
            };
            Some(ClassLabels { labels: labels.into_iter().map(u32::from).collect(), names })
        }
    };
    let shape = ImageShape { count, height, width, channels: 1, planar: false };
    Ok(ArraySource { path: files.images.clone(), shape, pixels, classes, report: None })
}

/// Reads a file of one dimension.
fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    let parsed = with_stream(path, |mut stream, length, packed| {
        parse::<1>(&mut stream, length, packed, MAX_UNPACKED_BYTES)
    });
    Ok(parsed?.1)
}

/// Height and width of the images, from the header alone.
fn size(files: &IdxFiles) -> Result<[u32; 2], DataError> {
    let [_, height, width] =
        with_stream(&files.images, |mut stream, _, packed| parse_header::<3>(&mut stream, packed))?;
    Ok([height, width])
}

/// Calls `f` with a file's unpacked content, the file's length, and whether it was gzipped.
fn with_stream<T>(
    path: &Path,
    f: impl FnOnce(&mut dyn Read, u64, bool) -> Result<T, IdxReadError>,
) -> Result<T, DataError> {
    let as_io = |error| super::io(path, error);
    let packed = is_gzip(&read_start(path)?);
    let file = file_io::open(path).map_err(as_io)?;
    let length = file.metadata().map_err(as_io)?.len();
    let file = BufReader::with_capacity(1 << 16, file);
    let mut stream: Box<dyn Read> =
        if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let result = f(&mut stream, length, packed);
    result.map_err(|failure| match failure {
        IdxReadError::Problem(problem) => DataError::Idx { path: path.to_owned(), problem },
        IdxReadError::Io(error) => as_io(error),
        IdxReadError::Memory(bytes) => {
            DataError::Memory { what: "the images of an idx file".to_owned(), bytes }
        }
    })
}

enum IdxReadError {
    Problem(IdxProblem),
    Io(io::Error),
    Memory(u64),
}

impl From<IdxProblem> for IdxReadError {
    fn from(problem: IdxProblem) -> Self {
        Self::Problem(problem)
    }
}

/// Bytes before the elements.
const fn header_bytes(dimensions: usize) -> u64 {
    4 + 4 * dimensions as u64
}

/// The sides that a header declares.
fn parse_header<const D: usize>(
    mut stream: impl Read,
    packed: bool,
) -> Result<[u32; D], IdxReadError> {
    let header_bytes = header_bytes(D);
    let magic: [u8; 4] = read_header_part(&mut stream, header_bytes, packed)?;
    let role = if D == 3 { "images: count, height, width" } else { "labels: count" };
    match magic {
        [0, 0, UNSIGNED_BYTE, dimensions] if usize::from(dimensions) == D => {}
        [0, 0, UNSIGNED_BYTE, found @ 1..=8] => {
            return Err(IdxProblem::Dimensions { found, wanted: D as u8, role }.into());
        }
        [0, 0, kind @ (0x09 | 0x0B..=0x0E), 1..=8] => {
            return Err(IdxProblem::ElementType(kind).into());
        }
        other => return Err(IdxProblem::Magic(other).into()),
    }
    let mut sides = [0; D];
    for side in &mut sides {
        *side = u32::from_be_bytes(read_header_part(&mut stream, header_bytes, packed)?);
    }
    check_sides(&sides)?;
    Ok(sides)
}

/// Parses the stream of a file of `length` bytes, gzipped (`packed`) or not; a gzipped one may
/// unpack to `limit` bytes.
fn parse<const D: usize>(
    mut stream: impl Read,
    length: u64,
    packed: bool,
    limit: u64,
) -> Result<([u32; D], Vec<u8>), IdxReadError> {
    let sides = parse_header::<D>(&mut stream, packed)?;
    let expected = elements(&sides);
    let available = if packed {
        length.saturating_mul(MAX_DEFLATE_RATIO)
    } else {
        length.saturating_sub(header_bytes(D))
    };
    if expected > available {
        let holds = if packed {
            format!("can hold {available} at most")
        } else {
            format!("holds {available}")
        };
        return Err(truncated(expected, holds));
    }
    if packed && expected > limit {
        return Err(IdxProblem::TooLong { bytes: expected, limit }.into());
    }
    let mut data = Vec::new();
    let size = usize::try_from(expected).map_err(|_| IdxReadError::Memory(expected))?;
    data.try_reserve_exact(size).map_err(|_| IdxReadError::Memory(expected))?;
    let read = stream.by_ref().take(expected).read_to_end(&mut data);
    read.map_err(|error| read_failure(error, packed))?;
    // Reading to the end also makes gzip verify its checksum.
    let more = stream.read(&mut [0]).map_err(|error| read_failure(error, packed))?;
    check_length(expected, data.len() as u64 + more as u64)?;
    Ok((sides, data))
}

/// The number of elements: at most 2³² · 2¹⁴ · 2¹⁴, so no overflow.
fn elements(sides: &[u32]) -> u64 {
    sides.iter().map(|&side| u64::from(side)).product()
}

/// Checks that a file holds exactly the declared number of bytes.
fn check_length(expected: u64, held: u64) -> Result<(), IdxReadError> {
    match held.cmp(&expected) {
        Ordering::Less => Err(truncated(expected, format!("holds {held}"))),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(IdxProblem::Trailing(expected).into()),
    }
}

fn check_sides<const D: usize>(sides: &[u32; D]) -> Result<(), IdxProblem> {
    if sides.contains(&0) {
        let sides = sides.map(|side| side.to_string()).join("×");
        return Err(IdxProblem::Empty(sides));
    }
    match sides.as_slice() {
        &[_, height, width] if height.max(width) > MAX_SIDE => {
            Err(IdxProblem::TooLarge { height, width, limit: MAX_SIDE })
        }
        _ => Ok(()),
    }
}

fn truncated(expected: u64, holds: String) -> IdxReadError {
    IdxProblem::Truncated { expected: format!("{expected} bytes"), holds }.into()
}

/// Four bytes of the header.
fn read_header_part(
    stream: &mut impl Read,
    header_bytes: u64,
    packed: bool,
) -> Result<[u8; 4], IdxReadError> {
    let mut part = [0; 4];
    stream.read_exact(&mut part).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof if !packed => {
            let expected = format!("a header of {header_bytes} bytes");
            IdxProblem::Truncated { expected, holds: "ends before".to_owned() }.into()
        }
        _ => read_failure(error, packed),
    })?;
    Ok(part)
}

/// Errors inside a gzip stream are defects of the file; others are the operating system's.
fn read_failure(error: io::Error, packed: bool) -> IdxReadError {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        UnexpectedEof if packed => IdxProblem::Gzip("they end early".to_owned()).into(),
        InvalidData | InvalidInput if packed => IdxProblem::Gzip(one_line(&error)).into(),
        _ => IdxReadError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzipped_files_are_unpacked_within_a_limit() {
        let file =
            [&[0, 0, UNSIGNED_BYTE, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[7; 12]].concat();
        assert!(
            parse::<3>(&file[..], 28, true, 12)
                .is_ok_and(|(sides, pixels)| (sides, pixels) == ([2, 2, 3], vec![7; 12]))
        );
        let Err(IdxReadError::Problem(problem)) = parse::<3>(&file[..], 28, true, 11) else {
            panic!("12 bytes within 11")
        };
        assert!(problem.to_string().contains("it unpacks to 12 bytes"), "{problem}");
    }
}
