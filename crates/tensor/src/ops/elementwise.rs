//! Elementwise operations, with NumPy's broadcasting for pairs.

use super::function::{Binary, Unary};
use crate::autograd::{SavedTensor, record};
use crate::cpu::{Buffer, elementwise as cpu};
use crate::gpu::kernels::elementwise as gpu;
use crate::tensor::on_device;
use crate::{Shape, Tensor};
use smallvec::smallvec;

/// `f` of each number, outside the graph.
pub(super) fn unary(x: &Tensor, f: Unary) -> Tensor {
    let shape = *x.shape();
    on_device!("map"; x;
        cpu => {
            let mut out = Buffer::uninit(x.len());
            cpu::unary(x, &mut out, f);
            Tensor::from_buffer(out, shape)
        },
        gpu => Tensor::from_gpu_buffer(gpu::unary(x, f), shape)
    )
}

/// `f` of each pair, broadcast, outside the graph.
#[track_caller]
pub(super) fn binary(name: &str, a: &Tensor, b: &Tensor, f: Binary) -> Tensor {
    let Some(shape) = a.shape().broadcast(b.shape()) else {
        panic!("{name}: shapes {:?} and {:?} do not broadcast", a.shape(), b.shape());
    };
    let (sa, sb) = (*a.shape(), *b.shape());
    on_device!(name; a, b;
        cpu => {
            let mut out = Buffer::uninit(shape.len());
            cpu::binary(&shape, (a, &sa), (b, &sb), &mut out, f);
            Tensor::from_buffer(out, shape)
        },
        gpu => Tensor::from_gpu_buffer(gpu::binary(&shape, (a, &sa), (b, &sb), f), shape)
    )
}

/// One line per function: value, what is saved (`x` the input, `y` the output), derivative times `g` as a tensor expression.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),*) = $f:expr, save $which:ident, |$s:ident, $g:ident| $grad:expr;)*) => {
        impl Tensor {
            $($(#[$doc])*
            pub fn $name(&self $(, $arg: f32)*) -> Tensor {
                let out = unary(self, $f);
                record(out, stringify!($name), &[self], |_out| smallvec![unary!(@save $which, self, _out)], move |saved, $g| {
                    let $s = saved.get(0);
                    smallvec![Some($grad)]
                })
            })*
        }
    };
    (@save x, $x:expr, $y:expr) => { SavedTensor::input($x) };
    (@save nothing, $x:expr, $y:expr) => { SavedTensor::Nothing };
    (@save y, $x:expr, $y:expr) => { SavedTensor::output($y) };
}

