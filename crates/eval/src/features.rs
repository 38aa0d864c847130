//! Feature matrix: one row of f32 values per image (features or class probabilities).
//!
//! ```
//! use eval::features::Features;
//!
//! let features = Features::new(2, vec![1.0, 2.0, 3.0, 4.0]);
//! assert_eq!((features.len(), features.width()), (2, 2));
//! assert_eq!(features.select(&[1, 0]).row(0), [3.0, 4.0]);
//! ```

use crate::EvalError;
use tensor::Tensor;

/// A row-major matrix `[N, D]` of f32: D values for each of N images.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    width: usize,
    values: Vec<f32>,
}

impl Features {
    /// A matrix whose rows have `width` values.
    ///
    /// # Panics
    /// Panics if `width` is 0 or the values do not fill the last row.
    #[track_caller]
    pub fn new(width: usize, values: Vec<f32>) -> Self {
        assert!(
            width > 0 && values.len().is_multiple_of(width),
            "Features: {} values in rows of {width}",
            values.len()
        );
        Self { width, values }
    }

    /// The number of rows N.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The number of values D in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One row, D values.
    ///
    /// # Panics
    /// Panics if `index` is not below N.
    #[track_caller]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..][..self.width]
    }

    /// The rows with these indices, in their order.
    ///
    /// # Panics
    /// Panics if an index is not below N.
    #[track_caller]
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            width: self.width,
            values: indices.iter().flat_map(|&index| self.row(index)).copied().collect(),
        }
    }

    /// `count` rows from row `start` as a CPU tensor `[count, D]`.
    pub(crate) fn tensor(&self, start: usize, count: usize) -> Tensor {
        Tensor::from_slice(
            &self.values[start * self.width..][..count * self.width],
            [count, self.width],
        )
    }

    /// The mean of each column, summed in double precision: D values.
    pub(crate) fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for row in self.values.chunks_exact(self.width) {
            mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let count = self.len().max(1) as f64;
        mean.iter_mut().for_each(|sum| *sum /= count);
        mean
    }

    /// Returns an error naming the first NaN or infinite value.
    pub(crate) fn check_finite(&self, set: &str) -> Result<(), EvalError> {
        match self.values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(EvalError::NonFiniteFeature {
                set: set.to_owned(),
                image: at / self.width,
                value: self.values[at],
            }),
        }
    }
}

/// Returns an error if the two sets have features of different widths or fewer than `needed`
/// images.
pub(crate) fn require_comparable(
    real: &Features,
    fake: &Features,
    needed: usize,
    purpose: &str,
) -> Result<(), EvalError> {
    if real.width() != fake.width() {
        return Err(EvalError::FeatureWidths { real: real.width(), fake: fake.width() });
    }
    for (set, features) in [("real", real), ("generated", fake)] {
        if features.len() < needed {
            return Err(EvalError::TooFewImages {
                purpose: purpose.to_owned(),
                set: set.to_owned(),
                needed,
                found: features.len(),
            });
        }
    }
    Ok(())
}
