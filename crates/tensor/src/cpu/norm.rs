//! Batch normalization over the last axis: x is `[rows, channels]`. The forward pass reads x twice,
//! for the statistics and to normalize and activate; the backward pass too, for the sums and for
//! dx.

use super::isa::multiversion;
use super::parallel::{CHUNK, SendPtr, par_chunks_mut, par_for_with_scratch};
use crate::descriptors::Activation;

/// Rows added in f32 before the block joins the f64 total.
const BLOCK: usize = 32;

/// How many pixels of a narrow image form one row, so that vector registers are full; the sums are
/// folded at the end.
fn fold(rows: usize, channels: usize) -> usize {
    [32, 16, 8, 4, 2]
        .into_iter()
        .find(|f| channels * f <= 64 && rows.is_multiple_of(*f))
        .unwrap_or(1)
}

multiversion! {
    /// Adds Σ x − s and Σ (x − s)² of each column to `totals[..width]` and
    /// `totals[width..]`.
    fn moments(rows: &[f32], shift: &[f32], totals: &mut [f64], lanes: &mut [f32]) {
        let width = shift.len();
        let (first, second) = lanes.split_at_mut(width);
        // f32 fills the registers with twice the elements of f64; 32 rows are too few to lose
        // digits.
        for block in rows.chunks(width * BLOCK) {
            first.fill(0.0);
            second.fill(0.0);
            for row in block.chunks_exact(width) {
                let sums = first.iter_mut().zip(second.iter_mut());
                for (((a, b), &v), &s) in sums.zip(row).zip(shift) {
                    let d = v - s;
                    *a += d;
                    *b += d * d;
                }
            }
            for (t, &l) in totals.iter_mut().zip(first.iter().chain(second.iter())) {
                *t += f64::from(l);
            }
        }
    }
}

/// Splits the rows into tasks by the shape, adds the `2 · width` column totals that `f` computes
/// for each with as many elements of scratch memory, in order, and folds them to `channels`.
fn column_totals(
    rows: usize,
    channels: usize,
    f: impl Fn(std::ops::Range<usize>, usize, &mut [f64], &mut [f32]) + Sync + Send,
) -> Vec<f64> {
    let fold = fold(rows, channels);
    let (rows, width) = (rows / fold, channels * fold);
    // By the shape alone, so the number of threads does not change the bits; at most 256 tasks,
    // because one thread adds up their totals.
    let step = (CHUNK / width).max(BLOCK).max(rows.div_ceil(256));
    let tasks = rows.div_ceil(step);
    let mut parts = vec![0f64; tasks * 2 * width];
    let base = SendPtr(parts.as_mut_ptr());
    par_for_with_scratch(tasks, [2 * width], |t, [lanes]| {
        // SAFETY: only task `t` writes its totals.
        let totals =
            unsafe { std::slice::from_raw_parts_mut(base.get().add(t * 2 * width), 2 * width) };
        f(t * step * width..rows.min((t + 1) * step) * width, width, totals, lanes);
    });
    let mut out = vec![0f64; 2 * channels];
    // In the order of the tasks. Column i of a folded row belongs to channel i mod C.
    for part in parts.chunks_exact(2 * width) {
        for half in 0..2 {
            for (i, v) in part[half * width..(half + 1) * width].iter().enumerate() {
                out[half * channels + i % channels] += v;
            }
        }
    }
    out
}

fn repeat(values: &[f32], width: usize) -> Vec<f32> {
    values.iter().copied().cycle().take(width).collect()
}

/// The mean of a few evenly spaced rows. It is near enough to the mean of all rows for sums about
/// it to keep their digits, and does not depend on a single row, which may be an outlier.
fn rough_mean(x: &[f32], channels: usize) -> Vec<f32> {
    let step = (x.len() / channels).div_ceil(32);
    let mut totals = vec![0f64; channels];
    for row in x.chunks_exact(channels).step_by(step) {
        totals.iter_mut().zip(row).for_each(|(t, &v)| *t += f64::from(v));
    }
    let count = (x.len() / channels).div_ceil(step) as f64;
    totals.iter().map(|t| (t / count) as f32).collect()
}

