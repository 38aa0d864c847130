//! MPI, or its absence.

#[cfg(feature = "mpi")]
pub use with_mpi::*;
#[cfg(not(feature = "mpi"))]
pub use without_mpi::*;

#[cfg(feature = "mpi")]
mod with_mpi {
    use crate::distributed::Launch;
    pub use mpi_group::{abort, finalize};
    use tensor::distributed::{Communicator, ProcessGroup};

    /// Joins the group, or returns the refusal.
    pub fn connect(launch: &Launch) -> Result<ProcessGroup, String> {
        let communicator = mpi_group::join().map_err(|error| error.to_string())?;
        let size = communicator.world_size();
        match launch.other_size(size, &mpi_group::library_version()) {
            Some(refusal) => Err(refusal),
            None => Ok(ProcessGroup::new(communicator)),
        }
    }
}

#[cfg(not(feature = "mpi"))]
mod without_mpi {
    use crate::distributed::Launch;
    use tensor::distributed::ProcessGroup;

    /// Returns the refusal.
    pub fn connect(launch: &Launch) -> Result<ProcessGroup, String> {
        Err(launch.without_mpi())
    }

    /// Ends this process, which is the only one.
    pub fn abort(code: i32) -> ! {
        std::process::exit(code)
    }

    /// There is no group to leave.
    pub fn finalize() {}
}
