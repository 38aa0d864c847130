//! Maxout (Goodfellow et al. 2013).

use super::config::{LayerInput, LayerPlan, LayerSpec, MAX_UNITS, check_count};
use super::module::{Layer, Module};
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use tensor::{Activation, Tensor};

/// Maxout: the largest of each group of consecutive units, `[N, F · pieces]` to `[N, F]`, or
/// `[N, H, W, C · pieces]` to `[N, H, W, C]`. The linear layer before it is a layer of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Maxout {
    pieces: usize,
}

impl Maxout {
    /// Groups of this many units.
    ///
    /// # Panics
    /// Panics if `pieces` is 0.
    #[track_caller]
    pub fn new(pieces: usize) -> Self {
        assert!(pieces > 0, "Maxout: groups of no units");
        Self { pieces }
    }
}

impl Module for Maxout {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let mut axes = x.shape().to_vec();
        let units = axes.last().copied().unwrap_or(0);
        assert!(
            units > 0 && units.is_multiple_of(self.pieces),
            "Maxout: {units} units of shape {axes:?} in groups of {}",
            self.pieces
        );
        axes.pop();
        axes.extend([units / self.pieces, self.pieces]);
        activation.apply(&x.reshape(&axes[..]).max(axes.len() - 1, false))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }
}

/// Maxout in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxoutConfig {
    /// Channels in a group.
    pub pieces: usize,
}

impl LayerSpec for MaxoutConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let (pieces, channels) = (self.pieces, input.channels());
        check_count("pieces", pieces, MAX_UNITS)?;
        if channels % pieces != 0 {
            return Err(format!("{channels} channels cannot be cut into groups of {pieces}"));
        }
        let output = input.with_channels(channels / pieces);
        let plan =
            input.plan(output, format!("Maxout of {pieces}"), move || Maxout::new(pieces).into());
        Ok(LayerPlan { flattened: None, ..plan })
    }
}
