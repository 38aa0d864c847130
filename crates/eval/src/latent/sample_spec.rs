//! Sample specification: which latents and conditions images are generated from, and how the
//! images are laid out in a grid. Everything that reproducing them takes but the generator.

use super::weighted_sum::{Terms, combine};
use crate::EvalError;
use base64::{Engine, prelude::BASE64_STANDARD};
use nn::Recipe;
use runs::GridOptions;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use tensor::Tensor;
use tensor::rng::Philox;
use train::{Sampler, TrainError, generator_condition};

/// Philox stream of the noise around a result of arithmetic.
const NOISE: u64 = 0x6e6f_6973;

/// Consecutive latents of a seed: the index of the first, and their number.
pub type Span = [usize; 2];

/// Where latents come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum LatentSource {
    /// Rows of the latents that a seed gives.
    Seed {
        /// The random seed of the latents.
        seed: u64,
        /// The truncation ψ, if they are truncated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        truncation: Option<f64>,
        /// The rows of latents.
        rows: Vec<Span>,
    },
    /// Independent values of U(−amplitude, amplitude).
    Noise {
        /// The random seed.
        seed: u64,
        /// The amplitude.
        amplitude: f32,
        /// The number of rows.
        count: usize,
    },
    /// Values that cannot be drawn again, such as latents of a file or of a projection.
    Values {
        /// The number of rows.
        count: usize,
        /// Their values as little-endian f32 in base64.
        base64: String,
    },
}

/// The conditions of a conditional generator. Latents beyond the list have all-zero conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionTable {
    /// The different conditions, K values each.
    pub rows: Vec<Vec<f32>>,
    /// The row of each latent.
    #[serde(alias = "of")]
    pub indices: Vec<usize>,
}

/// The latent and the condition of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentCombination {
    /// The weighted sum of latents.
    #[serde(alias = "of")]
    pub latent: Terms,
    /// The weighted sum of conditions, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "told")]
    pub condition: Option<Terms>,
}

impl From<Terms> for LatentCombination {
    fn from(latent: Terms) -> Self {
        Self { latent, condition: None }
    }
}

/// The content of a grid cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// The generated image with this index.
    #[serde(alias = "drawn")]
    Image(usize),
    /// A weighted sum of generated images, pixel by pixel.
    Sum(Terms),
    /// An image that is not generated: the one with this index of those supplied.
    #[serde(alias = "given")]
    External(usize),
    /// The background.
    Empty,
}

/// Latents, their sums that images are generated from, and the grid of the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSpec {
    /// The latents: the rows of all sources, one after the other.
    pub latents: Vec<LatentSource>,
    /// Their conditions.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "told")]
    pub conditions: Option<ConditionTable>,
    /// The images; empty for one image per latent.
    #[serde(default, skip_serializing_if = "Vec::is_empty", alias = "mixes")]
    pub combinations: Vec<LatentCombination>,
    /// The cells of the grid, row by row; empty for one cell per image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// Columns, padding and scale of the grid.
    pub grid: GridOptions,
}

impl LatentSource {
    /// Rows of a seed, in this order; consecutive ones are stored together.
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

    /// Latents `[N, latent]` by their values.
    pub fn of_values(rows: &Tensor) -> Self {
        let bytes: Vec<u8> = rows.to_vec().iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::Values { count: rows.shape()[0], base64: BASE64_STANDARD.encode(bytes) }
    }

    /// The number of rows, saturating.
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
                if end > SampleSpec::MAX_IMAGES
                    || truncation.is_some_and(|psi| !(psi.is_finite() && psi > 0.0))
                {
                    return Err(invalid(format!("rows up to {end}, truncation {truncation:?}")));
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
                    .map_err(|e| invalid(format!("latents that are not base64: {e}")))?;
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
                    let len = values.len();
                    return Err(invalid(format!("{len} values as {count} latents of {width}")));
                }
                Ok(Tensor::from_slice(&values, [*count, width]))
            }
        }
    }
}

impl SampleSpec {
    /// The most images, and the most latents, of one specification.
    pub const MAX_IMAGES: usize = 1_000_000;

    /// One image per latent, in a grid, one after the other.
    pub fn plain(
        latents: Vec<LatentSource>,
        conditions: Option<ConditionTable>,
        grid: GridOptions,
    ) -> Self {
        Self { latents, conditions, combinations: Vec::new(), cells: Vec::new(), grid }
    }

