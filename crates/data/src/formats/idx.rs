//! idx, the format of MNIST: a big-endian header `[0, 0, type, dimensions]`, one `u32` per
//! dimension, then the elements.
//!
//! The elements read here are unsigned bytes: images `[N, H, W]` or labels `[N]`, gzipped or not. A
//! header is trusted only as far as the file could hold the declared data, so that a wrong one
//! cannot cause an allocation. Images are read in place; those of a gzipped file are unpacked into
//! memory.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rawzip::{FileReader, ReaderAt as _};
use sha2::{Digest as _, Sha256};

use super::idx_files::{self, IdxFiles, UNSIGNED_BYTE};
use super::{
    Confidence, DetectionInput, Format, MAX_DEFLATE_RATIO, MAX_UNPACKED_BYTES, is_gzip, read_start,
};
use crate::decode::{DecodedImage, MAX_SIDE, one_line};
use crate::error::{DataError, IdxProblem, ImageError};
use crate::source::{Digest, Source};

pub(crate) static FORMAT: Format = Format {
    name: "idx",
    about: "an idx file of images (MNIST), gzipped or not, or a folder of idx files",
    detect,
    open: |path, split, classes| {
        Ok(Box::new(IdxSource::open(&idx_files::find(path, split)?, classes)?))
    },
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

/// Images of one size, with labels if there are any.
struct IdxSource {
    path: PathBuf,
    count: usize,
    height: u32,
    width: u32,
    pixels: IdxPixels,
    /// `[N]`.
    labels: Option<Vec<u8>>,
    class_names: Vec<String>,
}

/// Where the pixels `[N, H, W]` are.
enum IdxPixels {
    /// The pixels of a gzipped file, which cannot be read at random positions.
    Memory(Vec<u8>),
    /// After the header; read when they are loaded.
    File(FileReader),
}

impl IdxSource {
    /// Reads the files; `classes` are the labels' names, by default their numbers.
    fn open(files: &IdxFiles, classes: Option<&[&str]>) -> Result<Self, DataError> {
        let ([count, height, width], pixels) =
            with_stream(&files.images, |mut stream, length, packed| {
                if packed {
                    let (sides, pixels) =
                        parse::<3>(&mut stream, length, packed, MAX_UNPACKED_BYTES)?;
                    return Ok((sides, IdxPixels::Memory(pixels)));
                }
                let sides = parse_header::<3>(&mut stream, packed)?;
                check_length(elements(&sides), length.saturating_sub(header_bytes(3)))?;
                Ok((
                    sides,
                    IdxPixels::File(FileReader::from(
                        file_io::open(&files.images).map_err(IdxReadError::Io)?,
                    )),
                ))
            })?;
        let labels = match &files.labels {
            None => None,
            Some(path) => {
                let labels = read_labels(path)?;
                if labels.len() != count as usize {
                    return Err(DataError::LabelCount {
                        images_path: files.images.clone(),
                        images: count as usize,
                        labels_path: path.clone(),
                        labels: labels.len(),
                    });
                }
                Some(labels)
            }
        };
        let used = labels.iter().flatten().max().map_or(0, |&label| usize::from(label) + 1);
        let class_names = match classes {
            Some(names) if names.len() >= used => {
                names.iter().map(|&name| name.to_owned()).collect()
            }
            _ => (0..used).map(|label| label.to_string()).collect(),
        };
        let class_names = if labels.is_some() { class_names } else { Vec::new() };
        Ok(Self {
            path: files.images.clone(),
            count: count as usize,
            height,
            width,
            pixels,
            labels,
            class_names,
        })
    }

    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>, String> {
        let size = self.height as usize * self.width as usize;
        match &self.pixels {
            IdxPixels::Memory(pixels) => Ok(Cow::Borrowed(&pixels[index * size..][..size])),
            IdxPixels::File(file) => {
                let mut bytes = vec![0; size];
                let start = header_bytes(3) + index as u64 * size as u64;
                file.read_exact_at(&mut bytes, start).map_err(|error| one_line(&error))?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    fn digest(&self, bytes: &[u8]) -> Digest {
        let mut hash = Sha256::new();
        // The sides too: 2×8 and 4×4 pixels of the same bytes are different images.
        hash.update(self.height.to_le_bytes());
        hash.update(self.width.to_le_bytes());
        hash.update(bytes);
        hash.finalize().into()
    }
}

impl Source for IdxSource {
    fn len(&self) -> usize {
        self.count
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self, index: usize) -> String {
        index.to_string()
    }

    fn load(&self, index: usize) -> Result<DecodedImage<'_>, ImageError> {
        Ok(DecodedImage {
            width: self.width,
            height: self.height,
            channels: 1,
            pixels: self.bytes(index)?,
        })
    }

    fn load_with_digest(&self, index: usize) -> Result<(DecodedImage<'_>, Digest), ImageError> {
        let image = self.load(index)?;
        let digest = self.digest(&image.pixels);
        Ok((image, digest))
    }

    fn check(&self, index: usize) -> Result<Digest, ImageError> {
        Ok(self.digest(&self.bytes(index)?))
    }

    fn read_ahead(&self, index: usize) {
        // A read error is reported when the image is loaded.
        let _ = self.bytes(index);
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.as_ref().map(|labels| u32::from(labels[index]))
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn drop_cache(&mut self) -> u64 {
        match &mut self.pixels {
            IdxPixels::Memory(pixels) => std::mem::take(pixels).len() as u64,
            IdxPixels::File(_) => 0,
        }
    }
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
