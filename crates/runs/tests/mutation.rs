//! Damaged files of PyTorch: an error or a state dict, never a panic, and never more memory than the
//! file could hold.
//!
//! Each fixture is changed in a few positions (bytes, whole numbers, pieces cut out, doubled or
//! moved); in a zip archive the checksums of its entries are recomputed, so that the reader gets
//! past them. `DCGAN_MUTATIONS=100` runs a hundred times as many cases.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use runs::{StateDictFile, read_state_dict};

/// What the tables of a file may take for each byte of it.
const PER_BYTE: usize = 1032;
/// Buffers, independent of the file.
const FIXED: usize = 4 << 20;
/// Inputs for each fixture.
const CASES: u32 = 100;

/// Counts the bytes allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// One case at a time, so that the counts belong to it.
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

/// Recomputes the checksums of a zip archive's stored entries, where its headers still make sense.
fn mend_zip(bytes: &mut [u8]) {
    let number = |bytes: &[u8], at: usize| {
        let four = bytes.get(at..at + 4).map(|b| [b[0], b[1], b[2], b[3]]);
        four.map_or(0, |b| u32::from_le_bytes(b) as usize)
    };
    let entries: Vec<usize> = (0..bytes.len().saturating_sub(46))
        .filter(|&at| bytes[at..].starts_with(b"PK\x01\x02"))
        .collect();
    for entry in entries {
        let (size, local) = (number(bytes, entry + 20), number(bytes, entry + 42));
        let lengths = number(bytes, local.saturating_add(26));
        let start = local.saturating_add(30 + (lengths & 0xFFFF) + (lengths >> 16));
        let Some(data) = bytes.get(start..start.saturating_add(size)) else { continue };
        let sum = crc32(data).to_le_bytes();
        bytes[entry + 16..entry + 20].copy_from_slice(&sum);
        // PyTorch's entries have a descriptor after their data instead of these in front of it.
        let descriptor = start + size;
        if bytes.get(descriptor..).is_some_and(|rest| rest.starts_with(b"PK\x07\x08"))
            && let Some(place) = bytes.get_mut(descriptor + 4..descriptor + 8)
        {
            place.copy_from_slice(&sum);
        }
    }
}

/// The CRC-32 of zip, which no dependency has.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[test]
fn pytorch_files() {
    let times: u32 =
        std::env::var("DCGAN_MUTATIONS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch");
    let mut names: Vec<_> = fixtures
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pt" || e == "pth"))
        .collect();
    names.sort();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    for name in names {
        let seed = fs::read(&name).unwrap();
        let config =
            Config { cases: CASES * times, failure_persistence: None, ..Config::default() };
        let mut runner =
            TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let still_read = AtomicUsize::new(0);
        let result = runner.run(&changes(), |changes| {
            let mut bytes = seed.clone();
            apply(&mut bytes, &changes);
            if seed.starts_with(b"PK") {
                mend_zip(&mut bytes);
            }
            fs::write(&path, &bytes).unwrap();
            let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let before = LIVE.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            match read_state_dict(&path) {
                Ok(state) => {
                    still_read.fetch_add(1, Ordering::Relaxed);
                    prop_assert!(state.values().all(|tensor| tensor.fills_shape()));
                }
                Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
            }
            if let Ok(file) = StateDictFile::open(&path) {
                drop((file.dicts(), file.into_unread()));
            }
            let peak = PEAK.load(Ordering::Relaxed) - before;
            let allowed = FIXED + PER_BYTE * bytes.len();
            if peak > allowed {
                let text = format!("{peak} bytes for {}, more than {allowed}", bytes.len());
                return Err(TestCaseError::fail(text));
            }
            Ok(())
        });
        println!(
            "{}: {} inputs, {} of them still read",
            name.file_name().unwrap().display(),
            CASES * times,
            still_read.into_inner()
        );
        result.unwrap();
    }
}

/// Files that are small and promise much: one name, shape or storage that everything shares.
#[test]
fn shared_values_take_no_more_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let legacy = |object: &[u8]| {
        let magic = b"\x80\x02\x8A\nl\xFC\x9CF\xF9 j\xA8P\x19.\x80\x02M\xE9\x03.\x80\x02}.";
        let keys = b"\x80\x02](X\x01\x00\x00\x000e.";
        let storage = [&2u64.to_le_bytes()[..], &[0; 8]].concat();
        [&magic[..], b"\x80\x02", object, b".", keys, &storage].concat()
    };
    // A tensor of 16 axes in memo entry 1, and a long name in entry 2.
    let tensor = {
        let storage =
            b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02NtQ";
        let ones = [&b"("[..], &b"K\x01".repeat(16), b"t"].concat();
        let call = b"ctorch._utils\n_rebuild_tensor_v2\n(";
        [&call[..], storage, b"K\0", &ones, &ones, b"\x89NtRq\x010"].concat()
    };
    let name = [&b"X\xFA\0\0\0"[..], &[b'n'; 250], b"q\x020"].concat();
    let nested: Vec<u8> = {
        // Dicts inside each other, each with the one inside twice, and ten thousand entries.
        let mut text = b"}".to_vec();
        for level in 3..40u8 {
            text = [&text[..], b"q", &[level], b"0}(U\x01ah", &[level], b"U\x01bh", &[level], b"u"]
                .concat();
        }
        [&b"}(U\x01x"[..], &text, b"h\x02h\x01u"].concat()
    };
    let itself = b"}q\x03(U\x01ah\x03U\x01bh\x01u".to_vec();
    let many = [&b"}("[..], &b"h\x02h\x01".repeat(20_000), b"u"].concat();
    let numbers = (0..60_000u32)
        .flat_map(|i| [&b"X\x05\0\0\0"[..], format!("{i:05}").as_bytes(), b"h\x01"].concat());
    let different = [&b"}("[..], &numbers.collect::<Vec<u8>>(), b"u"].concat();
    let unread = [&b"}(h\x02}("[..], &b"h\x02N".repeat(20_000), b"uU\x01ah\x01u"].concat();
    for (object, tensors) in [(nested, 1), (itself, 1), (many, 1), (different, 60_000), (unread, 1)]
    {
        let bytes = legacy(&[&tensor[..], &name, &object].concat());
        fs::write(&path, &bytes).unwrap();
        let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let state = read_state_dict(&path).unwrap();
        let peak = PEAK.load(Ordering::Relaxed) - before;
        assert_eq!(state.len(), tensors);
        assert!(peak <= FIXED + PER_BYTE * bytes.len(), "{peak} bytes for {}", bytes.len());
    }
}
