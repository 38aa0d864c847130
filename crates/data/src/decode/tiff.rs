//! TIFF files: the library unpacks the samples, and their meaning is applied here.
//!
//! Many tags change what samples mean, and the library reads some of them wrongly or not at all.
//! So it is asked for plain samples, and a file with a meaning that is not known here is refused in
//! words. Pixels are those of Pillow and libtiff.

use std::io::Cursor;

use image::DynamicImage;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use weezl::BitOrder;
use weezl::decode::Configuration;

use super::ifd::Ifd;
use super::{
    EncodedImage, MAX_DECODED_BYTES, from_samples, jpeg, one_line, orientation, over_black_ink,
    reduce,
};

mod tag {
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC_INTERPRETATION: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const STRIP_BYTE_COUNTS: u16 = 279;
    pub const PLANAR_CONFIGURATION: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
    pub const INK_SET: u16 = 332;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const YCBCR_SUBSAMPLING: u16 = 530;
    pub const XMP: u16 = 700;
}

const LZW: u64 = 5;
const JPEG: u64 = 7;
const DEFLATE: [u64; 2] = [8, 32946];

/// Bytes that a tile of LZW data gets beyond its own.
const LZW_PADDING: usize = 16;

/// What the first samples of a pixel are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

/// The layout of a file whose meaning is known.
struct SampleLayout {
    size: [usize; 2],
    photometric: Photometric,
    bits: usize,
    samples: usize,
    planar: bool,
    /// The sample that is alpha, and whether colors are multiplied by it.
    alpha: Option<(usize, bool)>,
    /// Offset and length of each strip or tile.
    chunks: Vec<(usize, usize)>,
    /// Whether the bits of each byte are in reverse order.
    reversed: bool,
    /// Reds, greens, blues of a palette.
    color_map: Vec<u8>,
    /// The bytes of an unpacked tile, if the tiles are LZW data.
    lzw_tile: Option<u64>,
    /// Bytes that replace those of the file, by their offsets.
    patches: Vec<(usize, Vec<u8>)>,
}

pub(super) fn open(bytes: &[u8]) -> Result<EncodedImage<'_>, String> {
    let ifd = Ifd::first(bytes).ok_or("its directory is damaged")?;
    let layout = layout(bytes, &ifd)?;
    let [width, height] = layout.size;
    let length = (width as u64 * height as u64)
        .saturating_mul(layout.samples as u64)
        .saturating_mul(layout.bits.max(8) as u64 / 8);
    Ok(EncodedImage {
        size: [width as u64, height as u64],
        length,
        orientation: match ifd.whole_number(orientation::TAG) {
            Some(value) => orientation::of_number(value),
            None => {
                let xmp = ifd.place(tag::XMP).and_then(|place| bytes.get(place));
                orientation::of_metadata(None, xmp)
            }
        },
        read: Box::new(move || read(bytes, &layout)),
    })
}

