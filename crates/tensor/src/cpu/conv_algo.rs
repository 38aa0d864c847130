//! Which algorithm computes a convolution: a function of the operation, its sizes and the instruction set alone, by a table made
//! from measurements, so that the same training has the same bits on every machine of a kind.

use super::conv::ConvParams;
use super::{Isa, isa, winograd};
use crate::ConvGeom;
use std::cell::Cell;
use std::sync::OnceLock;

/// Names the algorithms whose choice decides the last bits of a result: block lengths, splits of sums, and which kernel serves which
/// shape. It changes whenever one of them does.
const TABLE: &str = "winograd-6";

thread_local! {
    static BATCH_INVARIANT: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f` with convolution algorithms that do not depend on the batch (so far: the direct one), so that a picture has the same bits
/// in any company; on a GPU, sums are not cut by the batch. Only calls made on this thread are meant; training, whose batch is fixed, has no need of it.
pub fn batch_invariant<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            BATCH_INVARIANT.set(self.0);
        }
    }
    let _restore = Restore(BATCH_INVARIANT.replace(true));
    f()
}

/// Whether [`batch_invariant`] is asking.
pub(crate) fn is_batch_invariant() -> bool {
    BATCH_INVARIANT.get()
}

/// The environment variable that overrules the table of convolution algorithms.
pub const CONV_VARIABLE: &str = "DCGAN_CONV";

/// A member of the convolution triple.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConvOp {
    Forward,
    InputGrad,
    WeightGrad,
}

/// How to compute it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Algorithm {
    /// By the definition.
    Direct,
    /// By Winograd's F(2×2, 2×2) or F(2×2, 3×3): tiles of 2×2 outputs.
    F2,
    /// By Winograd's F(4×4, 2×2) or F(4×4, 3×3): tiles of 4×4 outputs, with fewer products.
    F4,
}

/// What [`CONV_VARIABLE`] says: nothing, or an algorithm to use wherever it is able (F2 where F4 is not [`exact`] enough).
fn parse(name: Option<&str>) -> Result<Option<Algorithm>, String> {
    match name {
        None | Some("auto") => Ok(None),
        Some("direct") => Ok(Some(Algorithm::Direct)),
        Some("f2") => Ok(Some(Algorithm::F2)),
        Some("f4") => Ok(Some(Algorithm::F4)),
        Some(name) => Err(format!(
            "{CONV_VARIABLE}={name} is not known: use one of auto, direct, f2, f4, or unset it"
        )),
    }
}

fn forced() -> Result<Option<Algorithm>, String> {
    parse(std::env::var(CONV_VARIABLE).ok().as_deref())
}

/// The convolution algorithms in use: `auto`, the table's, or what the variable `DCGAN_CONV` names.
///
/// # Errors
/// One line, when the variable names something unknown.
pub fn conv_algorithm_from_env() -> Result<String, String> {
    Ok(match forced()? {
        None => "auto",
        Some(Algorithm::Direct) => "direct",
        Some(Algorithm::F2) => "f2",
        Some(Algorithm::F4) => "f4",
    }
    .to_string())
}

/// Names the algorithms in use, for checkpoints: two runs under one name and one instruction set have the same bits.
///
/// # Panics
/// Where [`conv_algorithm_from_env`] errs: a program asks that first.
pub fn numerics_version() -> String {
    match conv_algorithm_from_env().unwrap_or_else(|message| panic!("{message}")).as_str() {
        "auto" => TABLE.into(),
        forced => format!("{TABLE}, {CONV_VARIABLE}={forced}"),
    }
}

/// The algorithm for one call.
///
/// # Panics
/// Where [`conv_algorithm_from_env`] errs: a program asks that first.
pub(crate) fn algorithm(op: ConvOp, call: &ConvParams) -> Algorithm {
    static FORCED: OnceLock<Option<Algorithm>> = OnceLock::new();
    let able = winograd::taps(&call.geom).is_some()
        && call.cin.is_multiple_of(winograd::LANES)
        && call.cout.is_multiple_of(winograd::LANES);
    if !able || BATCH_INVARIANT.get() {
        return Algorithm::Direct;
    }
    match *FORCED.get_or_init(|| forced().unwrap_or_else(|message| panic!("{message}"))) {
        Some(Algorithm::F4) if !exact(op, &call.geom) => Algorithm::F2,
        Some(algorithm) => algorithm,
        None => table(op, call, isa()),
    }
}

/// Whether F4 keeps errors below 1e-5 of the largest number. Transposed convolutions of stride 1 draw pictures one after the other, with batch
/// norm between them: by F4 those of `newmu-imagenet32` were 4e-5 off, by F2 less than 1e-5; and one of 2000 random layers was more than 1e-5 off itself.
fn exact(op: ConvOp, geom: &ConvGeom) -> bool {
    op != ConvOp::InputGrad || geom.stride != [1; 2]
}

/// Below this many channels on either side the numbers of small networks stay those of the direct algorithm.
const MIN_CHANNELS: usize = 32;
/// Below this many tiles of 4×4 outputs in a batch, transforming the weights costs more than F4 saves over F2.
const MIN_TILES: usize = 16;
/// Below this many images nothing was measured to win by much.
const MIN_BATCH: usize = 8;

/// The table. Measured in CPU time on one AVX-512 core, batches of 8 to 128 of the layers of 28×28, 32×32 and 64×64 networks, 4×4
/// kernels, 64 to 512 channels: the form with the fewest products won for all three operations alike, but for F4 with few tiles. So it
/// did for 3×3 kernels of stride 1 on one AVX2 core, from 4×4 to 32×32 and 32 to 512 channels; there the input gradient has F2 for its smaller errors.
fn table(op: ConvOp, call: &ConvParams, isa: Isa) -> Algorithm {
    let ConvParams { geom, batch, cin, cout } = *call;
    // A row for each that was measured: the two with a fused multiply-add.
    let measured = match (op, isa) {
        (ConvOp::Forward | ConvOp::InputGrad | ConvOp::WeightGrad, Isa::Avx512 | Isa::Avx2) => true,
        (_, Isa::Neon | Isa::Portable) => false,
    };
    if !measured || cin < MIN_CHANNELS || cout < MIN_CHANNELS || batch < MIN_BATCH {
        return Algorithm::Direct;
    }
    let [oh, ow] = geom.output();
    let tiles = |m: usize| oh.div_ceil(m) * ow.div_ceil(m);
    // Products of an image for each pair of channels; partial tiles count in full.
    let products = |m: usize| {
        (geom.stride[0] * (m + geom.kernel[0].div_ceil(geom.stride[0]) - 1)).pow(2) * tiles(m)
    };
    let (direct, f2, f4) = (geom.kernel[0].pow(2) * oh * ow, products(2), products(4));
    if exact(op, &geom) && f4 <= f2 && 4 * f4 <= 3 * direct && batch * tiles(4) >= MIN_TILES {
        Algorithm::F4
    } else if 4 * f2 <= 3 * direct {
        Algorithm::F2
    } else {
        Algorithm::Direct
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
        assert_eq!(choose(32, 128, 64, 128), Algorithm::F4);
        assert_eq!(choose(14, 16, 64, 128), Algorithm::F4);
        assert_eq!(choose(8, 16, 256, 512), Algorithm::F4);
        assert_eq!(choose(8, 8, 256, 512), Algorithm::F2);
        assert_eq!(choose(10, 64, 64, 64), Algorithm::Direct);
        assert_eq!(choose(12, 64, 64, 64), Algorithm::F2);
        assert_eq!(choose(32, 128, 16, 128), Algorithm::Direct);
        assert_eq!(choose(32, 1, 64, 128), Algorithm::Direct);
        let three = |op, side| of(op, ConvGeom::square([side; 2], 3, 1, 1), 32, 96, 192);
        assert_eq!(
            [16, 8, 2].map(|side| three(ConvOp::Forward, side)),
            [Algorithm::F4, Algorithm::F4, Algorithm::F2]
        );
        assert_eq!(
            [ConvOp::InputGrad, ConvOp::WeightGrad].map(|op| three(op, 16)),
            [Algorithm::F2, Algorithm::F4]
        );
    }

    #[test]
    fn names() {
        assert_eq!((parse(None), parse(Some("auto"))), (Ok(None), Ok(None)));
        assert_eq!(parse(Some("direct")), Ok(Some(Algorithm::Direct)));
        let message = parse(Some("fft")).unwrap_err();
        assert!(message.contains("DCGAN_CONV=fft") && message.contains("direct"), "{message}");
    }
}
