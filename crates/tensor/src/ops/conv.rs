//! The convolution triple (output, input gradient, weight gradient): the three partial derivatives
//! of one trilinear form, so the gradient of each is computed from the other two, to any order.

use super::kernel;
use crate::cpu::buffer::Buffer;
use crate::cpu::conv::{self as cpu, InputGradWeight};
use crate::cpu::gemm::{PackedRhs, matmul_packed, pack};
use crate::cpu::norm::BiasActivation;
use crate::descriptors::{Activation, ConvGeom, ConvParams, LossScaledOperand};
use crate::gpu::kernels::conv as gpu;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::tensor::Tensor;
use crate::tensor::autograd::record_bilinear;
use parking_lot::Mutex;
use std::sync::Arc;

#[track_caller]
fn check(name: &str, what: &str, t: &Tensor, expected: [Option<usize>; 4]) {
    let fits = t.shape().rank() == 4
        && t.shape().iter().zip(expected).all(|(&have, want)| want.is_none_or(|w| w == have));
    let show = expected.map(|e| e.map_or("_".to_string(), |n| n.to_string())).join(", ");
    assert!(fits, "{name}: {what} has shape {:?}, not [{show}]", t.shape());
}

/// The sizes of one call. The product of its windows' sizes must not overflow: the kernels' pointer
/// arithmetic relies on that.
#[track_caller]
fn conv_params(name: &str, geom: ConvGeom, batch: usize, [cin, cout]: [usize; 2]) -> ConvParams {
    const MAX_ELEMENTS: usize = isize::MAX as usize / size_of::<f32>();
    let output = geom.output();
    let covered = |i: usize| (output[i] - 1) * geom.stride[i] + geom.kernel[i];
    let elements =
        [covered(0), covered(1), cin.max(cout)].into_iter().try_fold(batch, usize::checked_mul);
    assert!(
        elements.is_some_and(|n| n <= MAX_ELEMENTS),
        "{name}: {batch} images under {geom:?} have more elements than memory can address"
    );
    ConvParams { geom, batch, cin, cout }
}

/// `[N, …]` as a matrix `[N, features]`: a convolution over the whole input is a matrix product.
fn flat(t: &Tensor) -> Tensor {
    let n = t.shape()[0];
    t.reshape([n, t.len() / n.max(1)])
}

/// `[kh, kw, Cin, Cout]` as the matrix `[features, Cout]` of that product.
fn flat_weight(w: &Tensor) -> Tensor {
    let s = w.shape();
    w.reshape([s[0] * s[1] * s[2], s[3]])
}

/// The convolution of images `x` `[N, H, W, Cin]` with `w` `[kh, kw, Cin, Cout]`
/// (cross-correlation, as in every deep-learning library): `[N, OH, OW, Cout]`.
///
/// # Panics
/// Panics if an operand does not fit the geometry.
#[track_caller]
pub fn conv2d(x: &Tensor, w: &Tensor, geom: &ConvGeom) -> Tensor {
    forward(x, w, geom, LossScaledOperand::Neither)
}

#[track_caller]
fn forward(x: &Tensor, w: &Tensor, geom: &ConvGeom, scaled: LossScaledOperand) -> Tensor {
    let g = *geom;
    let [oh, ow] = g.output();
    check("conv2d", "x", x, [None, Some(g.input[0]), Some(g.input[1]), None]);
    let (batch, cin) = (x.shape()[0], x.shape()[3]);
    check("conv2d", "w", w, [Some(g.kernel[0]), Some(g.kernel[1]), Some(cin), None]);
    let cout = w.shape()[3];
    if g.is_dense() && batch > 0 {
        return flat(x).matmul(&flat_weight(w), false, false).reshape([batch, 1, 1, cout]);
    }
    let (shape, params) =
        (Shape::from([batch, oh, ow, cout]), conv_params("conv2d", g, batch, [cin, cout]));
    let out = if shape.is_empty() || cin == 0 {
        Tensor::full_on(&x.device(), shape, 0.0)
    } else {
        kernel!("conv2d", shape; x, w;
            cpu |out| cpu::conv2d(x, w, out, params, None),
            gpu gpu::conv2d(x, w, &params, scaled)
        )
    };
    record_bilinear(
        out,
        "conv2d",
        [x, w],
        move |dy, w| input_grad(dy, w, &g, LossScaledOperand::First),
        move |dy, x| weight_grad(x, dy, &g, LossScaledOperand::Second),
    )
}

