//! Differentiable augmentation of D's input (DiffAugment, Zhao et al. 2020). Real and generated
//! images are changed at random by one policy, so that a discriminator trained on few images cannot
//! memorize them, and the generator does not learn the changes.
//!
//! ```
//! use nn::augment::{AugmentPolicy, Augmentation};
//! use tensor::Device;
//! use tensor::distributed::BatchShard;
//! use tensor::rng::Philox;
//!
//! let mut rng = Philox::new(0, 0);
//! let images = rng.uniform([4, 8, 8, 3], -1.0, 1.0);
//! let (size, four) = ([8, 8, 3], BatchShard::whole(4));
//! let augmentation =
//!     Augmentation::draw(&AugmentPolicy::ALL, &mut rng, &four, size, &Device::Cpu);
//! let augmented = augmentation.apply(&images);
//! assert_eq!(augmented.shape(), images.shape());
//! assert_ne!(augmented.to_vec(), images.to_vec());
//! ```

use serde::{Deserialize, Serialize};
use tensor::distributed::BatchShard;
use tensor::rng::Philox;
use tensor::{Device, Tensor, concat};

/// The augmentation policy: which random changes are applied to images. The paper's policy is
/// [`AugmentPolicy::ALL`]; for small datasets the paper advises all three changes.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AugmentPolicy {
    /// Color jitter: brightness by U(−0.5, 0.5), saturation by a factor of U(0, 2), contrast by a
    /// factor of U(0.5, 1.5). Alpha is unchanged, and gray images have no saturation.
    pub color: bool,
    /// Translation: the largest shift up, down, left or right as a fraction of the side, in [0, 1],
    /// with zero padding. 0 turns it off.
    pub translation: f64,
    /// Cutout: the side of the rectangle of zeros as a fraction of the image's side, in [0, 1]. 0
    /// turns it off.
    pub cutout: f64,
    /// Horizontal flip with probability ½ (not in the paper).
    pub flip: bool,
}

impl AugmentPolicy {
    /// DiffAugment's full policy: color, translation by up to an eighth and cutout of half the
    /// side.
    pub const ALL: Self = Self { color: true, translation: 0.125, cutout: 0.5, flip: false };

    /// Returns whether the policy leaves images unchanged.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Draws the parameters for one image of height and width `size`. Changes that are off consume
    /// no random values.
    fn draw(&self, rng: &mut Philox, size: [usize; 2]) -> AugmentParams {
        let mut choice = AugmentParams::default();
        let mut uniform = |low, high| rng.uniform([], low, high).item();
        if self.color {
            (choice.brightness, choice.saturation, choice.contrast) =
                (uniform(-0.5, 0.5), uniform(0.0, 2.0), uniform(0.5, 1.5));
        }
        let pixels = |side: usize, share: f64| (side as f64 * share + 0.5) as u32;
        if self.translation > 0.0 {
            choice.shift = size.map(|side| {
                let most = pixels(side, self.translation);
                rng.below(2 * most + 1) as i32 - most as i32
            });
        }
        if self.cutout > 0.0 {
            choice.cutout = size.map(|side| {
                let cut = pixels(side, self.cutout);
                // As in the authors' code: the center may be any pixel and, for an even length,
                // also the index one past the last.
                let middle = rng.below(side as u32 + 1 - cut % 2) as i32;
                [middle - (cut / 2) as i32, cut as i32]
            });
        }
        choice.flip = self.flip && rng.below(2) == 1;
        choice
    }
}

/// The augmentation parameters of one image.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct AugmentParams {
    /// The value added to every color channel.
    pub brightness: f32,
    /// The factor on each channel's distance from the mean of its pixel.
    pub saturation: f32,
    /// The factor on each value's distance from the mean of the image.
    pub contrast: f32,
    /// Translation in pixels, down and right.
    pub shift: [i32; 2],
    /// Start and length of the rectangle of zeros, each down and across; the part outside the image
    /// is cut off.
    pub cutout: [[i32; 2]; 2],
    /// Whether the image is flipped horizontally, before the shift.
    pub flip: bool,
}

impl Default for AugmentParams {
    /// The parameters that leave the image unchanged.
    fn default() -> Self {
        Self {
            brightness: 0.0,
            saturation: 1.0,
            contrast: 1.0,
            shift: [0; 2],
            cutout: [[0; 2]; 2],
            flip: false,
        }
    }
}

