//! A case: its folder, its random numbers, and the commands that it runs.

use super::jobs::Job;
use super::mutations::Input;
use super::{BoxError, trace};
use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// No command of a case works as long as this.
const LIMIT: Duration = Duration::from_secs(60);

/// The undisturbed jobs that cases are compared with, and the inputs that they damage.
pub struct Setup {
    pub program: PathBuf,
    /// The folder of the campaign.
    pub dir: PathBuf,
    pub jobs: Vec<Job>,
    pub inputs: Vec<Input>,
    /// Training by several ranks, made for the first case that needs it.
    #[cfg(feature = "mpi")]
    pub by_ranks: super::ranks::Undisturbed,
}

impl Setup {
    pub fn new(program: PathBuf, dir: &Path) -> Result<Self, BoxError> {
        let mut setup = Self {
            program,
            dir: dir.to_owned(),
            jobs: Vec::new(),
            inputs: Vec::new(),
            #[cfg(feature = "mpi")]
            by_ranks: Default::default(),
        };
        super::jobs::undisturbed(&mut setup)?;
        setup.inputs = super::mutations::inputs(&setup)?;
        Ok(setup)
    }

    /// The folder with the output of an undisturbed job.
    pub fn whole(&self, job: &str) -> PathBuf {
        self.dir.join("whole").join(job).join("work")
    }
}

/// A case: a folder, random numbers and a record of the commands.
pub struct Case<'a> {
    pub setup: &'a Setup,
    pub index: u64,
    pub rng: Rng,
    pub dir: PathBuf,
    /// The folder in `dir` that holds the output and nothing else.
    pub work: PathBuf,
    log: String,
}

impl<'a> Case<'a> {
    pub fn new(setup: &'a Setup, name: &str, index: u64, seed: u64) -> Result<Self, BoxError> {
        let dir = setup.dir.join(name);
        let work = dir.join("work");
        fs::create_dir_all(&work)?;
        Ok(Self { setup, index, rng: Rng::with_seed(seed), dir, work, log: String::new() })
    }

    /// Writes down how to reproduce the case, and what it did.
    pub fn keep(&self, head: &str) -> Result<(), BoxError> {
        Ok(fs::write(self.dir.join("case.txt"), format!("{head}\n\n{}", self.log))?)
    }

    /// Adds a line to the record.
    pub fn note(&mut self, text: &str) {
        self.log.push_str(text);
        self.log.push('\n');
    }

    /// Training half of the time, else another job.
    pub fn job(&mut self) -> &'a Job {
        let jobs = &self.setup.jobs;
        if self.rng.bool() { &jobs[0] } else { &jobs[self.rng.usize(1..jobs.len())] }
    }

    /// Sleeps for a part of a duration.
    pub fn sleep(&mut self, at_most: Duration) {
        let time = at_most.mul_f64(self.rng.f64());
        self.note(&format!("  after {time:?}:"));
        std::thread::sleep(time);
    }

    /// Starts `dcgan` in the work folder, after the shell has run `before`, such as `ulimit -v N`.
    pub fn start(&mut self, before: &str, args: &[String]) -> Result<ChildProcess, BoxError> {
        let shown = shlex::try_join(args.iter().map(String::as_str))?;
        let script = format!("{before}exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(&self.setup.program).args(args);
        self.spawn(command, &format!("{before}dcgan {shown}"))
    }

    /// Starts a command in the work folder, recorded as `shown`.
    pub fn spawn(&mut self, mut command: Command, shown: &str) -> Result<ChildProcess, BoxError> {
        writeln!(self.log, "{shown}")?;
        let [out, err] = ["stdout.txt", "stderr.txt"].map(|name| self.dir.join(name));
        let child = command
            .current_dir(&self.work)
            // The memory that threads reserve would otherwise depend on the number of cores.
            .envs([("RAYON_NUM_THREADS", "2"), ("MALLOC_ARENA_MAX", "2")])
            .stdin(Stdio::piped())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()?;
        let (end, ended) = channel();
        let pid = Pid::from_raw(child.id().try_into()?);
        std::thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Ok(ChildProcess { child, pid, out, err, _end: end })
    }

    /// Runs `dcgan` to its end.
    pub fn run(&mut self, before: &str, args: &[String]) -> Result<ProcessExit, BoxError> {
        self.start(before, args)?.wait(self)
    }

    /// Runs `dcgan` and kills it at the `nth` system call that changes files, before or `after` it;
    /// returns the number of such calls, and whether it was killed.
    pub fn run_traced(
        &mut self,
        args: &[String],
        nth: u64,
        after: bool,
    ) -> Result<(u64, bool), BoxError> {
        // The shell waits until it is followed.
        let mut running = self.start("read _; ", args)?;
        let (calls, code) = trace::follow(&mut running.child, running.pid, nth, after)?;
        writeln!(self.log, "  {calls} calls that change files, then exit code {code:?}")?;
        match code {
            None if calls < nth => Err(format!("no end within {LIMIT:?}"))?,
            None | Some(0) => Ok((calls, code.is_none())),
            Some(code) => Err(format!("exit code {code}: {}", fs::read_to_string(running.err)?))?,
        }
    }
}

