//! Batch normalization with the activation that follows.

use super::launch::each;
use crate::descriptors::Activation;
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::dispatch::{Dispatch, Params};
use crate::gpu::shader::ShaderSpec;
use std::sync::Arc;

const STEPS: [&str; 6] =
    ["MOMENTS", "STATISTICS", "APPLY", "GRADIENT_SUMS", "GRADIENTS", "GRADIENT"];
const ACTIVATIONS: [Activation; 5] = [
    Activation::None,
    Activation::Relu,
    Activation::LeakyRelu(0.2),
    Activation::Tanh,
    Activation::Sigmoid,
];
/// Words of channels, and rows, that a workgroup processes at a time.
const WIDE: usize = 16;

/// Where [`apply`] reads scale and offset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Affine {
    /// Both from one buffer, to be applied to x minus its first row.
    Fused,
    /// Each from its own buffer.
    Pair,
    /// The scale is 1.
    Bias,
}

fn slope(activation: Activation) -> f32 {
    if let Activation::LeakyRelu(slope) = activation { slope } else { 0.0 }
}

/// The choices that make a kernel of `norm.wgsl`.
#[derive(Clone, Copy)]
struct Variant {
    step: &'static str,
    /// Whether the channels are read four at a time.
    vec: bool,
    activation: Activation,
    affine: Affine,
}

impl Variant {
    fn new(step: &'static str, vec: bool) -> Self {
        Self { step, vec, activation: Activation::None, affine: Affine::Fused }
    }

    fn spec(self) -> ShaderSpec {
        // The activation and its derivative, as WGSL expressions of x and slope.
        let [activate, derivative] = match self.activation {
            Activation::None => ["x", "1.0"],
            Activation::Relu => ["relu_(x)", "leaky_slope_(x, 0.0)"],
            Activation::LeakyRelu(_) => ["leaky_(x, slope)", "leaky_slope_(x, slope)"],
            Activation::Tanh => ["tanh_(x)", "1.0 - tanh_(x) * tanh_(x)"],
            Activation::Sigmoid => ["sigmoid_(x)", "sigmoid_(x) * (1.0 - sigmoid_(x))"],
        };
        ShaderSpec::new("norm")
            .flags(STEPS, &[self.step])
            .flag("VEC", self.vec)
            .text("WORD", if self.vec { "vec4<f32>" } else { "f32" })
            .flag("ACTIVATED", self.step == "APPLY")
            .text("ACTIVATE", activate)
            .flag("DERIVED", ["GRADIENT_SUMS", "GRADIENT"].contains(&self.step))
            .text("DERIVATIVE", derivative)
            .flag("PAIR", self.affine == Affine::Pair)
            .flag("BIAS", self.affine == Affine::Bias)
    }
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let mut all = vec![Variant::new("STATISTICS", false), Variant::new("GRADIENTS", false)];
    for vec in [false, true] {
        all.push(Variant::new("MOMENTS", vec));
        for activation in ACTIVATIONS {
            let apply = [Affine::Fused, Affine::Pair, Affine::Bias];
            all.extend(apply.map(|affine| Variant {
                activation,
                affine,
                ..Variant::new("APPLY", vec)
            }));
            all.extend(
                ["GRADIENT_SUMS", "GRADIENT"]
                    .map(|step| Variant { activation, ..Variant::new(step, vec) }),
            );
        }
    }
    all.into_iter().map(Variant::spec).collect()
}

/// The split of rows into parts, and of channels into blocks: by the sizes alone.
struct Partition {
    vec: bool,
    rows: usize,
    words: usize,
    parts: usize,
    chunk: usize,
    blocks: usize,
}

impl Partition {
    fn new(len: usize, channels: usize) -> Self {
        let vec = channels.is_multiple_of(4);
        let (rows, words) = (len / channels, if vec { channels / 4 } else { channels });
        // At least 8 rows for each of the 16 rows of a workgroup, and at most 64 parts, which one
        // thread per channel adds.
        let chunk = rows.div_ceil(64).max(128).next_multiple_of(16);
        Self { vec, rows, words, parts: rows.div_ceil(chunk), chunk, blocks: words.div_ceil(WIDE) }
    }

    fn params(&self) -> Params {
        Params::new().sizes([self.rows, self.words, self.parts, self.chunk, self.blocks])
    }

    fn groups(&self) -> u64 {
        (self.parts * self.blocks) as u64
    }
}

/// The statistics that the forward pass keeps for the backward pass, each `[C]` but the last.
pub(crate) struct Statistics {
    pub mean: Arc<GpuBuffer>,
    pub variance: Arc<GpuBuffer>,
    /// `[3, C]`: the scale and the offset that turn x minus its first row into the activation's
    /// argument, and the mean minus the first row.
    pub affine: GpuBuffer,
}