    /// The number of latents.
    pub fn len(&self) -> usize {
        self.latents.iter().fold(0, |sum, source| sum.saturating_add(source.count()))
    }

    /// Whether there are no latents.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of generated images.
    pub fn images(&self) -> usize {
        if self.combinations.is_empty() { self.len() } else { self.combinations.len() }
    }

    /// The latents `[N, latent]` and conditions `[N, K]` of the images, on the CPU.
    ///
    /// # Errors
    /// Returns an error if the specification is out of range or does not fit the recipe: one that
    /// was read from a file may be anything.
    pub fn inputs(&self, recipe: &Recipe) -> Result<(Tensor, Option<Tensor>), EvalError> {
        let (count, images) = (self.len(), self.combinations.len());
        if count == 0 || [count, images, self.cells.len()].iter().any(|&n| n > Self::MAX_IMAGES) {
            return Err(invalid(format!("{count} latents, {images} images")));
        }
        let rows =
            self.latents.iter().map(|source| source.rows(recipe)).collect::<Result<Vec<_>, _>>()?;
        let base = tensor::concat(&rows.iter().collect::<Vec<_>>(), 0);
        let conditions = self.condition_rows(recipe, count)?;
        if self.combinations.is_empty() {
            return Ok((base, conditions));
        }
        let of_latents: Vec<Terms> =
            self.combinations.iter().map(|own| own.latent.clone()).collect();
        let of_conditions: Vec<Terms> = self
            .combinations
            .iter()
            .map(|own| own.condition.clone().unwrap_or_else(|| own.latent.clone()))
            .collect();
        if let Some((row, weight)) = of_latents
            .iter()
            .chain(&of_conditions)
            .flatten()
            .find(|(row, weight)| *row >= count || !weight.is_finite())
        {
            return Err(invalid(format!("{weight} times latent {row} of {count}")));
        }
        let latents = combine(&base, &of_latents);
        Ok((latents, conditions.map(|rows| combine(&rows, &of_conditions))))
    }

    fn condition_rows(&self, recipe: &Recipe, count: usize) -> Result<Option<Tensor>, EvalError> {
        let (Some(table), Some(condition)) = (&self.conditions, generator_condition(recipe)) else {
            return Ok(None);
        };
        let size = condition.size;
        let mut values = vec![0.0; count * size];
        for (row, &index) in values.chunks_exact_mut(size.max(1)).zip(&table.indices) {
            match table.rows.get(index) {
                Some(known) if known.len() == size => row.copy_from_slice(known),
                _ => {
                    let rows = table.rows.len();
                    return Err(invalid(format!("condition {index} of {rows}, of {size} values")));
                }
            }
        }
        Ok(Some(Tensor::from_slice(&values, [count, size])))
    }

    /// The number of cells.
    pub fn num_cells(&self) -> usize {
        if self.cells.is_empty() { self.images() } else { self.cells.len() }
    }

    /// Generates the images and lays them out, with the `external` images, each `[H, W, C]`, in
    /// their cells: values `[cells, H, W, C]` in [−1, 1] for [`grid`](runs::grid::grid). Batches of
    /// which no image is shown are left out. `progress` receives the number of images generated so
    /// far.
    ///
    /// # Errors
    /// Returns an error if the grid would be too large, before anything is generated, the errors of
    /// [`inputs`](Self::inputs) and of the sampler.
    pub fn generate(
        &self,
        sampler: &Sampler,
        batch: usize,
        external: &[Vec<f32>],
        mut progress: impl FnMut(usize),
    ) -> Result<(Vec<f32>, [usize; 4]), EvalError> {
        let [h, w, c] = sampler.shape();
        self.grid.size(self.num_cells(), [h, w])?;
        if batch == 0 {
            return Err(TrainError::Zero { setting: "batch" }.into());
        }
        let (latents, conditions) = self.inputs(sampler.recipe())?;
        let (shown, count) = (self.shown(), latents.shape()[0]);
        // The images of each batch, by the index of its first one.
        let mut drawn: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        let mut done = 0;
        for Range { start, end } in train::batches(count, batch) {
            if shown.range(start..end).next().is_none() {
                continue;
            }
            let rows = |all: &Tensor| all.narrow(0, start, end - start);
            let conditions = conditions.as_ref().map(rows);
            let part = sampler.sample(&rows(&latents), conditions.as_ref(), end - start, |_| ())?;
            drawn.insert(start, part.to_vec());
            done += end - start;
            progress(done);
        }
        let len = h * w * c;
        let image = |i: usize| {
            let (start, images) = drawn.range(..=i).next_back()?;
            images.get((i - start) * len..)?.get(..len)
        };
        self.lay_out_with(&image, [h, w, c], external)
    }

