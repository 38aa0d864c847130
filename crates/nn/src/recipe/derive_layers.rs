//! The layers of a DCGAN by its rule: G doubles its base resolution up to the image, D halves the
//! image down to it.

use super::{
    ConditionConfig, ConditioningMethod, DiscriminatorConfig, DownsampleMethod, GeneratorConfig,
    Head, NormKind, Recipe, Stem, UpsampleMethod,
};
use crate::layers::*;
use tensor::Activation;

fn norm(kind: NormKind) -> Option<LayerConfig> {
    match kind {
        NormKind::None => None,
        NormKind::Batch => Some(BatchNormLayerConfig { affine: true }.into()),
        NormKind::Instance => Some(InstanceNormConfig {}.into()),
        NormKind::Layer => Some(LayerNormConfig {}.into()),
        NormKind::VirtualBatch => Some(VirtualBatchNormConfig {}.into()),
    }
}

fn activation(activation: Activation) -> Option<LayerConfig> {
    match activation {
        Activation::None => None,
        Activation::Relu => Some(ReluConfig {}.into()),
        Activation::LeakyRelu(slope) => Some(LeakyReluConfig { slope: slope.into() }.into()),
        Activation::Tanh => Some(TanhConfig {}.into()),
        Activation::Sigmoid => Some(SigmoidConfig {}.into()),
    }
}

/// Where in a network the condition is appended.
fn condition(
    recipe: &Recipe,
    of: impl Fn(&ConditionConfig) -> ConditioningMethod,
) -> ConditioningMethod {
    recipe.condition.as_ref().map_or(ConditioningMethod::None, of)
}

/// The padding with which a convolution of stride 2 halves every even side exactly. For odd kernels
/// the transposed convolution needs one more row and column to double it.
fn halving(kernel: usize) -> (Pad, usize) {
    (Pad::All(kernel.saturating_sub(1) / 2), kernel % 2)
}

/// The layers of the generator. The recipe's size and kernels must be valid.
pub(super) fn generator(recipe: &Recipe) -> Vec<LayerConfig> {
    let g = &recipe.generator;
    let where_to = condition(recipe, |c| c.generator);
    let (levels, base) = (recipe.levels(), recipe.base_size());
    let mut channels = g.width << levels.saturating_sub(1);
    let mut layers = Vec::new();
    if where_to != ConditioningMethod::None {
        layers.push(AppendConditionConfig {}.into());
    }
    let [h, w] = base;
    match g.stem {
        Stem::Conv => {
            let inputs = g.latent
                + if where_to == ConditioningMethod::None { 0 } else { recipe.condition_width() };
            layers.push(ReshapeConfig { shape: [1, 1, inputs] }.into());
            // As in pytorch/examples: a kernel of the base's size makes it from one pixel.
            let kernel = HeightWidth::Both(base);
            layers.push(
                ConvTransposeConfig {
                    channels,
                    kernel,
                    stride: 1,
                    pad: Pad::All(0),
                    output_padding: 0,
                    bias: g.bias,
                }
                .into(),
            );
            hidden(&mut layers, g);
        }
        Stem::Linear => {
            layers.push(LinearConfig { units: h * w * channels, bias: g.bias }.into());
            // Batch norm is per unit, as in the paper's code; the other norms need the image shape.
            let image = ReshapeConfig { shape: [h, w, channels] }.into();
            if g.norm == NormKind::Batch {
                hidden(&mut layers, g);
                layers.push(image);
            } else {
                layers.push(image);
                hidden(&mut layers, g);
            }
        }
    }
    attend(&mut layers, g.attention, base);
    for level in 1..=levels {
        let last = level == levels;
        // Half the channels at twice the sides: every level has about the same arithmetic.
        channels = if last { recipe.image.channels } else { channels / 2 };
        if where_to == ConditioningMethod::EveryLayer {
            layers.push(AppendConditionConfig {}.into());
        }
        double(&mut layers, g, channels);
        if !last {
            hidden(&mut layers, g);
            attend(&mut layers, g.attention, [h << level, w << level]);
        } else if g.norm_everywhere {
            // The paper leaves batch norm out here and at D's input: with it in all layers, samples
            // oscillated and training was unstable (section 3).
            layers.extend(norm(g.norm));
        }
    }
    layers.push(TanhConfig {}.into());
    layers
}

fn double(layers: &mut Vec<LayerConfig>, g: &GeneratorConfig, channels: usize) {
    let kernel = HeightWidth::Square(g.kernel);
    match g.upsample {
        UpsampleMethod::Transposed => {
            let (pad, output_padding) = halving(g.kernel);
            layers.push(
                ConvTransposeConfig {
                    channels,
                    kernel,
                    stride: 2,
                    pad,
                    output_padding,
                    bias: g.bias,
                }
                .into(),
            );
        }
        UpsampleMethod::Nearest => {
            // A transposed convolution whose kernel its stride does not divide covers pixels
            // unevenly (checkerboards); resizing first does not (Odena et al. 2016).
            layers.push(UpsampleConfig { scale: 2 }.into());
            layers.push(
                ConvConfig {
                    channels,
                    kernel,
                    stride: 1,
                    pad: Pad::Named(PaddingMode::Same),
                    bias: g.bias,
                }
                .into(),
            );
        }
    }
}

