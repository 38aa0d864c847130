//! Every kernel family on shapes that are split into many tasks, and a small network trained for a
//! few steps: their results must not depend on the number of threads, and hardly on the instruction
//! set.

use super::run;
use serde_json::{Value, json};
use tensor::autograd::{self, TensorId};
use tensor::rng::{Distribution, Philox};
use tensor::{
    Activation, ConvGeom, Device, EmaUpdate, FiniteCheck, OptimizerKind, ParamUpdate, Tensor,
    UpdateStep, conv_transpose2d, conv2d, lerp, update,
};

/// An operation of the table, its attributes, the shapes of its inputs.
type Call = (&'static str, Value, Vec<Vec<usize>>);

fn calls() -> Vec<Call> {
    let none = || json!({});
    let mut all: Vec<Call> = Vec::new();
    for op in ["exp", "log", "sqrt", "tanh", "sigmoid", "relu", "softplus", "square"] {
        all.push((op, none(), vec![vec![150_001]]));
    }
    for (a, b) in [
        (vec![100_001], vec![100_001]),
        (vec![30, 33, 35, 3], vec![3]),
        (vec![3, 1], vec![3, 40_001]),
        (vec![100_001], vec![]),
    ] {
        for op in ["add", "mul", "div", "maximum"] {
            all.push((op, none(), vec![a.clone(), b.clone()]));
        }
    }
    for (shape, axes) in [
        (vec![300_001], vec![0]),
        (vec![40_001, 3], vec![0]),
        (vec![3, 70_001], vec![1]),
        (vec![16, 33, 35, 24], vec![0, 1, 2]),
    ] {
        all.push(("sum", json!({"axes": axes, "keepdim": false}), vec![shape]));
    }
    for op in ["softmax", "log_softmax"] {
        all.push((op, json!({"axis": 1}), vec![vec![2001, 40]]));
    }
    all.push(("log_sum_exp", json!({"axis": 0, "keepdim": false}), vec![vec![2001, 40]]));
    all.push(("max", json!({"axis": 1, "keepdim": false}), vec![vec![301, 20, 30]]));
    for (a, b) in [(false, false), (true, false), (false, true), (true, true)] {
        let sides = |t: bool, r: usize, c: usize| if t { vec![c, r] } else { vec![r, c] };
        all.push((
            "matmul",
            json!({"trans_a": a, "trans_b": b}),
            vec![sides(a, 531, 300), sides(b, 300, 1100)],
        ));
    }
    all.push((
        "matmul",
        json!({"trans_a": false, "trans_b": true}),
        vec![vec![5, 65, 33], vec![5, 129, 33]],
    ));
    convolutions(&mut all);
    for (x, activation) in [
        (vec![16, 32, 32, 3], "leaky_relu"),
        (vec![16, 32, 32, 65], "relu"),
        (vec![33, 700], "tanh"),
        (vec![16, 32, 32, 4], "sigmoid"),
    ] {
        let c = vec![x[x.len() - 1]];
        let attrs = json!({"activation": activation, "slope": 0.2, "eps": 1e-5});
        all.push(("batch_norm", attrs.clone(), vec![x.clone(), c.clone(), c.clone()]));
        all.push(("scale_shift", attrs.clone(), vec![x.clone(), c.clone(), c.clone()]));
        all.push(("bias_activation", attrs, vec![x, c]));
    }
    all.push((
        "max_pool2d",
        json!({"kernel": [2, 2], "stride": [2, 2]}),
        vec![vec![9, 33, 32, 20]],
    ));
    all.push((
        "avg_pool2d",
        json!({"kernel": [3, 3], "stride": [2, 1]}),
        vec![vec![9, 33, 32, 20]],
    ));
    all.push(("upsample_nearest2d", json!({"scale": [2, 3]}), vec![vec![5, 17, 32, 20]]));
    all.push(("permute", json!({"axes": [0, 3, 1, 2]}), vec![vec![9, 33, 32, 20]]));
    all.push(("narrow", json!({"axis": 2, "start": 3, "len": 20}), vec![vec![9, 33, 32, 20]]));
    all.push(("concat", json!({"axis": 3}), vec![vec![9, 33, 32, 20], vec![9, 33, 32, 5]]));
    all.push(("pad2d", json!({"pad": [[1, 2], [3, 0]]}), vec![vec![9, 33, 32, 20]]));
    let moves: Vec<i32> = (0..17).flat_map(|i| [i - 8, 5 - i, i % 2]).collect();
    all.push(("shift2d", json!({"moves": moves}), vec![vec![17, 33, 41, 5]]));
    all.push((
        "index_select",
        json!({"rows": (0..900).map(|i| i * 7 % 301).collect::<Vec<_>>()}),
        vec![vec![301, 400]],
    ));
    all.push(("pairwise_l1", none(), vec![vec![40, 30, 5]]));
    all.push(("bce_with_logits", none(), vec![vec![100_001], vec![100_001]]));
    all
}

fn convolutions(all: &mut Vec<Call>) {
    for (input, kernel, stride, pad, cin, cout, batch) in [
        ([32, 32], [4, 4], [2, 2], [[1, 1], [1, 1]], 3, 64, 9),
        ([16, 16], [4, 4], [2, 2], [[1, 1], [1, 1]], 64, 72, 9),
        ([17, 12], [4, 4], [2, 2], [[1, 1], [1, 1]], 64, 96, 9),
        ([8, 8], [4, 4], [2, 2], [[1, 1], [1, 1]], 48, 160, 9),
        ([4, 4], [4, 4], [2, 2], [[1, 1], [1, 1]], 130, 300, 3),
        ([29, 31], [5, 5], [2, 2], [[1, 2], [1, 2]], 5, 20, 9),
        ([40, 41], [3, 3], [1, 1], [[1, 1], [1, 1]], 20, 3, 5),
        ([4, 4], [4, 4], [1, 1], [[0, 0], [0, 0]], 300, 100, 9),
    ] {
        let [oh, ow] = ConvGeom { input, kernel, stride, pad }.output();
        let attrs =
            json!({"geom": {"input": input, "kernel": kernel, "stride": stride, "pad": pad}});
        let (x, w, y) = (
            vec![batch, input[0], input[1], cin],
            vec![kernel[0], kernel[1], cin, cout],
            vec![batch, oh, ow, cout],
        );
        all.push(("conv2d", attrs.clone(), vec![x.clone(), w.clone()]));
        all.push(("conv2d_input_grad", attrs.clone(), vec![y.clone(), w]));
        all.push(("conv2d_weight_grad", attrs, vec![x, y]));
    }
}

/// The value of each call and its gradients, on the same inputs at every run.
pub fn kernels(device: &Device) -> Vec<(String, Tensor)> {
    let mut rng = Philox::new(11, 0);
    let mut results = Vec::new();
    for (number, (op, attrs, shapes)) in calls().into_iter().enumerate() {
        let inputs: Vec<Tensor> =
            shapes.iter().map(|s| rng.uniform(&s[..], 0.1, 1.5).to_device(device).leaf()).collect();
        let out = run(op, &attrs, &inputs);
        let weight = rng.normal(*out.shape(), 0.0, 1.0).to_device(device);
        let mut grads = autograd::backward(&[(&out, &weight)]);
        results.push((format!("{number} {op}"), out.detach()));
        for (i, x) in inputs.iter().enumerate() {
            results.extend(
                x.id()
                    .and_then(|key| grads.remove(key))
                    .map(|g| (format!("{number} {op}, gradient {i}"), g)),
            );
        }
    }
    for distribution in [
        Distribution::Uniform { low: -1.0, high: 2.0 },
        Distribution::Normal { mean: 0.5, std: 2.0 },
        Distribution::Bernoulli { keep: 0.5, value: 2.0 },
    ] {
        results.push((format!("{distribution:?}"), rng.draw(device, [50_001], distribution)));
    }
    results.extend(optimizers(device, &mut rng));
    let grad = rng.normal([100_001], 0.0, 1.0).to_device(device);
    let mut average = rng.uniform([100_001], -1.0, 1.0).to_device(device);
    lerp(&mut [EmaUpdate { average: &mut average, value: &grad, keep: 0.99, factor: 1.5 }]);
    results.push(("lerp".into(), average));
    results
}

/// Every update rule of the optimizers.
pub fn rules() -> [OptimizerKind; 8] {
    let adam = |decoupled| OptimizerKind::Adam { beta1: 0.5, beta2: 0.999, eps: 1e-8, decoupled };
    let sgd = |momentum, nesterov| OptimizerKind::Sgd { momentum, nesterov };
    let rms = |momentum| OptimizerKind::RmsProp { alpha: 0.99, eps: 1e-8, momentum };
    [
        adam(false),
        adam(true),
        sgd(0.0, false),
        sgd(0.0, true),
        sgd(0.9, false),
        sgd(0.9, true),
        rms(0.0),
        rms(0.5),
    ]
}

/// The parameters and state after a step of every rule over five parameters.
fn optimizers(device: &Device, rng: &mut Philox) -> Vec<(String, Tensor)> {
    let mut results = Vec::new();
    for rule in rules() {
        let mut draw = |len: usize| rng.uniform([len], 0.1, 1.0).to_device(device);
        let state = rule.state_names().len();
        let mut parameters = [100_001, 3, 70, 1, 4096]
            .map(|len| (draw(len), draw(len), (0..state).map(|_| draw(len)).collect::<Vec<_>>()));
        let mut slots: Vec<_> = parameters
            .iter_mut()
            .map(|(value, grad, state)| ParamUpdate { value, grad: &*grad, state: &mut state[..] })
            .collect();
        update(
            &mut slots,
            &UpdateStep { rule, lr: 1e-3, weight_decay: 1e-2, step: 3 },
            &FiniteCheck::new(device),
        );
        for (i, (value, _, state)) in parameters.into_iter().enumerate() {
            let written = std::iter::once(value).chain(state).enumerate();
            results
                .extend(written.map(|(j, t)| (format!("{rule:?}, parameter {i}, array {j}"), t)));
        }
    }
    results
}

/// The loss of a small network: a transposed convolution up, a convolution down, batch norm
/// between, logits at the end.
fn loss(w: &[Tensor], z: &Tensor) -> Tensor {
    let up = conv_transpose2d(z, &w[0], [2, 2], [[1, 1]; 2], [0, 0]);
    let up = up.batch_norm(&w[1], &w[2], 1e-5, Activation::Relu).output;
    let image = conv_transpose2d(&up, &w[3], [2, 2], [[1, 1]; 2], [0, 0]).tanh();
    let down = conv2d(&image, &w[4], &ConvGeom::square([32, 32], 4, 2, 1))
        .bias_activation(&w[5], Activation::LeakyRelu(0.2));
    let logits = conv2d(&down, &w[6], &ConvGeom::square([16, 16], 16, 1, 0));
    logits.bce_with_logits(&Tensor::full_on(&z.device(), [1], 1.0))
}

/// Three steps of Adam on that network: the losses and the weights after them.
pub fn training(device: &Device) -> Vec<(String, Tensor)> {
    let mut rng = Philox::new(12, 0);
    let shapes: [&[usize]; 7] =
        [&[4, 4, 24, 40], &[24], &[24], &[4, 4, 3, 24], &[4, 4, 3, 16], &[16], &[16, 16, 16, 1]];
    let mut weights = shapes.map(|s| rng.normal(s, 0.0, 0.1).to_device(device));
    let mut moments = shapes.map(|s| [(); 2].map(|()| Tensor::full_on(device, s, 0.0)));
    let keys = shapes.map(|_| TensorId::fresh());
    let mut results = Vec::new();
    for step in 1..=3 {
        let z = rng.normal([17, 8, 8, 40], 0.0, 1.0).to_device(device);
        let leaves: Vec<Tensor> =
            weights.iter().zip(&keys).map(|(w, k)| w.leaf_with_id(*k)).collect();
        let loss = loss(&leaves, &z);
        let grads = loss.backward();
        results.push((format!("loss {step}"), loss.detach()));
        drop((loss, leaves));
        let step = UpdateStep { rule: rules()[0], lr: 1e-2, weight_decay: 0.0, step };
        let mut slots: Vec<ParamUpdate<'_>> = weights
            .iter_mut()
            .zip(&mut moments)
            .zip(&keys)
            .map(|((value, state), key)| ParamUpdate {
                value,
                grad: grads.get(*key).expect("every weight has a gradient"),
                state,
            })
            .collect();
        update(&mut slots, &step, &FiniteCheck::new(device));
    }
    results.extend(weights.into_iter().enumerate().map(|(i, w)| (format!("weight {i}"), w)));
    results
}
