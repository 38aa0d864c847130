//! A full or read-only disk: earlier files stay intact.
#![cfg(unix)]

use crate::common::{Ended, TestDir};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn intact(dir: &TestDir, run: &str, before: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in before {
        assert!(fs::read(path).is_ok_and(|now| now == *bytes), "{path:?} is not what it was");
    }
    dir.ok(&["sample", "--checkpoint", run, "--count", "1", "--out", "x.safetensors", "--force"]);
}

fn contents(files: Vec<PathBuf>) -> Vec<(PathBuf, Vec<u8>)> {
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A limit on file sizes acts like a full disk and needs no privileges.
#[test]
fn a_checkpoint_that_does_not_fit_leaves_the_older_ones() {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "run"]);
    let before = contents(dir.checkpoints("run"));
    let resume = ["train", "--resume", "run", "--steps", "9"];
    Ended::of(dir.command_after("ulimit -f 64; trap '' XFSZ", &resume).output().unwrap())
        .refused(1, &["cannot write", "run/", "older files are untouched"]);
    intact(&dir, "run", &before);
    dir.ok(&resume);
}

/// A small tmpfs, if this user may mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(path)
            .output();
        done.is_ok_and(|output| output.status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_fills_up_leaves_the_older_checkpoints() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "measure"]);
    let size = fs::metadata(dir.checkpoints("measure").last().unwrap()).unwrap().len();
    let Some(disk) = Mounted::new(&dir.path("disk"), size * 7 / 2) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    // Every checkpoint is kept, so the fourth one at the latest does not fit.
    let run = TestDir::training(&[
        "--steps",
        "60",
        "--out",
        "disk/run",
        "--checkpoint-every",
        "1",
        "--keep",
        "50",
    ]);
    dir.refused(1, &run, &["cannot write", "disk/run", "older files are untouched"]);
    let left = dir.checkpoints("disk/run");
    assert!(
        !left.is_empty()
            && left.iter().all(|path| path.extension().is_some_and(|e| e == "safetensors")),
        "{left:?}"
    );
    intact(&dir, "disk/run", &contents(left));
    drop(disk);
}

#[test]
fn a_folder_that_may_not_be_written_is_named() {
    let dir = TestDir::new();
    fs::write(dir.path("file"), "").unwrap();
    dir.refused(1, &TestDir::training(&["--out", "file"]), &["file"]);
    dir.refused(1, &TestDir::training(&["--runs-dir", "file"]), &["file"]);
    dir.train(&["--steps", "1", "--out", "run"]);
    dir.refused(
        1,
        &["sample", "--checkpoint", "run", "--grid", "none/grid.png"],
        &["--grid none/grid.png", "there is no folder \"none\""],
    );
    dir.refused(1, &["export", "--checkpoint", "run", "--out", "file/x"], &["file/x"]);
}
