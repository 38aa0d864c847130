//! Elementwise operations, with NumPy's broadcasting for pairs.

use super::kernel;
use crate::cpu::elementwise as cpu;
use crate::descriptors::{Binary, Unary, unary_table};
use crate::gpu::kernels::elementwise as gpu;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::tensor::autograd::{SavedTensor, record, record_unary};
use smallvec::smallvec;

/// `f` of each element, outside the graph.
pub(super) fn unary(x: &Tensor, f: Unary) -> Tensor {
    kernel!("unary", *x.shape(); x; cpu |out| cpu::unary(x, out, f), gpu gpu::unary(x, f))
}

/// `f` of each pair, broadcast, outside the graph.
#[track_caller]
pub(super) fn binary(name: &str, a: &Tensor, b: &Tensor, f: Binary) -> Tensor {
    let Some(shape) = a.shape().broadcast(b.shape()) else {
        panic!("{name}: shapes {:?} and {:?} do not broadcast", a.shape(), b.shape());
    };
    let (sa, sb) = (*a.shape(), *b.shape());
    kernel!(name, shape; a, b;
        cpu |out| cpu::binary(&shape, (a, &sa), (b, &sb), out, f),
        gpu gpu::binary(&shape, (a, &sa), (b, &sb), f)
    )
}

/// The values of x at which tests can check an operation of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// All, and the operation is linear.
    Linear,
    /// All.
    Smooth,
    /// x > 0.
    Positive,
    /// All but the points without a derivative.
    Kinked,
}

/// An operation of the table of functions of one element, for the tests that go through all of
/// them.
#[derive(Clone, Copy, Debug)]
pub struct UnaryOp {
    /// The name of the method.
    pub name: &'static str,
    /// The names of its arguments.
    pub arguments: &'static [&'static str],
    /// Values of the arguments to test it with.
    pub samples: &'static [&'static [f32]],
    /// The values of x to test it with.
    pub domain: Domain,
    /// Calls the method.
    pub apply: fn(&Tensor, &[f32]) -> Tensor,
}

