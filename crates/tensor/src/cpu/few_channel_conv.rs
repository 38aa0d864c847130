//! The input gradient of convolutions on images of up to four channels (the image side of every
//! network). A product with one column per channel would leave most of a register empty. Here all
//! taps of all channels are columns of one product, dy · Wᵀ with kh·kw·cin columns (48 for a
//! 4×4 kernel and three channels), and the row of results of each output pixel is added to its
//! window of the image (col2im).
//!
//! A line of a window is contiguous in the image. Windows of adjacent pixels overlap, so windows
//! that do not are added in one pass, and the others in later passes: no sum is loaded while its
//! store is still in flight. The results of a line stay in the L1 cache, the image in L2.

use super::gemm::{self, PackedRhs, RowTask, panel_columns, rows_times_packed};
use super::isa::multiversion;
use super::parallel::{SendPtr, par_for_with_scratch};
use super::simd::prefetch_far;
use crate::descriptors::ConvParams;
use std::ops::Range;

/// The largest number of channels that this module handles.
pub(crate) const FEW_CHANNELS: usize = 4;
/// Batches smaller than this are split into this many bands of lines per image.
const MIN_BATCH: usize = 8;

/// The weight, packed for [`input_grad`].
pub(super) fn pack(w: &[f32], params: &ConvParams) -> PackedRhs {
    gemm::pack(w, [params.cout, params.geom.kernel[0] * params.geom.kernel[1] * params.cin], true)
}

/// `dx[n, y, x, ci] = Σ dy[n, oy, ox, co] · w[kh, kw, ci, co]`, as
/// [`conv2d_input_grad`](super::conv::conv2d_input_grad), for at most [`FEW_CHANNELS`] channels.
/// Each result is a sum over windows in the order of their lines, whatever the batch size.
pub(super) fn input_grad(dy: &[f32], packed: &PackedRhs, dx: &mut [f32], params: ConvParams) {
    let ConvParams { geom, batch, cin, cout } = params;
    let ([h, wid], [oh, ow]) = (geom.input, geom.output());
    let ([kh, kw], [sh, sw]) = (geom.kernel, geom.stride);
    let columns = kh * kw * cin;
    // The width of the image with its padding, as far as windows reach.
    let pitch = ((ow - 1) * sw + kw).max(geom.pad[1][0] + wid) * cin;
    let bands = if batch < MIN_BATCH { MIN_BATCH.min(h) } else { 1 };
    let lhs_offsets: Vec<usize> = (0..ow).map(|x| x * cout).collect();
    let out_offsets: Vec<usize> = (0..ow).map(|x| x * columns).collect();
    let (passes, piece) = (kw.div_ceil(sw), kw * cin);
    let panel = panel_columns();
    let part = (ow * cout).div_ceil(columns.div_ceil(panel)).next_multiple_of(16);
    let out = SendPtr(dx.as_mut_ptr());
    let scratch_lens = [h.div_ceil(bands) * pitch, ow * columns];
    par_for_with_scratch(batch * bands, scratch_lens, |task, [image, products]| {
        let (n, band) = (task / bands, task % bands);
        let lines = h * band / bands..h * (band + 1) / bands;
        image.fill(0.0);
        for oy in overlapping_windows(&lines, params) {
            let line = dy[(n * oh + oy) * ow * cout..].as_ptr();
            let rows = RowTask {
                lhs: line,
                lhs_offsets: &lhs_offsets,
                out: products.as_mut_ptr(),
                out_offsets: &out_offsets,
            };
            for (i, start) in (0..columns).step_by(panel).enumerate() {
                // Prefetches the next line of dy in equal parts before the panels: the product
                // reads it faster than the hardware prefetcher runs ahead.
                for at in (i * part..(i + 1) * part).step_by(16) {
                    prefetch_far(line.wrapping_add(ow * cout + at));
                }
                // SAFETY: a line of dy has `ow` pixels of `cout` elements, `products` has `ow` rows
                // of `columns`.
                unsafe { rows_times_packed(&rows, packed, start..columns.min(start + panel)) }
            }
            for tap in 0..kh {
                let Some(y) =
                    (oy * sh + tap).checked_sub(geom.pad[0][0]).filter(|y| lines.contains(y))
                else {
                    continue;
                };
                let line = &mut image[(y - lines.start) * pitch..(y - lines.start + 1) * pitch];
                for pass in 0..passes {
                    col2im_accumulate(
                        &products[tap * piece..],
                        [pass, passes, ow],
                        columns,
                        line,
                        sw * cin,
                        piece,
                    );
                }
            }
        }
        // SAFETY: only this task writes the lines of its band.
        let dx = unsafe {
            std::slice::from_raw_parts_mut(
                out.get().add((n * h + lines.start) * wid * cin),
                lines.len() * wid * cin,
            )
        };
        for (to, from) in dx.chunks_exact_mut(wid * cin).zip(image.chunks_exact(pitch)) {
            to.copy_from_slice(&from[geom.pad[1][0] * cin..][..wid * cin]);
        }
    });
}

/// The lines of dy whose windows overlap these lines of the image.
fn overlapping_windows(lines: &Range<usize>, params: ConvParams) -> Range<usize> {
    let (kernel, stride, pad) =
        (params.geom.kernel[0], params.geom.stride[0], params.geom.pad[0][0]);
    let first = (lines.start + pad + 1).saturating_sub(kernel).div_ceil(stride);
    let end = (lines.end + pad).div_ceil(stride).min(params.geom.output()[0]);
    first..end.max(first)
}

multiversion! {
    /// Adds the `len` elements at `from[i · pitch]` to those at `line[i · step]`, for i = first,
    /// first + by, … below `end` (`range`).
    fn col2im_accumulate(
        from: &[f32],
        range: [usize; 3],
        pitch: usize,
        line: &mut [f32],
        step: usize,
        len: usize,
    ) {
        match len {
            4 => accumulate_of::<4>(from, range, pitch, line, step),
            12 => accumulate_of::<12>(from, range, pitch, line, step),
            15 => accumulate_of::<15>(from, range, pitch, line, step),
            _ => {
                let [first, by, end] = range;
                for i in (first..end).step_by(by) {
                    let to = &mut line[i * step..i * step + len];
                    to.iter_mut().zip(&from[i * pitch..]).for_each(|(sum, v)| *sum += v);
                }
            }
        }
    }
}

/// [`col2im_accumulate`] of a length known to the compiler, for the common kernels.
#[inline(always)]
fn accumulate_of<const LEN: usize>(
    from: &[f32],
    [first, by, end]: [usize; 3],
    pitch: usize,
    line: &mut [f32],
    step: usize,
) {
    for i in (first..end).step_by(by) {
        let (to, from) = (&mut line[i * step..i * step + LEN], &from[i * pitch..i * pitch + LEN]);
        for (sum, v) in to.iter_mut().zip(from) {
            *sum += v;
        }
    }
}
