//! The training monitor: what raises an alert, what does not, and what a run does about it.

#[path = "common/settings.rs"]
mod settings;

use data::{Dataset, Preprocess, Split};
use nn::Recipe;
use runs::{RunDir, checkpoint_retention, metrics};
use std::f32::consts::TAU;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tensor::rng::Philox;
use tensor::{Device, HostTensor, Tensor};
use train::monitor::{
    Alert, AlertAction, AlertKind, MonitorConfig, NanAction, SampleStats, TrainingMonitor,
};
use train::{Event, RunOutcome, Settings, StepMetrics, TrainError, Trainer, run};

const CALM: StepMetrics = StepMetrics {
    d_loss: 1.1,
    g_loss: 1.0,
    d_real: 0.6,
    d_fake: 0.4,
    d_accuracy: 0.8,
    g_grad_norm: None,
};
const WON: StepMetrics = StepMetrics {
    d_loss: 0.01,
    g_loss: 9.0,
    d_real: 1.0,
    d_fake: 0.0,
    d_accuracy: 1.0,
    g_grad_norm: None,
};
const GOOD: SampleStats = SampleStats {
    diversity: 0.5,
    duplicates: 0.0,
    spectral_peak: 0.1,
    amplitude: 0.05,
    period: 6.0,
};

fn feed(
    monitor: &mut TrainingMonitor,
    steps: std::ops::Range<u64>,
    losses: StepMetrics,
) -> Vec<(AlertKind, u64)> {
    steps
        .flat_map(|step| monitor.observe_step(step, &losses, true))
        .map(|alert| (alert.kind, alert.step))
        .collect()
}

fn grids(
    monitor: &mut TrainingMonitor,
    steps: &[u64],
    health: SampleStats,
) -> Vec<(AlertKind, u64)> {
    steps
        .iter()
        .flat_map(|&step| monitor.observe_grid(step, health))
        .map(|alert| (alert.kind, alert.step))
        .collect()
}

#[test]
fn a_flat_or_restless_loss_raises_no_alert() {
    let mut monitor = TrainingMonitor::default();
    let coin = StepMetrics {
        d_loss: 1.386,
        g_loss: 0.693,
        d_accuracy: 0.5,
        g_grad_norm: Some(0.3),
        ..CALM
    };
    assert_eq!(feed(&mut monitor, 1..20_000, coin), []);
    // Three of four steps won, in any order.
    let mut random = Philox::new(1, 1);
    for step in 20_000..60_000 {
        let losses = if random.below(4) < 3 { WON } else { CALM };
        let losses = StepMetrics { g_grad_norm: Some(0.01 + random.below(1000) as f32), ..losses };
        assert_eq!(monitor.observe_step(step, &losses, true), [], "step {step}");
    }
}

#[test]
fn discriminator_dominance_is_raised_once_until_it_is_over() {
    let mut monitor = TrainingMonitor::default();
    assert_eq!(feed(&mut monitor, 1..2000, WON), [(AlertKind::DDominance, 300)]);
    assert_eq!(monitor.metrics(&WON)["alerts"], serde_json::json!(["d-dominance"]));
    // 60 steps that D does not win undo 300 that it wins.
    assert_eq!(feed(&mut monitor, 2000..2059, CALM), []);
    assert_eq!(feed(&mut monitor, 2059..2500, WON), [], "it had not gone away");
    assert_eq!(feed(&mut monitor, 2500..2560, CALM), []);
    assert!(!monitor.metrics(&CALM).contains_key("alerts"));
    assert_eq!(feed(&mut monitor, 3000..3400, WON), [(AlertKind::DDominance, 3299)]);
    let [first, _] = monitor.alerts() else { panic!("{:?}", monitor.alerts()) };
    assert!(
        first.to_string().contains("step 300: ")
            && first.message.contains("0.0100")
            && first.message.contains("100 %"),
        "{first}"
    );
    // A Wasserstein critic does not win.
    let mut monitor = TrainingMonitor::default();
    assert!((1..1000).all(|step| monitor.observe_step(step, &WON, false).is_empty()));
}

