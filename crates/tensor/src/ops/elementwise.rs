//! Elementwise operations, with NumPy's broadcasting for pairs.

use crate::autograd::{Save, record};
use crate::cpu::{Buffer, elementwise as kernel, math};
use crate::{Shape, Tensor};
use smallvec::smallvec;

fn map(x: &Tensor, f: impl Fn(f32) -> f32 + Sync + Send) -> Tensor {
    let mut out = Buffer::uninit(x.len());
    kernel::unary(x.data(), &mut out, f);
    Tensor::from_buffer(out, *x.shape())
}

#[track_caller]
fn zip(name: &str, a: &Tensor, b: &Tensor, f: impl Fn(f32, f32) -> f32 + Sync + Send) -> Tensor {
    let Some(shape) = a.shape().broadcast(b.shape()) else {
        panic!("{name}: shapes {:?} and {:?} do not broadcast", a.shape(), b.shape());
    };
    let mut out = Buffer::uninit(shape.len());
    kernel::binary(&shape, (a.data(), a.shape()), (b.data(), b.shape()), &mut out, f);
    Tensor::from_buffer(out, shape)
}

/// A 0/1 tensor that no gradient flows through.
#[track_caller]
fn mask(name: &str, a: &Tensor, b: &Tensor, f: impl Fn(f32, f32) -> bool + Sync + Send) -> Tensor {
    zip(name, a, b, move |a, b| if f(a, b) { 1.0 } else { 0.0 })
}

/// One line per function: value, what is saved (`x` the input, `y` the output), derivative times `g` as a tensor expression.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),*) = $f:expr, save $which:ident, |$s:ident, $g:ident| $grad:expr;)*) => {
        impl Tensor {
            $($(#[$doc])*
            pub fn $name(&self $(, $arg: f32)*) -> Tensor {
                let out = map(self, $f);
                record(out, stringify!($name), &[self], |_out| smallvec![unary!(@save $which, self, _out)], move |saved, $g| {
                    let $s = saved.get(0);
                    smallvec![Some($grad)]
                })
            })*
        }
    };
    (@save x, $x:expr, $y:expr) => { Save::input($x) };
    (@save nothing, $x:expr, $y:expr) => { Save::Nothing };
    (@save y, $x:expr, $y:expr) => { Save::output($y) };
}

unary! {
    /// −x.
    neg() = |x| -x, save nothing, |_x, g| g.neg();
    /// eˣ.
    exp() = math::exp, save y, |y, g| g.mul(y);
    /// Natural logarithm.
    log() = math::ln, save x, |x, g| g.div(x);
    /// √x.
    sqrt() = f32::sqrt, save y, |y, g| g.div(y).scale(0.5);
    /// 1/x.
    recip() = |x| 1.0 / x, save y, |y, g| g.mul(&y.square()).neg();
    /// x².
    square() = |x| x * x, save x, |x, g| g.mul(x).scale(2.0);
    /// xᵖ, for x > 0.
    powf(p) = move |x: f32| x.powf(p), save x, |x, g| g.mul(&x.powf(p - 1.0)).scale(p);
    /// |x|; derivative 0 at 0.
    abs() = f32::abs, save x, |x, g| g.mul(&map(x, |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 }));
    /// Hyperbolic tangent.
    tanh() = math::tanh, save y, |y, g| g.sub(&g.mul(&y.square()));
    /// 1 / (1 + e⁻ˣ).
    sigmoid() = math::sigmoid, save y, |y, g| g.mul(&y.sub(&y.square()));
    /// ln(1 + eˣ).
    softplus() = math::softplus, save x, |x, g| g.mul(&x.sigmoid());
    /// max(x, 0); derivative 0 at 0, and NaN stays NaN.
    relu() = |x| if x < 0.0 { 0.0 } else { x }, save y, |y, g| g.mul(&map(y, |y| if y > 0.0 { 1.0 } else { 0.0 }));
    /// x for x > 0, else slope · x (Maas et al. 2013).
    leaky_relu(slope) = move |x| if x > 0.0 { x } else { slope * x }, save x, |x, g| g.mul(&map(x, move |x| if x > 0.0 { 1.0 } else { slope }));
    /// x within [low, high], else the bound; derivative 0 outside.
    clamp(low, high) = move |x| if x < low { low } else if x > high { high } else { x }, save x, |x, g|
        g.mul(&map(x, move |x| if x < low || x > high { 0.0 } else { 1.0 }));
    /// factor · x.
    scale(factor) = move |x| factor * x, save nothing, |_x, g| g.scale(factor);
    /// x + term.
    add_scalar(term) = move |x| x + term, save nothing, |_x, g| g.clone();
}

