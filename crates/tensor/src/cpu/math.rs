//! exp, log, tanh and related functions. They are branch-free, so loops over them vectorize, and do
//! not use the system's math library, so the bits are the same on every system. The tests below
//! measure their relative errors.

/// e^x, within 2 units in the last place; overflows to infinity, underflows to 0, keeps NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to an integer
    let clamped = x.clamp(-87.0, 88.8);
    let shifted = clamped * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = clamped - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // 2^n in two halves, since n may be 128.
    let n = (shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32);
    let half = n >> 1;
    let scale = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    let y = y * scale(half) * scale(n.wrapping_sub(half));
    if x < -87.0 {
        0.0
    } else if x > 88.722_84 {
        f32::INFINITY
    } else {
        y
    }
}

/// ln x for normal x, within 2 units in the last place; −∞ at 0, NaN below.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    let bits = x.to_bits() as i32;
    // The exponent that puts the mantissa in [√½, √2).
    let e = (bits.wrapping_sub(0x3f35_04f3)) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(e << 23) as u32) - 1.0;
    let z = m * m;
    let p = 7.037_683_6e-2;
    let p = p * m - 1.151_461e-1;
    let p = p * m + 1.167_699_87e-1;
    let p = p * m - 1.242_014_1e-1;
    let p = p * m + 1.424_932_3e-1;
    let p = p * m - 1.666_805_8e-1;
    let p = p * m + 2.000_071_5e-1;
    let p = p * m - 2.499_999_4e-1;
    let p = p * m + 3.333_333e-1;
    let e = e as f32;
    let y = p * m * z + e * -2.121_944_4e-4 - 0.5 * z;
    let y = m + y + e * 0.693_359_4;
    if x > 0.0 {
        if x == f32::INFINITY { x } else { y }
    } else if x == 0.0 {
        f32::NEG_INFINITY
    } else {
        f32::NAN
    }
}

/// tanh x, within 3 units in the last place.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    let p = -5.704_988_7e-3;
    let p = p * z + 2.063_909e-2;
    let p = p * z - 5.373_971_6e-2;
    let p = p * z + 1.333_144_2e-1;
    let p = p * z - 3.333_328e-1;
    let small = p * z * x + x;
    let large = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
    if a < 0.625 { small } else { large }
}

/// 1 / (1 + e^−x).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// ln(1 + e^x), without overflow and exact to rounding where it is tiny.
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let t = exp(-x.abs());
    let u = 1.0 + t;
    let log1p = if u == 1.0 { t } else { ln(u) * (t / (u - 1.0)) };
    (if x > 0.0 { x } else { 0.0 }) + log1p
}

/// Sine and cosine of `turn / 2³²` of a full turn: the quadrant is exact, the rest a polynomial
/// on [−π/4, π/4].
#[inline(always)]
pub(crate) fn sin_cos_turn(turn: u32) -> (f32, f32) {
    let quadrant = turn.wrapping_add(1 << 29) >> 30;
    let x =
        turn.wrapping_sub(quadrant << 30) as i32 as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let z = x * x;
    let sin = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * x + x;
    let cos = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    match quadrant & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_of_a_turn() {
        for i in 0..100_000u32 {
            let turn = i.wrapping_mul(42_949_673);
            let (s, c) = (f64::from(turn) / 4_294_967_296.0 * std::f64::consts::TAU).sin_cos();
            let (ours_s, ours_c) = sin_cos_turn(turn);
            assert!(
                (f64::from(ours_s) - s).abs() < 2e-7 && (f64::from(ours_c) - c).abs() < 2e-7,
                "{turn}: {ours_s} {s} {ours_c} {c}"
            );
        }
    }

    fn worst(range: std::ops::Range<f64>, ours: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        (0..200_000)
            .map(|i| range.start + (range.end - range.start) * f64::from(i) / 200_000.0)
            .map(|x| {
                let x = x as f32;
                let reference = exact(f64::from(x));
                if reference == 0.0 {
                    f64::from(ours(x)).abs()
                } else {
                    ((f64::from(ours(x)) - reference) / reference).abs()
                }
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn relative_errors_are_a_few_ulps() {
        let ulp = f64::from(f32::EPSILON) / 2.0;
        for (name, error, bound) in [
            ("exp", worst(-86.0..88.0, exp, f64::exp), 3.0),
            ("ln", worst(1e-30..2.0, ln, f64::ln), 3.0),
            ("ln large", worst(2.0..1e30, ln, f64::ln), 3.0),
            ("tanh", worst(-12.0..12.0, tanh, f64::tanh), 5.0),
            ("sigmoid", worst(-80.0..40.0, sigmoid, |x| 1.0 / (1.0 + (-x).exp())), 6.0),
            ("softplus", worst(-80.0..40.0, softplus, |x| x.exp().ln_1p()), 8.0),
        ] {
            assert!(error < bound * ulp, "{name}: {} half-ulps", error / ulp);
        }
    }

    #[test]
    fn extremes() {
        assert_eq!(exp(200.0), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(
            exp(f32::NAN).is_nan()
                && ln(-1.0).is_nan()
                && ln(f32::NAN).is_nan()
                && tanh(f32::NAN).is_nan()
                && softplus(f32::NAN).is_nan()
        );
        assert_eq!(ln(0.0), f32::NEG_INFINITY);
        assert_eq!(ln(f32::INFINITY), f32::INFINITY);
        assert_eq!((tanh(100.0), tanh(-100.0)), (1.0, -1.0));
        assert_eq!((sigmoid(200.0), sigmoid(-200.0)), (1.0, 0.0));
        assert_eq!((softplus(500.0), softplus(-500.0)), (500.0, 0.0));
    }
}
