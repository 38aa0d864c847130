//! The layers of a DCGAN by its rule: the seed doubled to the image, the image halved to the seed.

use crate::recipe::{
    ConditionConfig, ConditioningMethod, DiscriminatorConfig, DownsampleMethod, GeneratorConfig,
    Head, HeightWidth, Listed, NormKind, Output, Pad, PaddingMode, Recipe, Stem, UpsampleMethod,
};
use tensor::Activation;

fn norm(kind: NormKind) -> Option<Listed> {
    match kind {
        NormKind::None => None,
        NormKind::Batch => Some(Listed::BatchNorm { affine: true }),
        NormKind::Instance => Some(Listed::InstanceNorm {}),
        NormKind::Layer => Some(Listed::LayerNorm {}),
        NormKind::VirtualBatch => Some(Listed::VirtualBatchNorm {}),
    }
}

fn activation(activation: Activation) -> Option<Listed> {
    match activation {
        Activation::None => None,
        Activation::Relu => Some(Listed::Relu {}),
        Activation::LeakyRelu(slope) => Some(Listed::LeakyRelu { slope: slope.into() }),
        Activation::Tanh => Some(Listed::Tanh {}),
        Activation::Sigmoid => Some(Listed::Sigmoid {}),
    }
}

/// Where in a network the condition is appended.
fn condition(
    recipe: &Recipe,
    of: impl Fn(&ConditionConfig) -> ConditioningMethod,
) -> ConditioningMethod {
    recipe.condition.as_ref().map_or(ConditioningMethod::None, of)
}

/// The padding under which a convolution of stride 2 halves every even side exactly. The transposed convolution needs, for odd kernels, one
/// more row and column to double it.
fn halving(kernel: usize) -> (Pad, usize) {
    (Pad::All(kernel.saturating_sub(1) / 2), kernel % 2)
}

/// The layers of the generator; the recipe's size and kernels are valid.
pub(super) fn generator(recipe: &Recipe) -> Vec<Listed> {
    let g = &recipe.generator;
    let where_to = condition(recipe, |c| c.generator);
    let (levels, seed) = (recipe.levels(), recipe.base_size());
    let mut channels = g.width << levels.saturating_sub(1);
    let mut layers = Vec::new();
    if where_to != ConditioningMethod::None {
        layers.push(Listed::Condition {});
    }
    let [h, w] = seed;
    match g.stem {
        Stem::Conv => {
            let inputs = g.latent
                + if where_to == ConditioningMethod::None { 0 } else { recipe.condition_width() };
            layers.push(Listed::Reshape { shape: [1, 1, inputs] });
            let kernel = HeightWidth::Both(seed);
            layers.push(Listed::ConvTranspose {
                channels,
                kernel,
                stride: 1,
                pad: Pad::All(0),
                output_padding: 0,
                bias: g.bias,
            });
            hidden(&mut layers, g);
        }
        Stem::Linear => {
            layers.push(Listed::Linear { units: h * w * channels, bias: g.bias });
            // Per unit, as the paper's code has it; the other norms want the image.
            let image = Listed::Reshape { shape: [h, w, channels] };
            if g.norm == NormKind::Batch {
                hidden(&mut layers, g);
                layers.push(image);
            } else {
                layers.push(image);
                hidden(&mut layers, g);
            }
        }
    }
    attend(&mut layers, g.attention, seed);
    for level in 1..=levels {
        let last = level == levels;
        channels = if last { recipe.image.channels } else { channels / 2 };
        if where_to == ConditioningMethod::EveryLayer {
            layers.push(Listed::Condition {});
        }
        double(&mut layers, g, channels);
        if !last {
            hidden(&mut layers, g);
            attend(&mut layers, g.attention, [h << level, w << level]);
        } else if g.norm_everywhere {
            layers.extend(norm(g.norm));
        }
    }
    layers.push(match g.output {
        Output::Tanh => Listed::Tanh {},
    });
    layers
}

