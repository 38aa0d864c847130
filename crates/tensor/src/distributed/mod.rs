//! Data-parallel computation by several processes: collective operations, as in PyTorch's
//! `torch.distributed`.
//!
//! A [`ProcessGroup`] is this process alone, or several that call the same operations in the same
//! order. The transport behind it is a [`Communicator`]. Sums are computed in the order of the
//! ranks, not in whatever order a transport would choose, so that all ranks get the same bits, in
//! every run and on every transport.
//!
//! ```
//! use tensor::distributed::run_on_threads;
//!
//! let sums = run_on_threads(3, |group| {
//!     let mut values = [group.rank() as f32, 1.0];
//!     group.all_reduce(&mut values);
//!     values
//! });
//! assert_eq!(sums, [[3.0, 3.0]; 3]);
//! ```

mod batch_shard;
mod pending;
mod threads;

pub use batch_shard::BatchShard;
pub use pending::PendingAllReduce;
pub use threads::run_on_threads;

use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Messages up to this many bytes are summed by one all-gather, whose single round trip is faster
/// than the two of a scattered sum.
const SMALL: usize = 16 << 10;
/// The longest message in bytes that one call of a transport gets: MPI counts in 32 bits.
const MAX_MESSAGE: usize = 1 << 30;

/// A transport between the processes of a group. All ranks call the same operations in the same
/// order with messages of the same length. A transport that fails ends the process: without one of
/// its ranks a group cannot go on.
pub trait Communicator: Send + Sync {
    /// The number of this process in the group, from 0.
    fn rank(&self) -> usize;

    /// The number of processes in the group.
    fn world_size(&self) -> usize;

    /// The number of this process among those of its node.
    fn local_rank(&self) -> usize;

    /// The number of processes of this node.
    fn local_size(&self) -> usize;

    /// The name of the node.
    fn node(&self) -> String;

    /// Receives the message of every rank, one after the other; `all` has room for as many messages
    /// as there are ranks.
    fn all_gather(&self, own: &[u8], all: &mut [u8]);

    /// Overwrites `message` with that of rank `root`.
    fn broadcast(&self, root: usize, message: &mut [u8]);

    /// Waits until every rank has arrived here.
    fn barrier(&self);

    /// Starts to send piece i of `pieces`, which are of one length, to rank i, for each i. What
    /// arrives is the piece for this rank of every rank, one after the other. Calls of this kind
    /// match each other in their order, whatever other operations are between them.
    fn start_all_to_all(&self, pieces: Vec<f32>) -> Box<dyn Exchange>;

    /// Starts to send `own` to every rank. What arrives is the values of every rank, one after the
    /// other. Calls of this kind match each other in their order, whatever other operations are
    /// between them.
    fn start_all_gather(&self, own: Vec<f32>) -> Box<dyn Exchange>;
}

/// An operation that a [`Communicator`] has started.
pub trait Exchange: Send {
    /// Whether the messages have arrived; never waits. Transports that need the processor to make
    /// progress do so here.
    fn is_done(&mut self) -> bool;

    /// Waits for the values of all ranks, one after the other.
    fn wait(self: Box<Self>) -> Vec<f32>;
}

/// The processes that train together: this one alone by default. Clones are the same group.
#[derive(Clone, Default)]
pub struct ProcessGroup(Option<Arc<Members>>);

struct Members {
    communicator: Box<dyn Communicator>,
    /// Nanoseconds spent in collective operations.
    waiting: AtomicU64,
    pending: pending::Counts,
}

impl ProcessGroup {
    /// The group of the processes that `communicator` connects. With a single rank, operations
    /// return without a call of it.
    pub fn new(communicator: impl Communicator + 'static) -> Self {
        Self(Some(Arc::new(Members {
            communicator: Box::new(communicator),
            waiting: AtomicU64::new(0),
            pending: pending::Counts::default(),
        })))
    }

    /// The transport with its counts, if there are other processes to reach.
    fn members(&self) -> Option<&Members> {
        self.0.as_deref().filter(|members| members.communicator.world_size() > 1)
    }

    /// The transport, if there are other processes to reach.
    fn others(&self) -> Option<&dyn Communicator> {
        self.members().map(|members| &*members.communicator)
    }

