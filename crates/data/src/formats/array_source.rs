//! Images of one size whose pixels are bytes, one image after the other: idx files and NumPy's
//! arrays.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rawzip::{FileReader, ReaderAt as _};
use sha2::{Digest as _, Sha256};

use super::io;
use super::labels::ClassLabels;
use crate::decode::{DecodedImage, one_line};
use crate::error::{DataError, ImageError};
use crate::layout_report::LayoutReport;
use crate::source::{Digest, Source};

/// Images of one size, with labels if there are any.
pub(super) struct ArraySource {
    pub path: PathBuf,
    pub shape: ImageShape,
    pub pixels: ArrayPixels,
    pub classes: Option<ClassLabels>,
    pub report: Option<LayoutReport>,
}

/// The images of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImageShape {
    pub count: usize,
    pub height: u32,
    pub width: u32,
    pub channels: u8,
    /// Whether each image is channels first.
    pub planar: bool,
}

impl ImageShape {
    /// Bytes of an image.
    pub fn image_len(&self) -> usize {
        self.height as usize * self.width as usize * usize::from(self.channels)
    }
}

/// Where the images are, one after the other.
pub(super) enum ArrayPixels {
    /// Of a compressed file, which cannot be read at random positions.
    Memory(Vec<u8>),
    /// In a file from this byte on; read when they are loaded.
    File { file: FileReader, start: u64 },
}

impl ArrayPixels {
    /// Those in the file at `path`, from the byte `start` on.
    pub fn open(path: &Path, start: u64) -> Result<Self, DataError> {
        let file = file_io::open(path).map_err(|error| io(path, error))?;
        Ok(Self::File { file: FileReader::from(file), start })
    }
}

impl ArraySource {
    /// `[H, W, C]`.
    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>, String> {
        let size = self.shape.image_len();
        let stored = match &self.pixels {
            ArrayPixels::Memory(pixels) => Cow::Borrowed(&pixels[index * size..][..size]),
            ArrayPixels::File { file, start } => {
                let mut bytes = vec![0; size];
                let at = start + index as u64 * size as u64;
                file.read_exact_at(&mut bytes, at).map_err(|error| one_line(&error))?;
                Cow::Owned(bytes)
            }
        };
        let channels = usize::from(self.shape.channels);
        if !self.shape.planar || channels == 1 {
            return Ok(stored);
        }
        let plane = size / channels;
        let pixel = |at: usize| (0..channels).map(move |c| c * plane + at);
        Ok(Cow::Owned((0..plane).flat_map(pixel).map(|at| stored[at]).collect()))
    }

    /// The same for gray images of both formats.
    fn digest(&self, bytes: &[u8]) -> Digest {
        let mut hash = Sha256::new();
        // The sides too: 2×8 and 4×4 pixels of the same bytes are different images.
        hash.update(self.shape.height.to_le_bytes());
        hash.update(self.shape.width.to_le_bytes());
        if self.shape.channels > 1 {
            hash.update([self.shape.channels]);
        }
        hash.update(bytes);
        hash.finalize().into()
    }
}

impl Source for ArraySource {
    fn len(&self) -> usize {
        self.shape.count
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self, index: usize) -> String {
        index.to_string()
    }

    fn load(&self, index: usize) -> Result<DecodedImage<'_>, ImageError> {
        let ImageShape { width, height, channels, .. } = self.shape;
        Ok(DecodedImage { width, height, channels, pixels: self.bytes(index)? })
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
        self.classes.as_ref().map(|classes| classes.labels[index])
    }

    fn class_names(&self) -> &[String] {
        self.classes.as_ref().map_or(&[], |classes| &classes.names)
    }

    fn report(&self) -> Option<&LayoutReport> {
        self.report.as_ref()
    }

    fn drop_cache(&mut self) -> u64 {
        match &mut self.pixels {
            ArrayPixels::Memory(pixels) => std::mem::take(pixels).len() as u64,
            ArrayPixels::File { .. } => 0,
        }
    }
}
