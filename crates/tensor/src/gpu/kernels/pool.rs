//! Pooling windows.

use super::{each, new};
use crate::cpu::pool::PoolCall;
use crate::gpu::{Array, Def, Params, Spec};

const KINDS: [&str; 5] = ["ARGMAX", "GATHER", "SCATTER", "AVERAGE", "AVERAGE_GRAD"];

fn spec(name: &str) -> Spec {
    Spec::new("pool", "main", &KINDS.map(|n| (n, Def::Flag(n == name))))
}

pub(super) fn specialisations() -> Vec<Spec> {
    KINDS.iter().map(|name| spec(name)).collect()
}

fn run(name: &str, inputs: &[&Array], call: PoolCall, len: usize) -> Array {
    let [_, h, w, c] = call.input;
    let [_, oh, ow, _] = call.output();
    let out = new(inputs[0].gpu(), len);
    let sizes = |p: Params| p.sizes([h, w, c, oh, ow]).sizes(call.kernel).sizes(call.stride);
    each(spec(name), inputs, &out, 1, sizes);
    out
}

fn outputs(call: PoolCall) -> usize {
    call.output().iter().product()
}

/// For each output, the index within its image of the window's largest element, as integers.
pub(crate) fn argmax(x: &Array, call: PoolCall) -> Array {
    run("ARGMAX", &[x], call, outputs(call))
}

/// The elements that [`argmax`] chose.
pub(crate) fn gather(x: &Array, index: &Array, call: PoolCall) -> Array {
    run("GATHER", &[x, index], call, outputs(call))
}

/// The adjoint of [`gather`].
pub(crate) fn scatter_add(dy: &Array, index: &Array, call: PoolCall) -> Array {
    run("SCATTER", &[dy, index], call, call.input.iter().product())
}

/// Means of windows.
pub(crate) fn average(x: &Array, call: PoolCall) -> Array {
    run("AVERAGE", &[x], call, outputs(call))
}

/// The adjoint of [`average`].
pub(crate) fn average_grad(dy: &Array, call: PoolCall) -> Array {
    run("AVERAGE_GRAD", &[dy], call, call.input.iter().product())
}
