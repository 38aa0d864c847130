// The input gradient of a convolution on images of CIN ≤ 4 channels, for which a tile of the
// product would be nearly empty: one thread per pixel computes all channels. The third axis of the
// grid counts the stride phases of the pixels, so adjacent threads read the same weights.
//#include grid

struct Params {
    pixels: u32,  // of the largest phase, of all images
    height: u32, width: u32,
    oh: u32, ow: u32,
    words: u32,   // of the output channels
    kernel_h: u32, kernel_w: u32,
    stride_h: u32, stride_w: u32,
    pad_top: u32, pad_left: u32,
    images: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<${WORD}>;
@group(0) @binding(2) var<storage, read> weight: array<${WORD}>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let rest = vec2<u32>(group.z / params.stride_w, group.z % params.stride_w);
    // Pixels of this phase down and across.
    let down = (max(params.height, rest.x) - rest.x + params.stride_h - 1u) / params.stride_h;
    let across = (max(params.width, rest.y) - rest.y + params.stride_w - 1u) / params.stride_w;
    let pixel = group_number(group, groups) * 256u + lane;
    if (pixel >= params.images * down * across) {
        return;
    }
    let image = pixel / (down * across);
    let iy = pixel / across % down * params.stride_h + rest.x;
    let ix = pixel % across * params.stride_w + rest.y;
//#for c CIN
    var sum_${c} = ${WORD}();
//#end
    // The taps that reach this pixel, and the output pixels that they belong to; beyond the border
    // the indices wrap to large values.
    var oy = (iy + params.pad_top) / params.stride_h;
    for (var ky = (iy + params.pad_top) % params.stride_h; ky < params.kernel_h;
        ky += params.stride_h) {
        var ox = (ix + params.pad_left) / params.stride_w;
        for (var kx = (ix + params.pad_left) % params.stride_w; kx < params.kernel_w;
            kx += params.stride_w) {
            if (oy < params.oh && ox < params.ow) {
                let from_dy = ((image * params.oh + oy) * params.ow + ox) * params.words;
                let from_weight = (ky * params.kernel_w + kx) * ${CIN}u * params.words;
                for (var co = 0u; co < params.words; co += 1u) {
                    let g = dy[from_dy + co];
//#for c CIN
                    sum_${c} = fma(g, weight[from_weight + ${c}u * params.words + co], sum_${c});
//#end
                }
            }
            ox -= 1u;
        }
        oy -= 1u;
    }
    let at = ((image * params.height + iy) * params.width + ix) * ${CIN}u;
//#for c CIN
//#if VEC
    dx[at + ${c}u] = (sum_${c}.x + sum_${c}.y) + (sum_${c}.z + sum_${c}.w);
//#else
    dx[at + ${c}u] = sum_${c};
//#end
//#end
}
