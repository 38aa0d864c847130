//! What pictures are drawn from, and how they are laid out: everything but the networks.

use super::weighted_sum::{Terms, combine};
use crate::EvalError;
use base64::{Engine, prelude::BASE64_STANDARD};
use nn::Recipe;
use runs::GridOptions;
use serde::{Deserialize, Serialize};
use tensor::Tensor;
use tensor::rng::Philox;
use train::{Sampler, generator_condition};

/// Philox stream of the noise around a result of arithmetic.
const NOISE: u64 = 0x6e6f_6973;
/// The most latents, and pictures, of one drawing.
const MOST: usize = 1_000_000;

/// Consecutive latents under a seed: the first, and how many.
pub type Span = [usize; 2];

/// Latents, and where they come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum LatentSource {
    /// Rows of those that `sample --seed` draws.
    Seed {
        /// The seed.
        seed: u64,
        /// How near to the middle they were brought.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        truncation: Option<f64>,
        /// Which rows.
        rows: Vec<Span>,
    },
    /// Independent numbers of U(−amplitude, amplitude).
    Noise {
        /// The seed.
        seed: u64,
        /// The largest.
        amplitude: f32,
        /// How many rows.
        count: usize,
    },
    /// Numbers that nothing else gives, such as latents of a file or found by descent.
    Values {
        /// How many rows.
        count: usize,
        /// Their little-endian 32-bit numbers in base64.
        base64: String,
    },
}

/// What the generator is told with each latent, where it is told something. Latents beyond the list are told zeros.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionTable {
    /// The different conditions.
    pub rows: Vec<Vec<f32>>,
    /// Which of them each latent has.
    pub of: Vec<usize>,
}

/// What a picture is drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentCombination {
    /// The sum of latents.
    pub of: Terms,
    /// The sum of conditions, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Terms>,
}

impl From<Terms> for LatentCombination {
    fn from(of: Terms) -> Self {
        Self { of, told: None }
    }
}

/// What is in a place of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// The picture of this number.
    Drawn(usize),
    /// A sum of pictures, pixel by pixel.
    Sum(Terms),
    /// Pixels from elsewhere: this number of those given.
    Given(usize),
    /// Nothing.
    Empty,
}

/// Latents, the sums of them that are drawn, and the grid of the pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSpec {
    /// The latents, all rows of a block after those of the block before.
    pub latents: Vec<LatentSource>,
    /// What the generator is told with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ConditionTable>,
    /// The pictures; none: one for each latent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mixes: Vec<LatentCombination>,
    /// The places of the grid, row by row; none: one for each picture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// Columns, lines and enlargement.
    pub grid: GridOptions,
}

impl LatentSource {
    /// Rows of a seed, in this order; neighbours are written together.
    pub fn of_rows(seed: u64, truncation: Option<f64>, rows: &[usize]) -> Self {
        let mut spans: Vec<Span> = Vec::new();
        for &row in rows {
            match spans.last_mut() {
                Some([first, count]) if *first + *count == row => *count += 1,
                _ => spans.push([row, 1]),
            }
        }
        Self::Seed { seed, truncation, rows: spans }
    }

    /// Rows `[N, latent]` as numbers.
    pub fn of_values(rows: &Tensor) -> Self {
        let bytes: Vec<u8> = rows.to_vec().iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::Values { count: rows.shape()[0], base64: BASE64_STANDARD.encode(bytes) }
    }

    /// How many rows, as far as it can be.
    fn count(&self) -> usize {
        match self {
            Self::Seed { rows, .. } => {
                rows.iter().fold(0, |sum, [_, count]| sum.saturating_add(*count))
            }
            Self::Noise { count, .. } | Self::Values { count, .. } => *count,
        }
    }

