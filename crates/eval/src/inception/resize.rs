//! How images become the network's input.

use super::network::SIDE;
use rayon::prelude::*;
use tensor::Tensor;

/// How images are resized and scaled for the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InputScaling {
    /// As pytorch-fid: `F.interpolate(mode="bilinear", align_corners=False)`, which does not
    /// average when it makes images smaller, then 2x − 1 of values in [0, 1].
    #[default]
    PytorchFid,
    /// As clean-fid (Parmar et al. 2022): Pillow's bicubic filter, which averages when it makes
    /// images smaller, on floating-point channels; clipped to [0, 255], then (x − 128) / 128.
    CleanFid,
}

/// The input pixels that an output pixel sums, from `first` on.
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

impl InputScaling {
    /// The taps of each output pixel along an axis of `side` pixels.
    fn taps(self, side: usize) -> Vec<Taps> {
        match self {
            Self::PytorchFid => (0..SIDE).map(|at| bilinear(at, side)).collect(),
            Self::CleanFid => (0..SIDE).map(|at| bicubic(at, side)).collect(),
        }
    }

    /// A pixel before resizing, from a byte.
    fn before(self, byte: f32) -> f32 {
        match self {
            Self::PytorchFid => byte / 255.0,
            Self::CleanFid => byte,
        }
    }

    /// The network's input, from a resized pixel.
    fn after(self, pixel: f32) -> f32 {
        match self {
            Self::PytorchFid => 2.0 * pixel - 1.0,
            Self::CleanFid => (pixel.clamp(0.0, 255.0) - 128.0) / 128.0,
        }
    }

    /// Images `[N, 299, 299, 3]` for the network, from images `[N, H, W, C]` in [−1, 1] of one or
    /// three channels. They are first rounded to 8 bits, as an image file would be; a single
    /// channel is repeated.
    pub(super) fn apply(self, images: &Tensor) -> Tensor {
        let [count, height, width, channels] = std::array::from_fn(|i| images.shape()[i]);
        let (rows, columns) = (self.taps(height), self.taps(width));
        let size = height * width * channels;
        let values = images.to_vec();
        let mut input = vec![0.0; count * SIDE * SIDE * 3];
        let images = input.par_chunks_mut(SIDE * SIDE * 3).zip(values.par_chunks(size.max(1)));
        images.for_each(|(out, image)| {
            let bytes: Vec<f32> = image.iter().map(|&x| self.before(to_byte(x))).collect();
            // Across first, and rounded to single precision, as Pillow does.
            let pitch = SIDE * channels;
            let mut wide = vec![0.0f32; height * pitch];
            let lines = wide.chunks_exact_mut(pitch).zip(bytes.chunks_exact(width * channels));
            for (to, from) in lines {
                for (to, taps) in to.chunks_exact_mut(channels).zip(&columns) {
                    for (channel, to) in to.iter_mut().enumerate() {
                        let pixels = from[taps.first * channels + channel..].iter();
                        *to = sum(pixels.step_by(channels), taps);
                    }
                }
            }
            for (line, taps) in out.chunks_exact_mut(SIDE * 3).zip(&rows) {
                for (i, pixel) in line.chunks_exact_mut(3).enumerate() {
                    for (channel, to) in pixel.iter_mut().enumerate() {
                        let from = i * channels + if channels == 1 { 0 } else { channel };
                        let pixels = wide[taps.first * pitch + from..].iter();
                        *to = self.after(sum(pixels.step_by(pitch), taps));
                    }
                }
            }
        });
        Tensor::from_slice(&input, [count, SIDE, SIDE, 3])
    }
}

fn sum<'a>(pixels: impl Iterator<Item = &'a f32>, taps: &Taps) -> f32 {
    pixels.zip(&taps.weights).map(|(&pixel, weight)| f64::from(pixel) * weight).sum::<f64>() as f32
}

/// The byte of a value in [−1, 1], as it is saved to an image file.
fn to_byte(value: f32) -> f32 {
    ((value + 1.0) * 127.5).round().clamp(0.0, 255.0)
}

/// The two pixels around the center of output pixel `at`, whose pixels are not averaged.
fn bilinear(at: usize, side: usize) -> Taps {
    // In single precision, as PyTorch does.
    let scale = side as f32 / SIDE as f32;
    let center = (scale * (at as f32 + 0.5) - 0.5).max(0.0);
    let first = (center as usize).min(side - 1);
    let fraction = (center - first as f32).clamp(0.0, 1.0);
    if first + 1 < side {
        Taps { first, weights: vec![f64::from(1.0 - fraction), f64::from(fraction)] }
    } else {
        Taps { first, weights: vec![1.0] }
    }
}

/// The pixels that Keys' cubic filter (a = −0.5) covers, widened where images become smaller:
/// `precompute_coeffs` of Pillow's `Resample.c`.
fn bicubic(at: usize, side: usize) -> Taps {
    let scale = side as f64 / SIDE as f64;
    let wide = scale.max(1.0);
    let (center, support) = ((at as f64 + 0.5) * scale, 2.0 * wide);
    let first = (center - support + 0.5).max(0.0) as usize;
    let end = ((center + support + 0.5) as usize).min(side);
    let weight = |pixel: usize| keys((pixel as f64 - center + 0.5) / wide);
    let mut weights: Vec<f64> = (first..end).map(weight).collect();
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= total);
    Taps { first, weights }
}

fn keys(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels 0, 1, 149, 200 and 298 of a gray row of `side` pixels whose pixel j is 37 j mod 251.
    fn resized(side: usize, scaling: InputScaling) -> [f32; 5] {
        let row: Vec<f32> = (0..side).map(|j| (j * 37 % 251) as f32 / 127.5 - 1.0).collect();
        let input = scaling.apply(&Tensor::from_slice(&row, [1, 1, side, 1])).to_vec();
        [0, 1, 149, 200, 298].map(|at| {
            let pixel = [0, 150 * SIDE * 3].map(|line| &input[line + at * 3..][..3]);
            assert!(pixel[0] == pixel[1] && pixel[0].iter().all(|&v| v == pixel[0][0]));
            pixel[0][0]
        })
    }

    /// References by clean-fid's `build_resizer("clean")` and `torch.nn.functional.interpolate`.
    #[test]
    fn rows_are_resized_as_clean_fid_and_pytorch_fid_do() {
        for (side, scaling, expected) in [
            (
                700,
                InputScaling::CleanFid,
                [-0.7915221, -0.11808002, 0.07227039, -0.12150568, 0.08240354],
            ),
            (40, InputScaling::CleanFid, [-1.0, -1.0, 0.83740234, 0.79527235, 0.503237]),
            (
                700,
                InputScaling::PytorchFid,
                [-0.8054036, -0.12601477, 0.02352941, -0.56215054, 0.20387375],
            ),
            (40, InputScaling::PytorchFid, [-1.0, -1.0, 0.7215681, 0.7328738, 0.47450984]),
        ] {
            let found = resized(side, scaling);
            let error = found.iter().zip(expected).map(|(a, b): (&f32, f32)| (a - b).abs());
            let error = error.fold(0.0, f32::max);
            assert!(error < 2e-6, "{side}, {scaling:?}: {found:?} against {expected:?}");
        }
    }
}