/// An output of a process.
#[cfg(feature = "mpi")]
pub enum Stream {
    Out,
    Err,
}

/// A process that is killed after a time limit.
pub struct ChildProcess {
    child: Child,
    pub pid: Pid,
    out: PathBuf,
    err: PathBuf,
    /// Dropped at its end.
    _end: Sender<()>,
}

impl ChildProcess {
    /// Waits until the shell has become the program, so that signals reach that.
    pub fn wait_for_exec(&self) {
        let process = PathBuf::from(format!("/proc/{}", self.pid));
        // While a program is being loaded its command line is empty, as that of a process that has
        // ended, which has no program.
        let is_shell = |line: &[u8]| {
            line.starts_with(b"sh\0")
                || line.is_empty() && fs::read_link(process.join("exe")).is_ok()
        };
        while fs::read(process.join("cmdline")).is_ok_and(|line| is_shell(&line)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it has written a text to a stream, or has ended.
    #[cfg(feature = "mpi")]
    pub fn wait_for(&mut self, stream: Stream, text: &str) -> Result<(), BoxError> {
        let path = match stream {
            Stream::Out => &self.out,
            Stream::Err => &self.err,
        };
        while !String::from_utf8_lossy(&fs::read(path)?).contains(text)
            && self.child.try_wait()?.is_none()
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(mut self, case: &mut Case) -> Result<ProcessExit, BoxError> {
        let status = self.child.wait()?;
        let err = String::from_utf8_lossy(&fs::read(self.err)?).into_owned();
        let ended = ProcessExit { status, err, is_silent: fs::metadata(self.out)?.len() == 0 };
        writeln!(case.log, "  {status}: {}", ended.err.trim_end())?;
        Ok(ended)
    }
}

/// How a process ended, its standard error, and whether its standard output is empty.
pub struct ProcessExit {
    pub status: ExitStatus,
    pub err: String,
    pub is_silent: bool,
}

impl ProcessExit {
    /// The exit code, which must be one of `codes`, with an error of one line for 1 to 3.
    pub fn code(&self, codes: &[i32]) -> Result<i32, BoxError> {
        let Some(code) = self.status.code().filter(|code| codes.contains(code)) else {
            return Err(format!("{}, not {codes:?}: {}", self.status, self.err.trim_end()).into());
        };
        let errors = self.err.lines().filter(|line| line.starts_with("error: ")).count();
        let last = self.err.lines().last().is_some_and(|line| line.starts_with("error: "));
        if (1..=3).contains(&code) && (errors != 1 || !last) {
            return Err(format!("not one line of error: {:?}", self.err).into());
        }
        if self.err.contains("panicked at") {
            return Err(format!("a panic: {}", self.err).into());
        }
        Ok(code)
    }
}