/// The layers after a hidden layer of the generator.
fn hidden(layers: &mut Vec<LayerConfig>, g: &GeneratorConfig) {
    layers.extend(norm(g.norm));
    layers.extend(activation(g.activation));
    if g.dropout > 0.0 {
        layers.push(DropoutConfig { p: g.dropout }.into());
    }
}

/// Self-attention, if the recipe has it at an image of these sides.
fn attend(layers: &mut Vec<LayerConfig>, at: usize, [h, w]: [usize; 2]) {
    if h.min(w) == at {
        layers.push(AttentionConfig {}.into());
    }
}

/// The layers of the discriminator, whose head has `outputs` outputs. The recipe's size and kernels
/// must be valid.
pub(super) fn discriminator(recipe: &Recipe) -> Vec<LayerConfig> {
    let d = &recipe.discriminator;
    let where_to = condition(recipe, |c| c.discriminator);
    let levels = recipe.levels();
    let [h, w] = recipe.image.size;
    let mut layers = Vec::new();
    for level in 0..levels {
        let appended = match where_to {
            ConditioningMethod::Input => level == 0,
            ConditioningMethod::EveryLayer => true,
            _ => false,
        };
        if appended {
            layers.push(AppendConditionConfig {}.into());
        }
        halve(&mut layers, d, d.width << level);
        // No norm at D's input, for the reason at G's output.
        if level > 0 || d.norm_everywhere {
            layers.extend(norm(d.norm));
        }
        layers.push(LeakyReluConfig { slope: d.slope }.into());
        if d.dropout > 0.0 {
            layers.push(DropoutConfig { p: d.dropout }.into());
        }
        if d.noise > 0.0 {
            layers.push(GaussianNoiseConfig { std: d.noise }.into());
        }
        attend(&mut layers, d.attention, [h >> (level + 1), w >> (level + 1)]);
    }
    if d.minibatch_stddev > 0 {
        layers.push(MinibatchStddevConfig { group: d.minibatch_stddev }.into());
    }
    head(&mut layers, recipe, where_to, recipe.num_d_outputs());
    layers
}

fn halve(layers: &mut Vec<LayerConfig>, d: &DiscriminatorConfig, channels: usize) {
    let kernel = HeightWidth::Square(d.kernel);
    let pooled = |pool| {
        let pad = Pad::Named(PaddingMode::Same);
        [ConvConfig { channels, kernel, stride: 1, pad, bias: d.bias }.into(), pool]
    };
    match d.downsample {
        DownsampleMethod::Strided => {
            let (pad, _) = halving(d.kernel);
            layers.push(ConvConfig { channels, kernel, stride: 2, pad, bias: d.bias }.into());
        }
        DownsampleMethod::MaxPool => layers.extend(pooled(MaxPoolConfig { size: 2 }.into())),
        DownsampleMethod::AveragePool => {
            layers.extend(pooled(AveragePoolConfig { size: 2 }.into()))
        }
    }
}

fn head(
    layers: &mut Vec<LayerConfig>,
    recipe: &Recipe,
    where_to: ConditioningMethod,
    outputs: usize,
) {
    let d = &recipe.discriminator;
    if where_to == ConditioningMethod::EveryLayer {
        layers.push(AppendConditionConfig {}.into());
    }
    if where_to == ConditioningMethod::Projection {
        // Miyato & Koyama 2018: the projection is of features summed over positions.
        layers.extend([GlobalSumConfig {}.into(), ProjectionConfig {}.into()]);
        return;
    }
    if let Some(discrimination) = d.minibatch_discrimination {
        // Minibatch discrimination compares vectors.
        layers.push(if d.head == Head::GlobalAverage {
            GlobalAverageConfig {}.into()
        } else {
            FlattenConfig {}.into()
        });
        layers.push(discrimination.into());
        layers.push(LinearConfig { units: outputs, bias: d.bias }.into());
        return;
    }
    match d.head {
        Head::Conv => {
            let kernel = HeightWidth::Both(recipe.base_size());
            layers.push(
                ConvConfig { channels: outputs, kernel, stride: 1, pad: Pad::All(0), bias: d.bias }
                    .into(),
            );
        }
        Head::Linear => layers.extend([
            FlattenConfig {}.into(),
            LinearConfig { units: outputs, bias: d.bias }.into(),
        ]),
        Head::GlobalAverage => layers.extend([
            GlobalAverageConfig {}.into(),
            LinearConfig { units: outputs, bias: d.bias }.into(),
        ]),
    }
}
