//! `dcgan info`, `runs`, `devices`, `recipes`, and help.

mod common;

use common::Place;
use std::fs;

#[test]
fn info_tells_what_a_checkpoint_holds() {
    let place = Place::new();
    place.train(&["--steps", "2", "--out", "run", "--ema", "0.5"]);
    let text = place.ok(&["info", "run"]).out;
    for part in ["step            2", "torch", "pictures", "ema.main.0.weight", "Generator", "[init]", "instruction set"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let checkpoint = place.checkpoints("run").pop().unwrap();
    let [object] = &place.ok(&["info", checkpoint.to_str().unwrap(), "--json"]).json()[..] else { panic!("not one object") };
    assert_eq!(object["step"], 2);
    assert_eq!(object["resumable"], true);
    assert_eq!(object["recipe"]["image"]["size"], serde_json::json!([16, 16]));
    assert!(object["tensors"].as_array().unwrap().iter().any(|t| t["name"] == "g.main.0.weight" && t["type"] == "F32"));
    // A damaged one is passed over, by name.
    fs::write(&checkpoint, "x").unwrap();
    let ended = place.ok(&["info", "run"]);
    assert!(ended.err.starts_with("warning: ") && ended.err.contains("step-00000002.safetensors"), "{}", ended.err);
    assert!(ended.out.contains("step            0"), "{}", ended.out);
}

#[test]
fn runs_are_listed_and_compared() {
    let place = Place::new();
    place.train(&["--steps", "2"]);
    place.train(&["--steps", "3", "--name", "other"]);
    let text = place.ok(&["runs"]).out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 3 && lines[1].contains("0001-pictures-torch") && lines[2].contains("0002-other"), "{text}");
    let objects = place.ok(&["runs", "runs", "--json"]).json();
    let steps: Vec<u64> = objects.iter().map(|run| run["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 3]);
    assert!(objects.iter().all(|run| run["running"] == false && run["last"]["d_loss"].is_number()));
}

#[test]
fn a_shown_recipe_is_a_recipe() {
    let place = Place::new();
    let list = place.ok(&["recipes"]).out;
    for name in ["small", "torch", "paper", "newmu-svhn"] {
        assert!(list.contains(name), "{list}");
        fs::write(place.path("copy.toml"), place.ok(&["recipes", name]).out).unwrap();
        place.ok(&["train", "--recipe", "copy.toml", "--dry-run"]);
    }
}

#[test]
fn help_is_there_for_all() {
    let place = Place::new();
    for command in ["train", "sample", "info", "devices", "runs", "recipes", "import", "export"] {
        let ended = place.ok(&[command, "--help"]);
        assert!(ended.out.contains("Usage:") && ended.err.is_empty());
    }
    assert!(place.ok(&["--version"]).out.starts_with("dcgan "));
    assert_eq!(place.run(&[]).code, Some(2));
    let devices = place.ok(&["devices", "--json"]).json();
    assert!(devices[0]["device"] == "cpu" && devices[0]["threads"].as_u64() > Some(0) && devices[0]["usable"] == true);
    for (i, gpu) in devices[1..].iter().enumerate() {
        assert!(
            gpu["device"] == format!("gpu:{i}") && gpu["usable"] == false && gpu["max_buffer_size"].as_u64() > Some(0),
            "{gpu}"
        );
    }
}
