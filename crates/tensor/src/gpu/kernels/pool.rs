//! Pooling windows.

use super::launch::each;
use crate::descriptors::PoolParams;
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::dispatch::Params;
use crate::gpu::shader::ShaderSpec;

const KINDS: [&str; 5] = ["ARGMAX", "GATHER", "SCATTER", "AVERAGE", "AVERAGE_GRAD"];

fn spec(name: &str) -> ShaderSpec {
    ShaderSpec::new("pool").flags(KINDS, &[name])
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    KINDS.iter().map(|name| spec(name)).collect()
}

fn run(name: &str, inputs: &[&GpuBuffer], params: PoolParams, len: usize) -> GpuBuffer {
    let [_, h, w, c] = params.input;
    let [_, oh, ow, _] = params.output();
    let out = GpuBuffer::uninit(inputs[0].gpu(), len);
    let sizes = |p: Params| p.sizes([h, w, c, oh, ow]).sizes(params.kernel).sizes(params.stride);
    each(spec(name), inputs, &out, 1, sizes);
    out
}

fn outputs(params: PoolParams) -> usize {
    params.output().iter().product()
}

/// For each output, the index within its image of the window's largest element, as integers.
pub(crate) fn argmax(x: &GpuBuffer, params: PoolParams) -> GpuBuffer {
    run("ARGMAX", &[x], params, outputs(params))
}

/// The elements that [`argmax`] chose.
pub(crate) fn gather(x: &GpuBuffer, index: &GpuBuffer, params: PoolParams) -> GpuBuffer {
    run("GATHER", &[x, index], params, outputs(params))
}

/// The adjoint of [`gather`].
pub(crate) fn scatter_add(dy: &GpuBuffer, index: &GpuBuffer, params: PoolParams) -> GpuBuffer {
    run("SCATTER", &[dy, index], params, params.input.iter().product())
}

/// Means of windows.
pub(crate) fn average(x: &GpuBuffer, params: PoolParams) -> GpuBuffer {
    run("AVERAGE", &[x], params, outputs(params))
}

/// The adjoint of [`average`].
pub(crate) fn average_grad(dy: &GpuBuffer, params: PoolParams) -> GpuBuffer {
    run("AVERAGE_GRAD", &[dy], params, params.input.iter().product())
}
