//! One module per kernel family, as in `cpu/`: each turns sizes into dispatches of its file in `shaders/`.

pub(crate) mod conv;
pub(crate) mod distance;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod movement;
pub(crate) mod norm;
pub(crate) mod optim;
pub(crate) mod peak;
pub(crate) mod pool;
pub(crate) mod random;
pub(crate) mod reduce;

use super::{Dispatch, Gpu, GpuBuffer, Params, ShaderSpec};

/// Invocations of a workgroup in kernels without tiles.
const THREADS: u64 = 256;

/// Records a kernel of one thread per `per_thread` numbers of `out`; its parameters begin with the number of threads.
fn each(
    spec: ShaderSpec,
    inputs: &[&GpuBuffer],
    out: &GpuBuffer,
    per_thread: usize,
    params: impl FnOnce(Params) -> Params,
) {
    let count = out.len().div_ceil(per_thread);
    let params = params(Params::new().sizes([count]));
    let groups = (count as u64).div_ceil(THREADS);
    // Such kernels are bound by memory: a number costs about as much as some 10 multiplications.
    let work = out.len() as f64 * 10.0;
    out.gpu().run(&Dispatch { spec, inputs, outputs: &[out], params, groups, depth: 1, work });
}

/// Every kernel that any size, shape or choice can ask for.
pub(super) fn specializations() -> Vec<ShaderSpec> {
    let families = [
        elementwise::specializations(),
        reduce::specializations(),
        conv::specializations(),
        gemm::specializations(),
        norm::specializations(),
        movement::specializations(),
        pool::specializations(),
        distance::specializations(),
        random::specializations(),
        optim::specializations(),
        peak::specializations(),
    ];
    families.into_iter().flatten().collect()
}

/// A new array for a result.
fn new(gpu: &Gpu, len: usize) -> GpuBuffer {
    GpuBuffer::uninit(gpu, len)
}
