//! Compares whole networks with PyTorch, and tests their state dicts.

mod common;

use common::{arrays, assert_close, cases, state_dict, values};
use nn::{Mode, Network, NnError, Recipe, TensorProblem};
use tensor::HostTensor;
use tensor::rng::Philox;

/// The networks of a golden case with PyTorch's weights.
fn golden_pair(case: &serde_json::Value) -> (String, Network, Network) {
    let name = case["network"].as_str().expect("a name");
    let attrs = &case["attrs"];
    let number = |value: &serde_json::Value| value.as_u64().expect("a number") as usize;
    let mut recipe = Recipe::preset("torch").expect("a preset");
    recipe.image.size = [number(&attrs["image"][0]), number(&attrs["image"][1])];
    recipe.image.channels = number(&attrs["image"][2]);
    recipe.generator.latent = number(&attrs["latent"]);
    recipe.generator.width = number(&attrs["width"]);
    recipe.discriminator.width = number(&attrs["width"]);
    assert_eq!(recipe.levels(), number(&attrs["levels"]));
    let (g, d) = recipe.build(&mut Philox::new(1, 0)).expect("a valid recipe");
    g.load_state_dict(&state_dict(&format!("{name}-g.safetensors"))).expect("PyTorch's generator");
    d.load_state_dict(&state_dict(&format!("{name}-d.safetensors")))
        .expect("PyTorch's discriminator");
    (name.into(), g, d)
}

#[test]
fn networks_match_pytorch() {
    let all = arrays("networks.safetensors");
    let cases = cases("networks.json");
    assert!(cases.len() >= 2);
    for case in &cases {
        let (name, g, d) = golden_pair(case);
        let at = |key: &str| format!("{name}/{key}");
        for (net, input, output) in [(&g, "z", "image"), (&d, "x", "logits")] {
            for (mode, suffix) in
                [(Mode::SAMPLE, "eval"), (Mode::BATCH, "train"), (Mode::TRAIN, "train")]
            {
                let key = at(&format!("{output}_{suffix}"));
                let out = net.forward(&all[&at(input)].tensor(), mode);
                assert_close(&key, &out.to_vec(), &all[&key], 1e-5);
                let expected = &all[&key].shape[..];
                assert_eq!(
                    out.shape()[..],
                    *if output == "logits" { &expected[..1] } else { expected },
                    "{key}"
                );
                if mode == Mode::SAMPLE {
                    let folded = net.folded();
                    assert!(
                        folded.layers().len() < net.layers().len(),
                        "{name}: no batch norm was folded"
                    );
                    // Two passes: the second uses what the first cached. The output is
                    // batch-invariant: the bits are the same in a batch and alone.
                    let x = all[&at(input)].tensor();
                    let draw = |x: &tensor::Tensor| {
                        tensor::batch_invariant(|| folded.forward(x, mode)).to_vec()
                    };
                    let [first, second, alone] = [draw(&x), draw(&x), draw(&x.narrow(0, 0, 1))];
                    assert_close(&format!("{key}, folded"), &first, &all[&key], 1e-5);
                    assert!(first == second && first[..alone.len()] == alone[..], "{key}, folded");
                }
            }
        }
    }
}

#[test]
fn pytorch_state_dicts_come_back_bit_for_bit() {
    for case in &cases("networks.json") {
        let (name, g, d) = golden_pair(case);
        assert_eq!(g.state_dict(), state_dict(&format!("{name}-g.safetensors")));
        assert_eq!(d.state_dict(), state_dict(&format!("{name}-d.safetensors")));
    }
}

#[test]
fn every_preset_state_dict_comes_back_bit_for_bit() {
    for name in Recipe::names() {
        let mut recipe = Recipe::preset(name).expect("a preset");
        (recipe.generator.width, recipe.discriminator.width) = (3, 5);
        let (g, d) = recipe.build(&mut Philox::new(1, 0)).expect("a valid recipe");
        let (g2, d2) = recipe.build(&mut Philox::new(2, 0)).expect("a valid recipe");
        for (from, to) in [(&g, &g2), (&d, &d2)] {
            assert_ne!(values(from), values(to), "{name}: the seed matters");
            let state = from.state_dict();
            to.load_state_dict(&state).expect("the same recipe");
            assert_eq!(values(from), values(to), "{name}");
            assert_eq!(state, to.state_dict(), "{name}");
        }
    }
}

