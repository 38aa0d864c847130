//! L1 distances between all pairs of rows, and their gradient.
//!
//! In the result, kernels (b) are contiguous; in the operand, the dimensions (c) of a kernel are.
//! The operand is transposed first, so the innermost loops run along the kernels of one row and
//! vectorize.

use super::buffer::Buffer;
use super::isa::multiversion;
use super::parallel::par_chunks_mut;

/// `out[i, j, b] = Σ_c |m[i, b, c] − m[j, b, c]|`.
pub(crate) fn pairwise_l1(m: &[f32], out: &mut [f32], [n, b, c]: [usize; 3]) {
    if c == 0 {
        return out.fill(0.0);
    }
    let transposed = transpose_last(m, [n, b, c]);
    par_chunks_mut(out, (n * b).max(1), |i, out| distances(&transposed, out, i, [b, c]));
}

/// `out[i, b, c] = Σ_j (g[i, j, b] + g[j, i, b]) · sign(m[i, b, c] − m[j, b, c])`.
pub(crate) fn pairwise_l1_grad(m: &[f32], g: &[f32], out: &mut [f32], [n, b, c]: [usize; 3]) {
    let transposed = transpose_last(m, [n, b, c]);
    par_chunks_mut(out, (b * c).max(1), |i, out| {
        let mut sums = vec![0.0; b * c];
        signs(&transposed, g, &mut sums, i, [n, b, c]);
        for (at, slot) in out.iter_mut().enumerate() {
            *slot = sums[at % c * b + at / c];
        }
    });
}

/// `[n, b, c]` as `[n, c, b]`.
fn transpose_last(m: &[f32], [n, b, c]: [usize; 3]) -> Buffer {
    let mut transposed = Buffer::uninit(n * b * c);
    par_chunks_mut(&mut transposed, (b * c).max(1), |i, out| {
        let row = &m[i * b * c..(i + 1) * b * c];
        for (at, slot) in out.iter_mut().enumerate() {
            *slot = row[at % b * c + at / b];
        }
    });
    transposed
}

multiversion! {
    /// The distances of row `i` to all rows.
    fn distances(transposed: &[f32], out: &mut [f32], i: usize, sizes: [usize; 2]) {
        let [b, c] = sizes;
        let own = &transposed[i * b * c..(i + 1) * b * c];
        for (row, out) in transposed.chunks_exact(b * c).zip(out.chunks_exact_mut(b)) {
            out.fill(0.0);
            for (own, row) in own.chunks_exact(b).zip(row.chunks_exact(b)) {
                for ((slot, &p), &q) in out.iter_mut().zip(own).zip(row) {
                    *slot += (p - q).abs();
                }
            }
        }
    }
}

multiversion! {
    /// The gradient of row `i`, `[c, b]`, added to `sums`.
    fn signs(transposed: &[f32], g: &[f32], sums: &mut [f32], i: usize, sizes: [usize; 3]) {
        let [n, b, c] = sizes;
        let own = &transposed[i * b * c..(i + 1) * b * c];
        for (j, row) in transposed.chunks_exact(b * c).enumerate() {
            let (there, back) = (&g[(i * n + j) * b..][..b], &g[(j * n + i) * b..][..b]);
            let operands = own.chunks_exact(b).zip(row.chunks_exact(b));
            for (sums, (own, row)) in sums.chunks_exact_mut(b).zip(operands) {
                for k in 0..b {
                    let d = own[k] - row[k];
                    sums[k] += (there[k] + back[k]) * (f32::from(d > 0.0) - f32::from(d < 0.0));
                }
            }
        }
    }
}
