//! The paper's dataset of faces: detects faces in arbitrary images and keeps the confident, large
//! boxes.
//!
//! Radford et al. (2016), section 4.2: "we run an OpenCV face detector on these images, keeping the
//! detections that are sufficiently high resolution". The detector here is SeetaFace's
//! (funnel-structured cascade), by the crate `rustface`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use imaging::Fit;
use rayon::prelude::*;
use rustface::{Detector, ImageData, Model};

use crate::decode::{DecodedImage, one_line};
use crate::error::{DataError, ImageError, SkippedImage};
use crate::fit::fit_image;
use crate::preprocess::Preprocess;
use crate::quiet::catch_quietly;
use crate::scan::ScanProgress;
use crate::source::Split;
use crate::spec::DataSpec;
use crate::split::{make_empty, require_outside};

mod model;

/// The table of the faces.
const TABLE: &str = "faces.csv";

/// The detector's window: no smaller face is found.
const WINDOW: u32 = 20;

/// Images are reduced until the smallest face wanted has this many pixels: more would take longer
/// and find no more.
const ENOUGH: u32 = 40;

/// Images per thread between two calls of the progress callback.
const BLOCK_PER_THREAD: usize = 4;

/// Which faces are kept, and the margin around them.
///
/// ```
/// let options = data::FaceOptions::default();
/// assert_eq!((options.min_size, options.margin), (48, 0.25));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaceOptions {
    /// The smallest side of a detected box, in the image's pixels; at least 20.
    pub min_size: u32,
    /// The lowest score of the detector, above 0: at 2 it finds nearly all faces and some false
    /// ones, from 5 on it is mostly right.
    pub min_score: f64,
    /// The margin added on each side, as a fraction of the box's side; from 0 to 10.
    pub margin: f64,
}

impl Default for FaceOptions {
    fn default() -> Self {
        Self { min_size: 48, min_score: 5.0, margin: 0.25 }
    }
}

/// The outcome of [`extract_faces`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaceCounts {
    /// Images examined, good and bad.
    pub images: usize,
    /// Faces written.
    pub faces: usize,
    /// Images without a face.
    pub without_faces: usize,
    /// Images that cannot be decoded.
    pub bad: Vec<SkippedImage>,
}

/// A detected face: a square in the image's pixels, which may exceed its edges.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Detection {
    x: f64,
    y: f64,
    side: f64,
    score: f64,
}

/// A face to be written.
struct FaceCrop {
    found: Detection,
    /// Left, top and side of the part that was cut out.
    cut: [u32; 3],
    png: Vec<u8>,
}

/// Detects faces in the images of `spec` and writes each, cut out as a square, to `out/000000.png`,
/// `out/000001.png`, … with a table `out/faces.csv` of their positions. The detector is the
/// built-in one, or the `model` in this file, of the same format (SeetaFace's). `progress` is
/// called from this thread.
///
/// Files are numbered in the images' order, independent of the number of threads.
///
/// # Errors
/// Returns an error if an option is out of range, if the data cannot be opened, if the file is not
/// a model, or if `out` is inside the data, is not empty or cannot be written. Bad images are left
/// out and listed.
pub fn extract_faces(
    spec: &DataSpec,
    out: &Path,
    options: FaceOptions,
    model: Option<&Path>,
    progress: &dyn Fn(ScanProgress),
) -> Result<FaceCounts, DataError> {
    let FaceOptions { min_size, min_score, margin } = options;
    if min_size < WINDOW
        || !(min_score > 0.0 && min_score.is_finite())
        || !(0.0..=10.0).contains(&margin)
    {
        return Err(DataError::FaceOptions { min_size, least: WINDOW, min_score, margin });
    }
    let model = model::read(model)?;
    let source = spec.open(Split::Train)?;
    require_outside(source.path(), out)?;
    let _lock = make_empty(out)?;
    let table_path = out.join(TABLE);
    let table = File::create_new(&table_path).map_err(DataError::write(&table_path))?;
    let mut table = csv::Writer::from_writer(table);
    let heads = ["file", "source", "score", "x", "y", "side", "cut_x", "cut_y", "cut_side"];
    table.write_record(heads).map_err(|error| table_error(&table_path, error))?;

    let total = source.len();
    let mut faces = FaceCounts { images: total, faces: 0, without_faces: 0, bad: Vec::new() };
    progress(ScanProgress { done: 0, total, skipped: 0 });
    let block_len = rayon::current_num_threads() * BLOCK_PER_THREAD;
    for start in (0..total).step_by(block_len) {
        let block = start..(start + block_len).min(total);
        let with = || detector(&model, options);
        let results: Vec<Result<Vec<FaceCrop>, ImageError>> = block
            .clone()
            .into_par_iter()
            .map_init(with, |detector, i| cut_out(&source.load(i)?, detector.as_mut(), options))
            .collect();
        for (index, result) in block.clone().zip(results) {
            let found = match result {
                Ok(found) => found,
                Err(error) => {
                    let (name, ordinal) = (source.name(index), faces.bad.len() + 1);
                    let reason = error.reason(&name)?;
                    faces.bad.push(SkippedImage { name, reason, ordinal, found: total });
                    continue;
                }
            };
            faces.without_faces += usize::from(found.is_empty());
            for face in found {
                let name = format!("{:06}.png", faces.faces);
                let path = out.join(&name);
                let mut file = File::create_new(&path).map_err(DataError::write(&path))?;
                file.write_all(&face.png).map_err(DataError::write(&path))?;
                table
                    .write_record(row(name, source.name(index), &face))
                    .map_err(|error| table_error(&table_path, error))?;
                faces.faces += 1;
            }
        }
        table.flush().map_err(DataError::write(&table_path))?;
        progress(ScanProgress { done: block.end, total, skipped: faces.bad.len() });
    }
    Ok(faces)
}

