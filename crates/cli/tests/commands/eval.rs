//! `dcgan eval`, and runs that are measured, on tiny networks.

use crate::common::{Ended, TestDir, logged_steps, rows};
use eval::inception::{Inception, InputScaling};
use runs::write_state_dict;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tensor::rng::Philox;
use tensor::{Device, HostTensor};

/// Twenty images of each of two classes that are easy to distinguish, with a table of attributes
/// that has the class and the split.
fn write_labeled(folder: &Path) {
    let mut table = String::from("file,split,dark,shade\n");
    for (class, base) in [("dark", 30u8), ("light", 200)] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..20u8 {
            let image = image::RgbImage::from_fn(16, 16, |x, y| {
                let v = base + i + ((x * 7 + y * 3 + u32::from(i) * 11) % 16) as u8;
                image::Rgb([v, v / 2 + i, v])
            });
            image.save(folder.join(class).join(format!("{i:02}.png"))).unwrap();
            let (split, shade) = (
                if i % 5 == 0 { "test" } else { "train" },
                if i % 2 == 0 { "even" } else { "odd" },
            );
            table += &format!("{class}/{i:02}.png,{split},{},{shade}\n", u8::from(class == "dark"));
        }
    }
    std::fs::write(folder.join("attributes.csv"), table).unwrap();
}

/// A folder with the dataset `labeled`; its cache is there, too.
struct EvalDir(TestDir);

impl EvalDir {
    fn new() -> Self {
        let dir = TestDir::new();
        write_labeled(&dir.path("labeled"));
        Self(dir)
    }

    fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.0.command(args).env("DCGAN_CACHE", self.0.path("cache")).output().unwrap())
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
        ended
    }

    #[track_caller]
    fn refused(&self, code: i32, args: &[&str], parts: &[&str]) {
        self.run(args).refused(code, parts);
    }

    /// `eval` with JSON.
    #[track_caller]
    fn eval(&self, args: &[&str]) -> Value {
        self.ok(&[&["eval", "--json", "--image", "16"], args].concat()).json().remove(0)
    }

    /// `train` on the labeled images.
    #[track_caller]
    fn train(&self, args: &[&str]) -> Ended {
        let fixed = ["--log-every", "5", "--device", "cpu"];
        self.ok(&TestDir::training_on("labeled", &[&fixed[..], args].concat()))
    }
}

