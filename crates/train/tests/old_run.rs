//! A run of an earlier version, whose recipe and state have old keys, resumes with the same bits.

use data::{Dataset, Split};
use runs::{RunDir, checkpoint};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tensor::Device;
use train::{Trainer, run};

#[test]
fn old_checkpoint_resumes() {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runs/tests/old_run/checkpoints");
    let load =
        |step: u64| checkpoint::load(&old.join(format!("step-{step:08}.safetensors"))).unwrap();
    let mut trainer = Trainer::resume(&load(2), &Device::Cpu).unwrap();
    let settings = trainer.settings().clone();
    assert_eq!((trainer.steps_done(), settings.steps), (2, 4));
    let data = Dataset::open(&settings.data, Split::Train, &settings.preprocess, &|_| ()).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let run_dir = RunDir::create_at(&dir.path().join("run")).unwrap();
    let stop = AtomicBool::new(false);
    let outcome = run(&mut trainer, &Arc::new(data), &run_dir, &stop, &mut |_| ()).unwrap();
    let (ended, expected) = (checkpoint::load(&outcome.checkpoint).unwrap(), load(4));
    let numerics =
        |of: &runs::Checkpoint| (of.meta.numerics_id.clone(), of.meta.numerics_version.clone());
    if numerics(&ended) == numerics(&expected) {
        assert!(ended.tensors == expected.tensors, "the same device computes other bits");
    }
    assert!(ended.tensors.keys().eq(expected.tensors.keys()));
    for (name, tensor) in &expected.tensors {
        let pairs = ended.tensors[name].as_f32().into_iter().zip(tensor.as_f32());
        for (found, expected) in pairs.flat_map(|(a, b)| a.iter().zip(b)) {
            assert!((found - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "{name}");
        }
    }
}