/// Mean and biased variance of each channel.
pub(crate) struct Statistics {
    pub mean: Vec<f32>,
    /// What rounding to single precision took from the mean. Where |mean| ≫ std, it is not small
    /// next to the standard deviation.
    pub mean_residual: Vec<f32>,
    pub variance: Vec<f32>,
}

/// Mean and biased variance of each channel before rounding.
pub(crate) struct ExactStatistics {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

impl ExactStatistics {
    pub fn rounded(&self) -> Statistics {
        let mean: Vec<f32> = self.mean.iter().map(|m| *m as f32).collect();
        let residual = |(m, r): (&f64, &f32)| (m - f64::from(*r)) as f32;
        Statistics {
            mean_residual: self.mean.iter().zip(&mean).map(residual).collect(),
            variance: self.variance.iter().map(|v| *v as f32).collect(),
            mean,
        }
    }
}

/// The statistics of `[rows, channels]`. Sums are taken about a rough mean, so the variance keeps
/// its digits when the mean is large.
pub(crate) fn statistics(x: &[f32], channels: usize) -> ExactStatistics {
    let rows = x.len() / channels;
    let shift = rough_mean(x, channels);
    let totals = column_totals(rows, channels, |range, width, totals, lanes| {
        moments(&x[range], &repeat(&shift, width), totals, lanes);
    });
    let n = rows as f64;
    let mean = |c: usize| totals[c] / n;
    // Rounding may give a variance below 0. `max` would turn NaN into 0, so this comparison keeps
    // NaN.
    let variance = |c: usize| match totals[channels + c] / n - mean(c) * mean(c) {
        v if v < 0.0 => 0.0,
        v => v,
    };
    ExactStatistics {
        mean: (0..channels).map(|c| f64::from(shift[c]) + mean(c)).collect(),
        variance: (0..channels).map(variance).collect(),
    }
}

multiversion! {
    fn apply_lines<F: Fn(f32) -> f32>(
        x: &[f32],
        affine: [&[f32]; 3],
        out: &mut [f32],
        f: &F,
    ) {
        let [center, scale, offset] = affine;
        let width = scale.len();
        for (out, x) in out.chunks_mut(width).zip(x.chunks(width)) {
            let affine = center.iter().zip(scale).zip(offset);
            for ((o, &x), ((&m, &s), &b)) in out.iter_mut().zip(x).zip(affine) {
                *o = f((x - m) * s + b);
            }
        }
    }
}

/// Runs `$body` with `$f` bound to the activation as a closure, so each loop is compiled for its
/// own function.
macro_rules! with_activation {
    ($activation:expr, $f:ident => $body:expr) => {
        match $activation {
            Activation::None => {
                let $f = |v: f32| v;
                $body
            }
            Activation::Relu => {
                let $f = |v: f32| if v < 0.0 { 0.0 } else { v };
                $body
            }
            Activation::LeakyRelu(slope) => {
                let $f = move |v: f32| if v > 0.0 { v } else { slope * v };
                $body
            }
            Activation::Tanh => {
                let $f = super::math::tanh;
                $body
            }
            Activation::Sigmoid => {
                let $f = super::math::sigmoid;
                $body
            }
        }
    };
}

/// Runs `$body` with `$f` bound to the activation's derivative as a function of its argument.
macro_rules! with_derivative {
    ($activation:expr, $f:ident => $body:expr) => {
        match $activation {
            Activation::None => {
                let $f = |_: f32| 1.0f32;
                $body
            }
            Activation::Relu => {
                let $f = |v: f32| if v > 0.0 { 1.0f32 } else { 0.0 };
                $body
            }
            Activation::LeakyRelu(slope) => {
                let $f = move |v: f32| if v > 0.0 { 1.0f32 } else { slope };
                $body
            }
            Activation::Tanh => {
                let $f = |v: f32| {
                    let t = super::math::tanh(v);
                    1.0 - t * t
                };
                $body
            }
            Activation::Sigmoid => {
                let $f = |v: f32| {
                    let s = super::math::sigmoid(v);
                    s * (1.0 - s)
                };
                $body
            }
        }
    };
}

/// `out = activation((x − center) · scale + offset)`, all three per channel.
pub(crate) fn normalize(x: &[f32], affine: [&[f32]; 3], activation: Activation, out: &mut [f32]) {
    let channels = affine[0].len();
    let width = channels * fold(x.len() / channels, channels);
    let wide = affine.map(|values| repeat(values, width));
    let wide = [&wide[0][..], &wide[1], &wide[2]];
    // Whole rows, so that every chunk begins with channel 0.
    let chunk = (CHUNK / width).max(1) * width;
    with_activation!(activation, f => par_chunks_mut(out, chunk, |i, out| {
        apply_lines(&x[i * chunk..i * chunk + out.len()], wide, out, &f);
    }));
}

/// A bias per channel and an activation, applied to the rows of a result while they are in the
/// cache. The bits are those of [`scale_shift`] with a scale of one.
#[derive(Clone, Copy)]
pub(crate) struct BiasActivation<'a> {
    pub bias: &'a [f32],
    pub activation: Activation,
}

