//! Parallel tasks on the current rayon pool, with denormals flushed to zero.
//!
//! Work is split by the shape alone, never by the number of threads, so results do not depend on
//! it.

use super::buffer::{Buffer, is_fake};
use rayon::prelude::*;

/// Flushes denormals to zero on this thread while it lives, and restores the mode when dropped
/// (also on unwind). When the discriminator saturates, gradients are full of denormals, on which
/// arithmetic is about 79 times slower.
struct FlushDenormals {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    saved: u64,
}

impl FlushDenormals {
    #[inline]
    fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let mut saved = 0u32;
            // SAFETY: reads and writes this thread's MXCSR; only FTZ (bit 15) and DAZ (bit 6)
            // change, and no code between here and `drop` relies on gradual underflow. Rust assumes
            // the default mode, and has no official way to flush denormals: the compiler may move
            // or fold an operation across the switch, which keeps or flushes its denormals. That
            // changes results by less than 1.2e-38.
            unsafe {
                std::arch::asm!("stmxcsr [{}]", in(reg) &mut saved, options(nostack));
                let flush = saved | 0x8040;
                std::arch::asm!("ldmxcsr [{}]", in(reg) &flush, options(nostack, readonly));
            }
            Self { saved: u64::from(saved) }
        }
        #[cfg(target_arch = "aarch64")]
        {
            let saved: u64;
            // SAFETY: as above, for FPCR bit 24 (FZ).
            unsafe {
                std::arch::asm!("mrs {}, fpcr", out(reg) saved, options(nomem, nostack));
                std::arch::asm!("msr fpcr, {}", in(reg) saved | (1 << 24), options(nomem, nostack));
            }
            Self { saved }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        Self {}
    }
}

impl Drop for FlushDenormals {
    #[inline]
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        {
            let saved = self.saved as u32;
            // SAFETY: restores the mode read in `new`.
            unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &saved, options(nostack, readonly)) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: restores the mode read in `new`.
        unsafe {
            std::arch::asm!("msr fpcr, {}", in(reg) self.saved, options(nomem, nostack))
        }
    }
}

/// Runs `f(0) … f(tasks − 1)` on the current rayon pool, denormals flushed; nothing under
/// [`fake_tensor_mode`](crate::fake_tensor_mode).
pub(crate) fn par_for(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if is_fake() {
        return;
    }
    let run = |i| {
        let _mode = FlushDenormals::new();
        f(i);
    };
    if tasks <= 1 {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(run);
    }
}

/// [`par_for`] with scratch memory: each running task has a buffer of unspecified values for each
/// of `lens`. The lengths do not depend on the task, so that the buffers of one task serve the next
/// and their number is known.
pub(crate) fn par_for_with_scratch<const N: usize>(
    tasks: usize,
    lens: [usize; N],
    f: impl Fn(usize, [&mut [f32]; N]) + Sync + Send,
) {
    let allocate = || lens.map(Buffer::uninit);
    if is_fake() {
        // The memory that all threads hold at a time.
        drop((0..tasks.min(rayon::current_num_threads())).map(|_| allocate()).collect::<Vec<_>>());
        return;
    }
    par_for(tasks, |task| f(task, allocate().each_mut().map(|buffer| &mut buffer[..])));
}

/// Elements of an elementwise task: large enough to hide the cost of a task, small enough to
/// balance the load.
pub(crate) const CHUNK: usize = 32 * 1024;

/// Runs `f(i, chunk)` over the chunks of `out`, in parallel.
pub(crate) fn par_chunks_mut(
    out: &mut [f32],
    chunk: usize,
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    let len = out.len();
    if len == 0 {
        return; // an empty image may have chunks of length 0
    }
    let base = SendPtr(out.as_mut_ptr());
    par_for(len.div_ceil(chunk), |i| {
        let start = i * chunk;
        // SAFETY: the ranges of different tasks are disjoint parts of `out`, which outlives the
        // call.
        let part = unsafe {
            std::slice::from_raw_parts_mut(base.get().add(start), chunk.min(len - start))
        };
        f(i, part);
    });
}

/// A pointer that tasks share to write disjoint elements.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr<T>(pub *mut T);
// SAFETY: each use states why its tasks access disjoint elements.
unsafe impl<T> Send for SendPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for SendPtr<T> {}
impl<T> SendPtr<T> {
    /// The pointer; a method, so that closures capture the wrapper and not the raw field.
    pub(crate) fn get(&self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn gradual_underflow() -> bool {
        black_box(f32::MIN_POSITIVE) * black_box(0.5) > 0.0
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn denormals_are_flushed_in_tasks_and_the_mode_survives_a_panic() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        pool.install(|| {
            for tasks in [1, 50] {
                let gradual = AtomicUsize::new(0);
                par_for(tasks, |_| {
                    gradual.fetch_add(usize::from(gradual_underflow()), Ordering::Relaxed);
                });
                assert_eq!(gradual.into_inner(), 0, "tasks that did not flush, of {tasks}");
                let panicked =
                    catch_unwind(AssertUnwindSafe(|| par_for(tasks, |_| panic!("in a kernel"))));
                assert!(
                    panicked.is_err() && gradual_underflow(),
                    "after a panic in one of {tasks} tasks"
                );
                assert!(rayon::broadcast(|_| gradual_underflow()).into_iter().all(|kept| kept));
            }
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| par_for(1, |_| panic!("in a kernel"))));
        assert!(panicked.is_err() && gradual_underflow(), "on a thread outside the pool");
    }

    #[test]
    fn chunks_cover_everything_once() {
        for (len, chunk) in [(0, 0), (0, 5), (1, 5), (5, 5), (11, 5), (100, 1)] {
            let mut out = vec![-1f32; len];
            par_chunks_mut(&mut out, chunk, |i, part| {
                part.iter_mut().enumerate().for_each(|(j, v)| *v += (i * chunk + j) as f32)
            });
            assert!(
                out.iter().enumerate().all(|(i, v)| *v == i as f32 - 1.0),
                "{len} by {chunk}: {out:?}"
            );
        }
    }
}
