//! JPEG files: whether they are complete, and which decoder reads them as libjpeg does.
//!
//! The image library's decoder is the faster one, but reads some kinds wrongly or not at all:
//! sequential files of several scans, unusual subsampling, subsampled colors that end within a
//! block, lossless files, and colors for which two of its markers disagree. Those go to
//! `jpeg_decoder`. Both interpolate the subsampled colors of an image at most 4 pixels wide, which
//! libjpeg repeats: where that differs, the file is refused.

use std::borrow::Cow;
use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::{
    EncodedImage, MAX_DECODED_BYTES, from_samples, one_line, open_by_library, orientation,
    over_black_ink, reduce,
};

pub(super) fn open(bytes: &[u8]) -> Result<EncodedImage<'_>, String> {
    let header = Header::read(bytes);
    let frame = header.check()?;
    let orientation = orientation::of_metadata(Some(&header.exif), header.xmp);
    if header.is_common(frame) {
        let image = open_by_library(Cow::Borrowed(bytes), ImageFormat::Jpeg, None)?;
        return Ok(EncodedImage { orientation, ..image });
    }
    let transform = header.color_transform(frame);
    let [width, height] = frame.size.map(u64::from);
    Ok(EncodedImage {
        size: [width, height],
        length: width * height * frame.components.len() as u64,
        orientation,
        read: Box::new(move || read_uncommon(bytes, transform)),
    })
}

/// Checks a strip or tile of a TIFF file.
pub(super) fn check_tiff_chunk(chunk: &[u8]) -> Result<(), String> {
    let header = Header::read(chunk);
    let frame = header.check()?;
    // The library reads gray with alpha, two components, as something else.
    match header.is_common(frame) && frame.components.len() != 2 {
        true => Ok(()),
        false => {
            Err("its kind of JPEG is not read in TIFF: save it with LZW or Deflate".to_owned())
        }
    }
}

fn read_uncommon(bytes: &[u8], transform: ColorTransform) -> Result<DynamicImage, String> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_max_decoding_buffer_size(MAX_DECODED_BYTES as usize);
    decoder.set_color_transform(transform);
    let samples = decoder.decode().map_err(|error| one_line(&error))?;
    let info = decoder.info().ok_or("it has no frame")?;
    let (channels, pixels) = match info.pixel_format {
        PixelFormat::L8 => (1, samples),
        PixelFormat::L16 => {
            let wide = samples.chunks_exact(2).map(|v| u16::from_ne_bytes([v[0], v[1]]));
            (1, wide.map(reduce).collect())
        }
        PixelFormat::RGB24 => (3, samples),
        PixelFormat::CMYK32 => {
            let inks = samples.chunks_exact(4);
            (3, inks.flat_map(|p| [0, 1, 2].map(|c| over_black_ink(p[c], p[3]))).collect())
        }
    };
    let size = [info.width, info.height].map(usize::from);
    from_samples(size, channels, pixels)
}

/// The contents of a file's markers.
#[derive(Default)]
struct Header<'a> {
    /// Whether the markers lead from the start of the image to its end (EOI). The decoders are
    /// lenient: they fill missing rows with gray and report success, which is right for a viewer
    /// and wrong for a training set.
    complete: bool,
    frame: Option<FrameHeader>,
    /// The number of scans.
    scans: usize,
    jfif: bool,
    /// The color transform of Adobe's marker.
    adobe: Option<u8>,
    /// Without its prefix; empty if there is none.
    exif: Vec<u8>,
    xmp: Option<&'a [u8]>,
}

/// The frame header (SOF).
struct FrameHeader {
    /// The low four bits of the marker: the coding process.
    process: u8,
    precision: u8,
    /// Width and height.
    size: [u16; 2],
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Horizontal and vertical sampling factors.
    sampling: [u8; 2],
    /// A bit for each coefficient (in zigzag order) that the scans give to its last bit.
    exact: u64,
}

impl Component {
    /// Whether libjpeg estimates the first coefficients from the neighboring blocks.
    fn is_smoothed(&self) -> bool {
        const FIRST: u64 = 0x3FE;
        self.exact & FIRST != FIRST
    }
}

