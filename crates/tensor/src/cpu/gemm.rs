//! Matrix products: packing of the right operand, blocking of k, and the split into tasks.

use super::buffer::Buffer;
use super::isa::{Isa, isa, multiversion};
use super::microkernel::{KSegment, Lhs, Out, Rows, TiledRows, block};
use super::parallel::{SendPtr, par_for, par_for_with_scratch};
use super::simd::{prefetch, simd_const, simd_dispatch};
use std::ops::Range;

/// Target length of a block of k of a convolution: a panel of 64 columns then fills two thirds of a
/// 48 KiB L1 cache.
const KC: usize = 128;
/// Rows of a task: a block of the left operand (KC · 4 bytes per row) stays in the L2 cache.
pub(crate) const TASK_ROWS: usize = 256;

/// The block sizes of a plain matrix product, by instruction set: for the caches of the processors
/// that have it as their best.
struct BlockSizes {
    /// Target length of a block of k: each block costs a pass over the result, and its panel should
    /// take half of the L1 cache.
    kc: usize,
    /// The most rows of a task.
    rows: usize,
    /// Columns of a task.
    columns: usize,
    /// Whether a task copies its block of the left operand even if its rows are contiguous: rows at
    /// distances of a power of two evict each other from the cache.
    copies: bool,
}

fn block_sizes() -> BlockSizes {
    match isa() {
        Isa::Avx2 => BlockSizes { kc: 256, rows: 144, columns: 1024, copies: true },
        _ => BlockSizes { kc: KC, rows: TASK_ROWS, columns: 512, copies: false },
    }
}

/// With fewer columns, copying the left operand costs more than it gains.
const MANY_COLUMNS: usize = 256;

/// A range of k that is summed in registers before it is added to memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KBlock {
    pub segs: Vec<KSegment>,
    /// First k of the block, and how many.
    pub start: usize,
    pub len: usize,
}

/// The blocks of k of a convolution: [`k_blocks_of`] with [`KC`].
pub(crate) fn k_blocks(segs: &[KSegment]) -> Vec<KBlock> {
    k_blocks_of(KC, segs)
}

/// Splits the segments of k into blocks of nearly equal length, at most about `longest`: a function
/// of the two arguments alone, since the split decides the last bits of a result.
fn k_blocks_of(longest: usize, segs: &[KSegment]) -> Vec<KBlock> {
    let total: usize = segs.iter().map(|s| s.len).sum();
    let count = total.div_ceil(longest).max(1);
    let target = total.div_ceil(count);
    let mut blocks = vec![KBlock { segs: Vec::new(), start: 0, len: 0 }];
    for seg in segs {
        let mut seg = *seg;
        while seg.len > 0 {
            let last = blocks.len() - 1;
            let current = &mut blocks[last];
            let space = target - current.len;
            if space == 0 {
                let start = current.start + current.len;
                blocks.push(KBlock { segs: Vec::new(), start, len: 0 });
                continue;
            }
            let len = seg.len.min(space);
            current.segs.push(KSegment { off: seg.off, len });
            current.len += len;
            seg = KSegment { off: seg.off + len, len: seg.len - len };
        }
    }
    blocks
}

/// Floats per register.
fn lanes() -> usize {
    simd_const!(LANES)
}

/// Rows of the tallest tile.
fn tall() -> usize {
    simd_const!(TALL)
}

/// Columns of a full packed panel.
pub(crate) fn panel_columns() -> usize {
    lanes() * simd_const!(WIDE)
}

/// Columns rounded up to whole registers: the length of a packed row.
pub(crate) fn packed_columns(n: usize) -> usize {
    n.next_multiple_of(lanes())
}

/// Side of the squares that are transposed in registers.
pub(crate) const SIDE: usize = 16;

multiversion! {
    /// `to[j · to_pitch + i] = from[i · pitch + j]` for i and j below [`SIDE`].
    pub(crate) fn transpose_tile(from: &[f32], pitch: usize, to: &mut [f32], to_pitch: usize) {
        let mut square = [[0f32; SIDE]; SIDE];
        for (i, line) in square.iter_mut().enumerate() {
            line.copy_from_slice(&from[i * pitch..][..SIDE]);
        }
        for j in 0..SIDE {
            let line = &mut to[j * to_pitch..][..SIDE];
            for i in 0..SIDE {
                line[i] = square[i][j];
            }
        }
    }
}

