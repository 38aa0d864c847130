//! Metrics beside torch-fidelity and the authors' formulas (generator: `xtask/golden/metrics.py`), and what they must do whatever the features.

#[path = "../../tensor/tests/common/numerics_env.rs"]
mod numerics_env;

use eval::Progress;
use eval::metrics::mean_std::{MeanStd, interval_of_frechet, interval_of_mean};
use eval::metrics::{
    FeatureSet, Features, Metric, Options, Subsets, TrainNeighborIndex, compare, frechet,
    inception_score, kid, manifold, pairwise,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;
use tensor::rng::Philox;
use tensor::{Device, Tensor, set_conv_algorithm, set_isa};

/// Neighbours in the golden files.
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

    fn rows(&self, name: &str) -> Features {
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
    assert!(error <= bound || ours == reference, "{what}: {ours} beside {reference} ({error:.1e})");
}

#[test]
fn figures_are_those_of_torch_fidelity() {
    let (golden, cases) = Golden::open();
    let cases: Vec<&Value> = cases.iter().filter(|case| case["kind"] == "features").collect();
    assert!(cases.len() >= 6);
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let expected = &case["expected"];
        let (real, fake) =
            (golden.rows(&format!("{name}/real")), golden.rows(&format!("{name}/fake")));
        near(
            &format!("{name}: Fréchet"),
            frechet::distance(&real, &fake).unwrap(),
            &expected["frechet"],
            1e-6,
        );
        let found = manifold::manifold(&real, &fake, K, &Device::Cpu, Progress::SILENT).unwrap();
        // Counts are exact; torch-fidelity takes their mean in single precision.
        near(
            &format!("{name}: precision"),
            manifold::fraction(&found.precise),
            &expected["precision"],
            1e-7,
        );
        near(
            &format!("{name}: recall"),
            manifold::fraction(&found.recalled),
            &expected["recall"],
            1e-7,
        );
        near(
            &format!("{name}: density"),
            MeanStd::of(&found.density).mean,
            &expected["density"],
            1e-12,
        );
        near(
            &format!("{name}: coverage"),
            manifold::fraction(&found.covered),
            &expected["coverage"],
            1e-12,
        );
        let found = memorization(&real, &fake);
        near(
            &format!("{name}: memorization"),
            manifold::fraction(&found.memorized),
            &expected["memorised"],
            1e-12,
        );
        near(
            &format!("{name}: expected"),
            manifold::fraction(&found.expected),
            &expected["memorised_expected"],
            1e-12,
        );
        let subsets = golden
            .indices(&format!("{name}/subsets_real"))
            .into_iter()
            .zip(golden.indices(&format!("{name}/subsets_fake")));
        for ((a, b), reference) in subsets.zip(expected["kernel"].as_array().unwrap()) {
            let ours = kid::mmd(&real.select(&a), &fake.select(&b), &Device::Cpu);
            near(&format!("{name}: kernel"), ours, reference, 1e-4);
        }
    }
}

#[test]
fn the_inception_score_is_that_of_torch_fidelity() {
    let (golden, cases) = Golden::open();
    let cases: Vec<&Value> = cases.iter().filter(|case| case["kind"] == "scores").collect();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let logits = golden.rows(&format!("{name}/logits"));
        let probabilities =
            Tensor::from_slice(logits.values(), [logits.len(), logits.width()]).softmax(1);
        let probabilities = Features::new(logits.width(), probabilities.to_vec());
        let found = MeanStd::of(
            &inception_score::scores(&probabilities, case["splits"].as_u64().unwrap() as usize)
                .unwrap(),
        );
        near(name, found.mean, &case["expected"]["inception_score"], 1e-6);
        assert!(
            (found.deviation - case["expected"]["deviation"].as_f64().unwrap()).abs() < 1e-5,
            "{name}: {}",
            found.deviation
        );
    }
}

fn normal(seed: u64, count: usize, width: usize, mean: f32) -> Features {
    Features::new(width, Philox::new(seed, 1).normal([count, width], mean, 1.0).to_vec())
}

fn options(metrics: &[Metric]) -> Options {
    Options {
        metrics: metrics.to_vec(),
        neighbors: K,
        subsets: Subsets { count: 5, size: 20 },
        bootstrap: 50,
        seed: 1,
    }
}

fn training(rows: &Features) -> TrainNeighborIndex<'_> {
    TrainNeighborIndex::new(Cow::Borrowed(rows), &Device::Cpu, Progress::SILENT).unwrap()
}