#[test]
fn a_feature_network_is_trained_cached_and_used() {
    let lab = EvalDir::new();
    let learn = [
        "eval",
        "train-features",
        "--data",
        "labeled",
        "--image",
        "16",
        "--epochs",
        "12",
        "--json",
    ];
    let made = lab.ok(&learn).json().remove(0);
    assert_eq!(made["accuracy"]["class"], 1.0, "{made}");
    assert_eq!((&made["split"], &made["tested_on"]), (&"held-out".into(), &4.into()));
    assert_eq!(made["outputs"], serde_json::json!(["dark", "light"]));
    let name = made["network"].as_str().unwrap().to_owned();
    assert!(name.starts_with("labeled-cnn "), "{name}");
    // A second call makes the same network bit by bit; from the cache, it is not trained again.
    let again = lab.ok(&[&learn[..], &["--out", "again.safetensors"]].concat()).json().remove(0);
    assert_eq!(again["network"], made["network"]);
    // It is a checkpoint file, but not of a GAN.
    lab.refused(
        1,
        &["sample", "--checkpoint", "again.safetensors", "--out", "x"],
        &["again.safetensors", "a feature-network", "--features"],
    );
    let drawn = lab.ok(&[&learn[..], &["--grid", "points.png"]].concat());
    assert!(
        drawn.err.contains("exists already") && drawn.json()[0]["grid"] == "points.png",
        "{}",
        drawn.err
    );
    assert_eq!(image::open(lab.0.path("points.png")).unwrap().to_rgb8().dimensions(), (900, 640));
    lab.refused(
        1,
        &[&learn[..], &["--out", "again.safetensors"]].concat(),
        &["again.safetensors", "--force"],
    );

    let all = [
        "--real",
        "labeled",
        "--metrics",
        "fid,kid,pr,dc,is,nn",
        "--count",
        "40",
        "--bootstrap",
        "20",
    ];
    let same = lab.eval(&[&all[..], &["--fake", "labeled"]].concat());
    assert_eq!(same["features"], name.as_str());
    let value = |report: &Value, key: &str| {
        report["metrics"][key]["value"].as_f64().unwrap_or_else(|| panic!("{key}: {report}"))
    };
    assert!(
        value(&same, "frechet") < 1e-6
            && value(&same, "precision") == 1.0
            && value(&same, "memorized") == 1.0,
        "{same}"
    );
    assert!(value(&same, "inception_score") > 1.1, "{same}");
    let noise = lab.eval(&[&all[..], &["--fake", "noise"]].concat());
    assert!(value(&noise, "frechet") > 1.0 && value(&noise, "coverage") < 0.2, "{noise}");
    assert_eq!(lab.eval(&[&all[..], &["--fake", "noise"]].concat()), noise);
    assert_eq!(lab.eval(&[&all[..], &["--fake", "noise", "--no-cache"]].concat()), noise);

    let table =
        lab.ok(&["eval", "--real", "labeled", "--fake", "noise", "--image", "16", "--count", "40"]);
    let line = table.out.lines().find(|line| line.contains("chet distance")).unwrap();
    assert!(line.contains(&format!("({name})")), "{line}");
    assert!(table.err.contains("no full rank"), "{}", table.err);
    let pixels = lab.eval(&[
        "--real",
        "labeled",
        "--fake",
        "noise",
        "--features",
        "pixels",
        "--metrics",
        "pr",
        "--count",
        "40",
    ]);
    assert_eq!(pixels["features"], "pixels 16x16x3");
}

#[test]
fn a_feature_network_learns_attributes() {
    let lab = EvalDir::new();
    let learn = [
        "eval",
        "train-features",
        "--data",
        "labeled",
        "--image",
        "16",
        "--attributes",
        "--epochs",
        "12",
    ];
    let made = lab.ok(&[&learn[..], &["--json"]].concat()).json().remove(0);
    assert_eq!(made["outputs"], serde_json::json!(["dark", "shade=even", "shade=odd"]));
    assert_eq!(made["accuracy"]["dark"], 1.0, "{made}");
    let out = lab.ok(&[&learn[..], &["--out", "a.safetensors", "--grid", "a.png"]].concat()).out;
    assert!(lab.0.path("a.png").exists() && out.contains("wrote a.png"), "{out}");
    assert!(out.contains("dark: 100.00 % of 4 held-out images correct"), "{out}");
    // Its outputs are not classes, so there is no inception score.
    let args =
        ["--real", "labeled", "--fake", "noise", "--features", "a.safetensors", "--count", "40"];
    assert!(lab.eval(&args)["metrics"].get("inception_score").is_none());
    lab.refused(
        1,
        &[&["eval", "--image", "16"], &args[..], &["--metrics", "is"]].concat(),
        &["metric is", "trained on classes"],
    );
}