/// How many panels ahead of the packed one the prefetch runs.
const PREFETCH_PANELS: usize = 2;

/// A right operand in memory: element (k, n) is at `row(k) + n · stride`.
pub(crate) struct Rhs<'a, F: Fn(usize) -> usize + Sync> {
    pub data: &'a [f32],
    pub row: F,
    pub stride: usize,
    pub n: usize,
}

impl<F: Fn(usize) -> usize + Sync> Rhs<'_, F> {
    /// Packs rows `ks` into `out` (`ks.len() · packed_columns(n)` elements), panel after panel,
    /// with zeros beyond column n.
    ///
    /// [`SIDE`] rows are packed into all panels before the next rows, because the columns of many
    /// rows would evict each other from the cache.
    pub(crate) fn pack_block(&self, ks: Range<usize>, out: &mut [f32]) {
        let (lanes, panel) = (lanes(), panel_columns());
        let kc = ks.len();
        for k0 in (0..kc).step_by(SIDE) {
            let group = k0..kc.min(k0 + SIDE);
            for column in (0..self.n).step_by(panel) {
                let n = (panel).min(self.n - column);
                let width = n.next_multiple_of(lanes);
                let next = column + PREFETCH_PANELS * panel;
                if next < self.n {
                    self.prefetch_panel(
                        ks.start,
                        group.clone(),
                        next..self.n.min(next + panel),
                        &out[next * kc..],
                    );
                }
                self.pack_panel(
                    ks.start,
                    group.clone(),
                    column..column + n,
                    width,
                    &mut out[column * kc..][..width * kc],
                );
            }
        }
    }

    /// Prefetches what [`pack_panel`](Self::pack_panel) reads and writes next; the stride defeats
    /// the hardware prefetcher.
    fn prefetch_panel(&self, first: usize, ks: Range<usize>, columns: Range<usize>, panel: &[f32]) {
        let prefetch_at = |k: usize, j: usize| {
            prefetch(self.data.as_ptr().wrapping_add((self.row)(first + k) + j * self.stride))
        };
        if self.stride == 1 {
            ks.clone().for_each(|k| columns.clone().step_by(16).for_each(|j| prefetch_at(k, j)));
        } else {
            columns.clone().for_each(|j| prefetch_at(ks.start, j));
        }
        let width = packed_columns(columns.len());
        (ks.start * width..ks.end * width)
            .step_by(16)
            .for_each(|i| prefetch(panel.as_ptr().wrapping_add(i)));
    }

    /// Rows `ks` (at most [`SIDE`], counted from `first` on) of one panel, which has rows of
    /// `width`.
    fn pack_panel(
        &self,
        first: usize,
        ks: Range<usize>,
        columns: Range<usize>,
        width: usize,
        panel: &mut [f32],
    ) {
        let n = columns.len();
        let at = |k: usize| (self.row)(first + k) + columns.start * self.stride;
        if self.stride == 1 && n.is_multiple_of(SIDE) {
            for k in ks {
                let (from, to) = (&self.data[at(k)..][..n], &mut panel[k * width..][..n]);
                // Copies of a known length compile to a few instructions instead of a call.
                for (to, from) in
                    to.as_chunks_mut::<SIDE>().0.iter_mut().zip(from.as_chunks::<SIDE>().0)
                {
                    *to = *from;
                }
            }
        } else if self.stride == 1 {
            for k in ks {
                let row = &mut panel[k * width..][..width];
                row[..n].copy_from_slice(&self.data[at(k)..][..n]);
                row[n..].fill(0.0);
            }
        } else {
            // Along a transposed operand, 16 consecutive k are adjacent in memory: squares of 16 ×
            // 16 are transposed in registers.
            let aligned = ks.len() == SIDE && at(ks.end - 1).wrapping_sub(at(ks.start)) == SIDE - 1;
            for j0 in (0..width).step_by(SIDE) {
                if aligned && j0 + SIDE <= n {
                    let from = &self.data[at(ks.start) + j0 * self.stride..];
                    transpose_tile(from, self.stride, &mut panel[ks.start * width + j0..], width);
                    continue;
                }
                for k in ks.clone() {
                    for j in j0..width.min(j0 + SIDE) {
                        panel[k * width + j] =
                            if j < n { self.data[at(k) + j * self.stride] } else { 0.0 };
                    }
                }
            }
        }
    }
}

/// A right operand packed block by block.
pub(crate) struct PackedRhs {
    data: Buffer,
    pub blocks: Vec<KBlock>,
    n: usize,
}

