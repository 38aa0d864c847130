// Copies between shapes.
//#include grid

//#if FILL
struct Params { count: u32, value: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        result[i] = vec4<f32>(params.value);
    }
}
//#end
//#if COPY
// Axes innermost first. The target's elements are distinct.
struct Params {
    count: u32,
    source_start: u32,
    target_start: u32,
//#for d RANK
    len${d}: u32,
    from${d}: u32,
    to${d}: u32,
//#end
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        var rest = i;
        var at_source = params.source_start;
        var at_target = params.target_start;
//#for d RANK
        at_source += rest % params.len${d} * params.from${d};
        at_target += rest % params.len${d} * params.to${d};
        rest /= params.len${d};
//#end
        result[at_target] = source[at_source];
    }
}
//#end
//#if SELECT
struct Params { count: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        result[i] = source[rows[i / params.width] * params.width + i % params.width];
    }
}
//#end
//#if SELECT_ADD
// The adjoint of SELECT. Row r of the result is the sum of the sources order[starts[r] .. starts[r
// + 1]]; `owned` is starts followed by order.
struct Params { count: u32, width: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read> owned: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        let row = i / params.width;
        var sum = 0.0;
        for (var s = owned[row]; s < owned[row + 1u]; s += 1u) {
            sum += source[owned[params.rows + 1u + s] * params.width + i % params.width];
        }
        result[i] = sum;
    }
}
//#end
//#if SHIFT
// Flips each image left to right if its third move is not 0, then translates it down and right by
// the first two; with `back` the adjoint, in the opposite order.
struct Params { count: u32, height: u32, width: u32, channels: u32, back: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read> moves: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        let pixel = i / params.channels;
        let image = pixel / (params.width * params.height);
        let down = i32(round(moves[image * 3u]));
        let right = i32(round(moves[image * 3u + 1u]));
        let mirror = moves[image * 3u + 2u] != 0.0;
        var row = i32(pixel / params.width % params.height);
        var column = i32(pixel % params.width);
        let last = i32(params.width) - 1;
        if (params.back != 0u) {
            row += down;
            column = select(column, last - column, mirror) + right;
        } else {
            row -= down;
            column -= right;
            column = select(column, last - column, mirror);
        }
        var value = 0.0;
        if (row >= 0 && row < i32(params.height) && column >= 0 && column <= last) {
            value = source[((image * params.height + u32(row)) * params.width + u32(column))
                * params.channels + i % params.channels];
        }
        result[i] = value;
    }
}
//#end
