//! The laboratory in the plane: counting, the games, and runs of seconds.

use nn::loss::GanLoss;
use runs::grid::save_png;
use runs::plots::animate;
use std::fs;
use tensor::Device;
use tensor::rng::Philox;
use train::toy::saddle::{self, Method, Trajectory};
use train::toy::{
    Coverage, Event, Mixture, Outcome, SAMPLES, Settings, Target, picture, run, saddle_picture,
    sweep,
};

/// `count` points at a centre, `off` standard deviations to its right.
fn at(mixture: &Mixture, mode: usize, count: usize, off: f32) -> Vec<f32> {
    let [x, y] = mixture.centres[mode];
    [x + off * mixture.std, y].repeat(count)
}

#[test]
fn modes_are_counted_by_the_rules() {
    for (mixture, modes) in [(Mixture::ring(), 8), (Mixture::grid(), 25)] {
        assert_eq!(mixture.centres.len(), modes);
        let real = Coverage::of(&mixture, &mixture.sample(&mut Philox::new(1, 0), 20_000).to_vec());
        assert_eq!((real.modes, real.fair_modes), (modes, modes));
        // Two-dimensional normal: 1 − exp(−9/2) lie within three standard deviations.
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
fn a_quarter_of_the_fair_share_is_stricter_than_one() {
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

fn played(settings: &saddle::Settings, method: Method) -> Trajectory {
    saddle::play(settings).unwrap().into_iter().find(|t| t.method == method).unwrap()
}

#[test]
fn saddles_follow_their_closed_forms() {
    // In complex numbers w = x + iy the gradients are (c − i)·w, and each linear method multiplies w by a root of its polynomial.
    for (lr, c) in [(0.1f64, 0.0f64), (0.2, 0.0), (0.3, 0.5), (0.1, -0.2)] {
        let settings = saddle::Settings { lr, curvature: c, steps: 150, ..Default::default() };
        let step = (1.0 - lr * c).hypot(lr);
        let simultaneous = played(&settings, Method::Simultaneous);
        let start = 2.0f64.sqrt();
        for (n, [x, y]) in simultaneous.points.iter().enumerate() {
            let expected = start * step.powi(n as i32);
            assert!((x.hypot(*y) / expected - 1.0).abs() < 1e-12, "step {n} at η = {lr}, c = {c}");
        }
        // 1 − ηλ + η²λ² with λ = c − i.
        let (re, im) = (1.0 - lr * c + lr * lr * (c * c - 1.0), lr - 2.0 * lr * lr * c);
        let extragradient = played(&settings, Method::Extragradient);
        assert!((extragradient.end() / (start * re.hypot(im).powi(150)) - 1.0).abs() < 1e-11);
    }
    let settings = saddle::Settings { lr: 0.3, steps: 1000, ..Default::default() };
    // The ellipse on which alternating steps stay.
    for [x, y] in played(&settings, Method::Alternating).points {
        assert!((x * x + y * y - 0.3 * x * y - 1.7).abs() < 1e-10, "{x} {y}");
    }
    // z² − (1 + 2iη)·z + iη = 0: the larger root is the factor of optimistic steps.
    let lr = 0.3f64;
    let (dr, di) = (1.0 - 4.0 * lr * lr, 0.0f64); // (1 + 2iη)² − 4iη
    let (sr, si) = if dr >= 0.0 { (dr.sqrt(), di) } else { (di, (-dr).sqrt()) };
    let roots = [(1.0 + sr) / 2.0, (1.0 - sr) / 2.0].map(|re| re.hypot(lr + si / 2.0));
    let optimistic = played(&settings, Method::Optimistic).factor();
    assert!((optimistic - roots[0].max(roots[1])).abs() < 1e-6, "{optimistic} {roots:?}");
}

#[test]
fn where_plain_steps_lead_away_optimism_and_extragradient_arrive() {
    let trajectories = saddle::play(&saddle::Settings::default()).unwrap();
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
    // With curvature even simultaneous steps arrive.
    let curved = saddle::Settings { curvature: 0.5, ..Default::default() };
    assert!(played(&curved, Method::Simultaneous).end() < 1e-5);
    for bad in [
        saddle::Settings { lr: 0.0, ..Default::default() },
        saddle::Settings { steps: 0, ..Default::default() },
        saddle::Settings { start: [0.0; 2], ..Default::default() },
        saddle::Settings { momentum: 1.0, ..Default::default() },
        saddle::Settings { beta1: -0.1, ..Default::default() },
        saddle::Settings { curvature: f64::NAN, ..Default::default() },
    ] {
        assert!(saddle::play(&bad).is_err(), "{bad:?}");
    }
}

fn short(target: Target) -> Settings {
    Settings { steps: 40, batch: 32, width: 16, ..Settings::new(target) }
}

fn runs(settings: &Settings) -> Outcome {
    run(settings, &Device::Cpu, 4, 0, &mut |_| ()).unwrap_or_else(|e| panic!("{settings:?}: {e}"))
}

/// Settings with one trick each.
fn tricks() -> Vec<Settings> {
    let plain = || short(Target::Grid);
    vec![
        Settings { objective: GanLoss::Minimax, ..plain() },
        Settings { objective: GanLoss::LeastSquares, ..plain() },
        Settings { objective: GanLoss::Hinge, ..plain() },
        Settings { objective: GanLoss::Wasserstein, gp: 10.0, ..plain() },
        Settings { objective: GanLoss::Wasserstein, clip: 0.01, ..plain() },
        Settings { relativistic: true, ..plain() },
        Settings { r1: 1.0, ..plain() },
        Settings { gp: 1.0, ..plain() },
        Settings { clip: 0.1, ..plain() },
        Settings { smooth: Some([0.7, 1.0]), ..plain() },
        Settings { feature_matching: 1.0, ..plain() },
        Settings { minibatch_discrimination: Some([4, 3]), ..plain() },
        Settings { minibatch_stddev: true, ..plain() },
        Settings { spectral_norm: true, ..plain() },
        Settings { batch_norm_g: true, ..plain() },
        Settings { batch_norm_d: true, ..plain() },
        Settings { noise: 0.5, ..plain() },
        Settings { ema: 0.9, ..plain() },
        Settings { pack: 4, ..plain() },
        Settings { d_steps: 2, ..plain() },
        Settings { g_steps: 2, ..plain() },
        Settings { lr: 1e-2, ..plain() },
        Settings { lr_d: 1e-2, ..plain() },
        Settings { rule: Settings::adam(0.9), ..plain() },
        Settings { rule: nn::OptimizerKind::Sgd { momentum: 0.0, nesterov: false }, ..plain() },
        Settings {
            rule: nn::OptimizerKind::RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.0 },
            ..plain()
        },
    ]
}

#[test]
fn every_trick_runs_and_changes_something() {
    let plain = runs(&short(Target::Grid)).last;
    for settings in tricks() {
        let outcome = runs(&settings);
        assert_eq!(outcome.diverged, None, "{settings:?}");
        let last = outcome.last;
        assert!(
            last.step == 40 && last.d_loss.is_finite() && last.g_loss.is_finite(),
            "{settings:?}"
        );
        // An average of weights is only sampled from.
        let changed = if settings.ema > 0.0 {
            last.coverage != plain.coverage
        } else {
            last.g_loss != plain.g_loss
        };
        assert!(changed, "{settings:?}");
    }
}

#[test]
fn the_bits_do_not_depend_on_threads_nor_on_company() {
    for settings in [
        short(Target::Ring),
        Settings { batch: 512, width: 128, ..short(Target::Ring) },
        Settings {
            minibatch_discrimination: Some([4, 3]),
            noise: 0.1,
            smooth: Some([0.7, 1.0]),
            ..short(Target::Grid)
        },
    ] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (runs(&settings).last, sweep(&settings, 3, &Device::Cpu, &|_| ()).unwrap())
            })
        };
        let (one, swept) = on(1);
        let (three, swept_too) = on(3);
        assert_eq!(one, three);
        let last = |outcomes: &[Outcome]| {
            outcomes.iter().map(|outcome| outcome.last.clone()).collect::<Vec<_>>()
        };
        assert_eq!(last(&swept), last(&swept_too));
        assert_eq!(swept[0].last, one);
        assert_eq!(swept.iter().map(|outcome| outcome.last.seed).collect::<Vec<_>>(), [0, 1, 2]);
        assert_ne!(swept[0].last.g_loss, swept[1].last.g_loss);
    }
}

