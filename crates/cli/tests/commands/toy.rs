//! `dcgan toy`.

use crate::common::TestDir;
use serde_json::Value;
use std::fs;

const SHORT: [&str; 8] = ["--steps", "60", "--batch", "32", "--width", "16", "--device", "cpu"];

fn with<'a>(command: &[&'a str], args: &[&'a str]) -> Vec<&'a str> {
    [&["toy"], command, &SHORT[..], args].concat()
}

#[test]
fn run_prints_and_draws() {
    let dir = TestDir::new();
    let command = with(&["ring"], &["--gif", "ring.gif", "--png", "ring.png", "--frames", "4"]);
    let text = dir.ok(&command).out;
    for part in [
        "8 Gaussians",
        "G 2-16-16-2",
        "of 8 modes",
        "reverse KL",
        "wrote ring.gif",
        "wrote ring.png",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(fs::read(dir.path("ring.gif")).unwrap().starts_with(b"GIF89a"));
    let image = image::open(dir.path("ring.png")).unwrap();
    assert_eq!((image.width(), image.height()), (1400, 800));

    fs::write(dir.path("ring.png"), "mine").unwrap();
    fs::remove_file(dir.path("ring.gif")).unwrap();
    dir.refused(1, &command, &["ring.png", "--force"]);
    assert!(!dir.path("ring.gif").exists() && fs::read(dir.path("ring.png")).unwrap() == b"mine");
    dir.ok(&[&command[..], &["--force"]].concat());
    assert_ne!(fs::read(dir.path("ring.png")).unwrap(), b"mine");
}

#[test]
fn json_does_not_depend_on_threads() {
    let dir = TestDir::new();
    let output = |args: &[&str]| {
        let mut objects = dir.ok(&with(&["grid"], &[&["--json"], args].concat())).json();
        objects.iter_mut().for_each(|object| {
            object.as_object_mut().unwrap().remove("seconds");
        });
        objects
    };
    let one = output(&["--threads", "1", "--minibatch-discrimination", "4,3"]);
    assert_eq!(one, output(&["--threads", "3", "--minibatch-discrimination", "4,3"]));
    let events: Vec<&str> = one.iter().filter_map(|object| object["event"].as_str()).collect();
    assert!(
        events.len() == 12
            && events[0] == "started"
            && events[1..11].iter().all(|e| *e == "measured"),
        "{events:?}"
    );
    let last = &one[11];
    assert!(
        last["event"] == "finished" && last["step"] == 60 && last["diverged"] == Value::Null,
        "{last}"
    );
    assert_eq!(last["histogram"].as_array().unwrap().len(), 25);

    let swept = output(&["--runs", "3", "--threads", "2", "--seed", "5"]);
    assert_eq!(swept, output(&["--runs", "3", "--threads", "1", "--seed", "5"]));
    let seeds: Vec<_> = swept
        .iter()
        .filter(|object| object["event"] == "run")
        .map(|object| object["seed"].clone())
        .collect();
    assert_eq!(seeds, [5, 6, 7]);
    let modes: Vec<f64> =
        swept.iter().filter_map(|o| (o["event"] == "run").then(|| o["modes"].as_f64())?).collect();
    let mean = modes.iter().sum::<f64>() / 3.0;
    let std = (modes.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    let mean_and_std = &swept[4]["modes"];
    assert!(
        (mean_and_std[0].as_f64().unwrap() - mean).abs() < 1e-9
            && (mean_and_std[1].as_f64().unwrap() - std).abs() < 1e-9,
        "{mean_and_std}"
    );
}

#[test]
fn saddle_is_printed_and_drawn() {
    let dir = TestDir::new();
    let text = dir.ok(&["toy", "saddle", "--png", "saddle.png"]).out;
    for part in ["simultaneous SGD", "extragradient", "×1.0050", "wrote saddle.png"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let objects = dir.ok(&["toy", "saddle", "--steps", "100", "--start", "-3,4", "--json"]).json();
    assert_eq!(objects.len(), 10);
    let end = objects[0]["distance"].as_f64().unwrap();
    assert!((end / (5.0 * 1.01f64.powi(50)) - 1.0).abs() < 1e-9, "{end}");
    dir.refused(1, &["toy", "saddle", "--png", "saddle.png"], &["saddle.png", "--force"]);
    dir.refused(2, &["toy", "saddle", "--start", "0,0"], &["--start"]);
    dir.refused(2, &["toy", "saddle", "--start", "1"], &["--start", "1,1"]);
}

#[test]
fn invalid_flags_are_rejected() {
    let dir = TestDir::new();
    for (args, parts) in [
        (&["--loss", "wasserstein"][..], &["wasserstein", "objective.gradient_penalty"][..]),
        (&["--labels-real", "0.9", "--loss", "hinge"], &["labels", "hinge"]),
        (&["--labels-real", "half"], &["--labels-real", "0.9"]),
        (&["--gradient-penalty", "1", "--norm-d", "batch"], &["gradient_penalty", "batch norm"]),
        (&["--minibatch-discrimination", "0,4"], &["minibatch_discrimination.kernels"]),
        (&["--minibatch-discrimination", "4"], &["--minibatch-discrimination", "100,5"]),
        (&["--pack", "5"], &["packs of 5", "--batch"]),
        (&["--runs", "2", "--png", "x.png"], &["--runs"]),
        (&["--png", "x.jpg"], &["--png x.jpg", ".png"]),
        (&["--gradient-penalty", "-1"], &["gradient_penalty"]),
        (&["--augment", "flip"], &["--augment"]),
    ] {
        dir.refused(2, &with(&["ring"], args), parts);
    }
    dir.refused(1, &with(&["ring"], &["--gif", "none/x.gif"]), &["--gif", "none"]);
}
