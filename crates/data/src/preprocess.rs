//! How pictures of any size become images of one shape.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::decode::MAX_SIDE;
use crate::error::DataError;

/// How a picture whose shape is not the target's is brought to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Cut the largest centred part of the target's aspect ratio, then resize it.
    #[default]
    Crop,
    /// Scale down if larger than the target (never up), then centre on the background. With 4 channels the margin is
    /// transparent.
    Pad,
    /// Resize, whatever that does to the proportions.
    Stretch,
}

/// What is done to each picture: composite, crop or pad, resize, convert. Part of a recipe.
///
/// Order: alpha is composited first (1 and 3 channels), then colour is converted, then the size. A picture that has the
/// target's size and channels passes through byte for byte. Resizing is antialiased (Lanczos3; with 4 channels on
/// premultiplied colours).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Target height and width in pixels, each from 1 to [`MAX_SIDE`].
    pub size: [u32; 2],
    /// 1 (grey: luma of Rec. 601), 3 (RGB) or 4 (RGBA, alpha not premultiplied).
    pub channels: u8,
    /// How other shapes are brought to the target's.
    #[serde(default)]
    pub fit: Fit,
    /// The colour (RGB) behind transparent pixels and around padded pictures; its luma when `channels` is 1.
    #[serde(default)]
    pub background: [u8; 3],
}

impl Preprocess {
    /// Crops to `size` (height, width), on black.
    #[must_use]
    pub fn new(size: [u32; 2], channels: u8) -> Self {
        Self { size, channels, fit: Fit::Crop, background: [0; 3] }
    }

    /// `[H, W, C]` of every image after preprocessing.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        [self.size[0] as usize, self.size[1] as usize, usize::from(self.channels)]
    }

    /// Checks the ranges of `size` and `channels`.
    ///
    /// # Errors
    /// [`DataError::Preprocess`] names the value that is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        let [height, width] = self.size;
        if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
            return Err(DataError::Preprocess(format!(
                "images of {height}×{width} pixels: each side must be from 1 to {MAX_SIDE}"
            )));
        }
        if !matches!(self.channels, 1 | 3 | 4) {
            return Err(DataError::Preprocess(format!("{} channels: choose 1 (grey), 3 (RGB) or 4 (RGBA)", self.channels)));
        }
        Ok(())
    }

    /// Adds all of it to what identifies a set.
    pub(crate) fn identify(&self, hash: &mut Sha256) {
        let Self { size, channels, fit, background } = self;
        for side in size {
            hash.update(side.to_le_bytes());
        }
        let fit = match fit {
            Fit::Crop => 0,
            Fit::Pad => 1,
            Fit::Stretch => 2,
        };
        hash.update([*channels, fit]);
        hash.update(background);
    }

    /// Bytes of one preprocessed image.
    pub(crate) fn image_len(&self) -> usize {
        self.shape().iter().product()
    }
}