#[test]
fn a_vanishing_gradient_is_raised() {
    let mut monitor = TrainingMonitor::default();
    let norm = |norm| StepMetrics { g_grad_norm: Some(norm), ..CALM };
    assert_eq!(feed(&mut monitor, 1..50, norm(2.0)), []);
    assert_eq!(feed(&mut monitor, 50..90, norm(0.01)), [], "weak, but there");
    assert_eq!(feed(&mut monitor, 90..94, norm(0.0019)), []);
    // Steps that are not logged have no norm.
    assert_eq!(feed(&mut monitor, 94..200, CALM), []);
    assert_eq!(feed(&mut monitor, 200..300, norm(0.0)), [(AlertKind::VanishingGradient, 200)]);
    assert_eq!(feed(&mut monitor, 300..301, norm(0.5)), []);
    assert_eq!(feed(&mut monitor, 301..320, norm(0.001)), [(AlertKind::VanishingGradient, 305)]);
}

#[test]
fn grid_failures_are_raised_when_the_next_grid_confirms_them() {
    let fresh = || {
        let mut monitor = TrainingMonitor::default();
        monitor.set_reference(GOOD);
        monitor
    };
    let mut monitor = fresh();
    // A young generator's images are alike, and near-duplicates.
    let young = SampleStats { diversity: 0.02, duplicates: 1.0, ..GOOD };
    assert_eq!(grids(&mut monitor, &[25, 50, 75, 100], young), []);
    assert_eq!(grids(&mut monitor, &[200, 400, 600], GOOD), []);
    let alike = SampleStats { diversity: 0.2, ..GOOD };
    assert_eq!(grids(&mut monitor, &[700], alike), []);
    assert_eq!(grids(&mut monitor, &[800], GOOD), []);
    assert_eq!(grids(&mut monitor, &[900, 950, 1000], alike), [(AlertKind::ModeCollapse, 950)]);
    let duplicated = SampleStats { duplicates: 0.6, ..GOOD };
    assert_eq!(
        grids(&mut monitor, &[1100, 1200, 1300], duplicated),
        [(AlertKind::NearDuplicates, 1200)]
    );
    let striped = SampleStats { spectral_peak: 0.6, amplitude: 0.2, ..GOOD };
    assert_eq!(
        grids(&mut monitor, &[1400, 1500, 1600], striped),
        [(AlertKind::PeriodicArtifact, 1500)]
    );
    let faint = SampleStats { amplitude: 0.01, ..striped };
    assert_eq!(grids(&mut monitor, &[1700, 1800], faint), []);
    // A generator that never distinguishes latents.
    assert_eq!(
        grids(&mut fresh(), &[500, 1000, 1500], young),
        [(AlertKind::ModeCollapse, 1500), (AlertKind::NearDuplicates, 1500)]
    );
    // Where real images are striped or near-duplicates, generated ones may be so too.
    let mut monitor = TrainingMonitor::default();
    monitor.set_reference(SampleStats { spectral_peak: 0.5, duplicates: 0.9, ..GOOD });
    assert_eq!(
        grids(
            &mut monitor,
            &[2000, 3000],
            SampleStats { spectral_peak: 0.7, amplitude: 0.3, duplicates: 0.95, ..GOOD }
        ),
        []
    );
}

#[test]
fn a_saved_monitor_continues_exactly() {
    let feed = |monitor: &mut TrainingMonitor, step: u64| {
        let phase = (step / 350).is_multiple_of(2);
        let losses = StepMetrics {
            g_grad_norm: Some(1.0 / 3.0 + step as f32),
            ..if phase { WON } else { CALM }
        };
        let mut found = monitor.observe_step(step, &losses, true);
        if step.is_multiple_of(40) {
            found.extend(monitor.observe_grid(
                step,
                SampleStats { diversity: if phase { 0.7 / 3.0 } else { 0.01 }, ..GOOD },
            ));
        }
        if step.is_multiple_of(10) {
            found.extend(monitor.metrics(&losses).contains_key("diversity").then(|| Alert {
                kind: AlertKind::RolledBack,
                step,
                message: String::new(),
                hint: String::new(),
            }));
        }
        found
    };
    let mut whole = TrainingMonitor::default();
    let mut parts = TrainingMonitor::default();
    let mut count = 0;
    for step in 1..4000 {
        let found = feed(&mut whole, step);
        if step % 7 == 0 {
            parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
        }
        assert_eq!(feed(&mut parts, step), found);
        count += found.len();
    }
    assert!(parts == whole && count > 100);
}

