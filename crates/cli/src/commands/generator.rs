//! The generator of a command, and its conditions: flags that several commands share.

use super::{CheckpointArgs, DeviceArgs};
use crate::error::CliError;
use crate::parse::count;
use crate::render::quoted;
use eval::latent::{ConditionTable, LatentSource, ModelId};
use nn::Recipe;
use nn::recipe::ConditionKind;
use runs::{Checkpoint, read_state_dict};
use std::path::{Path, PathBuf};
use tensor::Tensor;
use train::{BatchNormMode, Sampler};

/// Flags that choose a generator and its device.
#[derive(clap::Args)]
#[command(next_help_heading = "Model")]
pub struct GeneratorArgs {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Batch norm statistics [default: running; recalibrated if the weights have none].
    #[arg(long, value_enum)]
    bn: Option<BatchNormMode>,
    /// Batch size in images.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = count(1..=65536))]
    batch: u32,
    #[command(flatten)]
    device: DeviceArgs,
}

/// A generator that is ready to sample.
pub struct LoadedGenerator {
    pub checkpoint: Checkpoint,
    pub networks: ModelId,
    pub sampler: Sampler,
    pub batch: usize,
}

impl GeneratorArgs {
    /// Loads the generator.
    pub fn open(&self) -> Result<LoadedGenerator, CliError> {
        let device = self.device.open()?;
        let (checkpoint, model) = self.checkpoint.open()?;
        let sampler = Sampler::new(&checkpoint, self.bn, &device)?;
        Ok(LoadedGenerator {
            networks: ModelId::of(&checkpoint, model),
            checkpoint,
            sampler,
            batch: self.batch as usize,
        })
    }

    /// [`open`](Self::open) for work in which images must be batch-invariant.
    pub fn open_batch_invariant(&self) -> Result<LoadedGenerator, CliError> {
        if self.bn == Some(BatchNormMode::Batch) {
            return Err(usage!(
                "--bn batch: images would depend on the others in their batch; choose running or \
                 recalibrated"
            ));
        }
        self.open()
    }
}

/// Flags for the condition of a generator.
#[derive(clap::Args)]
#[command(next_help_heading = "Conditioning")]
pub struct ConditionArgs {
    /// Class to generate, by index or name, for a generator trained with classes; `all` for each.
    #[arg(long, value_name = "CLASS|all", allow_negative_numbers = true,
        conflicts_with_all = ["attr", "condition"])]
    class: Option<String>,
    /// Attribute to generate, such as smiling=1 or gender=female; attributes not given are 0. May
    /// be given several times.
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "condition")]
    attr: Vec<String>,
    /// Condition vectors, a tensor [1, K] or [N, K] (named "condition" if the file has several).
    #[arg(long, value_name = "FILE.safetensors")]
    condition: Option<PathBuf>,
}

/// The conditions of a command's images.
pub struct ConditionSet {
    /// The distinct conditions; none for an unconditional generator.
    pub rows: Vec<Vec<f32>>,
    /// Whether every latent is drawn under each of them.
    pub all: bool,
    /// The file they were read from.
    file: Option<PathBuf>,
}

impl ConditionSet {
    /// The latent and the condition of each image: `count` latents under one condition or one each,
    /// or under every condition, class by class.
    pub fn pair_latents_with_conditions(
        &self,
        count: usize,
    ) -> Result<(Vec<usize>, Option<ConditionTable>), CliError> {
        let (order, of): (Vec<usize>, Vec<usize>) = match self.rows.len() {
            0 => return Ok(((0..count).collect(), None)),
            known if self.all => (0..known * count).map(|i| (i % count, i / count)).unzip(),
            1 => (0..count).map(|i| (i, 0)).unzip(),
            known if known == count => (0..count).map(|i| (i, i)).unzip(),
            known => {
                let file = self.file.as_deref().unwrap_or(Path::new(""));
                return Err(usage!(
                    "--condition {file:?} holds {known} vectors for {count} images: give 1, or \
                     --count {known}"
                ));
            }
        };
        Ok((order, Some(ConditionTable { rows: self.rows.clone(), indices: of })))
    }

