//! Compares every preset with a PyTorch implementation of its source that has the same weights
//! (generator: `xtask/golden/recipes.py`, whose header describes the files). Weights and inputs are
//! not stored: both sides compute them by one formula.

mod common;

use common::{Golden, arrays, assert_close, cases};
use nn::{ForwardCtx, Mode, Network, Recipe, StateDict};
use serde_json::Value;
use std::collections::BTreeMap;
use tensor::rng::Philox;
use tensor::{HostTensor, Tensor, TensorData};

/// The values of the formula, in [−1, 1).
fn uniform(name: &str, count: usize) -> Vec<f32> {
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let number = |i: usize| {
        let mut x = (i as u32).wrapping_mul(0x9e37_79b1).wrapping_add(hash);
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        (x >> 8) as f32 * (0.5f32).powi(23) - 1.0
    };
    (0..count).map(number).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// A state dict computed by the formula: exactly the tensors of the source's network, and counters.
fn filled(prefix: &str, net: &Network, table: &Value) -> StateDict {
    let table = table.as_object().expect("tensors");
    let state = net.state_dict();
    let floats: BTreeMap<_, _> = state
        .iter()
        .filter(|(_, value)| matches!(value, HostTensor { data: TensorData::F32(_), .. }))
        .collect();
    assert!(
        floats.keys().copied().eq(table.keys()),
        "{prefix}: {:?} and {:?}",
        floats.keys(),
        table.keys()
    );
    let mut filled = state.clone();
    for (name, scaled) in table {
        let shape: Vec<usize> =
            scaled[0].as_array().expect("a shape").iter().map(|n| number(n) as usize).collect();
        assert_eq!(state[name].shape, shape, "{prefix}/{name}");
        let (scale, offset) = (number(&scaled[1]) as f32, number(&scaled[2]) as f32);
        let data = uniform(&format!("{prefix}/{name}"), shape.iter().product());
        let data = data.iter().map(|u| u * scale + offset).collect();
        filled.insert(name.clone(), HostTensor::f32(shape, data));
    }
    filled
}

/// Compares the norm and projection of a tensor with the expected ones. The error is relative to
/// the expected norm or, where that is practically zero (a bias before batch norm), to a hundredth
/// of the largest norm in the network.
#[track_caller]
fn assert_two_numbers(name: &str, value: &HostTensor, expected: &Value, largest: f64) {
    let HostTensor { data: TensorData::F32(data), .. } = value else { panic!("{name} is I64") };
    let (norm, projection) = (number(&expected[0]), number(&expected[1]));
    let project = uniform(&format!("{name}/project"), data.len());
    let found_norm = data.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let found = data.iter().zip(&project).map(|(v, p)| f64::from(*v) * f64::from(*p)).sum::<f64>();
    let error =
        (found_norm - norm).abs().max((found - projection).abs()) / norm.max(1e-2 * largest);
    assert!(
        error < 3e-5,
        "{name}: {error:e}; norm {found_norm}, not {norm}; projection {found}, not {projection}"
    );
}

/// The tensors of one network ("g/…" or "d/…") in a table of norms and projections, with the
/// largest norm.
fn norms<'a>(table: &'a Value, letter: &str) -> (Vec<(&'a str, &'a Value)>, f64) {
    let prefix = format!("{letter}/");
    let all = table.as_object().expect("tensors").iter();
    let own: Vec<_> =
        all.filter_map(|(name, two)| Some((name.strip_prefix(&prefix)?, two))).collect();
    let largest = own.iter().map(|(_, two)| number(&two[0])).fold(0.0, f64::max);
    (own, largest)
}

/// Checks one network: a training pass, its gradients, the buffers after it, and a sampling pass.
fn compare(
    case: &Value,
    all: &BTreeMap<String, Golden>,
    letter: &str,
    net: &Network,
    x: &Tensor,
    condition: Option<&Tensor>,
) {
    let recipe = case["recipe"].as_str().expect("a name");
    let what = if letter == "g" { "image" } else { "logits" };
    let prefix = format!("{recipe}/{letter}");
    net.load_state_dict(&filled(&prefix, net, &case[letter]))
        .expect("the source's names and shapes");
    let outputs_match = |out: &Tensor, mode: &str| {
        let stride = number(&case["stride"][format!("{what}_{mode}")]) as usize;
        let key = format!("{recipe}/{what}_{mode}");
        let kept: Vec<f32> = out.to_vec().into_iter().step_by(stride).collect();
        assert_close(&key, &kept, &all[&key], 1e-5);
    };

    let out = net.forward(x, ForwardCtx::from(Mode::TRAIN).with_condition(condition));
    outputs_match(&out, "train");
    let weights =
        Tensor::from_slice(&uniform(&format!("{recipe}/d{what}"), out.len()), *out.shape());
    let gradients = out.mul(&weights).sum_all().backward();
    drop(out);
    let after = net.state_dict();
    let (buffers, largest) = norms(&case["after"], letter);
    buffers.iter().for_each(|(name, two)| {
        assert_two_numbers(&format!("{prefix}/{name}"), &after[*name], two, largest)
    });

    let out = net.forward(x, ForwardCtx::from(Mode::SAMPLE).with_condition(condition));
    outputs_match(&out, "eval");

    // Stored as parameters of the network, gradients are saved in PyTorch's layouts.
    for (name, param) in net.params() {
        let gradient =
            gradients.get(param.key()).unwrap_or_else(|| panic!("{prefix}/{name} has no gradient"));
        param.set(gradient.clone());
    }
    let (expected, largest) = norms(&case["gradients"], letter);
    let gradients = net.state_dict();
    for (name, _) in net.params() {
        let (_, two) = expected
            .iter()
            .find(|(own, _)| *own == name)
            .unwrap_or_else(|| panic!("{prefix}/{name} is not trained there"));
        assert_two_numbers(&format!("{prefix}/{name}"), &gradients[&name], two, largest);
    }
    assert_eq!(expected.len(), net.params().len(), "{prefix}");
}

#[test]
fn every_preset_matches_its_source() {
    let all = arrays("presets.safetensors");
    let cases = cases("presets.json");
    let named: Vec<_> = cases.iter().map(|case| case["recipe"].as_str().expect("a name")).collect();
    assert!(Recipe::names().eq(named.iter().copied()), "{named:?}");
    for case in &cases {
        let name = case["recipe"].as_str().expect("a name");
        let changes = case["changes"].as_array().expect("changes").iter();
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let changes: Vec<_> = changes.map(|change| (text(&change[0]), text(&change[1]))).collect();
        let recipe = Recipe::preset(name).expect("a preset").with(&changes).expect("valid");
        let (g, d) = recipe.build(&mut Philox::new(1, 0)).expect("valid");
        let [n_g, n_d] = [0, 1].map(|i| number(&case["batch"][i]) as usize);
        let salted = |input: &str| format!("{name}/{}/{input}", case["salt"]);
        let ([h, w], channels) = (recipe.image.size, recipe.image.channels);
        let latent = recipe.generator.latent;
        let z = Tensor::from_slice(&uniform(&salted("z"), n_g * latent), [n_g, latent]);
        let x = Tensor::from_slice(
            &uniform(&salted("x"), n_d * h * w * channels),
            [n_d, h, w, channels],
        );
        let x = recipe.image.range.to_network_range(&x);
        let conditional = recipe.condition.is_some() && !recipe.objective.semi_supervised;
        let condition = |n| conditional.then(|| recipe.example_conditions(n));
        compare(case, &all, "g", &g, &z, condition(n_g).as_ref());
        compare(case, &all, "d", &d, &x, condition(n_d).as_ref());
    }
}
