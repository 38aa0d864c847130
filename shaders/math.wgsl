// exp, log, tanh and related functions, by the formulas of crates/tensor/src/cpu/math.rs: WGSL's
// own may be off by hundreds of units in the last place. Infinity and NaN are computed at run time,
// since WGSL has no constants for them and compilers may assume that they do not occur.

const LOG2_E: f32 = 1.4426950408889634;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn make(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

fn infinity() -> f32 {
    var bits = 0x7f800000u;
    return make(bits);
}

fn nan() -> f32 {
    var bits = 0x7fc00000u;
    return make(bits);
}

fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

fn exp_(x: f32) -> f32 {
    let clamped = clamp(x, -87.0, 88.8);
    let n = round(clamped * LOG2_E);
    let r = (clamped - n * 0.693359375) - n * -2.12194440e-4;
    var p = 1.9875691500e-4;
    p = p * r + 1.3981999507e-3;
    p = p * r + 8.3334519073e-3;
    p = p * r + 4.1665795894e-2;
    p = p * r + 1.6666665459e-1;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // 2^n in two halves, since n may be 128.
    let whole = i32(n);
    let half = whole >> 1u;
    var result = y * power_of_two(half) * power_of_two(whole - half);
    result = select(result, 0.0, x < -87.0);
    result = select(result, infinity(), x > 88.72284);
    return select(result, x, is_nan(x));
}

fn log_(x: f32) -> f32 {
    let bits = bitcast<i32>(x);
    // The exponent that puts the mantissa in [sqrt(1/2), sqrt(2)).
    let e = (bits - 0x3f3504f3) >> 23u;
    let m = bitcast<f32>(bits - (e << 23u)) - 1.0;
    let z = m * m;
    var p = 7.0376836292e-2;
    p = p * m - 1.1514610310e-1;
    p = p * m + 1.1676998740e-1;
    p = p * m - 1.2420140846e-1;
    p = p * m + 1.4249322787e-1;
    p = p * m - 1.6668057665e-1;
    p = p * m + 2.0000714765e-1;
    p = p * m - 2.4999993993e-1;
    p = p * m + 3.3333331174e-1;
    let n = f32(e);
    let y = p * m * z + n * -2.12194440e-4 - 0.5 * z;
    var result = m + y + n * 0.693359375;
    result = select(result, -infinity(), x == 0.0);
    result = select(result, x, bitcast<u32>(x) == 0x7f800000u);
    return select(result, nan(), x < 0.0 || is_nan(x));
}

fn tanh_(x: f32) -> f32 {
    let a = abs(x);
    let z = x * x;
    var p = -5.70498872745e-3;
    p = p * z + 2.06390887954e-2;
    p = p * z - 5.37397155531e-2;
    p = p * z + 1.33314422036e-1;
    p = p * z - 3.33332819422e-1;
    let small = p * z * x + x;
    // From 20 on the result is 1 in every digit, so the argument is bounded and exp does not
    // overflow.
    let large = 1.0 - 2.0 / (exp_(2.0 * min(a, 20.0)) + 1.0);
    let result = select(select(large, -large, x < 0.0), small, a < 0.625);
    return select(result, x, is_nan(x));
}

fn sigmoid_(x: f32) -> f32 {
    let result = 1.0 / (1.0 + exp_(min(-x, 87.0)));
    return select(select(result, 0.0, x < -87.3), x, is_nan(x));
}

// ln(1 + t) for t in [0, 1]: a series where 1 + t would lose digits of t. (Fast-math compilers
// remove the usual correction by (1 + t) − 1.)
fn log1p_(t: f32) -> f32 {
    var p = -0.125;
    p = p * t + 0.14285714;
    p = p * t - 0.16666667;
    p = p * t + 0.2;
    p = p * t - 0.25;
    p = p * t + 0.33333333;
    p = p * t - 0.5;
    p = p * t + 1.0;
    return select(log_(1.0 + t), p * t, t < 0.1);
}

fn softplus_(x: f32) -> f32 {
    return select(select(0.0, x, x > 0.0) + log1p_(exp_(-abs(x))), x, is_nan(x));
}

fn power_(x: f32, p: f32) -> f32 {
    return exp_(p * log_(x));
}

fn sign_(x: f32) -> f32 {
    return select(select(0.0, -1.0, x < 0.0), 1.0, x > 0.0);
}

// Tests for NaN by its bits: compilers may turn the comparison into a maximum, which loses NaN.
fn relu_(x: f32) -> f32 {
    return select(select(x, 0.0, x < 0.0), x, is_nan(x));
}

fn leaky_(x: f32, slope: f32) -> f32 {
    return select(slope * x, x, x > 0.0);
}

fn clamp_(x: f32, low: f32, high: f32) -> f32 {
    return select(select(select(x, high, x > high), low, x < low), x, is_nan(x));
}

fn in_range_(x: f32, low: f32, high: f32) -> f32 {
    return select(1.0, 0.0, x < low || x > high);
}

fn maximum_(a: f32, b: f32) -> f32 {
    return select(b, a, a >= b || is_nan(a));
}

fn minimum_(a: f32, b: f32) -> f32 {
    return select(b, a, a <= b || is_nan(a));
}

// The slope of a leaky rectifier.
fn leaky_slope_(x: f32, slope: f32) -> f32 {
    return select(slope, 1.0, x > 0.0);
}
