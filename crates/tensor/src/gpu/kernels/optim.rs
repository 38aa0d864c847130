//! Updates in place.

use crate::gpu::{Array, Def, Dispatch, Params, Spec};

/// Averages that one dispatch moves: two arrays each, of the eight that every adapter can bind.
const AVERAGES: usize = 4;
/// Parameters that one dispatch moves, where an adapter can bind as many arrays.
const PARAMETERS: usize = 4;

fn spec(name: &'static str, count: usize) -> Spec {
    let mut spec = Spec::new("optim", "main", &["ADAM", "LERP"].map(|n| (n, Def::Flag(n == name))));
    spec.defs.push(("COUNT", Def::Number(count as u32)));
    spec
}

pub(super) fn specialisations() -> Vec<Spec> {
    let parameters = (1..=PARAMETERS).map(|count| spec("ADAM", count));
    (1..=AVERAGES).map(|count| spec("LERP", count)).chain(parameters).collect()
}

/// A parameter, its gradient and its two moments.
pub(crate) type Slot<'a> = [&'a Array; 4];

/// One Adam step of every parameter, unless the flag is set.
pub(crate) fn adam(slots: &[Slot<'_>], flag: &Array, constants: [f32; 8]) {
    // Four arrays each, and the flag.
    let together = ((flag.gpu().bindings() - 1) / 4).clamp(1, PARAMETERS);
    for some in slots.chunks(together) {
        let counts: Vec<usize> = some.iter().map(|[value, ..]| value.len().div_ceil(4)).collect();
        let inputs: Vec<&Array> = std::iter::once(flag).chain(some.iter().map(|[_, grad, ..]| *grad)).collect();
        let outputs: Vec<&Array> = some.iter().flat_map(|[value, _, m, v]| [*value, *m, *v]).collect();
        let largest = counts.iter().copied().max().unwrap_or(0) as u64;
        flag.gpu().run(&Dispatch {
            spec: spec("ADAM", some.len()),
            inputs: &inputs,
            outputs: &outputs,
            work: counts.iter().sum::<usize>() as f64 * 80.0,
            params: Params::new().floats(constants).sizes(counts),
            groups: largest.div_ceil(super::THREADS),
            depth: 1,
        });
    }
}

/// An average, what moves it, and the numbers `keep` and `factor` of [`lerp`].
pub(crate) type Average<'a> = (&'a Array, &'a Array, [f32; 2]);

/// `average ← keep · average + (1 − keep) · factor · value` for each.
pub(crate) fn lerp(averages: &[Average<'_>]) {
    for some in averages.chunks(AVERAGES) {
        let counts: Vec<usize> = some.iter().map(|(average, ..)| average.len().div_ceil(4)).collect();
        let inputs: Vec<&Array> = some.iter().map(|(_, value, _)| *value).collect();
        let outputs: Vec<&Array> = some.iter().map(|(average, ..)| *average).collect();
        let params =
            some.iter().zip(&counts).fold(Params::new(), |p, ((.., constants), count)| p.sizes([*count]).floats(*constants));
        let largest = counts.iter().copied().max().unwrap_or(0) as u64;
        some[0].0.gpu().run(&Dispatch {
            spec: spec("LERP", some.len()),
            inputs: &inputs,
            outputs: &outputs,
            params,
            groups: largest.div_ceil(super::THREADS),
            depth: 1,
            work: counts.iter().sum::<usize>() as f64 * 40.0,
        });
    }
}
