//! Sources of images to evaluate: a dataset, a generator, or uniform noise.

use super::metric::FeatureSet;
use crate::feature_network::FeatureExtractor;
use crate::features::Features;
use crate::images::load_images;
use crate::shared_work::share_batches;
use crate::{EvalError, Progress};
use data::{Batch, Cursor, Dataset, permutation};
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;
use tensor::Tensor;
use tensor::distributed::ProcessGroup;
use tensor::rng::Philox;
use train::condition::Conditions;
use train::{Sampler, generator_condition, latents};

/// Images whose features are extracted together.
const BATCH: usize = 256;
/// The epoch number whose permutation chooses images of a dataset.
const SELECTION: u64 = u64::MAX - 1;
/// Philox streams of conditions and of noise images.
const CONDITIONS: u64 = 44;
const NOISE: u64 = 45;

/// A source of images, by index.
pub enum ImageSource<'a> {
    /// Images of a dataset.
    Dataset {
        /// The dataset.
        dataset: &'a Dataset,
        /// The indices of its images.
        indices: Vec<usize>,
    },
    /// Images of a generator.
    Generated {
        /// The generator.
        sampler: &'a Sampler,
        /// `[N, latent]`.
        latents: Tensor,
        /// `[N, K]`, if the generator is conditional.
        conditions: Option<Tensor>,
    },
    /// Uniform noise: what the worst generator would produce.
    Noise {
        /// The number of images.
        count: usize,
        /// `[H, W, C]`.
        shape: [usize; 3],
        /// The seed of the pixels.
        seed: u64,
    },
}

/// How the conditions of a conditional generator are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ConditionSampling {
    /// The conditions of random images of the real set: classes in its proportions, attributes in
    /// its combinations.
    #[serde(rename = "real")]
    #[cfg_attr(feature = "clap", value(name = "real"))]
    FromRealSet,
    /// Each class equally often.
    Uniform,
}

impl<'a> ImageSource<'a> {
    /// `count` random images of a dataset without repetition, in ascending order of their indices;
    /// all images if it has no more.
    pub fn from_dataset(dataset: &'a Dataset, count: usize, seed: u64) -> Self {
        Self::Dataset { dataset, indices: random_indices(dataset.len(), count, seed) }
    }

    /// `count` images of a generator, with latents and conditions drawn under `seed`. `real` is the
    /// real set whose conditions a conditional generator takes, unless they are uniform.
    ///
    /// # Errors
    /// Returns an error if there is no real set, or if it does not have the conditions that the
    /// generator takes.
    pub fn generated(
        sampler: &'a Sampler,
        count: usize,
        seed: u64,
        sampling: ConditionSampling,
        real: Option<&Arc<Dataset>>,
    ) -> Result<Self, EvalError> {
        let conditions = match (generator_condition(sampler.recipe()), sampling) {
            (None, _) => None,
            (Some(_), ConditionSampling::Uniform) => {
                Some(sampler.recipe().example_conditions(count))
            }
            (Some(condition), ConditionSampling::FromRealSet) => {
                let real = real.ok_or(EvalError::NeedsRealConditions)?;
                let mut rng = Philox::new(seed, CONDITIONS);
                let len = u32::try_from(real.len()).unwrap_or(u32::MAX);
                let indices: Vec<usize> = (0..count).map(|_| rng.below(len) as usize).collect();
                let conditions = Conditions::new(condition, real, None)?;
                Some(conditions_of(&conditions, condition.size, &indices))
            }
        };
        Ok(Self::Generated { sampler, latents: latents(sampler.recipe(), seed, count), conditions })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        match self {
            Self::Dataset { indices, .. } => indices.len(),
            Self::Generated { latents, .. } => latents.shape()[0],
            Self::Noise { count, .. } => *count,
        }
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Images `start..start + count`, `[count, H, W, C]` in [−1, 1] on the CPU.
    ///
    /// # Errors
    /// Returns an error if an image cannot be decoded or the generator fails.
    pub fn images(&self, start: usize, count: usize) -> Result<Tensor, EvalError> {
        match self {
            Self::Dataset { dataset, indices } => {
                load_images(dataset, indices.get(start..start + count).unwrap_or_default())
            }
            Self::Generated { sampler, latents, conditions } => {
                let conditions = conditions.as_ref().map(|rows| rows.narrow(0, start, count));
                Ok(sampler.sample(
                    &latents.narrow(0, start, count),
                    conditions.as_ref(),
                    count.max(1),
                    |_| (),
                )?)
            }
            Self::Noise { shape: [h, w, c], seed, .. } => {
                // A stream for each part, so that any part can be drawn without those before it.
                let mut rng = Philox::new(*seed, NOISE + ((start as u64) << 8));
                Ok(rng.uniform([count, *h, *w, *c], -1.0, 1.0))
            }
        }
    }

    /// The features of all images, with class probabilities if the extractor is a classifier. The
    /// processes of `group` share the work, and each returns all features.
    ///
    /// # Errors
    /// Returns an error if there are no images, they have another size than the extractor takes,
    /// one cannot be decoded, a feature is NaN or infinite, or the device fails;
    /// [`EvalError::Stopped`] if `progress` cancels.
    pub fn extract_features(
        &self,
        extractor: &FeatureExtractor,
        task: &str,
        progress: Progress<'_>,
        group: &ProcessGroup,
    ) -> Result<FeatureSet, EvalError> {
        if self.is_empty() {
            return Err(EvalError::NoImages);
        }
        // The features of an image and its class probabilities are one row.
        let mut probabilities = 0;
        let rows =
            share_batches(group, (self.len(), BATCH), (task, progress), Vec::new(), |part| {
                let (features, classes) =
                    extractor.extract(&self.images(part.start, part.len())?)?;
                probabilities = classes.as_ref().map_or(0, Features::width);
                let row = |i| {
                    let classes = classes.as_ref().map(|classes| classes.row(i));
                    [features.row(i), classes.unwrap_or_default()].concat()
                };
                Ok((0..features.len()).flat_map(row).collect())
            })?;
        let probabilities = group.all_gather_f64(&[probabilities as f64]);
        let classes = probabilities.into_iter().fold(0.0, f64::max) as usize;
        let width = rows.len() / self.len() - classes;
        let columns = |columns: Range<usize>| {
            let rows = rows.chunks_exact(width + classes);
            let values = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
            Features::new(columns.len(), values)
        };
        let features = columns(0..width);
        features.check_finite(task)?;
        let classes = (classes > 0).then(|| columns(width..width + classes));
        Ok(FeatureSet { features, classes })
    }
}

/// The conditions `[N, size]` of these images of a dataset, on the CPU.
pub(crate) fn conditions_of(conditions: &Conditions, size: usize, indices: &[usize]) -> Tensor {
    let batch = Batch {
        images: Vec::new(),
        labels: None,
        indices: indices.to_vec(),
        cursor: Cursor::default(),
        epoch_end: false,
    };
    Tensor::from_slice(&conditions.of(&batch), [indices.len(), size])
}

/// `count` random indices below `len`; all of them if there are no more.
fn random_indices(len: usize, count: usize, seed: u64) -> Vec<usize> {
    if count >= len {
        return (0..len).collect();
    }
    let order = permutation(seed, SELECTION, u32::try_from(len).unwrap_or(u32::MAX));
    let mut chosen: Vec<usize> =
        order.into_iter().take(count).map(|index| index as usize).collect();
    // Ascending, because datasets that are not in memory are read faster in their order, and the
    // metrics do not depend on it.
    chosen.sort_unstable();
    chosen
}
