//! Damaged copies of a valid file, and the memory that a reader of one takes: for the tests of
//! every crate that reads files of other programs.
//!
//! A copy is changed in a few positions (bytes, whole numbers, pieces cut out, doubled or moved).
//! `DCGAN_MUTATIONS=100` makes a hundred times as many.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// The memory that a reader may take for each byte of a file: deflate's largest ratio, which is
/// also more than the tables of any format here need.
const PER_BYTE: usize = 1032;
/// The memory for buffers and threads, independent of the file.
pub const FIXED: usize = 4 << 20;

/// Counts the bytes allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: all is left to the system's allocator; the counts touch no memory of its.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Keeps the tests of other threads from allocating, so that the counts belong to this one.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The result of `read`, which reads files of `size` bytes in all; an error if it took more memory
/// than `fixed` and [`PER_BYTE`] for each byte. To be called in one's [`turn`].
pub fn within_memory<R>(
    size: usize,
    fixed: usize,
    read: impl FnOnce() -> R,
) -> Result<R, TestCaseError> {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = read();
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let allowed = fixed + PER_BYTE * size;
    if peak <= allowed {
        return Ok(result);
    }
    let text = format!("{peak} bytes for a file of {size}, more than {allowed}");
    Err(TestCaseError::fail(text))
}

/// Calls `check` with `cases` damaged copies of `seed`, in its [`turn`]; it returns whether the
/// copy is still read. Prints how many were, under `name`.
///
/// # Panics
/// Panics with the changes for which `check` returned an error or panicked.
pub fn for_each_damaged(
    name: &str,
    cases: u32,
    seed: &[u8],
    check: impl Fn(Vec<u8>) -> Result<bool, TestCaseError>,
) {
    let times: u32 =
        std::env::var("DCGAN_MUTATIONS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let cases = cases * times;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let still_read = AtomicUsize::new(0);
    let result = runner.run(&changes(), |changes| {
        let _turn = turn();
        let mut bytes = seed.to_vec();
        apply(&mut bytes, &changes);
        if check(bytes)? {
            still_read.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    println!("{name}: {cases} inputs, {} of them still read", still_read.into_inner());
    result.unwrap();
}

#[derive(Debug, Clone)]
enum Change {
    Byte(Index, u8),
    Number(Index, u32),
    Cut(Index, usize),
    Double(Index, usize),
    Swap(Index, Index, usize),
    End(Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = any::<Index>;
    let number = prop_oneof![
        Just(0u32),
        Just(1),
        Just(u32::MAX),
        Just(i32::MAX as u32),
        Just(1 << 24),
        Just(65_536),
        any::<u32>(),
        0u32..512
    ];
    let digits = prop_oneof![
        Just(b'0'),
        Just(b'7'),
        Just(b'9'),
        Just(b'-'),
        Just(b'/'),
        Just(b'.'),
        Just(0),
        any::<u8>()
    ];
    let change = prop_oneof![
        4 => (at(), digits).prop_map(|(at, byte)| Change::Byte(at, byte)),
        3 => (at(), number).prop_map(|(at, number)| Change::Number(at, number)),
        1 => (at(), 1usize..64).prop_map(|(at, length)| Change::Cut(at, length)),
        1 => (at(), 1usize..600).prop_map(|(at, length)| Change::Double(at, length)),
        1 => (at(), at(), 1usize..64).prop_map(|(from, to, length)| Change::Swap(from, to, length)),
        1 => at().prop_map(Change::End),
    ];
    vec(change, 1..5)
}

fn apply(bytes: &mut Vec<u8>, changes: &[Change]) {
    for change in changes {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match *change {
            Change::Byte(at, byte) => bytes[at.index(length)] = byte,
            Change::Number(at, number) => {
                // Numbers are at even offsets more often than not.
                let at = at.index(length) & !1;
                let little = number.to_le_bytes();
                bytes.iter_mut().skip(at).zip(little).for_each(|(byte, new)| *byte = new);
            }
            Change::Cut(at, count) => {
                let at = at.index(length);
                bytes.drain(at..(at + count).min(length));
            }
            Change::Double(at, count) => {
                let at = at.index(length);
                let piece = bytes[at..(at + count).min(length)].to_vec();
                bytes.splice(at..at, piece);
            }
            Change::Swap(from, to, count) => {
                let piece: Vec<u8> =
                    bytes.iter().copied().skip(from.index(length)).take(count).collect();
                let to = to.index(length);
                bytes.iter_mut().skip(to).zip(piece).for_each(|(byte, new)| *byte = new);
            }
            Change::End(at) => bytes.truncate(at.index(length)),
        }
    }
}