    /// The number of this process in the group, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |members| members.communicator.rank())
    }

    /// The number of processes in the group.
    pub fn world_size(&self) -> usize {
        self.0.as_ref().map_or(1, |members| members.communicator.world_size())
    }

    /// The number of this process among those of its node.
    pub fn local_rank(&self) -> usize {
        self.0.as_ref().map_or(0, |members| members.communicator.local_rank())
    }

    /// The number of processes of this node.
    pub fn local_size(&self) -> usize {
        self.0.as_ref().map_or(1, |members| members.communicator.local_size())
    }

    /// Whether this is the only process.
    pub fn is_single(&self) -> bool {
        self.world_size() == 1
    }

    /// Whether this is rank 0, which alone writes files and prints.
    pub fn is_root(&self) -> bool {
        self.rank() == 0
    }

    /// The time that this process has spent in collective operations so far.
    pub fn waiting(&self) -> Duration {
        let nanoseconds = |members: &Arc<Members>| members.waiting.load(Ordering::Relaxed);
        Duration::from_nanos(self.0.as_ref().map_or(0, nanoseconds))
    }

    /// Runs `f` and adds its duration to [`waiting`](Self::waiting).
    fn timed<R>(&self, f: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = f();
        if let Some(members) = &self.0 {
            let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            members.waiting.fetch_add(elapsed, Ordering::Relaxed);
        }
        result
    }

    /// Replaces `values` by their sums over all ranks, added in the order of the ranks.
    ///
    /// # Panics
    /// May panic or hang if the ranks call this with different numbers of values.
    pub fn all_reduce(&self, values: &mut [f32]) {
        let Some(others) = self.others() else { return };
        if size_of_val(values) <= SMALL {
            return self.sum_gathered(values);
        }
        let chunks = self.timed(|| start_scatter(others, values.to_vec()).wait());
        // Not by `start_all_gather`: where other all-reduces are pending, some ranks have called it
        // for them by now and others have not.
        let sums = self.gather(&sum_parts(chunks, self.world_size()));
        values.copy_from_slice(&sums[..values.len()]);
    }

    /// [`all_reduce`](Self::all_reduce) of a few f64 values.
    pub fn all_reduce_f64(&self, values: &mut [f64]) {
        self.sum_gathered(values);
    }

    /// The values of all ranks, one after the other; every rank has as many.
    pub fn all_gather_f64(&self, values: &[f64]) -> Vec<f64> {
        self.gather(values)
    }

    /// Replaces `values` by their sums, which every rank computes from the values of all.
    fn sum_gathered<T: bytemuck::Pod + AddAssign>(&self, values: &mut [T]) {
        if self.is_single() || values.is_empty() {
            return;
        }
        let sums = sum_parts(self.gather(values), self.world_size());
        values.copy_from_slice(&sums);
    }

    /// The values of all ranks, one after the other; every rank has as many.
    fn gather<T: bytemuck::Pod>(&self, values: &[T]) -> Vec<T> {
        let Some(others) = self.others() else { return values.to_vec() };
        let mut all = vec![T::zeroed(); values.len() * self.world_size()];
        let own = bytemuck::cast_slice(values);
        self.timed(|| others.all_gather(own, bytemuck::cast_slice_mut(&mut all)));
        all
    }

    /// Starts an [`all_reduce`](Self::all_reduce) that goes on while this process computes or calls
    /// other operations.
    pub fn start_all_reduce(&self, values: Vec<f32>) -> PendingAllReduce {
        PendingAllReduce::start(self.clone(), values)
    }

    /// The messages of all ranks, in their order; they may have different lengths.
    pub fn all_gather(&self, message: &[u8]) -> Vec<Vec<u8>> {
        let Some(others) = self.others() else { return vec![message.to_vec()] };
        self.timed(|| {
            let mut lengths = vec![0u64; self.world_size()];
            let own = (message.len() as u64).to_ne_bytes();
            others.all_gather(&own, bytemuck::cast_slice_mut(&mut lengths));
            let longest = lengths.iter().copied().max().unwrap_or(0) as usize;
            let mut messages: Vec<Vec<u8>> = vec![Vec::new(); lengths.len()];
            let mut start = 0;
            while start < longest {
                let len = (longest - start).min(MAX_MESSAGE / lengths.len());
                let mut own = vec![0u8; len];
                let part = message.get(start..message.len().min(start + len)).unwrap_or_default();
                own[..part.len()].copy_from_slice(part);
                let mut all = vec![0u8; len * lengths.len()];
                others.all_gather(&own, &mut all);
                for ((message, &length), part) in
                    messages.iter_mut().zip(&lengths).zip(all.chunks_exact(len))
                {
                    let left = (length as usize).saturating_sub(start).min(len);
                    message.extend_from_slice(&part[..left]);
                }
                start += len;
            }
            messages
        })
    }

    /// The values of all ranks, one after the other; they may be of different numbers.
    pub fn all_gather_f32(&self, values: &[f32]) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(&self.all_gather(bytemuck::cast_slice(values)).concat())
    }

    /// The message of rank 0; those of the others are not looked at.
    pub fn broadcast(&self, message: Vec<u8>) -> Vec<u8> {
        let Some(others) = self.others() else { return message };
        self.timed(|| {
            let mut length = (message.len() as u64).to_ne_bytes();
            others.broadcast(0, &mut length);
            let mut message = message;
            message.resize(u64::from_ne_bytes(length) as usize, 0);
            message.chunks_mut(MAX_MESSAGE).for_each(|part| others.broadcast(0, part));
            message
        })
    }

    /// Waits until every rank has arrived here.
    pub fn barrier(&self) {
        if let Some(others) = self.others() {
            self.timed(|| others.barrier());
        }
    }

    /// Whether `flag` is set on any rank.
    pub fn any(&self, flag: bool) -> bool {
        let mut count = [f64::from(u8::from(flag))];
        self.all_reduce_f64(&mut count);
        count[0] > 0.0
    }

    /// The names of the nodes of all ranks.
    pub fn nodes(&self) -> Vec<String> {
        let node = self.0.as_ref().map_or_else(String::new, |m| m.communicator.node());
        let names = self.all_gather(node.as_bytes());
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}

