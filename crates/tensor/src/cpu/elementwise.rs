//! Elementwise kernels: one loop for each arity, over closures.

use super::isa::multiversion;
use super::math;
use super::parallel::{CHUNK, par_chunks_mut};
use crate::descriptors::{Binary, Unary, binary_table, merged_axes, unary_table};
use crate::shape::Shape;

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

macro_rules! unary_kernels {
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
        /// `out[i] = f(x[i])`. Each function is a closure of its own, so that each loop is compiled
        /// and vectorized for it.
        pub(crate) fn unary(x: &[f32], out: &mut [f32], f: Unary) {
            match f {
                $(Unary::$variant $({ $($arg),+ })? => map(x, out, move |$x: f32| $cpu),)+
                $(Unary::$other $({ $($own),+ })? => map(x, out, move |$y: f32| $kernel),)+
            }
        }
    };
}
unary_table!(unary_kernels);

fn map(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32 + Sync + Send) {
    par_chunks_mut(out, CHUNK, |i, out| map1(&x[i * CHUNK..i * CHUNK + out.len()], out, &f));
}

/// `out[i] += x[i]`.
pub(crate) fn add_assign(out: &mut [f32], x: &[f32]) {
    par_chunks_mut(out, CHUNK, |i, out| accumulate(out, &x[i * CHUNK..i * CHUNK + out.len()]));
}

macro_rules! binary_kernels {
    ($($(#[$doc:meta])* $variant:ident $(($arg:ident))? {
        cpu: |$a:ident, $b:ident| $cpu:expr, wgsl: $wgsl:literal
    })+) => {
        /// `out = f(a, b)` with `a` and `b` broadcast to `shape`.
        pub(crate) fn binary(
            shape: &Shape,
            a: (&[f32], &Shape),
            b: (&[f32], &Shape),
            out: &mut [f32],
            f: Binary,
        ) {
            match f {
                $(Binary::$variant $({ $arg })? => {
                    zip(shape, a, b, out, move |$a: f32, $b: f32| $cpu)
                })+
            }
        }
    };
}
binary_table!(binary_kernels);

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
