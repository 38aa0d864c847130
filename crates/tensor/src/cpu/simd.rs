//! The vector registers that the matrix kernels are written in, one implementation per instruction
//! set.

/// A register of `LANES` floats. All functions must be called from code compiled for the
/// instruction set.
pub(crate) trait Simd: Copy {
    /// Floats per register.
    const LANES: usize;
    /// Registers per row of the widest tile, which fills the register file.
    const WIDE: usize;
    /// Rows of the widest tile.
    const TALL: usize;
    type V: Copy;
    /// # Safety
    /// The instruction set must be present.
    unsafe fn zero() -> Self::V;
    /// # Safety
    /// The instruction set must be present, and `p` readable.
    unsafe fn splat(p: *const f32) -> Self::V;
    /// # Safety
    /// The instruction set must be present, and `LANES` floats at `p` readable.
    unsafe fn load(p: *const f32) -> Self::V;
    /// # Safety
    /// The instruction set must be present, and `LANES` floats at `p` writable.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// `a · b + c`; fused where the instruction set has it.
    /// # Safety
    /// The instruction set must be present.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// # Safety
    /// The instruction set must be present.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
}

/// Prefetches the cache line at `p` into the L1 cache, on x86-64. Any address is allowed.
#[inline(always)]
pub(crate) fn prefetch(p: *const f32) {
    hint::<false>(p);
}

/// [`prefetch`] into the L2 cache, for data that is read later.
#[inline(always)]
pub(crate) fn prefetch_far(p: *const f32) {
    hint::<true>(p);
}

#[inline(always)]
fn hint<const FAR: bool>(p: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the hint does not access memory, and every x86-64 processor has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        if FAR {
            _mm_prefetch::<_MM_HINT_T1>(p.cast())
        } else {
            _mm_prefetch::<_MM_HINT_T0>(p.cast())
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// Implements [`Simd`] by the intrinsics of AVX2 (sixteen registers) or AVX-512 (thirty-two).
    macro_rules! registers {
        (
            $name:ident, $lanes:literal lanes, $wide:literal wide, $v:ident,
            $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident
        ) => {
            #[derive(Clone, Copy)]
            pub(crate) struct $name;
            impl Simd for $name {
                const LANES: usize = $lanes;
                const WIDE: usize = $wide;
                const TALL: usize = 6;
                type V = $v;
                #[inline(always)]
                unsafe fn zero() -> $v {
                    // SAFETY: the caller's promise.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(p: *const f32) -> $v {
                    // SAFETY: the caller's promise.
                    unsafe { $splat(*p) }
                }
                #[inline(always)]
                unsafe fn load(p: *const f32) -> $v {
                    // SAFETY: the caller's promise.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn store(p: *mut f32, v: $v) {
                    // SAFETY: the caller's promise.
                    unsafe { $store(p, v) }
                }
                #[inline(always)]
                unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                    // SAFETY: the caller's promise.
                    unsafe { $fma(a, b, c) }
                }
                #[inline(always)]
                unsafe fn add(a: $v, b: $v) -> $v {
                    // SAFETY: the caller's promise.
                    unsafe { $add(a, b) }
                }
            }
        };
    }

    registers!(
        Avx512, 16 lanes, 4 wide, __m512,
        _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps,
        _mm512_add_ps
    );
    registers!(
        Avx2, 8 lanes, 2 wide, __m256,
        _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps,
        _mm256_add_ps
    );
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm {
    use super::Simd;
    use std::arch::aarch64::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Neon;
    impl Simd for Neon {
        const LANES: usize = 4;
        const WIDE: usize = 4;
        const TALL: usize = 6;
        type V = float32x4_t;
        #[inline(always)]
        unsafe fn zero() -> float32x4_t {
            // SAFETY: the caller's promise.
            unsafe { vdupq_n_f32(0.0) }
        }
        #[inline(always)]
        unsafe fn splat(p: *const f32) -> float32x4_t {
            // SAFETY: the caller's promise.
            unsafe { vld1q_dup_f32(p) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> float32x4_t {
            // SAFETY: the caller's promise.
            unsafe { vld1q_f32(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: float32x4_t) {
            // SAFETY: the caller's promise.
            unsafe { vst1q_f32(p, v) }
        }
        #[inline(always)]
        unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            // SAFETY: the caller's promise.
            unsafe { vfmaq_f32(c, a, b) }
        }
        #[inline(always)]
        unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            // SAFETY: the caller's promise.
            unsafe { vaddq_f32(a, b) }
        }
    }
}

/// Four lanes of scalar arithmetic, which the compiler vectorizes for any processor.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    const LANES: usize = 4;
    const WIDE: usize = 2;
    const TALL: usize = 4;
    type V = [f32; 4];
    #[inline(always)]
    unsafe fn zero() -> [f32; 4] {
        [0.0; 4]
    }
    #[inline(always)]
    unsafe fn splat(p: *const f32) -> [f32; 4] {
        // SAFETY: the caller's promise.
        [unsafe { *p }; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 4]) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] + b[i])
    }
}

/// A constant of the registers in use: `simd_const!(LANES)`.
macro_rules! simd_const {
    ($name:ident) => {{
        use $crate::cpu::{isa::Isa, simd, simd::Simd};
        match $crate::cpu::isa::isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => simd::x86::Avx512::$name,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => simd::x86::Avx2::$name,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => simd::arm::Neon::$name,
            _ => simd::Portable::$name,
        }
    }};
}
pub(crate) use simd_const;

/// Compiles `$body::<S, …>` for the registers `S` of each instruction set and calls the one in
/// use. The generic parameters other than `S` stand in brackets, once with their bounds and once
/// without.
macro_rules! simd_dispatch {
    (
        $(#[$meta:meta])*
        $vis:vis unsafe fn $name:ident[$($params:tt)*]($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?
        = $body:ident[$($generic:tt)*]
    ) => {
        $(#[$meta])*
        $vis unsafe fn $name<$($params)*>($($arg: $ty),*) $(-> $ret)? {
            use $crate::cpu::{isa::Isa, simd};
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            unsafe fn avx512<$($params)*>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe { $body::<simd::x86::Avx512, $($generic)*>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2<$($params)*>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe { $body::<simd::x86::Avx2, $($generic)*>($($arg),*) }
            }
            // SAFETY: the caller's promise; `isa()` names only what this processor has.
            unsafe {
                match $crate::cpu::isa::isa() {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => avx512::<$($generic)*>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => avx2::<$($generic)*>($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => $body::<simd::arm::Neon, $($generic)*>($($arg),*),
                    _ => $body::<simd::Portable, $($generic)*>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use simd_dispatch;
