// L1 distances between all pairs of rows of m [n, b, c], and their gradient; one thread per element
// of the result.
//#include math
//#include grid

struct Params { count: u32, n: u32, b: u32, c: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> m: array<f32>;
//#if FORWARD
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

// result[i, j, b] = Σ_c |m[i, b, c] − m[j, b, c]|
fn distance_of(at: u32) -> f32 {
    let k = at % params.b;
    let j = at / params.b % params.n;
    let i = at / params.b / params.n;
    var sum = 0.0;
    for (var l = 0u; l < params.c; l += 1u) {
        sum += abs(m[(i * params.b + k) * params.c + l] - m[(j * params.b + k) * params.c + l]);
    }
    return sum;
}
//#else
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

// result[i, b, c] = Σ_j (g[i, j, b] + g[j, i, b]) · sign(m[i, b, c] − m[j, b, c])
fn distance_of(at: u32) -> f32 {
    let l = at % params.c;
    let k = at / params.c % params.b;
    let i = at / params.c / params.b;
    var sum = 0.0;
    for (var j = 0u; j < params.n; j += 1u) {
        let weight = g[(i * params.n + j) * params.b + k] + g[(j * params.n + i) * params.b + k];
        sum += weight * sign_(m[at] - m[(j * params.b + k) * params.c + l]);
    }
    return sum;
}
//#end

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        result[i] = distance_of(i);
    }
}
