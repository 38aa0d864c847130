//! A set of images of one shape, ready to be batched.

use std::fmt;
use std::path::PathBuf;

use parking_lot::Mutex;

use crate::attributes::Attribute;
use crate::error::{DataError, SkippedImage};
use crate::fit::{fit_image, to_float};
use crate::preprocess::Preprocess;
use crate::scan::{ScanProgress, ScanResult, is_too_many, scan};
use crate::source::{Source, Split};
use crate::spec::DataSpec;

/// Preprocessed images are kept in memory up to this many bytes (2 GiB: 170,000 images of 64×64×3); larger sets are
/// decoded again in each epoch, by the loader's threads.
pub const CACHE_BYTES: u64 = 2 << 30;

/// Images of one shape `[H, W, C]`, numbered from 0, with a class each where the source has them.
///
/// Shared by reference (`Arc`) between loaders and threads.
pub struct Dataset {
    name: String,
    source: Box<dyn Source>,
    preprocess: Preprocess,
    /// What of that is not done by the source.
    pending_preprocess: Preprocess,
    /// From our numbers to the source's.
    kept: Vec<u32>,
    /// `[len, H, W, C]`.
    pixels: Option<Vec<u8>>,
    skipped: Vec<SkippedImage>,
    /// Numbers of images that turned out bad only when they were decoded; sorted.
    failed: Mutex<Vec<usize>>,
    fingerprint: String,
}

impl Dataset {
    /// Opens what `spec` names (see [`DataSpec`]) and decodes it on all cores, with `progress` called now and then from
    /// this thread.
    ///
    /// Images that cannot be decoded are left out and listed in [`skipped`](Self::skipped). A set larger than
    /// [`CACHE_BYTES`] once preprocessed is not decoded here: each file is read once and its header checked. Of a packed file
    /// nothing is read: its images are checked as they are used.
    ///
    /// # Errors
    /// Nothing there, no such split, no images, more than 10 % of them bad, damaged files, preprocessing out of
    /// range, or not enough memory.
    pub fn open(
        spec: &str,
        split: Split,
        preprocess: &Preprocess,
        progress: &dyn Fn(ScanProgress),
    ) -> Result<Self, DataError> {
        Self::open_within(spec, split, preprocess, CACHE_BYTES, progress)
    }

