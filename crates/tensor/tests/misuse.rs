//! Shape misuse panics with the operation and the shapes; empty tensors are not misuse.

use tensor::{
    Activation, ConvGeom, Device, EmaUpdate, FiniteCheck, OptimizerKind, ParamUpdate, Tensor,
    UpdateStep, autograd, concat, conv_transpose2d, conv2d, conv2d_input_grad, conv2d_weight_grad,
    lerp, update,
};

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape)
}

/// A step with momentum of a parameter with two elements.
fn sgd(grad: &[usize], state: &mut [Tensor]) {
    let step = UpdateStep {
        rule: OptimizerKind::Sgd { momentum: 0.9, nesterov: true },
        lr: 0.1,
        weight_decay: 0.0,
        step: 1,
    };
    update(
        &mut [ParamUpdate { value: &mut zeros(&[2]), grad: &zeros(grad), state }],
        &step,
        &FiniteCheck::new(&Device::Cpu),
    );
}

/// The panic message of `f`, which must panic.
fn message(f: impl FnOnce() -> Tensor + std::panic::UnwindSafe) -> String {
    let payload = match std::panic::catch_unwind(f) {
        Ok(t) => return format!("no panic but {t:?}"),
        Err(payload) => payload,
    };
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => {
            other.downcast::<&str>().map_or_else(|_| "no text".into(), |text| text.to_string())
        }
    }
}

type Misuse = (fn() -> Tensor, &'static [&'static str]);

