//! Kills (SIGKILL) at any time and at any system call that changes files. The job, called again,
//! ends like an undisturbed one, and what a reader finds between is complete.

use super::case::Case;
use super::jobs::{Job, contents, has_checkpoint};
use super::{BoxError, files};
use nix::sys::signal::{Signal, kill};
use std::fs;

pub fn run(case: &mut Case) -> Result<(), BoxError> {
    let job = case.job();
    if case.rng.u8(..4) == 0 {
        job.put_older(case)?;
    }
    for _ in 0..case.rng.u8(1..5) {
        let args = job.args(&case.work);
        if job.calls > 0 && case.rng.bool() {
            let (nth, after) = (case.rng.u64(1..=job.calls), case.rng.bool());
            if !case.run_traced(&args, nth, after)?.1 {
                break;
            }
        } else {
            let running = case.start("", &args)?;
            case.sleep(job.time);
            kill(running.pid, Signal::SIGKILL)?;
            let ended = running.wait(case)?;
            if ended.status.code().is_some() {
                ended.code(&[0])?;
                break;
            }
        }
        readable(case, job)?;
    }
    if !job.trains() {
        // A killed process cannot remove it, and without a lock no other one knows that it is dead.
        for (_, path) in files(&case.work)?.iter().filter(|(name, _)| name.ends_with(".tmp")) {
            fs::remove_file(path)?;
        }
    }
    job.finish(case)
}

/// The run is listed; other outputs are the older ones or complete, except those with the name of
/// a temporary file.
pub fn readable(case: &mut Case, job: &Job) -> Result<(), BoxError> {
    if job.trains() {
        let codes: &[i32] = if has_checkpoint(&case.work) { &[0] } else { &[0, 1] };
        case.run("", &["runs", "--runs-dir", "."].map(str::to_owned))?.code(codes)?;
        return Ok(());
    }
    let older = contents(&case.setup.dir.join("older").join(job.name).join("work"))?;
    for (name, bytes) in contents(&case.work)? {
        let complete = [&job.whole, &older].iter().any(|files| files.get(&name) == Some(&bytes));
        if !complete && !is_temporary(&name) {
            return Err(format!("{name} is neither the older file nor the whole new one").into());
        }
    }
    Ok(())
}

/// Whether a file is named like one that is being written.
fn is_temporary(name: &str) -> bool {
    [".tmp", ".part"].iter().any(|ending| name.ends_with(ending))
}
