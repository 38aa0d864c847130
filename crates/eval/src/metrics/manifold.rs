//! Manifolds of two feature sets, estimated by k-nearest-neighbor balls: the basis of improved
//! precision and recall, density and coverage.
//!
//! ```
//! use eval::Progress;
//! use eval::features::Features;
//! use eval::metrics::manifold::manifold;
//! use eval::stats::fraction;
//! use tensor::Device;
//!
//! let real = Features::new(1, vec![0.0, 1.0, 2.0, 3.0]);
//! let fake = Features::new(1, vec![0.5, 1.5, 2.5, 90.0]);
//! let found = manifold(&real, &fake, 1, &Device::Cpu, Progress::SILENT)?;
//! assert_eq!((fraction(&found.precise), fraction(&found.covered)), (0.75, 1.0));
//! # Ok::<(), eval::EvalError>(())
//! ```

use super::pairwise::PairwiseDistances;
use crate::features::{Features, require_comparable};
use crate::{EvalError, Progress};
use tensor::Device;

/// Which images lie on the manifold of the other set.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifold {
    /// For each generated image: whether it is in the k-th-neighbor ball of a real one.
    pub precise: Vec<bool>,
    /// For each real image: whether it is in the k-th-neighbor ball of a generated one.
    pub recalled: Vec<bool>,
    /// For each generated image: the number of real images' balls that contain it, divided by k.
    pub density: Vec<f64>,
    /// For each real image: whether its ball contains a generated image.
    pub covered: Vec<bool>,
}

/// The squared distance of each row to its k-th nearest neighbor in the same set.
///
/// # Errors
/// Returns an error if there are not more than `k` rows or the device fails;
/// [`EvalError::Stopped`] if `progress` cancels.
pub fn radii(
    features: &Features,
    k: usize,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Vec<f64>, EvalError> {
    let nearest = PairwiseDistances::new(features, features, device).nearest(k, progress)?;
    Ok(nearest.iter().map(|found| found.last().map_or(0.0, |last| last.squared)).collect())
}

/// Compares the manifolds of a real and a generated set by `k` nearest neighbors.
///
/// # Errors
/// Returns an error if the features have different widths, a set has not more than `k` images, or
/// the device fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn manifold(
    real: &Features,
    fake: &Features,
    k: usize,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Manifold, EvalError> {
    require_comparable(real, fake, k + 1, &format!("precision and recall by {k} neighbors"))?;
    let (radii_real, radii_fake) =
        (radii(real, k, device, progress)?, radii(fake, k, device, progress)?);
    // The real balls that contain each generated image: precision, density and coverage in one.
    let balls = PairwiseDistances::new(fake, real, device).for_each_row(
        "comparing the sets",
        progress,
        |row| row.within(&radii_real).collect::<Vec<usize>>(),
    )?;
    let recalled = PairwiseDistances::new(real, fake, device).for_each_row(
        "comparing the sets",
        progress,
        |row| row.within(&radii_fake).next().is_some(),
    )?;
    let mut covered = vec![false; real.len()];
    for index in balls.iter().flatten() {
        if let Some(flag) = covered.get_mut(*index) {
            *flag = true;
        }
    }
    Ok(Manifold {
        precise: balls.iter().map(|balls| !balls.is_empty()).collect(),
        density: balls.iter().map(|balls| balls.len() as f64 / k as f64).collect(),
        recalled,
        covered,
    })
}
