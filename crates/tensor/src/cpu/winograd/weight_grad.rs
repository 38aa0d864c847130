//! dg = Gᵀ[Σ V⊙E]G.

use super::forward::transform_input;
use super::tiling::{
    LANES, Tiles, packed_at, panels, pieces, places, point_stride, square, strips, tap,
    tile_blocks, tiles_at_once,
};
use super::transforms::{Form, KernelBack, Matrices, OutputGrad, gather, write};
use crate::cpu::buffer::Buffer;
use crate::cpu::gemm::run_block;
use crate::cpu::microkernel::{Out, StridedColumns};
use crate::cpu::parallel::{SendPtr, par_for};
use crate::cpu::reduce::sum_partials;
use crate::spec::ConvParams;
use std::ops::Range;

/// Places and output channels of a task: its T² sums are added to again and again, and stay in a near cache.
const ROWS: usize = 128;
const COLUMNS: usize = 128;
/// Wanted tasks: with fewer, the tiles are shared out too.
const TASKS: usize = 8;

/// E of a block of tiles for some output channels, packed: rows are tiles, columns channels.
/// # Safety
/// `e` must hold it.
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
            // SAFETY: pixels have `cout` channels, `zeros` no fewer; the rest is the caller's promise.
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

/// [`crate::cpu::conv::conv2d_weight_grad`] with R [`taps`](super::taps) and channels in multiples of [`LANES`], by F(M×M, R×R).
///
/// The transform back is linear: where the tiles are shared out, partial sums are transformed first and added then, a
/// sixth of the numbers.
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
    let (row_blocks, column_blocks) = (pieces(places(&params), ROWS), pieces(cout, COLUMNS));
    let squares = row_blocks.len() * column_blocks.len();
    let blocks: Vec<Range<usize>> = tile_blocks(0..all).collect();
    let splits = TASKS.div_ceil(squares).min(blocks.len());
    let len = dw.len();
    let mut partials = (splits > 1).then(|| Buffer::uninit(splits * len));
    let target = SendPtr(partials.as_mut().map_or(dw.as_mut_ptr(), |p| p.as_mut_ptr()));
    let zeros = Buffer::zeros(cin.max(cout));
    let points = T * T;
    par_for(splits * squares, |task| {
        let (s, rest) = (task / squares, task % squares);
        let (places, columns) =
            (&row_blocks[rest / column_blocks.len()], &column_blocks[rest % column_blocks.len()]);
        let (rows, n) = (places.len(), columns.len());
        let most = all.min(tiles_at_once());
        let mut v = Buffer::uninit(points * point_stride(most * rows));
        let mut e = Buffer::uninit(points * point_stride(most * n));
        let mut sums = Buffer::uninit(points * point_stride(rows * n));
        let mut nowhere = Buffer::uninit(n);
        let nowhere = nowhere.as_mut_ptr();
        let out_offsets: Vec<usize> = (0..rows).map(|m| m * n).collect();
        for (i, block) in
            blocks[blocks.len() * s / splits..blocks.len() * (s + 1) / splits].iter().enumerate()
        {
            let kc = block.len();
            // SAFETY: the scratch buffers hold the largest block.
            unsafe {
                transform_input(&tiles, block, x, &zeros, places, v.as_mut_ptr());
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
        for strip in strips(places, &params) {
            for (m, c) in strip.channels.clone().enumerate() {
                // SAFETY: each task writes its own rows and columns of its own partial sum.
                unsafe {
                    let to = square(|i, j| match tap(&params.geom, [i, j], strip.phase) {
                        Some(tap) => {
                            target.get().add(s * len + (tap * cin + c) * cout + columns.start)
                        }
                        None => nowhere,
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