fn fashion() -> Arc<Dataset> {
    Arc::new(
        Dataset::open("fashion-mnist", Split::Train, &Preprocess::new([28, 28], 1), &|_| ())
            .unwrap(),
    )
}

/// Images from `first` on, with `f(y, x)` added.
fn images(dataset: &Dataset, first: usize, f: impl Fn(usize, usize) -> f32) -> Tensor {
    let [h, w, c] = dataset.shape();
    let mut values = vec![0.0; 64 * h * w * c];
    for (k, out) in values.chunks_exact_mut(h * w * c).enumerate() {
        dataset.write(first + k, out).unwrap();
    }
    values
        .iter_mut()
        .enumerate()
        .for_each(|(i, v)| *v = (*v + f(i / c / w % h, i / c % w)).clamp(-1.0, 1.0));
    Tensor::from_slice(&values, [64, h, w, c])
}

#[test]
fn real_images_raise_nothing_and_damaged_ones_do() {
    for dataset in [
        fashion(),
        Arc::new(
            Dataset::open("emoji", Split::Train, &Preprocess::new([64, 64], 3), &|_| ()).unwrap(),
        ),
    ] {
        let real = SampleStats::of_dataset(&dataset).unwrap();
        println!("{} {real:?}", dataset.name());
        let fresh = || {
            let mut monitor = TrainingMonitor::default();
            monitor.set_reference(real);
            monitor
        };
        let mut monitor = fresh();
        for first in (0..dataset.len() - 64).step_by(dataset.len() / 20) {
            let health = SampleStats::of(&images(&dataset, first, |_, _| 0.0));
            println!("{health:?}");
            assert_eq!(
                monitor.observe_grid(2000, health),
                [],
                "{first}: {health:?}, all: {real:?}"
            );
        }
        // The same stripes in all of them, of several periods.
        for (fy, fx) in [(0.0, 0.25), (0.5, 0.5), (0.2, 0.13)] {
            let waves =
                images(&dataset, 0, |y, x| 0.5 * (TAU * (fy * y as f32 + fx * x as f32)).cos());
            let health = SampleStats::of(&waves);
            assert_eq!(
                grids(&mut fresh(), &[100, 200], health),
                [(AlertKind::PeriodicArtifact, 200)],
                "{health:?}"
            );
            let period = 1.0 / fy.hypot(fx);
            assert!((health.period - period).abs() < 0.15 * period, "{health:?}");
        }
        // One image with a little noise.
        let one = images(&dataset, 3, |_, _| 0.0)
            .narrow(0, 0, 1)
            .broadcast_to(*images(&dataset, 0, |_, _| 0.0).shape());
        let health = SampleStats::of(&one.add(&Philox::new(1, 1).normal(*one.shape(), 0.0, 0.01)));
        let found = grids(&mut monitor, &[2100, 2200], health);
        assert_eq!(
            found,
            [(AlertKind::ModeCollapse, 2200), (AlertKind::NearDuplicates, 2200)],
            "{health:?}"
        );
    }
    assert_eq!(SampleStats::of(&Tensor::zeros([1, 8, 8, 3])), SampleStats::default());
    assert_eq!(SampleStats::of(&Tensor::zeros([4, 8, 12, 1])).duplicates, 1.0);
}

/// A run on 14 images in `dir/data`.
fn settings(dir: &Path, steps: u64) -> Settings {
    settings::tiny_run(&dir.join("data"), 14, steps)
}

fn open(settings: &Settings) -> Arc<Dataset> {
    Arc::new(Dataset::open(&settings.data, Split::Train, &settings.preprocess, &|_| ()).unwrap())
}

/// Runs to the end, or to where `stop` is; with all alerts.
fn go(
    trainer: &mut Trainer,
    dir: &RunDir,
    stop: bool,
) -> (Result<RunOutcome, TrainError>, Vec<Alert>) {
    let mut alerts = Vec::new();
    let data = open(trainer.settings());
    let outcome = run(trainer, &data, dir, &AtomicBool::new(stop), &mut |event| {
        if let Event::Alert(alert) = event {
            alerts.push(alert);
        }
    });
    (outcome, alerts)
}

