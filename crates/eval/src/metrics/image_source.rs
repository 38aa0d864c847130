//! Where the pictures come from that are measured.

use super::features::Features;
use crate::feature_network::FeatureExtractor;
use crate::images::load_images;
use crate::{EvalError, Progress};
use data::{Batch, Cursor, Dataset, permutation};
use std::sync::Arc;
use tensor::Tensor;
use tensor::rng::Philox;
use train::condition::Conditions;
use train::{Sampler, generator_condition, latents};

/// Pictures measured at a time.
const BATCH: usize = 256;
/// Philox streams under the seed, and the epoch number whose order chooses pictures.
const CHOICE: u64 = u64::MAX - 1;
const CONDITIONS: u64 = 44;
const NOISE: u64 = 45;

/// Pictures to measure, by number.
pub enum ImageSource<'a> {
    /// Some of a set's.
    Set {
        /// The set.
        dataset: &'a Dataset,
        /// Which of its pictures.
        indices: Vec<usize>,
    },
    /// Drawn by a generator.
    Generated {
        /// It.
        sampler: &'a Sampler,
        /// `[N, latent]`.
        latents: Tensor,
        /// `[N, K]` where the generator is told one.
        conditions: Option<Tensor>,
    },
    /// Uniform noise: what the worst generator would draw.
    Noise {
        /// How many.
        count: usize,
        /// `[H, W, C]`.
        shape: [usize; 3],
        /// The same seed, the same pictures.
        seed: u64,
    },
}

/// How the conditions of a conditional generator are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionSampling {
    /// Those of pictures of the real set, by chance: classes in its proportions, attributes that go together.
    AsReal,
    /// Each class equally often.
    Uniform,
}

impl<'a> ImageSource<'a> {
    /// `count` pictures of a set, by chance under `seed` without repetition; all of it, in its order, where it has no more.
    #[must_use]
    pub fn from_dataset(dataset: &'a Dataset, count: usize, seed: u64) -> Self {
        Self::Set { dataset, indices: choice(dataset.len(), count, seed) }
    }

    /// `count` pictures of a generator, under latents of `seed` and conditions `chosen`.
    ///
    /// # Errors
    /// A generator that is told vectors, or what the real set does not offer.
    pub fn generated(
        sampler: &'a Sampler,
        count: usize,
        seed: u64,
        chosen: ConditionSampling,
        real: &Arc<Dataset>,
    ) -> Result<Self, EvalError> {
        let conditions = match (generator_condition(sampler.recipe()), chosen) {
            (None, _) => None,
            (Some(_), ConditionSampling::Uniform) => {
                Some(sampler.recipe().example_conditions(count))
            }
            (Some(condition), ConditionSampling::AsReal) => {
                let mut rng = Philox::new(seed, CONDITIONS);
                let len = u32::try_from(real.len()).unwrap_or(u32::MAX);
                let indices = (0..count).map(|_| rng.below(len) as usize).collect();
                let batch = Batch {
                    images: Vec::new(),
                    labels: None,
                    indices,
                    cursor: Cursor::default(),
                    epoch_end: false,
                };
                let rows = Conditions::new(condition, real, None)?.of(&batch);
                Some(Tensor::from_slice(&rows, [count, condition.size]))
            }
        };
        Ok(Self::Generated { sampler, latents: latents(sampler.recipe(), seed, count), conditions })
    }

    /// How many pictures there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Set { indices, .. } => indices.len(),
            Self::Generated { latents, .. } => latents.shape()[0],
            Self::Noise { count, .. } => *count,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pictures `start` to `start + count`, `[count, H, W, C]` in [−1, 1] on the CPU.
    ///
    /// # Errors
    /// Pictures that cannot be decoded, or the generator.
    pub fn part(&self, start: usize, count: usize) -> Result<Tensor, EvalError> {
        match self {
            Self::Set { dataset, indices } => {
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
                // A stream for each part: any part can be drawn without those before it.
                Ok(Philox::new(*seed, NOISE + ((start as u64) << 8)).uniform(
                    [count, *h, *w, *c],
                    -1.0,
                    1.0,
                ))
            }
        }
    }

    /// The features of all pictures, and the probabilities of classes where the extractor tells them.
    ///
    /// # Errors
    /// Pictures of another size than the extractor's, the data, the device, or [`EvalError::Stopped`].
    pub fn extract_features(
        &self,
        extractor: &FeatureExtractor,
        what: &str,
        progress: Progress<'_>,
    ) -> Result<(Features, Option<Features>), EvalError> {
        let mut features = Vec::new();
        let mut scores = Vec::new();
        let (mut width, mut classes) = (0, 0);
        for start in (0..self.len()).step_by(BATCH) {
            progress.report(what, start, self.len())?;
            let (part, told) =
                extractor.extract(&self.part(start, BATCH.min(self.len() - start))?)?;
            width = part.width();
            features.extend_from_slice(part.values());
            if let Some(told) = told {
                classes = told.width();
                scores.extend_from_slice(told.values());
            }
        }
        if features.is_empty() {
            return Err(EvalError::Mismatch("no pictures to measure".into()));
        }
        let rows = Features::new(width, features);
        rows.check(what)?;
        Ok((rows, (classes > 0).then(|| Features::new(classes, scores))))
    }
}

/// `count` of `len` numbers by chance; all of them in order where there are no more.
fn choice(len: usize, count: usize, seed: u64) -> Vec<usize> {
    if count >= len {
        return (0..len).collect();
    }
    let order = permutation(seed, CHOICE, u32::try_from(len).unwrap_or(u32::MAX));
    let mut chosen: Vec<usize> =
        order.into_iter().take(count).map(|index| index as usize).collect();
    // In the order in which they lie: sets that are not in memory are read faster, and the metrics do not mind.
    chosen.sort_unstable();
    chosen
}
