//! Metrics against torch-fidelity and the authors' formulas (generator: `xtask/golden/metrics.py`),
//! and properties that hold for all features.

#[path = "../../tensor/tests/common/numerics_env.rs"]
mod numerics_env;

use eval::features::Features;
use eval::metrics::frechet::{self, bootstrap_interval};
use eval::metrics::{
    FeatureSet, METRICS, Memorization, Metric, MetricReport, MetricWarning, Options, Statistics,
    Subsets, TrainNeighborIndex, compare, find, inception_score, kid, manifold, pairwise,
};
use eval::stats::{MeanStd, bootstrap_mean, fraction};
use eval::{EvalError, Progress};
use runs::{NpzArray, write_npz};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;
use tensor::rng::Philox;
use tensor::{Device, Tensor, set_conv_algorithm, set_isa};

/// Neighbors in the golden files.
const K: usize = 3;

struct Golden(Vec<u8>);

impl Golden {
    fn open() -> (Self, Vec<Value>) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let cases = std::fs::read(dir.join("metrics.json")).unwrap();
        (
            Self(std::fs::read(dir.join("metrics.safetensors")).unwrap()),
            serde_json::from_slice(&cases).unwrap(),
        )
    }

    fn features(&self, name: &str) -> Features {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(view.dtype(), Dtype::F32);
        let values = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        Features::new(view.shape()[1], values)
    }

    fn indices(&self, name: &str) -> Vec<Vec<usize>> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let Ok(view) = file.tensor(name) else { return Vec::new() };
        let values: Vec<usize> = view
            .data()
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize)
            .collect();
        values.chunks_exact(view.shape()[1]).map(<[usize]>::to_vec).collect()
    }
}

#[track_caller]
fn near(what: &str, ours: f64, reference: &Value, bound: f64) {
    let reference = reference.as_f64().unwrap();
    let error = (ours - reference).abs() / reference.abs().max(1e-12);
    assert!(
        error <= bound || ours == reference,
        "{what}: {ours} against {reference} ({error:.1e})"
    );
}

/// The largest relative error of a metric's value.
fn tolerance(key: &str) -> f64 {
    match key {
        // Counts are exact, but torch-fidelity takes their mean in single precision.
        "precision" | "recall" => 1e-7,
        "density" | "coverage" | "memorized" => 1e-12,
        _ => 1e-6,
    }
}

/// Every registered metric that needs features alone has its values in the golden files, except for
/// KID, whose subsets are given there.
#[test]
fn metrics_equal_torch_fidelity() {
    let (golden, cases) = Golden::open();
    let cases: Vec<&Value> = cases.iter().filter(|case| case["kind"] == "features").collect();
    assert!(cases.len() >= 6);
    let metrics: Vec<&'static Metric> =
        METRICS.iter().copied().filter(|metric| !["kid", "is"].contains(&metric.name)).collect();
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let expected = &case["expected"];
        let set = |of| feature_set(golden.features(&format!("{name}/{of}")));
        let (real, fake) = (set("real"), set("fake"));
        let train = train_index(&real.features);
        let options = Options { metrics: metrics.clone(), bootstrap: 0, ..options(&[]) };
        let report =
            compare(&real, &fake, Some(&train), &options, &Device::Cpu, Progress::SILENT).unwrap();
        assert!(report.values.len() >= metrics.len());
        for found in &report.values {
            let bound = tolerance(found.key);
            near(&format!("{name}: {}", found.key), found.value, &expected[found.key], bound);
            if let Some(found_expected) = found.expected {
                let key = format!("{}_expected", found.key);
                near(&format!("{name}: {key}"), found_expected, &expected[&key], 1e-12);
            }
        }
        let subsets = golden
            .indices(&format!("{name}/subsets_real"))
            .into_iter()
            .zip(golden.indices(&format!("{name}/subsets_fake")));
        for ((a, b), reference) in subsets.zip(expected["kernel"].as_array().unwrap()) {
            let (a, b) = (real.features.select(&a), fake.features.select(&b));
            near(&format!("{name}: kernel"), kid::mmd(&a, &b, &Device::Cpu), reference, 1e-4);
        }
    }
}

