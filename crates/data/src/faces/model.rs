//! A face detector's model: the built-in one, or a file in the same format (SeetaFace's, by
//! `rustface`).
//!
//! That crate uses a file's values as memory offsets without checking them. So the file is walked
//! here first, without trusting a number and without an allocation: only a model that the
//! detector's loops can use is passed on. Little-endian, all values of 32 bits:
//!
//! ```text
//! hierarchies; for each: detectors; for each: stages; for each stage: kind, classifier;
//!     then sources, [source]
//! classifier 0 (boosted):    features, bins, [x, y], [threshold], [[weight; bins + 1]]
//! classifier 1 (perceptron): layers, features, [feature], threshold, inputs,
//!     for each layer but the first: outputs, [weight], [bias]
//! ```

use std::fs;
use std::path::Path;

use rustface::Model;

use crate::decode::one_line;
use crate::error::{DataError, FileProblem};
use crate::quiet::catch_quietly;

static BUILT_IN: &[u8] = include_bytes!("../../models/seeta_fd_frontal_v1.0.bin");

const FORMAT_NAME: &str = "face detector";

/// The built-in model has 1.2 MB.
const MOST_BYTES: u64 = 64 << 20;
/// Hierarchies, detectors of each, stages of each: the built-in model has 3, 3 and 2.
const MAX_PARTS: i32 = 64;
/// Boosted features are summed in groups of this size, in a window of 40 pixels; each needs 9 of
/// them.
const GROUP: i32 = 10;
const LAST_PLACE: i32 = 31;
/// A boosted feature's value is a byte.
const BINS: i32 = 255;
/// The number of features of the perceptrons, and the values of each.
const FEATURES: i32 = 55;
const NUMBERS: i32 = 32;
/// Units of a layer; the last layer outputs the face score and the box.
const MOST_UNITS: i32 = 1 << 16;
const LEAST_OUTPUTS: i32 = 4;

/// Reads the file, or the built-in model.
///
/// # Errors
/// Returns an error if the file cannot be read or is not such a model.
pub(super) fn read(path: Option<&Path>) -> Result<Model, DataError> {
    let Some(path) = path else { return parse(BUILT_IN, Path::new("built in")) };
    let io = |error| DataError::Io { path: path.to_owned(), error };
    if fs::metadata(path).map_err(io)?.len() > MOST_BYTES {
        return Err(DataError::malformed(
            FORMAT_NAME,
            path,
            format!("it has more than {} MiB", MOST_BYTES >> 20),
        ));
    }
    parse(&file_io::read(path).map_err(io)?, path)
}

fn parse(bytes: &[u8], path: &Path) -> Result<Model, DataError> {
    let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, path, problem);
    check(bytes).map_err(bad)?;
    let read = || rustface::read_model(bytes).map_err(|error| one_line(&error));
    catch_quietly("its reader", read).map_err(|problem| bad(FileProblem::Damaged(problem)))
}

/// Checks that the detector can use all of the model's values.
fn check(bytes: &[u8]) -> Result<(), FileProblem> {
    let mut rest = ModelReader { bytes, length: bytes.len() };
    let hierarchies = rest.count("hierarchies", 1, MAX_PARTS)?;
    let mut first = 0;
    for hierarchy in 0..hierarchies {
        let detectors =
            rest.count("detectors", 1, if hierarchy == 0 { MAX_PARTS } else { first })?;
        if hierarchy == 0 {
            first = detectors;
        }
        for _ in 0..detectors {
            // The first hierarchy scans the whole image, with one boosted classifier per detector;
            // the others verify its candidates with perceptrons.
            let stages = rest.count("stages", 1, if hierarchy == 0 { 1 } else { MAX_PARTS })?;
            for _ in 0..stages {
                match (rest.number("a classifier")?, hierarchy) {
                    (0, 0) => boosted(&mut rest)?,
                    (1, 1..) => perceptron(&mut rest)?,
                    (kind, _) => {
                        return damaged(format!(
                            "it has a classifier of kind {kind} in hierarchy {hierarchy}"
                        ));
                    }
                }
            }
            // The first hierarchy has no sources, which files write as -1.
            let sources = rest.count("sources", if hierarchy == 0 { -1 } else { 1 }, MAX_PARTS)?;
            for _ in 0..sources {
                rest.count("a source", 0, first - 1)?;
            }
        }
    }
    match rest.bytes.len() {
        0 => Ok(()),
        more => damaged(format!("it continues for {more} bytes after its end")),
    }
}

fn boosted(rest: &mut ModelReader<'_>) -> Result<(), FileProblem> {
    let features = rest.count("boosted features", GROUP, 1 << 20)?;
    if features % GROUP != 0 {
        return damaged(format!("it has {features} boosted features, not a multiple of {GROUP}"));
    }
    rest.count("bins", BINS, BINS)?;
    for _ in 0..2 * features {
        rest.count("a feature's place", 0, LAST_PLACE)?;
    }
    rest.reals(features as usize * (1 + BINS as usize + 1))
}

