//! Mode coverage: how much of a mixture a generator has found.

use super::Mixture;
use serde::Serialize;

/// Number of samples of a measurement, as in the literature.
pub const NUM_SAMPLES: usize = 2500;
/// A sample is of high quality within this many standard deviations of the nearest center.
const MAX_STDS: f32 = 3.0;

/// Coverage of the modes of a mixture by samples, as defined by Srivastava et al. (2017, "VEEGAN")
/// and Lin et al. (2018, "PacGAN").
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Coverage {
    /// Number of modes with at least one sample of high quality: one within 3 standard deviations
    /// of that center, which is its nearest.
    pub modes: usize,
    /// A stricter count: modes with at least a quarter of their fair share (samples / modes) of
    /// samples of high quality.
    pub fair_modes: usize,
    /// Fraction of all samples that are of high quality, in [0, 1].
    pub high_quality: f64,
    /// KL(generated ‖ uniform) of the histogram of nearest modes of all samples, in nats: 0 when
    /// all modes are equally frequent, ln(modes) when only one is left.
    pub reverse_kl: f64,
    /// Number of samples of high quality of each mode.
    #[serde(skip)]
    pub histogram: Vec<usize>,
}

impl Coverage {
    /// Measures points (x, y, x, y, …). A point with NaN or infinity is nearest to no mode.
    pub fn of(mixture: &Mixture, points: &[f32]) -> Self {
        let modes = mixture.centers.len();
        let (mut nearest, mut good) = (vec![0usize; modes], vec![0usize; modes]);
        let limit = (MAX_STDS * mixture.std).powi(2);
        for point in points.chunks_exact(2).filter(|point| point.iter().all(|v| v.is_finite())) {
            let square =
                |center: &[f32; 2]| (point[0] - center[0]).powi(2) + (point[1] - center[1]).powi(2);
            let distances = mixture.centers.iter().map(square).enumerate();
            if let Some((mode, distance)) = distances.min_by(|a, b| a.1.total_cmp(&b.1)) {
                nearest[mode] += 1;
                good[mode] += usize::from(distance <= limit);
            }
        }
        let total = points.len() / 2;
        let fair = total as f64 / modes as f64 / 4.0;
        let counted = nearest.iter().sum::<usize>().max(1) as f64;
        let kl = |n: &usize| {
            let p = *n as f64 / counted;
            if p > 0.0 { p * (p * modes as f64).ln() } else { 0.0 }
        };
        Self {
            modes: good.iter().filter(|n| **n > 0).count(),
            fair_modes: good.iter().filter(|n| **n > 0 && **n as f64 >= fair).count(),
            high_quality: good.iter().sum::<usize>() as f64 / total.max(1) as f64,
            reverse_kl: nearest.iter().map(kl).sum(),
            histogram: good,
        }
    }
}
