//! Ranks of `mpirun` that are killed, end by a signal or fail with an error at any time. All others
//! end, the newest checkpoint is valid, and the run goes on with any number of ranks; with the same
//! number all along it ends like an undisturbed one.

use super::case::{Case, ChildProcess, ProcessExit, Setup, Stream};
use super::full_disks::Disk;
use super::jobs::{Job, OUT, STEPS, contents, has_checkpoint};
use super::{BoxError, copy};
use crate::mpirun::{Launcher, Transport};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// By when all ranks must have ended after a fault.
const END: Duration = Duration::from_secs(10);
/// How a message of an error begins.
const ERROR: &str = "error: ";
/// The number in the group, by OpenMPI's, MPICH's and PMIx's variable.
const RANK: &str = "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-$PMIX_RANK}}";

/// Undisturbed training by 2 and by 3 ranks.
pub type Undisturbed = [OnceCell<Job>; 2];

/// What happens to one rank.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A signal at any time. SIGABRT and SIGILL are the ends of a process with a bug; a SIGSEGV
    /// that is sent has no effect, since Rust's handler returns.
    Signal(Signal),
    /// A panic after this step, by the program's feature `fault-injection`.
    Panic(u64),
    /// An invalid flag, which this rank alone has.
    Flag,
    /// A disk without room for all that rank 0 writes.
    FullDisk,
}

/// Kills in even cases, panics in a half of the odd ones, and other faults in the rest.
pub fn run(case: &mut Case) -> Result<(), BoxError> {
    let disk = (case.index % 4 == 3 && case.rng.u8(..4) == 0)
        .then(|| Disk::mount(&case.work).ok())
        .flatten();
    let result = disturb(case, disk.as_ref());
    if result.is_err() && disk.is_some() {
        // What is on the disk would be gone with it.
        copy(&case.work, &case.dir.join("left"))?;
    }
    result
}

fn disturb(case: &mut Case, disk: Option<&Disk>) -> Result<(), BoxError> {
    let group = Group(Launcher::find(Path::new("mpirun"))?);
    let first = case.rng.usize(2..=3);
    let job = group.undisturbed(case.setup, first)?;
    let (mut ranks, keeps_number) = (first, case.rng.bool());
    let mut changed = false;
    for _ in 0..case.rng.u8(1..3) {
        let fault = match (case.index % 4, disk) {
            (0 | 2, _) => Fault::Signal(Signal::SIGKILL),
            (1, _) => Fault::Panic(case.rng.u64(newest_step(&case.work)..STEPS) + 1),
            (_, Some(disk)) => {
                let need: u64 = job.whole.values().map(|bytes| bytes.len() as u64).sum();
                disk.remount(&disk.room(case.rng.u64(..need))?)?;
                Fault::FullDisk
            }
            _ => [
                Fault::Signal(Signal::SIGABRT),
                Fault::Signal(Signal::SIGILL),
                Fault::Signal(Signal::SIGTERM),
                Fault::Flag,
            ][case.rng.usize(..4)],
        };
        let is_whole = group.disturb(case, job, ranks, fault)?;
        if let Some(disk) = disk {
            disk.make_room()?;
        }
        if has_checkpoint(&case.work) {
            newest_is_valid(&case.work)?;
        }
        if is_whole {
            break;
        }
        if !keeps_number {
            ranks = case.rng.usize(1..=3);
        }
        changed |= ranks != first;
    }
    let ended = group.start(case, job, ranks, "")?.wait(case)?;
    ended.code(&[0])?;
    newest_is_valid(&case.work)?;
    let found = contents(&case.work)?;
    if !changed {
        return job.compare(&found);
    }
    // Other numbers of ranks differ by rounding; no file is missing or left over.
    match job
        .whole
        .keys()
        .chain(found.keys())
        .find(|&name| job.whole.contains_key(name) != found.contains_key(name))
    {
        None => Ok(()),
        Some(name) => Err(format!("{name} is missing or left over").into()),
    }
}