    /// The generated images that cells show.
    fn shown(&self) -> BTreeSet<usize> {
        if self.cells.is_empty() {
            return (0..self.images()).collect();
        }
        let of_cell = |cell: &Cell| match cell {
            Cell::Image(i) => vec![*i],
            Cell::Sum(terms) => terms.iter().map(|(i, _)| *i).collect(),
            Cell::External(_) | Cell::Empty => Vec::new(),
        };
        self.cells.iter().flat_map(of_cell).collect()
    }

    /// The cells of the grid, from generated images `[N, H, W, C]`.
    ///
    /// # Errors
    /// Returns an error if a cell has an image that does not exist.
    pub fn lay_out(
        &self,
        images: &[f32],
        shape: [usize; 3],
        external: &[Vec<f32>],
    ) -> Result<(Vec<f32>, [usize; 4]), EvalError> {
        let images: Vec<&[f32]> = images.chunks_exact(shape.iter().product()).collect();
        self.lay_out_with(&|i| images.get(i).copied(), shape, external)
    }

    /// [`lay_out`](Self::lay_out) with images by their index.
    fn lay_out_with<'a>(
        &self,
        images: &dyn Fn(usize) -> Option<&'a [f32]>,
        [h, w, c]: [usize; 3],
        external: &[Vec<f32>],
    ) -> Result<(Vec<f32>, [usize; 4]), EvalError> {
        let len = h * w * c;
        let missing = |i: usize| invalid(format!("a cell shows image {i}, which does not exist"));
        let image = |i: usize| images(i).ok_or_else(|| missing(i));
        let mut out = Vec::with_capacity(self.num_cells() * len);
        if self.cells.is_empty() {
            for i in 0..self.images() {
                out.extend(image(i)?);
            }
        }
        for cell in &self.cells {
            match cell {
                Cell::Image(i) => out.extend(image(*i)?),
                Cell::Sum(terms) => {
                    let mut total = vec![0.0; len];
                    for &(i, weight) in terms {
                        let own = image(i)?;
                        total.iter_mut().zip(own).for_each(|(sum, value)| *sum += weight * value);
                    }
                    out.extend(total.iter().map(|value| value.clamp(-1.0, 1.0)));
                }
                Cell::External(i) => {
                    let own = external.get(*i).filter(|own| own.len() == len);
                    out.extend(own.ok_or_else(|| missing(*i))?);
                }
                Cell::Empty => {
                    let paper = f32::from(self.grid.background) / 127.5 - 1.0;
                    // The last of four channels is opacity.
                    out.extend((0..len).map(|i| if c == 4 && i % 4 == 3 { 1.0 } else { paper }));
                }
            }
        }
        Ok((out, [self.num_cells(), h, w, c]))
    }
}

