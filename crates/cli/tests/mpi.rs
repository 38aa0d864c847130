//! `dcgan train` on several ranks, started by `mpirun` or the launcher that the variable MPIRUN
//! names. Every wait has a limit.
#![cfg(unix)]

mod common;

use common::{Ended, TestDir, files, logged_steps, rows, signal, wait_for, write_images};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tensor::{Data, HostTensor};

/// The longest that a run of these tests may take, with waits for other programs' cores.
const RUN: Duration = Duration::from_secs(120);
/// The longest between the end of one rank and that of all.
const END: Duration = Duration::from_secs(10);

/// One group of ranks at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ranks under a launcher.
struct Launched {
    launcher: Child,
    dir: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

fn launcher() -> String {
    std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".to_owned())
}

/// Starts the launcher with these arguments in a test's folder.
fn launch(dir: &TestDir, args: &[&str]) -> Launched {
    let turn = turn();
    let output = |name| File::create(dir.path(name)).unwrap();
    let mut command = Command::new(launcher());
    // More ranks than cores, and root.
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
    ] {
        command.env(name, value);
    }
    command.env("XDG_RUNTIME_DIR", dir.path(""));
    command.args(args).current_dir(dir.path("")).stdin(Stdio::null());
    command.stdout(output("stdout")).stderr(output("stderr"));
    Launched { launcher: command.spawn().unwrap(), dir: dir.path(""), _turn: turn }
}

/// Starts `dcgan` on several ranks.
fn start(dir: &TestDir, ranks: usize, args: &[&str]) -> Launched {
    let count = ranks.to_string();
    launch(dir, &[&["-n", &*count, env!("CARGO_BIN_EXE_dcgan")], args].concat())
}

/// Runs `dcgan` on several ranks to its end.
fn run(dir: &TestDir, ranks: usize, args: &[&str]) -> Ended {
    start(dir, ranks, args).wait(RUN)
}

/// Runs `dcgan` on several ranks, which must succeed.
fn ok(dir: &TestDir, ranks: usize, args: &[&str]) -> Ended {
    let ended = run(dir, ranks, args);
    assert_eq!(ended.code, Some(0), "{ranks} ranks {args:?}: {}", ended.err);
    ended
}

impl Launched {
    /// Waits for the end of all ranks, at most this long.
    fn wait(mut self, limit: Duration) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.launcher.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > limit {
                let pids = self.ranks();
                pids.iter().for_each(|pid| drop(kill(*pid, "KILL")));
                let _ = self.launcher.kill();
                panic!("not ended after {limit:?}: {}", self.text("stderr"));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(self.ranks().is_empty(), "ranks are left");
        let code = ExitStatus::code(&status);
        // Without the progress lines of a slow machine.
        let err = self.text("stderr");
        let err = err.split_inclusive('\n').filter(|line| !line.starts_with("progress: "));
        Ended { code, out: self.text("stdout"), err: err.collect() }
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join(name)).unwrap()).into_owned()
    }

    /// The processes of the ranks: those of the program in the test's folder.
    fn ranks(&self) -> Vec<u32> {
        let program = Path::new(env!("CARGO_BIN_EXE_dcgan")).canonicalize().unwrap();
        let is_rank = |pid: &u32| {
            let link = |name| fs::read_link(format!("/proc/{pid}/{name}")).ok();
            link("exe") == Some(program.clone()) && link("cwd") == self.dir.canonicalize().ok()
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(is_rank).collect()
    }

    /// The process of one rank.
    fn rank(&self, rank: usize) -> u32 {
        let is_own = |pid: &u32| {
            let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let own = ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].map(|name| format!("{name}={rank}"));
            variables.split(|byte| *byte == 0).any(|v| own.iter().any(|own| own.as_bytes() == v))
        };
        self.ranks().into_iter().find(is_own).expect("a process of the rank")
    }

    /// Waits for the first metrics of a run.
    fn wait_for_steps(&self, run: &str) {
        let metrics = self.dir.join(run).join("metrics.jsonl");
        wait_for(|| fs::metadata(&metrics).is_ok_and(|file| file.len() > 1000));
    }
}

fn kill(pid: u32, signal: &str) -> ExitStatus {
    Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().unwrap()
}

impl Ended {
    /// Asserts that all ranks ended with this code, and that one line names the cause.
    #[track_caller]
    fn refused_once(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        let errors: Vec<&str> = self.err.lines().filter(|l| l.starts_with("error: ")).collect();
        let [line] = errors[..] else { panic!("not one error: {}", self.err) };
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
    }
}

fn newest(dir: &TestDir, run: &str) -> PathBuf {
    dir.checkpoints(run).pop().unwrap()
}

/// The largest difference of the networks' values, relative to the length of the reference.
fn difference(dir: &TestDir, run: &str, reference: &str) -> f64 {
    let load = |run| runs::checkpoint::load(&newest(dir, run)).unwrap();
    let (own, reference) = (load(run), load(reference));
    assert_eq!(own.meta.step, reference.meta.step);
    let values = |tensor: &HostTensor| match &tensor.data {
        Data::F32(values) => values.clone(),
        _ => Vec::new(),
    };
    let (mut squares, mut of_reference) = (0.0, 0.0);
    for (name, tensor) in &reference.tensors {
        if !name.starts_with("generator.") && !name.starts_with("discriminator.") {
            continue;
        }
        for (a, b) in values(&own.tensors[name]).iter().zip(values(tensor)) {
            squares += f64::from(a - b).powi(2);
            of_reference += f64::from(b).powi(2);
        }
    }
    assert!(of_reference > 0.0);
    (squares / of_reference).sqrt()
}