/// The augmentation of one batch of images, as constants on the images' device.
pub struct Augmentation {
    shape: [usize; 4],
    color: Option<ColorJitter>,
    /// Flips and shifts, `[N, 3]`: see [`Tensor::shift2d`].
    moves: Option<Tensor>,
    /// The cutout mask, `[N, H, W, 1]`: 0 in the rectangle, 1 elsewhere.
    keep: Option<Tensor>,
}

/// Color jitter as one affine map. Brightness b, then saturation s, then contrast c give s·c·x +
/// c·(1 − s)·(mean of the pixel) + (1 − c)·(mean of the image) + b; without saturation the second
/// term is absent and s is 1. Each coefficient is `[N, 1, 1, 1]`.
struct ColorJitter {
    own: Tensor,
    pixel: Option<Tensor>,
    image: Tensor,
    offset: Tensor,
}

impl Augmentation {
    /// Draws the augmentation of a global batch of images of `[height, width, channels]`, and keeps
    /// that of the rows of `shard`. On a GPU, call this before a step's first kernel, because it
    /// uploads a few values.
    pub fn draw(
        policy: &AugmentPolicy,
        rng: &mut Philox,
        shard: &BatchShard,
        size: [usize; 3],
        device: &Device,
    ) -> Self {
        let choices: Vec<AugmentParams> =
            (0..shard.batch()).map(|_| policy.draw(rng, [size[0], size[1]])).collect();
        Self::new(&choices[shard.rows()], size, device)
    }

    /// Builds the augmentation of images of `[height, width, channels]` from one set of parameters
    /// per image.
    pub fn new(choices: &[AugmentParams], size: [usize; 3], device: &Device) -> Self {
        let [h, w, channels] = size;
        let n = choices.len();
        let plain = AugmentParams::default();
        let upload = |values: Vec<f32>, shape: &[usize]| {
            Tensor::from_slice(&values, shape).to_device(device)
        };
        let each = |f: &dyn Fn(&AugmentParams) -> f32| {
            upload(choices.iter().map(f).collect(), &[n, 1, 1, 1])
        };
        let colored = |c: &AugmentParams| {
            [c.brightness, c.saturation, c.contrast]
                != [plain.brightness, plain.saturation, plain.contrast]
        };
        let color = choices.iter().any(colored).then(|| {
            let gray = channels == 1;
            ColorJitter {
                own: each(&|c| if gray { c.contrast } else { c.saturation * c.contrast }),
                pixel: (!gray).then(|| each(&|c| c.contrast * (1.0 - c.saturation))),
                image: each(&|c| 1.0 - c.contrast),
                offset: each(&|c| c.brightness),
            }
        });
        let moved = |c: &AugmentParams| c.flip || c.shift != plain.shift;
        let moves = choices.iter().any(moved).then(|| {
            let rows = choices
                .iter()
                .flat_map(|c| [c.shift[0] as f32, c.shift[1] as f32, f32::from(u8::from(c.flip))]);
            upload(rows.collect(), &[n, 3])
        });
        let keep = choices.iter().any(|c| c.cutout != plain.cutout).then(|| {
            // 1 inside the rectangle's extent along one axis.
            let span = |axis: usize, side: usize| -> Vec<f32> {
                let inside = move |c: &AugmentParams, at: usize| {
                    (0..c.cutout[axis][1]).contains(&(at as i32 - c.cutout[axis][0]))
                };
                choices
                    .iter()
                    .flat_map(|c| (0..side).map(move |at| f32::from(u8::from(inside(c, at)))))
                    .collect()
            };
            upload(span(0, h), &[n, h, 1, 1])
                .mul(&upload(span(1, w), &[n, 1, w, 1]))
                .neg()
                .add_scalar(1.0)
        });
        Self { shape: [n, h, w, channels], color, moves, keep }
    }

