//! Preprocessing: how images of any size become images of one shape.

use imaging::{Fit, ResizeFilter};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::decode::MAX_SIDE;
use crate::error::{DataError, PreprocessProblem};

/// The preprocessing of each image: center crop, compositing, channel conversion, fit, resize.
///
/// Order: the center is cut out ([`crop`](Self::crop)), alpha is composited (for 1 and 3 channels),
/// colors are converted, then the image is fitted and resized. An image of the target's size and
/// channels passes through unchanged. With 4 channels, resizing works on premultiplied colors.
///
/// The papers' preprocessing: CelebA's 108, 140 or 160 pixels are [`crop`](Self::crop); "resize the
/// shorter side to the target's and take the center" (ImageNet, LSUN) is [`Fit::Crop`]; resizing
/// the shorter side to more than the target and taking the center is [`min_side`](Self::min_side).
///
/// ```
/// use data::{Fit, Preprocess};
///
/// let preprocess = Preprocess { fit: Fit::Pad, ..Preprocess::new([32, 32], 3) };
/// assert_eq!(preprocess.shape(), [32, 32, 3]);
/// assert!(preprocess.validate().is_ok());
/// assert!(Preprocess { channels: 2, ..preprocess }.validate().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Target height and width in pixels, each from 1 to [`MAX_SIDE`].
    pub size: [u32; 2],
    /// 1 (gray: luma of Rec. 601), 3 (RGB) or 4 (RGBA, alpha not premultiplied).
    pub channels: u8,
    /// How images of another aspect ratio are fitted.
    #[serde(default)]
    pub fit: Fit,
    /// The color (RGB) behind transparent pixels and around padded images; its luma when `channels`
    /// is 1.
    #[serde(default)]
    pub background: [u8; 3],
    /// Height and width of the centered part that is cut out first, in the image's own pixels. A
    /// side that is smaller than this is kept whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<[u32; 2]>,
    /// With [`Fit::Crop`]: the length in pixels to which the shorter side is resized before the
    /// center is taken. At least the larger side of `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_side: Option<u32>,
    /// The resize filter.
    #[serde(default)]
    pub filter: ResizeFilter,
    /// Whether the images of a batch are flipped left to right with probability 1/2. The choice is
    /// a function of the cursor's seed and epoch and the image's index; the dataset and its
    /// fingerprint do not depend on it.
    #[serde(default)]
    pub flip: bool,
}

impl Preprocess {
    /// Center crop to `size` (height, width) by Lanczos3 on black, without flips.
    pub fn new(size: [u32; 2], channels: u8) -> Self {
        let (crop, min_side) = (None, None);
        Self {
            size,
            channels,
            fit: Fit::Crop,
            background: [0; 3],
            crop,
            min_side,
            filter: ResizeFilter::Lanczos3,
            flip: false,
        }
    }

    /// `[H, W, C]` of every image after preprocessing.
    pub fn shape(&self) -> [usize; 3] {
        [self.size[0] as usize, self.size[1] as usize, usize::from(self.channels)]
    }

    /// Checks each value's range, and that the values go together.
    ///
    /// # Errors
    /// Returns [`DataError::Preprocess`] with the value that is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        let [height, width] = self.size;
        let (largest, range) = (MAX_SIDE, 1..=MAX_SIDE);
        if !range.contains(&height) || !range.contains(&width) {
            return Err(PreprocessProblem::Size { height, width, largest }.into());
        }
        if !matches!(self.channels, 1 | 3 | 4) {
            return Err(PreprocessProblem::Channels(self.channels).into());
        }
        if let Some([height, width]) = self.crop
            && !(range.contains(&height) && range.contains(&width))
        {
            return Err(PreprocessProblem::Crop { height, width, largest }.into());
        }
        if let Some(side) = self.min_side {
            let least = height.max(width);
            if !(least..=largest).contains(&side) {
                return Err(PreprocessProblem::MinSide { side, least, largest }.into());
            }
            if self.fit != Fit::Crop {
                return Err(PreprocessProblem::MinSideWithoutCrop { side }.into());
            }
        }
        Ok(())
    }

    /// Hashes all options into a fingerprint, except flips, which are applied to batches.
    pub(crate) fn hash_into(&self, hash: &mut Sha256) {
        let Self { size, channels, fit, background, crop, min_side, filter, flip: _ } = self;
        for side in size {
            hash.update(side.to_le_bytes());
        }
        hash.update([*channels, *fit as u8]);
        hash.update(background);
        // Options at their defaults add nothing, so that fingerprints from before these options
        // existed stay valid.
        if let Some([height, width]) = crop {
            hash.update([&b"crop"[..], &height.to_le_bytes(), &width.to_le_bytes()].concat());
        }
        if let Some(side) = min_side {
            hash.update([&b"min-side"[..], &side.to_le_bytes()].concat());
        }
        if *filter != ResizeFilter::default() {
            hash.update([&b"filter"[..], &[*filter as u8]].concat());
        }
    }

    /// Whether both give the same images; flips, which are applied to batches, may differ.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        *self == Self { flip: self.flip, ..other.clone() }
    }

    /// Bytes of one preprocessed image.
    pub(crate) fn image_len(&self) -> usize {
        self.shape().iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_errors() {
        use PreprocessProblem::{Channels, Crop, MinSide, MinSideWithoutCrop, Size};
        let plain = Preprocess::new([64, 48], 3);
        plain.validate().unwrap();
        let side = |min_side, fit| Preprocess { min_side: Some(min_side), fit, ..plain.clone() };
        let crop = |crop| Preprocess { crop: Some(crop), ..plain.clone() };
        side(64, Fit::Crop).validate().unwrap();
        let (largest, beyond) = (MAX_SIDE, MAX_SIDE + 1);
        for (bad, wanted) in [
            (Preprocess::new([0, 1], 3), Size { height: 0, width: 1, largest }),
            (Preprocess::new([1, beyond], 3), Size { height: 1, width: beyond, largest }),
            (Preprocess::new([1, 1], 2), Channels(2)),
            (crop([0, 9]), Crop { height: 0, width: 9, largest }),
            (crop([9, beyond]), Crop { height: 9, width: beyond, largest }),
            (side(63, Fit::Crop), MinSide { side: 63, least: 64, largest }),
            (side(beyond, Fit::Crop), MinSide { side: beyond, least: 64, largest }),
            (side(64, Fit::Pad), MinSideWithoutCrop { side: 64 }),
            (side(64, Fit::Stretch), MinSideWithoutCrop { side: 64 }),
        ] {
            let error = bad.validate().unwrap_err();
            assert!(!error.to_string().contains('\n'), "{error}");
            assert!(matches!(error, DataError::Preprocess(found) if found == wanted));
        }
    }

    #[test]
    fn settings_of_before_are_read_as_they_were_meant() {
        let old = r#"{ "size": [64, 64], "channels": 3, "fit": "pad", "background": [1, 2, 3] }"#;
        let wanted =
            Preprocess { fit: Fit::Pad, background: [1, 2, 3], ..Preprocess::new([64, 64], 3) };
        assert_eq!(serde_json::from_str::<Preprocess>(old).unwrap(), wanted);
        let new = Preprocess {
            crop: Some([108, 90]),
            filter: ResizeFilter::Bicubic,
            flip: true,
            ..Preprocess::new([8, 8], 1)
        };
        assert_eq!(
            serde_json::from_str::<Preprocess>(&serde_json::to_string(&new).unwrap()).unwrap(),
            new
        );
    }
}
