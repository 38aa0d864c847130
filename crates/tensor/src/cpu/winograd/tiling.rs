//! How a convolution is split into tiles, blocks and tasks, and where a tile's pixels are in
//! memory.

use crate::cpu::gemm::panel_columns;
use crate::cpu::isa::{Isa, isa};
use crate::descriptors::{ConvGeom, ConvParams};
use std::ops::Range;

/// Channels must be a multiple of this, and so of every instruction set's register.
pub(in crate::cpu) const LANES: usize = 16;

/// The largest number of tiles transformed at once, in any instruction set.
pub(super) const MAX_TILES: usize = 128;

/// The largest number of tiles transformed at once. More tiles share the transformed weights; fewer
/// leave space in the L2 cache, which has half a megabyte or one on processors with AVX2, and two
/// on those with AVX-512.
pub(super) fn tiles_at_once() -> usize {
    match isa() {
        Isa::Avx2 => 64,
        _ => MAX_TILES,
    }
}

/// Length of a block of k.
pub(super) const BLOCK_K: usize = 128;
/// Columns of a block of products.
pub(super) const BLOCK_N: usize = 64;

/// The distance between the points of a transformed block of `len` elements: an odd number of cache
/// lines, because the T² streams that a transform writes would otherwise map to the same set of
/// the cache.
pub(super) fn point_stride(len: usize) -> usize {
    (len.div_ceil(16) | 1) * 16
}

/// Splits `0..n` into ranges of at most `step`, nearly equal multiples of [`LANES`].
pub(super) fn pieces(n: usize, step: usize) -> Vec<Range<usize>> {
    let count = n.div_ceil(step).max(1);
    let step = n.div_ceil(count).next_multiple_of(LANES);
    (0..n).step_by(step).map(|start| start..n.min(start + step)).collect()
}

/// The part of a range of phase channels that belongs to one phase: its channels, which begin at
/// index `at` of the range.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Strip {
    pub(super) phase: [usize; 2],
    pub(super) channels: Range<usize>,
    pub(super) at: usize,
}

/// The number of phase channels of the input.
pub(super) fn phase_channels(params: &ConvParams) -> usize {
    stride(&params.geom).pow(2) * params.cin
}

/// A range of phase channels, phase by phase.
pub(super) fn strips(phase_channels: &Range<usize>, params: &ConvParams) -> Vec<Strip> {
    let (cin, stride) = (params.cin, stride(&params.geom));
    (0..stride * stride)
        .filter_map(|q| {
            let (start, end) =
                (phase_channels.start.max(q * cin), phase_channels.end.min((q + 1) * cin));
            (start < end).then(|| Strip {
                phase: [q / stride, q % stride],
                channels: start - q * cin..end - q * cin,
                at: start - phase_channels.start,
            })
        })
        .collect()
}

/// The index of element (k, column) in a packed right operand of `n` columns and `kc` rows.
pub(super) fn packed_at(k: usize, column: usize, kc: usize, n: usize) -> usize {
    let wide = panel_columns();
    let panel = column / wide * wide;
    panel * kc + k * wide.min(n - panel) + column - panel
}

/// `0..n`, panel by panel.
pub(super) fn panels(n: usize) -> impl Iterator<Item = Range<usize>> {
    let wide = panel_columns();
    (0..n).step_by(wide).map(move |start| start..n.min(start + wide))
}

/// Sizes and strides of the kernels that have a form. For 3×3 kernels of stride 2, F(4×4, 2×2)
/// saves less than a third of the multiplications, and in most layers its transforms cost more
/// (docs/performance.md).
pub(super) const KERNELS: [(usize, usize); 3] = [(3, 1), (4, 2), (5, 2)];

/// R, the taps across the kernel over the space-to-depth image, if a geometry has a Winograd form.
pub(in crate::cpu) fn taps(geom: &ConvGeom) -> Option<usize> {
    let (side, stride) = (geom.kernel[0], stride(geom));
    let has_form =
        geom.kernel == [side; 2] && geom.stride == [stride; 2] && KERNELS.contains(&(side, stride));
    has_form.then(|| side.div_ceil(stride))
}