impl PackedRhs {
    pub(crate) fn new<F: Fn(usize) -> usize + Sync>(rhs: &Rhs<'_, F>, segs: &[KSegment]) -> Self {
        Self::in_blocks(rhs, k_blocks(segs))
    }

    fn in_blocks<F: Fn(usize) -> usize + Sync>(rhs: &Rhs<'_, F>, blocks: Vec<KBlock>) -> Self {
        let width = packed_columns(rhs.n);
        let total: usize = blocks.iter().map(|b| b.len).sum();
        let mut data = Buffer::uninit(total * width);
        let base = SendPtr(data.as_mut_ptr());
        par_for(blocks.len(), |i| {
            let b = &blocks[i];
            // SAFETY: blocks are disjoint ranges of `data`.
            let out = unsafe {
                std::slice::from_raw_parts_mut(base.get().add(b.start * width), b.len * width)
            };
            rhs.pack_block(b.start..b.start + b.len, out);
        });
        Self { data, blocks, n: rhs.n }
    }
}

/// Rows of a result and of the left operand, as offsets from two base pointers.
pub(crate) struct RowTask<'a> {
    pub lhs: *const f32,
    pub lhs_offsets: &'a [usize],
    pub out: *mut f32,
    pub out_offsets: &'a [usize],
}

/// `out[m] = Σ_k lhs[m][k] · rhs[k]` for the rows of a task and the given columns (starting on a
/// panel).
/// # Safety
/// Each row must be readable over all segments of the blocks, and writable over the columns; no
/// other task writes there.
pub(crate) unsafe fn rows_times_packed(
    task: &RowTask<'_>,
    packed: &PackedRhs,
    columns: Range<usize>,
) {
    let width = packed_columns(packed.n);
    for (i, b) in packed.blocks.iter().enumerate() {
        let lhs = Rows { base: task.lhs, offsets: task.lhs_offsets, segs: &b.segs };
        let out = Out { base: task.out, offsets: task.out_offsets, add: i > 0 };
        // SAFETY: the caller's promise; the packed block has `b.len` rows of `width` elements.
        unsafe {
            run_block(
                lhs,
                task.out_offsets.len(),
                b.len,
                packed.data.as_ptr().add(b.start * width),
                out,
                columns.clone(),
            )
        }
    }
}

simd_dispatch! {
    /// [`block`] in the instruction set in use.
    /// # Safety
    /// As for [`block`].
    pub(crate) unsafe fn run_block[L: Lhs](
        lhs: L,
        rows: usize,
        kc: usize,
        rhs: *const f32,
        out: Out<'_>,
        columns: Range<usize>,
    ) = block[L]
}

/// `out[m, n] = op(a)[m, k] · op(b)[k, n]`, all row-major; `op` transposes if the flag is set.
pub(crate) fn matmul(
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    [m, k, n]: [usize; 3],
    trans_a: bool,
    trans_b: bool,
) {
    if m * n == 0 {
        return;
    }
    if k == 0 {
        return out.fill(0.0);
    }
    matmul_packed(a, &pack(b, [k, n], trans_b), out, [m, k, n], trans_a);
}

/// `op(b)[k, n]` as a right operand.
pub(crate) fn pack(b: &[f32], [k, n]: [usize; 2], trans_b: bool) -> PackedRhs {
    let (row_step, stride) = if trans_b { (1, k) } else { (n, 1) };
    let blocks = k_blocks_of(block_sizes().kc, &[KSegment { off: 0, len: k }]);
    PackedRhs::in_blocks(&Rhs { data: b, row: |k| k * row_step, stride, n }, blocks)
}

