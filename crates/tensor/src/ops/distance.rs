//! Distances between the rows of a batch.

use super::elementwise::unary;
use super::kernel;
use crate::cpu::distance as cpu;
use crate::descriptors::Unary;
use crate::gpu::kernels::distance as gpu;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::tensor::autograd::{SavedTensor, record};
use smallvec::smallvec;

impl Tensor {
    /// L1 distances between the rows of each kernel: from `[N, B, C]`,
    /// `out[i, j, b] = Σ_c |M[i, b, c] − M[j, b, c]|`, `[N, N, B]` (minibatch discrimination,
    /// Salimans et al. 2016). By broadcasting it would need an `[N, N, B, C]` temporary.
    ///
    /// # Panics
    /// Panics unless the rank is 3.
    #[track_caller]
    pub fn pairwise_l1(&self) -> Tensor {
        let s = *self.shape();
        assert_eq!(s.rank(), 3, "pairwise_l1: shape {s:?} is not [N, B, C]");
        let (m, sizes, shape) = (self, [s[0], s[1], s[2]], Shape::from([s[0], s[0], s[1]]));
        let out = kernel!("pairwise_l1", shape; m;
            cpu |out| cpu::pairwise_l1(m, out, sizes),
            gpu gpu::pairwise_l1(m, sizes)
        );
        record(
            out,
            "pairwise_l1",
            &[self],
            |_| smallvec![SavedTensor::input(self)],
            |ctx, g| smallvec![Some(g.pairwise_l1_grad(&ctx.saved(0).detach()))],
        )
    }

    /// `dM[i, b, c] = Σ_j (g[i, j, b] + g[j, i, b]) · sign(M[i, b, c] − M[j, b, c])`; linear in
    /// g, and constant in M almost everywhere.
    fn pairwise_l1_grad(&self, m: &Tensor) -> Tensor {
        let s = *m.shape();
        let (n, b, c) = (s[0], s[1], s[2]);
        let g = self;
        let out = kernel!("pairwise_l1_grad", s; m, g;
            cpu |out| cpu::pairwise_l1_grad(m, g, out, [n, b, c]),
            gpu gpu::pairwise_l1_grad(m, g, [n, b, c])
        );
        record(
            out,
            "pairwise_l1_grad",
            &[self],
            |_| smallvec![SavedTensor::input(m)],
            move |ctx, v| {
                // The adjoint: dg[i, j, b] = Σ_c (v[i, b, c] − v[j, b, c]) · sign(M[i, b, c]
                // − M[j, b, c]).
                let difference = |t: &Tensor| t.reshape([n, 1, b, c]).sub(&t.reshape([1, n, b, c]));
                let sign = unary(&difference(ctx.saved(0)), Unary::Sign);
                smallvec![Some(difference(v).mul(&sign).sum(&[3], false))]
            },
        )
    }
}