    /// Applies the augmentation to images `[N, H, W, C]`; gradients flow through.
    ///
    /// # Panics
    /// Panics if the batch or image size differs from the one this was drawn for.
    #[track_caller]
    pub fn apply(&self, images: &Tensor) -> Tensor {
        assert_eq!(images.shape()[..], self.shape, "Augmentation::apply: drawn for other images");
        let mut x = images.clone();
        if let Some(color) = &self.color {
            x = match self.shape[3] {
                4 => concat(&[&color.apply(&x.narrow(3, 0, 3)), &x.narrow(3, 3, 1)], 3),
                _ => color.apply(&x),
            };
        }
        if let Some(moves) = &self.moves {
            x = x.shift2d(moves);
        }
        match &self.keep {
            Some(keep) => x.mul(keep),
            None => x,
        }
    }
}

impl ColorJitter {
    fn apply(&self, x: &Tensor) -> Tensor {
        let pixel = x.mean(&[3], true);
        let image = pixel.mean(&[1, 2], true).mul(&self.image).add(&self.offset);
        let rest = match &self.pixel {
            Some(share) => pixel.mul(share).add(&image),
            None => image,
        };
        x.mul(&self.own).add(&rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(policy: AugmentPolicy, n: usize) -> Vec<AugmentParams> {
        let mut rng = Philox::new(4, 4);
        (0..n).map(|_| policy.draw(&mut rng, [9, 16])).collect()
    }

    #[test]
    fn choices_are_in_their_ranges() {
        let all = choices(AugmentPolicy { flip: true, ..AugmentPolicy::ALL }, 2000);
        let range = |f: &dyn Fn(&AugmentParams) -> f32| {
            let values = all.iter().map(f);
            [values.clone().fold(f32::MAX, f32::min), values.fold(f32::MIN, f32::max)]
        };
        let near = |[a, b]: [f32; 2], [low, high]: [f32; 2]| {
            a >= low && a < low + 0.01 && b <= high && b > high - 0.01
        };
        assert!(
            near(range(&|c| c.brightness), [-0.5, 0.5])
                && near(range(&|c| c.saturation), [0.0, 2.0])
        );
        assert!(near(range(&|c| c.contrast), [0.5, 1.5]));
        // 9/8 and 16/8 round to whole pixels; half of 9 is 5 pixels around each of 9 centers, half
        // of 16 is 8 pixels around each of 17.
        assert_eq!(
            [range(&|c| c.shift[0] as f32), range(&|c| c.shift[1] as f32)],
            [[-1.0, 1.0], [-2.0, 2.0]]
        );
        assert_eq!(
            [range(&|c| c.cutout[0][0] as f32), range(&|c| c.cutout[1][0] as f32)],
            [[-2.0, 6.0], [-4.0, 12.0]]
        );
        assert!(all.iter().all(|c| [c.cutout[0][1], c.cutout[1][1]] == [5, 8]));
        let flips = all.iter().filter(|c| c.flip).count();
        assert!((900..1100).contains(&flips), "{flips}");
    }

    #[test]
    fn what_is_off_changes_nothing() {
        assert!(
            choices(AugmentPolicy::default(), 3).iter().all(|c| *c == AugmentParams::default())
        );
        assert!(AugmentPolicy::default().is_none() && !AugmentPolicy::ALL.is_none());
        let mut rng = Philox::new(1, 1);
        let before = rng.clone();
        let x = Philox::new(2, 2).uniform([3, 4, 4, 3], -1.0, 1.0);
        let (policy, three) = (AugmentPolicy::default(), BatchShard::whole(3));
        let none = Augmentation::draw(&policy, &mut rng, &three, [4, 4, 3], &Device::Cpu);
        assert_eq!((none.apply(&x).to_vec(), rng), (x.to_vec(), before));
    }

    #[test]
    fn alpha_keeps_its_value() {
        let x = Philox::new(2, 2).uniform([5, 4, 4, 4], -1.0, 1.0);
        let policy = AugmentPolicy { color: true, ..AugmentPolicy::default() };
        let (mut rng, five) = (Philox::new(1, 1), BatchShard::whole(5));
        let y = Augmentation::draw(&policy, &mut rng, &five, [4, 4, 4], &Device::Cpu).apply(&x);
        assert_eq!(y.narrow(3, 3, 1).to_vec(), x.narrow(3, 3, 1).to_vec());
        assert_ne!(y.narrow(3, 0, 1).to_vec(), x.narrow(3, 0, 1).to_vec());
    }
}
