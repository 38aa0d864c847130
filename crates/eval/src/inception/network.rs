//! The layers of the Inception network of FID, and their forward pass.
//!
//! The stem and each block concatenate branches along the channels, so one type describes all
//! blocks. Batch norm is folded into the convolutions.

use super::weights::{Source, classifier, convolution};
use tensor::{Activation, ConvGeom, Device, Tensor, concat, conv2d_bias_activation};

/// Channels of the last block: values in a feature vector.
pub(super) const FEATURES: usize = 2048;
/// Classes of the network, ImageNet's 1000 and eight unused ones.
pub(super) const CLASSES: usize = 1008;
/// Height and width of the images that the network takes.
pub(super) const SIDE: usize = 299;

/// The window of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Window {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    stride: usize,
    /// Zeros above and below, left and right.
    pad: [usize; 2],
}

impl Window {
    /// A window that moves pixel by pixel and keeps the size of the image.
    const fn same(height: usize, width: usize) -> Self {
        Self { kernel: [height, width], stride: 1, pad: [height / 2, width / 2] }
    }

    /// A 3×3 window inside the image.
    const fn inside(stride: usize) -> Self {
        Self { kernel: [3; 2], stride, pad: [0; 2] }
    }
}

const POINT: Window = Window::same(1, 1);
const SQUARE: Window = Window::same(3, 3);
const HALVE: Window = Window::inside(2);

/// A convolution without bias, batch norm (folded into it) and ReLU: `BasicConv2d` of torchvision.
struct Unit {
    /// `[kh, kw, in, out]`.
    weight: Tensor,
    /// `[out]`.
    bias: Tensor,
    window: Window,
}

impl Unit {
    /// `[N, H, W, in]` to `[N, OH, OW, out]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        self.compute(x, Activation::Relu)
    }

    /// [`forward`](Self::forward) with another activation than ReLU.
    fn compute(&self, x: &Tensor, activation: Activation) -> Tensor {
        let Window { kernel, stride, pad: [tall, wide] } = self.window;
        let geom = ConvGeom {
            input: [x.shape()[1], x.shape()[2]],
            kernel,
            stride: [stride; 2],
            pad: [[tall; 2], [wide; 2]],
        };
        conv2d_bias_activation(x, &self.weight, &self.bias, &geom, activation)
    }
}

/// The name, outputs and window of a unit.
type Spec = (&'static str, usize, Window);

/// Units one after the other, then possibly two units side by side.
struct Branch {
    chain: Vec<Unit>,
    fork: Vec<Unit>,
}

impl Branch {
    fn forward(&self, x: &Tensor) -> Vec<Tensor> {
        let x = self.chain.iter().fold(x.clone(), |x, unit| unit.forward(&x));
        if self.fork.is_empty() {
            return vec![x];
        }
        self.fork.iter().map(|unit| unit.forward(&x)).collect()
    }
}

/// The branch of a block that begins with pooling.
enum Pool {
    /// 3×3 windows, two pixels apart.
    Halve,
    /// The mean of the pixels of a 3×3 window that are inside the image, then a 1×1 unit.
    Average(Unit),
    /// The maximum of a 3×3 window, then a 1×1 unit.
    Max(Unit),
}

impl Pool {
    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Halve => x.max_pool2d([3; 2], [2; 2]),
            // A mean of pixels commutes with an affine map of channels, of which there are fewer
            // after the convolution.
            Self::Average(unit) => average_inside(&unit.compute(x, Activation::None)).relu(),
            // A zero outside the image is no maximum of what ReLU made.
            Self::Max(unit) => unit.forward(&x.pad2d([[1; 2]; 2]).max_pool2d([3; 2], [1; 2])),
        }
    }
}

/// The mean of the pixels of each 3×3 window that are inside the image: PyTorch's `avg_pool2d` with
/// padding 1 and `count_include_pad=False`.
fn average_inside(x: &Tensor) -> Tensor {
    let (height, width) = (x.shape()[1], x.shape()[2]);
    let inside = |at: usize, side: usize| (at + 2).min(side) - at.saturating_sub(1);
    let scale: Vec<f32> = (0..height * width)
        .map(|i| 9.0 / (inside(i / width, height) * inside(i % width, width)) as f32)
        .collect();
    let scale = Tensor::from_slice(&scale, [1, height, width, 1]).to_device(&x.device());
    x.pad2d([[1; 2]; 2]).avg_pool2d([3; 2], [1; 2]).mul(&scale)
}

/// A block: its branches' results side by side along the channels.
struct Block {
    branches: Vec<Branch>,
    pool: Pool,
}

