//! Runs that are interrupted, killed, extended and resumed.
#![cfg(unix)]

use crate::common::{Ended, TestDir, files, logged_steps, rows, signal, wait_for};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn last_checkpoint(dir: &TestDir, run: &str) -> Vec<u8> {
    fs::read(dir.checkpoints(run).last().unwrap()).unwrap()
}

#[test]
fn an_interrupt_finishes_the_step_saves_and_names_the_command() {
    let dir = TestDir::new();
    for (name, run) in [("INT", "int"), ("TERM", "term")] {
        let child = dir.start(&["--steps", "1000000", "--out", run, "--log-every", "1"]);
        let metrics = dir.path(run).join("metrics.jsonl");
        wait_for(|| fs::metadata(&metrics).is_ok_and(|file| file.len() > 0));
        signal(&child, name);
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(130), "{}", ended.err);
        assert!(ended.err.contains("finishing the step"), "{}", ended.err);
        assert!(ended.out.contains(&format!("dcgan train --resume {run}")), "{}", ended.out);
        let done = logged_steps(&dir.path(run)).len() as u64;
        assert!(
            dir.checkpoints(run).last().unwrap().ends_with(format!("step-{done:08}.safetensors"))
        );
        // Shortened to a few more steps, it ends like an uninterrupted run of that length.
        let steps = (done + 3).to_string();
        dir.ok(&["train", "--resume", run, "--steps", &steps]);
        assert_eq!(logged_steps(&dir.path(run)), (1..=done + 3).collect::<Vec<_>>());
        let config = fs::read_to_string(dir.path(run).join("config.toml")).unwrap();
        assert!(
            config.contains("[[overrides]]") && config.contains("from = \"1000000\""),
            "{config}"
        );
    }
}

/// A run in its first step, which takes a second or more.
fn slow_run(dir: &TestDir) -> Child {
    let slow = [
        "train",
        "--data",
        "photos",
        "--image",
        "64",
        "--width",
        "128",
        "--batch",
        "40",
        "--threads",
        "1",
        "--out",
        "run",
    ];
    let child = dir.spawn(&slow);
    wait_for(|| dir.path("run/metrics.jsonl").exists());
    std::thread::sleep(Duration::from_millis(300));
    child
}

/// A slow run interrupted twice, this far apart.
fn interrupted_twice(dir: &TestDir, apart: Duration) -> Ended {
    let child = slow_run(dir);
    signal(&child, "INT");
    std::thread::sleep(apart);
    signal(&child, "INT");
    Ended::of(child.wait_with_output().unwrap())
}

#[test]
fn an_interrupt_is_answered_within_the_step() {
    let dir = TestDir::new();
    let mut child = slow_run(&dir);
    let start = Instant::now();
    signal(&child, "INT");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("finishing the step, then saving")));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(child.try_wait().unwrap().is_none());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8(output.stdout).unwrap().contains("dcgan train --resume run"));
}

/// All steps are saved by then; the images follow when the run is resumed.
#[test]
fn an_interrupt_ends_the_last_images_at_once() {
    let dir = TestDir::new();
    let size = ["--image", "128", "--width", "2", "--batch", "2", "--sample-every", "1"];
    let train = ["train", "--data", "photos", "--steps", "20", "--out", "run"];
    let child = dir.spawn(&[&train[..], &size].concat());
    wait_for(|| dir.path("run/checkpoints/step-00000020.safetensors").exists());
    signal(&child, "INT");
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    let lapse = |file: &PathBuf| file.to_string_lossy().contains("timelapse");
    assert!(!files(&dir.path("run")).iter().any(lapse));
    dir.ok(&["train", "--resume", "run"]);
    assert!(dir.path("run/timelapse.gif").is_file() && dir.path("run/losses.png").is_file());
}

/// Without the second interrupt the run would be saved after the step.
#[test]
fn a_second_interrupt_ends_at_once() {
    let ended = interrupted_twice(&TestDir::new(), Duration::from_millis(300));
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(!ended.out.contains("--resume"), "{}", ended.out);
}

/// As `timeout` does: a signal to the program and one to its group. Not at the same moment, because
/// the system merges pending signals.
#[test]
fn a_repeated_interrupt_counts_once() {
    let ended = interrupted_twice(&TestDir::new(), Duration::from_millis(20));
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(ended.out.contains("dcgan train --resume run"), "{}", ended.out);
}

