//! KID (kernel inception distance; Bińkowski et al. 2018, section 4): the unbiased squared maximum
//! mean discrepancy (MMD²) of features under the cubic kernel k(x, y) = (x·y / d + 1)³, over random
//! subsets. Only with Inception features may it be compared with published KID values.
//!
//! ```
//! use eval::features::Features;
//! use eval::metrics::kid;
//! use tensor::{Device, rng::Philox};
//!
//! let set = |seed, mean| Features::new(4, Philox::new(seed, 0).normal([60, 4], mean,
//! 1.0).to_vec()); let near = kid::mmd(&set(1, 0.0), &set(2, 0.0), &Device::Cpu); let far =
//! kid::mmd(&set(1, 0.0), &set(2, 1.0), &Device::Cpu); assert!(near.abs() < 0.5 && far > 1.0);
//! ```

use super::metric::{
    Direction, Metric, MetricInputs, MetricReport, MetricValue, MetricWarning, Needs, Subsets,
};
use crate::features::{Features, require_comparable};
use crate::stats::MeanStd;
use crate::{EvalError, Progress};
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// The kernel distance, KID under Inception features.
pub const METRIC: Metric = Metric {
    name: "kid",
    help: "Kernel distance (KID with Inception features), over 100 subsets of 1000 images",
    key: "kernel",
    needs: Needs::Features,
    default: true,
    compute,
};

/// Philox stream of the subsets.
const SUBSET_STREAM: u64 = 50;

fn compute(inputs: &MetricInputs<'_>) -> Result<MetricReport, EvalError> {
    let (options, [real, fake]) = (inputs.options, inputs.features());
    let subsets = options.subsets;
    let distances = distances(real, fake, subsets, options.seed, inputs.device, inputs.progress)?;
    let found = MeanStd::of(&distances);
    let images = real.len().min(fake.len());
    let size = subsets.size.min(images);
    let mut warnings = Vec::new();
    if size < subsets.size {
        warnings.push(MetricWarning::SmallSubsets { size, wanted: subsets.size });
    }
    // The deviation of a subset of n goes with 1/√n (the statistic is asymptotically normal), and
    // all images took part.
    let scale = (size as f64 / images as f64).sqrt();
    let value = MetricValue::new("kernel", "Kernel distance", found.mean, Direction::Lower);
    let interval = (options.bootstrap > 0).then(|| found.interval(scale));
    let value = MetricValue { deviation: Some(found.std), interval, ..value };
    Ok(MetricReport { values: vec![value], warnings })
}

/// MMD² of each pair of random subsets, drawn without replacement under `seed`. Their mean is the
/// kernel distance, which may be below 0 by chance.
///
/// # Errors
/// Returns an error if the features have different widths, a set has fewer than 2 images, there
/// are no subsets, or the device fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn distances(
    real: &Features,
    fake: &Features,
    subsets: Subsets,
    seed: u64,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Vec<f64>, EvalError> {
    require_comparable(real, fake, 2, "the kernel distance")?;
    let size = subsets.size.min(real.len()).min(fake.len());
    if subsets.count == 0 || size < 2 {
        return Err(EvalError::EmptySubsets { count: subsets.count, size });
    }
    let mut rng = Philox::new(seed, SUBSET_STREAM);
    let mut found = Vec::with_capacity(subsets.count);
    for subset in 0..subsets.count {
        progress.report("comparing subsets", subset, subsets.count)?;
        let x = real.select(&rng.sample_without_replacement(real.len(), size));
        let y = fake.select(&rng.sample_without_replacement(fake.len(), size));
        found.push(mmd(&x, &y, device));
        device.check()?;
    }
    Ok(found)
}

/// The unbiased MMD² of two sets of the same size.
pub fn mmd(x: &Features, y: &Features, device: &Device) -> f64 {
    let (m, n) = (x.len() as f64, y.len() as f64);
    let on = |features: &Features| features.tensor(0, features.len()).to_device(device);
    let (x, y) = (on(x), on(y));
    let within = |rows: &Tensor, count: f64| kernel_sum(rows, rows, true) / (count * (count - 1.0));
    within(&x, m) + within(&y, n) - 2.0 * kernel_sum(&x, &y, false) / (m * n)
}

/// Σ k(x, y) over all pairs, optionally without the diagonal. Inner products are computed in single
/// precision, the kernel and its sum in double.
fn kernel_sum(x: &Tensor, y: &Tensor, skip_diagonal: bool) -> f64 {
    let width = x.shape()[1] as f64;
    let columns = y.shape()[0].max(1);
    let products = x.matmul(y, false, true).to_vec();
    let rows = products.chunks_exact(columns).enumerate();
    // Row by row, because a sum of sums loses fewer digits than one long sum. The diagonal is never
    // added: the norm of an outlier would take the digits of all other terms with it.
    rows.map(|(i, row)| {
        let kernel = |product: &f32| (f64::from(*product) / width + 1.0).powi(3);
        let sum = |row: &[f32]| row.iter().map(kernel).sum::<f64>();
        if skip_diagonal { sum(&row[..i]) + sum(&row[i + 1..]) } else { sum(row) }
    })
    .sum()
}
