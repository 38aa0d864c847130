//! Aligned buffers, recycled: a training step allocates the same sizes repeatedly, and new pages
//! from the system cost more than the arithmetic of a small operation.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

const ALIGN: usize = 64;
/// Smaller blocks go straight to the system allocator.
const POOLED: usize = 4096;
/// Idle memory beyond this many bytes is returned to the system.
const MAX_IDLE: usize = 1 << 30;
/// A block is reused for requests of at least this fraction (4/5) of its size.
const FIT: (usize, usize) = (5, 4);
/// A block of at least this size requests transparent huge pages of this size where the system has
/// them (Linux on x86-64 and Arm). With ordinary pages of 4 KiB, packing for a matrix product
/// spends as much time on TLB misses as on copying.
const HUGE_PAGE: usize = 2 << 20;

struct Pool {
    idle: BTreeMap<usize, Vec<Block>>,
    idle_bytes: usize,
}

struct Block(NonNull<f32>);
// SAFETY: an idle block has no owner but the pool.
unsafe impl Send for Block {}

static POOL: Mutex<Pool> = Mutex::new(Pool { idle: BTreeMap::new(), idle_bytes: 0 });
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static FRESH: AtomicUsize = AtomicUsize::new(0);

/// The memory of all tensors on the CPU, as in PyTorch's `torch.cuda.memory_stats`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryStats {
    /// Bytes allocated now.
    pub allocated: usize,
    /// The most bytes allocated at a time since [`reset_peak_memory_stats`].
    pub peak: usize,
    /// Blocks of at least a page that ever came from the system because no idle one fitted: in a
    /// steady training step, none.
    pub num_allocs: usize,
}

/// The memory of all tensors on the CPU.
///
/// ```
/// let before = tensor::memory_stats().allocated;
/// let x = tensor::Tensor::zeros([1000]);
/// assert!(tensor::memory_stats().allocated >= before + 4000);
/// # drop(x);
/// ```
pub fn memory_stats() -> MemoryStats {
    MemoryStats {
        allocated: LIVE.load(Ordering::Relaxed),
        peak: PEAK.load(Ordering::Relaxed),
        num_allocs: FRESH.load(Ordering::Relaxed),
    }
}

/// Starts a new peak at the bytes allocated now.
pub fn reset_peak_memory_stats() {
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// A fixed number of `f32` elements, aligned to a cache line.
pub(crate) struct Buffer {
    block: NonNull<f32>,
    len: usize,
    /// Bytes of the block, at least those of `len`.
    capacity: usize,
}

// SAFETY: a buffer owns its memory exclusively.
unsafe impl Send for Buffer {}
// SAFETY: shared access is read-only.
unsafe impl Sync for Buffer {}

fn layout(bytes: usize) -> std::alloc::Layout {
    let align = if cfg!(target_os = "linux") && bytes >= HUGE_PAGE { HUGE_PAGE } else { ALIGN };
    match std::alloc::Layout::from_size_align(bytes, align) {
        Ok(layout) => layout,
        Err(_) => panic!("a tensor of {bytes} bytes does not fit this machine's address space"),
    }
}

/// A block from the system, zeroed because a `&mut [f32]` to uninitialized memory is undefined
/// behavior.
fn allocate(bytes: usize) -> NonNull<f32> {
    let layout = layout(bytes);
    // SAFETY: the size is not zero; `madvise` and `write_bytes` stay within the new block.
    let raw = unsafe {
        if layout.align() == ALIGN {
            std::alloc::alloc_zeroed(layout)
        } else {
            let raw = std::alloc::alloc(layout);
            if !raw.is_null() {
                // Whole huge pages only, so the block takes no more memory than without them. A
                // refusal only affects the speed.
                #[cfg(target_os = "linux")]
                libc::madvise(raw.cast(), bytes / HUGE_PAGE * HUGE_PAGE, libc::MADV_HUGEPAGE);
                raw.write_bytes(0, bytes);
            }
            raw
        }
    };
    NonNull::new(raw.cast()).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
}

impl Buffer {
    /// `len` elements with unspecified values: the caller writes all of them before any is read.
    pub(crate) fn uninit(len: usize) -> Self {
        let bytes =
            len.saturating_mul(4).clamp(1, isize::MAX as usize - ALIGN).next_multiple_of(ALIGN);
        let (block, capacity) = match take(bytes) {
            Some(found) => found,
            None => {
                if bytes >= POOLED {
                    FRESH.fetch_add(1, Ordering::Relaxed);
                }
                (allocate(bytes), bytes)
            }
        };
        let live = LIVE.fetch_add(capacity, Ordering::Relaxed) + capacity;
        PEAK.fetch_max(live, Ordering::Relaxed);
        Self { block, len, capacity }
    }

    pub(crate) fn zeros(len: usize) -> Self {
        let mut buffer = Self::uninit(len);
        buffer.fill(0.0);
        buffer
    }

    pub(crate) fn from_slice(values: &[f32]) -> Self {
        let mut buffer = Self::uninit(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

fn take(bytes: usize) -> Option<(NonNull<f32>, usize)> {
    if bytes < POOLED {
        return None;
    }
    let mut pool = POOL.lock();
    let (&capacity, blocks) = pool.idle.range_mut(bytes..=bytes * FIT.0 / FIT.1).next()?;
    let block = blocks.pop();
    if blocks.is_empty() {
        pool.idle.remove(&capacity);
    }
    pool.idle_bytes -= capacity;
    block.map(|b| (b.0, capacity))
}

impl Drop for Buffer {
    fn drop(&mut self) {
        LIVE.fetch_sub(self.capacity, Ordering::Relaxed);
        if self.capacity >= POOLED {
            let mut pool = POOL.lock();
            if pool.idle_bytes + self.capacity <= MAX_IDLE {
                pool.idle_bytes += self.capacity;
                pool.idle.entry(self.capacity).or_default().push(Block(self.block));
                return;
            }
        }
        // SAFETY: from `allocate`, with this layout, and owned by this buffer alone.
        unsafe { std::alloc::dealloc(self.block.as_ptr().cast(), layout(self.capacity)) }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len` initialized elements (zeroed or written before) that live as long as
        // `self`.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.block.as_ptr(), self.len) }
    }
}
