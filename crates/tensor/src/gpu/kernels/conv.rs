//! The convolution triple over the product.

use super::gemm::{Kind, Product};
use crate::cpu::conv::ConvCall;
use crate::gpu::Array;

fn sizes(call: &ConvCall) -> [usize; 13] {
    let g = call.geom;
    let [oh, ow] = g.output();
    [
        g.input[0],
        g.input[1],
        call.cin,
        oh,
        ow,
        call.cout,
        g.kernel[0],
        g.kernel[1],
        g.stride[0],
        g.stride[1],
        g.pad[0][0],
        g.pad[1][0],
        call.batch,
    ]
}

/// The output, from images and weight.
pub(crate) fn conv2d(x: &Array, w: &Array, call: &ConvCall) -> Array {
    let ([oh, ow], [kh, kw]) = (call.geom.output(), call.geom.kernel);
    let (m, n, k) = (call.batch * oh * ow, call.cout, kh * kw * call.cin);
    let contiguous = [call.cin, call.cout, call.cout];
    Product { kind: Kind::Forward, a: x, b: w, m, n, k, depth: 1, len: m * n, contiguous, convolution: sizes(call) }.run()
}

/// The input's gradient, from the output's and the weight.
pub(crate) fn conv2d_input_grad(dy: &Array, w: &Array, call: &ConvCall) -> Array {
    let g = call.geom;
    let [h, wid] = g.input;
    let m = call.batch * h.div_ceil(g.stride[0]) * wid.div_ceil(g.stride[1]);
    let k = g.kernel[0].div_ceil(g.stride[0]) * g.kernel[1].div_ceil(g.stride[1]) * call.cout;
    let (depth, len) = (g.stride[0] * g.stride[1], call.batch * h * wid * call.cin);
    let contiguous = [call.cout, call.cout, call.cin];
    let convolution = sizes(call);
    Product { kind: Kind::InputGrad, a: dy, b: w, m, n: call.cin, k, depth, len, contiguous, convolution }.run()
}

/// The weight's gradient, from images and the output's gradient.
pub(crate) fn conv2d_weight_grad(x: &Array, dy: &Array, call: &ConvCall) -> Array {
    let ([oh, ow], [kh, kw]) = (call.geom.output(), call.geom.kernel);
    let (m, n, k) = (kh * kw * call.cin, call.cout, call.batch * oh * ow);
    let contiguous = [call.cin, call.cout, call.cout];
    Product { kind: Kind::WeightGrad, a: x, b: dy, m, n, k, depth: 1, len: m * n, contiguous, convolution: sizes(call) }.run()
}
