use crate::{assert_error, sample};
use runs::checkpoint_retention::{file_name, save_and_prune};
use runs::run_dir::resolve_checkpoint;
use runs::run_list::{latest_run, list_runs};
use runs::{
    ArtifactError, EventWriter, MetricsRow, MetricsWriter, RetentionPolicy, RunDir, checkpoint,
};
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

const KEEP: RetentionPolicy = RetentionPolicy { last: 3, best: None };

fn name(run: &RunDir) -> &str {
    run.path().file_name().unwrap().to_str().unwrap()
}

#[test]
fn runs_are_numbered() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path().join("runs");
    let first = RunDir::create(&base, "paper").unwrap();
    assert_eq!(name(&first), "0001-paper");
    assert!(first.samples().is_dir() && first.checkpoints().is_dir());
    assert_eq!(first.sample(1500), first.path().join("samples/step-00001500.png"));
    first.write_config("side = 28\n").unwrap();
    assert_eq!(first.read_config().unwrap(), "side = 28\n");
    // Numbers continue after the highest, gaps are not filled, other names are ignored.
    fs::create_dir(base.join("0041-x")).unwrap();
    fs::create_dir(base.join("notes")).unwrap();
    assert_eq!(name(&RunDir::create(&base, "../my run/é").unwrap()), "0042-my-run");
    assert_eq!(name(&RunDir::create(&base, "..").unwrap()), "0043-run");
}

#[test]
fn concurrent_threads_get_distinct_numbers() {
    let base = tempfile::tempdir().unwrap();
    let runs: Vec<RunDir> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|i| {
                scope.spawn({
                    let base = base.path();
                    move || RunDir::create(base, &format!("run{}", i % 3)).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let numbers: HashSet<String> = runs.iter().map(|run| name(run)[..4].to_owned()).collect();
    assert_eq!(numbers, (1..=16).map(|number| format!("{number:04}")).collect());
}

#[test]
fn nonempty_folder_is_rejected_and_untouched() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("out");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("thesis.tex"), b"precious").unwrap();
    let error = RunDir::create_at(&path).unwrap_err();
    assert_error!(error, &path, ArtifactError::NotEmpty { resumable: false, .. });
    assert!(matches!(RunDir::check_at(&path), Err(ArtifactError::NotEmpty { .. })));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    let file = base.path().join("file");
    fs::write(&file, b"x").unwrap();
    assert!(matches!(RunDir::create_at(&file), Err(ArtifactError::Write { .. })));
    assert!(matches!(RunDir::create(&file, "x"), Err(ArtifactError::Write { .. })));

    let empty = base.path().join("a/b");
    fs::create_dir_all(&empty).unwrap();
    let run = RunDir::create_at(&empty).unwrap();
    save_and_prune(&run.checkpoints(), &sample(1), KEEP).unwrap();
    drop(run);
    let error = RunDir::create_at(&empty).unwrap_err();
    assert_error!(error, &empty, ArtifactError::NotEmpty { resumable: true, .. });
}

#[test]
fn run_without_steps_is_replaced() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("run");
    let run = RunDir::create_at(&path).unwrap();
    assert!(matches!(RunDir::check_at(&path), Err(ArtifactError::Locked { .. })));
    run.write_config("steps = 1\n").unwrap();
    drop(MetricsWriter::resume(&run.metrics(), 0).unwrap());
    drop(EventWriter::create(&path, None).unwrap());
    fs::write(run.checkpoints().join("step-00000000.safetensors.a1.tmp"), b"half").unwrap();
    assert!(run.has_no_steps().unwrap());
    drop(run);
    RunDir::check_at(&path).unwrap();
    let run = RunDir::create_at(&path).unwrap();
    let left: HashSet<_> =
        fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        left,
        [".lock", "samples", "checkpoints"].map(Into::into).into(),
        "nothing of the dead run is left"
    );
    assert_eq!(fs::read_dir(run.checkpoints()).unwrap().count(), 0);
    drop(run);
    // A saved file, or a file of another program, prevents replacing.
    for (name, content) in [
        ("metrics.jsonl", "{}\n"),
        ("samples/step-00000001.png", "x"),
        ("checkpoints/best.safetensors", ""),
        ("notes.txt", ""),
    ] {
        fs::write(path.join(name), content).unwrap();
        assert!(
            matches!(
                RunDir::create_at(&path),
                Err(ArtifactError::NotEmpty { resumable: false, .. })
            ),
            "{name}"
        );
        assert_eq!(fs::read_to_string(path.join(name)).unwrap(), content);
        fs::remove_file(path.join(name)).unwrap();
    }
    // A file of the same name without a lock belongs to another program.
    let other = base.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("config.toml"), "mine").unwrap();
    assert!(matches!(RunDir::create_at(&other), Err(ArtifactError::NotEmpty { .. })));
}

