//! Aligned buffers, recycled: a training step allocates the same sizes repeatedly, and new pages
//! from the system cost more than the arithmetic of a small operation.
//!
//! Under [`fake_tensor_mode`] buffers take address space and no memory, and are recycled the same
//! way: the counters show what the same operations would take.

use parking_lot::Mutex;
use std::alloc::Layout;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ALIGN: usize = 64;
/// Smaller blocks go straight to the system allocator.
const MIN_POOLED_BYTES: usize = 4096;
/// Idle memory beyond this many bytes is returned to the system.
const MAX_IDLE: usize = 1 << 30;
/// A block is reused for requests of at least this fraction (4/5) of its size.
const MIN_FIT: (usize, usize) = (5, 4);
/// A block of at least this size requests transparent huge pages of this size where the system has
/// them (Linux on x86-64 and Arm). With ordinary pages of 4 KiB, packing for a matrix product
/// spends as much time on TLB misses as on copying.
const HUGE_PAGE: usize = 2 << 20;

/// Address space that fake blocks leave to other allocations.
const FAKE_MARGIN: usize = 128 << 20;
/// Fake blocks are whole numbers of the largest pages that systems have.
#[cfg(target_os = "linux")]
const FAKE_PAGE: usize = 64 << 10;

/// Blocks of one kind of memory, with their counters.
struct Allocator {
    is_fake: bool,
    pool: Mutex<BlockPool>,
    live: AtomicUsize,
    peak: AtomicUsize,
    reserved: AtomicUsize,
    peak_reserved: AtomicUsize,
    fresh: AtomicUsize,
}

struct BlockPool {
    idle: BTreeMap<usize, Vec<Block>>,
    idle_bytes: usize,
}

struct Block(NonNull<f32>);
// SAFETY: an idle block has no owner but the pool.
unsafe impl Send for Block {}

static MEMORY: Allocator = Allocator::new(false);

thread_local! {
    /// The allocator of this thread under [`fake_tensor_mode`].
    static FAKE_ALLOCATOR: RefCell<Option<Arc<Allocator>>> = const { RefCell::new(None) };
}

/// The memory of all tensors on the CPU, as in PyTorch's `torch.cuda.memory_stats`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryStats {
    /// Bytes allocated now.
    pub allocated: usize,
    /// The most bytes allocated at a time since [`reset_peak_memory_stats`].
    pub peak: usize,
    /// Bytes taken from the system now: those allocated, and blocks kept for reuse.
    pub reserved: usize,
    /// The most bytes taken from the system at a time since [`reset_peak_memory_stats`].
    pub peak_reserved: usize,
    /// Blocks of at least a page that ever came from the system because no idle one fitted: in a
    /// steady training step, none.
    pub num_allocs: usize,
}

/// The memory of all tensors on the CPU; under [`fake_tensor_mode`], of this thread's fake ones.
///
/// ```
/// let before = tensor::memory_stats().allocated;
/// let x = tensor::Tensor::zeros([1000]);
/// assert!(tensor::memory_stats().allocated >= before + 4000);
/// # drop(x);
/// ```
pub fn memory_stats() -> MemoryStats {
    with_allocator(|_, a| MemoryStats {
        allocated: a.live.load(Ordering::Relaxed),
        peak: a.peak.load(Ordering::Relaxed),
        reserved: a.reserved.load(Ordering::Relaxed),
        peak_reserved: a.peak_reserved.load(Ordering::Relaxed),
        num_allocs: a.fresh.load(Ordering::Relaxed),
    })
}

/// Starts new peaks at the bytes allocated and reserved now.
pub fn reset_peak_memory_stats() {
    with_allocator(|_, a| {
        a.peak.store(a.live.load(Ordering::Relaxed), Ordering::Relaxed);
        a.peak_reserved.store(a.reserved.load(Ordering::Relaxed), Ordering::Relaxed);
    });
}

/// Runs `f` with operations on the CPU that compute nothing, as PyTorch's `FakeTensorMode` does:
/// tensors have shapes, gradients and an unspecified content, and take no memory, but are counted
/// by [`memory_stats`] as the same tensors would be. A training step takes milliseconds this way.
///
/// Only what runs on this thread is fake. The tensors that `f` returns stay fake.
///
/// ```
/// use tensor::{Tensor, fake_tensor_mode, memory_stats};
///
/// let (shape, reserved) = fake_tensor_mode(|| {
///     let huge = Tensor::zeros([20_000, 20_000]);
///     let product = huge.matmul(&huge, false, false);
///     (*product.shape(), memory_stats().peak_reserved)
/// });
/// assert_eq!(shape[..], [20_000, 20_000]);
/// assert!(reserved >= 3_200_000_000);
/// ```
pub fn fake_tensor_mode<R>(f: impl FnOnce() -> R) -> R {
    /// Restores the allocator, also on unwind.
    struct RestoreAllocator(Option<Arc<Allocator>>);
    impl Drop for RestoreAllocator {
        fn drop(&mut self) {
            let outer = self.0.take();
            FAKE_ALLOCATOR.with(|fake| *fake.borrow_mut() = outer);
        }
    }
    let fake = Arc::new(Allocator::new(true));
    let _restore =
        RestoreAllocator(FAKE_ALLOCATOR.with(|current| current.borrow_mut().replace(fake)));
    f()
}