/// Makes every later step of the trainer fail by a NaN.
fn poison(trainer: &mut Trainer) {
    let nan = Tensor::full([4, 16, 16, 3], f32::NAN);
    assert!(trainer.train_step_on(&nan, &Tensor::zeros([4, 6]), None).wait().is_err());
}

#[test]
fn a_run_with_nan_rolls_back_and_finishes() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), 10);
    let newest =
        |dir: &RunDir| checkpoint_retention::latest_valid(&dir.checkpoints()).unwrap().checkpoint;
    let spoilt = RunDir::create_at(&dir.path().join("spoilt")).unwrap();
    let mut trainer =
        Trainer::new(Settings { steps: 5, ..settings.clone() }, &Device::Cpu).unwrap();
    go(&mut trainer, &spoilt, false).0.unwrap();
    trainer.set_steps(10);
    go(&mut trainer, &spoilt, true).0.unwrap();
    poison(&mut trainer);
    let (outcome, alerts) = go(&mut trainer, &spoilt, false);
    let outcome = outcome.unwrap();
    assert!(outcome.finished && outcome.stopped_by.is_none());
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(
        (alert.kind, alert.step, outcome.alerts.contains(alert)),
        (AlertKind::RolledBack, 7, true)
    );
    assert!(alert.message.contains("the discriminator's loss is NaN or infinite"), "{alert}");
    assert!(alert.hint.contains("from step 5 with half the learning rate, 1e-4"), "{alert}");
    let changes = &trainer.settings().overrides;
    assert_eq!(
        changes.iter().map(|change| change.setting.as_str()).collect::<Vec<_>>(),
        ["steps", "rollback", "lr"]
    );
    assert_eq!((changes[1].step, changes[1].to.as_str()), (5, "step 5"));
    let rows = metrics::read(&spoilt.metrics()).unwrap();
    assert_eq!(rows.iter().map(|row| row.step).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    // Data and latents resume from the checkpoint: only the learning rate differs.
    let other = RunDir::create_at(&dir.path().join("other")).unwrap();
    let mut slower = Trainer::new(Settings { steps: 5, ..settings }, &Device::Cpu).unwrap();
    go(&mut slower, &other, false).0.unwrap();
    let mut slower = Trainer::resume(&newest(&other), &Device::Cpu).unwrap();
    slower.set_steps(10);
    slower.set_learning_rate(1e-4).unwrap();
    go(&mut slower, &other, false).0.unwrap();
    assert!(newest(&spoilt).tensors == newest(&other).tensors);
}

