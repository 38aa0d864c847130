//! The features of a discriminator.

use super::Representation;
use crate::checkpoint_discriminator::{convolutions, recalibrate, trained};
use crate::images::{load_images, require_shape};
use crate::{EvalError, Progress};
use data::Dataset;
use nn::{ForwardCtx, Mode, Network, Recipe};
use runs::Checkpoint;
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// Philox stream of the weights of a discriminator that is not trained.
const WEIGHTS: u64 = 0x7264_6e64;
/// Side of the grid that maps are pooled to.
const GRID: usize = 4;

/// The activations of all convolutions of a discriminator, each max-pooled to a 4×4 grid, flattened and concatenated (Radford et al. 2016,
/// section 5.1): the numbers of a layer are `[4, 4, C]`, row-major, layer after layer. A convolution that ends the network as its head, without
/// an activation, is left out.
///
/// Maps whose sides are no multiples of 4 are pooled by windows that overlap or meet, from ⌊i·H/4⌋ to ⌈(i+1)·H/4⌉; of smaller maps every pixel
/// stays. A discriminator that is told a condition is told zeros: nothing, as far as it can be.
pub struct DiscriminatorFeatures {
    recipe: Recipe,
    network: Network,
    layers: Vec<FeatureLayer>,
    /// Whether batch norm, if there is any, has running statistics that were ever moved.
    sound: bool,
    device: Device,
}

/// A layer's share of the features.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureLayer {
    /// The activation's name in the network.
    pub name: String,
    /// Height, width and channels of its maps.
    pub map: [usize; 3],
    /// Height and width after pooling: 4, or that of a smaller map.
    pub grid: [usize; 2],
}

impl FeatureLayer {
    /// How many numbers of the features are this layer's.
    pub fn width(&self) -> usize {
        self.grid[0] * self.grid[1] * self.map[2]
    }
}

/// What batch norm of the discriminator normalises by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BnStatistics {
    /// The running statistics of training, which are of real and of generated pictures by turns; where the weights came without, those of the
    /// pictures.
    Running,
    /// Averaged over batches of the pictures that are looked at.
    OfPictures,
}

impl DiscriminatorFeatures {
    /// The discriminator of a checkpoint.
    ///
    /// # Errors
    /// A checkpoint without one, weights that are not the recipe's, or a discriminator without convolutions.
    pub fn trained(checkpoint: &Checkpoint, device: &Device) -> Result<Self, EvalError> {
        let (recipe, network, sound) = trained(checkpoint, device)?;
        Self::of(recipe, network, sound, device)
    }

    /// A discriminator of this recipe as it is before training.
    ///
    /// # Errors
    /// A faulty recipe, or a discriminator without convolutions.
    pub fn random(recipe: &Recipe, seed: u64, device: &Device) -> Result<Self, EvalError> {
        let (_, network) = recipe.build(&mut Philox::new(seed, WEIGHTS))?;
        Self::of(recipe.clone(), network, false, device)
    }

    fn of(
        recipe: Recipe,
        network: Network,
        sound: bool,
        device: &Device,
    ) -> Result<Self, EvalError> {
        let names = convolutions(&network);
        if names.is_empty() {
            return Err(EvalError::Mismatch(format!(
                "the discriminator of recipe {} has no convolutions to take features of",
                recipe.name
            )));
        }
        network.to_device(device);
        let mut made = Self { recipe, network, layers: Vec::new(), sound, device: device.clone() };
        let [h, w, c] = made.shape();
        let maps = made.maps(&Tensor::zeros([1, h, w, c]), &names);
        made.layers = names
            .into_iter()
            .zip(&maps)
            .map(|(name, map)| {
                let s = map.shape();
                FeatureLayer {
                    name,
                    map: [s[1], s[2], s[3]],
                    grid: [s[1].min(GRID), s[2].min(GRID)],
                }
            })
            .collect();
        Ok(made)
    }

    /// Makes batch norm normalise by these statistics, those of pictures being averaged over up to 2048 that are spread evenly over the set.
    ///
    /// # Errors
    /// Pictures of another shape, that cannot be decoded, or fewer than two; the device; or the user stops it.
    pub fn set_bn_statistics(
        &self,
        statistics: BnStatistics,
        dataset: &Dataset,
        progress: Progress<'_>,
    ) -> Result<(), EvalError> {
        require_shape(dataset, self.shape())?;
        if statistics == BnStatistics::Running && self.sound {
            return Ok(());
        }
        let input = |part: &[usize]| {
            Ok((self.input(&load_images(dataset, part)?), self.condition(part.len())))
        };
        recalibrate(&self.network, dataset, input, progress)?;
        self.check()
    }

    /// The recipe of the networks.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// `[H, W, C]` of the pictures it looks at.
    pub fn shape(&self) -> [usize; 3] {
        let [h, w] = self.recipe.image.size;
        [h, w, self.recipe.image.channels]
    }

    /// The layers, in the order of the features.
    pub fn layers(&self) -> &[FeatureLayer] {
        &self.layers
    }

    fn input(&self, images: &Tensor) -> Tensor {
        self.recipe.image.range.to_network_range(&images.to_device(&self.device))
    }

