//! Layers that are random in training, and do nothing in a pass without noise.

use crate::mode::ForwardCtx;
use tensor::Tensor;
use tensor::rng::Distribution;

/// Each number is dropped with probability p, and divided by 1 − p otherwise (Srivastava et al. 2014, in the inverted form). Any
/// shape.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dropout {
    p: f32,
}

impl Dropout {
    /// Dropout with probability `p` in [0, 1).
    ///
    /// # Panics
    /// When `p` is outside.
    #[track_caller]
    pub fn new(p: f32) -> Self {
        assert!((0.0..1.0).contains(&p), "Dropout: the probability {p} is not in [0, 1)");
        Self { p }
    }

    pub(super) fn forward(&self, x: &Tensor, pass: ForwardCtx<'_>) -> Tensor {
        let keep = 1.0 - self.p;
        match pass.noise {
            Some(noise) if self.p > 0.0 => {
                x.mul(&noise.draw(x, Distribution::Bernoulli { keep, value: 1.0 / keep }))
            }
            _ => x.clone(),
        }
    }
}

/// x + N(0, (std · scale)²), with the scale of the pass's [`NoiseRng`](crate::NoiseRng). Any shape.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GaussianNoise {
    std: f32,
}

impl GaussianNoise {
    /// Noise of standard deviation `std`, 0 or more.
    ///
    /// # Panics
    /// When `std` is negative or not finite.
    #[track_caller]
    pub fn new(std: f32) -> Self {
        assert!(
            std >= 0.0 && std.is_finite(),
            "GaussianNoise: the standard deviation {std} is not 0 or more"
        );
        Self { std }
    }

    pub(super) fn forward(&self, x: &Tensor, pass: ForwardCtx<'_>) -> Tensor {
        let Some(noise) = pass.noise else { return x.clone() };
        let std = self.std * noise.scale();
        if std == 0.0 {
            x.clone()
        } else {
            x.add(&noise.draw(x, Distribution::Normal { mean: 0.0, std }))
        }
    }
}