#[test]
fn checkpoints_are_evaluated_in_the_dataset_s_proportions() {
    let lab = EvalDir::new();
    lab.train(&["--steps", "6", "--out", "run", "--condition", "class"]);
    let report = lab.eval(&["--fake", "run", "--count", "30", "--bootstrap", "0"]);
    assert_eq!(
        (&report["classes"], &report["count_fake"]),
        (&"real".into(), &30.into()),
        "{report}"
    );
    assert!(report["real"].as_str().unwrap().ends_with("labeled (train)"), "{report}");
    assert_eq!(
        lab.eval(&[
            "--fake",
            "run",
            "--count",
            "30",
            "--condition-sampling",
            "uniform",
            "--bootstrap",
            "0"
        ])["classes"],
        "uniform"
    );
    lab.train(&["--steps", "6", "--out", "plain"]);
    let report = lab.eval(&[
        "--fake",
        "plain",
        "--features",
        "d:plain",
        "--metrics",
        "fid,pr",
        "--count",
        "30",
        "--bootstrap",
        "0",
    ]);
    assert!(report["features"].as_str().unwrap().contains("discriminator"), "{report}");
    assert!(
        report["classes"].is_null()
            && report["metrics"]["frechet"]["value"].as_f64().unwrap() > 0.0,
        "{report}"
    );
    // Before the first step there are no running statistics: they are measured.
    let first = format!("d:{}", lab.0.checkpoints("plain").remove(0).display());
    assert!(first.contains("00000000"), "{first}");
    let early = lab.eval(&[
        "--fake",
        "plain",
        "--features",
        &first,
        "--metrics",
        "fid",
        "--count",
        "30",
        "--bootstrap",
        "0",
    ]);
    assert!(
        early["metrics"]["frechet"]["value"].as_f64().unwrap().is_finite()
            && early["features"] != report["features"],
        "{early}"
    );
    // The sheet has three rows of twelve images of 16 pixels, enlarged fourfold, in frames.
    let grid = [
        "--fake",
        "plain",
        "--features",
        "pixels",
        "--metrics",
        "pr",
        "--count",
        "30",
        "--grid",
        "eval.png",
    ];
    lab.eval(&grid);
    let sheet = image::open(lab.0.path("eval.png")).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (12 * 71 + 1, 3 * 71 + 1));
    lab.refused(1, &[&["eval", "--image", "16"], &grid[..]].concat(), &["eval.png", "--force"]);
}

#[test]
fn a_run_that_could_not_be_evaluated_does_not_start() {
    let lab = EvalDir::new();
    let train = TestDir::training_on("labeled", &["--steps", "4", "--out", "run"]);
    let refused = |code, args: &[&str], parts: &[&str]| {
        lab.refused(
            code,
            &[&train[..], &["--device", "cpu", "--eval-every", "2", "--eval-count", "20"], args]
                .concat(),
            parts,
        );
        assert!(!lab.0.path("run").exists(), "{args:?}");
    };
    refused(
        2,
        &["--eval-metrics", "is", "--eval-features", "pixels"],
        &["--eval-metrics is", "trained on classes", "pixels 16x16x3"],
    );
    let attributes = [
        "--data",
        "labeled",
        "--image",
        "16",
        "--attributes",
        "--epochs",
        "1",
        "--out",
        "a.safetensors",
    ];
    lab.ok(&[&["eval", "train-features"], &attributes[..]].concat());
    refused(
        2,
        &["--eval-metrics", "fid,is", "--eval-features", "a.safetensors"],
        &["--eval-metrics is", "labeled-attributes"],
    );
}