impl Tensor {
    /// a + b.
    ///
    /// # Panics
    /// As all pairs here: when the shapes do not broadcast.
    #[track_caller]
    pub fn add(&self, other: &Tensor) -> Tensor {
        let (a, b) = (*self.shape(), *other.shape());
        record(
            zip("add", self, other, |a, b| a + b),
            "add",
            &[self, other],
            |_| smallvec![],
            move |saved, g| smallvec![saved.when(0, || g.sum_to(&a)), saved.when(1, || g.sum_to(&b))],
        )
    }

    /// a − b.
    #[track_caller]
    pub fn sub(&self, other: &Tensor) -> Tensor {
        let (a, b) = (*self.shape(), *other.shape());
        record(
            zip("sub", self, other, |a, b| a - b),
            "sub",
            &[self, other],
            |_| smallvec![],
            move |saved, g| smallvec![saved.when(0, || g.sum_to(&a)), saved.when(1, || g.neg().sum_to(&b))],
        )
    }

    /// a · b.
    #[track_caller]
    pub fn mul(&self, other: &Tensor) -> Tensor {
        let out = zip("mul", self, other, |a, b| a * b);
        record(
            out,
            "mul",
            &[self, other],
            |_| smallvec![Save::input(self), Save::input(other)],
            |saved, g| {
                let (a, b) = (saved.get(0), saved.get(1));
                smallvec![saved.when(0, || g.mul(b).sum_to(a.shape())), saved.when(1, || g.mul(a).sum_to(b.shape()))]
            },
        )
    }

    /// a / b.
    #[track_caller]
    pub fn div(&self, other: &Tensor) -> Tensor {
        let out = zip("div", self, other, |a, b| a / b);
        record(
            out,
            "div",
            &[self, other],
            |_| smallvec![Save::input(self), Save::input(other)],
            |saved, g| {
                let (a, b) = (saved.get(0), saved.get(1));
                smallvec![
                    saved.when(0, || g.div(b).sum_to(a.shape())),
                    saved.when(1, || g.mul(a).div(&b.square()).neg().sum_to(b.shape())),
                ]
            },
        )
    }

    /// The larger of a and b; where equal, the gradient goes to a.
    #[track_caller]
    pub fn maximum(&self, other: &Tensor) -> Tensor {
        let out = zip("maximum", self, other, |a, b| if a >= b || a.is_nan() { a } else { b });
        self.select(other, out, "maximum", |a, b| a >= b)
    }

    /// The smaller of a and b; where equal, the gradient goes to a.
    #[track_caller]
    pub fn minimum(&self, other: &Tensor) -> Tensor {
        let out = zip("minimum", self, other, |a, b| if a <= b || a.is_nan() { a } else { b });
        self.select(other, out, "minimum", |a, b| a <= b)
    }

    #[track_caller]
    fn select(&self, other: &Tensor, out: Tensor, name: &'static str, first: fn(f32, f32) -> bool) -> Tensor {
        record(
            out,
            name,
            &[self, other],
            |_| smallvec![Save::input(self), Save::input(other)],
            move |saved, g| {
                let (a, b) = (saved.get(0), saved.get(1));
                smallvec![
                    saved.when(0, || g.mul(&mask(name, a, b, first)).sum_to(a.shape())),
                    saved.when(1, || g.mul(&mask(name, a, b, move |a, b| !first(a, b))).sum_to(b.shape())),
                ]
            },
        )
    }

    /// Repeats axes of length 1 (and missing leading axes) to `shape`.
    ///
    /// # Panics
    /// When this shape does not broadcast to exactly `shape`.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let from = *self.shape();
        assert_eq!(from.broadcast(&shape), Some(shape), "broadcast_to: {from:?} does not broadcast to {shape:?}");
        if from == shape {
            return self.clone();
        }
        let mut out = Buffer::uninit(shape.len());
        let zero = Tensor::scalar(0.0);
        kernel::binary(&shape, (self.data(), &from), (zero.data(), zero.shape()), &mut out, |a, _| a);
        record(
            Tensor::from_buffer(out, shape),
            "broadcast_to",
            &[self],
            |_| smallvec![],
            move |_, g| smallvec![Some(g.sum_to(&from))],
        )
    }

    /// The adjoint of [`broadcast_to`](Self::broadcast_to): sums the repeated axes back.
    #[track_caller]
    pub(crate) fn sum_to(&self, shape: &Shape) -> Tensor {
        if self.shape() == shape {
            return self.clone();
        }
        let lead = self.shape().rank() - shape.rank();
        let axes: Vec<usize> =
            (0..self.shape().rank()).filter(|&i| i < lead || (shape[i - lead] == 1 && self.shape()[i] != 1)).collect();
        self.sum(&axes, true).reshape(*shape)
    }
}
