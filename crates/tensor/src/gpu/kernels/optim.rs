//! Updates in place.

use crate::gpu::{Array, Def, Dispatch, Params, Spec};

/// Averages that one dispatch moves: two arrays each, of the eight that every adapter can bind.
const AVERAGES: usize = 4;

fn spec(name: &'static str, count: usize) -> Spec {
    let mut spec = Spec::new("optim", "main", &["ADAM", "LERP"].map(|n| (n, Def::Flag(n == name))));
    spec.defs.push(("COUNT", Def::Number(count as u32)));
    spec
}

pub(super) fn specialisations() -> Vec<Spec> {
    (1..=AVERAGES).map(|count| spec("LERP", count)).chain([spec("ADAM", 0)]).collect()
}

/// One Adam step of one parameter, unless the flag is set.
pub(crate) fn adam(value: &Array, grad: &Array, m: &Array, v: &Array, flag: &Array, constants: [f32; 8]) {
    let count = value.len().div_ceil(4);
    value.gpu().run(&Dispatch {
        spec: spec("ADAM", 0),
        inputs: &[grad, flag],
        outputs: &[value, m, v],
        params: Params::new().sizes([count]).floats(constants),
        groups: (count as u64).div_ceil(super::THREADS),
        depth: 1,
        work: value.len() as f64 * 20.0,
    });
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
