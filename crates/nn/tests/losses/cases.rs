//! The golden cases, on any device.

use crate::common::{Golden, arrays, assert_close, cases, floats};
use nn::augment::{AugmentParams, Augmentation};
use nn::layers::{BatchNorm, Linear};
use nn::loss::{self, ClassTargets, FeatureNorm, GanLoss, HistoricalAverage};
use nn::optim::{clip_gradients, clip_weights};
use nn::recipe::variant_names;
use nn::{Layer, Network, Optimizer, OptimizerKind, OptimizerOptions, Param, StateDict};
use serde_json::Value;
use std::collections::BTreeMap;
use tensor::autograd::Gradients;
use tensor::distributed::BatchShard;
use tensor::{ConvGeom, Device, FiniteCheck, HostTensor, Tensor, conv2d};

const TOLERANCE: f64 = 5e-6;

/// One case: its inputs and the expected results.
struct Case<'a> {
    name: String,
    attrs: Value,
    all: &'a BTreeMap<String, Golden>,
    device: &'a Device,
}

impl Case<'_> {
    fn golden(&self, key: &str) -> &Golden {
        let key = format!("{}/{key}", self.name);
        self.all.get(&key).unwrap_or_else(|| panic!("no array {key}"))
    }

    /// An input array on the device.
    fn tensor(&self, key: &str) -> Tensor {
        self.golden(key).tensor().to_device(self.device)
    }

    fn number(&self, key: &str) -> f64 {
        self.attrs[key].as_f64().unwrap_or_else(|| panic!("{}: {key}", self.name))
    }

    fn close(&self, key: &str, found: &Tensor) {
        assert_close(&format!("{}/{key}", self.name), &found.to_vec(), self.golden(key), TOLERANCE);
    }

    /// A loss with its gradients with respect to the leaves of these names.
    fn loss(&self, what: &str, value: &Tensor, by: &[(&str, &Tensor)]) {
        let what = format!("loss/{what}");
        self.close(&what, value);
        let gradients = value.backward();
        for (name, leaf) in by {
            let found = gradients.of(leaf).cloned().unwrap_or_else(|| Tensor::zeros(*leaf.shape()));
            self.close(&format!("{what}/{name}"), &found);
        }
    }
}

