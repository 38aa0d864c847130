//! The inception score (Salimans et al. 2016, section 4) by any classifier: exp E KL(p(y|x) ‖ p(y)), from 1 to the number of classes. It does not look
//! at real pictures, and says as much of the classifier as of the pictures.

use super::features::Features;
use crate::EvalError;

/// The score of each of `splits` parts of the probabilities `[N, classes]`, in their order: shuffle them where it is not by chance.
///
/// # Errors
/// Fewer pictures than parts, or no parts.
pub fn scores(probabilities: &Features, splits: usize) -> Result<Vec<f64>, EvalError> {
    let count = probabilities.len();
    if splits == 0 || count < splits {
        return Err(EvalError::Mismatch(format!(
            "the inception score in {splits} parts takes as many pictures: there are {count}"
        )));
    }
    Ok((0..splits)
        .map(|i| score(probabilities, count * i / splits, count * (i + 1) / splits))
        .collect())
}

fn score(probabilities: &Features, start: usize, end: usize) -> f64 {
    let count = (end - start) as f64;
    let mut mean = vec![0.0; probabilities.width()];
    for row in start..end {
        mean.iter_mut()
            .zip(probabilities.row(row))
            .for_each(|(sum, &p)| *sum += f64::from(p) / count);
    }
    let divergence = |row: usize| -> f64 {
        let each = probabilities.row(row).iter().zip(&mean);
        // p ln p goes to 0 with p.
        each.filter(|(p, _)| **p > 0.0)
            .map(|(&p, q)| f64::from(p) * (f64::from(p).ln() - q.ln()))
            .sum()
    };
    ((start..end).map(divergence).sum::<f64>() / count).exp()
}
