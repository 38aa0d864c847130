//! An all-reduce that goes on while its process computes.

use super::{Exchange, Members, ProcessGroup, start_scatter, sum_parts};
use std::sync::atomic::{AtomicU64, Ordering};

/// A sum over all ranks that [`ProcessGroup::start_all_reduce`] has started: each rank gets its
/// chunk of everybody's values, adds them in the order of the ranks, and sends the sums to all.
///
/// The moment when the chunks have arrived differs between ranks. The order in which sums are sent
/// does not: it is that in which the all-reduces were started. In the same order each must be
/// [finished](Self::wait).
#[must_use = "`wait` returns the sums"]
pub struct PendingAllReduce {
    group: ProcessGroup,
    len: usize,
    state: State,
}

enum State {
    /// The chunks of the all-reduce of this number are on their way.
    Scattering(Box<dyn Exchange>, u64),
    /// The sums are on their way.
    Gathering(Box<dyn Exchange>),
    /// There is no other rank.
    Done(Vec<f32>),
}

/// The numbers of pending all-reduces of a group so far.
#[derive(Default)]
pub(super) struct Counts {
    /// Those that were started.
    started: AtomicU64,
    /// Those whose sums were sent.
    sent: AtomicU64,
}

impl Counts {
    /// Whether the sums of this all-reduce, counted from 0, are the next to be sent.
    fn is_next(&self, number: u64) -> bool {
        self.sent.load(Ordering::Relaxed) == number
    }
}

impl PendingAllReduce {
    pub(super) fn start(group: ProcessGroup, values: Vec<f32>) -> Self {
        let len = values.len();
        let state = match group.members() {
            Some(Members { communicator, pending, .. }) if len > 0 => {
                let number = pending.started.fetch_add(1, Ordering::Relaxed);
                let exchange = group.timed(|| start_scatter(&**communicator, values));
                State::Scattering(exchange, number)
            }
            _ => State::Done(values),
        };
        Self { group, len, state }
    }

    /// Lets the transport work, and returns whether the sums are on their way: they are sent once
    /// the chunks have arrived and the sums of all that were started earlier are on their way.
    pub fn make_progress(&mut self) -> bool {
        let group = self.group.clone();
        group.timed(|| {
            if let State::Scattering(exchange, number) = &mut self.state
                && exchange.is_done()
                && group.members().is_some_and(|members| members.pending.is_next(*number))
            {
                self.gather();
            }
            if let State::Gathering(exchange) = &mut self.state {
                exchange.is_done();
            }
        });
        !matches!(self.state, State::Scattering(..))
    }

    /// Adds up the chunks and starts to send the sums.
    fn gather(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Done(Vec::new()));
        self.state = match (state, self.group.members()) {
            (State::Scattering(exchange, number), Some(Members { communicator, pending, .. })) => {
                assert!(
                    pending.is_next(number),
                    "PendingAllReduce: an all-reduce that was started earlier is not finished"
                );
                let sums = sum_parts(exchange.wait(), self.group.world_size());
                pending.sent.fetch_add(1, Ordering::Relaxed);
                State::Gathering(communicator.start_all_gather(sums))
            }
            (other, _) => other,
        };
    }

    /// Waits for the sums.
    ///
    /// # Panics
    /// Panics if an all-reduce of the group that was started earlier is not finished.
    pub fn wait(mut self) -> Vec<f32> {
        let group = self.group.clone();
        group.timed(|| {
            self.gather();
            match self.state {
                State::Gathering(exchange) => {
                    let mut sums = exchange.wait();
                    sums.truncate(self.len);
                    sums
                }
                State::Done(sums) => sums,
                State::Scattering(..) => unreachable!("`gather` ends the first half"),
            }
        })
    }
}
