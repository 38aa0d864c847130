//! SVHN's cropped digits: `train_32x32.mat` and `test_32x32.mat` with `X` of 32×32×3×N bytes and
//! `y` of N labels, 10 for 0.
//!
//! <http://ufldl.stanford.edu/housenumbers/>. `extra_32x32.mat`, half a million easier digits, is
//! read if it is named.

use std::path::{Path, PathBuf};

use super::mat::{self, ElementType, MatArray};
use super::planar::{PixelOrder, PlanarPixels, PlanarSource};
use super::split_name::split_of;
use super::{Confidence, Format, first_file, no_split};
use crate::attributes::Attributes;
use crate::error::{DataError, FileProblem};
use crate::source::Split;

const FORMAT_NAME: &str = "SVHN file";
const SIDE: usize = 32;
const TRAIN: &str = "train_32x32.mat";
const TEST: &str = "test_32x32.mat";

pub(crate) static FORMAT: Format = Format {
    name: "svhn",
    about: "SVHN's cropped digits: a .mat file, or the folder with it",
    detect: |candidate| {
        Ok(match &candidate.start {
            None => Confidence::Certain.when(first_file(candidate.path, &[TRAIN, TEST]).is_some()),
            Some(start) => Confidence::Likely.when(start.starts_with(mat::MAGIC)),
        })
    },
    open: |path, split, _| Ok(Box::new(open(path, split)?)),
    image_shape: |_, _| Ok(Some([SIDE as u32, SIDE as u32, 3])),
};

/// Opens a folder of files, or one file.
fn open(path: &Path, split: Split) -> Result<PlanarSource, DataError> {
    let file = mat_file(path, split)?;
    let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, &file, problem);
    let mut arrays = mat::read(&file, &["X", "y"])?;
    let mut take = |name: &str| {
        let at = arrays.iter().position(|array| array.name == name);
        at.map(|at| arrays.swap_remove(at))
            .ok_or_else(|| bad(FileProblem::Missing(format!("array {name:?}"))))
    };
    let (x, y) = (take("X")?, take("y")?);
    // A single image has no fourth side.
    let count = match x.sides[..] {
        [32, 32, 3, count] if count > 0 && x.element == ElementType::U8 => count,
        [32, 32, 3] if x.element == ElementType::U8 => 1,
        _ => {
            let sides = x.sides.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
            return Err(bad(FileProblem::Unsupported(format!(
                "its X has {sides} elements of type {:?} where 32×32×3×N bytes are wanted",
                x.element
            ))));
        }
    };
    let labels = labels(&y).map_err(bad)?;
    if labels.len() as u64 != count {
        let problem = format!("it has {count} images but {} labels", labels.len());
        return Err(bad(FileProblem::Labels(problem)));
    }
    let count = labels.len();
    let (pixels, labels) = (PlanarPixels::Memory(x.data), Some(labels));
    let class_names = (0..10).map(|digit| digit.to_string()).collect();
    let attributes = Attributes::default();
    Ok(PlanarSource {
        path: file,
        count,
        side: SIDE,
        order: PixelOrder::Columns,
        pixels,
        labels,
        class_names,
        attributes,
    })
}

fn labels(y: &MatArray) -> Result<Vec<u32>, FileProblem> {
    // 10 stands for the digit 0.
    let digit = |(image, label): (usize, f64)| match label {
        10.0 => Ok(0),
        label if (1..10).any(|digit| f64::from(digit) == label) => Ok(label as u32),
        label => Err(FileProblem::LabelRange { label: label.to_string(), image, low: 1, high: 10 }),
    };
    y.numbers().into_iter().enumerate().map(digit).collect()
}

fn mat_file(path: &Path, split: Split) -> Result<PathBuf, DataError> {
    let none = |wanted: &str| no_split(path, split, format!("looked for {wanted}"));
    let wanted = if split == Split::Train { TRAIN } else { TEST };
    if path.is_dir() {
        return first_file(path, &[wanted]).ok_or_else(|| none(wanted));
    }
    if split == Split::Train || split_of(path) == Some(Split::Test) {
        return Ok(path.to_owned());
    }
    path.parent().and_then(|folder| first_file(folder, &[TEST])).ok_or_else(|| none(TEST))
}
