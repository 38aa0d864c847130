//! A single image file that is not part of a dataset.

use std::fs;
use std::path::Path;

use crate::decode::{MAX_DECODED_BYTES, decode, one_line};
use crate::error::DataError;
use crate::fit::{fit_image, to_float};
use crate::preprocess::Preprocess;

/// Reads an image file and applies `preprocess`. Returns its pixels, `[H, W, C]` in `[-1, 1]`, and
/// the file's own height and width.
///
/// ```no_run
/// let (pixels, [height, width]) =
///     data::load_image("photo.jpg".as_ref(), &data::Preprocess::new([64, 64], 3))?;
/// assert_eq!(pixels.len(), 64 * 64 * 3);
/// # Ok::<(), data::DataError>(())
/// ```
///
/// # Errors
/// Returns an error if the file is missing or is not an image, or if the preprocessing is out of
/// range.
pub fn load_image(
    path: &Path,
    preprocess: &Preprocess,
) -> Result<(Vec<f32>, [usize; 2]), DataError> {
    preprocess.validate()?;
    let bad = |reason: String| DataError::Decode { path: path.to_owned(), reason };
    let length = fs::metadata(path).map_err(|error| bad(one_line(&error)))?.len();
    if length > MAX_DECODED_BYTES {
        return Err(bad(format!("the file has more than {} MiB", MAX_DECODED_BYTES >> 20)));
    }
    let bytes = file_io::read(path).map_err(|error| bad(one_line(&error)))?;
    let decoded = decode(&bytes, path).map_err(|error| error.of_file(path))?;
    let mut pixels = vec![0; preprocess.image_len()];
    fit_image(&decoded, preprocess, &mut pixels).map_err(|error| error.of_file(path))?;
    let mut values = vec![0.0; pixels.len()];
    to_float(&pixels, &mut values);
    Ok((values, [decoded.height as usize, decoded.width as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    #[test]
    fn an_image_is_brought_to_its_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        RgbImage::from_fn(4, 2, |x, _| Rgb([if !(1..=2).contains(&x) { 9 } else { 255 }, 0, 51]))
            .save(&path)
            .unwrap();
        let (values, size) = load_image(&path, &Preprocess::new([2, 2], 3)).unwrap();
        assert_eq!(size, [2, 4]);
        assert_eq!(values, [1.0, -1.0, -0.6].repeat(4));
        std::fs::write(&path, "no image").unwrap();
        let message = load_image(&path, &Preprocess::new([2, 2], 3)).unwrap_err().to_string();
        assert!(message.contains("x.png") && !message.contains('\n'), "{message}");
        assert!(load_image(&folder.path().join("gone.png"), &Preprocess::new([2, 2], 3)).is_err());
    }
}