unary! {
    /// −x.
    neg() = Unary::Neg, save nothing, |_x, g| g.neg();
    /// eˣ.
    exp() = Unary::Exp, save y, |y, g| g.mul(y);
    /// Natural logarithm.
    log() = Unary::Log, save x, |x, g| g.div(x);
    /// √x.
    sqrt() = Unary::Sqrt, save y, |y, g| g.div(y).scale(0.5);
    /// 1/x.
    recip() = Unary::Recip, save y, |y, g| g.mul(&y.square()).neg();
    /// x².
    square() = Unary::Square, save x, |x, g| g.mul(x).scale(2.0);
    /// xᵖ, for x > 0.
    powf(p) = Unary::Powf(p), save x, |x, g| g.mul(&x.powf(p - 1.0)).scale(p);
    /// |x|; derivative 0 at 0.
    abs() = Unary::Abs, save x, |x, g| g.mul(&unary(x, Unary::Sign));
    /// Hyperbolic tangent.
    tanh() = Unary::Tanh, save y, |y, g| g.sub(&g.mul(&y.square()));
    /// 1 / (1 + e⁻ˣ).
    sigmoid() = Unary::Sigmoid, save y, |y, g| g.mul(&y.sub(&y.square()));
    /// ln(1 + eˣ).
    softplus() = Unary::Softplus, save x, |x, g| g.mul(&x.sigmoid());
    /// max(x, 0); derivative 0 at 0, and NaN stays NaN.
    relu() = Unary::Relu, save y, |y, g| g.leaky_relu_backward(y, 0.0);
    /// x for x > 0, else slope · x (Maas et al. 2013).
    leaky_relu(slope) = Unary::LeakyRelu(slope), save x, |x, g| g.leaky_relu_backward(x, slope);
    /// [`leaky_relu`](Self::leaky_relu) whose backward pass is not its derivative but that of guided backpropagation (Springenberg et al. 2015;
    /// for the leaky form Radford et al. 2016, section 6.2): a gradient passes where it is positive and x was, and nowhere else.
    guided_leaky_relu(slope) = Unary::LeakyRelu(slope), save x, |x, g| g.relu().leaky_relu_backward(x, 0.0);
    /// x within [low, high], else the bound; derivative 0 outside.
    clamp(low, high) = Unary::Clamp(low, high), save x, |x, g| g.mul(&unary(x, Unary::InRange(low, high)));
    /// factor · x.
    scale(factor) = Unary::Scale(factor), save nothing, |_x, g| g.scale(factor);
    /// x + term.
    add_scalar(term) = Unary::AddScalar(term), save nothing, |_x, g| g.clone();
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
            binary("add", self, other, Binary::Add),
            "add",
            &[self, other],
            |_| smallvec![],
            move |saved, g| {
                smallvec![saved.when(0, || g.sum_to(&a)), saved.when(1, || g.sum_to(&b))]
            },
        )
    }

    /// a − b.
    #[track_caller]
    pub fn sub(&self, other: &Tensor) -> Tensor {
        let (a, b) = (*self.shape(), *other.shape());
        record(
            binary("sub", self, other, Binary::Sub),
            "sub",
            &[self, other],
            |_| smallvec![],
            move |saved, g| {
                smallvec![saved.when(0, || g.sum_to(&a)), saved.when(1, || g.neg().sum_to(&b))]
            },
        )
    }

    /// a · b.
    #[track_caller]
    pub fn mul(&self, other: &Tensor) -> Tensor {
        let out = binary("mul", self, other, Binary::Mul);
        record(
            out,
            "mul",
            &[self, other],
            |_| smallvec![SavedTensor::input(self), SavedTensor::input(other)],
            |saved, g| {
                let (a, b) = (saved.get(0), saved.get(1));
                smallvec![
                    saved.when(0, || g.mul(b).sum_to(a.shape())),
                    saved.when(1, || g.mul(a).sum_to(b.shape()))
                ]
            },
        )
    }

    /// a / b.
    #[track_caller]
    pub fn div(&self, other: &Tensor) -> Tensor {
        let out = binary("div", self, other, Binary::Div);
        record(
            out,
            "div",
            &[self, other],
            |_| smallvec![SavedTensor::input(self), SavedTensor::input(other)],
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
        self.select(other, "maximum", Binary::Maximum, Binary::Ge)
    }

    /// The smaller of a and b; where equal, the gradient goes to a.
    #[track_caller]
    pub fn minimum(&self, other: &Tensor) -> Tensor {
        self.select(other, "minimum", Binary::Minimum, Binary::Le)
    }

    #[track_caller]
    fn select(&self, other: &Tensor, name: &'static str, f: Binary, first: Binary) -> Tensor {
        record(
            binary(name, self, other, f),
            name,
            &[self, other],
            |_| smallvec![SavedTensor::input(self), SavedTensor::input(other)],
            move |saved, g| {
                let (a, b) = (saved.get(0), saved.get(1));
                // 0 or 1; no gradient flows through it.
                let mask = binary(name, a, b, first);
                smallvec![
                    saved.when(0, || g.mul(&mask).sum_to(a.shape())),
                    saved.when(1, || g.mul(&mask.neg().add_scalar(1.0)).sum_to(b.shape())),
                ]
            },
        )
    }

    /// This gradient as a leaky rectifier of `x` passes it on: g where x > 0, else slope · g. Piecewise constant in x.
    #[track_caller]
    pub(crate) fn leaky_relu_backward(&self, x: &Tensor, slope: f32) -> Tensor {
        let out = binary("leaky_relu_backward", self, x, Binary::LeakyReluGrad(slope));
        record(
            out,
            "leaky_relu_backward",
            &[self],
            |_| smallvec![SavedTensor::Input(x.detach())],
            move |saved, g| smallvec![Some(g.leaky_relu_backward(saved.get(0), slope))],
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
        assert_eq!(
            from.broadcast(&shape),
            Some(shape),
            "broadcast_to: {from:?} does not broadcast to {shape:?}"
        );
        if from == shape {
            return self.clone();
        }
        // The second operand only brings the shape.
        let (x, unit) = (self, Shape::new(&[]));
        let out = on_device!("broadcast_to"; x;
            cpu => {
                let mut out = Buffer::uninit(shape.len());
                cpu::binary(&shape, (x, &from), (&[0.0], &unit), &mut out, Binary::First);
                Tensor::from_buffer(out, shape)
            },
            gpu => Tensor::from_gpu_buffer(gpu::broadcast(x, &from, &shape), shape)
        );
        record(
            out,
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
        let axes: Vec<usize> = (0..self.shape().rank())
            .filter(|&i| i < lead || (shape[i - lead] == 1 && self.shape()[i] != 1))
            .collect();
        self.sum(&axes, true).reshape(*shape)
    }
}
