//! Features of numbers: a picture's features, or its probabilities.

use crate::EvalError;
use tensor::Tensor;

/// A matrix of f32, row after row; each row is of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    width: usize,
    values: Vec<f32>,
}

impl Features {
    /// Features of `width` numbers.
    ///
    /// # Panics
    /// When `width` is 0 or the values do not fill the last row.
    #[track_caller]
    #[must_use]
    pub fn new(width: usize, values: Vec<f32>) -> Self {
        assert!(
            width > 0 && values.len().is_multiple_of(width),
            "Features: {} values in rows of {width}",
            values.len()
        );
        Self { width, values }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Numbers in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, row after row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One row.
    ///
    /// # Panics
    /// When there is none of this number.
    #[track_caller]
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..][..self.width]
    }

    /// The rows of these numbers, in their order.
    ///
    /// # Panics
    /// When there is none of a number.
    #[track_caller]
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            width: self.width,
            values: indices.iter().flat_map(|&index| self.row(index)).copied().collect(),
        }
    }

    /// `count` rows from `start` on as a tensor.
    pub(super) fn tensor(&self, start: usize, count: usize) -> Tensor {
        Tensor::from_slice(
            &self.values[start * self.width..][..count * self.width],
            [count, self.width],
        )
    }

    /// The mean of each column, summed in double precision.
    pub(super) fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for row in self.values.chunks_exact(self.width) {
            mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let count = self.len().max(1) as f64;
        mean.iter_mut().for_each(|sum| *sum /= count);
        mean
    }

    /// Finds a number that is not finite.
    pub(super) fn check(&self, whose: &str) -> Result<(), EvalError> {
        match self.values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(EvalError::Mismatch(format!(
                "the features of picture {} of the {whose} set hold {}: its pictures or the feature network are broken",
                at / self.width,
                self.values[at]
            ))),
        }
    }
}

/// Both sets in the same features, and enough of each.
pub(super) fn comparable(
    real: &Features,
    fake: &Features,
    least: usize,
    what: &str,
) -> Result<(), EvalError> {
    if real.width() != fake.width() {
        let (a, b) = (real.width(), fake.width());
        return Err(EvalError::Mismatch(format!(
            "features of {a} numbers beside features of {b}: measure both sets by the same network"
        )));
    }
    for (whose, rows) in [("real", real), ("generated", fake)] {
        if rows.len() < least {
            let len = rows.len();
            return Err(EvalError::Mismatch(format!(
                "{what} takes at least {least} pictures of each set: the {whose} one has {len}"
            )));
        }
    }
    Ok(())
}
