//! The convolution triple over the product.

use super::gemm::{Kind, Product};
use crate::ConvGeom;
use crate::cpu::conv::{self as cpu, ConvParams};
use crate::cpu::conv_algo::batch_invariant;
use crate::gpu::{Define, Dispatch, Gpu, GpuBuffer, Params, ShaderSpec};
use crate::ops::conv::LossScaledOperand;

/// Images of so many channels have an input gradient of their own.
const FEW_CHANNELS: usize = 4;

fn few_channel_spec(cin: usize, vec: bool) -> ShaderSpec {
    let word = Define::Text(if vec { "vec4<f32>" } else { "f32" });
    ShaderSpec::new(
        "few_channel_conv",
        "main",
        &[("CIN", Define::Number(cin as u32)), ("VEC", Define::Flag(vec)), ("WORD", word)],
    )
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    (1..=FEW_CHANNELS).flat_map(|cin| [false, true].map(|vec| few_channel_spec(cin, vec))).collect()
}

/// See [`Gpu::self_test_passes`].
fn self_test_passes(gpu: &Gpu, [cin, cout]: [usize; 2]) -> bool {
    let geom = ConvGeom::square([9, 8], 4, 2, 1);
    let [oh, ow] = geom.output();
    let call = ConvParams { geom, batch: 3, cin, cout };
    let values =
        |len: usize, step: usize| (0..len).map(|i| (i * step % 7) as f32 - 3.0).collect::<Vec<_>>();
    let x = values(call.batch * 9 * 8 * cin, 5);
    let w = values(16 * cin * cout, 3);
    let dy = values(call.batch * oh * ow * cout, 2);
    let [mut y, mut dx, mut dw] = [dy.len(), x.len(), w.len()].map(|len| vec![0f32; len]);
    // By the definition: Winograd's transforms round.
    batch_invariant(|| {
        cpu::conv2d(&x, &w, &mut y, call);
        cpu::conv2d_input_grad(&dy, &w, &mut dx, call);
        cpu::conv2d_weight_grad(&x, &dy, &mut dw, call);
    });
    let [x, w, dy] = [&x, &w, &dy].map(|values| GpuBuffer::from_slice(gpu, values));
    let ours = [
        conv2d(&x, &w, &call, LossScaledOperand::Neither),
        conv2d_input_grad(&dy, &w, &call, LossScaledOperand::First),
        conv2d_weight_grad(&x, &dy, &call, LossScaledOperand::Second),
    ];
    ours.iter().zip([y, dx, dw]).all(|(ours, reference)| ours.to_vec() == reference)
        && gpu.check().is_ok()
}

impl Gpu {
    /// Whether the three convolutions of small whole numbers, which half precision holds exactly, come out exactly: a check of a driver.
    pub fn self_test_passes(&self) -> bool {
        // Channels at the edges of tiles, and those that real layers have.
        [[20, 70], [32, 64], [5, 7]].into_iter().all(|channels| self_test_passes(self, channels))
    }
}

fn sizes(call: &ConvParams) -> [usize; 13] {
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
pub(crate) fn conv2d(
    x: &GpuBuffer,
    w: &GpuBuffer,
    call: &ConvParams,
    gradient: LossScaledOperand,
) -> GpuBuffer {
    let ([oh, ow], [kh, kw]) = (call.geom.output(), call.geom.kernel);
    let (m, n, k) = (call.batch * oh * ow, call.cout, kh * kw * call.cin);
    let contiguous = [call.cin, call.cout, call.cout];
    Product {
        kind: Kind::Forward,
        a: x,
        b: w,
        m,
        n,
        k,
        depth: 1,
        len: m * n,
        contiguous,
        convolution: sizes(call),
        gradient,
    }
    .run()
}

/// The input's gradient, from the output's and the weight.
pub(crate) fn conv2d_input_grad(
    dy: &GpuBuffer,
    w: &GpuBuffer,
    call: &ConvParams,
    gradient: LossScaledOperand,
) -> GpuBuffer {
    if call.cin <= FEW_CHANNELS {
        return few_channel_input_grad(dy, w, call);
    }
    let g = call.geom;
    let [h, wid] = g.input;
    let m = call.batch * h.div_ceil(g.stride[0]) * wid.div_ceil(g.stride[1]);
    let k = g.kernel[0].div_ceil(g.stride[0]) * g.kernel[1].div_ceil(g.stride[1]) * call.cout;
    let (depth, len) = (g.stride[0] * g.stride[1], call.batch * h * wid * call.cin);
    let contiguous = [call.cout, call.cout, call.cin];
    let convolution = sizes(call);
    Product {
        kind: Kind::InputGrad,
        a: dy,
        b: w,
        m,
        n: call.cin,
        k,
        depth,
        len,
        contiguous,
        convolution,
        gradient,
    }
    .run()
}

fn few_channel_input_grad(dy: &GpuBuffer, w: &GpuBuffer, call: &ConvParams) -> GpuBuffer {
    let g = call.geom;
    let ([h, wid], [oh, ow]) = (g.input, g.output());
    let vec = call.cout.is_multiple_of(4);
    let pixels = call.batch * h.div_ceil(g.stride[0]) * wid.div_ceil(g.stride[1]);
    let out = super::new(dy.gpu(), call.batch * h * wid * call.cin);
    dy.gpu().run(&Dispatch {
        spec: few_channel_spec(call.cin, vec),
        inputs: &[dy, w],
        outputs: &[&out],
        params: Params::new()
            .sizes([pixels, h, wid, oh, ow, if vec { call.cout / 4 } else { call.cout }])
            .sizes(g.kernel)
            .sizes(g.stride)
            .sizes([g.pad[0][0], g.pad[1][0], call.batch]),
        groups: (pixels as u64).div_ceil(super::THREADS),
        depth: (g.stride[0] * g.stride[1]) as u64,
        work: 2.0
            * (out.len() * call.cout * g.kernel[0] * g.kernel[1]
                / (g.stride[0] * g.stride[1]).max(1)) as f64,
    });
    out
}

/// The weight's gradient, from images and the output's gradient.
pub(crate) fn conv2d_weight_grad(
    x: &GpuBuffer,
    dy: &GpuBuffer,
    call: &ConvParams,
    gradient: LossScaledOperand,
) -> GpuBuffer {
    let ([oh, ow], [kh, kw]) = (call.geom.output(), call.geom.kernel);
    let (m, n, k) = (kh * kw * call.cin, call.cout, call.batch * oh * ow);
    let contiguous = [call.cin, call.cout, call.cout];
    Product {
        kind: Kind::WeightGrad,
        a: x,
        b: dy,
        m,
        n,
        k,
        depth: 1,
        len: m * n,
        contiguous,
        convolution: sizes(call),
        gradient,
    }
    .run()
}
