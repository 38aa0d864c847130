//! Discriminator features: max-pooled activations of all convolutions of a DCGAN discriminator.

use super::Representation;
use crate::checkpoint_discriminator::CheckpointDiscriminator;
use crate::{EvalError, Progress};
use data::Dataset;
use nn::Recipe;
use runs::Checkpoint;
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// Philox stream of the weights of an untrained discriminator.
const WEIGHTS: u64 = 0x7264_6e64;
/// Side of the grid that feature maps are pooled to.
const GRID: usize = 4;

/// The activations of all convolutions of a discriminator, each max-pooled to a 4×4 grid, flattened
/// and concatenated (Radford et al. 2016, section 5.1): the values of a layer are `[4, 4, C]`,
/// row-major, layer after layer. A convolution that is the network's head, without an activation,
/// is left out.
///
/// Maps whose sides are not multiples of 4 are pooled by windows from ⌊i·H/4⌋ to ⌈(i+1)·H/4⌉, which
/// may overlap (PyTorch's `adaptive_max_pool2d`); smaller maps are not pooled. A conditional
/// discriminator gets an all-zero condition.
pub struct DiscriminatorFeatures {
    discriminator: CheckpointDiscriminator,
    layers: Vec<FeatureLayer>,
}

/// The features of one layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureLayer {
    /// The activation's name in the network.
    pub name: String,
    /// Height, width and channels of its maps.
    pub map: [usize; 3],
    /// Height and width after pooling: 4, or those of a smaller map.
    pub grid: [usize; 2],
}

impl FeatureLayer {
    /// The number of its features.
    pub fn width(&self) -> usize {
        self.grid[0] * self.grid[1] * self.map[2]
    }
}

/// The statistics that the discriminator's batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum BnStatistics {
    /// The running statistics of training, which are of real and generated images in turn; those of
    /// the images if there are none.
    Running,
    /// Averaged over batches of the images that are represented.
    #[cfg_attr(feature = "clap", value(name = "images"))]
    OfImages,
}

impl DiscriminatorFeatures {
    /// The discriminator of a checkpoint.
    ///
    /// # Errors
    /// Returns an error if the checkpoint has no discriminator, the weights do not fit the recipe,
    /// or the discriminator has no convolutions.
    pub fn trained(checkpoint: &Checkpoint, device: &Device) -> Result<Self, EvalError> {
        Self::of(CheckpointDiscriminator::require(checkpoint, device)?)
    }

    /// An untrained discriminator of a recipe.
    ///
    /// # Errors
    /// Returns an error if the recipe is invalid or its discriminator has no convolutions.
    pub fn random(recipe: &Recipe, seed: u64, device: &Device) -> Result<Self, EvalError> {
        let mut rng = Philox::new(seed, WEIGHTS);
        Self::of(CheckpointDiscriminator::untrained(recipe, &mut rng, device)?)
    }

    fn of(discriminator: CheckpointDiscriminator) -> Result<Self, EvalError> {
        let names = discriminator.conv_activations();
        if names.is_empty() {
            let recipe = discriminator.recipe().name.clone();
            return Err(EvalError::NoConvolution { recipe });
        }
        let [h, w, c] = discriminator.image_shape();
        let mut own = Self { discriminator, layers: Vec::new() };
        // The shapes of the maps, from one image.
        let maps = own.maps(&Tensor::zeros([1, h, w, c]), &names);
        own.layers = names
            .into_iter()
            .zip(&maps)
            .map(|(name, map)| {
                let s = map.shape();
                let grid = [s[1].min(GRID), s[2].min(GRID)];
                FeatureLayer { name, map: [s[1], s[2], s[3]], grid }
            })
            .collect();
        Ok(own)
    }