#[test]
fn a_ring_is_found_in_seconds() {
    let settings = Settings { steps: 1500, lr: 2e-3, ..Settings::new(Target::Ring) };
    let mut steps = 0;
    let mut measured = Vec::new();
    let outcome = run(&settings, &Device::Cpu, 5, 0, &mut |event| match event {
        Event::Stepped { steps: more } => steps += more,
        Event::Measured(one) => measured.push(one.step),
    });
    let coverage = outcome.unwrap().last.coverage;
    assert_eq!((steps, measured), (1500, vec![300, 600, 900, 1200, 1500]));
    assert!(coverage.modes >= 4 && coverage.high_quality > 0.02, "{coverage:?}");
    assert!(coverage.histogram.iter().sum::<usize>() <= SAMPLES);
}

#[test]
fn a_run_that_diverges_says_where_and_keeps_what_was_finite() {
    let settings = Settings {
        lr: 1e30,
        lr_d: 1e30,
        steps: 500,
        rule: nn::OptimizerKind::Sgd { momentum: 0.0, nesterov: false },
        objective: GanLoss::LeastSquares,
        ..short(Target::Ring)
    };
    let outcome = run(&settings, &Device::Cpu, 1, 1, &mut |_| ()).unwrap();
    assert_eq!((outcome.diverged, outcome.last.step), (Some(100), 100));
    assert_eq!(outcome.frames.len(), 1);
}

