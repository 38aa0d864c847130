//! Links, special files, signals, lost output and limits of the system.

use crate::common::{Ended, TestDir, files, logged_steps, signal, wait_for};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A file that a link points to and no command may change.
fn victim(dir: &TestDir) -> std::path::PathBuf {
    let path = dir.path("victim");
    fs::write(&path, "not to be changed").unwrap();
    path
}

#[track_caller]
fn unchanged(dir: &TestDir) {
    assert_eq!(fs::read_to_string(dir.path("victim")).unwrap(), "not to be changed");
}

#[test]
fn no_link_in_a_run_directory_is_followed() {
    let dir = TestDir::new();
    let victim = victim(&dir);
    dir.train(&["--steps", "1", "--out", "run"]);
    fs::create_dir(dir.path("elsewhere")).unwrap();
    for (name, target) in [
        (".lock", &victim),
        ("metrics.jsonl", &victim),
        ("samples", &dir.path("elsewhere")),
        ("checkpoints", &dir.path("elsewhere")),
    ] {
        let link = dir.path("run").join(name);
        // The checkpoints are where the link leads, for without any there is nothing to resume.
        let aside = if name == "checkpoints" { target.clone() } else { dir.path("aside") };
        fs::rename(&link, &aside).unwrap();
        symlink(target, &link).unwrap();
        dir.refused(1, &["train", "--resume", "run", "--steps", "2"], &[name, "symbolic link"]);
        unchanged(&dir);
        fs::remove_file(&link).unwrap();
        fs::rename(&aside, &link).unwrap();
    }
    // The lock of the folder of runs, and that of a new run.
    fs::create_dir(dir.path("runs")).unwrap();
    symlink(&victim, dir.path("runs/.lock")).unwrap();
    dir.refused(1, &TestDir::training(&["--steps", "1"]), &["runs/.lock", "symbolic link"]);
    fs::create_dir(dir.path("new")).unwrap();
    symlink(&victim, dir.path("new/.lock")).unwrap();
    dir.refused(1, &TestDir::training(&["--steps", "1", "--out", "new"]), &["new", "link"]);
    // What is written again replaces a link: config.toml, and the images at the end.
    for name in ["config.toml", "losses.png", "timelapse.gif"] {
        fs::remove_file(dir.path("run").join(name)).unwrap();
        symlink(&victim, dir.path("run").join(name)).unwrap();
    }
    dir.ok(&["train", "--resume", "run", "--steps", "2"]);
    unchanged(&dir);
}

#[test]
fn no_link_beside_an_output_is_followed() {
    let dir = TestDir::new();
    let victim = victim(&dir);
    dir.train(&["--steps", "1", "--out", "run"]);
    symlink(&victim, dir.path("set.dcgan.part")).unwrap();
    let prepare = ["data", "prepare", "photos", "--image", "16", "--out", "set.dcgan"];
    dir.refused(1, &prepare, &["set.dcgan.part", "symbolic link"]);
    fs::create_dir(dir.path("drawn")).unwrap();
    symlink(&victim, dir.path("drawn/.lock")).unwrap();
    let sample = ["sample", "--checkpoint", "run", "--count", "1"];
    dir.refused(1, &[&sample[..], &["--out", "drawn"]].concat(), &["drawn", "symbolic link"]);
    fs::create_dir(dir.path("faces")).unwrap();
    symlink(&victim, dir.path("faces/.lock")).unwrap();
    dir.refused(1, &["data", "faces", "photos", "--out", "faces"], &["faces", "link"]);
    unchanged(&dir);
    // A link as the output itself, even one to nothing, counts as a file; --force replaces it.
    for (name, target) in [("a.png", "victim"), ("b.png", "nothing")] {
        symlink(target, dir.path(name)).unwrap();
        let grid = [&sample[..], &["--grid", name]].concat();
        dir.refused(1, &grid, &[name, "exists already"]);
        dir.ok(&[&grid[..], &["--force"]].concat());
        assert!(dir.path(name).symlink_metadata().unwrap().is_file());
    }
    assert!(!dir.path("nothing").exists());
    unchanged(&dir);
}

/// `data split` links files: those of the input must outlive a second call.
#[test]
fn a_second_split_leaves_the_files_of_the_first() {
    let dir = TestDir::new();
    let before: Vec<_> = files(&dir.path("photos")).iter().map(|f| fs::read(f).unwrap()).collect();
    let split = ["data", "split", "photos", "--out", "divided"];
    dir.ok(&split);
    dir.refused(1, &split, &["divided", "empty"]);
    let after: Vec<_> = files(&dir.path("photos")).iter().map(|f| fs::read(f).unwrap()).collect();
    assert!(before == after);
    assert!(!dir.path("divided/.lock").exists());
}

