//! Updates in place.

use super::each;
use crate::gpu::{Array, Def, Dispatch, Params, Spec};

fn spec(name: &'static str) -> Spec {
    Spec::new("optim", "main", &["ADAM", "LERP"].map(|n| (n, Def::Flag(n == name))))
}

pub(super) fn specialisations() -> Vec<Spec> {
    vec![spec("ADAM"), spec("LERP")]
}

/// One Adam step of one parameter, unless the flag is set.
pub(crate) fn adam(value: &Array, grad: &Array, m: &Array, v: &Array, flag: &Array, constants: [f32; 8]) {
    let count = value.len().div_ceil(4);
    value.gpu().run(&Dispatch {
        spec: spec("ADAM"),
        inputs: &[grad, flag],
        outputs: &[value, m, v],
        params: Params::new().sizes([count]).floats(constants),
        groups: (count as u64).div_ceil(super::THREADS),
        depth: 1,
        work: value.len() as f64 * 20.0,
    });
}

/// `average ← keep · average + (1 − keep) · value`.
pub(crate) fn lerp(average: &Array, value: &Array, keep: f32) {
    each(spec("LERP"), &[value], average, 4, |p| p.floats([keep]));
}
