//! Feature matching on discriminator layers.

use serde::{Deserialize, Serialize};
use tensor::Tensor;
use tensor::distributed::BatchShard;

/// The distance between two feature means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureNorm {
    /// The mean of the absolute differences, as in the code for CIFAR-10 and SVHN.
    L1,
    /// The sum of the squared differences, as in the paper.
    L2,
}

/// The feature matching loss of the generator (Salimans et al. 2016, section 3.1): ‖E f(x) − E
/// f(G(z))‖², where f is a discriminator layer's output and E the mean over the batch, of which
/// `shard` has these rows, summed over these layers. Each pair of features is `[N, …]`, with equal
/// shapes except for N. Real features are constants.
///
/// # Panics
/// Panics without layers, or if real and generated features differ in count or shape.
#[track_caller]
pub fn feature_matching(
    real_features: &[Tensor],
    fake_features: &[Tensor],
    norm: FeatureNorm,
    shard: &BatchShard,
) -> Tensor {
    assert_eq!(
        real_features.len(),
        fake_features.len(),
        "feature_matching: layers of real and of generated images"
    );
    let distances = real_features.iter().zip(fake_features).map(|(real, fake)| {
        assert_eq!(
            real.shape()[1..],
            fake.shape()[1..],
            "feature_matching: features of another layer"
        );
        let difference = shard.batch_mean(fake).sub(&shard.batch_mean(&real.detach()));
        match norm {
            FeatureNorm::L1 => difference.abs().mean_all(),
            FeatureNorm::L2 => difference.square().sum_all(),
        }
    });
    distances.reduce(|a, b| a.add(&b)).unwrap_or_else(|| panic!("feature_matching: no layers"))
}