fn row(file: String, source: String, face: &FaceCrop) -> Vec<String> {
    let Detection { x, y, side, score } = face.found;
    let numbers = [score, x, y, side].map(|number| format!("{number:.1}"));
    [file, source]
        .into_iter()
        .chain(numbers)
        .chain(face.cut.map(|number| number.to_string()))
        .collect()
}

fn table_error(path: &Path, error: csv::Error) -> DataError {
    DataError::Write { path: path.to_owned(), error: error.into() }
}

fn detector(model: &Model, options: FaceOptions) -> Box<dyn Detector> {
    let mut detector = rustface::create_detector_with_model(model.clone());
    detector.set_min_face_size(options.min_size.min(ENOUGH));
    detector.set_score_thresh(options.min_score);
    detector.set_pyramid_scale_factor(0.8);
    detector.set_slide_window_step(4, 4);
    detector
}

fn cut_out(
    image: &DecodedImage<'_>,
    detector: &mut dyn Detector,
    options: FaceOptions,
) -> Result<Vec<FaceCrop>, ImageError> {
    let found = detect(image, detector, options)?;
    let cut = |found: Detection| {
        let [left, top, side] = square(found, [image.width, image.height], options.margin);
        Ok(FaceCrop { found, cut: [left, top, side], png: encode(image, left, top, side)? })
    };
    found.into_iter().map(cut).collect()
}

/// The faces that are large enough, from left to right.
fn detect(
    image: &DecodedImage<'_>,
    detector: &mut dyn Detector,
    options: FaceOptions,
) -> Result<Vec<Detection>, ImageError> {
    let scale = f64::from(options.min_size.max(ENOUGH)) / f64::from(ENOUGH);
    let side = |side: u32| ((f64::from(side) / scale).round() as u32).max(1);
    let (width, height) = (side(image.width), side(image.height));
    if width.min(height) < WINDOW {
        return Ok(Vec::new());
    }
    let to_gray = Preprocess {
        fit: Fit::Stretch,
        background: [255; 3],
        ..Preprocess::new([height, width], 1)
    };
    let mut gray = vec![0; width as usize * height as usize];
    fit_image(image, &to_gray, &mut gray)?;
    // Third-party code on untrusted images, as decoders are: a panic makes the image bad.
    let detect = || Ok(detector.detect(&ImageData::new(&gray, width, height)));
    let faces = catch_quietly("the face detector", detect)?;
    let in_image = |face: &rustface::FaceInfo| {
        let found = face.bbox();
        let [x, y] = [found.x(), found.y()].map(|at| f64::from(at) * scale);
        Detection {
            x,
            y,
            side: f64::from(found.width().max(found.height())) * scale,
            score: face.score(),
        }
    };
    let large = |found: &Detection| {
        found.side >= f64::from(options.min_size) && found.score >= options.min_score
    };
    let mut found: Vec<Detection> = faces.iter().map(in_image).filter(large).collect();
    found.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    Ok(found)
}

/// Left, top and side of the box with its margin, moved and if necessary made smaller to be inside
/// `[width, height]`.
fn square(found: Detection, [width, height]: [u32; 2], margin: f64) -> [u32; 3] {
    let side = (found.side * (1.0 + 2.0 * margin)).round().clamp(1.0, f64::from(width.min(height)));
    let place = |start: f64, extent: u32| {
        (start + found.side / 2.0 - side / 2.0).round().clamp(0.0, f64::from(extent) - side)
    };
    // In range by the clamps.
    [place(found.x, width) as u32, place(found.y, height) as u32, side as u32]
}

fn encode(image: &DecodedImage<'_>, left: u32, top: u32, side: u32) -> Result<Vec<u8>, String> {
    let [left, top, side, width] = [left, top, side, image.width].map(|number| number as usize);
    let channels = usize::from(image.channels);
    let rows = (top..top + side)
        .flat_map(|y| &image.pixels[(y * width + left) * channels..][..side * channels]);
    let pixels: Vec<u8> = rows.copied().collect();
    let color = match image.channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&pixels, side as u32, side as u32, color)
        .map_err(|error| one_line(&error))?;
    Ok(png)
}

#[cfg(test)]
mod tests;
