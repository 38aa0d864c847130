//! Copies between shapes.

use super::parallel::{CHUNK, SendPtr, par_chunks_mut, par_for};
use crate::descriptors::Strided;

/// `to[index] = from[index]` for every index below `axes`.
pub(crate) fn copy(axes: &[usize], from: &[f32], source: Strided, to: &mut [f32], target: Strided) {
    if axes.contains(&0) {
        return;
    }
    let (outer, inner) = match axes.split_last() {
        Some((&inner, outer)) => (outer, inner),
        None => (&[][..], 1),
    };
    let last = axes.len().saturating_sub(1);
    let (step_from, step_to) = (source.strides[last], target.strides[last]);
    let lines: usize = outer.iter().product();
    let per_task = (CHUNK / inner).max(1);
    let to = SendPtr(to.as_mut_ptr());
    par_for(lines.div_ceil(per_task), |task| {
        for line in task * per_task..lines.min((task + 1) * per_task) {
            let (mut a, mut b, mut rest) = (source.offset, target.offset, line);
            for (axis, &len) in outer.iter().enumerate().rev() {
                a += rest % len * source.strides[axis];
                b += rest % len * target.strides[axis];
                rest /= len;
            }
            if step_from == 1 && step_to == 1 {
                // SAFETY: the target's elements are distinct and in bounds (callers derive both
                // from shapes), and lines do not overlap.
                unsafe { std::slice::from_raw_parts_mut(to.get().add(b), inner) }
                    .copy_from_slice(&from[a..a + inner]);
            } else {
                for i in 0..inner {
                    // SAFETY: as above.
                    unsafe { *to.get().add(b + i * step_to) = from[a + i * step_from] };
                }
            }
        }
    });
}

/// `out[i] = x[rows[i]]`, rows of `width` elements.
pub(crate) fn index_select(x: &[f32], rows: &[usize], width: usize, out: &mut [f32]) {
    let per_task = (CHUNK / width.max(1)).max(1);
    par_chunks_mut(out, (per_task * width).max(1), |task, out| {
        for (out, &row) in out.chunks_exact_mut(width).zip(&rows[task * per_task..]) {
            out.copy_from_slice(&x[row * width..(row + 1) * width]);
        }
    });
}

/// Images `[h, w, c]`, each flipped left to right if its third move is not 0 and then translated
/// down and right by the first two; with `back` the adjoint, translated back and then flipped.
pub(crate) fn shift2d(
    x: &[f32],
    moves: &[f32],
    [h, w, c]: [usize; 3],
    back: bool,
    out: &mut [f32],
) {
    let line = w * c;
    let per_task = (CHUNK / line.max(1)).max(1);
    par_chunks_mut(out, per_task * line, |task, out| {
        for (i, out) in out.chunks_exact_mut(line).enumerate() {
            let (image, y) = ((task * per_task + i) / h, (task * per_task + i) % h);
            let own = &moves[image * 3..][..3];
            let sign = if back { 1 } else { -1 };
            // `as` saturates, so a move of any size, infinite or NaN, stays in range.
            let [down, right] = [own[0], own[1]].map(|m| sign * i64::from(m.round() as i32));
            let (row, mirror) = (y as i64 + down, own[2] != 0.0);
            out.fill(0.0);
            if !(0..h as i64).contains(&row) {
                continue;
            }
            let source = &x[(image * h + row as usize) * line..][..line];
            for (column, pixel) in out.chunks_exact_mut(c).enumerate() {
                let flipped = |column: i64| if mirror { w as i64 - 1 - column } else { column };
                let column = column as i64;
                let from = if back { flipped(column) + right } else { flipped(column + right) };
                if (0..w as i64).contains(&from) {
                    pixel.copy_from_slice(&source[from as usize * c..][..c]);
                }
            }
        }
    });
}

/// The adjoint of [`index_select`]: one task per destination row adds its sources in order.
pub(crate) fn index_add(x: &[f32], rows: &[usize], width: usize, out: &mut [f32]) {
    // Grouped by destination, so that the order of the sums does not depend on the threads.
    let mut sources: Vec<Vec<usize>> = vec![Vec::new(); out.len() / width.max(1)];
    for (source, &row) in rows.iter().enumerate() {
        sources[row].push(source);
    }
    par_chunks_mut(out, width.max(1), |row, out| {
        out.fill(0.0);
        for &source in &sources[row] {
            out.iter_mut().zip(&x[source * width..(source + 1) * width]).for_each(|(o, v)| *o += v);
        }
    });
}
