//! L1 distances between all pairs of rows.

use super::launch::each;
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::shader::ShaderSpec;

fn spec(forward: bool) -> ShaderSpec {
    ShaderSpec::new("distance").flag("FORWARD", forward)
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    [true, false].map(spec).into()
}

/// `out[i, j, b] = Σ_c |m[i, b, c] − m[j, b, c]|`.
pub(crate) fn pairwise_l1(m: &GpuBuffer, sizes: [usize; 3]) -> GpuBuffer {
    let out = GpuBuffer::uninit(m.gpu(), sizes[0] * sizes[0] * sizes[1]);
    each(spec(true), &[m], &out, 1, |p| p.sizes(sizes));
    out
}

/// `out[i, b, c] = Σ_j (g[i, j, b] + g[j, i, b]) · sign(m[i, b, c] − m[j, b, c])`.
pub(crate) fn pairwise_l1_grad(m: &GpuBuffer, g: &GpuBuffer, sizes: [usize; 3]) -> GpuBuffer {
    let out = GpuBuffer::uninit(m.gpu(), m.len());
    each(spec(false), &[m, g], &out, 1, |p| p.sizes(sizes));
    out
}
