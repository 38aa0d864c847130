//! The matrix product under `matmul` and the convolutions: tiles, the split of k (split-k), and
//! which kernel computes which sizes.

use super::launch::each;
use crate::descriptors::{LossScaledOperand, is_batch_invariant};
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::context::Gpu;
use crate::gpu::dispatch::{Dispatch, Params};
use crate::gpu::shader::ShaderSpec;

/// The operands of a product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ProductKind {
    /// Matrices, transposed or not.
    Matrix { trans_a: bool, trans_b: bool },
    /// Patches of images by a weight.
    Forward,
    /// Output gradients by a weight, for each stride phase of the input's pixels.
    InputGrad,
    /// Patches of images, transposed, by output gradients.
    WeightGrad,
}

/// The sizes of the part of C that a workgroup computes. The choice changes no bit of a result.
#[derive(Clone, Copy, Debug)]
struct Tile {
    m: usize,
    n: usize,
    /// The tile's depth in k: larger tiles are less deep, to fit into shared memory.
    k: usize,
    /// Blocks of 4 × 4 per thread, down and across.
    blocks: [usize; 2],
    /// Speed relative to the fastest tile when all tiles are full.
    rate: f64,
}

/// Parts of k are multiples of this, which is a multiple of every tile's depth.
const DEPTH: usize = 16;
const TILES: [Tile; 3] = [
    Tile { m: 128, n: 128, k: 8, blocks: [2, 2], rate: 1.0 },
    Tile { m: 64, n: 64, k: 16, blocks: [2, 2], rate: 0.8 },
    Tile { m: 32, n: 32, k: 16, blocks: [1, 1], rate: 0.4 },
];

impl Tile {
    fn threads(&self) -> [usize; 2] {
        [self.n / (4 * self.blocks[1]), self.m / (4 * self.blocks[0])]
    }

    fn count(&self, m: usize, n: usize) -> usize {
        m.div_ceil(self.m) * n.div_ceil(self.n)
    }

    /// The tile that wastes least on the edges of C and on idle processors.
    fn choose(gpu: &Gpu, m: usize, n: usize, depth: usize) -> Self {
        if let Some(tile) = gpu.tile().and_then(|tile| TILES.get(tile)) {
            return *tile;
        }
        // Threads that keep an adapter busy.
        let (threads, limit) = (gpu.threads(), gpu.largest_group());
        let score = |tile: &Tile| {
            let groups = tile.count(m, n) * depth;
            let own: usize = tile.threads().iter().product();
            let busy = ((groups * own) as f64 / threads).min(1.0);
            let used = (m * n) as f64 / (tile.count(m, n) * tile.m * tile.n) as f64;
            tile.rate * busy * used
        };
        let fits = TILES.iter().filter(|tile| tile.threads().iter().product::<usize>() <= limit);
        *fits.max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(&TILES[2])
    }
}

/// One product.
pub(super) struct Product<'a> {
    pub kind: ProductKind,
    pub a: &'a GpuBuffer,
    pub b: &'a GpuBuffer,
    /// C is `m × n`, per matrix of the batch or, for the input gradient, per stride phase (the
    /// largest).
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Matrices in the batch, or stride phases.
    pub depth: usize,
    /// Elements of C.
    pub len: usize,
    /// The length of the axis along which each operand and C are contiguous.
    pub contiguous: [usize; 3],
    /// The convolution's sizes, as in the shader's `Params` from `height` on.
    pub convolution: [usize; 13],
    /// The operand that is a gradient and therefore small.
    pub scaled: LossScaledOperand,
}

/// The factor of gradients before they are rounded to half precision (loss scaling), a power of
/// two. Means over a batch make gradients small, and half precision ranges from 6e-8 to 65504.
const LOSS_SCALE: f32 = 1024.0;

