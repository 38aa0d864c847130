//! Listed layers, one after another, with the shapes between them.

use super::Architecture;
use super::spec::{Spec, convolved, transposed};
use crate::error::NnError;
use crate::layers::{GlobalPool, Pool2d, PoolKind, Window};
use crate::recipe::{HeightWidth, Listed, Pad, PaddingMode, Recipe};
use tensor::Activation;

/// The largest number of one layer's channels, and of a kernel's or window's side: beyond them are typing mistakes, and overflow.
const LARGEST_COUNT: usize = 1 << 31;
const LARGEST_KERNEL: usize = 8192;
/// Numbers of one sample after a layer: far more than is accepted in the end, and far from overflow.
const LARGEST_SAMPLE: usize = 1 << 42;

/// The layers so far.
pub(super) struct Walk<'a> {
    recipe: &'a Recipe,
    network: &'static str,
    made: Architecture,
    /// The image that was flattened into the present vector.
    flattened: Option<[usize; 3]>,
    /// Names as `nn.Sequential` gives them in pytorch/examples: `main.0`, `main.1`, …
    number: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(recipe: &'a Recipe, network: &'static str, input: Vec<usize>) -> Self {
        let made = Architecture { layers: Vec::new(), shapes: vec![input] };
        Self { recipe, network, made, flattened: None, number: 0 }
    }

    /// All layers, at whose end there must be as many numbers as `output` has.
    pub(super) fn through(
        mut self,
        layers: &[Listed],
        output: &[usize],
    ) -> Result<Architecture, NnError> {
        for (i, layer) in layers.iter().enumerate() {
            self.add(i, layer, &layers[i + 1..])?;
        }
        let last = self.shape().to_vec();
        if numbers(&last) != numbers(output) || self.network == "generator" && last != output {
            let wanted = if output.is_empty() { "1 number".into() } else { format!("{output:?}") };
            let problem =
                format!("the {} ends with {last:?} where {wanted} is wanted", self.network);
            return Err(self.bad_list(layers.len().saturating_sub(1), layers.last(), problem));
        }
        if self.network == "discriminator" {
            self.unnumbered("output", Spec::Reshape(output.to_vec()), output.to_vec());
        }
        Ok(self.made)
    }

    fn bad_list(&self, index: usize, layer: Option<&Listed>, problem: String) -> NnError {
        let value = layer
            .and_then(|layer| toml::Value::try_from(layer).ok())
            .map_or_else(String::new, |value| value.to_string());
        NnError::BadValue { key: format!("{}.layers[{index}]", self.network), value, problem }
    }

    fn shape(&self) -> &[usize] {
        self.made.shapes.last().map_or(&[], Vec::as_slice)
    }

    /// A layer's channels, where 0 stands for the image's.
    fn channels(&self, listed: usize) -> usize {
        if listed == 0 { self.recipe.image.channels } else { listed }
    }

    fn push(&mut self, spec: Spec, output: Vec<usize>) {
        let name = format!("main.{}", self.number);
        self.number += 1;
        self.unnumbered(&name, spec, output);
    }

    /// A reshape that PyTorch's network does outside its layers takes no number.
    fn unnumbered(&mut self, name: &str, spec: Spec, output: Vec<usize>) {
        self.made.layers.push((name.into(), spec));
        self.made.shapes.push(output);
    }

    fn add(&mut self, i: usize, layer: &Listed, rest: &[Listed]) -> Result<(), NnError> {
        let shape = self.shape().to_vec();
        let bad = |problem: String| Err(self.bad_list(i, Some(layer), problem));
        let image = match shape[..] {
            [h, w, c] => Some([h, w, c]),
            _ => None,
        };
        if wants_image(layer) && image.is_none() {
            return bad(format!(
                "wants an image, [height, width, channels], and there is a vector {shape:?}; put a reshape before it"
            ));
        }
        if wants_vector(layer) && image.is_some() {
            return bad(format!(
                "wants a vector, and there is an image {shape:?}; put flatten or global-average before it"
            ));
        }
        if let Some(problem) = out_of_range(layer) {
            return bad(problem);
        }
        let [h, w, c] = image.unwrap_or([1, 1, numbers(&shape)]);
        let (eps, momentum) =
            (self.recipe.batch_norm.eps as f32, self.recipe.batch_norm.momentum as f32);
        match *layer {
            Listed::Linear { units, bias } => {
                let to = reshaped(rest).filter(|image| numbers(image) == units);
                let spec = Spec::Linear {
                    inputs: c,
                    outputs: units,
                    from: self.flattened.take(),
                    to,
                    bias,
                };
                self.push(spec, vec![units]);
            }
            Listed::Reshape { shape: to } => {
                if numbers(&to) != numbers(&shape) {
                    return bad(format!(
                        "has {} numbers where there are {}",
                        numbers(&to),
                        numbers(&shape)
                    ));
                }
                let spec = Spec::Reshape(to.to_vec());
                // PyTorch's generators take their latent vectors as images of one pixel.
                if to[..2] == [1, 1] {
                    self.unnumbered("input", spec, to.to_vec())
                } else {
                    self.push(spec, to.to_vec())
                }
                self.flattened = None;
            }
            Listed::Flatten {} => {
                self.flattened = Some([h, w, c]);
                self.push(Spec::Reshape(vec![h * w * c]), vec![h * w * c]);
            }
            Listed::Conv { channels, kernel, stride, pad, bias } => {
                let window = window(kernel, stride, pad, [h, w]);
                let channels = self.channels(channels);
                let [oh, ow] = convolved(&window, [h, w]);
                if oh == 0 || ow == 0 {
                    return bad(format!("the kernel does not fit an image of {h}x{w} pixels"));
                }
                self.push(
                    Spec::Conv2d { inputs: c, outputs: channels, window, bias },
                    vec![oh, ow, channels],
                );
            }
            Listed::ConvTranspose { channels, kernel, stride, pad, output_padding, bias } => {
                // SAME is said of the convolution that this one transposes, whose input is the larger image.
                let window = window(kernel, stride, pad, [h * stride, w * stride]);
                let channels = self.channels(channels);
                let [oh, ow] = transposed(&window, [h, w], [output_padding; 2]);
                if oh == 0 || ow == 0 {
                    return bad(format!(
                        "leaves nothing of an image of {h}x{w} pixels, or output_padding is not below the stride"
                    ));
                }
                let output_padding = [output_padding; 2];
                self.push(
                    Spec::ConvTranspose2d {
                        inputs: c,
                        outputs: channels,
                        window,
                        output_padding,
                        bias,
                    },
                    vec![oh, ow, channels],
                );
            }
            Listed::BatchNorm { affine } => {
                let units = if image.is_none() {
                    reshaped(rest).filter(|image| numbers(image) == c)
                } else {
                    None
                };
                self.push(Spec::BatchNorm { features: c, units, eps, momentum, affine }, shape);
            }
            Listed::InstanceNorm {} if h * w == 1 => {
                return bad("one pixel is its own mean: instance norm would leave nothing".into());
            }
            Listed::InstanceNorm {} => self.push(Spec::InstanceNorm { channels: c, eps }, shape),
            Listed::LayerNorm {} => self.push(Spec::LayerNorm { shape: shape.clone(), eps }, shape),
            Listed::VirtualBatchNorm {} => {
                self.push(Spec::VirtualBatchNorm { channels: c, eps }, shape)
            }
            Listed::Relu {} => self.push(Spec::Activation(Activation::Relu), shape),
            Listed::LeakyRelu { slope } => {
                self.push(Spec::Activation(Activation::LeakyRelu(slope as f32)), shape)
            }
            Listed::Tanh {} => self.push(Spec::Activation(Activation::Tanh), shape),
            Listed::Sigmoid {} => self.push(Spec::Activation(Activation::Sigmoid), shape),
            Listed::Maxout { pieces } => {
                if c % pieces != 0 {
                    return bad(format!("{c} channels cannot be cut into groups of {pieces}"));
                }
                self.flattened = None;
                self.push(Spec::Maxout { pieces }, with_channels(&shape, c / pieces));
            }
            Listed::Dropout { p } => self.push(Spec::Dropout { p: p as f32 }, shape),
            Listed::Noise { std } => self.push(Spec::Noise { std: std as f32 }, shape),
            Listed::MaxPool { size } | Listed::AveragePool { size } => {
                if size > h.min(w) {
                    return bad(format!("the window does not fit an image of {h}x{w} pixels"));
                }
                let kind = if matches!(layer, Listed::MaxPool { .. }) {
                    PoolKind::Max
                } else {
                    PoolKind::Average
                };
                self.push(
                    Spec::Pool(Pool2d { kind, kernel: [size; 2], stride: [size; 2] }),
                    vec![h / size, w / size, c],
                );
            }
            Listed::GlobalAverage {} => self.push(Spec::GlobalPool(GlobalPool::Average), vec![c]),
            Listed::GlobalSum {} => self.push(Spec::GlobalPool(GlobalPool::Sum), vec![c]),
            Listed::Upsample { scale } => {
                self.push(Spec::Upsample { scale }, vec![h * scale, w * scale, c])
            }
            Listed::Attention {} => {
                if c < 8 {
                    return bad(format!("needs at least 8 channels, and there are {c}"));
                }
                self.push(Spec::Attention { channels: c }, shape);
            }
            Listed::MinibatchStddev { group } => {
                self.push(Spec::MinibatchStddev { group }, with_channels(&shape, c + 1))
            }
            Listed::MinibatchDiscrimination { kernels, dims, form } => {
                self.flattened = None;
                self.push(
                    Spec::MinibatchDiscrimination { inputs: c, kernels, dims, form },
                    vec![c + kernels],
                );
            }
            Listed::Condition {} => {
                let size = self.recipe.condition_size();
                let width = self.recipe.condition_width();
                if width == 0 {
                    return bad("there is no section [condition] that says how long it is".into());
                }
                self.flattened = None;
                let embedded = self.recipe.condition.as_ref().is_some_and(|c| c.embedding > 0);
                let spec = if embedded {
                    Spec::Embed { size, features: width }
                } else {
                    Spec::Condition { size }
                };
                self.push(spec, with_channels(&shape, c + width));
            }
            Listed::Projection {} => {
                let size = self.recipe.condition_size();
                if size == 0 || self.network == "generator" {
                    return bad(
                        "belongs at the end of a discriminator, with a section [condition]".into(),
                    );
                }
                self.push(Spec::Projection { inputs: c, size }, vec![1]);
            }
        }
        if numbers(self.shape()) > LARGEST_SAMPLE {
            return Err(self.bad_list(
                i,
                Some(layer),
                format!("makes {:?} numbers of one sample; make it smaller", self.shape()),
            ));
        }
        Ok(())
    }
}