/// Mean and biased variance of each channel, and what these and γ, β apply to x.
pub(crate) fn statistics(
    x: &GpuBuffer,
    gamma: &GpuBuffer,
    beta: &GpuBuffer,
    eps: f32,
) -> Statistics {
    let (gpu, channels) = (x.gpu(), gamma.len());
    let split = Partition::new(x.len(), channels);
    let [means, squares] = [(); 2].map(|()| GpuBuffer::uninit(gpu, split.parts * channels));
    gpu.run(&Dispatch {
        spec: Variant::new("MOMENTS", split.vec).spec(),
        inputs: &[x],
        outputs: &[&means, &squares],
        params: split.params(),
        groups: split.groups(),
        depth: 1,
        work: x.len() as f64 * 10.0,
    });
    let [mean, variance] = [(); 2].map(|()| GpuBuffer::uninit(gpu, channels));
    let affine = GpuBuffer::uninit(gpu, 3 * channels);
    gpu.run(&Dispatch {
        spec: Variant::new("STATISTICS", false).spec(),
        inputs: &[&means, &squares, x, gamma, beta],
        outputs: &[&mean, &variance, &affine],
        params: Params::new().sizes([channels, split.rows, split.parts, split.chunk]).floats([eps]),
        groups: (channels as u64).div_ceil(64),
        depth: 1,
        work: (split.parts * channels) as f64 * 10.0,
    });
    Statistics { mean: Arc::new(mean), variance: Arc::new(variance), affine }
}

fn apply(
    x: &GpuBuffer,
    buffers: &[&GpuBuffer],
    channels: usize,
    affine: Affine,
    activation: Activation,
) -> GpuBuffer {
    let vec = channels.is_multiple_of(4);
    let width = if vec { 4 } else { 1 };
    let out = GpuBuffer::uninit(x.gpu(), x.len());
    let inputs: Vec<&GpuBuffer> = std::iter::once(x).chain(buffers.iter().copied()).collect();
    let variant = Variant { activation, affine, ..Variant::new("APPLY", vec) };
    each(variant.spec(), &inputs, &out, width, |p| {
        p.sizes([channels / width]).floats([slope(activation)])
    });
    out
}

/// activation((x − first) · scale + offset), with the first row of x, by the [`statistics`] of x.
pub(crate) fn normalize(
    x: &GpuBuffer,
    statistics: &Statistics,
    activation: Activation,
) -> GpuBuffer {
    apply(x, &[&statistics.affine], statistics.mean.len(), Affine::Fused, activation)
}

/// activation(x · scale + offset), per channel.
pub(crate) fn scale_shift(
    x: &GpuBuffer,
    scale: &GpuBuffer,
    offset: &GpuBuffer,
    activation: Activation,
) -> GpuBuffer {
    apply(x, &[scale, offset], scale.len(), Affine::Pair, activation)
}

/// activation(x + bias), per channel.
pub(crate) fn bias(x: &GpuBuffer, bias: &GpuBuffer, activation: Activation) -> GpuBuffer {
    apply(x, &[bias], bias.len(), Affine::Bias, activation)
}

/// The gradients of batch norm + activation: dx if `wanted`, dγ, dβ.
pub(crate) fn backward(
    x: &GpuBuffer,
    dy: &GpuBuffer,
    statistics: &Statistics,
    eps: f32,
    activation: Activation,
    wanted: bool,
) -> (Option<GpuBuffer>, GpuBuffer, GpuBuffer) {
    let Statistics { mean, variance, affine } = statistics;
    let (gpu, channels) = (x.gpu(), mean.len());
    let split = Partition::new(x.len(), channels);
    let [sums, weighted] = [(); 2].map(|()| GpuBuffer::uninit(gpu, split.parts * channels));
    let slope = slope(activation);
    gpu.run(&Dispatch {
        spec: Variant { activation, ..Variant::new("GRADIENT_SUMS", split.vec) }.spec(),
        inputs: &[x, dy, affine],
        outputs: &[&sums, &weighted],
        params: split.params().floats([slope]),
        groups: split.groups(),
        depth: 1,
        work: x.len() as f64 * 20.0,
    });
    let [dgamma, dbeta] = [(); 2].map(|()| GpuBuffer::uninit(gpu, channels));
    let linear = GpuBuffer::uninit(gpu, 2 * channels);
    gpu.run(&Dispatch {
        spec: Variant::new("GRADIENTS", false).spec(),
        inputs: &[&sums, &weighted, variance, affine],
        outputs: &[&dgamma, &dbeta, &linear],
        params: Params::new().sizes([channels, split.rows, split.parts]).floats([eps]),
        groups: (channels as u64).div_ceil(64),
        depth: 1,
        work: (split.parts * channels) as f64 * 10.0,
    });
    let dx = wanted.then(|| {
        let dx = GpuBuffer::uninit(gpu, x.len());
        let width = if split.vec { 4 } else { 1 };
        let variant = Variant { activation, ..Variant::new("GRADIENT", split.vec) };
        each(variant.spec(), &[x, dy, affine, &linear], &dx, width, |p| {
            p.sizes([split.words]).floats([slope])
        });
        dx
    });
    (dx, dgamma, dbeta)
}