/// A backslash is a character of a name here: this one leads nowhere.
#[test]
fn a_name_with_backslashes_stays_in_its_folder() {
    let dir = TestDir::new();
    let name = "a\\..\\..\\..\\up.png";
    fs::copy(dir.path("photos/000.png"), dir.path("photos").join(name)).unwrap();
    fs::create_dir(dir.path("out")).unwrap();
    dir.ok(&["data", "split", "photos", "--out", "out/a"]);
    let found = ["train", "test"].map(|split| dir.path("out/a").join(split).join(name).is_file());
    assert_eq!(found.iter().filter(|found| **found).count(), 1);
    assert!(!dir.path("up.png").exists() && !dir.path("out/up.png").exists());
}

/// Reading a FIFO would wait for a writer, reading a device may never end.
#[test]
fn special_files_are_refused() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    for name in ["f", "f.toml", "f.png", "f.safetensors", "f.csv", "f.tar"] {
        assert!(Command::new("mkfifo").arg(dir.path(name)).status().unwrap().success());
    }
    let commands: &[&[&str]] = &[
        &["data", "info", "f"],
        &["data", "info", "f.tar"],
        &["data", "info", "folder:f"],
        &["data", "info", "idx:f"],
        &["data", "info", "lsun:f"],
        &["data", "info", "/dev/zero"],
        &["train", "--data", "f", "--dry-run"],
        &["train", "--data", "f.tar", "--dry-run"],
        &["train", "--resume", "f"],
        &["recipes", "f.toml"],
        &["recipes", "/dev/zero"],
        &["train", "--recipe", "/dev/zero"],
        &["train", "--recipe", "f.toml"],
        &["info", "f"],
        &["info", "f.png"],
        &["info", "/dev/zero"],
        &["sample", "--checkpoint", "f", "--grid", "g.png"],
        &["sample", "--checkpoint", "run", "--latents", "f.safetensors", "--grid", "g.png"],
        &["reproduce", "f.png", "--checkpoint", "run"],
        &["invert", "--checkpoint", "run", "f.png", "--grid", "g.png"],
        &["export", "--checkpoint", "f", "--out", "exported"],
        &["eval", "--real", "photos", "--fake", "f"],
        &["import", "--recipe", "f.toml", "--generator", "f.safetensors", "--out", "imported"],
        &["import", "--recipe", "small", "--generator", "f.safetensors", "--out", "imported"],
    ];
    for args in commands {
        let mut child = dir.spawn(args);
        wait_for(|| child.try_wait().unwrap().is_some());
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert!(matches!(ended.code, Some(1 | 2)), "{args:?}: {:?} {}", ended.code, ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{args:?}: {}", ended.err);
        assert!(ended.err.starts_with("error: "), "{args:?}: {}", ended.err);
    }
    let recipe = dir.run(&["recipes", "/dev/zero"]);
    recipe.refused(1, &["/dev/zero", "a device, not a regular file"]);
    dir.refused(1, &["info", "/dev/zero"], &["a device, not a regular file: give a file"]);
    // A recipe has a limit, too.
    File::create(dir.path("long.toml")).unwrap().set_len(1 << 40).unwrap();
    dir.refused(1, &["recipes", "long.toml"], &["long.toml", "more than 1048576 bytes"]);
}

#[test]
fn an_ignored_signal_stays_ignored() {
    for (ignored, run) in [("HUP", "nohup"), ("INT", "background"), ("TERM", "term")] {
        let dir = TestDir::new();
        let train = TestDir::training(&["--steps", "100000", "--log-every", "1", "--out", run]);
        let child = dir.command_after(&format!("trap '' {ignored}"), &train).spawn().unwrap();
        let metrics = dir.path(run).join("metrics.jsonl");
        let rows = || fs::read_to_string(&metrics).unwrap_or_default().lines().count();
        wait_for(|| rows() > 0);
        signal(&child, ignored);
        let seen = rows();
        wait_for(|| rows() > seen + 20);
        // Another one still finishes the step and saves.
        signal(&child, if ignored == "HUP" { "TERM" } else { "HUP" });
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(130), "{}", ended.err);
        assert_eq!(ended.err.matches("finishing the step").count(), 1, "{}", ended.err);
        let done = logged_steps(&dir.path(run)).len();
        assert!(
            dir.checkpoints(run).last().unwrap().ends_with(format!("step-{done:08}.safetensors"))
        );
    }
}

