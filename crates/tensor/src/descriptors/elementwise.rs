//! The elementwise operations: one table per arity drives everything that the crate knows of them.
//!
//! A row of [`unary_table`] becomes a variant of [`Unary`], a method of `Tensor` with its
//! derivative (`ops/elementwise.rs`), a CPU loop (`cpu/elementwise.rs`), a WGSL kernel
//! (`gpu/kernels/elementwise.rs`) and a case of every test (`op_table`). The derivative names
//! operations on tensors, which this module does not know: a row is only text until the module that
//! needs a part of it expands the table.

use crate::shape::Shape;

/// Expands `$callback!` with the functions of one element. A row is
///
/// ```text
/// /// The method's doc comment.
/// method(arguments) = Variant {
///     test: domain [sample arguments],  // `op_table::Domain` of x in the tests
///     cpu: |x| …,                       // f32 → f32, by `cpu/math.rs`
///     wgsl: "…",                        // of x, u and v (the arguments), by `shaders/math.wgsl`
///     save: which,                      // for the gradient: the input x, the result y, or nothing
///     grad: |saved, g| …,               // g times the derivative
/// }
/// ```
///
/// Rows under `internal` have no method: derivatives use them.
macro_rules! unary_table {
    ($callback:ident) => {
        $callback! {
            methods {
                /// −x.
                neg = Neg {
                    test: linear [&[]],
                    cpu: |x| -x,
                    wgsl: "-x",
                    save: nothing, grad: |g| g.neg(),
                }
                /// eˣ.
                exp = Exp {
                    test: smooth [&[]],
                    cpu: |x| math::exp(x),
                    wgsl: "exp_(x)",
                    save: y, grad: |y, g| g.mul(y),
                }
                /// Natural logarithm.
                log = Log {
                    test: positive [&[]],
                    cpu: |x| math::ln(x),
                    wgsl: "log_(x)",
                    save: x, grad: |x, g| g.div(x),
                }
                /// √x.
                sqrt = Sqrt {
                    test: positive [&[]],
                    cpu: |x| x.sqrt(),
                    wgsl: "sqrt(x)",
                    save: y, grad: |y, g| g.div(y).scale(0.5),
                }
                /// 1/x.
                recip = Recip {
                    test: positive [&[]],
                    cpu: |x| 1.0 / x,
                    wgsl: "1.0 / x",
                    save: y, grad: |y, g| g.mul(&y.square()).neg(),
                }
                /// x².
                square = Square {
                    test: smooth [&[]],
                    cpu: |x| x * x,
                    wgsl: "x * x",
                    save: x, grad: |x, g| g.mul(x).scale(2.0),
                }
                /// xᵖ, for x > 0.
                powf(p) = Powf {
                    test: positive [&[2.5], &[-0.5]],
                    cpu: |x| x.powf(p),
                    wgsl: "power_(x, u)",
                    save: x, grad: |x, g| g.mul(&x.powf(p - 1.0)).scale(p),
                }
                /// |x|; the derivative at 0 is 0.
                abs = Abs {
                    test: kinked [&[]],
                    cpu: |x| x.abs(),
                    wgsl: "abs(x)",
                    save: x, grad: |x, g| g.mul(&unary(x, Unary::Sign)),
                }
                /// Hyperbolic tangent.
                tanh = Tanh {
                    test: smooth [&[]],
                    cpu: |x| math::tanh(x),
                    wgsl: "tanh_(x)",
                    save: y, grad: |y, g| g.sub(&g.mul(&y.square())),
                }
                /// The logistic function 1 / (1 + e⁻ˣ).
                sigmoid = Sigmoid {
                    test: smooth [&[]],
                    cpu: |x| math::sigmoid(x),
                    wgsl: "sigmoid_(x)",
                    save: y, grad: |y, g| g.mul(&y.sub(&y.square())),
                }
                /// ln(1 + eˣ).
                softplus = Softplus {
                    test: smooth [&[]],
                    cpu: |x| math::softplus(x),
                    wgsl: "softplus_(x)",
                    save: x, grad: |x, g| g.mul(&x.sigmoid()),
                }
                /// max(x, 0); the derivative at 0 is 0, and NaN stays NaN.
                relu = Relu {
                    test: kinked [&[]],
                    cpu: |x| if x < 0.0 { 0.0 } else { x },
                    wgsl: "relu_(x)",
                    save: y, grad: |y, g| g.leaky_relu_backward(y, 0.0),
                }
                /// x for x > 0, else slope · x (Maas et al. 2013).
                leaky_relu(slope) = LeakyRelu {
                    test: kinked [&[0.2]],
                    cpu: |x| if x > 0.0 { x } else { slope * x },
                    wgsl: "leaky_(x, u)",
                    save: x, grad: |x, g| g.leaky_relu_backward(x, slope),
                }
                /// x within [low, high], else the nearer bound; the derivative outside is 0.
                clamp(low, high) = Clamp {
                    test: kinked [&[-0.49, 0.63]],
                    cpu: |x| if x < low { low } else if x > high { high } else { x },
                    wgsl: "clamp_(x, u, v)",
                    save: x, grad: |x, g| g.mul(&unary(x, Unary::InRange { low, high })),
                }
                /// factor · x.
                scale(factor) = Scale {
                    test: linear [&[-2.5]],
                    cpu: |x| factor * x,
                    wgsl: "u * x",
                    save: nothing, grad: |g| g.scale(factor),
                }
                /// x + term.
                add_scalar(term) = AddScalar {
                    test: smooth [&[2.0]],
                    cpu: |x| x + term,
                    wgsl: "x + u",
                    save: nothing, grad: |g| g.clone(),
                }
            }
            internal {
                /// −1, 0 or 1.
                Sign {
                    cpu: |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 },
                    wgsl: "sign_(x)",
                }
                /// 1 within the bounds, else 0: the derivative of `clamp`.
                InRange(low, high) {
                    cpu: |x| if x < low || x > high { 0.0 } else { 1.0 },
                    wgsl: "in_range_(x, u, v)",
                }
            }
        }
    };
}
pub(crate) use unary_table;

