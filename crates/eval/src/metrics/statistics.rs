//! Mean and covariance of features: what the Fréchet distance needs of a set of images, in the
//! files of pytorch-fid (`.npz` with `mu` and `sigma`).
//!
//! ```
//! use eval::Progress;
//! use eval::features::Features;
//! use eval::metrics::{Statistics, frechet};
//!
//! let real = Features::new(1, vec![0.0, 1.0, 2.0]);
//! let fake = Features::new(1, vec![3.0, 4.0, 5.5]);
//! let statistics = Statistics::of(&real, Progress::SILENT)?;
//! let distance = statistics.distance(&Statistics::of(&fake, Progress::SILENT)?)?;
//! assert!((distance - frechet::distance(&real, &fake)?).abs() < 1e-12);
//! # Ok::<(), eval::EvalError>(())
//! ```

use super::frechet::{MAX_DIMENSION, gaussian_distance, moments};
use crate::features::Features;
use crate::{EvalError, Progress};
use nalgebra::{DMatrix, DVector};
use runs::{NpzArray, read_npz, write_npz};
use std::path::Path;

/// The names of the arrays in a file.
const MEAN: &str = "mu";
const COVARIANCE: &str = "sigma";
/// Elements (i, j) and (j, i) of a covariance may differ by this share of the largest one.
const ASYMMETRY: f64 = 1e-4;

/// Mean `[D]` and covariance `[D, D]` (divided by N − 1) of the features of a set of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    mean: DVector<f64>,
    covariance: DMatrix<f64>,
}

impl Statistics {
    /// The statistics of features.
    ///
    /// # Errors
    /// Returns an error for fewer than two rows, values that are not finite, or more than
    /// [`MAX_DIMENSION`] columns; [`EvalError::Stopped`] if `progress` cancels.
    pub fn of(features: &Features, progress: Progress<'_>) -> Result<Self, EvalError> {
        let (images, width) = (features.len(), features.width());
        if images < 2 {
            return Err(EvalError::TooFewImages {
                purpose: "a covariance".into(),
                set: "set".into(),
                needed: 2,
                found: images,
            });
        }
        if width > MAX_DIMENSION {
            return Err(EvalError::FrechetTooLarge { images, width });
        }
        if !features.values().iter().all(|value| value.is_finite()) {
            return Err(EvalError::NonFiniteFeatures);
        }
        let (mean, covariance) = moments(features, progress)?;
        Ok(Self { mean, covariance })
    }

    /// D, the number of values in a feature vector.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// The Fréchet distance d² of the Gaussians with these statistics.
    ///
    /// # Errors
    /// Returns an error if the features have different widths.
    pub fn distance(&self, fake: &Self) -> Result<f64, EvalError> {
        if self.width() != fake.width() {
            return Err(EvalError::FeatureWidths { real: self.width(), fake: fake.width() });
        }
        let covariances = [&self.covariance, &fake.covariance];
        Ok(gaussian_distance([&self.mean, &fake.mean], covariances))
    }

    /// Reads a file of pytorch-fid.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, lacks one of the arrays, or if they are not the
    /// finite mean and symmetric covariance of features.
    pub fn load(path: &Path) -> Result<Self, EvalError> {
        let [mean, covariance] = read_npz(path, [MEAN, COVARIANCE])?;
        let refused =
            |problem: String| EvalError::StatisticsFile { path: path.to_owned(), problem };
        let [width] = mean.shape[..] else {
            return Err(refused(format!("{MEAN} is {:?}, not one row", mean.shape)));
        };
        if covariance.shape != [width; 2] {
            let shapes = format!("{COVARIANCE} is {:?} for a {MEAN} of {width}", covariance.shape);
            return Err(refused(shapes));
        }
        if !(1..=MAX_DIMENSION).contains(&width) {
            return Err(refused(format!("its features have {width} values")));
        }
        let mut values = mean.values.iter().chain(&covariance.values);
        if let Some(value) = values.find(|value| !value.is_finite()) {
            return Err(refused(format!("it holds a value of {value}")));
        }
        let covariance = DMatrix::from_row_slice(width, width, &covariance.values);
        let largest = covariance.amax();
        let asymmetry = (&covariance - covariance.transpose()).amax();
        if asymmetry > ASYMMETRY * largest || covariance.diagonal().min() < -ASYMMETRY * largest {
            return Err(refused(format!("{COVARIANCE} is not a covariance")));
        }
        Ok(Self { mean: DVector::from_vec(mean.values), covariance })
    }

    /// Writes a file that pytorch-fid reads; atomically.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), EvalError> {
        let width = self.width();
        let mean = NpzArray { shape: vec![width], values: self.mean.as_slice().to_vec() };
        // Symmetric, so row by row is column by column.
        let values = self.covariance.as_slice().to_vec();
        let covariance = NpzArray { shape: vec![width; 2], values };
        Ok(write_npz(path, &[(MEAN, &mean), (COVARIANCE, &covariance)])?)
    }
}