fn memorization(real: &Features, fake: &Features) -> manifold::Memorization {
    training(real).memorization(fake, &Device::Cpu, Progress::SILENT).unwrap()
}

fn measured(features: Features) -> FeatureSet {
    FeatureSet { features, classes: None }
}

#[test]
fn a_set_is_at_no_distance_from_itself() {
    let rows = normal(1, 200, 12, 0.0);
    assert!(frechet::distance(&rows, &rows).unwrap() < 1e-9);
    let found =
        manifold::manifold(&rows, &rows.clone(), K, &Device::Cpu, Progress::SILENT).unwrap();
    assert_eq!(
        [
            manifold::fraction(&found.precise),
            manifold::fraction(&found.recalled),
            manifold::fraction(&found.covered)
        ],
        [1.0; 3]
    );
    // Every copy is nearer to its original than any other row is.
    assert_eq!(manifold::fraction(&memorization(&rows, &rows.clone()).memorized), 1.0);
}

#[test]
fn memorisation_of_fresh_pictures_is_what_is_expected() {
    let (training, fresh) = (normal(2, 1500, 6, 0.0), normal(3, 1500, 6, 0.0));
    let found = memorization(&training, &fresh);
    let (memorized, expected) =
        (manifold::fraction(&found.memorized), manifold::fraction(&found.expected));
    assert!((memorized - expected).abs() < 0.05 && expected > 0.2, "{memorized} {expected}");
}

