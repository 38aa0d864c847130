//! The tensor: shared storage, a shape, and a place in the graph when gradients are wanted.

use crate::autograd::{Gradients, Key, Node};
use crate::cpu::Buffer;
use crate::{Device, Shape};
use std::fmt;
use std::sync::Arc;

/// Where a tensor's numbers are. The GPU arm joins here.
#[derive(Clone)]
pub(crate) enum Storage {
    Cpu(Arc<Buffer>),
}

/// A contiguous, row-major array of `f32`. Cloning is cheap: storage and graph node are shared.
#[derive(Clone)]
pub struct Tensor {
    pub(crate) storage: Storage,
    pub(crate) shape: Shape,
    pub(crate) node: Option<Arc<Node>>,
}

impl Tensor {
    pub(crate) fn from_buffer(buffer: Buffer, shape: Shape) -> Self {
        debug_assert_eq!(buffer.len(), shape.len());
        Self { storage: Storage::Cpu(Arc::new(buffer)), shape, node: None }
    }

    /// A tensor holding `values` in row-major order.
    ///
    /// # Panics
    /// When the number of values is not that of the shape.
    #[track_caller]
    pub fn from_slice(values: &[f32], shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert_eq!(values.len(), shape.len(), "from_slice: {} values for shape {shape:?}", values.len());
        Self::from_buffer(Buffer::from_slice(values), shape)
    }

    /// A tensor filled with `value`.
    pub fn full(shape: impl Into<Shape>, value: f32) -> Self {
        let shape = shape.into();
        let mut buffer = Buffer::uninit(shape.len());
        buffer.fill(value);
        Self::from_buffer(buffer, shape)
    }

    /// A tensor of zeros.
    pub fn zeros(shape: impl Into<Shape>) -> Self {
        Self::full(shape, 0.0)
    }

    /// A tensor of ones.
    pub fn ones(shape: impl Into<Shape>) -> Self {
        Self::full(shape, 1.0)
    }

    /// A rank-0 tensor.
    pub fn scalar(value: f32) -> Self {
        Self::full(Shape::new(&[]), value)
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The device that holds the numbers.
    pub fn device(&self) -> Device {
        match &self.storage {
            Storage::Cpu(_) => Device::Cpu,
        }
    }

    /// The numbers of a tensor on the CPU.
    pub(crate) fn data(&self) -> &[f32] {
        match &self.storage {
            Storage::Cpu(buffer) => buffer,
        }
    }

    /// The numbers, for writing, when nobody else holds this storage.
    pub(crate) fn data_mut(&mut self) -> Option<&mut [f32]> {
        match &mut self.storage {
            Storage::Cpu(buffer) => Arc::get_mut(buffer).map(|b| &mut b[..]),
        }
    }

    /// A copy of the numbers in row-major order.
    pub fn to_vec(&self) -> Vec<f32> {
        self.data().to_vec()
    }

    /// The one number of a tensor with a single element.
    ///
    /// # Panics
    /// When there is not exactly one element.
    #[track_caller]
    pub fn item(&self) -> f32 {
        assert_eq!(self.len(), 1, "item: a tensor of shape {:?} has no single value", self.shape);
        self.data()[0]
    }

    /// Whether every number is finite: neither NaN nor infinite.
    pub fn all_finite(&self) -> bool {
        crate::cpu::reduce::all_finite(self.data())
    }

    /// The same numbers outside the graph: no gradient flows through the result.
    pub fn detach(&self) -> Self {
        Self { storage: self.storage.clone(), shape: self.shape, node: None }
    }

    /// The same numbers as a new leaf of the graph: gradients with respect to it can be asked for by its [`key`](Self::key).
    pub fn leaf(&self) -> Self {
        self.leaf_with_key(Key::fresh())
    }

    /// [`leaf`](Self::leaf) under a key the caller owns. Gradients of leaves with one key are added up, so a
    /// parameter used in several forward passes has one gradient.
    pub fn leaf_with_key(&self, key: Key) -> Self {
        Self { storage: self.storage.clone(), shape: self.shape, node: Some(Node::leaf(key)) }
    }

    /// Whether a gradient flows through this tensor.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// What names this tensor in [`Gradients`] and [`autograd::grad`](crate::autograd::grad); `None` outside the graph.
    pub fn key(&self) -> Option<Key> {
        self.node.as_ref().map(|node| node.key())
    }

    /// The gradients of this one-element tensor with respect to every leaf it depends on. The graph is
    /// consumed: memory falls as the walk goes.
    ///
    /// # Panics
    /// When the tensor has more than one element, or its graph was consumed before.
    #[track_caller]
    pub fn backward(&self) -> Gradients {
        assert_eq!(self.len(), 1, "backward: the loss must have one element, not shape {:?}", self.shape);
        crate::autograd::backward(&[(self, &Tensor::ones(self.shape))])
    }

    /// Writes `self ← f(self)` over the raw numbers: into this storage when it is not shared, else into new
    /// storage, so that graphs that still hold the old values keep them. Returns whether it was in place.
    pub(crate) fn update(&mut self, f: impl FnOnce(&mut [f32])) -> bool {
        if let Some(data) = self.data_mut() {
            f(data);
            return true;
        }
        let mut buffer = Buffer::from_slice(self.data());
        f(&mut buffer);
        *self = Self::from_buffer(buffer, self.shape);
        false
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data();
        let shown = &data[..data.len().min(8)];
        let dots = if data.len() > 8 { ", …" } else { "" };
        write!(f, "Tensor{:?} {shown:?}{dots}", self.shape)
    }
}
