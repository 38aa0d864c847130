//! How an image is turned: the orientation of EXIF metadata, else of XMP, as Pillow's
//! `ImageOps.exif_transpose` reads them.

use image::metadata::Orientation;

use super::ifd::Ifd;

/// EXIF's and TIFF's tag.
pub(super) const TAG: u16 = 0x0112;

/// The orientation that EXIF metadata or XMP declare.
pub(super) fn of_metadata(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Option<Orientation> {
    of_number(exif.and_then(of_exif).or_else(|| xmp.and_then(of_xmp))?)
}

/// The orientation of a number from 1 to 8.
pub(super) fn of_number(value: u64) -> Option<Orientation> {
    Orientation::from_exif(u8::try_from(value).ok()?)
}

fn of_exif(mut exif: &[u8]) -> Option<u64> {
    // WebP and PNG files have the prefix of JPEG's segment or not.
    while let Some(rest) = exif.strip_prefix(b"Exif\0\0") {
        exif = rest;
    }
    Ifd::first(exif)?.whole_number(TAG)
}

/// The digit of `tiff:Orientation="8"` or `<tiff:Orientation>8`.
fn of_xmp(xmp: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(xmp);
    text.split("tiff:Orientation").skip(1).find_map(|rest| {
        let digit = rest.strip_prefix("=\"").or_else(|| rest.strip_prefix('>'))?.chars().next()?;
        digit.to_digit(10).map(u64::from)
    })
}
