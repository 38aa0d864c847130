//! The forward pass: y = Aᵀ[Σ V⊙U]A.

use super::tiling::{
    BLOCK_K, BLOCK_N, LANES, MAX_TILES, Plan, Tiles, packed_at, panels, phase_channels, pieces,
    point_stride, square, strips, tap, tile_blocks, tiles_at_once,
};
use super::transforms::{Form, InputMap, KernelMap, Matrices, OutputMap, gather, write};
use crate::cpu::buffer::Buffer;
use crate::cpu::gemm::run_block;
use crate::cpu::microkernel::{Out, StridedRows};
use crate::cpu::norm::BiasActivation;
use crate::cpu::parallel::{SendPtr, par_for_with_scratch};
use crate::descriptors::ConvParams;
use std::ops::Range;

/// The products of a block of tiles with one block of weights, point by point:
/// `out[p] (+)= lhs[p] · rhs[p]`.
/// # Safety
/// `lhs` holds T² matrices `[rows, kc]`, `rhs` packed `[kc, n]`, `out` `[rows, n]`,
/// [`point_stride`]s apart.
pub(super) unsafe fn products(
    points: usize,
    lhs: *const f32,
    rhs: *const f32,
    out: *mut f32,
    [rows, kc, n]: [usize; 3],
    add: bool,
) {
    let out_offsets: [usize; MAX_TILES] = std::array::from_fn(|m| m * n);
    for p in 0..points {
        // SAFETY: the caller's promise.
        unsafe {
            let lhs = StridedRows { base: lhs.add(p * point_stride(rows * kc)), pitch: kc, kc };
            let out = Out {
                base: out.add(p * point_stride(rows * n)),
                offsets: &out_offsets[..rows],
                add,
            };
            run_block(lhs, rows, kc, rhs.add(p * point_stride(kc * n)), out, 0..n);
        }
    }
}

/// V of a block of tiles for some phase channels: `[point][tile][phase channel]`.
/// # Safety
/// `v` must be large enough for it.
pub(super) unsafe fn transform_input<const M: usize, const T: usize, const R: usize>(
    tiles: &Tiles<M, T, R>,
    block: &Range<usize>,
    x: &[f32],
    zeros: &[f32],
    phase_channels: &Range<usize>,
    v: *mut f32,
) where
    Form<M, T, R>: Matrices<M, T, R>,
{
    let stride = point_stride(block.len() * phase_channels.len());
    for strip in strips(phase_channels, &tiles.params) {
        for (t, tile) in block.clone().enumerate() {
            let from = tiles.input(tile, strip.phase).pointers(
                x.as_ptr(),
                strip.channels.start,
                zeros.as_ptr(),
            );
            // SAFETY: pixels have `cin` channels, `zeros` at least as many; the rest is the
            // caller's promise.
            unsafe {
                gather::<InputMap<M, T, R>, T, T>(
                    &from,
                    v.add(t * phase_channels.len() + strip.at),
                    stride,
                    strip.channels.len(),
                )
            }
        }
    }
}

/// U of a block of weights, packed: rows are phase channels, columns output channels.
/// # Safety
/// `u` must be large enough for it.
unsafe fn transform_kernel<const M: usize, const T: usize, const R: usize>(
    params: &ConvParams,
    w: &[f32],
    zeros: &[f32],
    phase_channels: &Range<usize>,
    columns: &Range<usize>,
    u: *mut f32,
) where
    Form<M, T, R>: Matrices<M, T, R>,
{
    let (kc, n) = (phase_channels.len(), columns.len());
    for strip in strips(phase_channels, params) {
        for panel in panels(n) {
            for (k, c) in strip.channels.clone().enumerate() {
                let from = square(|i, j| match tap(&params.geom, [i, j], strip.phase) {
                    Some(tap) => w
                        [(tap * params.cin + c) * params.cout + columns.start + panel.start..]
                        .as_ptr(),
                    None => zeros.as_ptr(),
                });
                let at = packed_at(strip.at + k, panel.start, kc, n);
                // SAFETY: each tap has `cout` elements, `zeros` at least as many; the rest is the
                // caller's promise.
                unsafe {
                    gather::<KernelMap<M, T, R>, R, T>(
                        &from,
                        u.add(at),
                        point_stride(kc * n),
                        panel.len(),
                    )
                }
            }
        }
    }
}

/// [`crate::cpu::conv::conv2d`] with R [`taps`](super::taps) and channels in multiples of
/// [`LANES`], by F(M×M, R×R).
pub(crate) fn forward<const M: usize, const T: usize, const R: usize>(
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    params: ConvParams,
    after: Option<BiasActivation<'_>>,
) where
    Form<M, T, R>: Matrices<M, T, R>,
{
    let ConvParams { batch, cin, cout, .. } = params;
    debug_assert!(cin % LANES == 0 && cout % LANES == 0);
    let tiles = Tiles::<M, T, R>::new(params);
    let plan = Plan::new(batch, tiles.per_image(), cout);
    let blocks_k = pieces(phase_channels(&params), BLOCK_K);
    let zeros = Buffer::zeros(cin.max(cout));
    let points = T * T;
    let out = SendPtr(y.as_mut_ptr());
    let max_tiles = plan.max_tiles(batch, tiles.per_image()).min(tiles_at_once());
    let sums_len = points * point_stride(max_tiles * BLOCK_N);
    let scratch_lens = [
        points * point_stride(max_tiles * BLOCK_K),
        points * point_stride(BLOCK_K * BLOCK_N),
        plan.max_blocks() * sums_len,
        BLOCK_N,
    ];
    par_for_with_scratch(plan.tasks(), scratch_lens, |task, [v, u, sums, sink]| {
        let (range, shares) = plan.task(task, batch, tiles.per_image());
        for block in tile_blocks(range) {
            let rows = block.len();
            for (i, phase_channels) in blocks_k.iter().enumerate() {
                // SAFETY: `v` holds the largest block.
                unsafe {
                    transform_input(&tiles, &block, x, &zeros, phase_channels, v.as_mut_ptr())
                }
                for (columns, sums) in shares.iter().zip(sums.chunks_exact_mut(sums_len)) {
                    let sizes = [rows, phase_channels.len(), columns.len()];
                    // SAFETY: so have the others.
                    unsafe {
                        transform_kernel::<M, T, R>(
                            &params,
                            w,
                            &zeros,
                            phase_channels,
                            columns,
                            u.as_mut_ptr(),
                        );
                        products(points, v.as_ptr(), u.as_ptr(), sums.as_mut_ptr(), sizes, i > 0);
                    }
                }
            }
            for (columns, sums) in shares.iter().zip(sums.chunks_exact(sums_len)) {
                let n = columns.len();
                for (t, tile) in block.clone().enumerate() {
                    let to =
                        tiles.out(tile).pointers_mut(out.get(), columns.start, sink.as_mut_ptr());
                    // SAFETY: each task writes its own images and columns.
                    unsafe {
                        write::<OutputMap<M, T, R>, T, M>(
                            sums.as_ptr().add(t * n),
                            point_stride(rows * n),
                            &to,
                            n,
                        )
                    }
                    let Some(after) = after else { continue };
                    for &pixel in to.as_flattened().iter().filter(|&&p| p != sink.as_mut_ptr()) {
                        // SAFETY: the columns of a pixel that only this task writes.
                        let row = unsafe { std::slice::from_raw_parts_mut(pixel, n) };
                        after.apply(row, columns.start);
                    }
                }
            }
        }
    });
}
