//! Which algorithm computes a convolution: a function of the operation, its sizes and the
//! instruction set alone, by a table that measurements gave, so the same training has the same bits
//! on every machine of a kind.

use super::isa::{Isa, isa};
use super::winograd;
use crate::descriptors::{ConvGeom, ConvParams, is_batch_invariant};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Names the algorithms that decide the last bits of a result: block lengths, splits of sums,
/// formulas, and which kernel computes which shape. It changes whenever one of them does.
const TABLE: &str = "winograd-8";

/// A member of the convolution triple.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConvOp {
    Forward,
    InputGrad,
    WeightGrad,
}

/// The algorithm that a process uses for its convolutions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConvAlgorithm {
    /// The fastest one measured for each call.
    Auto,
    /// Direct convolution, by the definition.
    Direct,
    /// Winograd's F(2×2, 2×2) or F(2×2, 3×3): tiles of 2×2 outputs.
    F2,
    /// Winograd's F(4×4, 2×2) or F(4×4, 3×3): tiles of 4×4 outputs, with fewer
    /// multiplications.
    F4,
}

impl ConvAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Direct, Self::F2, Self::F4];
}

impl fmt::Display for ConvAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::F2 => "f2",
            Self::F4 => "f4",
        })
    }
}

impl FromStr for ConvAlgorithm {
    type Err = ConvAlgorithmError;

    /// # Errors
    /// Returns an error unless `name` is `auto`, `direct`, `f2` or `f4`.
    fn from_str(name: &str) -> Result<Self, ConvAlgorithmError> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.to_string() == name);
        found.ok_or_else(|| ConvAlgorithmError::Unknown(name.into()))
    }
}

/// The reason why a convolution algorithm cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvAlgorithmError {
    /// No algorithm has this name.
    #[error("convolution algorithm {0:?} is unknown")]
    Unknown(String),
    /// Convolutions have run already, with another algorithm.
    #[error("convolution algorithm {0} is in use already")]
    InUse(ConvAlgorithm),
}

static ALGORITHM: OnceLock<ConvAlgorithm> = OnceLock::new();

/// Makes convolutions use `algorithm` wherever it is able to compute them (F2 where F4 is not
/// accurate enough): before the first convolution.
///
/// # Errors
/// Returns an error if another algorithm is in use already.
pub fn set_conv_algorithm(algorithm: ConvAlgorithm) -> Result<(), ConvAlgorithmError> {
    match *ALGORITHM.get_or_init(|| algorithm) {
        used if used == algorithm => Ok(()),
        used => Err(ConvAlgorithmError::InUse(used)),
    }
}

fn conv_algorithm() -> ConvAlgorithm {
    *ALGORITHM.get_or_init(|| ConvAlgorithm::Auto)
}

/// Names the CPU algorithms in use, for checkpoints: two runs with one name and one instruction set
/// have the same bits.
pub fn numerics_version() -> String {
    match conv_algorithm() {
        ConvAlgorithm::Auto => TABLE.into(),
        forced => format!("{TABLE}, {forced} convolutions"),
    }
}

/// The algorithm for one call, never `Auto`.
pub(crate) fn algorithm(op: ConvOp, call: &ConvParams) -> ConvAlgorithm {
    let able = winograd::taps(&call.geom).is_some()
        && call.cin.is_multiple_of(winograd::LANES)
        && call.cout.is_multiple_of(winograd::LANES);
    if !able || is_batch_invariant() {
        return ConvAlgorithm::Direct;
    }
    match conv_algorithm() {
        ConvAlgorithm::Auto => table(op, call, isa()),
        ConvAlgorithm::F4 if !exact(op, &call.geom) => ConvAlgorithm::F2,
        forced => forced,
    }
}

/// Whether F4 is known to keep errors below 1e-5 of the largest element. Generators chain
/// transposed convolutions of stride 1 with batch norm between them: with F4 the images of
/// `newmu-imagenet32` were off by 4e-5, with F2 by less than 1e-5; and one of 2000 random layers
/// alone was off by more than 1e-5. That was with other interpolation points and one chain of sums
/// a block; today's round less, and were not tried here.
fn exact(op: ConvOp, geom: &ConvGeom) -> bool {
    op != ConvOp::InputGrad || geom.stride != [1; 2]
}

