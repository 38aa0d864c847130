//! Inversion of a given image: flags and reports that invert and restore share.

use super::FileArgs;
use crate::commands::{ConditionSet, LoadedGenerator, OutputFile, condition_name};
use crate::error::CliError;
use crate::parse::count;
use crate::report::table;
use crate::{output, parse};
use data::{Fit, Preprocess};
use eval::latent::{ConditionTable, LatentOptimizer, LatentSource, SampleSpec, StartResult};
use runs::{GridOptions, write_state_dict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tensor::{HostTensor, Tensor};

/// Flags of the optimization of a latent, and where it is written.
#[derive(clap::Args)]
#[command(next_help_heading = "Optimizer")]
pub struct InversionArgs {
    /// Number of steps of Adam.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = count(1..=1_000_000))]
    steps: u32,
    /// Learning rate at the start; it decays to 0 along half a cosine.
    #[arg(long, value_name = "X", default_value_t = 0.05, value_parser = parse::learning_rate,
        allow_negative_numbers = true)]
    lr: f64,
    /// Random initial latents, optimized in one batch (N per class with --class all); the one with
    /// the lowest final error is kept.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count(1..=1000))]
    starts: u32,
    /// Random seed of the initial latents.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse::seed)]
    seed: u64,
    /// Weight of the latent's mean square in the loss, for normal latents (uniform ones are clamped
    /// to [-1, 1]).
    #[arg(long, value_name = "X", default_value_t = 0.001, value_parser = parse::weight,
        allow_negative_numbers = true)]
    latent_l2: f64,
    /// Fit: how an image with another aspect ratio is brought to the generator's.
    #[arg(long, value_enum, default_value = "crop", help_heading = "Data")]
    fit: Fit,
    /// Output path. FILE.safetensors: the latent as "latents" [1, latent] with its "condition"
    /// [1, K], for `dcgan sample --latents`. FILE.png (restore only): the restored image. May be
    /// given twice.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Vec<PathBuf>,
}

impl InversionArgs {
    pub fn descent(&self) -> LatentOptimizer {
        let Self { steps, lr, starts, seed, latent_l2, .. } = *self;
        LatentOptimizer { steps: steps as usize, lr, starts: starts as usize, seed, latent_l2 }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The output file with this extension.
    pub fn out(&self, extension: &str) -> Option<&Path> {
        let is_meant = |path: &&PathBuf| {
            path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
        };
        self.out.iter().find(is_meant).map(PathBuf::as_path)
    }

    /// Rejects output files that could not be written, or whose extension is none of `extensions`.
    pub fn require(&self, files: &FileArgs, extensions: &[&'static str]) -> Result<(), CliError> {
        let last = extensions.last().copied().unwrap_or_default();
        let required: Vec<OutputFile<'_>> = self
            .out
            .iter()
            .map(|path| {
                let known = extensions.iter().find(|known| {
                    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(known))
                });
                ("--out", Some(path.as_path()), known.copied().unwrap_or(last))
            })
            .collect();
        files.require(&required)
    }

    /// The preprocessing to `[h, w]` with `c` channels.
    pub fn preprocess(&self, [h, w, c]: [usize; 3]) -> Preprocess {
        // Recipes were checked to be far below the limits of these types.
        Preprocess { fit: self.fit, ..Preprocess::new([h as u32, w as u32], c as u8) }
    }

    /// Reads an image and fits it to the generator's shape; with its own height and width.
    pub fn read(&self, path: &Path, shape: [usize; 3]) -> Result<(Vec<f32>, [usize; 2]), CliError> {
        Ok(data::load_image(path, &self.preprocess(shape))?)
    }

    /// Writes the latent, if `--out` names a file for it.
    pub fn write(
        &self,
        files: &FileArgs,
        latent: &Tensor,
        condition: Option<&Tensor>,
    ) -> Result<(), CliError> {
        let Some(path) = self.out("safetensors") else { return Ok(()) };
        let array = |tensor: &Tensor| HostTensor::f32(tensor.shape().to_vec(), tensor.to_vec());
        let mut arrays = BTreeMap::from([("latents".to_owned(), array(latent))]);
        arrays.extend(condition.map(|rows| ("condition".to_owned(), array(rows))));
        write_state_dict(path, &arrays)?;
        output::wrote(path, files.json);
        Ok(())
    }
}

/// The drawing of one latent.
pub fn drawing(latent: &Tensor, condition: Option<&Tensor>, grid: GridOptions) -> SampleSpec {
    let condition =
        condition.map(|rows| ConditionTable { rows: vec![rows.to_vec()], indices: vec![0] });
    SampleSpec::plain(vec![LatentSource::of_values(latent)], condition, grid)
}

/// The final errors of all starts: root mean squares in gray levels of 255.
#[derive(Serialize)]
pub struct Starts {
    /// The index of the one kept.
    best: usize,
    starts: Vec<StartError>,
}

#[derive(Serialize)]
struct StartError {
    /// The index of its condition.
    condition: usize,
    error: f64,
    #[serde(skip)]
    condition_name: Option<String>,
}

impl Starts {
    pub fn new(
        opened: &LoadedGenerator,
        conditions: &ConditionSet,
        starts: &[StartResult],
        best: usize,
    ) -> Self {
        let recipe = opened.sampler.recipe();
        let start = |start: &StartResult| StartError {
            condition: start.candidate,
            error: start.error,
            condition_name: conditions
                .rows
                .get(start.candidate)
                .map(|row| condition_name(recipe, row)),
        };
        Self { best, starts: starts.iter().map(start).collect() }
    }

    /// The error of the one kept; NaN if there are none.
    pub fn error(&self) -> f64 {
        self.starts.get(self.best).map_or(f64::NAN, |start| start.error)
    }

    /// A table of all starts, in which the one kept is marked.
    pub fn table(&self) -> String {
        let conditional = self.starts.iter().any(|start| start.condition_name.is_some());
        let head = ["start", "condition", "error", ""];
        let cells = |(i, start): (usize, &StartError)| {
            let name = start.condition_name.clone().unwrap_or_default();
            let kept = if i == self.best { "kept" } else { "" };
            [i.to_string(), name, format!("{:.2}", start.error), kept.to_owned()]
        };
        // The column of conditions only where there are some.
        let columns = |i: &usize| conditional || *i != 1;
        let head: Vec<&str> = (0..4).filter(columns).map(|i| head[i]).collect();
        let rows = self.starts.iter().enumerate().map(cells);
        table(
            &head,
            rows.map(|row| {
                row.into_iter().enumerate().filter(|(i, _)| columns(i)).map(|(_, cell)| cell)
            }),
        )
    }
}