    fn rows(&self, recipe: &Recipe) -> Result<Tensor, EvalError> {
        let width = recipe.generator.latent;
        match self {
            Self::Seed { seed, truncation, rows } => {
                let end = rows
                    .iter()
                    .map(|[first, count]| first.saturating_add(*count))
                    .max()
                    .unwrap_or(0);
                if end > MOST || truncation.is_some_and(|psi| !(psi.is_finite() && psi > 0.0)) {
                    return Err(invalid(format!(
                        "rows up to {end} under truncation {truncation:?}"
                    )));
                }
                let all = train::latents(recipe, *seed, end);
                let indices: Vec<usize> =
                    rows.iter().flat_map(|&[first, count]| first..first + count).collect();
                let chosen = all.index_select(&indices);
                Ok(truncation.map_or(chosen.clone(), |psi| train::truncate(recipe, &chosen, psi)))
            }
            Self::Noise { seed, amplitude, count } => {
                if !amplitude.is_finite() {
                    return Err(invalid(format!("noise of ±{amplitude}")));
                }
                Ok(Philox::new(*seed, NOISE).uniform([*count, width], -amplitude, *amplitude))
            }
            Self::Values { count, base64 } => {
                let bytes = BASE64_STANDARD
                    .decode(base64)
                    .map_err(|e| invalid(format!("latents that are no base64: {e}")))?;
                let values: Vec<f32> = bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|bytes| f32::from_le_bytes(*bytes))
                    .collect();
                if count.checked_mul(width) != Some(values.len())
                    || bytes.len() % 4 != 0
                    || values.iter().any(|v| !v.is_finite())
                {
                    return Err(invalid(format!(
                        "{} numbers as {count} latents of {width}",
                        values.len()
                    )));
                }
                Ok(Tensor::from_slice(&values, [*count, width]))
            }
        }
    }
}

impl SampleSpec {
    /// The pictures of these latents in a grid, one after the other.
    pub fn plain(
        latents: Vec<LatentSource>,
        told: Option<ConditionTable>,
        grid: GridOptions,
    ) -> Self {
        Self { latents, told, mixes: Vec::new(), cells: Vec::new(), grid }
    }

