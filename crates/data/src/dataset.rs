//! A dataset of images of one shape, ready to be batched.

use std::fmt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tensor::distributed::ProcessGroup;

use crate::attributes::Attribute;
use crate::error::{DataError, ImageError, SkippedImage};
use crate::fit::{fit_image, to_float};
use crate::layout_report::LayoutReport;
use crate::preprocess::Preprocess;
use crate::ranks::{self, Agreement};
use crate::scan::{self, ScanProgress, ScanResult, is_too_many};
use crate::source::{Source, Split};

/// Preprocessed images are cached in memory up to this many bytes (2 GiB: 170,000 images of
/// 64×64×3). Larger datasets are decoded in each epoch, by the loader's threads.
pub const CACHE_BYTES: u64 = 2 << 30;

/// Images of one shape `[H, W, C]`, indexed from 0, with a class each if the source has labels.
///
/// Shared by reference (`Arc`) between loaders and threads.
///
/// ```
/// use data::{Dataset, Preprocess, Split};
///
/// let preprocess = Preprocess::new([28, 28], 1);
/// let dataset = Dataset::open("fashion-mnist", Split::Test, &preprocess, &|_| ())?;
/// assert_eq!((dataset.len(), dataset.shape()), (10_000, [28, 28, 1]));
/// assert_eq!(dataset.class_names()[dataset.label(0).unwrap() as usize], "Ankle boot");
/// # Ok::<(), data::DataError>(())
/// ```
pub struct Dataset {
    name: String,
    source: Box<dyn Source>,
    preprocess: Preprocess,
    /// The part of the preprocessing that the source has not applied already.
    pending_preprocess: Preprocess,
    /// The source's index of each image.
    kept: Vec<u32>,
    /// `[len, H, W, C]`.
    pixels: Option<Vec<u8>>,
    /// Bytes of the source that were in memory beside them while it was opened.
    source_bytes: u64,
    skipped: Vec<SkippedImage>,
    /// Indices of images that turned out to be bad only when they were decoded; sorted.
    failed: Mutex<Vec<usize>>,
    fingerprint: String,
}

impl Dataset {
    /// Opens the dataset `spec` (see [`DataSpec`](crate::DataSpec)) and decodes it on all cores.
    /// `progress` is called from this thread.
    ///
    /// Images that cannot be decoded are left out and listed in [`skipped`](Self::skipped). A
    /// dataset larger than [`CACHE_BYTES`] after preprocessing is not decoded here: each file is
    /// read once and its header checked. Of a packed file nothing is read: its images are checked
    /// when they are used.
    ///
    /// # Errors
    /// Returns an error if the data do not exist, have no such split or no images, if more than 10
    /// % of the images are bad, if files are damaged, if the preprocessing is out of range, or if
    /// memory is short.
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
    /// Returns an error as [`open`](Self::open) does.
    pub fn open_within(
        spec: &str,
        split: Split,
        preprocess: &Preprocess,
        cache_bytes: u64,
        progress: &dyn Fn(ScanProgress),
    ) -> Result<Self, DataError> {
        let alone = ProcessGroup::default();
        Self::open_on(&alone, spec, split, preprocess, cache_bytes, progress)
    }

    /// [`open_within`](Self::open_within) by all ranks of `group`, which call this with the same
    /// arguments and get the same images or an error.
    ///
    /// Rank 0 lists a folder of images, and reads its labels and tables; the others get the result
    /// (without the [notes](LayoutReport::notes) of the report), so that a file that appears
    /// meanwhile is part of the dataset of all ranks or of none. Other formats are opened by each
    /// rank from its own files. If the decoded images are kept in memory, each rank decodes a part
    /// of them and sends it to the others; else each checks all files.
    ///
    /// ```
    /// use data::{CACHE_BYTES, Dataset, Preprocess, Split};
    /// use tensor::distributed::run_on_threads;
    ///
    /// let preprocess = Preprocess::new([8, 8], 1);
    /// let lengths = run_on_threads(2, |group| {
    ///     let spec = "fashion-mnist";
    ///     Dataset::open_on(&group, spec, Split::Test, &preprocess, CACHE_BYTES, &|_| ())
    ///         .map(|dataset| dataset.len())
    ///         .ok()
    /// });
    /// assert_eq!(lengths, [Some(10_000); 2]);
    /// ```
    ///
    /// # Errors
    /// Returns an error on all ranks, or on none. If rank 0 cannot open the dataset, or all ranks
    /// fail for the same reason, that is the error of [`open`](Self::open); on the other ranks, and
    /// if some ranks fail or have other images, [`DataError::Ranks`].
    pub fn open_on(
        group: &ProcessGroup,
        spec: &str,
        split: Split,
        preprocess: &Preprocess,
        cache_bytes: u64,
        progress: &dyn Fn(ScanProgress),
    ) -> Result<Self, DataError> {
        let opened = ranks::open_source(group, spec, split, preprocess)?;
        let opened = opened.and_then(|(name, source)| {
            let pixels = scan::reserve_pixels(source.as_ref(), &name, preprocess, cache_bytes)?;
            Ok((name, source, pixels))
        });
        let (name, mut source, pixels) =
            ranks::agree(group, spec, opened, |(_, source, _)| Agreement {
                images: source.len(),
                settings: Some((preprocess.clone(), cache_bytes)),
                fingerprint: source.fingerprint(preprocess),
                first_skipped: None,
            })?;
        let scanned = scan::scan(group, spec, source.as_ref(), preprocess, pixels, progress);
        let ScanResult { kept, pixels, skipped, fingerprint } =
            ranks::agree(group, spec, scanned, |result| Agreement {
                images: result.kept.len(),
                settings: None,
                fingerprint: Some(result.fingerprint.clone()),
                first_skipped: result.skipped.first().map(ToString::to_string),
            })?;
        let source_bytes = if pixels.is_some() { source.drop_cache() } else { 0 };
        Ok(Self {
            name,
            pending_preprocess: source.pending_preprocess(preprocess),
            source,
            preprocess: preprocess.clone(),
            kept,
            pixels,
            source_bytes,
            skipped,
            failed: Mutex::default(),
            fingerprint,
        })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Always false: opening an empty dataset fails.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// `[H, W, C]` of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.preprocess.shape()
    }

