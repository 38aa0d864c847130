//! Elementwise kernels: one loop for each arity, over closures.

use super::math;
use super::{CHUNK, multiversion, par_chunks_mut};
use crate::Shape;
use crate::ops::function::{Binary, Unary};

multiversion! {
    fn map1<F: Fn(f32) -> f32>(x: &[f32], out: &mut [f32], f: &F) {
        for (o, &x) in out.iter_mut().zip(x) {
            *o = f(x);
        }
    }
}

multiversion! {
    fn map2<F: Fn(f32, f32) -> f32>(a: &[f32], b: &[f32], out: &mut [f32], f: &F) {
        for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *o = f(a, b);
        }
    }
}

multiversion! {
    fn map_right<F: Fn(f32, f32) -> f32>(a: &[f32], b: f32, out: &mut [f32], f: &F) {
        for (o, &a) in out.iter_mut().zip(a) {
            *o = f(a, b);
        }
    }
}

multiversion! {
    fn map_left<F: Fn(f32, f32) -> f32>(a: f32, b: &[f32], out: &mut [f32], f: &F) {
        for (o, &b) in out.iter_mut().zip(b) {
            *o = f(a, b);
        }
    }
}

multiversion! {
    fn accumulate(out: &mut [f32], x: &[f32]) {
        for (o, &x) in out.iter_mut().zip(x) {
            *o += x;
        }
    }
}

/// `out[i] = f(x[i])`.
pub(crate) fn unary(x: &[f32], out: &mut [f32], f: Unary) {
    match f {
        Unary::Neg => map(x, out, |x| -x),
        Unary::Exp => map(x, out, math::exp),
        Unary::Log => map(x, out, math::ln),
        Unary::Sqrt => map(x, out, f32::sqrt),
        Unary::Recip => map(x, out, |x| 1.0 / x),
        Unary::Square => map(x, out, |x| x * x),
        Unary::Powf(p) => map(x, out, move |x| x.powf(p)),
        Unary::Abs => map(x, out, f32::abs),
        Unary::Sign => map(x, out, |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                0.0
            }
        }),
        Unary::Tanh => map(x, out, math::tanh),
        Unary::Sigmoid => map(x, out, math::sigmoid),
        Unary::Softplus => map(x, out, math::softplus),
        Unary::Relu => map(x, out, |x| if x < 0.0 { 0.0 } else { x }),
        Unary::LeakyRelu(slope) => map(x, out, move |x| if x > 0.0 { x } else { slope * x }),
        Unary::Clamp(low, high) => map(x, out, move |x| {
            if x < low {
                low
            } else if x > high {
                high
            } else {
                x
            }
        }),
        Unary::InRange(low, high) => {
            map(x, out, move |x| if x < low || x > high { 0.0 } else { 1.0 })
        }
        Unary::Scale(factor) => map(x, out, move |x| factor * x),
        Unary::AddScalar(term) => map(x, out, move |x| x + term),
    }
}

fn map(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32 + Sync + Send) {
    par_chunks_mut(out, CHUNK, |i, out| map1(&x[i * CHUNK..i * CHUNK + out.len()], out, &f));
}

/// `out[i] += x[i]`.
pub(crate) fn add_assign(out: &mut [f32], x: &[f32]) {
    par_chunks_mut(out, CHUNK, |i, out| accumulate(out, &x[i * CHUNK..i * CHUNK + out.len()]));
}

