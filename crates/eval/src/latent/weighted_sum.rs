//! Weighted sums of latents: interpolation weights, means, linear combinations.

use serde::{Deserialize, Serialize};
use tensor::Tensor;

/// A weighted sum of rows: the index and the weight of each.
pub type Terms = Vec<(usize, f32)>;

/// How latents are interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum InterpolationPath {
    /// Along a straight line, as in the DCGAN paper.
    Linear,
    /// Along a great circle (slerp; Shoemake 1985; for latents White 2016): normal latents lie near
    /// a sphere, which the straight line leaves.
    Spherical,
}

/// The weights of `a` and `b` at the fraction `t` of the way from one to the other; exactly [1, 0]
/// at 0 and [0, 1] at 1. Vectors that are (nearly) parallel or opposite have no great circle, and
/// are interpolated linearly.
pub fn interpolation_weights(a: &[f32], b: &[f32], t: f64, path: InterpolationPath) -> [f32; 2] {
    let linear = [(1.0 - t) as f32, t as f32];
    if path == InterpolationPath::Linear || t <= 0.0 || t >= 1.0 {
        return linear;
    }
    let dot = |x: &[f32], y: &[f32]| {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    let angle = (dot(a, b) / lengths).clamp(-1.0, 1.0).acos();
    let sine = angle.sin();
    if sine.is_nan() || sine < 1e-4 {
        return linear;
    }
    [((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine].map(|weight| weight as f32)
}

/// The mean of rows.
pub fn mean(rows: &[usize]) -> Terms {
    let weight = 1.0 / rows.len() as f32;
    rows.iter().map(|&row| (row, weight)).collect()
}

/// Σ factor · sum, as one sum.
pub fn sum<'a>(parts: impl IntoIterator<Item = (f32, &'a Terms)>) -> Terms {
    parts
        .into_iter()
        .flat_map(|(factor, terms)| terms.iter().map(move |(row, weight)| (*row, factor * weight)))
        .collect()
}

/// Sums of the rows of `[N, W]`, `[sums, W]`, on the CPU. Terms are added in their order, so that
/// the same sums of the same rows have the same bits.
///
/// # Panics
/// Panics if a sum has an index that is not below N.
#[track_caller]
pub fn combine(rows: &Tensor, sums: &[Terms]) -> Tensor {
    let [count, width] = [rows.shape()[0], rows.shape()[1]];
    let values = rows.to_vec();
    let mut out = Vec::with_capacity(sums.len() * width);
    for terms in sums {
        let mut total = vec![0.0f32; width];
        for (i, &(row, weight)) in terms.iter().enumerate() {
            assert!(row < count, "combine: row {row} of {count}");
            let values = &values[row * width..][..width];
            // The first term is not added to 0, which would turn −0 into 0.
            let add = |(total, value): (&mut f32, &f32)| {
                *total = if i == 0 { weight * value } else { *total + weight * value }
            };
            total.iter_mut().zip(values).for_each(add);
        }
        out.extend(total);
    }
    Tensor::from_slice(&out, [sums.len(), width])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn great_circle_keeps_the_length() {
        let (a, b) = ([3.0f32, 0.0, 4.0], [0.0f32, 5.0, 0.0]);
        let at = |t: f64, path| {
            let [wa, wb] = interpolation_weights(&a, &b, t, path);
            let point: Vec<f64> =
                a.iter().zip(&b).map(|(a, b)| f64::from(wa * a + wb * b)).collect();
            let length = point.iter().map(|x| x * x).sum::<f64>().sqrt();
            (length, point[1])
        };
        for t in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let (length, height) = at(t, InterpolationPath::Spherical);
            assert!((length - 5.0).abs() < 1e-5, "{t}: {length}");
            // The vectors are orthogonal: the height over a is the sine of t right angles.
            let expected = 5.0 * (t * std::f64::consts::FRAC_PI_2).sin();
            assert!((height - expected).abs() < 1e-5, "{t}: {height}");
        }
        assert!(
            (at(0.5, InterpolationPath::Linear).0 - 5.0 / 2f64.sqrt()).abs() < 1e-5,
            "the straight line passes nearer to the origin"
        );
        assert_eq!(interpolation_weights(&a, &b, 0.0, InterpolationPath::Spherical), [1.0, 0.0]);
        assert_eq!(interpolation_weights(&a, &b, 1.0, InterpolationPath::Spherical), [0.0, 1.0]);
    }

    #[test]
    fn parallel_vectors_are_interpolated_linearly() {
        for b in [[2.0f32, 4.0], [-1.0, -2.0], [0.0, 0.0]] {
            let weights =
                interpolation_weights(&[1.0, 2.0], &b, 0.25, InterpolationPath::Spherical);
            assert_eq!(weights, [0.75, 0.25]);
        }
    }

    #[test]
    fn means_and_sums_combine_rows() {
        let rows = Tensor::from_slice(&[1.0, -0.0, 3.0, 4.0, 5.0, 9.0], [3, 2]);
        let terms = sum([(1.0, &mean(&[0, 1])), (-1.0, &mean(&[2])), (2.0, &vec![(1, 1.0)])]);
        assert_eq!(terms, [(0, 0.5), (1, 0.5), (2, -1.0), (1, 2.0)]);
        assert_eq!(combine(&rows, &[terms, vec![(2, 1.0)]]).to_vec(), [3.0, 1.0, 5.0, 9.0]);
        assert!(combine(&rows, &[vec![(0, 1.0)]]).to_vec()[1].is_sign_negative());
        assert_eq!(combine(&rows, &[vec![]]).to_vec(), [0.0, 0.0]);
    }
}