#[test]
fn neighbours_are_exact_where_products_are_not() {
    // Distances of 0.01 at a distance of 1000 from the origin and from the other half of the rows: in single precision |a|² loses all of it.
    let mut values = Philox::new(4, 0).normal([200, 6], 0.0, 0.01).to_vec();
    values.iter_mut().take(600).for_each(|v| *v += 1000.0);
    let rows = Features::new(6, values);
    let found = pairwise::PairwiseDistances::new(&rows, &rows, &Device::Cpu)
        .nearest(4, Progress::SILENT)
        .unwrap();
    for (i, found) in found.iter().enumerate() {
        let mut all: Vec<(f64, usize)> = (0..rows.len())
            .filter(|&j| j != i)
            .map(|j| (pairwise::squared(rows.row(i), rows.row(j)), j))
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
fn intervals_hold_what_they_are_of() {
    let (real, fake) = (normal(5, 2000, 8, 0.0), normal(6, 2000, 8, 0.5));
    // |μ₁ − μ₂|² = 8 · 0.25 for the distributions themselves.
    let value = frechet::distance(&real, &fake).unwrap();
    let [low, high] =
        interval_of_frechet(value, [&real, &fake], 200, 0, Progress::SILENT).unwrap().unwrap();
    assert!(
        low < 2.0 && 2.0 < high && high - low < 0.5 && low < value && value < high,
        "{low} {value} {high}"
    );
    let flags: Vec<f64> = (0..1000).map(|i| f64::from(u8::from(i % 5 == 0))).collect();
    let [low, high] = interval_of_mean(&flags, 400, 0).unwrap();
    // 1.96 · √(0.2 · 0.8 / 1000) = 0.025.
    assert!((low - 0.175).abs() < 0.006 && (high - 0.225).abs() < 0.006, "{low} {high}");
    assert_eq!(interval_of_mean(&flags, 400, 0), interval_of_mean(&flags, 400, 0));
    assert_eq!(interval_of_mean(&flags, 0, 0), None);
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let (real, fake) = (measured(normal(7, 60, 5, 0.0)), measured(normal(8, 50, 5, 0.3)));
    let all = options(&[Metric::Fid, Metric::Kid, Metric::Pr, Metric::Dc, Metric::Nn]);
    let training = training(&real.features);
    let report =
        || compare(&real, &fake, Some(&training), &all, &Device::Cpu, Progress::SILENT).unwrap();
    let first = report();
    assert_eq!(first, report());
    let keys: Vec<&str> = first.values.iter().map(|figure| figure.key).collect();
    assert_eq!(
        keys,
        ["frechet", "kernel", "precision", "recall", "density", "coverage", "memorised"]
    );
    assert!(first.warnings.is_empty(), "{:?}", first.warnings);
    assert!(
        first.values.iter().all(|figure| figure.interval.is_some_and(|[low, high]| low <= high))
    );
}

#[test]
fn too_few_pictures_are_told() {
    let few = |count, width| measured(normal(9, count, width, 0.0));
    let report = |real: &FeatureSet, fake: &FeatureSet, metrics: &[Metric]| {
        compare(real, fake, None, &options(metrics), &Device::Cpu, Progress::SILENT)
    };
    let warned = report(&few(10, 16), &few(30, 16), &[Metric::Fid, Metric::Kid]).unwrap();
    let [first, second] = &warned.warnings[..] else { panic!("{:?}", warned.warnings) };
    assert!(first.contains("10 real pictures for features of 16 numbers"), "{first}");
    assert!(second.contains("subsets of 10 pictures, not 20"), "{second}");
    for (real, fake, metrics, parts) in [
        (few(1, 4), few(9, 4), vec![Metric::Fid], ["at least 2", "real one has 1"]),
        (few(9, 4), few(9, 5), vec![Metric::Fid], ["4 numbers", "of 5"]),
        (few(9, 4), few(3, 4), vec![Metric::Pr], ["at least 4", "generated one has 3"]),
        (few(9, 4), few(9, 4), vec![Metric::Is], ["inception score", "trained on classes"]),
        (few(9, 4), few(9, 4), vec![Metric::Nn], ["memorisation", "training pictures"]),
    ] {
        let message = report(&real, &fake, &metrics).unwrap_err().to_string();
        assert!(
            parts.iter().all(|part| message.contains(part)) && !message.contains('\n'),
            "{message}"
        );
    }
    let mut broken = normal(10, 9, 4, 0.0).values().to_vec();
    broken[5] = f32::NAN;
    let message = report(&measured(Features::new(4, broken)), &few(9, 4), &[Metric::Fid])
        .unwrap_err()
        .to_string();
    assert!(message.contains("not all finite"), "{message}");
}

#[test]
fn the_score_of_real_pictures_is_of_as_many_parts() {
    // Two classes told with certainty, one after the other as they may lie in a set: parts that are not drawn by chance would have a score of 1.
    let classes = |count: usize| {
        let values =
            (0..count).flat_map(|i| if 2 * i < count { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
        FeatureSet { features: normal(12, count, 3, 0.0), classes: Some(Features::new(2, values)) }
    };
    let set = classes(400);
    let report =
        compare(&set, &set.clone(), None, &options(&[Metric::Is]), &Device::Cpu, Progress::SILENT)
            .unwrap();
    let figure = report.get("inception_score").unwrap();
    assert_eq!(figure.expected, Some(figure.value), "the same pictures");
    assert!(figure.value > 1.9 && figure.value < 2.0, "{}", figure.value);
}

#[test]
fn the_listener_can_stop_it() {
    let rows = measured(normal(11, 40, 4, 0.0));
    let stop = |what: &str, _: u64, _: u64| what != "comparing subsets";
    let error =
        compare(&rows, &rows, None, &options(&[Metric::Kid]), &Device::Cpu, Progress(&stop))
            .unwrap_err();
    assert!(matches!(error, eval::EvalError::Stopped));
}

#[test]
fn few_pictures_of_many_numbers_are_measured_where_they_lie() {
    let (real, fake) = (normal(7, 30, 200, 1000.0), normal(8, 40, 200, 1000.5));
    let [a, b] = frechet::project_to_row_space(&real, &fake).unwrap();
    assert_eq!([(a.len(), a.width()), (b.len(), b.width())], [(30, 70), (40, 70)]);
    let statistics = |rows| frechet::GaussianStats::of(rows).unwrap();
    let full = frechet::Frechet::to(statistics(&real)).distance(&statistics(&fake)).unwrap();
    let ours = frechet::distance(&real, &fake).unwrap();
    assert!((ours / full - 1.0).abs() < 1e-5, "{ours} {full}");
    // As many pictures as numbers stay as they are.
    let enough = normal(9, 170, 200, 0.0);
    assert!(
        matches!(frechet::project_to_row_space(&real, &enough).unwrap(), [Cow::Borrowed(a), Cow::Borrowed(b)] if (a, b) == (&real, &enough))
    );
    let broken = Features::new(200, vec![f32::INFINITY; 400]);
    assert!(frechet::distance(&real, &broken).unwrap_err().to_string().contains("not all finite"));
    let huge = Features::new(5000, vec![0.0; 5000 * 4999]);
    let message =
        frechet::distance(&huge, &Features::new(5000, vec![0.0; 10_000])).unwrap_err().to_string();
    assert!(
        message.contains("5001 pictures")
            && message.contains("5000 numbers")
            && message.contains("leave fid out"),
        "{message}"
    );
}
