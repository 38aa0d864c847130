//! The instruction set that kernels use, chosen once per process.

use std::fmt;
use std::str::FromStr;
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
    /// Scalar code for every processor.
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

impl FromStr for Isa {
    type Err = IsaError;

    /// # Errors
    /// Returns [`IsaError::Unavailable`] unless `name` is an instruction set that this processor
    /// has.
    fn from_str(name: &str) -> Result<Self, IsaError> {
        let available = available();
        let found = available.iter().copied().find(|isa| isa.to_string() == name);
        found.ok_or_else(|| IsaError::Unavailable { name: name.into(), available })
    }
}

/// The reason why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// The name is unknown, or the processor lacks the instruction set.
    #[error("instruction set {name:?} is not available on this processor")]
    Unavailable {
        /// The requested name.
        name: String,
        /// The instruction sets that can be used, the best one first.
        available: Vec<Isa>,
    },
    /// Kernels have run already, with another instruction set.
    #[error("instruction set {used} is in use already")]
    InUse {
        /// The instruction set in use.
        used: Isa,
    },
}

/// The instruction sets of this processor, the best one first.
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

static ISA: OnceLock<Isa> = OnceLock::new();

/// Makes kernels use `isa` instead of the best instruction set of the processor: before the first
/// operation.
///
/// # Errors
/// Returns an error if the processor lacks `isa`, or another instruction set is in use already.
pub fn set_isa(isa: Isa) -> Result<(), IsaError> {
    let available = available();
    if !available.contains(&isa) {
        return Err(IsaError::Unavailable { name: isa.to_string(), available });
    }
    match *ISA.get_or_init(|| isa) {
        used if used == isa => Ok(()),
        used => Err(IsaError::InUse { used }),
    }
}

/// The instruction set in use: the best one of the processor, or the one given to [`set_isa`]. The
/// first call fixes it.
pub fn isa() -> Isa {
    *ISA.get_or_init(|| available()[0])
}

/// Compiles a function once per instruction set and calls the version in use. The body is scalar
/// code that the compiler vectorizes; since it may not reassociate floating-point operations, every
/// version computes the same bits.
macro_rules! multiversion {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$($g:ident: $bound:path),+>)?
        ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    ) => {
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
                match $crate::cpu::isa::isa() {
                    // SAFETY: `isa()` names only what this processor has.
                    $crate::cpu::isa::Isa::Avx512 => unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::cpu::isa::Isa::Avx2 => unsafe { avx2($($arg),*) },
                    _ => body($($arg),*),
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            body($($arg),*)
        }
    };
}
pub(crate) use multiversion;