/// Starts to send each rank its chunk of `values`, which are padded to chunks of one length.
fn start_scatter(others: &dyn Communicator, mut values: Vec<f32>) -> Box<dyn Exchange> {
    values.resize(values.len().next_multiple_of(others.world_size()), 0.0);
    others.start_all_to_all(values)
}

/// The sums of this number of parts of one length, which is not 0, added in their order.
fn sum_parts<T: Copy + AddAssign>(mut all: Vec<T>, parts: usize) -> Vec<T> {
    let len = all.len() / parts;
    let (sums, rest) = all.split_at_mut(len);
    for part in rest.chunks_exact(len) {
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += *value);
    }
    all.truncate(len);
    all
}

impl std::fmt::Debug for ProcessGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProcessGroup(rank {} of {})", self.rank(), self.world_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_process_changes_nothing() {
        let group = ProcessGroup::default();
        let mut values = [1.5, 2.0];
        group.all_reduce(&mut values);
        assert_eq!(values, [1.5, 2.0]);
        assert_eq!(group.all_gather(b"abc"), [b"abc"]);
        assert_eq!(group.broadcast(vec![7]), [7]);
        group.barrier();
        assert!(group.is_single() && group.is_root() && group.any(true) && !group.any(false));
        assert_eq!((group.rank(), group.local_rank(), group.local_size()), (0, 0, 1));
    }

    #[test]
    fn sums_are_added_in_the_order_of_the_ranks() {
        // 1 is lost next to 2²⁴, but not if it is added to −2²⁴ + 2²⁴.
        let terms = [16_777_216.0f32, 1.0, -16_777_216.0, 1.0];
        let expected = terms.iter().fold(0.0, |sum, term| sum + term);
        for len in [3, 100_001] {
            let sums = run_on_threads(4, |group| {
                let mut values = vec![terms[group.rank()]; len];
                group.all_reduce(&mut values);
                values
            });
            for sum in sums {
                assert!(sum.len() == len && sum.iter().all(|&value| value == expected));
            }
        }
    }

    #[test]
    fn messages_of_different_lengths_are_gathered_and_the_roots_is_broadcast() {
        let results = run_on_threads(3, |group| {
            let own = vec![group.rank() as u8 + 1; group.rank() * 3];
            group.barrier();
            (group.all_gather(&own), group.broadcast(own), group.any(group.rank() == 2))
        });
        for (gathered, broadcast, any) in results {
            assert_eq!(gathered, [vec![], vec![2; 3], vec![3; 6]]);
            assert!(broadcast.is_empty() && any);
        }
    }

    #[test]
    fn pending_sums_may_overlap() {
        let sums = run_on_threads(3, |group| {
            let own = |factor: f32| -> Vec<f32> {
                (0..9000).map(|i| factor * (i + group.rank()) as f32).collect()
            };
            let mut first = group.start_all_reduce(own(1.0));
            let mut second = group.start_all_reduce(own(2.0));
            assert!(!second.make_progress(), "the sums of the first are sent before");
            // One rank is ahead: it sends sums of the first before the others do.
            while group.is_root() && !first.make_progress() {
                std::thread::yield_now();
            }
            let (mut short, mut long) = ([1.0], own(3.0));
            group.all_reduce(&mut short);
            group.all_reduce(&mut long);
            assert_eq!(short, [3.0]);
            [first.wait(), second.wait(), long]
        });
        for sums in sums {
            for (factor, sums) in [1.0, 2.0, 3.0].into_iter().zip(sums) {
                let expected = (0..9000).map(|i| factor * (3 * i + 3) as f32);
                assert!(sums.into_iter().eq(expected), "factor {factor}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "an all-reduce that was started earlier is not finished")]
    fn pending_sums_are_finished_in_order() {
        run_on_threads(2, |group| {
            let [first, second] = [1.0, 2.0].map(|value| group.start_all_reduce(vec![value]));
            (second.wait(), first.wait())
        });
    }
}
