//! Copies between shapes.

use super::launch::{THREADS, each};
use crate::descriptors::Strided;
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::context::Gpu;
use crate::gpu::dispatch::{Dispatch, Params};
use crate::gpu::shader::ShaderSpec;
use crate::shape::MAX_RANK;

const KINDS: [&str; 5] = ["FILL", "COPY", "SELECT", "SELECT_ADD", "SHIFT"];

fn spec(name: &str, rank: usize) -> ShaderSpec {
    ShaderSpec::new("movement").flags(KINDS, &[name]).number("RANK", rank)
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let copies = (1..=MAX_RANK).map(|rank| spec("COPY", rank));
    ["FILL", "SELECT", "SELECT_ADD", "SHIFT"]
        .into_iter()
        .map(|name| spec(name, 0))
        .chain(copies)
        .collect()
}

/// A buffer of `len` times `value`.
pub(crate) fn full(gpu: &Gpu, len: usize, value: f32) -> GpuBuffer {
    let out = GpuBuffer::uninit(gpu, len);
    fill(&out, value);
    out
}

/// A buffer to copy into, of zeros if asked for.
pub(crate) fn blank(gpu: &Gpu, len: usize, zeros: bool) -> GpuBuffer {
    if zeros { full(gpu, len, 0.0) } else { GpuBuffer::uninit(gpu, len) }
}

/// `out = value`.
fn fill(out: &GpuBuffer, value: f32) {
    each(spec("FILL", 0), &[], out, 4, |p| p.floats([value]));
}

/// A copy in new memory.
pub(crate) fn duplicate(x: &GpuBuffer) -> GpuBuffer {
    let out = GpuBuffer::uninit(x.gpu(), x.len());
    let line = Strided { offset: 0, strides: [1; MAX_RANK] };
    copy(&[x.len()], x, line, &out, line);
    out
}

/// `to[index] = from[index]` for every index below `axes`.
pub(crate) fn copy(
    axes: &[usize],
    from: &GpuBuffer,
    source: Strided,
    to: &GpuBuffer,
    target: Strided,
) {
    let count: usize = axes.iter().product();
    // Innermost first; adjacent axes that both sides traverse contiguously are merged.
    let mut merged: Vec<[usize; 3]> = Vec::new();
    for (axis, &len) in axes.iter().enumerate().rev().filter(|(_, len)| **len != 1) {
        let (a, b) = (source.strides[axis], target.strides[axis]);
        match merged.last_mut() {
            Some([last, la, lb]) if a == *last * *la && b == *last * *lb => *last *= len,
            _ => merged.push([len, a, b]),
        }
    }
    if merged.is_empty() {
        merged.push([1, 0, 0]);
    }
    from.gpu().run(&Dispatch {
        spec: spec("COPY", merged.len()),
        inputs: &[from],
        outputs: &[to],
        params: Params::new()
            .sizes([count, source.offset, target.offset])
            .sizes(merged.into_iter().flatten()),
        groups: (count as u64).div_ceil(THREADS),
        depth: 1,
        work: count as f64 * 10.0,
    });
}

/// `out[i] = x[rows[i]]`, rows of `width` elements.
pub(crate) fn index_select(x: &GpuBuffer, rows: &[usize], width: usize) -> GpuBuffer {
    let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    let out = GpuBuffer::uninit(x.gpu(), rows.len() * width);
    let rows = GpuBuffer::from_words(x.gpu(), &rows);
    each(spec("SELECT", 0), &[x, &rows], &out, 1, |p| p.sizes([width]));
    out
}

/// Images `[h, w, c]`, each flipped and translated by its row of `moves`, or the adjoint (`back`).
pub(crate) fn shift2d(
    x: &GpuBuffer,
    moves: &GpuBuffer,
    sizes: [usize; 3],
    back: bool,
) -> GpuBuffer {
    let out = GpuBuffer::uninit(x.gpu(), x.len());
    each(spec("SHIFT", 0), &[x, moves], &out, 1, |p| p.sizes(sizes).sizes([usize::from(back)]));
    out
}

/// The adjoint of [`index_select`], with `count` rows.
pub(crate) fn index_add(x: &GpuBuffer, rows: &[usize], width: usize, count: usize) -> GpuBuffer {
    // Sources sorted by their destination: a counting sort keeps their order.
    let mut owned = vec![0u32; count + 1 + rows.len()];
    rows.iter().for_each(|&row| owned[row + 1] += 1);
    (0..count).for_each(|row| owned[row + 1] += owned[row]);
    let mut next = owned[..count].to_vec();
    for (source, &row) in rows.iter().enumerate() {
        owned[count + 1 + next[row] as usize] = source as u32;
        next[row] += 1;
    }
    let out = GpuBuffer::uninit(x.gpu(), count * width);
    let owned = GpuBuffer::from_words(x.gpu(), &owned);
    each(spec("SELECT_ADD", 0), &[x, &owned], &out, 1, |p| p.sizes([width, count]));
    out
}