pub(super) fn stride(geom: &ConvGeom) -> usize {
    geom.stride[0]
}

/// The index of a tap in the kernel, from its indices in the space-to-depth kernel and the phase;
/// `None` for the sixth taps of 5×5 kernels.
pub(super) fn tap(geom: &ConvGeom, [i, j]: [usize; 2], phase: [usize; 2]) -> Option<usize> {
    let (side, stride) = (geom.kernel[0], stride(geom));
    let (y, x) = (stride * i + phase[0], stride * j + phase[1]);
    (y < side && x < side).then_some(y * side + x)
}

/// The tiles of a batch, with M×M outputs each; the tiles of an image are in row-major order.
#[derive(Clone, Copy)]
pub(super) struct Tiles<const M: usize, const T: usize, const R: usize> {
    pub(super) params: ConvParams,
    output: [usize; 2],
    /// Tiles down and across an image.
    grid: [usize; 2],
}

impl<const M: usize, const T: usize, const R: usize> Tiles<M, T, R> {
    pub(super) fn new(params: ConvParams) -> Self {
        let output = params.geom.output();
        Self { params, output, grid: output.map(|side| side.div_ceil(M)) }
    }

    pub(super) fn per_image(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Image, and top left output pixel of a tile.
    pub(super) fn corner(&self, tile: usize) -> (usize, [usize; 2]) {
        let (image, at) = (tile / self.per_image(), tile % self.per_image());
        (image, [at / self.grid[1] * M, at % self.grid[1] * M])
    }

    /// The offsets in `[N, H, W, Cin]` of a tile's inputs of one phase, as far as they are inside
    /// the image.
    pub(super) fn input(&self, tile: usize, phase: [usize; 2]) -> TileWindow<T> {
        self.window(tile, phase, [usize::MAX; 2])
    }

    /// [`input`](Self::input), as far as a window covers the pixels.
    pub(super) fn covered(&self, tile: usize, phase: [usize; 2]) -> TileWindow<T> {
        // In the second phase, a 5×5 kernel has one tap less than R.
        let geom = &self.params.geom;
        self.window(tile, phase, phase.map(|p| (geom.kernel[0] - p).div_ceil(stride(geom)) - 1))
    }

    pub(super) fn window(
        &self,
        tile: usize,
        phase: [usize; 2],
        beyond: [usize; 2],
    ) -> TileWindow<T> {
        let (image, corner) = self.corner(tile);
        let ConvParams { geom, cin, .. } = self.params;
        let stride = stride(&geom);
        let axis = |axis: usize, pitch: usize| {
            std::array::from_fn(|i| {
                let at = corner[axis] + i;
                // A pixel before the image wraps to a huge index: one comparison excludes both
                // sides.
                let pixel = (stride * at + phase[axis]).wrapping_sub(geom.pad[axis][0]);
                let inside =
                    pixel < geom.input[axis] && at < self.output[axis].saturating_add(beyond[axis]);
                if inside { pixel * pitch } else { OUTSIDE }
            })
        };
        let pitch = geom.input[1] * cin;
        TileWindow {
            image: image * geom.input[0] * pitch,
            rows: axis(0, pitch),
            columns: axis(1, cin),
        }
    }

    /// Calls `f` with the offset of each pixel of an image that no window covers.
    pub(super) fn uncovered(&self, image: usize, mut f: impl FnMut(usize)) {
        let geom = &self.params.geom;
        let [h, w] = geom.input;
        let end = [0, 1].map(|i| {
            (stride(geom) * (self.output[i] - 1) + geom.kernel[i])
                .saturating_sub(geom.pad[i][0])
                .min(geom.input[i])
        });
        for y in 0..h {
            for x in if y < end[0] { end[1]..w } else { 0..w } {
                f(((image * h + y) * w + x) * self.params.cin);
            }
        }
    }

    /// The offsets in `[N, OH, OW, Cout]` of a tile's outputs, as far as they exist.
    pub(super) fn out(&self, tile: usize) -> TileWindow<M> {
        let (image, corner) = self.corner(tile);
        let axis = |axis: usize, pitch: usize| {
            std::array::from_fn(|i| {
                if corner[axis] + i < self.output[axis] {
                    (corner[axis] + i) * pitch
                } else {
                    OUTSIDE
                }
            })
        };
        let pitch = self.output[1] * self.params.cout;
        TileWindow {
            image: image * self.output[0] * pitch,
            rows: axis(0, pitch),
            columns: axis(1, self.params.cout),
        }
    }
}

/// The offset of a row or column outside the image: larger than any valid offset, and so is a sum
/// with one.
pub(super) const OUTSIDE: usize = 1 << (usize::BITS - 2);

/// The offsets in memory of the pixels of a tile.
pub(super) struct TileWindow<const N: usize> {
    image: usize,
    rows: [usize; N],
    columns: [usize; N],
}

impl<const N: usize> TileWindow<N> {
    /// Pointers to channel `channel` of the pixels of `base`, and to `outside` for pixels outside
    /// the image.
    #[inline(always)]
    pub(super) fn pointers(
        &self,
        base: *const f32,
        channel: usize,
        outside: *const f32,
    ) -> [[*const f32; N]; N] {
        let base = base.wrapping_add(self.image + channel);
        std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let at = self.rows[i] + self.columns[j];
                if at < OUTSIDE { base.wrapping_add(at) } else { outside }
            })
        })
    }

    /// [`pointers`](Self::pointers) for writing.
    #[inline(always)]
    pub(super) fn pointers_mut(
        &self,
        base: *mut f32,
        channel: usize,
        outside: *mut f32,
    ) -> [[*mut f32; N]; N] {
        self.pointers(base, channel, outside).map(|row| row.map(<*const f32>::cast_mut))
    }
}

