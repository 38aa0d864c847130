//! Discriminator targets: label smoothing, label flipping and label swapping.

use serde::{Deserialize, Serialize};
use tensor::distributed::BatchShard;
use tensor::rng::{Distribution, Philox};
use tensor::{Device, Tensor};

/// Targets for D, with label smoothing and label flips, drawn for every batch; G's loss does not
/// use them. The default is 1 for real and 0 for generated images.
///
/// One-sided label smoothing (Salimans et al. 2016, section 3.4) is `real: [0.9, 0.9]`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Labels {
    /// The range of targets of real images, within [0, 1].
    pub real: [f64; 2],
    /// The range of targets of generated images, within [0, 1].
    pub fake: [f64; 2],
    /// The probability that an image gets a target of the other kind, in [0, 1).
    pub flip: f64,
    /// Swaps the two labels: D is trained to classify generated images as real, and G's loss is
    /// [`GanLoss::swapped_generator`](super::GanLoss::swapped_generator).
    pub swap: bool,
}

impl Default for Labels {
    fn default() -> Self {
        Self { real: [1.0; 2], fake: [0.0; 2], flip: 0.0, swap: false }
    }
}

impl Labels {
    /// Draws the targets of the real and of the generated images of a batch on `device`, `[N]` each
    /// for the N rows of `shard`: `None` if the real ones are all exactly 1, or the generated ones
    /// all exactly 0.
    pub fn draw(
        &self,
        rng: &mut Philox,
        shard: &BatchShard,
        device: &Device,
    ) -> (Option<Tensor>, Option<Tensor>) {
        let (real, fake) = if self.swap { (self.fake, self.real) } else { (self.real, self.fake) };
        let mut side = |own: [f64; 2], other: [f64; 2], plain: f64| {
            let certain = own == [plain; 2] && self.flip == 0.0;
            (!certain).then(|| {
                let targets = range(rng, own, shard, device);
                if self.flip == 0.0 {
                    return targets;
                }
                let flip = Distribution::Bernoulli { keep: self.flip as f32, value: 1.0 };
                let flipped = rng.draw_rows(device, [shard.batch()], shard.rows(), flip);
                targets.add(&flipped.mul(&range(rng, other, shard, device).sub(&targets)))
            })
        };
        (side(real, fake, 1.0), side(fake, real, 0.0))
    }
}

fn range(rng: &mut Philox, [low, high]: [f64; 2], shard: &BatchShard, device: &Device) -> Tensor {
    if low == high {
        return Tensor::full_on(device, [shard.rows().len()], low as f32);
    }
    let uniform = Distribution::Uniform { low: low as f32, high: high as f32 };
    rng.draw_rows(device, [shard.batch()], shard.rows(), uniform)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(labels: Labels, n: usize) -> [Vec<f32>; 2] {
        let (real, fake) = labels.draw(&mut Philox::new(1, 2), &BatchShard::whole(n), &Device::Cpu);
        [real, fake].map(|t| t.map_or_else(Vec::new, |t| t.to_vec()))
    }

    #[test]
    fn certain_labels_are_not_drawn() {
        let mut rng = Philox::new(1, 2);
        let before = rng.clone();
        let (real, fake) = Labels::default().draw(&mut rng, &BatchShard::whole(8), &Device::Cpu);
        assert!(real.is_none() && fake.is_none() && rng == before);
        let [real, fake] = drawn(Labels { real: [0.9; 2], ..Labels::default() }, 3);
        assert_eq!((real, fake), (vec![0.9; 3], vec![]));
        let [real, fake] = drawn(Labels { swap: true, ..Labels::default() }, 2);
        assert_eq!((real, fake), (vec![0.0; 2], vec![1.0; 2]));
    }

    #[test]
    fn ranges_and_flips_follow_the_settings() {
        let noisy = Labels { real: [0.9, 1.0], fake: [0.0, 0.1], flip: 0.05, swap: false };
        let n = 20_000;
        let [real, fake] = drawn(noisy, n);
        let share = |t: &[f32], low: f32, high: f32| {
            t.iter().filter(|&&t| (low..=high).contains(&t)).count() as f64 / n as f64
        };
        for (kept, flipped) in [
            (share(&real, 0.9, 1.0), share(&real, 0.0, 0.1)),
            (share(&fake, 0.0, 0.1), share(&fake, 0.9, 1.0)),
        ] {
            assert!(
                (kept + flipped - 1.0).abs() < 1e-9 && (flipped - 0.05).abs() < 0.005,
                "{kept} {flipped}"
            );
        }
        let mean = real.iter().filter(|&&t| t > 0.5).sum::<f32>()
            / (share(&real, 0.9, 1.0) * n as f64) as f32;
        assert!((mean - 0.95).abs() < 0.002, "{mean}");
        assert_ne!(real[..100], fake[..100]);
    }
}