/// Runs the cases of one kind, of which there must be `count`.
fn each(kind: &str, count: usize, device: &Device, test: impl Fn(&Case<'_>)) {
    let all = arrays("losses.safetensors");
    let mut seen = 0;
    for case in cases("losses.json").iter().filter(|case| case["kind"] == kind) {
        let name = case["case"].as_str().expect("a name").to_owned();
        test(&Case { name, attrs: case["attrs"].clone(), all: &all, device });
        seen += 1;
    }
    assert_eq!(seen, count, "cases of {kind}");
}

pub fn objectives(device: &Device) {
    each("objective", variant_names::<GanLoss>().len(), device, |case| {
        let objective: GanLoss =
            serde_json::from_value(case.attrs["objective"].clone()).expect("an objective");
        let (real, fake) = (case.tensor("real").leaf(), case.tensor("fake").leaf());
        let by = [("real", &real), ("fake", &fake)];
        case.loss("real", &objective.real(&real, None), &by);
        case.loss("fake", &objective.fake(&fake, None), &by);
        case.loss("generator", &objective.generator(&fake), &by);
        let all = BatchShard::whole(real.shape()[0]);
        let relativistic =
            |targets| objective.relativistic_discriminator(&real, &fake, targets, &all);
        let (on_real, on_fake) = relativistic((None, None));
        case.loss("relativistic_real", &on_real, &by);
        case.loss("relativistic_fake", &on_fake, &by);
        case.loss(
            "relativistic_generator",
            &objective.relativistic_generator(&real, &fake, &all),
            &by,
        );
        assert_eq!(objective.takes_targets(), case.attrs["targets"].as_bool().expect("a flag"));
        if objective.takes_targets() {
            let (for_real, for_fake) = (case.tensor("target_real"), case.tensor("target_fake"));
            case.loss("real_target", &objective.real(&real, Some(&for_real)), &by);
            case.loss("fake_target", &objective.fake(&fake, Some(&for_fake)), &by);
            case.loss("swapped_generator", &objective.swapped_generator(&fake), &by);
            let (on_real, on_fake) = relativistic((Some(&for_real), Some(&for_fake)));
            case.loss("relativistic_real_target", &on_real, &by);
            case.loss("relativistic_fake_target", &on_fake, &by);
        }
    });
}

/// A critic for images `[N, 6, 6, 2]`, with the architecture that `losses.py` describes.
fn critic(kind: &str, x: &Tensor, [w1, b1, w2]: [&Tensor; 3]) -> Tensor {
    let h = conv2d(x, w1, &ConvGeom::square([6, 6], 4, 2, 1)).add(b1);
    let h = match kind {
        "leaky" => h.leaky_relu(0.2),
        "norm" => {
            let centered = h.sub(&h.mean(&[1, 2, 3], true));
            let variance = centered.square().mean(&[1, 2, 3], true);
            centered.div(&variance.add_scalar(1e-5).sqrt()).tanh()
        }
        other => panic!("critic {other}"),
    };
    conv2d(&h, w2, &ConvGeom::square([3, 3], 3, 1, 0))
}

pub fn penalties(device: &Device) {
    each("penalty", 2, device, |case| {
        let kind = case.attrs["critic"].as_str().expect("a critic");
        let [w1, b1, w2] = ["w1", "b1", "w2"].map(|name| case.tensor(name).leaf());
        let by = [("w1", &w1), ("b1", &b1), ("w2", &w2)];
        let run = |x: &Tensor| critic(kind, x, [&w1, &b1, &w2]);
        let (real, fake, mix) = (case.tensor("real"), case.tensor("fake"), case.tensor("mix"));
        case.loss("gradient_penalty", &loss::gradient_penalty(&run, &real, &fake, &mix), &by);
        case.loss("r1", &loss::r1(&run, &real), &by);
    });
}

pub fn features_and_classes(device: &Device) {
    each("feature_matching", 1, device, |case| {
        let real = [case.tensor("real/0"), case.tensor("real/1").leaf()];
        let fake = [case.tensor("fake/0").leaf(), case.tensor("fake/1").leaf()];
        let by = [("fake/0", &fake[0]), ("fake/1", &fake[1])];
        let all = BatchShard::whole(real[0].shape()[0]);
        let matching = |norm| loss::feature_matching(&real, &fake, norm, &all);
        case.loss("l1", &matching(FeatureNorm::L1), &by);
        case.loss("l2", &matching(FeatureNorm::L2), &by);
        assert!(
            matching(FeatureNorm::L2).backward().of(&real[1]).is_none(),
            "real features are constants"
        );
    });
    each("semi_supervised", 3, device, |case| {
        let names = ["labeled_logits", "real_logits", "fake_logits"];
        let [labeled, real, fake] = names.map(|name| case.tensor(name).leaf());
        let by = [(names[0], &labeled), (names[1], &real), (names[2], &fake)];
        case.loss(
            "labeled",
            &loss::supervised_class_loss(&labeled, &case.tensor("one_hot"), None),
            &by,
        );
        // L_unl is the sum of the two halves; without labels L_lab is 0.
        let [on_real, on_fake] = [&real, &fake].map(loss::real_logit);
        let no_labels = Tensor::full_on(&real.device(), *real.shape(), 0.0);
        let unlabeled = loss::semi_supervised_real_loss(&real, &on_real, &no_labels, Some(0.0))
            .add(&loss::semi_supervised_fake_loss(&on_fake));
        case.loss("unlabeled", &unlabeled, &by);
        case.loss("real_logit", &loss::real_logit(&real).mul(&case.tensor("gout")).sum_all(), &by);
    });
    each("auxiliary", 6, device, |case| {
        let kind: ClassTargets =
            serde_json::from_value(case.attrs["targets"].clone()).expect("a kind");
        let logits = case.tensor("logits").leaf();
        case.loss(
            "value",
            &loss::auxiliary_classifier(&logits, &case.tensor("targets"), kind),
            &[("logits", &logits)],
        );
    });
}

/// The two arrays of a case as parameters of a network that also contains γ: their names in the
/// golden file and in the network.
const PLACES: [(&str, &str); 2] = [("weight", "a.weight"), ("bias", "b.bias")];

fn network(device: &Device) -> Network {
    let net = Network::new(vec![
        ("a".into(), Layer::from(Linear::new(5, 7, false))),
        ("b".into(), Layer::from(BatchNorm::new(3, 1e-5, 0.1))),
    ]);
    net.to_device(device);
    net
}

fn load(net: &Network, case: &Case<'_>, prefix: &str) {
    let mut state = net.state_dict();
    for (key, place) in PLACES {
        let golden = case.golden(&format!("{prefix}/{key}"));
        let data = golden.data.iter().map(|&x| x as f32).collect();
        state.insert(place.into(), HostTensor::f32(golden.shape.clone(), data));
    }
    net.load_state_dict(&state).expect("shapes that fit");
}

fn param<'a>(net: &'a Network, place: &str) -> &'a Param {
    net.params().into_iter().find(|(name, _)| name == place).expect("a parameter").1
}

