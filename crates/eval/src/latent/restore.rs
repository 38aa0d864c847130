//! Restoring pictures by what a generator can draw (Yeh et al. 2017, "Semantic image inpainting with deep generative models").

use super::discriminator_scorer::DiscriminatorScorer;
use super::invert::{StartResult, rms};
use super::poisson_blend::poisson;
use super::projector::LatentOptimizer;
use crate::{EvalError, Progress};
use image::{ImageBuffer, Luma, imageops};
use tensor::Tensor;
use train::Sampler;

/// The side of the window in which missing pixels make known ones count more, as in the paper.
const WINDOW: usize = 7;

/// What is wrong with a picture, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Corruption {
    /// Pixels are missing: true for each that is, `[H · W]`.
    Missing(Vec<bool>),
    /// Each pixel is the mean of `factor` × `factor` of the picture.
    Small {
        /// By how much the picture is to be upsample_bicubic.
        factor: usize,
    },
    /// All pixels are there, with noise.
    Noisy,
}

/// How a picture is restored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestoreOptions {
    /// How the latent is looked for.
    pub descent: LatentOptimizer,
    /// Weight of the discriminator's loss, −log D, beside the mean absolute difference to what is known.
    pub critic: f64,
}

/// A restored picture.
pub struct Restoration {
    /// `[1, latent]`.
    pub latent: Tensor,
    /// What it is drawn under, `[1, K]`.
    pub told: Option<Tensor>,
    /// What the generator draws, `[H, W, C]`.
    pub generated: Vec<f32>,
    /// The result: for missing pixels what is known with the generated picture set into it, else the generated picture.
    pub restored: Vec<f32>,
    /// All starts; errors are of what is known.
    pub starts: Vec<StartResult>,
    /// Which start was kept.
    pub best: usize,
}

/// Peak signal-to-noise ratio of pictures in [−1, 1], in decibels; infinite for equal ones.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    20.0 * (255.0 / rms(a, b)).log10()
}

impl Corruption {
    /// The shape that a picture with this damage has, where the whole one has `[h, w, c]`.
    ///
    /// # Errors
    /// A factor that does not divide the sides, a mask of another size, of everything or of nothing.
    pub fn shape(&self, [h, w, c]: [usize; 3]) -> Result<[usize; 3], EvalError> {
        let bad = |text: String| Err(EvalError::Setting(text));
        match self {
            Self::Noisy => Ok([h, w, c]),
            Self::Small { factor } if *factor < 2 || h % factor != 0 || w % factor != 0 => {
                bad(format!(
                    "--factor {factor}: it must be at least 2 and divide both sides of {h}x{w} pictures"
                ))
            }
            Self::Small { factor } => Ok([h / factor, w / factor, c]),
            Self::Missing(mask) if mask.len() != h * w => {
                bad(format!("the mask has {} pixels, the picture {h}x{w}", mask.len()))
            }
            Self::Missing(mask) => match mask.iter().filter(|missing| **missing).count() {
                0 => {
                    bad("the mask leaves nothing to restore: mark what is missing in white".into())
                }
                n if n == h * w => {
                    bad("the mask leaves nothing to go by: mark only what is missing in white"
                        .into())
                }
                _ => Ok([h, w, c]),
            },
        }
    }

    /// What is left of a whole picture; missing pixels become grey.
    ///
    /// # Errors
    /// As [`shape`](Self::shape).
    pub fn apply(&self, whole: &[f32], [h, w, c]: [usize; 3]) -> Result<Vec<f32>, EvalError> {
        self.shape([h, w, c])?;
        Ok(match self {
            Self::Noisy => whole.to_vec(),
            Self::Small { factor } => {
                shrink(&Tensor::from_slice(whole, [1, h, w, c]), *factor).to_vec()
            }
            // The last of four channels is opacity.
            Self::Missing(mask) => {
                let grey = |i: usize| if c == 4 && i % 4 == 3 { whole[i] } else { 0.0 };
                (0..whole.len()).map(|i| if mask[i / c] { grey(i) } else { whole[i] }).collect()
            }
        })
    }