/// The axes of a broadcast pair, neighbours merged where both operands allow it, outermost first: length and the two strides.
pub(crate) fn merged_axes(shape: &Shape, a: &Shape, b: &Shape) -> Vec<(usize, usize, usize)> {
    let strides = |operand: &Shape| -> Vec<usize> {
        let own = operand.strides();
        let lead = shape.rank() - operand.rank();
        (0..shape.rank())
            .map(|i| if i < lead || operand[i - lead] == 1 { 0 } else { own[i - lead] })
            .collect()
    };
    let (sa, sb) = (strides(a), strides(b));
    let mut axes: Vec<(usize, usize, usize)> = Vec::new();
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

/// `out = f(a, b)` with `a` and `b` broadcast to `shape`.
pub(crate) fn binary(
    shape: &Shape,
    a: (&[f32], &Shape),
    b: (&[f32], &Shape),
    out: &mut [f32],
    f: Binary,
) {
    match f {
        Binary::Add => zip(shape, a, b, out, |a, b| a + b),
        Binary::Sub => zip(shape, a, b, out, |a, b| a - b),
        Binary::Mul => zip(shape, a, b, out, |a, b| a * b),
        Binary::Div => zip(shape, a, b, out, |a, b| a / b),
        Binary::Maximum => zip(shape, a, b, out, |a, b| if a >= b || a.is_nan() { a } else { b }),
        Binary::Minimum => zip(shape, a, b, out, |a, b| if a <= b || a.is_nan() { a } else { b }),
        Binary::Ge => zip(shape, a, b, out, |a, b| if a >= b { 1.0 } else { 0.0 }),
        Binary::Le => zip(shape, a, b, out, |a, b| if a <= b { 1.0 } else { 0.0 }),
        Binary::First => zip(shape, a, b, out, |a, _| a),
        Binary::LeakyReluGrad(slope) => {
            zip(shape, a, b, out, move |a, b| if b > 0.0 { a } else { slope * a })
        }
        Binary::Bce => {
            zip(shape, a, b, out, |a, b| math::softplus(-a) * b + math::softplus(a) * (1.0 - b))
        }
        Binary::BceGrad => {
            zip(shape, a, b, out, |a, b| (1.0 - b) * math::sigmoid(a) - b * math::sigmoid(-a))
        }
    }
}

fn zip(
    shape: &Shape,
    (a, a_shape): (&[f32], &Shape),
    (b, b_shape): (&[f32], &Shape),
    out: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Sync + Send,
) {
    if out.is_empty() {
        return;
    }
    let mut axes = merged_axes(shape, a_shape, b_shape);
    let mut inner = axes.pop().unwrap_or((1, 1, 1));
    if axes.is_empty() && inner.0 > CHUNK {
        // One long axis: cut it into chunks, the last one shorter.
        let (len, sa, sb) = inner;
        par_chunks_mut(out, CHUNK, |i, out| {
            let at = i * CHUNK;
            let (a, b) = (
                &a[at * sa..(at * sa + out.len()).min(a.len())],
                &b[at * sb..(at * sb + out.len()).min(b.len())],
            );
            run(a, b, sa, sb, out, &f);
        });
        debug_assert_eq!(len, shape.len());
        return;
    }
    if inner.1 > 1 || inner.2 > 1 {
        // Both operands end in broadcast axes of length one: fall back to single elements.
        axes.push(inner);
        inner = (1, 1, 1);
    }
    let lines = (CHUNK / inner.0).max(1);
    par_chunks_mut(out, lines * inner.0, |i, out| {
        for (l, out) in out.chunks_exact_mut(inner.0).enumerate() {
            let (mut ia, mut ib, mut rest) = (0, 0, i * lines + l);
            for &(len, sa, sb) in axes.iter().rev() {
                ia += rest % len * sa;
                ib += rest % len * sb;
                rest /= len;
            }
            run(&a[ia..], &b[ib..], inner.1, inner.2, out, &f);
        }
    });
}

/// One line, the operands contiguous (stride 1) or constant (stride 0).
fn run<F: Fn(f32, f32) -> f32>(a: &[f32], b: &[f32], sa: usize, sb: usize, out: &mut [f32], f: &F) {
    match (sa, sb) {
        (0, 0) => out.fill(f(a[0], b[0])),
        (0, _) => map_left(a[0], b, out, f),
        (_, 0) => map_right(a, b[0], out, f),
        _ => map2(a, b, out, f),
    }
}
