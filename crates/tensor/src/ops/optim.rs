//! Updates of parameters, outside the graph.

use crate::Tensor;
use crate::cpu::optim::{self as kernel, AdamStep, AdamTensor};

/// A parameter with its gradient and its two moments, all of one shape.
pub struct AdamSlot<'a> {
    /// The parameter, updated.
    pub value: &'a mut Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// The running mean of the gradient, updated.
    pub m: &'a mut Tensor,
    /// The running mean of its square, updated.
    pub v: &'a mut Tensor,
}

/// One Adam step over all slots in a single pass. A tensor whose storage is shared gets new storage, so graphs keep the old
/// values; returns how many needed that (a steady training step: none).
///
/// # Panics
/// When the shapes of a slot differ.
#[track_caller]
pub fn adam(slots: &mut [AdamSlot<'_>], step: &AdamStep) -> usize {
    let mut copies = 0;
    let mut tensors = Vec::with_capacity(slots.len());
    for slot in slots.iter_mut() {
        for t in [slot.grad, slot.m, slot.v] {
            assert_eq!(t.shape(), slot.value.shape(), "adam: gradient or moment of another shape than its parameter");
        }
        for t in [&mut *slot.value, slot.m, slot.v] {
            copies += usize::from(!t.update(|_| ()));
        }
        let (Some(value), Some(m), Some(v)) = (slot.value.data_mut(), slot.m.data_mut(), slot.v.data_mut()) else {
            unreachable!("`update` leaves the storage unshared");
        };
        tensors.push(AdamTensor { value, grad: slot.grad.data(), m, v });
    }
    kernel::adam(&mut tensors, step);
    copies
}

/// `average ← keep · average + (1 − keep) · value`: an exponential moving average of weights.
///
/// # Panics
/// When the shapes differ.
#[track_caller]
pub fn lerp(average: &mut Tensor, value: &Tensor, keep: f32) {
    assert_eq!(average.shape(), value.shape(), "lerp: shapes differ");
    average.update(|data| kernel::lerp(data, value.data(), keep));
}
