//! Elementwise functions, with broadcasting for pairs.

use super::launch::each;
use crate::descriptors::{Binary, Strided, Unary, merged_axes};
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::shader::ShaderSpec;
use crate::shape::{MAX_RANK, Shape};

fn unary_spec(expression: &'static str) -> ShaderSpec {
    ShaderSpec::new("elementwise").flag("UNARY", true).text("EXPR", expression)
}

/// With `rank` 0, both operands have the shape of the result.
fn binary_spec(expression: &'static str, rank: usize, in_place: bool) -> ShaderSpec {
    ShaderSpec::new("elementwise")
        .flag("UNARY", false)
        .text("EXPR", expression)
        .flag("SAME", rank == 0)
        .flag("INPLACE", in_place)
        .number("RANK", rank)
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let unary = Unary::WGSL.iter().map(|expression| unary_spec(expression));
    let binary = Binary::WGSL
        .iter()
        .flat_map(|expression| (0..=MAX_RANK).map(|rank| binary_spec(expression, rank, false)));
    unary.chain(binary).chain([binary_spec(Binary::Add.wgsl().0, 0, true)]).collect()
}

/// `out[i] = f(x[i])`.
pub(crate) fn unary(x: &GpuBuffer, f: Unary) -> GpuBuffer {
    let out = GpuBuffer::uninit(x.gpu(), x.len());
    let (expression, constants) = f.wgsl();
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
    let out = GpuBuffer::uninit(a.gpu(), shape.len());
    let (expression, constant) = f.wgsl();
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

/// `x` broadcast to `shape`: a copy with source stride 0 along repeated axes.
pub(crate) fn broadcast(x: &GpuBuffer, from: &Shape, shape: &Shape) -> GpuBuffer {
    let out = GpuBuffer::uninit(x.gpu(), shape.len());
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
    let (expression, constant) = Binary::Add.wgsl();
    each(binary_spec(expression, 0, true), &[x], out, 4, |p| p.floats([constant]));
}