#[test]
fn a_run_that_keeps_diverging_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), 10);
    settings.recipe.optimizer.lr = 1e30;
    let run_dir = RunDir::create_at(&dir.path().join("run")).unwrap();
    let mut trainer = Trainer::new(settings.clone(), &Device::Cpu).unwrap();
    let (outcome, alerts) = go(&mut trainer, &run_dir, false);
    match outcome {
        Err(TrainError::Diverged { rollbacks: 3, lr: 1.25e29, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(alerts.iter().filter(|alert| alert.kind == AlertKind::RolledBack).count(), 3);
    // The saved state is finite. Resumed, the run has as many roll-backs again, whatever the
    // checkpoint has recorded.
    let checkpoint = checkpoint_retention::latest_valid(&run_dir.checkpoints()).unwrap().checkpoint;
    let mut again = Trainer::resume(&checkpoint, &Device::Cpu).unwrap();
    assert_eq!(again.settings().recipe.optimizer.lr, 1.25e29);
    let (outcome, alerts) = go(&mut again, &run_dir, false);
    assert!(matches!(outcome, Err(TrainError::Diverged { rollbacks: 3, .. })), "{outcome:?}");
    assert_eq!(alerts.iter().filter(|alert| alert.kind == AlertKind::RolledBack).count(), 3);
    // Without roll-backs the first NaN ends the run.
    settings.monitor.on_nan = NanAction::Stop;
    let run_dir = RunDir::create_at(&dir.path().join("stop")).unwrap();
    let (outcome, alerts) = go(&mut Trainer::new(settings, &Device::Cpu).unwrap(), &run_dir, false);
    assert!(matches!(outcome, Err(TrainError::NonFinite { .. })) && alerts.is_empty());
}

/// Images of noise: a generator cannot learn them, and a discriminator recognizes them at once.
fn unlearnable(dir: &Path) -> Settings {
    let settings = settings(dir, 900);
    let mut random = Philox::new(3, 3);
    for i in 0..14 {
        let noise = image::RgbImage::from_fn(16, 16, |_, _| {
            image::Rgb([0; 3].map(|_: u8| 255 * random.below(2) as u8))
        });
        noise.save(dir.join(format!("data/{i:03}.png"))).unwrap();
    }
    Settings { log_every: 10, sample_every: 30, checkpoint_every: 70, ..settings }
}

#[test]
fn the_monitor_resumes_exactly_and_stops_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let settings = unlearnable(dir.path());
    let data = open(&settings);
    let whole_dir = RunDir::create_at(&dir.path().join("whole")).unwrap();
    let mut whole = Trainer::new(settings.clone(), &Device::Cpu).unwrap();
    let (outcome, alerts) = go(&mut whole, &whole_dir, false);
    assert!(outcome.unwrap().stopped_by.is_none());
    let won = alerts
        .iter()
        .find(|alert| alert.kind == AlertKind::DDominance)
        .unwrap_or_else(|| panic!("{alerts:?}"))
        .step;
    assert!(won < 890, "{won}");

    let parts_dir = RunDir::create_at(&dir.path().join("parts")).unwrap();
    let mut parts = Trainer::new(settings.clone(), &Device::Cpu).unwrap();
    let mut seen = Vec::new();
    for end in [33, won - 100, won - 1, won, won + 5, 900] {
        let stop = AtomicBool::new(false);
        run(&mut parts, &data, &parts_dir, &stop, &mut |event| match event {
            Event::Stepped { step } if step == end => {
                stop.store(true, std::sync::atomic::Ordering::Relaxed)
            }
            Event::Alert(alert) => seen.push(alert),
            _ => {}
        })
        .unwrap();
        parts = Trainer::resume(
            &checkpoint_retention::latest_valid(&parts_dir.checkpoints()).unwrap().checkpoint,
            &Device::Cpu,
        )
        .unwrap();
    }
    assert_eq!(seen, alerts);
    let bytes = |dir: &RunDir| {
        std::fs::read(checkpoint_retention::latest_valid(&dir.checkpoints()).unwrap().path).unwrap()
    };
    assert!(bytes(&whole_dir) == bytes(&parts_dir));
    let extras = |dir: &RunDir| {
        metrics::read(&dir.metrics()).unwrap().into_iter().map(|row| row.extra).collect::<Vec<_>>()
    };
    assert_eq!(extras(&whole_dir), extras(&parts_dir));
    let last = extras(&whole_dir).pop().unwrap();
    assert!(
        ["d_accuracy", "g_grad_norm", "diversity", "alerts"]
            .iter()
            .all(|name| last.contains_key(*name)),
        "{last:?}"
    );

    let stopped_dir = RunDir::create_at(&dir.path().join("stopped")).unwrap();
    let watch = MonitorConfig { on_d_dominance: AlertAction::Stop, ..MonitorConfig::default() };
    let mut stopped = Trainer::new(Settings { monitor: watch, ..settings }, &Device::Cpu).unwrap();
    let outcome = go(&mut stopped, &stopped_dir, false).0.unwrap();
    assert_eq!((outcome.step, outcome.finished), (won, false));
    assert_eq!(outcome.stopped_by.map(|alert| alert.kind), Some(AlertKind::DDominance));
    assert!(outcome.checkpoint.ends_with(format!("step-{won:08}.safetensors")));
    // A run resumed from it does not raise the alert again.
    let mut on = Trainer::resume(
        &checkpoint_retention::latest_valid(&stopped_dir.checkpoints()).unwrap().checkpoint,
        &Device::Cpu,
    )
    .unwrap();
    on.set_steps(won + 20);
    assert!(go(&mut on, &stopped_dir, false).0.unwrap().finished);
}

#[test]
fn a_healthy_young_run_raises_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = Recipe::preset("small").unwrap();
    recipe.image.size = [28, 28];
    (recipe.generator.width, recipe.discriminator.width, recipe.train.batch) = (16, 16, 32);
    let preprocess = Preprocess::new([28, 28], 1);
    let settings = Settings {
        data: "fashion-mnist".into(),
        preprocess,
        recipe,
        sample_every: 20,
        ..settings(dir.path(), 240)
    };
    let run_dir = RunDir::create_at(&dir.path().join("run")).unwrap();
    let (outcome, alerts) = go(&mut Trainer::new(settings, &Device::Cpu).unwrap(), &run_dir, false);
    assert!(outcome.unwrap().finished);
    for row in
        metrics::read(&run_dir.metrics()).unwrap().iter().filter(|row| row.step.is_multiple_of(20))
    {
        println!("{} {:.3} {}", row.step, row.d_loss, serde_json::Value::Object(row.extra.clone()));
    }
    assert_eq!(alerts, []);
}