fn layout(bytes: &[u8], ifd: &Ifd<'_>) -> Result<SampleLayout, String> {
    let number = |tag, default| ifd.integer(tag).unwrap_or(default);
    let required = |tag, name: &str| ifd.integer(tag).ok_or(format!("it lacks the tag {name}"));
    let size = [required(tag::WIDTH, "ImageWidth")?, required(tag::HEIGHT, "ImageLength")?];
    let samples = number(tag::SAMPLES_PER_PIXEL, 1) as usize;
    let uniform = |tag, default| {
        let values = ifd.integers(tag);
        let first = values.first().copied().unwrap_or(default);
        values.iter().all(|&value| value == first).then_some(first)
    };
    let bits = uniform(tag::BITS_PER_SAMPLE, 1).ok_or("samples of several depths are not read")?;
    let format = uniform(tag::SAMPLE_FORMAT, 1).ok_or("samples of several kinds are not read")?;
    match (format, bits) {
        (1, 1 | 2 | 4 | 8 | 16) => {}
        (1, _) => {
            return Err(format!("samples of {bits} bits are not read: save them with 8 or 16"));
        }
        _ => {
            let kind = match format {
                2 => "signed",
                3 => "floating-point",
                4 => "undefined",
                _ => "complex",
            };
            return Err(format!("{kind} samples are not read: save them as unsigned 8 or 16 bits"));
        }
    }
    let compression = number(tag::COMPRESSION, 1);
    if let Some(name) = unread_compression(compression) {
        return Err(format!("TIFF's compression {name} is not read: save it with LZW or Deflate"));
    }
    // libtiff ignores the predictor of other compressions.
    let predicts = compression == LZW || DEFLATE.contains(&compression);
    let predictor = if predicts { number(tag::PREDICTOR, 1) } else { 1 };
    if predictor != 1 && (predictor != 2 || bits < 8) {
        return Err(format!(
            "predictor {predictor} is not read with samples of {bits} bits: save it without a \
             predictor"
        ));
    }
    let number_of = required(tag::PHOTOMETRIC_INTERPRETATION, "PhotometricInterpretation")?;
    let (photometric, colors) = photometric(number_of)?;
    if photometric == Photometric::Cmyk && number(tag::INK_SET, 1) != 1 {
        return Err("inks other than cyan, magenta, yellow and black are not read".to_owned());
    }
    if photometric == Photometric::Cmyk && compression == JPEG {
        return Err("CMYK compressed as JPEG is not read in TIFF: save it as RGB".to_owned());
    }
    let subsampling = ifd.integers(tag::YCBCR_SUBSAMPLING);
    if photometric == Photometric::YCbCr && compression != JPEG && subsampling != [1, 1] {
        return Err("subsampled YCbCr is read in TIFF only as JPEG: save it as RGB".to_owned());
    }
    let extra = samples.checked_sub(colors).ok_or_else(|| {
        format!("it has {samples} samples per pixel where its colors need {colors}")
    })?;
    let meanings = ifd.integers(tag::EXTRA_SAMPLES);
    // CorelDRAW writes 999 for alpha.
    let alpha = meanings.iter().take(extra).position(|&meaning| matches!(meaning, 1 | 2 | 999));
    if alpha.is_none() && extra > 1 && colors == 1 {
        return Err(format!(
            "{samples} bands are not read, as they are not colors: save it as RGB"
        ));
    }
    let color_map = match photometric {
        Photometric::Palette => color_map(ifd, bits as usize)?,
        _ => Vec::new(),
    };
    let tiled = ifd.has(tag::TILE_OFFSETS);
    let planar = number(tag::PLANAR_CONFIGURATION, 1) == 2 && samples > 1;
    if planar && tiled {
        return Err("tiles in separate planes are not read: save it without tiles".to_owned());
    }
    let chunks = chunks(ifd, tiled);
    let lzw_tile = (tiled && compression == LZW).then(|| {
        let row = number(tag::TILE_WIDTH, 0).saturating_mul(samples as u64).saturating_mul(bits);
        row.div_ceil(8).saturating_mul(number(tag::TILE_LENGTH, 0))
    });
    if lzw_tile.is_some_and(|length| length > MAX_DECODED_BYTES) {
        return Err(format!("its tiles have more than {} MiB", MAX_DECODED_BYTES >> 20));
    }
    if compression == JPEG {
        for &(start, length) in &chunks {
            let end = start.saturating_add(length);
            jpeg::check_tiff_chunk(bytes.get(start..end).ok_or("it ends early")?)?;
        }
    }
    // "Black is zero", and no predictor where libtiff ignores it.
    let mut ones = vec![tag::PHOTOMETRIC_INTERPRETATION];
    if !predicts {
        ones.push(tag::PREDICTOR);
    }
    let patch = |place: std::ops::Range<usize>| {
        let mut one = vec![0; place.len()];
        one[if ifd.big_endian { place.len() - 1 } else { 0 }] = 1;
        (place.start, one)
    };
    Ok(SampleLayout {
        size: size.map(|side| side as usize),
        photometric,
        bits: bits as usize,
        samples,
        planar,
        alpha: alpha.map(|at| (colors + at, meanings[at] == 1)),
        chunks,
        reversed: number(tag::FILL_ORDER, 1) == 2 && compression != JPEG,
        color_map,
        lzw_tile,
        patches: ones
            .into_iter()
            .filter_map(|tag| ifd.place(tag))
            .filter(|place| !place.is_empty())
            .map(patch)
            .collect(),
    })
}

/// The kind of colors, and the number of their samples.
fn photometric(number: u64) -> Result<(Photometric, usize), String> {
    let name = match number {
        0 => return Ok((Photometric::WhiteIsZero, 1)),
        1 => return Ok((Photometric::BlackIsZero, 1)),
        2 => return Ok((Photometric::Rgb, 3)),
        3 => return Ok((Photometric::Palette, 1)),
        5 => return Ok((Photometric::Cmyk, 4)),
        6 => return Ok((Photometric::YCbCr, 3)),
        4 => "a transparency mask",
        8 => "CIE L*a*b* colors",
        9 => "ICC L*a*b* colors",
        10 => "ITU L*a*b* colors",
        32803 => "a sensor's color filter array",
        32844 => "LogL luminances",
        32845 => "LogLuv colors",
        34892 => "a camera's linear samples",
        _ => return Err(format!("TIFF's color space {number} is not known: save it as RGB")),
    };
    Err(format!("{name} are not read from TIFF: save it as RGB")
        .replace("mask are", "mask is")
        .replace("array are", "array is"))
}

