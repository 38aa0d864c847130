//! The convolution triple: three partial derivatives of one trilinear form, so that the gradient of each is made of
//! the other two, to any order.

use crate::autograd::{SavedTensor, record};
use crate::cpu::Buffer;
use crate::cpu::conv::{self as cpu, ConvParams, InputGradWeight};
use crate::cpu::gemm::{Packed, matmul_packed, pack};
use crate::gpu::kernels::conv as gpu;
use crate::tensor::{Storage, on_device};
use crate::{ConvGeom, Shape, Tensor};
use smallvec::smallvec;
use std::sync::{Arc, Mutex, PoisonError};

#[track_caller]
fn check(name: &str, what: &str, t: &Tensor, expected: [Option<usize>; 4]) {
    let fits = t.shape().rank() == 4
        && t.shape().iter().zip(expected).all(|(&have, want)| want.is_none_or(|w| w == have));
    let show = expected.map(|e| e.map_or("_".to_string(), |n| n.to_string())).join(", ");
    assert!(fits, "{name}: {what} has shape {:?}, not [{show}]", t.shape());
}

/// The sizes of one call, whose windows' product is known not to wrap: the kernels' pointer arithmetic rests on that.
#[track_caller]
fn conv_params(name: &str, geom: ConvGeom, batch: usize, [cin, cout]: [usize; 2]) -> ConvParams {
    const MOST: usize = isize::MAX as usize / size_of::<f32>();
    let output = geom.output();
    let covered = |i: usize| (output[i] - 1) * geom.stride[i] + geom.kernel[i];
    let numbers =
        [covered(0), covered(1), cin.max(cout)].into_iter().try_fold(batch, usize::checked_mul);
    assert!(
        numbers.is_some_and(|n| n <= MOST),
        "{name}: {batch} images under {geom:?} have more numbers than memory can address"
    );
    ConvParams { geom, batch, cin, cout }
}

/// A convolution over the whole input at once is a matrix product; these are its two flat sides.
fn flat(t: &Tensor) -> Tensor {
    let n = t.shape()[0];
    t.reshape([n, t.len() / n.max(1)])
}

fn flat_weight(w: &Tensor) -> Tensor {
    let s = w.shape();
    w.reshape([s[0] * s[1] * s[2], s[3]])
}

/// Which operand is the gradient of a loss: means over a batch make such numbers small, and mixed precision scales them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LossScaledOperand {
    Neither,
    First,
    Second,
}

/// The convolution of images `x` `[N, H, W, Cin]` with `w` `[kh, kw, Cin, Cout]` (cross-correlation, as in every deep-learning
/// library): `[N, OH, OW, Cout]`.
///
/// # Panics
/// When an operand does not fit the geometry.
#[track_caller]
pub fn conv2d(x: &Tensor, w: &Tensor, geom: &ConvGeom) -> Tensor {
    forward(x, w, geom, LossScaledOperand::Neither)
}

#[track_caller]
fn forward(x: &Tensor, w: &Tensor, geom: &ConvGeom, gradient: LossScaledOperand) -> Tensor {
    let g = *geom;
    let [oh, ow] = g.output();
    check("conv2d", "x", x, [None, Some(g.input[0]), Some(g.input[1]), None]);
    let (batch, cin) = (x.shape()[0], x.shape()[3]);
    check("conv2d", "w", w, [Some(g.kernel[0]), Some(g.kernel[1]), Some(cin), None]);
    let cout = w.shape()[3];
    if g.is_dense() && batch > 0 {
        return flat(x).matmul(&flat_weight(w), false, false).reshape([batch, 1, 1, cout]);
    }
    let (shape, call) =
        (Shape::from([batch, oh, ow, cout]), conv_params("conv2d", g, batch, [cin, cout]));
    let out = if shape.is_empty() || cin == 0 {
        Tensor::full_on(&x.device(), shape, 0.0)
    } else {
        on_device!("conv2d"; x, w;
            cpu => {
                let mut out = Buffer::uninit(shape.len());
                cpu::conv2d(x, w, &mut out, call);
                Tensor::from_buffer(out, shape)
            },
            gpu => Tensor::from_gpu_buffer(gpu::conv2d(x, w, &call, gradient), shape)
        )
    };
    record(
        out,
        "conv2d",
        &[x, w],
        |_| {
            smallvec![
                SavedTensor::if_other_needs_grad(x, w),
                SavedTensor::if_other_needs_grad(w, x)
            ]
        },
        move |saved, dy| {
            smallvec![
                saved.when(0, || input_grad(dy, saved.get(1), &g, LossScaledOperand::First)),
                saved.when(1, || weight_grad(saved.get(0), dy, &g, LossScaledOperand::Second)),
            ]
        },
    )
}

