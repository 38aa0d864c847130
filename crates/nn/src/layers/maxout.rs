//! Maxout (Goodfellow et al. 2013).

use tensor::Tensor;

/// The largest of each group of consecutive units: `[N, F · pieces]` to `[N, F]`, or `[N, H, W, C · pieces]` to `[N, H, W, C]`. The linear
/// layer that makes them is one of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Maxout {
    pieces: usize,
}

impl Maxout {
    /// Groups of this many units.
    ///
    /// # Panics
    /// When `pieces` is 0.
    #[track_caller]
    pub fn new(pieces: usize) -> Self {
        assert!(pieces > 0, "Maxout: groups of no units");
        Self { pieces }
    }

    /// # Panics
    /// When the last axis is no multiple of `pieces`.
    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let mut axes = x.shape().to_vec();
        let units = axes.last().copied().unwrap_or(0);
        assert!(
            units > 0 && units.is_multiple_of(self.pieces),
            "Maxout: {units} units of shape {axes:?} in groups of {}",
            self.pieces
        );
        axes.pop();
        axes.extend([units / self.pieces, self.pieces]);
        x.reshape(&axes[..]).max(axes.len() - 1, false)
    }
}
