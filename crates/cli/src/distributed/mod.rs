//! This process as one rank of the group that `mpirun`, `mpiexec` or `srun` started.
//!
//! All ranks run the same command. Rank 0 alone prints and writes files, but for the images of
//! `sample --out DIR`, of which each rank writes its own. Before the training loop the ranks
//! [agree](Ranks::agree) on errors: the first one is printed once, and all ranks end with its exit
//! code. Any other error or panic of a rank may leave the others waiting for it, so that rank names
//! itself and [ends](fail) all.

mod cores;
mod launcher;
mod transport;

use crate::error::CliError;
use crate::output;
use launcher::Launch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use tensor::distributed::ProcessGroup;

static RANKS: OnceLock<Ranks> = OnceLock::new();

/// The exit code of a program that panicked, as the standard library has it.
const EXIT_PANICKED: u8 = 101;

/// An error in the training loop usually occurs on all ranks at once (a NaN reaches all). The other
/// ranks give rank 0 this time to report it and end them; longer than a launcher takes for it.
const ROOT_REPORTS_FIRST: Duration = Duration::from_secs(2);

/// The time that a launcher gets to forward the message of a rank that aborts: MPICH's sometimes
/// drops a message that it has not read by then.
const FORWARDING: Duration = Duration::from_millis(300);

/// The ranks, of which this process is one.
pub struct Ranks {
    group: ProcessGroup,
    /// The node of each rank.
    nodes: Vec<String>,
    /// The CPU threads of this rank, if there are others; else the number is not limited.
    threads: Option<u32>,
    /// What slows the ranks down.
    warning: Option<String>,
}

/// The ranks that [`join`] found.
pub fn ranks() -> &'static Ranks {
    RANKS.get_or_init(Ranks::single)
}

/// Joins the group, if this process was started as one of several: to be called before anything
/// else prints. Without a launcher MPI is not used at all.
///
/// # Errors
/// Prints why it is refused, once, and returns the exit code.
pub fn join() -> Result<(), ExitCode> {
    let launch = Launch::detect(|name| std::env::var(name).ok());
    let ranks = match launch.filter(|launch| launch.processes > 1) {
        None => Ranks::single(),
        Some(launch) => {
            let group = transport::connect(&launch).map_err(|refusal| {
                if launch.rank == 0 {
                    output::error(refusal);
                }
                transport::finalize();
                ExitCode::from(2)
            })?;
            if !group.is_root() {
                output::silence();
            }
            std::panic::set_hook(Box::new(|panic| {
                output::error(format!("{}: {panic}", ranks().own_name()));
            }));
            Ranks::new(group, launch.is_open_mpi())
        }
    };
    let _ = RANKS.set(ranks);
    Ok(())
}

/// Runs the command; a panic on one of several ranks ends all, after the hook has named the rank.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> T {
    if ranks().is_single() {
        return work();
    }
    let end = |_: Box<dyn Any + Send>| abort_after_message(EXIT_PANICKED);
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(end)
}

/// Prints the error of a command and returns the exit code, if all ranks end with it; ends all
/// ranks otherwise.
pub fn fail(error: &CliError) -> ExitCode {
    let ranks = ranks();
    match error {
        CliError::Agreed { message: None, .. } => {}
        _ if ranks.is_single() || matches!(error, CliError::Agreed { .. }) => output::error(error),
        _ => {
            if !ranks.is_root() {
                thread::sleep(ROOT_REPORTS_FIRST);
            }
            output::error(format!("{}: {error}", ranks.own_name()));
            abort_after_message(error.exit_code())
        }
    }
    ExitCode::from(error.exit_code())
}

/// Ends all ranks, once the launcher has had the time to show what this one wrote.
fn abort_after_message(code: u8) -> ! {
    thread::sleep(FORWARDING);
    transport::abort(code.into())
}

