//! Optimiser steps over raw numbers.

use super::{CHUNK, SendPtr, multiversion, par_for};
use smallvec::SmallVec;

/// How an optimiser moves a parameter along its gradient g, with the semantics and names of `torch.optim`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum OptimizerKind {
    /// Kingma & Ba 2015, algorithm 1: `Adam`, or `AdamW` (Loshchilov & Hutter 2019) when `decoupled`.
    Adam {
        /// Decay of the first moment, in [0, 1).
        beta1: f64,
        /// Decay of the second moment, in [0, 1).
        beta2: f64,
        /// Added to the root of the second moment, outside the bias correction.
        eps: f64,
        /// Whether weight decay shrinks the parameter itself, and is no part of the gradient.
        decoupled: bool,
    },
    /// `SGD`, without dampening.
    Sgd {
        /// How much of the last step's direction stays, in [0, 1).
        momentum: f64,
        /// Whether the direction looks one step ahead (Nesterov 1983, as Sutskever et al. 2013 write it). Without momentum it changes nothing.
        nesterov: bool,
    },
    /// `RMSprop`, not centred (Tieleman & Hinton 2012).
    RmsProp {
        /// Decay of the mean of the squared gradient, in [0, 1).
        alpha: f64,
        /// Added to the root of that mean.
        eps: f64,
        /// How much of the last step's direction stays, in [0, 1).
        momentum: f64,
    },
}

impl OptimizerKind {
    /// What is remembered of every parameter, each in its shape and 0 at the start: `m` and `v` are the means of g and g², `momentum` is the last
    /// direction.
    pub fn state_names(&self) -> &'static [&'static str] {
        match *self {
            OptimizerKind::Adam { .. } => &["m", "v"],
            OptimizerKind::Sgd { momentum: 0.0, .. } => &[],
            OptimizerKind::Sgd { .. } => &["momentum"],
            OptimizerKind::RmsProp { momentum: 0.0, .. } => &["v"],
            OptimizerKind::RmsProp { .. } => &["v", "momentum"],
        }
    }
}

/// A rule with its constants for one step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct UpdateStep {
    /// How parameters move.
    pub rule: OptimizerKind,
    /// Learning rate.
    pub lr: f64,
    /// L2 penalty, added to the gradient unless the rule decouples it.
    pub weight_decay: f64,
    /// The number of this step, from 1.
    pub step: u64,
}

impl UpdateStep {
    /// What the kernels take, in f64 until here, since 1 − 0.999 in f32 is off by 1e-5:
    /// - Adam: step size, β₁, 1 − β₁, β₂, 1 − β₂, eps, weight decay, 1 / √(1 − β₂ᵗ), what remains of a parameter under decoupled decay;
    /// - SGD: rate, weight decay, momentum, the shares of g and of the remembered direction in the step;
    /// - RMSprop: rate, weight decay, α, 1 − α, eps, momentum.
    pub(crate) fn constants(&self) -> Constants {
        let UpdateStep { rule, lr, weight_decay, step } = *self;
        let mut all = [0f64; 9];
        match rule {
            OptimizerKind::Adam { beta1, beta2, eps, decoupled } => {
                let power = |beta: f64| 1.0 - beta.powi(step.min(i32::MAX as u64) as i32);
                let (decay, remains) =
                    if decoupled { (0.0, 1.0 - lr * weight_decay) } else { (weight_decay, 1.0) };
                let (step_size, root) = (lr / power(beta1), 1.0 / power(beta2).sqrt());
                all =
                    [step_size, beta1, 1.0 - beta1, beta2, 1.0 - beta2, eps, decay, root, remains];
            }
            OptimizerKind::Sgd { momentum, nesterov } => {
                let [ahead, follow] = if nesterov { [1.0, momentum] } else { [0.0, 1.0] };
                all[..5].copy_from_slice(&[lr, weight_decay, momentum, ahead, follow]);
            }
            OptimizerKind::RmsProp { alpha, eps, momentum } => {
                all[..6].copy_from_slice(&[lr, weight_decay, alpha, 1.0 - alpha, eps, momentum]);
            }
        }
        all.map(|c| c as f32)
    }
}

/// The numbers of [`UpdateStep::constants`].
pub(crate) type Constants = [f32; 9];

/// One parameter's numbers for [`update`].
pub(crate) struct UpdateTensor<'a> {
    pub value: &'a mut [f32],
    pub grad: &'a [f32],
    /// As many as the rule remembers.
    pub state: SmallVec<[&'a mut [f32]; 2]>,
}

multiversion! {
    fn adam_lines(value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], constants: Constants) {
        let [step_size, beta1, rest1, beta2, rest2, eps, decay, root, remains] = constants;
        let n = value.len();
        let (grad, m, v) = (&grad[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            let g = grad[i] + decay * value[i];
            m[i] = beta1 * m[i] + rest1 * g;
            v[i] = beta2 * v[i] + rest2 * (g * g);
            value[i] = remains * value[i] - step_size * m[i] / (v[i].sqrt() * root + eps);
        }
    }
}