#[test]
fn messages_name_the_operation_and_the_shapes() {
    let cases: &[Misuse] = &[
        (|| zeros(&[2, 3]).add(&zeros(&[4])), &["add", "[2, 3]", "[4]"]),
        (|| zeros(&[2, 3]).mul(&zeros(&[3, 2])), &["mul", "[2, 3]", "[3, 2]"]),
        (|| zeros(&[2]).maximum(&zeros(&[3])), &["maximum", "[2]", "[3]"]),
        (|| zeros(&[2, 3]).broadcast_to([3, 2]), &["broadcast_to", "[2, 3]", "[3, 2]"]),
        (
            || zeros(&[2, 3]).matmul(&zeros(&[2, 3]), false, false),
            &["matmul", "[2, 3] (transposed: false) by [2, 3]"],
        ),
        (
            || zeros(&[2, 3]).matmul(&zeros(&[1, 3, 2]), false, false),
            &["matmul", "[2, 3]", "[1, 3, 2]"],
        ),
        (
            || zeros(&[2, 3, 4]).matmul(&zeros(&[1, 4, 2]), false, false),
            &["matmul", "[2, 3, 4]", "[1, 4, 2]"],
        ),
        (|| zeros(&[2, 3]).reshape([7]), &["reshape", "[2, 3]", "[7]"]),
        (|| zeros(&[2, 3]).permute(&[0, 0]), &["permute", "[0, 0]", "[2, 3]"]),
        (|| zeros(&[2, 3]).narrow(1, 2, 2), &["narrow", "[2, 3]"]),
        (|| zeros(&[2, 3]).narrow(1, usize::MAX, 1), &["narrow", "[2, 3]"]),
        (|| zeros(&[2, 3]).pad_with_zeros(1, 2, 4), &["pad_with_zeros", "[2, 3]"]),
        (|| zeros(&[2, 3]).pad_with_zeros(1, usize::MAX - 1, 2), &["pad_with_zeros", "[2, 3]"]),
        (
            || zeros(&[1, 2, 2, 1]).pad2d([[usize::MAX, 1], [0, 0]]),
            &["pad_with_zeros", "[1, 2, 2, 1]"],
        ),
        (|| zeros(&[2, 3]).pad2d([[1, 1], [0, 0]]), &["pad2d", "[2, 3]"]),
        (|| concat(&[&zeros(&[2, 3]), &zeros(&[3, 3])], 1), &["concat", "[2, 3]", "[3, 3]"]),
        (|| concat(&[&zeros(&[2, 3]), &zeros(&[2])], 1), &["concat", "[2, 3]", "[2]"]),
        (|| concat(&[], 0), &["concat"]),
        (|| zeros(&[2, 4, 4, 1]).shift2d(&zeros(&[3, 2])), &["shift2d", "[3, 2]", "[2, 4, 4, 1]"]),
        (|| zeros(&[2, 3]).index_select(&[0, 2]), &["index_select", "[2, 3]"]),
        (|| zeros(&[2, 3]).pairwise_l1(), &["pairwise_l1", "[2, 3]"]),
        (|| zeros(&[2, 3]).sum(&[2], false), &["sum", "axis 2", "[2, 3]"]),
        (|| zeros(&[2, 0]).max(1, false), &["max", "axis 1", "[2, 0]"]),
        (|| zeros(&[2, 3]).softmax(2), &["softmax", "axis 2", "[2, 3]"]),
        (|| zeros(&[2, 3]).bce_with_logits(&zeros(&[4])), &["bce_with_logits", "[2, 3]", "[4]"]),
        (
            || zeros(&[1, 3, 3, 1]).max_pool2d([4, 1], [1, 1]),
            &["max_pool2d", "[4, 1]", "[1, 3, 3, 1]"],
        ),
        (
            || zeros(&[1, 3, 3, 1]).avg_pool2d([2, 2], [0, 1]),
            &["avg_pool2d", "[0, 1]", "[1, 3, 3, 1]"],
        ),
        (|| zeros(&[3, 3]).upsample_nearest2d([2, 2]), &["upsample_nearest2d", "[3, 3]"]),
        (
            || zeros(&[4, 2]).batch_norm(&zeros(&[3]), &zeros(&[2]), 1e-5, Activation::None).output,
            &["batch_norm", "gamma", "[3]", "[4, 2]"],
        ),
        (
            || zeros(&[0, 2]).batch_norm(&zeros(&[2]), &zeros(&[2]), 1e-5, Activation::None).output,
            &["batch_norm", "[0, 2]"],
        ),
        (
            || zeros(&[4, 2]).bias_activation(&zeros(&[4]), Activation::Relu),
            &["bias_activation", "[4]", "[4, 2]"],
        ),
        (|| Tensor::from_slice(&[1.0], [2]), &["from_slice", "1 values", "[2]"]),
        (|| Tensor::scalar(zeros(&[2]).item()), &["item", "[2]"]),
        (|| zeros(&[1, 1, 1, 1, 1, 1]), &["[1, 1, 1, 1, 1, 1]", "5 axes"]),
        (
            || zeros(&[1 << 32, 1 << 32]),
            &["[4294967296, 4294967296]", "more elements than memory can address"],
        ),
        (|| zeros(&[1 << 62]), &["[4611686018427387904]", "more elements than memory can address"]),
        (
            || {
                zeros(&[2]).leaf().square().backward();
                zeros(&[])
            },
            &["backward", "one element", "[2]"],
        ),
        (
            || {
                autograd::backward(&[(&zeros(&[2]), &zeros(&[3]))]);
                zeros(&[])
            },
            &["backward", "[2]", "[3]"],
        ),
        (
            || {
                sgd(&[3], &mut [zeros(&[2])]);
                zeros(&[])
            },
            &["update", "[2]", "[3]"],
        ),
        (
            || {
                sgd(&[2], &mut []);
                zeros(&[])
            },
            &["update", "Sgd", "momentum"],
        ),
        (
            || {
                lerp(&mut [EmaUpdate {
                    average: &mut zeros(&[2]),
                    value: &zeros(&[3]),
                    keep: 0.9,
                    factor: 1.0,
                }]);
                zeros(&[])
            },
            &["lerp", "[2]", "[3]"],
        ),
    ];
    for (i, (f, expected)) in cases.iter().enumerate() {
        let text = message(*f);
        for part in *expected {
            assert!(text.contains(part), "case {i}: `{part}` is missing in `{text}`");
        }
    }
}