    fn condition(&self, count: usize) -> Option<Tensor> {
        let size = self.recipe.condition_size();
        (size > 0).then(|| Tensor::full_on(&self.device, [count, size], 0.0))
    }

    fn maps(&self, images: &Tensor, names: &[String]) -> Vec<Tensor> {
        let condition = self.condition(images.shape()[0]);
        let pass = ForwardCtx::from(Mode::SAMPLE).with_condition(condition.as_ref());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        tensor::batch_invariant(|| self.network.forward_features(&self.input(images), pass, &names))
    }
}

impl Representation for DiscriminatorFeatures {
    fn width(&self) -> usize {
        self.layers.iter().map(FeatureLayer::width).sum()
    }

    fn rows(&self, images: &Tensor) -> Tensor {
        let names: Vec<String> = self.layers.iter().map(|layer| layer.name.clone()).collect();
        let n = images.shape()[0];
        let flat = |(map, layer): (&Tensor, &FeatureLayer)| {
            pooled(map, layer.grid).reshape([n, layer.width()])
        };
        let parts: Vec<Tensor> =
            self.maps(images, &names).iter().zip(&self.layers).map(flat).collect();
        tensor::concat(&parts.iter().collect::<Vec<_>>(), 1).to_device(&Device::Cpu)
    }

    fn check(&self) -> Result<(), EvalError> {
        Ok(self.device.check()?)
    }
}

/// The largest of each window of `[N, H, W, C]`, `[N, grid, C]`; windows from ⌊i·H/g⌋ to ⌈(i+1)·H/g⌉ along each axis.
fn pooled(map: &Tensor, grid: [usize; 2]) -> Tensor {
    let s = map.shape();
    let [h, w] = [s[1], s[2]];
    if h % grid[0] == 0 && w % grid[1] == 0 {
        let window = [h / grid[0], w / grid[1]];
        return map.max_pool2d(window, window);
    }
    let along = |x: &Tensor, axis: usize, parts: usize| {
        let side = x.shape()[axis];
        let window = |i: usize| {
            let (start, end) = (i * side / parts, ((i + 1) * side).div_ceil(parts));
            let length = end - start;
            x.narrow(axis, start, length)
                .max_pool2d(if axis == 1 { [length, 1] } else { [1, length] }, [1, 1])
        };
        let windows: Vec<Tensor> = (0..parts).map(window).collect();
        tensor::concat(&windows.iter().collect::<Vec<_>>(), axis)
    };
    along(&along(map, 1, grid[0]), 2, grid[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(recipe: &str) -> DiscriminatorFeatures {
        DiscriminatorFeatures::random(&Recipe::preset(recipe).unwrap(), 0, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_published_widths() {
        // 128, 128, 256, 256, 512, 512 channels on 4×4 (section 5.1: 28672); 64, 128, 256 of the SVHN networks.
        assert_eq!(features("newmu-imagenet32").width(), 28_672);
        assert_eq!(features("newmu-svhn").width(), 16 * 448);
        let small = features("small");
        let maps: Vec<_> = small.layers().iter().map(|layer| (layer.map, layer.grid)).collect();
        assert_eq!(maps, [([14, 14, 64], [4, 4]), ([7, 7, 128], [4, 4])]);
        assert!(
            DiscriminatorFeatures::random(&Recipe::preset("gan2014").unwrap(), 0, &Device::Cpu)
                .is_err()
        );
    }

    /// The rule of PyTorch's `adaptive_max_pool2d`, window by window.
    #[test]
    fn windows_cover_maps_of_any_size() {
        for (sides, grid) in
            [([14, 7], [4, 4]), ([8, 16], [4, 4]), ([5, 3], [4, 3]), ([2, 1], [2, 1])]
        {
            let map = Philox::new(1, sides[0] as u64).normal([2, sides[0], sides[1], 3], 0.0, 1.0);
            let (x, out) = (map.to_vec(), pooled(&map, grid));
            assert_eq!(out.shape()[..], [2, grid[0], grid[1], 3]);
            let range = |i: usize, side: usize, parts: usize| {
                i * side / parts..((i + 1) * side).div_ceil(parts)
            };
            for (at, found) in out.to_vec().into_iter().enumerate() {
                let (c, j, i, n) = (
                    at % 3,
                    at / 3 % grid[1],
                    at / 3 / grid[1] % grid[0],
                    at / 3 / grid[1] / grid[0],
                );
                let mut largest = f32::NEG_INFINITY;
                for down in range(i, sides[0], grid[0]) {
                    for across in range(j, sides[1], grid[1]) {
                        largest =
                            largest.max(x[((n * sides[0] + down) * sides[1] + across) * 3 + c]);
                    }
                }
                assert_eq!(found, largest);
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_company() {
        let features = features("small");
        let images = Philox::new(2, 0).uniform([5, 28, 28, 1], -1.0, 1.0);
        let all = features.rows(&images).to_vec();
        let alone = features.rows(&images.narrow(0, 3, 1)).to_vec();
        assert_eq!(all[3 * features.width()..4 * features.width()], alone);
    }
}
