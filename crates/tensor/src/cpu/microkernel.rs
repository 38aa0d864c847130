//! The micro-kernels of the matrix product: a tile of MR rows × NV registers of the result stays
//! in registers while k runs over a block.
//!
//! Each result is one multiply-add chain in ascending k from zero (or the sum of chains of
//! [`CHAIN`]), then one addition to memory. Tiles of every size do the same, so rows and columns
//! may be split anywhere without changing a bit. The left operand is read in place, one element at
//! a time (the broadcast costs nothing next to the multiply-add): by rows, each with its own
//! pointer and the same contiguous [`KSegment`]s of k (pixels of an NHWC image, rows of a matrix);
//! by columns, where for each k the rows of the tile are contiguous (outer products); either at
//! equal distances; or from a copy made tile by tile. The right operand is packed.
//!
//! AVX-512: 6 × 64 tiles, 24 accumulators, 10 loads for 24 multiply-adds.

use super::simd::{Simd, prefetch, prefetch_far};

/// A contiguous range of k: `len` elements from each row's pointer plus `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KSegment {
    pub off: usize,
    pub len: usize,
}

/// The left operand of a tile.
pub(crate) trait Lhs: Copy {
    /// Whether a tile may have more rows than [`Simd::TALL`] when there are registers left.
    const ANY_HEIGHT: bool = true;
    /// Whether ranges of k are usually long, so that unrolling more products makes the loop
    /// cheaper.
    const LONG: bool = true;
    /// Whether each range is a chain of its own.
    const CHAINS: bool = false;
    /// Calls `step(rows, stride, count)` for ranges of k in order: row `m + i` of the tile has its
    /// `count` elements at `rows[i]`, `stride` apart.
    /// # Safety
    /// All addresses reached must be readable.
    unsafe fn each<const MR: usize>(
        &self,
        m: usize,
        step: impl FnMut([*const f32; MR], usize, usize),
    );
}

/// Rows: row `m` starts at `base + offsets[m]`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub base: *const f32,
    pub offsets: &'a [usize],
    pub segs: &'a [KSegment],
}

/// Columns: element (m, k) is at `base + offsets[k] + m`.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub base: *const f32,
    pub offsets: &'a [usize],
}

/// Length of the chains of [`StridedRows`]. The errors of sums grow with the root of the length of
/// their chains, and are most of the error of a Winograd convolution, whose output transform
/// enlarges them. The products are 3 % faster with twice the length, 5 to 10 % slower with half.
const CHAIN: usize = 32;

/// [`Rows`] at equal distances, summed in chains of [`CHAIN`]: element (m, k) is at
/// `base + m · pitch + k`.
#[derive(Clone, Copy)]
pub(crate) struct StridedRows {
    pub base: *const f32,
    pub pitch: usize,
    /// Length of k.
    pub kc: usize,
}

/// [`Columns`] at equal distances: element (m, k) is at `base + k · pitch + m`.
#[derive(Clone, Copy)]
pub(crate) struct StridedColumns {
    pub base: *const f32,
    pub pitch: usize,
    /// Length of k.
    pub kc: usize,
}

/// Rows that were copied tile by tile: for each k the elements of `TALL` rows, which is
/// [`Simd::TALL`], are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct TiledRows<const TALL: usize> {
    pub base: *const f32,
    /// Length of k.
    pub kc: usize,
}

impl<const TALL: usize> Lhs for TiledRows<TALL> {
    const ANY_HEIGHT: bool = false;

    #[inline(always)]
    unsafe fn each<const MR: usize>(
        &self,
        m: usize,
        mut step: impl FnMut([*const f32; MR], usize, usize),
    ) {
        // SAFETY: the caller's promise; no tile has rows on both sides of a multiple of `TALL`.
        let rows = unsafe {
            let base = self.base.add(m / TALL * TALL * self.kc + m % TALL);
            std::array::from_fn(|i| base.add(i))
        };
        step(rows, TALL, self.kc);
    }
}