fn perceptron(rest: &mut ModelReader<'_>) -> Result<(), FileProblem> {
    let layers = rest.count("layers", 3, MAX_PARTS)?;
    let features = rest.count("features", 1, MOST_UNITS / NUMBERS)?;
    for _ in 0..features {
        rest.count("a feature", 1, FEATURES)?;
    }
    rest.reals(1)?;
    let mut inputs = rest.count("inputs", features * NUMBERS, features * NUMBERS)?;
    for layer in 1..layers {
        let least = if layer + 1 == layers { LEAST_OUTPUTS } else { 1 };
        let outputs = rest.count("units", least, MOST_UNITS)?;
        rest.reals((inputs as usize + 1) * outputs as usize)?;
        inputs = outputs;
    }
    Ok(())
}

/// The bytes that are not checked yet.
struct ModelReader<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl ModelReader<'_> {
    fn number(&mut self, what: &str) -> Result<i32, FileProblem> {
        let Some((number, rest)) = self.bytes.split_first_chunk() else {
            return Err(self.truncated(what));
        };
        self.bytes = rest;
        Ok(i32::from_le_bytes(*number))
    }

    fn count(&mut self, what: &str, least: i32, most: i32) -> Result<i32, FileProblem> {
        let at = self.length - self.bytes.len();
        let number = self.number(what)?;
        if (least..=most).contains(&number) {
            return Ok(number);
        }
        let range =
            if least == most { format!("{least}") } else { format!("from {least} to {most}") };
        damaged(format!("byte {at} gives {number} for {what}, which must be {range}"))
    }

    /// Weights and thresholds, all of them finite.
    fn reals(&mut self, count: usize) -> Result<(), FileProblem> {
        let at = self.length - self.bytes.len();
        let Some((reals, rest)) = self.bytes.split_at_checked(4 * count) else {
            return Err(self.truncated("weights"));
        };
        self.bytes = rest;
        let finite =
            |real: &[u8]| real.try_into().is_ok_and(|real| f32::from_le_bytes(real).is_finite());
        match reals.chunks_exact(4).position(|real| !finite(real)) {
            None => Ok(()),
            Some(place) => damaged(format!("the weight at byte {} is not finite", at + 4 * place)),
        }
    }

    fn truncated(&self, what: &str) -> FileProblem {
        FileProblem::Truncated(format!("its {} bytes end before {what}", self.length))
    }
}

/// The refusal of a damaged model, or of a file that is not one.
fn damaged<T>(problem: String) -> Result<T, FileProblem> {
    Err(FileProblem::Damaged(problem + " (wanted is a model of SeetaFace's detector)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defect of a damaged copy.
    #[track_caller]
    fn problem(damage: impl FnOnce(&mut Vec<u8>)) -> FileProblem {
        let mut bytes = BUILT_IN.to_vec();
        damage(&mut bytes);
        match parse(&bytes, Path::new("x.bin")).err() {
            Some(DataError::Malformed { format: FORMAT_NAME, path, problem }) => {
                assert!(path == Path::new("x.bin") && !problem.to_string().contains('\n'));
                problem
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asserts that a damaged copy is refused for its `part`.
    #[track_caller]
    fn assert_damaged(part: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let problem = problem(damage);
        assert!(
            matches!(&problem, FileProblem::Damaged(text) if text.contains(part)),
            "{part}: {problem}"
        );
    }

    #[test]
    fn the_built_in_model_passes_and_damaged_ones_are_named() {
        read(None).unwrap();
        for (at, number, part) in [
            (0, -1, "hierarchies"),
            (0, i32::MAX, "hierarchies"),
            (4, 1 << 30, "detectors"),
            (8, 2, "stages"),
            (12, 1, "kind 1"),
            (12, 7, "kind 7"),
            (16, 151, "151 boosted features"),
            (16, i32::MIN, "for boosted features"),
            (20, 254, "bins"),
            (24, 32, "a feature's place"),
            (28, -1, "a feature's place"),
        ] {
            assert_damaged(part, |bytes| {
                bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            });
        }
        assert_damaged("byte 2000 is not finite", |bytes| {
            bytes[2000..2004].copy_from_slice(&f32::NAN.to_le_bytes());
        });
        for length in [0, 3, 4, 17, 30_000, BUILT_IN.len() - 1] {
            let problem = problem(|bytes| bytes.truncate(length));
            assert!(matches!(problem, FileProblem::Truncated(_)), "{length}: {problem}");
        }
        assert_damaged("after its end", |bytes| bytes.push(0));
        assert_damaged("hierarchies", |bytes| *bytes = b"\x89PNG\r\n\x1a\n".repeat(9));
    }

    #[test]
    fn changed_counts_anywhere_are_refused_or_harmless() {
        // A model that passes must be read without a panic and without more memory than its length.
        for step in 0..100 {
            let at = step * 12097 % (BUILT_IN.len() - 4);
            for number in [-1_i32, 0, 1, 60, i32::MAX] {
                let mut bytes = BUILT_IN.to_vec();
                bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
                if check(&bytes).is_ok() {
                    rustface::read_model(&bytes[..]).unwrap();
                }
            }
        }
    }
}
