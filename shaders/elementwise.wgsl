// One thread per four elements (or one, if an operand is broadcast). EXPR is the function, an
// expression of x (and y), u and v.
//#include math
//#include grid

//#if UNARY
struct Params { count: u32, u: f32, v: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;

fn f(x: f32) -> f32 {
    let u = params.u;
    let v = params.v;
    return ${EXPR};
}

// Buffers are multiples of four elements; the elements beyond the last one are computed and never
// read.
@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        let x = source[i];
        result[i] = vec4<f32>(f(x.x), f(x.y), f(x.z), f(x.w));
    }
}
//#else
fn f(x: f32, y: f32, u: f32) -> f32 {
    return ${EXPR};
}

//#if SAME
struct Params { count: u32, u: f32 }
@group(0) @binding(0) var<uniform> params: Params;
//#if INPLACE
@group(0) @binding(1) var<storage, read> right: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;
//#else
@group(0) @binding(1) var<storage, read> left: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;
//#end

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
//#if INPLACE
        let x = result[i];
//#else
        let x = left[i];
//#end
        let y = right[i];
        let u = params.u;
        result[i] = vec4<f32>(f(x.x, y.x, u), f(x.y, y.y, u), f(x.z, y.z, u), f(x.w, y.w, u));
    }
}
//#else
// Axes innermost first, adjacent ones merged; a broadcast operand has stride 0.
struct Params {
    count: u32,
    u: f32,
//#for d RANK
    len${d}: u32,
    a${d}: u32,
    b${d}: u32,
//#end
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        var rest = i;
        var a = 0u;
        var b = 0u;
//#for d RANK
        a += rest % params.len${d} * params.a${d};
        b += rest % params.len${d} * params.b${d};
        rest /= params.len${d};
//#end
        result[i] = f(left[a], right[b], params.u);
    }
}
//#end
//#end
