//! Random values.

use super::launch::each;
use crate::descriptors::Distribution;
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::context::Gpu;
use crate::gpu::shader::ShaderSpec;

fn spec(distribution: Distribution) -> ShaderSpec {
    let name = match distribution {
        Distribution::Uniform { .. } => "UNIFORM",
        Distribution::Normal { .. } => "NORMAL",
        Distribution::Bernoulli { .. } => "BERNOULLI",
    };
    ShaderSpec::new("random").flags(["UNIFORM", "NORMAL", "BERNOULLI"], &[name])
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    vec![
        spec(Distribution::Uniform { low: 0.0, high: 1.0 }),
        spec(Distribution::Normal { mean: 0.0, std: 1.0 }),
        spec(Distribution::Bernoulli { keep: 0.5, value: 1.0 }),
    ]
}

/// `len` values of a stream from its block `first` on.
pub(crate) fn fill(
    gpu: &Gpu,
    len: usize,
    distribution: Distribution,
    [seed, stream, first]: [u64; 3],
) -> GpuBuffer {
    let out = GpuBuffer::uninit(gpu, len);
    let [u, v] = match distribution {
        Distribution::Uniform { low, high } => [low, high],
        Distribution::Normal { mean, std } => [mean, std],
        Distribution::Bernoulli { keep, value } => [keep, value],
    };
    let halves = |v: u64| [v as u32, (v >> 32) as u32];
    each(spec(distribution), &[], &out, 4, |p| {
        p.words([first, stream, seed].into_iter().flat_map(halves)).floats([u, v])
    });
    out
}
