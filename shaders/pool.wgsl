// Pooling windows over NHWC images, one thread per element of the result. Indices are relative to
// their image.
//#include math
//#include grid

struct Params {
    count: u32,
    height: u32, width: u32, channels: u32,
    oh: u32, ow: u32,
    kernel_h: u32, kernel_w: u32,
    stride_h: u32, stride_w: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

// The windows that cover an index along one axis: the first, and one past the last.
fn windows(at: u32, kernel: u32, stride: u32, count: u32) -> vec2<u32> {
    let first = (max(at + 1u, kernel) - kernel + stride - 1u) / stride;
    return vec2<u32>(first, min(at / stride + 1u, count));
}

//#if ARGMAX
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;

// The first of equals; a NaN counts as the largest.
fn pooled(i: u32) -> u32 {
    let c = i % params.channels;
    let ox = i / params.channels % params.ow;
    let oy = i / (params.channels * params.ow) % params.oh;
    let image = i / (params.channels * params.ow * params.oh) * params.height * params.width
        * params.channels;
    var best = (oy * params.stride_h * params.width + ox * params.stride_w) * params.channels + c;
    var largest = x[image + best];
    for (var ky = 0u; ky < params.kernel_h; ky += 1u) {
        for (var kx = 0u; kx < params.kernel_w; kx += 1u) {
            let at = ((oy * params.stride_h + ky) * params.width + ox * params.stride_w + kx)
                * params.channels + c;
            let v = x[image + at];
            if (v > largest || (is_nan(v) && !is_nan(largest))) {
                best = at;
                largest = v;
            }
        }
    }
    return best;
}
//#end
//#if GATHER
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

fn pooled(i: u32) -> f32 {
    let image = i / (params.channels * params.ow * params.oh) * params.height * params.width
        * params.channels;
    return x[image + index[i]];
}
//#end
//#if SCATTER
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

// The adjoint of GATHER: each pixel adds, in order, the gradients of the windows that chose it.
fn pooled(i: u32) -> f32 {
    let c = i % params.channels;
    let size = params.height * params.width * params.channels;
    let own = i % size;
    let rows = windows(own / params.channels / params.width, params.kernel_h, params.stride_h,
        params.oh);
    let columns = windows(own / params.channels % params.width, params.kernel_w, params.stride_w,
        params.ow);
    var sum = 0.0;
    for (var oy = rows.x; oy < rows.y; oy += 1u) {
        for (var ox = columns.x; ox < columns.y; ox += 1u) {
            let at = ((i / size * params.oh + oy) * params.ow + ox) * params.channels + c;
            sum += select(0.0, dy[at], index[at] == own);
        }
    }
    return sum;
}
//#end
//#if AVERAGE
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

fn pooled(i: u32) -> f32 {
    let c = i % params.channels;
    let ox = i / params.channels % params.ow;
    let oy = i / (params.channels * params.ow) % params.oh;
    let image = i / (params.channels * params.ow * params.oh) * params.height;
    var sum = 0.0;
    for (var ky = 0u; ky < params.kernel_h; ky += 1u) {
        for (var kx = 0u; kx < params.kernel_w; kx += 1u) {
            sum += x[((image + oy * params.stride_h + ky) * params.width + ox * params.stride_w
                + kx) * params.channels + c];
        }
    }
    return sum / f32(params.kernel_h * params.kernel_w);
}
//#end
//#if AVERAGE_GRAD
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

fn pooled(i: u32) -> f32 {
    let c = i % params.channels;
    let size = params.height * params.width * params.channels;
    let own = i % size;
    let rows = windows(own / params.channels / params.width, params.kernel_h, params.stride_h,
        params.oh);
    let columns = windows(own / params.channels % params.width, params.kernel_w, params.stride_w,
        params.ow);
    var sum = 0.0;
    for (var oy = rows.x; oy < rows.y; oy += 1u) {
        for (var ox = columns.x; ox < columns.y; ox += 1u) {
            sum += dy[((i / size * params.oh + oy) * params.ow + ox) * params.channels + c];
        }
    }
    return sum / f32(params.kernel_h * params.kernel_w);
}
//#end

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        result[i] = pooled(i);
    }
}
