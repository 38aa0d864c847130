//! Vector arithmetic A − B + C (Radford et al. 2016, §6.3.2): in latent space, and for comparison
//! in pixels.

use super::sample_spec::{Cell, LatentSource, SampleSpec};
use super::weighted_sum::{Terms, mean, sum};

/// Images of a result: itself and 8 neighbors.
const RESULT_IMAGES: usize = 9;

/// The exemplars of three concepts A, B and C, as indices of latents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation(pub [Vec<usize>; 3]);

/// Uniform noise U(−amplitude, amplitude) that is added to the result for its 8 neighbors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResultNoise {
    /// The random seed of the noise.
    pub seed: u64,
    /// The amplitude: 0.25 in the paper.
    pub amplitude: f32,
}

impl ResultNoise {
    fn source(self, count: usize) -> LatentSource {
        LatentSource::Noise { seed: self.seed, amplitude: self.amplitude, count }
    }
}

impl Equation {
    /// mean(A) − mean(B) + mean(C).
    pub fn result(&self) -> Terms {
        let [a, b, c] = self.0.each_ref().map(|rows| mean(rows));
        sum([(1.0, &a), (-1.0, &b), (1.0, &c)])
    }

    /// Cells and columns of the [`figure`](Self::figure) of `per` exemplars of each concept.
    #[must_use]
    pub fn figure_size(per: usize) -> [usize; 2] {
        [4 * per + 3 * 5 + 3, per + 5]
    }

    /// The paper's figure, of the latents and conditions of `base`: a row for each concept with its
    /// exemplars and the image of their mean; to the right the result in the center of its 8
    /// neighbors; below, the same arithmetic with pixels, of each exemplar and of the means.
    /// Conditions go through the same sums as latents, without noise.
    ///
    /// The exemplars must be equally many, at least 1.
    pub fn figure(&self, base: SampleSpec, noise: ResultNoise) -> SampleSpec {
        let per = self.0[0].len();
        let first = base.len();
        let mut sums: Vec<Terms> =
            self.0.iter().flat_map(|rows| rows.iter().map(|&row| vec![(row, 1.0)])).collect();
        sums.extend(self.0.iter().map(|rows| mean(rows)));
        let means = 3 * per;
        let square = sums.len();
        let result = self.result();
        // The center is the fifth of nine; rows of noise follow in order around it.
        let near = |i: usize| [&result[..], &[(first + i, 1.0)]].concat();
        sums.extend((0..RESULT_IMAGES).map(|i| match i {
            0..4 => near(i),
            4 => result.clone(),
            _ => near(i - 1),
        }));
        let pixels = |a: usize, b: usize, c: usize| Cell::Sum(vec![(a, 1.0), (b, -1.0), (c, 1.0)]);
        let mut cells = Vec::new();
        for concept in 0..3 {
            cells.extend((0..per).map(|i| Cell::Image(concept * per + i)));
            cells.extend([Cell::Image(means + concept), Cell::Empty]);
            cells.extend((0..3).map(|i| Cell::Image(square + 3 * concept + i)));
        }
        cells.extend((0..per).map(|i| pixels(i, per + i, 2 * per + i)));
        cells.extend([pixels(means, means + 1, means + 2), Cell::Empty]);
        let total = |concept: usize, sign: f32| {
            (0..per).map(move |i| (concept * per + i, sign / per as f32))
        };
        // The mean of images, as against the image of the mean.
        cells.push(Cell::Sum(total(0, 1.0).chain(total(1, -1.0)).chain(total(2, 1.0)).collect()));
        let mut latents = base.latents;
        latents.push(noise.source(RESULT_IMAGES - 1));
        let [count, columns] = Self::figure_size(per);
        debug_assert_eq!(count, cells.len());
        let grid = runs::GridOptions { columns, ..base.grid };
        let combinations = sums.into_iter().map(Into::into).collect();
        SampleSpec { latents, combinations, cells, grid, conditions: base.conditions }
    }

    /// The result and its 8 neighbors, for each of several equations over one base:
    /// `9 · equations` images, each result before its neighbors.
    pub fn results(equations: &[Self], base: SampleSpec, noise: ResultNoise) -> SampleSpec {
        let first = base.len();
        let sums = equations.iter().enumerate().flat_map(|(at, equation)| {
            let result = equation.result();
            (0..RESULT_IMAGES).map(move |i| match i {
                0 => result.clone(),
                _ => [&result[..], &[(first + (RESULT_IMAGES - 1) * at + i - 1, 1.0)]].concat(),
            })
        });
        let combinations = sums.map(Into::into).collect();
        let mut latents = base.latents;
        latents.push(noise.source((RESULT_IMAGES - 1) * equations.len()));
        SampleSpec { latents, combinations, cells: Vec::new(), ..base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latent::combine;
    use runs::GridOptions;
    use tensor::Tensor;

    fn base(count: usize) -> SampleSpec {
        let rows: Vec<usize> = (0..count).collect();
        let latents = vec![LatentSource::of_rows(0, None, &rows)];
        SampleSpec::plain(latents, None, GridOptions::default())
    }

    #[test]
    fn result_is_mean_a_minus_mean_b_plus_mean_c() {
        let rows = Tensor::from_slice(&[1.0, 2.0, 30.0, 50.0, 100.0, 300.0], [6, 1]);
        let equation = Equation([vec![0, 1], vec![2, 3], vec![4, 5]]);
        assert_eq!(combine(&rows, &[equation.result()]).to_vec(), [1.5 - 40.0 + 200.0]);
    }

    #[test]
    fn figure_has_the_result_in_the_center() {
        let equation = Equation([vec![0, 1, 2], vec![3, 4, 5], vec![6, 7, 8]]);
        let figure = equation.figure(base(9), ResultNoise { seed: 1, amplitude: 0.25 });
        let counts = (figure.grid.columns, figure.len(), figure.combinations.len());
        assert_eq!(counts, (8, 17, 9 + 3 + 9));
        assert_eq!(figure.cells.len(), 3 * 8 + 6);
        // Row 1 (from 0), column 6.
        let Cell::Image(center) = figure.cells[8 + 6] else { panic!("{:?}", figure.cells[14]) };
        assert_eq!(figure.combinations[center].latent, equation.result());
        let noise: Vec<usize> = (0..24)
            .filter(|i| i % 8 >= 5 && *i != 14)
            .map(|i| match figure.cells[i] {
                Cell::Image(at) => figure.combinations[at].latent.last().unwrap().0,
                _ => 0,
            })
            .collect();
        assert_eq!(noise, [9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(figure.cells[24], Cell::Sum(vec![(0, 1.0), (3, -1.0), (6, 1.0)]));
        let Cell::Image(mean_of_b) = figure.cells[8 + 3] else { panic!() };
        assert_eq!(figure.combinations[mean_of_b].latent, mean(&[3, 4, 5]));
    }

    #[test]
    fn each_trial_has_its_own_neighbors() {
        let equations =
            [Equation([vec![0], vec![1], vec![2]]), Equation([vec![2], vec![0], vec![1]])];
        let noise = ResultNoise { seed: 1, amplitude: 0.25 };
        let results = Equation::results(&equations, base(3), noise);
        assert_eq!((results.combinations.len(), results.len()), (18, 3 + 16));
        assert_eq!(results.combinations[9].latent, equations[1].result());
        assert_eq!(results.combinations[17].latent.last(), Some(&(18, 1.0)));
    }
}
