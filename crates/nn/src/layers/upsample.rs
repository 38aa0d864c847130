//! Nearest-neighbor upsampling.

use super::config::{LayerInput, LayerPlan, LayerSpec, check_count};
use super::module::{Layer, Module};
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use tensor::{Activation, Tensor};

/// Nearest-neighbor upsampling: every pixel repeated this many times down and across,
/// `[N, H, W, C]` to `[N, H · a, W · b, C]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upsample(pub [usize; 2]);

impl Module for Upsample {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: ForwardCtx<'_>, activation: Activation) -> Tensor {
        activation.apply(&x.upsample_nearest2d(self.0))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }
}

/// Nearest-neighbor upsampling in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpsampleConfig {
    /// Times down and across.
    pub scale: usize,
}

impl LayerSpec for UpsampleConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let [h, w, c] = input.image()?;
        let scale = self.scale;
        check_count("scale", scale, 64)?;
        let summary = format!("Upsample {scale}x, nearest");
        Ok(input.plan([h * scale, w * scale, c], summary, move || Upsample([scale; 2]).into()))
    }
}
