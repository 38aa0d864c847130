//! Ranks that are threads of one process: for tests, and as the shortest complete transport.

use super::{Communicator, Exchange, ProcessGroup};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Runs `f` on `world_size` threads, each a rank of one group, and returns their results in the
/// order of the ranks.
///
/// # Panics
/// Panics if `f` panics on any rank; the others may hang if they wait for it.
pub fn run_on_threads<T: Send>(world_size: usize, f: impl Fn(ProcessGroup) -> T + Sync) -> Vec<T> {
    let board = Arc::new(Board::default());
    thread::scope(|scope| {
        let spawn = |rank| {
            let board = Arc::clone(&board);
            let calls = [0, 1, 2].map(|_| AtomicU64::new(0));
            let group = ProcessGroup::new(ThreadRank { rank, world_size, board, calls });
            let f = &f;
            scope.spawn(move || f(group))
        };
        let handles: Vec<_> = (0..world_size).map(spawn).collect();
        let join = |handle: thread::ScopedJoinHandle<'_, T>| {
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        handles.into_iter().map(join).collect()
    })
}

/// The kinds of calls; those of one kind match each other in their order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Blocking,
    AllToAll,
    AllGather,
}

/// The messages of calls that not all ranks have finished.
#[derive(Default)]
struct Board {
    calls: Mutex<HashMap<(Kind, u64), Call>>,
    changed: Condvar,
}

/// One call of all ranks.
struct Call {
    messages: Vec<Option<Vec<u8>>>,
    /// Ranks that have taken the messages.
    taken: usize,
}

struct ThreadRank {
    rank: usize,
    world_size: usize,
    board: Arc<Board>,
    /// Calls of each kind so far.
    calls: [AtomicU64; 3],
}

impl ThreadRank {
    fn start(&self, kind: Kind, message: Vec<u8>) -> ThreadExchange {
        let number = self.calls[kind as usize].fetch_add(1, Ordering::Relaxed);
        let mut calls = self.board.calls.lock();
        let call = calls
            .entry((kind, number))
            .or_insert_with(|| Call { messages: vec![None; self.world_size], taken: 0 });
        call.messages[self.rank] = Some(message);
        self.board.changed.notify_all();
        let board = Arc::clone(&self.board);
        ThreadExchange { board, key: (kind, number), rank: self.rank }
    }
}

struct ThreadExchange {
    board: Arc<Board>,
    key: (Kind, u64),
    rank: usize,
}

impl ThreadExchange {
    fn has_all(&self, calls: &HashMap<(Kind, u64), Call>) -> bool {
        calls.get(&self.key).is_some_and(|call| call.messages.iter().all(Option::is_some))
    }

    /// Waits for the messages of all ranks, one after the other.
    fn receive(self) -> Vec<u8> {
        let mut calls = self.board.calls.lock();
        while !self.has_all(&calls) {
            self.board.changed.wait(&mut calls);
        }
        let call = calls.get_mut(&self.key).expect("a call that this rank has not taken");
        let messages = call.messages.iter().flatten();
        let received = match self.key.0 {
            Kind::AllToAll => {
                let piece = |message: &Vec<u8>| {
                    let len = message.len() / call.messages.len();
                    message[self.rank * len..][..len].to_vec()
                };
                messages.flat_map(piece).collect()
            }
            Kind::Blocking | Kind::AllGather => messages.flatten().copied().collect(),
        };
        call.taken += 1;
        if call.taken == call.messages.len() {
            calls.remove(&self.key);
        }
        received
    }
}

impl Exchange for ThreadExchange {
    fn is_done(&mut self) -> bool {
        self.has_all(&self.board.calls.lock())
    }

    fn wait(self: Box<Self>) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(&self.receive())
    }
}

impl Communicator for ThreadRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn local_rank(&self) -> usize {
        self.rank
    }

    fn local_size(&self) -> usize {
        self.world_size
    }

    fn node(&self) -> String {
        "threads".into()
    }

    fn all_gather(&self, own: &[u8], all: &mut [u8]) {
        all.copy_from_slice(&self.start(Kind::Blocking, own.to_vec()).receive());
    }

    fn broadcast(&self, root: usize, message: &mut [u8]) {
        let len = message.len();
        let all = self.start(Kind::Blocking, message.to_vec()).receive();
        message.copy_from_slice(&all[root * len..][..len]);
    }

    fn barrier(&self) {
        self.start(Kind::Blocking, Vec::new()).receive();
    }

    fn start_all_to_all(&self, pieces: Vec<f32>) -> Box<dyn Exchange> {
        Box::new(self.start(Kind::AllToAll, bytemuck::cast_slice(&pieces).to_vec()))
    }

    fn start_all_gather(&self, own: Vec<f32>) -> Box<dyn Exchange> {
        Box::new(self.start(Kind::AllGather, bytemuck::cast_slice(&own).to_vec()))
    }
}