/// The gradient of [`conv2d`] with respect to its input, `[N, H, W, Cin]`, from `dy` `[N, OH, OW, Cout]`; every pixel is written, also
/// those no window covers.
///
/// # Panics
/// When an operand does not fit the geometry.
#[track_caller]
pub fn conv2d_input_grad(dy: &Tensor, w: &Tensor, geom: &ConvGeom) -> Tensor {
    input_grad(dy, w, geom, LossScaledOperand::First)
}

#[track_caller]
fn input_grad(dy: &Tensor, w: &Tensor, geom: &ConvGeom, gradient: LossScaledOperand) -> Tensor {
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
    let call = conv_params("conv2d_input_grad", g, batch, [cin, cout]);
    let out = if shape.is_empty() || cout == 0 {
        Tensor::full_on(&dy.device(), shape, 0.0)
    } else {
        on_device!("conv2d_input_grad"; dy, w;
            cpu => {
                let mut out = Buffer::uninit(shape.len());
                cpu::conv2d_input_grad(dy, w, &mut out, call);
                Tensor::from_buffer(out, shape)
            },
            gpu => Tensor::from_gpu_buffer(gpu::conv2d_input_grad(dy, w, &call, gradient), shape)
        )
    };
    record(
        out,
        "conv2d_input_grad",
        &[dy, w],
        |_| {
            smallvec![
                SavedTensor::if_other_needs_grad(dy, w),
                SavedTensor::if_other_needs_grad(w, dy)
            ]
        },
        move |saved, dx| {
            smallvec![
                saved.when(0, || forward(dx, saved.get(1), &g, LossScaledOperand::First)),
                saved.when(1, || weight_grad(dx, saved.get(0), &g, LossScaledOperand::First)),
            ]
        },
    )
}

/// The gradient of [`conv2d`] with respect to its weight, `[kh, kw, Cin, Cout]`, from `x` `[N, H, W, Cin]` and `dy` `[N, OH, OW, Cout]`.
///
/// # Panics
/// When an operand does not fit the geometry.
#[track_caller]
pub fn conv2d_weight_grad(x: &Tensor, dy: &Tensor, geom: &ConvGeom) -> Tensor {
    weight_grad(x, dy, geom, LossScaledOperand::Second)
}

#[track_caller]
fn weight_grad(x: &Tensor, dy: &Tensor, geom: &ConvGeom, gradient: LossScaledOperand) -> Tensor {
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
    let call = conv_params("conv2d_weight_grad", g, batch, [cin, cout]);
    let out = if batch == 0 || shape.is_empty() {
        Tensor::full_on(&x.device(), shape, 0.0)
    } else {
        on_device!("conv2d_weight_grad"; x, dy;
            cpu => {
                let mut out = Buffer::zeros(shape.len());
                cpu::conv2d_weight_grad(x, dy, &mut out, call);
                Tensor::from_buffer(out, shape)
            },
            gpu => Tensor::from_gpu_buffer(gpu::conv2d_weight_grad(x, dy, &call, gradient), shape)
        )
    };
    record(
        out,
        "conv2d_weight_grad",
        &[x, dy],
        |_| {
            smallvec![
                SavedTensor::if_other_needs_grad(x, dy),
                SavedTensor::if_other_needs_grad(dy, x)
            ]
        },
        move |saved, dw| {
            smallvec![
                saved.when(0, || input_grad(saved.get(1), dw, &g, LossScaledOperand::Second)),
                saved.when(1, || forward(saved.get(0), dw, &g, LossScaledOperand::Second)),
            ]
        },
    )
}

