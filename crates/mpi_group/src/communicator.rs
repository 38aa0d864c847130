//! Joining the group, its blocking operations, and both ends of a process.

use crate::exchange::{MpiExchange, Pattern};
use mpi::environment::{self, Threading};
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::{Communicator as _, SimpleCommunicator};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tensor::distributed::{Communicator, Exchange};

/// Why this process could not join the group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum MpiError {
    #[error("MPI is initialized already: a process joins its group once")]
    AlreadyInitialized,
    #[error(
        "{library} lets threads call it as {provided:?} only: Serialized or Multiple is needed"
    )]
    Threads { library: String, provided: Threading },
}

/// Whether the library must be called by one thread at a time.
static SERIALIZED: AtomicBool = AtomicBool::new(false);
static CALLS: Mutex<()> = Mutex::new(());

/// Keeps other threads out of the library while the guard lives, if the library needs that.
pub(crate) fn call() -> Option<MutexGuard<'static, ()>> {
    let serialized = SERIALIZED.load(Ordering::Relaxed);
    serialized.then(|| CALLS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A handle of the library.
#[derive(Clone, Copy)]
pub(crate) struct Handle(pub ffi::MPI_Comm);

// SAFETY: a handle is a number or an address that only the library uses. The library may be called
// by any thread, one at a time if it asks for that (`call`).
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// Takes over a communicator, which is never freed: it is used until the process ends.
    fn new(communicator: SimpleCommunicator) -> Self {
        let raw = communicator.as_raw();
        std::mem::forget(communicator);
        Self(raw)
    }
}

/// The processes that one call of `mpirun`, `mpiexec` or `srun` started. An operation that fails
/// ends all of them with a message of the library.
pub struct MpiCommunicator {
    rank: usize,
    world_size: usize,
    local_rank: usize,
    local_size: usize,
    node: String,
    blocking: Handle,
    all_to_all: Handle,
    all_gather: Handle,
}

/// Initializes MPI and joins the group of all processes that were started together.
///
/// From then on a process must end by [`finalize`] on all ranks, or by [`abort`] (after an error of
/// this function, too): one that only returns from `main` or panics leaves the others waiting.
///
/// # Errors
/// Fails if MPI was initialized before, or if its calls are bound to one thread.
pub fn join() -> Result<MpiCommunicator, MpiError> {
    let (universe, provided) = environment::initialize_with_threading(Threading::Multiple)
        .ok_or(MpiError::AlreadyInitialized)?;
    let world = universe.world();
    // Dropping it would finalize MPI and wait for the other ranks.
    std::mem::forget(universe);
    if provided < Threading::Serialized {
        return Err(MpiError::Threads { library: library_version(), provided });
    }
    SERIALIZED.store(provided == Threading::Serialized, Ordering::Relaxed);
    let local = world.split_shared(world.rank());
    let index = |value: c_int| usize::try_from(value).expect("a rank or a size");
    Ok(MpiCommunicator {
        rank: index(world.rank()),
        world_size: index(world.size()),
        local_rank: index(local.rank()),
        local_size: index(local.size()),
        node: environment::processor_name().unwrap_or_else(|_| "unnamed node".into()),
        // One communicator for each kind of calls keeps their orders apart.
        blocking: Handle::new(world.duplicate()),
        all_to_all: Handle::new(world.duplicate()),
        all_gather: Handle::new(world.duplicate()),
    })
}

/// Ends MPI once all ranks have called this. No operation of the communicator may follow, and no
/// operation may be unfinished. Does nothing in a process that has not joined.
pub fn finalize() {
    if !running() {
        return;
    }
    let _call = call();
    // SAFETY: the library is initialized and not finalized.
    unsafe {
        ffi::MPI_Barrier(ffi::RSMPI_COMM_WORLD);
        ffi::MPI_Finalize();
    }
}

/// Ends all processes of the group; the launcher returns `code`. In a process that has not joined,
/// or has left by [`finalize`], ends this process alone.
pub fn abort(code: i32) -> ! {
    if running() {
        // Not under the lock of `call`: another thread may hold it and wait for ever.
        // SAFETY: the library is initialized and not finalized.
        unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    }
    std::process::exit(code)
}

/// Whether MPI is initialized and not finalized.
fn running() -> bool {
    environment::is_initialized() && !environment::is_finalized()
}

/// The name and version of the MPI library, on one line. May be called before [`join`].
pub fn library_version() -> String {
    let text = environment::library_version().unwrap_or_default();
    // MPICH's has a line for each option that it was built with.
    let first = text.lines().next().unwrap_or_default();
    first.trim_end_matches('\0').split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The number of elements of a message as MPI counts them.
///
/// # Panics
/// Panics if there are 2³¹ or more.
#[track_caller]
pub(crate) fn count(len: usize) -> c_int {
    c_int::try_from(len).expect("a message of fewer than 2^31 elements")
}

impl Communicator for MpiCommunicator {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn local_size(&self) -> usize {
        self.local_size
    }

    fn node(&self) -> String {
        self.node.clone()
    }

    fn all_gather(&self, own: &[u8], all: &mut [u8]) {
        assert_eq!(all.len(), own.len() * self.world_size, "all_gather: room for all messages");
        let (count, _call) = (count(own.len()), call());
        // SAFETY: `own` has `count` bytes, `all` as many for each rank; the call blocks.
        unsafe {
            ffi::MPI_Allgather(
                own.as_ptr().cast(),
                count,
                ffi::RSMPI_UINT8_T,
                all.as_mut_ptr().cast(),
                count,
                ffi::RSMPI_UINT8_T,
                self.blocking.0,
            );
        }
    }

    fn broadcast(&self, root: usize, message: &mut [u8]) {
        let (count, root, _call) = (count(message.len()), count(root), call());
        // SAFETY: `message` has `count` bytes; the call blocks.
        unsafe {
            ffi::MPI_Bcast(
                message.as_mut_ptr().cast(),
                count,
                ffi::RSMPI_UINT8_T,
                root,
                self.blocking.0,
            );
        }
    }

    fn barrier(&self) {
        let _call = call();
        // SAFETY: the library is initialized: there is no communicator before.
        unsafe { ffi::MPI_Barrier(self.blocking.0) };
    }

    fn start_all_to_all(&self, pieces: Vec<f32>) -> Box<dyn Exchange> {
        Box::new(MpiExchange::start(Pattern::AllToAll, self.all_to_all, self.world_size, pieces))
    }

    fn start_all_gather(&self, own: Vec<f32>) -> Box<dyn Exchange> {
        Box::new(MpiExchange::start(Pattern::AllGather, self.all_gather, self.world_size, own))
    }
}