/// If a step takes several batches, an epoch has fewer steps, in a new and in a resumed run.
#[test]
fn epochs_are_passes_over_the_images() {
    let dir = TestDir::new();
    // Five batches.
    dir.train(&["--d-steps", "2", "--epochs", "1", "--out", "run", "--log-every", "1"]);
    assert_eq!(logged_steps(&dir.path("run")), [1, 2, 3]);
    dir.ok(&["train", "--resume", "run", "--epochs", "2"]);
    assert_eq!(logged_steps(&dir.path("run")), [1, 2, 3, 4, 5]);
    dir.train(&[
        "--separate-batches",
        "--resample-z",
        "--epochs",
        "2",
        "--out",
        "turns",
        "--log-every",
        "1",
    ]);
    assert_eq!(logged_steps(&dir.path("turns")), [1, 2, 3, 4, 5]);
}

/// A run of 300 steps that is killed repeatedly ends with the bytes of an uninterrupted one, and no
/// metrics row is lost or doubled.
#[test]
fn killed_at_any_instant_it_ends_the_same() {
    const STEPS: u64 = 300;
    let dir = TestDir::new();
    let settings = [
        "--steps",
        "300",
        "--log-every",
        "1",
        "--sample-every",
        "100",
        "--checkpoint-every",
        "7",
        "--keep",
        "2",
        "--ema",
        "0.9",
    ];
    let start = Instant::now();
    dir.train(&[&settings[..], &["--out", "whole"]].concat());
    let micros = start.elapsed().as_micros() as u64;
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    eprintln!("seed {random}");
    let mut draw = |below: u64| {
        // xorshift
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let written = || {
        fs::read_to_string(dir.path("killed/metrics.jsonl")).unwrap_or_default().lines().count()
            as u64
    };
    let (mut kills, mut within, mut ended) = (0, 0, false);
    while !ended {
        // Killed before the first checkpoint, the same command starts it again in the same
        // directory.
        let saved = dir.path("killed/checkpoints").is_dir()
            && !dir.checkpoints("killed").iter().all(|p| is_temporary(p));
        let mut child = dir.start(
            &[&settings[..], &["--out", "killed"], if saved { &["--resume"] } else { &[][..] }]
                .concat(),
        );
        if kills < 12 {
            if kills % 3 == 0 {
                // At any time, mostly during start-up; but before a fast run ends.
                let (begun, wait) = (Instant::now(), Duration::from_micros(draw(micros / 2)));
                while begun.elapsed() < wait && written() < STEPS - 60 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            } else {
                // After some more rows and a short wait: in a step, a row, a grid, a checkpoint or
                // its deletion.
                let (rows, wanted) = (written(), draw(40));
                while written().abs_diff(rows) < wanted && child.try_wait().unwrap().is_none() {}
                std::thread::sleep(Duration::from_micros(draw(4000)));
            }
            child.kill().unwrap();
            kills += 1;
        }
        let output = Ended::of(child.wait_with_output().unwrap());
        assert!(matches!(output.code, None | Some(0)), "{}", output.err);
        ended = output.code == Some(0);
        within += u32::from(!ended && (1..STEPS).contains(&written()));
    }
    eprintln!("{kills} kills, {within} of them between the first step and the last");
    assert!(within > 1, "the kills came too early or too late");
    assert!(
        last_checkpoint(&dir, "whole") == last_checkpoint(&dir, "killed"),
        "after {kills} kills"
    );
    let steps: Vec<u64> = (1..=STEPS).collect();
    assert_eq!(logged_steps(&dir.path("killed")), steps);
    for (whole, killed) in rows(&dir.path("whole")).iter().zip(rows(&dir.path("killed"))) {
        for key in ["d_loss", "g_loss", "d_real", "d_fake"] {
            assert_eq!(whole[key], killed[key], "step {}: {key}", whole["step"]);
        }
    }
    for name in ["samples/step-00000200.png", "samples/step-00000300.png"] {
        assert!(
            fs::read(dir.path("whole").join(name)).unwrap()
                == fs::read(dir.path("killed").join(name)).unwrap(),
            "{name}"
        );
    }
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_none_or(|extension| extension != "safetensors")
}

#[test]
fn a_run_can_be_extended_and_its_learning_rate_changed() {
    let dir = TestDir::new();
    dir.train(&["--steps", "12", "--out", "whole"]);
    dir.train(&["--steps", "5", "--name", "parts"]);
    let ended = dir.ok(&["train", "--resume"]);
    assert!(
        ended.out.contains("finished all of its 5 steps") && ended.out.contains("--steps"),
        "{}",
        ended.out
    );
    assert_eq!(dir.ok(&["train", "--resume", "--json"]).event("complete")["step"], 5);
    // The same command with --resume and a longer run.
    dir.train(&["--resume", "runs/0001-parts", "--steps", "12"]);
    // Only the record of the override differs.
    let tensors = |run: &str| runs::read_state_dict(dir.checkpoints(run).last().unwrap()).unwrap();
    assert!(tensors("whole") == tensors("runs/0001-parts"));
    dir.ok(&["train", "--resume", "--epochs", "3", "--lr", "0.0001"]);
    let config = fs::read_to_string(dir.path("runs/0001-parts/config.toml")).unwrap();
    for part in ["steps = 15", "lr = 0.0001", "setting = \"lr\"", "step = 12"] {
        assert!(config.contains(part), "{part} is not in {config}");
    }
    dir.refused(2, &["train", "--resume", "--steps", "3"], &["--steps", "15"]);
}

#[test]
fn settings_that_cannot_change_are_refused_by_name() {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "run"]);
    let cases: &[(&[&str], &[&str])] = &[
        (&["--batch", "4"], &["--batch 4", "8"]),
        (&["--width", "3"], &["--width 3", "2"]),
        (&["--image", "32"], &["--image 32x32", "16x16"]),
        (&["--channels", "1"], &["--channels 1", "3"]),
        (&["--fit", "pad"], &["--fit pad", "crop"]),
        (&["--seed", "1"], &["--seed 1"]),
        (&["--ema", "0.9"], &["--ema 0.9"]),
        (&["--recipe", "paper"], &["--recipe paper", "torch"]),
        (&["--shuffle-buffer", "300"], &["--shuffle-buffer 300", "none"]),
        (&["--keep", "9"], &["--keep 9", "3"]),
        (&["--out", "other"], &["run", "other"]),
    ];
    let before = last_checkpoint(&dir, "run");
    for (args, parts) in cases {
        dir.refused(2, &[&["train", "--resume", "run", "--steps", "5"], *args].concat(), parts);
    }
    assert!(before == last_checkpoint(&dir, "run"));
    dir.ok(&[
        "train", "--resume", "run", "--steps", "4", "--recipe", "torch", "--batch", "8", "--fit",
        "crop",
    ]);
}

