//! Cache of a dataset's features on disk.

use super::image_source::ImageSource;
use super::metric::FeatureSet;
use crate::feature_network::FeatureExtractor;
use crate::features::Features;
use crate::{EvalError, Progress};
use runs::{read_state_dict, write_state_dict};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tensor::HostTensor;
use tensor::distributed::ProcessGroup;

/// Names of the tensors in a cache file.
const FEATURES: &str = "features";
const CLASSES: &str = "classes";

impl ImageSource<'_> {
    /// [`extract_features`](Self::extract_features), or its cached result: features of a dataset
    /// are stored in `folder`, in a file named by a hash of all that they depend on. A file that
    /// cannot be read is computed again, a file that cannot be written is not an error.
    ///
    /// # Errors
    /// Returns the errors of [`extract_features`](Self::extract_features).
    pub fn cached_features(
        &self,
        extractor: &FeatureExtractor,
        folder: Option<&Path>,
        task: &str,
        progress: Progress<'_>,
        group: &ProcessGroup,
    ) -> Result<FeatureSet, EvalError> {
        let path = folder.and_then(|folder| self.cache_path(extractor, folder));
        let cached = path.as_deref().and_then(|path| read(path, self.len()));
        // A file that only some ranks have is read by none.
        let is_missing = group.any(cached.is_none());
        if let Some(cached) = cached.filter(|_| !is_missing) {
            return Ok(cached);
        }
        let features = self.extract_features(extractor, task, progress, group)?;
        if let Some(path) = path.filter(|_| group.is_root()) {
            // Without the file the next run only takes as long again.
            let _ = write_state_dict(&path, &arrays(&features));
        }
        Ok(features)
    }

    /// The cache file; `None` if the features are not cached: pixels are read as fast as their
    /// cache would be, and generated images are compared once.
    fn cache_path(&self, extractor: &FeatureExtractor, folder: &Path) -> Option<PathBuf> {
        let (Self::Dataset { dataset, indices }, false) =
            (self, matches!(extractor, FeatureExtractor::Pixels(_)))
        else {
            return None;
        };
        let mut digest = Sha256::new();
        // The last bits of features depend on the device.
        for text in [&extractor.id(), dataset.fingerprint(), &extractor.device().numerics_id()] {
            digest.update(text.as_bytes());
            digest.update([0]);
        }
        indices.iter().for_each(|&index| digest.update((index as u64).to_le_bytes()));
        let name: String =
            digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Some(folder.join(format!("{name}.safetensors")))
    }
}

fn arrays(set: &FeatureSet) -> BTreeMap<String, HostTensor> {
    let array =
        |rows: &Features| HostTensor::f32([rows.len(), rows.width()], rows.values().to_vec());
    let classes = set.classes.as_ref().map(|rows| (CLASSES.to_owned(), array(rows)));
    [(FEATURES.to_owned(), array(&set.features))].into_iter().chain(classes).collect()
}

fn read(path: &Path, count: usize) -> Option<FeatureSet> {
    let mut arrays = read_state_dict(path).ok()?;
    let mut rows = |name: &str| {
        let array = arrays.remove(name)?;
        let [rows, width] = array.shape[..] else { return None };
        let values = array.into_f32()?;
        (rows == count && width > 0 && values.iter().all(|value| value.is_finite()))
            .then(|| Features::new(width, values))
    };
    Some(FeatureSet { features: rows(FEATURES)?, classes: rows(CLASSES) })
}