fn double(layers: &mut Vec<Listed>, g: &GeneratorConfig, channels: usize) {
    let kernel = HeightWidth::Square(g.kernel);
    match g.upsample {
        UpsampleMethod::Transposed => {
            let (pad, output_padding) = halving(g.kernel);
            layers.push(Listed::ConvTranspose {
                channels,
                kernel,
                stride: 2,
                pad,
                output_padding,
                bias: g.bias,
            });
        }
        UpsampleMethod::Nearest => {
            layers.push(Listed::Upsample { scale: 2 });
            layers.push(Listed::Conv {
                channels,
                kernel,
                stride: 1,
                pad: Pad::Named(PaddingMode::Same),
                bias: g.bias,
            });
        }
    }
}

/// What follows a hidden layer of the generator.
fn hidden(layers: &mut Vec<Listed>, g: &GeneratorConfig) {
    layers.extend(norm(g.norm));
    layers.extend(activation(g.activation));
    if g.dropout > 0.0 {
        layers.push(Listed::Dropout { p: g.dropout });
    }
}

/// Self-attention where the recipe wants it at an image of these sides.
fn attend(layers: &mut Vec<Listed>, at: usize, [h, w]: [usize; 2]) {
    if h.min(w) == at {
        layers.push(Listed::Attention {});
    }
}

/// The layers of the discriminator, whose head has `outputs` numbers; the recipe's size and kernels are valid.
pub(super) fn discriminator(recipe: &Recipe, outputs: usize) -> Vec<Listed> {
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
            layers.push(Listed::Condition {});
        }
        halve(&mut layers, d, d.width << level);
        if level > 0 || d.norm_everywhere {
            layers.extend(norm(d.norm));
        }
        layers.push(Listed::LeakyRelu { slope: d.slope });
        if d.dropout > 0.0 {
            layers.push(Listed::Dropout { p: d.dropout });
        }
        if d.noise > 0.0 {
            layers.push(Listed::Noise { std: d.noise });
        }
        attend(&mut layers, d.attention, [h >> (level + 1), w >> (level + 1)]);
    }
    if d.minibatch_stddev > 0 {
        layers.push(Listed::MinibatchStddev { group: d.minibatch_stddev });
    }
    head(&mut layers, recipe, where_to, outputs);
    layers
}

fn halve(layers: &mut Vec<Listed>, d: &DiscriminatorConfig, channels: usize) {
    let kernel = HeightWidth::Square(d.kernel);
    let pooled = |pool| {
        let pad = Pad::Named(PaddingMode::Same);
        [Listed::Conv { channels, kernel, stride: 1, pad, bias: d.bias }, pool]
    };
    match d.downsample {
        DownsampleMethod::Strided => {
            let (pad, _) = halving(d.kernel);
            layers.push(Listed::Conv { channels, kernel, stride: 2, pad, bias: d.bias });
        }
        DownsampleMethod::MaxPool => layers.extend(pooled(Listed::MaxPool { size: 2 })),
        DownsampleMethod::AveragePool => layers.extend(pooled(Listed::AveragePool { size: 2 })),
    }
}

fn head(layers: &mut Vec<Listed>, recipe: &Recipe, where_to: ConditioningMethod, outputs: usize) {
    let d = &recipe.discriminator;
    if where_to == ConditioningMethod::EveryLayer {
        layers.push(Listed::Condition {});
    }
    if where_to == ConditioningMethod::Projection {
        layers.extend([Listed::GlobalSum {}, Listed::Projection {}]);
        return;
    }
    if let Some(discrimination) = d.minibatch_discrimination {
        // It compares vectors.
        layers.push(if d.head == Head::GlobalAverage {
            Listed::GlobalAverage {}
        } else {
            Listed::Flatten {}
        });
        layers.push(Listed::discrimination(discrimination));
        layers.push(Listed::Linear { units: outputs, bias: d.bias });
        return;
    }
    match d.head {
        Head::Conv => {
            let kernel = HeightWidth::Both(recipe.base_size());
            layers.push(Listed::Conv {
                channels: outputs,
                kernel,
                stride: 1,
                pad: Pad::All(0),
                bias: d.bias,
            });
        }
        Head::Linear => {
            layers.extend([Listed::Flatten {}, Listed::Linear { units: outputs, bias: d.bias }])
        }
        Head::GlobalAverage => layers
            .extend([Listed::GlobalAverage {}, Listed::Linear { units: outputs, bias: d.bias }]),
    }
}
