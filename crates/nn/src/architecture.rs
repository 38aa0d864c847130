//! From a recipe to lists of layers, from which plan and networks are both made.

use crate::layers::{BatchNorm, Conv2d, ConvTranspose2d, Layer, Linear, Window};
use crate::recipe::{Head, Output, Recipe, Stem};
use tensor::{Activation, ConvGeom};

/// A layer before it has numbers.
pub(crate) enum Spec {
    /// A matrix product without bias to the units of an image.
    LinearToImage {
        inputs: usize,
        image: [usize; 3],
    },
    /// A matrix product without bias from the pixels of an image.
    LinearFromImage {
        image: [usize; 3],
        outputs: usize,
    },
    Conv2d {
        inputs: usize,
        outputs: usize,
        window: Window,
    },
    ConvTranspose2d {
        inputs: usize,
        outputs: usize,
        window: Window,
        output_padding: [usize; 2],
    },
    /// With `units`, each pixel of that flattened image on its own.
    BatchNorm {
        features: usize,
        units: Option<[usize; 3]>,
        eps: f32,
        momentum: f32,
    },
    Activation(Activation),
    Reshape(Vec<usize>),
}

impl Spec {
    /// The layer, with weights 0 and γ 1.
    pub(crate) fn layer(&self) -> Layer {
        match *self {
            Self::LinearToImage { inputs, image } => Layer::Linear(Linear::to_image(inputs, image)),
            Self::LinearFromImage { image, outputs } => Layer::Linear(Linear::from_image(image, outputs)),
            Self::Conv2d { inputs, outputs, window } => Layer::Conv2d(Conv2d::new(inputs, outputs, window, false)),
            Self::ConvTranspose2d { inputs, outputs, window, output_padding } => {
                Layer::ConvTranspose2d(ConvTranspose2d::new(inputs, outputs, window, output_padding, false))
            }
            Self::BatchNorm { units: Some(image), eps, momentum, .. } => {
                Layer::BatchNorm(BatchNorm::per_unit(image, eps, momentum))
            }
            Self::BatchNorm { features, units: None, eps, momentum } => Layer::BatchNorm(BatchNorm::new(features, eps, momentum)),
            Self::Activation(activation) => Layer::Activation(activation),
            Self::Reshape(ref axes) => Layer::Reshape(axes.clone()),
        }
    }

    /// The number of trainable numbers; 128 bits, since a recipe that is too large is refused by this number.
    pub(crate) fn parameters(&self) -> u128 {
        let product = |axes: &[usize]| axes.iter().map(|&n| n as u128).product::<u128>();
        match self {
            Self::LinearToImage { inputs, image } => *inputs as u128 * product(image),
            Self::LinearFromImage { image, outputs } => *outputs as u128 * product(image),
            Self::Conv2d { inputs, outputs, window } | Self::ConvTranspose2d { inputs, outputs, window, .. } => {
                product(&window.kernel) * product(&[*inputs, *outputs])
            }
            Self::BatchNorm { features, .. } => 2 * *features as u128,
            Self::Activation(_) | Self::Reshape(_) => 0,
        }
    }

    /// The shape of one sample after this layer, from that before it (unused by layers that know it themselves).
    pub(crate) fn output(&self, input: &[usize]) -> Vec<usize> {
        match self {
            Self::LinearToImage { image, .. } => vec![image.iter().product()],
            Self::LinearFromImage { outputs, .. } => vec![*outputs],
            Self::Conv2d { outputs, window, .. } => {
                let [oh, ow] = window.geometry(pixels(input)).try_output().unwrap_or([0, 0]);
                vec![oh, ow, *outputs]
            }
            Self::ConvTranspose2d { outputs, window: w, output_padding, .. } => {
                let geometry = ConvGeom::transposed(pixels(input), w.kernel, w.stride, w.pad, *output_padding);
                let [oh, ow] = geometry.map_or([0, 0], |g| g.input);
                vec![oh, ow, *outputs]
            }
            Self::BatchNorm { .. } | Self::Activation(_) => input.to_vec(),
            Self::Reshape(axes) => axes.clone(),
        }
    }

    /// Multiply-adds for one sample, whose shape before and after is given.
    pub(crate) fn multiplications(&self, input: &[usize], output: &[usize]) -> f64 {
        let positions = |shape: &[usize]| shape.iter().take(2).map(|&n| n as f64).product::<f64>();
        match self {
            Self::LinearToImage { .. } | Self::LinearFromImage { .. } => self.parameters() as f64,
            Self::Conv2d { .. } => self.parameters() as f64 * positions(output),
            Self::ConvTranspose2d { .. } => self.parameters() as f64 * positions(input),
            Self::BatchNorm { .. } | Self::Activation(_) | Self::Reshape(_) => 0.0,
        }
    }
}

fn pixels(shape: &[usize]) -> [usize; 2] {
    [shape.first().copied().unwrap_or(0), shape.get(1).copied().unwrap_or(0)]
}

