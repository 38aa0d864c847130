//! The table of operations: how each one is called from a name, attributes and inputs. Golden
//! vectors, gradient checks and (on machines with a GPU) the comparison with the CPU all use it.

// Each test program uses a part of this module.
#![allow(dead_code)]

pub mod golden;
pub mod gradients;
pub mod numerics_env;
pub mod workload;

use serde_json::Value;
use tensor::op_table::UNARY_OPS;
use tensor::{
    Activation, ConvGeom, Tensor, concat, conv_transpose2d, conv2d, conv2d_input_grad,
    conv2d_weight_grad, set_conv_algorithm, set_isa,
};

fn pair(v: &Value) -> [usize; 2] {
    [v[0].as_u64().unwrap() as usize, v[1].as_u64().unwrap() as usize]
}

/// The attributes of a case by name.
struct Attrs<'a>(&'a Value);

impl Attrs<'_> {
    fn number(&self, name: &str) -> f32 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("attribute {name}")) as f32
    }
    fn count(&self, name: &str) -> usize {
        self.0[name].as_u64().unwrap_or_else(|| panic!("attribute {name}")) as usize
    }
    fn flag(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or_else(|| panic!("attribute {name}"))
    }
    fn list(&self, name: &str) -> Vec<usize> {
        let values = self.0[name].as_array().unwrap_or_else(|| panic!("attribute {name}"));
        values.iter().map(|x| x.as_u64().unwrap() as usize).collect()
    }
    fn pair(&self, name: &str) -> [usize; 2] {
        pair(&self.0[name])
    }
    fn pad(&self) -> [[usize; 2]; 2] {
        [0, 1].map(|axis| pair(&self.0["pad"][axis]))
    }
    fn geom(&self) -> ConvGeom {
        let g = &self.0["geom"];
        let pad = [pair(&g["pad"][0]), pair(&g["pad"][1])];
        let [input, kernel, stride] = ["input", "kernel", "stride"].map(|name| pair(&g[name]));
        ConvGeom { input, kernel, stride, pad }
    }
    fn activation(&self) -> Activation {
        match self.0["activation"].as_str().unwrap() {
            "none" => Activation::None,
            "relu" => Activation::Relu,
            "leaky_relu" => Activation::LeakyRelu(self.number("slope")),
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            other => panic!("activation {other}"),
        }
    }
}

/// Defines `run` and the list of the names that it knows.
macro_rules! operations {
    (|$a:ident, $x:ident| $($name:literal => $call:expr,)+) => {
        /// The operations other than the elementwise ones of `op_table`.
        pub const OPERATIONS: &[&str] = &[$($name),+];

        /// Calls operation `op` with inputs `x`.
        pub fn run(op: &str, attrs: &Value, $x: &[Tensor]) -> Tensor {
            let $a = Attrs(attrs);
            if let Some(unary) = UNARY_OPS.iter().find(|unary| unary.name == op) {
                let arguments = unary.arguments.iter().map(|name| $a.number(name));
                let arguments: Vec<f32> = arguments.collect();
                return (unary.apply)(&$x[0], &arguments);
            }
            match op {
                $($name => $call,)+
                other => panic!("operation {other} is in no table"),
            }
        }
    };
}

operations! { |a, x|
    "guided_leaky_relu" => x[0].guided_leaky_relu(a.number("slope")),
    "broadcast_to" => x[0].broadcast_to(&a.list("shape")[..]),
    "add" => x[0].add(&x[1]),
    "sub" => x[0].sub(&x[1]),
    "mul" => x[0].mul(&x[1]),
    "div" => x[0].div(&x[1]),
    "maximum" => x[0].maximum(&x[1]),
    "minimum" => x[0].minimum(&x[1]),
    "sum" => x[0].sum(&a.list("axes"), a.flag("keepdim")),
    "mean" => x[0].mean(&a.list("axes"), a.flag("keepdim")),
    "max" => x[0].max(a.count("axis"), a.flag("keepdim")),
    "log_sum_exp" => x[0].log_sum_exp(a.count("axis"), a.flag("keepdim")),
    "softmax" => x[0].softmax(a.count("axis")),
    "log_softmax" => x[0].log_softmax(a.count("axis")),
    "matmul" => x[0].matmul(&x[1], a.flag("trans_a"), a.flag("trans_b")),
    "conv2d" => conv2d(&x[0], &x[1], &a.geom()),
    "conv2d_input_grad" => conv2d_input_grad(&x[0], &x[1], &a.geom()),
    "conv2d_weight_grad" => conv2d_weight_grad(&x[0], &x[1], &a.geom()),
    "conv_transpose2d" => {
        conv_transpose2d(&x[0], &x[1], a.pair("stride"), a.pad(), a.pair("output_padding"))
    },
    "max_pool2d" => x[0].max_pool2d(a.pair("kernel"), a.pair("stride")),
    "avg_pool2d" => x[0].avg_pool2d(a.pair("kernel"), a.pair("stride")),
    "upsample_nearest2d" => x[0].upsample_nearest2d(a.pair("scale")),
    "batch_norm" => x[0].batch_norm(&x[1], &x[2], a.number("eps"), a.activation()).output,
    "scale_shift" => x[0].scale_shift(&x[1], &x[2], a.activation()),
    "bias_activation" => x[0].bias_activation(&x[1], a.activation()),
    "bce_with_logits" => x[0].bce_with_logits(&x[1]),
    "reshape" => x[0].reshape(&a.list("shape")[..]),
    "permute" => x[0].permute(&a.list("axes")),
    "narrow" => x[0].narrow(a.count("axis"), a.count("start"), a.count("len")),
    "pad_with_zeros" => x[0].pad_with_zeros(a.count("axis"), a.count("start"), a.count("total")),
    "concat" => concat(&x.iter().collect::<Vec<_>>(), a.count("axis")),
    "pad2d" => x[0].pad2d(a.pad()),
    "index_select" => x[0].index_select(&a.list("rows")),
    "shift2d" => {
        let moves = a.0["moves"].as_array().unwrap().iter().map(|m| m.as_f64().unwrap() as f32);
        let moves: Vec<f32> = moves.collect();
        x[0].shift2d(&Tensor::from_slice(&moves, [moves.len() / 3, 3]).to_device(&x[0].device()))
    },
    "pairwise_l1" => x[0].pairwise_l1(),
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
