// C[m, n] = Σ_k A[m, k] · B[k, n] by tiles, for matrix products and for the three convolutions, whose A is gathered from the images where
// they lie (no patch matrix). The third axis of the grid counts the matrices of a batch times the parts of k (matrix, and SPLIT for any), or
// the residues of a strided input gradient.
//
// Each number of C is one chain of fused multiply-adds over ascending k of its part, whatever the tile; parts are added by `sum_parts`, in order.
//
// A workgroup computes BM × BN numbers; each of its TX × TY threads RM × RN blocks of 4 × 4 of them. Both operands pass through shared memory
// as [k][m] and [k][n], BK deep, with one unused vector behind each k against bank conflicts; the next tile is fetched into registers while this one is multiplied.
//
// HALF: the tiles are rounded to half precision, output gradients times a power of two so that small ones are not lost; sums stay in single.
//#if HALF
enable f16;
//#end
//#include grid

//#if SUM_PARTS
struct Params { count: u32, parts: u32, len: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn sum_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        let base = i / params.len * params.parts * params.len + i % params.len;
        var sum = parts[base];
        for (var part = 1u; part < params.parts; part += 1u) {
            sum += parts[base + part * params.len];
        }
        result[i] = sum;
    }
}
//#else
struct Params {
    m: u32, n: u32, k: u32,
    tiles: u32,       // tiles of C in one matrix
    tiles_n: u32,     // of them, side by side
    parts: u32,       // of k
    chunk: u32,       // of k, in one part
    // The convolution from images [images, height, width, cin] to [images, oh, ow, cout]; 0 for matrices.
    height: u32, width: u32, cin: u32,
    oh: u32, ow: u32, cout: u32,
    kernel_h: u32, kernel_w: u32,
    stride_h: u32, stride_w: u32,
    pad_top: u32, pad_left: u32,
    images: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
//#if VEC_A
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
//#else
@group(0) @binding(1) var<storage, read> a: array<f32>;
//#end
//#if VEC_B
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
//#else
@group(0) @binding(2) var<storage, read> b: array<f32>;
//#end
//#if VEC_C
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;
//#else
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
//#end

const BM: u32 = ${BM}u;
const BN: u32 = ${BN}u;
const BK: u32 = ${BK}u;
const LINE_A: u32 = BM / 4u + 1u;
const LINE_B: u32 = BN / 4u + 1u;
const TX: u32 = ${TX}u;
const THREADS: u32 = ${THREADS}u;
const NONE: u32 = 0xffffffffu;

//#if HALF
alias One = f16;
alias Four = vec4<f16>;
const SCALE_A: f32 = ${SCALE_A};
const SCALE_B: f32 = ${SCALE_B};
//#else
alias One = f32;
alias Four = vec4<f32>;
//#end

var<workgroup> tile_a: array<Four, ${BK} * (${BM} / 4 + 1)>;
var<workgroup> tile_b: array<Four, ${BK} * (${BN} / 4 + 1)>;

// A position along k of a convolution: its tap, down and across, and its channel.
struct Tap { y: u32, x: u32, channel: u32 }
//#if INPUT_GRAD
var<private> taps_across: u32;
//#end

//#if WHOLE_TAPS
// The channels are a multiple of BK, so that a tile of k has one tap, which is found once for all threads.
var<private> tile_tap: Tap;
var<private> tile_start: u32;

fn tap_of(k: u32) -> Tap {
    return Tap(tile_tap.y, tile_tap.x, tile_tap.channel + (k - tile_start));
}
//#else
fn tap_of(k: u32) -> Tap {
    return divide(k);
}
//#end

fn divide(k: u32) -> Tap {
//#if INPUT_GRAD
    let channels = params.cout;
    let across = max(taps_across, 1u);
//#else
    let channels = max(params.cin, 1u);
    let across = max(params.kernel_w, 1u);
//#end
    let tap = k / channels;
    return Tap(tap / across, tap % across, k % channels);
}

// What is known of a row of A (or of C, where they share it) before k is: meaning by kind.
struct Row { base: u32, y: u32, x: u32 }

//#if MATRIX
// batch: the matrix of this workgroup. A is [m, k] (or [k, m] under TRANS_A), B is [k, n] (or [n, k] under TRANS_B).
fn row_of(m: u32, z: u32) -> Row {
    return Row(select(NONE, m, m < params.m), z / params.parts, 0u);
}

fn index_a(row: Row, k: u32, end: u32) -> u32 {
//#if TRANS_A
    let at = (row.y * params.k + k) * params.m + row.base;
//#else
    let at = (row.y * params.m + row.base) * params.k + k;
//#end
    return select(at, NONE, row.base == NONE || k >= end);
}

fn index_b(k: u32, n: u32, end: u32, z: u32) -> u32 {
//#if TRANS_B
    let at = (z / params.parts * params.n + n) * params.k + k;
//#else
    let at = (z / params.parts * params.k + k) * params.n + n;
//#end
    return select(at, NONE, n >= params.n || k >= end);
}
//#end

//#if FORWARD
// m: a pixel of the output; k: (ky, kx, ci); the weight is B as it lies.
fn row_of(m: u32, z: u32) -> Row {
    let pixels = params.oh * params.ow;
    let image = m / pixels;
    let pixel = m % pixels;
    let base = image * params.height * params.width;
    return Row(select(NONE, base, m < params.m), pixel / params.ow * params.stride_h, pixel % params.ow * params.stride_w);
}

fn index_a(row: Row, k: u32, end: u32) -> u32 {
    let tap = tap_of(k);
    let y = row.y + tap.y - params.pad_top;
    let x = row.x + tap.x - params.pad_left;
    // Left of and above the image the subtraction wraps to a large number.
    let outside = row.base == NONE || k >= end || y >= params.height || x >= params.width;
    return select((row.base + y * params.width + x) * params.cin + tap.channel, NONE, outside);
}

fn index_b(k: u32, n: u32, end: u32, z: u32) -> u32 {
    return select(k * params.n + n, NONE, n >= params.n || k >= end);
}
//#end

//#if INPUT_GRAD
// z: a residue of the input's rows and columns by the stride, each a convolution of stride 1 with the taps that reach it. m: a pixel of
// that residue; k: (tap down, tap across, co).
fn residue(z: u32) -> vec2<u32> {
    return vec2<u32>(z / params.stride_w, z % params.stride_w);
}

fn first_tap(z: u32) -> vec2<u32> {
    let r = residue(z);
    return vec2<u32>((r.x + params.pad_top) % params.stride_h, (r.y + params.pad_left) % params.stride_w);
}

// Taps first, first + stride, … below the kernel's size.
fn taps(z: u32) -> vec2<u32> {
    let first = first_tap(z);
    let stride = vec2<u32>(params.stride_h, params.stride_w);
    let kernel = vec2<u32>(params.kernel_h, params.kernel_w);
    return (max(kernel, first) - first + stride - 1u) / stride;
}

fn pixels(z: u32) -> vec2<u32> {
    let r = residue(z);
    let stride = vec2<u32>(params.stride_h, params.stride_w);
    let size = vec2<u32>(params.height, params.width);
    return (max(size, r) - r + stride - 1u) / stride;
}

// base: the first pixel of the image in dy; y, x: the output row and column that the first tap of this pixel reads.
fn row_of(m: u32, z: u32) -> Row {
    let size = pixels(z);
    let per_image = max(size.x * size.y, 1u);
    let image = m / per_image;
    let pixel = m % per_image;
    let r = residue(z);
    let iy = pixel / max(size.y, 1u) * params.stride_h + r.x;
    let ix = pixel % max(size.y, 1u) * params.stride_w + r.y;
    let inside = image < params.images && size.x * size.y > 0u;
    let base = image * params.oh * params.ow;
    return Row(select(NONE, base, inside), (iy + params.pad_top) / params.stride_h, (ix + params.pad_left) / params.stride_w);
}

fn index_a(row: Row, k: u32, end: u32) -> u32 {
    let tap = tap_of(k);
    let y = row.y - tap.y;
    let x = row.x - tap.x;
    let outside = row.base == NONE || k >= end || y >= params.oh || x >= params.ow;
    return select((row.base + y * params.ow + x) * params.cout + tap.channel, NONE, outside);
}

fn index_b(k: u32, n: u32, end: u32, z: u32) -> u32 {
    let tap = tap_of(k);
    let first = first_tap(z);
    let ky = first.x + tap.y * params.stride_h;
    let kx = first.y + tap.x * params.stride_w;
    let at = ((ky * params.kernel_w + kx) * params.cin + n) * params.cout + tap.channel;
    return select(at, NONE, n >= params.n || k >= end);
}
//#end

//#if WEIGHT_GRAD
// m: (ky, kx, ci); k: a pixel of dy, which is B as it lies.
fn row_of(m: u32, z: u32) -> Row {
    let tap = m / params.cin;
    let base = m % params.cin;
    return Row(select(NONE, base, m < params.m), tap / params.kernel_w, tap % params.kernel_w);
}

fn index_a(row: Row, k: u32, end: u32) -> u32 {
    let per_image = params.oh * params.ow;
    let pixel = k % per_image;
    let y = pixel / params.ow * params.stride_h + row.y - params.pad_top;
    let x = pixel % params.ow * params.stride_w + row.x - params.pad_left;
    let outside = row.base == NONE || k >= end || y >= params.height || x >= params.width;
    return select(((k / per_image * params.height + y) * params.width + x) * params.cin + row.base, NONE, outside);
}

fn index_b(k: u32, n: u32, end: u32, z: u32) -> u32 {
    return select(k * params.n + n, NONE, n >= params.n || k >= end);
}
//#end

// One number, or four along the operand's contiguous axis; zero where there is none.
//#if VEC_A
fn four_a(row: Row, k: u32, end: u32) -> vec4<f32> {
    let at = index_a(row, k, end);
    if (at == NONE) {
        return vec4<f32>();
    }
    return a[at / 4u];
}
//#else
fn one_a(row: Row, k: u32, end: u32) -> f32 {
    let at = index_a(row, k, end);
    if (at == NONE) {
        return 0.0;
    }
    return a[at];
}
//#end
//#if VEC_B
fn four_b(k: u32, n: u32, end: u32, z: u32) -> vec4<f32> {
    let at = index_b(k, n, end, z);
    if (at == NONE) {
        return vec4<f32>();
    }
    return b[at / 4u];
}
//#else
fn one_b(k: u32, n: u32, end: u32, z: u32) -> f32 {
    let at = index_b(k, n, end, z);
    if (at == NONE) {
        return 0.0;
    }
    return b[at];
}
//#end

// Where row m of C begins.
//#if INPUT_GRAD
fn row_of_c(m: u32, z: u32) -> u32 {
    let size = pixels(z);
    let per_image = size.x * size.y;
    if (per_image == 0u || m >= params.images * per_image) {
        return NONE;
    }
    let r = residue(z);
    let pixel = m % per_image;
    let iy = pixel / size.y * params.stride_h + r.x;
    let ix = pixel % size.y * params.stride_w + r.y;
    return ((m / per_image * params.height + iy) * params.width + ix) * params.cin;
}
//#else
fn row_of_c(m: u32, z: u32) -> u32 {
    return select((z * params.m + m) * params.n, NONE, m >= params.m);
}
//#end

fn store(m: u32, n: u32, z: u32, sum: vec4<f32>) {
//#if HALF
    let value = sum * (1.0 / (SCALE_A * SCALE_B));
//#else
    let value = sum;
//#end
    let at = row_of_c(m, z);
    if (at == NONE) {
        return;
    }
//#if VEC_C
    if (n < params.n) {
        c[(at + n) / 4u] = value;
    }
//#else
//#for i 4
    if (n + ${i}u < params.n) {
        c[at + n + ${i}u] = value[${i}];
    }
//#end
//#end
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = group_number(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let z = group.z;
    let first_m = tile / params.tiles_n * BM;
    let first_n = tile % params.tiles_n * BN;
    let tx = lane % TX;
    let ty = lane / TX;
//#if INPUT_GRAD
    let reach = taps(z);
    taps_across = reach.y;
    let begin = 0u;
    let end = reach.x * reach.y * params.cout;
//#else
    let begin = z % params.parts * params.chunk;
    let end = min(begin + params.chunk, params.k);
//#end

    // Which four numbers of each tile this thread fetches.
//#for l LOADS_A
//#if ALONG_K_A
    let ma_${l} = (lane + ${l}u * THREADS) / (BK / 4u);
    let ka_${l} = (lane + ${l}u * THREADS) % (BK / 4u) * 4u;
    let row_${l} = row_of(first_m + ma_${l}, z);
//#else
    let ma_${l} = (lane + ${l}u * THREADS) % (BM / 4u) * 4u;
    let ka_${l} = (lane + ${l}u * THREADS) / (BM / 4u);
    let row_${l} = row_of(first_m + ma_${l}, z);
//#if !VEC_A
    let row1_${l} = row_of(first_m + ma_${l} + 1u, z);
    let row2_${l} = row_of(first_m + ma_${l} + 2u, z);
    let row3_${l} = row_of(first_m + ma_${l} + 3u, z);
//#end
//#end
    var fetched_a_${l}: vec4<f32>;
//#end
//#for l LOADS_B
//#if ALONG_K_B
    let nb_${l} = (lane + ${l}u * THREADS) / (BK / 4u);
    let kb_${l} = (lane + ${l}u * THREADS) % (BK / 4u) * 4u;
//#else
    let nb_${l} = (lane + ${l}u * THREADS) % (BN / 4u) * 4u;
    let kb_${l} = (lane + ${l}u * THREADS) / (BN / 4u);
//#end
    var fetched_b_${l}: vec4<f32>;
//#end

//#for r RM
//#for i 4
//#for s RN
    var sum_${r}_${i}_${s} = vec4<f32>();
//#end
//#end
//#end

    var next = begin;
    loop {
//#if WHOLE_TAPS
        tile_tap = divide(next);
        tile_start = next;
//#end
        // Fetch the tile at `next`; past the end it is all zeros and not used.
//#for l LOADS_A
//#if VEC_A
        fetched_a_${l} = four_a(row_${l}, next + ka_${l}, end);
//#else
//#if ALONG_K_A
        fetched_a_${l} = vec4<f32>(
            one_a(row_${l}, next + ka_${l}, end), one_a(row_${l}, next + ka_${l} + 1u, end),
            one_a(row_${l}, next + ka_${l} + 2u, end), one_a(row_${l}, next + ka_${l} + 3u, end));
//#else
        fetched_a_${l} = vec4<f32>(
            one_a(row_${l}, next + ka_${l}, end), one_a(row1_${l}, next + ka_${l}, end),
            one_a(row2_${l}, next + ka_${l}, end), one_a(row3_${l}, next + ka_${l}, end));
//#end
//#end
//#end
//#for l LOADS_B
//#if VEC_B
        fetched_b_${l} = four_b(next + kb_${l}, first_n + nb_${l}, end, z);
//#else
//#if ALONG_K_B
        fetched_b_${l} = vec4<f32>(
            one_b(next + kb_${l}, first_n + nb_${l}, end, z), one_b(next + kb_${l} + 1u, first_n + nb_${l}, end, z),
            one_b(next + kb_${l} + 2u, first_n + nb_${l}, end, z), one_b(next + kb_${l} + 3u, first_n + nb_${l}, end, z));
//#else
        fetched_b_${l} = vec4<f32>(
            one_b(next + kb_${l}, first_n + nb_${l}, end, z), one_b(next + kb_${l}, first_n + nb_${l} + 1u, end, z),
            one_b(next + kb_${l}, first_n + nb_${l} + 2u, end, z), one_b(next + kb_${l}, first_n + nb_${l} + 3u, end, z));
//#end
//#end
//#end

        // Multiply the tile before it (there is none in the first round, whose sums stay zero).
        if (next > begin) {
            for (var kk = 0u; kk < BK; kk += 1u) {
//#for r RM
                let a_${r} = vec4<f32>(tile_a[kk * LINE_A + ${r}u * (BM / 4u / ${RM}u) + ty]);
//#end
//#for s RN
                let b_${s} = vec4<f32>(tile_b[kk * LINE_B + ${s}u * (BN / 4u / ${RN}u) + tx]);
//#end
//#for r RM
//#for i 4
//#for s RN
                sum_${r}_${i}_${s} = fma(vec4<f32>(a_${r}[${i}]), b_${s}, sum_${r}_${i}_${s});
//#end
//#end
//#end
            }
        }
        if (next >= end) {
            break;
        }
        workgroupBarrier();
//#if HALF
//#for l LOADS_A
        fetched_a_${l} *= SCALE_A;
//#end
//#for l LOADS_B
        fetched_b_${l} *= SCALE_B;
//#end
//#end
//#for l LOADS_A
//#if ALONG_K_A
//#for i 4
        tile_a[(ka_${l} + ${i}u) * LINE_A + ma_${l} / 4u][ma_${l} % 4u] = One(fetched_a_${l}[${i}]);
//#end
//#else
        tile_a[ka_${l} * LINE_A + ma_${l} / 4u] = Four(fetched_a_${l});
//#end
//#end
//#for l LOADS_B
//#if ALONG_K_B
//#for i 4
        tile_b[(kb_${l} + ${i}u) * LINE_B + nb_${l} / 4u][nb_${l} % 4u] = One(fetched_b_${l}[${i}]);
//#end
//#else
        tile_b[kb_${l} * LINE_B + nb_${l} / 4u] = Four(fetched_b_${l});
//#end
//#end
        workgroupBarrier();
        next += BK;
    }

//#for r RM
//#for i 4
//#for s RN
    store(first_m + ${r}u * (BM / ${RM}u) + ty * 4u + ${i}u, first_n + ${s}u * (BN / ${RN}u) + tx * 4u, z, sum_${r}_${i}_${s});
//#end
//#end
//#end
}
//#end
