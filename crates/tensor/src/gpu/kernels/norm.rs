//! Batch normalisation with the activation that follows.

use super::{each, new};
use crate::Activation;
use crate::gpu::{Define, Dispatch, GpuBuffer, Params, ShaderSpec};
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
/// Words of channels, and rows, that a workgroup takes at a time.
const WIDE: usize = 16;

/// How [`apply`] finds scale and offset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Affine {
    FusedAffine,
    Pair,
    Bias,
}

fn texts(activation: Activation) -> [&'static str; 2] {
    match activation {
        Activation::None => ["x", "1.0"],
        Activation::Relu => ["relu_(x)", "leaky_slope_(x, 0.0)"],
        Activation::LeakyRelu(_) => ["leaky_(x, slope)", "leaky_slope_(x, slope)"],
        Activation::Tanh => ["tanh_(x)", "1.0 - tanh_(x) * tanh_(x)"],
        Activation::Sigmoid => ["sigmoid_(x)", "sigmoid_(x) * (1.0 - sigmoid_(x))"],
    }
}

fn slope(activation: Activation) -> f32 {
    if let Activation::LeakyRelu(slope) = activation { slope } else { 0.0 }
}

fn spec(step: &str, vec: bool, activation: Activation, affine: Affine) -> ShaderSpec {
    let [activate, derivative] = texts(activation);
    let mut defs: Vec<_> = STEPS.map(|s| (s, Define::Flag(s == step))).into();
    let word = if vec { "vec4<f32>" } else { "f32" };
    defs.extend([("VEC", Define::Flag(vec)), ("WORD", Define::Text(word))]);
    defs.extend([
        ("ACTIVATED", Define::Flag(step == "APPLY")),
        ("ACTIVATE", Define::Text(activate)),
    ]);
    defs.extend([
        ("DERIVED", Define::Flag(step.starts_with("GRADIENT") && step != "GRADIENTS")),
        ("DERIVATIVE", Define::Text(derivative)),
    ]);
    defs.extend([
        ("PAIR", Define::Flag(affine == Affine::Pair)),
        ("BIAS", Define::Flag(affine == Affine::Bias)),
    ]);
    ShaderSpec::new("norm", "main", &defs)
}

fn plain(step: &str, vec: bool) -> ShaderSpec {
    spec(step, vec, Activation::None, Affine::FusedAffine)
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let mut all = vec![plain("STATISTICS", false), plain("GRADIENTS", false)];
    for vec in [false, true] {
        all.push(plain("MOMENTS", vec));
        for activation in ACTIVATIONS {
            all.extend(
                [Affine::FusedAffine, Affine::Pair, Affine::Bias]
                    .map(|affine| spec("APPLY", vec, activation, affine)),
            );
            all.extend(
                ["GRADIENT_SUMS", "GRADIENT"]
                    .map(|step| spec(step, vec, activation, Affine::FusedAffine)),
            );
        }
    }
    all
}

/// How rows are cut into parts, and channels into blocks: by the sizes alone.
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
        // At least 8 rows for each of a workgroup's 16, and no more than 64 parts, which one thread per channel adds.
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

/// What the forward pass leaves for the backward one, each `[C]` but the last.
pub(crate) struct Statistics {
    pub mean: Arc<GpuBuffer>,
    pub variance: Arc<GpuBuffer>,
    /// `[2, C]`: the scale and the offset that turn x into the activation's argument.
    pub affine: GpuBuffer,
}

/// Mean and biased variance of each channel, and what they and γ, β make of x.
pub(crate) fn statistics(
    x: &GpuBuffer,
    gamma: &GpuBuffer,
    beta: &GpuBuffer,
    eps: f32,
) -> Statistics {
    let (gpu, channels) = (x.gpu(), gamma.len());
    let cut = Partition::new(x.len(), channels);
    let [means, squares] = [(); 2].map(|()| new(gpu, cut.parts * channels));
    gpu.run(&Dispatch {
        spec: plain("MOMENTS", cut.vec),
        inputs: &[x],
        outputs: &[&means, &squares],
        params: cut.params(),
        groups: cut.groups(),
        depth: 1,
        work: x.len() as f64 * 10.0,
    });
    let [mean, variance] = [(); 2].map(|()| new(gpu, channels));
    let affine = new(gpu, 2 * channels);
    gpu.run(&Dispatch {
        spec: plain("STATISTICS", false),
        inputs: &[&means, &squares, gamma, beta],
        outputs: &[&mean, &variance, &affine],
        params: Params::new().sizes([channels, cut.rows, cut.parts, cut.chunk]).floats([eps]),
        groups: (channels as u64).div_ceil(64),
        depth: 1,
        work: (cut.parts * channels) as f64 * 10.0,
    });
    Statistics { mean: Arc::new(mean), variance: Arc::new(variance), affine }
}

fn apply(
    x: &GpuBuffer,
    arrays: &[&GpuBuffer],
    channels: usize,
    affine: Affine,
    activation: Activation,
) -> GpuBuffer {
    let vec = channels.is_multiple_of(4);
    let width = if vec { 4 } else { 1 };
    let out = new(x.gpu(), x.len());
    let inputs: Vec<&GpuBuffer> = std::iter::once(x).chain(arrays.iter().copied()).collect();
    let spec = spec("APPLY", vec, activation, affine);
    each(spec, &inputs, &out, width, |p| p.sizes([channels / width]).floats([slope(activation)]));
    out
}

/// activation(x · scale + offset) by the affine pair of [`statistics`].
pub(crate) fn normalize(x: &GpuBuffer, affine: &GpuBuffer, activation: Activation) -> GpuBuffer {
    apply(x, &[affine], affine.len() / 2, Affine::FusedAffine, activation)
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

/// The gradients of batch norm + activation: dx where asked, dγ, dβ.
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
    let cut = Partition::new(x.len(), channels);
    let [sums, weighted] = [(); 2].map(|()| new(gpu, cut.parts * channels));
    let slope = slope(activation);
    gpu.run(&Dispatch {
        spec: spec("GRADIENT_SUMS", cut.vec, activation, Affine::FusedAffine),
        inputs: &[x, dy, mean, affine],
        outputs: &[&sums, &weighted],
        params: cut.params().floats([slope]),
        groups: cut.groups(),
        depth: 1,
        work: x.len() as f64 * 20.0,
    });
    let [dgamma, dbeta] = [(); 2].map(|()| new(gpu, channels));
    let linear = new(gpu, 2 * channels);
    gpu.run(&Dispatch {
        spec: plain("GRADIENTS", false),
        inputs: &[&sums, &weighted, mean, variance, affine],
        outputs: &[&dgamma, &dbeta, &linear],
        params: Params::new().sizes([channels, cut.rows, cut.parts]).floats([eps]),
        groups: (channels as u64).div_ceil(64),
        depth: 1,
        work: (cut.parts * channels) as f64 * 10.0,
    });
    let dx = wanted.then(|| {
        let dx = new(gpu, x.len());
        let width = if cut.vec { 4 } else { 1 };
        let spec = spec("GRADIENT", cut.vec, activation, Affine::FusedAffine);
        each(spec, &[x, dy, mean, affine, &linear], &dx, width, |p| {
            p.sizes([cut.words]).floats([slope])
        });
        dx
    });
    (dx, dgamma, dbeta)
}