#[test]
fn the_linear_stem_flattens_as_pytorch_does() {
    // Only one unit of the stem is on: the lit pixel must be at the index that PyTorch's order C,
    // H, W gives.
    let mut recipe = Recipe::preset("newmu-svhn").expect("a preset");
    recipe.image.size = [8, 14];
    (recipe.generator.width, recipe.generator.latent, recipe.discriminator.width) = (3, 2, 3);
    let (g, d) = recipe.build(&mut Philox::new(1, 0)).expect("a valid recipe");
    let (sh, sw) = (recipe.base_size()[0], recipe.base_size()[1]);
    let channels = 3 << (recipe.levels() - 1);
    let (c, h, w) = (1, sh - 1, 2);
    let mut state = g.state_dict();
    let units = sh * sw * channels;
    let mut weight = vec![0.0; units * 2];
    weight[(c * sh * sw + h * sw + w) * 2] = 1.0;
    state.insert("main.0.weight".into(), HostTensor::f32(vec![units, 2], weight));
    let mut kernel = vec![0.0; channels * 3 * 25];
    // The center tap from channel c to red.
    kernel[(c * 3) * 25 + 12] = 1.0;
    let last = "main.4.weight";
    assert_eq!(state[last].shape, [channels, 3, 5, 5]);
    state.insert(last.into(), HostTensor::f32(vec![channels, 3, 5, 5], kernel));
    g.load_state_dict(&state).expect("the same shapes");
    let z = tensor::Tensor::from_slice(&[1.0, 0.0], [1, 2]);
    let image = g.forward(&z, Mode::SAMPLE).to_vec();
    let lit: Vec<usize> = (0..image.len()).filter(|&i| image[i].abs() > 1e-3).collect();
    assert_eq!(lit, [(2 * h * 14 + 2 * w) * 3]);

    // The head must read the units in the same order.
    let mut state = d.state_dict();
    let head = "main.3.weight";
    assert_eq!(state[head].shape, [1, units]);
    let ramp: Vec<f32> = (0..units).map(|i| i as f32).collect();
    state.insert(head.into(), HostTensor::f32(vec![1, units], ramp));
    let mut kernel = vec![0.0; 3 * 3 * 25];
    kernel[(c * 3) * 25 + 12] = 1.0;
    state.insert("main.0.weight".into(), HostTensor::f32(vec![3, 3, 5, 5], kernel));
    d.load_state_dict(&state).expect("the same shapes");
    let mut image = vec![0.0; 8 * 14 * 3];
    image[(2 * h * 14 + 2 * w) * 3] = 1.0;
    let logit = d.forward(&tensor::Tensor::from_slice(&image, [1, 8, 14, 3]), Mode::SAMPLE);
    assert_eq!(logit.shape()[..], [1]);
    assert_eq!(logit.item(), (c * sh * sw + h * sw + w) as f32);
}

