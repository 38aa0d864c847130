// Optimizer steps in place, four elements per thread.
//#include grid

//#if !LERP
// One step of COUNT parameters; `UpdateStep::constants` documents the constants. The step is
// skipped if `recorded` is not 0: a gradient was NaN or infinite.
struct Params {
//#if ADAM
    step_size: f32, beta1: f32, rest1: f32, beta2: f32, rest2: f32, eps: f32, decay: f32,
    root: f32, remains: f32,
//#end
//#if SGD
    lr: f32, decay: f32, momentum: f32, grad_scale: f32,
    buffer_scale: f32, unused0: f32, unused1: f32,
    unused2: f32, unused3: f32,
//#end
//#if RMSPROP
    lr: f32, decay: f32, alpha: f32, rest: f32, eps: f32, momentum: f32, unused0: f32,
    unused1: f32, unused2: f32,
//#end
//#for t COUNT
    count_${t}: u32,
//#end
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> recorded: array<u32>;
//#for t COUNT
@group(0) @binding(2 + ${t}) var<storage, read> gradient_${t}: array<vec4<f32>>;
@group(0) @binding(2 + ${COUNT} + ${ARRAYS} * ${t})
    var<storage, read_write> value_${t}: array<vec4<f32>>;
//#if ADAM
@group(0) @binding(3 + ${COUNT} + ${ARRAYS} * ${t})
    var<storage, read_write> first_${t}: array<vec4<f32>>;
@group(0) @binding(4 + ${COUNT} + ${ARRAYS} * ${t})
    var<storage, read_write> second_${t}: array<vec4<f32>>;
//#end
//#if RMSPROP
@group(0) @binding(3 + ${COUNT} + ${ARRAYS} * ${t})
    var<storage, read_write> second_${t}: array<vec4<f32>>;
//#end
//#if MOMENTUM
// The last of the parameter's buffers.
@group(0) @binding(1 + ${COUNT} + ${ARRAYS} * ${t} + ${ARRAYS})
    var<storage, read_write> last_${t}: array<vec4<f32>>;
//#end
//#end

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (recorded[0] != 0u) {
        return;
    }
//#for t COUNT
    if (i < params.count_${t}) {
        let g = gradient_${t}[i] + params.decay * value_${t}[i];
//#if ADAM
        // Kingma and Ba 2015, algorithm 1, eps outside the bias-corrected root.
        let m = params.beta1 * first_${t}[i] + params.rest1 * g;
        let v = params.beta2 * second_${t}[i] + params.rest2 * (g * g);
        first_${t}[i] = m;
        second_${t}[i] = v;
//#if DECOUPLED
        value_${t}[i] *= params.remains;
//#end
        value_${t}[i] -= params.step_size * m / (sqrt(v) * params.root + params.eps);
//#end
//#if SGD
//#if MOMENTUM
        let d = params.momentum * last_${t}[i] + g;
        last_${t}[i] = d;
        value_${t}[i] -= params.lr * (params.grad_scale * g + params.buffer_scale * d);
//#else
        value_${t}[i] -= params.lr * g;
//#end
//#end
//#if RMSPROP
        let v = params.alpha * second_${t}[i] + params.rest * (g * g);
        second_${t}[i] = v;
//#if MOMENTUM
        let d = params.momentum * last_${t}[i] + g / (sqrt(v) + params.eps);
        last_${t}[i] = d;
        value_${t}[i] -= params.lr * d;
//#else
        value_${t}[i] -= params.lr * g / (sqrt(v) + params.eps);
//#end
//#end
    }
//#end
}
//#end
//#if LERP
// COUNT averages at a time: average ← keep · average + (1 − keep) · (factor · value).
struct Params {
//#for t COUNT
    count_${t}: u32,
    keep_${t}: f32,
    factor_${t}: f32,
//#end
}
@group(0) @binding(0) var<uniform> params: Params;
//#for t COUNT
@group(0) @binding(1 + ${t}) var<storage, read> value_${t}: array<vec4<f32>>;
@group(0) @binding(1 + ${COUNT} + ${t}) var<storage, read_write> average_${t}: array<vec4<f32>>;
//#end

@compute @workgroup_size(256)
fn main(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
//#for t COUNT
    if (i < params.count_${t}) {
        average_${t}[i] = params.keep_${t} * average_${t}[i] + (1.0 - params.keep_${t})
            * (params.factor_${t} * value_${t}[i]);
    }
//#end
}
//#end
