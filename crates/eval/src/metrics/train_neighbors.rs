//! Nearest neighbors among training images, for the memorization score.
//!
//! ```
//! use eval::Progress;
//! use eval::features::Features;
//! use eval::metrics::TrainNeighborIndex;
//! use std::borrow::Cow;
//! use tensor::Device;
//!
//! let train = Features::new(1, vec![0.0, 1.0, 2.0, 3.0]);
//! let index = TrainNeighborIndex::new(Cow::Borrowed(&train), &Device::Cpu, Progress::SILENT)?;
//! let fake = Features::new(1, vec![1.01, 9.0]);
//! let found = index.memorization(&fake, &Device::Cpu, Progress::SILENT)?;
//! assert_eq!(found.memorized, [true, false]);
//! # Ok::<(), eval::EvalError>(())
//! ```

use super::pairwise::{Neighbor, PairwiseDistances};
use crate::features::{Features, require_comparable};
use crate::{EvalError, Progress};
use std::borrow::Cow;
use tensor::Device;

/// How near generated images are to training images.
#[derive(Clone, Debug, PartialEq)]
pub struct Memorization {
    /// For each generated image: whether it is nearer to a training image than that one is to all
    /// other training images.
    pub memorized: Vec<bool>,
    /// For each training image: whether it is nearer to another one than that one is to all the
    /// rest. Their fraction is what to expect of new images from the same distribution, and far
    /// from 0.
    pub expected: Vec<bool>,
    /// For each generated image: its nearest training image.
    pub nearest: Vec<Neighbor>,
}

/// All training images with the two nearest neighbors of each among them: computed once, for any
/// number of generated sets.
#[derive(Clone, Debug)]
pub struct TrainNeighborIndex<'a> {
    features: Cow<'a, Features>,
    neighbors: Vec<Vec<Neighbor>>,
}

impl<'a> TrainNeighborIndex<'a> {
    /// Finds the two nearest neighbors of each training image.
    ///
    /// # Errors
    /// Returns an error if there are fewer than 3 images or the device fails;
    /// [`EvalError::Stopped`] if `progress` cancels.
    pub fn new(
        features: Cow<'a, Features>,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        require_comparable(&features, &features, 3, "the memorization score")?;
        let neighbors =
            PairwiseDistances::new(&features, &features, device).nearest(2, progress)?;
        Ok(Self { features, neighbors })
    }

    /// The squared distance of training image `index` to its nearest one, `without` left out.
    fn radius(&self, index: usize, without: Option<usize>) -> f64 {
        let others = self.neighbors.get(index).into_iter().flatten();
        others
            .filter(|other| Some(other.index) != without)
            .map(|other| other.squared)
            .next()
            .unwrap_or(0.0)
    }

    /// Finds the generated images that are nearer to a training image than any other training
    /// image is.
    ///
    /// # Errors
    /// Returns an error if the features have different widths or the device fails;
    /// [`EvalError::Stopped`] if `progress` cancels.
    pub fn memorization(
        &self,
        fake: &Features,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Memorization, EvalError> {
        require_comparable(&self.features, fake, 1, "the memorization score")?;
        let found = PairwiseDistances::new(fake, &self.features, device).nearest(1, progress)?;
        let nearest: Vec<Neighbor> =
            found.into_iter().filter_map(|found| found.first().copied()).collect();
        let memorized =
            nearest.iter().map(|found| found.squared < self.radius(found.index, None)).collect();
        let first = self.neighbors.iter().map(|found| found.first());
        let expected = first
            .enumerate()
            .map(|(i, found)| {
                found.is_some_and(|near| near.squared < self.radius(near.index, Some(i)))
            })
            .collect();
        Ok(Memorization { memorized, expected, nearest })
    }
}
