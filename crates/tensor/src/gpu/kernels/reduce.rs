//! Sums and the finite check.

use super::new;
use crate::gpu::{Define, Dispatch, GpuBuffer, Params, ShaderSpec};

const KINDS: [&str; 3] = ["LINES", "COLUMNS", "FINITE"];
/// Positions that one workgroup sums: of a line (by 256 threads), of columns (by 8).
const LINE: usize = 8192;
const COLUMN: usize = 512;
/// Columns that one workgroup sums.
const WIDE: usize = 32;

/// Arrays that one dispatch checks: with the flag, within the eight that every adapter can bind.
const CHECKED: usize = 6;

fn spec(name: &str, count: usize) -> ShaderSpec {
    let mut spec = ShaderSpec::new("reduce", "main", &KINDS.map(|n| (n, Define::Flag(n == name))));
    spec.defs.push(("COUNT", Define::Number(count as u32)));
    spec
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let checks = (1..=CHECKED).map(|count| spec("FINITE", count));
    checks.chain(["LINES", "COLUMNS"].map(|name| spec(name, 0))).collect()
}

/// `out[o, i] = factor · Σ_r x[o, r, i]`; there must be something to sum.
pub(crate) fn sum(x: &GpuBuffer, [outer, reduced, inner]: [usize; 3], factor: f32) -> GpuBuffer {
    let mut parts = pass(x, [outer, reduced, inner], factor);
    while parts.len() > outer * inner {
        let reduced = parts.len() / (outer * inner);
        parts = pass(&parts, [outer, reduced, inner], factor);
    }
    parts
}

/// Sums stretches: `[outer, parts, inner]`, times the factor where there is one part.
fn pass(x: &GpuBuffer, [outer, reduced, inner]: [usize; 3], factor: f32) -> GpuBuffer {
    let (name, chunk, blocks) =
        if inner == 1 { ("LINES", LINE, 1) } else { ("COLUMNS", COLUMN, inner.div_ceil(WIDE)) };
    let parts = reduced.div_ceil(chunk);
    let out = new(x.gpu(), outer * parts * inner);
    let groups = outer * parts * blocks;
    let params = Params::new()
        .sizes([groups, reduced, parts, chunk, inner, blocks])
        .floats([if parts == 1 { factor } else { 1.0 }]);
    let work = x.len() as f64 * 5.0;
    x.gpu().run(&Dispatch {
        spec: spec(name, 0),
        inputs: &[x],
        outputs: &[&out],
        params,
        groups: groups as u64,
        depth: 1,
        work,
    });
    out
}

/// Leaves `mark`, a positive number, in `flag` (one zero until then) when a number of the arrays is not finite.
pub(crate) fn mark_unless_finite(arrays: &[&GpuBuffer], flag: &GpuBuffer, mark: f32) {
    for some in arrays.chunks(CHECKED) {
        let lens = some.iter().map(|x| x.len());
        let (largest, total) =
            (lens.clone().max().unwrap_or(0) as u64, lens.clone().sum::<usize>());
        flag.gpu().run(&Dispatch {
            spec: spec("FINITE", some.len()),
            inputs: some,
            outputs: &[flag],
            params: Params::new().words([mark.to_bits()]).sizes(lens),
            // A few numbers per thread; the grid strides over the rest.
            groups: largest.div_ceil(super::THREADS * 16).min(1024),
            depth: 1,
            work: total as f64 * 5.0,
        });
    }
}
