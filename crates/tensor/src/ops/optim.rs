//! Updates of parameters, outside the graph.

use crate::autograd::Gradients;
use crate::cpu::optim::{self as cpu, UpdateStep, UpdateTensor};
use crate::gpu::{GpuBuffer, kernels};
use crate::tensor::Storage;
use crate::{Device, Shape, Tensor};
use std::sync::Arc;

/// Remembers the first number that was not finite, where the numbers are: on a GPU without waiting for it, so that [`update`] leaves parameters
/// alone from there on even if the host hears of it later.
pub struct FiniteCheck(CheckState);

enum CheckState {
    Cpu(f32),
    /// One number: 0 while everything was finite.
    Gpu(Arc<GpuBuffer>),
}

impl FiniteCheck {
    /// A guard that has seen nothing bad.
    pub fn new(device: &Device) -> Self {
        match device {
            Device::Cpu => Self(CheckState::Cpu(0.0)),
            Device::Gpu(gpu) => {
                Self(CheckState::Gpu(Arc::new(kernels::movement::full(gpu, 1, 0.0))))
            }
        }
    }

    /// Remembers `mark` (a positive number that says what was checked) if a number of the tensor is NaN or infinite and nothing bad was
    /// seen before.
    ///
    /// # Panics
    /// When the tensor is on another device.
    #[track_caller]
    pub fn check(&mut self, tensor: &Tensor, mark: f32) {
        self.check_each(&[tensor], mark);
    }

    /// [`check`](Self::check) of every gradient.
    #[track_caller]
    pub fn check_all(&mut self, gradients: &Gradients, mark: f32) {
        self.check_each(&gradients.iter().map(|(_, gradient)| gradient).collect::<Vec<_>>(), mark);
    }

    #[track_caller]
    fn check_each(&mut self, tensors: &[&Tensor], mark: f32) {
        match &mut self.0 {
            CheckState::Cpu(seen) => {
                if *seen == 0.0
                    && !tensors
                        .iter()
                        .all(|t| crate::cpu::reduce::all_finite(t.on_cpu("FiniteCheck")))
                {
                    *seen = mark;
                }
            }
            CheckState::Gpu(flag) => {
                let arrays: Vec<_> = tensors.iter().map(|t| t.on_gpu("FiniteCheck")).collect();
                kernels::reduce::mark_unless_finite(&arrays, flag, mark);
            }
        }
    }

    /// The first mark, or 0, as a scalar on the device: to be read at once or by [`read_async`](crate::read_async), since later checks may
    /// still change it.
    pub fn value(&self) -> Tensor {
        match &self.0 {
            CheckState::Cpu(seen) => Tensor::scalar(*seen),
            CheckState::Gpu(flag) => Tensor::from_shared(flag, Shape::new(&[])),
        }
    }
}

/// A parameter with its gradient and what the rule remembers of it, all of one shape.
pub struct ParamUpdate<'a> {
    /// The parameter, updated.
    pub value: &'a mut Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// What [`OptimizerKind::state_names`](crate::OptimizerKind::state_names) names, in that order, updated.
    pub state: &'a mut [Tensor],
}

/// One step over all slots in a single pass, unless the guard has seen a number that is not finite. A tensor whose storage is shared
/// gets new storage, so graphs keep the old values; returns how many needed that (a steady training step: none).
///
/// # Panics
/// When the shapes of a slot differ, or the devices, or a slot has not as many memories as the rule needs.
#[track_caller]
pub fn update(slots: &mut [ParamUpdate<'_>], step: &UpdateStep, guard: &FiniteCheck) -> usize {
    if let CheckState::Cpu(seen) = guard.0
        && seen != 0.0
    {
        return 0;
    }
    let mut copies = 0;
    let names = step.rule.state_names();
    for slot in slots.iter_mut() {
        assert_eq!(slot.state.len(), names.len(), "update: {:?} remembers {names:?}", step.rule);
        for t in std::iter::once(slot.grad).chain(slot.state.iter()) {
            assert_eq!(
                t.shape(),
                slot.value.shape(),
                "update: gradient or state of another shape than its parameter"
            );
        }
        for t in std::iter::once(&mut *slot.value).chain(slot.state.iter_mut()) {
            copies += usize::from(!t.make_unique());
        }
    }
    match &guard.0 {
        CheckState::Cpu(_) => {
            let mut tensors: Vec<_> = slots.iter_mut().map(numbers).collect();
            cpu::update(&mut tensors, &step.rule, step.constants());
        }
        CheckState::Gpu(flag) => {
            kernels::optim::update(
                &slots.iter().map(arrays).collect::<Vec<_>>(),
                flag,
                &step.rule,
                step.constants(),
            );
        }
    }
    copies
}

#[track_caller]
fn numbers<'a>(slot: &'a mut ParamUpdate<'_>) -> UpdateTensor<'a> {
    #[track_caller]
    fn own(tensor: &mut Tensor) -> &mut [f32] {
        let device = tensor.device();
        tensor
            .data_mut()
            .unwrap_or_else(|| crate::tensor::different_devices("update", &[Device::Cpu, device]))
    }
    let grad = slot.grad.on_cpu("update");
    UpdateTensor { value: own(slot.value), grad, state: slot.state.iter_mut().map(own).collect() }
}

#[track_caller]
fn arrays<'a>(slot: &'a ParamUpdate<'_>) -> kernels::optim::Slot<'a> {
    let outputs = std::iter::once(&*slot.value)
        .chain(slot.state.iter())
        .map(|t| t.on_gpu("update"))
        .collect();
    kernels::optim::Slot { grad: slot.grad.on_gpu("update"), outputs }
}

/// A moving average, for [`lerp`].
pub struct EmaUpdate<'a> {
    /// The average, updated.
    pub average: &'a mut Tensor,
    /// What moves it, of the same shape.
    pub value: &'a Tensor,
    /// How much of the average stays, in [0, 1].
    pub keep: f32,
    /// What the value is multiplied by.
    pub factor: f32,
}

/// `average ← keep · average + (1 − keep) · factor · value` for each: exponential moving averages of weights and statistics.
///
/// # Panics
/// When the shapes of one differ, or the devices.
#[track_caller]
pub fn lerp(averages: &mut [EmaUpdate<'_>]) {
    for a in averages.iter_mut() {
        assert_eq!(a.average.shape(), a.value.shape(), "lerp: shapes differ");
        a.average.make_unique();
        if let Some(own) = a.average.data_mut() {
            cpu::lerp(own, a.value.on_cpu("lerp"), a.keep, a.factor);
        }
    }
    let on_gpu = averages.iter().filter(|a| matches!(a.average.storage, Storage::Gpu(_)));
    kernels::optim::lerp(
        &on_gpu
            .map(|a| (a.average.on_gpu("lerp"), a.value.on_gpu("lerp"), [a.keep, a.factor]))
            .collect::<Vec<_>>(),
    );
}
