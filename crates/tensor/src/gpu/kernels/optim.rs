//! Updates in place.

use crate::cpu::optim::{Constants, OptimizerKind};
use crate::gpu::{Define, Dispatch, GpuBuffer, Params, ShaderSpec};
use smallvec::SmallVec;

/// Averages that one dispatch moves: two arrays each, of the eight that every adapter can bind.
const AVERAGES: usize = 4;
/// Parameters that one dispatch moves, where an adapter can bind as many arrays.
const PARAMETERS: usize = 4;

/// The flags of the template.
const FLAGS: [&str; 6] = ["ADAM", "DECOUPLED", "SGD", "RMSPROP", "MOMENTUM", "LERP"];

fn spec(flags: &[&str], count: usize) -> ShaderSpec {
    let mut spec =
        ShaderSpec::new("optim", "main", &FLAGS.map(|n| (n, Define::Flag(flags.contains(&n)))));
    spec.defs.push(("COUNT", Define::Number(count as u32)));
    spec
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
    let mut spec = spec(flags, count);
    spec.defs.push(("ARRAYS", Define::Number(1 + rule.state_names().len() as u32)));
    spec
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let adam = |decoupled| OptimizerKind::Adam { beta1: 0.0, beta2: 0.0, eps: 0.0, decoupled };
    let sgd = |momentum| OptimizerKind::Sgd { momentum, nesterov: false };
    let rms = |momentum| OptimizerKind::RmsProp { alpha: 0.0, eps: 0.0, momentum };
    let rules = [adam(false), adam(true), sgd(0.0), sgd(0.5), rms(0.0), rms(0.5)];
    let parameters =
        rules.iter().flat_map(|rule| (1..=PARAMETERS).map(|count| update_spec(rule, count)));
    (1..=AVERAGES).map(|count| spec(&["LERP"], count)).chain(parameters).collect()
}

/// A parameter's gradient, and what a step writes: the parameter and what the rule remembers of it.
pub(crate) struct Slot<'a> {
    pub grad: &'a GpuBuffer,
    pub outputs: SmallVec<[&'a GpuBuffer; 3]>,
}

/// One step of every parameter, unless the flag is set.
pub(crate) fn update(
    slots: &[Slot<'_>],
    flag: &GpuBuffer,
    rule: &OptimizerKind,
    constants: Constants,
) {
    // The gradient, the parameter and its memory, of each; and the flag.
    let arrays = 2 + rule.state_names().len();
    let together = ((flag.gpu().bindings() - 1) / arrays).clamp(1, PARAMETERS);
    for some in slots.chunks(together) {
        let counts: Vec<usize> = some.iter().map(|slot| slot.grad.len().div_ceil(4)).collect();
        let inputs: Vec<&GpuBuffer> =
            std::iter::once(flag).chain(some.iter().map(|slot| slot.grad)).collect();
        let outputs: Vec<&GpuBuffer> =
            some.iter().flat_map(|slot| slot.outputs.iter().copied()).collect();
        let largest = counts.iter().copied().max().unwrap_or(0) as u64;
        flag.gpu().run(&Dispatch {
            spec: update_spec(rule, some.len()),
            inputs: &inputs,
            outputs: &outputs,
            work: counts.iter().sum::<usize>() as f64 * 20.0 * arrays as f64,
            params: Params::new().floats(constants).sizes(counts),
            groups: largest.div_ceil(super::THREADS),
            depth: 1,
        });
    }
}

/// An average, what moves it, and the numbers `keep` and `factor` of [`lerp`].
pub(crate) type EmaUpdate<'a> = (&'a GpuBuffer, &'a GpuBuffer, [f32; 2]);

/// `average ← keep · average + (1 − keep) · factor · value` for each.
pub(crate) fn lerp(averages: &[EmaUpdate<'_>]) {
    for some in averages.chunks(AVERAGES) {
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
            groups: largest.div_ceil(super::THREADS),
            depth: 1,
            work: counts.iter().sum::<usize>() as f64 * 40.0,
        });
    }
}
