//! The convolution triple over the product.

use super::gemm::{Product, ProductKind};
use super::launch::THREADS;
use crate::descriptors::{ConvGeom, ConvParams, LossScaledOperand};
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::context::Gpu;
use crate::gpu::dispatch::{Dispatch, Params};
use crate::gpu::shader::ShaderSpec;

/// Images of up to so many channels have an input-gradient kernel of their own,
/// `few_channel_conv.wgsl`.
const FEW_CHANNELS: usize = 4;

fn few_channel_spec(cin: usize, vec: bool) -> ShaderSpec {
    ShaderSpec::new("few_channel_conv")
        .number("CIN", cin)
        .flag("VEC", vec)
        .text("WORD", if vec { "vec4<f32>" } else { "f32" })
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    (1..=FEW_CHANNELS).flat_map(|cin| [false, true].map(|vec| few_channel_spec(cin, vec))).collect()
}

impl Gpu {
    /// Whether the three convolutions compute exact results from small integers, which half
    /// precision represents exactly: a test of the driver.
    pub fn self_test_passes(&self) -> bool {
        // Channels at the edges of tiles, and those of real layers.
        [[20, 70], [32, 64], [5, 7]].into_iter().all(|channels| self_test(self, channels))
    }
}

/// The three convolutions of one size, compared with their definition.
fn self_test(gpu: &Gpu, [cin, cout]: [usize; 2]) -> bool {
    let geom = ConvGeom::square([9, 8], 4, 2, 1);
    let [oh, ow] = geom.output();
    let params = ConvParams { geom, batch: 3, cin, cout };
    let values =
        |len: usize, step: usize| (0..len).map(|i| (i * step % 7) as f32 - 3.0).collect::<Vec<_>>();
    let x = values(params.batch * 9 * 8 * cin, 5);
    let w = values(16 * cin * cout, 3);
    let dy = values(params.batch * oh * ow * cout, 2);
    let expected = definition(&x, &w, &dy, &params);
    let [x, w, dy] = [&x, &w, &dy].map(|values| GpuBuffer::from_slice(gpu, values));
    let results = [
        conv2d(&x, &w, &params, LossScaledOperand::Neither),
        conv2d_input_grad(&dy, &w, &params, LossScaledOperand::First),
        conv2d_weight_grad(&x, &dy, &params, LossScaledOperand::Second),
    ];
    results.iter().zip(expected).all(|(result, expected)| result.to_vec() == expected)
        && gpu.check().is_ok()
}

/// Output, input gradient and weight gradient by the definition. Sums of small integers are exact
/// in any order.
fn definition(x: &[f32], w: &[f32], dy: &[f32], params: &ConvParams) -> [Vec<f32>; 3] {
    let ConvParams { geom, batch, cin, cout } = *params;
    let ([h, wid], [oh, ow], [kh, kw]) = (geom.input, geom.output(), geom.kernel);
    let [mut y, mut dx, mut dw] = [dy.len(), x.len(), w.len()].map(|len| vec![0f32; len]);
    for at in 0..batch * oh * ow * kh * kw {
        let (kx, ky, pixel) = (at % kw, at / kw % kh, at / (kw * kh));
        let (ox, oy, n) = (pixel % ow, pixel / ow % oh, pixel / (ow * oh));
        // Left of and above the image the subtraction wraps to a large number.
        let iy = (oy * geom.stride[0] + ky).wrapping_sub(geom.pad[0][0]);
        let ix = (ox * geom.stride[1] + kx).wrapping_sub(geom.pad[1][0]);
        if iy >= h || ix >= wid {
            continue;
        }
        for ci in 0..cin {
            let i = ((n * h + iy) * wid + ix) * cin + ci;
            let tap = ((ky * kw + kx) * cin + ci) * cout;
            for co in 0..cout {
                let o = pixel * cout + co;
                y[o] += x[i] * w[tap + co];
                dx[i] += dy[o] * w[tap + co];
                dw[tap + co] += x[i] * dy[o];
            }
        }
    }
    [y, dx, dw]
}

