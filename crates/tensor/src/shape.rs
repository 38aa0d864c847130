//! Shapes: up to five axes, row-major, stored without allocation.
//!
//! ```
//! use tensor::Shape;
//! let batch = Shape::from([16, 32, 32, 3]);
//! assert_eq!((batch.rank(), batch.len(), batch[3]), (4, 49152, 3));
//! assert_eq!(batch.broadcast(&Shape::from([3])), Some(batch));
//! ```

use std::fmt;
use std::ops::Deref;

/// The largest number of axes a tensor can have.
pub const MAX_RANK: usize = 5;

/// The lengths of a tensor's axes, outermost first. Rank 0 is a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    axes: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// A shape with these axes.
    ///
    /// # Panics
    /// Panics with more than [`MAX_RANK`] axes, or more elements than memory can address.
    #[track_caller]
    pub fn new(axes: &[usize]) -> Self {
        assert!(axes.len() <= MAX_RANK, "shape {axes:?} has more than {MAX_RANK} axes");
        let mut all = [0; MAX_RANK];
        all[..axes.len()].copy_from_slice(axes);
        Self { axes: all, rank: axes.len() }.bounded()
    }

    /// This shape, if its product does not overflow: the kernels' pointer arithmetic relies on
    /// that.
    #[track_caller]
    fn bounded(self) -> Self {
        const MAX_ELEMENTS: usize = isize::MAX as usize / size_of::<f32>();
        let len = self.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
        assert!(
            len.is_some_and(|n| n <= MAX_ELEMENTS),
            "shape {self:?} has more elements than memory can address"
        );
        self
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The distance in elements between neighbors along each axis.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank).rev() {
            strides[axis] = step;
            step *= self.axes[axis];
        }
        strides
    }

    /// This shape with `axis` removed (`keep` false) or of length 1 (`keep` true).
    pub(crate) fn reduced(&self, axes: &[usize], keep: bool) -> Self {
        let mut out = Vec::with_capacity(self.rank);
        for (i, &len) in self.iter().enumerate() {
            match (axes.contains(&i), keep) {
                (false, _) => out.push(len),
                (true, true) => out.push(1),
                (true, false) => {}
            }
        }
        Self::new(&out)
    }

    /// The shape that two operands broadcast to by NumPy's rule, or `None` if they are
    /// incompatible.
    ///
    /// # Panics
    /// Panics if the result has more elements than memory can address.
    #[track_caller]
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        let rank = self.rank.max(other.rank);
        let mut out = [0; MAX_RANK];
        for (i, slot) in out[..rank].iter_mut().enumerate() {
            let a = self.axis_from_end(rank - i);
            let b = other.axis_from_end(rank - i);
            *slot = match (a, b) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Some(Self { axes: out, rank }.bounded())
    }

    fn axis_from_end(&self, distance: usize) -> usize {
        if distance > self.rank { 1 } else { self.axes[self.rank - distance] }
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.axes[..self.rank]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(axes: &[usize]) -> Self {
        Self::new(axes)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(axes: [usize; N]) -> Self {
        Self::new(&axes)
    }
}
