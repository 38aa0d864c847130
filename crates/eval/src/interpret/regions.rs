//! Where an object is in generated images: boxes from a file, or found by occlusion.
//!
//! ```
//! use eval::interpret::regions::Region;
//!
//! let region = Region { sample: 0, x: [0.0, 4.0], y: [0.0, 4.0] };
//! // The upper left of 2 × 2 cells of an image of 8 × 8 pixels has its center at (2, 2).
//! assert!(region.contains_cell([0, 0], [2, 2], [8, 8]));
//! assert!(!region.contains_cell([0, 1], [2, 2], [8, 8]));
//! ```

use crate::error::BoxProblem;
use crate::{EvalError, Progress};
use std::path::Path;
use tensor::Tensor;

/// A box in an image, in pixels: columns `x[0]..x[1]`, rows `y[0]..y[1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The index of the image.
    pub sample: usize,
    /// Left and right edge.
    pub x: [f64; 2],
    /// Upper and lower edge.
    pub y: [f64; 2],
}

impl Region {
    /// Whether the center of cell `[row, column]` is inside, for an image of `image` pixels that is
    /// divided into `map` cells, both `[height, width]`.
    pub fn contains_cell(
        &self,
        [row, column]: [usize; 2],
        map: [usize; 2],
        image: [usize; 2],
    ) -> bool {
        let middle = |at: usize, i: usize| (at as f64 + 0.5) * image[i] as f64 / map[i] as f64;
        let within = |value: f64, [from, to]: [f64; 2]| from <= value && value < to;
        within(middle(row, 0), self.y) && within(middle(column, 1), self.x)
    }
}

/// The longest file of boxes in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the boxes of a CSV file: lines `sample,x0,y0,x1,y1`, of which the first may be a header; a
/// sample may have several boxes.
///
/// # Errors
/// Returns an error if the file cannot be read, or a line is not a box within an image of `image`
/// `[height, width]` pixels with an index below `samples`.
pub fn read_boxes(
    path: &Path,
    samples: usize,
    image: [usize; 2],
) -> Result<Vec<Region>, EvalError> {
    let text = file_io::read_text(path, MAX_BYTES)
        .map_err(|source| EvalError::BoxesFile { path: path.into(), source })?;
    let mut regions = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if i == 0 && !line.starts_with(|c: char| c.is_ascii_digit() || c.is_whitespace()) {
            continue;
        }
        regions.push(parse(line, samples, image).map_err(|problem| EvalError::Box {
            path: path.into(),
            line: i + 1,
            problem,
        })?);
    }
    if regions.is_empty() {
        return Err(EvalError::NoBoxes { path: path.into() });
    }
    Ok(regions)
}

fn parse(line: &str, samples: usize, [height, width]: [usize; 2]) -> Result<Region, BoxProblem> {
    let numbers: Option<Vec<f64>> =
        line.split(',').map(|field| field.trim().parse().ok()).collect();
    let Some(&[sample, x0, y0, x1, y1]) = numbers.as_deref() else {
        return Err(BoxProblem::Format(line.to_owned()));
    };
    if sample.fract() != 0.0 || !(0.0..samples as f64).contains(&sample) {
        return Err(BoxProblem::Sample { sample, samples });
    }
    let inside = |from: f64, to: f64, most: usize| 0.0 <= from && from < to && to <= most as f64;
    if !inside(x0, x1, width) || !inside(y0, y1, height) {
        return Err(BoxProblem::Extent { corners: [x0, y0, x1, y1], width, height });
    }
    Ok(Region { sample: sample as usize, x: [x0, x1], y: [y0, y1] })
}

/// An object classifier: the probability, in [0, 1], that each of some images `[N, H, W, C]` in
/// [−1, 1] on the CPU shows the object.
pub type Scorer<'a> = dyn Fn(&Tensor) -> Result<Vec<f32>, EvalError> + 'a;

/// Finds the object in the `which` of `images` `[N, H, W, C]` by occlusion (Zeiler & Fergus 2014,
/// section 4.2). A square of a quarter of the shorter side, with the pixels of the mean image,
/// occludes one position after the other, half its side apart. A pixel's heat is the mean drop of
/// the score under the squares that occlude it, and the box contains the pixels with at least half
/// the largest heat. An image whose score never drops has no box.
///
/// # Errors
/// Returns an error if the scorer fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn find_by_occlusion(
    images: &Tensor,
    which: &[usize],
    scorer: &Scorer<'_>,
    progress: Progress<'_>,
) -> Result<Vec<Region>, EvalError> {
    let [h, w, c] = [images.shape()[1], images.shape()[2], images.shape()[3]];
    let mean = images.mean(&[0], false).to_vec();
    let side = (h.min(w) / 4).max(1);
    let offsets = |length: usize| {
        let mut at: Vec<usize> = (0..=length - side).step_by((side / 2).max(1)).collect();
        // The last square reaches the edge.
        if at.last().is_some_and(|last| last + side < length) {
            at.push(length - side);
        }
        at
    };
    let corners: Vec<[usize; 2]> =
        offsets(h).iter().flat_map(|&y| offsets(w).into_iter().map(move |x| [y, x])).collect();
    let mut regions = Vec::new();
    for (done, &sample) in which.iter().enumerate() {
        let image = images.narrow(0, sample, 1).to_vec();
        let mut all = image.clone();
        for &[top, left] in &corners {
            let mut occluded = image.clone();
            for y in top..top + side {
                let row = (y * w + left) * c..(y * w + left + side) * c;
                occluded[row.clone()].copy_from_slice(&mean[row]);
            }
            all.extend(occluded);
        }
        let scores = scorer(&Tensor::from_slice(&all, [corners.len() + 1, h, w, c]))?;
        let drops = scores[1..].iter().map(|score| f64::from(scores[0] - score));
        let heat = heat(corners.iter().copied().zip(drops), side, [h, w]);
        regions.extend(bounding_box(&heat, sample, w));
        progress.report("finding the object", done + 1, which.len())?;
    }
    Ok(regions)
}

