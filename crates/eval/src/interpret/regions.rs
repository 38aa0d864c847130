//! Where an object is in drawn pictures: boxes from a file, or found by covering parts of the pictures.

use crate::{EvalError, Progress};
use std::path::Path;
use tensor::Tensor;

/// A box in a picture, in pixels: columns from `x[0]` to before `x[1]`, rows from `y[0]` to before `y[1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The number of the picture.
    pub sample: usize,
    /// Left and right edge.
    pub x: [f64; 2],
    /// Upper and lower edge.
    pub y: [f64; 2],
}

impl Region {
    /// Whether the middle of cell (`row`, `column`) lies inside, where a picture of `image` pixels is cut into `map` cells, both
    /// `[height, width]`.
    pub fn holds(&self, [row, column]: [usize; 2], map: [usize; 2], image: [usize; 2]) -> bool {
        let middle = |at: usize, i: usize| (at as f64 + 0.5) * image[i] as f64 / map[i] as f64;
        let within = |value: f64, [from, to]: [f64; 2]| from <= value && value < to;
        within(middle(row, 0), self.y) && within(middle(column, 1), self.x)
    }
}

/// The boxes of a CSV file: lines `sample,x0,y0,x1,y1`, the first of which may be a heading; a sample may have several.
///
/// # Errors
/// A file that cannot be read, or a line that is no box within a picture of `image` `[height, width]` below `samples`; the line is named.
pub fn read_boxes(
    path: &Path,
    samples: usize,
    image: [usize; 2],
) -> Result<Vec<Region>, EvalError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| EvalError::Setting(format!("cannot read the boxes of {path:?}: {e}")))?;
    let mut regions = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if i == 0 && !line.starts_with(|c: char| c.is_ascii_digit() || c.is_whitespace()) {
            continue;
        }
        regions.push(parse(line, samples, image).map_err(|problem| {
            EvalError::Setting(format!("{path:?}, line {}: {problem}", i + 1))
        })?);
    }
    if regions.is_empty() {
        return Err(EvalError::Setting(format!(
            "{path:?} holds no boxes: give lines sample,x0,y0,x1,y1"
        )));
    }
    Ok(regions)
}

fn parse(line: &str, samples: usize, [height, width]: [usize; 2]) -> Result<Region, String> {
    let numbers: Option<Vec<f64>> =
        line.split(',').map(|field| field.trim().parse().ok()).collect();
    let Some(&[sample, x0, y0, x1, y1]) = numbers.as_deref() else {
        return Err(format!("{line:?} is not sample,x0,y0,x1,y1"));
    };
    if sample.fract() != 0.0 || !(0.0..samples as f64).contains(&sample) {
        return Err(format!("sample {sample} is not among the {samples} that are drawn"));
    }
    let inside = |from: f64, to: f64, most: usize| 0.0 <= from && from < to && to <= most as f64;
    if !inside(x0, x1, width) || !inside(y0, y1, height) {
        return Err(format!(
            "the box {x0},{y0},{x1},{y1} is empty or not within {width}x{height} pixels"
        ));
    }
    Ok(Region { sample: sample as usize, x: [x0, x1], y: [y0, y1] })
}

/// How likely each of some pictures, `[N, H, W, C]` in [−1, 1] on the CPU, shows the object, in [0, 1].
pub type Scorer<'a> = dyn Fn(&Tensor) -> Result<Vec<f32>, EvalError> + 'a;

/// A box in each of these pictures of `pictures`, `[N, H, W, C]`: around what the scorer misses when it is covered. A square of a quarter of the
/// shorter side, with the pixels of the mean picture, covers one place after the other, half its side apart; a pixel counts by the mean loss of
/// the scorer's confidence under the squares that cover it (Zeiler & Fergus 2014, section 4.2), and the box holds the pixels with at least half
/// the largest. A picture from which nothing can be taken that lowers the confidence has no box.
///
/// # Errors
/// The scorer's, or the user stops it.
pub fn find_by_occlusion(
    pictures: &Tensor,
    which: &[usize],
    scorer: &Scorer<'_>,
    progress: Progress<'_>,
) -> Result<Vec<Region>, EvalError> {
    let [h, w, c] = [pictures.shape()[1], pictures.shape()[2], pictures.shape()[3]];
    let mean = pictures.mean(&[0], false).to_vec();
    let side = (h.min(w) / 4).max(1);
    let places = |length: usize| {
        let mut at: Vec<usize> = (0..=length - side).step_by((side / 2).max(1)).collect();
        // The last square reaches the edge.
        if at.last().is_some_and(|last| last + side < length) {
            at.push(length - side);
        }
        at
    };
    let corners: Vec<[usize; 2]> =
        places(h).iter().flat_map(|&y| places(w).into_iter().map(move |x| [y, x])).collect();
    let mut regions = Vec::new();
    for (done, &sample) in which.iter().enumerate() {
        let picture = pictures.narrow(0, sample, 1).to_vec();
        let mut all = picture.clone();
        for &[top, left] in &corners {
            let mut covered = picture.clone();
            for y in top..top + side {
                let row = (y * w + left) * c..(y * w + left + side) * c;
                covered[row.clone()].copy_from_slice(&mean[row]);
            }
            all.extend(covered);
        }
        let scores = scorer(&Tensor::from_slice(&all, [corners.len() + 1, h, w, c]))?;
        let losses = scores[1..].iter().map(|score| f64::from(scores[0] - score));
        regions.extend(around(&heat(corners.iter().copied().zip(losses), side, [h, w]), sample, w));
        progress.report("finding the object", done + 1, which.len())?;
    }
    Ok(regions)
}

