//! The input gradient: dX = B[Σ E⊙U]Bᵀ, with the overlapping squares of the tiles added in a
//! fixed order.

use super::forward::products;
use super::tiling::{
    BLOCK_K, BLOCK_N, LANES, Plan, Tiles, packed_at, panels, phase_channels, pieces, point_stride,
    square, strips, tap, tile_blocks, tiles_at_once,
};
use super::transforms::{Form, InputBack, KernelMap, Matrices, OutputGrad, gather, scatter};
use crate::cpu::buffer::Buffer;
use crate::cpu::gemm::{SIDE, transpose_tile};
use crate::cpu::parallel::{SendPtr, par_for_with_scratch};
use crate::descriptors::ConvParams;
use std::ops::Range;

/// E of a block of tiles for some output channels: `[point][tile][channel]`.
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
    let stride = point_stride(block.len() * channels.len());
    for (t, tile) in block.clone().enumerate() {
        let from = tiles.out(tile).pointers(dy.as_ptr(), channels.start, zeros.as_ptr());
        // SAFETY: pixels have `cout` channels, `zeros` at least as many; the rest is the caller's
        // promise.
        unsafe {
            gather::<OutputGrad<M, T, R>, M, T>(
                &from,
                e.add(t * channels.len()),
                stride,
                channels.len(),
            )
        }
    }
}

/// `to[j][i] = from[i · pitch + j]` for `rows` rows of `columns` elements, both multiples of
/// [`SIDE`].
fn transpose(from: &[f32], pitch: usize, to: &mut [f32], rows: usize, columns: usize) {
    for i in (0..rows).step_by(SIDE) {
        for j in (0..columns).step_by(SIDE) {
            transpose_tile(&from[i * pitch + j..], pitch, &mut to[j * rows + i..], rows);
        }
    }
}

/// U of a block of weights, packed: rows are output channels, columns phase channels. `transposed`
/// is scratch for the R² taps of a block.
/// # Safety
/// `u` must be large enough for it.
unsafe fn transform_kernel<const M: usize, const T: usize, const R: usize>(
    params: &ConvParams,
    w: &[f32],
    channels: &Range<usize>,
    phase_channels: &Range<usize>,
    transposed: &mut [f32],
    u: *mut f32,
) where
    Form<M, T, R>: Matrices<M, T, R>,
{
    let (kc, n) = (channels.len(), phase_channels.len());
    for strip in strips(phase_channels, params) {
        let len = strip.channels.len();
        for (i, transposed) in transposed.chunks_exact_mut(kc * len).enumerate().take(R * R) {
            match tap(&params.geom, [i / R, i % R], strip.phase) {
                Some(tap) => {
                    let from = &w[(tap * params.cin + strip.channels.start) * params.cout
                        + channels.start..];
                    transpose(from, params.cout, transposed, len, kc);
                }
                None => transposed.fill(0.0),
            }
        }
        for panel in panels(n) {
            let (start, end) = (panel.start.max(strip.at), panel.end.min(strip.at + len));
            if start >= end {
                continue;
            }
            for k in 0..kc {
                let from = square(|i, j| {
                    transposed[((R * i + j) * kc + k) * len + start - strip.at..].as_ptr()
                });
                // SAFETY: each row of `transposed` has `len` elements; the rest is the caller's
                // promise.
                unsafe {
                    gather::<KernelMap<M, T, R>, R, T>(
                        &from,
                        u.add(packed_at(k, start, kc, n)),
                        point_stride(kc * n),
                        end - start,
                    );
                }
            }
        }
    }
}

/// [`crate::cpu::conv::conv2d_input_grad`] with R [`taps`](super::taps) and channels in multiples
/// of [`LANES`], by F(M×M, R×R).
pub(crate) fn input_grad<const M: usize, const T: usize, const R: usize>(
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    params: ConvParams,
) where
    Form<M, T, R>: Matrices<M, T, R>,
{
    let ConvParams { batch, cin, cout, .. } = params;
    debug_assert!(cin % LANES == 0 && cout % LANES == 0);
    let tiles = Tiles::<M, T, R>::new(params);
    let plan = Plan::new(batch, tiles.per_image(), phase_channels(&params));
    let blocks_k = pieces(cout, BLOCK_K);
    let zeros = Buffer::zeros(cin.max(cout));
    let points = T * T;
    let out = SendPtr(dx.as_mut_ptr());
    let max_tiles = plan.max_tiles(batch, tiles.per_image()).min(tiles_at_once());
    let sums_len = points * point_stride(max_tiles * BLOCK_N);
    let scratch_lens = [
        points * point_stride(max_tiles * BLOCK_K),
        points * point_stride(BLOCK_K * BLOCK_N),
        R * R * BLOCK_K * BLOCK_N,
        plan.max_blocks() * sums_len,
        BLOCK_N,
    ];
    par_for_with_scratch(plan.tasks(), scratch_lens, |task, [e, u, transposed, sums, sink]| {
        let (range, shares) = plan.task(task, batch, tiles.per_image());
        if task % plan.shares.len() == 0 {
            for image in range.start / tiles.per_image()..range.end / tiles.per_image() {
                tiles.uncovered(image, |at| {
                    // SAFETY: no window covers these pixels, so no other code writes them.
                    unsafe { std::slice::from_raw_parts_mut(out.get().add(at), cin) }.fill(0.0)
                });
            }
        }
        for block in tile_blocks(range) {
            let rows = block.len();
            for (i, channels) in blocks_k.iter().enumerate() {
                // SAFETY: `e` holds the largest block.
                unsafe { transform_grad(&tiles, &block, dy, &zeros, channels, e.as_mut_ptr()) }
                for (phase_channels, sums) in shares.iter().zip(sums.chunks_exact_mut(sums_len)) {
                    let sizes = [rows, channels.len(), phase_channels.len()];
                    // SAFETY: so have the others.
                    unsafe {
                        transform_kernel::<M, T, R>(
                            &params,
                            w,
                            channels,
                            phase_channels,
                            transposed,
                            u.as_mut_ptr(),
                        );
                        products(points, e.as_ptr(), u.as_ptr(), sums.as_mut_ptr(), sizes, i > 0);
                    }
                }
            }
            for (phase_channels, sums) in shares.iter().zip(sums.chunks_exact(sums_len)) {
                let n = phase_channels.len();
                for strip in strips(phase_channels, &params) {
                    for (t, tile) in block.clone().enumerate() {
                        let window = tiles.covered(tile, strip.phase);
                        let to =
                            window.pointers_mut(out.get(), strip.channels.start, sink.as_mut_ptr());
                        // The tiles above and to the left, if any, have written the first rows and
                        // columns already.
                        let overlap = tiles.corner(tile).1.map(|at| if at > 0 { R - 1 } else { 0 });
                        // SAFETY: `sums` has the points of the tile; each task writes its own
                        // images and channels of `dx`.
                        unsafe {
                            let from = sums.as_ptr().add(t * n + strip.at);
                            scatter::<InputBack<M, T, R>, T, T>(
                                from,
                                point_stride(rows * n),
                                overlap,
                                &to,
                                strip.channels.len(),
                            );
                        }
                    }
                }
            }
        }
    });
}