impl<'a> Header<'a> {
    /// Walks the markers (ITU-T T.81, B.1.1), since a search for the end would find the one of an
    /// embedded thumbnail. Bytes after the end are ignored.
    fn read(bytes: &'a [u8]) -> Self {
        let mut header = Self::default();
        let mut at = 2; // after SOI
        // Between segments, and in entropy-coded data, the next marker is the next 0xFF that is not
        // followed by 0x00 (a stuffed byte), 0xFF (fill) or a restart marker.
        while let Some(marker) = next_marker(bytes, &mut at) {
            match marker {
                0xD9 => {
                    header.complete = true;
                    break;
                }
                // TEM and SOI have no length.
                0x01 | 0xD8 => continue,
                _ => {}
            }
            let Some(&[high, low]) = bytes.get(at..at + 2) else { break };
            let length = usize::from(u16::from_be_bytes([high, low])).max(2);
            let segment = bytes.get(at + 2..at + length).unwrap_or_default();
            at += length;
            match marker {
                0xC4 | 0xC8 | 0xCC => {}
                0xC0..=0xCF => {
                    header.frame = header.frame.or_else(|| FrameHeader::read(marker, segment))
                }
                0xDA => {
                    header.scans += 1;
                    header.frame.iter_mut().for_each(|frame| frame.add_scan(segment));
                }
                // Readers look for metadata before the image.
                0xE0..=0xEF if header.scans > 0 => {}
                0xE0 => header.jfif |= segment.starts_with(b"JFIF\0"),
                0xE1 => match segment.strip_prefix(b"Exif\0\0") {
                    // More than 64 KB continue in the next segment.
                    Some(exif) => header.exif.extend_from_slice(exif),
                    None => {
                        let xmp = segment.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0");
                        header.xmp = xmp.or(header.xmp);
                    }
                },
                0xEE if segment.starts_with(b"Adobe") => header.adobe = segment.get(11).copied(),
                _ => {}
            }
        }
        header
    }

    /// The frame of a complete file of a kind that is read.
    fn check(&self) -> Result<&FrameHeader, String> {
        if !self.complete {
            return Err("the JPEG data end early".to_owned());
        }
        let frame = self.frame.as_ref().ok_or("the JPEG data have no frame header")?;
        let problem = match (frame.process, frame.precision) {
            (2, 8) if frame.components.iter().any(Component::is_smoothed) => {
                "a progressive JPEG without some of its scans is not read".to_owned()
            }
            (0..=2, 8) | (3, _) if frame.repeats_columns() => {
                "its subsampled colors are at most 2 columns wide, which are not read: save it as \
                 PNG"
                .to_owned()
            }
            (0..=2, 8) | (3, _) => return Ok(frame),
            (0..=2, bits) => format!("JPEG of {bits} bits is not read: save it with 8"),
            (9..=11 | 13..=15, _) => "JPEG's arithmetic coding is not read".to_owned(),
            _ => "hierarchical JPEG is not read".to_owned(),
        };
        Err(problem)
    }

    /// Whether the image library reads a frame rightly.
    fn is_common(&self, frame: &FrameHeader) -> bool {
        let progressive = frame.process == 2;
        let [first, rest @ ..] = frame.components.as_slice() else { return false };
        let sampled = rest.iter().all(|component| {
            let [h, v] = [0, 1].map(|k| first.sampling[k].checked_div(component.sampling[k]));
            h.is_some_and(u8::is_power_of_two) && v.is_some_and(u8::is_power_of_two)
        });
        let disputed =
            self.jfif && frame.components.len() == 3 && (self.adobe == Some(0) || frame.is_rgb());
        frame.process != 3
            && (progressive || self.scans == 1)
            && sampled
            && !frame.ends_in_padding()
            && !disputed
    }

    /// The colors that libjpeg takes the components for.
    fn color_transform(&self, frame: &FrameHeader) -> ColorTransform {
        match (frame.components.len(), self.jfif, self.adobe) {
            // Lossless files are not transformed.
            (3, _, _) if frame.process == 3 => ColorTransform::RGB,
            (3, true, _) => ColorTransform::YCbCr,
            (3, false, Some(0)) => ColorTransform::RGB,
            (3, false, None) if frame.is_rgb() => ColorTransform::RGB,
            (3, ..) => ColorTransform::YCbCr,
            (4, _, None | Some(0)) => ColorTransform::CMYK,
            (4, ..) => ColorTransform::YCCK,
            _ => ColorTransform::Grayscale,
        }
    }
}