/// Whether this thread is in [`fake_tensor_mode`].
pub(crate) fn is_fake() -> bool {
    FAKE_ALLOCATOR.with(|fake| fake.borrow().is_some())
}

/// Calls `f` with the allocator of this thread, and its owner if it is a fake one.
fn with_allocator<R>(f: impl FnOnce(Option<&Arc<Allocator>>, &Allocator) -> R) -> R {
    FAKE_ALLOCATOR.with(|fake| match &*fake.borrow() {
        Some(fake) => f(Some(fake), fake),
        None => f(None, &MEMORY),
    })
}

/// The system has no memory for a tensor on the CPU. Operations do not return errors, so it is the
/// payload of an unwinding, without a message of its own; [`catch_out_of_memory`] returns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no memory for a tensor of {bytes} bytes: others hold {reserved} bytes")]
pub struct OutOfMemory {
    /// Size of the tensor in bytes; in [`fake_tensor_mode`] with the address space that has to stay
    /// free beside it.
    pub bytes: usize,
    /// Bytes that tensors have already.
    pub reserved: usize,
}

/// Runs `f` and returns the failure to allocate a tensor, which otherwise unwinds further.
///
/// # Errors
/// Returns the tensor's size if there is no memory for it. What `f` has computed is lost.
///
/// ```
/// use tensor::{Tensor, catch_out_of_memory};
///
/// let huge = catch_out_of_memory(|| Tensor::zeros([1 << 30, 1 << 30]));
/// assert_eq!(huge.map(|_| ()).map_err(|error| error.bytes), Err(1 << 62));
/// ```
pub fn catch_out_of_memory<R>(f: impl FnOnce() -> R) -> Result<R, OutOfMemory> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| match payload.downcast() {
        Ok(error) => *error,
        Err(other) => resume_unwind(other),
    })
}

/// A fixed number of `f32` elements, aligned to a cache line.
pub(crate) struct Buffer {
    block: NonNull<f32>,
    len: usize,
    /// Bytes of the block, at least those of `len`.
    capacity: usize,
    /// The allocator of a fake buffer; `None` for memory.
    fake: Option<Arc<Allocator>>,
}

// SAFETY: a buffer owns its memory exclusively.
unsafe impl Send for Buffer {}
// SAFETY: shared access is read-only.
unsafe impl Sync for Buffer {}

fn layout(bytes: usize) -> Option<Layout> {
    let align = if cfg!(target_os = "linux") && bytes >= HUGE_PAGE { HUGE_PAGE } else { ALIGN };
    Layout::from_size_align(bytes, align).ok()
}

/// A block from the system, zeroed because a `&mut [f32]` to uninitialized memory is undefined
/// behavior.
fn allocate(bytes: usize) -> Option<NonNull<f32>> {
    let layout = layout(bytes)?;
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
    NonNull::new(raw.cast())
}

fn deallocate(block: NonNull<f32>, bytes: usize) {
    if let Some(layout) = layout(bytes) {
        // SAFETY: from `allocate`, with this layout, and without another owner.
        unsafe { std::alloc::dealloc(block.as_ptr().cast(), layout) }
    }
}

/// A block of zeros that takes memory only where it is written. None if less than
/// `FAKE_MARGIN` of address space would be left: what is not a tensor is allocated there, and
/// cannot fail without ending the process.
fn allocate_fake(bytes: usize) -> Option<NonNull<f32>> {
    #[cfg(target_os = "linux")]
    if bytes >= MIN_POOLED_BYTES {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, which overlaps no other, and whose end is given back; `madvise`
        // stays within the rest.
        let raw = unsafe {
            let size = bytes.checked_next_multiple_of(FAKE_PAGE)?;
            let total = size.checked_add(FAKE_MARGIN)?;
            let raw = libc::mmap(std::ptr::null_mut(), total, protection, flags, -1, 0);
            if raw == libc::MAP_FAILED {
                return None;
            }
            libc::munmap(raw.byte_add(size), FAKE_MARGIN);
            // With huge pages, one written element would take 2 MiB.
            libc::madvise(raw, bytes, libc::MADV_NOHUGEPAGE);
            raw
        };
        return NonNull::new(raw.cast());
    }
    let layout = Layout::from_size_align(bytes, ALIGN).ok()?;
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }.cast())
}

fn deallocate_fake(block: NonNull<f32>, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= MIN_POOLED_BYTES {
        // SAFETY: the whole mapping of `allocate_fake`, without another owner.
        unsafe { libc::munmap(block.as_ptr().cast(), bytes.next_multiple_of(FAKE_PAGE)) };
        return;
    }
    if let Ok(layout) = Layout::from_size_align(bytes, ALIGN) {
        // SAFETY: from `allocate_fake`, with this layout, and without another owner.
        unsafe { std::alloc::dealloc(block.as_ptr().cast(), layout) }
    }
}

