//! Optimiser steps over raw numbers.

use super::{CHUNK, SendPtr, multiversion, par_for};

/// Adam's constants for one step (Kingma & Ba 2015, algorithm 1), eps outside the bias-corrected root.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty, added to the gradient (not decoupled).
    pub weight_decay: f64,
    /// The number of this step, from 1.
    pub step: u64,
}

impl AdamStep {
    /// Step size, β₁, 1 − β₁, β₂, 1 − β₂, eps, weight decay, 1 / √(1 − β₂ᵗ): in f64 until here, since 1 − 0.999 in f32 is off by 1e-5.
    pub(crate) fn constants(&self) -> [f32; 8] {
        let power = |beta: f64| 1.0 - beta.powi(self.step.min(i32::MAX as u64) as i32);
        let step_size = self.lr / power(self.beta1);
        let root = 1.0 / power(self.beta2).sqrt();
        let AdamStep { beta1, beta2, eps, weight_decay, .. } = *self;
        [step_size, beta1, 1.0 - beta1, beta2, 1.0 - beta2, eps, weight_decay, root].map(|c| c as f32)
    }
}

/// One parameter's numbers for [`adam`].
pub(crate) struct AdamTensor<'a> {
    pub value: &'a mut [f32],
    pub grad: &'a [f32],
    pub m: &'a mut [f32],
    pub v: &'a mut [f32],
}

multiversion! {
    fn adam_lines(value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], constants: [f32; 8]) {
        let [step_size, beta1, rest1, beta2, rest2, eps, decay, root] = constants;
        let n = value.len();
        let (grad, m, v) = (&grad[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            let g = grad[i] + decay * value[i];
            m[i] = beta1 * m[i] + rest1 * g;
            v[i] = beta2 * v[i] + rest2 * (g * g);
            value[i] -= step_size * m[i] / (v[i].sqrt() * root + eps);
        }
    }
}

/// One Adam step over all tensors in a single parallel pass.
pub(crate) fn adam(tensors: &mut [AdamTensor<'_>], constants: [f32; 8]) {
    struct Part<'a> {
        value: SendPtr<f32>,
        grad: &'a [f32],
        m: SendPtr<f32>,
        v: SendPtr<f32>,
    }
    let mut parts = Vec::new();
    for t in tensors {
        let (value, m, v) = (t.value.as_mut_ptr(), t.m.as_mut_ptr(), t.v.as_mut_ptr());
        for (i, grad) in t.grad.chunks(CHUNK).enumerate() {
            // SAFETY: the offset lies within each of the four arrays, which have one length.
            let at = |p: *mut f32| SendPtr(unsafe { p.add(i * CHUNK) });
            parts.push(Part { value: at(value), grad, m: at(m), v: at(v) });
        }
    }
    par_for(parts.len(), |i| {
        let part = &parts[i];
        let n = part.grad.len();
        // SAFETY: parts are disjoint stretches of exclusively borrowed arrays.
        let [value, m, v] = [&part.value, &part.m, &part.v].map(|p| unsafe { std::slice::from_raw_parts_mut(p.get(), n) });
        adam_lines(value, part.grad, m, v, constants);
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
    super::par_chunks_mut(average, CHUNK, |i, part| lerp_lines(part, &value[i * CHUNK..i * CHUNK + part.len()], keep, factor));
}