/// The transposed ("fractionally strided") convolution of `x` `[N, h, w, Cin]`: the input gradient of a convolution. The weight is
/// `[kh, kw, Cout, Cin]`, that of the convolution which maps the result back; the result is `[N, H, W, Cout]` with
/// H = (h − 1)·stride + kernel − padding + output_padding.
///
/// # Panics
/// When the geometry is impossible ([`ConvGeom::transposed`]) or an operand does not fit.
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

/// [`conv_transpose2d`] with a weight that stays the same from call to call: on a CPU, outside the graph and where the direct algorithm is in use
/// ([`batch_invariant`](crate::batch_invariant)), what the kernels make of the weight is kept in `cache`. The result has the same bits.
///
/// # Panics
/// As [`conv_transpose2d`].
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
    let call = conv_params("conv_transpose2d", geom, batch, [cin, cout]);
    let shape = Shape::from([batch, geom.input[0], geom.input[1], cin]);
    let (Storage::Cpu(numbers), Storage::Cpu(weight)) = (&x.storage, &w.storage) else {
        return input_grad(x, w, &geom, LossScaledOperand::Neither);
    };
    if x.is_tracked() || w.is_tracked() || shape.is_empty() || cout == 0 || !cpu::is_direct(&call) {
        return input_grad(x, w, &geom, LossScaledOperand::Neither);
    }
    let mut out = Buffer::uninit(shape.len());
    match &*cache.packed(weight, &call) {
        WeightLayout::Product(packed) => {
            matmul_packed(numbers, packed, &mut out, [batch, cout, shape.len() / batch], false)
        }
        WeightLayout::Windows(weight) => weight.input_grad(numbers, &mut out, call),
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

/// What [`conv_transpose2d_cached`] keeps of the last weight it met: another form of it, of the same size, and the weight itself.
#[derive(Default)]
pub struct WeightCache(Mutex<Option<CacheEntry>>);

struct CacheEntry {
    /// Held, so that nobody writes to it.
    weight: Arc<Buffer>,
    geom: ConvGeom,
    /// Which the geometry leaves open, and a weight that was reshaped has others.
    channels: [usize; 2],
    packing: Arc<WeightLayout>,
}

enum WeightLayout {
    /// A window over the whole output: a matrix product.
    Product(Packed),
    Windows(InputGradWeight),
}

impl WeightCache {
    fn packed(&self, weight: &Arc<Buffer>, call: &ConvParams) -> Arc<WeightLayout> {
        let (geom, channels) = (call.geom, [call.cin, call.cout]);
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |kept: &&CacheEntry| {
            Arc::ptr_eq(&kept.weight, weight) && (kept.geom, kept.channels) == (geom, channels)
        };
        if let Some(packing) = kept().as_ref().filter(fits).map(|kept| kept.packing.clone()) {
            return packing;
        }
        // Without the lock: threads that wait for parallel work take up other work meanwhile, which may be a call with this cache.
        let packing = Arc::new(if call.geom.is_dense() {
            WeightLayout::Product(pack(weight, [call.cout, weight.len() / call.cout], true))
        } else {
            WeightLayout::Windows(InputGradWeight::new(weight, call))
        });
        *kept() =
            Some(CacheEntry { weight: weight.clone(), geom, channels, packing: packing.clone() });
        packing
    }
}
