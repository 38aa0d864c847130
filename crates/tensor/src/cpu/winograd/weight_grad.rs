//! The weight gradient: dg = Gᵀ[Σ V⊙E]G.

use super::forward::transform_input;
use super::tiling::{
    LANES, Tiles, packed_at, panels, phase_channels, pieces, point_stride, square, strips, tap,
    tile_blocks, tiles_at_once,
};
use super::transforms::{Form, KernelBack, Matrices, OutputGrad, gather, write};
use crate::cpu::buffer::Buffer;
use crate::cpu::gemm::run_block;
use crate::cpu::microkernel::{Out, StridedColumns};
use crate::cpu::parallel::{SendPtr, par_for_with_scratch};
use crate::cpu::reduce::sum_partials;
use crate::descriptors::ConvParams;
use std::ops::Range;

/// Phase channels of a task. Its T² sums are added to for every block of tiles, so they must stay
/// in a near cache.
const ROWS: usize = 128;
/// Output channels of a task.
const COLUMNS: usize = 128;
/// The smallest number of tasks: with fewer, the tiles are split into tasks too.
const TASKS: usize = 8;

/// E of a block of tiles for some output channels, packed: rows are tiles, columns channels.
/// # Safety
/// `e` must be large enough for it.
unsafe fn transform_grad<const M: usize, const T: usize, const R: usize>(
    tiles: &Tiles<M, T, R>,
    block: &Range<usize>,
    dy: &[f32],
    zeros: &[f32],
    channels: &Range<usize>,
    e: *mut f32,
) where
    Form<M, T, R>: Matrices<M, T, R>,
{
    let (kc, n) = (block.len(), channels.len());
    for panel in panels(n) {
        for (t, tile) in block.clone().enumerate() {
            let from =
                tiles.out(tile).pointers(dy.as_ptr(), channels.start + panel.start, zeros.as_ptr());
            let at = packed_at(t, panel.start, kc, n);
            // SAFETY: pixels have `cout` channels, `zeros` at least as many; the rest is the
            // caller's promise.
            unsafe {
                gather::<OutputGrad<M, T, R>, M, T>(
                    &from,
                    e.add(at),
                    point_stride(kc * n),
                    panel.len(),
                )
            }
        }
    }
}

/// [`crate::cpu::conv::conv2d_weight_grad`] with R [`taps`](super::taps) and channels in multiples
/// of [`LANES`], by F(M×M, R×R).
///
/// The inverse transform is linear: if the tiles are split into tasks, partial sums are transformed
/// before they are added, which leaves a sixth of the elements to add.
pub(crate) fn weight_grad<const M: usize, const T: usize, const R: usize>(
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    params: ConvParams,
) where
    Form<M, T, R>: Matrices<M, T, R>,
{
    let ConvParams { batch, cin, cout, .. } = params;
    debug_assert!(cin % LANES == 0 && cout % LANES == 0);
    let tiles = Tiles::<M, T, R>::new(params);
    let all = batch * tiles.per_image();
    let (row_blocks, column_blocks) =
        (pieces(phase_channels(&params), ROWS), pieces(cout, COLUMNS));
    let squares = row_blocks.len() * column_blocks.len();
    let blocks: Vec<Range<usize>> = tile_blocks(0..all).collect();
    let splits = TASKS.div_ceil(squares).min(blocks.len());
    let len = dw.len();
    let mut partials = (splits > 1).then(|| Buffer::uninit(splits * len));
    let target = SendPtr(partials.as_mut().map_or(dw.as_mut_ptr(), |p| p.as_mut_ptr()));
    let zeros = Buffer::zeros(cin.max(cout));
    let points = T * T;
    let max_tiles = all.min(tiles_at_once());
    let longest = |blocks: &[Range<usize>]| blocks.iter().map(Range::len).max().unwrap_or(0);
    let (most_rows, most_columns) = (longest(&row_blocks), longest(&column_blocks));
    let scratch_lens = [
        points * point_stride(max_tiles * most_rows),
        points * point_stride(max_tiles * most_columns),
        points * point_stride(most_rows * most_columns),
        most_columns,
    ];
    par_for_with_scratch(splits * squares, scratch_lens, |task, [v, e, sums, sink]| {
        let (s, rest) = (task / squares, task % squares);
        let (phase_channels, columns) =
            (&row_blocks[rest / column_blocks.len()], &column_blocks[rest % column_blocks.len()]);
        let (rows, n) = (phase_channels.len(), columns.len());
        let sink = sink.as_mut_ptr();
        let out_offsets: Vec<usize> = (0..rows).map(|m| m * n).collect();
        for (i, block) in
            blocks[blocks.len() * s / splits..blocks.len() * (s + 1) / splits].iter().enumerate()
        {
            let kc = block.len();
            // SAFETY: the scratch buffers hold the largest block.
            unsafe {
                transform_input(&tiles, block, x, &zeros, phase_channels, v.as_mut_ptr());
                transform_grad(&tiles, block, dy, &zeros, columns, e.as_mut_ptr());
            }
            for p in 0..points {
                // SAFETY: as above.
                unsafe {
                    let lhs = StridedColumns {
                        base: v.as_ptr().add(p * point_stride(kc * rows)),
                        pitch: rows,
                        kc,
                    };
                    let base = sums.as_mut_ptr().add(p * point_stride(rows * n));
                    let out = Out { base, offsets: &out_offsets, add: i > 0 };
                    run_block(lhs, rows, kc, e.as_ptr().add(p * point_stride(kc * n)), out, 0..n);
                }
            }
        }
        for strip in strips(phase_channels, &params) {
            for (m, c) in strip.channels.clone().enumerate() {
                // SAFETY: each task writes its own rows and columns of its own partial sum.
                unsafe {
                    let to = square(|i, j| match tap(&params.geom, [i, j], strip.phase) {
                        Some(tap) => {
                            target.get().add(s * len + (tap * cin + c) * cout + columns.start)
                        }
                        None => sink,
                    });
                    let from = sums.as_ptr().add((strip.at + m) * n);
                    write::<KernelBack<M, T, R>, T, R>(from, point_stride(rows * n), &to, n);
                }
            }
        }
    });
    if let Some(partials) = &partials {
        sum_partials(partials, dw);
    }
}