/// Through a file, too.
#[test]
fn statistics_have_the_distance_of_their_features() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("statistics.npz");
    let set = |seed, scale: f32, count| {
        let mut rows = Philox::new(seed, 0).normal([count, 24], 0.5, 1.0).to_vec();
        // Features whose covariance is not diagonal, and in the second set without full rank.
        rows.chunks_exact_mut(24).for_each(|row| row[1] = row[0] * scale + 0.1 * row[1]);
        Features::new(24, rows)
    };
    for (real, fake) in [(set(1, 0.5, 60), set(2, -0.5, 80)), (set(3, 2.0, 40), set(4, 1.0, 12))] {
        let exact = frechet::distance(&real, &fake).unwrap();
        let [real, fake] = [real, fake].map(|set| Statistics::of(&set, Progress::SILENT).unwrap());
        real.save(&path).unwrap();
        let read = Statistics::load(&path).unwrap();
        assert_eq!(read, real);
        let found = read.distance(&fake).unwrap();
        assert!((found - exact).abs() < 1e-9 * exact, "{found} against {exact}");
    }
    let narrow = Statistics::of(&Features::new(2, vec![0.0, 1.0, 1.0, 0.0]), Progress::SILENT);
    let wide = Statistics::load(&path).unwrap();
    let refused = wide.distance(&narrow.unwrap());
    assert!(matches!(refused, Err(EvalError::FeatureWidths { real: 24, fake: 2 })));
    let array = |shape: &[usize]| NpzArray {
        shape: shape.to_vec(),
        values: (0..shape.iter().product()).map(|i: usize| i as f64).collect(),
    };
    for (mu, sigma) in [(array(&[2]), array(&[2, 2])), (array(&[2]), array(&[3, 3]))] {
        write_npz(&path, &[("mu", &mu), ("sigma", &sigma)]).unwrap();
        let refused = Statistics::load(&path);
        assert!(matches!(refused, Err(EvalError::StatisticsFile { .. })), "{refused:?}");
    }
}

#[test]
fn outliers_leave_the_kernel_distance_its_digits() {
    let (golden, cases) = Golden::open();
    let cases: Vec<&Value> = cases.iter().filter(|case| case["kind"] == "kernel").collect();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let [real, fake] = ["real", "fake"].map(|of| golden.features(&format!("{name}/{of}")));
        near(name, kid::mmd(&real, &fake, &Device::Cpu), &case["expected"]["kernel"], 1e-6);
    }
}

#[test]
fn inception_score_equals_torch_fidelity() {
    let (golden, cases) = Golden::open();
    let cases: Vec<&Value> = cases.iter().filter(|case| case["kind"] == "scores").collect();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let logits = golden.features(&format!("{name}/logits"));
        let probabilities =
            Tensor::from_slice(logits.values(), [logits.len(), logits.width()]).softmax(1);
        let probabilities = Features::new(logits.width(), probabilities.to_vec());
        let found = MeanStd::of(
            &inception_score::scores(&probabilities, case["splits"].as_u64().unwrap() as usize)
                .unwrap(),
        );
        near(name, found.mean, &case["expected"]["inception_score"], 1e-6);
        assert!(
            (found.std - case["expected"]["deviation"].as_f64().unwrap()).abs() < 1e-5,
            "{name}: {}",
            found.std
        );
    }
}

fn normal(seed: u64, count: usize, width: usize, mean: f32) -> Features {
    Features::new(width, Philox::new(seed, 1).normal([count, width], mean, 1.0).to_vec())
}

fn options(metrics: &[&str]) -> Options {
    Options {
        metrics: metrics.iter().map(|name| find(name).unwrap()).collect(),
        neighbors: K,
        subsets: Subsets { count: 5, size: 20 },
        bootstrap: 50,
        seed: 1,
    }
}

fn train_index(features: &Features) -> TrainNeighborIndex<'_> {
    TrainNeighborIndex::new(Cow::Borrowed(features), &Device::Cpu, Progress::SILENT).unwrap()
}

fn memorization(real: &Features, fake: &Features) -> Memorization {
    train_index(real).memorization(fake, &Device::Cpu, Progress::SILENT).unwrap()
}

fn feature_set(features: Features) -> FeatureSet {
    FeatureSet { features, classes: None }
}

#[test]
fn distance_to_itself_is_zero() {
    let rows = normal(1, 200, 12, 0.0);
    assert!(frechet::distance(&rows, &rows).unwrap() < 1e-9);
    let found =
        manifold::manifold(&rows, &rows.clone(), K, &Device::Cpu, Progress::SILENT).unwrap();
    assert_eq!(
        [fraction(&found.precise), fraction(&found.recalled), fraction(&found.covered)],
        [1.0; 3]
    );
    // Every copy is nearer to its original than any other row is.
    assert_eq!(fraction(&memorization(&rows, &rows.clone()).memorized), 1.0);
}

#[test]
fn memorization_of_fresh_images_is_as_expected() {
    let (training, fresh) = (normal(2, 1500, 6, 0.0), normal(3, 1500, 6, 0.0));
    let found = memorization(&training, &fresh);
    let (memorized, expected) = (fraction(&found.memorized), fraction(&found.expected));
    assert!((memorized - expected).abs() < 0.05 && expected > 0.2, "{memorized} {expected}");
}

