//! Optimizer steps and exponential moving averages, outside the graph, and the check for NaN and
//! infinity before them.
//!
//! ```
//! use tensor::{Device, FiniteCheck, OptimizerKind, ParamUpdate, Tensor, UpdateStep, update};
//! let (mut weight, grad) = (Tensor::ones([2]), Tensor::from_slice(&[1.0, -1.0], [2]));
//! let rule = OptimizerKind::Sgd { momentum: 0.0, nesterov: false };
//! let step = UpdateStep { rule, lr: 0.5, weight_decay: 0.0, step: 1 };
//! let mut params = [ParamUpdate { value: &mut weight, grad: &grad, state: &mut [] }];
//! update(&mut params, &step, &FiniteCheck::new(&Device::Cpu));
//! assert_eq!(weight.to_vec(), [0.5, 1.5]);
//! ```

use crate::cpu::optim::{self as cpu, UpdateTensor};
use crate::cpu::reduce::all_finite;
use crate::descriptors::UpdateStep;
use crate::device::Device;
use crate::gpu::{GpuBuffer, kernels};
use crate::shape::Shape;
use crate::storage::{Storage, different_devices};
use crate::tensor::Tensor;
use crate::tensor::autograd::Gradients;
use std::sync::Arc;

/// Records the first loss or gradient that holds NaN or infinity, like the `found_inf` of PyTorch's
/// `GradScaler`. On a GPU the record stays there and nothing waits for it, so [`update`] skips all
/// later steps even before the host learns of it.
pub struct FiniteCheck(CheckState);

enum CheckState {
    Cpu(f32),
    /// One value: 0 while everything was finite.
    Gpu(Arc<GpuBuffer>),
}

impl FiniteCheck {
    /// A check that has found everything finite so far.
    pub fn new(device: &Device) -> Self {
        match device {
            Device::Cpu => Self(CheckState::Cpu(0.0)),
            Device::Gpu(gpu) => {
                Self(CheckState::Gpu(Arc::new(kernels::movement::full(gpu, 1, 0.0))))
            }
        }
    }

    /// Records `code` (a positive number that identifies the tensor) if an element is NaN or
    /// infinite and no code was recorded before.
    ///
    /// # Panics
    /// Panics if the tensor is on another device.
    #[track_caller]
    pub fn check(&mut self, tensor: &Tensor, code: f32) {
        self.check_each(&[tensor], code);
    }

    /// [`check`](Self::check) of every gradient.
    #[track_caller]
    pub fn check_all(&mut self, gradients: &Gradients, code: f32) {
        self.check_each(&gradients.iter().map(|(_, gradient)| gradient).collect::<Vec<_>>(), code);
    }

    #[track_caller]
    fn check_each(&mut self, tensors: &[&Tensor], code: f32) {
        match &mut self.0 {
            CheckState::Cpu(recorded) => {
                if *recorded == 0.0 && !tensors.iter().all(|t| all_finite(t.on_cpu("FiniteCheck")))
                {
                    *recorded = code;
                }
            }
            CheckState::Gpu(recorded) => {
                let buffers: Vec<_> = tensors.iter().map(|t| t.on_gpu("FiniteCheck")).collect();
                kernels::reduce::record_unless_finite(&buffers, recorded, code);
            }
        }
    }

    /// The first code recorded, or 0, as a scalar on the device. Later checks may still change it,
    /// so read it at once or by [`read_async`](crate::read_async).
    pub fn value(&self) -> Tensor {
        match &self.0 {
            CheckState::Cpu(recorded) => Tensor::scalar(*recorded),
            CheckState::Gpu(recorded) => Tensor::from_shared(recorded, Shape::new(&[])),
        }
    }
}

impl Tensor {
    /// Whether every element is finite: neither NaN nor infinite.
    pub fn all_finite(&self) -> bool {
        let mut check = FiniteCheck::new(&self.device());
        check.check(self, 1.0);
        check.value().item() == 0.0
    }
}

/// A parameter with its gradient and optimizer state, all of one shape.
pub struct ParamUpdate<'a> {
    /// The parameter, updated.
    pub value: &'a mut Tensor,
    /// The gradient of the value.
    pub grad: &'a Tensor,
    /// The tensors that [`OptimizerKind::state_names`](crate::OptimizerKind::state_names) lists, in
    /// that order, updated.
    pub state: &'a mut [Tensor],
}