/// activation([`conv2d`] + bias), `bias` `[Cout]`. Outside the graph a CPU computes it in one pass
/// over the result, with the bits of two.
///
/// # Panics
/// Panics if an operand does not fit the geometry, or the bias is not `[Cout]`.
#[track_caller]
pub fn conv2d_bias_activation(
    x: &Tensor,
    w: &Tensor,
    bias: &Tensor,
    geom: &ConvGeom,
    activation: Activation,
) -> Tensor {
    let [oh, ow] = geom.output();
    check("conv2d", "x", x, [None, Some(geom.input[0]), Some(geom.input[1]), None]);
    let (batch, cin) = (x.shape()[0], x.shape()[3]);
    check("conv2d", "w", w, [Some(geom.kernel[0]), Some(geom.kernel[1]), Some(cin), None]);
    let cout = w.shape()[3];
    assert_eq!(bias.shape()[..], [cout], "conv2d: the bias has not {cout} channels");
    let shape = Shape::from([batch, oh, ow, cout]);
    let is_tracked = [x, w, bias].into_iter().any(Tensor::is_tracked);
    let (Storage::Cpu(image), Storage::Cpu(weight), Storage::Cpu(offset)) =
        (&x.storage, &w.storage, &bias.storage)
    else {
        return conv2d(x, w, geom).bias_activation(bias, activation);
    };
    if is_tracked || geom.is_dense() || shape.is_empty() || cin == 0 {
        return conv2d(x, w, geom).bias_activation(bias, activation);
    }
    let params = conv_params("conv2d", *geom, batch, [cin, cout]);
    let mut out = Buffer::uninit(shape.len());
    let after = BiasActivation { bias: offset, activation };
    cpu::conv2d(image, weight, &mut out, params, Some(after));
    Tensor::from_buffer(out, shape)
}

/// The gradient of [`conv2d`] with respect to its input, `[N, H, W, Cin]`, from `dy`
/// `[N, OH, OW, Cout]`; pixels that no window covers get 0.
///
/// # Panics
/// Panics if an operand does not fit the geometry.
#[track_caller]
pub fn conv2d_input_grad(dy: &Tensor, w: &Tensor, geom: &ConvGeom) -> Tensor {
    input_grad(dy, w, geom, LossScaledOperand::First)
}

#[track_caller]
fn input_grad(dy: &Tensor, w: &Tensor, geom: &ConvGeom, scaled: LossScaledOperand) -> Tensor {
    let g = *geom;
    let [oh, ow] = g.output();
    check("conv2d_input_grad", "w", w, [Some(g.kernel[0]), Some(g.kernel[1]), None, None]);
    let (cin, cout) = (w.shape()[2], w.shape()[3]);
    check("conv2d_input_grad", "dy", dy, [None, Some(oh), Some(ow), Some(cout)]);
    let batch = dy.shape()[0];
    if g.is_dense() && batch > 0 {
        return flat(dy)
            .matmul(&flat_weight(w), false, true)
            .reshape([batch, g.input[0], g.input[1], cin]);
    }
    let shape = Shape::from([batch, g.input[0], g.input[1], cin]);
    let params = conv_params("conv2d_input_grad", g, batch, [cin, cout]);
    let out = if shape.is_empty() || cout == 0 {
        Tensor::full_on(&dy.device(), shape, 0.0)
    } else {
        kernel!("conv2d_input_grad", shape; dy, w;
            cpu |out| cpu::conv2d_input_grad(dy, w, out, params),
            gpu gpu::conv2d_input_grad(dy, w, &params, scaled)
        )
    };
    record_bilinear(
        out,
        "conv2d_input_grad",
        [dy, w],
        move |dx, w| forward(dx, w, &g, LossScaledOperand::First),
        move |dx, dy| weight_grad(dx, dy, &g, LossScaledOperand::First),
    )
}

/// The gradient of [`conv2d`] with respect to its weight, `[kh, kw, Cin, Cout]`, from `x`
/// `[N, H, W, Cin]` and `dy` `[N, OH, OW, Cout]`.
///
/// # Panics
/// Panics if an operand does not fit the geometry.
#[track_caller]
pub fn conv2d_weight_grad(x: &Tensor, dy: &Tensor, geom: &ConvGeom) -> Tensor {
    weight_grad(x, dy, geom, LossScaledOperand::Second)
}

#[track_caller]
fn weight_grad(x: &Tensor, dy: &Tensor, geom: &ConvGeom, scaled: LossScaledOperand) -> Tensor {
    let g = *geom;
    let [oh, ow] = g.output();
    check("conv2d_weight_grad", "x", x, [None, Some(g.input[0]), Some(g.input[1]), None]);
    let (batch, cin) = (x.shape()[0], x.shape()[3]);
    check("conv2d_weight_grad", "dy", dy, [Some(batch), Some(oh), Some(ow), None]);
    let cout = dy.shape()[3];
    let shape = Shape::from([g.kernel[0], g.kernel[1], cin, cout]);
    if g.is_dense() && batch > 0 {
        return flat(x).matmul(&flat(dy), true, false).reshape(shape);
    }
    let params = conv_params("conv2d_weight_grad", g, batch, [cin, cout]);
    let out = if batch == 0 || shape.is_empty() {
        Tensor::full_on(&x.device(), shape, 0.0)
    } else {
        kernel!("conv2d_weight_grad", shape; x, dy;
            cpu |out| cpu::conv2d_weight_grad(x, dy, out, params),
            gpu gpu::conv2d_weight_grad(x, dy, &params, scaled)
        )
    };
    record_bilinear(
        out,
        "conv2d_weight_grad",
        [x, dy],
        move |dw, dy| input_grad(dy, dw, &g, LossScaledOperand::Second),
        move |dw, x| forward(x, dw, &g, LossScaledOperand::Second),
    )
}

