//! Pooling and upsampling of NHWC images.

use crate::autograd::record;
use crate::cpu::Buffer;
use crate::cpu::pool::{self as kernel, PoolCall};
use crate::{Shape, Tensor};
use smallvec::smallvec;
use std::sync::Arc;

#[track_caller]
fn call(name: &str, x: &Tensor, kernel: [usize; 2], stride: [usize; 2]) -> PoolCall {
    let s = x.shape();
    let fits = s.rank() == 4 && (0..2).all(|i| kernel[i] > 0 && stride[i] > 0 && kernel[i] <= s[i + 1]);
    assert!(fits, "{name}: kernel {kernel:?}, stride {stride:?} on shape {s:?}");
    PoolCall { input: [s[0], s[1], s[2], s[3]], kernel, stride }
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
        let index = kernel::argmax(self.data(), call);
        self.gather(Arc::new(index), Shape::from(call.output()), call.input[0])
    }

    /// The mean of each `kernel` window of `[N, H, W, C]`.
    ///
    /// # Panics
    /// As [`max_pool2d`](Self::max_pool2d).
    #[track_caller]
    pub fn avg_pool2d(&self, kernel: [usize; 2], stride: [usize; 2]) -> Tensor {
        let call = call("avg_pool2d", self, kernel, stride);
        let mut out = Buffer::uninit(call.output().iter().product());
        kernel::average(self.data(), &mut out, call);
        let out = Tensor::from_buffer(out, Shape::from(call.output()));
        record(out, "avg_pool2d", &[self], |_| smallvec![], move |_, g| smallvec![Some(g.avg_pool2d_grad(call))])
    }

    fn avg_pool2d_grad(&self, call: PoolCall) -> Tensor {
        let mut out = Buffer::uninit(call.input.iter().product());
        kernel::average_grad(self.data(), &mut out, call);
        let out = Tensor::from_buffer(out, Shape::from(call.input));
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
        self.reshape([s[0] * s[1], 1, s[2], 1, s[3]]).broadcast_to([s[0] * s[1], scale[0], s[2], scale[1], s[3]]).reshape([
            s[0],
            s[1] * scale[0],
            s[2] * scale[1],
            s[3],
        ])
    }
}
