//! dX = B[Σ E⊙U]Bᵀ, the tiles' overlapping squares added in a fixed order.

use super::forward::products;
use super::transforms::{Form, InputBack, KernelMap, Matrices, OutputGrad, gather, scatter};
use super::{BLOCK_K, BLOCK_N, LANES, Plan, TILES, Tiles, packed_at, panels, pieces, point_stride, square, strips, tile_blocks};
use crate::cpu::conv::ConvCall;
use crate::cpu::{Buffer, SendPtr, multiversion, par_for};
use std::ops::Range;

/// E of a block of tiles for some output channels: `[point][tile][channel]`.
/// # Safety
/// `e` must hold it.
unsafe fn transform_grad<const M: usize, const T: usize>(
    tiles: &Tiles<M, T>,
    block: &Range<usize>,
    dy: &[f32],
    zeros: &[f32],
    channels: &Range<usize>,
    e: *mut f32,
) where
    Form<M, T>: Matrices<M, T>,
{
    let stride = point_stride(block.len() * channels.len());
    for (t, tile) in block.clone().enumerate() {
        let from = tiles.out(tile).pointers(dy.as_ptr(), channels.start, zeros.as_ptr());
        // SAFETY: pixels have `cout` channels, `zeros` no fewer; the rest is the caller's promise.
        unsafe { gather::<OutputGrad<M, T>, M, T>(&from, e.add(t * channels.len()), stride, channels.len()) }
    }
}

multiversion! {
    /// `to[j][i] = from[i · pitch + j]` for `rows` rows of `columns` numbers, both multiples of 16.
    fn transpose(from: &[f32], pitch: usize, to: &mut [f32], rows: usize, columns: usize) {
        for i0 in (0..rows).step_by(16) {
            for j0 in (0..columns).step_by(16) {
                let mut square = [[0f32; 16]; 16];
                for (i, line) in square.iter_mut().enumerate() {
                    line.copy_from_slice(&from[(i0 + i) * pitch + j0..][..16]);
                }
                for j in 0..16 {
                    let line = &mut to[(j0 + j) * rows + i0..][..16];
                    for i in 0..16 {
                        line[i] = square[i][j];
                    }
                }
            }
        }
    }
}

/// U of a block of weights, packed: rows are output channels, columns places. `turned` holds four taps of a block.
/// # Safety
/// `u` must hold it.
unsafe fn transform_kernel<const M: usize, const T: usize>(
    call: &ConvCall,
    w: &[f32],
    channels: &Range<usize>,
    places: &Range<usize>,
    turned: &mut [f32],
    u: *mut f32,
) where
    Form<M, T>: Matrices<M, T>,
{
    let (kc, n) = (channels.len(), places.len());
    for strip in strips(places, call.cin) {
        let len = strip.channels.len();
        for (i, turned) in turned.chunks_exact_mut(kc * len).enumerate().take(4) {
            let tap = (2 * (i / 2) + strip.parity[0]) * 4 + 2 * (i % 2) + strip.parity[1];
            transpose(&w[(tap * call.cin + strip.channels.start) * call.cout + channels.start..], call.cout, turned, len, kc);
        }
        for panel in panels(n) {
            let (start, end) = (panel.start.max(strip.at), panel.end.min(strip.at + len));
            if start >= end {
                continue;
            }
            for k in 0..kc {
                let from = square(|i, j| turned[((2 * i + j) * kc + k) * len + start - strip.at..].as_ptr());
                // SAFETY: each row of `turned` has `len` numbers; the rest is the caller's promise.
                unsafe {
                    gather::<KernelMap<M, T>, 2, T>(&from, u.add(packed_at(k, start, kc, n)), point_stride(kc * n), end - start);
                }
            }
        }
    }
}

/// [`crate::cpu::conv::conv2d_input_grad`] of a 4×4 kernel with stride 2 and channels in multiples of [`LANES`], by F(M×M, 2×2).
pub(crate) fn input_grad<const M: usize, const T: usize>(dy: &[f32], w: &[f32], dx: &mut [f32], call: ConvCall)
where
    Form<M, T>: Matrices<M, T>,
{
    let ConvCall { batch, cin, cout, .. } = call;
    debug_assert!(cin % LANES == 0 && cout % LANES == 0);
    let tiles = Tiles::<M, T>::new(call);
    let plan = Plan::new(batch, tiles.per_image(), 4 * cin);
    let blocks_k = pieces(cout, BLOCK_K);
    let zeros = Buffer::zeros(cin.max(cout));
    let points = T * T;
    let out = SendPtr(dx.as_mut_ptr());
    par_for(plan.tasks(), |task| {
        let (range, shares) = plan.task(task, batch, tiles.per_image());
        let most = range.len().min(TILES);
        let e_len: usize = blocks_k.iter().map(|k| points * point_stride(most * k.len())).sum();
        let mut e = Buffer::uninit(e_len);
        let mut u = Buffer::uninit(points * point_stride(BLOCK_K * BLOCK_N));
        let mut turned = Buffer::uninit(4 * BLOCK_K * BLOCK_N);
        let mut sums = Buffer::uninit(points * point_stride(most * BLOCK_N));
        let mut nowhere = Buffer::uninit(BLOCK_N);
        if task % plan.shares.len() == 0 {
            for image in range.start / tiles.per_image()..range.end / tiles.per_image() {
                // SAFETY: no window covers these pixels, so nobody else writes them.
                tiles.uncovered(image, |at| unsafe { std::slice::from_raw_parts_mut(out.get().add(at), cin) }.fill(0.0));
            }
        }
        for block in tile_blocks(range) {
            let rows = block.len();
            let mut at = 0;
            for channels in &blocks_k {
                // SAFETY: the blocks of channels lie one after another; `e` was sized for them.
                unsafe { transform_grad(&tiles, &block, dy, &zeros, channels, e.as_mut_ptr().add(at)) }
                at += points * point_stride(rows * channels.len());
            }
            for places in shares {
                let n = places.len();
                let mut at = 0;
                for (i, channels) in blocks_k.iter().enumerate() {
                    let sizes = [rows, channels.len(), n];
                    // SAFETY: the scratch buffers hold the largest block.
                    unsafe {
                        transform_kernel::<M, T>(&call, w, channels, places, &mut turned, u.as_mut_ptr());
                        products(points, e.as_ptr().add(at), u.as_ptr(), sums.as_mut_ptr(), sizes, i > 0);
                    }
                    at += points * point_stride(rows * channels.len());
                }
                for strip in strips(places, cin) {
                    for (t, tile) in block.clone().enumerate() {
                        let window = tiles.covered(tile, strip.parity);
                        let to = window.places(out.get(), strip.channels.start, nowhere.as_mut_ptr());
                        // The first row and column were written by the tiles above and to the left, if there are any.
                        let again = tiles.corner(tile).1.map(|at| at > 0);
                        // SAFETY: `sums` holds the tile's points; each task writes its own images and channels of `dx`.
                        unsafe {
                            let from = sums.as_ptr().add(t * n + strip.at);
                            scatter::<InputBack<M, T>, T, T>(from, point_stride(rows * n), again, &to, strip.channels.len());
                        }
                    }
                }
            }
        }
    });
}
