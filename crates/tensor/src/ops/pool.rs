//! Pooling and upsampling of NHWC images.

use crate::autograd::record;
use crate::cpu::Buffer;
use crate::cpu::pool::{self as cpu, PoolParams};
use crate::gpu::{GpuBuffer, kernels::pool as gpu};
use crate::tensor::on_device;
use crate::{Shape, Tensor};
use smallvec::smallvec;
use std::sync::Arc;

/// For each window the position, within its image, of the element that stands for it.
#[derive(Clone)]
pub(super) enum WindowIndex {
    Cpu(Arc<Vec<u32>>),
    Gpu(Arc<GpuBuffer>),
}

impl WindowIndex {
    pub(super) fn to_words(&self) -> Vec<u32> {
        match self {
            WindowIndex::Cpu(index) => index.to_vec(),
            WindowIndex::Gpu(index) => index.to_words(),
        }
    }

    fn cpu(&self) -> &[u32] {
        match self {
            WindowIndex::Cpu(index) => index,
            WindowIndex::Gpu(_) => panic!("an index on a gpu for numbers on the cpu"),
        }
    }

    fn gpu(&self) -> &GpuBuffer {
        match self {
            WindowIndex::Gpu(index) => index,
            WindowIndex::Cpu(_) => panic!("an index on the cpu for numbers on a gpu"),
        }
    }
}

/// Where the largest element of each window is: the first of equals, a NaN counting as largest.
pub(super) fn argmax(x: &Tensor, call: PoolParams) -> WindowIndex {
    on_device!("argmax"; x; cpu => WindowIndex::Cpu(Arc::new(cpu::argmax(x, call))), gpu => WindowIndex::Gpu(Arc::new(gpu::argmax(x, call))))
}

/// The largest element of each window, `call.output()`; the gradient goes to the first of equals.
pub(super) fn max_pool(x: &Tensor, call: PoolParams) -> Tensor {
    gather(x, argmax(x, call), call)
}

fn gather(x: &Tensor, index: WindowIndex, call: PoolParams) -> Tensor {
    let shape = Shape::from(call.output());
    let out = on_device!("gather"; x;
        cpu => {
            let mut out = Buffer::uninit(shape.len());
            if !out.is_empty() {
                cpu::gather(x, index.cpu(), &mut out, call.input[0]);
            }
            Tensor::from_buffer(out, shape)
        },
        gpu => Tensor::from_gpu_buffer(gpu::gather(x, index.gpu(), call), shape)
    );
    let from = *x.shape();
    record(
        out,
        "gather",
        &[x],
        |_| smallvec![],
        move |_, g| smallvec![Some(scatter_add(g, index.clone(), call).reshape(from))],
    )
}

fn scatter_add(dy: &Tensor, index: WindowIndex, call: PoolParams) -> Tensor {
    let shape = Shape::from(call.input);
    let out = on_device!("scatter_add"; dy;
        cpu => {
            let mut out = Buffer::uninit(shape.len());
            if !out.is_empty() {
                cpu::scatter_add(dy, index.cpu(), &mut out, call.input[0]);
            }
            Tensor::from_buffer(out, shape)
        },
        gpu => Tensor::from_gpu_buffer(gpu::scatter_add(dy, index.gpu(), call), shape)
    );
    let from = *dy.shape();
    record(
        out,
        "scatter_add",
        &[dy],
        |_| smallvec![],
        move |_, g| smallvec![Some(gather(g, index.clone(), call).reshape(from))],
    )
}

#[track_caller]
fn call(name: &str, x: &Tensor, kernel: [usize; 2], stride: [usize; 2]) -> PoolParams {
    let s = x.shape();
    let fits =
        s.rank() == 4 && (0..2).all(|i| kernel[i] > 0 && stride[i] > 0 && kernel[i] <= s[i + 1]);
    assert!(fits, "{name}: kernel {kernel:?}, stride {stride:?} on shape {s:?}");
    PoolParams { input: [s[0], s[1], s[2], s[3]], kernel, stride }
}

impl Tensor {
    /// The largest element of each `kernel` window of `[N, H, W, C]`, windows `stride` apart, none beyond the border; the
    /// gradient goes to the first of equals.
    ///
    /// # Panics
    /// When the rank is not 4, a size is 0, or the kernel exceeds the image.
    #[track_caller]
    pub fn max_pool2d(&self, kernel: [usize; 2], stride: [usize; 2]) -> Tensor {
        let call = call("max_pool2d", self, kernel, stride);
        max_pool(self, call)
    }

    /// The mean of each `kernel` window of `[N, H, W, C]`.
    ///
    /// # Panics
    /// As [`max_pool2d`](Self::max_pool2d).
    #[track_caller]
    pub fn avg_pool2d(&self, kernel: [usize; 2], stride: [usize; 2]) -> Tensor {
        let call = call("avg_pool2d", self, kernel, stride);
        let (x, shape) = (self, Shape::from(call.output()));
        let out = on_device!("avg_pool2d"; x;
            cpu => {
                let mut out = Buffer::uninit(shape.len());
                cpu::average(x, &mut out, call);
                Tensor::from_buffer(out, shape)
            },
            gpu => Tensor::from_gpu_buffer(gpu::average(x, call), shape)
        );
        record(
            out,
            "avg_pool2d",
            &[self],
            |_| smallvec![],
            move |_, g| smallvec![Some(g.avg_pool2d_grad(call))],
        )
    }

    fn avg_pool2d_grad(&self, call: PoolParams) -> Tensor {
        let (dy, shape) = (self, Shape::from(call.input));
        let out = on_device!("avg_pool2d_grad"; dy;
            cpu => {
                let mut out = Buffer::uninit(shape.len());
                cpu::average_grad(dy, &mut out, call);
                Tensor::from_buffer(out, shape)
            },
            gpu => Tensor::from_gpu_buffer(gpu::average_grad(dy, call), shape)
        );
        record(
            out,
            "avg_pool2d_grad",
            &[self],
            |_| smallvec![],
            move |_, g| smallvec![Some(g.avg_pool2d(call.kernel, call.stride))],
        )
    }

    /// Repeats every pixel of `[N, H, W, C]` `scale[0]` times down and `scale[1]` times across.
    ///
    /// # Panics
    /// When the rank is not 4.
    #[track_caller]
    pub fn upsample_nearest2d(&self, scale: [usize; 2]) -> Tensor {
        let s = *self.shape();
        assert_eq!(s.rank(), 4, "upsample_nearest2d: shape {s:?} is not [N, H, W, C]");
        self.reshape([s[0] * s[1], 1, s[2], 1, s[3]])
            .broadcast_to([s[0] * s[1], scale[0], s[2], scale[1], s[3]])
            .reshape([s[0], s[1] * scale[0], s[2] * scale[1], s[3]])
    }
}