/// The name of a compression that is not read.
fn unread_compression(number: u64) -> Option<String> {
    let name = match number {
        1 | 4 | 5 | 7 | 8 | 32773 | 32946 => return None,
        2 => "CCITT RLE",
        3 => "CCITT Group 3",
        6 => "\"old-style\" JPEG",
        32809 => "ThunderScan",
        34661 => "JBIG",
        34676 | 34677 => "SGILog",
        34712 => "JPEG 2000",
        34887 => "LERC",
        34925 => "LZMA",
        50000 => "Zstandard",
        50001 => "WebP",
        50002 => "JPEG XL",
        _ => return Some(number.to_string()),
    };
    Some(name.to_owned())
}

/// The palette in 8 bits.
fn color_map(ifd: &Ifd<'_>, bits: usize) -> Result<Vec<u8>, String> {
    let values = ifd.integers(tag::COLOR_MAP);
    if bits > 8 || values.len() != 3 << bits {
        return Err(format!("its palette has {} values for indices of {bits} bits", values.len()));
    }
    if values.iter().all(|&value| value < 256) && values.iter().any(|&value| value > 0) {
        return Err("its palette has 8 bits per color where TIFF has 16: save it as RGB".to_owned());
    }
    Ok(values.iter().map(|&value| (value >> 8) as u8).collect())
}

fn chunks(ifd: &Ifd<'_>, tiled: bool) -> Vec<(usize, usize)> {
    let (offsets, lengths) = match tiled {
        true => (tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS),
        false => (tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS),
    };
    let pairs = ifd.integers(offsets).into_iter().zip(ifd.integers(lengths));
    pairs.map(|(start, length)| (start as usize, length as usize)).collect()
}

fn read(original: &[u8], layout: &SampleLayout) -> Result<DynamicImage, String> {
    let mut bytes = original.to_vec();
    for (at, value) in &layout.patches {
        bytes[*at..*at + value.len()].copy_from_slice(value);
    }
    if layout.reversed {
        for &(start, length) in &layout.chunks {
            let end = start.saturating_add(length).min(bytes.len());
            bytes.get_mut(start..end).ok_or("it ends early")?.iter_mut().for_each(|byte| {
                *byte = byte.reverse_bits();
            });
        }
    }
    if let Some(length) = layout.lzw_tile {
        for &(start, packed) in &layout.chunks {
            let chunk = bytes.get(start..start.saturating_add(packed)).ok_or("it ends early")?;
            check_lzw(chunk, length as usize)?;
        }
        pad_lzw_tiles(&mut bytes, original, layout);
    }
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_DECODED_BYTES as usize;
    limits.intermediate_buffer_size = MAX_DECODED_BYTES as usize;
    let mut decoder =
        Decoder::new(Cursor::new(bytes)).map_err(|error| one_line(&error))?.with_limits(limits);
    let mut packed = DecodingResult::U8(Vec::new());
    decoder
        .read_image_to_buffer(&mut packed)
        .map_err(|error| format!("its pixels cannot be unpacked: {}", one_line(&error)))?;
    let samples = interleave(unpack(packed, layout)?, layout);
    let (channels, pixels) = colors(&samples, layout);
    from_samples(layout.size, channels, pixels)
}

/// Checks that LZW data unpack to `length` bytes at least.
fn check_lzw(packed: &[u8], length: usize) -> Result<(), String> {
    let mut decoder = Configuration::with_tiff_size_switch(BitOrder::Msb, 8).build();
    let (mut read, mut unpacked, mut written) = (0, vec![0; length], 0);
    while written < length {
        let step = decoder.decode_bytes(&packed[read..], &mut unpacked[written..]);
        if step.status.is_err() {
            return Err("its LZW data are damaged".to_owned());
        }
        if step.consumed_in == 0 && step.consumed_out == 0 {
            return Err("its LZW data end early".to_owned());
        }
        (read, written) = (read + step.consumed_in, written + step.consumed_out);
    }
    Ok(())
}

