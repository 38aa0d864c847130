//! The tensor: shared storage, a shape, and a place in the graph when gradients are wanted.

use crate::autograd::{Gradients, Node, TensorId};
use crate::cpu::Buffer;
use crate::gpu::{GpuBuffer, StagedRead, kernels};
use crate::{Device, Shape};
use std::fmt;
use std::sync::Arc;

/// Where a tensor's numbers are.
#[derive(Clone)]
pub(crate) enum Storage {
    Cpu(Arc<Buffer>),
    Gpu(Arc<GpuBuffer>),
}

/// `on_device!(name; a, b; cpu => …, gpu => …)`: one of two expressions, in which `a` and `b` are the tensors' numbers on their common device.
macro_rules! on_device {
    ($name:expr; $($x:ident),+; cpu => $cpu:expr, gpu => $gpu:expr) => {
        match ($(&$x.storage,)+) {
            ($($crate::tensor::Storage::Cpu($x),)+) => $cpu,
            ($($crate::tensor::Storage::Gpu($x),)+) => $gpu,
            #[allow(unreachable_patterns, reason = "with one tensor there is nothing to differ")]
            _ => $crate::tensor::different_devices($name, &[$($x.device()),+]),
        }
    };
}
pub(crate) use on_device;

#[track_caller]
pub(crate) fn different_devices(name: &str, devices: &[Device]) -> ! {
    let devices: Vec<_> = devices.iter().map(ToString::to_string).collect();
    panic!("{name}: tensors on different devices: {}", devices.join(" and "))
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

    pub(crate) fn from_gpu_buffer(array: GpuBuffer, shape: Shape) -> Self {
        debug_assert_eq!(array.len(), shape.len());
        Self { storage: Storage::Gpu(Arc::new(array)), shape, node: None }
    }

    /// A tensor that shares an array with whoever else holds it.
    pub(crate) fn from_shared(array: &Arc<GpuBuffer>, shape: impl Into<Shape>) -> Self {
        Self { storage: Storage::Gpu(array.clone()), shape: shape.into(), node: None }
    }

    /// A tensor on the CPU holding `values` in row-major order.
    ///
    /// # Panics
    /// When the number of values is not that of the shape.
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
            Device::Cpu => {
                let mut buffer = Buffer::uninit(shape.len());
                buffer.fill(value);
                Self::from_buffer(buffer, shape)
            }
            Device::Gpu(gpu) => {
                Self::from_gpu_buffer(kernels::movement::full(gpu, shape.len(), value), shape)
            }
        }
    }

    /// The same numbers on `device`, outside the graph. To the device it is on it costs nothing.
    pub fn to_device(&self, device: &Device) -> Self {
        match (&self.storage, device) {
            (Storage::Cpu(_), Device::Cpu) => self.detach(),
            (Storage::Gpu(array), Device::Gpu(gpu)) if array.gpu() == gpu => self.detach(),
            (_, Device::Cpu) => Self::from_slice(&self.to_vec(), self.shape),
            (Storage::Cpu(buffer), Device::Gpu(gpu)) => {
                Self::from_gpu_buffer(GpuBuffer::from_slice(gpu, buffer), self.shape)
            }
            (Storage::Gpu(array), Device::Gpu(gpu)) => {
                Self::from_gpu_buffer(GpuBuffer::from_slice(gpu, &array.to_vec()), self.shape)
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

    /// The device that holds the numbers.
    pub fn device(&self) -> Device {
        match &self.storage {
            Storage::Cpu(_) => Device::Cpu,
            Storage::Gpu(array) => Device::Gpu(array.gpu().clone()),
        }
    }

    /// The numbers of a tensor that operation `name` needs on the CPU.
    #[track_caller]
    pub(crate) fn on_cpu(&self, name: &str) -> &[f32] {
        match &self.storage {
            Storage::Cpu(buffer) => buffer,
            Storage::Gpu(_) => different_devices(name, &[self.device(), Device::Cpu]),
        }
    }

    /// The numbers of a tensor that operation `name` needs on a GPU.
    #[track_caller]
    pub(crate) fn on_gpu(&self, name: &str) -> &GpuBuffer {
        match &self.storage {
            Storage::Gpu(array) => array,
            Storage::Cpu(_) => panic!("{name}: a tensor on the cpu among tensors on a gpu"),
        }
    }

    /// A copy of the numbers in row-major order. From a GPU: waits for all work before; NaN if it failed ([`Device::check`]).
    pub fn to_vec(&self) -> Vec<f32> {
        match &self.storage {
            Storage::Cpu(buffer) => buffer.to_vec(),
            Storage::Gpu(array) => array.to_vec(),
        }
    }

    /// The one number of a tensor with a single element.
    ///
    /// # Panics
    /// When there is not exactly one element.
    #[track_caller]
    pub fn item(&self) -> f32 {
        assert_eq!(self.len(), 1, "item: a tensor of shape {:?} has no single value", self.shape);
        match &self.storage {
            Storage::Cpu(buffer) => buffer[0],
            Storage::Gpu(array) => array.to_vec()[0],
        }
    }

    /// Whether every number is finite: neither NaN nor infinite.
    pub fn all_finite(&self) -> bool {
        let mut guard = crate::FiniteCheck::new(&self.device());
        guard.check(self, 1.0);
        guard.value().item() == 0.0
    }

    /// The same numbers outside the graph: no gradient flows through the result.
    pub fn detach(&self) -> Self {
        Self { storage: self.storage.clone(), shape: self.shape, node: None }
    }

    /// The same numbers as a new leaf of the graph: gradients with respect to it can be asked for by its [`key`](Self::key).
    pub fn leaf(&self) -> Self {
        self.leaf_with_id(TensorId::fresh())
    }

    /// [`leaf`](Self::leaf) under a key the caller owns. Gradients of leaves with one key are added up, so a
    /// parameter used in several forward passes has one gradient.
    pub fn leaf_with_id(&self, key: TensorId) -> Self {
        Self { storage: self.storage.clone(), shape: self.shape, node: Some(Node::leaf(key)) }
    }

    /// Whether a gradient flows through this tensor.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// What names this tensor in [`Gradients`] and [`autograd::grad`](crate::autograd::grad); `None` outside the graph.
    pub fn id(&self) -> Option<TensorId> {
        self.node.as_ref().map(|node| node.key())
    }

    /// The gradients of this one-element tensor with respect to every leaf it depends on. The graph is
    /// consumed: memory falls as the walk goes.
    ///
    /// # Panics
    /// When the tensor has more than one element, or its graph was consumed before.
    #[track_caller]
    pub fn backward(&self) -> Gradients {
        assert_eq!(
            self.len(),
            1,
            "backward: the loss must have one element, not shape {:?}",
            self.shape
        );
        crate::autograd::backward(&[(self, &Tensor::full_on(&self.device(), self.shape, 1.0))])
    }

    /// The numbers, for writing, of a tensor on the CPU whose storage is nobody else's.
    pub(crate) fn data_mut(&mut self) -> Option<&mut [f32]> {
        match &mut self.storage {
            Storage::Cpu(buffer) => Arc::get_mut(buffer).map(|b| &mut b[..]),
            Storage::Gpu(_) => None,
        }
    }

    /// Makes this storage nobody else's, by a copy where it is shared, so that graphs that still hold the old values keep them.
    /// Returns whether it was so already.
    pub(crate) fn make_unique(&mut self) -> bool {
        let unshared = match &mut self.storage {
            Storage::Cpu(buffer) => Arc::get_mut(buffer).is_some(),
            Storage::Gpu(array) => Arc::get_mut(array).is_some(),
        };
        if !unshared {
            *self = match &self.storage {
                Storage::Cpu(buffer) => Self::from_buffer(Buffer::from_slice(buffer), self.shape),
                Storage::Gpu(array) => {
                    Self::from_gpu_buffer(kernels::movement::duplicate(array), self.shape)
                }
            };
        }
        unshared
    }

    /// `self += other`, of one shape, in this storage if it is nobody else's; returns whether it was.
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

/// Numbers on their way from a device: what [`read_async`] asked for.
#[must_use = "the numbers come with `wait`"]
pub struct PendingRead(ReadState);

enum ReadState {
    Here(Vec<f32>),
    Pending(StagedRead),
}

impl PendingRead {
    /// The numbers of all tensors, one after the other; waits until they are there. NaN if the device failed ([`Device::check`]).
    pub fn wait(self) -> Vec<f32> {
        match self.0 {
            ReadState::Here(values) => values,
            ReadState::Pending(pending) => pending.wait(),
        }
    }
}

/// Reads tensors of one device without waiting for it: the numbers they have now, whatever is written to them later.
///
/// # Panics
/// Without tensors, or when they are on different devices.
#[track_caller]
pub fn read_async(tensors: &[&Tensor]) -> PendingRead {
    let arrays: Vec<&GpuBuffer> = tensors
        .iter()
        .filter_map(|t| match &t.storage {
            Storage::Gpu(array) => Some(&**array),
            Storage::Cpu(_) => None,
        })
        .collect();
    match arrays.first() {
        None => PendingRead(ReadState::Here(tensors.iter().flat_map(|t| t.to_vec()).collect())),
        Some(first) => {
            let one = arrays.len() == tensors.len()
                && arrays.iter().all(|array| array.gpu() == first.gpu());
            assert!(one, "read_async: tensors on different devices");
            PendingRead(ReadState::Pending(first.gpu().read_async(&arrays)))
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