impl Block {
    fn forward(&self, x: &Tensor) -> Tensor {
        let mut parts: Vec<Tensor> =
            self.branches.iter().flat_map(|branch| branch.forward(x)).collect();
        parts.push(self.pool.forward(x));
        concat(&parts.iter().collect::<Vec<_>>(), 3)
    }
}

/// The network's layers on a device.
pub(super) struct Layers {
    /// Three units, a pooling, two units, a pooling.
    stem: [Vec<Unit>; 2],
    blocks: Vec<Block>,
    /// `[2048, 1008]`.
    classifier: Tensor,
    device: Device,
}

/// Reads one unit after the other.
struct Reader<'a, 'b, E> {
    source: &'a mut Source<'b, E>,
    device: &'a Device,
}

impl<E> Reader<'_, '_, E> {
    fn unit(&mut self, name: &str, inputs: usize, spec: Spec) -> Result<Unit, E> {
        let (own, outputs, window) = spec;
        let name = if name.is_empty() { own.to_owned() } else { format!("{name}.{own}") };
        let (weight, bias) = convolution(self.source, &name, [inputs, outputs], window.kernel)?;
        Ok(Unit {
            weight: weight.to_device(self.device),
            bias: bias.to_device(self.device),
            window,
        })
    }

    /// Units one after the other, and their outputs.
    fn chain(
        &mut self,
        name: &str,
        inputs: usize,
        specs: &[Spec],
    ) -> Result<(Vec<Unit>, usize), E> {
        let mut inputs = inputs;
        let mut units = Vec::with_capacity(specs.len());
        for &spec in specs {
            units.push(self.unit(name, inputs, spec)?);
            inputs = spec.1;
        }
        Ok((units, inputs))
    }

    /// A block with these branches, each with the units at its end that are side by side.
    fn block(
        &mut self,
        name: &str,
        inputs: usize,
        branches: &[(&[Spec], &[Spec])],
        pool: impl FnOnce(&mut Self) -> Result<Pool, E>,
    ) -> Result<Block, E> {
        let read = |&(chain, fork): &(&[Spec], &[Spec])| {
            let (chain, between) = self.chain(name, inputs, chain)?;
            let fork = fork.iter().map(|&spec| self.unit(name, between, spec));
            let fork = fork.collect::<Result<_, E>>()?;
            Ok::<_, E>(Branch { chain, fork })
        };
        let branches = branches.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Block { branches, pool: pool(self)? })
    }

    /// Blocks of 35×35 pixels: 1×1, 5×5 and two 3×3 kernels.
    fn block_a(&mut self, name: &str, inputs: usize, pooled: usize) -> Result<Block, E> {
        let branches: [(&[Spec], &[Spec]); 3] = [
            (&[("branch1x1", 64, POINT)], &[]),
            (&[("branch5x5_1", 48, POINT), ("branch5x5_2", 64, Window::same(5, 5))], &[]),
            (
                &[
                    ("branch3x3dbl_1", 64, POINT),
                    ("branch3x3dbl_2", 96, SQUARE),
                    ("branch3x3dbl_3", 96, SQUARE),
                ],
                &[],
            ),
        ];
        self.block(name, inputs, &branches, |reader| {
            Ok(Pool::Average(reader.unit(name, inputs, ("branch_pool", pooled, POINT))?))
        })
    }

    /// From 35×35 to 17×17 pixels.
    fn block_b(&mut self, name: &str, inputs: usize) -> Result<Block, E> {
        let branches: [(&[Spec], &[Spec]); 2] = [
            (&[("branch3x3", 384, HALVE)], &[]),
            (
                &[
                    ("branch3x3dbl_1", 64, POINT),
                    ("branch3x3dbl_2", 96, SQUARE),
                    ("branch3x3dbl_3", 96, HALVE),
                ],
                &[],
            ),
        ];
        self.block(name, inputs, &branches, |_| Ok(Pool::Halve))
    }

    /// Blocks of 17×17 pixels: 7×7 kernels as pairs of 1×7 and 7×1.
    fn block_c(&mut self, name: &str, inner: usize) -> Result<Block, E> {
        const INPUTS: usize = 768;
        let (across, down) = (Window::same(1, 7), Window::same(7, 1));
        let branches: [(&[Spec], &[Spec]); 3] = [
            (&[("branch1x1", 192, POINT)], &[]),
            (
                &[
                    ("branch7x7_1", inner, POINT),
                    ("branch7x7_2", inner, across),
                    ("branch7x7_3", 192, down),
                ],
                &[],
            ),
            (
                &[
                    ("branch7x7dbl_1", inner, POINT),
                    ("branch7x7dbl_2", inner, down),
                    ("branch7x7dbl_3", inner, across),
                    ("branch7x7dbl_4", inner, down),
                    ("branch7x7dbl_5", 192, across),
                ],
                &[],
            ),
        ];
        self.block(name, INPUTS, &branches, |reader| {
            Ok(Pool::Average(reader.unit(name, INPUTS, ("branch_pool", 192, POINT))?))
        })
    }

    /// From 17×17 to 8×8 pixels.
    fn block_d(&mut self, name: &str, inputs: usize) -> Result<Block, E> {
        let branches: [(&[Spec], &[Spec]); 2] = [
            (&[("branch3x3_1", 192, POINT), ("branch3x3_2", 320, HALVE)], &[]),
            (
                &[
                    ("branch7x7x3_1", 192, POINT),
                    ("branch7x7x3_2", 192, Window::same(1, 7)),
                    ("branch7x7x3_3", 192, Window::same(7, 1)),
                    ("branch7x7x3_4", 192, HALVE),
                ],
                &[],
            ),
        ];
        self.block(name, inputs, &branches, |_| Ok(Pool::Halve))
    }

    /// Blocks of 8×8 pixels, whose branches end in 1×3 and 3×1 kernels side by side.
    fn block_e(&mut self, name: &str, inputs: usize, pool: fn(Unit) -> Pool) -> Result<Block, E> {
        let (across, down) = (Window::same(1, 3), Window::same(3, 1));
        let branches: [(&[Spec], &[Spec]); 3] = [
            (&[("branch1x1", 320, POINT)], &[]),
            (
                &[("branch3x3_1", 384, POINT)],
                &[("branch3x3_2a", 384, across), ("branch3x3_2b", 384, down)],
            ),
            (
                &[("branch3x3dbl_1", 448, POINT), ("branch3x3dbl_2", 384, SQUARE)],
                &[("branch3x3dbl_3a", 384, across), ("branch3x3dbl_3b", 384, down)],
            ),
        ];
        self.block(name, inputs, &branches, |reader| {
            Ok(pool(reader.unit(name, inputs, ("branch_pool", 192, POINT))?))
        })
    }
}

