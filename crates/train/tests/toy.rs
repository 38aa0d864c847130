//! The toy problems: mode coverage, the saddle, and short runs.

use nn::NnError;
use runs::grid::save_png;
use runs::plots::animate;
use std::fs;
use tensor::Device;
use tensor::rng::Philox;
use train::TrainError;
use train::toy::saddle::{self, Method, Trajectory};
use train::toy::{
    Coverage, Mixture, NUM_SAMPLES, ToyDataset, ToyEvent, ToyOutcome, ToySettings, frame_plot, run,
    saddle_plot, sweep,
};

/// `count` points at a center, `off` standard deviations to its right.
fn at(mixture: &Mixture, mode: usize, count: usize, off: f32) -> Vec<f32> {
    let [x, y] = mixture.centers[mode];
    [x + off * mixture.std, y].repeat(count)
}

#[test]
fn modes_are_counted() {
    for (mixture, modes) in [(Mixture::ring(), 8), (Mixture::grid(), 25)] {
        assert_eq!(mixture.centers.len(), modes);
        let real = Coverage::of(&mixture, &mixture.sample(&mut Philox::new(1, 0), 20_000).to_vec());
        assert_eq!((real.modes, real.fair_modes), (modes, modes));
        // Of a two-dimensional normal 1 − exp(−9/2) is within three standard deviations.
        assert!((real.high_quality - 0.9889).abs() < 0.003, "{}", real.high_quality);
        assert!(real.reverse_kl < 0.001, "{}", real.reverse_kl);

        // All in one mode.
        let one = Coverage::of(&mixture, &at(&mixture, 3, 100, 2.9));
        assert_eq!((one.modes, one.fair_modes, one.high_quality), (1, 1, 1.0));
        assert!((one.reverse_kl - (modes as f64).ln()).abs() < 1e-12);
        assert_eq!(one.histogram.iter().sum::<usize>(), one.histogram[3]);
        // Near a mode, but not near enough; far away; nowhere.
        let none = [at(&mixture, 0, 5, 3.1), vec![90.0, -70.0, f32::NAN, 0.0]].concat();
        let none = Coverage::of(&mixture, &none);
        assert_eq!((none.modes, none.fair_modes, none.high_quality), (0, 0, 0.0));
    }
}

#[test]
fn fair_modes_are_stricter() {
    let mixture = Mixture::ring();
    // Of 800, a fair share is 100 and a quarter of it 25.
    let points =
        [at(&mixture, 0, 751, 0.0), at(&mixture, 1, 25, 0.0), at(&mixture, 2, 24, 0.0)].concat();
    let coverage = Coverage::of(&mixture, &points);
    assert_eq!((coverage.modes, coverage.fair_modes), (3, 2));
    let p = [751.0 / 800.0, 25.0 / 800.0, 24.0 / 800.0f64];
    let kl: f64 = p.iter().map(|p| p * (p * 8.0).ln()).sum();
    assert!((coverage.reverse_kl - kl).abs() < 1e-12);
}

fn simulated(settings: &saddle::SaddleSettings, method: Method) -> Trajectory {
    saddle::simulate(settings).unwrap().into_iter().find(|t| t.method == method).unwrap()
}

#[test]
fn saddle_follows_closed_forms() {
    // With w = x + iy the gradients are (c − i)·w, and each linear method multiplies w by a root of
    // its polynomial.
    for (lr, c) in [(0.1f64, 0.0f64), (0.2, 0.0), (0.3, 0.5), (0.1, -0.2)] {
        let settings =
            saddle::SaddleSettings { lr, curvature: c, steps: 150, ..Default::default() };
        let step = (1.0 - lr * c).hypot(lr);
        let simultaneous = simulated(&settings, Method::Simultaneous);
        let start = 2.0f64.sqrt();
        for (n, [x, y]) in simultaneous.points.iter().enumerate() {
            let expected = start * step.powi(n as i32);
            assert!((x.hypot(*y) / expected - 1.0).abs() < 1e-12, "step {n} at η = {lr}, c = {c}");
        }
        // 1 − ηλ + η²λ² with λ = c − i.
        let (re, im) = (1.0 - lr * c + lr * lr * (c * c - 1.0), lr - 2.0 * lr * lr * c);
        let extragradient = simulated(&settings, Method::Extragradient);
        assert!((extragradient.end() / (start * re.hypot(im).powi(150)) - 1.0).abs() < 1e-11);
    }
    let settings = saddle::SaddleSettings { lr: 0.3, steps: 1000, ..Default::default() };
    // Alternating steps stay on an ellipse.
    for [x, y] in simulated(&settings, Method::Alternating).points {
        assert!((x * x + y * y - 0.3 * x * y - 1.7).abs() < 1e-10, "{x} {y}");
    }
    // z² − (1 + 2iη)·z + iη = 0: the larger root is the factor of optimistic steps.
    let lr = 0.3f64;
    let (dr, di) = (1.0 - 4.0 * lr * lr, 0.0f64); // (1 + 2iη)² − 4iη
    let (sr, si) = if dr >= 0.0 { (dr.sqrt(), di) } else { (di, (-dr).sqrt()) };
    let roots = [(1.0 + sr) / 2.0, (1.0 - sr) / 2.0].map(|re| re.hypot(lr + si / 2.0));
    let optimistic = simulated(&settings, Method::Optimistic).factor();
    assert!((optimistic - roots[0].max(roots[1])).abs() < 1e-6, "{optimistic} {roots:?}");
}

