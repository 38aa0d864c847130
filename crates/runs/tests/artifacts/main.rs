//! The files of a run: complete or absent, verified when read, and one line for every error.

mod checkpoint;
mod checkpoint_retention;
mod damage;
mod disk;
mod images;
mod import;
mod metrics;
mod npz;
mod old_run;
mod pytorch;
mod run_dir;
mod tensorboard;

use runs::{Checkpoint, CheckpointMeta, DatasetId};
use std::collections::BTreeMap;
use tensor::HostTensor;

/// A small checkpoint with every kind of content.
fn sample(step: u64) -> Checkpoint {
    let ramp = |len: usize| (0..len).map(|i| (i as f32 - 3.0) * 0.1 + step as f32).collect();
    Checkpoint {
        meta: CheckpointMeta {
            step,
            recipe: "name = \"tiny\"\n[image]\nside = 28 # größe\n".to_owned(),
            recipe_name: "tiny".to_owned(),
            dataset: DatasetId { name: "fashion-mnist".to_owned(), fingerprint: "ab12".to_owned() },
            state: serde_json::json!({
                "seed": u64::MAX, "lr": 0.1 + 0.2, "cursor": { "epoch": 3, "next": -1 }
            }),
            numerics_id: "avx2".to_owned(),
            numerics_version: "2026-1".to_owned(),
        },
        tensors: BTreeMap::from([
            ("generator.main.0.weight".to_owned(), HostTensor::f32([2, 3, 1], ramp(6))),
            ("generator.main.1.bias".to_owned(), HostTensor::f32([5], ramp(5))),
            ("generator.main.1.num_batches_tracked".to_owned(), HostTensor::scalar_i64(-7)),
            ("empty".to_owned(), HostTensor::f32([0, 4], Vec::new())),
        ]),
    }
}

/// Asserts the variant of an error, and that its message is a single line that names the path and
/// knows no flag or command.
macro_rules! assert_error {
    ($error:expr, $path:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $error;
        crate::assert_names(&error, $path.as_ref());
        assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}");
    }};
}
pub(crate) use assert_error;

fn assert_names(error: &runs::ArtifactError, path: &std::path::Path) {
    let text = error.to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    assert!(text.contains(path.to_str().unwrap()), "does not name {path:?}: {text}");
    assert!(!text.contains("--") && !text.contains("dcgan "), "knows the command line: {text}");
}