impl Lhs for Rows<'_> {
    // A line of a window of three channels has 12 elements.
    const LONG: bool = false;

    #[inline(always)]
    unsafe fn each<const MR: usize>(
        &self,
        m: usize,
        mut step: impl FnMut([*const f32; MR], usize, usize),
    ) {
        for seg in self.segs {
            // SAFETY: the caller's promise covers every row and segment.
            let rows: [*const f32; MR] = unsafe {
                std::array::from_fn(|i| self.base.add(*self.offsets.get_unchecked(m + i) + seg.off))
            };
            step(rows, 1, seg.len);
        }
    }
}

impl Lhs for Columns<'_> {
    const LONG: bool = false;

    #[inline(always)]
    unsafe fn each<const MR: usize>(
        &self,
        m: usize,
        mut step: impl FnMut([*const f32; MR], usize, usize),
    ) {
        for &off in self.offsets {
            // SAFETY: the caller's promise covers every k and row.
            let rows: [*const f32; MR] =
                unsafe { std::array::from_fn(|i| self.base.add(off + m + i)) };
            step(rows, 0, 1);
        }
    }
}

impl Lhs for StridedRows {
    const CHAINS: bool = true;

    #[inline(always)]
    unsafe fn each<const MR: usize>(
        &self,
        m: usize,
        mut step: impl FnMut([*const f32; MR], usize, usize),
    ) {
        let mut k = 0;
        while k < self.kc {
            // SAFETY: the caller's promise covers every k and row.
            let rows = unsafe { std::array::from_fn(|i| self.base.add((m + i) * self.pitch + k)) };
            step(rows, 1, CHAIN.min(self.kc - k));
            k += CHAIN;
        }
    }
}

impl Lhs for StridedColumns {
    #[inline(always)]
    unsafe fn each<const MR: usize>(
        &self,
        m: usize,
        mut step: impl FnMut([*const f32; MR], usize, usize),
    ) {
        // SAFETY: the caller's promise covers every k and row.
        let rows = unsafe { std::array::from_fn(|i| self.base.add(m + i)) };
        step(rows, self.pitch, self.kc);
    }
}

/// The result of a tile: row `m` is at `base + offsets[m]`; it is added to or overwritten.
#[derive(Clone, Copy)]
pub(crate) struct Out<'a> {
    pub base: *mut f32,
    pub offsets: &'a [usize],
    pub add: bool,
}