/// The case's gradients, in this crate's layouts.
fn gradients(net: &Network, case: &Case<'_>, prefix: &str) -> Gradients {
    let grad = |key: &str, place: &str| {
        let grad = case.tensor(&format!("{prefix}/{key}"));
        (param(net, place).key(), if place == "a.weight" { grad.transpose() } else { grad })
    };
    PLACES.iter().map(|(key, place)| grad(key, place)).collect()
}

fn close_in(state: &StateDict, place: &str, case: &Case<'_>, key: &str, tolerance: f64) {
    assert_close(
        &format!("{}/{key}", case.name),
        floats(state, place),
        case.golden(key),
        tolerance,
    );
}

fn options(case: &Case<'_>) -> OptimizerOptions {
    let flag = |key: &str| case.attrs[key].as_bool().expect("a flag");
    let number = |key: &str| case.number(key);
    let rule = match case.attrs["rule"].as_str() {
        Some("adam") => OptimizerKind::Adam {
            beta1: number("beta1"),
            beta2: number("beta2"),
            eps: number("eps"),
            decoupled: flag("decoupled"),
        },
        Some("sgd") => {
            OptimizerKind::Sgd { momentum: number("momentum"), nesterov: flag("nesterov") }
        }
        Some("rms-prop") => OptimizerKind::RmsProp {
            alpha: number("alpha"),
            eps: number("eps"),
            momentum: number("momentum"),
        },
        other => panic!("rule {other:?}"),
    };
    OptimizerOptions { rule, lr: number("lr"), weight_decay: number("weight_decay") }
}

pub fn optimizers(device: &Device) {
    each("optimizer", 9, device, |case| {
        let net = network(device);
        load(&net, case, "param");
        let mut optimizer = Optimizer::new(&net, options(case));
        let guard = FiniteCheck::new(device);
        let steps = case.attrs["steps"].as_u64().expect("a count");
        for step in 0..steps {
            if step == steps / 2 {
                // Another optimizer resumes from the state of the first.
                let mut other = Optimizer::new(&net, options(case));
                other.load_state(&optimizer.state()).expect("the same network");
                assert_eq!(other.steps(), step);
                optimizer = other;
            }
            // Learning rate and momentum of each step, where they change.
            if let Some([rate, momentum]) =
                case.attrs["rates"][step as usize].as_array().map(Vec::as_slice)
            {
                optimizer.set_lr(rate.as_f64().expect("a rate"));
                optimizer.set_momentum(momentum.as_f64().expect("a momentum"));
            }
            let before = net.state_dict();
            let copies =
                optimizer.step(&net, &gradients(&net, case, &format!("grad/{step}")), &guard);
            assert_eq!(copies, 0, "{}: step {step}", case.name);
            let state = net.state_dict();
            for (key, place) in PLACES {
                close_in(&state, place, case, &format!("after/{step}/{key}"), 1e-6);
                assert_ne!(before[place], state[place], "{}: step {step}, {place}", case.name);
            }
            assert_eq!(floats(&state, "b.weight"), [1.0; 3], "γ has no gradient");
        }
        let state = optimizer.state();
        let memory: Vec<String> =
            serde_json::from_value(case.attrs["memory"].clone()).expect("names");
        assert_eq!(state.len(), 1 + 3 * memory.len(), "{:?}", state.keys());
        for name in memory {
            for (key, place) in PLACES {
                close_in(
                    &state,
                    &format!("{place}.{name}"),
                    case,
                    &format!("{name}/{key}"),
                    TOLERANCE,
                );
            }
        }
        // A gradient that is not finite changes nothing.
        let mut guard = FiniteCheck::new(device);
        let bad = Tensor::full_on(device, [3], f32::NAN);
        guard.check(&bad, 1.0);
        let (before, key) = (net.state_dict(), param(&net, "b.bias").key());
        optimizer.step(&net, &[(key, bad)].into_iter().collect(), &guard);
        assert_eq!(net.state_dict(), before, "{}: after a NaN", case.name);
    });
}

