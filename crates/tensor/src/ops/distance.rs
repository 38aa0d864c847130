//! Distances between the rows of a batch.

use crate::autograd::{Save, record};
use crate::cpu::{Buffer, distance as kernel};
use crate::{Shape, Tensor};
use smallvec::smallvec;

impl Tensor {
    /// L1 distances between the rows of each kernel: from `[N, B, C]`, `out[i, j, b] = Σ_c |M[i, b, c] − M[j, b, c]|`, `[N, N, B]` (minibatch
    /// discrimination, Salimans et al. 2016). By broadcasting it would need an `[N, N, B, C]` temporary.
    ///
    /// # Panics
    /// When the rank is not 3.
    #[track_caller]
    pub fn pairwise_l1(&self) -> Tensor {
        let s = *self.shape();
        assert_eq!(s.rank(), 3, "pairwise_l1: shape {s:?} is not [N, B, C]");
        let mut out = Buffer::uninit(s[0] * s[0] * s[1]);
        kernel::pairwise_l1(self.data(), &mut out, [s[0], s[1], s[2]]);
        let out = Tensor::from_buffer(out, Shape::from([s[0], s[0], s[1]]));
        record(
            out,
            "pairwise_l1",
            &[self],
            |_| smallvec![Save::input(self)],
            |saved, g| smallvec![Some(g.pairwise_l1_grad(&saved.get(0).detach()))],
        )
    }

    /// `dM[i, b, c] = Σ_j (g[i, j, b] + g[j, i, b]) · sign(M[i, b, c] − M[j, b, c])`; linear in g, and constant in M almost everywhere.
    fn pairwise_l1_grad(&self, m: &Tensor) -> Tensor {
        let s = *m.shape();
        let (n, b, c) = (s[0], s[1], s[2]);
        let mut out = Buffer::uninit(s.len());
        kernel::pairwise_l1_grad(m.data(), self.data(), &mut out, [n, b, c]);
        let out = Tensor::from_buffer(out, s);
        record(
            out,
            "pairwise_l1_grad",
            &[self],
            |_| smallvec![Save::input(m)],
            move |saved, v| {
                // The adjoint: dg[i, j, b] = Σ_c (v[i, b, c] − v[j, b, c]) · sign(M[i, b, c] − M[j, b, c]).
                let difference = |t: &Tensor| t.reshape([n, 1, b, c]).sub(&t.reshape([1, n, b, c]));
                let d = difference(saved.get(0));
                let sign = d.div(&d.abs().maximum(&Tensor::scalar(f32::MIN_POSITIVE)));
                smallvec![Some(difference(v).mul(&sign).sum(&[3], false))]
            },
        )
    }
}