#[test]
fn neighbors_are_exact_despite_rounding() {
    // Distances of 0.01, 1000 away from the origin and from the other half of the rows: in single
    // precision |a|² loses them completely.
    let mut values = Philox::new(4, 0).normal([200, 6], 0.0, 0.01).to_vec();
    values.iter_mut().take(600).for_each(|v| *v += 1000.0);
    let rows = Features::new(6, values);
    let found = pairwise::PairwiseDistances::new(&rows, &rows, &Device::Cpu)
        .nearest(4, Progress::SILENT)
        .unwrap();
    for (i, found) in found.iter().enumerate() {
        let mut all: Vec<(f64, usize)> = (0..rows.len())
            .filter(|&j| j != i)
            .map(|j| (pairwise::squared_distance(rows.row(i), rows.row(j)), j))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let wanted: Vec<(f64, usize)> = all.into_iter().take(4).collect();
        assert_eq!(
            found.iter().map(|n| (n.squared, n.index)).collect::<Vec<_>>(),
            wanted,
            "row {i}"
        );
    }
}

#[test]
fn intervals_contain_the_true_value() {
    let (real, fake) = (normal(5, 2000, 8, 0.0), normal(6, 2000, 8, 0.5));
    // |μ₁ − μ₂|² = 8 · 0.25 for the distributions themselves.
    let value = frechet::distance(&real, &fake).unwrap();
    let [low, high] =
        bootstrap_interval(value, [&real, &fake], 200, 0, Progress::SILENT).unwrap().unwrap();
    assert!(
        low < 2.0 && 2.0 < high && high - low < 0.5 && low < value && value < high,
        "{low} {value} {high}"
    );
    let flags: Vec<f64> = (0..1000).map(|i| f64::from(u8::from(i % 5 == 0))).collect();
    let [low, high] = bootstrap_mean(&flags, 400, 0).unwrap();
    // 1.96 · √(0.2 · 0.8 / 1000) = 0.025.
    assert!((low - 0.175).abs() < 0.006 && (high - 0.225).abs() < 0.006, "{low} {high}");
    assert_eq!(bootstrap_mean(&flags, 400, 0), bootstrap_mean(&flags, 400, 0));
    assert_eq!(bootstrap_mean(&flags, 0, 0), None);
}

#[test]
fn reports_are_reproducible() {
    let (real, fake) = (feature_set(normal(7, 60, 5, 0.0)), feature_set(normal(8, 50, 5, 0.3)));
    let all = options(&["fid", "kid", "pr", "dc", "nn"]);
    let training = train_index(&real.features);
    let report =
        || compare(&real, &fake, Some(&training), &all, &Device::Cpu, Progress::SILENT).unwrap();
    let first = report();
    assert_eq!(first, report());
    let keys: Vec<&str> = first.values.iter().map(|value| value.key).collect();
    assert_eq!(
        keys,
        ["frechet", "kernel", "precision", "recall", "density", "coverage", "memorized"]
    );
    assert!(first.warnings.is_empty(), "{:?}", first.warnings);
    assert!(first.values.iter().all(|value| value.interval.is_some_and(|[low, high]| low <= high)));
}

#[test]
fn too_few_images_are_reported() {
    let few = |count, width| feature_set(normal(9, count, width, 0.0));
    let report = |real: &FeatureSet, fake: &FeatureSet, metrics: &[&str]| {
        compare(real, fake, None, &options(metrics), &Device::Cpu, Progress::SILENT)
    };
    let warned: MetricReport = report(&few(10, 16), &few(30, 16), &["fid", "kid"]).unwrap();
    let rank = MetricWarning::RankDeficient { set: "real", images: 10, width: 16 };
    assert_eq!(warned.warnings, [rank, MetricWarning::SmallSubsets { size: 10, wanted: 20 }]);
    let error = |real, fake, metric| report(&real, &fake, &[metric]).unwrap_err();
    let found = error(few(1, 4), few(9, 4), "fid");
    assert!(
        matches!(&found, EvalError::TooFewImages { set, needed: 2, found: 1, .. } if set == "real"),
        "{found}"
    );
    let found = error(few(9, 4), few(9, 5), "fid");
    assert!(matches!(found, EvalError::FeatureWidths { real: 4, fake: 5 }), "{found}");
    let found = error(few(9, 4), few(3, 4), "pr");
    let EvalError::TooFewImages { set, needed: 4, found: 3, .. } = found else { panic!("{found}") };
    assert_eq!(set, "generated");
    let found = error(few(9, 4), few(9, 4), "is");
    assert!(matches!(found, EvalError::NeedsClassProbabilities { metric: "is" }), "{found}");
    let found = error(few(9, 4), few(9, 4), "nn");
    assert!(matches!(found, EvalError::NeedsTrainSet { metric: "nn" }), "{found}");
    let mut broken = normal(10, 9, 4, 0.0).values().to_vec();
    broken[5] = f32::NAN;
    let found = error(feature_set(Features::new(4, broken)), few(9, 4), "fid");
    assert!(matches!(found, EvalError::NonFiniteFeatures), "{found}");
}

