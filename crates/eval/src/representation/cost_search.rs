//! Choice of an SVM's regularization parameter C by validation.

use super::svm::{self, LinearSvms, SvmRows};

/// The values of C that the DCGAN authors' code chooses from: 1e-4 to 1e-2, half a power of ten
/// apart.
pub const C_GRID: [f64; 5] = [1e-4, 3.162_277_66e-4, 1e-3, 3.162_277_66e-3, 1e-2];
/// Bounds of the widened search.
const COST_LIMITS: [f64; 2] = [1e-9, 1e4];
/// Values of C added at a time if the edge of the grid is best.
const WIDEN: usize = 2;

/// The SVMs that do best on validation rows.
pub struct SelectedSvm {
    /// The trained SVMs, one for each class.
    pub svms: LinearSvms,
    /// The inverse regularization strength C of the SVMs.
    pub cost: f64,
    /// The number of correctly classified validation rows.
    pub correct: usize,
    /// Whether this C is outside the given grid.
    pub widened: bool,
}

/// Trains SVMs for each C of `costs` (ascending), and further, by half powers of ten, as long as
/// the smallest or the largest C is best. Of equally good ones the smallest C of `costs` wins;
/// those beyond have to be better.
///
/// # Panics
/// Panics without costs, and as [`svm::train`] and [`LinearSvms::correct`] do.
#[track_caller]
pub fn select_cost(
    rows: &SvmRows<'_>,
    labels: &[u32],
    classes: usize,
    costs: &[f64],
    (validation, validation_labels): (&[f32], &[u32]),
    options: svm::Options,
) -> SelectedSvm {
    let mut tried: Vec<f64> = costs.to_vec();
    let mut best: Option<SelectedSvm> = None;
    let mut new = tried.clone();
    loop {
        let svms = svm::train(rows, labels, classes, &new, options);
        let correct = svms.correct(validation, validation_labels);
        for (k, (&cost, correct)) in new.iter().zip(correct).enumerate() {
            if best.as_ref().is_none_or(|best| correct > best.correct) {
                let widened = !costs.contains(&cost);
                best = Some(SelectedSvm { svms: svms.only(k), cost, correct, widened });
            }
        }
        let Some(found) = best.take() else { panic!("select_cost: no costs") };
        let step = 10f64.sqrt();
        new = match (tried.first(), tried.last()) {
            (Some(&low), _) if found.cost <= low && low > COST_LIMITS[0] => {
                (1..=WIDEN).rev().map(|i| low / step.powi(i as i32)).collect()
            }
            (_, Some(&high)) if found.cost >= high && high < COST_LIMITS[1] => {
                (1..=WIDEN).map(|i| high * step.powi(i as i32)).collect()
            }
            _ => return found,
        };
        tried.extend(&new);
        tried.sort_by(f64::total_cmp);
        best = Some(found);
    }
}
