//! Follows the system calls of a process with ptrace, and kills it at one of them.

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::process::Child;

/// Follows `child`, which waits for its standard input, with all its threads, and kills it at the
/// `nth` system call that changes files, before or `after` it is done. Returns the number of such
/// calls, and the exit code if the process ended by itself.
///
/// # Errors
/// Returns the error of ptrace, which a container may forbid.
pub fn follow(
    child: &mut Child,
    leader: Pid,
    nth: u64,
    after: bool,
) -> Result<(u64, Option<i32>), Errno> {
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(leader, options)?;
    // A seized process runs on until it is stopped; from then on it stops at each call.
    ptrace::interrupt(leader)?;
    drop(child.stdin.take());
    let mut inside = HashSet::new();
    let mut calls = 0;
    loop {
        let status = waitpid(None, Some(WaitPidFlag::__WALL))?;
        let deliver = match status {
            WaitStatus::Exited(pid, code) if pid == leader => return Ok((calls, Some(code))),
            WaitStatus::Signaled(pid, ..) if pid == leader => return Ok((calls, None)),
            WaitStatus::PtraceSyscall(pid) => {
                let entry = inside.insert(pid) || !inside.remove(&pid);
                calls += u64::from(entry && changes_files(pid));
                if calls >= nth && entry != after {
                    kill(leader, Signal::SIGKILL)?;
                }
                None
            }
            WaitStatus::Stopped(_, signal) if signal != Signal::SIGTRAP => Some(signal),
            _ => None,
        };
        match status.pid().map_or(Ok(()), |pid| ptrace::syscall(pid, deliver)) {
            // It was killed, or is a thread that has ended.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the system call that a stopped process is about to do changes files.
#[cfg(target_arch = "x86_64")]
fn changes_files(pid: Pid) -> bool {
    let Ok(registers) = ptrace::getregs(pid) else { return false };
    match registers.orig_rax.cast_signed() {
        // Not standard output and error.
        libc::SYS_write | libc::SYS_writev => registers.rdi > 2,
        libc::SYS_openat => registers.rdx & libc::O_CREAT as u64 != 0,
        libc::SYS_open => registers.rsi & libc::O_CREAT as u64 != 0,
        libc::SYS_pwrite64
        | libc::SYS_ftruncate
        | libc::SYS_fsync
        | libc::SYS_fdatasync
        | libc::SYS_flock
        | libc::SYS_fallocate
        | libc::SYS_copy_file_range
        | libc::SYS_mkdir
        | libc::SYS_mkdirat
        | libc::SYS_rename
        | libc::SYS_renameat
        | libc::SYS_renameat2
        | libc::SYS_link
        | libc::SYS_linkat
        | libc::SYS_unlink
        | libc::SYS_unlinkat
        | libc::SYS_rmdir => true,
        _ => false,
    }
}

/// On other processors every system call counts: their registers have other names.
#[cfg(not(target_arch = "x86_64"))]
fn changes_files(_: Pid) -> bool {
    true
}