macro_rules! unary_methods {
    (
        methods {$($(#[$doc:meta])* $name:ident $(($($arg:ident),+))? = $variant:ident {
            test: $domain:ident $samples:expr,
            cpu: |$x:ident| $cpu:expr,
            wgsl: $wgsl:literal,
            save: $save:ident, grad: |$($p:ident),+| $grad:expr,
        })+}
        internal $internal:tt
    ) => {
        impl Tensor {
            $(
                $(#[$doc])*
                pub fn $name(&self $($(, $arg: f32)+)?) -> Tensor {
                    let out = unary(self, Unary::$variant $({ $($arg),+ })?);
                    unary_methods!(@record $save, out, stringify!($name), self, |$($p),+| $grad)
                }
            )+
        }

        /// Every operation of the table.
        pub const UNARY_OPS: &[UnaryOp] = &[$(
            UnaryOp {
                name: stringify!($name),
                arguments: &[$($(stringify!($arg)),+)?],
                samples: &$samples,
                domain: unary_methods!(@domain $domain),
                apply: |x, _arguments| {
                    $(let [$($arg),+] = _arguments else {
                        panic!("{}: {_arguments:?}", stringify!($name))
                    };)?
                    x.$name($($(*$arg),+)?)
                },
            },
        )+];
    };
    (@record nothing, $out:expr, $name:expr, $x:expr, |$g:ident| $grad:expr) => {
        record($out, $name, &[$x], |_| smallvec![], move |_, $g| smallvec![Some($grad)])
    };
    (@record x, $out:expr, $name:expr, $x:expr, |$s:ident, $g:ident| $grad:expr) => {
        unary_methods!(@saving |_| SavedTensor::input($x), $out, $name, $x, |$s, $g| $grad)
    };
    (@record y, $out:expr, $name:expr, $x:expr, |$s:ident, $g:ident| $grad:expr) => {
        unary_methods!(@saving |out| SavedTensor::output(out), $out, $name, $x, |$s, $g| $grad)
    };
    (
        @saving |$of:pat_param| $saved:expr,
        $out:expr, $name:expr, $x:expr, |$s:ident, $g:ident| $grad:expr
    ) => {
        record($out, $name, &[$x], |$of| smallvec![$saved], move |ctx, $g| {
            let $s = ctx.saved(0);
            smallvec![Some($grad)]
        })
    };
    (@domain linear) => { Domain::Linear };
    (@domain smooth) => { Domain::Smooth };
    (@domain positive) => { Domain::Positive };
    (@domain kinked) => { Domain::Kinked };
}
unary_table!(unary_methods);

impl Tensor {
    /// [`leaky_relu`](Self::leaky_relu) whose backward pass is not its derivative but guided
    /// backpropagation (Springenberg et al. 2015; for the leaky form Radford et al. 2016, section
    /// 6.2): a gradient passes where both it and x are positive, and nowhere else.
    pub fn guided_leaky_relu(&self, slope: f32) -> Tensor {
        record(
            unary(self, Unary::LeakyRelu { slope }),
            "guided_leaky_relu",
            &[self],
            |_| smallvec![SavedTensor::input(self)],
            |ctx, g| smallvec![Some(g.relu().leaky_relu_backward(ctx.saved(0), 0.0))],
        )
    }

    /// a + b.
    ///
    /// # Panics
    /// Panics, as all operations on pairs, if the shapes do not broadcast.
    #[track_caller]
    pub fn add(&self, other: &Tensor) -> Tensor {
        let (a, b) = (*self.shape(), *other.shape());
        record(
            binary("add", self, other, Binary::Add),
            "add",
            &[self, other],
            |_| smallvec![],
            move |ctx, g| ctx.pair(|| g.sum_to(&a), || g.sum_to(&b)),
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
            move |ctx, g| ctx.pair(|| g.sum_to(&a), || g.neg().sum_to(&b)),
        )
    }

    /// a · b.
    #[track_caller]
    pub fn mul(&self, other: &Tensor) -> Tensor {
        record(
            binary("mul", self, other, Binary::Mul),
            "mul",
            &[self, other],
            |_| smallvec![SavedTensor::input(self), SavedTensor::input(other)],
            |ctx, g| {
                let (a, b) = (ctx.saved(0), ctx.saved(1));
                ctx.pair(|| g.mul(b).sum_to(a.shape()), || g.mul(a).sum_to(b.shape()))
            },
        )
    }

    /// a / b.
    #[track_caller]
    pub fn div(&self, other: &Tensor) -> Tensor {
        record(
            binary("div", self, other, Binary::Div),
            "div",
            &[self, other],
            |_| smallvec![SavedTensor::input(self), SavedTensor::input(other)],
            |ctx, g| {
                let (a, b) = (ctx.saved(0), ctx.saved(1));
                ctx.pair(
                    || g.div(b).sum_to(a.shape()),
                    || g.mul(a).div(&b.square()).neg().sum_to(b.shape()),
                )
            },
        )
    }

    /// The larger of a and b; where they are equal, the gradient goes to a.
    #[track_caller]
    pub fn maximum(&self, other: &Tensor) -> Tensor {
        self.select(other, "maximum", Binary::Maximum, Binary::Ge)
    }

    /// The smaller of a and b; where they are equal, the gradient goes to a.
    #[track_caller]
    pub fn minimum(&self, other: &Tensor) -> Tensor {
        self.select(other, "minimum", Binary::Minimum, Binary::Le)
    }

    #[track_caller]
    fn select(&self, other: &Tensor, name: &'static str, f: Binary, is_first: Binary) -> Tensor {
        record(
            binary(name, self, other, f),
            name,
            &[self, other],
            |_| smallvec![SavedTensor::input(self), SavedTensor::input(other)],
            move |ctx, g| {
                let (a, b) = (ctx.saved(0), ctx.saved(1));
                // 0 or 1; no gradient flows through it.
                let mask = binary(name, a, b, is_first);
                ctx.pair(
                    || g.mul(&mask).sum_to(a.shape()),
                    || g.mul(&mask.neg().add_scalar(1.0)).sum_to(b.shape()),
                )
            },
        )
    }

    /// The gradient of [`leaky_relu`](Self::leaky_relu) at `x` for this output gradient: g where x
    /// > 0, else slope · g. Piecewise constant in x, so no gradient flows to it.
    #[track_caller]
    pub(crate) fn leaky_relu_backward(&self, x: &Tensor, slope: f32) -> Tensor {
        record(
            binary("leaky_relu_backward", self, x, Binary::LeakyReluGrad { slope }),
            "leaky_relu_backward",
            &[self],
            |_| smallvec![SavedTensor::constant(x)],
            move |ctx, g| smallvec![Some(g.leaky_relu_backward(ctx.saved(0), slope))],
        )
    }

    /// Repeats axes of length 1 (and missing leading axes) to `shape`.
    ///
    /// # Panics
    /// Panics unless this shape broadcasts to exactly `shape`.
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
        // The second operand only gives the shape.
        let (x, unit) = (self, Shape::new(&[]));
        let out = kernel!("broadcast_to", shape; x;
            cpu |out| cpu::binary(&shape, (x, &from), (&[0.0], &unit), out, Binary::First),
            gpu gpu::broadcast(x, &from, &shape)
        );
        record_unary(out, "broadcast_to", self, move |g| g.sum_to(&from))
    }

    /// The adjoint of [`broadcast_to`](Self::broadcast_to): the sum over the repeated axes.
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
