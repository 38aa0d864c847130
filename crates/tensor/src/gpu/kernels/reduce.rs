//! Sums and the finite check.

use super::launch::THREADS;
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::dispatch::{Dispatch, Params};
use crate::gpu::shader::ShaderSpec;

const KINDS: [&str; 3] = ["LINES", "COLUMNS", "FINITE"];
/// Elements that one workgroup sums: of a line (by 256 threads), of a column (by 8).
const LINE: usize = 8192;
const COLUMN: usize = 512;
/// Columns that one workgroup sums.
const WIDE: usize = 32;

/// Buffers that one dispatch checks: with the record, within the eight that every adapter can bind.
const BUFFERS_PER_CHECK: usize = 6;

fn spec(name: &str, count: usize) -> ShaderSpec {
    ShaderSpec::new("reduce").flags(KINDS, &[name]).number("COUNT", count)
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let checks = (1..=BUFFERS_PER_CHECK).map(|count| spec("FINITE", count));
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

/// Sums chunks: `[outer, parts, inner]`, times the factor if there is one part.
fn pass(x: &GpuBuffer, [outer, reduced, inner]: [usize; 3], factor: f32) -> GpuBuffer {
    let (name, chunk, blocks) =
        if inner == 1 { ("LINES", LINE, 1) } else { ("COLUMNS", COLUMN, inner.div_ceil(WIDE)) };
    let parts = reduced.div_ceil(chunk);
    let out = GpuBuffer::uninit(x.gpu(), outer * parts * inner);
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

/// Writes `code`, a positive number, to `recorded` (one value, 0 before) if an element of the
/// buffers is NaN or infinite.
pub(crate) fn record_unless_finite(buffers: &[&GpuBuffer], recorded: &GpuBuffer, code: f32) {
    for some in buffers.chunks(BUFFERS_PER_CHECK) {
        let lens = some.iter().map(|x| x.len());
        let (largest, total) =
            (lens.clone().max().unwrap_or(0) as u64, lens.clone().sum::<usize>());
        recorded.gpu().run(&Dispatch {
            spec: spec("FINITE", some.len()),
            inputs: some,
            outputs: &[recorded],
            params: Params::new().words([code.to_bits()]).sizes(lens),
            // A few elements per thread; the grid strides over the rest.
            groups: largest.div_ceil(THREADS * 16).min(1024),
            depth: 1,
            work: total as f64 * 5.0,
        });
    }
}