#[test]
fn memorization_is_evaluated_in_a_run_and_values_keep_their_sign() {
    let lab = EvalDir::new();
    let measured = ["--eval-every", "2", "--eval-count", "20", "--steps", "4", "--json"];
    let run = lab.train(&[&measured[..], &["--eval-metrics", "nn,kid", "--out", "run"]].concat());
    let evaluated: Vec<Value> =
        run.json().into_iter().filter(|event| event["event"] == "evaluated").collect();
    assert_eq!(evaluated.len(), 2);
    let of = |event: &Value, name: &str| event["metrics"][name].as_f64().unwrap();
    // The best is the one nearest to the value expected of new images.
    let off =
        |event: &Value| (of(event, "eval/memorized") - of(event, "eval/memorized_real")).abs();
    let best = &run.event("finished")["best"];
    assert!(
        (best["score"].as_f64().unwrap() - evaluated.iter().map(off).fold(f64::INFINITY, f64::min))
            .abs()
            < 1e-12,
        "{best}"
    );
    assert!(
        evaluated.iter().any(|event| best["value"] == event["metrics"]["eval/memorized"]),
        "{best}"
    );
    // Every value has the name of its features.
    let name = evaluated[0]["features"].as_str().unwrap();
    assert!(name.starts_with("labeled-cnn "), "{name}");
    for row in rows(&lab.0.path("run")) {
        assert_eq!(row.get("eval/by").is_some(), row.get("eval/kernel").is_some(), "{row}");
        assert!(row.get("eval/by").is_none_or(|by| by == name), "{row}");
    }
    // The first metric decides, and its value is printed with its sign: a kernel distance may be
    // negative.
    let text =
        lab.train(&[&measured[..6], &["--eval-metrics", "kid,fid", "--out", "plain"]].concat()).out;
    let last = rows(&lab.0.path("plain")).pop().unwrap()["eval/kernel"].as_f64().unwrap();
    let end =
        text.lines().find(|line| line.contains("at the end")).unwrap_or_else(|| panic!("{text}"));
    assert!(
        end.contains("Kernel distance") && end.contains(&format!(", {last:.4} at the end")),
        "{end}"
    );
    assert_eq!(
        text.lines()
            .filter(|line| line.contains("eval/frechet") && line.contains(&format!("by {name}")))
            .count(),
        2,
        "{text}"
    );
}

/// The Inception network with random weights, and statistics in files.
#[test]
fn fid_is_measured_and_statistics_replace_real_images() {
    let lab = EvalDir::new();
    let mut state = BTreeMap::new();
    let mut rng = Philox::new(5, 0);
    let weights = |name: &str, shape: &[usize]| {
        let fan_in: usize = shape.iter().skip(1).product();
        let count = shape.iter().product::<usize>();
        let values = match name.ends_with("conv.weight") || name == "fc.weight" {
            true => rng.normal([count], 0.0, (2.0 / fan_in as f32).sqrt()).to_vec(),
            false => vec![f32::from(!name.ends_with("bias") && !name.ends_with("mean")); count],
        };
        state.insert(name.to_owned(), HostTensor::f32(shape, values.clone()));
        values
    };
    Inception::from_fn(weights, InputScaling::default(), &Device::Cpu);
    write_state_dict(&lab.0.path("weights.safetensors"), &state).unwrap();
    drop(state);
    let features = ["--features", "inception:weights.safetensors"];
    let real = [&features[..], &["--real", "labeled", "--count", "10"]].concat();
    let fake = ["--fake", "noise", "--metrics", "fid,is", "--bootstrap", "0"];
    let saved = ["--save-stats", "real.npz"];
    let args = [&["eval", "--json", "--image", "16"], &real[..], &fake, &saved].concat();
    let ended = lab.ok(&args);
    assert!(ended.err.contains("must not be called FID"), "{}", ended.err);
    let report = ended.json().remove(0);
    let id = report["features"].as_str().unwrap();
    assert!(id.starts_with("inception with other weights "), "{id}");
    assert_eq!(report["metrics"]["frechet"]["name"], "Fréchet distance");
    assert!(report["metrics"]["inception_score"]["value"].as_f64().unwrap() >= 1.0);
    let distance = |report: &Value| report["metrics"]["frechet"]["value"].as_f64().unwrap();
    assert!(distance(&report) > 1.0, "{report}");

    // The same by the statistics, without a dataset of real images.
    let given = ["--real-stats", "real.npz"];
    let generated = ["--fake", "labeled", "--count", "10", "--bootstrap", "0"];
    let by_images = lab.eval(&[&real[..], &generated[..2], &["--metrics", "fid"]].concat());
    let by_statistics = lab.eval(&[&features[..], &given, &generated].concat());
    assert!(by_statistics["count_real"].is_null() && by_statistics["real"] == "real.npz");
    let metrics = by_statistics["metrics"].as_object().unwrap();
    assert_eq!(metrics.keys().collect::<Vec<_>>(), ["frechet", "inception_score"]);
    // The same images are compared, so the distance is 0 but for rounding.
    assert!(distance(&by_images) < 1e-3 && distance(&by_statistics) < 1e-3, "{by_statistics}");

    // Statistics alone; another resizing gives others.
    let alone = ["--clean", "--save-stats", "clean.npz"];
    let report = lab.eval(&[&real[..], &alone].concat());
    assert_eq!((&report["count_real"], report.get("metrics")), (&10.into(), None));
    assert!(report["features"].as_str().unwrap().ends_with(", clean-fid resizing"), "{report}");
    let other = lab.eval(&[&features[..], &["--real-stats", "clean.npz"], &generated].concat());
    assert!(distance(&other) > 1e-3, "{other}");

    let image = ["eval", "--image", "16"];
    let refused = |code, args: &[&str], parts: &[&str]| {
        lab.refused(code, &[&image[..], args].concat(), parts)
    };
    refused(
        1,
        &[&features[..], &given, &["--fake", "labeled", "--metrics", "pr"]].concat(),
        &["metric pr", "--metrics"],
    );
    refused(1, &[&real[..], &saved].concat(), &["real.npz", "--force"]);
    refused(
        2,
        &["--real", "labeled", "--fake", "noise", "--clean"],
        &["--clean", "inception:FILE"],
    );
    refused(
        2,
        &["--real", "labeled", "--fake", "noise", "--features", "x.pth"],
        &["inception:x.pth"],
    );
    refused(
        1,
        &["--real", "labeled", "--fake", "noise", "--features", "inception:real.npz"],
        &["real.npz"],
    );
    refused(2, &["--real", "labeled"], &["--fake"]);
}