/// For each pixel the mean drop of the squares that occlude it.
fn heat(
    drops: impl Iterator<Item = ([usize; 2], f64)>,
    side: usize,
    [h, w]: [usize; 2],
) -> Vec<f64> {
    let mut sums = vec![(0.0, 0u32); h * w];
    for ([top, left], drop) in drops {
        for y in top..top + side {
            sums[y * w + left..y * w + left + side]
                .iter_mut()
                .for_each(|(sum, count)| (*sum, *count) = (*sum + drop, *count + 1));
        }
    }
    sums.into_iter().map(|(sum, count)| sum / f64::from(count.max(1))).collect()
}

/// The bounding box of the pixels with at least half the largest heat, if that is above 0.
fn bounding_box(heat: &[f64], sample: usize, width: usize) -> Option<Region> {
    let largest = heat.iter().copied().fold(0.0, f64::max);
    let hot = || {
        heat.iter()
            .enumerate()
            .filter(|(_, value)| largest > 0.0 && **value >= largest / 2.0)
            .map(|(at, _)| at)
    };
    let edges = |of: fn(usize, usize) -> usize| -> Option<[f64; 2]> {
        let (from, to) =
            (hot().map(|at| of(at, width)).min()?, hot().map(|at| of(at, width)).max()?);
        Some([from as f64, to as f64 + 1.0])
    };
    Some(Region { sample, x: edges(|at, width| at % width)?, y: edges(|at, width| at / width)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_or_refused() {
        let line = |text| parse(text, 10, [20, 30]);
        assert_eq!(line("3, 0,5,30,20"), Ok(Region { sample: 3, x: [0.0, 30.0], y: [5.0, 20.0] }));
        for bad in ["3,0,5,30", "3,0,5,x,20"] {
            assert_eq!(line(bad), Err(BoxProblem::Format(bad.to_owned())));
        }
        for bad in ["10,0,5,30,20", "-1,0,5,30,20", "1.5,0,5,30,20", "NaN,0,5,30,20"] {
            let found = line(bad);
            assert!(matches!(found, Err(BoxProblem::Sample { samples: 10, .. })), "{bad}");
        }
        for bad in ["3,0,5,31,20", "3,0,5,30,5", "3,NaN,5,30,20"] {
            let found = line(bad);
            assert!(
                matches!(found, Err(BoxProblem::Extent { width: 30, height: 20, .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn cells_are_inside_by_their_centers() {
        let region = Region { sample: 0, x: [2.0, 5.0], y: [0.0, 3.9] };
        let inside: Vec<[usize; 2]> = (0..16)
            .map(|p| [p / 4, p % 4])
            .filter(|&cell| region.contains_cell(cell, [4, 4], [8, 8]))
            .collect();
        // Centers at 1, 3, 5 and 7 pixels.
        assert_eq!(inside, [[0, 1], [1, 1]]);
    }

    /// The scorer is the mean of a bright square; so the box must be around it.
    #[test]
    fn occlusion_finds_the_object() {
        let (h, w) = (16, 12);
        let bright = |y: usize, x: usize| (4..8).contains(&y) && (6..10).contains(&x);
        let image: Vec<f32> =
            (0..h * w).map(|p| if bright(p / w, p % w) { 1.0 } else { -1.0 }).collect();
        let empty = vec![-1.0; h * w];
        let all = [empty.clone(), image, empty.clone(), empty].concat();
        let images = Tensor::from_slice(&all, [4, h, w, 1]);
        let scorer = |images: &Tensor| {
            let values = images.to_vec();
            let score = |image: &[f32]| {
                (0..h * w).filter(|p| bright(p / w, p % w)).map(|p| image[p] + 1.0).sum::<f32>()
                    / 32.0
            };
            Ok(values.chunks_exact(h * w).map(score).collect())
        };
        let found = find_by_occlusion(&images, &[0, 1], &scorer, Progress::SILENT).unwrap();
        let [Region { sample: 1, x, y }] = found[..] else { panic!("{found:?}") };
        assert!(x[0] >= 4.0 && x[0] <= 6.0 && x[1] >= 10.0 && x[1] <= 12.0, "{x:?}");
        assert!(y[0] >= 2.0 && y[0] <= 4.0 && y[1] >= 8.0 && y[1] <= 10.0, "{y:?}");
    }
}
