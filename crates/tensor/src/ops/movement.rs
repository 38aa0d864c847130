//! Operations that copy elements without changing them.

use super::kernel;
use crate::cpu::buffer::Buffer;
use crate::cpu::movement as cpu;
use crate::descriptors::Strided;
use crate::device::Device;
use crate::gpu::kernels::movement as gpu;
use crate::shape::{MAX_RANK, Shape};
use crate::tensor::Tensor;
use crate::tensor::autograd::{SavedTensor, record, record_unary};
use smallvec::smallvec;

/// A copy of a slice of one tensor: `to[target] = from[source]` for every index below `axes`.
struct SliceCopy<'a> {
    from: &'a Tensor,
    axes: &'a [usize],
    source: Strided,
    target: Strided,
}

/// A new tensor from copied slices. If `zeros` is set, elements that no slice covers are 0; else
/// the slices must cover all.
#[track_caller]
fn copy_slices(parts: &[SliceCopy<'_>], shape: Shape, zeros: bool) -> Tensor {
    match parts[0].from.device() {
        Device::Cpu => {
            let mut out =
                if zeros { Buffer::zeros(shape.len()) } else { Buffer::uninit(shape.len()) };
            parts.iter().for_each(|p| {
                cpu::copy(p.axes, p.from.on_cpu("copy"), p.source, &mut out, p.target)
            });
            Tensor::from_buffer(out, shape)
        }
        Device::Gpu(device) => {
            let out = gpu::blank(&device, shape.len(), zeros);
            parts
                .iter()
                .for_each(|p| gpu::copy(p.axes, p.from.on_gpu("copy"), p.source, &out, p.target));
            Tensor::from_gpu_buffer(out, shape)
        }
    }
}

/// The slice that covers a contiguous tensor of this shape, from index `offset` on.
fn full_slice(shape: &Shape, offset: usize) -> Strided {
    Strided { offset, strides: contiguous(shape) }
}

impl Tensor {
    /// The same elements in another shape, without a copy.
    ///
    /// # Panics
    /// Panics if the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let from = *self.shape();
        assert_eq!(
            from.len(),
            shape.len(),
            "reshape: {from:?} has not as many elements as {shape:?}"
        );
        let out = Tensor { storage: self.storage.clone(), shape, node: None };
        record_unary(out, "reshape", self, move |g| g.reshape(from))
    }

    /// Axis `i` of the result is axis `order[i]` of this tensor; copies.
    ///
    /// # Panics
    /// Panics unless `order` is a permutation of the axes.
    #[track_caller]
    pub fn permute(&self, order: &[usize]) -> Tensor {
        let from = *self.shape();
        let rank = from.rank();
        assert!(
            order.len() == rank && (0..rank).all(|a| order.contains(&a)),
            "permute: {order:?} is not a permutation of the axes of {from:?}"
        );
        let axes: Vec<usize> = order.iter().map(|&a| from[a]).collect();
        let shape = Shape::new(&axes);
        let own = from.strides();
        let mut strides = [1; MAX_RANK];
        order.iter().enumerate().for_each(|(i, &a)| strides[i] = own[a]);
        let part = SliceCopy {
            from: self,
            axes: &axes,
            source: Strided { offset: 0, strides },
            target: full_slice(&shape, 0),
        };
        let out = copy_slices(&[part], shape, false);
        let mut inverse = vec![0; rank];
        order.iter().enumerate().for_each(|(i, &a)| inverse[a] = i);
        record_unary(out, "permute", self, move |g| g.permute(&inverse))
    }

    /// The transposed matrix; copies.
    #[track_caller]
    pub fn transpose(&self) -> Tensor {
        self.permute(&[1, 0])
    }

    /// `len` indices of `axis` from `start` on; copies.
    ///
    /// # Panics
    /// Panics if the range exceeds the axis.
    #[track_caller]
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Tensor {
        let from = *self.shape();
        assert!(
            axis < from.rank() && start.checked_add(len).is_some_and(|end| end <= from[axis]),
            "narrow: axis {axis}, {len} from {start} on, of shape {from:?}"
        );
        let mut axes = from.to_vec();
        axes[axis] = len;
        let shape = Shape::new(&axes);
        let source = full_slice(&from, start * from.strides()[axis]);
        let out = copy_slices(
            &[SliceCopy { from: self, axes: &axes, source, target: full_slice(&shape, 0) }],
            shape,
            false,
        );
        let total = from[axis];
        record_unary(out, "narrow", self, move |g| g.pad_with_zeros(axis, start, total))
    }

    /// Zero-pads an axis, the adjoint of [`narrow`](Self::narrow): this tensor at index `start` of
    /// an axis of length `total`, zeros elsewhere.
    ///
    /// # Panics
    /// Panics if the tensor does not fit.
    #[track_caller]
    pub fn pad_with_zeros(&self, axis: usize, start: usize, total: usize) -> Tensor {
        let from = *self.shape();
        let fits =
            axis < from.rank() && start.checked_add(from[axis]).is_some_and(|end| end <= total);
        assert!(fits, "pad_with_zeros: axis {axis} at {start} of {total}, shape {from:?}");
        let len = from[axis];
        let mut axes = from.to_vec();
        axes[axis] = total;
        let shape = Shape::new(&axes);
        let target = full_slice(&shape, start * shape.strides()[axis]);
        let out = copy_slices(
            &[SliceCopy { from: self, axes: &from, source: full_slice(&from, 0), target }],
            shape,
            true,
        );
        record_unary(out, "pad_with_zeros", self, move |g| g.narrow(axis, start, len))
    }

    /// Zero-pads the images of `[N, H, W, C]`: `pad` is `[[top, bottom], [left, right]]`.
    ///
    /// # Panics
    /// Panics unless the rank is 4.
    #[track_caller]
    pub fn pad2d(&self, pad: [[usize; 2]; 2]) -> Tensor {
        let s = *self.shape();
        assert_eq!(s.rank(), 4, "pad2d: shape {s:?} is not [N, H, W, C]");
        let tall = if pad[0] == [0, 0] {
            self.clone()
        } else {
            self.pad_with_zeros(1, pad[0][0], s[1] + pad[0][0] + pad[0][1])
        };
        if pad[1] == [0, 0] {
            tall
        } else {
            tall.pad_with_zeros(2, pad[1][0], s[2] + pad[1][0] + pad[1][1])
        }
    }

    /// Flips and translates each image of `[N, H, W, C]` by whole pixels: row n of `moves` `[N, 3]`
    /// is (down, right, mirror). If mirror is not 0, the image is first flipped left to right.
    /// Zeros enter at the border. No gradient flows to `moves`.
    ///
    /// # Panics
    /// Panics if the shapes do not fit.
    #[track_caller]
    pub fn shift2d(&self, moves: &Tensor) -> Tensor {
        self.shift2d_by(moves, false)
    }

    /// [`shift2d`](Self::shift2d), or its adjoint: translated back, then flipped.
    #[track_caller]
    fn shift2d_by(&self, moves: &Tensor, back: bool) -> Tensor {
        let shape = *self.shape();
        let fits = shape.rank() == 4 && moves.shape()[..] == [shape[0], 3];
        assert!(fits, "shift2d: moves {:?} for images {shape:?}", moves.shape());
        let sizes = [shape[1], shape[2], shape[3]];
        let x = self;
        let out = kernel!("shift2d", shape; x, moves;
            cpu |out| cpu::shift2d(x, moves, sizes, back, out),
            gpu gpu::shift2d(x, moves, sizes, back)
        );
        record(
            out,
            "shift2d",
            &[self],
            |_| smallvec![SavedTensor::constant(moves)],
            move |ctx, g| smallvec![Some(g.shift2d_by(ctx.saved(0), !back))],
        )
    }

    /// The rows (along axis 0) with these indices, in this order; an index may repeat.
    ///
    /// # Panics
    /// Panics on a scalar, or if an index is out of range.
    #[track_caller]
    pub fn index_select(&self, rows: &[usize]) -> Tensor {
        let from = *self.shape();
        assert!(
            from.rank() > 0 && rows.iter().all(|&r| r < from[0]),
            "index_select: an index out of range of shape {from:?}"
        );
        let mut axes = from.to_vec();
        axes[0] = rows.len();
        let shape = Shape::new(&axes);
        let (x, width) = (self, from[1..].iter().product());
        let out = kernel!("index_select", shape; x;
            cpu |out| if !out.is_empty() {
                cpu::index_select(x, rows, width, out)
            },
            gpu gpu::index_select(x, rows, width)
        );
        let rows = rows.to_vec();
        record_unary(out, "index_select", self, move |g| g.index_add(&rows, from))
    }

    fn index_add(&self, rows: &[usize], shape: Shape) -> Tensor {
        let (x, width) = (self, shape[1..].iter().product());
        let out = kernel!("index_add", shape; x;
            cpu |out| if !out.is_empty() {
                cpu::index_add(x, rows, width, out)
            },
            gpu gpu::index_add(x, rows, width, shape[0])
        );
        let rows = rows.to_vec();
        record_unary(out, "index_add", self, move |g| g.index_select(&rows))
    }
}

