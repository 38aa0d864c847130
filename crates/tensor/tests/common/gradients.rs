//! The gradient of every operation of the table, to second order. Linear operations pass the
//! adjoint dot-product test ⟨A x, y⟩ = ⟨x, Aᵀ y⟩; the others, and all second derivatives,
//! are compared with directional central differences of a loss summed in f64. The fused gradients
//! and the differentiable ones are compared with each other too.

use super::run;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tensor::op_table::{Domain, UNARY_OPS};
use tensor::rng::Philox;
use tensor::{Device, Tensor, autograd};

/// Step of the differences: truncation is of the order of h², rounding of 1e-7 / h; both stay far
/// below the bound of 1e-2.
const H: f64 = 1e-2;
const DIFFERENCE_BOUND: f64 = 1e-2;
const ADJOINT_BOUND: f64 = 1e-5;
/// The distance of every value from a kink: further than a step can move it.
const CLEAR: f32 = 0.03;

#[derive(Clone, Copy, PartialEq)]
enum Fill {
    /// U(−1.5, 1.5).
    Any,
    /// U(0.4, 2).
    Positive,
    /// A shuffled grid, odd multiples of 0.035: no two values, and no value and a multiple of 0.07,
    /// come near each other.
    Distinct,
}
use Fill::{Any, Distinct, Positive};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Linear in all inputs together.
    Joint,
    /// Linear in each input while the others are constant.
    Each,
    /// Neither.
    Curved,
}
use Kind::{Curved, Each, Joint};

