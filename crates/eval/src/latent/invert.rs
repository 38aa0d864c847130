//! GAN inversion: the latent whose image is nearest to a given image (Creswell & Bharath 2018;
//! Lipton & Tripathi 2017).

use super::image_error::{StartResult, psnr, rms};
use super::projector::LatentOptimizer;
use crate::checkpoint_discriminator::CheckpointDiscriminator;
use crate::{EvalError, Progress};
use tensor::Tensor;
use train::Sampler;

/// Options of GAN inversion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvertOptions {
    /// Options of the latent projection.
    pub optimizer: LatentOptimizer,
    /// Weight of the difference of the discriminator's features, relative to their own size; the
    /// mean squared difference of pixels has weight 1.
    pub features: f64,
}

/// A latent and its reconstruction of the image.
pub struct Inversion {
    /// `[1, latent]`.
    pub latent: Tensor,
    /// The latent's condition, `[1, K]`.
    pub condition: Option<Tensor>,
    /// The reconstruction, `[H, W, C]` in [−1, 1].
    pub image: Vec<f32>,
    /// PSNR of the reconstruction, in decibels.
    pub psnr: f64,
    /// All starts. The one kept has the smallest loss, which differs from the smallest error by
    /// the weight of the features.
    pub starts: Vec<StartResult>,
    /// The index of the start that was kept.
    pub best: usize,
}

/// Finds the latent of `target`, `[H, W, C]` in [−1, 1], under each of the candidate `conditions`
/// `[M, K]` if the generator is conditional.
///
/// # Errors
/// Returns an error if the conditions do not fit, features are weighted without a discriminator,
/// or the device fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn invert(
    sampler: &Sampler,
    discriminator: Option<&CheckpointDiscriminator>,
    target: &[f32],
    conditions: Option<&Tensor>,
    options: &InvertOptions,
    progress: Progress<'_>,
) -> Result<Inversion, EvalError> {
    let [h, w, c] = sampler.shape();
    let discriminator = match discriminator {
        _ if options.features <= 0.0 => None,
        Some(own) => Some((own, own.recipe().feature_layers())),
        None => return Err(EvalError::NoDiscriminator),
    };
    let goal = Tensor::from_slice(target, [1, h, w, c]).to_device(sampler.device());
    let loss = |images: &Tensor, condition: Option<&Tensor>| {
        let pixels = images.sub(&goal).square().mean(&[1, 2, 3], false);
        let Some((d, layers)) = &discriminator else { return pixels };
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let goals = goal.index_select(&vec![0; images.shape()[0]]);
        let own = d.score(images, condition, &layers).1;
        let wanted = d.score(&goals, condition, &layers).1;
        let weight = options.features as f32 / own.len().max(1) as f32;
        own.iter().zip(&wanted).fold(pixels, |sum, (own, wanted)| {
            sum.add(&relative_distance(own, wanted).scale(weight))
        })
    };
    let found = options.optimizer.run(sampler, conditions, loss, progress)?;
    let images = sampler
        .sample(&found.latents, found.conditions.as_ref(), found.losses.len(), |_| ())?
        .to_vec();
    let image = |i: usize| &images[i * target.len()..][..target.len()];
    let start = |i: usize| StartResult {
        candidate: i / options.optimizer.starts,
        error: rms(image(i), target),
    };
    Ok(Inversion {
        latent: found.latents.narrow(0, found.best, 1),
        condition: found.conditions.map(|rows| rows.narrow(0, found.best, 1)),
        image: image(found.best).to_vec(),
        psnr: psnr(image(found.best), target),
        starts: (0..found.losses.len()).map(start).collect(),
        best: found.best,
    })
}

/// The mean squared difference of features over their mean square, `[N]`.
fn relative_distance(own: &Tensor, wanted: &Tensor) -> Tensor {
    let flat = |x: &Tensor| x.reshape([x.shape()[0], x.len() / x.shape()[0]]);
    let (own, wanted) = (flat(own), flat(wanted));
    let size = wanted.square().mean(&[1], false).add_scalar(1e-8);
    own.sub(&wanted).square().mean(&[1], false).div(&size)
}
