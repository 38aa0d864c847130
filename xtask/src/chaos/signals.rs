//! INT, TERM and HUP at any time, once or twice, watched or ignored from the start.

use super::case::Case;
use super::{BoxError, files, kills};
use nix::sys::signal::{Signal, kill};
use std::time::Duration;

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// The exit code of a run that saved and stopped.
const INTERRUPTED: i32 = 130;

pub fn run(case: &mut Case) -> Result<(), BoxError> {
    let job = case.job();
    let signal = SIGNALS[case.rng.usize(..SIGNALS.len())];
    let ignored = case.rng.u8(..3) == 0;
    let twice = case.rng.u8(..3) == 0;
    let before = if ignored {
        format!("trap '' {}; ", signal.as_str().trim_start_matches("SIG"))
    } else {
        String::new()
    };
    let args = job.args(&case.work);
    let running = case.start(&before, &args)?;
    running.wait_for_exec();
    case.sleep(job.time);
    case.note(&format!("  {signal}"));
    // It may have ended, and is not waited for yet: its number is no other process's.
    kill(running.pid, signal)?;
    if twice {
        case.sleep(Duration::from_millis(400));
        kill(running.pid, signal)?;
    }
    let ended = running.wait(case)?;
    let died = std::os::unix::process::ExitStatusExt::signal(&ended.status) == Some(signal as i32);
    if ignored {
        ended.code(&[0])?;
    } else if !(died && ended.is_silent && ended.err.is_empty()) {
        // Only before the first line may the handler be missing.
        ended.code(&[0, INTERRUPTED])?;
    }
    kills::readable(case, job)?;
    if !twice && let Some((name, _)) = files(&case.work)?.iter().find(|f| f.0.ends_with(".tmp")) {
        return Err(format!("{name} is left over").into());
    }
    job.finish(case)
}
