//! A run has the same bits whatever interrupts it, and on any number of threads.

#[path = "common/fixtures.rs"]
mod fixtures;
#[path = "../../tensor/tests/common/numerics_env.rs"]
mod numerics_env;

#[path = "common/settings.rs"]
mod settings;

use data::{Dataset, Split};
use runs::{Checkpoint, RunDir, checkpoint_retention, metrics};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tensor::{Device, set_conv_algorithm, set_isa};
use train::{
    EvalConfig, EvalResult, Event, RunControls, Sampler, Settings, TrainError, Trainer, latents,
    run, run_with_eval,
};

/// A run on `count` images in `data`, with an EMA.
fn settings(data: &Path, count: u32, steps: u64) -> Settings {
    let mut settings = settings::tiny_run(data, count, steps);
    settings.recipe.train.ema = 0.9;
    settings
}

fn open(settings: &Settings) -> Arc<Dataset> {
    Arc::new(Dataset::open(&settings.data, Split::Train, &settings.preprocess, &|_| ()).unwrap())
}

/// Trains in `dir` until done, stopping after each of `stops` and starting again from what is on
/// disk.
fn train_with_stops(settings: &Settings, dir: &Path, stops: &[u64]) -> Vec<u8> {
    let data = open(settings);
    let mut run_dir = RunDir::create_at(dir).unwrap();
    let mut trainer = Trainer::new(settings.clone(), &Device::Cpu).unwrap();
    let mut stops = stops.iter();
    loop {
        let stop = AtomicBool::new(false);
        let at = stops.next().copied();
        let outcome = run(&mut trainer, &data, &run_dir, &stop, &mut |event| {
            if let Event::Stepped { step } = event
                && Some(step) == at
            {
                stop.store(true, Ordering::Relaxed);
            }
        })
        .unwrap();
        if outcome.finished {
            assert!(outcome.images.iter().all(|p| p.exists()));
            return std::fs::read(outcome.checkpoint).unwrap();
        }
        assert_eq!(Some(outcome.step), at);
        drop(run_dir);
        run_dir = RunDir::open(dir).unwrap();
        run_dir.lock().unwrap();
        trainer = Trainer::resume(
            &checkpoint_retention::latest_valid(&run_dir.checkpoints()).unwrap().checkpoint,
            &Device::Cpu,
        )
        .unwrap();
    }
}

/// An evaluation that is cancelled in the middle of a run, and one at its end.
#[test]
fn a_resumed_run_makes_up_for_a_cancelled_evaluation() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir.path().join("data"), 14, 6);
    settings.log_every = 3;
    settings.eval =
        Some(EvalConfig { every: 2, metrics: Vec::new(), count: 10, features: String::new() });
    let data = open(&settings);
    // The second of three evaluations is the best.
    let result = |checkpoint: &Checkpoint| EvalResult {
        metrics: vec![("eval/x".to_owned(), checkpoint.meta.step as f64)],
        features: "test".to_owned(),
        score: (checkpoint.meta.step as f64 - 4.0).abs(),
        value: 1.0,
        by: "x".to_owned(),
    };
    let train = |name: &str, cancelled: &[u64]| {
        let mut run_dir = RunDir::create_at(&dir.path().join(name)).unwrap();
        let mut trainer = Trainer::new(settings.clone(), &Device::Cpu).unwrap();
        let mut cancelled = cancelled.to_vec();
        loop {
            let stop = AtomicBool::new(false);
            let mut eval = |checkpoint: &Checkpoint| {
                if cancelled.first() != Some(&checkpoint.meta.step) {
                    return Ok(Some(result(checkpoint)));
                }
                cancelled.remove(0);
                stop.store(true, Ordering::Relaxed);
                Ok(None)
            };
            let outcome =
                run_with_eval(&mut trainer, &data, &run_dir, &stop, &mut |_| (), Some(&mut eval))
                    .unwrap();
            if outcome.finished {
                assert!(cancelled.is_empty());
                let mut rows = metrics::read(&run_dir.metrics()).unwrap();
                for row in &mut rows {
                    (row.seconds, row.images_per_second) = (0.0, 0.0);
                }
                let best = outcome.best.clone().unwrap();
                assert!(run_dir.checkpoints().join("step-00000004.safetensors").exists());
                return (rows, best, outcome.last, std::fs::read(outcome.checkpoint).unwrap());
            }
            assert!(outcome.images.is_empty());
            drop(run_dir);
            run_dir = RunDir::open(&dir.path().join(name)).unwrap();
            run_dir.lock().unwrap();
            let latest = checkpoint_retention::latest_valid(&run_dir.checkpoints()).unwrap();
            trainer = Trainer::resume(&latest.checkpoint, &Device::Cpu).unwrap();
        }
    };
    let whole = train("whole", &[]);
    assert_eq!(whole.0.iter().map(|row| row.step).collect::<Vec<_>>(), [2, 3, 4, 6]);
    assert_eq!(whole.0[2].extra["eval/x"], 4.0);
    assert!(train("middle", &[4]) == whole, "cancelled in the middle");
    assert!(train("end", &[6]) == whole, "cancelled at the end");
    assert!(train("twice", &[2, 2, 6, 6]) == whole, "cancelled again when resumed");
}