multiversion! {
    fn sgd_lines(value: &mut [f32], grad: &[f32], constants: Constants) {
        let [lr, decay, ..] = constants;
        for (value, &g) in value.iter_mut().zip(grad) {
            *value -= lr * (g + decay * *value);
        }
    }
}

multiversion! {
    fn momentum_lines(value: &mut [f32], grad: &[f32], last: &mut [f32], constants: Constants) {
        let [lr, decay, momentum, ahead, follow, ..] = constants;
        let n = value.len();
        let (grad, last) = (&grad[..n], &mut last[..n]);
        for i in 0..n {
            let g = grad[i] + decay * value[i];
            last[i] = momentum * last[i] + g;
            value[i] -= lr * (ahead * g + follow * last[i]);
        }
    }
}

multiversion! {
    fn rms_lines(value: &mut [f32], grad: &[f32], v: &mut [f32], constants: Constants) {
        let [lr, decay, alpha, rest, eps, ..] = constants;
        let n = value.len();
        let (grad, v) = (&grad[..n], &mut v[..n]);
        for i in 0..n {
            let g = grad[i] + decay * value[i];
            v[i] = alpha * v[i] + rest * (g * g);
            value[i] -= lr * g / (v[i].sqrt() + eps);
        }
    }
}

multiversion! {
    fn rms_momentum_lines(value: &mut [f32], grad: &[f32], v: &mut [f32], last: &mut [f32], constants: Constants) {
        let [lr, decay, alpha, rest, eps, momentum, ..] = constants;
        let n = value.len();
        let (grad, v, last) = (&grad[..n], &mut v[..n], &mut last[..n]);
        for i in 0..n {
            let g = grad[i] + decay * value[i];
            v[i] = alpha * v[i] + rest * (g * g);
            last[i] = momentum * last[i] + g / (v[i].sqrt() + eps);
            value[i] -= lr * last[i];
        }
    }
}

fn lines(
    rule: &OptimizerKind,
    value: &mut [f32],
    grad: &[f32],
    state: &mut [&mut [f32]],
    constants: Constants,
) {
    match (rule, state) {
        (OptimizerKind::Adam { .. }, [m, v]) => adam_lines(value, grad, m, v, constants),
        (OptimizerKind::Sgd { .. }, []) => sgd_lines(value, grad, constants),
        (OptimizerKind::Sgd { .. }, [last]) => momentum_lines(value, grad, last, constants),
        (OptimizerKind::RmsProp { .. }, [v]) => rms_lines(value, grad, v, constants),
        (OptimizerKind::RmsProp { .. }, [v, last]) => {
            rms_momentum_lines(value, grad, v, last, constants)
        }
        (rule, state) => unreachable!("{rule:?} with {} state buffers", state.len()),
    }
}

/// One step of all tensors in a single parallel pass.
pub(crate) fn update(tensors: &mut [UpdateTensor<'_>], rule: &OptimizerKind, constants: Constants) {
    struct Part<'a> {
        value: SendPtr<f32>,
        grad: &'a [f32],
        state: SmallVec<[SendPtr<f32>; 2]>,
    }
    let mut parts = Vec::new();
    for t in tensors {
        let value = t.value.as_mut_ptr();
        let state: SmallVec<[*mut f32; 2]> = t.state.iter_mut().map(|m| m.as_mut_ptr()).collect();
        for (i, grad) in t.grad.chunks(CHUNK).enumerate() {
            // SAFETY: the offset lies within each of the arrays, which have one length.
            let at = |p: *mut f32| SendPtr(unsafe { p.add(i * CHUNK) });
            parts.push(Part {
                value: at(value),
                grad,
                state: state.iter().map(|&p| at(p)).collect(),
            });
        }
    }
    par_for(parts.len(), |i| {
        let part = &parts[i];
        // SAFETY: parts are disjoint stretches of exclusively borrowed arrays.
        let own =
            |p: &SendPtr<f32>| unsafe { std::slice::from_raw_parts_mut(p.get(), part.grad.len()) };
        let mut state: SmallVec<[&mut [f32]; 2]> = part.state.iter().map(own).collect();
        lines(rule, own(&part.value), part.grad, &mut state, constants);
    });
}

multiversion! {
    fn lerp_lines(average: &mut [f32], value: &[f32], keep: f32, factor: f32) {
        for (a, &v) in average.iter_mut().zip(value) {
            *a = keep * *a + (1.0 - keep) * (factor * v);
        }
    }
}

/// `average ← keep · average + (1 − keep) · factor · value`.
pub(crate) fn lerp(average: &mut [f32], value: &[f32], keep: f32, factor: f32) {
    super::par_chunks_mut(average, CHUNK, |i, part| {
        lerp_lines(part, &value[i * CHUNK..i * CHUNK + part.len()], keep, factor)
    });
}
