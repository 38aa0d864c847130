//! The image section of a recipe: the shape of the images, and how images of any size are resized
//! to it.

use super::{bad, combination, is_default};
use crate::error::NnError;
use crate::error::ValueProblem::OutOfRange;
use imaging::{Fit, ResizeFilter};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tensor::Tensor;

/// The largest side of an image file that is read.
const LARGEST_SIDE: usize = 16_384;

/// The shape of the images and their preprocessing. Optional values that are missing are chosen by
/// the program or its user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// Height and width in pixels. Each is a base resolution (the smaller one is 4 to 15 pixels),
    /// doubled the same number of times, unless both networks list their layers.
    pub size: [usize; 2],
    /// 1 (gray), 3 (RGB) or 4 (RGBA).
    pub channels: usize,
    /// Height and width of the center crop that is taken first, in the original image's pixels.
    /// Written as `108`, `[140, 108]` or `"140x108"`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "sides")]
    pub crop: Option<[usize; 2]>,
    /// How images of another aspect ratio are fitted to the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// Length in pixels to which the shorter side is resized before the center crop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_side: Option<usize>,
    /// The resampling filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<ResizeFilter>,
    /// The color (RGB) behind transparent pixels and around padded images. Written as `"black"`,
    /// `"white"`, `"gray"` or `"ff8000"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_color",
        deserialize_with = "read_color"
    )]
    pub background: Option<[u8; 3]>,
    /// Whether training images are flipped horizontally with probability 1/2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flip: bool,
    /// The range of pixel values inside the networks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub range: Range,
}

/// The range of pixel values inside the networks; outside they are always in [−1, 1].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// [−1, 1], for generators that end in tanh.
    #[default]
    Signed,
    /// [0, 1], for generators that end in a sigmoid.
    Unit,
}

impl Range {
    /// Converts pixels in [−1, 1] to the networks' range.
    pub fn to_network_range(self, images: &Tensor) -> Tensor {
        match self {
            Self::Signed => images.clone(),
            Self::Unit => images.scale(0.5).add_scalar(0.5),
        }
    }

    /// Converts the networks' pixels to [−1, 1].
    pub fn from_network_range(self, images: &Tensor) -> Tensor {
        match self {
            Self::Signed => images.clone(),
            Self::Unit => images.scale(2.0).add_scalar(-1.0),
        }
    }
}

/// Checks the preprocessing options; the size was checked before.
pub(super) fn validate(image: &ImageConfig) -> Result<(), NnError> {
    let fits = |side: &usize| (1..=LARGEST_SIDE).contains(side);
    if let Some([h, w]) = image.crop.filter(|sides| !sides.iter().all(fits)) {
        return Err(bad(
            "image.crop",
            format!("[{h}, {w}]"),
            OutOfRange(format!("sides must be from 1 to {LARGEST_SIDE} pixels")),
        ));
    }
    let Some(side) = image.min_side else { return Ok(()) };
    let least = image.size[0].max(image.size[1]);
    if !(least..=LARGEST_SIDE).contains(&side) {
        let problem =
            format!("must be from {least}, the larger side of image.size, to {LARGEST_SIDE}");
        return Err(bad("image.min_side", side, OutOfRange(problem)));
    }
    match image.fit {
        None | Some(Fit::Crop) => Ok(()),
        Some(_) => {
            let why = "the center of a larger image is taken only with image.fit = \"crop\"";
            Err(bad("image.min_side", side, combination("image.fit", why)))
        }
    }
}

/// One side, or both as a list or as a string in the form of the command-line flag.
fn sides<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[usize; 2]>, D::Error> {
    const HOW: &str = "give one side, as in 108, or height and width, as in [140, 108]";
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "give one side, as in 108, or height and width, as in [140, 108]"
    )]
    enum Sides {
        Side(usize),
        Both([usize; 2]),
        Text(String),
    }
    match Sides::deserialize(deserializer)? {
        Sides::Side(side) => Ok(Some([side; 2])),
        Sides::Both(sides) => Ok(Some(sides)),
        Sides::Text(text) => {
            let side = |text: &str| text.parse().map_err(|_| de::Error::custom(HOW));
            let (height, width) = text.split_once(['x', '×']).unwrap_or((&text, &text));
            Ok(Some([side(height)?, side(width)?]))
        }
    }
}

fn read_color<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 3]>, D::Error> {
    const HOW: &str = "give \"black\", \"white\", \"gray\", or six hexadecimal digits, as in \
                       \"ff8000\" for orange";
    let text = String::deserialize(deserializer).map_err(|_| de::Error::custom(HOW))?;
    parse_color(&text).map(Some).ok_or_else(|| de::Error::custom(HOW))
}

