//! A full disk, simulated by a limit on the size of files (any Unix) and by a small tmpfs (root).
#![cfg(unix)]

use crate::{assert_error, sample};
use runs::checkpoint_retention::{file_name, latest_valid, save_and_prune};
use runs::{
    ArtifactError, Checkpoint, EventWriter, MetricsRow, MetricsWriter, RetentionPolicy, RunDir,
    metrics,
};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use tensor::HostTensor;

const CHILD: &str = "DCGAN_TEST_FULL_DISK";

/// 400 KB, more than either limit.
fn large(step: u64) -> Checkpoint {
    let mut checkpoint = sample(step);
    checkpoint.tensors.insert("large".to_owned(), HostTensor::f32([100_000], vec![1.0; 100_000]));
    checkpoint
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::FileTooLarge | ErrorKind::StorageFull)
}

/// The old checkpoint survives a save that does not fit the disk, and no partial file is left.
fn save_fails_cleanly(dir: &Path, cause: ErrorKind) {
    let keep = RetentionPolicy { last: 1, best: None };
    save_and_prune(dir, &sample(1), keep).unwrap();
    let error = save_and_prune(dir, &large(2), keep).unwrap_err();
    assert_error!(error, dir.join(file_name(2)), ArtifactError::Write { source, .. }
        if source.kind() == cause);
    assert_eq!(names(dir), [file_name(1)]);
    assert_eq!(latest_valid(dir).unwrap().checkpoint, sample(1));
}

/// Rows stay complete lines although the disk fills up within one.
fn metrics_fail_cleanly(path: &Path) {
    let mut writer = MetricsWriter::resume(path, 0).unwrap();
    let mut written = 0;
    let mut row = MetricsRow::default();
    row.extra.insert("text".to_owned(), "x".repeat(1000).into());
    let error = loop {
        row.step = written + 1;
        match writer.append(&row) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the disk never fills");
    };
    assert_error!(error, path, ArtifactError::Write { source, .. } if is_full(source.kind()));
    let rows = metrics::read(path).unwrap();
    assert_eq!(rows.len() as u64, written);
    assert!(fs::read(path).unwrap().ends_with(b"}\n"));
}

#[test]
fn file_size_limit() {
    if std::env::var_os(CHILD).is_some() {
        let dir = tempfile::tempdir().unwrap();
        save_fails_cleanly(dir.path(), ErrorKind::FileTooLarge);
        metrics_fail_cleanly(&dir.path().join("metrics.jsonl"));
        let mut events = EventWriter::create(dir.path(), None).unwrap();
        let whole = fs::metadata(events.path()).unwrap().len();
        // Xorshift (Marsaglia 2003): what PNG cannot make small.
        let mut state = 1u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8
        };
        let noise: Vec<u8> = (0..300_000).map(|_| next()).collect();
        let image = image::RgbImage::from_raw(500, 200, noise).unwrap().into();
        assert!(events.image(1, "samples", &image).is_err());
        assert_eq!(fs::metadata(events.path()).unwrap().len(), whole, "half an event is left");
        events.scalars(2, &[("loss", 1.0)]).unwrap();
        return;
    }
    // The limit applies to a process, so the test runs itself again under it: 64 blocks of 512 or
    // 1024 bytes. The signal that would kill is ignored, so that the write fails as on a full disk.
    let output = Command::new("sh")
        .args([
            "-c",
            r#"trap '' XFSZ; ulimit -f 64; exec "$0" --exact disk::file_size_limit --nocapture"#,
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Unmounts when dropped, also if the test fails.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn full_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"])
        .arg(dir.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting a tmpfs needs root; file_size_limit covers the same code");
        return;
    }
    let _mount = Mount(dir.path());
    let checkpoints = dir.path().join("checkpoints");
    fs::create_dir(&checkpoints).unwrap();
    save_fails_cleanly(&checkpoints, ErrorKind::StorageFull);
    metrics_fail_cleanly(&dir.path().join("metrics.jsonl"));
    // On the full disk a new run cannot even write its configuration.
    let run = RunDir::create_at(&dir.path().join("new"));
    let error = match run {
        Ok(run) => run.write_config(&"x".repeat(1 << 20)).unwrap_err(),
        Err(error) => error,
    };
    assert_error!(error, dir.path(), ArtifactError::Write { source, .. } if is_full(source.kind()));
}