/// [`matmul`] with a packed right operand; no side is 0.
pub(crate) fn matmul_packed(
    a: &[f32],
    packed: &PackedRhs,
    out: &mut [f32],
    [m, k, n]: [usize; 3],
    trans_a: bool,
) {
    let BlockSizes { rows, columns, copies, .. } = block_sizes();
    let tall = tall();
    // Tasks of equal height, in whole tiles: a low last task would leave threads idle.
    let task_rows = m.div_ceil(m.div_ceil(rows)).next_multiple_of(tall);
    let columns = columns.next_multiple_of(panel_columns());
    let (row_tasks, column_tasks) = (m.div_ceil(task_rows), n.div_ceil(columns));
    let width = packed_columns(n);
    let longest = packed.blocks.iter().map(|b| b.len).max().unwrap_or(0);
    let copies = trans_a || copies && n >= MANY_COLUMNS;
    let out = SendPtr(out.as_mut_ptr());
    let copy_len = if copies { task_rows.min(m).next_multiple_of(tall) * longest } else { 0 };
    par_for_with_scratch(row_tasks * column_tasks, [copy_len], |task, [copy]| {
        let rows = task / column_tasks * task_rows..m.min((task / column_tasks + 1) * task_rows);
        let n0 = task % column_tasks * columns;
        let columns = n0..n.min(n0 + columns);
        let lhs_offsets: Vec<usize> =
            if copies { Vec::new() } else { rows.clone().map(|m| m * k).collect() };
        let out_offsets: Vec<usize> = rows.clone().map(|m| m * n).collect();
        for (i, b) in packed.blocks.iter().enumerate() {
            let out = Out { base: out.get(), offsets: &out_offsets, add: i > 0 };
            // SAFETY: the block's rows of the packed operand.
            let rhs = unsafe { packed.data.as_ptr().add(b.start * width) };
            if copies {
                let (start, pitches) = if trans_a {
                    (b.start * m + rows.start, [1, m])
                } else {
                    (rows.start * k + b.start, [k, 1])
                };
                let sizes = [rows.len(), b.len];
                // SAFETY: `copy` holds all tiles; only this task writes its rows and columns.
                unsafe {
                    match tall {
                        6 => tiled_block::<6>(
                            &a[start..],
                            pitches,
                            copy,
                            sizes,
                            rhs,
                            out,
                            columns.clone(),
                        ),
                        _ => tiled_block::<4>(
                            &a[start..],
                            pitches,
                            copy,
                            sizes,
                            rhs,
                            out,
                            columns.clone(),
                        ),
                    }
                }
            } else {
                let lhs = Rows { base: a.as_ptr(), offsets: &lhs_offsets, segs: &b.segs };
                // SAFETY: the rows of `a` have k elements each; only this task writes its rows and
                // columns.
                unsafe { run_block(lhs, rows.len(), b.len, rhs, out, columns.clone()) }
            }
        }
    });
}

/// [`run_block`] of rows that are copied for it by [`tile_rows`].
/// # Safety
/// As for [`block`]; `copy` must hold whole tiles.
unsafe fn tiled_block<const TALL: usize>(
    from: &[f32],
    pitches: [usize; 2],
    copy: &mut [f32],
    [rows, kc]: [usize; 2],
    rhs: *const f32,
    out: Out<'_>,
    columns: Range<usize>,
) {
    tile_rows::<TALL>(from, pitches, copy, [rows, kc]);
    // SAFETY: the caller's promise.
    unsafe { run_block(TiledRows::<TALL> { base: copy.as_ptr(), kc }, rows, kc, rhs, out, columns) }
}

/// Copies `rows` rows of `kc` elements, element (i, k) at `from[i · across + k · along]`, for
/// [`TiledRows`].
fn tile_rows<const TALL: usize>(
    from: &[f32],
    [across, along]: [usize; 2],
    to: &mut [f32],
    [rows, kc]: [usize; 2],
) {
    for (tile, to) in to.chunks_mut(TALL * kc).enumerate().take(rows.div_ceil(TALL)) {
        let from = &from[tile * TALL * across..];
        let height = TALL.min(rows - tile * TALL);
        // The last tile is lower: the micro-kernel reads only the rows that there are.
        if height < TALL {
            for (k, to) in to.chunks_exact_mut(TALL).enumerate() {
                for (i, to) in to[..height].iter_mut().enumerate() {
                    *to = from[i * across + k * along];
                }
            }
        } else if across == 1 {
            for (k, to) in to.chunks_exact_mut(TALL).enumerate() {
                to.copy_from_slice(&from[k * along..][..TALL]);
            }
        } else {
            // Prefetches the next tile while this one is copied: the hardware prefetcher does not
            // follow short runs of many rows.
            for i in TALL..2 * TALL {
                (0..kc)
                    .step_by(16)
                    .for_each(|k| prefetch(from.as_ptr().wrapping_add(i * across + k)));
            }
            let rows: [&[f32]; TALL] = std::array::from_fn(|i| &from[i * across..][..kc]);
            for (k, to) in to.chunks_exact_mut(TALL).enumerate() {
                for i in 0..TALL {
                    to[i] = rows[i][k];
                }
            }
        }
    }
}