fn write_color<S: Serializer>(color: &Option<[u8; 3]>, serializer: S) -> Result<S::Ok, S::Error> {
    let [red, green, blue] = color.unwrap_or_default();
    serializer.serialize_str(&format!("{red:02x}{green:02x}{blue:02x}"))
}

/// A color by name (black, white, gray) or as hexadecimal `RRGGBB`; `None` for anything else.
pub fn parse_color(text: &str) -> Option<[u8; 3]> {
    match text {
        "black" => return Some([0; 3]),
        "white" => return Some([255; 3]),
        "gray" | "grey" => return Some([128; 3]),
        _ => {}
    }
    let digits = text.strip_prefix('#').unwrap_or(text);
    if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let [_, red, green, blue] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some([red, green, blue])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recipe;
    use crate::error::ValueProblem;

    fn read(keys: &str) -> Result<Recipe, NnError> {
        Recipe::from_toml(&format!("base = \"torch\"\n[image]\n{keys}\n"))
    }

    #[test]
    fn preprocessing_is_read_and_written() {
        let plain = read("").unwrap();
        let ImageConfig { crop, fit, min_side, filter, background, .. } = &plain.image;
        assert_eq!((*crop, *fit, *min_side, *filter, *background), (None, None, None, None, None));
        assert!(
            ["crop", "fit", "min_side", "filter", "background"]
                .iter()
                .all(|key| !plain.to_toml().contains(&format!("{key} =")))
        );
        let recipe = read(
            "crop = 108\nfit = \"crop\"\nmin_side = 96\nfilter = \"box\"\nbackground = \"gray\"",
        )
        .unwrap();
        let ImageConfig { crop, fit, min_side, filter, background, .. } = &recipe.image;
        assert_eq!((*crop, *fit, *min_side), (Some([108, 108]), Some(Fit::Crop), Some(96)));
        assert_eq!((*filter, *background), (Some(ResizeFilter::Box), Some([128; 3])));
        assert_eq!(Recipe::from_toml(&recipe.to_toml()).unwrap(), recipe);
        for crop in ["[140, 108]", "\"140x108\""] {
            assert_eq!(read(&format!("crop = {crop}")).unwrap().image.crop, Some([140, 108]));
        }
        assert_eq!(read("background = \"#ff8000\"").unwrap().image.background, Some([255, 128, 0]));
        for (text, filter) in
            [("lanczos3", ResizeFilter::Lanczos3), ("nearest", ResizeFilter::Nearest)]
        {
            assert_eq!(read(&format!("filter = \"{text}\"")).unwrap().image.filter, Some(filter));
        }
        let changed = plain
            .with(&[
                ("image.crop".into(), "140x108".into()),
                ("image.background".into(), "white".into()),
            ])
            .unwrap();
        assert_eq!(
            (changed.image.crop, changed.image.background),
            (Some([140, 108]), Some([255; 3]))
        );
    }

    #[test]
    fn keys_that_cannot_be_are_named_in_one_line() {
        type IsProblem = fn(&ValueProblem) -> bool;
        let range: IsProblem = |problem| matches!(problem, ValueProblem::OutOfRange(_));
        let invalid: IsProblem = |problem| matches!(problem, ValueProblem::Invalid(_));
        let fit: IsProblem = |problem| match problem {
            ValueProblem::Combination { other, .. } => other == "image.fit",
            _ => false,
        };
        for (keys, key, value, is_problem) in [
            ("crop = 0", "image.crop", "[0, 0]", range),
            ("crop = [9, 16385]", "image.crop", "[9, 16385]", range),
            ("crop = -1", "image.crop", "-1", invalid),
            ("crop = \"wide\"", "image.crop", "\"wide\"", invalid),
            ("crop = [1, 2, 3]", "image.crop", "[1, 2, 3]", invalid),
            ("fit = \"zoom\"", "image.fit", "\"zoom\"", invalid),
            ("min_side = 63", "image.min_side", "63", range),
            ("min_side = 16385", "image.min_side", "16385", range),
            ("min_side = 96\nfit = \"pad\"", "image.min_side", "96", fit),
            ("filter = \"cubic\"", "image.filter", "\"cubic\"", invalid),
            ("background = \"pink\"", "image.background", "\"pink\"", invalid),
            ("background = 0", "image.background", "0", invalid),
        ] {
            let error = read(keys).unwrap_err();
            let NnError::BadValue { key: named, value: held, problem } = &error else {
                panic!("{keys}: {error:?}")
            };
            assert_eq!((named.as_str(), held.as_str()), (key, value), "{keys}");
            assert!(is_problem(problem) && !error.to_string().contains('\n'), "{keys}: {error:?}");
        }
    }
}
