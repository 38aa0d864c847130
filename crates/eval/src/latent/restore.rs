//! Image restoration with a generator as prior: inpainting, super-resolution, denoising (Yeh et al.
//! 2017, "Semantic image inpainting with deep generative models").

use super::image_error::{StartResult, rms};
use super::poisson_blend::poisson;
use super::projector::LatentOptimizer;
use crate::checkpoint_discriminator::CheckpointDiscriminator;
use crate::{EvalError, Progress};
use image::{ImageBuffer, Luma, imageops};
use tensor::Tensor;
use train::Sampler;

/// The side of the window in which missing pixels give known ones more weight, as in the paper.
const WINDOW: usize = 7;

/// The corruption of an image, which decides the differences that the context loss measures.
#[derive(Clone, Debug, PartialEq)]
pub enum Corruption {
    /// Pixels are missing: true for each that is, `[H · W]`.
    Mask(Vec<bool>),
    /// The image is downsampled: each pixel is the mean of `factor` × `factor` pixels.
    Downsampled {
        /// The factor of the downsampling.
        factor: usize,
    },
    /// Noise is added to all pixels.
    Noise,
}

/// Options of image restoration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestoreOptions {
    /// Options of the latent projection.
    pub optimizer: LatentOptimizer,
    /// Weight of the prior loss −log D; the mean absolute difference to the known pixels has
    /// weight 1.
    pub prior: f64,
}

/// A restored image.
pub struct Restoration {
    /// `[1, latent]`.
    pub latent: Tensor,
    /// The latent's condition, `[1, K]`.
    pub condition: Option<Tensor>,
    /// The generator's image, `[H, W, C]`.
    pub generated: Vec<f32>,
    /// The result: for missing pixels the known ones with the generated image blended in,
    /// otherwise the generated image.
    pub restored: Vec<f32>,
    /// All starts; errors are over what is known.
    pub starts: Vec<StartResult>,
    /// The index of the start that was kept.
    pub best: usize,
}

impl Corruption {
    /// The shape of a corrupted image, if the whole one has `[H, W, C]`.
    ///
    /// # Errors
    /// Returns an error if the factor does not divide the sides, or the mask has another size or
    /// masks everything or nothing.
    pub fn shape(&self, [h, w, c]: [usize; 3]) -> Result<[usize; 3], EvalError> {
        match self {
            Self::Noise => Ok([h, w, c]),
            Self::Downsampled { factor } if *factor < 2 || h % factor != 0 || w % factor != 0 => {
                Err(EvalError::ResizeFactor { factor: *factor, height: h, width: w })
            }
            Self::Downsampled { factor } => Ok([h / factor, w / factor, c]),
            Self::Mask(mask) if mask.len() != h * w => {
                Err(EvalError::MaskSize { pixels: mask.len(), height: h, width: w })
            }
            Self::Mask(mask) => match mask.iter().filter(|missing| **missing).count() {
                0 => Err(EvalError::EmptyMask),
                n if n == h * w => Err(EvalError::FullMask),
                _ => Ok([h, w, c]),
            },
        }
    }

    /// Corrupts a whole image; missing pixels become gray.
    ///
    /// # Errors
    /// Returns the errors of [`shape`](Self::shape).
    pub fn apply(&self, whole: &[f32], [h, w, c]: [usize; 3]) -> Result<Vec<f32>, EvalError> {
        self.shape([h, w, c])?;
        Ok(match self {
            Self::Noise => whole.to_vec(),
            Self::Downsampled { factor } => {
                downsample(&Tensor::from_slice(whole, [1, h, w, c]), *factor).to_vec()
            }
            // The last of four channels is opacity.
            Self::Mask(mask) => {
                let gray = |i: usize| if c == 4 && i % 4 == 3 { whole[i] } else { 0.0 };
                (0..whole.len()).map(|i| if mask[i / c] { gray(i) } else { whole[i] }).collect()
            }
        })
    }

    /// The context loss `[S]`: the mean absolute difference of the known pixels from images
    /// `[S, H, W, C]` with the same corruption. Pixels near missing ones have more weight
    /// (equation 3).
    fn context_loss(&self, images: &Tensor, known: &Tensor, weights: Option<&Tensor>) -> Tensor {
        match (self, weights) {
            (Self::Downsampled { factor }, _) => {
                downsample(images, *factor).sub(known).abs().mean(&[1, 2, 3], false)
            }
            (_, Some(weights)) => images.sub(known).mul(weights).abs().mean(&[1, 2, 3], false),
            (_, None) => images.sub(known).abs().mean(&[1, 2, 3], false),
        }
    }
}