impl FrameHeader {
    fn read(marker: u8, segment: &[u8]) -> Option<Self> {
        let &[precision, h0, h1, w0, w1, count, ref rest @ ..] = segment else { return None };
        let component =
            |c: &[u8]| Component { id: c[0], sampling: [c[1] >> 4, c[1] & 15], exact: 0 };
        Some(Self {
            process: marker & 15,
            precision,
            size: [u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1])],
            components: rest.chunks_exact(3).take(count.into()).map(component).collect(),
        })
    }

    /// Notes the coefficients that a scan gives to the last bit, by its header (SOS).
    fn add_scan(&mut self, header: &[u8]) {
        let Some((&count, rest)) = header.split_first() else { return };
        let Some((selected, &[start, end, bits])) = rest.split_at_checked(2 * usize::from(count))
        else {
            return;
        };
        if bits & 15 > 0 || start > end || end > 63 {
            return;
        }
        let coefficients = u64::MAX << start & u64::MAX >> (63 - end);
        for component in &mut self.components {
            if selected.chunks_exact(2).any(|scan| scan[0] == component.id) {
                component.exact |= coefficients;
            }
        }
    }

    /// Whether libjpeg repeats samples that others interpolate: those of a component with half the
    /// columns, all or half of the rows, and at most 2 columns (`jinit_upsampler` in jdsample.c).
    fn repeats_columns(&self) -> bool {
        self.components.iter().any(|component| {
            let [columns, rows] = [0, 1].map(|axis| self.samples(component, axis));
            // A single sample is the same either way.
            let differs = columns == 2 || columns == 1 && self.is_half(component, 1) && rows > 1;
            let has_all_rows = component.sampling[1] == self.most(1);
            self.is_half(component, 0) && (has_all_rows || self.is_half(component, 1)) && differs
        })
    }

    /// Whether the last column or row of an image lies between the last sample of a component with
    /// half of them and what fills its last block. The image library interpolates between both,
    /// where libjpeg repeats the sample.
    fn ends_in_padding(&self) -> bool {
        self.components.iter().any(|component| {
            [0, 1].into_iter().any(|axis| {
                let samples = self.samples(component, axis);
                self.is_half(component, axis)
                    && 2 * samples == u32::from(self.size[axis])
                    && !samples.is_multiple_of(8 * u32::from(component.sampling[axis]))
            })
        })
    }

    /// The largest sampling factor of an axis.
    fn most(&self, axis: usize) -> u8 {
        self.components.iter().map(|component| component.sampling[axis]).max().unwrap_or(1).max(1)
    }

    fn is_half(&self, component: &Component, axis: usize) -> bool {
        2 * component.sampling[axis] == self.most(axis)
    }

    /// The samples of a component along an axis.
    fn samples(&self, component: &Component, axis: usize) -> u32 {
        let [side, factor] = [self.size[axis], component.sampling[axis].into()].map(u32::from);
        (side * factor).div_ceil(self.most(axis).into())
    }

    /// Whether the components are called R, G and B.
    fn is_rgb(&self) -> bool {
        self.components.iter().map(|component| component.id).eq(*b"RGB")
    }
}

fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let start = bytes.get(*at..)?.iter().position(|&byte| byte == 0xFF)?;
        *at += start + 1;
        match *bytes.get(*at)? {
            0xFF => {}
            0x00 | 0xD0..=0xD7 => *at += 1,
            marker => {
                *at += 1;
                return Some(marker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_images_own_end_counts() {
        let thumbnail = [0xFF, 0xD8, 0xFF, 0xD9];
        let app1 = [&[0xFF, 0xE1, 0, 6][..], &thumbnail].concat();
        let scan = [0xFF, 0xDA, 0, 3, 9, 0x11, 0xFF, 0x00, 0xFF, 0xD0, 0x22];
        let whole = [&[0xFF, 0xD8][..], &app1, &scan, &[0xFF, 0xFF, 0xD9], b"trailer"].concat();
        assert!(Header::read(&whole).complete);
        let end = whole.len() - b"trailer".len();
        for length in 0..end {
            assert!(!Header::read(&whole[..length]).complete, "cut at {length} of {end}");
        }
    }
}
