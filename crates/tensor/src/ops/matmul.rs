//! Matrix products.

use super::kernel;
use crate::cpu::gemm as cpu;
use crate::gpu::kernels::gemm as gpu;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::tensor::autograd::record_bilinear;

/// Rows and columns of `t`'s last two axes after the optional transposition.
fn sides(t: &Tensor, trans: bool) -> (usize, usize) {
    let (r, c) = (t.shape()[t.shape().rank() - 2], t.shape()[t.shape().rank() - 1]);
    if trans { (c, r) } else { (r, c) }
}

impl Tensor {
    /// op(a) · op(b), where `op` transposes the last two axes if the flag is set:
    /// `[m, k] · [k, n]`, or a batch `[b, m, k] · [b, k, n]` of equal length on both sides.
    ///
    /// # Panics
    /// Panics if the ranks are not both 2 or both 3, or inner sides or batches differ.
    #[track_caller]
    pub fn matmul(&self, other: &Tensor, trans_a: bool, trans_b: bool) -> Tensor {
        let (sa, sb) = (*self.shape(), *other.shape());
        let rank = sa.rank();
        assert!(
            rank == sb.rank() && (rank == 2 || rank == 3),
            "matmul: shapes {sa:?} and {sb:?} must both have rank 2 or 3"
        );
        let ((m, k), (k2, n)) = (sides(self, trans_a), sides(other, trans_b));
        assert!(
            k == k2 && (rank == 2 || sa[0] == sb[0]),
            "matmul: {sa:?} (transposed: {trans_a}) by {sb:?} (transposed: {trans_b})"
        );
        let batch = if rank == 3 { sa[0] } else { 1 };
        let shape = if rank == 3 { Shape::from([batch, m, n]) } else { Shape::from([m, n]) };
        let (x, y) = (self, other);
        let out = if shape.is_empty() || k == 0 {
            Tensor::full_on(&x.device(), shape, 0.0)
        } else {
            kernel!("matmul", shape; x, y;
                cpu |out| for b in 0..batch {
                    let (x, y) = (&x[b * m * k..(b + 1) * m * k], &y[b * k * n..(b + 1) * k * n]);
                    let out = &mut out[b * m * n..(b + 1) * m * n];
                    cpu::matmul(x, y, out, [m, k, n], trans_a, trans_b);
                },
                gpu gpu::matmul(x, y, batch, [m, k, n], trans_a, trans_b)
            )
        };
        record_bilinear(
            out,
            "matmul",
            [self, other],
            move |g, b| {
                if trans_a { b.matmul(g, trans_b, true) } else { g.matmul(b, false, !trans_b) }
            },
            move |g, a| {
                if trans_b { g.matmul(a, true, trans_a) } else { a.matmul(g, !trans_a, false) }
            },
        )
    }
}
