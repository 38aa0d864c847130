// Batch normalization over the last axis: x is [rows, channels]. Statistics and gradient sums take
// two passes: over parts of the rows, then over the parts in order, channel by channel.
//#include math
//#include grid

// The activation that follows, as a function of its argument.
//#if ACTIVATED
fn activate(x: f32) -> f32 {
    let slope = params.slope;
    return ${ACTIVATE};
}
//#end
//#if DERIVED
fn derivative(x: f32) -> f32 {
    let slope = params.slope;
    return ${DERIVATIVE};
}
//#end

//#if MOMENTS
// Count, mean and sum of squared deviations of a part of the rows: each thread about its first row,
// then merged by the formula of Chan, Golub and LeVeque (1979), which keeps the digits of the
// variance when the mean is large. Means are differences to the first row of all, which keeps
// theirs. A workgroup has 16 words of channels and 16 rows at a time.
struct Params { rows: u32, words: u32, parts: u32, chunk: u32, blocks: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<${WORD}>;
@group(0) @binding(2) var<storage, read_write> means: array<${WORD}>;
@group(0) @binding(3) var<storage, read_write> squares: array<${WORD}>;

var<workgroup> shared_mean: array<${WORD}, 256>;
var<workgroup> shared_square: array<${WORD}, 256>;
var<workgroup> shared_count: array<f32, 256>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let number = group_number(group, groups);
    if (number >= params.parts * params.blocks) {
        return;
    }
    let word = number % params.blocks * 16u + lane % 16u;
    let part = number / params.blocks;
    let start = part * params.chunk + lane / 16u;
    let end = min((part + 1u) * params.chunk, params.rows);
    var count = 0.0;
    var first = ${WORD}();
    var sum = ${WORD}();
    var square = ${WORD}();
    if (word < params.words && start < end) {
        first = x[start * params.words + word];
        for (var row = start; row < end; row += 16u) {
            let d = x[row * params.words + word] - first;
            sum += d;
            square += d * d;
            count += 1.0;
        }
        shared_mean[lane] = (first - x[word]) + sum / count;
        shared_square[lane] = max(square - sum * (sum / count), ${WORD}());
    } else {
        shared_mean[lane] = ${WORD}();
        shared_square[lane] = ${WORD}();
    }
    shared_count[lane] = count;
    for (var width = 128u; width >= 16u; width /= 2u) {
        workgroupBarrier();
        if (lane < width && shared_count[lane + width] > 0.0) {
            let na = shared_count[lane];
            let nb = shared_count[lane + width];
            let d = shared_mean[lane + width] - shared_mean[lane];
            shared_mean[lane] += d * (nb / (na + nb));
            shared_square[lane] += shared_square[lane + width] + d * d * (na * nb / (na + nb));
            shared_count[lane] = na + nb;
        }
    }
    if (lane < 16u && word < params.words) {
        means[part * params.words + word] = shared_mean[lane];
        squares[part * params.words + word] = shared_square[lane];
    }
}
//#end
//#if STATISTICS
// Merges the parts of each channel: mean, biased variance, and what normalizes: the scale and
// offset of x - first, where first is the channel's value in the first row, and mean - first. Where
// |mean| >> std, what rounding takes from the mean is not small next to the standard deviation;
// both differences keep their digits.
struct Params { channels: u32, rows: u32, parts: u32, chunk: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> means: array<f32>;
@group(0) @binding(2) var<storage, read> squares: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> gamma: array<f32>;
@group(0) @binding(5) var<storage, read> beta: array<f32>;
@group(0) @binding(6) var<storage, read_write> mean_: array<f32>;
@group(0) @binding(7) var<storage, read_write> variance_: array<f32>;
@group(0) @binding(8) var<storage, read_write> affine: array<f32>;

@compute @workgroup_size(64)
fn main(${BUILTINS}) {
    let c = group_number(group, groups) * 64u + lane;
    if (c >= params.channels) {
        return;
    }
    var count = 0.0;
    var mean = 0.0;
    var square = 0.0;
    for (var part = 0u; part < params.parts; part += 1u) {
        let n = f32(min(params.chunk, params.rows - part * params.chunk));
        let d = means[part * params.channels + c] - mean;
        square += squares[part * params.channels + c] + d * d * (count * n / (count + n));
        mean += d * (n / (count + n));
        count += n;
    }
    let variance = square / count;
    let scale = gamma[c] / sqrt(variance + params.eps);
    mean_[c] = x[c] + mean;
    variance_[c] = variance;
    affine[c] = scale;
    affine[params.channels + c] = beta[c] - mean * scale;
    affine[2u * params.channels + c] = mean;
}
//#end
//#if APPLY
// activation(x · scale + offset). PAIR: scale and offset are two buffers; BIAS: the offset alone;
// else activation((x - first) · scale + offset), with scale and offset in one buffer.
struct Params { count: u32, words: u32, slope: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<${WORD}>;
@group(0) @binding(2) var<storage, read> scale: array<${WORD}>;
//#if PAIR
@group(0) @binding(3) var<storage, read> offset: array<${WORD}>;
@group(0) @binding(4) var<storage, read_write> result: array<${WORD}>;
//#else
@group(0) @binding(3) var<storage, read_write> result: array<${WORD}>;
//#end

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i >= params.count) {
        return;
    }
    let c = i % params.words;
//#if PAIR
    let v = x[i] * scale[c] + offset[c];
//#else
//#if BIAS
    let v = x[i] + scale[c];
//#else
    let v = (x[i] - x[c]) * scale[c] + scale[params.words + c];
//#end
//#end
//#if VEC
    result[i] = vec4<f32>(activate(v.x), activate(v.y), activate(v.z), activate(v.w));
//#else
    result[i] = activate(v);
//#end
}
//#end
//#if GRADIENT_SUMS
// Σ g and Σ g · (x − first) of a part of the rows, g = dy · activation'((x − first) · scale +
// offset).
struct Params { rows: u32, words: u32, parts: u32, chunk: u32, blocks: u32, slope: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<${WORD}>;
@group(0) @binding(2) var<storage, read> dy: array<${WORD}>;
@group(0) @binding(3) var<storage, read> affine: array<${WORD}>;
@group(0) @binding(4) var<storage, read_write> sums: array<${WORD}>;
@group(0) @binding(5) var<storage, read_write> weighted: array<${WORD}>;

var<workgroup> shared_sum: array<${WORD}, 256>;
var<workgroup> shared_weighted: array<${WORD}, 256>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let number = group_number(group, groups);
    if (number >= params.parts * params.blocks) {
        return;
    }
    let word = number % params.blocks * 16u + lane % 16u;
    let part = number / params.blocks;
    let start = part * params.chunk + lane / 16u;
    let end = min((part + 1u) * params.chunk, params.rows);
    var sum = ${WORD}();
    var weight = ${WORD}();
    if (word < params.words) {
        let scale = affine[word];
        let offset = affine[params.words + word];
        let first = x[word];
        for (var row = start; row < end; row += 16u) {
            let centered = x[row * params.words + word] - first;
            let before = centered * scale + offset;
//#if VEC
            let slopes = vec4<f32>(derivative(before.x), derivative(before.y),
                derivative(before.z), derivative(before.w));
//#else
            let slopes = derivative(before);
//#end
            let g = dy[row * params.words + word] * slopes;
            sum += g;
            weight += g * centered;
        }
    }
    shared_sum[lane] = sum;
    shared_weighted[lane] = weight;
    for (var width = 128u; width >= 16u; width /= 2u) {
        workgroupBarrier();
        if (lane < width) {
            shared_sum[lane] += shared_sum[lane + width];
            shared_weighted[lane] += shared_weighted[lane + width];
        }
    }
    if (lane < 16u && word < params.words) {
        sums[part * params.words + word] = shared_sum[lane];
        weighted[part * params.words + word] = shared_weighted[lane];
    }
}
//#end
//#if GRADIENTS
// Adds the parts of each channel: dγ, dβ, and slope and constant (in `linear`) of dx = scale · g
// + slope · (x − first) + constant.
struct Params { channels: u32, rows: u32, parts: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read> weighted: array<f32>;
@group(0) @binding(3) var<storage, read> variance: array<f32>;
@group(0) @binding(4) var<storage, read> affine: array<f32>;
@group(0) @binding(5) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(6) var<storage, read_write> dbeta: array<f32>;
@group(0) @binding(7) var<storage, read_write> linear: array<f32>;

@compute @workgroup_size(64)
fn main(${BUILTINS}) {
    let c = group_number(group, groups) * 64u + lane;
    if (c >= params.channels) {
        return;
    }
    var sum = 0.0;
    var weight = 0.0;
    for (var part = 0u; part < params.parts; part += 1u) {
        sum += sums[part * params.channels + c];
        weight += weighted[part * params.channels + c];
    }
    let mean = affine[2u * params.channels + c];
    weight -= mean * sum;
    let rstd = 1.0 / sqrt(variance[c] + params.eps);
    let n = f32(params.rows);
    let scale = affine[c];
    let slope = -scale * rstd * rstd * weight / n;
    dgamma[c] = weight * rstd;
    dbeta[c] = sum;
    linear[c] = slope;
    linear[params.channels + c] = -scale * sum / n - slope * mean;
}
//#end
//#if GRADIENT
struct Params { count: u32, words: u32, slope: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<${WORD}>;
@group(0) @binding(2) var<storage, read> dy: array<${WORD}>;
@group(0) @binding(3) var<storage, read> affine: array<${WORD}>;
@group(0) @binding(4) var<storage, read> linear: array<${WORD}>;
@group(0) @binding(5) var<storage, read_write> dx: array<${WORD}>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i >= params.count) {
        return;
    }
    let c = i % params.words;
    let centered = x[i] - x[c];
    let before = centered * affine[c] + affine[params.words + c];
//#if VEC
    let slopes = vec4<f32>(derivative(before.x), derivative(before.y), derivative(before.z),
        derivative(before.w));
//#else
    let slopes = derivative(before);
//#end
    dx[i] = affine[c] * dy[i] * slopes + linear[c] * centered + linear[params.words + c];
}
//#end
