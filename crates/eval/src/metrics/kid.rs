//! The kernel distance (Bińkowski et al. 2018, section 4): the unbiased squared maximum mean discrepancy of features under the cubic kernel
//! k(x, y) = (x·y / d + 1)³, over random subsets. Under Inception's features it is called KID.

use super::features::{Features, comparable};
use crate::{EvalError, Progress};
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// Philox stream of the subsets.
const SUBSETS: u64 = 50;

/// Which subsets are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsets {
    /// How many.
    pub count: usize,
    /// Features in each, of each set; fewer where a set has no more.
    pub size: usize,
}

impl Default for Subsets {
    fn default() -> Self {
        Self { count: 100, size: 1000 }
    }
}

/// MMD² of each pair of subsets, drawn without repetition under `seed`: its mean is the distance, and may be below 0 by chance.
///
/// # Errors
/// Features of different widths, fewer than 2 rows, no subsets, the device, or [`EvalError::Stopped`].
pub fn distances(
    real: &Features,
    fake: &Features,
    subsets: Subsets,
    seed: u64,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Vec<f64>, EvalError> {
    comparable(real, fake, 2, "the kernel distance")?;
    let size = subsets.size.min(real.len()).min(fake.len());
    if subsets.count == 0 || size < 2 {
        return Err(EvalError::Setting(
            "the kernel distance takes at least 1 subset of at least 2 pictures".into(),
        ));
    }
    let mut rng = Philox::new(seed, SUBSETS);
    let mut found = Vec::with_capacity(subsets.count);
    for subset in 0..subsets.count {
        progress.report("comparing subsets", subset, subsets.count)?;
        let x = real.select(&sample_without_replacement(real.len(), size, &mut rng));
        let y = fake.select(&sample_without_replacement(fake.len(), size, &mut rng));
        found.push(mmd(&x, &y, device));
        device.check()?;
    }
    Ok(found)
}

/// The unbiased MMD² of two sets of one size.
#[must_use]
pub fn mmd(x: &Features, y: &Features, device: &Device) -> f64 {
    let (m, n) = (x.len() as f64, y.len() as f64);
    let on = |rows: &Features| rows.tensor(0, rows.len()).to_device(device);
    let (x, y) = (on(x), on(y));
    let within = |rows: &Tensor, count: f64| kernel_sum(rows, rows, true) / (count * (count - 1.0));
    within(&x, m) + within(&y, n) - 2.0 * kernel_sum(&x, &y, false) / (m * n)
}

/// Σ k(x, y) over all pairs, without the diagonal if `apart`: products in single precision, the kernel and its sum in double.
fn kernel_sum(x: &Tensor, y: &Tensor, apart: bool) -> f64 {
    let width = x.shape()[1] as f64;
    let columns = y.shape()[0].max(1);
    let products = x.matmul(y, false, true).to_vec();
    let rows = products.chunks_exact(columns).enumerate();
    // Row by row: a sum of sums loses fewer digits than a long one.
    rows.map(|(i, row)| {
        let kernel = |&product: &f32| (f64::from(product) / width + 1.0).powi(3);
        let own = if apart { row.get(i).map_or(0.0, kernel) } else { 0.0 };
        row.iter().map(kernel).sum::<f64>() - own
    })
    .sum()
}

/// `count` different numbers below `len`, by the first steps of a Fisher–Yates shuffle.
fn sample_without_replacement(len: usize, count: usize, rng: &mut Philox) -> Vec<usize> {
    let mut all: Vec<usize> = (0..len).collect();
    for i in 0..count.min(len) {
        let left = u32::try_from(len - i).unwrap_or(u32::MAX);
        all.swap(i, i + rng.below(left) as usize);
    }
    all.truncate(count);
    all
}
