//! The machine's own limits, measured: what benchmarks are held against.

use super::simd::{Portable, Simd};
use super::{Isa, isa};
use std::time::Instant;

/// Independent chains: enough to fill two pipelines of latency 4 in any of the instruction sets.
const CHAINS: usize = 10;
const ROUNDS: usize = 4096;

#[inline(always)]
unsafe fn chains<S: Simd>() -> f32 {
    let (a, b) = ([0.999_f32; 16], [1e-3f32; 16]);
    // SAFETY: the caller's promise about the instruction set; the arrays hold a whole register.
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

/// One short run; its work is [`flops`].
fn run() {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
    fn avx512() -> f32 {
        // SAFETY: compiled for, and called only with, this instruction set.
        unsafe { chains::<super::simd::x86::Avx512>() }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2() -> f32 {
        // SAFETY: as above.
        unsafe { chains::<super::simd::x86::Avx2>() }
    }
    let value = match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa()` names only what this processor has.
        Isa::Avx512 => unsafe { avx512() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2() },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::Neon => unsafe { chains::<super::simd::arm::Neon>() },
        // SAFETY: needs nothing.
        _ => unsafe { chains::<Portable>() },
    };
    std::hint::black_box(value);
}

/// Repeats of [`run`] in one measurement: some milliseconds, in which a thread's waking does not count.
const REPEATS: usize = 300;

/// The multiply-add rate of the current rayon pool in FLOP/s at this moment, in the instruction set in use. On a machine that is shared
/// with others it changes from one moment to the next: a kernel is held against what was measured right before and after it.
pub fn fma_rate() -> f64 {
    let start = Instant::now();
    // Each thread has its own share: shared-out tasks could all be taken by one that woke first.
    rayon::broadcast(|_| (0..REPEATS).for_each(|_| run()));
    (rayon::current_num_threads() * REPEATS * flops()) as f64 / start.elapsed().as_secs_f64()
}

/// The multiply-add peak of the current rayon pool in FLOP/s: the best of several [`fma_rate`]s.
pub fn fma_peak() -> f64 {
    (0..12).map(|_| fma_rate()).fold(0.0, f64::max)
}

fn flops() -> usize {
    let lanes = match isa() {
        Isa::Avx512 => 16,
        Isa::Avx2 => 8,
        _ => 4,
    };
    2 * CHAINS * ROUNDS * lanes
}
