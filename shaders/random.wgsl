// Philox4x32-10 (Salmon et al. 2011), the same stream as crates/tensor/src/rng.rs: one thread per
// block of four words.
//#include math
//#include grid

struct Params { count: u32, block_low: u32, block_high: u32, stream_low: u32, stream_high: u32,
    seed_low: u32, seed_high: u32, u: f32, v: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;

// The high word of a 64-bit product, from 16-bit halves.
fn multiply_high(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let middle = ah * bl + (low >> 16u);
    let other = al * bh + (middle & 0xffffu);
    return ah * bh + (middle >> 16u) + (other >> 16u);
}

fn philox(start: vec4<u32>, key_start: vec2<u32>) -> vec4<u32> {
    var counter = start;
    var key = key_start;
    for (var i = 0u; i < 10u; i += 1u) {
        let high_a = multiply_high(0xd2511f53u, counter.x);
        let low_a = 0xd2511f53u * counter.x;
        let high_b = multiply_high(0xcd9e8d57u, counter.z);
        let low_b = 0xcd9e8d57u * counter.z;
        counter = vec4<u32>(high_b ^ counter.y ^ key.x, low_b, high_a ^ counter.w ^ key.y, low_a);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}

// 24 random bits as a float in [0, 1).
fn unit(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

// Sine and cosine of turn / 2^32 of a full turn.
fn sin_cos_turn(turn: u32) -> vec2<f32> {
    let quadrant = (turn + (1u << 29u)) >> 30u;
    let x = f32(bitcast<i32>(turn - (quadrant << 30u))) * (6.283185307179586 / 4294967296.0);
    let z = x * x;
    let sine = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * x + x;
    let cosine = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2)
        * z * z - 0.5 * z + 1.0;
    switch quadrant & 3u {
        case 0u: { return vec2<f32>(sine, cosine); }
        case 1u: { return vec2<f32>(cosine, -sine); }
        case 2u: { return vec2<f32>(-sine, -cosine); }
        default: { return vec2<f32>(-cosine, sine); }
    }
}

// Two independent N(0, 1) values (Box and Muller 1958).
fn box_muller(a: u32, b: u32) -> vec2<f32> {
    let radius = sqrt(-2.0 * log_((f32(a) + 1.0) * (1.0 / 4294967296.0)));
    let turn = sin_cos_turn(b);
    return vec2<f32>(radius * turn.y, radius * turn.x);
}

// u and v are low and high, mean and standard deviation, or probability and value.
fn values(words: vec4<u32>) -> vec4<f32> {
    let u = params.u;
    let v = params.v;
//#if UNIFORM
    return u + (v - u) * vec4<f32>(unit(words.x), unit(words.y), unit(words.z), unit(words.w));
//#end
//#if NORMAL
    return u + v * vec4<f32>(box_muller(words.x, words.y), box_muller(words.z, words.w));
//#end
//#if BERNOULLI
    let kept = vec4<bool>(unit(words.x) < u, unit(words.y) < u, unit(words.z) < u,
        unit(words.w) < u);
    return select(vec4<f32>(), vec4<f32>(v), kept);
//#end
}

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        let low = params.block_low + i;
        let high = params.block_high + select(0u, 1u, low < i);
        let counter = vec4<u32>(low, high, params.stream_low, params.stream_high);
        result[i] = values(philox(counter, vec2<u32>(params.seed_low, params.seed_high)));
    }
}
