//! The tensor: shared storage, a shape, and a node of the autograd graph if it is tracked.

pub mod autograd;

use crate::cpu::buffer::Buffer;
use crate::device::Device;
use crate::gpu::{GpuBuffer, StagedRead, kernels};
use crate::shape::Shape;
use crate::storage::{Storage, different_devices};
use autograd::{Gradients, Node, TensorId};
use std::fmt;
use std::sync::Arc;

/// A contiguous, row-major array of `f32`. Cloning is cheap: storage and graph node are shared.
///
/// ```
/// use tensor::Tensor;
/// let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], [2, 2]).leaf();
/// let loss = x.square().sum_all();
/// assert_eq!(loss.item(), 30.0);
/// assert_eq!(loss.backward().of(&x).unwrap().to_vec(), [2.0, 4.0, 6.0, 8.0]);
/// ```
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

    pub(crate) fn from_gpu_buffer(buffer: GpuBuffer, shape: Shape) -> Self {
        debug_assert_eq!(buffer.len(), shape.len());
        Self { storage: Storage::Gpu(Arc::new(buffer)), shape, node: None }
    }

    /// A tensor on the memory of a buffer that has other owners.
    pub(crate) fn from_shared(buffer: &Arc<GpuBuffer>, shape: impl Into<Shape>) -> Self {
        Self { storage: Storage::Gpu(buffer.clone()), shape: shape.into(), node: None }
    }

    /// A tensor on the CPU holding `values` in row-major order.
    ///
    /// # Panics
    /// Panics if the number of values is not that of the shape.
    #[track_caller]
    pub fn from_slice(values: &[f32], shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert_eq!(
            values.len(),
            shape.len(),
            "from_slice: {} values for shape {shape:?}",
            values.len()
        );
        Self::from_buffer(Buffer::from_slice(values), shape)
    }

    /// A tensor filled with `value`, on the CPU.
    pub fn full(shape: impl Into<Shape>, value: f32) -> Self {
        Self::full_on(&Device::Cpu, shape, value)
    }

    /// A tensor filled with `value`.
    pub fn full_on(device: &Device, shape: impl Into<Shape>, value: f32) -> Self {
        let shape = shape.into();
        match device {
            Device::Cpu => Self::from_buffer(Buffer::full(shape.len(), value), shape),
            Device::Gpu(gpu) => {
                Self::from_gpu_buffer(kernels::movement::full(gpu, shape.len(), value), shape)
            }
        }
    }

    /// The same values on `device`, outside the graph. It costs nothing if the tensor is there
    /// already.
    pub fn to_device(&self, device: &Device) -> Self {
        match (&self.storage, device) {
            (Storage::Cpu(_), Device::Cpu) => self.detach(),
            (Storage::Gpu(buffer), Device::Gpu(gpu)) if buffer.gpu() == gpu => self.detach(),
            (_, Device::Cpu) => Self::from_slice(&self.to_vec(), self.shape),
            (Storage::Cpu(buffer), Device::Gpu(gpu)) => {
                Self::from_gpu_buffer(GpuBuffer::from_slice(gpu, buffer), self.shape)
            }
            (Storage::Gpu(buffer), Device::Gpu(gpu)) => {
                Self::from_gpu_buffer(GpuBuffer::from_slice(gpu, &buffer.to_vec()), self.shape)
            }
        }
    }

    /// A tensor of zeros, on the CPU.
    pub fn zeros(shape: impl Into<Shape>) -> Self {
        Self::full(shape, 0.0)
    }

    /// A tensor of ones, on the CPU.
    pub fn ones(shape: impl Into<Shape>) -> Self {
        Self::full(shape, 1.0)
    }

    /// A rank-0 tensor, on the CPU.
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

    /// The device that holds the elements.
    pub fn device(&self) -> Device {
        match &self.storage {
            Storage::Cpu(_) => Device::Cpu,
            Storage::Gpu(buffer) => Device::Gpu(buffer.gpu().clone()),
        }
    }

    /// The elements of a tensor that operation `name` needs on the CPU.
    #[track_caller]
    pub(crate) fn on_cpu(&self, name: &str) -> &[f32] {
        match &self.storage {
            Storage::Cpu(buffer) => buffer,
            Storage::Gpu(_) => different_devices(name, &[self.device(), Device::Cpu]),
        }
    }

    /// The buffer of a tensor that operation `name` needs on a GPU.
    #[track_caller]
    pub(crate) fn on_gpu(&self, name: &str) -> &GpuBuffer {
        match &self.storage {
            Storage::Gpu(buffer) => buffer,
            Storage::Cpu(_) => panic!("{name}: a tensor on the cpu among tensors on a gpu"),
        }
    }

    /// A copy of the elements in row-major order. From a GPU it waits for all work recorded before;
    /// the values are NaN if the device failed ([`Device::check`]).
    pub fn to_vec(&self) -> Vec<f32> {
        match &self.storage {
            Storage::Cpu(buffer) => buffer.to_vec(),
            Storage::Gpu(buffer) => buffer.to_vec(),
        }
    }

    /// Appends the elements in row-major order to `values`, as [`to_vec`](Self::to_vec) returns
    /// them.
    pub fn append_to(&self, values: &mut Vec<f32>) {
        match &self.storage {
            Storage::Cpu(buffer) => values.extend_from_slice(buffer),
            Storage::Gpu(buffer) => values.extend(buffer.to_vec()),
        }
    }

    /// The value of a tensor with a single element.
    ///
    /// # Panics
    /// Panics unless there is exactly one element.
    #[track_caller]
    pub fn item(&self) -> f32 {
        assert_eq!(self.len(), 1, "item: a tensor of shape {:?} has no single value", self.shape);
        match &self.storage {
            Storage::Cpu(buffer) => buffer[0],
            Storage::Gpu(buffer) => buffer.to_vec()[0],
        }
    }

    /// The same values outside the graph: no gradient flows through the result.
    pub fn detach(&self) -> Self {
        Self { storage: self.storage.clone(), shape: self.shape, node: None }
    }

    /// The same values as a new leaf of the graph: gradients with respect to it can be asked for by
    /// its [`id`](Self::id).
    pub fn leaf(&self) -> Self {
        self.leaf_with_id(TensorId::fresh())
    }

    /// [`leaf`](Self::leaf) with an id that the caller keeps. Gradients of leaves with one id are
    /// added up, so a parameter used in several forward passes has one gradient.
    pub fn leaf_with_id(&self, id: TensorId) -> Self {
        Self { storage: self.storage.clone(), shape: self.shape, node: Some(Node::leaf(id)) }
    }

    /// Whether a gradient flows through this tensor.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// The id of this tensor in [`Gradients`] and [`autograd::grad`]; `None` outside the graph.
    pub fn id(&self) -> Option<TensorId> {
        self.node.as_ref().map(|node| node.id())
    }

    /// The gradients of this one-element tensor with respect to every leaf it depends on. The graph
    /// is consumed: memory falls during the backward pass.
    ///
    /// # Panics
    /// Panics if the tensor has more than one element, or its graph was consumed before.
    #[track_caller]
    pub fn backward(&self) -> Gradients {
        assert_eq!(
            self.len(),
            1,
            "backward: the loss must have one element, not shape {:?}",
            self.shape
        );
        autograd::backward(&[(self, &Tensor::full_on(&self.device(), self.shape, 1.0))])
    }

    /// The elements, for writing, of a tensor on the CPU whose storage has no other owner.
    pub(crate) fn data_mut(&mut self) -> Option<&mut [f32]> {
        match &mut self.storage {
            Storage::Cpu(buffer) => Arc::get_mut(buffer).map(|b| &mut b[..]),
            Storage::Gpu(_) => None,
        }
    }

    /// Makes this tensor the only owner of its storage, by a copy if it is shared, so that graphs
    /// that still hold the old values keep them. Returns whether it was the only owner before.
    pub(crate) fn make_unique(&mut self) -> bool {
        let unshared = match &mut self.storage {
            Storage::Cpu(buffer) => Arc::get_mut(buffer).is_some(),
            Storage::Gpu(buffer) => Arc::get_mut(buffer).is_some(),
        };
        if !unshared {
            *self = match &self.storage {
                Storage::Cpu(buffer) => Self::from_buffer(Buffer::from_slice(buffer), self.shape),
                Storage::Gpu(buffer) => {
                    Self::from_gpu_buffer(kernels::movement::duplicate(buffer), self.shape)
                }
            };
        }
        unshared
    }

    /// `self += other`, of one shape, in place if the storage has no other owner; returns whether
    /// it had none.
    pub(crate) fn add_in_place(&mut self, other: &Tensor) -> bool {
        match (&mut self.storage, &other.storage) {
            (Storage::Cpu(own), Storage::Cpu(other)) => match Arc::get_mut(own) {
                Some(own) => crate::cpu::elementwise::add_assign(own, other),
                None => return false,
            },
            (Storage::Gpu(own), Storage::Gpu(other)) => match Arc::get_mut(own) {
                Some(own) => kernels::elementwise::add_assign(own, other),
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

/// Values on their way from a device, which [`read_async`] asked for.
#[must_use = "`wait` returns the values"]
pub struct PendingRead(ReadState);

enum ReadState {
    Ready(Vec<f32>),
    Pending(StagedRead),
}

impl PendingRead {
    /// The values of all tensors, one after the other; waits until they have arrived. NaN if the
    /// device failed ([`Device::check`]).
    pub fn wait(self) -> Vec<f32> {
        match self.0 {
            ReadState::Ready(values) => values,
            ReadState::Pending(read) => read.wait(),
        }
    }
}

/// Reads tensors of one device without waiting for it: the values they have now, whatever is
/// written to them later.
///
/// # Panics
/// Panics if the tensors are on different devices.
#[track_caller]
pub fn read_async(tensors: &[&Tensor]) -> PendingRead {
    let on_gpu = |t: &&Tensor| matches!(t.storage, Storage::Gpu(_));
    match tensors.iter().find(|t| on_gpu(t)) {
        None => PendingRead(ReadState::Ready(tensors.iter().flat_map(|t| t.to_vec()).collect())),
        Some(first) => {
            let buffers: Vec<&GpuBuffer> = tensors.iter().map(|t| t.on_gpu("read_async")).collect();
            let gpu = first.on_gpu("read_async").gpu();
            assert!(
                buffers.iter().all(|buffer| buffer.gpu() == gpu),
                "read_async: tensors on different devices"
            );
            PendingRead(ReadState::Pending(gpu.read_async(&buffers)))
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.to_vec();
        let shown = &data[..data.len().min(8)];
        let dots = if data.len() > 8 { ", …" } else { "" };
        write!(f, "Tensor{:?} {shown:?}{dots}", self.shape)
    }
}