fn invalid(problem: String) -> EvalError {
    EvalError::SampleSpec { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe::preset("newmu-svhn").unwrap()
    }

    #[test]
    fn sources_give_their_rows() {
        let recipe = recipe();
        let width = recipe.generator.latent;
        let all = train::latents(&recipe, 7, 9).to_vec();
        let source = LatentSource::of_rows(7, None, &[2, 3, 8, 0]);
        let spans = vec![[2, 2], [8, 1], [0, 1]];
        assert_eq!(source, LatentSource::Seed { seed: 7, truncation: None, rows: spans });
        let rows = source.rows(&recipe).unwrap();
        let expected: Vec<f32> =
            [2, 3, 8, 0].iter().flat_map(|row| &all[row * width..][..width]).copied().collect();
        assert_eq!(rows.to_vec(), expected);
        assert_eq!(LatentSource::of_values(&rows).rows(&recipe).unwrap().to_vec(), expected);
        let noise = LatentSource::Noise { seed: 1, amplitude: 0.25, count: 8 };
        let noise = noise.rows(&recipe).unwrap().to_vec();
        assert!(
            noise.len() == 8 * width
                && noise.iter().all(|v| v.abs() <= 0.25)
                && noise.iter().any(|v| v.abs() > 0.2)
        );
    }

    fn example() -> SampleSpec {
        let first = vec![(0, 0.1), (3, -1.0 / 3.0)];
        SampleSpec {
            latents: vec![
                LatentSource::of_rows(5, Some(0.7), &[0, 1]),
                LatentSource::Noise { seed: 5, amplitude: 0.25, count: 2 },
            ],
            conditions: Some(ConditionTable { rows: vec![vec![0.0, 1.0]], indices: vec![0, 0] }),
            combinations: vec![
                LatentCombination { latent: first, condition: Some(vec![(0, 1.0)]) },
                vec![(1, 1.0)].into(),
            ],
            cells: vec![Cell::Image(1), Cell::Empty, Cell::Sum(vec![(0, 0.5)]), Cell::External(0)],
            grid: GridOptions::default(),
        }
    }

    #[test]
    fn json_round_trip() {
        let text = serde_json::to_string(&example()).unwrap();
        assert_eq!(serde_json::from_str::<SampleSpec>(&text).unwrap(), example(), "{text}");
    }

    #[test]
    fn old_names_are_read() {
        let grid = serde_json::to_string(&GridOptions::default()).unwrap();
        let text = format!(
            r#"{{"latents":[{{"from":"seed","seed":5,"truncation":0.7,"rows":[[0,2]]}},
            {{"from":"noise","seed":5,"amplitude":0.25,"count":2}}],
            "told":{{"rows":[[0.0,1.0]],"of":[0,0]}},
            "mixes":[{{"of":[[0,0.1],[3,-0.33333334]],"told":[[0,1.0]]}},{{"of":[[1,1.0]]}}],
            "cells":[{{"drawn":1}},"empty",{{"sum":[[0,0.5]]}},{{"given":0}}],"grid":{grid}}}"#
        );
        assert_eq!(serde_json::from_str::<SampleSpec>(&text).unwrap(), example());
    }

    #[test]
    fn invalid_specs_are_refused() {
        let recipe = recipe();
        let plain = |source| SampleSpec::plain(vec![source], None, GridOptions::default());
        let seed = |truncation, rows| LatentSource::Seed { seed: 0, truncation, rows };
        let good = plain(LatentSource::of_rows(0, None, &[0, 1]));
        good.inputs(&recipe).unwrap();
        let refused = |spec: &SampleSpec| {
            let error = spec.inputs(&recipe).unwrap_err();
            assert!(matches!(error, EvalError::SampleSpec { .. }), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        };
        refused(&SampleSpec { combinations: vec![vec![(2, 1.0)].into()], ..good.clone() });
        refused(&SampleSpec { combinations: vec![vec![(0, f32::NAN)].into()], ..good.clone() });
        refused(&plain(seed(None, vec![[usize::MAX, 2]])));
        refused(&plain(seed(Some(-1.0), vec![[0, 1]])));
        refused(&plain(seed(None, vec![])));
        refused(&plain(LatentSource::Noise { seed: 0, amplitude: f32::NAN, count: 1 }));
        refused(&plain(LatentSource::Noise { seed: 0, amplitude: 1.0, count: usize::MAX }));
        refused(&plain(LatentSource::Values { count: 1, base64: "AAAA".into() }));
        refused(&plain(LatentSource::Values { count: 1, base64: "!".into() }));
        for cell in
            [Cell::Image(2), Cell::Image(usize::MAX), Cell::Sum(vec![(9, 1.0)]), Cell::External(0)]
        {
            let spec = SampleSpec { cells: vec![cell], ..good.clone() };
            assert!(spec.lay_out(&[0.0; 2 * 12], [2, 2, 3], &[]).is_err());
        }
    }

    #[test]
    fn cells_show_images_sums_and_background() {
        let cells = vec![
            Cell::Image(1),
            Cell::Sum(vec![(0, 1.0), (1, 2.0)]),
            Cell::Empty,
            Cell::External(0),
        ];
        let latents = vec![LatentSource::of_rows(0, None, &[0, 1])];
        let white = GridOptions { background: 255, ..GridOptions::default() };
        let spec = SampleSpec { cells, ..SampleSpec::plain(latents, None, white) };
        let (values, shape) =
            spec.lay_out(&[0.25, 0.5, -0.25, 0.75], [1, 2, 1], &[vec![0.1, 0.2]]).unwrap();
        let expected = vec![-0.25, 0.75, -0.25, 1.0, 1.0, 1.0, 0.1, 0.2];
        assert_eq!((values, shape), (expected, [4, 1, 2, 1]));
    }
}
