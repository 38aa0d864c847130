//! Pictures of bytes made smaller or larger.
//!
//! A crate of its own for one reason: the library compiles every filter for every kind of pixel where it is called, minutes of a build
//! that no change elsewhere should cost again.

#![forbid(unsafe_code)]

use std::cell::RefCell;

use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::{U8, U8x3, U8x4};
use fir::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

/// How the colours of new pixels are made of old ones. All but [`Nearest`](Self::Nearest) are antialiased: where a
/// picture shrinks, the filter widens with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The sharpest; halos of a few percent at hard edges.
    #[default]
    Lanczos3,
    /// Catmull–Rom (a = −0.5), as Pillow's `BICUBIC`.
    Bicubic,
    /// A triangle, as torchvision's default with antialiasing.
    Bilinear,
    /// The mean of the area that a new pixel covers.
    Box,
    /// One old pixel for each new one: for pixel art that is enlarged.
    Nearest,
}

thread_local! {
    // Keeps its scratch memory and coefficient tables between images.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Resizes `pixels` (`[height, width, channels]` bytes, of `from`'s height and width) into `out` (of `to`'s); equal sizes are copied. Four channels
/// are taken for colours and alpha, and resized as premultiplied colours.
///
/// # Errors
/// One line, where a length is not what the sizes ask for, or a side is 0 or beyond what the library takes.
///
/// # Panics
/// If `channels` is not 1, 3 or 4.
pub fn resample(
    pixels: &[u8],
    from: [usize; 2],
    out: &mut [u8],
    to: [usize; 2],
    channels: usize,
    filter: Filter,
) -> Result<(), String> {
    let wanted = |[height, width]: [usize; 2]| height * width * channels;
    if (pixels.len(), out.len()) != (wanted(from), wanted(to))
        || pixels.is_empty()
        || out.is_empty()
    {
        let lengths =
            format!("{} and {} bytes for {from:?} and {to:?} pixels", pixels.len(), out.len());
        return Err(format!("cannot resize: {lengths} of {channels} channels"));
    }
    if from == to {
        out.copy_from_slice(pixels);
        return Ok(());
    }
    let algorithm = match filter {
        Filter::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Box => ResizeAlg::Convolution(FilterType::Box),
        Filter::Nearest => ResizeAlg::Nearest,
    };
    let options = ResizeOptions::new().resize_alg(algorithm);
    let resample = match channels {
        1 => typed::<U8>,
        3 => typed::<U8x3>,
        4 => typed::<U8x4>,
        other => panic!("pictures of {other} channels: 1, 3 and 4 can be resized"),
    };
    resample(pixels, from, out, to, &options).map_err(|error| format!("cannot resize: {error}"))
}

/// By the kind of pixels: the library's own choice would compile every filter for all the kinds that it knows.
fn typed<P: PixelTrait>(
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