/// For each pixel the mean loss of the squares that cover it.
fn heat(
    losses: impl Iterator<Item = ([usize; 2], f64)>,
    side: usize,
    [h, w]: [usize; 2],
) -> Vec<f64> {
    let mut sums = vec![(0.0, 0u32); h * w];
    for ([top, left], loss) in losses {
        for y in top..top + side {
            sums[y * w + left..y * w + left + side]
                .iter_mut()
                .for_each(|(sum, count)| (*sum, *count) = (*sum + loss, *count + 1));
        }
    }
    sums.into_iter().map(|(sum, count)| sum / f64::from(count.max(1))).collect()
}

/// The box around the pixels of at least half the largest heat, if that is above 0.
fn around(heat: &[f64], sample: usize, width: usize) -> Option<Region> {
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
    fn lines_are_boxes_or_named() {
        let line = |text| parse(text, 10, [20, 30]);
        assert_eq!(line("3, 0,5,30,20"), Ok(Region { sample: 3, x: [0.0, 30.0], y: [5.0, 20.0] }));
        for (bad, part) in [
            ("3,0,5,30", "sample,x0,y0,x1,y1"),
            ("3,0,5,x,20", "sample,x0,y0,x1,y1"),
            ("10,0,5,30,20", "sample 10"),
            ("-1,0,5,30,20", "sample -1"),
            ("1.5,0,5,30,20", "sample 1.5"),
            ("NaN,0,5,30,20", "sample NaN"),
            ("3,0,5,31,20", "30x20"),
            ("3,0,5,30,5", "empty"),
            ("3,NaN,5,30,20", "empty"),
        ] {
            assert!(line(bad).is_err_and(|problem| problem.contains(part)), "{bad}");
        }
    }

    #[test]
    fn a_cell_is_where_its_middle_is() {
        let region = Region { sample: 0, x: [2.0, 5.0], y: [0.0, 3.9] };
        let held: Vec<[usize; 2]> = (0..16)
            .map(|p| [p / 4, p % 4])
            .filter(|&cell| region.holds(cell, [4, 4], [8, 8]))
            .collect();
        // Middles at 1, 3, 5 and 7 pixels.
        assert_eq!(held, [[0, 1], [1, 1]]);
    }

    /// The scorer sees the mean of a bright square; so the box must be around it.
    #[test]
    fn what_is_missed_is_found() {
        let (h, w) = (16, 12);
        let bright = |y: usize, x: usize| (4..8).contains(&y) && (6..10).contains(&x);
        let picture: Vec<f32> =
            (0..h * w).map(|p| if bright(p / w, p % w) { 1.0 } else { -1.0 }).collect();
        let empty = vec![-1.0; h * w];
        let pictures = Tensor::from_slice(
            &[empty.clone(), picture, empty.clone(), empty].concat(),
            [4, h, w, 1],
        );
        let scorer = |pictures: &Tensor| {
            let values = pictures.to_vec();
            let score = |picture: &[f32]| {
                (0..h * w).filter(|p| bright(p / w, p % w)).map(|p| picture[p] + 1.0).sum::<f32>()
                    / 32.0
            };
            Ok(values.chunks_exact(h * w).map(score).collect())
        };
        let found = find_by_occlusion(&pictures, &[0, 1], &scorer, Progress::SILENT).unwrap();
        let [Region { sample: 1, x, y }] = found[..] else { panic!("{found:?}") };
        assert!(x[0] >= 4.0 && x[0] <= 6.0 && x[1] >= 10.0 && x[1] <= 12.0, "{x:?}");
        assert!(y[0] >= 2.0 && y[0] <= 4.0 && y[1] >= 8.0 && y[1] <= 10.0, "{y:?}");
    }
}
