//! The table of operations: how each one is called from a name, attributes and inputs. Golden vectors, gradient checks
//! and (on machines with a GPU) parity all go through it.

// Each test program uses a part of this module.
#![allow(dead_code)]

pub mod golden;
pub mod gradients;
pub mod workload;

use serde_json::Value;
use tensor::{
    Activation, ConvGeom, Tensor, concat, conv_transpose2d, conv2d, conv2d_input_grad,
    conv2d_weight_grad,
};

pub fn pair(v: &Value) -> [usize; 2] {
    [v[0].as_u64().unwrap() as usize, v[1].as_u64().unwrap() as usize]
}

pub fn geom(v: &Value) -> ConvGeom {
    ConvGeom {
        input: pair(&v["input"]),
        kernel: pair(&v["kernel"]),
        stride: pair(&v["stride"]),
        pad: [pair(&v["pad"][0]), pair(&v["pad"][1])],
    }
}

fn list(v: &Value) -> Vec<usize> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

pub fn activation(attrs: &Value) -> Activation {
    match attrs["activation"].as_str().unwrap() {
        "none" => Activation::None,
        "relu" => Activation::Relu,
        "leaky_relu" => Activation::LeakyRelu(attrs["slope"].as_f64().unwrap() as f32),
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        other => panic!("activation {other}"),
    }
}

/// Calls operation `op`.
pub fn run(op: &str, attrs: &Value, x: &[Tensor]) -> Tensor {
    let number = |name: &str| attrs[name].as_f64().unwrap_or_else(|| panic!("{op}: {name}")) as f32;
    let count =
        |name: &str| attrs[name].as_u64().unwrap_or_else(|| panic!("{op}: {name}")) as usize;
    let flag = |name: &str| attrs[name].as_bool().unwrap_or_else(|| panic!("{op}: {name}"));
    match op {
        "neg" => x[0].neg(),
        "exp" => x[0].exp(),
        "log" => x[0].log(),
        "sqrt" => x[0].sqrt(),
        "tanh" => x[0].tanh(),
        "sigmoid" => x[0].sigmoid(),
        "relu" => x[0].relu(),
        "leaky_relu" => x[0].leaky_relu(number("slope")),
        "guided_leaky_relu" => x[0].guided_leaky_relu(number("slope")),
        "softplus" => x[0].softplus(),
        "abs" => x[0].abs(),
        "square" => x[0].square(),
        "recip" => x[0].recip(),
        "powf" => x[0].powf(number("p")),
        "clamp" => x[0].clamp(number("lo"), number("hi")),
        "scale" => x[0].scale(number("factor")),
        "add_scalar" => x[0].add_scalar(number("term")),
        "broadcast_to" => x[0].broadcast_to(&list(&attrs["shape"])[..]),
        "add" => x[0].add(&x[1]),
        "sub" => x[0].sub(&x[1]),
        "mul" => x[0].mul(&x[1]),
        "div" => x[0].div(&x[1]),
        "maximum" => x[0].maximum(&x[1]),
        "minimum" => x[0].minimum(&x[1]),
        "sum" => x[0].sum(&list(&attrs["axes"]), flag("keepdim")),
        "mean" => x[0].mean(&list(&attrs["axes"]), flag("keepdim")),
        "max" => x[0].max(count("axis"), flag("keepdim")),
        "log_sum_exp" => x[0].log_sum_exp(count("axis"), flag("keepdim")),
        "softmax" => x[0].softmax(count("axis")),
        "log_softmax" => x[0].log_softmax(count("axis")),
        "matmul" => x[0].matmul(&x[1], flag("trans_a"), flag("trans_b")),
        "conv2d" => conv2d(&x[0], &x[1], &geom(&attrs["geom"])),
        "conv2d_input_grad" => conv2d_input_grad(&x[0], &x[1], &geom(&attrs["geom"])),
        "conv2d_weight_grad" => conv2d_weight_grad(&x[0], &x[1], &geom(&attrs["geom"])),
        "conv_transpose2d" => {
            let pad = [pair(&attrs["pad"][0]), pair(&attrs["pad"][1])];
            conv_transpose2d(
                &x[0],
                &x[1],
                pair(&attrs["stride"]),
                pad,
                pair(&attrs["output_padding"]),
            )
        }
        "max_pool2d" => x[0].max_pool2d(pair(&attrs["kernel"]), pair(&attrs["stride"])),
        "avg_pool2d" => x[0].avg_pool2d(pair(&attrs["kernel"]), pair(&attrs["stride"])),
        "upsample_nearest2d" => x[0].upsample_nearest2d(pair(&attrs["scale"])),
        "batch_norm" => x[0].batch_norm(&x[1], &x[2], number("eps"), activation(attrs)).output,
        "scale_shift" => x[0].scale_shift(&x[1], &x[2], activation(attrs)),
        "bias_activation" => x[0].bias_activation(&x[1], activation(attrs)),
        "bce_with_logits" => x[0].bce_with_logits(&x[1]),
        "reshape" => x[0].reshape(&list(&attrs["shape"])[..]),
        "permute" => x[0].permute(&list(&attrs["axes"])),
        "narrow" => x[0].narrow(count("axis"), count("start"), count("len")),
        "pad_with_zeros" => x[0].pad_with_zeros(count("axis"), count("start"), count("total")),
        "concat" => concat(&x.iter().collect::<Vec<_>>(), count("axis")),
        "pad2d" => x[0].pad2d([pair(&attrs["pad"][0]), pair(&attrs["pad"][1])]),
        "index_select" => x[0].index_select(&list(&attrs["rows"])),
        "shift2d" => {
            let moves: Vec<f32> = attrs["moves"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| m.as_f64().unwrap() as f32)
                .collect();
            x[0].shift2d(
                &Tensor::from_slice(&moves, [moves.len() / 3, 3]).to_device(&x[0].device()),
            )
        }
        "pairwise_l1" => x[0].pairwise_l1(),
        other => panic!("operation {other} is not in the table"),
    }
}

/// max |a − b| / max |reference| (0 / 0 is 0).
pub fn error(ours: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len(), "sizes differ");
    let scale = reference.iter().fold(0f64, |m, v| m.max(v.abs()));
    let diff = ours.iter().zip(reference).fold(0f64, |m, (a, b)| {
        let d = (f64::from(*a) - b).abs();
        if d.is_nan() { f64::INFINITY } else { m.max(d) }
    });
    if scale == 0.0 { diff } else { diff / scale }
}
