//! `dcgan train` on several ranks, started by `mpirun` or the launcher that the variable MPIRUN
//! names. Every wait has a limit.
#![cfg(unix)]

mod common;

use common::{Ended, TestDir, files, logged_steps, signal, wait_for, write_images};
use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest that a run of these tests may take, with waits for other programs' cores.
const RUN: Duration = Duration::from_secs(120);
/// The longest between the end of one rank and that of all.
const END: Duration = Duration::from_secs(10);

/// One group of ranks at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ranks under a launcher, which are all killed when this is dropped.
struct Launched {
    launcher: Child,
    dir: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

fn launcher() -> String {
    std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".to_owned())
}

fn is_open_mpi() -> bool {
    let version = Command::new(launcher()).arg("--version").output().unwrap().stdout;
    String::from_utf8_lossy(&version).contains("Open MPI")
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
                panic!("not ended after {limit:?}: {}", self.text("stderr"));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        // MPICH's launcher may end a moment before the ranks that it has killed.
        let ended = Instant::now();
        while !self.ranks().is_empty() {
            assert!(ended.elapsed() < END, "ranks are left");
            std::thread::sleep(Duration::from_millis(10));
        }
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

impl Drop for Launched {
    /// Ends what a failing assertion would leave behind: a run without an end. Each rank has a
    /// process group of its own, so that the end of the launcher's would not reach it.
    fn drop(&mut self) {
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
        for rank in self.ranks() {
            kill(rank, "KILL");
        }
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

/// The length of the difference of both networks' weights, relative to that of the reference.
fn difference(dir: &TestDir, run: &str, reference: &str) -> f64 {
    let load = |run| runs::checkpoint::load(&newest(dir, run)).unwrap();
    let (own, reference) = (load(run), load(reference));
    assert_eq!(own.meta.step, reference.meta.step);
    let (mut squares, mut of_reference) = (0.0, 0.0);
    let weights = |name: &str| name.starts_with("g.") || name.starts_with("d.");
    for (name, tensor) in reference.tensors.iter().filter(|(name, _)| weights(name)) {
        let (Some(own), Some(values)) = (own.tensors[name].as_f32(), tensor.as_f32()) else {
            continue;
        };
        for (a, b) in own.iter().zip(values) {
            squares += f64::from(a - b).powi(2);
            of_reference += f64::from(*b).powi(2);
        }
    }
    assert!(of_reference > 0.0);
    (squares / of_reference).sqrt()
}

/// The bytes of a run's newest checkpoint.
fn bytes(dir: &TestDir, run: &str) -> Vec<u8> {
    fs::read(newest(dir, run)).unwrap()
}

/// Trains a few steps of the tiny networks.
fn training<'a>(out: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    let args = ["--log-every", "2", "--checkpoint-every", "3", "--out", out];
    let steps: &[&str] = if flags.contains(&"--steps") { &[] } else { &["--steps", "6"] };
    TestDir::training(&[&args[..], steps, flags].concat())
}

/// A run that does not end by itself.
fn endless(out: &str) -> Vec<&str> {
    let args = ["--steps", "1000000", "--log-every", "1", "--checkpoint-every", "5"];
    TestDir::training(&[&args[..], &["--sample-every", "1000", "--out", out]].concat())
}

#[test]
fn ranks_train_as_one_process_does() {
    let dir = TestDir::new();
    let one = dir.ok(&training("one", &[]));
    assert!(!one.out.contains("Ranks:"), "{}", one.out);
    ok(&dir, 1, &training("alone", &[]));
    assert_eq!(bytes(&dir, "alone"), bytes(&dir, "one"));
    for ranks in [2, 3] {
        let [first, second] = ["first", "second"].map(|name| format!("{name}-{ranks}"));
        let ended = ok(&dir, ranks, &training(&first, &[]));
        ok(&dir, ranks, &training(&second, &[]));
        assert_eq!(bytes(&dir, &first), bytes(&dir, &second));
        let difference = difference(&dir, &first, "one");
        assert!(difference < 1e-3, "{ranks} ranks: {difference}");

        // Rank 0 alone prints and writes.
        assert_eq!(ended.out.matches(&format!("Ranks: {ranks} on node ")).count(), 1);
        assert_eq!(ended.out.matches("finished 6 steps").count(), 1, "{}", ended.out);
        assert_eq!(logged_steps(&dir.path(&first)), [2, 4, 6]);
        let names = |run: &str| -> Vec<_> {
            let names = files(&dir.path(run)).into_iter();
            let names = names.map(|path| path.file_name().unwrap().to_owned());
            names.filter(|name| !name.to_string_lossy().contains("tfevents")).collect()
        };
        assert_eq!(names(&first), names("one"));
    }
}

#[test]
fn a_new_run_has_one_directory_and_json_one_stream() {
    let dir = TestDir::new();
    let args = ["--steps", "2", "--sample-every", "1", "--json", "--eval-every", "2"];
    let eval = ["--eval-features", "pixels", "--eval-count", "20"];
    let ended = ok(&dir, 2, &TestDir::training(&[&args[..], &eval].concat()));
    assert_eq!(files(&dir.path("runs")).iter().filter(|path| path.is_dir()).count(), 1);
    let events = ended.json();
    for name in ["plan", "data", "ranks", "directory", "evaluated", "finished"] {
        assert_eq!(events.iter().filter(|e| e["event"] == name).count(), 1, "{name}");
    }
    assert_eq!(ended.event("ranks")["ranks"], 2);
}

#[test]
fn what_all_ranks_refuse_is_told_once() {
    let dir = TestDir::new();
    let help = ok(&dir, 2, &["train", "--help"]);
    assert_eq!(help.out.matches("Usage:").count(), 1, "{}", help.out);
    assert_eq!(ok(&dir, 2, &["--version"]).out.lines().count(), 1);
    run(&dir, 2, &["train", "--stepz", "3"]).refused_once(2, &["--stepz"]);
    run(&dir, 3, &["runs"]).refused_once(2, &["dcgan runs", "3 were started"]);
    run(&dir, 2, &["train", "--data", "nowhere"]).refused_once(1, &["nowhere"]);
    let small = ["train", "--data", "photos", "--image", "16", "--batch", "2", "--out", "run"];
    run(&dir, 3, &small).refused_once(1, &["2 images", "start fewer"]);
    run(&dir, 2, &["train", "--resume", "run"]).refused_once(1, &["nothing to resume"]);
    assert!(!dir.path("run").exists());
    fs::create_dir(dir.path("full")).unwrap();
    fs::write(dir.path("full/file"), "mine").unwrap();
    run(&dir, 2, &training("full", &[])).refused_once(1, &["full"]);
    assert_eq!(files(&dir.path("full")).len(), 1);
    let dry = ok(&dir, 2, &training("dry", &["--dry-run"]));
    assert_eq!(dry.out.matches("Dry run").count(), 1);
    assert!(!dir.path("dry").exists());
}

#[test]
fn what_one_rank_refuses_names_the_rank() {
    let dir = TestDir::new();
    write_images(&dir.path("others"), 40);
    fs::copy(dir.path("photos/001.png"), dir.path("others/000.png")).unwrap();
    let program = env!("CARGO_BIN_EXE_dcgan");
    let first = TestDir::training(&["--steps", "2", "--out", "run"]);
    let second = TestDir::training_on("others", &["--steps", "2", "--out", "run"]);
    let ranks = [&["-n", "1", program], &first[..], &[":", "-n", "1", program], &second].concat();
    launch(&dir, &ranks).wait(RUN).refused_once(1, &["rank 1"]);
    assert!(!dir.path("run").exists());

    // Rank 1 has no memory.
    let limited = format!("ulimit -v 1500000; exec {program} \"$@\"");
    let other = ["sh", "-c", &*limited, "dcgan"];
    let wide = ["train", "--data", "photos", "--image", "64", "--width", "128", "--out", "run"];
    let ranks = [&["-n", "1", program], &wide[..], &[":", "-n", "1"], &other[..], &wide].concat();
    launch(&dir, &ranks).wait(RUN).refused_once(1, &["rank 1", "ulimit -v"]);
}

/// The processes are of the other library's launcher, so each is alone.
#[test]
fn a_program_of_another_mpi_is_refused() {
    let dir = TestDir::new();
    let variable = if is_open_mpi() { "PMI_SIZE" } else { "OMPI_COMM_WORLD_SIZE" };
    let mut command = dir.command(&training("run", &[]));
    let ended = Ended::of(command.env(variable, "2").output().unwrap());
    ended.refused(2, &[&format!("{variable}=2"), "finds 1", "MPICC"]);
    assert!(!dir.path("run").exists());
}

#[test]
fn an_error_of_one_rank_while_training_ends_all() {
    let dir = TestDir::new();
    let launched = start(&dir, 3, &endless("run"));
    launched.wait_for_steps("run");
    // Rank 0 cannot write its next checkpoint.
    fs::rename(dir.path("run/checkpoints"), dir.path("run/gone")).unwrap();
    let ended = launched.wait(END);
    ended.refused_once(1, &["rank 0 (", "checkpoints"]);
}

#[test]
#[cfg(feature = "fault-injection")]
fn a_panic_of_one_rank_while_training_ends_all() {
    let program = env!("CARGO_BIN_EXE_dcgan");
    for rank in [0, 1] {
        let dir = TestDir::new();
        let sound = [&["-n", "1", program], &endless("run")[..]].concat();
        let panics = ["-n", "1", "env", "DCGAN_PANIC_AT=3", program];
        let panics = [&panics[..], &endless("run")].concat();
        let (first, second) = if rank == 0 { (panics, sound) } else { (sound, panics) };
        let ended = launch(&dir, &[&first[..], &[":"], &second].concat()).wait(RUN);
        ended.refused_once(101, &[&format!("rank {rank} ("), "panicked at", "DCGAN_PANIC_AT=3"]);
        // The checkpoint of the start is whole.
        runs::checkpoint::load(&newest(&dir, "run")).unwrap();
    }
}

#[test]
fn a_killed_rank_ends_all_and_the_run_goes_on() {
    let dir = TestDir::new();
    dir.ok(&TestDir::training(&["--steps", "60", "--out", "one"]));
    ok(&dir, 2, &TestDir::training(&["--steps", "60", "--out", "two"]));
    for (rank, then) in [(0, 2), (1, 3), (1, 1)] {
        let run = format!("run-{rank}-{then}");
        let launched = start(&dir, 2, &endless(&run));
        launched.wait_for_steps(&run);
        assert!(kill(launched.rank(rank), "KILL").success());
        let ended = launched.wait(END);
        assert_ne!(ended.code, Some(0), "{}", ended.err);
        let step = runs::checkpoint::load(&newest(&dir, &run)).unwrap().meta.step;
        assert!(step < 60, "too slow to be killed early: step {step}");
        ok(&dir, then, &["train", "--resume", &run, "--steps", "60"]);
        let difference = difference(&dir, &run, "one");
        assert!(difference < 1e-2, "{difference}");
        if then == 2 {
            assert_eq!(weights(&dir, &run), weights(&dir, "two"));
        }
    }
}

/// The tensors of a run's newest checkpoint.
fn weights(dir: &TestDir, run: &str) -> Vec<(String, Option<Vec<f32>>)> {
    let checkpoint = runs::checkpoint::load(&newest(dir, run)).unwrap();
    let values = |(name, tensor): (String, tensor::HostTensor)| (name, tensor.into_f32());
    checkpoint.tensors.into_iter().map(values).collect()
}

#[test]
fn an_interrupt_of_the_launcher_finishes_the_step_and_saves() {
    let dir = TestDir::new();
    for (name, then) in [("USR1", 1), ("INT", 2), ("TERM", 3)] {
        let run = format!("{name}-{then}");
        let launched = start(&dir, 2, &endless(&run));
        launched.wait_for_steps(&run);
        signal(&launched.launcher, name);
        let ended = launched.wait(END);
        // OpenMPI's launcher passes SIGUSR1 on, and returns what the ranks return. After SIGINT and
        // SIGTERM it ends the job itself: it sends SIGTERM a second later, kills after another one,
        // and returns 1 whatever the ranks do. MPICH's passes all three on, and returns 0 where its
        // own end overtakes the exit codes of the ranks.
        let hurries = is_open_mpi() && name != "USR1";
        let codes: &[i32] = match (is_open_mpi(), name) {
            (true, "USR1") => &[130],
            (true, _) => &[1],
            (false, _) => &[0, 130],
        };
        assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{name}: {}", ended.err);
        assert_eq!(ended.err.matches("finishing the step").count(), 1, "{name}: {}", ended.err);
        let done = logged_steps(&dir.path(&run)).len() as u64;
        let saved = runs::checkpoint::load(&newest(&dir, &run)).unwrap();
        // A loaded machine may be too slow for the second that OpenMPI gives.
        assert!(saved.meta.step == done || hurries && saved.meta.step < done);
        let steps = (done + 4).to_string();
        ok(&dir, then, &["train", "--resume", &run, "--steps", &steps]);
        assert_eq!(logged_steps(&dir.path(&run)), (1..=done + 4).collect::<Vec<_>>());
    }
}

/// Rank 0 alone draws grids, so an alert about them stops the run of all.
#[test]
fn all_ranks_return_the_exit_code_of_rank_0() {
    let dir = TestDir::new();
    ok(&dir, 2, &training("run", &["--sample-every", "3"]));
    // As after a grid that was far more diverse, and one that was not: the next one confirms it.
    let newest = newest(&dir, "run");
    let mut checkpoint = runs::checkpoint::load(&newest).unwrap();
    let monitor = &mut checkpoint.meta.state["monitor"];
    assert!(monitor["collapsed"].is_u64() && monitor["active"].is_array());
    monitor["collapsed"] = json!(1);
    monitor["active"] = json!([]);
    monitor["best_diversity"] = json!(9.0);
    monitor["reference"]["diversity"] = json!(9.0);
    runs::checkpoint::save(&newest, &checkpoint).unwrap();

    // OpenMPI's launcher kills the other ranks once one has ended with another code than 0.
    let script = "rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}; \"$0\" \"$@\"; echo $? > code-$rank; \
                  n=0; until [ -s code-0 ] && [ -s code-1 ] || [ $((n += 1)) -gt 100 ]; do \
                  sleep 0.1; done; exit $(cat code-$rank)";
    let ranks = ["-n", "2", "sh", "-c", script, env!("CARGO_BIN_EXE_dcgan")];
    let resume = ["train", "--resume", "run", "--steps", "60", "--on-collapse", "stop"];
    let ended = launch(&dir, &[&ranks[..], &resume].concat()).wait(RUN);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    for rank in 0..2 {
        let code = fs::read_to_string(dir.path(&format!("code-{rank}"))).unwrap();
        assert_eq!(code.trim(), "3", "rank {rank}: {}", ended.err);
    }
}

#[test]
fn a_run_goes_on_with_the_same_batches_on_another_number_of_ranks() {
    let dir = TestDir::new();
    dir.ok(&training("one", &["--steps", "12"]));
    ok(&dir, 2, &training("two", &[]));
    for ranks in [1, 2, 3] {
        let run = format!("on-{ranks}");
        let copied =
            Command::new("cp").args(["-r", "two", &run]).current_dir(dir.path("")).status();
        assert!(copied.unwrap().success());
        ok(&dir, ranks, &["train", "--resume", &run, "--steps", "12"]);
        let difference = difference(&dir, &run, "one");
        assert!(difference < 1e-3, "{ranks} ranks: {difference}");
    }
}