fn numbers(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product, &n| product.saturating_mul(n))
}

fn with_channels(shape: &[usize], channels: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = channels;
    }
    shape
}

/// The image that the present vector becomes, if nothing before it changes its units.
fn reshaped(rest: &[Listed]) -> Option<[usize; 3]> {
    for layer in rest {
        match layer {
            Listed::Reshape { shape } if shape[..2] != [1, 1] => return Some(*shape),
            Listed::BatchNorm { .. }
            | Listed::LayerNorm {}
            | Listed::VirtualBatchNorm {}
            | Listed::Relu {}
            | Listed::LeakyRelu { .. }
            | Listed::Tanh {}
            | Listed::Sigmoid {}
            | Listed::Dropout { .. }
            | Listed::Noise { .. } => {}
            _ => return None,
        }
    }
    None
}

fn window(kernel: HeightWidth, stride: usize, pad: Pad, [h, w]: [usize; 2]) -> Window {
    let kernel = kernel.get();
    let same = |side: usize, kernel: usize| {
        let total =
            (side.div_ceil(stride).saturating_sub(1) * stride + kernel).saturating_sub(side);
        [total / 2, total - total / 2]
    };
    let pad = match pad {
        Pad::All(pad) => [[pad; 2]; 2],
        Pad::Sides(pad) => pad,
        Pad::Named(PaddingMode::Valid) => [[0; 2]; 2],
        Pad::Named(PaddingMode::Same) => [same(h, kernel[0]), same(w, kernel[1])],
    };
    Window { kernel, stride: [stride; 2], pad }
}

