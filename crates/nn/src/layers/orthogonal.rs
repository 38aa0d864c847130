//! Random orthogonal matrices.

use tensor::rng::Philox;

/// A matrix `[rows, columns]`, row-major, whose rows (or columns, if they are fewer) are orthogonal
/// and of length `gain`: the Q of the QR decomposition, with positive diagonal of R, of a normal
/// matrix, so that every direction is equally likely (Saxe et al. 2014; as PyTorch's
/// `orthogonal_`).
///
/// By modified Gram–Schmidt in f64: a normal matrix is so well conditioned that the result is
/// orthogonal far beyond f32.
pub(super) fn orthogonal(rows: usize, columns: usize, gain: f32, rng: &mut Philox) -> Vec<f32> {
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<f64> =
        rng.normal([count, len], 0.0, 1.0).to_vec().into_iter().map(f64::from).collect();
    for k in 0..count {
        let (before, rest) = vectors.split_at_mut(k * len);
        let own = &mut rest[..len];
        for other in before.chunks_exact(len) {
            let along = dot(other, own);
            own.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
        let factor = dot(own, own).sqrt().recip();
        own.iter_mut().for_each(|x| *x *= factor);
    }
    let at = |row: usize, column: usize| {
        if rows <= columns { row * len + column } else { column * len + row }
    };
    (0..rows * columns)
        .map(|i| (f64::from(gain) * vectors[at(i / columns, i % columns)]) as f32)
        .collect()
}

/// Eight sums side by side, so that the compiler can use vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        lanes.iter_mut().zip(x.iter().zip(y)).for_each(|(lane, (x, y))| *lane += x * y);
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_side_is_orthogonal() {
        for (rows, columns) in [(5, 12), (12, 5), (7, 7), (1, 3), (3, 1), (64, 64)] {
            let q = orthogonal(rows, columns, 2.0, &mut Philox::new(3, 0));
            let short = rows.min(columns);
            let at = |i: usize, k: usize| {
                f64::from(if rows <= columns { q[i * columns + k] } else { q[k * columns + i] })
            };
            for i in 0..short {
                for j in 0..short {
                    let product: f64 = (0..rows.max(columns)).map(|k| at(i, k) * at(j, k)).sum();
                    let expected = if i == j { 4.0 } else { 0.0 };
                    assert!(
                        (product - expected).abs() < 1e-5,
                        "{rows}x{columns}: <{i}, {j}> = {product}"
                    );
                }
            }
        }
    }
}