#[test]
fn a_checkpoint_from_which_every_step_is_nan_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = RunDir::create_at(&dir.path().join("run")).unwrap();
    let mut trainer = Trainer::new(settings(dir.path(), 3), &Device::Cpu).unwrap();
    go(&mut trainer, &run_dir, false).0.unwrap();
    // Finite weights whose products are not: NaN in the first step, whatever the learning rate.
    let newest = checkpoint_retention::latest_valid(&run_dir.checkpoints()).unwrap();
    let mut checkpoint = newest.checkpoint;
    for name in ["d.main.0.weight", "d.main.2.weight"] {
        let tensor = checkpoint.tensors.get_mut(name).unwrap();
        *tensor = HostTensor::f32(tensor.shape.clone(), vec![3e38; tensor.len()]);
    }
    runs::checkpoint::save(&newest.path, &checkpoint).unwrap();
    let files = || std::fs::read_dir(run_dir.path()).unwrap().count();
    let before = files();
    for _ in 0..2 {
        let mut again = Trainer::resume(&checkpoint, &Device::Cpu).unwrap();
        again.set_steps(10);
        let (outcome, alerts) = go(&mut again, &run_dir, false);
        assert!(matches!(outcome, Err(TrainError::Diverged { rollbacks: 3, .. })), "{outcome:?}");
        assert_eq!(alerts.iter().filter(|alert| alert.kind == AlertKind::RolledBack).count(), 3);
    }
    // One file of events for each of the four tries.
    assert!(files() <= before + 2 * 4, "{} files", files());
    // A stop is obeyed after the first of them, and the run can be resumed.
    let mut again = Trainer::resume(&checkpoint, &Device::Cpu).unwrap();
    again.set_steps(10);
    let (stop, data) = (AtomicBool::new(false), open(again.settings()));
    let outcome = run(&mut again, &data, &run_dir, &stop, &mut |event| {
        if matches!(event, Event::Alert(Alert { kind: AlertKind::RolledBack, .. })) {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    })
    .unwrap();
    assert!(!outcome.finished && outcome.step == 3, "{outcome:?}");
    assert!(outcome.checkpoint.is_file() && outcome.stopped_by.is_none());
}

#[test]
fn weights_that_are_not_finite_from_the_beginning_say_so() {
    let dir = tempfile::tempdir().unwrap();
    for on_nan in [NanAction::Rollback, NanAction::Stop] {
        let mut settings = settings(dir.path(), 10);
        // Some values are beyond float32.
        settings.recipe.init.std = 3e38;
        settings.monitor.on_nan = on_nan;
        let run_dir = RunDir::create_at(&dir.path().join(format!("{on_nan:?}"))).unwrap();
        let mut trainer = Trainer::new(settings, &Device::Cpu).unwrap();
        match go(&mut trainer, &run_dir, false).0 {
            Err(TrainError::NonFiniteStart { what }) => assert!(what.contains("main."), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}

/// docs/monitoring.md lists every kind by its name in rows of metrics.
#[test]
fn every_kind_is_documented() {
    let page = include_str!("../../../docs/monitoring.md");
    for kind in [
        AlertKind::DDominance,
        AlertKind::VanishingGradient,
        AlertKind::ModeCollapse,
        AlertKind::NearDuplicates,
        AlertKind::PeriodicArtifact,
        AlertKind::RolledBack,
    ] {
        let name = serde_json::to_value(kind).unwrap();
        let row = format!("| `{}` |", name.as_str().unwrap());
        assert!(page.contains(&row), "{row}");
    }
}