#[test]
fn optimistic_and_extragradient_converge() {
    let trajectories = saddle::simulate(&saddle::SaddleSettings::default()).unwrap();
    let start = 2.0f64.sqrt();
    for trajectory in &trajectories {
        let (end, name) = (trajectory.end(), trajectory.method.name());
        assert_eq!(trajectory.points.len(), 301);
        match trajectory.method {
            Method::Optimistic | Method::Extragradient | Method::OptimisticAdam => {
                assert!(end < 0.3 * start, "{name}: {end}")
            }
            Method::NegativeMomentum => assert!(end < 0.7 * start, "{name}: {end}"),
            Method::Alternating => assert!((0.9..1.1).contains(&(end / start)), "{name}: {end}"),
            _ => assert!(end > 1.5 * start, "{name}: {end}"),
        }
    }
    // With curvature simultaneous steps converge too.
    let curved = saddle::SaddleSettings { curvature: 0.5, ..Default::default() };
    assert!(simulated(&curved, Method::Simultaneous).end() < 1e-5);
    for bad in [
        saddle::SaddleSettings { lr: 0.0, ..Default::default() },
        saddle::SaddleSettings { steps: 0, ..Default::default() },
        saddle::SaddleSettings { start: [0.0; 2], ..Default::default() },
        saddle::SaddleSettings { momentum: 1.0, ..Default::default() },
        saddle::SaddleSettings { beta1: -0.1, ..Default::default() },
        saddle::SaddleSettings { curvature: f64::NAN, ..Default::default() },
    ] {
        assert!(saddle::simulate(&bad).is_err(), "{bad:?}");
    }
}

fn settings(dataset: ToyDataset, pack: usize, changes: &[(&str, &str)]) -> ToySettings {
    let changes: Vec<_> =
        changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ToySettings::new(dataset, 0, pack, &changes).unwrap_or_else(|e| panic!("{changes:?}: {e}"))
}

/// Keys of a run of 40 steps of networks of 16 units.
const SHORT: [(&str, &str); 4] = [
    ("train.steps", "40"),
    ("train.batch", "32"),
    ("generator.width", "16"),
    ("discriminator.width", "16"),
];

fn short(dataset: ToyDataset, pack: usize, changes: &[(&str, &str)]) -> ToySettings {
    settings(dataset, pack, &[&SHORT[..], changes].concat())
}

fn runs(settings: &ToySettings) -> ToyOutcome {
    run(settings, &Device::Cpu, 4, 0, &mut |_| ()).unwrap_or_else(|e| panic!("{settings:?}: {e}"))
}

/// Keys of the recipe, one option at a time.
const OPTIONS: &[&[(&str, &str)]] = &[
    &[("objective.loss", "minimax")],
    &[("objective.loss", "least-squares")],
    &[("objective.loss", "hinge")],
    &[("objective.loss", "wasserstein"), ("objective.gradient_penalty", "10.0")],
    &[("objective.loss", "wasserstein"), ("objective.weight_clip", "0.01")],
    &[("objective.relativistic", "true")],
    &[("objective.r1", "1.0")],
    &[("objective.gradient_penalty", "1.0")],
    &[("labels.real", "[0.7, 1.0]")],
    &[("objective.feature_matching", "1.0")],
    &[("discriminator.minibatch_discrimination", "{ kernels = 4, dims = 3, form = \"mean\" }")],
    &[("discriminator.minibatch_stddev", "4")],
    &[("discriminator.parametrization", "spectral-norm")],
    &[("discriminator.parametrization", "weight-norm")],
    &[("generator.norm", "batch")],
    &[("discriminator.norm", "batch")],
    &[("discriminator.norm", "layer")],
    &[("noise.input", "0.5")],
    &[("train.ema", "0.9")],
    &[("train.d_steps", "2")],
    &[("train.g_steps", "2")],
    &[("optimizer.lr", "1e-2")],
    &[("optimizer.lr_discriminator", "1e-2")],
    &[("optimizer.beta1", "0.9")],
    &[("optimizer.type", "sgd")],
    &[("optimizer.type", "rmsprop")],
];