/// Leaves the group, once all ranks have come here; `code` is the exit code of all. It becomes 1
/// where output was lost, which rank 0 alone has.
pub fn finish(code: ExitCode) -> ExitCode {
    let is_lost = ranks().group().any(output::finish(code) != code);
    transport::finalize();
    if is_lost { ExitCode::FAILURE } else { code }
}

/// Ends the other ranks too, if there are any.
pub fn abort_group(code: u8) {
    if RANKS.get().is_some_and(|ranks| !ranks.is_single()) {
        transport::abort(code.into());
    }
}

impl Ranks {
    fn single() -> Self {
        let group = ProcessGroup::default();
        Self { group, nodes: vec![String::new()], threads: None, warning: None }
    }

    /// All ranks call this together.
    fn new(group: ProcessGroup, is_open_mpi: bool) -> Self {
        let nodes = group.nodes();
        let cores = cores::share(&group, &nodes);
        let warning = cores.warning.filter(|_| is_open_mpi);
        Self { group, nodes, threads: Some(cores.threads), warning }
    }

    /// The group, for the training step and the dataset.
    pub fn group(&self) -> &ProcessGroup {
        &self.group
    }

    /// Whether this is the only process.
    pub fn is_single(&self) -> bool {
        self.group.is_single()
    }

    /// Whether this is rank 0, which alone prints.
    pub fn is_root(&self) -> bool {
        self.group.is_root()
    }

    /// The default number of CPU threads; `None` for one per core.
    pub fn threads(&self) -> Option<u32> {
        self.threads
    }

    /// What slows the ranks down, if the launcher's options do.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// The names of the nodes, each once.
    pub fn distinct_nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = self.nodes.iter().map(String::as_str).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// `rank 1 (node-b)`.
    pub fn name(&self, rank: usize) -> String {
        format!("rank {rank} ({})", self.nodes[rank])
    }

    /// The name of this rank's node.
    pub fn own_node(&self) -> &str {
        &self.nodes[self.group.rank()]
    }

    fn own_name(&self) -> String {
        self.name(self.group.rank())
    }

    /// The lowest rank that has an exit code, with it; `None` if none has. All ranks call this
    /// together.
    pub fn first_failure(&self, code: Option<u8>) -> Option<(usize, u8)> {
        let codes = self.group.all_gather_f64(&[code.map_or(-1.0, f64::from)]);
        let rank = codes.iter().position(|&code| code >= 0.0)?;
        Some((rank, codes[rank] as u8))
    }

    /// The result, if all ranks have one. If some have errors, that of the first one becomes the
    /// error of all, which only it prints: they end together. All ranks call this together.
    ///
    /// # Errors
    /// Returns [`CliError::Agreed`], or with a single process the error itself.
    pub fn agree<T>(&self, result: Result<T, impl Into<CliError>>) -> Result<T, CliError> {
        let result = result.map_err(Into::into);
        // All ranks have this error already.
        if self.is_single() || matches!(result, Err(CliError::Agreed { .. })) {
            return result;
        }
        let failure = self.first_failure(result.as_ref().err().map(CliError::exit_code));
        let Some((rank, code)) = failure else { return result };
        let message = match result {
            Err(error) if rank == self.group.rank() => Some(match rank {
                0 => error.to_string(),
                _ => format!("{}: {error}", self.own_name()),
            }),
            _ => None,
        };
        Err(CliError::Agreed { code, message })
    }

    /// What `f` returns on rank 0, which alone runs it; `None` on the others. All ranks call this
    /// together.
    ///
    /// # Errors
    /// As [`agree`](Self::agree).
    pub fn on_root<T>(
        &self,
        f: impl FnOnce() -> Result<T, CliError>,
    ) -> Result<Option<T>, CliError> {
        self.agree(if self.is_root() { f().map(Some) } else { Ok(None) })
    }

    /// The least of the numbers of all ranks, up to 2⁵³. All ranks call this together.
    pub fn least(&self, own: u64) -> u64 {
        match self.is_single() {
            true => own,
            false => {
                self.group.all_gather_f64(&[own as f64]).into_iter().fold(f64::MAX, f64::min) as u64
            }
        }
    }