    /// The mean absolute difference interpolation_weights what is known and what the same damage leaves of `images` `[S, H, W, C]`: `[S]`. Pixels beside missing ones count more (equation 3).
    fn context(&self, images: &Tensor, known: &Tensor, weights: Option<&Tensor>) -> Tensor {
        match (self, weights) {
            (Self::Small { factor }, _) => {
                shrink(images, *factor).sub(known).abs().mean(&[1, 2, 3], false)
            }
            (_, Some(weights)) => images.sub(known).mul(weights).abs().mean(&[1, 2, 3], false),
            (_, None) => images.sub(known).abs().mean(&[1, 2, 3], false),
        }
    }
}

fn shrink(images: &Tensor, factor: usize) -> Tensor {
    images.avg_pool2d([factor; 2], [factor; 2])
}

/// For each known pixel the share of missing ones among its neighbours, 0 for missing ones (equation 3); scaled to a mean of 1, `[1, H, W, 1]`. Where no window reaches a
/// missing pixel, a known one counts nothing.
fn context_weights(mask: &[bool], [h, w]: [usize; 2]) -> Tensor {
    let scale = WINDOW / 2;
    let near = |i: usize, side: usize| i.saturating_sub(scale)..(i + scale + 1).min(side);
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
    Tensor::from_slice(
        &weights.iter().map(|v| v / mean.max(1e-6)).collect::<Vec<_>>(),
        [1, h, w, 1],
    )
}

/// Restores `known`, which has the shape that [`Corruption::shape`] says, under each of `conditions` `[M, K]` where the generator is told one.
///
/// # Errors
/// Corruption or condition that does not fit, a weight without a discriminator, a device that fails, or the user's stop.
pub fn restore(
    sampler: &Sampler,
    critic: Option<&DiscriminatorScorer>,
    known: &[f32],
    damage: &Corruption,
    conditions: Option<&Tensor>,
    options: &RestoreOptions,
    progress: Progress<'_>,
) -> Result<Restoration, EvalError> {
    let [h, w, c] = sampler.shape();
    let [kh, kw, _] = damage.shape([h, w, c])?;
    if options.critic > 0.0 && critic.is_none() {
        return Err(EvalError::Mismatch("--critic: the checkpoint has no discriminator".into()));
    }
    let device = sampler.device();
    let goal = Tensor::from_slice(known, [1, kh, kw, c]).to_device(device);
    let weights = if let Corruption::Missing(mask) = damage {
        Some(context_weights(mask, [h, w]).to_device(device))
    } else {
        None
    };
    let loss = |images: &Tensor, told: Option<&Tensor>| {
        let context = damage.context(images, &goal, weights.as_ref());
        match critic.filter(|_| options.critic > 0.0) {
            // −log σ(x).
            Some(critic) => context
                .add(&critic.score(images, told).0.neg().softplus().scale(options.critic as f32)),
            None => context,
        }
    };
    let found = options.descent.run(sampler, conditions, loss, progress)?;
    let images = sampler.sample(&found.latents, found.told.as_ref(), found.losses.len(), |_| ())?;
    let drawn = |i: usize| images.narrow(0, i, 1).to_vec();
    let start = |i: usize| {
        Ok(StartResult {
            candidate: i / options.descent.starts,
            error: known_error(damage, &drawn(i), known, [h, w, c])?,
        })
    };
    let generated = drawn(found.best);
    let restored = match damage {
        Corruption::Missing(mask) => poisson(known, &generated, mask, [h, w, c]),
        Corruption::Small { .. } | Corruption::Noisy => generated.clone(),
    };
    Ok(Restoration {
        latent: found.latents.narrow(0, found.best, 1),
        told: found.told.map(|rows| rows.narrow(0, found.best, 1)),
        generated,
        restored,
        starts: (0..found.losses.len()).map(start).collect::<Result<_, EvalError>>()?,
        best: found.best,
    })
}

