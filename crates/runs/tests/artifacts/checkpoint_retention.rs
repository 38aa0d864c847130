use crate::{assert_error, sample};
use runs::checkpoint_retention::{
    delete_checkpoints_after, file_name, latest_valid, list, save_and_prune, step_of,
};
use runs::{ArtifactError, RetentionPolicy};
use std::fs;
use std::path::Path;

const LAST_TWO: RetentionPolicy = RetentionPolicy { last: 2, best: None };

fn steps(dir: &Path) -> Vec<u64> {
    list(dir).unwrap().into_iter().map(|(step, _)| step).collect()
}

#[test]
fn file_names_encode_steps() {
    assert_eq!(file_name(1500), "step-00001500.safetensors");
    for step in [0, 7, 1500, 123_456_789_012] {
        assert_eq!(step_of(Path::new(&file_name(step)), "safetensors"), Some(step));
    }
    for other in [
        "best.safetensors",
        "step-.safetensors",
        "step-+5.safetensors",
        "step-12.safetensors.x.tmp",
        "step-12.png",
    ] {
        assert_eq!(step_of(Path::new(other), "safetensors"), None, "{other}");
    }
}

#[test]
fn last_and_best_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("my-favourite.safetensors");
    fs::write(&copy, b"not ours to delete").unwrap();
    for step in [10, 20, 30, 40, 50] {
        let keep = RetentionPolicy { last: 2, best: (step >= 20).then_some(20) };
        let path = save_and_prune(dir.path(), &sample(step), keep).unwrap();
        assert_eq!(path, dir.path().join(file_name(step)));
    }
    assert_eq!(steps(dir.path()), [20, 40, 50]);
    assert!(copy.exists());
    save_and_prune(dir.path(), &sample(60), RetentionPolicy { last: 0, best: None }).unwrap();
    assert_eq!(steps(dir.path()), [60], "0 counts as 1: the new one itself is never deleted");
}

#[test]
fn saving_a_step_again_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for step in [10, 20, 20, 20] {
        save_and_prune(dir.path(), &sample(step), LAST_TWO).unwrap();
    }
    assert_eq!(steps(dir.path()), [10, 20]);
}

#[test]
fn save_after_rollback_deletes_later_steps() {
    let dir = tempfile::tempdir().unwrap();
    for step in [10, 20, 30] {
        save_and_prune(dir.path(), &sample(step), RetentionPolicy { last: 5, best: None }).unwrap();
    }
    save_and_prune(dir.path(), &sample(15), RetentionPolicy { last: 1, best: None }).unwrap();
    assert_eq!(steps(dir.path()), [15]);
    assert_eq!(latest_valid(dir.path()).unwrap().checkpoint.meta.step, 15);
}

#[test]
fn rollback_deletes_only_later_steps() {
    let dir = tempfile::tempdir().unwrap();
    for step in [10, 20, 30] {
        save_and_prune(dir.path(), &sample(step), RetentionPolicy { last: 5, best: None }).unwrap();
    }
    let copy = dir.path().join("step-30 (copy).safetensors");
    fs::write(&copy, b"not ours to delete").unwrap();
    delete_checkpoints_after(dir.path(), 30).unwrap();
    assert_eq!(steps(dir.path()), [10, 20, 30]);
    delete_checkpoints_after(dir.path(), 10).unwrap();
    assert_eq!(steps(dir.path()), [10]);
    assert!(copy.exists());
    let missing = dir.path().join("missing");
    let error = delete_checkpoints_after(&missing, 0).unwrap_err();
    assert_error!(error, &missing, ArtifactError::Read { .. });
}

#[test]
fn failed_save_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    save_and_prune(dir.path(), &sample(10), LAST_TWO).unwrap();
    save_and_prune(dir.path(), &sample(20), LAST_TWO).unwrap();
    // A folder in the place of the new file makes the rename fail, after everything was written.
    fs::create_dir(dir.path().join(file_name(30))).unwrap();
    let error = save_and_prune(dir.path(), &sample(30), LAST_TWO).unwrap_err();
    assert_error!(error, dir.path().join(file_name(30)), ArtifactError::Write { .. });
    let names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "a temporary file is left: {names:?}");
    assert_eq!(latest_valid(dir.path()).unwrap().checkpoint, sample(20));
}

#[test]
fn damaged_checkpoints_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let keep = RetentionPolicy { last: 5, best: None };
    let paths = [10, 20, 30].map(|step| save_and_prune(dir.path(), &sample(step), keep).unwrap());
    let whole = fs::read(&paths[2]).unwrap();
    fs::write(&paths[2], &whole[..whole.len() / 2]).unwrap();
    let mut flipped = fs::read(&paths[1]).unwrap();
    *flipped.last_mut().unwrap() ^= 0x10;
    fs::write(&paths[1], &flipped).unwrap();
    let found = latest_valid(dir.path()).unwrap();
    assert_eq!((found.path.as_path(), found.checkpoint), (paths[0].as_path(), sample(10)));
    let skipped: Vec<_> = found.skipped.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(skipped, [paths[2].clone(), paths[1].clone()]);
    assert!(matches!(
        found.skipped[0].1,
        ArtifactError::Size { .. } | ArtifactError::NotSafetensors { .. }
    ));
    assert!(matches!(found.skipped[1].1, ArtifactError::Checksum { .. }));

    fs::write(&paths[0], b"").unwrap();
    let error = latest_valid(dir.path()).unwrap_err();
    assert_error!(error, dir.path(), ArtifactError::NoCheckpoint { skipped, .. }
        if skipped.len() == 3);
}

#[test]
fn empty_folder_has_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let error = latest_valid(dir.path()).unwrap_err();
    assert_error!(error, dir.path(), ArtifactError::NoCheckpoint { skipped, .. }
        if skipped.is_empty());
    let missing = dir.path().join("missing");
    assert_error!(latest_valid(&missing).unwrap_err(), &missing, ArtifactError::Read { .. });
}

#[test]
fn newer_schema_is_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let keep = RetentionPolicy { last: 5, best: None };
    save_and_prune(dir.path(), &sample(10), keep).unwrap();
    let newer = save_and_prune(dir.path(), &sample(20), keep).unwrap();
    let text = fs::read(&newer).unwrap();
    let at = text.windows(12).position(|window| window == br#""schema":"1""#).unwrap();
    let mut text = text;
    text[at + 10] = b'9';
    fs::write(&newer, text).unwrap();
    let error = latest_valid(dir.path()).unwrap_err();
    assert_error!(error, &newer, ArtifactError::NewerSchema { found: 9, .. });
}

/// The only checkpoint may be replaced between the listing and the reading.
#[test]
fn a_checkpoint_that_is_being_replaced_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let keep = RetentionPolicy { last: 1, best: None };
    save_and_prune(dir.path(), &sample(0), keep).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 1..=400 {
                save_and_prune(dir.path(), &sample(step), keep).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut reads = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let found = latest_valid(dir.path()).unwrap();
            assert!(found.skipped.is_empty(), "{:?}", found.skipped);
            reads += 1;
        }
        assert!(reads > 0);
    });
    // A link to nothing is there and damaged, not replaced.
    #[cfg(unix)]
    {
        let link = dir.path().join(file_name(500));
        std::os::unix::fs::symlink("nothing", &link).unwrap();
        let found = latest_valid(dir.path()).unwrap();
        assert_eq!(found.checkpoint, sample(400));
        assert!(matches!(&found.skipped[..], [(path, _)] if *path == link));
    }
}