    /// The preprocessing that gives them this shape.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The built-in name, or the last component of the path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of an image inside the dataset: its path in the folder or archive, its key, or its
    /// index.
    ///
    /// # Panics
    /// Panics if `index` is not below [`len`](Self::len).
    #[track_caller]
    pub fn image_name(&self, index: usize) -> String {
        self.source.name(self.source_index(index))
    }

    /// The folder in which the images' [names](Self::image_name) are file paths; `None` for other
    /// formats.
    pub fn folder(&self) -> Option<PathBuf> {
        let folder = self.source.path();
        (folder.is_dir() && !self.is_empty() && folder.join(self.image_name(0)).is_file())
            .then(|| folder.to_owned())
    }

    /// The class of an image, below the number of [`class_names`](Self::class_names). Either all
    /// images have one or none.
    ///
    /// # Panics
    /// Panics if `index` is not below [`len`](Self::len).
    #[track_caller]
    pub fn label(&self, index: usize) -> Option<u32> {
        self.source.label(self.source_index(index))
    }

    /// The names of classes 0, 1, …; empty if there are no labels.
    pub fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    /// What was decided about the files of a folder or archive: classes, split, and what is left
    /// out. `None` for formats that leave no choice.
    pub fn report(&self) -> Option<&LayoutReport> {
        self.source.report()
    }

    /// The file `attributes.csv` from which the attributes of a folder were read.
    pub(crate) fn table(&self) -> Option<&Path> {
        self.source.table()
    }

    /// The columns of the attribute table; empty without attributes.
    pub fn attribute_columns(&self) -> &[Attribute] {
        self.source.columns()
    }

    /// The attributes of an image, one value per [column](Self::attribute_columns): 0 or 1, a
    /// number, or the index of a word.
    ///
    /// # Panics
    /// Panics if `index` is not below [`len`](Self::len).
    #[track_caller]
    pub fn attributes(&self, index: usize) -> Vec<f32> {
        self.source.attributes_of(self.source_index(index))
    }

    /// The SHA-256, in hexadecimal, of the images' encoded contents, their order, labels and
    /// attributes, and the preprocessing.
    ///
    /// It is the same on every machine, and independent of the dataset's path and of its files'
    /// times, names (if the order is the same) and compression (idx).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The images that could not be decoded when the dataset was opened, in order.
    pub fn skipped(&self) -> &[SkippedImage] {
        &self.skipped
    }

    /// Bytes of the images in memory: of all of them, or 0.
    pub fn cached_bytes(&self) -> u64 {
        self.pixels.as_ref().map_or(0, |pixels| pixels.len() as u64)
    }

    /// Bytes that were in memory beside [those of the images](Self::cached_bytes) while the dataset
    /// was opened, and no longer are: an archive, idx file or MAT-file, unpacked.
    pub fn source_bytes(&self) -> u64 {
        self.source_bytes
    }

    /// Whether all images are in memory.
    pub fn is_cached(&self) -> bool {
        self.pixels.is_some()
    }

    /// The indices of the images found bad after opening (only in a dataset that is not cached),
    /// sorted. Each process knows those that it had to decode.
    pub fn failed(&self) -> Vec<usize> {
        self.failed.lock().clone()
    }

    /// Writes an image, `[H, W, C]`, into `out`: each byte x as x / 127.5 − 1, so in `[-1, 1]`.
    ///
    /// # Errors
    /// Returns [`DataError::Decode`] if the file cannot be decoded, or no longer; never for a
    /// cached dataset.
    ///
    /// # Panics
    /// Panics if `index` is not below [`len`](Self::len), or if `out` is not `H·W·C` long.
    #[track_caller]
    pub fn write(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        self.try_write(index, out)
            .map_err(|error| error.of_file(&self.source.path().join(self.image_name(index))))
    }

    /// Writes the first image from `index` on (then from 0) that can be decoded, and returns its
    /// index.
    ///
    /// A bad image is replaced by the next one, so that the result depends on the files alone and
    /// not on the order in which threads read them. More than 10 % bad images are an error, as in
    /// `open`.
    pub(crate) fn write_or_next(&self, index: usize, out: &mut [f32]) -> Result<usize, DataError> {
        for index in (index..self.len()).chain(0..index) {
            match self.try_write(index, out) {
                Ok(()) => return Ok(index),
                Err(error) => {
                    let reason = error.reason(&self.image_name(index))?;
                    self.note_failure(index, &reason)?;
                }
            }
        }
        Err(DataError::NoImages {
            path: self.source.path().to_owned(),
            files: self.len(),
            notes: Vec::new(),
        })
    }

    /// A hint that these images will be written soon. Knowing a whole batch lets the disk order its
    /// reads.
    pub(crate) fn prefetch(&self, indices: &[u32]) {
        if self.pixels.is_none() {
            indices
                .iter()
                .for_each(|&index| self.source.prefetch(self.source_index(index as usize)));
        }
    }

    /// Reads these images into the page cache and returns when it is done; a cached dataset has
    /// nothing to read.
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
    fn try_write(&self, index: usize, out: &mut [f32]) -> Result<(), ImageError> {
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