/// A square of the values of `f` by row and column.
pub(super) fn square<V, const N: usize>(mut f: impl FnMut(usize, usize) -> V) -> [[V; N]; N] {
    std::array::from_fn(|i| std::array::from_fn(|j| f(i, j)))
}

/// The split into tasks: groups of images times shares of column blocks, by the shape alone.
pub(super) struct Plan {
    images: usize,
    groups: usize,
    pub(super) shares: Vec<Vec<Range<usize>>>,
}

impl Plan {
    /// With fewer groups than this, the columns are split too; each share transforms the images
    /// again.
    pub(super) const MIN_TASKS: usize = 4;

    pub(super) fn new(batch: usize, tiles_per_image: usize, columns: usize) -> Self {
        let max_images = (tiles_at_once() / tiles_per_image).max(1);
        // As few groups as possible, of nearly equal numbers of images.
        let groups = batch.div_ceil(max_images);
        let images = batch.div_ceil(groups);
        let groups = batch.div_ceil(images);
        let blocks = pieces(columns, BLOCK_N);
        let shares = Self::MIN_TASKS.div_ceil(groups).min(blocks.len());
        let shares = (0..shares)
            .map(|s| blocks[blocks.len() * s / shares..blocks.len() * (s + 1) / shares].to_vec())
            .collect();
        Self { images, groups, shares }
    }

    pub(super) fn tasks(&self) -> usize {
        self.groups * self.shares.len()
    }

    /// The most tiles of a task.
    pub(super) fn max_tiles(&self, batch: usize, per_image: usize) -> usize {
        self.images.min(batch) * per_image
    }

    /// The most blocks of columns of a task.
    pub(super) fn max_blocks(&self) -> usize {
        self.shares.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The tiles of a task, and its blocks of columns.
    pub(super) fn task(
        &self,
        task: usize,
        batch: usize,
        per_image: usize,
    ) -> (Range<usize>, &[Range<usize>]) {
        let first = task / self.shares.len() * self.images;
        let images = first..batch.min(first + self.images);
        (images.start * per_image..images.end * per_image, &self.shares[task % self.shares.len()])
    }
}

/// `range` in blocks of at most [`tiles_at_once`].
pub(super) fn tile_blocks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (end, max_tiles) = (range.end, tiles_at_once());
    range.step_by(max_tiles).map(move |start| start..end.min(start + max_tiles))
}