impl Allocator {
    const fn new(is_fake: bool) -> Self {
        Self {
            is_fake,
            pool: Mutex::new(BlockPool { idle: BTreeMap::new(), idle_bytes: 0 }),
            live: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            peak_reserved: AtomicUsize::new(0),
            fresh: AtomicUsize::new(0),
        }
    }

    /// A block of at least so many bytes, and how many it has: an idle one that fits, or a new one.
    /// Unwinds with [`OutOfMemory`] if there is none.
    fn get(&self, bytes: usize) -> (NonNull<f32>, usize) {
        let (block, capacity) = self.take_idle(bytes).unwrap_or_else(|| {
            if bytes >= MIN_POOLED_BYTES {
                self.fresh.fetch_add(1, Ordering::Relaxed);
            }
            (self.allocate(bytes), bytes)
        });
        let live = self.live.fetch_add(capacity, Ordering::Relaxed) + capacity;
        self.peak.fetch_max(live, Ordering::Relaxed);
        (block, capacity)
    }

    fn allocate(&self, bytes: usize) -> NonNull<f32> {
        let allocate = if self.is_fake { allocate_fake } else { allocate };
        let block = allocate(bytes).or_else(|| {
            // Idle blocks that are too small for this one may make room for it.
            self.free_idle();
            allocate(bytes)
        });
        let Some(block) = block else {
            let reserved = self.reserved.load(Ordering::Relaxed);
            // A fake block did not fit together with its margin.
            let bytes = bytes.saturating_add(if self.is_fake { FAKE_MARGIN } else { 0 });
            resume_unwind(Box::new(OutOfMemory { bytes, reserved }))
        };
        let reserved = self.reserved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak_reserved.fetch_max(reserved, Ordering::Relaxed);
        block
    }

    fn take_idle(&self, bytes: usize) -> Option<(NonNull<f32>, usize)> {
        if bytes < MIN_POOLED_BYTES {
            return None;
        }
        let mut pool = self.pool.lock();
        let most = bytes.saturating_mul(MIN_FIT.0) / MIN_FIT.1;
        let (&capacity, blocks) = pool.idle.range_mut(bytes..=most.max(bytes)).next()?;
        let block = blocks.pop();
        if blocks.is_empty() {
            pool.idle.remove(&capacity);
        }
        pool.idle_bytes -= capacity;
        block.map(|b| (b.0, capacity))
    }

    /// Takes back a block of [`get`](Self::get).
    fn put(&self, block: NonNull<f32>, capacity: usize) {
        self.live.fetch_sub(capacity, Ordering::Relaxed);
        if capacity >= MIN_POOLED_BYTES {
            let mut pool = self.pool.lock();
            if pool.idle_bytes + capacity <= MAX_IDLE {
                pool.idle_bytes += capacity;
                pool.idle.entry(capacity).or_default().push(Block(block));
                return;
            }
        }
        self.deallocate(block, capacity);
    }

    fn deallocate(&self, block: NonNull<f32>, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
        if self.is_fake { deallocate_fake(block, bytes) } else { deallocate(block, bytes) }
    }

    /// Returns all idle blocks to the system.
    fn free_idle(&self) {
        let idle = {
            let mut pool = self.pool.lock();
            pool.idle_bytes = 0;
            std::mem::take(&mut pool.idle)
        };
        for (capacity, blocks) in idle {
            blocks.into_iter().for_each(|block| self.deallocate(block.0, capacity));
        }
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        self.free_idle();
    }
}

impl Buffer {
    /// `len` elements with unspecified values: the caller writes all of them before any is read.
    pub(crate) fn uninit(len: usize) -> Self {
        let bytes =
            len.saturating_mul(4).clamp(1, isize::MAX as usize - ALIGN).next_multiple_of(ALIGN);
        with_allocator(|fake, allocator| {
            let (block, capacity) = allocator.get(bytes);
            Self { block, len, capacity, fake: fake.cloned() }
        })
    }

    /// `len` elements of this value.
    pub(crate) fn full(len: usize, value: f32) -> Self {
        let mut buffer = Self::uninit(len);
        if buffer.fake.is_none() {
            buffer.fill(value);
        }
        buffer
    }

    pub(crate) fn zeros(len: usize) -> Self {
        Self::full(len, 0.0)
    }

    pub(crate) fn from_slice(values: &[f32]) -> Self {
        let mut buffer = Self::uninit(values.len());
        if buffer.fake.is_none() {
            buffer.copy_from_slice(values);
        }
        buffer
    }

    /// A copy of the elements. Unwinds with [`OutOfMemory`] if there is no memory for it.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        let mut values = Vec::new();
        if values.try_reserve_exact(self.len).is_err() {
            let reserved = memory_stats().reserved;
            resume_unwind(Box::new(OutOfMemory { bytes: self.len * 4, reserved }));
        }
        if self.fake.is_some() {
            drop(values);
            // Zeros from the system take no memory before they are written.
            return vec![0.0; self.len];
        }
        values.extend_from_slice(self);
        values
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.fake.as_deref().unwrap_or(&MEMORY).put(self.block, self.capacity);
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