#[test]
fn a_state_dict_that_does_not_fit_is_refused_whole() {
    let recipe =
        Recipe::from_toml("base = \"small\"\n[generator]\nwidth = 2\n[discriminator]\nwidth = 2\n")
            .expect("valid");
    let (g, _) = recipe.build(&mut Philox::new(1, 0)).expect("a valid recipe");
    let good = g.state_dict();
    let name = |name: &str| format!("main.{name}");
    let bias = |value| move |s: &mut nn::StateDict| drop(s.insert("main.1.bias".into(), value));
    type Change = Box<dyn FnOnce(&mut nn::StateDict)>;
    let wrong_shape = |name: String, expected: &[usize], found: &[usize]| NnError::WrongShape {
        name,
        expected: expected.into(),
        found: found.into(),
    };
    let bad = |problem| NnError::BadTensor { name: name("1.bias"), problem };
    let changes: [(Change, NnError); 7] = [
        (
            Box::new(|s| drop(s.remove("main.1.running_var"))),
            NnError::MissingTensor { name: name("1.running_var"), shape: vec![4] },
        ),
        (
            Box::new(|s| {
                let value = s["main.1.bias"].clone();
                s.insert("main.1.biass".into(), value);
            }),
            NnError::UnexpectedTensor {
                name: name("1.biass"),
                shape: vec![4],
                known: good.keys().cloned().collect(),
            },
        ),
        (
            Box::new(bias(HostTensor::f32(vec![5], vec![0.0; 5]))),
            wrong_shape(name("1.bias"), &[4], &[5]),
        ),
        (
            Box::new(|s| {
                let value = HostTensor::f32(vec![2, 4, 4, 4], vec![0.0; 128]);
                s.insert("main.3.weight".into(), value);
            }),
            wrong_shape(name("3.weight"), &[4, 2, 4, 4], &[2, 4, 4, 4]),
        ),
        (
            Box::new(bias(HostTensor::f32(vec![4], vec![0.0; 3]))),
            bad(TensorProblem::Elements { elements: 3, shape: vec![4] }),
        ),
        (
            Box::new(bias(HostTensor::i64(vec![4], vec![0; 4]))),
            bad(TensorProblem::Type { found: "I64", expected: "F32" }),
        ),
        (
            Box::new(|s| {
                let value = HostTensor::i64(vec![1], vec![0]);
                s.insert("main.1.num_batches_tracked".into(), value);
            }),
            wrong_shape(name("1.num_batches_tracked"), &[], &[1]),
        ),
    ];
    for (change, expected) in changes {
        // The first tensor would fit: it must not be loaded when a later one fails.
        let mut state = good.clone();
        state.insert(
            "main.0.weight".into(),
            HostTensor::f32(vec![100, 4, 7, 7], vec![9.0; 100 * 4 * 49]),
        );
        change(&mut state);
        let mut error = g.load_state_dict(&state).expect_err("does not fit");
        assert!(!error.to_string().contains('\n'), "{error}");
        if let NnError::UnexpectedTensor { known, .. } = &mut error {
            known.sort();
        }
        assert_eq!(error, expected);
        assert_eq!(g.state_dict(), good, "{expected}: changed the network");
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let (_, g, _) = golden_pair(&cases("networks.json")[0]);
    let good = g.state_dict();
    for (name, value) in [
        ("main.0.weight", f32::NAN),
        ("main.1.running_var", f32::INFINITY),
        ("main.4.bias", f32::NEG_INFINITY),
    ] {
        let mut bad = good.clone();
        let tensor = bad.get_mut(name).expect("a tensor");
        let mut values = tensor.as_f32().expect("floats").to_vec();
        values[3] = value;
        *tensor = HostTensor::f32(tensor.shape.clone(), values);
        match g.load_state_dict(&bad) {
            Err(NnError::NonFiniteTensor { name: found, value: held, index: 3 }) => {
                assert!(found == name && held.to_bits() == value.to_bits(), "{found} {held}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(g.state_dict(), good, "unchanged");
    }
}

#[test]
fn state_dicts_of_other_programs_may_have_a_prefix_and_lack_counts() {
    let (_, g, _) = golden_pair(&cases("networks.json")[0]);
    let good = g.state_dict();
    let renamed = |prefix: &str, counts: bool| -> nn::StateDict {
        let kept = good.iter().filter(|(name, _)| counts || !name.ends_with("batches_tracked"));
        kept.map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
    };
    for prefix in ["module.", "_orig_mod.", "netG.module.", ""] {
        g.import_state_dict(renamed(prefix, true)).expect(prefix);
        assert_eq!(g.state_dict(), good, "{prefix}");
        g.import_state_dict(renamed(prefix, false)).expect(prefix);
        for (name, tensor) in g.state_dict() {
            let expected = if name.ends_with("batches_tracked") {
                HostTensor::scalar_i64(0)
            } else {
                good[&name].clone()
            };
            assert_eq!(tensor, expected, "{prefix}{name}");
        }
        g.load_state_dict(&good).expect("the network's own");
    }
    // A prefix of only some names is not removed, and no other tensor may be missing.
    let mut mixed = renamed("module.", true);
    let (name, tensor) = mixed.pop_last().expect("not empty");
    mixed.insert(name.replace("module.", ""), tensor);
    assert!(matches!(g.import_state_dict(mixed), Err(NnError::MissingTensor { .. })));
    let mut short = renamed("module.", true);
    short.remove("module.main.0.weight");
    match g.import_state_dict(short) {
        Err(NnError::MissingTensor { name, .. }) => assert_eq!(name, "main.0.weight"),
        other => panic!("{other:?}"),
    }
    // A conversion of all tensors to one type makes counts fractions.
    let mut converted = good.clone();
    let mut variance = None;
    for (name, tensor) in &mut converted {
        if name.ends_with("batches_tracked") {
            *tensor = HostTensor::f32(Vec::new(), vec![7.0]);
        }
        if name.ends_with("running_var") {
            variance = Some((name.clone(), tensor.clone()));
        }
    }
    g.import_state_dict(converted.clone()).expect("whole counts");
    let state = g.state_dict();
    let mut counts = state.iter().filter(|(name, _)| name.ends_with("batches_tracked"));
    assert!(counts.all(|(_, count)| *count == HostTensor::scalar_i64(7)));
    for count in [f32::INFINITY, f32::NAN, -1.0, 0.5, 1e30] {
        let mut wrong = good.clone();
        wrong.insert("main.1.num_batches_tracked".into(), HostTensor::f32(Vec::new(), vec![count]));
        let result = g.import_state_dict(wrong);
        assert!(matches!(result, Err(NnError::BadTensor { .. })), "{count}: {result:?}");
    }
    let (name, tensor) = variance.expect("batch norm");
    let mut values = tensor.as_f32().unwrap().to_vec();
    values[0] = -1e-3;
    converted.insert(name.clone(), HostTensor::f32(tensor.shape, values));
    match g.import_state_dict(converted) {
        Err(NnError::BadTensor { name: bad, problem }) => {
            assert_eq!((bad, problem), (name, TensorProblem::Variance { value: -1e-3, index: 0 }));
        }
        other => panic!("{other:?}"),
    }
}
