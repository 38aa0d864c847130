//! Resizing of 8-bit images with 1, 3 or 4 channels.
//!
//! A crate of its own, because the resizing library compiles every filter for every pixel type in
//! the crate that calls it: minutes of build time that no change elsewhere should cost again.
//!
//! ```
//! use resample::{ResizeFilter, resample};
//!
//! let mut mean = [0];
//! resample(&[10, 20, 30, 40], [2, 2], &mut mean, [1, 1], 1, ResizeFilter::Box)?;
//! assert_eq!(mean, [25]);
//! # Ok::<(), resample::ResampleError>(())
//! ```

#![forbid(unsafe_code)]

use std::cell::RefCell;

use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::{U8, U8x3, U8x4};
use fir::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
pub use imaging::ResizeFilter;

/// Why an image could not be resized, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResampleError {
    /// A buffer's length does not match its size, or is 0.
    #[error(
        "cannot resize: {pixels} and {out} bytes for {from:?} and {to:?} pixels of {channels} \
         channels"
    )]
    Lengths {
        /// Bytes of the source.
        pixels: usize,
        /// Bytes of the target.
        out: usize,
        /// Height and width of the source.
        from: [usize; 2],
        /// Height and width of the target.
        to: [usize; 2],
        /// Channels of both.
        channels: usize,
    },
    /// The resizing library rejected the sizes.
    #[error("cannot resize: {0}")]
    Library(String),
}

thread_local! {
    // Keeps its scratch memory and coefficient tables between images.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Resizes `pixels` (`[height, width, channels]` bytes, `from` = height and width) into `out` (of
/// size `to`). Equal sizes are copied. The fourth of 4 channels is alpha; colors are premultiplied
/// with it for the resizing.
///
/// # Errors
/// Returns [`ResampleError`] if a length does not match its size, or if a side is 0 or beyond the
/// library's limit.
///
/// # Panics
/// Panics if `channels` is not 1, 3 or 4.
pub fn resample(
    pixels: &[u8],
    from: [usize; 2],
    out: &mut [u8],
    to: [usize; 2],
    channels: usize,
    filter: ResizeFilter,
) -> Result<(), ResampleError> {
    let wanted = |[height, width]: [usize; 2]| height * width * channels;
    if (pixels.len(), out.len()) != (wanted(from), wanted(to))
        || pixels.is_empty()
        || out.is_empty()
    {
        let (pixels, out) = (pixels.len(), out.len());
        return Err(ResampleError::Lengths { pixels, out, from, to, channels });
    }
    if from == to {
        out.copy_from_slice(pixels);
        return Ok(());
    }
    let algorithm = match filter {
        ResizeFilter::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
        ResizeFilter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        ResizeFilter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        ResizeFilter::Box => ResizeAlg::Convolution(FilterType::Box),
        ResizeFilter::Nearest => ResizeAlg::Nearest,
    };
    let options = ResizeOptions::new().resize_alg(algorithm);
    let resize = match channels {
        1 => resize_typed::<U8>,
        3 => resize_typed::<U8x3>,
        4 => resize_typed::<U8x4>,
        other => panic!("resample: images of {other} channels; 1, 3 and 4 can be resized"),
    };
    resize(pixels, from, out, to, &options)
        .map_err(|error| ResampleError::Library(error.to_string()))
}

/// Resizes one pixel type. The library's own dispatch would compile every filter for all the pixel
/// types that it supports.
fn resize_typed<P: PixelTrait>(
    pixels: &[u8],
    from: [usize; 2],
    out: &mut [u8],
    to: [usize; 2],
    options: &ResizeOptions,
) -> Result<(), Box<dyn std::error::Error>> {
    let ([from_h, from_w], [to_h, to_w]) = (sides(from)?, sides(to)?);
    let from = TypedImageRef::<P>::from_buffer(from_w, from_h, pixels)?;
    let mut to = TypedImage::<P>::from_buffer(to_w, to_h, out)?;
    Ok(RESIZER.with_borrow_mut(|resizer| resizer.resize_typed(&from, &mut to, options))?)
}

fn sides([height, width]: [usize; 2]) -> Result<[u32; 2], std::num::TryFromIntError> {
    Ok([height.try_into()?, width.try_into()?])
}