#[test]
fn other_data_is_refused_and_moved_data_found() {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "run"]);
    fs::rename(dir.path("photos"), dir.path("moved")).unwrap();
    let resume = ["train", "--resume", "run", "--steps", "4"];
    dir.refused(1, &resume, &["no data at", "photos", "new location with --data"]);
    dir.ok(&[&resume[..], &["--data", "moved"]].concat());
    fs::remove_file(dir.path("moved/007.png")).unwrap();
    dir.refused(
        1,
        &["train", "--resume", "run", "--steps", "9", "--data", "moved"],
        &["moved", "does not match", "--data"],
    );
}

#[test]
fn damaged_checkpoints_are_named_and_skipped() {
    let dir = TestDir::new();
    dir.train(&["--steps", "6", "--out", "run", "--checkpoint-every", "2", "--log-every", "1"]);
    let whole = last_checkpoint(&dir, "run");
    let [.., middle, newest] = &dir.checkpoints("run")[..] else { panic!("two checkpoints") };
    fs::write(newest, &whole[..whole.len() / 3]).unwrap();
    let mut flipped = fs::read(middle).unwrap();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    fs::write(middle, flipped).unwrap();
    let ended = dir.ok(&["train", "--resume", "run"]);
    let warnings: Vec<&str> = ended.err.lines().collect();
    assert_eq!(warnings.len(), 2, "{}", ended.err);
    assert!(
        warnings[0].contains("step-00000006.safetensors")
            && warnings[1].contains("step-00000004.safetensors"),
        "{}",
        ended.err
    );
    assert!(last_checkpoint(&dir, "run") == whole, "steps 3 to 6 were done again, to the same end");
    assert_eq!(logged_steps(&dir.path("run")), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_run_resumes_from_a_named_checkpoint() {
    let dir = TestDir::new();
    let settings =
        ["--log-every", "1", "--checkpoint-every", "2", "--sample-every", "2", "--keep", "9"];
    dir.train(&[&settings[..], &["--steps", "8", "--out", "run"]].concat());
    dir.train(&[&settings[..], &["--steps", "8", "--out", "other"]].concat());
    let whole = last_checkpoint(&dir, "run");
    let file = "run/checkpoints/step-00000004.safetensors";
    let count = || dir.checkpoints("run").len();
    assert_eq!(count(), 5);
    // A dry run deletes nothing, and two flags must name the same run.
    dir.ok(&["train", "--resume", file, "--dry-run"]);
    dir.refused(
        2,
        &["train", "--resume", file, "--out", "other"],
        &["--resume", "--out", "two runs"],
    );
    dir.refused(2, &["train", "--resume", file, "--steps", "3"], &["--steps", "4"]);
    assert_eq!(count(), 5);
    let ended = dir.ok(&["train", "--resume", file, "--out", "run"]);
    assert!(ended.err.contains("rolling back from step 8 to 4"), "{}", ended.err);
    assert!(ended.out.contains("step 5/8") && !ended.out.contains("step 4/8"), "{}", ended.out);
    assert!(last_checkpoint(&dir, "run") == whole, "the same steps to the same end");
    assert_eq!(logged_steps(&dir.path("run")), [1, 2, 3, 4, 5, 6, 7, 8]);
    // From inside the folder, to the end of a shorter run.
    let mut back = dir.command(&["train", "--resume", "step-00000002.safetensors", "--steps", "2"]);
    let ended = Ended::of(back.current_dir(dir.path("run/checkpoints")).output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!((count(), logged_steps(&dir.path("run"))), (2, vec![1, 2]));
    assert_eq!(files(&dir.path("run/samples")).len(), 1);
    assert!(dir.path("run/losses.png").is_file());
}

#[test]
fn a_run_killed_before_its_first_checkpoint_is_started_again() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    for folder in ["checkpoints", "samples"] {
        for file in files(&dir.path("run").join(folder)) {
            fs::remove_file(file).unwrap();
        }
    }
    fs::write(dir.path("run/metrics.jsonl"), "").unwrap();
    for name in ["timelapse.gif", "losses.png"] {
        fs::remove_file(dir.path("run").join(name)).unwrap();
    }
    dir.refused(
        1,
        &["train", "--resume", "run"],
        &["nothing to resume", "\"run\"", "the same command without --resume"],
    );
    dir.train(&["--steps", "1", "--out", "run"]);
    let boards =
        files(&dir.path("run")).iter().filter(|f| f.to_str().unwrap().contains("tfevents")).count();
    assert_eq!(boards, 1);
}

#[test]
fn other_numerics_are_warned_of() {
    let dir = TestDir::new();
    dir.train(&["--steps", "2", "--out", "run"]);
    let mut resumed = dir.command(&["train", "--resume", "run", "--steps", "3"]);
    let ended = Ended::of(resumed.env("DCGAN_SIMD", "portable").output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let portable = dir.ok(&["devices"]).out.contains("portable");
    assert_eq!(ended.err.contains("resumes with portable"), !portable, "{}", ended.err);
}

#[test]
fn two_processes_cannot_train_in_one_directory() {
    let dir = TestDir::new();
    let mut child = dir.start(&["--steps", "1000000", "--out", "run"]);
    wait_for(|| dir.path("run/metrics.jsonl").exists());
    dir.refused(
        1,
        &["train", "--resume", "run"],
        &["\"run\" is in use by another training process"],
    );
    dir.refused(1, &TestDir::training(&["--out", "run"]), &["\"run\""]);
    let listed = dir.ok(&["runs", "--runs-dir", ".", "--json"]).json();
    assert_eq!(listed[0]["running"], true);
    child.kill().unwrap();
    child.wait().unwrap();
}
