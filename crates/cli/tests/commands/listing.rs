//! `dcgan info`, `runs`, `devices`, `recipes`, and help.

use crate::common::TestDir;
use serde_json::json;
use std::fs;

#[test]
fn info_reports_the_contents_of_a_checkpoint() {
    let dir = TestDir::new();
    dir.train(&["--steps", "2", "--out", "run", "--ema", "0.5"]);
    let text = dir.ok(&["info", "run"]).out;
    for part in [
        "step            2",
        "torch",
        "photos",
        "ema.main.0.weight",
        "Generator",
        "[init]",
        "algorithms winograd",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let checkpoint = dir.checkpoints("run").pop().unwrap();
    let [object] = &dir.ok(&["info", checkpoint.to_str().unwrap(), "--json"]).json()[..] else {
        panic!("not one object")
    };
    assert_eq!(object["step"], 2);
    assert_eq!(object["resumable"], true);
    assert_eq!(object["recipe"]["image"]["size"], serde_json::json!([16, 16]));
    assert!(
        object["tensors"]
            .as_array()
            .unwrap()
            .iter()
            .any(|t| t["name"] == "g.main.0.weight" && t["type"] == "F32")
    );
    // A damaged checkpoint is skipped, with a warning.
    fs::write(&checkpoint, "x").unwrap();
    let ended = dir.ok(&["info", "run"]);
    assert!(
        ended.err.starts_with("warning: ") && ended.err.contains("step-00000002.safetensors"),
        "{}",
        ended.err
    );
    assert!(ended.out.contains("step            0"), "{}", ended.out);
}

#[test]
fn runs_are_listed_and_compared() {
    let dir = TestDir::new();
    dir.train(&["--steps", "2"]);
    dir.train(&["--steps", "3", "--name", "other"]);
    let text = dir.ok(&["runs"]).out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 7 && lines.iter().all(|line| line.chars().count() <= 120), "{text}");
    for (line, name, parts) in [
        (1, "0001-photos-torch", &["finished", "2/2"][..]),
        (2, "0002-other", &["finished", "3/3"]),
        (5, "0001-photos-torch", &["torch", "photos", "16x16x3", "8", "0.0002"]),
        (6, "0002-other", &["torch"]),
    ] {
        assert!(
            lines[line].starts_with(name) && parts.iter().all(|part| lines[line].contains(part)),
            "{line}: {text}"
        );
    }
    let objects = dir.ok(&["runs", "--runs-dir", "runs", "--json"]).json();
    let steps: Vec<u64> = objects.iter().map(|run| run["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 3]);
    assert!(objects.iter().all(|run| run["running"] == false && run["last"]["d_loss"].is_number()));
    let first = &objects[0];
    for (key, value) in [
        ("state", json!("finished")),
        ("recipe", json!("torch")),
        ("image", json!([16, 16])),
        ("batch", json!(8)),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert_eq!(
        (&first["steps"], &first["lr"], &first["channels"]),
        (&json!(2), &json!(2e-4), &json!(3))
    );
    assert!(
        first["seconds"].as_f64() > Some(0.0)
            && first["data"].as_str().unwrap().ends_with("photos"),
        "{first}"
    );
    // A run that stopped early, and one with damaged settings.
    let config = dir.path("runs/0001-photos-torch/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replacen("steps = 2", "steps = 9", 1)).unwrap();
    fs::write(dir.path("runs/0002-other/config.toml"), "steps = [").unwrap();
    let objects = dir.ok(&["runs", "--json"]).json();
    assert_eq!((&objects[0]["state"], &objects[0]["steps"]), (&json!("stopped"), &json!(9)));
    assert_eq!(
        (&objects[1]["state"], &objects[1]["recipe"], &objects[1]["step"]),
        (&json!(null), &json!(null), &json!(3))
    );
    let text = dir.ok(&["runs"]).out;
    assert!(
        text.contains("2/9") && text.lines().nth(6).unwrap().split_whitespace().nth(1) == Some("-"),
        "{text}"
    );
}

#[test]
fn a_printed_recipe_can_be_used() {
    let dir = TestDir::new();
    let list = dir.ok(&["recipes"]).out;
    for name in ["small", "torch", "paper", "newmu-svhn"] {
        assert!(list.contains(name), "{list}");
        fs::write(dir.path("copy.toml"), dir.ok(&["recipes", name]).out).unwrap();
        dir.ok(&["train", "--recipe", "copy.toml", "--dry-run"]);
    }
}

#[test]
fn every_command_has_help() {
    let dir = TestDir::new();
    for command in [
        "train", "sample", "studio", "data", "info", "devices", "runs", "recipes", "import",
        "export", "toy",
    ] {
        let ended = dir.ok(&[command, "--help"]);
        assert!(ended.out.contains("Usage:") && ended.err.is_empty());
    }
    let help = dir.ok(&["train", "--help"]).out;
    let examples = help.lines().filter(|line| line.starts_with("  dcgan train"));
    let columns: Vec<usize> = examples.map(|line| line.rfind("   ").unwrap()).collect();
    assert!(columns.len() == 6 && columns.iter().all(|column| *column == columns[0]), "{help}");
    assert!(dir.ok(&["--version"]).out.starts_with("dcgan "));
    assert_eq!(dir.run(&[]).code, Some(2));
    let devices = dir.ok(&["devices", "--json"]).json();
    assert!(
        devices[0]["device"] == "cpu"
            && devices[0]["threads"].as_u64() > Some(0)
            && devices[0]["usable"] == true
    );
    for (i, gpu) in devices[1..].iter().enumerate() {
        assert!(
            gpu["device"] == format!("gpu:{i}")
                && gpu["usable"].is_boolean()
                && gpu["max_buffer_size"].as_u64() > Some(0),
            "{gpu}"
        );
    }
}