    /// Makes batch norm use these statistics; those of images are averaged over up to 2048 that are
    /// evenly spaced in the dataset.
    ///
    /// # Errors
    /// Returns the errors of [`CheckpointDiscriminator::recalibrate`].
    pub fn set_bn_statistics(
        &self,
        statistics: BnStatistics,
        dataset: &Dataset,
        progress: Progress<'_>,
    ) -> Result<(), EvalError> {
        let d = &self.discriminator;
        crate::images::require_shape(dataset, d.image_shape())?;
        if statistics == BnStatistics::Running && d.has_running_stats() {
            return Ok(());
        }
        d.recalibrate(dataset, |part| d.zero_condition(part.len()), progress)
    }

    /// The recipe of the networks.
    pub fn recipe(&self) -> &Recipe {
        self.discriminator.recipe()
    }

    /// `[H, W, C]` of its images.
    pub fn shape(&self) -> [usize; 3] {
        self.discriminator.image_shape()
    }

    /// The layers, in the order of the features.
    pub fn layers(&self) -> &[FeatureLayer] {
        &self.layers
    }

    fn maps(&self, images: &Tensor, names: &[String]) -> Vec<Tensor> {
        let condition = self.discriminator.zero_condition(images.shape()[0]);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.discriminator.features(images, condition.as_ref(), &names)
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
            adaptive_max_pool(map, layer.grid).reshape([n, layer.width()])
        };
        let parts: Vec<Tensor> =
            self.maps(images, &names).iter().zip(&self.layers).map(flat).collect();
        tensor::concat(&parts.iter().collect::<Vec<_>>(), 1).to_device(&Device::Cpu)
    }

    fn check(&self) -> Result<(), EvalError> {
        Ok(self.discriminator.device().check()?)
    }
}

/// Max-pools `[N, H, W, C]` to `[N, grid, C]` by windows from ⌊i·H/g⌋ to ⌈(i+1)·H/g⌉ along each
/// axis.
fn adaptive_max_pool(map: &Tensor, grid: [usize; 2]) -> Tensor {
    let s = map.shape();
    let [h, w] = [s[1], s[2]];
    if h % grid[0] == 0 && w % grid[1] == 0 {
        let window = [h / grid[0], w / grid[1]];
        return map.max_pool2d(window, window);
    }
    // A maximum over a rectangle is one over rows of maxima: one axis at a time.
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
    fn widths_are_those_published() {
        // 128, 128, 256, 256, 512, 512 channels on 4×4 (section 5.1: 28672); 64, 128, 256 of the
        // SVHN networks.
        assert_eq!(features("newmu-imagenet32").width(), 28_672);
        assert_eq!(features("newmu-svhn").width(), 16 * 448);
        let small = features("small");
        let maps: Vec<_> = small.layers().iter().map(|layer| (layer.map, layer.grid)).collect();
        assert_eq!(maps, [([14, 14, 64], [4, 4]), ([7, 7, 128], [4, 4])]);
        let dense = Recipe::preset("gan2014").unwrap();
        let error = DiscriminatorFeatures::random(&dense, 0, &Device::Cpu).err().unwrap();
        assert!(matches!(error, EvalError::NoConvolution { .. }), "{error}");
    }

    /// The rule of PyTorch's `adaptive_max_pool2d`, window by window.
    #[test]
    fn windows_cover_maps_of_any_size() {
        for (sides, grid) in
            [([14, 7], [4, 4]), ([8, 16], [4, 4]), ([5, 3], [4, 3]), ([2, 1], [2, 1])]
        {
            let map = Philox::new(1, sides[0] as u64).normal([2, sides[0], sides[1], 3], 0.0, 1.0);
            let (x, out) = (map.to_vec(), adaptive_max_pool(&map, grid));
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
    fn rows_are_batch_invariant() {
        let features = features("small");
        let images = Philox::new(2, 0).uniform([5, 28, 28, 1], -1.0, 1.0);
        let all = features.rows(&images).to_vec();
        let alone = features.rows(&images.narrow(0, 3, 1)).to_vec();
        assert_eq!(all[3 * features.width()..4 * features.width()], alone);
    }
}
