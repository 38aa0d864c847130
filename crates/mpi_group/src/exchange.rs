//! Operations that go on while the process computes.

use crate::communicator::{Handle, call, count};
use mpi::ffi;
use std::ffi::c_int;
use tensor::distributed::Exchange;

/// A collective operation that MPI has begun. It owns both buffers until MPI has finished with
/// them.
pub(crate) struct MpiExchange {
    request: Request,
    /// What MPI sends; only kept.
    _sent: Vec<f32>,
    received: Vec<f32>,
}

struct Request(ffi::MPI_Request);

// SAFETY: a handle is a number or an address that only the library uses, and it may be called by
// any thread, one at a time if it asks for that (`call`).
unsafe impl Send for Request {}

impl Request {
    fn none() -> Self {
        // SAFETY: a constant of the library.
        Self(unsafe { ffi::RSMPI_REQUEST_NULL })
    }

    /// Whether the operation is finished; the request is empty then.
    fn test(&mut self) -> bool {
        let (mut done, _call): (c_int, _) = (0, call());
        // SAFETY: the request is active or empty, and the results are written before the call
        // returns.
        unsafe { ffi::MPI_Test(&mut self.0, &mut done, ffi::RSMPI_STATUS_IGNORE) };
        done != 0
    }

    /// Waits until the operation is finished; the request is empty then.
    fn wait(&mut self) {
        let _call = call();
        // SAFETY: the request is active or empty.
        unsafe { ffi::MPI_Wait(&mut self.0, ffi::RSMPI_STATUS_IGNORE) };
    }
}

impl MpiExchange {
    /// Piece i of `pieces` goes to rank i.
    #[track_caller]
    pub fn all_to_all(communicator: Handle, world_size: usize, pieces: Vec<f32>) -> Self {
        assert_eq!(pieces.len() % world_size, 0, "all_to_all: pieces of one length");
        let count = count(pieces.len() / world_size);
        let mut received = vec![0.0; pieces.len()];
        let mut request = Request::none();
        let guard = call();
        // SAFETY: both buffers have `count` values for each rank. They are neither read, changed nor
        // freed before the request is finished: the exchange owns them, and its `drop` waits.
        unsafe {
            ffi::MPI_Ialltoall(
                pieces.as_ptr().cast(),
                count,
                ffi::RSMPI_FLOAT,
                received.as_mut_ptr().cast(),
                count,
                ffi::RSMPI_FLOAT,
                communicator.0,
                &mut request.0,
            );
        }
        drop(guard);
        Self { request, _sent: pieces, received }
    }

    /// `own` goes to all ranks.
    #[track_caller]
    pub fn all_gather(communicator: Handle, world_size: usize, own: Vec<f32>) -> Self {
        let count = count(own.len());
        let mut received = vec![0.0; own.len() * world_size];
        let mut request = Request::none();
        let guard = call();
        // SAFETY: `own` has `count` values, and `received` as many for each rank. They are neither
        // read, changed nor freed before the request is finished: the exchange owns them, and its
        // `drop` waits.
        unsafe {
            ffi::MPI_Iallgather(
                own.as_ptr().cast(),
                count,
                ffi::RSMPI_FLOAT,
                received.as_mut_ptr().cast(),
                count,
                ffi::RSMPI_FLOAT,
                communicator.0,
                &mut request.0,
            );
        }
        drop(guard);
        Self { request, _sent: own, received }
    }
}

impl Exchange for MpiExchange {
    fn is_done(&mut self) -> bool {
        self.request.test()
    }

    fn wait(mut self: Box<Self>) -> Vec<f32> {
        self.request.wait();
        std::mem::take(&mut self.received)
    }
}

impl Drop for MpiExchange {
    /// Waits: MPI may still use the buffers.
    fn drop(&mut self) {
        self.request.wait();
    }
}