#[test]
fn convolutions_name_the_operand_that_does_not_fit() {
    const FAR: ConvGeom = ConvGeom {
        input: [1, 1],
        kernel: [1, 1],
        stride: [u32::MAX as usize; 2],
        pad: [[u32::MAX as usize, 0]; 2],
    };
    const G: ConvGeom =
        ConvGeom { input: [6, 6], kernel: [4, 4], stride: [2, 2], pad: [[1, 1]; 2] };
    let cases: &[Misuse] = &[
        (
            || conv2d(&zeros(&[1, 6, 5, 3]), &zeros(&[4, 4, 3, 2]), &G),
            &["conv2d: x", "[1, 6, 5, 3]", "[_, 6, 6, _]"],
        ),
        (
            || conv2d(&zeros(&[1, 6, 6, 3]), &zeros(&[4, 4, 2, 2]), &G),
            &["conv2d: w", "[4, 4, 2, 2]", "[4, 4, 3, _]"],
        ),
        (
            || conv2d_input_grad(&zeros(&[1, 3, 4, 2]), &zeros(&[4, 4, 3, 2]), &G),
            &["conv2d_input_grad: dy", "[1, 3, 4, 2]", "[_, 3, 3, 2]"],
        ),
        (
            || conv2d_weight_grad(&zeros(&[2, 6, 6, 3]), &zeros(&[1, 3, 3, 2]), &G),
            &["conv2d_weight_grad: dy", "[1, 3, 3, 2]", "[2, 3, 3, _]"],
        ),
        (
            || {
                conv2d(
                    &zeros(&[1, 2, 2, 1]),
                    &zeros(&[3, 3, 1, 1]),
                    &ConvGeom::square([2, 2], 3, 1, 0),
                )
            },
            &["kernel larger than the padded input"],
        ),
        (
            || {
                conv2d(
                    &zeros(&[1, 2, 2, 1]),
                    &zeros(&[1, 1, 1, 1]),
                    &ConvGeom::square([2, 2], 1, 0, 0),
                )
            },
            &["conv2d", "stride: [0, 0]"],
        ),
        (
            || {
                conv2d(
                    &zeros(&[1, 2, 2, 1]),
                    &zeros(&[1, 1, 1, 1]),
                    &ConvGeom::square([2, 2], 1, 1, usize::MAX),
                )
            },
            &["conv2d"],
        ),
        // The windows of eight images have 2⁶⁷ elements here, which is 0 in 64 bits.
        (
            || conv2d(&zeros(&[8, 1, 1, 1]), &zeros(&[1, 1, 1, 1]), &FAR),
            &["conv2d: 8 images", "more elements than memory"],
        ),
        (
            || conv2d_weight_grad(&zeros(&[8, 1, 1, 1]), &zeros(&[8, 2, 2, 1]), &FAR),
            &["conv2d_weight_grad: 8 images", "more elements than memory"],
        ),
        (
            || conv2d_input_grad(&zeros(&[8, 2, 2, 1]), &zeros(&[1, 1, 1, 1]), &FAR),
            &["conv2d_input_grad: 8 images", "more elements than memory"],
        ),
        (
            || {
                conv_transpose2d(
                    &zeros(&[1, 2, 2, 1]),
                    &zeros(&[3, 3, 1, 1]),
                    [2, 2],
                    [[1, 1]; 2],
                    [2, 0],
                )
            },
            &["conv_transpose2d", "output_padding [2, 0] must be smaller than stride [2, 2]"],
        ),
        (
            || {
                conv_transpose2d(
                    &zeros(&[1, 1, 1, 1]),
                    &zeros(&[3, 3, 1, 1]),
                    [1, 1],
                    [[2, 1]; 2],
                    [0, 0],
                )
            },
            &["conv_transpose2d", "leaves nothing"],
        ),
        (
            || {
                conv_transpose2d(
                    &zeros(&[1, 2, 2, 5]),
                    &zeros(&[3, 3, 1, 4]),
                    [1, 1],
                    [[0, 0]; 2],
                    [0, 0],
                )
            },
            &["conv2d_input_grad: dy", "[1, 2, 2, 5]", "[_, 2, 2, 4]"],
        ),
    ];
    for (i, (f, expected)) in cases.iter().enumerate() {
        let text = message(*f);
        for part in *expected {
            assert!(text.contains(part), "case {i}: `{part}` is missing in `{text}`");
        }
    }
}

/// The value and gradients of `f` exist, have the right shapes, and hold zeros only.
fn all_zero(name: &str, inputs: &[&[usize]], shape: &[usize], f: impl Fn(&[Tensor]) -> Tensor) {
    let leaves: Vec<Tensor> = inputs.iter().map(|s| Tensor::ones(*s).leaf()).collect();
    let out = f(&leaves);
    assert_eq!(out.shape()[..], *shape, "{name}");
    assert!(out.to_vec().iter().all(|v| *v == 0.0), "{name}: {out:?}");
    let grads = autograd::backward(&[(&out, &Tensor::ones(*out.shape()))]);
    for (leaf, shape) in leaves.iter().zip(inputs) {
        let g = grads.of(leaf).unwrap_or_else(|| panic!("{name}: no gradient"));
        assert_eq!(g.shape()[..], **shape, "{name}");
        assert!(g.to_vec().iter().all(|v| *v == 0.0), "{name}: gradient {g:?}");
    }
}

