// The peak rates of an adapter, with which benchmarks compare kernels: chains of fused
// multiply-adds in registers, and a copy.
//#include grid

//#if FMA
struct Params { rounds: u32, factor: f32, term: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;

// Eight chains of four lanes: enough to hide the latency of a multiply-add.
@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    let factor = vec4<f32>(params.factor);
    let term = vec4<f32>(params.term);
//#for c 8
    var chain_${c} = vec4<f32>(f32(i + ${c}u));
//#end
    for (var round = 0u; round < params.rounds; round += 1u) {
//#for repeat 8
//#for c 8
        chain_${c} = fma(chain_${c}, factor, term);
//#end
//#end
    }
    var sum = vec4<f32>();
//#for c 8
    sum += chain_${c};
//#end
    result[i] = sum;
}
//#else
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        result[i] = source[i];
    }
}
//#end