#[test]
fn checks_create_nothing() {
    let base = tempfile::tempdir().unwrap();
    let deep = base.path().join("a/b/run");
    RunDir::check_at(&deep).unwrap();
    RunDir::check_base(&deep).unwrap();
    let file = base.path().join("file");
    fs::write(&file, b"x").unwrap();
    for path in [file.clone(), file.join("run")] {
        for checked in [RunDir::check_at(&path), RunDir::check_base(&path)] {
            assert_error!(checked.unwrap_err(), &path, ArtifactError::Write { source, .. }
                if source.kind() == ErrorKind::NotADirectory);
        }
    }
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn open_requires_a_run() {
    let base = tempfile::tempdir().unwrap();
    let error = RunDir::open(base.path()).unwrap_err();
    assert_error!(error, base.path(), ArtifactError::NotARun { .. });
    let missing = base.path().join("missing");
    assert_error!(RunDir::open(&missing).unwrap_err(), &missing, ArtifactError::Read { .. });
}

#[test]
fn lock_is_exclusive() {
    let base = tempfile::tempdir().unwrap();
    let run = RunDir::create(base.path(), "x").unwrap();
    let mut other = RunDir::open(run.path()).unwrap();
    assert!(other.is_running() && !run.is_running());
    let error = other.lock().unwrap_err();
    assert_error!(error, run.path(), ArtifactError::Locked { pid: Some(pid), .. }
        if *pid == std::process::id());
    drop(run);
    assert!(!other.is_running());
    other.lock().unwrap();
    other.lock().unwrap();
}

#[test]
fn one_of_concurrent_creators_wins() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("same");
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| RunDir::create_at(&path))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
}

const CHILD: &str = "DCGAN_TEST_LOCK";

/// Two processes: the other one holds the lock until it is killed, and the lock goes with it.
#[test]
fn kill_releases_the_lock() {
    if let Some(path) = std::env::var_os(CHILD) {
        let mut run = RunDir::open(Path::new(&path)).unwrap();
        run.lock().unwrap();
        fs::write(run.path().join("held"), b"").unwrap();
        thread::sleep(std::time::Duration::from_secs(60));
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let mut run = RunDir::create(base.path(), "x").unwrap();
    let path = run.path().to_owned();
    drop(run);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run_dir::kill_releases_the_lock"])
        .env(CHILD, &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..1000 {
        if path.join("held").exists() {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    run = RunDir::open(&path).unwrap();
    let held = run.lock();
    fs::write(run.checkpoints().join("step-00000009.safetensors.abc.tmp"), b"half").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let child_id = child.id();
    assert!(
        matches!(held, Err(ArtifactError::Locked { pid: Some(pid), .. }) if pid == child_id),
        "{held:?}"
    );
    run.lock().unwrap();
    assert_eq!(
        fs::read_dir(run.checkpoints()).unwrap().count(),
        0,
        "what it left half-written is gone"
    );
}

#[test]
fn runs_are_listed_with_summaries() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    assert!(matches!(list_runs(base), Err(ArtifactError::NoRuns { .. })));
    assert!(matches!(latest_run(&base.join("missing")), Err(ArtifactError::NoRuns { .. })));
    let first = RunDir::create(base, "a").unwrap();
    let mut metrics = MetricsWriter::resume(&first.metrics(), 0).unwrap();
    (1..=900).for_each(|step| {
        metrics.append(&MetricsRow { step, d_loss: 0.5, ..MetricsRow::default() }).unwrap()
    });
    save_and_prune(&first.checkpoints(), &sample(800), KEEP).unwrap();
    save_and_prune(&first.checkpoints(), &sample(850), KEEP).unwrap();
    drop(RunDir::create(base, "b").unwrap());
    fs::create_dir(base.join("0009-not-a-run")).unwrap();
    fs::write(base.join("notes.txt"), b"x").unwrap();
    let runs = list_runs(base).unwrap();
    assert_eq!(runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["0001-a", "0002-b"]);
    let a = &runs[0];
    assert_eq!((a.last_step, a.checkpoints, a.running), (Some(900), 2, true));
    assert_eq!(a.last_row.as_ref().map(|row| (row.step, row.d_loss)), Some((900, 0.5)));
    let metrics_bytes = fs::metadata(first.metrics()).unwrap().len();
    assert!(a.bytes > metrics_bytes && a.bytes < metrics_bytes + 10_000);
    assert_eq!((runs[1].last_step, runs[1].checkpoints, runs[1].running), (None, 0, false));
    assert!(runs[1].last_row.is_none());
    // 0002 was killed before its first checkpoint.
    assert_eq!(latest_run(base).unwrap(), first.path());
}

#[test]
fn latest_run_is_by_number() {
    let base = tempfile::tempdir().unwrap();
    for run in ["9999-a", "10000-b"] {
        fs::create_dir_all(base.path().join(run).join("checkpoints")).unwrap();
    }
    assert_eq!(latest_run(base.path()).unwrap(), base.path().join("10000-b"));
}

#[test]
fn paths_resolve_to_checkpoints() {
    let base = tempfile::tempdir().unwrap();
    let run = RunDir::create(base.path(), "a").unwrap();
    save_and_prune(&run.checkpoints(), &sample(1), KEEP).unwrap();
    let second = save_and_prune(&run.checkpoints(), &sample(2), KEEP).unwrap();
    let step = |path: &Path| resolve_checkpoint(path).map(|found| found.checkpoint.meta.step);
    assert_eq!(step(run.path()).unwrap(), 2);
    assert_eq!(step(&run.checkpoints()).unwrap(), 2);
    assert_eq!(step(&run.checkpoints().join(file_name(1))).unwrap(), 1);
    fs::write(&second, b"").unwrap();
    assert_eq!(step(run.path()).unwrap(), 1);
    assert!(step(&second).is_err(), "a file named by the user is not replaced by another");
    assert!(matches!(step(&base.path().join("none")), Err(ArtifactError::Read { .. })));
    let copy = base.path().join("copy.safetensors");
    checkpoint::save(&copy, &sample(7)).unwrap();
    assert_eq!(step(&copy).unwrap(), 7);
}
