//! `dcgan train` and `sample` on a GPU, compared with the CPU.

#[path = "../../tensor/tests/common/adapter.rs"]
mod adapter;
mod common;

use common::TestDir;

/// Flags that accept a software renderer, the only adapter on most test machines.
const GPU: [&str; 3] = ["--device", "gpu", "--allow-software"];

fn main() {
    adapter::run(
        &[],
        &[
            ("twenty_steps_have_the_cpus_losses", twenty_steps_have_the_cpus_losses),
            ("a_run_changes_its_device", a_run_changes_its_device),
            ("half_precision_trains", half_precision_trains),
            (
                "metrics_and_experiments_have_the_cpus_values",
                metrics_and_experiments_have_the_cpus_values,
            ),
            ("a_step_beyond_the_adapter_is_an_error", a_step_beyond_the_adapter_is_an_error),
        ],
    );
}

fn rows(dir: &TestDir, run: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.path(run).join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The largest difference of the losses of two runs.
fn difference(dir: &TestDir, a: &str, b: &str) -> f64 {
    let (a, b) = (rows(dir, a), rows(dir, b));
    assert!(a.len() == b.len() && a.len() > 4, "{} rows, {} rows", a.len(), b.len());
    let pairs = a
        .iter()
        .zip(&b)
        .flat_map(|(a, b)| ["d_loss", "g_loss", "d_real", "d_fake"].map(|key| (&a[key], &b[key])));
    pairs.map(|(a, b)| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs()).fold(0.0, f64::max)
}

fn twenty_steps_have_the_cpus_losses() {
    let dir = TestDir::new();
    let ended =
        dir.train(&[&GPU[..], &["--steps", "20", "--log-every", "1", "--out", "on-gpu"]].concat());
    assert!(ended.out.contains("Device: gpu:"), "{}", ended.out);
    let ended =
        dir.train(&["--device", "cpu", "--steps", "20", "--log-every", "1", "--out", "on-cpu"]);
    assert!(ended.out.contains("Device: cpu"), "{}", ended.out);
    let e = difference(&dir, "on-gpu", "on-cpu");
    // Losses of about 1; Adam's first steps amplify rounding.
    assert!(e < 0.02, "{e}");
    let again = dir.train(
        &[&GPU[..], &["--steps", "20", "--log-every", "1", "--out", "again", "--json"]].concat(),
    );
    assert!(again.event("device")["device"].as_str().unwrap().starts_with("gpu:"));
    assert_eq!(difference(&dir, "on-gpu", "again"), 0.0, "the same seed, the same bits");
    // Images from the same weights.
    let draw = |name: &str, device: &[&str]| {
        dir.ok(&[&["sample", "--checkpoint", "on-gpu", "--count", "9", "--grid", name], device]
            .concat());
        image::open(dir.path(name)).unwrap().to_rgb8()
    };
    let (a, b) = (draw("a.png", &GPU), draw("b.png", &["--device", "cpu"]));
    let worst = a
        .pixels()
        .zip(b.pixels())
        .flat_map(|(a, b)| (0..3).map(move |c| a[c].abs_diff(b[c])))
        .max()
        .unwrap();
    assert!(a.dimensions() == b.dimensions() && worst <= 1, "{worst}");
    assert!(
        dir.ok(&["info", "on-gpu"])
            .out
            .lines()
            .any(|line| line.starts_with("computed with") && !line.contains("avx"))
    );
}

fn a_run_changes_its_device() {
    let dir = TestDir::new();
    let steps =
        |count: &'static str| ["--steps", count, "--log-every", "1", "--checkpoint-every", "3"];
    dir.train(&[&["--device", "cpu", "--out", "whole"], &steps("9")[..]].concat());
    dir.train(&[&["--device", "cpu", "--out", "moved"], &steps("3")[..]].concat());
    let resumed = dir.ok(&[&["train", "--resume", "moved", "--steps", "6"], &GPU[..]].concat());
    assert!(resumed.err.contains("differ in their last bits"), "{}", resumed.err);
    dir.ok(&["train", "--resume", "moved", "--steps", "9", "--device", "cpu"]);
    let e = difference(&dir, "moved", "whole");
    assert!(e < 0.02, "{e}");
}

fn half_precision_trains() {
    let dir = TestDir::new();
    let args =
        [&GPU[..], &["--precision", "mixed", "--steps", "5", "--log-every", "1", "--out", "half"]]
            .concat();
    let ended = dir.run(&TestDir::training(&args));
    if ended.code == Some(1) {
        return ended.refused(1, &["half precision", "--precision f32"]);
    }
    assert!(ended.out.contains("mixed precision"), "{} {}", ended.out, ended.err);
    dir.train(&["--device", "cpu", "--steps", "5", "--log-every", "1", "--out", "single"]);
    let e = difference(&dir, "half", "single");
    assert!(e > 0.0 && e < 0.1, "{e}");
}

fn metrics_and_experiments_have_the_cpus_values() {
    let dir = TestDir::new();
    dir.train(&["--device", "cpu", "--steps", "3", "--out", "run"]);
    dir.ok(&[
        "sample",
        "--checkpoint",
        "run",
        "--count",
        "1",
        "--seed",
        "4",
        "--out",
        "drawn",
        "--device",
        "cpu",
    ]);
    let on = |device: &[&str], name: &str, args: &[&str]| {
        let grid = format!("{name}.png");
        let ended = dir.ok(&[args, &["--json", "--force", "--grid", &grid], device].concat());
        (ended.json(), image::open(dir.path(&grid)).unwrap().to_rgb8())
    };
    // For each command the path of a value in its JSON output.
    let commands: [(&[&str], usize, &[&str]); 8] = [
        (
            &[
                "eval",
                "--fake",
                "run",
                "--features",
                "d:run",
                "--metrics",
                "fid",
                "--count",
                "24",
                "--bootstrap",
                "0",
                "--no-cache",
            ],
            0,
            &["metrics", "frechet", "value"],
        ),
        (
            &["walk", "--checkpoint", "run", "--rows", "2", "--columns", "3", "--steps", "3"],
            0,
            &["mean"],
        ),
        (
            &[
                "arithmetic",
                "--checkpoint",
                "run",
                "--a",
                "0,1",
                "--b",
                "2,3",
                "--c",
                "4,5",
                "--candidates",
                "8",
            ],
            0,
            &["length"],
        ),
        (
            &[
                "turn",
                "--checkpoint",
                "run",
                "--a",
                "0,1",
                "--b",
                "2,3",
                "--candidates",
                "8",
                "--rows",
                "2",
                "--columns",
                "3",
            ],
            0,
            &[],
        ),
        (
            &["guided", "--checkpoint", "run", "--data", "photos", "--maps", "2", "--top", "2"],
            1,
            &["selectivity"],
        ),
        (
            &["nearest", "--checkpoint", "run", "--count", "2", "--neighbors", "2"],
            1,
            &["features", "0", "distance"],
        ),
        (
            &[
                "invert",
                "drawn/00000.png",
                "--checkpoint",
                "run",
                "--starts",
                "2",
                "--steps",
                "5",
                "--latent-l2",
                "0",
            ],
            0,
            &["error"],
        ),
        (&["filters", "--checkpoint", "run"], 0, &["norms", "1"]),
    ];
    for (args, line, path) in commands {
        let ((cpu, drawn), (gpu, other)) =
            (on(&["--device", "cpu"], "cpu", args), on(&GPU, "gpu", args));
        assert_eq!(cpu.len(), gpu.len(), "{args:?}");
        let number = |lines: &[serde_json::Value]| {
            let step = |value: serde_json::Value, key: &&str| {
                key.parse::<usize>().map_or_else(|_| value[*key].clone(), |i| value[i].clone())
            };
            path.iter().fold(lines[line].clone(), step).as_f64().unwrap_or(0.0)
        };
        let (a, b) = (number(&cpu), number(&gpu));
        assert!(path.is_empty() || a != 0.0, "{args:?}: {}", cpu[line]);
        assert!(
            (a - b).abs() <= 0.01 * a.abs().max(b.abs()) + 1e-4,
            "{args:?}: {a} on the CPU, {b} on the GPU"
        );
        assert_eq!(drawn.dimensions(), other.dimensions(), "{args:?}");
        let far =
            drawn.as_raw().iter().zip(other.as_raw()).filter(|(a, b)| a.abs_diff(**b) > 3).count();
        assert!(
            far * 50 <= drawn.as_raw().len(),
            "{args:?}: {far} of {} differ",
            drawn.as_raw().len()
        );
    }
    let features = |name: &str, device: &[&str]| {
        let args =
            ["features", "--checkpoint", "run", "--data", "photos", "--count", "8", "--out", name];
        dir.ok(&[&args, device].concat());
        runs::read_state_dict(&dir.path(name)).unwrap()["features"].as_f32().unwrap().to_vec()
    };
    let (a, b) = (features("a.safetensors", &["--device", "cpu"]), features("b.safetensors", &GPU));
    let largest = a.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(a.len() == b.len() && largest > 0.0 && worst < 1e-3 * largest, "{worst} of {largest}");
}

fn a_step_beyond_the_adapter_is_an_error() {
    let adapters = tensor::gpu::adapters();
    let dir = TestDir::new();
    // A tensor just beyond the binding limit, on the adapter with the lowest limit.
    let Some(adapter) = adapters.iter().filter(|a| a.compute).min_by_key(|a| a.max_binding_size)
    else {
        return;
    };
    if adapter.max_binding_size > 200 << 20 {
        eprintln!("skipped: {} can bind more than a test should ask for", adapter.name);
        return;
    }
    let device = format!("gpu:{}", adapter.index);
    let train = |huge: &[&str]| {
        let common = [
            "train",
            "--device",
            &device,
            "--allow-software",
            "--data",
            "photos",
            "--recipe",
            "torch",
            "--steps",
            "1",
        ];
        let ended = dir.run(&[&common, huge].concat());
        ended.refused(1, &["a tensor of", "can bind", "smaller batch"]);
    };
    // A weight: training has not begun.
    train(&["--image", "256", "--width", "96", "--batch", "4", "--out", "none"]);
    assert!(!dir.path("none").exists());
    train(&["--image", "512", "--width", "16", "--batch", "33", "--out", "run"]);
    // The checkpoint of step 0 exists and is valid.
    dir.ok(&["info", "run"]);
}