/// Layers with fewer channels on either side use the direct algorithm, so small networks keep its
/// results.
const MIN_CHANNELS: usize = 32;
/// Below this many tiles of 4×4 outputs in a batch, transforming the weights costs more than F4
/// saves over F2.
const MIN_TILES: usize = 16;
/// Below this many images no other algorithm was measurably faster.
const MIN_BATCH: usize = 8;

/// The table. Measured in CPU time on one AVX-512 core, batches of 8 to 128 of the layers of
/// 28×28, 32×32 and 64×64 networks, 4×4 kernels, 64 to 512 channels: the form with the fewest
/// multiplications was fastest for all three operations, except F4 with few tiles. The same holds
/// for 3×3 kernels of stride 1 on one AVX2 core, from 4×4 to 32×32 and 32 to 512 channels; there
/// the input gradient uses F2 for its smaller errors.
fn table(op: ConvOp, call: &ConvParams, isa: Isa) -> ConvAlgorithm {
    let ConvParams { geom, batch, cin, cout } = *call;
    // Measured for the two instruction sets with fused multiply-add.
    let measured = match (op, isa) {
        (ConvOp::Forward | ConvOp::InputGrad | ConvOp::WeightGrad, Isa::Avx512 | Isa::Avx2) => true,
        (_, Isa::Neon | Isa::Portable) => false,
    };
    if !measured || cin < MIN_CHANNELS || cout < MIN_CHANNELS || batch < MIN_BATCH {
        return ConvAlgorithm::Direct;
    }
    let [oh, ow] = geom.output();
    let tiles = |m: usize| oh.div_ceil(m) * ow.div_ceil(m);
    // Multiplications of an image per pair of channels; partial tiles count in full.
    let products = |m: usize| {
        (geom.stride[0] * (m + geom.kernel[0].div_ceil(geom.stride[0]) - 1)).pow(2) * tiles(m)
    };
    let (direct, f2, f4) = (geom.kernel[0].pow(2) * oh * ow, products(2), products(4));
    if exact(op, &geom) && f4 <= f2 && 4 * f4 <= 3 * direct && batch * tiles(4) >= MIN_TILES {
        ConvAlgorithm::F4
    } else if 4 * f2 <= 3 * direct {
        ConvAlgorithm::F2
    } else {
        ConvAlgorithm::Direct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let of = |op, geom, batch, cin, cout| {
            table(op, &ConvParams { geom, batch, cin, cout }, Isa::Avx512)
        };
        let choose = |side, batch, cin, cout| {
            of(ConvOp::Forward, ConvGeom::square([side; 2], 4, 2, 1), batch, cin, cout)
        };
        assert_eq!(choose(32, 128, 64, 128), ConvAlgorithm::F4);
        assert_eq!(choose(14, 16, 64, 128), ConvAlgorithm::F4);
        assert_eq!(choose(8, 16, 256, 512), ConvAlgorithm::F4);
        assert_eq!(choose(8, 8, 256, 512), ConvAlgorithm::F2);
        assert_eq!(choose(10, 64, 64, 64), ConvAlgorithm::Direct);
        assert_eq!(choose(12, 64, 64, 64), ConvAlgorithm::F2);
        assert_eq!(choose(32, 128, 16, 128), ConvAlgorithm::Direct);
        assert_eq!(choose(32, 1, 64, 128), ConvAlgorithm::Direct);
        let three = |op, side| of(op, ConvGeom::square([side; 2], 3, 1, 1), 32, 96, 192);
        assert_eq!(
            [16, 8, 2].map(|side| three(ConvOp::Forward, side)),
            [ConvAlgorithm::F4, ConvAlgorithm::F4, ConvAlgorithm::F2]
        );
        assert_eq!(
            [ConvOp::InputGrad, ConvOp::WeightGrad].map(|op| three(op, 16)),
            [ConvAlgorithm::F2, ConvAlgorithm::F4]
        );
    }

    #[test]
    fn names() {
        for algorithm in ConvAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        assert_eq!("fft".parse::<ConvAlgorithm>(), Err(ConvAlgorithmError::Unknown("fft".into())));
    }
}