    /// The rows as a tensor `[M, K]`; none for an unconditional generator.
    pub fn tensor(&self) -> Option<Tensor> {
        let width = self.rows.first()?.len();
        Some(Tensor::from_slice(&self.rows.concat(), [self.rows.len(), width]))
    }
}

impl ConditionArgs {
    /// Whether `--class all` was given.
    pub fn is_all(&self) -> bool {
        self.class.as_deref() == Some("all")
    }

    /// Reads the conditions.
    pub fn read(&self, recipe: &Recipe) -> Result<ConditionSet, CliError> {
        let flag = if self.condition.is_some() {
            Some("--condition")
        } else {
            self.class.as_ref().map(|_| "--class")
        };
        let flag = flag.or_else(|| (!self.attr.is_empty()).then_some("--attr"));
        let Some(condition) = train::generator_condition(recipe) else {
            return match flag {
                Some(flag) => Err(usage!("{flag}: this generator was trained without a condition")),
                None => Ok(ConditionSet { rows: Vec::new(), all: false, file: None }),
            };
        };
        let all = self.is_all() && condition.kind == ConditionKind::Class;
        let rows = match &self.condition {
            Some(file) => read(file, "condition", condition.size)?,
            None if all => recipe.example_conditions(condition.size),
            None => {
                train::condition::parse_condition(condition, self.class.as_deref(), &self.attr)?
            }
        };
        let rows = rows.to_vec().chunks(condition.size.max(1)).map(<[f32]>::to_vec).collect();
        Ok(ConditionSet { rows, all, file: self.condition.clone() })
    }
}

/// The name of a condition: the class's name if it is one-hot.
pub fn condition_name(recipe: &Recipe, row: &[f32]) -> String {
    let one = (row.iter().filter(|v| **v != 0.0).count() == 1)
        .then(|| row.iter().position(|v| *v == 1.0))
        .flatten();
    let names = train::generator_condition(recipe).map_or(&[][..], |c| &c.names);
    match one {
        Some(at) => names.get(at).cloned().unwrap_or_else(|| at.to_string()),
        None => format!("{row:?}"),
    }
}

/// The tensor `[N, width]` of a file: its only one, or the one called `name`.
pub fn read(file: &Path, name: &str, width: usize) -> Result<Tensor, CliError> {
    let wrong = |what: String| {
        failure!("{file:?} {what}: this generator takes one tensor [N, {width}] of F32")
    };
    let mut arrays = read_state_dict(file)?;
    let array = match arrays.len() {
        1 => arrays.pop_first().map(|(_, array)| array),
        _ => arrays.remove(name),
    };
    let array = array
        .ok_or_else(|| wrong(format!("holds {} tensors, none called {name:?}", arrays.len())))?;
    let shape = array.shape.clone();
    match (&shape[..], array.as_f32()) {
        ([count, found], Some(values)) if *count > 0 && *found == width => {
            match values.iter().find(|value| !value.is_finite()) {
                Some(value) => Err(wrong(format!("holds {value}"))),
                None => Ok(Tensor::from_slice(values, [*count, width])),
            }
        }
        (_, Some(_)) => Err(wrong(format!("holds a tensor of shape {shape:?}"))),
        (_, None) => Err(wrong("holds integers".to_owned())),
    }
}

/// The source of the latents of `sample`.
pub enum LatentInput {
    /// A seed, and the truncation.
    Seed(u64, Option<f64>),
    /// A file's tensor `[N, latent]`.
    Values(Tensor),
}

impl LatentInput {
    /// The latents with these row indices.
    pub fn block(&self, rows: &[usize]) -> LatentSource {
        match self {
            Self::Seed(seed, truncation) => LatentSource::of_rows(*seed, *truncation, rows),
            Self::Values(values) => LatentSource::of_values(&values.index_select(rows)),
        }
    }
}

/// The command line, quoted for a shell.
pub fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(Path::new(&word)));
    std::iter::once("dcgan".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