impl BiasActivation<'_> {
    /// Applies it to elements of one row, from channel `first` on.
    #[inline]
    pub(super) fn apply(&self, row: &mut [f32], first: usize) {
        let bias = &self.bias[first..][..row.len()];
        with_activation!(self.activation, f => bias_line(row, bias, &f));
    }
}

multiversion! {
    fn bias_line<F: Fn(f32) -> f32>(row: &mut [f32], bias: &[f32], f: &F) {
        for (x, &bias) in row.iter_mut().zip(bias) {
            *x = f(*x + bias);
        }
    }
}

/// `out = activation(x · scale + offset)`, scale and offset per channel.
pub(crate) fn scale_shift(
    x: &[f32],
    scale: &[f32],
    offset: &[f32],
    activation: Activation,
    out: &mut [f32],
) {
    normalize(x, [&vec![0.0; scale.len()], scale, offset], activation, out);
}

multiversion! {
    fn gradient_sums<F: Fn(f32) -> f32>(
        x: &[f32],
        dy: &[f32],
        constants: [&[f32]; 3],
        totals: &mut [f64],
        lanes: &mut [f32],
        derivative: &F,
    ) {
        let [center, scale, offset] = constants;
        let width = scale.len();
        let (first, second) = lanes.split_at_mut(width);
        for (x, dy) in x.chunks(width * BLOCK).zip(dy.chunks(width * BLOCK)) {
            first.fill(0.0);
            second.fill(0.0);
            for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
                for i in 0..width {
                    // The activation's argument is recomputed from x, so that it need not be
                    // saved.
                    let centered = x[i] - center[i];
                    let g = dy[i] * derivative(centered * scale[i] + offset[i]);
                    first[i] += g;
                    second[i] += g * centered;
                }
            }
            for (t, &l) in totals.iter_mut().zip(first.iter().chain(second.iter())) {
                *t += f64::from(l);
            }
        }
    }
}

multiversion! {
    fn gradient_lines<F: Fn(f32) -> f32>(
        x: &[f32],
        dy: &[f32],
        constants: [&[f32]; 5],
        out: &mut [f32],
        derivative: &F,
    ) {
        let [center, scale, offset, slope, constant] = constants;
        let width = scale.len();
        let lines = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for ((out, x), dy) in lines.zip(dy.chunks_exact(width)) {
            for i in 0..width {
                // Not slope · x + another constant: the two would cancel where |mean| ≫ std.
                let centered = x[i] - center[i];
                let g = dy[i] * derivative(centered * scale[i] + offset[i]);
                out[i] = scale[i] * g + slope[i] * centered + constant[i];
            }
        }
    }
}

