//! The threads that compute and decode.

use crate::distributed;
use crate::error::CliError;
use std::sync::OnceLock;
use std::thread::available_parallelism;

/// Starts `count` threads, or one per core of this process; only the first call does. Without it
/// rayon starts its own with the first parallel loop, and panics where the system refuses them.
pub fn start(count: Option<u32>) -> Result<(), CliError> {
    let count = count.or_else(|| distributed::ranks().threads());
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        // 0 stands for one per core.
        let threads = count.unwrap_or(0) as usize;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|error| error.to_string())
    });
    started.clone().map_err(|error| {
        let cores = || available_parallelism().map_or(1, |cores| cores.get() as u32);
        let count = count.unwrap_or_else(cores);
        failure!(
            "cannot start threads ({count} wanted): {error}: raise the limit of processes and \
             threads (`ulimit -u`) or of memory (`ulimit -v`), or end other programs"
        )
    })
}
