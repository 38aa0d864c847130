//! The measured peak rate of multiply-adds, with which benchmarks compare kernels.

use super::simd::{Simd, simd_const, simd_dispatch};
use std::time::Instant;

/// Independent chains: enough to fill two pipelines of latency 4 in any of the instruction sets.
const CHAINS: usize = 10;
const ROUNDS: usize = 4096;

#[inline(always)]
unsafe fn chains<S: Simd>() -> f32 {
    let (a, b) = ([0.999_f32; 16], [1e-3f32; 16]);
    // SAFETY: the caller promises the instruction set; the arrays hold a whole register.
    unsafe {
        let (a, b) = (S::load(a.as_ptr()), S::load(b.as_ptr()));
        let mut acc = [b; CHAINS];
        for _ in 0..ROUNDS {
            for v in &mut acc {
                *v = S::fma(*v, a, b);
            }
        }
        let mut out = [0f32; 16];
        let sum = acc.iter().fold(S::zero(), |s, v| S::add(s, *v));
        S::store(out.as_mut_ptr(), sum);
        out[0]
    }
}

simd_dispatch! {
    /// One short run; its work is [`flops`].
    /// # Safety
    /// None: the registers are those of the instruction set in use.
    unsafe fn run[]() -> f32 = chains[]
}

/// Repeats of [`run`] in one measurement: some milliseconds, so that the time to wake a thread is
/// negligible.
const REPEATS: usize = 300;

/// The multiply-add rate of the current rayon pool in FLOP/s at this moment, in the instruction set
/// in use. On a shared machine the rate varies, so compare a kernel with rates measured right
/// before and after it.
pub fn fma_rate() -> f64 {
    let start = Instant::now();
    // One share per thread: tasks from a queue could all be taken by the thread that wakes first.
    rayon::broadcast(|_| {
        for _ in 0..REPEATS {
            // SAFETY: `run` has no precondition.
            std::hint::black_box(unsafe { run() });
        }
    });
    (rayon::current_num_threads() * REPEATS * flops()) as f64 / start.elapsed().as_secs_f64()
}

/// The multiply-add peak of the current rayon pool in FLOP/s: the best of several [`fma_rate`]s.
pub fn fma_peak() -> f64 {
    (0..12).map(|_| fma_rate()).fold(0.0, f64::max)
}

/// The floating-point operations of one [`run`], a multiply-add being two.
fn flops() -> usize {
    2 * CHAINS * ROUNDS * simd_const!(LANES)
}
