//! The CPU back end: rayon over tiles, SIMD inside.
//!
//! Results never depend on the number of threads: work is cut by shape alone, and every output is one chain of
//! operations in a fixed order.

pub(crate) mod buffer;
pub(crate) mod conv;
pub(crate) mod conv_algo;
pub(crate) mod distance;
pub(crate) mod elementwise;
pub(crate) mod few_channel_conv;
pub(crate) mod gemm;
pub(crate) mod math;
pub(crate) mod microkernel;
pub(crate) mod movement;
pub(crate) mod norm;
pub(crate) mod optim;
pub(crate) mod peak;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod simd;
pub(crate) mod winograd;

pub(crate) use buffer::Buffer;

use rayon::prelude::*;
use std::fmt;
use std::sync::OnceLock;

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// x86-64 with AVX-512 F/VL/BW/DQ: 16 lanes, 32 registers.
    Avx512,
    /// x86-64 with AVX2 and FMA: 8 lanes, 16 registers.
    Avx2,
    /// 64-bit Arm: 4 lanes, 32 registers.
    Neon,
    /// What every processor has.
    Portable,
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Portable => "portable",
        })
    }
}

/// The environment variable that chooses an instruction set below the best one.
pub const ISA_VARIABLE: &str = "DCGAN_SIMD";

fn available() -> Vec<Isa> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && ["avx512f", "avx512vl", "avx512bw", "avx512dq"].iter().all(|f| match *f {
                "avx512f" => is_x86_feature_detected!("avx512f"),
                "avx512vl" => is_x86_feature_detected!("avx512vl"),
                "avx512bw" => is_x86_feature_detected!("avx512bw"),
                _ => is_x86_feature_detected!("avx512dq"),
            });
        if avx512 {
            all.push(Isa::Avx512);
        }
        if avx2 {
            all.push(Isa::Avx2);
        }
    }
    #[cfg(target_arch = "aarch64")]
    all.push(Isa::Neon);
    all.push(Isa::Portable);
    all
}

/// The instruction set in use: the best the processor has, or what the variable `DCGAN_SIMD` names.
///
/// # Errors
/// One line, when the variable names an instruction set that is unknown or that this processor lacks.
pub fn isa_from_env() -> Result<Isa, String> {
    let all = available();
    match std::env::var(ISA_VARIABLE) {
        Err(_) => Ok(all[0]),
        Ok(name) => all.iter().copied().find(|isa| isa.to_string() == name).ok_or_else(|| {
            let names: Vec<String> = all.iter().map(Isa::to_string).collect();
            format!(
                "{ISA_VARIABLE}={name} is not available here: use one of {}, or unset it",
                names.join(", ")
            )
        }),
    }
}

/// The instruction set in use; fixed at the first call.
///
/// # Panics
/// Where [`isa_from_env`] errs: a program asks that first.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| isa_from_env().unwrap_or_else(|message| panic!("{message}")))
}

/// Flushes denormals to zero on this thread while it lives, and restores the mode when dropped (also on unwind).
/// A saturated discriminator fills gradients with denormals, which are about 79 times slower than normal numbers.
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
            // SAFETY: reads and writes this thread's MXCSR; only FTZ (bit 15) and DAZ (bit 6) change, and no code
            // between here and `drop` relies on gradual underflow. Rust reserves these bits, and there is no sanctioned way to flush
            // denormals: what the optimiser may do in their name is to move or fold an operation across the switch, whose denormals are
            // then kept or flushed. The results here are no different for it beyond numbers below 1.2e-38.
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
            // SAFETY: puts back the mode read in `new`.
            unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &saved, options(nostack, readonly)) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: puts back the mode read in `new`.
        unsafe {
            std::arch::asm!("msr fpcr, {}", in(reg) self.saved, options(nomem, nostack))
        }
    }
}

/// Runs `f(0) … f(tasks − 1)` on the current rayon pool, denormals flushed.
pub(crate) fn par_for(tasks: usize, f: impl Fn(usize) + Sync + Send) {
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

/// Elements of an elementwise task: large enough to hide the hand-over, small enough to balance.
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
        // SAFETY: the ranges of different tasks do not overlap and lie within `out`, which outlives the call.
        let part = unsafe {
            std::slice::from_raw_parts_mut(base.get().add(start), chunk.min(len - start))
        };
        f(i, part);
    });
}

/// A pointer that tasks writing disjoint places may share.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr<T>(pub *mut T);
// SAFETY: whoever shares it promises, at each use, that tasks touch disjoint elements.
unsafe impl<T> Send for SendPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for SendPtr<T> {}
impl<T> SendPtr<T> {
    /// The pointer; a method, so that closures capture the wrapper and not the raw field.
    pub(crate) fn get(&self) -> *mut T {
        self.0
    }
}

/// Compiles a function once per instruction set and calls the one in use. The body is ordinary code that the
/// compiler vectorises; without reassociation it computes the same bits everywhere.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($g:ident: $bound:path),+>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name $(<$($g: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body $(<$($g: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                fn avx512 $(<$($g: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$($g: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                match $crate::cpu::isa() {
                    // SAFETY: `isa()` names only what this processor has.
                    $crate::cpu::Isa::Avx512 => unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::cpu::Isa::Avx2 => unsafe { avx2($($arg),*) },
                    _ => body($($arg),*),
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            body($($arg),*)
        }
    };
}
pub(crate) use multiversion;

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