/// One optimizer step of all parameters in a single pass; skipped if the check has recorded NaN or
/// infinity. A tensor whose storage is shared gets new storage, so graphs keep the old values;
/// returns how many needed that (in a steady training step, none).
///
/// # Panics
/// Panics if the shapes of a parameter, its gradient and state differ, or their devices, or the
/// rule needs another number of state tensors.
#[track_caller]
pub fn update(params: &mut [ParamUpdate<'_>], step: &UpdateStep, check: &FiniteCheck) -> usize {
    if let CheckState::Cpu(recorded) = check.0
        && recorded != 0.0
    {
        return 0;
    }
    let mut copies = 0;
    let names = step.rule.state_names();
    for param in params.iter_mut() {
        assert_eq!(
            param.state.len(),
            names.len(),
            "update: the state of {:?} is {names:?}",
            step.rule
        );
        for t in std::iter::once(param.grad).chain(param.state.iter()) {
            assert_eq!(
                t.shape(),
                param.value.shape(),
                "update: gradient or state of another shape than its parameter"
            );
        }
        for t in std::iter::once(&mut *param.value).chain(param.state.iter_mut()) {
            copies += usize::from(!t.make_unique());
        }
    }
    match &check.0 {
        CheckState::Cpu(_) => {
            let mut tensors: Vec<_> = params.iter_mut().map(on_cpu).collect();
            cpu::update(&mut tensors, &step.rule, step.constants());
        }
        CheckState::Gpu(recorded) => {
            let params: Vec<_> = params.iter().map(on_gpu).collect();
            kernels::optim::update(&params, recorded, &step.rule, step.constants());
        }
    }
    copies
}

#[track_caller]
fn on_cpu<'a>(param: &'a mut ParamUpdate<'_>) -> UpdateTensor<'a> {
    #[track_caller]
    fn data(tensor: &mut Tensor) -> &mut [f32] {
        let device = tensor.device();
        // `make_unique` left no other owner, so only a device can be in the way.
        tensor.data_mut().unwrap_or_else(|| different_devices("update", &[Device::Cpu, device]))
    }
    let grad = param.grad.on_cpu("update");
    UpdateTensor {
        value: data(param.value),
        grad,
        state: param.state.iter_mut().map(data).collect(),
    }
}

#[track_caller]
fn on_gpu<'a>(param: &'a ParamUpdate<'_>) -> kernels::optim::UpdateBuffers<'a> {
    let outputs = std::iter::once(&*param.value).chain(param.state.iter());
    kernels::optim::UpdateBuffers {
        grad: param.grad.on_gpu("update"),
        outputs: outputs.map(|t| t.on_gpu("update")).collect(),
    }
}

/// An exponential moving average (EMA), for [`lerp`].
pub struct EmaUpdate<'a> {
    /// The average, updated.
    pub average: &'a mut Tensor,
    /// The new value, of the same shape.
    pub value: &'a Tensor,
    /// The decay: the weight of the old average, in [0, 1].
    pub keep: f32,
    /// The factor of the value.
    pub factor: f32,
}

/// `average ← keep · average + (1 − keep) · factor · value` for each: exponential moving
/// averages of weights and statistics.
///
/// # Panics
/// Panics if the shapes of an average and its value differ, or their devices.
#[track_caller]
pub fn lerp(averages: &mut [EmaUpdate<'_>]) {
    for a in averages.iter_mut() {
        assert_eq!(a.average.shape(), a.value.shape(), "lerp: shapes differ");
        a.average.make_unique();
        if let Some(data) = a.average.data_mut() {
            cpu::lerp(data, a.value.on_cpu("lerp"), a.keep, a.factor);
        }
    }
    let on_gpu = averages.iter().filter(|a| matches!(a.average.storage, Storage::Gpu(_)));
    kernels::optim::lerp(
        &on_gpu
            .map(|a| (a.average.on_gpu("lerp"), a.value.on_gpu("lerp"), [a.keep, a.factor]))
            .collect::<Vec<_>>(),
    );
}
