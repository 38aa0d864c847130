//! Compares layers and Adam with PyTorch in float64 (xtask/golden/networks.py).

mod common;

use common::{Golden, arrays, assert_close, cases, floats};
use nn::layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Linear, Pool2d, PoolKind, Reshape, Upsample, Window,
};
use nn::{
    BatchNormStats, Layer, Mode, Network, Optimizer, OptimizerKind, OptimizerOptions, StateDict,
};
use serde_json::Value;
use std::collections::BTreeMap;
use tensor::autograd::{Gradients, grad};
use tensor::{Activation, Device, FiniteCheck, HostTensor, Tensor, TensorData};

const TOLERANCE: f64 = 5e-6;

fn pair(attrs: &Value, key: &str) -> [usize; 2] {
    serde_json::from_value(attrs[key].clone()).expect("two numbers")
}

fn real(attrs: &Value, key: &str) -> f32 {
    attrs[key].as_f64().expect("a number") as f32
}

fn f32s(golden: &Golden) -> HostTensor {
    HostTensor::f32(golden.shape.clone(), golden.data.iter().map(|&x| x as f32).collect())
}

fn layer(kind: &str, attrs: &Value, weight: &[usize]) -> Layer {
    let window = || {
        let [top, left] = pair(attrs, "padding");
        Window {
            kernel: pair(attrs, "kernel"),
            stride: pair(attrs, "stride"),
            pad: [[top; 2], [left; 2]],
        }
    };
    match kind {
        "linear" => Layer::from(Linear::new(weight[1], weight[0], true)),
        "conv2d" => Layer::from(Conv2d::new(weight[1], weight[0], window(), true)),
        "conv_transpose2d" => Layer::from(ConvTranspose2d::new(
            weight[0],
            weight[1],
            window(),
            pair(attrs, "output_padding"),
            true,
        )),
        "batch_norm2d" => {
            Layer::from(BatchNorm::new(weight[0], real(attrs, "eps"), real(attrs, "momentum")))
        }
        other => panic!("unknown layer {other}"),
    }
}

/// The gradient of a weight in PyTorch's layout, computed independently of the code under test.
fn outer(kind: &str, gradient: &Tensor) -> Vec<f32> {
    match kind {
        "linear" => gradient.transpose().to_vec(),
        "batch_norm2d" => gradient.to_vec(),
        _ => gradient.permute(&[3, 2, 0, 1]).to_vec(),
    }
}

/// Runs x → out, gout → dx, dweight, dbias of one case under `mode`. `key` makes the full name of
/// an array.
fn check(
    net: &Network,
    kind: &str,
    mode: Mode,
    all: &BTreeMap<String, Golden>,
    key: impl Fn(&str) -> String,
) {
    let x = all[&key("x")].tensor().leaf();
    let out = net.forward(&x, mode);
    assert_eq!(out.shape()[..], all[&key("out")].shape[..], "{}", key("out"));
    assert_close(&key("out"), &out.to_vec(), &all[&key("out")], TOLERANCE);
    let mut wanted = vec![x.id().expect("a leaf")];
    wanted.extend(net.param_ids());
    let grads = grad(&[(&out, &all[&key("gout")].tensor())], &wanted, false);
    let [dx, dweight, dbias] = &grads[..] else { panic!("three gradients") };
    for (name, value) in [("dx", dx), ("dbias", dbias)] {
        assert_close(
            &key(name),
            &value.as_ref().expect("a gradient").to_vec(),
            &all[&key(name)],
            TOLERANCE,
        );
    }
    assert_close(
        &key("dweight"),
        &outer(kind, dweight.as_ref().expect("a gradient")),
        &all[&key("dweight")],
        TOLERANCE,
    );
}