/// A checkpoint that is asked for while a step is trained is saved after the next, and changes
/// nothing.
#[test]
fn a_checkpoint_is_saved_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir.path().join("data"), 14, 6);
    (settings.checkpoint_every, settings.keep) = (100, 10);
    let data = open(&settings);
    let train = |name: &str, asked: Option<u64>| {
        let run_dir = RunDir::create_at(&dir.path().join(name)).unwrap();
        let mut trainer = Trainer::new(settings.clone(), &Device::Cpu).unwrap();
        let (stop, save) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut emit = |event: Event| {
            if matches!(event, Event::Stepped { step } if asked == Some(step)) {
                save.store(true, Ordering::Relaxed);
            }
        };
        let controls = RunControls { stop: &stop, save: Some(&save) };
        let outcome = run_with_eval(&mut trainer, &data, &run_dir, controls, &mut emit, None);
        assert!(!save.load(Ordering::Relaxed));
        let saved = checkpoint_retention::list(&run_dir.checkpoints()).unwrap();
        let steps: Vec<u64> = saved.into_iter().map(|(step, _)| step).collect();
        (steps, std::fs::read(outcome.unwrap().checkpoint).unwrap())
    };
    let (steps, whole) = train("whole", None);
    assert_eq!(steps, [0, 6]);
    let (steps, asked) = train("asked", Some(2));
    assert_eq!(steps, [0, 3, 6]);
    assert!(asked == whole);
}

#[test]
fn interrupted_and_threaded_runs_end_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = settings(&data, 14, 11);
    let in_pool = |threads: usize, name: &str, stops: &[u64]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train_with_stops(&settings, &dir.path().join(name), stops))
    };
    let whole = in_pool(1, "whole", &[]);
    assert!(whole == in_pool(2, "two", &[]), "two threads");
    assert!(whole == in_pool(3, "three", &[]), "three threads");
    // Within an epoch of three batches, at its end, and right after a checkpoint.
    assert!(whole == in_pool(2, "stopped", &[2, 3, 7]), "stopped and resumed");
    let rows = metrics::read(&dir.path().join("stopped/metrics.jsonl")).unwrap();
    assert_eq!(rows.iter().map(|r| r.step).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
    let whole_rows = metrics::read(&dir.path().join("whole/metrics.jsonl")).unwrap();
    assert!(rows.iter().zip(&whole_rows).all(|(a, b)| (a.d_loss, a.g_loss, a.d_real, a.d_fake)
        == (b.d_loss, b.g_loss, b.d_real, b.d_fake)));
    assert!(rows.windows(2).all(|w| w[0].seconds < w[1].seconds), "seconds run on over a resume");
}

/// EMA and historical averages, schedules, noise, dropout, labels, augmentation, reference batches,
/// conditions, the vectors of spectral normalization.
#[test]
fn a_resumed_run_with_all_options_ends_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let places = fixtures::labeled(dir.path());
    for recipe in fixtures::everything() {
        let name = recipe.name.clone();
        let settings = fixtures::settings(recipe, &places, 8);
        let trained = |place: &str, stops: &[u64]| {
            train_with_stops(&settings, &dir.path().join(format!("{name}-{place}")), stops)
        };
        let whole = trained("whole", &[]);
        assert!(whole == trained("halves", &[4]), "{name}: 4 steps and 4");
        assert!(whole == trained("parts", &[1, 2, 5]), "{name}: 1, 1, 3 and 3 steps");
    }
}

#[test]
fn a_shuffle_buffer_is_part_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut settings = settings(&data, 14, 7);
    let without = train_with_stops(&settings, &dir.path().join("without"), &[]);
    settings.shuffle_buffer = std::num::NonZeroU32::new(5);
    let whole = train_with_stops(&settings, &dir.path().join("whole"), &[]);
    assert!(
        whole == train_with_stops(&settings, &dir.path().join("stopped"), &[2, 4]),
        "stopped and resumed"
    );
    assert!(whole != without);
}

#[test]
fn another_seed_gives_other_weights() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut settings = settings(&data, 9, 2);
    let first = train_with_stops(&settings, &dir.path().join("a"), &[]);
    settings.seed = 12;
    assert!(first != train_with_stops(&settings, &dir.path().join("b"), &[]));
}