/// Returns an error unless the newest checkpoint of the run can be loaded.
fn newest_is_valid(folder: &Path) -> Result<(), BoxError> {
    let checkpoints = folder.join(OUT).join("checkpoints");
    let newest = runs::checkpoint_retention::latest_valid(&checkpoints)?;
    match newest.skipped.first() {
        None => Ok(()),
        Some((path, error)) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// The step of the newest checkpoint of the run; 0 without one.
fn newest_step(folder: &Path) -> u64 {
    let checkpoints = folder.join(OUT).join("checkpoints");
    runs::checkpoint_retention::latest_valid(&checkpoints).map_or(0, |it| it.checkpoint.meta.step)
}

/// Starts ranks.
struct Group(Launcher);

impl Group {
    /// The job of undisturbed training by `ranks` ranks, which is done once.
    fn undisturbed<'a>(&self, setup: &'a Setup, ranks: usize) -> Result<&'a Job, BoxError> {
        let cell = &setup.by_ranks[ranks - 2];
        if let Some(job) = cell.get() {
            return Ok(job);
        }
        let mut case = Case::new(setup, &format!("whole/train-by-{ranks}"), 0, 0)?;
        let mut job = Job::by_ranks(setup);
        let mut running = self.start(&mut case, &job, ranks, "")?;
        running.wait_for(Stream::Out, "\n")?;
        let start = Instant::now();
        running.wait(&mut case)?.code(&[0])?;
        job.time = start.elapsed();
        job.whole = contents(&case.work)?;
        Ok(cell.get_or_init(|| job))
    }

    /// Starts the job as `ranks` ranks; each runs the shell commands `before`, with its number in
    /// `$rank`.
    fn start(
        &self,
        case: &mut Case,
        job: &Job,
        ranks: usize,
        before: &str,
    ) -> Result<ChildProcess, BoxError> {
        for rank in 0..ranks {
            let _ = fs::remove_file(pid_file(&case.dir, rank));
        }
        // Renamed, so that a number is read whole.
        let script = format!(
            "rank={RANK}; echo $$ > ../rank-$rank.new; mv ../rank-$rank.new ../rank-$rank.pid; \
             {before}exec \"$0\" \"$@\""
        );
        let args = job.args(&case.work);
        let shown = shlex::try_join(args.iter().map(String::as_str))?;
        let mut command = self.0.command(ranks, Transport::SharedMemory);
        // On a busy machine a rank that polls would keep the core from the one it waits for.
        command.env("OMPI_MCA_mpi_yield_when_idle", "1");
        command.args(["sh", "-c", &script]).arg(&case.setup.program).args(args);
        case.spawn(command, &format!("mpirun -n {ranks} {before}dcgan {shown}"))
    }

    /// Runs the job with a fault; returns whether it ended nevertheless, because the fault came
    /// too late.
    fn disturb(
        &self,
        case: &mut Case,
        job: &Job,
        ranks: usize,
        fault: Fault,
    ) -> Result<bool, BoxError> {
        let rank = case.rng.usize(..ranks);
        case.note(&format!("{fault:?} of rank {rank}:"));
        let before = match fault {
            Fault::Flag => format!("[ $rank = {rank} ] && set -- \"$@\" --steps none; "),
            Fault::Panic(step) => format!("[ $rank = {rank} ] && export DCGAN_PANIC_AT={step}; "),
            _ => String::new(),
        };
        let mut running = self.start(case, job, ranks, &before)?;
        if let Fault::Signal(signal) = fault {
            // Rank 0 prints once all have joined the group. What becomes of ranks that end before,
            // in MPI_Init, is up to the launcher; OpenMPI's may hang.
            running.wait_for(Stream::Out, "\n")?;
            case.sleep(job.time);
            if let Some(pid) = process(case, rank) {
                kill(pid, signal)?;
            }
        } else {
            running.wait_for(Stream::Err, ERROR)?;
        }
        let since = Instant::now();
        let ended = running.wait(case)?;
        let left: Vec<Pid> = (0..ranks).filter_map(|rank| wait_for_end(case, rank)).collect();
        let took = since.elapsed();
        for &pid in &left {
            kill(pid, Signal::SIGKILL)?;
        }
        if !left.is_empty() || took > END && !ended.status.success() {
            return Err(format!(
                "{} ranks were left {took:.1?} after {fault:?} of rank {rank} of {ranks}",
                left.len()
            )
            .into());
        }
        one_error_at_most(&ended, fault)?;
        match (ended.status.success(), fault) {
            (false, _) => Ok(false),
            // It came after the end, or there was room.
            (true, Fault::Signal(_) | Fault::FullDisk) => Ok(true),
            (true, Fault::Flag | Fault::Panic(_)) => {
                Err(format!("exit code 0 with {fault:?}").into())
            }
        }
    }
}

fn pid_file(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank-{rank}.pid"))
}

/// The process of a rank, unless it has ended: it works in the case's folder.
fn process(case: &Case, rank: usize) -> Option<Pid> {
    let number = fs::read_to_string(pid_file(&case.dir, rank)).ok()?;
    let number = number.trim();
    let folder = fs::read_link(format!("/proc/{number}/cwd")).ok()?;
    (folder == case.work).then_some(Pid::from_raw(number.parse().ok()?))
}

/// Waits until a rank has ended, which may be after the launcher; returns it if it does not.
fn wait_for_end(case: &Case, rank: usize) -> Option<Pid> {
    let begin = Instant::now();
    while let Some(pid) = process(case, rank) {
        if begin.elapsed() > END {
            return Some(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Returns an error if more than one rank has reported an error, or one has panicked by itself.
fn one_error_at_most(ended: &ProcessExit, fault: Fault) -> Result<(), BoxError> {
    let errors = ended.err.lines().filter(|line| line.starts_with(ERROR)).count();
    let panics = usize::from(matches!(fault, Fault::Panic(_)));
    if errors > 1 || ended.err.matches("panicked at").count() != panics {
        return Err(format!("not one line of error: {:?}", ended.err).into());
    }
    Ok(())
}