/// Expands `$callback!` with the functions of two elements. Their methods and derivatives are in
/// `ops/elementwise.rs` and `ops/loss.rs`: most have none, because only other operations use them.
macro_rules! binary_table {
    ($callback:ident) => {
        $callback! {
            /// a + b.
            Add { cpu: |a, b| a + b, wgsl: "x + y" }
            /// a − b.
            Sub { cpu: |a, b| a - b, wgsl: "x - y" }
            /// a · b.
            Mul { cpu: |a, b| a * b, wgsl: "x * y" }
            /// a / b.
            Div { cpu: |a, b| a / b, wgsl: "x / y" }
            /// The larger; NaN if either is.
            Maximum { cpu: |a, b| if a >= b || a.is_nan() { a } else { b }, wgsl: "maximum_(x, y)" }
            /// The smaller; NaN if either is.
            Minimum { cpu: |a, b| if a <= b || a.is_nan() { a } else { b }, wgsl: "minimum_(x, y)" }
            /// 1 where a ≥ b, else 0.
            Ge { cpu: |a, b| if a >= b { 1.0 } else { 0.0 }, wgsl: "select(0.0, 1.0, x >= y)" }
            /// 1 where a ≤ b, else 0.
            Le { cpu: |a, b| if a <= b { 1.0 } else { 0.0 }, wgsl: "select(0.0, 1.0, x <= y)" }
            /// a: for broadcasting it.
            First { cpu: |a, _b| a, wgsl: "x" }
            /// a where b > 0, else slope · a: the gradient a of a leaky rectifier of b.
            LeakyReluGrad(slope) {
                cpu: |a, b| if b > 0.0 { a } else { slope * a },
                wgsl: "x * leaky_slope_(y, u)"
            }
            /// The cross-entropy of a logit a and a target b.
            Bce {
                cpu: |a, b| math::softplus(-a) * b + math::softplus(a) * (1.0 - b),
                wgsl: "softplus_(-x) * y + softplus_(x) * (1.0 - y)"
            }
            /// Its derivative by a.
            BceGrad {
                cpu: |a, b| (1.0 - b) * math::sigmoid(a) - b * math::sigmoid(-a),
                wgsl: "(1.0 - y) * sigmoid_(x) - y * sigmoid_(-x)"
            }
        }
    };
}
pub(crate) use binary_table;