#[test]
fn an_interrupted_command_leaves_no_temporary_file() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    for (k, name) in ["INT", "TERM", "HUP", "INT", "TERM"].into_iter().enumerate() {
        let out = format!("drawn{k}");
        let sample = ["sample", "--checkpoint", "run", "--count", "100000", "--out", &out];
        let child = dir.spawn(&sample);
        wait_for(|| dir.path(&out).join(format!("{:05}.png", 3 + 4 * k)).exists());
        signal(&child, name);
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(130), "{}", ended.err);
        let left = files(&dir.path(&out));
        assert!(left.iter().all(|f| f.extension().is_some_and(|e| e == "png")), "{left:?}");
    }
    let gif = dir.spawn(&["walk", "--checkpoint", "run", "--steps", "900", "--gif", "walk.gif"]);
    let is_written = || {
        files(&dir.path("")).iter().any(|f| {
            f.file_name().unwrap() != "walk.gif" && f.to_string_lossy().contains("walk.gif")
        })
    };
    wait_for(is_written);
    signal(&gif, "INT");
    assert_eq!(gif.wait_with_output().unwrap().status.code(), Some(130));
    assert!(files(&dir.path("")).iter().all(|f| !f.to_string_lossy().contains("walk.gif")));
    let dedup = ["dedup", "photos", "--epochs", "100000", "--device", "cpu", "--out", "clean"];
    let child = dir.spawn(&dedup);
    std::thread::sleep(std::time::Duration::from_millis(300));
    signal(&child, "INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(files(&dir.path("")).iter().all(|f| !f.to_string_lossy().contains("clean")));
}

#[test]
fn two_processes_do_not_mix_their_images() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    let sample = ["sample", "--checkpoint", "run", "--count", "100000", "--out", "drawn"];
    let mut child =
        dir.command(&sample).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(|| dir.path("drawn/00000.png").exists());
    for more in [&[][..], &["--force"]] {
        dir.refused(1, &[&sample[..], more].concat(), &["\"drawn\"", "another process"]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock of a killed process holds nobody up.
    assert!(dir.path("drawn/.lock").exists());
    let few = ["sample", "--checkpoint", "run", "--count", "3", "--out", "drawn", "--force"];
    dir.ok(&few);
    assert!(!dir.path("drawn/.lock").exists());
}

#[test]
fn lost_output_is_a_failure_and_a_closed_pipe_is_none() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: this system has no /dev/full");
        return;
    }
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    let commands: &[&[&str]] = &[
        &["data", "info", "photos"],
        &["data", "info", "photos", "--json"],
        &["data", "list"],
        &["recipes"],
        &["recipes", "small"],
        &["runs", "--runs-dir", "."],
        &["info", "run"],
        &["devices"],
        &["--help"],
        &["--version"],
        &["train", "--help"],
        &["sample", "--checkpoint", "run", "--count", "1", "--grid", "g.png", "--force"],
        &["train", "--data", "photos", "--image", "16", "--dry-run"],
    ];
    for args in commands {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ended = Ended::of(dir.command(args).stdout(full).output().unwrap());
        assert_eq!(ended.code, Some(1), "{args:?}: {}", ended.err);
        let errors: Vec<_> = ended.err.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{args:?}: {}", ended.err);
        assert!(errors[0].contains("cannot write to standard output"), "{args:?}: {}", ended.err);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Ended::of(dir.command(args).stdout(writer).output().unwrap());
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{args:?}");
    }
    // A run continues, since its files are not lost.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let train = TestDir::training(&["--steps", "3", "--log-every", "1", "--out", "full"]);
    Ended::of(dir.command(&train).stdout(full).output().unwrap())
        .refused(1, &["cannot write to standard output"]);
    assert_eq!(logged_steps(&dir.path("full")), [1, 2, 3]);
    assert!(dir.path("full/losses.png").is_file());
}