pub fn clipping(device: &Device) {
    each("clip", 2, device, |case| {
        let net = network(device);
        let mut grads = gradients(&net, case, "grad");
        let norm = clip_gradients(&mut grads, case.number("max_norm"));
        case.close("norm", &norm);
        for (key, place) in PLACES {
            let found = grads.get(param(&net, place).key()).expect("a gradient");
            case.close(
                &format!("after/{key}"),
                &if place == "a.weight" { found.transpose() } else { found.clone() },
            );
        }
        load(&net, case, "grad");
        let cut = |values: &[f32]| values.iter().map(|v| v.clamp(-0.25, 0.25)).collect::<Vec<_>>();
        let before = net.state_dict();
        clip_weights(&net, 0.25);
        for (name, param) in net.params() {
            assert_eq!(floats(&net.state_dict(), &name), cut(floats(&before, &name)), "{name}");
            assert!(
                param.value().to_vec().iter().any(|v| v.abs() == 0.25),
                "{name}: nothing was cut"
            );
        }
    });
}

pub fn histories(device: &Device) {
    each("history", 1, device, |case| {
        let net = network(device);
        let mut history = HistoricalAverage::new(&net);
        let past = case.attrs["past"].as_u64().expect("a count");
        let mut none = Gradients::default();
        history.add_gradients(&net, &mut none, 1.0);
        assert!(none.is_empty(), "there is no past yet");
        for step in 0..past {
            load(&net, case, &format!("value/{step}"));
            history.update(&net);
            if step == past / 2 {
                let mut other = HistoricalAverage::new(&net);
                other.load_state(&history.state()).expect("the same network");
                assert_eq!(other.state(), history.state());
                history = other;
            }
        }
        load(&net, case, &format!("value/{past}"));
        // Added to the gradient of another loss.
        let mut grads: Gradients =
            [(param(&net, "b.bias").key(), Tensor::full_on(device, [3], 2.0))]
                .into_iter()
                .collect();
        history.add_gradients(&net, &mut grads, case.number("weight"));
        let found = |place: &str| grads.get(param(&net, place).key()).expect("a gradient").clone();
        case.close("grad/weight", &found("a.weight").transpose());
        case.close("grad/bias", &found("b.bias").add_scalar(-2.0));
        assert_eq!(found("b.weight").to_vec(), [0.0; 3], "γ is unchanged");
        let mut state = history.state();
        state.insert("count".into(), HostTensor::scalar_i64(-1));
        let error = history.load_state(&state).expect_err("a negative count").to_string();
        assert!(error.starts_with("tensor \"count\" is -1"), "{error}");
    });
}

pub fn augmentation(device: &Device) {
    each("augment", 3, device, |case| {
        let choices: Vec<AugmentParams> =
            serde_json::from_value(case.attrs["choices"].clone()).expect("choices");
        let x = case.tensor("x").leaf();
        let [_, h, w, c] = x.shape()[..] else { panic!("[N, H, W, C]") };
        let out = Augmentation::new(&choices, [h, w, c], device).apply(&x);
        case.close("out", &out);
        let gradients = tensor::autograd::backward(&[(&out, &case.tensor("gout"))]);
        case.close("dx", gradients.of(&x).expect("a gradient"));
    });
}
