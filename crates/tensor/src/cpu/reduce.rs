//! Reductions over one axis group of `[outer, reduced, inner]`, in an order fixed by the shape.
//!
//! Sums run in f32 over short blocks of fixed virtual lanes and in f64 over the blocks, so a sum of
//! millions of elements keeps the accuracy of f32.

use super::buffer::Buffer;
use super::isa::multiversion;
use super::parallel::{CHUNK, SendPtr, par_chunks_mut, par_for, par_for_with_scratch};

/// Virtual lanes of a sum along contiguous memory.
const LANES: usize = 16;
/// Elements that a lane adds in f32 before the block is added to the f64 total.
const BLOCK: usize = 32;

multiversion! {
    /// The sum of a slice.
    pub(crate) fn sum_line(x: &[f32]) -> f64 {
        let mut total = 0f64;
        for block in x.chunks(LANES * BLOCK) {
            let mut lanes = [0f32; LANES];
            let mut rows = block.chunks_exact(LANES);
            for row in &mut rows {
                for (lane, &v) in lanes.iter_mut().zip(row) {
                    *lane += v;
                }
            }
            for (lane, &v) in lanes.iter_mut().zip(rows.remainder()) {
                *lane += v;
            }
            total += lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
        }
        total
    }
}

multiversion! {
    /// Adds the columns of `rows` (of `totals.len()` elements each) to `totals`.
    fn sum_columns(rows: &[f32], totals: &mut [f64], lane: &mut [f32]) {
        let width = totals.len();
        for block in rows.chunks(width * BLOCK) {
            lane.fill(0.0);
            for row in block.chunks_exact(width) {
                for (l, &v) in lane.iter_mut().zip(row) {
                    *l += v;
                }
            }
            for (t, &l) in totals.iter_mut().zip(lane.iter()) {
                *t += f64::from(l);
            }
        }
    }
}

/// The rows that one task sums: a function of the shape alone.
fn rows_per_task(rows: usize, width: usize) -> usize {
    (CHUNK / width.max(1)).max(BLOCK).max(rows.div_ceil(256))
}

/// `out[o, i] = Σ_r x[o, r, i]`.
pub(crate) fn sum(x: &[f32], out: &mut [f32], [outer, reduced, inner]: [usize; 3]) {
    if out.is_empty() || reduced == 0 {
        return out.fill(0.0);
    }
    if inner == 1 {
        if outer == 1 {
            // One long line: partial sums of fixed chunks, added in order.
            let mut parts = vec![0f64; reduced.div_ceil(CHUNK)];
            let base = SendPtr(parts.as_mut_ptr());
            par_for(reduced.div_ceil(CHUNK), |i| {
                let part = sum_line(&x[i * CHUNK..reduced.min((i + 1) * CHUNK)]);
                // SAFETY: only task `i` writes part `i`.
                unsafe { *base.get().add(i) = part };
            });
            out[0] = parts.iter().sum::<f64>() as f32;
        } else {
            let lines = (CHUNK / reduced).max(1);
            par_chunks_mut(out, lines, |i, out| {
                for (l, o) in out.iter_mut().enumerate() {
                    let at = (i * lines + l) * reduced;
                    *o = sum_line(&x[at..at + reduced]) as f32;
                }
            });
        }
        return;
    }
    let rows = rows_per_task(reduced, inner);
    let tasks = reduced.div_ceil(rows);
    // A tensor's memory, which is counted and reused: with few rows, the parts have twice the
    // bytes of `out`.
    let mut buffer = Buffer::zeros(2 * outer * tasks * inner);
    let parts: &mut [f64] = bytemuck::cast_slice_mut(&mut buffer[..]);
    let base = SendPtr(parts.as_mut_ptr());
    par_for_with_scratch(outer * tasks, [inner], |task, [lane]| {
        let (o, t) = (task / tasks, task % tasks);
        let range = t * rows..reduced.min((t + 1) * rows);
        // SAFETY: only task `task` writes its `inner` totals.
        let totals = unsafe { std::slice::from_raw_parts_mut(base.get().add(task * inner), inner) };
        sum_columns(
            &x[(o * reduced + range.start) * inner..(o * reduced + range.end) * inner],
            totals,
            lane,
        );
    });
    let per_task = (CHUNK / inner).max(1);
    par_chunks_mut(out, per_task * inner, |task, out| {
        for (o, out) in out.chunks_exact_mut(inner).enumerate() {
            let parts = &parts[(task * per_task + o) * tasks * inner..];
            for (i, slot) in out.iter_mut().enumerate() {
                *slot = (0..tasks).map(|t| parts[t * inner + i]).sum::<f64>() as f32;
            }
        }
    });
}

multiversion! {
    /// Whether an element of `x` is NaN or infinite, by its exponent bits.
    fn any_not_finite(x: &[f32]) -> bool {
        let not_finite = |v: &f32| u32::from(v.to_bits() & 0x7f80_0000 == 0x7f80_0000);
        x.iter().fold(0u32, |found, v| found | not_finite(v)) != 0
    }
}

/// Whether all elements are finite.
pub(crate) fn all_finite(x: &[f32]) -> bool {
    let bad = std::sync::atomic::AtomicBool::new(false);
    par_for(x.len().div_ceil(CHUNK), |i| {
        if any_not_finite(&x[i * CHUNK..x.len().min((i + 1) * CHUNK)]) {
            bad.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    !bad.into_inner()
}

/// Adds the partial results in `partials`, which have the length of `out`, in order.
pub(crate) fn sum_partials(partials: &[f32], out: &mut [f32]) {
    let len = out.len();
    par_chunks_mut(out, CHUNK / 4, |chunk, out| {
        let start = chunk * CHUNK / 4;
        out.copy_from_slice(&partials[start..start + out.len()]);
        for part in partials[len..].chunks_exact(len) {
            out.iter_mut().zip(&part[start..]).for_each(|(o, p)| *o += p);
        }
    });
}
