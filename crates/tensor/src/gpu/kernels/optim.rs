//! Optimizer steps and moving averages, in place.

use super::launch::THREADS;
use crate::descriptors::{OptimizerKind, StepConstants};
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::dispatch::{Dispatch, Params};
use crate::gpu::shader::ShaderSpec;
use smallvec::SmallVec;

/// Averages that one dispatch updates: two buffers each, of the eight that every adapter can bind.
const AVERAGES_PER_DISPATCH: usize = 4;
/// Parameters that one dispatch updates, if the adapter can bind so many buffers.
const PARAMETERS: usize = 4;

/// The flags of the template.
const FLAGS: [&str; 6] = ["ADAM", "DECOUPLED", "SGD", "RMSPROP", "MOMENTUM", "LERP"];

fn spec(flags: &[&str], count: usize) -> ShaderSpec {
    ShaderSpec::new("optim").flags(FLAGS, flags).number("COUNT", count)
}

/// One step of `count` parameters.
fn update_spec(rule: &OptimizerKind, count: usize) -> ShaderSpec {
    let flags: &[&str] = match *rule {
        OptimizerKind::Adam { decoupled: false, .. } => &["ADAM"],
        OptimizerKind::Adam { decoupled: true, .. } => &["ADAM", "DECOUPLED"],
        OptimizerKind::Sgd { momentum: 0.0, .. } => &["SGD"],
        OptimizerKind::Sgd { .. } => &["SGD", "MOMENTUM"],
        OptimizerKind::RmsProp { momentum: 0.0, .. } => &["RMSPROP"],
        OptimizerKind::RmsProp { .. } => &["RMSPROP", "MOMENTUM"],
    };
    spec(flags, count).number("ARRAYS", 1 + rule.state_names().len())
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let adam = |decoupled| OptimizerKind::Adam { beta1: 0.0, beta2: 0.0, eps: 0.0, decoupled };
    let sgd = |momentum| OptimizerKind::Sgd { momentum, nesterov: false };
    let rms = |momentum| OptimizerKind::RmsProp { alpha: 0.0, eps: 0.0, momentum };
    let rules = [adam(false), adam(true), sgd(0.0), sgd(0.5), rms(0.0), rms(0.5)];
    let parameters =
        rules.iter().flat_map(|rule| (1..=PARAMETERS).map(|count| update_spec(rule, count)));
    (1..=AVERAGES_PER_DISPATCH).map(|count| spec(&["LERP"], count)).chain(parameters).collect()
}

/// The gradient of a parameter, and the buffers that a step writes: the parameter and its optimizer
/// state.
pub(crate) struct UpdateBuffers<'a> {
    pub grad: &'a GpuBuffer,
    pub outputs: SmallVec<[&'a GpuBuffer; 3]>,
}

/// One step of every parameter, skipped if `recorded` is not 0.
pub(crate) fn update(
    params: &[UpdateBuffers<'_>],
    recorded: &GpuBuffer,
    rule: &OptimizerKind,
    constants: StepConstants,
) {
    // Per parameter its gradient, value and state; and the record of NaN and infinity.
    let arrays = 2 + rule.state_names().len();
    let together = ((recorded.gpu().bindings() - 1) / arrays).clamp(1, PARAMETERS);
    for some in params.chunks(together) {
        let counts: Vec<usize> = some.iter().map(|param| param.grad.len().div_ceil(4)).collect();
        let inputs: Vec<&GpuBuffer> =
            std::iter::once(recorded).chain(some.iter().map(|param| param.grad)).collect();
        let outputs: Vec<&GpuBuffer> =
            some.iter().flat_map(|param| param.outputs.iter().copied()).collect();
        let largest = counts.iter().copied().max().unwrap_or(0) as u64;
        recorded.gpu().run(&Dispatch {
            spec: update_spec(rule, some.len()),
            inputs: &inputs,
            outputs: &outputs,
            work: counts.iter().sum::<usize>() as f64 * 20.0 * arrays as f64,
            params: Params::new().floats(constants).sizes(counts),
            groups: largest.div_ceil(THREADS),
            depth: 1,
        });
    }
}

/// An average, the new value, and `keep` and `factor` of [`lerp`].
pub(crate) type EmaBuffers<'a> = (&'a GpuBuffer, &'a GpuBuffer, [f32; 2]);

/// `average ← keep · average + (1 − keep) · factor · value` for each.
pub(crate) fn lerp(averages: &[EmaBuffers<'_>]) {
    for some in averages.chunks(AVERAGES_PER_DISPATCH) {
        let counts: Vec<usize> =
            some.iter().map(|(average, ..)| average.len().div_ceil(4)).collect();
        let inputs: Vec<&GpuBuffer> = some.iter().map(|(_, value, _)| *value).collect();
        let outputs: Vec<&GpuBuffer> = some.iter().map(|(average, ..)| *average).collect();
        let params = some.iter().zip(&counts).fold(Params::new(), |p, ((.., constants), count)| {
            p.sizes([*count]).floats(*constants)
        });
        let largest = counts.iter().copied().max().unwrap_or(0) as u64;
        some[0].0.gpu().run(&Dispatch {
            spec: spec(&["LERP"], some.len()),
            inputs: &inputs,
            outputs: &outputs,
            params,
            groups: largest.div_ceil(THREADS),
            depth: 1,
            work: counts.iter().sum::<usize>() as f64 * 40.0,
        });
    }
}