#[test]
fn every_option_changes_the_run() {
    let plain = runs(&short(ToyDataset::Grid, 1, &[])).last;
    let settings = OPTIONS.iter().map(|changes| short(ToyDataset::Grid, 1, changes));
    for settings in settings.chain([short(ToyDataset::Grid, 4, &[])]) {
        let outcome = runs(&settings);
        assert_eq!(outcome.diverged, None, "{settings:?}");
        let last = outcome.last;
        assert!(
            last.step == 40 && last.d_loss.is_finite() && last.g_loss.is_finite(),
            "{settings:?}"
        );
        // The EMA of the weights is only sampled from.
        let changed = if settings.recipe.train.ema > 0.0 {
            last.coverage != plain.coverage
        } else {
            last.g_loss != plain.g_loss
        };
        assert!(changed, "{settings:?}");
    }
}

#[test]
fn runs_do_not_depend_on_threads_or_other_runs() {
    for settings in [
        short(ToyDataset::Ring, 1, &[]),
        short(
            ToyDataset::Ring,
            1,
            &[("train.batch", "512"), ("generator.width", "128"), ("discriminator.width", "128")],
        ),
        short(
            ToyDataset::Grid,
            1,
            &[
                ("discriminator.minibatch_discrimination", "{ kernels = 4, dims = 3 }"),
                ("noise.input", "0.1"),
                ("labels.real", "[0.7, 1.0]"),
            ],
        ),
    ] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (runs(&settings).last, sweep(&settings, 3, &Device::Cpu, &|_| ()).unwrap())
            })
        };
        let (one, swept) = on(1);
        let (three, swept_again) = on(3);
        assert_eq!(one, three);
        let last = |outcomes: &[ToyOutcome]| {
            outcomes.iter().map(|outcome| outcome.last.clone()).collect::<Vec<_>>()
        };
        assert_eq!(last(&swept), last(&swept_again));
        assert_eq!(swept[0].last, one);
        assert_eq!(swept.iter().map(|outcome| outcome.last.seed).collect::<Vec<_>>(), [0, 1, 2]);
        assert_ne!(swept[0].last.g_loss, swept[1].last.g_loss);
    }
}

#[test]
fn ring_is_found() {
    let settings =
        settings(ToyDataset::Ring, 1, &[("train.steps", "1500"), ("optimizer.lr", "2e-3")]);
    let mut steps = 0;
    let mut measured = Vec::new();
    let outcome = run(&settings, &Device::Cpu, 5, 0, &mut |event| match event {
        ToyEvent::Stepped { steps: more } => steps += more,
        ToyEvent::Measured(one) => measured.push(one.step),
    });
    let coverage = outcome.unwrap().last.coverage;
    assert_eq!((steps, measured), (1500, vec![300, 600, 900, 1200, 1500]));
    assert!(coverage.modes >= 4 && coverage.high_quality > 0.02, "{coverage:?}");
    assert!(coverage.histogram.iter().sum::<usize>() <= NUM_SAMPLES);
}

#[test]
fn divergence_stops_at_the_last_finite_state() {
    let settings = short(
        ToyDataset::Ring,
        1,
        &[
            ("optimizer.lr", "1e30"),
            ("optimizer.type", "sgd"),
            ("objective.loss", "least-squares"),
            ("train.steps", "500"),
        ],
    );
    let outcome = run(&settings, &Device::Cpu, 1, 1, &mut |_| ()).unwrap();
    assert_eq!((outcome.diverged, outcome.last.step), (Some(100), 100));
    assert_eq!(outcome.frames.len(), 1);
}