    /// [`open`](Self::open) with another limit, in bytes, on the memory for decoded images.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_within(
        spec: &str,
        split: Split,
        preprocess: &Preprocess,
        cache_bytes: u64,
        progress: &dyn Fn(ScanProgress),
    ) -> Result<Self, DataError> {
        preprocess.validate()?;
        let spec = DataSpec::parse(spec)?;
        let name = spec.name();
        let mut source = spec.open(split)?;
        let ScanResult { kept, pixels, skipped, fingerprint } =
            scan(source.as_ref(), &name, preprocess, cache_bytes, progress)?;
        if pixels.is_some() {
            source.drop_cache();
        }
        Ok(Self {
            name,
            pending_preprocess: source.pending_preprocess(preprocess),
            source,
            preprocess: preprocess.clone(),
            kept,
            pixels,
            skipped,
            failed: Mutex::default(),
            fingerprint,
        })
    }

    /// The number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Never: opening an empty set fails.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// `[H, W, C]` of every image.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.preprocess.shape()
    }

    /// How pictures are brought to that shape.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The built-in name, or the last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of an image inside the set: its path in the folder or archive, its key, or its number.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    #[must_use]
    #[track_caller]
    pub fn image_name(&self, index: usize) -> String {
        self.source.name(self.source_index(index))
    }

    /// The folder in which the images' [names](Self::image_name) are paths of files; `None` where they lie otherwise.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        let folder = self.source.path();
        (folder.is_dir() && !self.is_empty() && folder.join(self.image_name(0)).is_file())
            .then(|| folder.to_owned())
    }

    /// The class of an image, below the number of [`class_names`](Self::class_names); either all images have one or none.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    #[must_use]
    #[track_caller]
    pub fn label(&self, index: usize) -> Option<u32> {
        self.source.label(self.source_index(index))
    }

    /// The names of classes 0, 1, …; empty if there are no labels.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    /// What is known of the images besides their classes; empty where nothing is.
    #[must_use]
    pub fn attribute_columns(&self) -> &[Attribute] {
        self.source.columns()
    }

    /// The attributes of an image, a value for each of the [columns](Self::attribute_columns): 0 or 1, a number, or the
    /// number of a word.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    #[must_use]
    #[track_caller]
    pub fn attributes(&self, index: usize) -> Vec<f32> {
        self.source.attributes_of(self.source_index(index))
    }

    /// SHA-256, in hexadecimal, of the images' encoded content, their order, labels and attributes, and the preprocessing.
    ///
    /// The same on every machine, wherever the set lies and whatever its files' times, names (as long as the order is
    /// the same) and compression (idx).
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The images that could not be decoded when the set was open_database, in order.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedImage] {
        &self.skipped
    }

    /// Whether all images are in memory.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.pixels.is_some()
    }

    /// The images found bad after opening (only where the set is not cached), in order of their numbers.
    #[must_use]
    pub fn failed(&self) -> Vec<usize> {
        self.failed.lock().clone()
    }

    /// Writes an image, `[H, W, C]`, into `out`: each byte x as x / 127.5 − 1, so in `[-1, 1]`.
    ///
    /// # Errors
    /// [`DataError::Decode`] names a file that cannot be decoded (any more); never for a cached set.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len), or `out` is not `H·W·C` long.
    #[track_caller]
    pub fn write(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        self.try_write(index, out).map_err(|reason| DataError::Decode {
            path: self.source.path().join(self.image_name(index)),
            reason,
        })
    }

    /// Writes the first image from `index` on (then from 0) that can be decoded, and says which it was.
    ///
    /// What is bad is replaced by its neighbour, so that the outcome depends on the files alone, not on which thread met
    /// them when. The 10 % rule of opening holds here too.
    pub(crate) fn write_or_next(&self, index: usize, out: &mut [f32]) -> Result<usize, DataError> {
        for index in (index..self.len()).chain(0..index) {
            match self.try_write(index, out) {
                Ok(()) => return Ok(index),
                Err(reason) => self.note_failure(index, &reason)?,
            }
        }
        Err(DataError::NoImages { path: self.source.path().to_owned(), files: self.len() })
    }

    /// These images will be written soon. Knowing all of a batch lets the disk serve its reads at once and in its own order.
    pub(crate) fn prefetch(&self, indices: &[u32]) {
        if self.pixels.is_none() {
            indices
                .iter()
                .for_each(|&index| self.source.prefetch(self.source_index(index as usize)));
        }
    }

    /// Has the system read these images, and returns when it has; nothing where they are in memory.
    pub(crate) fn read_ahead(&self, indices: &[u32]) {
        self.prefetch(indices);
        indices.iter().for_each(|&index| self.source.read_ahead(self.source_index(index as usize)));
    }

    fn note_failure(&self, index: usize, reason: &str) -> Result<(), DataError> {
        let mut failed = self.failed.lock();
        if let Err(place) = failed.binary_search(&index) {
            failed.insert(place, index);
        }
        let bad = failed.len() + self.skipped.len();
        if is_too_many(bad, self.source.len()) {
            return Err(DataError::TooManyBad {
                path: self.source.path().to_owned(),
                bad,
                total: self.source.len(),
                first: format!("{:?}: {reason}", self.image_name(index)),
            });
        }
        Ok(())
    }

    #[track_caller]
    fn try_write(&self, index: usize, out: &mut [f32]) -> Result<(), String> {
        let size = self.preprocess.image_len();
        assert_eq!(
            out.len(),
            size,
            "Dataset::write: an image has {:?} = {size} values",
            self.shape()
        );
        let source_index = self.source_index(index);
        match &self.pixels {
            Some(pixels) => to_float(&pixels[index * size..][..size], out),
            None => {
                let mut bytes = vec![0; size];
                fit_image(&self.source.load(source_index)?, &self.pending_preprocess, &mut bytes)?;
                to_float(&bytes, out);
            }
        }
        Ok(())
    }

    #[track_caller]
    fn source_index(&self, index: usize) -> usize {
        assert!(index < self.len(), "Dataset: image {index} of {}", self.len());
        self.kept[index] as usize
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Dataset");
        out.field("name", &self.name).field("len", &self.len()).field("shape", &self.shape());
        out.field("cached", &self.is_cached()).finish_non_exhaustive()
    }
}