/// `acc[i] += lhs[i][k] · rhs[k]` for the next `K` elements of each row of a tile.
/// # Safety
/// These elements and `K` packed rows of `NV` registers must be readable.
#[inline(always)]
unsafe fn products<S: Simd, const MR: usize, const NV: usize, const K: usize>(
    acc: &mut [[S::V; NV]; MR],
    rows: [*const f32; MR],
    stride: usize,
    rhs: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for k in 0..K {
            let b: [S::V; NV] = std::array::from_fn(|j| S::load(rhs.add((k * NV + j) * S::LANES)));
            for i in 0..MR {
                let a = S::splat(rows[i].add(k * stride));
                for j in 0..NV {
                    acc[i][j] = S::fma(a, b[j], acc[i][j]);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, L: Lhs, const MR: usize, const NV: usize>(
    lhs: L,
    m: usize,
    mut rhs: *const f32,
    out: Out<'_>,
    column: usize,
    n: usize,
) {
    // SAFETY: the caller of `panel` promises valid operands; the rest is register arithmetic.
    unsafe {
        let mut acc = [[S::zero(); NV]; MR];
        let mut total = acc;
        // The result's cache lines arrive while the products are computed.
        for i in 0..MR {
            let c = out.base.add(*out.offsets.get_unchecked(m + i) + column);
            for j in (0..NV * S::LANES).step_by(16) {
                prefetch(c.wrapping_add(j));
            }
        }
        // A second call of this closure would keep it from being inlined, and it would not be
        // compiled for the instruction set.
        lhs.each::<MR>(m, |mut rows, stride, mut count| {
            macro_rules! while_at_least {
                ($k:literal) => {
                    while count >= $k {
                        products::<S, MR, NV, $k>(&mut acc, rows, stride, rhs);
                        rhs = rhs.add($k * NV * S::LANES);
                        rows = rows.map(|row| row.wrapping_add($k * stride));
                        count -= $k;
                    }
                };
            }
            if L::LONG {
                while_at_least!(4);
            }
            while_at_least!(2);
            while_at_least!(1);
            if L::CHAINS {
                // Iterators over both would keep `acc` in memory.
                total = std::array::from_fn(|i| {
                    std::array::from_fn(|j| S::add(total[i][j], acc[i][j]))
                });
                acc = [[S::zero(); NV]; MR];
            }
        });
        let acc = if L::CHAINS { total } else { acc };
        for (i, row) in acc.iter().enumerate() {
            let c = out.base.add(*out.offsets.get_unchecked(m + i) + column);
            if n == NV * S::LANES {
                for (j, &v) in row.iter().enumerate() {
                    let at = c.add(j * S::LANES);
                    S::store(at, if out.add { S::add(S::load(at), v) } else { v });
                }
            } else {
                let mut values = [0f32; 64];
                for (j, &v) in row.iter().enumerate() {
                    S::store(values.as_mut_ptr().add(j * S::LANES), v);
                }
                for (j, &v) in values[..n].iter().enumerate() {
                    *c.add(j) = if out.add { *c.add(j) + v } else { v };
                }
            }
        }
    }
}

/// All rows `0..rows` of one packed panel of `kc` rows and `n ≤ NV · LANES` columns.
/// # Safety
/// `lhs`, `rhs` and `out` must be valid for that many rows, the panel's k and `n` columns from
/// `column` on.
#[inline(always)]
unsafe fn panel<S: Simd, L: Lhs, const NV: usize>(
    lhs: L,
    [rows, kc]: [usize; 2],
    rhs: *const f32,
    out: Out<'_>,
    column: usize,
    n: usize,
) {
    let mut m = 0;
    // Prefetches the next panel, in equal parts of whole cache lines (16 elements) before each
    // tile. With few tiles it is in a near cache anyway.
    let len = NV * S::LANES * kc;
    let mut next = rhs.wrapping_add(len);
    let lines = if rows < 8 * S::TALL { 0 } else { (len / 16).div_ceil(rows / S::TALL) };
    // SAFETY: the caller's promise.
    unsafe {
        if (NV == S::WIDE || !L::ANY_HEIGHT) && S::TALL == 6 {
            while m + 6 <= rows {
                for _ in 0..lines {
                    prefetch_far(next);
                    next = next.wrapping_add(16);
                }
                tile::<S, L, 6, NV>(lhs, m, rhs, out, column, n);
                m += 6;
            }
        } else if NV < S::WIDE && L::ANY_HEIGHT {
            while m + 8 <= rows {
                tile::<S, L, 8, NV>(lhs, m, rhs, out, column, n);
                m += 8;
            }
        }
        while m + 4 <= rows {
            tile::<S, L, 4, NV>(lhs, m, rhs, out, column, n);
            m += 4;
        }
        if m + 2 <= rows {
            tile::<S, L, 2, NV>(lhs, m, rhs, out, column, n);
            m += 2;
        }
        if m < rows {
            tile::<S, L, 1, NV>(lhs, m, rhs, out, column, n);
        }
    }
}

/// One block of k over all rows and the packed columns `columns` (panel-aligned start): for each
/// panel, all tiles of rows. `rhs` is the packed right operand of the block, one panel of
/// `WIDE · LANES` columns after another.
/// # Safety
/// As for [`panel`], for every column.
#[inline(always)]
pub(crate) unsafe fn block<S: Simd, L: Lhs>(
    lhs: L,
    rows: usize,
    kc: usize,
    rhs: *const f32,
    out: Out<'_>,
    columns: std::ops::Range<usize>,
) {
    let wide = S::WIDE * S::LANES;
    let mut column = columns.start;
    while column < columns.end {
        let n = wide.min(columns.end - column);
        // SAFETY: the panels before this one take `kc` rows of `wide` elements each; the rest is
        // the caller's promise.
        unsafe {
            let rhs = rhs.add(column * kc);
            match n.div_ceil(S::LANES) {
                1 => panel::<S, L, 1>(lhs, [rows, kc], rhs, out, column, n),
                // Not compiled for instruction sets without such wide tiles.
                3 if S::WIDE > 2 => panel::<S, L, 3>(lhs, [rows, kc], rhs, out, column, n),
                4 if S::WIDE > 2 => panel::<S, L, 4>(lhs, [rows, kc], rhs, out, column, n),
                _ => panel::<S, L, 2>(lhs, [rows, kc], rhs, out, column, n),
            }
        }
        column += n;
    }
}