#[test]
fn impossible_evaluations_are_an_error_of_one_line() {
    let lab = EvalDir::new();
    lab.ok(&TestDir::training(&["--steps", "2", "--out", "run"]));
    lab.refused(1, &["eval", "--fake", "run"], &["\"photos\" has no labels", "pixels"]);
    lab.refused(
        1,
        &["eval", "train-features", "--data", "photos", "--image", "16"],
        &["has no labels"],
    );
    lab.refused(
        1,
        &["eval", "train-features", "--data", "photos", "--image", "16", "--attributes"],
        &["no binary attributes", "--attributes"],
    );
    lab.refused(2, &["eval", "--fake", "noise"], &["--real: name the real images"]);
    lab.refused(
        2,
        &["eval", "--fake", "model:cats", "--real", "labeled"],
        &["model:cats", "fashion"],
    );
    lab.refused(1, &["eval", "--fake", "run", "--features", "run/config.toml"], &["config.toml"]);
    let checkpoint = lab.0.checkpoints("run").remove(0);
    lab.refused(
        1,
        &["eval", "--fake", "run", "--features", checkpoint.to_str().unwrap()],
        &["not a feature network", "d:CHECKPOINT"],
    );
    lab.ok(&[
        "eval",
        "train-features",
        "--data",
        "labeled",
        "--image",
        "16",
        "--epochs",
        "1",
        "--out",
        "f.safetensors",
    ]);
    let other = [
        "eval",
        "--fake",
        "noise",
        "--real",
        "labeled",
        "--image",
        "32",
        "--features",
        "f.safetensors",
    ];
    lab.refused(1, &other, &["32x32x3", "16x16x3", "--image"]);
    lab.refused(
        1,
        &["eval", "--fake", "run", "--features", "pixels", "--metrics", "pr", "--count", "3"],
        &["at least 4 images"],
    );
    lab.refused(
        2,
        &["train", "--data", "labeled", "--eval-count", "20"],
        &["--eval-count", "--eval-every"],
    );
}