#[test]
fn a_nan_loss_skips_every_update() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut trainer = Trainer::new(settings(&data, 9, 2), &Device::Cpu).unwrap();
    let before = trainer.networks().1.state_dict()["main.0.weight"].clone();
    let real = tensor::Tensor::full([4, 16, 16, 3], f32::NAN);
    let z = tensor::Tensor::zeros([4, 6]);
    match trainer.train_step_on(&real, &z, None).wait() {
        Err(TrainError::NonFinite { step: 1, what }) => {
            assert_eq!(what, "the discriminator's loss")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(trainer.networks().1.state_dict()["main.0.weight"], before);
    // Later steps skip their updates, too.
    assert!(
        trainer.train_step_on(&tensor::Tensor::zeros([4, 16, 16, 3]), &z, None).wait().is_err()
    );
    assert_eq!(trainer.networks().1.state_dict()["main.0.weight"], before);
}

#[test]
fn an_image_depends_on_its_latent_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = settings(&data, 14, 3);
    train_with_stops(&settings, &dir.path().join("run"), &[]);
    let checkpoint =
        checkpoint_retention::latest_valid(&dir.path().join("run/checkpoints")).unwrap().checkpoint;
    for mode in [None, Some(train::BatchNormMode::Recalibrated)] {
        let sampler = Sampler::new(&checkpoint, mode, &Device::Cpu).unwrap();
        let all =
            sampler.sample(&latents(sampler.recipe(), 5, 9), None, 9, |_| ()).unwrap().to_vec();
        let mut seen = Vec::new();
        let parts = sampler
            .sample(&latents(sampler.recipe(), 5, 9), None, 2, |n| seen.push(n))
            .unwrap()
            .to_vec();
        assert!(all == parts, "{mode:?}");
        assert_eq!(seen, [1, 3, 5, 7, 9]);
        let fewer =
            sampler.sample(&latents(sampler.recipe(), 5, 4), None, 4, |_| ()).unwrap().to_vec();
        assert_eq!(all[..fewer.len()], fewer[..]);
        assert!(sampler.sample(&tensor::Tensor::zeros([1, 7]), None, 1, |_| ()).is_err());
    }
    let by_batch =
        Sampler::new(&checkpoint, Some(train::BatchNormMode::Batch), &Device::Cpu).unwrap();
    let z = latents(by_batch.recipe(), 5, 8);
    assert_ne!(
        by_batch.sample(&z, None, 8, |_| ()).unwrap().to_vec(),
        by_batch.sample(&z, None, 2, |_| ()).unwrap().to_vec()
    );
    assert_eq!(
        by_batch.sample(&z, None, 7, |_| ()).unwrap().shape()[0],
        8,
        "7 and 1 become 4 and 4"
    );
    for (count, batch) in [(1, 8), (8, 1), (3, 2)] {
        let error = by_batch.sample(&z.narrow(0, 0, count), None, batch, |_| ()).unwrap_err();
        assert!(matches!(error, TrainError::BatchStatistics { .. }), "{error}");
    }
}

#[test]
fn an_override_survives_a_kill_and_later_images_go() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = settings(&data, 14, 10);
    let run_at = dir.path().join("run");
    train_with_stops(&settings, &run_at, &[]);
    assert!(run_at.join("timelapse.gif").exists());
    let newest =
        || checkpoint_retention::latest_valid(&run_at.join("checkpoints")).unwrap().checkpoint;
    // Lengthened, with a lower learning rate, and then killed before its first step (here stopped).
    let mut trainer = Trainer::resume(&newest(), &Device::Cpu).unwrap();
    trainer.set_steps(1000);
    trainer.set_learning_rate(1e-5).unwrap();
    let mut run_dir = RunDir::open(&run_at).unwrap();
    run_dir.lock().unwrap();
    run(&mut trainer, &open(&settings), &run_dir, &AtomicBool::new(true), &mut |_| ()).unwrap();
    assert!(!run_at.join("timelapse.gif").exists(), "an image of the end in a run that continues");
    let resumed = Trainer::resume(&newest(), &Device::Cpu).unwrap();
    assert_eq!(
        (resumed.steps_done(), resumed.settings().steps, resumed.settings().recipe.optimizer.lr),
        (10, 1000, 1e-5)
    );
    assert_eq!(resumed.settings().overrides.len(), 2);
    // Resumed from an older step: the grids of later ones are deleted.
    let older = checkpoint_retention::list(&run_at.join("checkpoints"))
        .unwrap()
        .into_iter()
        .find(|(step, _)| *step == 9)
        .unwrap()
        .1;
    let mut trainer =
        Trainer::resume(&runs::checkpoint::load(&older).unwrap(), &Device::Cpu).unwrap();
    assert!(run_at.join("samples/step-00000010.png").exists());
    run(&mut trainer, &open(&settings), &run_dir, &AtomicBool::new(true), &mut |_| ()).unwrap();
    assert!(
        !run_at.join("samples/step-00000010.png").exists()
            && run_at.join("samples/step-00000005.png").exists()
    );
    assert_eq!(metrics::read(&run_at.join("metrics.jsonl")).unwrap().len(), 9);
}

#[test]
fn nan_weights_are_not_saved() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut settings = settings(&data, 14, 3);
    settings.recipe.optimizer.lr = 1e30;
    let run_dir = RunDir::create_at(&dir.path().join("run")).unwrap();
    let mut trainer = Trainer::new(settings.clone(), &Device::Cpu).unwrap();
    let error = run(&mut trainer, &open(&settings), &run_dir, &AtomicBool::new(false), &mut |_| ())
        .unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    let newest = checkpoint_retention::latest_valid(&run_dir.checkpoints()).unwrap().checkpoint;
    assert!(
        newest.tensors.values().all(|a| a.as_f32().is_none_or(|v| v.iter().all(|x| x.is_finite())))
    );
}