impl Layers {
    /// Takes all tensors of the network from `source`.
    pub(super) fn new<E>(source: &mut Source<'_, E>, device: &Device) -> Result<Self, E> {
        let mut reader = Reader { source, device };
        let (first, between) = reader.chain(
            "",
            3,
            &[
                ("Conv2d_1a_3x3", 32, HALVE),
                ("Conv2d_2a_3x3", 32, Window::inside(1)),
                ("Conv2d_2b_3x3", 64, SQUARE),
            ],
        )?;
        let (second, _) = reader.chain(
            "",
            between,
            &[("Conv2d_3b_1x1", 80, POINT), ("Conv2d_4a_3x3", 192, Window::inside(1))],
        )?;
        let blocks = vec![
            reader.block_a("Mixed_5b", 192, 32)?,
            reader.block_a("Mixed_5c", 256, 64)?,
            reader.block_a("Mixed_5d", 288, 64)?,
            reader.block_b("Mixed_6a", 288)?,
            reader.block_c("Mixed_6b", 128)?,
            reader.block_c("Mixed_6c", 160)?,
            reader.block_c("Mixed_6d", 160)?,
            reader.block_c("Mixed_6e", 192)?,
            reader.block_d("Mixed_7a", 768)?,
            reader.block_e("Mixed_7b", 1280, Pool::Average)?,
            // The published network has a maximum here, where the paper has a mean.
            reader.block_e("Mixed_7c", FEATURES, Pool::Max)?,
        ];
        let classifier = classifier(reader.source, [CLASSES, FEATURES])?.to_device(device);
        Ok(Self { stem: [first, second], blocks, classifier, device: device.clone() })
    }

    /// Where it computes.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The features `[N, 2048]` of images `[N, 299, 299, 3]` in [−1, 1], and their logits
    /// `[N, 1008]` without the classifier's bias.
    pub(super) fn forward(&self, images: &Tensor) -> [Tensor; 2] {
        let stem = self.stem.iter().fold(images.clone(), |x, units| {
            units.iter().fold(x, |x, unit| unit.forward(&x)).max_pool2d([3; 2], [2; 2])
        });
        let last = self.blocks.iter().fold(stem, |x, block| block.forward(&x));
        let features = last.mean(&[1, 2], false);
        let logits = features.matmul(&self.classifier, false, false);
        [features, logits]
    }
}