/// Kernel, stride 2 and the padding under which a convolution halves every even side exactly. The transposed convolution needs, for odd
/// kernels, one more row and column to double it.
fn halving(kernel: usize) -> (Window, [usize; 2]) {
    let pad = (kernel - 1) / 2;
    (Window { kernel: [kernel; 2], stride: [2; 2], pad: [[pad; 2]; 2] }, [kernel % 2; 2])
}

/// The window that covers the whole seed.
fn whole(seed: [usize; 2]) -> Window {
    Window { kernel: seed, stride: [1; 2], pad: [[0; 2]; 2] }
}

/// The layers of one network.
pub(crate) struct Architecture {
    /// The shape of one sample that goes in.
    pub input: Vec<usize>,
    /// The layers with their names.
    pub layers: Vec<(String, Spec)>,
}

impl Architecture {
    /// The layers, each with the shape of one sample before and after it.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (&str, &Spec, Vec<usize>, Vec<usize>)> {
        let mut shape = self.input.clone();
        self.layers.iter().map(move |(name, spec)| {
            let output = spec.output(&shape);
            let input = std::mem::replace(&mut shape, output.clone());
            (name.as_str(), spec, input, output)
        })
    }
}

/// Names as `nn.Sequential` gives them in pytorch/examples: `main.0`, `main.1`, …
struct Names(Vec<(String, Spec)>, usize);

impl Names {
    fn push(&mut self, spec: Spec) {
        self.0.push((format!("main.{}", self.1), spec));
        self.1 += 1;
    }

    /// A reshape that PyTorch's network does outside its layers, and which takes no number.
    fn unnumbered(&mut self, name: &str, axes: Vec<usize>) {
        self.0.push((name.into(), Spec::Reshape(axes)));
    }
}

fn norm(recipe: &Recipe, features: usize, units: Option<[usize; 3]>) -> Spec {
    let (eps, momentum) = (recipe.batch_norm.eps as f32, recipe.batch_norm.momentum as f32);
    Spec::BatchNorm { features, units, eps, momentum }
}

/// The layers of the generator, `[latent]` to `[H, W, C]`; the recipe's size and kernels are valid.
pub(crate) fn generator(recipe: &Recipe) -> Architecture {
    let g = &recipe.generator;
    let (levels, seed) = (recipe.levels(), recipe.seed());
    let mut channels = g.width << levels.saturating_sub(1);
    let mut layers = Names(Vec::new(), 0);
    match g.stem {
        Stem::Conv => {
            layers.unnumbered("input", vec![1, 1, g.latent]);
            let window = whole(seed);
            layers.push(Spec::ConvTranspose2d { inputs: g.latent, outputs: channels, window, output_padding: [0; 2] });
            layers.push(norm(recipe, channels, None));
            layers.push(Spec::Activation(g.activation));
        }
        Stem::Linear => {
            let image = [seed[0], seed[1], channels];
            layers.push(Spec::LinearToImage { inputs: g.latent, image });
            layers.push(norm(recipe, image.iter().product(), Some(image)));
            layers.push(Spec::Activation(g.activation));
            layers.push(Spec::Reshape(image.to_vec()));
        }
    }
    let (window, output_padding) = halving(g.kernel);
    for _ in 1..levels {
        layers.push(Spec::ConvTranspose2d { inputs: channels, outputs: channels / 2, window, output_padding });
        channels /= 2;
        layers.push(norm(recipe, channels, None));
        layers.push(Spec::Activation(g.activation));
    }
    layers.push(Spec::ConvTranspose2d { inputs: channels, outputs: recipe.image.channels, window, output_padding });
    layers.push(Spec::Activation(match g.output {
        Output::Tanh => Activation::Tanh,
    }));
    Architecture { input: vec![g.latent], layers: layers.0 }
}

/// The layers of the discriminator, `[H, W, C]` to a scalar; the recipe's size and kernels are valid.
pub(crate) fn discriminator(recipe: &Recipe) -> Architecture {
    let d = &recipe.discriminator;
    let (levels, seed) = (recipe.levels(), recipe.seed());
    let [h, w] = recipe.image.size;
    let mut layers = Names(Vec::new(), 0);
    let mut inputs = recipe.image.channels;
    let (window, _) = halving(d.kernel);
    for level in 0..levels {
        let outputs = d.width << level;
        layers.push(Spec::Conv2d { inputs, outputs, window });
        if level > 0 {
            layers.push(norm(recipe, outputs, None));
        }
        layers.push(Spec::Activation(Activation::LeakyRelu(d.slope as f32)));
        inputs = outputs;
    }
    match d.head {
        Head::Conv => layers.push(Spec::Conv2d { inputs, outputs: 1, window: whole(seed) }),
        Head::Linear => {
            let image = [seed[0], seed[1], inputs];
            layers.push(Spec::Reshape(vec![image.iter().product()]));
            layers.push(Spec::LinearFromImage { image, outputs: 1 });
        }
    }
    layers.unnumbered("output", Vec::new());
    Architecture { input: vec![h, w, recipe.image.channels], layers: layers.0 }
}