fn downsample(images: &Tensor, factor: usize) -> Tensor {
    images.avg_pool2d([factor; 2], [factor; 2])
}

/// For each known pixel the fraction of missing ones in the window around it, 0 for missing ones
/// (equation 3), scaled to a mean of 1, `[1, H, W, 1]`. A known pixel far from all missing ones has
/// weight 0.
fn context_weights(mask: &[bool], [h, w]: [usize; 2]) -> Tensor {
    let radius = WINDOW / 2;
    let near = |i: usize, side: usize| i.saturating_sub(radius)..(i + radius + 1).min(side);
    let weight = |p: usize| {
        let (y, x) = (p / w, p % w);
        let window: Vec<bool> = near(y, h)
            .flat_map(|j| near(x, w).map(move |i| (j, i)))
            .map(|(j, i)| mask[j * w + i])
            .collect();
        let missing = window.iter().filter(|missing| **missing).count();
        if mask[p] { 0.0 } else { missing as f32 / (window.len() - 1) as f32 }
    };
    let weights: Vec<f32> = (0..h * w).map(weight).collect();
    let mean = weights.iter().sum::<f32>() / weights.len() as f32;
    let scaled: Vec<f32> = weights.iter().map(|v| v / mean.max(1e-6)).collect();
    Tensor::from_slice(&scaled, [1, h, w, 1])
}

/// Restores `known`, which has the shape of [`Corruption::shape`], under each of the candidate
/// `conditions` `[M, K]` if the generator is conditional.
///
/// # Errors
/// Returns an error if corruption or conditions do not fit, a prior loss is weighted without a
/// discriminator, or the device fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn restore(
    sampler: &Sampler,
    discriminator: Option<&CheckpointDiscriminator>,
    known: &[f32],
    corruption: &Corruption,
    conditions: Option<&Tensor>,
    options: &RestoreOptions,
    progress: Progress<'_>,
) -> Result<Restoration, EvalError> {
    let [h, w, c] = sampler.shape();
    let [kh, kw, _] = corruption.shape([h, w, c])?;
    let discriminator = discriminator.filter(|_| options.prior > 0.0);
    if options.prior > 0.0 && discriminator.is_none() {
        return Err(EvalError::NoDiscriminator);
    }
    let device = sampler.device();
    let goal = Tensor::from_slice(known, [1, kh, kw, c]).to_device(device);
    let weights = match corruption {
        Corruption::Mask(mask) => Some(context_weights(mask, [h, w]).to_device(device)),
        Corruption::Downsampled { .. } | Corruption::Noise => None,
    };
    let loss = |images: &Tensor, condition: Option<&Tensor>| {
        let context = corruption.context_loss(images, &goal, weights.as_ref());
        let Some(d) = discriminator else { return context };
        // −log D = −log σ(x) = softplus(−x).
        let prior = d.score(images, condition, &[]).0.neg().softplus();
        context.add(&prior.scale(options.prior as f32))
    };
    let found = options.optimizer.run(sampler, conditions, loss, progress)?;
    let images =
        sampler.sample(&found.latents, found.conditions.as_ref(), found.losses.len(), |_| ())?;
    let image = |i: usize| images.narrow(0, i, 1).to_vec();
    let start = |i: usize| {
        Ok(StartResult {
            candidate: i / options.optimizer.starts,
            error: known_error(corruption, &image(i), known, [h, w, c])?,
        })
    };
    let generated = image(found.best);
    let restored = match corruption {
        Corruption::Mask(mask) => poisson(known, &generated, mask, [h, w, c]),
        Corruption::Downsampled { .. } | Corruption::Noise => generated.clone(),
    };
    Ok(Restoration {
        latent: found.latents.narrow(0, found.best, 1),
        condition: found.conditions.map(|rows| rows.narrow(0, found.best, 1)),
        generated,
        restored,
        starts: (0..found.losses.len()).map(start).collect::<Result<_, EvalError>>()?,
        best: found.best,
    })
}