#[test]
fn an_evaluated_run_keeps_its_best_checkpoint_and_resumes_bit_by_bit() {
    let lab = EvalDir::new();
    let measured = [
        "--eval-every",
        "2",
        "--eval-count",
        "20",
        "--keep",
        "1",
        "--checkpoint-every",
        "3",
        "--steps",
        "8",
    ];
    let whole = lab.train(&[&measured[..], &["--out", "whole", "--json"]].concat());
    let evaluated: Vec<Value> =
        whole.json().into_iter().filter(|event| event["event"] == "evaluated").collect();
    assert_eq!(
        evaluated.iter().map(|e| e["step"].as_u64().unwrap()).collect::<Vec<_>>(),
        [2, 4, 6, 8]
    );
    let distance = |event: &Value| event["metrics"]["eval/frechet"].as_f64().unwrap();
    let best = evaluated.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
    let finished = whole.event("finished");
    assert_eq!((&finished["best"]["step"], &finished["last"]["step"]), (&best["step"], &8.into()));
    assert!(finished["best"]["by"].as_str().unwrap().contains("labeled-cnn "), "{finished}");
    // The best checkpoint is kept with the newest.
    let mut kept = vec![best["step"].as_u64().unwrap(), 8];
    kept.dedup();
    let names = |run: &str| -> Vec<String> {
        lab.0
            .checkpoints(run)
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names("whole"),
        kept.iter().map(|step| format!("step-{step:08}.safetensors")).collect::<Vec<_>>()
    );
    // Rows are logged every five steps, at evaluations, and at the end.
    let run = lab.0.path("whole");
    assert_eq!(logged_steps(&run), [2, 4, 5, 6, 8]);
    assert!(rows(&run).iter().all(|row| row.get("eval/frechet").is_some() == (row["step"] != 5)));

    // The same in two parts, and in a run that is not evaluated.
    lab.train(&[&measured[..8], &["--steps", "5", "--out", "parts"]].concat());
    lab.ok(&["train", "--resume", "parts", "--steps", "8", "--device", "cpu"]);
    lab.train(&["--keep", "1", "--checkpoint-every", "3", "--steps", "8", "--out", "unmeasured"]);
    let sampled = |run: &str| {
        let file = format!("{run}.safetensors");
        lab.ok(&["sample", "--checkpoint", run, "--out", &file, "--count", "4", "--device", "cpu"]);
        std::fs::read(lab.0.path(&file)).unwrap()
    };
    let [whole, parts, unmeasured] = ["whole", "parts", "unmeasured"].map(sampled);
    assert!(whole == parts && whole == unmeasured);
    let values = |run: &str| -> Vec<(u64, Value)> {
        let steps = rows(&lab.0.path(run))
            .into_iter()
            .filter(|row| row["step"].as_u64().unwrap().is_multiple_of(2));
        steps.map(|row| (row["step"].as_u64().unwrap(), row["eval/frechet"].clone())).collect()
    };
    assert_eq!(values("whole"), values("parts"));
    lab.refused(
        2,
        &["train", "--resume", "whole", "--eval-every", "3"],
        &["--eval-every 3 differs from this run's 2"],
    );
}

/// The eigenvalues of this evaluation take seconds, in which nothing looks at the flag.
#[cfg(unix)]
#[test]
fn an_interrupt_cancels_an_evaluation() {
    use crate::common::{signal, write_images};
    use std::io::{BufRead, BufReader};
    let dir = TestDir::new();
    write_images(&dir.path("many"), 2200);
    let args = "train --data many --image 32 --channels 3 --width 2 --batch 8 --steps 2 \
                --device cpu --out run --eval-every 1 --eval-features pixels --eval-metrics fid \
                --eval-count 2200";
    let mut child = dir.spawn(&args.split(' ').collect::<Vec<_>>());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let found =
        lines.find(|line| line.as_ref().unwrap().starts_with("progress: comparing covariances"));
    assert!(found.is_some(), "no progress line");
    signal(&child, "INT");
    let last = lines.last().unwrap().unwrap();
    assert!(last.starts_with("finishing the step"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(rows(&dir.path("run")).last().unwrap().get("eval/by"), None);
    assert!(dir.path("run/checkpoints/step-00000001.safetensors").exists());
}
