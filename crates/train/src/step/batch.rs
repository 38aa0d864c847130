//! The real samples of a training step.

use data::Batch;
use nn::Recipe;
use nn::recipe::{TrainConfig, UpdateOrder};
use tensor::distributed::BatchShard;
use tensor::{Device, Tensor};

/// Real images and their conditions on the host: the data of one update of D, or of G where it has
/// batches of its own.
pub struct RealBatch<'a> {
    /// The images, and the position of the next batch in the dataset.
    pub batch: &'a Batch,
    /// The conditions, `[N, K]`, row after row; `None` for a recipe without a condition.
    pub condition: Option<Vec<f32>>,
}

impl<'a> From<&'a Batch> for RealBatch<'a> {
    fn from(batch: &'a Batch) -> Self {
        Self { batch, condition: None }
    }
}

/// Real samples and their conditions on the device.
pub struct DeviceBatch {
    /// Real samples `[N, …]` in the networks' range; images are `[N, H, W, C]`.
    pub real: Tensor,
    /// Conditions `[N, K]`.
    pub condition: Option<Tensor>,
    /// How many samples of the global batch have a class label; only a semi-supervised loss looks
    /// at it.
    pub num_labels: usize,
}

impl DeviceBatch {
    /// Samples that are all labeled if there are conditions.
    pub fn new(real: Tensor, condition: Option<Tensor>) -> Self {
        let num_labels = condition.as_ref().map_or(0, |rows| rows.shape()[0]);
        Self { real, condition, num_labels }
    }

    /// Copies a batch to `device` and brings its images into the networks' range.
    pub(crate) fn upload(batch: &RealBatch<'_>, recipe: &Recipe, device: &Device) -> Self {
        let ([h, w], channels) = (recipe.image.size, recipe.image.channels);
        let count = batch.batch.images.len() / (h * w * channels);
        let to_device =
            |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape).to_device(device);
        let images = to_device(&batch.batch.images, &[count, h, w, channels]);
        let size = recipe.condition_size();
        let rows = batch.condition.iter().flat_map(|values| values.chunks(size));
        Self {
            real: recipe.image.range.to_network_range(&images),
            condition: batch.condition.as_ref().map(|values| to_device(values, &[count, size])),
            num_labels: rows.filter(|row| row.contains(&1.0)).count(),
        }
    }

    /// The samples of one part of the batch, of which this process has `count` from its own number
    /// `start` on.
    pub(super) fn part(&self, start: usize, count: usize) -> Self {
        let rows = |tensor: &Tensor| match tensor.shape()[0] {
            all if all == count => tensor.clone(),
            _ => tensor.narrow(0, start, count),
        };
        Self {
            real: rows(&self.real),
            condition: self.condition.as_ref().map(rows),
            num_labels: self.num_labels,
        }
    }

    /// The samples of all processes, of which `shard` has these rows.
    pub(super) fn all_gather(&self, shard: &BatchShard) -> Self {
        Self {
            real: shard.all_gather(&self.real),
            condition: self.condition.as_ref().map(|rows| shard.all_gather(rows)),
            num_labels: self.num_labels,
        }
    }

    /// The condition that G takes.
    pub(super) fn g_condition(&self, recipe: &Recipe) -> Option<&Tensor> {
        self.condition.as_ref().filter(|_| recipe.g_conditional())
    }

    /// The condition that D takes as an input.
    pub(super) fn d_condition(&self, recipe: &Recipe) -> Option<&Tensor> {
        self.condition.as_ref().filter(|_| recipe.d_conditional())
    }
}

/// Splits the batches of a step into those of D's updates and those of G's. Without
/// `separate_batches`, or with fewer batches than the recipe asks for, G's updates take D's first
/// batch.
pub(super) fn split_batches<'a>(
    train: &TrainConfig,
    batches: &'a [DeviceBatch],
) -> (&'a [DeviceBatch], &'a [DeviceBatch]) {
    if !train.separate_batches || batches.len() < train.batches_per_step() {
        return (batches, &batches[..1]);
    }
    match train.update_order {
        UpdateOrder::DFirst => batches.split_at(train.d_steps),
        UpdateOrder::GFirst => {
            let (g_batches, d_batches) = batches.split_at(train.g_steps);
            (d_batches, g_batches)
        }
    }
}