/// An image `[H / factor, W / factor, C]` upsampled to `[H, W, C]` by bicubic (Catmull-Rom)
/// interpolation: the baseline for super-resolution.
///
/// # Panics
/// Panics if the image has another length.
#[track_caller]
pub fn upsample_bicubic(small: &[f32], [h, w, c]: [usize; 3], factor: usize) -> Vec<f32> {
    let (sh, sw) = (h / factor, w / factor);
    assert_eq!(small.len(), sh * sw * c, "upsample_bicubic: the image is not {sh}x{sw}x{c}");
    let mut out = vec![0.0; h * w * c];
    for channel in 0..c {
        // The resizer works on [0, 1].
        let plane: Vec<f32> =
            small.iter().skip(channel).step_by(c).map(|v| v * 0.5 + 0.5).collect();
        let Some(plane) = ImageBuffer::<Luma<f32>, _>::from_raw(sw as u32, sh as u32, plane) else {
            continue;
        };
        let large = imageops::resize(&plane, w as u32, h as u32, imageops::FilterType::CatmullRom);
        out.iter_mut()
            .skip(channel)
            .step_by(c)
            .zip(large.into_raw())
            .for_each(|(to, v)| *to = v * 2.0 - 1.0);
    }
    out
}

/// Root mean square error over what is known, in gray levels of 255.
fn known_error(
    corruption: &Corruption,
    generated: &[f32],
    known: &[f32],
    shape: [usize; 3],
) -> Result<f64, EvalError> {
    let corrupted = corruption.apply(generated, shape)?;
    let Corruption::Mask(mask) = corruption else { return Ok(rms(&corrupted, known)) };
    let both = corrupted.iter().zip(known).enumerate().filter(|(i, _)| !mask[i / shape[2]]);
    let (a, b): (Vec<f32>, Vec<f32>) = both.map(|(_, (a, b))| (*a, *b)).unzip();
    Ok(rms(&a, &b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_weights_follow_missing_neighbors() {
        // One missing pixel in the middle of 9 × 9: equal weights in its window of 7 × 7, none
        // beyond. At the edge windows are cut off.
        let mask: Vec<bool> = (0..81).map(|p| p == 40).collect();
        let weights = context_weights(&mask, [9, 9]).to_vec();
        assert_eq!((weights[40], weights[0], weights[8]), (0.0, 0.0, 0.0));
        assert!(weights[41] > 0.0 && weights[10] > weights[41], "a smaller window: one of fewer");
        assert!((weights.iter().sum::<f32>() / 81.0 - 1.0).abs() < 1e-5);
        assert_eq!(weights[30], weights[32]);
    }

    #[test]
    fn corruption_keeps_what_is_known() {
        let whole: Vec<f32> = (0..16).map(|i| i as f32 / 16.0).collect();
        let small = Corruption::Downsampled { factor: 2 }.apply(&whole, [4, 4, 1]).unwrap();
        assert_eq!(small, [2.5, 4.5, 10.5, 12.5].map(|v| v / 16.0));
        let mask: Vec<bool> = (0..16).map(|p| p == 3).collect();
        let masked = Corruption::Mask(mask.clone());
        assert_eq!(masked.apply(&whole, [4, 4, 1]).unwrap()[3], 0.0);
        // Pixels generated in the hole do not count as errors.
        let mut other = whole.clone();
        other[3] = -1.0;
        assert_eq!(known_error(&masked, &other, &whole, [4, 4, 1]).unwrap(), 0.0);
        other[4] += 0.1;
        assert!(known_error(&masked, &other, &whole, [4, 4, 1]).unwrap() > 1.0);
    }

    #[test]
    fn unfit_corruption_is_refused() {
        let refused = |corruption: Corruption| corruption.shape([4, 4, 1]).unwrap_err();
        for wrong in [3, 1] {
            let error = refused(Corruption::Downsampled { factor: wrong });
            let EvalError::ResizeFactor { factor, .. } = error else { panic!("{error}") };
            assert_eq!(factor, wrong);
        }
        assert!(matches!(refused(Corruption::Mask(vec![true; 16])), EvalError::FullMask));
        assert!(matches!(refused(Corruption::Mask(vec![false; 16])), EvalError::EmptyMask));
        let error = refused(Corruption::Mask(vec![true; 9]));
        assert!(matches!(error, EvalError::MaskSize { pixels: 9, height: 4, width: 4 }), "{error}");
    }

    #[test]
    fn upsampling_keeps_the_level_of_each_channel() {
        let small = [0.5, -0.5].repeat(4);
        let large = upsample_bicubic(&small, [6, 6, 2], 3);
        assert!(
            large.len() == 72
                && large.chunks(2).all(|p| (p[0] - 0.5).abs() < 1e-5 && (p[1] + 0.5).abs() < 1e-5),
            "{large:?}"
        );
    }
}
