//! L1 distances between all pairs of rows, and their gradient.

use super::par_chunks_mut;

/// `out[i, j, b] = Σ_c |m[i, b, c] − m[j, b, c]|`.
pub(crate) fn pairwise_l1(m: &[f32], out: &mut [f32], [n, b, c]: [usize; 3]) {
    par_chunks_mut(out, (n * b).max(1), |i, out| {
        for (at, slot) in out.iter_mut().enumerate() {
            let (j, k) = (at / b, at % b);
            let (p, q) = (&m[(i * b + k) * c..(i * b + k + 1) * c], &m[(j * b + k) * c..(j * b + k + 1) * c]);
            *slot = p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum();
        }
    });
}

/// `out[i, b, c] = Σ_j (g[i, j, b] + g[j, i, b]) · sign(m[i, b, c] − m[j, b, c])`.
pub(crate) fn pairwise_l1_grad(m: &[f32], g: &[f32], out: &mut [f32], [n, b, c]: [usize; 3]) {
    par_chunks_mut(out, (b * c).max(1), |i, out| {
        out.fill(0.0);
        for j in 0..n {
            for k in 0..b {
                let weight = g[(i * n + j) * b + k] + g[(j * n + i) * b + k];
                for l in 0..c {
                    let d = m[(i * b + k) * c + l] - m[(j * b + k) * c + l];
                    out[k * c + l] += weight * (f32::from(d > 0.0) - f32::from(d < 0.0));
                }
            }
        }
    });
}
