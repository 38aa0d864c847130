//! Pooling windows.

use super::{each, new};
use crate::cpu::pool::PoolParams;
use crate::gpu::{Define, GpuBuffer, Params, ShaderSpec};

const KINDS: [&str; 5] = ["ARGMAX", "GATHER", "SCATTER", "AVERAGE", "AVERAGE_GRAD"];

fn spec(name: &str) -> ShaderSpec {
    ShaderSpec::new("pool", "main", &KINDS.map(|n| (n, Define::Flag(n == name))))
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    KINDS.iter().map(|name| spec(name)).collect()
}

fn run(name: &str, inputs: &[&GpuBuffer], call: PoolParams, len: usize) -> GpuBuffer {
    let [_, h, w, c] = call.input;
    let [_, oh, ow, _] = call.output();
    let out = new(inputs[0].gpu(), len);
    let sizes = |p: Params| p.sizes([h, w, c, oh, ow]).sizes(call.kernel).sizes(call.stride);
    each(spec(name), inputs, &out, 1, sizes);
    out
}

fn outputs(call: PoolParams) -> usize {
    call.output().iter().product()
}

/// For each output, the index within its image of the window's largest element, as integers.
pub(crate) fn argmax(x: &GpuBuffer, call: PoolParams) -> GpuBuffer {
    run("ARGMAX", &[x], call, outputs(call))
}

/// The elements that [`argmax`] chose.
pub(crate) fn gather(x: &GpuBuffer, index: &GpuBuffer, call: PoolParams) -> GpuBuffer {
    run("GATHER", &[x, index], call, outputs(call))
}

/// The adjoint of [`gather`].
pub(crate) fn scatter_add(dy: &GpuBuffer, index: &GpuBuffer, call: PoolParams) -> GpuBuffer {
    run("SCATTER", &[dy, index], call, call.input.iter().product())
}

/// Means of windows.
pub(crate) fn average(x: &GpuBuffer, call: PoolParams) -> GpuBuffer {
    run("AVERAGE", &[x], call, outputs(call))
}

/// The adjoint of [`average`].
pub(crate) fn average_grad(dy: &GpuBuffer, call: PoolParams) -> GpuBuffer {
    run("AVERAGE_GRAD", &[dy], call, call.input.iter().product())
}