/// No image, no channel on either side: results are empty, or sums over nothing.
#[test]
fn convolutions_over_nothing() {
    for (geom, name) in [
        (ConvGeom::square([6, 6], 4, 2, 1), "strided"),
        (ConvGeom::square([6, 6], 3, 1, 1), "plain"),
        (ConvGeom::square([4, 4], 4, 1, 0), "dense"),
        (ConvGeom { input: [0, 3], kernel: [2, 2], stride: [1, 1], pad: [[1, 1]; 2] }, "no lines"),
    ] {
        let ([h, w], [oh, ow], [kh, kw]) = (geom.input, geom.output(), geom.kernel);
        for (n, cin, cout) in [(0, 2, 3), (2, 0, 3), (2, 2, 0), (0, 0, 0), (2, 2, 3)] {
            if n * cin * cout * h > 0 {
                continue;
            }
            let (x, k, y) = (&[n, h, w, cin][..], &[kh, kw, cin, cout][..], &[n, oh, ow, cout][..]);
            all_zero(&format!("conv2d, {name}"), &[x, k], y, |t| conv2d(&t[0], &t[1], &geom));
            all_zero(&format!("conv2d_input_grad, {name}"), &[y, k], x, |t| {
                conv2d_input_grad(&t[0], &t[1], &geom)
            });
            all_zero(&format!("conv2d_weight_grad, {name}"), &[x, y], k, |t| {
                conv2d_weight_grad(&t[0], &t[1], &geom)
            });
        }
    }
}

#[test]
fn other_operations_over_nothing() {
    all_zero("matmul", &[&[2, 0], &[0, 3]], &[2, 3], |t| t[0].matmul(&t[1], false, false));
    all_zero("matmul", &[&[0, 2], &[2, 3]], &[0, 3], |t| t[0].matmul(&t[1], false, false));
    all_zero("matmul of no batch", &[&[0, 1, 2], &[0, 2, 3]], &[0, 1, 3], |t| {
        t[0].matmul(&t[1], false, false)
    });
    for shape in [&[0, 4, 4, 3][..], &[2, 4, 4, 0]] {
        let with = |h: usize, w: usize| [shape[0], h, w, shape[3]];
        all_zero("max_pool2d", &[shape], &with(2, 2), |t| t[0].max_pool2d([2, 2], [2, 2]));
        all_zero("avg_pool2d", &[shape], &with(2, 2), |t| t[0].avg_pool2d([2, 2], [2, 2]));
        all_zero("upsample_nearest2d", &[shape], &with(8, 12), |t| t[0].upsample_nearest2d([2, 3]));
        all_zero("pad2d", &[shape], &with(7, 5), |t| t[0].pad2d([[1, 2], [0, 1]]));
        all_zero("permute", &[shape], &[4, shape[3], shape[0], 4], |t| t[0].permute(&[1, 3, 0, 2]));
        all_zero("concat", &[shape, shape], &with(4, 8), |t| concat(&[&t[0], &t[1]], 2));
        all_zero("add", &[shape, &[shape[3]]], shape, |t| t[0].add(&t[1]).scale(0.0));
        all_zero("relu", &[shape], shape, |t| t[0].relu());
        all_zero("scale_shift", &[shape, &[shape[3]], &[shape[3]]], shape, |t| {
            t[0].scale_shift(&t[1], &t[2], Activation::Tanh).scale(0.0)
        });
        for axes in [&[0][..], &[1], &[3], &[0, 3], &[0, 1, 2], &[0, 1, 2, 3]] {
            let left: Vec<usize> = (0..4).filter(|i| !axes.contains(i)).map(|i| shape[i]).collect();
            all_zero("sum", &[shape], &left, |t| t[0].sum(axes, false));
        }
        all_zero("max", &[shape], &[shape[0], 4, shape[3]], |t| t[0].max(1, false));
        all_zero("softmax", &[shape], shape, |t| t[0].softmax(1));
    }
    all_zero("shift2d of nothing", &[&[0, 3, 3, 1]], &[0, 3, 3, 1], |t| {
        t[0].shift2d(&zeros(&[0, 3]))
    });
    all_zero("shift2d of images without width", &[&[2, 3, 0, 1]], &[2, 3, 0, 1], |t| {
        t[0].shift2d(&zeros(&[2, 3]))
    });
    all_zero("index_select of no row", &[&[3, 2]], &[0, 2], |t| t[0].index_select(&[]));
    all_zero("index_select of empty rows", &[&[3, 0]], &[2, 0], |t| t[0].index_select(&[2, 1]));
    all_zero("narrow to nothing", &[&[3, 2]], &[3, 0], |t| t[0].narrow(1, 1, 0));
    for shape in [[0, 2, 3], [2, 0, 3], [2, 2, 0]] {
        all_zero("pairwise_l1", &[&shape], &[shape[0], shape[0], shape[1]], |t| t[0].pairwise_l1());
    }
}
