//! Pooling.

use tensor::Tensor;

/// Which value stands for a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolKind {
    /// The largest.
    Max,
    /// The mean.
    Average,
}

/// Pooling of `[N, H, W, C]` without padding; windows that do not fit are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool2d {
    /// Which value stands for a window.
    pub kind: PoolKind,
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
}

impl Pool2d {
    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        match self.kind {
            PoolKind::Max => x.max_pool2d(self.kernel, self.stride),
            PoolKind::Average => x.avg_pool2d(self.kernel, self.stride),
        }
    }
}

/// One value per channel for all pixels: `[N, H, W, C]` to `[N, C]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GlobalPool {
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
}

impl GlobalPool {
    #[track_caller]
    pub(super) fn forward(self, x: &Tensor) -> Tensor {
        assert_eq!(x.shape().rank(), 4, "GlobalPool: shape {:?} is not [N, H, W, C]", x.shape());
        match self {
            Self::Sum => x.sum(&[1, 2], false),
            Self::Average => x.mean(&[1, 2], false),
        }
    }
}