    /// The value of rank 0. All ranks call this together.
    ///
    /// # Panics
    /// Panics if the value cannot be written as JSON and read again.
    pub fn broadcast<T: Serialize + DeserializeOwned>(&self, own: T) -> T {
        if self.is_single() {
            return own;
        }
        let message = serde_json::to_vec(&own).expect("a value that JSON can hold");
        serde_json::from_slice(&self.group.broadcast(message)).expect("the value of rank 0")
    }

    /// Refuses a text that is not the same on all ranks. `error` gets the ranks that differ from
    /// rank 0 by name, and the text of the first of them. All ranks call this together.
    ///
    /// # Errors
    /// Returns what `error` returns, as [`agree`](Self::agree) does.
    pub fn require_same(
        &self,
        own: &str,
        error: impl FnOnce(&str, &str) -> CliError,
    ) -> Result<(), CliError> {
        let all = self.group.all_gather(own.as_bytes());
        let others: Vec<usize> = (1..all.len()).filter(|&rank| all[rank] != all[0]).collect();
        let Some(&first) = others.first() else { return Ok(()) };
        let names: Vec<String> = others.iter().map(|&rank| self.name(rank)).collect();
        self.agree(Err(error(&names.join(", "), &String::from_utf8_lossy(&all[first]))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::distributed::run_on_threads;

    fn on_threads<T: Send>(count: usize, f: impl Fn(&Ranks) -> T + Sync) -> Vec<T> {
        run_on_threads(count, |group| f(&Ranks::new(group, false)))
    }

    #[test]
    fn the_first_error_is_told_once_and_becomes_that_of_all() {
        let agreed = |failing: &[usize]| {
            on_threads(3, |ranks| {
                let rank = ranks.group.rank();
                let own = match failing.contains(&rank) {
                    true => Err(usage!("no {rank}")),
                    false => Ok(rank),
                };
                // An error of all is not asked for again.
                match ranks.agree(ranks.agree(own)) {
                    Ok(value) => Ok(value),
                    Err(CliError::Agreed { code, message }) => Err((code, message)),
                    Err(other) => panic!("{other}"),
                }
            })
        };
        assert_eq!(agreed(&[]), [Ok(0), Ok(1), Ok(2)]);
        let all = [Err((2, Some("no 0".to_owned()))), Err((2, None)), Err((2, None))];
        assert_eq!(agreed(&[0, 1, 2]), all);
        let named = "rank 1 (threads): no 1".to_owned();
        assert_eq!(agreed(&[1, 2]), [Err((2, None)), Err((2, Some(named))), Err((2, None))]);
    }

    #[test]
    fn only_the_root_works_and_differences_are_named() {
        let results = on_threads(3, |ranks| {
            let rank = ranks.group.rank();
            let made = ranks.on_root(|| Ok(rank)).unwrap();
            let text = ranks.broadcast(format!("text {rank}"));
            let same = ranks.require_same("avx2", |_, _| failure!("never")).is_ok();
            let own = ["avx512", "avx2", "portable"][rank];
            let refused = ranks.require_same(own, |names, other| failure!("{names}: {other}"));
            (made, text, same, refused.unwrap_err().to_string())
        });
        let text = "text 0".to_owned();
        let named = "rank 1 (threads), rank 2 (threads): avx2".to_owned();
        assert_eq!(results[0], (Some(0), text.clone(), true, named));
        assert_eq!(results[2], (None, text, true, String::new()));
    }

    #[test]
    fn a_single_process_keeps_its_errors() {
        let ranks = Ranks::single();
        assert!(matches!(ranks.agree::<()>(Err(usage!("no"))), Err(CliError::Usage(_))));
        assert_eq!(ranks.first_failure(Some(2)), Some((0, 2)));
        assert_eq!((ranks.threads(), ranks.first_failure(None)), (None, None));
    }
}