/// How a kernel reads its operands and writes C.
#[derive(Clone, Copy)]
struct Access {
    kind: ProductKind,
    /// Whether A, B and C are read and written four elements at a time.
    vec: [bool; 3],
    /// Whether a tile of k is inside one tap of the convolution's kernel.
    whole_taps: bool,
}

impl Access {
    fn trans(&self) -> (bool, bool) {
        match self.kind {
            ProductKind::Matrix { trans_a, trans_b } => (trans_a, trans_b),
            _ => (false, false),
        }
    }

    /// Whether A and B are contiguous along k.
    fn along(&self) -> (bool, bool) {
        let (trans_a, trans_b) = self.trans();
        (
            !trans_a && self.kind != ProductKind::WeightGrad,
            trans_b || self.kind == ProductKind::InputGrad,
        )
    }

    /// The kernel `file` with the values that `operands.wgsl` needs.
    fn spec(&self, file: &'static str, half: bool) -> ShaderSpec {
        let kind = self.kind;
        let ((trans_a, trans_b), (along_a, along_b)) = (self.trans(), self.along());
        ShaderSpec::new(file)
            .flag("HALF", half)
            .flag("WHOLE_TAPS", self.whole_taps)
            .flag("MATRIX", matches!(kind, ProductKind::Matrix { .. }))
            .flag("FORWARD", kind == ProductKind::Forward)
            .flag("INPUT_GRAD", kind == ProductKind::InputGrad)
            .flag("WEIGHT_GRAD", kind == ProductKind::WeightGrad)
            .flag("TRANS_A", trans_a)
            .flag("TRANS_B", trans_b)
            .flag("ALONG_K_A", along_a)
            .flag("ALONG_K_B", along_b)
            .flag("VEC_A", self.vec[0])
            .flag("VEC_B", self.vec[1])
            .flag("VEC_C", self.vec[2])
    }
}

fn spec(access: Access, tile: Tile, half: bool) -> ShaderSpec {
    let [tx, ty] = tile.threads();
    let threads = tx * ty;
    // Four elements at a time, or, along k, blocks of 4 × 4 that are transposed in registers.
    let (along_a, along_b) = access.along();
    let loads =
        |side: usize, along: bool| (side * tile.k / if along { 16 } else { 4 }).div_ceil(threads);
    access
        .spec("gemm", half)
        .flag("SUM_PARTS", false)
        .number("BM", tile.m)
        .number("BN", tile.n)
        .number("BK", tile.k)
        .number("TX", tx)
        .number("THREADS", threads)
        .number("RM", tile.blocks[0])
        .number("RN", tile.blocks[1])
        .number("LOADS_A", loads(tile.m, along_a))
        .number("LOADS_B", loads(tile.n, along_b))
}

/// By cooperative matrices of `block` × `block`, 8 or 16: a tile of 4 × 4 of them per subgroup of
/// 32 threads.
fn coop_spec(access: Access, block: usize) -> ShaderSpec {
    access
        .spec("coop", true)
        .number("BLOCK", block)
        .number("LOADS", 4 * block * DEPTH / 4 / 32)
        .number("DEEP", DEPTH / block)
}

fn sum_spec() -> ShaderSpec {
    ShaderSpec::new("gemm").entry("sum_parts").flag("SUM_PARTS", true).flag("HALF", false)
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    let mut all = vec![sum_spec()];
    let both = [false, true];
    let matrices = both
        .into_iter()
        .flat_map(|trans_a| both.map(|trans_b| ProductKind::Matrix { trans_a, trans_b }));
    for kind in
        matrices.chain([ProductKind::Forward, ProductKind::InputGrad, ProductKind::WeightGrad])
    {
        for (bits, whole_taps) in (0..8).flat_map(|bits| both.map(|whole| (bits, whole))) {
            let vec = [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0];
            if whole_taps
                && !(vec[0] && matches!(kind, ProductKind::Forward | ProductKind::InputGrad))
            {
                continue;
            }
            let access = Access { kind, vec, whole_taps };
            all.extend(TILES.map(|tile| spec(access, tile, false)));
            if !matches!(kind, ProductKind::Matrix { .. }) {
                all.extend(TILES.map(|tile| spec(access, tile, true)));
                all.extend([8, 16].map(|block| coop_spec(access, block)));
            }
        }
    }
    all
}