#[test]
fn settings_that_make_no_sense_are_refused_with_a_reason() {
    let plain = || Settings::new(Target::Grid);
    for (settings, parts) in [
        (
            Settings { objective: GanLoss::Wasserstein, ..plain() },
            &["--objective wasserstein", "--gp 10"][..],
        ),
        (
            Settings { objective: GanLoss::Hinge, smooth: Some([0.9; 2]), ..plain() },
            &["--smooth", "hinge"],
        ),
        (
            Settings { objective: GanLoss::Wasserstein, gp: 10.0, relativistic: true, ..plain() },
            &["--relativistic"],
        ),
        (Settings { gp: 1.0, batch_norm_d: true, ..plain() }, &["--gp", "--batch-norm"]),
        (
            Settings { r1: 1.0, minibatch_discrimination: Some([4, 3]), ..plain() },
            &["--r1", "--minibatch-discrimination"],
        ),
        (Settings { gp: 1.0, r1: 1.0, ..plain() }, &["--gp", "--r1"]),
        (Settings { clip: 0.1, spectral_norm: true, ..plain() }, &["--clip", "--spectral-norm"]),
        (
            Settings { spectral_norm: true, batch_norm_d: true, ..plain() },
            &["--spectral-norm", "--batch-norm"],
        ),
        (
            Settings { minibatch_stddev: true, minibatch_discrimination: Some([4, 3]), ..plain() },
            &["--minibatch-stddev", "--minibatch-discrimination"],
        ),
        (Settings { pack: 3, ..plain() }, &["--pack 3", "--batch 126"]),
        (Settings { pack: 128, minibatch_stddev: true, ..plain() }, &["--pack 128"]),
        (Settings { batch: 1, ..plain() }, &["--batch 1"]),
        (Settings { lr: f64::NAN, ..plain() }, &["--lr"]),
        (Settings { ema: 1.0, ..plain() }, &["--ema 1"]),
        (Settings { noise: -1.0, ..plain() }, &["--noise -1"]),
        (Settings { smooth: Some([0.9, 0.7]), ..plain() }, &["--smooth 0.9,0.7"]),
        (
            Settings { minibatch_discrimination: Some([4, 0]), ..plain() },
            &["--minibatch-discrimination 0"],
        ),
    ] {
        let error =
            settings.validate().err().unwrap_or_else(|| panic!("{settings:?} passed")).to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} are not in: {error}");
    }
}

#[test]
fn pictures_show_all_kinds_of_landscapes() {
    let folder = tempfile::tempdir().unwrap();
    for (i, settings) in [
        short(Target::Ring),
        Settings { pack: 2, ..short(Target::Grid) },
        Settings { minibatch_discrimination: Some([2, 2]), ..short(Target::Grid) },
        Settings {
            pack: 2,
            minibatch_stddev: true,
            objective: GanLoss::Wasserstein,
            r1: 1.0,
            ..short(Target::Grid)
        },
    ]
    .iter()
    .enumerate()
    {
        let outcome = run(settings, &Device::Cpu, 1, 3, &mut |_| ()).unwrap();
        assert_eq!(outcome.frames.iter().map(|frame| frame.step).collect::<Vec<_>>(), [0, 20, 40]);
        for frame in &outcome.frames {
            assert_eq!(frame.landscape.logits.len(), frame.landscape.side * frame.landscape.side);
            assert!(frame.landscape.logits.iter().all(|logit| logit.is_finite()));
            // A landscape that is all one number was never filled in.
            assert!(frame.landscape.logits.iter().any(|logit| *logit != frame.landscape.logits[0]));
            assert_eq!(frame.samples.len(), 2 * SAMPLES);
        }
        let pictures: Vec<_> =
            outcome.frames.iter().map(|frame| picture::draw(settings, frame).unwrap()).collect();
        let path = folder.path().join(format!("{i}.gif"));
        animate(&path, &pictures).unwrap();
        assert_eq!(frames(&path), (3, 700, 400));
    }
    let settings = saddle::Settings::default();
    let trajectories = saddle::play(&settings).unwrap();
    let path = folder.path().join("saddle.png");
    let drawn = saddle_picture::draw(&trajectories, &settings, 300).unwrap();
    save_png(&path, &drawn.into()).unwrap();
    assert_eq!(image::open(&path).unwrap().width(), 1644);
    // Even one that runs off to infinity.
    let wild = saddle::Settings { lr: 50.0, steps: 400, ..Default::default() };
    let trajectories = saddle::play(&wild).unwrap();
    assert!(!trajectories[0].end().is_finite());
    saddle_picture::draw(&trajectories, &wild, 400).unwrap();
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
