//! The training data: a mixture of Gaussians in the plane, not all of which a collapsed generator
//! finds.

use tensor::Tensor;
use tensor::rng::Philox;

/// A mixture of isotropic Gaussians with equal weights and equal standard deviations.
#[derive(Clone, PartialEq, Debug)]
pub struct Mixture {
    /// The means of the Gaussians.
    pub centers: Vec<[f32; 2]>,
    /// The standard deviation along each axis.
    pub std: f32,
    /// Plots show [−extent, extent] of both axes.
    pub extent: f32,
}

impl Mixture {
    /// Eight Gaussians of std 0.02 on a circle of radius 2 (Metz et al. 2017, "Unrolled GANs").
    pub fn ring() -> Self {
        let center = |i: usize| {
            let (sin, cos) = (std::f64::consts::TAU * i as f64 / 8.0).sin_cos();
            [(2.0 * cos) as f32, (2.0 * sin) as f32]
        };
        Self { centers: (0..8).map(center).collect(), std: 0.02, extent: 3.0 }
    }

    /// 25 Gaussians of std 0.05 on a grid of spacing 2, from −4 to 4 (Srivastava et al. 2017,
    /// "VEEGAN"; Lin et al. 2018, "PacGAN").
    pub fn grid() -> Self {
        let center = |i: usize| [2.0 * (i % 5) as f32 - 4.0, 2.0 * (i / 5) as f32 - 4.0];
        Self { centers: (0..25).map(center).collect(), std: 0.05, extent: 5.5 }
    }

    /// `count` points, `[count, 2]`, on the CPU.
    pub fn sample(&self, rng: &mut Philox, count: usize) -> Tensor {
        let modes = u32::try_from(self.centers.len()).unwrap_or(u32::MAX);
        let mut points = rng.normal([count, 2], 0.0, self.std).to_vec();
        for point in points.chunks_exact_mut(2) {
            if let Some(center) = self.centers.get(rng.below(modes) as usize) {
                point[0] += center[0];
                point[1] += center[1];
            }
        }
        Tensor::from_slice(&points, [count, 2])
    }
}
