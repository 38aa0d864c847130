// The operands of a product and the address of its results, for `gemm.wgsl` and `coop.wgsl`:
// elements are gathered from images and weights in place.
//
// Conditions are joined by `|` and `&`. `||` and `&&` are branches, which a kernel has for each
// element that it fetches; SwiftShader took minutes and gigabytes to compile them.
struct Params {
    m: u32, n: u32, k: u32,
    tiles: u32,       // tiles of C in one matrix
    tiles_n: u32,     // tiles of C along n
    parts: u32,       // parts of k
    chunk: u32,       // length of a part of k
    // The convolution from images [images, height, width, cin] to [images, oh, ow, cout]; 0 for
    // matrices.
    height: u32, width: u32, cin: u32,
    oh: u32, ow: u32, cout: u32,
    kernel_h: u32, kernel_w: u32,
    stride_h: u32, stride_w: u32,
    pad_top: u32, pad_left: u32,
    images: u32,
    // Powers of two that gradients are multiplied by before they are rounded to half precision.
    scale_a: f32, scale_b: f32,
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

const NONE: u32 = 0xffffffffu;
//#if HALF
// Rounds to half precision. Finite values beyond its range become its largest value; infinity and
// NaN stay, so that the finite check finds them.
fn halved(x: vec4<f32>, scale: f32) -> vec4<f16> {
    let v = x * scale;
    let finite = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7f800000u)) != vec4<u32>(0x7f800000u);
    return vec4<f16>(select(v, sign(v) * 65504.0, (abs(v) > vec4<f32>(65504.0)) & finite));
}
//#end

// An index along k of a convolution: its tap, down and across, and its channel.
struct Tap { y: u32, x: u32, channel: u32 }
//#if INPUT_GRAD
var<private> taps_across: u32;
//#end

//#if WHOLE_TAPS
// The number of channels is a multiple of BK, so a tile of k has one tap, which is computed once
// for all threads.
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

// The part of the address of a row of A that does not depend on k; its meaning depends on the kind
// of product.
struct Row { base: u32, y: u32, x: u32 }

//#if MATRIX
// batch: the matrix of this workgroup. A is [m, k] (or [k, m] under TRANS_A), B is [k, n] (or [n,
// k] under TRANS_B).
fn row_of(m: u32, z: u32) -> Row {
    return Row(select(NONE, m, m < params.m), z / params.parts, 0u);
}

fn index_a(row: Row, k: u32, end: u32) -> u32 {
//#if TRANS_A
    let at = (row.y * params.k + k) * params.m + row.base;
//#else
    let at = (row.y * params.m + row.base) * params.k + k;
//#end
    return select(at, NONE, (row.base == NONE) | (k >= end));
}

fn index_b(k: u32, n: u32, end: u32, z: u32) -> u32 {
//#if TRANS_B
    let at = (z / params.parts * params.n + n) * params.k + k;
//#else
    let at = (z / params.parts * params.k + k) * params.n + n;
//#end
    return select(at, NONE, (n >= params.n) | (k >= end));
}
//#end

//#if FORWARD
// m: a pixel of the output; k: (ky, kx, ci); B is the weight, in place.
fn row_of(m: u32, z: u32) -> Row {
    let pixels = params.oh * params.ow;
    let image = m / pixels;
    let pixel = m % pixels;
    let base = image * params.height * params.width;
    return Row(select(NONE, base, m < params.m), pixel / params.ow * params.stride_h,
        pixel % params.ow * params.stride_w);
}

fn index_a(row: Row, k: u32, end: u32) -> u32 {
    let tap = tap_of(k);
    let y = row.y + tap.y - params.pad_top;
    let x = row.x + tap.x - params.pad_left;
    // Left of and above the image the subtraction wraps to a large number.
    let outside = (row.base == NONE) | (k >= end) | (y >= params.height) | (x >= params.width);
    return select((row.base + y * params.width + x) * params.cin + tap.channel, NONE, outside);
}

