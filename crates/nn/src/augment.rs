//! Differentiable augmentation of what the discriminator sees (DiffAugment, Zhao et al. 2020): real and generated images are changed at random
//! by one policy, so that a discriminator with few images to learn from cannot know them by heart, and the generator is not taught the changes.

use serde::{Deserialize, Serialize};
use tensor::rng::Philox;
use tensor::{Device, Tensor, concat};

/// Which changes are made to images. The paper's are [`AugmentPolicy::ALL`]; for small sets it advises all three.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AugmentPolicy {
    /// Brightness by U(−0.5, 0.5), saturation by a factor of U(0, 2), contrast by one of U(0.5, 1.5). Alpha stays as it is, and grey has no
    /// saturation.
    pub color: bool,
    /// The longest way down, up, right or left, as a share of the side, in [0, 1]; zeros enter. 0 is off.
    pub translation: f64,
    /// The side of the rectangle of zeros as a share of the image's, in [0, 1]. 0 is off.
    pub cutout: f64,
    /// Left to right, for every second image (not in the paper).
    pub flip: bool,
}

impl AugmentPolicy {
    /// Colour, translation by up to an eighth and cutout of half the side.
    pub const ALL: Self = Self { color: true, translation: 0.125, cutout: 0.5, flip: false };

    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The choices for one image of height and width `size`. Of what is off nothing is drawn.
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
                // As in the authors' code: every pixel may be the middle, and of an even length the place behind the last one too.
                let middle = rng.below(side as u32 + 1 - cut % 2) as i32;
                [middle - (cut / 2) as i32, cut as i32]
            });
        }
        choice.flip = self.flip && rng.below(2) == 1;
        choice
    }
}

/// What happens to one image.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct AugmentParams {
    /// What is added to every colour.
    pub brightness: f32,
    /// What the distance of a pixel's colours from their mean is multiplied by.
    pub saturation: f32,
    /// What the distance of all colours from the image's mean is multiplied by.
    pub contrast: f32,
    /// Pixels down and right.
    pub shift: [i32; 2],
    /// Where the rectangle of zeros begins and how long it is, down and across; what lies outside the image is cut off.
    pub cutout: [[i32; 2]; 2],
    /// Whether left and right are exchanged, before the shift.
    pub flip: bool,
}

impl Default for AugmentParams {
    /// Nothing.
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

/// What happens to the images of one batch: constants on the device where the images are.
pub struct Augmentation {
    shape: [usize; 4],
    colour: Option<ColorJitter>,
    /// `[N, 3]`: see [`Tensor::shift2d`].
    moves: Option<Tensor>,
    /// `[N, H, W, 1]`: 0 in the rectangle, else 1.
    keep: Option<Tensor>,
}

/// Brightness b, then saturation s, then contrast c come to s·c·x + c·(1 − s)·(mean of the pixel) + (1 − c)·(mean of the image) + b; without
/// saturation the second term is none and s is 1. Each is `[N, 1, 1, 1]`.
struct ColorJitter {
    own: Tensor,
    pixel: Option<Tensor>,
    image: Tensor,
    offset: Tensor,
}

impl Augmentation {
    /// Draws the changes of `n` images of `[height, width, channels]`. On a GPU the best place for it is before a step's first kernel: it
    /// uploads a few numbers.
    pub fn draw(
        policy: &AugmentPolicy,
        rng: &mut Philox,
        n: usize,
        size: [usize; 3],
        device: &Device,
    ) -> Self {
        let choices: Vec<AugmentParams> =
            (0..n).map(|_| policy.draw(rng, [size[0], size[1]])).collect();
        Self::new(&choices, size, device)
    }

    /// These changes of images of `[height, width, channels]`, one choice for each.
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
        let coloured = |c: &AugmentParams| {
            [c.brightness, c.saturation, c.contrast]
                != [plain.brightness, plain.saturation, plain.contrast]
        };
        let colour = choices.iter().any(coloured).then(|| {
            let grey = channels == 1;
            ColorJitter {
                own: each(&|c| if grey { c.contrast } else { c.saturation * c.contrast }),
                pixel: (!grey).then(|| each(&|c| c.contrast * (1.0 - c.saturation))),
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
            // 1 in the rectangle's span of one axis.
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
        Self { shape: [n, h, w, channels], colour, moves, keep }
    }

    /// The images `[N, H, W, C]` changed; gradients flow through.
    ///
    /// # Panics
    /// When they have not the number and size that this was drawn for.
    #[track_caller]
    pub fn apply(&self, images: &Tensor) -> Tensor {
        assert_eq!(images.shape()[..], self.shape, "Augmentation::apply: drawn for other images");
        let mut x = images.clone();
        if let Some(colour) = &self.colour {
            x = match self.shape[3] {
                4 => concat(&[&colour.apply(&x.narrow(3, 0, 3)), &x.narrow(3, 3, 1)], 3),
                _ => colour.apply(&x),
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
        // 9/8 and 16/8 to whole pixels; a half of 9 is 5 pixels around each of 9, a half of 16 is 8 around each of 17.
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
        let none =
            Augmentation::draw(&AugmentPolicy::default(), &mut rng, 3, [4, 4, 3], &Device::Cpu);
        assert_eq!((none.apply(&x).to_vec(), rng), (x.to_vec(), before));
    }

    #[test]
    fn alpha_keeps_its_value() {
        let x = Philox::new(2, 2).uniform([5, 4, 4, 4], -1.0, 1.0);
        let policy = AugmentPolicy { color: true, ..AugmentPolicy::default() };
        let y = Augmentation::draw(&policy, &mut Philox::new(1, 1), 5, [4, 4, 4], &Device::Cpu)
            .apply(&x);
        assert_eq!(y.narrow(3, 3, 1).to_vec(), x.narrow(3, 3, 1).to_vec());
        assert_ne!(y.narrow(3, 0, 1).to_vec(), x.narrow(3, 0, 1).to_vec());
    }
}
