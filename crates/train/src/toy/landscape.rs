//! D's logits over the plane.

use super::ToySettings;
use nn::{Mode, Network};
use tensor::{Device, Tensor, concat};

/// Cells along each side where D classifies every point alone.
const SIDE: usize = 96;
/// Cells along each side where D's logit of a point depends on others, which costs more.
const SIDE_WITH_OTHERS: usize = 48;
/// Packs of other points that a point is completed with; the mean of their logits is taken.
const NUM_PACKS: usize = 8;

/// D's logits at the centers of square cells.
#[derive(Clone, PartialEq, Debug)]
pub struct Landscape {
    /// Cells along each side.
    pub side: usize,
    /// A logit for each cell, the top row first.
    pub logits: Vec<f32>,
}

impl Landscape {
    /// The landscape over [−extent, extent]² in evaluation mode. Where D's logit depends on other
    /// points, each point is evaluated among `samples` of G (x, y, x, y, …), as G's next points
    /// will be.
    pub(super) fn of(
        discriminator: &Network,
        settings: &ToySettings,
        extent: f32,
        samples: &[f32],
        device: &Device,
    ) -> Self {
        let pack = settings.pack;
        let with_others = pack > 1 || settings.d_is_batch_dependent;
        let side = if with_others { SIDE_WITH_OTHERS } else { SIDE };
        let cell = 2.0 * extent / side as f32;
        let at = |i: usize| (i as f32 + 0.5) * cell - extent;
        let points: Vec<f32> =
            (0..side * side).flat_map(|i| [at(i % side), -at(i / side)]).collect();
        let points = Tensor::from_slice(&points, [side * side, 1, 2, 1]).to_device(device);
        let logits = |x: &Tensor| match settings.d_is_batch_dependent {
            true => {
                let packs = samples.len() / 2 / pack;
                let others = Tensor::from_slice(&samples[..2 * packs * pack], [packs, pack, 2, 1]);
                among_others(discriminator, x, &others.to_device(device), settings)
            }
            false => discriminator.forward(x, Mode::SAMPLE).to_vec(),
        };
        if pack == 1 {
            return Self { side, logits: logits(&points) };
        }
        // The same completions for all points, so that the landscape is smooth.
        let mut mean = vec![0.0; side * side];
        for others in samples.chunks_exact(2 * (pack - 1)).take(NUM_PACKS) {
            let others = Tensor::from_slice(others, [1, pack - 1, 2, 1]).to_device(device);
            let others = others.broadcast_to([side * side, pack - 1, 2, 1]);
            let own = logits(&concat(&[&points, &others], 1));
            mean.iter_mut().zip(own).for_each(|(sum, logit)| *sum += logit / NUM_PACKS as f32);
        }
        Self { side, logits: mean }
    }
}

/// The logits of `points`, which are an eighth of each training batch; the rest are from `others`.
/// Points of one batch are far apart.
fn among_others(
    discriminator: &Network,
    points: &Tensor,
    others: &Tensor,
    settings: &ToySettings,
) -> Vec<f32> {
    let rows = settings.recipe.train.batch.min(others.shape()[0]);
    let own = (rows / 8).max(1);
    let count = points.shape()[0];
    let batches = count.div_ceil(own);
    let others = others.narrow(0, 0, rows - own.min(rows - 1));
    let mut logits = vec![0.0; count];
    for batch in 0..batches {
        let chosen: Vec<usize> = (batch..count).step_by(batches).collect();
        let rows = concat(&[&points.index_select(&chosen), &others], 0);
        let found = discriminator.forward(&rows, Mode::SAMPLE).to_vec();
        chosen.iter().zip(found).for_each(|(&at, logit)| logits[at] = logit);
    }
    logits
}
