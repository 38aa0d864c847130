//! Parsers of flag values. clap reports their errors, with exit code 2.

use crate::hints;
use clap::builder::{
    OsStringValueParser, RangedI64ValueParser, RangedU64ValueParser, TypedValueParser,
};
use clap::value_parser;
use eval::latent::ExemplarSpec;
use nn::recipe::{halvings, nearest_sizes};
use std::num::NonZeroU32;
use std::ops::RangeBounds;

/// Upper limit of steps and epochs, to catch typing mistakes (recipes have the same one).
pub const MAX_STEPS: u64 = 1_000_000_000_000;

/// A whole number in `range`.
pub fn count(range: impl RangeBounds<i64>) -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(range)
}

/// Steps or epochs.
pub fn steps() -> RangedU64ValueParser {
    value_parser!(u64).range(1..=MAX_STEPS)
}

/// `N` or `HxW`: an image size that the networks can have.
pub fn image_size(text: &str) -> Result<[usize; 2], String> {
    let side = |text: &str| text.parse::<usize>().ok().filter(|&side| side > 0);
    let size = match text.split_once(['x', '×']) {
        None => side(text).map(|side| [side; 2]),
        Some((height, width)) => {
            side(height).zip(side(width)).map(|(height, width)| [height, width])
        }
    };
    let size = size.ok_or("give one side, as in 64, or height and width, as in 48x64")?;
    let largest = data::MAX_SIDE as usize;
    if size.iter().any(|&side| side > largest) {
        return Err(format!("sides can have at most {largest} pixels"));
    }
    if halvings(size).is_none() {
        let nearest: Vec<String> =
            nearest_sizes(size).iter().map(|[height, width]| format!("{height}x{width}")).collect();
        return Err(format!(
            "each side must be 4 to 15 pixels, doubled at least once; the nearest valid sizes: {}",
            nearest.join(", ")
        ));
    }
    Ok(size)
}

/// Exemplars of vector arithmetic: indices, seeds, or attributes.
pub fn exemplars(text: &str) -> Result<ExemplarSpec, String> {
    ExemplarSpec::parse(text).map_err(|error| hints::compose(&error, hints::eval(&error)))
}

/// `N` or `HxW`: any image size.
pub fn size(text: &str) -> Result<[u32; 2], String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=data::MAX_SIDE).contains(side));
    let size = match text.split_once(['x', '×']) {
        None => side(text).map(|side| [side; 2]),
        Some((height, width)) => {
            side(height).zip(side(width)).map(|(height, width)| [height, width])
        }
    };
    size.ok_or_else(|| {
        format!(
            "give one side, as in 108, or height and width, as in 140x108, each from 1 to {}",
            data::MAX_SIDE
        )
    })
}

/// A learning rate.
pub fn learning_rate(text: &str) -> Result<f64, String> {
    let hint = "must be a number greater than 0, such as 0.0002";
    let rate: f64 = text.parse().map_err(|_| hint)?;
    // The optimizer uses it as f32.
    let used = rate as f32;
    if used.is_finite() && used > 0.0 { Ok(rate) } else { Err(hint.into()) }
}

/// The decay of an EMA of weights, in [0, 1).
pub fn decay(text: &str) -> Result<f64, String> {
    let hint = "must be a number from 0 (no EMA) to less than 1, such as 0.999";
    let decay: f64 = text.parse().map_err(|_| hint)?;
    if (0.0..1.0).contains(&(decay as f32)) { Ok(decay) } else { Err(hint.into()) }
}

/// The truncation bound of latents, above 0.
pub fn truncation(text: &str) -> Result<f64, String> {
    let hint = "must be a number greater than 0, such as 0.7";
    let psi: f64 = text.parse().map_err(|_| hint)?;
    if psi.is_finite() && psi > 0.0 { Ok(psi) } else { Err(hint.into()) }
}

/// A weight or a width, at least 0.
pub fn weight(text: &str) -> Result<f64, String> {
    let weight: Option<f64> =
        text.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0);
    weight.ok_or_else(|| "must be a number from 0".into())
}

/// Parses two numbers `X,Y`.
pub fn pair(text: &str) -> Result<[f64; 2], String> {
    let number = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    let pair = text.split_once(',').and_then(|(x, y)| number(x).zip(number(y)));
    pair.map(|(x, y)| [x, y]).ok_or_else(|| "give two numbers, as in 1,1".into())
}