    /// The number of latents.
    pub fn len(&self) -> usize {
        self.latents.iter().fold(0, |sum, block| sum.saturating_add(block.count()))
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The latents and conditions of the pictures, `[N, latent]` and `[N, K]`, on the CPU.
    ///
    /// # Errors
    /// A drawing that is out of range, or not of this recipe's networks: those read from files may be anything.
    pub fn inputs(&self, recipe: &Recipe) -> Result<(Tensor, Option<Tensor>), EvalError> {
        let count = self.len();
        if count == 0 || count > MOST || self.mixes.len() > MOST || self.cells.len() > MOST {
            return Err(invalid(format!("{count} latents, {} pictures", self.mixes.len())));
        }
        let blocks =
            self.latents.iter().map(|block| block.rows(recipe)).collect::<Result<Vec<_>, _>>()?;
        let base = tensor::concat(&blocks.iter().collect::<Vec<_>>(), 0);
        let told = self.conditions(recipe, count)?;
        if self.mixes.is_empty() {
            return Ok((base, told));
        }
        let sums: Vec<Terms> = self.mixes.iter().map(|mix| mix.of.clone()).collect();
        let of_conditions: Vec<Terms> = self
            .mixes
            .iter()
            .map(|mix| mix.told.clone().unwrap_or_else(|| mix.of.clone()))
            .collect();
        if let Some((row, weight)) = sums
            .iter()
            .chain(&of_conditions)
            .flatten()
            .find(|(row, weight)| *row >= count || !weight.is_finite())
        {
            return Err(invalid(format!("{weight} times latent {row} of {count}")));
        }
        Ok((combine(&base, &sums), told.map(|rows| combine(&rows, &of_conditions))))
    }

    fn conditions(&self, recipe: &Recipe, count: usize) -> Result<Option<Tensor>, EvalError> {
        let (Some(told), Some(condition)) = (&self.told, generator_condition(recipe)) else {
            return Ok(None);
        };
        let mut values = vec![0.0; count * condition.size];
        for (row, &of) in values.chunks_exact_mut(condition.size.max(1)).zip(&told.of) {
            match told.rows.get(of) {
                Some(known) if known.len() == condition.size => row.copy_from_slice(known),
                _ => {
                    return Err(invalid(format!(
                        "condition {of} of {}, each of {} numbers",
                        told.rows.len(),
                        condition.size
                    )));
                }
            }
        }
        Ok(Some(Tensor::from_slice(&values, [count, condition.size])))
    }

    /// Draws the pictures and puts them into their places, with `given` (each `[H, W, C]`) where those belong: values `[cells, H, W, C]` in [−1, 1] for
    /// [`grid`](runs::grid::grid). `progress` hears how many are drawn.
    ///
    /// # Errors
    /// As [`inputs`](Self::inputs) and the sampler's.
    pub fn draw(
        &self,
        sampler: &Sampler,
        batch: usize,
        given: &[Vec<f32>],
        progress: impl FnMut(usize),
    ) -> Result<(Vec<f32>, [usize; 4]), EvalError> {
        let (latents, told) = self.inputs(sampler.recipe())?;
        let images = sampler.sample(&latents, told.as_ref(), batch, progress)?.to_vec();
        self.lay_out(&images, sampler.shape(), given)
    }

    /// The places of the grid from pictures that are drawn already, `[N, H, W, C]`.
    ///
    /// # Errors
    /// A place for a picture that there is not.
    pub fn lay_out(
        &self,
        images: &[f32],
        [h, w, c]: [usize; 3],
        given: &[Vec<f32>],
    ) -> Result<(Vec<f32>, [usize; 4]), EvalError> {
        let len = h * w * c;
        let count = images.len() / len.max(1);
        if self.cells.is_empty() {
            return Ok((images.to_vec(), [count, h, w, c]));
        }
        let missing = |what: &str, i: usize| invalid(format!("{what} {i} in a place of the grid"));
        let picture =
            |i: usize| images.get(i * len..(i + 1) * len).ok_or_else(|| missing("picture", i));
        let mut out = Vec::with_capacity(self.cells.len() * len);
        for cell in &self.cells {
            match cell {
                Cell::Drawn(i) if *i < count => out.extend(picture(*i)?),
                Cell::Drawn(i) => return Err(missing("picture", *i)),
                Cell::Sum(terms) => {
                    let mut total = vec![0.0; len];
                    for &(i, weight) in terms {
                        let part = if i < count {
                            picture(i)?
                        } else {
                            return Err(missing("picture", i));
                        };
                        total.iter_mut().zip(part).for_each(|(sum, value)| *sum += weight * value);
                    }
                    out.extend(total.iter().map(|value| value.clamp(-1.0, 1.0)));
                }
                Cell::Given(i) => {
                    out.extend(
                        given
                            .get(*i)
                            .filter(|own| own.len() == len)
                            .ok_or_else(|| missing("given picture", *i))?,
                    );
                }
                Cell::Empty => {
                    let paper = f32::from(self.grid.background) / 127.5 - 1.0;
                    // The last of four channels is opacity.
                    out.extend((0..len).map(|i| if c == 4 && i % 4 == 3 { 1.0 } else { paper }));
                }
            }
        }
        Ok((out, [self.cells.len(), h, w, c]))
    }
}

fn invalid(what: String) -> EvalError {
    EvalError::Mismatch(format!("the picture cannot be drawn as it says: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe::preset("newmu-svhn").unwrap()
    }

    #[test]
    fn blocks_give_the_rows_they_name() {
        let recipe = recipe();
        let width = recipe.generator.latent;
        let all = train::latents(&recipe, 7, 9).to_vec();
        let block = LatentSource::of_rows(7, None, &[2, 3, 8, 0]);
        assert_eq!(
            block,
            LatentSource::Seed { seed: 7, truncation: None, rows: vec![[2, 2], [8, 1], [0, 1]] }
        );
        let rows = block.rows(&recipe).unwrap();
        let expected: Vec<f32> =
            [2, 3, 8, 0].iter().flat_map(|row| &all[row * width..][..width]).copied().collect();
        assert_eq!(rows.to_vec(), expected);
        assert_eq!(LatentSource::of_values(&rows).rows(&recipe).unwrap().to_vec(), expected);
        let noise = LatentSource::Noise { seed: 1, amplitude: 0.25, count: 8 }
            .rows(&recipe)
            .unwrap()
            .to_vec();
        assert!(
            noise.len() == 8 * width
                && noise.iter().all(|v| v.abs() <= 0.25)
                && noise.iter().any(|v| v.abs() > 0.2)
        );
    }

    #[test]
    fn a_drawing_comes_back_from_its_text() {
        let mixes = vec![
            LatentCombination { of: vec![(0, 0.1), (3, -1.0 / 3.0)], told: Some(vec![(0, 1.0)]) },
            vec![(1, 1.0)].into(),
        ];
        let drawing = SampleSpec {
            latents: vec![
                LatentSource::of_rows(5, Some(0.7), &[0, 1]),
                LatentSource::Noise { seed: 5, amplitude: 0.25, count: 2 },
            ],
            told: Some(ConditionTable { rows: vec![vec![0.0, 1.0]], of: vec![0, 0] }),
            mixes,
            cells: vec![Cell::Drawn(1), Cell::Empty, Cell::Sum(vec![(0, 0.5)]), Cell::Given(0)],
            grid: GridOptions::default(),
        };
        let text = serde_json::to_string(&drawing).unwrap();
        assert_eq!(serde_json::from_str::<SampleSpec>(&text).unwrap(), drawing, "{text}");
    }

    #[test]
    fn what_a_damaged_file_says_is_refused() {
        let recipe = recipe();
        let plain = |block| SampleSpec::plain(vec![block], None, GridOptions::default());
        let good = plain(LatentSource::of_rows(0, None, &[0, 1]));
        good.inputs(&recipe).unwrap();
        let refused = |drawing: &SampleSpec| {
            let message = drawing.inputs(&recipe).unwrap_err().to_string();
            assert!(message.contains("cannot be drawn") && !message.contains('\n'), "{message}");
        };
        refused(&SampleSpec { mixes: vec![vec![(2, 1.0)].into()], ..good.clone() });
        refused(&SampleSpec { mixes: vec![vec![(0, f32::NAN)].into()], ..good.clone() });
        refused(&plain(LatentSource::Seed {
            seed: 0,
            truncation: None,
            rows: vec![[usize::MAX, 2]],
        }));
        refused(&plain(LatentSource::Seed { seed: 0, truncation: Some(-1.0), rows: vec![[0, 1]] }));
        refused(&plain(LatentSource::Seed { seed: 0, truncation: None, rows: vec![] }));
        refused(&plain(LatentSource::Noise { seed: 0, amplitude: f32::NAN, count: 1 }));
        refused(&plain(LatentSource::Noise { seed: 0, amplitude: 1.0, count: usize::MAX }));
        refused(&plain(LatentSource::Values { count: 1, base64: "AAAA".into() }));
        refused(&plain(LatentSource::Values { count: 1, base64: "!".into() }));
        for cell in
            [Cell::Drawn(2), Cell::Drawn(usize::MAX), Cell::Sum(vec![(9, 1.0)]), Cell::Given(0)]
        {
            let drawing = SampleSpec { cells: vec![cell], ..good.clone() };
            assert!(drawing.lay_out(&[0.0; 2 * 12], [2, 2, 3], &[]).is_err());
        }
    }

    #[test]
    fn places_hold_pictures_sums_and_nothing() {
        let cells =
            vec![Cell::Drawn(1), Cell::Sum(vec![(0, 1.0), (1, 2.0)]), Cell::Empty, Cell::Given(0)];
        let drawing = SampleSpec {
            cells,
            ..SampleSpec::plain(
                vec![LatentSource::of_rows(0, None, &[0, 1])],
                None,
                GridOptions { background: 255, ..GridOptions::default() },
            )
        };
        let (values, shape) =
            drawing.lay_out(&[0.25, 0.5, -0.25, 0.75], [1, 2, 1], &[vec![0.1, 0.2]]).unwrap();
        assert_eq!(
            (values, shape),
            (vec![-0.25, 0.75, -0.25, 1.0, 1.0, 1.0, 0.1, 0.2], [4, 1, 2, 1])
        );
    }
}
