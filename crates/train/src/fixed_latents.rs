//! The fixed latents whose images a run's sample grids show.

use crate::rng_streams as stream;
use nn::{ForwardCtx, Mode, Network, Recipe};
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// Images of a grid without conditions: 8 × 8.
const NUM_FIXED_LATENTS: usize = 64;
/// Images in a row of the grid; under conditions a row has one condition.
pub(crate) const ROW: usize = 8;
/// The most conditions that have a row.
const MAX_ROWS: usize = 32;

/// Latents, and conditions where G takes one: each condition has a row of the grid, and all rows
/// have the latents of the first.
pub(crate) struct FixedLatents {
    z: Tensor,
    condition: Option<Tensor>,
}

impl FixedLatents {
    /// The fixed latents of a run under `seed`. `conditions` `[rows, K]` replace the recipe's
    /// examples.
    pub fn new(recipe: &Recipe, seed: u64, device: &Device, conditions: Option<&Tensor>) -> Self {
        let z = recipe.sample_z(
            &mut Philox::new(seed, stream::FIXED_LATENTS),
            NUM_FIXED_LATENTS,
            device,
        );
        if !recipe.g_conditional() {
            return Self { z, condition: None };
        }
        let rows = recipe.condition_size().min(MAX_ROWS);
        let conditions = conditions.cloned().unwrap_or_else(|| recipe.example_conditions(rows));
        let count = conditions.shape()[0] * ROW;
        let column: Vec<usize> = (0..count).map(|i| i % ROW).collect();
        let row: Vec<usize> = (0..count).map(|i| i / ROW).collect();
        let condition = conditions.to_device(device).index_select(&row);
        Self { z: z.index_select(&column), condition: Some(condition) }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.z.shape()[0]
    }

    /// The generator's images of these latents, `[N, H, W, C]` in its own range.
    pub fn sample(&self, generator: &Network, mode: Mode) -> Tensor {
        generator.forward(&self.z, ForwardCtx::from(mode).with_condition(self.condition.as_ref()))
    }
}