/// The number of parts that k is split into, so that small results occupy the adapter and long sums
/// keep their digits: a function of the sizes alone.
fn parts(m: usize, n: usize, k: usize, depth: usize) -> usize {
    let least = k.div_ceil(8192);
    if is_batch_invariant() {
        return least;
    }
    let tiles = m.div_ceil(64) * n.div_ceil(64) * depth;
    512usize.div_ceil(tiles).min(k / 256).min(256).max(least)
}

impl Product<'_> {
    pub(super) fn run(&self) -> GpuBuffer {
        let gpu = self.a.gpu();
        let parts = if self.kind == ProductKind::InputGrad {
            1
        } else {
            parts(self.m, self.n, self.k, self.depth)
        };
        // Parts are whole tiles of k, so a vector of four along k belongs to one part.
        let chunk = self.k.div_ceil(parts).next_multiple_of(DEPTH);
        let parts = self.k.div_ceil(chunk);
        let depth = self.depth * parts;
        // Plain products (a generator's first layer, a discriminator's last) take little time and
        // keep single precision.
        let half = gpu.is_half() && !matches!(self.kind, ProductKind::Matrix { .. });
        let coop = gpu.cooperative().filter(|_| half);
        let tile = match coop {
            Some(block) => Tile { m: 4 * block, n: 4 * block, k: DEPTH, blocks: [1, 1], rate: 1.0 },
            None => Tile::choose(gpu, self.m, self.n, depth),
        };
        let whole_taps = matches!(self.kind, ProductKind::Forward | ProductKind::InputGrad)
            && self.contiguous[0].is_multiple_of(tile.k);
        let access = Access {
            kind: self.kind,
            vec: self.contiguous.map(|len| len.is_multiple_of(4)),
            whole_taps,
        };
        let tiles = tile.count(self.m, self.n);
        let out =
            GpuBuffer::uninit(gpu, if parts == 1 { self.len } else { self.m * self.n * depth });
        let sizes = [self.m, self.n, self.k, tiles, self.n.div_ceil(tile.n), parts, chunk];
        let scales = [LossScaledOperand::First, LossScaledOperand::Second]
            .map(|own| if self.scaled == own { LOSS_SCALE } else { 1.0 });
        gpu.run(&Dispatch {
            spec: coop.map_or_else(|| spec(access, tile, half), |block| coop_spec(access, block)),
            inputs: &[self.a, self.b],
            outputs: &[&out],
            params: Params::new().sizes(sizes).sizes(self.convolution).floats(scales),
            groups: tiles as u64,
            depth: depth as u64,
            work: 2.0 * self.m as f64 * self.n as f64 * self.k as f64 * self.depth as f64,
        });
        if parts == 1 {
            return out;
        }
        let sum = GpuBuffer::uninit(gpu, self.len);
        each(sum_spec(), &[&out], &sum, 1, |p| p.sizes([parts, self.m * self.n]));
        sum
    }
}

/// op(a) · op(b) for each of `batch` pairs.
pub(crate) fn matmul(
    a: &GpuBuffer,
    b: &GpuBuffer,
    batch: usize,
    [m, k, n]: [usize; 3],
    trans_a: bool,
    trans_b: bool,
) -> GpuBuffer {
    let contiguous = [if trans_a { m } else { k }, if trans_b { k } else { n }, n];
    let kind = ProductKind::Matrix { trans_a, trans_b };
    Product {
        kind,
        a,
        b,
        m,
        n,
        k,
        depth: batch,
        len: batch * m * n,
        contiguous,
        convolution: [0; 13],
        scaled: LossScaledOperand::Neither,
    }
    .run()
}