fn sizes(params: &ConvParams) -> [usize; 13] {
    let g = params.geom;
    let [oh, ow] = g.output();
    [
        g.input[0],
        g.input[1],
        params.cin,
        oh,
        ow,
        params.cout,
        g.kernel[0],
        g.kernel[1],
        g.stride[0],
        g.stride[1],
        g.pad[0][0],
        g.pad[1][0],
        params.batch,
    ]
}

/// The output, from images and weight.
pub(crate) fn conv2d(
    x: &GpuBuffer,
    w: &GpuBuffer,
    params: &ConvParams,
    scaled: LossScaledOperand,
) -> GpuBuffer {
    let ([oh, ow], [kh, kw]) = (params.geom.output(), params.geom.kernel);
    let (m, n, k) = (params.batch * oh * ow, params.cout, kh * kw * params.cin);
    let contiguous = [params.cin, params.cout, params.cout];
    Product {
        kind: ProductKind::Forward,
        a: x,
        b: w,
        m,
        n,
        k,
        depth: 1,
        len: m * n,
        contiguous,
        convolution: sizes(params),
        scaled,
    }
    .run()
}

/// The input gradient, from the output gradient and the weight.
pub(crate) fn conv2d_input_grad(
    dy: &GpuBuffer,
    w: &GpuBuffer,
    params: &ConvParams,
    scaled: LossScaledOperand,
) -> GpuBuffer {
    if params.cin <= FEW_CHANNELS {
        return few_channel_input_grad(dy, w, params);
    }
    let g = params.geom;
    let [h, wid] = g.input;
    let m = params.batch * h.div_ceil(g.stride[0]) * wid.div_ceil(g.stride[1]);
    let k = g.kernel[0].div_ceil(g.stride[0]) * g.kernel[1].div_ceil(g.stride[1]) * params.cout;
    let (depth, len) = (g.stride[0] * g.stride[1], params.batch * h * wid * params.cin);
    let contiguous = [params.cout, params.cout, params.cin];
    let convolution = sizes(params);
    Product {
        kind: ProductKind::InputGrad,
        a: dy,
        b: w,
        m,
        n: params.cin,
        k,
        depth,
        len,
        contiguous,
        convolution,
        scaled,
    }
    .run()
}

fn few_channel_input_grad(dy: &GpuBuffer, w: &GpuBuffer, params: &ConvParams) -> GpuBuffer {
    let g = params.geom;
    let ([h, wid], [oh, ow]) = (g.input, g.output());
    let vec = params.cout.is_multiple_of(4);
    let pixels = params.batch * h.div_ceil(g.stride[0]) * wid.div_ceil(g.stride[1]);
    let out = GpuBuffer::uninit(dy.gpu(), params.batch * h * wid * params.cin);
    dy.gpu().run(&Dispatch {
        spec: few_channel_spec(params.cin, vec),
        inputs: &[dy, w],
        outputs: &[&out],
        params: Params::new()
            .sizes([pixels, h, wid, oh, ow, if vec { params.cout / 4 } else { params.cout }])
            .sizes(g.kernel)
            .sizes(g.stride)
            .sizes([g.pad[0][0], g.pad[1][0], params.batch]),
        groups: (pixels as u64).div_ceil(THREADS),
        depth: (g.stride[0] * g.stride[1]) as u64,
        work: 2.0
            * (out.len() * params.cout * g.kernel[0] * g.kernel[1]
                / (g.stride[0] * g.stride[1]).max(1)) as f64,
    });
    out
}

/// The weight gradient, from images and the output gradient.
pub(crate) fn conv2d_weight_grad(
    x: &GpuBuffer,
    dy: &GpuBuffer,
    params: &ConvParams,
    scaled: LossScaledOperand,
) -> GpuBuffer {
    let ([oh, ow], [kh, kw]) = (params.geom.output(), params.geom.kernel);
    let (m, n, k) = (kh * kw * params.cin, params.cout, params.batch * oh * ow);
    let contiguous = [params.cin, params.cout, params.cout];
    Product {
        kind: ProductKind::WeightGrad,
        a: x,
        b: dy,
        m,
        n,
        k,
        depth: 1,
        len: m * n,
        contiguous,
        convolution: sizes(params),
        scaled,
    }
    .run()
}
