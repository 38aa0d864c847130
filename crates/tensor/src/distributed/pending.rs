//! An all-reduce that goes on while its process computes.

use super::{Exchange, ProcessGroup};

/// A sum over all ranks that [`ProcessGroup::start_all_reduce`] has started: each rank gets its
/// chunk of everybody's values, adds them in the order of the ranks, and sends the sums to all.
///
/// Sums that overlap must be [finished](Self::wait) in the order in which they were started.
#[must_use = "`wait` returns the sums"]
pub struct PendingAllReduce {
    group: ProcessGroup,
    len: usize,
    state: State,
}

enum State {
    /// The chunks are on their way.
    Scattering(Box<dyn Exchange>),
    /// The sums are on their way.
    Gathering(Box<dyn Exchange>),
    /// There is no other rank.
    Done(Vec<f32>),
}

impl PendingAllReduce {
    pub(super) fn start(group: ProcessGroup, mut values: Vec<f32>) -> Self {
        let len = values.len();
        let state = match group.others() {
            Some(others) if len > 0 => {
                let chunk = len.div_ceil(others.world_size());
                values.resize(chunk * others.world_size(), 0.0);
                State::Scattering(group.timed(|| others.start_all_to_all(values)))
            }
            _ => State::Done(values),
        };
        Self { group, len, state }
    }

    /// Lets the transport work, and returns whether the chunks have arrived and the sums are on
    /// their way. Of several overlapping sums, each may call this once it is true of those before:
    /// all ranks must send their sums in the same order.
    pub fn make_progress(&mut self) -> bool {
        let group = self.group.clone();
        group.timed(|| {
            if let State::Scattering(exchange) = &mut self.state
                && exchange.is_done()
            {
                self.gather();
            }
            if let State::Gathering(exchange) = &mut self.state {
                exchange.is_done();
            }
        });
        !matches!(self.state, State::Scattering(_))
    }

    /// Adds up the chunks and starts to send the sums.
    fn gather(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Done(Vec::new()));
        self.state = match state {
            State::Scattering(exchange) => {
                let mut parts = exchange.wait();
                let chunk = parts.len() / self.group.world_size();
                let (sums, rest) = parts.split_at_mut(chunk);
                for part in rest.chunks_exact(chunk) {
                    sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
                }
                parts.truncate(chunk);
                match self.group.others() {
                    Some(others) => State::Gathering(others.start_all_gather(parts)),
                    None => State::Done(parts),
                }
            }
            other => other,
        };
    }

    /// Waits for the sums.
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
                State::Scattering(_) => unreachable!("`gather` ends the first half"),
            }
        })
    }
}