/// A color: `RRGGBB`, black, white or gray.
pub fn color(text: &str) -> Result<[u8; 3], String> {
    let hint = "give black, white, gray, or six hexadecimal digits, as in ff8000 for orange";
    nn::recipe::parse_color(text).ok_or_else(|| hint.into())
}

/// Parses a number of channels: 1, 3 or 4.
pub fn channels(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "4" => Ok(4),
        _ => Err("choose 1 (gray), 3 (RGB) or 4 (RGBA)".into()),
    }
}

/// A dataset spec: any path, with `\xE9` for a byte that is not UTF-8.
pub fn spec() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|text| data::DataSpec::escape(&text))
}

/// The window of shuffling: with fewer images than a shard, batches would be neighboring images.
pub fn shuffle_buffer(text: &str) -> Result<NonZeroU32, String> {
    let buffer = text.parse().ok().filter(|buffer: &NonZeroU32| buffer.get() >= data::SHARD);
    let what = "a shard has that many images; a few thousand mix well";
    buffer.ok_or_else(|| {
        format!("must be a whole number from {} to {}: {what}", data::SHARD, u32::MAX)
    })
}

/// A random seed. TOML, in which runs keep it, has signed 64-bit integers.
pub fn seed(text: &str) -> Result<u64, String> {
    let seed: Option<i64> = text.parse().ok().filter(|seed| *seed >= 0);
    seed.map(i64::unsigned_abs)
        .ok_or_else(|| format!("must be a whole number from 0 to {}", i64::MAX))
}

/// The name of an enum's value, as flags take it.
pub fn value_name<T: clap::ValueEnum>(value: T) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_be_made_name_the_nearest() {
        assert_eq!(image_size("64"), Ok([64, 64]));
        assert_eq!(image_size("48x64"), Ok([48, 64]));
        let message = image_size("63").unwrap_err();
        assert!(message.contains("60x60, 64x64"), "{message}");
        for bad in ["", "x", "64x", "-64", "0", "64x64x3", "1e3", "99999999999999999999"] {
            assert!(image_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn crops_may_have_any_size() {
        assert_eq!([size("108"), size("140x3")], [Ok([108, 108]), Ok([140, 3])]);
        for bad in ["", "x", "0", "16385", "-1", "9x", "1x2x3"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_positive_as_32_bit_numbers() {
        assert_eq!(learning_rate("2e-4"), Ok(2e-4));
        for bad in ["0", "-1", "NaN", "inf", "1e-60", "1e60", "fast"] {
            assert!(learning_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn decays_are_less_than_one_as_32_bit_numbers() {
        assert_eq!((decay("0"), decay("0.999")), (Ok(0.0), Ok(0.999)));
        for bad in ["1", "-0.1", "NaN", "0.99999999999"] {
            assert!(decay(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn weights_and_pairs() {
        assert_eq!((weight("0"), weight("0.1")), (Ok(0.0), Ok(0.1)));
        assert_eq!(pair("-1, 2.5"), Ok([-1.0, 2.5]));
        assert!(["-1", "NaN", "inf", "x"].iter().all(|bad| weight(bad).is_err()));
        assert!(["1", "1,", "1,NaN", "1,2,3"].iter().all(|bad| pair(bad).is_err()));
    }

    #[test]
    fn colors_channels_buffers_and_seeds() {
        assert_eq!([color("#ff8000"), color("gray")], [Ok([255, 128, 0]), Ok([128; 3])]);
        assert!(["fff", "gggggg", "+12345", "ffffff0"].iter().all(|bad| color(bad).is_err()));
        assert!(["0", "2", "5", "rgb"].iter().all(|bad| channels(bad).is_err()));
        assert_eq!(shuffle_buffer("256").map(NonZeroU32::get), Ok(256));
        assert!(
            ["0", "255", "-1", "4294967296", "all"].iter().all(|bad| shuffle_buffer(bad).is_err())
        );
        assert_eq!(seed("9223372036854775807"), Ok(u64::MAX / 2));
        assert!(["-1", "9223372036854775808", "x"].iter().all(|bad| seed(bad).is_err()));
    }
}