/// The transposed ("fractionally strided") convolution of `x` `[N, h, w, Cin]`: the input gradient
/// of a convolution. The weight is `[kh, kw, Cout, Cin]`, that of the convolution which maps the
/// result back; the result is `[N, H, W, Cout]` with H = (h − 1)·stride + kernel − padding +
/// output_padding.
///
/// # Panics
/// Panics if the geometry is impossible ([`ConvGeom::transposed`]) or an operand does not fit.
#[track_caller]
pub fn conv_transpose2d(
    x: &Tensor,
    w: &Tensor,
    stride: [usize; 2],
    pad: [[usize; 2]; 2],
    output_padding: [usize; 2],
) -> Tensor {
    input_grad(x, w, &transposed(x, w, stride, pad, output_padding), LossScaledOperand::Neither)
}

/// [`conv_transpose2d`] with a weight that stays the same from call to call. On a CPU, outside the
/// graph and where the direct algorithm is used ([`batch_invariant`](crate::batch_invariant)),
/// `cache` keeps the packed weight. The result has the same bits.
///
/// # Panics
/// Panics as [`conv_transpose2d`].
#[track_caller]
pub fn conv_transpose2d_cached(
    x: &Tensor,
    w: &Tensor,
    cache: &WeightCache,
    stride: [usize; 2],
    pad: [[usize; 2]; 2],
    output_padding: [usize; 2],
) -> Tensor {
    let geom = transposed(x, w, stride, pad, output_padding);
    let [oh, ow] = geom.output();
    let (batch, cin, cout) = (x.shape()[0], w.shape()[2], w.shape()[3]);
    check("conv_transpose2d", "x", x, [None, Some(oh), Some(ow), Some(cout)]);
    let params = conv_params("conv_transpose2d", geom, batch, [cin, cout]);
    let shape = Shape::from([batch, geom.input[0], geom.input[1], cin]);
    let (Storage::Cpu(data), Storage::Cpu(weight)) = (&x.storage, &w.storage) else {
        return input_grad(x, w, &geom, LossScaledOperand::Neither);
    };
    if x.is_tracked() || w.is_tracked() || shape.is_empty() || cout == 0 || !cpu::is_direct(&params)
    {
        return input_grad(x, w, &geom, LossScaledOperand::Neither);
    }
    let mut out = Buffer::uninit(shape.len());
    match &*cache.packed(weight, &params) {
        WeightLayout::Product(packed) => {
            matmul_packed(data, packed, &mut out, [batch, cout, shape.len() / batch], false)
        }
        WeightLayout::Windows(weight) => weight.input_grad(data, &mut out, params),
    }
    Tensor::from_buffer(out, shape)
}

#[track_caller]
fn transposed(
    x: &Tensor,
    w: &Tensor,
    stride: [usize; 2],
    pad: [[usize; 2]; 2],
    output_padding: [usize; 2],
) -> ConvGeom {
    check("conv_transpose2d", "x", x, [None; 4]);
    check("conv_transpose2d", "w", w, [None; 4]);
    let input = [x.shape()[1], x.shape()[2]];
    let kernel = [w.shape()[0], w.shape()[1]];
    ConvGeom::transposed(input, kernel, stride, pad, output_padding)
        .unwrap_or_else(|message| panic!("{message}"))
}

/// The packed form of the last weight that [`conv_transpose2d_cached`] was called with: of the
/// weight's size, and the weight itself.
#[derive(Default)]
pub struct WeightCache(Mutex<Option<CacheEntry>>);

struct CacheEntry {
    /// An owner of the weight, so that no other owner can write to it.
    weight: Arc<Buffer>,
    geom: ConvGeom,
    /// The geometry does not determine them: a reshaped weight has others.
    channels: [usize; 2],
    layout: Arc<WeightLayout>,
}

enum WeightLayout {
    /// A window over the whole output: a matrix product.
    Product(PackedRhs),
    Windows(InputGradWeight),
}

impl WeightCache {
    fn packed(&self, weight: &Arc<Buffer>, params: &ConvParams) -> Arc<WeightLayout> {
        let (geom, channels) = (params.geom, [params.cin, params.cout]);
        let fits = |entry: &&CacheEntry| {
            Arc::ptr_eq(&entry.weight, weight) && (entry.geom, entry.channels) == (geom, channels)
        };
        if let Some(entry) = self.0.lock().as_ref().filter(fits) {
            return entry.layout.clone();
        }
        // Packing runs without the lock: a thread that waits for parallel work takes up other work
        // meanwhile, which may be a call with this cache.
        let layout = Arc::new(if params.geom.is_dense() {
            WeightLayout::Product(pack(weight, [params.cout, weight.len() / params.cout], true))
        } else {
            WeightLayout::Windows(InputGradWeight::new(weight, params))
        });
        *self.0.lock() =
            Some(CacheEntry { weight: weight.clone(), geom, channels, layout: layout.clone() });
        layout
    }
}