/// A small picture `[h / factor, w / factor, c]` upsample_bicubic to `[h, w, c]` by Catmull-Rom splines: what is done without a generator.
///
/// # Panics
/// When it has another length.
#[track_caller]
pub fn upsample_bicubic(small: &[f32], [h, w, c]: [usize; 3], factor: usize) -> Vec<f32> {
    let (sh, sw) = (h / factor, w / factor);
    assert_eq!(small.len(), sh * sw * c, "upsample_bicubic: the picture is not {sh}x{sw}x{c}");
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

/// Root mean square over what is known, in grey levels of 255.
fn known_error(
    damage: &Corruption,
    generated: &[f32],
    known: &[f32],
    shape: [usize; 3],
) -> Result<f64, EvalError> {
    let left = damage.apply(generated, shape)?;
    let Corruption::Missing(mask) = damage else { return Ok(rms(&left, known)) };
    let both = left.iter().zip(known).enumerate().filter(|(i, _)| !mask[i / shape[2]]);
    let (a, b): (Vec<f32>, Vec<f32>) = both.map(|(_, (a, b))| (*a, *b)).unzip();
    Ok(rms(&a, &b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_pixels_count_by_the_missing_ones_around_them() {
        // One missing pixel in the middle of 9 × 9: equal weights in its window of 7 × 7, none beyond. At the edge windows are cut off.
        let mask: Vec<bool> = (0..81).map(|p| p == 40).collect();
        let weights = context_weights(&mask, [9, 9]).to_vec();
        assert_eq!((weights[40], weights[0], weights[8]), (0.0, 0.0, 0.0));
        assert!(weights[41] > 0.0 && weights[10] > weights[41], "a smaller window: one of fewer");
        assert!((weights.iter().sum::<f32>() / 81.0 - 1.0).abs() < 1e-5);
        assert_eq!(weights[30], weights[32]);
    }

    #[test]
    fn damage_leaves_what_it_leaves() {
        let whole: Vec<f32> = (0..16).map(|i| i as f32 / 16.0).collect();
        let small = Corruption::Small { factor: 2 }.apply(&whole, [4, 4, 1]).unwrap();
        assert_eq!(small, [2.5, 4.5, 10.5, 12.5].map(|v| v / 16.0));
        let mask: Vec<bool> = (0..16).map(|p| p == 3).collect();
        let missing = Corruption::Missing(mask.clone());
        assert_eq!(missing.apply(&whole, [4, 4, 1]).unwrap()[3], 0.0);
        // What is generated in the hole is no error.
        let mut other = whole.clone();
        other[3] = -1.0;
        assert_eq!(known_error(&missing, &other, &whole, [4, 4, 1]).unwrap(), 0.0);
        other[4] += 0.1;
        assert!(known_error(&missing, &other, &whole, [4, 4, 1]).unwrap() > 1.0);
        for (damage, part) in [
            (Corruption::Small { factor: 3 }, "--factor 3"),
            (Corruption::Small { factor: 1 }, "--factor 1"),
            (Corruption::Missing(vec![true; 16]), "nothing to go by"),
            (Corruption::Missing(vec![false; 16]), "nothing to restore"),
            (Corruption::Missing(vec![true; 9]), "9 pixels"),
        ] {
            let message = damage.shape([4, 4, 1]).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn enlarging_keeps_each_channel_s_level() {
        let small = [0.5, -0.5].repeat(4);
        let large = upsample_bicubic(&small, [6, 6, 2], 3);
        assert!(
            large.len() == 72
                && large.chunks(2).all(|p| (p[0] - 0.5).abs() < 1e-5 && (p[1] + 0.5).abs() < 1e-5),
            "{large:?}"
        );
    }

    #[test]
    fn the_signal_to_noise_ratio_is_that_of_eight_bits() {
        // An error of one grey level everywhere: 20 log₁₀ 255.
        let shifted = [0.1f32 + 2.0 / 255.0; 4];
        assert!((psnr(&[0.1; 4], &shifted) - 48.1308).abs() < 1e-3);
        assert_eq!(psnr(&[0.5], &[0.5]), f64::INFINITY);
    }
}