fn index_b(k: u32, n: u32, end: u32, z: u32) -> u32 {
    return select(k * params.n + n, NONE, (n >= params.n) | (k >= end));
}
//#end

//#if INPUT_GRAD
// z: a stride phase of the input's rows and columns, each a convolution of stride 1 with the taps
// that reach it. m: a pixel of that phase; k: (tap down, tap across, co).
fn phase(z: u32) -> vec2<u32> {
    return vec2<u32>(z / params.stride_w, z % params.stride_w);
}

fn first_tap(z: u32) -> vec2<u32> {
    let r = phase(z);
    return vec2<u32>((r.x + params.pad_top) % params.stride_h,
        (r.y + params.pad_left) % params.stride_w);
}

// Taps first, first + stride, … below the kernel's size.
fn taps(z: u32) -> vec2<u32> {
    let first = first_tap(z);
    let stride = vec2<u32>(params.stride_h, params.stride_w);
    let kernel = vec2<u32>(params.kernel_h, params.kernel_w);
    return (max(kernel, first) - first + stride - 1u) / stride;
}

fn pixels(z: u32) -> vec2<u32> {
    let r = phase(z);
    let stride = vec2<u32>(params.stride_h, params.stride_w);
    let size = vec2<u32>(params.height, params.width);
    return (max(size, r) - r + stride - 1u) / stride;
}

// base: the first pixel of the image in dy; y, x: the output row and column that the first tap of
// this pixel reads.
fn row_of(m: u32, z: u32) -> Row {
    let size = pixels(z);
    let per_image = max(size.x * size.y, 1u);
    let image = m / per_image;
    let pixel = m % per_image;
    let r = phase(z);
    let iy = pixel / max(size.y, 1u) * params.stride_h + r.x;
    let ix = pixel % max(size.y, 1u) * params.stride_w + r.y;
    let inside = (image < params.images) & (size.x * size.y > 0u);
    let base = image * params.oh * params.ow;
    return Row(select(NONE, base, inside), (iy + params.pad_top) / params.stride_h,
        (ix + params.pad_left) / params.stride_w);
}

fn index_a(row: Row, k: u32, end: u32) -> u32 {
    let tap = tap_of(k);
    let y = row.y - tap.y;
    let x = row.x - tap.x;
    let outside = (row.base == NONE) | (k >= end) | (y >= params.oh) | (x >= params.ow);
    return select((row.base + y * params.ow + x) * params.cout + tap.channel, NONE, outside);
}

fn index_b(k: u32, n: u32, end: u32, z: u32) -> u32 {
    let tap = tap_of(k);
    let first = first_tap(z);
    let ky = first.x + tap.y * params.stride_h;
    let kx = first.y + tap.x * params.stride_w;
    let at = ((ky * params.kernel_w + kx) * params.cin + n) * params.cout + tap.channel;
    return select(at, NONE, (n >= params.n) | (k >= end));
}
//#end

//#if WEIGHT_GRAD
// m: (ky, kx, ci); k: a pixel of dy, which is B, in place.
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
    let outside = (row.base == NONE) | (k >= end) | (y >= params.height) | (x >= params.width);
    return select(((k / per_image * params.height + y) * params.width + x) * params.cin + row.base,
        NONE, outside);
}

fn index_b(k: u32, n: u32, end: u32, z: u32) -> u32 {
    return select(k * params.n + n, NONE, (n >= params.n) | (k >= end));
}
//#end

// One element, or four along the operand's contiguous axis; zero outside the operand.
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

// The index of the first element of row m of C.
//#if INPUT_GRAD
fn row_of_c(m: u32, z: u32) -> u32 {
    let size = pixels(z);
    let per_image = size.x * size.y;
    if ((per_image == 0u) | (m >= params.images * per_image)) {
        return NONE;
    }
    let r = phase(z);
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
    let value = sum * (1.0 / (params.scale_a * params.scale_b));
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