macro_rules! unary_enum {
    (
        methods {$($(#[$doc:meta])* $name:ident $(($($arg:ident),+))? = $variant:ident {
            test: $domain:ident $samples:expr,
            cpu: |$x:ident| $cpu:expr,
            wgsl: $wgsl:literal,
            save: $save:ident, grad: |$($p:ident),+| $grad:expr,
        })+}
        internal {$($(#[$more:meta])* $other:ident $(($($own:ident),+))? {
            cpu: |$y:ident| $kernel:expr,
            wgsl: $text:literal,
        })+}
    ) => {
        /// A function of one element, with its arguments.
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub(crate) enum Unary {
            $($(#[$doc])* $variant $({ $($arg: f32),+ })?,)+
            $($(#[$more])* $other $({ $($own: f32),+ })?,)+
        }

        impl Unary {
            /// The WGSL expressions of all functions, for making every kernel.
            pub(crate) const WGSL: &[&str] = &[$($wgsl,)+ $($text,)+];

            /// The function in WGSL, as an expression of x, u and v, and the values of u and v.
            pub(crate) fn wgsl(self) -> (&'static str, [f32; 2]) {
                match self {
                    $(Self::$variant $({ $($arg),+ })? => ($wgsl, constants([$($($arg),+)?])),)+
                    $(Self::$other $({ $($own),+ })? => ($text, constants([$($($own),+)?])),)+
                }
            }
        }
    };
}
unary_table!(unary_enum);

macro_rules! binary_enum {
    ($($(#[$doc:meta])* $variant:ident $(($arg:ident))? {
        cpu: |$a:ident, $b:ident| $cpu:expr, wgsl: $wgsl:literal
    })+) => {
        /// A function of two elements, with its argument.
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub(crate) enum Binary {
            $($(#[$doc])* $variant $({ $arg: f32 })?,)+
        }

        impl Binary {
            /// The WGSL expressions of all functions, for making every kernel.
            pub(crate) const WGSL: &[&str] = &[$($wgsl),+];

            /// The function in WGSL, as an expression of x, y and u, and the value of u.
            pub(crate) fn wgsl(self) -> (&'static str, f32) {
                match self {
                    $(Self::$variant $({ $arg })? => ($wgsl, constants([$($arg)?])[0]),)+
                }
            }
        }
    };
}
binary_table!(binary_enum);

/// The arguments of a function, padded with zeros to the two that kernels take.
fn constants<const N: usize>(arguments: [f32; N]) -> [f32; 2] {
    std::array::from_fn(|i| arguments.get(i).copied().unwrap_or(0.0))
}

/// An axis of a broadcast pair: its length and the distance between neighbors in either operand, 0
/// where that is repeated.
pub(crate) type BroadcastAxis = (usize, usize, usize);

/// The axes of a broadcast pair, outermost first, neighbors merged where both operands allow it.
pub(crate) fn merged_axes(shape: &Shape, a: &Shape, b: &Shape) -> Vec<BroadcastAxis> {
    let strides = |operand: &Shape| -> Vec<usize> {
        let own = operand.strides();
        let lead = shape.rank() - operand.rank();
        (0..shape.rank())
            .map(|i| if i < lead || operand[i - lead] == 1 { 0 } else { own[i - lead] })
            .collect()
    };
    let (sa, sb) = (strides(a), strides(b));
    let mut axes: Vec<BroadcastAxis> = Vec::new();
    for i in 0..shape.rank() {
        if shape[i] == 1 {
            continue;
        }
        match axes.last_mut() {
            Some(last) if last.1 == sa[i] * shape[i] && last.2 == sb[i] * shape[i] => {
                *last = (last.0 * shape[i], sa[i], sb[i])
            }
            _ => axes.push((shape[i], sa[i], sb[i])),
        }
    }
    if axes.is_empty() {
        axes.push((1, 1, 1));
    }
    axes
}
