//! The interface of a dataset format: decoded images by index, with labels and attributes.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::attributes::{self, Attribute, Attributes};
use crate::decode::{self, DecodedImage};
use crate::error::ImageError;
use crate::folder_listing::FolderListing;
use crate::layout_report::LayoutReport;
use crate::preprocess::Preprocess;

/// The SHA-256 of an image's encoded form.
pub(crate) type Digest = [u8; 32];

/// Which part of a dataset: training or held-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The training split; all images of a dataset without splits.
    #[default]
    Train,
    /// The held-out split.
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// Images of any size, by index.
pub(crate) trait Source: Send + Sync {
    /// The number of images, good and bad.
    fn len(&self) -> usize;

    /// The file or folder they come from, for messages.
    fn path(&self) -> &Path;

    /// The image's name inside the dataset.
    fn name(&self, index: usize) -> String;

    /// The decoded image.
    fn load(&self, index: usize) -> Result<DecodedImage<'_>, ImageError>;

    /// The decoded image and the digest of its encoded form. The digest is the same on every
    /// machine; the output of decoders need not be.
    fn load_with_digest(&self, index: usize) -> Result<(DecodedImage<'_>, Digest), ImageError>;

    /// The digest, after the cheapest check that the image can probably be decoded.
    fn check(&self, index: usize) -> Result<Digest, ImageError>;

    /// The image's class; `Some` for all images or for none.
    fn label(&self, index: usize) -> Option<u32>;

    /// The label that goes into the fingerprint.
    fn hashed_label(&self, index: usize) -> Option<u32> {
        self.label(index)
    }

    /// The names of the classes 0, 1, …; empty without labels.
    fn class_names(&self) -> &[String];

    /// What was decided about the files, for formats that leave a choice.
    fn report(&self) -> Option<&LayoutReport> {
        None
    }

    /// The file `attributes.csv` of a folder.
    fn table(&self) -> Option<&Path> {
        None
    }

    /// What another process needs to read the same images of a folder; `None` for images that are
    /// not files. `root` is the path of the dataset.
    fn listing(&self, _root: &Path) -> Option<FolderListing> {
        None
    }

    /// The columns of the attribute table; empty without attributes.
    fn columns(&self) -> &[Attribute] {
        &[]
    }

    /// The image's value in each of the [`columns`](Self::columns).
    fn attributes_of(&self, _index: usize) -> Vec<f32> {
        Vec::new()
    }

    /// The part of `preprocess` that is still to be applied to the images that `load` returns.
    fn pending_preprocess(&self, preprocess: &Preprocess) -> Preprocess {
        preprocess.clone()
    }

    /// The dataset's fingerprint, if it is known without reading an image; then all images are
    /// assumed to be good.
    fn fingerprint(&self, _preprocess: &Preprocess) -> Option<String> {
        None
    }

    /// A hint that the image will be loaded soon, for sources that can prefetch.
    fn prefetch(&self, _index: usize) {}

    /// Reads the image's bytes and discards them, so that the page cache holds them when the image
    /// is loaded.
    fn read_ahead(&self, _index: usize) {}

    /// Called once all pixels are cached elsewhere: frees the memory that only `load` needs, and
    /// returns its bytes.
    fn drop_cache(&mut self) -> u64 {
        0
    }
}

/// A source of encoded image files (PNG, JPEG …), which differ only in where their bytes are.
pub(crate) trait EncodedStore: Send + Sync {
    fn len(&self) -> usize;
    fn path(&self) -> &Path;
    fn name(&self, index: usize) -> String;

    /// The image file's bytes, at most [`MAX_DECODED_BYTES`](decode::MAX_DECODED_BYTES).
    fn read(&self, index: usize) -> Result<Vec<u8>, String>;

    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    fn hashed_label(&self, index: usize) -> Option<u32> {
        self.label(index)
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn report(&self) -> Option<&LayoutReport> {
        None
    }

    fn table(&self) -> Option<&Path> {
        None
    }

    fn listing(&self, _root: &Path) -> Option<FolderListing> {
        None
    }

    fn attributes(&self) -> &Attributes {
        &attributes::NONE
    }

    fn drop_cache(&mut self) -> u64 {
        0
    }
}

impl<T: EncodedStore> Source for T {
    fn len(&self) -> usize {
        EncodedStore::len(self)
    }

    fn path(&self) -> &Path {
        EncodedStore::path(self)
    }

    fn name(&self, index: usize) -> String {
        EncodedStore::name(self, index)
    }

    fn load(&self, index: usize) -> Result<DecodedImage<'_>, ImageError> {
        decode::decode(&self.read(index)?, Path::new(&EncodedStore::name(self, index)))
    }

    fn load_with_digest(&self, index: usize) -> Result<(DecodedImage<'_>, Digest), ImageError> {
        let bytes = self.read(index)?;
        let image = decode::decode(&bytes, Path::new(&EncodedStore::name(self, index)))?;
        Ok((image, Sha256::digest(&bytes).into()))
    }

    fn check(&self, index: usize) -> Result<Digest, ImageError> {
        let bytes = self.read(index)?;
        decode::check_header(&bytes, Path::new(&EncodedStore::name(self, index)))?;
        Ok(Sha256::digest(&bytes).into())
    }

    fn read_ahead(&self, index: usize) {
        // A read error is reported when the image is loaded.
        let _ = self.read(index);
    }

    fn label(&self, index: usize) -> Option<u32> {
        EncodedStore::label(self, index)
    }

    fn hashed_label(&self, index: usize) -> Option<u32> {
        EncodedStore::hashed_label(self, index)
    }

    fn class_names(&self) -> &[String] {
        EncodedStore::class_names(self)
    }

    fn report(&self) -> Option<&LayoutReport> {
        EncodedStore::report(self)
    }

    fn table(&self) -> Option<&Path> {
        EncodedStore::table(self)
    }

    fn listing(&self, root: &Path) -> Option<FolderListing> {
        EncodedStore::listing(self, root)
    }

    fn columns(&self) -> &[Attribute] {
        &self.attributes().columns
    }

    fn attributes_of(&self, index: usize) -> Vec<f32> {
        self.attributes().of(index).to_vec()
    }

    fn drop_cache(&mut self) -> u64 {
        EncodedStore::drop_cache(self)
    }
}
