//! The images of Parquet files as a dataset.
//!
//! An image in an uncompressed page is read in place. Of a compressed one the whole row group is
//! decoded, and row groups are kept up to [`MAX_KEPT_BYTES`]: reading in sequence decodes each once,
//! reading in random order does so only if all fit.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use parquet::data_type::ByteArray;
use rawzip::{FileReader, ReaderAt as _};

use super::file::{BytesAt, ParquetFile};
use super::rows::{Place, PlaceOfBytes, Rows, name_of};
use crate::attributes::Attributes;
use crate::decode::{MAX_DECODED_BYTES, one_line};
use crate::error::DataError;
use crate::formats::MAX_UNPACKED_BYTES;
use crate::formats::labels::ClassLabels;
use crate::layout_report::LayoutReport;
use crate::source::EncodedStore;

/// Decoded row groups are kept up to this many bytes of images.
const MAX_KEPT_BYTES: u64 = MAX_UNPACKED_BYTES;

/// The images of one split.
pub(super) struct ParquetSource {
    path: PathBuf,
    files: Vec<ParquetFile>,
    /// The file of that index, opened when its first image is read in place.
    readers: Vec<OnceLock<Result<FileReader, String>>>,
    /// The leaf of the schema that has the images.
    column: usize,
    places: Vec<Place>,
    classes: Option<ClassLabels>,
    attributes: Attributes,
    report: LayoutReport,
    kept: Mutex<KeptGroups>,
}

/// The images of a row group, once they are decoded.
type DecodedGroup = Arc<OnceLock<Result<Vec<ByteArray>, String>>>;

/// The row groups that were decoded last, oldest first.
#[derive(Default)]
struct KeptGroups {
    groups: VecDeque<((u32, u32), DecodedGroup, u64)>,
    bytes: u64,
}

impl ParquetSource {
    /// `split` says which of the files these are.
    pub fn new(path: &Path, files: Vec<ParquetFile>, rows: Rows, split: &str) -> Self {
        let Rows { columns, places, classes, attributes, description, notes } = rows;
        let path = match &files[..] {
            [only] => only.path.clone(),
            _ => path.to_owned(),
        };
        let report = LayoutReport { description: format!("{description}; {split}"), notes };
        let readers = files.iter().map(|_| OnceLock::new()).collect();
        let (column, kept) = (columns.image, Mutex::default());
        Self { path, files, readers, column, places, classes, attributes, report, kept }
    }

    fn in_place(&self, file: u32, start: u64, length: u32) -> Result<Vec<u8>, String> {
        let file = file as usize;
        let open = || {
            let opened = file_io::open(&self.files[file].path);
            opened.map(FileReader::from).map_err(|error| one_line(&error))
        };
        let reader = self.readers[file].get_or_init(open).as_ref().map_err(Clone::clone)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length as usize).map_err(|error| one_line(&error))?;
        bytes.resize(length as usize, 0);
        reader.read_exact_at(&mut bytes, start).map_err(|error| one_line(&error))?;
        Ok(bytes)
    }

    fn packed(&self, file: u32, group: u32, image: u32) -> Result<Vec<u8>, String> {
        let key = (file, group);
        let decoded = {
            let mut kept = self.kept.lock();
            match kept.groups.iter().find(|(found, ..)| *found == key) {
                Some((_, decoded, _)) => decoded.clone(),
                None => {
                    let decoded = DecodedGroup::default();
                    kept.groups.push_back((key, decoded.clone(), 0));
                    decoded
                }
            }
        };
        let images = decoded.get_or_init(|| {
            let images = self.decode(file, group)?;
            self.kept.lock().count(key, images.iter().map(|image| image.len() as u64).sum());
            Ok(images)
        });
        let images = images.as_ref().map_err(Clone::clone)?;
        let image = images.get(image as usize).ok_or("its row group has changed")?;
        Ok(image.data().to_vec())
    }

    fn decode(&self, file: u32, group: u32) -> Result<Vec<ByteArray>, String> {
        let mut images = Vec::new();
        let file = &self.files[file as usize];
        let read = file.read_bytes(group as usize, self.column, |value| match value {
            Some(BytesAt::File { bytes, .. } | BytesAt::Packed(bytes)) => {
                images.push(bytes.clone());
            }
            None => {}
        });
        read.map_err(|error: DataError| one_line(&error))?;
        Ok(images)
    }
}

impl KeptGroups {
    /// Counts the bytes of a row group that was decoded, and drops the oldest ones if they are too
    /// many. Readers that use one keep it.
    fn count(&mut self, key: (u32, u32), bytes: u64) {
        if let Some((.., counted)) = self.groups.iter_mut().find(|(found, ..)| *found == key) {
            *counted = bytes;
            self.bytes += bytes;
        }
        while self.bytes > MAX_KEPT_BYTES && self.groups.len() > 1 {
            let Some((_, _, dropped)) = self.groups.pop_front() else { return };
            self.bytes -= dropped;
        }
    }
}

impl EncodedStore for ParquetSource {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self, index: usize) -> String {
        let Place { file, row, .. } = self.places[index];
        name_of(&self.files[file as usize].path, row as usize, self.files.len() > 1)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, String> {
        let Place { file, bytes, .. } = self.places[index];
        let bytes = match bytes {
            PlaceOfBytes::File { length, .. } if u64::from(length) > MAX_DECODED_BYTES => None,
            PlaceOfBytes::File { start, length } => Some(self.in_place(file, start, length)?),
            PlaceOfBytes::Packed { group, image } => Some(self.packed(file, group, image)?),
        };
        bytes
            .filter(|bytes| bytes.len() as u64 <= MAX_DECODED_BYTES)
            .ok_or_else(|| format!("the image has more than {} MiB", MAX_DECODED_BYTES >> 20))
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.classes.as_ref().map(|classes| classes.labels[index])
    }

    fn class_names(&self) -> &[String] {
        self.classes.as_ref().map_or(&[], |classes| &classes.names)
    }

    fn report(&self) -> Option<&LayoutReport> {
        Some(&self.report)
    }

    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn drop_cache(&mut self) -> u64 {
        std::mem::take(self.kept.get_mut()).bytes
    }
}