fn wants_image(layer: &Listed) -> bool {
    matches!(
        layer,
        Listed::Flatten {}
            | Listed::Conv { .. }
            | Listed::ConvTranspose { .. }
            | Listed::InstanceNorm {}
            | Listed::MaxPool { .. }
            | Listed::AveragePool { .. }
            | Listed::GlobalAverage {}
            | Listed::GlobalSum {}
            | Listed::Upsample { .. }
            | Listed::Attention {}
    )
}

fn wants_vector(layer: &Listed) -> bool {
    matches!(
        layer,
        Listed::Linear { .. } | Listed::MinibatchDiscrimination { .. } | Listed::Projection {}
    )
}

/// What is wrong with a layer's own numbers.
fn out_of_range(layer: &Listed) -> Option<String> {
    let count = |what: &str, n: usize, most: usize| {
        (!(1..=most).contains(&n)).then(|| format!("{what} must be from 1 to {most}"))
    };
    let share = |what: &str, p: f64| {
        (!(0.0..1.0).contains(&p)).then(|| format!("{what} must be at least 0 and less than 1"))
    };
    let padding = |pad: &Pad| match pad {
        Pad::All(pad) => count("1 + pad", pad.saturating_add(1), LARGEST_KERNEL),
        Pad::Sides(pad) => pad
            .iter()
            .flatten()
            .find_map(|pad| count("1 + pad", pad.saturating_add(1), LARGEST_KERNEL)),
        Pad::Named(_) => None,
    };
    match layer {
        Listed::Linear { units, .. } => count("units", *units, LARGEST_COUNT),
        Listed::Reshape { shape } => {
            shape.iter().find_map(|&n| count("each of shape", n, LARGEST_COUNT))
        }
        Listed::Conv { channels, kernel, stride, pad, .. }
        | Listed::ConvTranspose { channels, kernel, stride, pad, .. } => {
            let sides =
                kernel.get().into_iter().find_map(|side| count("kernel", side, LARGEST_KERNEL));
            let channels = (*channels > LARGEST_COUNT)
                .then(|| format!("channels must be at most {LARGEST_COUNT}"));
            channels
                .or(sides)
                .or_else(|| count("stride", *stride, LARGEST_KERNEL))
                .or_else(|| padding(pad))
        }
        Listed::LeakyRelu { slope } => {
            (!(0.0..=1.0).contains(slope)).then(|| "slope must be from 0 to 1".into())
        }
        Listed::Maxout { pieces } => count("pieces", *pieces, LARGEST_COUNT),
        Listed::Dropout { p } => share("p", *p),
        Listed::Noise { std } => {
            (!(0.0..=1e6).contains(std)).then(|| "std must be at least 0".into())
        }
        Listed::MaxPool { size } | Listed::AveragePool { size } => {
            count("size", *size, LARGEST_KERNEL)
        }
        Listed::Upsample { scale } => count("scale", *scale, 64),
        Listed::MinibatchStddev { group } => count("group", *group, LARGEST_COUNT),
        Listed::MinibatchDiscrimination { kernels, dims, .. } => {
            count("kernels", *kernels, 65_536).or_else(|| count("dims", *dims, 65_536))
        }
        _ => None,
    }
}
