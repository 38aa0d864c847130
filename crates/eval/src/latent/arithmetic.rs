//! A − B + C (Radford et al. 2016, §6.3.2): in latent space, and for comparison in pixels.

use super::sample_spec::{Cell, LatentSource, SampleSpec};
use super::weighted_sum::{Terms, mean, sum};

/// The exemplars of three concepts, as numbers of latents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation(pub [Vec<usize>; 3]);

/// What is added around the result: 8 times, numbers of U(−amplitude, amplitude).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Of the noise.
    pub seed: u64,
    /// The paper's is 0.25.
    pub amplitude: f32,
}

impl Equation {
    /// mean(A) − mean(B) + mean(C).
    pub fn result(&self) -> Terms {
        let [a, b, c] = self.0.each_ref().map(|rows| mean(rows));
        sum([(1.0, &a), (-1.0, &b), (1.0, &c)])
    }

    /// The paper's figure, of the latents and conditions of `base`: a row for each concept, its exemplars and the picture of their mean; beside them the result with
    /// 8 neighbours around it; and below, the same arithmetic with pixels, of each exemplar and of the means. Conditions go through the same sums as latents, without noise.
    ///
    /// The exemplars are equally many, at least 1.
    pub fn figure(&self, base: SampleSpec, noise: Noise) -> SampleSpec {
        let per = self.0[0].len();
        let first = base.len();
        let mut mixes: Vec<Terms> =
            self.0.iter().flat_map(|rows| rows.iter().map(|&row| vec![(row, 1.0)])).collect();
        mixes.extend(self.0.iter().map(|rows| mean(rows)));
        let means = 3 * per;
        let square = mixes.len();
        let result = self.result();
        // The centre is the fifth of nine; noise rows come in order around it.
        let near = |i: usize| [&result[..], &[(first + i, 1.0)]].concat();
        mixes.extend((0..9).map(|i| match i {
            0..4 => near(i),
            4 => result.clone(),
            _ => near(i - 1),
        }));
        let pixels = |a: usize, b: usize, c: usize| Cell::Sum(vec![(a, 1.0), (b, -1.0), (c, 1.0)]);
        let mut cells = Vec::new();
        for concept in 0..3 {
            cells.extend((0..per).map(|i| Cell::Drawn(concept * per + i)));
            cells.extend([Cell::Drawn(means + concept), Cell::Empty]);
            cells.extend((0..3).map(|i| Cell::Drawn(square + 3 * concept + i)));
        }
        cells.extend((0..per).map(|i| pixels(i, per + i, 2 * per + i)));
        cells.extend([pixels(means, means + 1, means + 2), Cell::Empty]);
        let total = |concept: usize, sign: f32| {
            (0..per).map(move |i| (concept * per + i, sign / per as f32))
        };
        // What the mean of pictures gives, as against the picture of the mean.
        cells.push(Cell::Sum(total(0, 1.0).chain(total(1, -1.0)).chain(total(2, 1.0)).collect()));
        let mut latents = base.latents;
        latents.push(LatentSource::Noise {
            seed: noise.seed,
            amplitude: noise.amplitude,
            count: 8,
        });
        let grid = runs::GridOptions { columns: per + 5, ..base.grid };
        SampleSpec {
            latents,
            mixes: mixes.into_iter().map(Into::into).collect(),
            cells,
            grid,
            told: base.told,
        }
    }

    /// The result and its 8 neighbours, for each of several equations over one base: `9 · equations` pictures, the result first.
    pub fn around(equations: &[Self], base: SampleSpec, noise: Noise) -> SampleSpec {
        let first = base.len();
        let sums = equations.iter().enumerate().flat_map(|(at, equation)| {
            let result = equation.result();
            (0..9).map(move |i| match i {
                0 => result.clone(),
                _ => [&result[..], &[(first + 8 * at + i - 1, 1.0)]].concat(),
            })
        });
        let mixes = sums.map(Into::into).collect();
        let mut latents = base.latents;
        latents.push(LatentSource::Noise {
            seed: noise.seed,
            amplitude: noise.amplitude,
            count: 8 * equations.len(),
        });
        SampleSpec { latents, mixes, cells: Vec::new(), ..base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latent::combine;
    use runs::GridOptions;
    use tensor::Tensor;

    fn base(count: usize) -> SampleSpec {
        SampleSpec::plain(
            vec![LatentSource::of_rows(0, None, &(0..count).collect::<Vec<_>>())],
            None,
            GridOptions::default(),
        )
    }

    #[test]
    fn the_result_is_the_mean_of_a_less_that_of_b_and_that_of_c() {
        let rows = Tensor::from_slice(&[1.0, 2.0, 30.0, 50.0, 100.0, 300.0], [6, 1]);
        let equation = Equation([vec![0, 1], vec![2, 3], vec![4, 5]]);
        assert_eq!(combine(&rows, &[equation.result()]).to_vec(), [1.5 - 40.0 + 200.0]);
    }

    #[test]
    fn the_figure_has_the_result_in_the_centre_of_its_neighbours() {
        let equation = Equation([vec![0, 1, 2], vec![3, 4, 5], vec![6, 7, 8]]);
        let figure = equation.figure(base(9), Noise { seed: 1, amplitude: 0.25 });
        assert_eq!((figure.grid.columns, figure.len(), figure.mixes.len()), (8, 17, 9 + 3 + 9));
        assert_eq!(figure.cells.len(), 3 * 8 + 6);
        // Row 1 (from 0), column 6.
        let Cell::Drawn(centre) = figure.cells[8 + 6] else { panic!("{:?}", figure.cells[14]) };
        assert_eq!(figure.mixes[centre].of, equation.result());
        let noise: Vec<usize> = (0..24)
            .filter(|i| i % 8 >= 5 && *i != 14)
            .map(|i| {
                if let Cell::Drawn(at) = figure.cells[i] {
                    figure.mixes[at].of.last().unwrap().0
                } else {
                    0
                }
            })
            .collect();
        assert_eq!(noise, [9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(figure.cells[24], Cell::Sum(vec![(0, 1.0), (3, -1.0), (6, 1.0)]));
        let Cell::Drawn(mean_of_b) = figure.cells[8 + 3] else { panic!() };
        assert_eq!(figure.mixes[mean_of_b].of, mean(&[3, 4, 5]));
    }

    #[test]
    fn each_trial_has_neighbours_of_its_own() {
        let equations =
            [Equation([vec![0], vec![1], vec![2]]), Equation([vec![2], vec![0], vec![1]])];
        let drawing = Equation::around(&equations, base(3), Noise { seed: 1, amplitude: 0.25 });
        assert_eq!((drawing.mixes.len(), drawing.len()), (18, 3 + 16));
        assert_eq!(drawing.mixes[9].of, equations[1].result());
        assert_eq!(drawing.mixes[17].of.last(), Some(&(18, 1.0)));
    }
}