struct Case {
    op: &'static str,
    attrs: Value,
    kind: Kind,
    inputs: Vec<(Vec<usize>, Fill)>,
    /// An operation of the same inputs (the argument of an activation) whose result must keep away
    /// from 0.
    kink: Option<(&'static str, Value)>,
}

fn case(op: &'static str, attrs: Value, kind: Kind, inputs: &[(&[usize], Fill)]) -> Case {
    Case {
        op,
        attrs,
        kind,
        inputs: inputs.iter().map(|(s, f)| (s.to_vec(), *f)).collect(),
        kink: None,
    }
}

fn table() -> Vec<Case> {
    let none = || json!({});
    let mut all = vec![
        // Linear with this argument only, so it is not in the table of elementwise operations.
        case("add_scalar", json!({"term": 0.0}), Joint, &[(&[3, 4], Any)]),
        case("broadcast_to", json!({"shape": [2, 3, 4]}), Joint, &[(&[3, 1], Any)]),
        case("broadcast_to", json!({"shape": [2, 3]}), Joint, &[(&[], Any)]),
        case("sum", json!({"axes": [0, 2], "keepdim": false}), Joint, &[(&[2, 3, 4], Any)]),
        case("sum", json!({"axes": [1], "keepdim": true}), Joint, &[(&[2, 3, 4], Any)]),
        case("mean", json!({"axes": [0, 1, 2], "keepdim": false}), Joint, &[(&[2, 3, 4], Any)]),
        case("mean", json!({"axes": [2], "keepdim": true}), Joint, &[(&[2, 3, 4], Any)]),
        case("max", json!({"axis": 1, "keepdim": false}), Curved, &[(&[2, 5, 3], Distinct)]),
        case("max", json!({"axis": 2, "keepdim": true}), Curved, &[(&[2, 3, 5], Distinct)]),
        case("log_sum_exp", json!({"axis": 1, "keepdim": false}), Curved, &[(&[2, 5, 3], Any)]),
        case("softmax", json!({"axis": 1}), Curved, &[(&[2, 5, 3], Any)]),
        case("softmax", json!({"axis": 0}), Curved, &[(&[4, 3], Any)]),
        case("log_softmax", json!({"axis": 1}), Curved, &[(&[3, 5], Any)]),
        case("bce_with_logits", none(), Curved, &[(&[3, 4], Any), (&[3, 4], Positive)]),
        case("reshape", json!({"shape": [6, 2]}), Joint, &[(&[3, 4], Any)]),
        case("permute", json!({"axes": [2, 0, 3, 1]}), Joint, &[(&[2, 3, 4, 2], Any)]),
        case("narrow", json!({"axis": 1, "start": 1, "len": 2}), Joint, &[(&[3, 4, 2], Any)]),
        case(
            "pad_with_zeros",
            json!({"axis": 1, "start": 2, "total": 7}),
            Joint,
            &[(&[3, 4, 2], Any)],
        ),
        case(
            "concat",
            json!({"axis": 1}),
            Joint,
            &[(&[2, 1, 3], Any), (&[2, 4, 3], Any), (&[2, 2, 3], Any)],
        ),
        case("pad2d", json!({"pad": [[1, 0], [2, 3]]}), Joint, &[(&[2, 3, 2, 3], Any)]),
        case(
            "shift2d",
            json!({"moves": [1, -2, 0, 0, 1, 1, -4, 0, 1]}),
            Joint,
            &[(&[3, 4, 5, 2], Any)],
        ),
        case("index_select", json!({"rows": [2, 0, 2, 1, 2]}), Joint, &[(&[4, 3], Any)]),
        case("pairwise_l1", none(), Curved, &[(&[3, 2, 4], Distinct)]),
        case(
            "max_pool2d",
            json!({"kernel": [2, 2], "stride": [2, 2]}),
            Curved,
            &[(&[2, 4, 5, 2], Distinct)],
        ),
        case(
            "max_pool2d",
            json!({"kernel": [3, 2], "stride": [1, 2]}),
            Curved,
            &[(&[1, 5, 6, 2], Distinct)],
        ),
        case(
            "avg_pool2d",
            json!({"kernel": [2, 3], "stride": [2, 1]}),
            Joint,
            &[(&[2, 5, 6, 3], Any)],
        ),
        case("upsample_nearest2d", json!({"scale": [2, 3]}), Joint, &[(&[2, 2, 3, 3], Any)]),
    ];
    for op in UNARY_OPS {
        let (kind, shape, fill) = match op.domain {
            Domain::Linear => (Joint, [3, 4], Any),
            Domain::Smooth => (Curved, [3, 4], Any),
            Domain::Positive => (Curved, [3, 4], Positive),
            Domain::Kinked => (Curved, [5, 6], Distinct),
        };
        for sample in op.samples {
            let attrs =
                op.arguments.iter().zip(*sample).map(|(name, v)| (name.to_string(), json!(v)));
            all.push(case(op.name, Value::Object(attrs.collect()), kind, &[(&shape, fill)]));
        }
    }
    // Pairs: alike, a broadcast row, a broadcast column on the left, a scalar.
    let shapes: [[&'static [usize]; 2]; 4] =
        [[&[3, 4], &[3, 4]], [&[3, 4], &[4]], [&[3, 1], &[2, 3, 4]], [&[3, 4], &[]]];
    for [a, b] in shapes {
        all.push(case("add", none(), Joint, &[(a, Any), (b, Any)]));
        all.push(case("sub", none(), Joint, &[(a, Any), (b, Any)]));
        all.push(case("mul", none(), Each, &[(a, Any), (b, Any)]));
        all.push(case("div", none(), Curved, &[(a, Any), (b, Positive)]));
        all.push(case("maximum", none(), Curved, &[(a, Distinct), (b, Distinct)]));
        all.push(case("minimum", none(), Curved, &[(a, Distinct), (b, Distinct)]));
    }
    for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
        let attrs = json!({"trans_a": trans_a, "trans_b": trans_b});
        let sides = |trans: bool, r: usize, c: usize| if trans { [c, r] } else { [r, c] };
        let (a, b) = (sides(trans_a, 5, 3), sides(trans_b, 3, 4));
        all.push(case("matmul", attrs.clone(), Each, &[(&a, Any), (&b, Any)]));
        let (a, b) = ([2, a[0], a[1]], [2, b[0], b[1]]);
        all.push(case("matmul", attrs, Each, &[(&a, Any), (&b, Any)]));
    }
    convolutions(&mut all);
    activations(&mut all);
    all
}

fn convolutions(all: &mut Vec<Case>) {
    // Input, kernel, stride, padding, channels: even and odd sizes, four-sided padding, pixels no
    // window covers, a kernel as large as the image, and channel counts on both sides of the merged
    // and the phase-split input gradient.
    type Geometry = ([usize; 2], [usize; 2], [usize; 2], [[usize; 2]; 2], usize, usize);
    let geometries: [Geometry; 7] = [
        ([6, 6], [4, 4], [2, 2], [[1, 1], [1, 1]], 3, 5),
        ([7, 6], [3, 3], [2, 2], [[1, 1], [1, 1]], 5, 3),
        ([5, 4], [3, 2], [1, 1], [[0, 2], [1, 0]], 2, 3),
        ([8, 7], [2, 3], [3, 2], [[0, 0], [0, 1]], 4, 2),
        ([7, 7], [5, 5], [2, 2], [[1, 2], [1, 2]], 5, 2),
        ([4, 3], [4, 3], [1, 1], [[0, 0], [0, 0]], 3, 4),
        ([1, 1], [3, 3], [2, 2], [[1, 1], [1, 1]], 2, 2),
    ];
    for (input, kernel, stride, pad, cin, cout) in geometries {
        let geom = tensor::ConvGeom { input, kernel, stride, pad };
        let [oh, ow] = geom.output();
        let attrs =
            json!({"geom": {"input": input, "kernel": kernel, "stride": stride, "pad": pad}});
        let x: &[usize] = &[2, input[0], input[1], cin];
        let w: &[usize] = &[kernel[0], kernel[1], cin, cout];
        let y: &[usize] = &[2, oh, ow, cout];
        all.push(case("conv2d", attrs.clone(), Each, &[(x, Any), (w, Any)]));
        all.push(case("conv2d_input_grad", attrs.clone(), Each, &[(y, Any), (w, Any)]));
        all.push(case("conv2d_weight_grad", attrs, Each, &[(x, Any), (y, Any)]));
    }
    for output_padding in [[0, 0], [1, 0], [1, 1]] {
        let attrs =
            json!({"stride": [2, 2], "pad": [[1, 1], [0, 2]], "output_padding": output_padding});
        all.push(case(
            "conv_transpose2d",
            attrs,
            Each,
            &[(&[2, 3, 4, 5], Any), (&[3, 4, 2, 5], Any)],
        ));
    }
}

fn activations(all: &mut Vec<Case>) {
    for activation in ["none", "relu", "leaky_relu", "tanh", "sigmoid"] {
        let attrs = |name: &str| json!({"activation": name, "slope": 0.2, "eps": 1e-3});
        for (op, x) in [
            ("batch_norm", &[2, 3, 3, 2][..]),
            ("batch_norm", &[9, 3]),
            ("scale_shift", &[6, 3]),
            ("bias_activation", &[6, 3]),
        ] {
            let c: &[usize] = &x[x.len() - 1..];
            let inputs = [(x, Any), (c, Positive), (c, Any)];
            let inputs = if op == "bias_activation" { &inputs[..2] } else { &inputs };
            let mut case = case(op, attrs(activation), Curved, inputs);
            if activation.contains("relu") {
                case.kink = Some((op, attrs("none")));
            }
            all.push(case);
        }
    }
}

fn fill(case: &Case, rng: &mut Philox) -> Vec<Tensor> {
    // One grid for all inputs, so their values keep away from each other too.
    let total: usize = case.inputs.iter().map(|(s, _)| s.iter().product::<usize>()).sum();
    let mut grid: Vec<f32> =
        (0..total).map(|i| (i as f32 - (total / 2) as f32) * 0.07 + 0.035).collect();
    for i in (1..total).rev() {
        grid.swap(i, rng.below(i as u32 + 1) as usize);
    }
    case.inputs
        .iter()
        .map(|(shape, fill)| match fill {
            Any => rng.uniform(&shape[..], -1.5, 1.5),
            Positive => rng.uniform(&shape[..], 0.4, 2.0),
            Distinct => Tensor::from_slice(
                &grid.split_off(grid.len() - shape.iter().product::<usize>()),
                &shape[..],
            ),
        })
        .collect()
}

/// Inputs that keep away from the kinks of the case.
fn inputs(case: &Case, rng: &mut Philox, device: &Device) -> Vec<Tensor> {
    for _ in 0..1000 {
        let inputs = fill(case, rng);
        let clear = |(op, attrs): &(&str, Value)| {
            run(op, attrs, &inputs).to_vec().iter().all(|v| v.abs() > CLEAR)
        };
        if case.kink.as_ref().is_none_or(clear) {
            return inputs.iter().map(|x| x.to_device(device)).collect();
        }
    }
    panic!("{} {}: no inputs away from the kink", case.op, case.attrs)
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.to_vec().iter().zip(b.to_vec()).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
}

/// Whether an error exceeds its bound or is NaN.
fn beyond(error: f64, bound: f64) -> bool {
    error.is_nan() || error > bound
}

fn norm(a: &Tensor) -> f64 {
    dot(a, a).sqrt()
}

/// The gradients of ⟨op(x), y⟩ by x (and, with `create_graph`, differentiable; `x` are then its
/// leaves).
fn gradients(case: &Case, x: &[Tensor], y: &Tensor, create_graph: bool) -> Vec<Tensor> {
    let keys: Vec<_> = x.iter().filter_map(Tensor::id).collect();
    let grads = autograd::grad(&[(&run(case.op, &case.attrs, x), y)], &keys, create_graph);
    grads.into_iter().zip(x).map(|(g, x)| g.unwrap_or_else(|| zeros(x))).collect()
}

/// Zeros of the shape and on the device of `x`.
fn zeros(x: &Tensor) -> Tensor {
    Tensor::full_on(&x.device(), *x.shape(), 0.0)
}

fn leaves(x: &[Tensor]) -> Vec<Tensor> {
    x.iter().map(Tensor::leaf).collect()
}

/// The derivative of `f` at `x` along `v` in input `i`, and the part of `v` that rounding left.
fn difference(x: &[Tensor], i: usize, v: &Tensor, f: impl Fn(&[Tensor]) -> f64) -> (f64, Tensor) {
    let moved = |sign: f32| {
        let mut all = x.to_vec();
        all[i] = x[i].add(&v.scale(sign * H as f32));
        all
    };
    let (plus, minus) = (moved(1.0), moved(-1.0));
    let taken = plus[i].sub(&minus[i]).scale((0.5 / H) as f32);
    ((f(&plus) - f(&minus)) / (2.0 * H), taken)
}

/// Compares the gradient `g` of `f` by input `i` with differences along a random direction and
/// along itself.
fn check_differences(
    x: &[Tensor],
    i: usize,
    g: &Tensor,
    rng: &mut Philox,
    f: impl Fn(&[Tensor]) -> f64,
) -> Option<String> {
    let random = rng.uniform(*g.shape(), -1.0, 1.0).to_device(&g.device());
    let steepest = g.to_vec().iter().fold(0f32, |m, v| m.max(v.abs()));
    let along = g.scale(1.0 / steepest.max(f32::MIN_POSITIVE));
    for (name, v) in [("random", random), ("gradient", along)] {
        let (measured, taken) = difference(x, i, &v, &f);
        let claimed = dot(g, &taken);
        // A random direction may have almost no slope by chance: the scale is then its usual slope.
        let usual = norm(g) * norm(&taken) / (g.len().max(1) as f64).sqrt();
        let scale = measured.abs().max(0.3 * usual);
        let wrong = (measured - claimed).abs();
        if beyond(wrong, DIFFERENCE_BOUND * scale + 1e-6) {
            return Some(format!(
                "input {i}, {name} direction: gradient {claimed}, difference {measured}"
            ));
        }
    }
    None
}

fn adjoint(
    case: &Case,
    x: &[Tensor],
    out: &Tensor,
    y: &Tensor,
    grads: &[Tensor],
) -> Option<String> {
    let value = dot(out, y);
    let bound = ADJOINT_BOUND * norm(out) * norm(y);
    let claims: Vec<f64> = x.iter().zip(grads).map(|(x, g)| dot(x, g)).collect();
    let claims = if case.kind == Joint { vec![claims.iter().sum()] } else { claims };
    claims
        .iter()
        .find(|&&c| beyond((c - value).abs(), bound))
        .map(|c| format!("⟨A x, y⟩ = {value}, ⟨x, Aᵀ y⟩ = {c}"))
}

fn check(case: &Case, rng: &mut Philox, device: &Device) -> Vec<String> {
    let mut failures = Vec::new();
    let x = inputs(case, rng, device);
    let out = run(case.op, &case.attrs, &x);
    let y = rng.uniform(*out.shape(), -1.0, 1.0).to_device(device);
    // First order, by the path that training takes.
    let grads = gradients(case, &leaves(&x), &y, false);
    if case.kind != Curved {
        failures.extend(adjoint(case, &x, &out, &y, &grads));
    }
    let loss = |x: &[Tensor]| dot(&run(case.op, &case.attrs, x), &y);
    for (i, g) in grads.iter().enumerate() {
        failures.extend(check_differences(&x, i, g, rng, loss));
    }
    // The differentiable path gives the same gradients …
    let (tracked, weight) = (leaves(&x), y.leaf());
    let kept = gradients(case, &tracked, &weight, true);
    for (i, (a, b)) in grads.iter().zip(&kept).enumerate() {
        if beyond(norm(&a.sub(b)), ADJOINT_BOUND * norm(a)) {
            failures.push(format!("input {i}: the fused gradient is not the composite one"));
        }
    }
    // … and its derivative is that of φ(x, y) = Σ ⟨gradient, v⟩, which is linear in y.
    let v: Vec<Tensor> =
        x.iter().map(|x| rng.uniform(*x.shape(), -1.0, 1.0).to_device(device)).collect();
    let phi = |x: &[Tensor]| {
        gradients(case, &leaves(x), &y, false).iter().zip(&v).map(|(g, v)| dot(g, v)).sum::<f64>()
    };
    let mut keys: Vec<_> = tracked.iter().filter_map(Tensor::id).collect();
    keys.extend(weight.id());
    let outputs: Vec<_> = kept.iter().zip(&v).collect();
    let mut second = autograd::grad(&outputs, &keys, false);
    let by_weight = second.pop().flatten().unwrap_or_else(|| zeros(&y));
    let value = phi(&x);
    let size: f64 = kept.iter().zip(&v).map(|(g, v)| norm(g) * norm(v)).sum();
    if beyond(
        (dot(&by_weight, &y) - value).abs(),
        ADJOINT_BOUND * size.max(norm(&by_weight) * norm(&y)),
    ) {
        failures.push(format!(
            "second order by the outer gradient: {} is not {value}",
            dot(&by_weight, &y)
        ));
    }
    for (i, g) in second.into_iter().enumerate() {
        let g = g.unwrap_or_else(|| zeros(&x[i]));
        failures
            .extend(check_differences(&x, i, &g, rng, phi).map(|f| format!("second order: {f}")));
    }
    failures
}

/// # Panics
/// When a gradient on this device is wrong.
pub fn every_gradient_is_right(device: &Device) {
    let mut rng = Philox::new(20, 0);
    let mut failures = Vec::new();
    for case in table() {
        for failure in check(&case, &mut rng, device) {
            failures.push(format!(
                "{} {} {:?}: {failure}",
                case.op,
                case.attrs,
                case.inputs.iter().map(|i| &i.0).collect::<Vec<_>>()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The operations whose gradients are checked.
pub fn operations() -> BTreeSet<&'static str> {
    table().iter().map(|c| c.op).collect()
}

/// Whether the harness notices a wrong gradient: that of 3 ln x for 2 ln x, and not that of 3 ln x
/// for itself.
pub fn a_wrong_gradient_is_noticed() -> bool {
    let mut rng = Philox::new(1, 0);
    let x = [rng.uniform([5], 0.5, 2.0)];
    let loss = |factor: f32| move |x: &[Tensor]| dot(&x[0].log().scale(factor), &Tensor::ones([5]));
    let wrong = x[0].recip().scale(3.0);
    check_differences(&x, 0, &wrong, &mut rng, loss(2.0)).is_some()
        && check_differences(&x, 0, &wrong, &mut rng, loss(3.0)).is_none()
}
