//! The transport between processes that MPI connects: a `tensor::distributed::Communicator` over
//! `MPI_COMM_WORLD`, for OpenMPI, MPICH and what is compatible with them.
//!
//! Without the feature `mpi` this crate is empty, so that the workspace is built without MPI.
//!
//! How a waiting rank treats its core is the library's choice. OpenMPI polls, and yields the core
//! between polls where `mpirun` started more ranks than there are slots (`--mca
//! mpi_yield_when_idle 1` makes it so everywhere). MPICH polls, and yields after some polls.

#![cfg(feature = "mpi")]

mod communicator;
mod exchange;

pub use communicator::{MpiCommunicator, MpiError, abort, finalize, join, library_version};