/// Makes tiles of LZW data longer by bytes that mean nothing. The library unpacks a tile row by
/// row, and takes it for cut off when rows follow from bits that its decoder holds and there is no
/// further byte. The tiles must be known to be whole.
fn pad_lzw_tiles(bytes: &mut Vec<u8>, original: &[u8], layout: &SampleLayout) {
    let place = Ifd::first(original).and_then(|ifd| {
        let count = ifd.integers(tag::TILE_BYTE_COUNTS).len().max(1);
        let place = ifd.place(tag::TILE_BYTE_COUNTS)?;
        Some((place.len() / count, place, ifd.big_endian))
    });
    let Some((width @ 1..=8, place, big_endian)) = place else { return };
    for (number, (_, length)) in bytes[place].chunks_exact_mut(width).zip(&layout.chunks) {
        let padded = (length + LZW_PADDING) as u64;
        if padded.checked_shr(8 * width as u32).unwrap_or(0) == 0 {
            number.copy_from_slice(&padded.to_le_bytes()[..width]);
            if big_endian {
                number.reverse();
            }
        }
    }
    bytes.extend([0; LZW_PADDING]);
}

/// The samples in 8 bits, indices of a palette as they are.
fn unpack(packed: DecodingResult, layout: &SampleLayout) -> Result<Vec<u8>, String> {
    let [width, height] = layout.size;
    let SampleLayout { bits, samples, .. } = *layout;
    let (rows, row) =
        if layout.planar { (height * samples, width) } else { (height, width * samples) };
    let unpacked: Vec<u8> = match packed {
        DecodingResult::U16(values) => values.iter().map(|&v| reduce(v)).collect(),
        DecodingResult::U8(values) if bits == 8 => values,
        DecodingResult::U8(values) => {
            let scale = match layout.photometric {
                Photometric::Palette => 1,
                _ => 255 / ((1 << bits) - 1) as u8,
            };
            let value = |row: &[u8], x: usize| {
                let shift = 8 - bits - x * bits % 8;
                (row[x * bits / 8] >> shift & ((1 << bits) - 1) as u8) * scale
            };
            let bytes = (row * bits).div_ceil(8);
            values
                .chunks_exact(bytes)
                .flat_map(|line| (0..row).map(move |x| value(line, x)))
                .collect()
        }
        _ => return Err("its samples are of another kind than it declares".to_owned()),
    };
    match unpacked.len() == rows * row {
        true => Ok(unpacked),
        false => {
            Err(format!("it holds {} samples where {} are declared", unpacked.len(), rows * row))
        }
    }
}

/// The samples pixel after pixel.
fn interleave(samples: Vec<u8>, layout: &SampleLayout) -> Vec<u8> {
    if !layout.planar {
        return samples;
    }
    let plane = samples.len() / layout.samples;
    (0..samples.len()).map(|k| samples[k % layout.samples * plane + k / layout.samples]).collect()
}

/// Gray or RGB, with alpha or without.
fn colors(samples: &[u8], layout: &SampleLayout) -> (usize, Vec<u8>) {
    let gray = matches!(layout.photometric, Photometric::WhiteIsZero | Photometric::BlackIsZero);
    let channels = if gray { 1 } else { 3 } + usize::from(layout.alpha.is_some());
    let mut out = Vec::with_capacity(samples.len() / layout.samples * channels);
    for pixel in samples.chunks_exact(layout.samples) {
        let start = out.len();
        match layout.photometric {
            Photometric::WhiteIsZero => out.push(255 - pixel[0]),
            Photometric::BlackIsZero => out.push(pixel[0]),
            Photometric::Rgb => out.extend_from_slice(&pixel[..3]),
            Photometric::Palette => {
                let third = layout.color_map.len() / 3;
                out.extend((0..3).map(|c| layout.color_map[c * third + usize::from(pixel[0])]));
            }
            Photometric::Cmyk => {
                out.extend((0..3).map(|c| over_black_ink(pixel[c], pixel[3])));
            }
            Photometric::YCbCr => out.extend(from_ycbcr([pixel[0], pixel[1], pixel[2]])),
        }
        if let Some((at, associated)) = layout.alpha {
            let alpha = pixel[at];
            if associated && alpha > 0 {
                let straight = |v: u8| {
                    ((u32::from(v) * 255 + u32::from(alpha) / 2) / u32::from(alpha)).min(255)
                };
                out[start..].iter_mut().for_each(|v| *v = straight(*v) as u8);
            }
            out.push(alpha);
        }
    }
    (channels, out)
}

/// JFIF's conversion (ITU-R BT.601, full range), which TIFF's default coefficients are too.
fn from_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|v| v.round().clamp(0.0, 255.0) as u8)
}
