// Sums over the middle axis of [outer, reduced, inner], `chunk` indices of it per workgroup; a
// second pass adds the parts. The order of additions depends on the shape alone: each thread adds
// its elements in ascending order, then a tree adds the threads.
//#include grid

//#if LINES
// inner = 1: a workgroup sums a chunk of one line.
struct Params { groups: u32, reduced: u32, parts: u32, chunk: u32, inner: u32, blocks: u32,
    factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

var<workgroup> shared_sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let number = group_number(group, groups);
    if (number >= params.groups) {
        return;
    }
    let line = number / params.parts;
    let start = number % params.parts * params.chunk;
    let end = min(start + params.chunk, params.reduced);
    var sum = 0.0;
    for (var i = start + lane; i < end; i += 256u) {
        sum += source[line * params.reduced + i];
    }
    shared_sums[lane] = sum;
    for (var width = 128u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if (lane < width) {
            shared_sums[lane] += shared_sums[lane + width];
        }
    }
    if (lane == 0u) {
        result[number] = shared_sums[0] * params.factor;
    }
}
//#end
//#if COLUMNS
// A workgroup sums a chunk of 32 adjacent columns, 8 rows at a time.
struct Params { groups: u32, reduced: u32, parts: u32, chunk: u32, inner: u32, blocks: u32,
    factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

var<workgroup> shared_sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let number = group_number(group, groups);
    if (number >= params.groups) {
        return;
    }
    let column = number % params.blocks * 32u + lane % 32u;
    let part = number / params.blocks;
    let outer = part / params.parts;
    let start = part % params.parts * params.chunk;
    let end = min(start + params.chunk, params.reduced);
    var sum = 0.0;
    if (column < params.inner) {
        for (var row = start + lane / 32u; row < end; row += 8u) {
            sum += source[(outer * params.reduced + row) * params.inner + column];
        }
    }
    shared_sums[lane] = sum;
    for (var width = 128u; width >= 32u; width /= 2u) {
        workgroupBarrier();
        if (lane < width) {
            shared_sums[lane] += shared_sums[lane + width];
        }
    }
    if (lane < 32u && column < params.inner) {
        result[part * params.inner + column] = shared_sums[lane] * params.factor;
    }
}
//#end
//#if FINITE
// Stores `code` in `recorded`, unless an earlier code is there, if an element of COUNT buffers is
// NaN or infinite. The test uses the exponent bits, since compilers may assume that x != x is never
// true.
struct Params {
    code: u32,
//#for t COUNT
    count_${t}: u32,
//#end
}
@group(0) @binding(0) var<uniform> params: Params;
//#for t COUNT
@group(0) @binding(1 + ${t}) var<storage, read> source_${t}: array<u32>;
//#end
@group(0) @binding(1 + ${COUNT}) var<storage, read_write> recorded: atomic<u32>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let step = groups.x * groups.y * 256u;
    let first = group_number(group, groups) * 256u + lane;
    var bad = false;
//#for t COUNT
    for (var i = first; i < params.count_${t}; i += step) {
        bad = bad || (source_${t}[i] & 0x7f800000u) == 0x7f800000u;
    }
//#end
    if (bad && atomicLoad(&recorded) == 0u) {
        atomicStore(&recorded, params.code);
    }
}
//#end
