//! What D makes of every place in the plane.

use super::Settings;
use nn::{Mode, Network};
use tensor::{Device, Tensor, concat};

/// Cells along each side, where D judges every point alone.
const SIDE: usize = 96;
/// The same where each judgement takes a batch or several.
const SIDE_IN_COMPANY: usize = 48;
/// Packs of others that a point is seen in, whose mean is taken.
const COMPANIES: usize = 8;

/// D's logits at the centres of square cells.
#[derive(Clone, PartialEq, Debug)]
pub struct Landscape {
    /// Cells along each side.
    pub side: usize,
    /// A logit for each cell, the top line first.
    pub logits: Vec<f32>,
}

impl Landscape {
    /// The landscape over [−extent, extent]² in evaluation mode. A D that judges points in company sees each among `samples` of G
    /// (x, y, x, y, …), as G's next points will be seen.
    pub(super) fn of(
        discriminator: &Network,
        settings: &Settings,
        extent: f32,
        samples: &[f32],
        device: &Device,
    ) -> Self {
        let others = settings.pack - 1;
        let side = if others > 0 || settings.sees_batch() { SIDE_IN_COMPANY } else { SIDE };
        let cell = 2.0 * extent / side as f32;
        let at = |i: usize| (i as f32 + 0.5) * cell - extent;
        let points: Vec<f32> =
            (0..side * side).flat_map(|i| [at(i % side), -at(i / side)]).collect();
        let points = Tensor::from_slice(&points, [side * side, 2]).to_device(device);
        let rows = settings.batch / settings.pack;
        let judge = |x: &Tensor| match settings.sees_batch() {
            true => in_batches(discriminator, x, &packs(samples, settings.pack, device), rows),
            false => discriminator.forward(x, Mode::SAMPLE).to_vec(),
        };
        if others == 0 {
            return Self { side, logits: judge(&points) };
        }
        // The same company for all points, so that the landscape is smooth.
        let mut logits = vec![0.0; side * side];
        for company in samples.chunks_exact(2 * others).take(COMPANIES) {
            let company = Tensor::from_slice(company, [1, 2 * others]).to_device(device);
            let seen =
                judge(&concat(&[&points, &company.broadcast_to([side * side, 2 * others])], 1));
            logits.iter_mut().zip(seen).for_each(|(sum, logit)| *sum += logit / COMPANIES as f32);
        }
        Self { side, logits }
    }
}

/// Samples in packs, `[N, 2 · pack]`.
fn packs(samples: &[f32], pack: usize, device: &Device) -> Tensor {
    let count = samples.len() / 2 / pack;
    Tensor::from_slice(&samples[..count * 2 * pack], [count, 2 * pack]).to_device(device)
}

/// The logits of `points`, an eighth of each batch of `rows`; the others of a batch are from `company`. Points of one batch lie
/// far apart.
fn in_batches(discriminator: &Network, points: &Tensor, company: &Tensor, rows: usize) -> Vec<f32> {
    let rows = rows.min(company.shape()[0]);
    let own = (rows / 8).max(1);
    let count = points.shape()[0];
    let batches = count.div_ceil(own);
    let company = company.narrow(0, 0, rows - own.min(rows - 1));
    let mut logits = vec![0.0; count];
    for batch in 0..batches {
        let chosen: Vec<usize> = (batch..count).step_by(batches).collect();
        let seen = discriminator
            .forward(&concat(&[&points.index_select(&chosen), &company], 0), Mode::SAMPLE)
            .to_vec();
        chosen.iter().zip(seen).for_each(|(&at, logit)| logits[at] = logit);
    }
    logits
}
