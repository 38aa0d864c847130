//! The latent of a given picture (Creswell & Bharath 2018; Lipton & Tripathi 2017): the one whose picture is nearest.

use super::discriminator_scorer::DiscriminatorScorer;
use super::projector::LatentOptimizer;
use super::restore::psnr;
use crate::{EvalError, Progress};
use tensor::Tensor;
use train::Sampler;

/// How a picture is inverted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvertOptions {
    /// How the latent is looked for.
    pub descent: LatentOptimizer,
    /// Weight of the difference of the discriminator's features, relative to their own size, beside the mean squared difference of pixels.
    pub features: f64,
}

/// Where one start ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StartResult {
    /// Which of the candidate conditions it had; 0 without conditions.
    pub candidate: usize,
    /// Root mean square of the difference to the picture, in grey levels of 255.
    pub error: f64,
}

/// A latent, and how near its picture is.
pub struct Inversion {
    /// `[1, latent]`.
    pub latent: Tensor,
    /// What it is drawn under, `[1, K]`.
    pub told: Option<Tensor>,
    /// Its picture, `[H, W, C]` in [−1, 1].
    pub image: Vec<f32>,
    /// Of its picture and the given one, in decibels.
    pub psnr: f64,
    /// All starts; the one kept has the least loss, which is the least error but for the features' part in it.
    pub starts: Vec<StartResult>,
    /// Which start was kept.
    pub best: usize,
}

/// Looks for the latent of `target`, `[H, W, C]` in [−1, 1], under each of `conditions` `[M, K]` where the generator is told one.
///
/// # Errors
/// A condition that does not fit, features without a discriminator, a device that fails, or the user's stop.
pub fn invert(
    sampler: &Sampler,
    critic: Option<&DiscriminatorScorer>,
    target: &[f32],
    conditions: Option<&Tensor>,
    options: &InvertOptions,
    progress: Progress<'_>,
) -> Result<Inversion, EvalError> {
    let [h, w, c] = sampler.shape();
    if options.features > 0.0 && critic.is_none() {
        return Err(EvalError::Mismatch(
            "--features: the checkpoint has no discriminator to take them from".into(),
        ));
    }
    let goal = Tensor::from_slice(target, [1, h, w, c]).to_device(sampler.device());
    let loss = |images: &Tensor, told: Option<&Tensor>| {
        let pixels = images.sub(&goal).square().mean(&[1, 2, 3], false);
        let Some(critic) = critic.filter(|_| options.features > 0.0) else { return pixels };
        let wanted = goal.index_select(&vec![0; images.shape()[0]]);
        let (own, wanted) = (critic.score(images, told).1, critic.score(&wanted, told).1);
        let weight = options.features as f32 / own.len().max(1) as f32;
        own.iter()
            .zip(&wanted)
            .fold(pixels, |sum, (own, wanted)| sum.add(&distance(own, wanted).scale(weight)))
    };
    let found = options.descent.run(sampler, conditions, loss, progress)?;
    let images =
        sampler.sample(&found.latents, found.told.as_ref(), found.losses.len(), |_| ())?.to_vec();
    let picture = |i: usize| &images[i * target.len()..][..target.len()];
    let start = |i: usize| StartResult {
        candidate: i / options.descent.starts,
        error: rms(picture(i), target),
    };
    Ok(Inversion {
        latent: found.latents.narrow(0, found.best, 1),
        told: found.told.map(|rows| rows.narrow(0, found.best, 1)),
        image: picture(found.best).to_vec(),
        psnr: psnr(picture(found.best), target),
        starts: (0..found.losses.len()).map(start).collect(),
        best: found.best,
    })
}

/// The mean squared difference of features over their mean square, `[N]`.
fn distance(own: &Tensor, wanted: &Tensor) -> Tensor {
    let flat = |x: &Tensor| x.reshape([x.shape()[0], x.len() / x.shape()[0]]);
    let (own, wanted) = (flat(own), flat(wanted));
    let size = wanted.square().mean(&[1], false).add_scalar(1e-8);
    own.sub(&wanted).square().mean(&[1], false).div(&size)
}

/// Root mean square of the differences, in grey levels of 255.
pub(super) fn rms(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / a.len().max(1) as f64).sqrt() * 127.5
}
