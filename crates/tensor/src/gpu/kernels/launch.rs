//! The launch of a kernel without tiles.

use crate::gpu::buffer::GpuBuffer;
use crate::gpu::dispatch::{Dispatch, Params};
use crate::gpu::shader::ShaderSpec;

/// Threads of a workgroup in kernels without tiles.
pub(super) const THREADS: u64 = 256;

/// Records a kernel of one thread per `per_thread` elements of `out`; its parameters begin with the
/// number of threads.
pub(super) fn each(
    spec: ShaderSpec,
    inputs: &[&GpuBuffer],
    out: &GpuBuffer,
    per_thread: usize,
    params: impl FnOnce(Params) -> Params,
) {
    let count = out.len().div_ceil(per_thread);
    let params = params(Params::new().sizes([count]));
    let groups = (count as u64).div_ceil(THREADS);
    // Such kernels are bound by memory: an element takes about as long as 10 multiplications.
    let work = out.len() as f64 * 10.0;
    out.gpu().run(&Dispatch { spec, inputs, outputs: &[out], params, groups, depth: 1, work });
}
