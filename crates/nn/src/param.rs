//! Tensors that a network owns and that others can read or replace between steps.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tensor::autograd::TensorId;
use tensor::{Device, Tensor};

/// A shared, replaceable tensor outside the graph. It stays readable after a panic in another
/// thread.
pub struct SharedTensor(RwLock<Tensor>);

impl SharedTensor {
    pub(crate) fn new(value: Tensor) -> Self {
        Self(RwLock::new(value.detach()))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Tensor> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Tensor> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> Tensor {
        self.read().clone()
    }

    /// Replaces the value, moving the new one to the device of the old one.
    ///
    /// # Panics
    /// Panics if the shape changes.
    #[track_caller]
    pub(crate) fn set(&self, value: Tensor) {
        let mut own = self.write();
        assert_eq!(own.shape(), value.shape(), "set: a value of another shape");
        *own = value.to_device(&own.device());
    }

    pub(crate) fn move_to(&self, device: &Device) {
        let mut own = self.write();
        *own = own.to_device(device);
    }
}

/// A trainable tensor: values outside the graph, and the key under which every forward pass enters
/// them into it.
pub struct Param {
    key: TensorId,
    slot: SharedTensor,
}

impl Param {
    /// Creates a parameter with these initial values.
    pub fn new(value: Tensor) -> Self {
        Self { key: TensorId::fresh(), slot: SharedTensor::new(value) }
    }

    /// Returns another parameter with the same values.
    pub(crate) fn deep_clone(&self) -> Self {
        Self::new(self.value())
    }

    /// The key of its gradient in [`tensor::autograd::Gradients`].
    pub fn key(&self) -> TensorId {
        self.key
    }

    /// The values, outside the graph; storage is shared until the next update.
    pub fn value(&self) -> Tensor {
        self.slot.get()
    }

    /// Replaces the values; they stay on their current device.
    ///
    /// # Panics
    /// Panics if the shape changes.
    #[track_caller]
    pub fn set(&self, value: Tensor) {
        self.slot.set(value);
    }

    /// Returns the values for one forward pass: a leaf of the graph, or a plain constant if `track`
    /// is false.
    pub fn leaf(&self, track: bool) -> Tensor {
        let value = self.value();
        if track { value.leaf_with_id(self.key) } else { value }
    }

    pub(crate) fn shared(&self) -> &SharedTensor {
        &self.slot
    }
}
