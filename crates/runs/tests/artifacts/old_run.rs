//! A run of version 0.1 of this program, whose keys have since been renamed, is still read.

use runs::{RunDir, checkpoint_retention, metrics, run_dir};
use std::path::Path;

#[test]
fn old_run_is_read() {
    let run =
        RunDir::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/old_run"))).unwrap();
    assert!(run.read_config().unwrap().contains("[watch]"));
    let steps: Vec<u64> = checkpoint_retention::list(&run.checkpoints())
        .unwrap()
        .into_iter()
        .map(|(step, _)| step)
        .collect();
    assert_eq!(steps, [2, 4]);
    let latest = run_dir::resolve_checkpoint(run.path()).unwrap();
    assert!(latest.skipped.is_empty());
    let (meta, tensors) = (latest.checkpoint.meta, latest.checkpoint.tensors);
    assert_eq!((meta.step, meta.recipe_name.as_str()), (4, "small"));
    assert!(!meta.numerics_id.is_empty() && !meta.numerics_version.is_empty());
    assert_eq!(meta.dataset.name, "fashion-mnist");
    assert!(["g.", "d.", "ema."].iter().all(|p| tensors.keys().any(|name| name.starts_with(p))));

    let rows = metrics::read(&run.metrics()).unwrap();
    assert_eq!(rows.iter().map(|row| row.step).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let keys: Vec<_> = rows[1].extra.keys().map(String::as_str).collect();
    assert_eq!(keys, ["d_accuracy", "diversity", "duplicates", "g_grad_norm", "spectral_peak"]);
    assert_eq!(rows[0].extra["g_grad_norm"], 0.052636612206697464);
}

/// Keys that the committed run does not have: alerts and the memorization score.
#[test]
fn old_keys_of_metrics_are_read_under_the_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let row = r#"{"step":1,"d_loss":1,"g_loss":1,"d_real":0.5,"d_fake":0.5,"images_per_second":1,"#;
    let extra =
        r#""seconds":1,"findings":["d-wins"],"eval/memorised":0.5,"eval/memorised_real":1}"#;
    std::fs::write(&path, format!("{row}{extra}\n")).unwrap();
    let rows = metrics::read(&path).unwrap();
    let keys: Vec<_> = rows[0].extra.keys().map(String::as_str).collect();
    assert_eq!(keys, ["alerts", "eval/memorized", "eval/memorized_real"]);
    assert_eq!(rows[0].extra["eval/memorized"], 0.5);
}
