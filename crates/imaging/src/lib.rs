//! How an image of any size is fitted and resized: the choices that recipes (`nn`), datasets
//! (`data`), the resizer (`resample`) and the flags of `cli` share.
//!
//! The crate holds two enums and nothing that takes time to compile, so `nn` can name a filter
//! without waiting for the resizing library; and the signature of images that this program writes
//! (`runs`, `eval`) and leaves out of datasets (`data`).
//!
//! ```
//! use imaging::{Fit, ResizeFilter};
//!
//! assert_eq!(Fit::Pad.to_string(), "pad");
//! assert_eq!(ResizeFilter::default(), ResizeFilter::Lanczos3);
//! ```

#![forbid(unsafe_code)]

mod signature;

pub use signature::{SOFTWARE_KEYWORD, is_signed, signature};

use std::fmt;

use serde::{Deserialize, Serialize};

/// How an image of another aspect ratio is brought to the target's size.
///
/// The discriminants are part of every dataset fingerprint: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Center crop: take the largest centered part of the target's aspect ratio, then resize it.
    #[default]
    Crop = 0,
    /// Scale down if larger than the target (never up), then center on the background.
    Pad = 1,
    /// Resize without keeping the aspect ratio.
    Stretch = 2,
}

/// The interpolation filter of resizing. All but [`Nearest`](Self::Nearest) are antialiased: the
/// filter widens with the reduction factor.
///
/// The discriminants are part of every dataset fingerprint: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum ResizeFilter {
    /// Lanczos with 3 lobes: the sharpest, with halos of a few percent at hard edges.
    #[default]
    Lanczos3 = 0,
    /// Catmull-Rom (a = -0.5), as Pillow's BICUBIC.
    Bicubic = 1,
    /// A triangle, as torchvision's default with antialiasing.
    Bilinear = 2,
    /// The mean of the area that a new pixel covers.
    Box = 3,
    /// One source pixel per target pixel: for enlarging pixel art.
    Nearest = 4,
}

impl fmt::Display for Fit {
    /// The name in recipes and flags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Crop => "crop",
            Self::Pad => "pad",
            Self::Stretch => "stretch",
        })
    }
}

impl fmt::Display for ResizeFilter {
    /// The name in recipes and flags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lanczos3 => "lanczos3",
            Self::Bicubic => "bicubic",
            Self::Bilinear => "bilinear",
            Self::Box => "box",
            Self::Nearest => "nearest",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_equals_serialized_names() {
        let json = |value: serde_json::Value| value.as_str().unwrap().to_owned();
        for fit in [Fit::Crop, Fit::Pad, Fit::Stretch] {
            assert_eq!(json(serde_json::to_value(fit).unwrap()), fit.to_string());
        }
        use ResizeFilter::{Bicubic, Bilinear, Box, Lanczos3, Nearest};
        for filter in [Lanczos3, Bicubic, Bilinear, Box, Nearest] {
            assert_eq!(json(serde_json::to_value(filter).unwrap()), filter.to_string());
        }
    }
}
