//! Pictures from elsewhere that a generator shall draw: flags and reports that invert and restore share.

use super::FileArgs;
use crate::commands::generator::{Conditions, LoadedGenerator, name_of};
use crate::error::CliError;
use crate::render::table;
use crate::{output, parse};
use clap::value_parser;
use data::Preprocess;
use eval::latent::{ConditionTable, LatentOptimizer, LatentSource, SampleSpec, StartResult};
use runs::{GridOptions, write_state_dict};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tensor::{HostTensor, Tensor};

/// How a latent is looked for, and where it is kept.
#[derive(clap::Args)]
pub struct InversionArgs {
    /// Steps of Adam.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = value_parser!(u32).range(1..=1_000_000))]
    steps: u32,
    /// Learning rate at the start; it falls to 0 along half a cosine.
    #[arg(long, value_name = "X", default_value_t = 0.05, value_parser = parse::learning_rate, allow_negative_numbers = true)]
    lr: f64,
    /// Random latents to start from, all at once; of each class with --class all. The best end is kept.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u32).range(1..=1000))]
    starts: u32,
    /// Of the random starts.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse::seed)]
    seed: u64,
    /// Weight of the latent's mean square beside the loss, for normal latents (uniform ones stay within [-1, 1]).
    #[arg(long, value_name = "X", default_value_t = 0.001, value_parser = parse::weight, allow_negative_numbers = true)]
    latent_l2: f64,
    /// How a picture of other proportions is brought to the generator's.
    #[arg(long, value_enum, default_value = "crop")]
    fit: data::Fit,
    /// Writes the latent as "latents" [1, latent], with its "condition" [1, K] where there is one: dcgan sample --latents takes it.
    #[arg(long, value_name = "FILE.safetensors")]
    latent: Option<PathBuf>,
}

impl InversionArgs {
    pub fn descent(&self) -> LatentOptimizer {
        let Self { steps, lr, starts, seed, latent_l2, .. } = *self;
        LatentOptimizer { steps: steps as usize, lr, starts: starts as usize, seed, latent_l2 }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Refuses a file that could not be written.
    pub fn require(&self, files: &FileArgs) -> Result<(), CliError> {
        self.latent
            .as_ref()
            .map_or(Ok(()), |path| files.require_file("--latent", path, "safetensors"))
    }

    /// How pictures are brought to `[h, w]` with `c` channels.
    pub fn preprocess(&self, [h, w, c]: [usize; 3]) -> Preprocess {
        // Recipes were checked to be far below the limits of these types.
        Preprocess { fit: self.fit, ..Preprocess::new([h as u32, w as u32], c as u8) }
    }

    /// Reads a picture and brings it to the generator's shape; with its own height and width.
    pub fn read(&self, path: &Path, shape: [usize; 3]) -> Result<(Vec<f32>, [usize; 2]), CliError> {
        Ok(data::load_image(path, &self.preprocess(shape))?)
    }

    /// Writes the latent, if that is wanted.
    pub fn write(
        &self,
        files: &FileArgs,
        latent: &Tensor,
        told: Option<&Tensor>,
    ) -> Result<(), CliError> {
        let Some(path) = &self.latent else { return Ok(()) };
        let array = |tensor: &Tensor| HostTensor::f32(tensor.shape().to_vec(), tensor.to_vec());
        let mut arrays = BTreeMap::from([("latents".to_owned(), array(latent))]);
        arrays.extend(told.map(|rows| ("condition".to_owned(), array(rows))));
        write_state_dict(path, &arrays)?;
        files.wrote(path);
        Ok(())
    }
}

/// The drawing of one latent.
pub fn drawing(latent: &Tensor, told: Option<&Tensor>, grid: GridOptions) -> SampleSpec {
    let told = told.map(|rows| ConditionTable { rows: vec![rows.to_vec()], indices: vec![0] });
    SampleSpec::plain(vec![LatentSource::of_values(latent)], told, grid)
}

/// The starts as a table, the one kept marked.
pub fn print_starts(
    opened: &LoadedGenerator,
    conditions: &Conditions,
    starts: &[StartResult],
    best: usize,
) {
    let told = !conditions.rows.is_empty();
    let head = if told { vec!["start", "under", "error", ""] } else { vec!["start", "error", ""] };
    let mut cells = vec![head.into_iter().map(String::from).collect::<Vec<_>>()];
    for (i, start) in starts.iter().enumerate() {
        let under = told.then(|| {
            conditions
                .rows
                .get(start.candidate)
                .map_or_else(String::new, |row| name_of(opened.sampler.recipe(), row))
        });
        let kept = if i == best { "kept" } else { "" };
        cells.push(
            [
                Some(i.to_string()),
                under,
                Some(format!("{:.2}", start.error)),
                Some(kept.to_owned()),
            ]
            .into_iter()
            .flatten()
            .collect(),
        );
    }
    output::line(table(&cells));
}
