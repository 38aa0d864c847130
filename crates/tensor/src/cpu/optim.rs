//! Optimizer steps over slices.

use super::isa::multiversion;
use super::parallel::{CHUNK, SendPtr, par_chunks_mut, par_for};
use crate::descriptors::{OptimizerKind, StepConstants};
use smallvec::SmallVec;

/// The slices of one parameter for [`update`].
pub(crate) struct UpdateTensor<'a> {
    pub value: &'a mut [f32],
    pub grad: &'a [f32],
    /// One slice per state tensor of the rule.
    pub state: SmallVec<[&'a mut [f32]; 2]>,
}

multiversion! {
    fn adam_lines(
        value: &mut [f32],
        grad: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        constants: StepConstants,
    ) {
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
    fn sgd_lines(value: &mut [f32], grad: &[f32], constants: StepConstants) {
        let [lr, decay, ..] = constants;
        for (value, &g) in value.iter_mut().zip(grad) {
            *value -= lr * (g + decay * *value);
        }
    }
}

multiversion! {
    fn momentum_lines(value: &mut [f32], grad: &[f32], last: &mut [f32], constants: StepConstants) {
        let [lr, decay, momentum, grad_scale, buffer_scale, ..] = constants;
        let n = value.len();
        let (grad, last) = (&grad[..n], &mut last[..n]);
        for i in 0..n {
            let g = grad[i] + decay * value[i];
            last[i] = momentum * last[i] + g;
            value[i] -= lr * (grad_scale * g + buffer_scale * last[i]);
        }
    }
}

multiversion! {
    fn rms_lines(value: &mut [f32], grad: &[f32], v: &mut [f32], constants: StepConstants) {
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
    fn rms_momentum_lines(
        value: &mut [f32],
        grad: &[f32],
        v: &mut [f32],
        last: &mut [f32],
        constants: StepConstants,
    ) {
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
    constants: StepConstants,
) {
    match (rule, state) {
        (OptimizerKind::Adam { .. }, [m, v]) => adam_lines(value, grad, m, v, constants),
        (OptimizerKind::Sgd { .. }, []) => sgd_lines(value, grad, constants),
        (OptimizerKind::Sgd { .. }, [last]) => momentum_lines(value, grad, last, constants),
        (OptimizerKind::RmsProp { .. }, [v]) => rms_lines(value, grad, v, constants),
        (OptimizerKind::RmsProp { .. }, [v, last]) => {
            rms_momentum_lines(value, grad, v, last, constants)
        }
        (rule, state) => unreachable!("{rule:?} with {} state tensors", state.len()),
    }
}

/// One step of all tensors in a single parallel pass.
pub(crate) fn update(
    tensors: &mut [UpdateTensor<'_>],
    rule: &OptimizerKind,
    constants: StepConstants,
) {
    struct TensorChunk<'a> {
        value: SendPtr<f32>,
        grad: &'a [f32],
        state: SmallVec<[SendPtr<f32>; 2]>,
    }
    let mut parts = Vec::new();
    for t in tensors {
        let value = t.value.as_mut_ptr();
        let state: SmallVec<[*mut f32; 2]> = t.state.iter_mut().map(|m| m.as_mut_ptr()).collect();
        for (i, grad) in t.grad.chunks(CHUNK).enumerate() {
            // SAFETY: the offset is within each slice; all have one length.
            let at = |p: *mut f32| SendPtr(unsafe { p.add(i * CHUNK) });
            parts.push(TensorChunk {
                value: at(value),
                grad,
                state: state.iter().map(|&p| at(p)).collect(),
            });
        }
    }
    par_for(parts.len(), |i| {
        let part = &parts[i];
        // SAFETY: parts are disjoint ranges of exclusively borrowed slices.
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
    par_chunks_mut(average, CHUNK, |i, part| {
        lerp_lines(part, &value[i * CHUNK..i * CHUNK + part.len()], keep, factor)
    });
}