/// By default SIGXFSZ ends a program without a word.
#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    let limited =
        |args: &[&str]| Ended::of(dir.command_after("ulimit -f 8", args).output().unwrap());
    let sample = ["sample", "--checkpoint", "run", "--count", "500", "--grid", "g.png"];
    limited(&sample).refused(1, &["cannot write", "g.png"]);
    let prepare = ["data", "prepare", "photos", "--image", "64", "--out", "set.dcgan"];
    limited(&prepare).refused(1, &["cannot write", "set.dcgan"]);
    limited(&TestDir::training(&["--steps", "9", "--out", "new"])).refused(1, &["cannot write"]);
    let left = files(&dir.path(""));
    assert!(left.iter().all(|f| !f.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

/// No command panics where the system refuses threads.
#[test]
fn refused_threads_are_an_error() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    // The superuser has no limit, so another user runs a copy that he can read.
    let program = dir.path("dcgan");
    fs::copy(env!("CARGO_BIN_EXE_dcgan"), &program).unwrap();
    for path in [dir.path(""), dir.path("run"), dir.path("run/samples"), dir.path("photos")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let limited = |limit: u32, args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65533", "--clear-groups", "prlimit", &format!("--nproc={limit}")]);
        command.arg(&program).args(args);
        command.current_dir(dir.path("")).stdin(Stdio::null());
        command.env("HOME", dir.path("")).env("XDG_RUNTIME_DIR", dir.path(""));
        command.output()
    };
    if !limited(64, &["--version"]).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user cannot become another one");
        return;
    }
    let train = TestDir::training(&["--steps", "1", "--device", "cpu", "--runs-dir", "more"]);
    let commands: &[&[&str]] = &[
        &["--version"],
        &["recipes"],
        &["recipes", "small"],
        &["runs", "--runs-dir", "."],
        &["info", "run"],
        &["devices"],
        &["data", "list"],
        &["data", "info", "photos"],
        &["data", "prepare", "photos", "--image", "16", "--out", "set.dcgan", "--force"],
        &["data", "split", "photos", "--out", "divided"],
        &["data", "faces", "photos", "--out", "faces"],
        &["data", "preview", "photos", "--image", "16", "--grid", "p.png", "--force"],
        &train,
        &["train", "--data", "photos", "--image", "16", "--dry-run"],
        &["train", "--resume", "run", "--steps", "2", "--threads", "1", "--dry-run"],
        &[
            "sample",
            "--checkpoint",
            "run",
            "--count",
            "2",
            "--device",
            "cpu",
            "--grid",
            "g.png",
            "--force",
        ],
        &["walk", "--checkpoint", "run", "--device", "cpu", "--grid", "w.png", "--force"],
        &[
            "eval",
            "--real",
            "photos",
            "--checkpoint",
            "run",
            "--features",
            "pixels",
            "--device",
            "cpu",
        ],
        &["filters", "--checkpoint", "run", "--device", "cpu", "--grid", "f.png", "--force"],
        &["dedup", "photos", "--epochs", "1", "--device", "cpu"],
        &["toy", "ring", "--steps", "10", "--device", "cpu"],
        &["toy", "saddle", "--steps", "10"],
        &["export", "--checkpoint", "run", "--out", "exported", "--force"],
    ];
    let (mut refused, mut fine) = (0, 0);
    for args in commands {
        for limit in [1, 2, 3, 5] {
            let output = limited(limit, args).unwrap();
            let _ = fs::remove_dir_all(dir.path("divided"));
            let _ = fs::remove_dir_all(dir.path("faces"));
            assert_eq!(output.status.signal(), None, "{args:?}");
            let ended = Ended::of(output);
            assert!(!ended.err.contains("panicked"), "{limit} {args:?}: {}", ended.err);
            match ended.code {
                Some(0) => fine += 1,
                Some(1) => {
                    ended.refused(1, &["thread"]);
                    refused += 1;
                }
                code => panic!("{limit} {args:?}: {code:?} {}", ended.err),
            }
        }
    }
    eprintln!("{refused} refused, {fine} fine");
    assert!(refused > 10 && fine > 10);
}

/// A power cut may leave zeros in place of the rows.
#[test]
fn lost_rows_of_metrics_are_reported() {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--log-every", "1", "--out", "run"]);
    let metrics = dir.path("run/metrics.jsonl");
    let length = fs::metadata(&metrics).unwrap().len() as usize;
    fs::write(&metrics, vec![0; length]).unwrap();
    let ended = dir.ok(&["train", "--resume", "run", "--steps", "5"]);
    for part in ["warning: ", "metrics.jsonl", "line 1", "lost"] {
        assert!(ended.err.contains(part), "{part} is not in {}", ended.err);
    }
    assert_eq!(logged_steps(&dir.path("run")), [4, 5]);
}