#[test]
fn layers_match_pytorch() {
    let all = arrays("layers.safetensors");
    let mut seen = 0;
    for case in cases("layers.json") {
        let (name, kind) =
            (case["case"].as_str().expect("a name"), case["layer"].as_str().expect("a kind"));
        if !["linear", "conv2d", "conv_transpose2d"].contains(&kind) {
            continue;
        }
        let weight = &all[&format!("{name}/weight")];
        let net = Network::new(vec![("l".into(), layer(kind, &case["attrs"], &weight.shape))]);
        let state: StateDict = ["weight", "bias"]
            .map(|p| (format!("l.{p}"), f32s(&all[&format!("{name}/{p}")])))
            .into_iter()
            .collect();
        net.load_state_dict(&state).expect("PyTorch's shapes");
        assert_eq!(net.state_dict(), state, "{name}");
        check(&net, kind, Mode::TRAIN, &all, |key| format!("{name}/{key}"));
        seen += 1;
    }
    assert!(seen >= 13, "only {seen} cases");
}

#[test]
fn batch_norm_matches_pytorch() {
    let all = arrays("layers.safetensors");
    let mut seen = 0;
    for case in cases("layers.json").iter().filter(|case| case["layer"] == "batch_norm2d") {
        let name = case["case"].as_str().expect("a name");
        let at = |key: &str| format!("{name}/{key}");
        let weight = &all[&at("weight")];
        let net =
            Network::new(vec![("bn".into(), layer("batch_norm2d", &case["attrs"], &weight.shape))]);
        let mut state = net.state_dict();
        for part in ["weight", "bias"] {
            state.insert(format!("bn.{part}"), f32s(&all[&at(part)]));
        }
        net.load_state_dict(&state).expect("PyTorch's shapes");
        for i in 0..case["attrs"]["batches"].as_u64().expect("a count") {
            check(&net, "batch_norm2d", Mode::TRAIN, &all, |key| at(&format!("{key}/{i}")));
            let state = net.state_dict();
            for part in ["running_mean", "running_var"] {
                let key = at(&format!("{part}/{i}"));
                assert_close(&key, floats(&state, &format!("bn.{part}")), &all[&key], TOLERANCE);
            }
        }
        let before = net.state_dict();
        assert_eq!(
            before["bn.num_batches_tracked"],
            HostTensor::scalar_i64(all[&at("num_batches_tracked")].data[0] as i64)
        );
        check(
            &net,
            "batch_norm2d",
            Mode { statistics: BatchNormStats::Running, track: true },
            &all,
            |key| at(&format!("eval/{key}")),
        );
        // The untracked path folds scale and offset into one pass.
        let folded = net.forward(&all[&at("eval/x")].tensor(), Mode::SAMPLE);
        assert_close(&at("eval/out"), &folded.to_vec(), &all[&at("eval/out")], TOLERANCE);
        net.forward(&all[&at("x/0")].tensor(), Mode::BATCH);
        assert_eq!(net.state_dict(), before, "{name}: only training moves the running statistics");
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} cases");
}

