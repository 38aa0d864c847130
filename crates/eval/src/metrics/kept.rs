//! Features of sets, kept for the next time.

use super::report::Measured;
use super::rows::Rows;
use super::source::Source;
use crate::network::Extractor;
use crate::{EvalError, Progress};
use runs::{Array, read_state_dict, write_state_dict};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

const FEATURES: &str = "features";
const CLASSES: &str = "classes";

impl Source<'_> {
    /// [`measure`](Self::measure), or what it gave before: the features of a set's pictures are kept in `folder`, under a digest of all that they depend
    /// on. A file that cannot be read is made again, one that cannot be written is done without.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub fn measure_once(
        &self,
        extractor: &Extractor,
        folder: Option<&Path>,
        what: &str,
        progress: Progress<'_>,
    ) -> Result<Measured, EvalError> {
        let path = match (self, folder, extractor) {
            // Pixels are read as fast as what would be kept of them.
            (_, _, Extractor::Pixels(_)) => None,
            (Source::Set { dataset, indices }, Some(folder), _) => {
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
        let (features, classes) = self.measure(extractor, what, progress)?;
        let measured = Measured { features, classes };
        if let Some(path) = path {
            // Without it, it only takes as long the next time.
            let _ = write_state_dict(&path, &arrays(&measured));
        }
        Ok(measured)
    }
}

fn arrays(measured: &Measured) -> BTreeMap<String, Array> {
    let array = |rows: &Rows| Array::f32([rows.len(), rows.width()], rows.values().to_vec());
    let classes = measured.classes.as_ref().map(|rows| (CLASSES.to_owned(), array(rows)));
    [(FEATURES.to_owned(), array(&measured.features))].into_iter().chain(classes).collect()
}

fn read(path: &Path, count: usize) -> Option<Measured> {
    let mut arrays = read_state_dict(path).ok()?;
    let mut rows = |name: &str| {
        let array = arrays.remove(name)?;
        let [rows, width] = array.shape[..] else { return None };
        let values = array.into_f32()?;
        (rows == count && width > 0 && values.iter().all(|value| value.is_finite()))
            .then(|| Rows::new(width, values))
    };
    Some(Measured { features: rows(FEATURES)?, classes: rows(CLASSES) })
}
