//! Sums, means, maxima and the softmax family.

use super::{kernel, pool};
use crate::cpu::parallel::{CHUNK, par_chunks_mut};
use crate::cpu::reduce as cpu;
use crate::descriptors::PoolParams;
use crate::gpu::kernels::{movement, reduce as gpu};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::tensor::autograd::{SavedTensor, record};
use smallvec::smallvec;

/// The lengths `[outer, reduced, inner]` of a shape before, in and after the axes `first..=last`.
fn outer_axis_inner(shape: &Shape, first: usize, last: usize) -> [usize; 3] {
    [
        shape[..first].iter().product(),
        shape[first..=last].iter().product(),
        shape[last + 1..].iter().product(),
    ]
}

/// `out[o, i] = factor · Σ_r x[o, r, i]`, outside the graph.
fn sum_axis(x: &Tensor, sizes: [usize; 3], shape: Shape, factor: f32) -> Tensor {
    kernel!("sum", shape; x;
        cpu |out| {
            cpu::sum(x, out, sizes);
            if factor != 1.0 {
                par_chunks_mut(out, CHUNK, |_, part| part.iter_mut().for_each(|v| *v *= factor));
            }
        },
        gpu if sizes[1] == 0 || shape.is_empty() {
            movement::full(x.gpu(), shape.len(), 0.0)
        } else {
            gpu::sum(x, sizes, factor)
        }
    )
}

/// Axis `axis` as one pooling window per column.
fn window(shape: &Shape, axis: usize) -> PoolParams {
    let [outer, reduced, inner] = outer_axis_inner(shape, axis, axis);
    PoolParams { input: [outer, reduced, 1, inner], kernel: [reduced, 1], stride: [reduced, 1] }
}

impl Tensor {
    #[track_caller]
    fn check_axis(&self, name: &str, axis: usize) {
        assert!(axis < self.shape().rank(), "{name}: axis {axis} of shape {:?}", self.shape());
    }

    /// The sum over `axes`, which keep length 1 if `keep` is set.
    ///
    /// # Panics
    /// Panics if an axis does not exist.
    #[track_caller]
    pub fn sum(&self, axes: &[usize], keep: bool) -> Tensor {
        axes.iter().for_each(|&a| self.check_axis("sum", a));
        self.scaled_sum(axes, keep, 1.0)
    }

    /// `factor` times the sum over `axes`.
    fn scaled_sum(&self, axes: &[usize], keep: bool, factor: f32) -> Tensor {
        let from = *self.shape();
        let kept = from.reduced(axes, true);
        let mut current = self.detach();
        // One pass per run of adjacent axes, the last run first; axes of length 1 cost nothing.
        let mut axis = from.rank();
        let mut scaled = factor == 1.0;
        while axis > 0 {
            axis -= 1;
            if !axes.contains(&axis) || from[axis] == 1 {
                continue;
            }
            let last = axis;
            while axis > 0 && axes.contains(&(axis - 1)) {
                axis -= 1;
            }
            let sizes = outer_axis_inner(current.shape(), axis, last);
            let shape = current.shape().reduced(&(axis..=last).collect::<Vec<_>>(), true);
            // The first pass scales; the others add scaled sums.
            current = sum_axis(&current, sizes, shape, if scaled { 1.0 } else { factor });
            scaled = true;
        }
        if !scaled {
            current = current.scale(factor);
        }
        let out = current.reshape(if keep { kept } else { from.reduced(axes, false) });
        record(
            out,
            "sum",
            &[self],
            |_| smallvec![],
            move |_, g| {
                let g = if factor == 1.0 { g.clone() } else { g.scale(factor) };
                smallvec![Some(g.reshape(kept).broadcast_to(from))]
            },
        )
    }

    /// The sum of all elements, as a scalar.
    pub fn sum_all(&self) -> Tensor {
        self.sum(&(0..self.shape().rank()).collect::<Vec<_>>(), false)
    }

    /// The mean over `axes`.
    #[track_caller]
    pub fn mean(&self, axes: &[usize], keep: bool) -> Tensor {
        axes.iter().for_each(|&a| self.check_axis("mean", a));
        let count: usize = (0..self.shape().rank())
            .filter(|a| axes.contains(a))
            .map(|a| self.shape()[a])
            .product();
        self.scaled_sum(axes, keep, 1.0 / count as f32)
    }

    /// The mean of all elements, as a scalar.
    pub fn mean_all(&self) -> Tensor {
        self.mean(&(0..self.shape().rank()).collect::<Vec<_>>(), false)
    }

    /// The largest element along `axis`; the gradient goes to the first of equals.
    ///
    /// # Panics
    /// Panics if the axis does not exist or is empty.
    #[track_caller]
    pub fn max(&self, axis: usize, keep: bool) -> Tensor {
        self.check_axis("max", axis);
        assert!(self.shape()[axis] > 0, "max: axis {axis} of shape {:?} is empty", self.shape());
        pool::max_pool(self, window(self.shape(), axis))
            .reshape(self.shape().reduced(&[axis], keep))
    }

    /// The index of the largest element along the last axis.
    ///
    /// # Panics
    /// Panics on a scalar, or if the last axis is empty.
    #[track_caller]
    pub fn argmax_last(&self) -> Vec<usize> {
        let axis = self
            .shape()
            .rank()
            .checked_sub(1)
            .unwrap_or_else(|| panic!("argmax_last: a scalar has no axis"));
        assert!(self.shape()[axis] > 0, "argmax_last: shape {:?}", self.shape());
        pool::argmax(self, window(self.shape(), axis))
            .to_words()
            .into_iter()
            .map(|i| i as usize)
            .collect()
    }

    /// ln Σ eˣ along `axis`, without overflow.
    #[track_caller]
    pub fn log_sum_exp(&self, axis: usize, keep: bool) -> Tensor {
        self.check_axis("log_sum_exp", axis);
        let top = self.detach().max(axis, true);
        let sum = self.sub(&top).exp().sum(&[axis], true).log().add(&top);
        sum.reshape(self.shape().reduced(&[axis], keep))
    }

    /// eˣ / Σ eˣ along `axis`.
    #[track_caller]
    pub fn softmax(&self, axis: usize) -> Tensor {
        self.check_axis("softmax", axis);
        let x = self.detach();
        let shifted = x.sub(&x.max(axis, true)).exp();
        let out = shifted.div(&shifted.sum(&[axis], true));
        record(
            out,
            "softmax",
            &[self],
            |out| smallvec![SavedTensor::output(out)],
            move |ctx, g| {
                let y = ctx.saved(0);
                let gy = g.mul(y);
                smallvec![Some(gy.sub(&y.mul(&gy.sum(&[axis], true))))]
            },
        )
    }

    /// x − ln Σ eˣ along `axis`.
    #[track_caller]
    pub fn log_softmax(&self, axis: usize) -> Tensor {
        self.check_axis("log_softmax", axis);
        // Not x − LSE(x): an LSE of 10⁴ is rounded to a thousandth.
        let shifted = self.sub(&self.detach().max(axis, true));
        shifted.sub(&shifted.exp().sum(&[axis], true).log())
    }
}