/// The per-channel values of the forward pass that the backward pass needs.
pub(crate) struct Constants<'a> {
    pub statistics: &'a Statistics,
    /// 1 / √(variance + eps).
    pub rstd: &'a [f32],
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
}

impl Constants<'_> {
    /// Scale and offset that turn x − mean into the activation's argument.
    pub(crate) fn affine(&self) -> (Vec<f32>, Vec<f32>) {
        let scale: Vec<f32> = self.gamma.iter().zip(self.rstd).map(|(g, r)| g * r).collect();
        let residual = &self.statistics.mean_residual;
        let offset =
            scale.iter().zip(residual).zip(self.beta).map(|((s, r), b)| b - r * s).collect();
        (scale, offset)
    }
}

/// All rows of a batch, some of which may be those of other processes.
pub(crate) struct AllRows<'a> {
    pub count: usize,
    /// Adds to sums over the rows here those over the others.
    pub sum: &'a dyn Fn(&mut [f64]),
}

/// The gradients of batch norm + activation: dx if its slice is given, dγ, dβ (Ioffe & Szegedy
/// 2015, section 3). The statistics are those of all rows; dγ and dβ are of the rows here.
pub(crate) fn backward(
    x: &[f32],
    dy: &[f32],
    constants: &Constants<'_>,
    activation: Activation,
    dx: Option<&mut [f32]>,
    all: &AllRows<'_>,
) -> (Vec<f32>, Vec<f32>) {
    let Statistics { mean: center, mean_residual, .. } = constants.statistics;
    let channels = center.len();
    let rows = x.len() / channels;
    let (scale, offset) = constants.affine();
    let mut totals = column_totals(rows, channels, |range, width, totals, lanes| {
        let wide = [center, &scale, &offset].map(|v| repeat(v, width));
        let wide = [&wide[0][..], &wide[1], &wide[2]];
        let (x, dy) = (&x[range.clone()], &dy[range]);
        with_derivative!(activation, f => gradient_sums(x, dy, wide, totals, lanes, &f));
    });
    let residual = |c: usize| f64::from(mean_residual[c]);
    // Σ g · (x − mean), from the sum about the rounded mean.
    for c in 0..channels {
        totals[channels + c] -= residual(c) * totals[c];
    }
    let (sums, weighted) = totals.split_at(channels);
    if let Some(dx) = dx {
        let mut totals = totals.clone();
        (all.sum)(&mut totals);
        let (sums, weighted) = totals.split_at(channels);
        let n = all.count as f64;
        let mut slope = vec![0f32; channels];
        let mut constant = vec![0f32; channels];
        for c in 0..channels {
            let (s, r) = (f64::from(scale[c]), f64::from(constants.rstd[c]));
            // dx = s · (g − Σg / n − x̂ · Σ(g · x̂) / n) with x̂ = (x − mean) · r.
            let k = -s * r * r * weighted[c] / n;
            slope[c] = k as f32;
            constant[c] = (-s * sums[c] / n - k * residual(c)) as f32;
        }
        let width = channels * fold(rows, channels);
        let wide = [center, &scale, &offset, &slope, &constant].map(|v| repeat(v, width));
        let wide = [&wide[0][..], &wide[1], &wide[2], &wide[3], &wide[4]];
        let chunk = (CHUNK / width).max(1) * width;
        with_derivative!(activation, f => par_chunks_mut(dx, chunk, |i, out| {
            let range = i * chunk..i * chunk + out.len();
            gradient_lines(&x[range.clone()], &dy[range], wide, out, &f);
        }));
    }
    let dgamma =
        weighted.iter().zip(constants.rstd).map(|(w, r)| (w * f64::from(*r)) as f32).collect();
    (dgamma, sums.iter().map(|s| *s as f32).collect())
}
