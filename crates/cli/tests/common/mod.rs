//! Runs the built program in a temporary folder, on generated images.

// `gpu` is a test binary of its own and uses only a part of this module.
#![allow(dead_code, reason = "shared by several test programs")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Flags of the smallest networks for 16×16 images.
const TINY: [&str; 6] = ["--image", "16", "--width", "2", "--batch", "8"];

/// A temporary folder with 40 images in `photos/`, in which commands run.
pub struct TestDir {
    folder: TempDir,
}

/// Makes the commands that are started from here begin with the default action of these signals,
/// also where the tests were started with them ignored, as in the background of a script: a started
/// program inherits that a signal is ignored, and not that it is handled.
#[cfg(unix)]
fn default_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let always = std::sync::Arc::new(true.into());
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, always).unwrap();
        }
    });
}

/// Exit code and output of a command.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl TestDir {
    pub fn new() -> Self {
        #[cfg(unix)]
        default_signals();
        let dir = Self { folder: tempfile::tempdir().unwrap() };
        write_images(&dir.path("photos"), 40);
        dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dcgan"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        // Some graphics drivers write to standard error if there is no such folder.
        command.env("XDG_RUNTIME_DIR", self.folder.path());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().unwrap())
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
        ended
    }

    /// Runs a command that must fail with this code and one line that contains all of `parts`.
    #[track_caller]
    pub fn refused(&self, code: i32, args: &[&str], parts: &[&str]) {
        self.run(args).refused(code, parts);
    }

    /// `train` on the tiny networks.
    pub fn train(&self, args: &[&str]) -> Ended {
        self.ok(&Self::training(args))
    }

    pub fn training<'a>(args: &[&'a str]) -> Vec<&'a str> {
        Self::training_on("photos", args)
    }

    /// `train` on the tiny networks, with another dataset.
    pub fn training_on<'a>(data: &'a str, args: &[&'a str]) -> Vec<&'a str> {
        [&["train", "--data", data], &TINY[..], args].concat()
    }

    /// Starts `train` on the tiny networks.
    pub fn start(&self, args: &[&str]) -> Child {
        self.spawn(&Self::training(args))
    }

    /// Starts a command whose output is read at its end.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A command in a shell that first does `setup`.
    #[cfg(unix)]
    pub fn command_after(&self, setup: &str, args: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{setup}; exec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_dcgan")).args(args).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The files of a checkpoints folder, by name.
    pub fn checkpoints(&self, run: &str) -> Vec<PathBuf> {
        files(&self.path(run).join("checkpoints"))
    }
}

impl Ended {
    /// Without the progress lines of a slow machine.
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let err = text(output.stderr);
        let err = err.split_inclusive('\n').filter(|line| !line.starts_with("progress: "));
        Self { code: output.status.code(), out: text(output.stdout), err: err.collect() }
    }

    #[track_caller]
    pub fn refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        let errors: Vec<&str> =
            self.err.lines().filter(|line| !line.starts_with("warning: ")).collect();
        let [line] = errors[..] else { panic!("not one line: {:?}", self.err) };
        assert!(line.starts_with("error: "), "{line}");
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
    }

    /// Standard output as JSON lines.
    pub fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    pub fn event(&self, name: &str) -> Value {
        self.json()
            .into_iter()
            .find(|object| object["event"] == name)
            .unwrap_or_else(|| panic!("no {name} in {}", self.out))
    }
}

/// Writes `count` small color images, all different, none of 16×16.
pub fn write_images(folder: &Path, count: u32) {
    std::fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let image = image::RgbImage::from_fn(20, 18, |x, y| {
            image::Rgb([(x * 12) as u8, (y * 14) as u8 ^ i as u8, (i * 6) as u8 ^ (x + y) as u8])
        });
        image.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The steps in a run's metrics file, in order.
pub fn logged_steps(run: &Path) -> Vec<u64> {
    rows(run).iter().map(|row| row["step"].as_u64().unwrap()).collect()
}

pub fn rows(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends a signal, by name.
#[cfg(unix)]
pub fn signal(child: &Child, name: &str) {
    let status =
        Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

/// Waits until `found` returns true, at most 30 seconds.
pub fn wait_for(mut found: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if found() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("waited in vain");
}
