//! Images of one size stored as planes of bytes, all red, then green, then blue: CIFAR, STL-10 and
//! SVHN.

use std::borrow::Cow;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use rawzip::{FileReader, ReaderAt as _};
use sha2::{Digest as _, Sha256};

use super::io;
use crate::attributes::{Attribute, Attributes};
use crate::decode::{DecodedImage, one_line};
use crate::error::{DataError, FileProblem, ImageError};
use crate::source::{Digest, Source};

const CHANNELS: usize = 3;

/// The order of the bytes within a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PixelOrder {
    Rows,
    /// Column-major, as in MATLAB.
    Columns,
}

/// Square images, with labels if there are any.
pub(super) struct PlanarSource {
    pub path: PathBuf,
    pub count: usize,
    /// Side in pixels.
    pub side: usize,
    pub order: PixelOrder,
    pub pixels: PlanarPixels,
    pub labels: Option<Vec<u32>>,
    pub class_names: Vec<String>,
    pub attributes: Attributes,
}

/// Where the planes are.
pub(super) enum PlanarPixels {
    /// Read when they are loaded.
    Files(Vec<RecordFile>),
    /// `[N, 3, side, side]`.
    Memory(Vec<u8>),
}

/// A file of records of equal length: a few bytes of labels, then an image.
pub(super) struct RecordFile {
    file: FileReader,
    /// The number of records.
    count: usize,
    /// Bytes before the image in each record.
    label_bytes: usize,
}

impl PlanarSource {
    fn image_len(&self) -> usize {
        image_len(self.side)
    }

    fn planes(&self, index: usize) -> Result<Cow<'_, [u8]>, String> {
        let size = self.image_len();
        match &self.pixels {
            PlanarPixels::Memory(pixels) => Ok(Cow::Borrowed(&pixels[index * size..][..size])),
            PlanarPixels::Files(files) => {
                let mut index = index;
                for part in files {
                    if index < part.count {
                        let start = index as u64 * (size + part.label_bytes) as u64
                            + part.label_bytes as u64;
                        let mut planes = vec![0; size];
                        part.file
                            .read_exact_at(&mut planes, start)
                            .map_err(|error| one_line(&error))?;
                        return Ok(Cow::Owned(planes));
                    }
                    index -= part.count;
                }
                Err("there is no such record".to_owned())
            }
        }
    }

    fn interleaved(&self, planes: &[u8]) -> DecodedImage<'static> {
        let side = self.side;
        let mut pixels = Vec::with_capacity(planes.len());
        for y in 0..side {
            for x in 0..side {
                let at = if self.order == PixelOrder::Rows { y * side + x } else { x * side + y };
                pixels.extend((0..CHANNELS).map(|c| planes[c * side * side + at]));
            }
        }
        DecodedImage {
            width: side as u32,
            height: side as u32,
            channels: CHANNELS as u8,
            pixels: Cow::Owned(pixels),
        }
    }
}

impl Source for PlanarSource {
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
        Ok(self.interleaved(&self.planes(index)?))
    }

    fn load_with_digest(&self, index: usize) -> Result<(DecodedImage<'_>, Digest), ImageError> {
        let planes = self.planes(index)?;
        Ok((self.interleaved(&planes), digest(self.side, &planes)))
    }

    fn check(&self, index: usize) -> Result<Digest, ImageError> {
        Ok(digest(self.side, &self.planes(index)?))
    }

    fn read_ahead(&self, index: usize) {
        // A read error is reported when the image is loaded.
        let _ = self.planes(index);
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.as_ref().map(|labels| labels[index])
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn columns(&self) -> &[Attribute] {
        &self.attributes.columns
    }

    fn attributes_of(&self, index: usize) -> Vec<f32> {
        self.attributes.of(index).to_vec()
    }

    fn drop_cache(&mut self) -> u64 {
        match &mut self.pixels {
            PlanarPixels::Memory(pixels) => std::mem::take(pixels).len() as u64,
            PlanarPixels::Files(_) => 0,
        }
    }
}

fn digest(side: usize, planes: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update((side as u64).to_le_bytes());
    hash.update(planes);
    hash.finalize().into()
}

/// Bytes of an image.
pub(super) fn image_len(side: usize) -> usize {
    CHANNELS * side * side
}

impl RecordFile {
    /// Opens a file of complete records and reads their labels, `[records, label_bytes]`.
    pub fn open(
        format: &'static str,
        path: &Path,
        label_bytes: usize,
        side: usize,
    ) -> Result<(Self, Vec<u8>), DataError> {
        let as_io = |error| io(path, error);
        let file = file_io::open(path).map_err(as_io)?;
        let length = file.metadata().map_err(as_io)?.len();
        let record = (label_bytes + image_len(side)) as u64;
        if length == 0 || length % record != 0 {
            let problem = FileProblem::Truncated(format!(
                "{length} bytes are not a whole number of records of {record} (images of \
                 {side}×{side}), unless it has another format"
            ));
            return Err(DataError::malformed(format, path, problem));
        }
        let count = usize::try_from(length / record)
            .map_err(|_| DataError::Memory { what: "labels".to_owned(), bytes: length })?;
        let mut labels = Vec::new();
        if label_bytes > 0 {
            let mut stream = BufReader::with_capacity(1 << 20, &file);
            let mut bytes = vec![0; record as usize];
            for _ in 0..count {
                stream.read_exact(&mut bytes).map_err(as_io)?;
                labels.extend_from_slice(&bytes[..label_bytes]);
            }
        }
        Ok((Self { file: FileReader::from(file), count, label_bytes }, labels))
    }

    /// The number of records.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// The labels, each checked to be in `range`.
pub(super) fn labels_within(
    format: &'static str,
    path: &Path,
    labels: impl Iterator<Item = i64>,
    range: std::ops::RangeInclusive<u8>,
) -> Result<Vec<u32>, DataError> {
    let check = |(index, label): (usize, i64)| {
        if let Some(label) = u8::try_from(label).ok().filter(|label| range.contains(label)) {
            return Ok(u32::from(label));
        }
        let (label, [low, high]) = (label.to_string(), [*range.start(), *range.end()]);
        let problem = FileProblem::LabelRange { label, image: index, low, high };
        Err(DataError::malformed(format, path, problem))
    };
    labels.enumerate().map(check).collect()
}

/// The lines of a file, which must be `count`; `None` if there is no such file.
pub(super) fn names_file(
    format: &'static str,
    path: &Path,
    count: usize,
) -> Result<Option<Vec<String>>, DataError> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = file_io::read(path).map_err(|error| io(path, error))?;
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Err(DataError::malformed(
            format,
            path,
            FileProblem::NotUtf8("the list of its classes".to_owned()),
        ));
    };
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() != count {
        return Err(DataError::malformed(
            format,
            path,
            FileProblem::ClassCount { found: names.len(), wanted: count },
        ));
    }
    Ok(Some(names))
}
