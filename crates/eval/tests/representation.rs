//! Linear probes: SVMs against liblinear, choice of C, draws of labels.

use data::{Dataset, Preprocess, Split};
use eval::EvalError;
use eval::representation::svm::{self, Options, SvmRows};
use eval::representation::{C_GRID, LinearProbeConfig, select_cost};
use runs::read_state_dict;
use std::path::Path;
use tensor::HostTensor;
use tensor::rng::Philox;

fn classes_of(labels: &[u32]) -> usize {
    labels.iter().max().map_or(0, |&most| most as usize + 1)
}

fn f32s(array: &HostTensor) -> &[f32] {
    array.as_f32().unwrap()
}

/// Against liblinear, solved to 1e-9: more rows than features, fewer, and features of different
/// scales.
#[test]
fn svms_equal_liblinear() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/svm.safetensors");
    let arrays = read_state_dict(&file).unwrap();
    let mut compared = 0;
    for problem in ["tall", "wide", "scales"] {
        let of = |key: &str| &arrays[&format!("{problem}.{key}")];
        let (x, test) = (of("x"), f32s(of("test")));
        let labels: Vec<u32> =
            of("labels").as_i64().unwrap().iter().map(|&label| label as u32).collect();
        let rows = SvmRows::new(f32s(x), x.shape[1]);
        let prefix = format!("{problem}.decisions.");
        let costs: Vec<f64> =
            arrays.keys().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()).collect();
        let classes = classes_of(&labels);
        let options = Options { tolerance: 1e-5, sweeps: 200_000, seed: 3 };
        let svms = svm::train(&rows, &labels, classes, &costs, options);
        assert!(svms.converged.iter().all(|met| *met), "{problem}");
        for (k, (_, golden)) in
            arrays.iter().filter(|(key, _)| key.starts_with(&prefix)).enumerate()
        {
            let (golden, found) = (f32s(golden), svms.only(k).decisions(test).to_vec());
            let most = golden.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            let error =
                found.iter().zip(golden).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / most;
            assert!(
                error < 1e-4 && found.len() == golden.len(),
                "{problem} C {}: {error:e}",
                costs[k]
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
}

/// Three noisy classes: [rows, labels].
fn noisy(count: usize, width: usize, stream: u64) -> (Vec<f32>, Vec<u32>) {
    let labels: Vec<u32> = (0..count as u32).map(|i| i % 3).collect();
    let mut values = Philox::new(5, stream).normal([count, width], 0.0, 1.0).to_vec();
    for (row, &label) in values.chunks_mut(width).zip(&labels) {
        row[label as usize] += 1.5;
    }
    (values, labels)
}

#[test]
fn svms_are_deterministic_and_converged() {
    for width in [4, 200] {
        let (values, labels) = noisy(90, width, 0);
        let (test, _) = noisy(60, width, 1);
        let decisions = |threads: usize, options: Options| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                svm::train(&SvmRows::new(&values, width), &labels, 3, &C_GRID, options)
                    .decisions(&test)
                    .to_vec()
            })
        };
        let one = decisions(1, Options::default());
        assert_eq!(one, decisions(3, Options::default()));
        let exact = decisions(1, Options { tolerance: 1e-9, sweeps: 100_000, seed: 8 });
        let error = one.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 1e-3 && error > 0.0, "{error}");
    }
}

#[test]
fn cost_search_widens_at_the_edge() {
    // Few rows, many features: SVMs that overfit do worse.
    let (values, labels) = noisy(60, 40, 2);
    let (held_out, held_out_labels) = noisy(600, 40, 3);
    let rows = SvmRows::new(&values, 40);
    let pick = |costs: &[f64]| {
        select_cost(&rows, &labels, 3, costs, (&held_out, &held_out_labels), Options::default())
    };
    let far = pick(&[10.0, 30.0]);
    assert!(far.widened && far.cost < 10.0, "{}", far.cost);
    let near = pick(&[far.cost / 10.0, far.cost, far.cost * 10.0]);
    // The same C from another start, to the same tolerance.
    assert!(
        near.correct.abs_diff(far.correct) <= 5 && near.correct > 300,
        "{} {}",
        near.correct,
        far.correct
    );
    assert_eq!(near.svms.correct(&held_out, &held_out_labels), [near.correct]);
}

#[test]
fn draws_are_balanced_and_not_held_out() {
    let set = Dataset::open("fashion-mnist", Split::Test, &Preprocess::new([28, 28], 1), &|_| ())
        .unwrap();
    let split = |seed: u64| {
        LinearProbeConfig { seed, ..LinearProbeConfig::new(Some(100), 500, 3) }.split(&set).unwrap()
    };
    let (one, other) = (split(0), split(1));
    assert_eq!((one.validation.len(), one.draws.len()), (500, 3));
    for draw in &one.draws {
        assert!(draw.len() == 100 && draw.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(draw.iter().all(|index| one.validation.binary_search(index).is_err()));
        let of_class =
            |class: u32| draw.iter().filter(|&&index| set.label(index) == Some(class)).count();
        assert!((0..10).all(|class| of_class(class) == 10));
    }
    assert_ne!(one.draws[0], one.draws[1]);
    assert_ne!((&one.validation, &one.draws), (&other.validation, &other.draws));
    let again = split(0);
    assert_eq!((one.validation, one.draws), (again.validation, again.draws));
    let refused = |labels, validation| {
        LinearProbeConfig::new(Some(labels), validation, 3).split(&set).err().unwrap()
    };
    let error = refused(105, 500);
    assert!(matches!(error, EvalError::LabelCount { labels: 105, classes: 10, .. }), "{error}");
    let error = refused(100, 10_000);
    assert!(matches!(error, EvalError::ValidationCount { validation: 10_000, .. }), "{error}");
}

#[test]
fn svms_of_standardized_features_are_unscaled() {
    let (values, labels) = noisy(60, 5, 4);
    let (mean, scale) = ([0.5, -1.0, 0.0, 2.0, 0.1], [2.0, 0.5, 1.0, 3.0, 0.25]);
    let scaled: Vec<f32> = values
        .chunks(5)
        .flat_map(|row| (0..5).map(|i| (row[i] - mean[i]) / scale[i]).collect::<Vec<_>>())
        .collect();
    let svms = svm::train(&SvmRows::new(&scaled, 5), &labels, 3, &[0.1], Options::default());
    let (a, b) = (
        svms.decisions(&scaled).to_vec(),
        svms.unscaled(&mean, &scale).decisions(&values).to_vec(),
    );
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5));
}
