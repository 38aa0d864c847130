//! Features of sets, kept for the next time.

use super::features::Features;
use super::image_source::ImageSource;
use super::report::FeatureSet;
use crate::feature_network::FeatureExtractor;
use crate::{EvalError, Progress};
use runs::{read_state_dict, write_state_dict};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::HostTensor;

const FEATURES: &str = "features";
const CLASSES: &str = "classes";

impl ImageSource<'_> {
    /// [`extract_features`](Self::extract_features), or what it gave before: the features of a set's pictures are kept in `folder`, under a digest of all that they depend
    /// on. A file that cannot be read is made again, one that cannot be written is done without.
    ///
    /// # Errors
    /// As [`extract_features`](Self::extract_features).
    pub fn cached_features(
        &self,
        extractor: &FeatureExtractor,
        folder: Option<&Path>,
        what: &str,
        progress: Progress<'_>,
    ) -> Result<FeatureSet, EvalError> {
        let path = match (self, folder, extractor) {
            // Pixels are read as fast as what would be kept of them.
            (_, _, FeatureExtractor::Pixels(_)) => None,
            (ImageSource::Set { dataset, indices }, Some(folder), _) => {
                let mut digest = Sha256::new();
                for text in
                    [&extractor.id(), dataset.fingerprint(), &extractor.device().numerics_id()]
                {
                    digest.update(text.as_bytes());
                    digest.update([0]);
                }
                indices.iter().for_each(|&index| digest.update((index as u64).to_le_bytes()));
                let name: String =
                    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                Some(folder.join(format!("{name}.safetensors")))
            }
            _ => None,
        };
        if let Some(kept) = path.as_deref().and_then(|path| read(path, self.len())) {
            return Ok(kept);
        }
        let (features, classes) = self.extract_features(extractor, what, progress)?;
        let measured = FeatureSet { features, classes };
        if let Some(path) = path {
            // Without it, it only takes as long the next time.
            let _ = write_state_dict(&path, &arrays(&measured));
        }
        Ok(measured)
    }
}

fn arrays(measured: &FeatureSet) -> BTreeMap<String, HostTensor> {
    let array =
        |rows: &Features| HostTensor::f32([rows.len(), rows.width()], rows.values().to_vec());
    let classes = measured.classes.as_ref().map(|rows| (CLASSES.to_owned(), array(rows)));
    [(FEATURES.to_owned(), array(&measured.features))].into_iter().chain(classes).collect()
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
