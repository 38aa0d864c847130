//! C by validation.

use super::svm::{self, LinearSvms, SvmRows};

/// The costs that the original code chooses from: 1e-4 to 1e-2, half a power of ten apart.
pub const C_GRID: [f64; 5] = [1e-4, 3.162_277_66e-4, 1e-3, 3.162_277_66e-3, 1e-2];
/// How far the choice is widened.
const LIMITS: [f64; 2] = [1e-9, 1e4];
/// Costs added at a time where the edge wins.
const WIDEN: usize = 2;

/// The svms that do best on the validation rows.
pub struct SelectedSvm {
    /// The svms.
    pub svms: LinearSvms,
    /// Their C.
    pub cost: f64,
    /// How many validation rows they are right about.
    pub correct: usize,
    /// Whether this C lies outside the costs that were given.
    pub widened: bool,
}

/// Trains for each of `costs` (ascending), and further, by half powers of ten, while the smallest or the largest wins. Of equals the smallest of `costs`;
/// those beyond have to do better.
///
/// # Panics
/// Without costs, or as [`svm::train`] and [`LinearSvms::correct`].
#[track_caller]
pub fn select_cost(
    rows: &SvmRows<'_>,
    labels: &[u32],
    classes: usize,
    costs: &[f64],
    (held_out, their_labels): (&[f32], &[u32]),
    options: svm::Options,
) -> SelectedSvm {
    let mut tried: Vec<f64> = costs.to_vec();
    let mut best: Option<SelectedSvm> = None;
    let mut new = tried.clone();
    loop {
        let svms = svm::train(rows, labels, classes, &new, options);
        for (k, (&cost, correct)) in
            new.iter().zip(svms.correct(held_out, their_labels)).enumerate()
        {
            if best.as_ref().is_none_or(|best| correct > best.correct) {
                let widened = !costs.contains(&cost);
                best = Some(SelectedSvm { svms: svms.only(k), cost, correct, widened });
            }
        }
        let Some(found) = best.take() else { panic!("svm::select_cost: no costs") };
        let step = 10f64.sqrt();
        new = match (tried.first(), tried.last()) {
            (Some(&low), _) if found.cost <= low && low > LIMITS[0] => {
                (1..=WIDEN).rev().map(|i| low / step.powi(i as i32)).collect()
            }
            (_, Some(&high)) if found.cost >= high && high < LIMITS[1] => {
                (1..=WIDEN).map(|i| high * step.powi(i as i32)).collect()
            }
            _ => return found,
        };
        tried.extend(&new);
        tried.sort_by(f64::total_cmp);
        best = Some(found);
    }
}