/// Row-major strides, padded with 1.
fn contiguous(shape: &Shape) -> [usize; MAX_RANK] {
    let mut strides = shape.strides();
    strides[shape.rank()..].fill(1);
    strides
}

/// Concatenates tensors along `axis`.
///
/// # Panics
/// Panics if there is none, or they differ in another axis.
#[track_caller]
pub fn concat(tensors: &[&Tensor], axis: usize) -> Tensor {
    let Some(first) = tensors.first() else { panic!("concat: no tensors") };
    let mut axes = first.shape().to_vec();
    assert!(axis < axes.len(), "concat: axis {axis} of shape {:?}", first.shape());
    for t in tensors {
        let alike = t.shape().rank() == axes.len()
            && (0..axes.len()).all(|i| i == axis || t.shape()[i] == axes[i]);
        assert!(alike, "concat: {:?} and {:?} along axis {axis}", t.shape(), first.shape());
    }
    axes[axis] = tensors.iter().map(|t| t.shape()[axis]).sum();
    let shape = Shape::new(&axes);
    let mut spans = Vec::with_capacity(tensors.len());
    let mut parts = Vec::with_capacity(tensors.len());
    let mut start = 0;
    for t in tensors {
        let target = full_slice(&shape, start * shape.strides()[axis]);
        parts.push(SliceCopy {
            from: t,
            axes: t.shape(),
            source: full_slice(t.shape(), 0),
            target,
        });
        spans.push((start, t.shape()[axis]));
        start += t.shape()[axis];
    }
    let out = copy_slices(&parts, shape, false);
    record(
        out,
        "concat",
        tensors,
        |_| smallvec![],
        move |ctx, g| {
            spans
                .iter()
                .enumerate()
                .map(|(i, &(start, len))| {
                    ctx.needs_input_grad(i).then(|| g.narrow(axis, start, len))
                })
                .collect()
        },
    )
}