/// The rules of combination are those of image recipes.
#[test]
fn invalid_settings_are_rejected() {
    let discrimination = ("discriminator.minibatch_discrimination", "{ kernels = 4, dims = 3 }");
    for (changes, key) in [
        (&[("objective.loss", "wasserstein")][..], "objective.loss"),
        (&[("objective.loss", "hinge"), ("labels.real", "[0.9, 0.9]")], "objective.loss"),
        (
            &[
                ("objective.loss", "wasserstein"),
                ("objective.gradient_penalty", "10.0"),
                ("objective.relativistic", "true"),
            ],
            "objective.relativistic",
        ),
        (
            &[("objective.gradient_penalty", "1.0"), ("discriminator.norm", "batch")],
            "objective.gradient_penalty",
        ),
        (&[("objective.r1", "1.0"), discrimination], "objective.r1"),
        (&[("objective.gradient_penalty", "1.0"), ("objective.r1", "1.0")], "objective.r1"),
        (&[("objective.weight_clip", "0.1")], "objective.weight_clip"),
        (
            &[("discriminator.minibatch_stddev", "4"), discrimination],
            "discriminator.minibatch_stddev",
        ),
        (&[("optimizer.lr", "0.0")], "optimizer.lr"),
        (&[("train.ema", "1.0")], "train.ema"),
        (&[("noise.input", "-1.0")], "noise.input"),
        (&[("labels.real", "[0.9, 0.7]")], "labels.real"),
        (
            &[("discriminator.minibatch_discrimination", "{ kernels = 4, dims = 0 }")],
            "discriminator.minibatch_discrimination.dims",
        ),
    ] {
        let changes: Vec<_> =
            changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let error = ToySettings::new(ToyDataset::Grid, 0, 1, &changes).unwrap_err();
        assert!(
            matches!(&error, TrainError::Nn(NnError::BadValue { key: found, .. }) if found == key),
            "{changes:?}: {error}"
        );
    }
    let stddev = [("discriminator.minibatch_stddev".to_owned(), "4".to_owned())];
    for (pack, changes) in [(3, &[][..]), (0, &[]), (128, &stddev)] {
        let error = ToySettings::new(ToyDataset::Grid, 0, pack, changes).unwrap_err();
        assert!(matches!(error, TrainError::Pack { batch: 128, .. }), "{error}");
    }
}

#[test]
fn plots_show_all_kinds_of_landscapes() {
    let folder = tempfile::tempdir().unwrap();
    let discrimination =
        ("discriminator.minibatch_discrimination", "{ kernels = 2, dims = 2, form = \"mean\" }");
    let relative = [
        ("discriminator.minibatch_stddev", "4"),
        ("objective.loss", "wasserstein"),
        ("objective.r1", "1.0"),
    ];
    for (i, settings) in [
        short(ToyDataset::Ring, 1, &[]),
        short(ToyDataset::Grid, 2, &[]),
        short(ToyDataset::Grid, 1, &[discrimination]),
        short(ToyDataset::Grid, 2, &relative),
    ]
    .iter()
    .enumerate()
    {
        let outcome = run(settings, &Device::Cpu, 1, 3, &mut |_| ()).unwrap();
        assert_eq!(outcome.frames.iter().map(|frame| frame.step).collect::<Vec<_>>(), [0, 20, 40]);
        for frame in &outcome.frames {
            assert_eq!(frame.landscape.logits.len(), frame.landscape.side * frame.landscape.side);
            assert!(frame.landscape.logits.iter().all(|logit| logit.is_finite()));
            // A landscape of a single value was never filled in.
            assert!(frame.landscape.logits.iter().any(|logit| *logit != frame.landscape.logits[0]));
            assert_eq!(frame.samples.len(), 2 * NUM_SAMPLES);
        }
        let plots: Vec<_> =
            outcome.frames.iter().map(|frame| frame_plot::draw(settings, frame).unwrap()).collect();
        let path = folder.path().join(format!("{i}.gif"));
        animate(&path, &plots).unwrap();
        assert_eq!(frames(&path), (3, 700, 400));
    }
    let settings = saddle::SaddleSettings::default();
    let trajectories = saddle::simulate(&settings).unwrap();
    let path = folder.path().join("saddle.png");
    let drawn = saddle_plot::draw(&trajectories, &settings, 300).unwrap();
    save_png(&path, &drawn.into()).unwrap();
    assert_eq!(image::open(&path).unwrap().width(), 1644);
    // Also one that diverges to infinity.
    let wild = saddle::SaddleSettings { lr: 50.0, steps: 400, ..Default::default() };
    let trajectories = saddle::simulate(&wild).unwrap();
    assert!(!trajectories[0].end().is_finite());
    saddle_plot::draw(&trajectories, &wild, 400).unwrap();
    assert!(animate(&path, &[]).is_err());
}

/// Frames, width and height of a GIF.
fn frames(path: &std::path::Path) -> (usize, u16, u16) {
    let mut decoder = gif::DecodeOptions::new().read_info(fs::File::open(path).unwrap()).unwrap();
    let mut count = 0;
    while decoder.read_next_frame().unwrap().is_some() {
        count += 1;
    }
    (count, decoder.width(), decoder.height())
}