#[test]
fn expected_inception_score_uses_as_many_parts() {
    // Two classes predicted with certainty, sorted as a dataset may be: parts that are not random
    // would have a score of 1.
    let classes = |count: usize| {
        let values =
            (0..count).flat_map(|i| if 2 * i < count { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
        FeatureSet { features: normal(12, count, 3, 0.0), classes: Some(Features::new(2, values)) }
    };
    let set = classes(400);
    let report =
        compare(&set, &set.clone(), None, &options(&["is"]), &Device::Cpu, Progress::SILENT)
            .unwrap();
    let value = report.get("inception_score").unwrap();
    assert_eq!(value.expected, Some(value.value), "the same images");
    assert!(value.value > 1.9 && value.value < 2.0, "{}", value.value);
}

#[test]
fn progress_can_cancel() {
    let rows = feature_set(normal(11, 40, 4, 0.0));
    let stop = |what: &str, _: u64, _: u64| what != "comparing subsets";
    let error =
        compare(&rows, &rows, None, &options(&["kid"]), &Device::Cpu, Progress(&stop)).unwrap_err();
    assert!(matches!(error, EvalError::Stopped));
}

#[test]
fn the_smaller_set_bounds_the_work_of_the_frechet_distance() {
    // 24 images of 64×64×3: a covariance of the pixels would take 1.2 GiB, and its roots hours.
    let width = 64 * 64 * 3;
    let (few, many) = (feature_set(normal(7, 24, width, 0.0)), normal(8, 300, width, 0.5));
    let many = feature_set(many);
    let report = |real: &FeatureSet, fake: &FeatureSet| {
        let options = Options { bootstrap: 100, ..options(&["fid"]) };
        let report = compare(real, fake, None, &options, &Device::Cpu, Progress::SILENT).unwrap();
        let found = report.get("frechet").unwrap();
        (found.value, found.interval.unwrap())
    };
    let (value, [low, high]) = report(&few, &many);
    // |μ₁ − μ₂|² is about D · (0.25 + 1/24 + 1/300), and the traces are D each.
    let expected = width as f64 * (0.25 + 1.0 / 24.0 + 1.0 / 300.0 + 2.0);
    assert!(value < expected && value > 0.8 * expected, "{value} {expected}");
    assert!(low < value && value < high && high - low < 0.2 * value, "{low} {value} {high}");
    let swapped = report(&many, &few).0;
    assert!((swapped / value - 1.0).abs() < 1e-9, "{swapped} {value}");
    let broken = Features::new(200, vec![f32::INFINITY; 400]);
    let error = frechet::distance(&normal(9, 170, 200, 0.0), &broken).unwrap_err();
    assert!(matches!(error, EvalError::NonFiniteFeatures), "{error}");
    let huge = Features::new(4100, vec![0.0; 4100 * 4097]);
    let error = frechet::distance(&huge, &huge).unwrap_err();
    assert!(matches!(error, EvalError::FrechetTooLarge { images: 4097, width: 4100 }), "{error}");
}

/// The distance does not depend on whether covariances are computed from rows or from features.
#[test]
fn appended_zeros_do_not_change_the_frechet_distance() {
    let (real, fake) = (normal(7, 60, 24, 1000.0), normal(8, 30, 24, 1000.5));
    let padded = |features: &Features| {
        let row = |i| features.row(i).iter().copied().chain([0.0; 40]);
        Features::new(64, (0..features.len()).flat_map(row).collect())
    };
    let narrow = frechet::distance(&real, &fake).unwrap();
    let wide = frechet::distance(&padded(&real), &padded(&fake)).unwrap();
    assert!((wide / narrow - 1.0).abs() < 1e-6, "{wide} {narrow}");
    // Columns that repeat others, as in gray images of three channels: each distance is three times
    // as large.
    let tripled = |features: &Features| {
        let row = |i| features.row(i).iter().flat_map(|&v| [v; 3]);
        Features::new(72, (0..features.len()).flat_map(row).collect())
    };
    let (real, fake) = (normal(9, 200, 24, 0.0), normal(10, 100, 24, 0.3));
    let (once, thrice) = (
        frechet::distance(&real, &fake).unwrap(),
        frechet::distance(&tripled(&real), &tripled(&fake)).unwrap(),
    );
    assert!((thrice / once / 3.0 - 1.0).abs() < 1e-6, "{thrice} {once}");
}
