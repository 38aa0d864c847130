//! Elementwise functions, with broadcasting for pairs.

use super::{each, new};
use crate::Shape;
use crate::cpu::elementwise::merged_axes;
use crate::cpu::movement::Strided;
use crate::gpu::{Define, GpuBuffer, ShaderSpec};
use crate::ops::function::{Binary, Unary};
use crate::shape::MAX_RANK;

impl Unary {
    /// Its WGSL text, and the values of u and v in it.
    fn expression(self) -> (&'static str, [f32; 2]) {
        match self {
            Unary::Neg => ("-x", [0.0; 2]),
            Unary::Exp => ("exp_(x)", [0.0; 2]),
            Unary::Log => ("log_(x)", [0.0; 2]),
            Unary::Sqrt => ("sqrt(x)", [0.0; 2]),
            Unary::Recip => ("1.0 / x", [0.0; 2]),
            Unary::Square => ("x * x", [0.0; 2]),
            Unary::Powf(p) => ("power_(x, u)", [p, 0.0]),
            Unary::Abs => ("abs(x)", [0.0; 2]),
            Unary::Sign => ("sign_(x)", [0.0; 2]),
            Unary::Tanh => ("tanh_(x)", [0.0; 2]),
            Unary::Sigmoid => ("sigmoid_(x)", [0.0; 2]),
            Unary::Softplus => ("softplus_(x)", [0.0; 2]),
            Unary::Relu => ("relu_(x)", [0.0; 2]),
            Unary::LeakyRelu(slope) => ("leaky_(x, u)", [slope, 0.0]),
            Unary::Clamp(low, high) => ("clamp_(x, u, v)", [low, high]),
            Unary::InRange(low, high) => ("in_range_(x, u, v)", [low, high]),
            Unary::Scale(factor) => ("u * x", [factor, 0.0]),
            Unary::AddScalar(term) => ("x + u", [term, 0.0]),
        }
    }
}

impl Binary {
    /// Its WGSL text, and the value of u in it.
    fn expression(self) -> (&'static str, f32) {
        match self {
            Binary::Add => ("x + y", 0.0),
            Binary::Sub => ("x - y", 0.0),
            Binary::Mul => ("x * y", 0.0),
            Binary::Div => ("x / y", 0.0),
            Binary::Maximum => ("maximum_(x, y)", 0.0),
            Binary::Minimum => ("minimum_(x, y)", 0.0),
            Binary::Ge => ("select(0.0, 1.0, x >= y)", 0.0),
            Binary::Le => ("select(0.0, 1.0, x <= y)", 0.0),
            Binary::First => ("x", 0.0),
            Binary::LeakyReluGrad(slope) => ("x * leaky_slope_(y, u)", slope),
            Binary::Bce => ("softplus_(-x) * y + softplus_(x) * (1.0 - y)", 0.0),
            Binary::BceGrad => ("(1.0 - y) * sigmoid_(x) - y * sigmoid_(-x)", 0.0),
        }
    }
}

fn unary_spec(expression: &'static str) -> ShaderSpec {
    ShaderSpec::new(
        "elementwise",
        "main",
        &[("UNARY", Define::Flag(true)), ("EXPR", Define::Text(expression))],
    )
}

/// `rank` 0: both operands have the result's shape.
fn binary_spec(expression: &'static str, rank: usize, in_place: bool) -> ShaderSpec {
    let defs = [
        ("UNARY", Define::Flag(false)),
        ("EXPR", Define::Text(expression)),
        ("SAME", Define::Flag(rank == 0)),
        ("INPLACE", Define::Flag(in_place)),
        ("RANK", Define::Number(rank as u32)),
    ];
    ShaderSpec::new("elementwise", "main", &defs)
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let unary = Unary::every().into_iter().map(|f| unary_spec(f.expression().0));
    let binary = Binary::every()
        .into_iter()
        .flat_map(|f| (0..=MAX_RANK).map(move |rank| binary_spec(f.expression().0, rank, false)));
    unary.chain(binary).chain([binary_spec(Binary::Add.expression().0, 0, true)]).collect()
}

/// `out[i] = f(x[i])`.
pub(crate) fn unary(x: &GpuBuffer, f: Unary) -> GpuBuffer {
    let out = new(x.gpu(), x.len());
    let (expression, constants) = f.expression();
    each(unary_spec(expression), &[x], &out, 4, |p| p.floats(constants));
    out
}

/// `f(a, b)`, both broadcast to `shape`.
pub(crate) fn binary(
    shape: &Shape,
    (a, a_shape): (&GpuBuffer, &Shape),
    (b, b_shape): (&GpuBuffer, &Shape),
    f: Binary,
) -> GpuBuffer {
    let out = new(a.gpu(), shape.len());
    let (expression, constant) = f.expression();
    if a.len() == out.len() && b.len() == out.len() {
        each(binary_spec(expression, 0, false), &[a, b], &out, 4, |p| p.floats([constant]));
    } else {
        let mut axes = merged_axes(shape, a_shape, b_shape);
        axes.reverse();
        let sizes = axes.iter().flat_map(|&(len, a, b)| [len, a, b]).collect::<Vec<_>>();
        each(binary_spec(expression, axes.len(), false), &[a, b], &out, 1, |p| {
            p.floats([constant]).sizes(sizes)
        });
    }
    out
}

/// `x` broadcast to `shape`: a copy whose source stands still along repeated axes.
pub(crate) fn broadcast(x: &GpuBuffer, from: &Shape, shape: &Shape) -> GpuBuffer {
    let out = new(x.gpu(), shape.len());
    let axes = merged_axes(shape, from, shape);
    let mut strides = [[1; MAX_RANK]; 2];
    axes.iter().enumerate().for_each(|(i, &(_, a, b))| (strides[0][i], strides[1][i]) = (a, b));
    let [source, target] = strides.map(|strides| Strided { offset: 0, strides });
    let lens: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
    super::movement::copy(&lens, x, source, &out, target);
    out
}

/// `out[i] += x[i]`.
pub(crate) fn add_assign(out: &GpuBuffer, x: &GpuBuffer) {
    let (expression, constant) = Binary::Add.expression();
    each(binary_spec(expression, 0, true), &[x], out, 4, |p| p.floats([constant]));
}
