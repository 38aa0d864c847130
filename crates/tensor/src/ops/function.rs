//! The elementwise functions, by name: the CPU has a loop for each (`cpu/elementwise.rs`), the GPU an expression in WGSL
//! (`gpu/kernels/elementwise.rs`).

/// A function of one number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Unary {
    Neg,
    Exp,
    Log,
    Sqrt,
    Recip,
    Square,
    Powf(f32),
    Abs,
    /// −1, 0 or 1.
    Sign,
    Tanh,
    Sigmoid,
    Softplus,
    Relu,
    LeakyRelu(f32),
    Clamp(f32, f32),
    /// 1 within the bounds, else 0.
    InRange(f32, f32),
    Scale(f32),
    AddScalar(f32),
}

/// A function of two numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Maximum,
    Minimum,
    /// 1 where a ≥ b, else 0.
    Ge,
    /// 1 where a ≤ b, else 0.
    Le,
    /// a: for broadcasting it.
    First,
    /// a where b > 0, else slope · a: what a leaky rectifier of b makes of a gradient a.
    LeakyReluGrad(f32),
    /// The cross-entropy of a logit a and a target b.
    Bce,
    /// Its derivative by a.
    BceGrad,
}

impl Unary {
    /// One of each.
    pub(crate) fn every() -> Vec<Self> {
        use Unary::*;
        let plain = [Neg, Exp, Log, Sqrt, Recip, Square, Abs, Sign, Tanh, Sigmoid, Softplus, Relu];
        let with = [
            Powf(1.0),
            LeakyRelu(0.2),
            Clamp(0.0, 1.0),
            InRange(0.0, 1.0),
            Scale(1.0),
            AddScalar(0.0),
        ];
        plain.into_iter().chain(with).collect()
    }
}

impl Binary {
    /// One of each.
    pub(crate) fn every() -> Vec<Self> {
        use Binary::*;
        vec![Add, Sub, Mul, Div, Maximum, Minimum, Ge, Le, First, LeakyReluGrad(0.2), Bce, BceGrad]
    }
}
