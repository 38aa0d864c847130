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

/// Which rank gets what.
#[derive(Clone, Copy)]
pub(crate) enum Pattern {
    /// Of as many pieces of one length as there are ranks, rank i gets piece i.
    AllToAll,
    /// Every rank gets all values.
    AllGather,
}

impl MpiExchange {
    /// Starts to send `sent`; of every rank as many values arrive.
    #[track_caller]
    pub fn start(
        pattern: Pattern,
        communicator: Handle,
        world_size: usize,
        sent: Vec<f32>,
    ) -> Self {
        let len = match pattern {
            Pattern::AllToAll => {
                assert_eq!(sent.len() % world_size, 0, "all_to_all: pieces of one length");
                sent.len() / world_size
            }
            Pattern::AllGather => sent.len(),
        };
        let operation = match pattern {
            Pattern::AllToAll => ffi::MPI_Ialltoall,
            Pattern::AllGather => ffi::MPI_Iallgather,
        };
        let count = count(len);
        let mut received = vec![0.0; len * world_size];
        let mut request = Request::none();
        let guard = call();
        // SAFETY: `received` has `count` values for each rank, and `sent` has as many for each
        // (all-to-all) or for all (all-gather). They are neither read, changed nor freed before the
        // request is finished: the exchange owns them, and its `drop` waits.
        unsafe {
            operation(
                sent.as_ptr().cast(),
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
        Self { request, _sent: sent, received }
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
