//! Pooling and upsampling of NHWC images.

use super::kernel;
use crate::cpu::buffer::Buffer;
use crate::cpu::pool as cpu;
use crate::descriptors::PoolParams;
use crate::gpu::{GpuBuffer, kernels::pool as gpu};
use crate::shape::Shape;
use crate::storage::{Storage, on_device};
use crate::tensor::Tensor;
use crate::tensor::autograd::record_unary;
use std::sync::Arc;

/// For each pooling window, the index of its largest element within its image.
#[derive(Clone)]
pub(super) enum WindowIndex {
    /// The bits of 32-bit integers, in the memory of tensors.
    Cpu(Arc<Buffer>),
    Gpu(Arc<GpuBuffer>),
}

impl WindowIndex {
    pub(super) fn to_words(&self) -> Vec<u32> {
        match self {
            WindowIndex::Cpu(_) => self.cpu().to_vec(),
            WindowIndex::Gpu(index) => index.to_words(),
        }
    }

    fn cpu(&self) -> &[u32] {
        match self {
            WindowIndex::Cpu(index) => bytemuck::cast_slice(&index[..]),
            WindowIndex::Gpu(_) => panic!("window indices on a gpu for a tensor on the cpu"),
        }
    }

    fn gpu(&self) -> &GpuBuffer {
        match self {
            WindowIndex::Gpu(index) => index,
            WindowIndex::Cpu(_) => panic!("window indices on the cpu for a tensor on a gpu"),
        }
    }
}

/// The index of the largest element of each window: the first of equals; a NaN counts as the
/// largest.
pub(super) fn argmax(x: &Tensor, params: PoolParams) -> WindowIndex {
    on_device!("argmax"; x;
        cpu => {
            let mut index = Buffer::uninit(params.output().iter().product());
            cpu::argmax(x, bytemuck::cast_slice_mut(&mut index[..]), params);
            WindowIndex::Cpu(Arc::new(index))
        },
        gpu => WindowIndex::Gpu(Arc::new(gpu::argmax(x, params)))
    )
}

/// The largest element of each window, in the shape `params.output()`; the gradient goes to the
/// first of equals.
pub(super) fn max_pool(x: &Tensor, params: PoolParams) -> Tensor {
    gather(x, argmax(x, params), params)
}

fn gather(x: &Tensor, index: WindowIndex, params: PoolParams) -> Tensor {
    let shape = Shape::from(params.output());
    let out = kernel!("gather", shape; x;
        cpu |out| if !out.is_empty() {
            cpu::gather(x, index.cpu(), out, params.input[0])
        },
        gpu gpu::gather(x, index.gpu(), params)
    );
    let from = *x.shape();
    record_unary(out, "gather", x, move |g| scatter_add(g, index.clone(), params).reshape(from))
}

fn scatter_add(dy: &Tensor, index: WindowIndex, params: PoolParams) -> Tensor {
    let shape = Shape::from(params.input);
    let out = kernel!("scatter_add", shape; dy;
        cpu |out| if !out.is_empty() {
            cpu::scatter_add(dy, index.cpu(), out, params.input[0])
        },
        gpu gpu::scatter_add(dy, index.gpu(), params)
    );
    let from = *dy.shape();
    record_unary(out, "scatter_add", dy, move |g| gather(g, index.clone(), params).reshape(from))
}

#[track_caller]
fn pool_params(name: &str, x: &Tensor, kernel: [usize; 2], stride: [usize; 2]) -> PoolParams {
    let s = x.shape();
    let fits =
        s.rank() == 4 && (0..2).all(|i| kernel[i] > 0 && stride[i] > 0 && kernel[i] <= s[i + 1]);
    assert!(fits, "{name}: kernel {kernel:?}, stride {stride:?} on shape {s:?}");
    PoolParams { input: [s[0], s[1], s[2], s[3]], kernel, stride }
}

impl Tensor {
    /// The largest element of each `kernel` window of `[N, H, W, C]`, windows `stride` apart, none
    /// beyond the border; the gradient goes to the first of equals.
    ///
    /// # Panics
    /// Panics if the rank is not 4, a size is 0, or the kernel exceeds the image.
    #[track_caller]
    pub fn max_pool2d(&self, kernel: [usize; 2], stride: [usize; 2]) -> Tensor {
        let params = pool_params("max_pool2d", self, kernel, stride);
        // Without a gradient, the indices are not needed.
        if let (Storage::Cpu(data), false) = (&self.storage, self.is_tracked()) {
            let shape = Shape::from(params.output());
            let mut out = Buffer::uninit(shape.len());
            if !out.is_empty() {
                cpu::maximum(data, &mut out, params);
            }
            return Tensor::from_buffer(out, shape);
        }
        max_pool(self, params)
    }

    /// The mean of each `kernel` window of `[N, H, W, C]`.
    ///
    /// # Panics
    /// Panics as [`max_pool2d`](Self::max_pool2d).
    #[track_caller]
    pub fn avg_pool2d(&self, kernel: [usize; 2], stride: [usize; 2]) -> Tensor {
        let params = pool_params("avg_pool2d", self, kernel, stride);
        let (x, shape) = (self, Shape::from(params.output()));
        let out = kernel!("avg_pool2d", shape; x;
            cpu |out| cpu::average(x, out, params),
            gpu gpu::average(x, params)
        );
        record_unary(out, "avg_pool2d", self, move |g| g.avg_pool2d_grad(params))
    }

    fn avg_pool2d_grad(&self, params: PoolParams) -> Tensor {
        let (dy, shape) = (self, Shape::from(params.input));
        let out = kernel!("avg_pool2d_grad", shape; dy;
            cpu |out| cpu::average_grad(dy, out, params),
            gpu gpu::average_grad(dy, params)
        );
        record_unary(out, "avg_pool2d_grad", self, move |g| {
            g.avg_pool2d(params.kernel, params.stride)
        })
    }

    /// Repeats every pixel of `[N, H, W, C]` `scale[0]` times down and `scale[1]` times across.
    ///
    /// # Panics
    /// Panics unless the rank is 4.
    #[track_caller]
    pub fn upsample_nearest2d(&self, scale: [usize; 2]) -> Tensor {
        let s = *self.shape();
        assert_eq!(s.rank(), 4, "upsample_nearest2d: shape {s:?} is not [N, H, W, C]");
        self.reshape([s[0] * s[1], 1, s[2], 1, s[3]])
            .broadcast_to([s[0] * s[1], scale[0], s[2], scale[1], s[3]])
            .reshape([s[0], s[1] * scale[0], s[2] * scale[1], s[3]])
    }
}