#[test]
fn adam_matches_pytorch() {
    let all = arrays("layers.safetensors");
    for case in cases("layers.json").iter().filter(|case| case["layer"] == "adam") {
        let (name, attrs) = (case["case"].as_str().expect("a name"), &case["attrs"]);
        let at = |key: &str| format!("{name}/{key}");
        // The three arrays of the case are parameters of a network; γ has no gradient and must not
        // change.
        let net = Network::new(vec![
            ("a".into(), Layer::from(Linear::new(5, 7, false))),
            ("b".into(), Layer::from(BatchNorm::new(3, 1e-5, 0.1))),
            ("c".into(), Layer::from(BatchNorm::new(1, 1e-5, 0.1))),
        ]);
        let places = [("weight", "a.weight"), ("bias", "b.bias"), ("scalar", "c.bias")];
        let reshaped = |golden: &Golden| match (golden.shape.is_empty(), f32s(golden)) {
            (true, HostTensor { data: TensorData::F32(data), .. }) => {
                HostTensor::f32(vec![1], data)
            }
            (_, value) => value,
        };
        let mut state = net.state_dict();
        for (key, place) in places {
            state.insert(place.into(), reshaped(&all[&at(&format!("param/{key}"))]));
        }
        net.load_state_dict(&state).expect("shapes that fit");
        let betas = attrs["betas"].as_array().expect("a list");
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        let (beta1, beta2, eps) = (number(&betas[0]), number(&betas[1]), number(&attrs["eps"]));
        let rule = OptimizerKind::Adam { beta1, beta2, eps, decoupled: false };
        let options = OptimizerOptions {
            rule,
            lr: number(&attrs["lr"]),
            weight_decay: number(&attrs["weight_decay"]),
        };
        let mut adam = Optimizer::new(&net, options);
        for step in 0..attrs["steps"].as_u64().expect("a count") {
            let grads: Gradients = net
                .params()
                .iter()
                .filter_map(|(param, owner)| {
                    let (key, place) = places.iter().find(|(_, place)| place == param)?;
                    let grad = all[&at(&format!("grad/{step}/{key}"))].tensor();
                    let grad = if *place == "a.weight" {
                        grad.transpose()
                    } else {
                        grad.reshape([grad.len()])
                    };
                    Some((owner.key(), grad))
                })
                .collect();
            adam.step(&net, &grads, &FiniteCheck::new(&Device::Cpu));
            let state = net.state_dict();
            for (key, place) in places {
                let (after, first) =
                    (&all[&at(&format!("after/{step}/{key}"))], &all[&at(&format!("param/{key}"))]);
                let values = floats(&state, place);
                assert_close(&at(&format!("after/{step}/{key}")), values, after, 1e-6);
                // The total update is far smaller than the values: compare it separately, up to the
                // rounding of each step.
                let way = |to: &[f64]| {
                    to.iter().zip(&first.data).map(|(a, b)| a - b).collect::<Vec<f64>>()
                };
                let largest = |v: &[f64]| v.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                let expected = way(&after.data);
                let found = way(&values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
                let error =
                    found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let rounding = (step + 1) as f64 * 6e-8 * largest(&after.data);
                assert!(
                    error <= 1e-4 * largest(&expected) + rounding,
                    "{name}, step {step}, {key}: {error:e}, rounding {rounding:e}"
                );
            }
            assert_eq!(floats(&state, "b.weight"), [1.0; 3]);
        }
        let moments = adam.state();
        // 1 - beta2 in f32 has a relative error of 1.3e-5, in v and in its bias correction alike,
        // so the steps above do not detect it.
        for (key, place) in places {
            for (moment, suffix) in [("exp_avg", "m"), ("exp_avg_sq", "v")] {
                let golden = &all[&at(&format!("{moment}/{key}"))];
                assert_close(
                    &at(&format!("{moment}/{key}")),
                    floats(&moments, &format!("{place}.{suffix}")),
                    golden,
                    2e-5,
                );
            }
        }
        assert_eq!(moments["steps"], HostTensor::scalar_i64(10));
    }
}

#[test]
fn layers_without_numbers() {
    let x = Tensor::from_slice(&(0..16).map(|i| i as f32).collect::<Vec<_>>(), [1, 4, 4, 1]);
    let run = |layers: Vec<Layer>| {
        let layers = layers.into_iter().enumerate().map(|(i, l)| (i.to_string(), l)).collect();
        Network::new(layers).forward(&x, Mode::SAMPLE)
    };
    let pool = |kind| Layer::from(Pool2d { kind, kernel: [2, 2], stride: [2, 2] });
    assert_eq!(run(vec![pool(PoolKind::Max)]).to_vec(), [5.0, 7.0, 13.0, 15.0]);
    assert_eq!(run(vec![pool(PoolKind::Average)]).to_vec(), [2.5, 4.5, 10.5, 12.5]);
    let grown = run(vec![
        pool(PoolKind::Max),
        Layer::from(Upsample([2, 1])),
        Layer::from(Reshape(vec![8])),
    ]);
    assert_eq!(grown.shape()[..], [1, 8]);
    assert_eq!(grown.to_vec(), [5.0, 7.0, 5.0, 7.0, 13.0, 15.0, 13.0, 15.0]);
    // Consecutive activations, and an activation after a layer that has no fused kernel for it.
    let twice = run(vec![
        Layer::from(Reshape(vec![16])),
        Layer::from(Activation::LeakyRelu(0.5)),
        Layer::from(Activation::Relu),
        Layer::from(Activation::None),
        Layer::from(Activation::Tanh),
    ]);
    assert_eq!(twice.to_vec(), x.relu().tanh().to_vec());
}
