//! idx, the format of MNIST: a big-endian header `[0, 0, type, dimensions]`, one `u32` a dimension, then the elements.
//!
//! Here the elements are unsigned bytes: images `[N, H, W]` or labels `[N]`, gzipped or not. A header is believed only as
//! far as the file could hold what it promises, so that no lie can make us allocate.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::idx_files::IdxFiles;
use super::{Digest, MAX_DEFLATE_RATIO, Source, is_gzip, read_start};
use crate::decode::{MAX_SIDE, Picture, one_line};
use crate::error::{DataError, IdxProblem};

const UNSIGNED_BYTE: u8 = 8;

/// Images of one size, in memory, with labels where there are some.
pub(super) struct IdxSource {
    path: PathBuf,
    count: usize,
    height: u32,
    width: u32,
    /// `[N, H, W]`.
    pixels: Vec<u8>,
    /// `[N]`.
    labels: Option<Vec<u8>>,
    class_names: Vec<String>,
}

impl IdxSource {
    /// Reads the files; `classes` names the labels, which otherwise are named by their numbers.
    pub fn open(files: &IdxFiles, classes: Option<&[&str]>) -> Result<Self, DataError> {
        let ([count, height, width], pixels) = read::<3>(&files.images)?;
        let labels = match &files.labels {
            None => None,
            Some(path) => {
                let (_, labels) = read::<1>(path)?;
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
            Some(names) if names.len() >= used => names.iter().map(|&name| name.to_owned()).collect(),
            _ => (0..used).map(|label| label.to_string()).collect(),
        };
        let class_names = if labels.is_some() { class_names } else { Vec::new() };
        Ok(Self { path: files.images.clone(), count: count as usize, height, width, pixels, labels, class_names })
    }

    fn bytes(&self, index: usize) -> &[u8] {
        let size = self.height as usize * self.width as usize;
        &self.pixels[index * size..][..size]
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

    fn load(&self, index: usize) -> Result<Picture<'_>, String> {
        let pixels = Cow::Borrowed(self.bytes(index));
        Ok(Picture { width: self.width, height: self.height, channels: 1, pixels })
    }

    fn load_with_digest(&self, index: usize) -> Result<(Picture<'_>, Digest), String> {
        Ok((self.load(index)?, self.check(index)?))
    }

    fn check(&self, index: usize) -> Result<Digest, String> {
        let mut hash = Sha256::new();
        // The sides too: 2×8 and 4×4 pixels of the same bytes are different images.
        hash.update(self.height.to_le_bytes());
        hash.update(self.width.to_le_bytes());
        hash.update(self.bytes(index));
        Ok(hash.finalize().into())
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.as_ref().map(|labels| u32::from(labels[index]))
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn forget_pixels(&mut self) {
        self.pixels = Vec::new();
    }
}

/// Whether the (unpacked) file starts with an idx magic number of any element type and 1 to 4 dimensions.
pub(super) fn starts_like_idx(path: &Path) -> Result<bool, DataError> {
    let magic = unpacked_magic(&read_start(path)?);
    Ok(matches!(magic, Some([0, 0, 0x08 | 0x09 | 0x0B..=0x0E, 1..=4])))
}

/// Whether the (unpacked) file starts with the magic number of images.
pub(super) fn starts_like_images(path: &Path) -> bool {
    read_start(path).is_ok_and(|start| unpacked_magic(&start) == Some([0, 0, UNSIGNED_BYTE, 3]))
}

fn unpacked_magic(start: &[u8]) -> Option<[u8; 4]> {
    if !is_gzip(start) {
        return start.first_chunk().copied();
    }
    let mut magic = [0; 4];
    MultiGzDecoder::new(start).read_exact(&mut magic).ok()?;
    Some(magic)
}

/// Reads a file of `D` dimensions: its sides and its bytes.
fn read<const D: usize>(path: &Path) -> Result<([u32; D], Vec<u8>), DataError> {
    with_stream(path, |mut stream, length, packed| parse::<D>(&mut stream, length, packed))
}

/// Height and width of the pictures, from the header alone.
pub(super) fn size(files: &IdxFiles) -> Result<[u32; 2], DataError> {
    let [_, height, width] = with_stream(&files.images, |mut stream, _, packed| parse_header::<3>(&mut stream, packed))?;
    Ok([height, width])
}

/// Calls `f` with a file's content, unpacked, the file's length, and whether it was packed.
fn with_stream<T>(path: &Path, f: impl FnOnce(&mut dyn Read, u64, bool) -> Result<T, Failure>) -> Result<T, DataError> {
    let as_io = |error| super::io(path, error);
    let packed = is_gzip(&read_start(path)?);
    let file = File::open(path).map_err(as_io)?;
    let length = file.metadata().map_err(as_io)?.len();
    let file = BufReader::with_capacity(1 << 16, file);
    let mut stream: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let result = f(&mut stream, length, packed);
    result.map_err(|failure| match failure {
        Failure::Problem(problem) => DataError::Idx { path: path.to_owned(), problem },
        Failure::Io(error) => as_io(error),
        Failure::Memory(bytes) => DataError::Memory { what: "the images of an idx file", bytes },
    })
}

enum Failure {
    Problem(IdxProblem),
    Io(io::Error),
    Memory(u64),
}

impl From<IdxProblem> for Failure {
    fn from(problem: IdxProblem) -> Self {
        Self::Problem(problem)
    }
}

/// Bytes before the elements.
const fn header_bytes(dimensions: usize) -> u64 {
    4 + 4 * dimensions as u64
}

/// The sides that a header promises.
fn parse_header<const D: usize>(mut stream: impl Read, packed: bool) -> Result<[u32; D], Failure> {
    let header_bytes = header_bytes(D);
    let magic: [u8; 4] = read_header_part(&mut stream, header_bytes, packed)?;
    let role = if D == 3 { "images: count, height, width" } else { "labels: count" };
    match magic {
        [0, 0, UNSIGNED_BYTE, dimensions] if usize::from(dimensions) == D => {}
        [0, 0, UNSIGNED_BYTE, found @ 1..=8] => {
            return Err(IdxProblem::Dimensions { found, wanted: D as u8, role }.into());
        }
        [0, 0, kind @ (0x09 | 0x0B..=0x0E), 1..=8] => return Err(IdxProblem::ElementType(kind).into()),
        other => return Err(IdxProblem::Magic(other).into()),
    }
    let mut sides = [0; D];
    for side in &mut sides {
        *side = u32::from_be_bytes(read_header_part(&mut stream, header_bytes, packed)?);
    }
    check_sides(&sides)?;
    Ok(sides)
}

/// Parses the stream of a file of `length` bytes, `packed` by gzip or not.
fn parse<const D: usize>(mut stream: impl Read, length: u64, packed: bool) -> Result<([u32; D], Vec<u8>), Failure> {
    let sides = parse_header::<D>(&mut stream, packed)?;
    // At most 2³² · 2¹⁴ · 2¹⁴: no overflow.
    let expected: u64 = sides.iter().map(|&side| u64::from(side)).product();
    let room = if packed { length.saturating_mul(MAX_DEFLATE_RATIO) } else { length.saturating_sub(header_bytes(D)) };
    if expected > room {
        let holds = if packed { format!("can hold {room} at most") } else { format!("holds {room}") };
        return Err(truncated(expected, holds));
    }
    let mut data = Vec::new();
    let size = usize::try_from(expected).map_err(|_| Failure::Memory(expected))?;
    data.try_reserve_exact(size).map_err(|_| Failure::Memory(expected))?;
    let read = stream.by_ref().take(expected).read_to_end(&mut data);
    read.map_err(|error| read_failure(error, packed))?;
    if data.len() < size {
        return Err(truncated(expected, format!("holds {}", data.len())));
    }
    // Reading on to the end also has gzip verify its checksum.
    match stream.read(&mut [0]).map_err(|error| read_failure(error, packed))? {
        0 => Ok((sides, data)),
        _ => Err(IdxProblem::Trailing(expected).into()),
    }
}

fn check_sides<const D: usize>(sides: &[u32; D]) -> Result<(), IdxProblem> {
    if sides.contains(&0) {
        let sides = sides.map(|side| side.to_string()).join("×");
        return Err(IdxProblem::Empty(sides));
    }
    match sides.as_slice() {
        &[_, height, width] if height.max(width) > MAX_SIDE => Err(IdxProblem::TooLarge { height, width, limit: MAX_SIDE }),
        _ => Ok(()),
    }
}

fn truncated(expected: u64, holds: String) -> Failure {
    IdxProblem::Truncated { expected: format!("{expected} bytes"), holds }.into()
}

/// Four bytes of the header.
fn read_header_part(stream: &mut impl Read, header_bytes: u64, packed: bool) -> Result<[u8; 4], Failure> {
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

/// Trouble inside a gzip stream is the file's; other trouble is the system's.
fn read_failure(error: io::Error, packed: bool) -> Failure {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        UnexpectedEof if packed => IdxProblem::Gzip("they end early".to_owned()).into(),
        InvalidData | InvalidInput if packed => IdxProblem::Gzip(one_line(&error)).into(),
        _ => Failure::Io(error),
    }
}
