//! What draws, and under which condition: flags that several commands have.

use super::device::DeviceArgs;
use crate::error::CliError;
use crate::output;
use crate::render::quoted;
use clap::ValueEnum;
use eval::latent::{ConditionTable, LatentSource, ModelId};
use nn::Recipe;
use nn::recipe::ConditionKind;
use runs::builtin_models::MODELS;
use runs::{Checkpoint, read_state_dict};
use std::path::{Path, PathBuf};
use tensor::Tensor;
use train::{BatchNormMode, Sampler};

/// What batch norm normalises by.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BatchNorm {
    /// The running statistics of training.
    Running,
    /// The statistics of the pictures that are drawn together: they then depend on --batch.
    Batch,
    /// Statistics measured anew over 2048 latents, for weights that came without running ones.
    Recalibrated,
}

impl From<BatchNorm> for BatchNormMode {
    fn from(choice: BatchNorm) -> Self {
        match choice {
            BatchNorm::Running => Self::Running,
            BatchNorm::Batch => Self::Batch,
            BatchNorm::Recalibrated => Self::Recalibrated,
        }
    }
}

/// Flags that choose a generator, and where it draws.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("networks").args(["checkpoint", "model"]).required(true)))]
pub struct GeneratorArgs {
    /// A checkpoint, or a run directory, which means its newest good checkpoint.
    #[arg(long, value_name = "PATH|RUNDIR")]
    checkpoint: Option<PathBuf>,
    /// A small generator that comes with this program: fashion (garments, by --class) or emoji (people).
    #[arg(long, value_name = "NAME", value_parser = MODELS.map(|model| model.name))]
    model: Option<String>,
    /// What batch norm uses: running statistics unless the weights have none.
    #[arg(long, value_enum)]
    bn: Option<BatchNorm>,
    /// Pictures drawn at a time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: u32,
    #[command(flatten)]
    device: DeviceArgs,
}

/// A generator ready to draw.
pub struct LoadedGenerator {
    pub checkpoint: Checkpoint,
    pub networks: ModelId,
    pub sampler: Sampler,
    pub batch: usize,
}

/// The checkpoint that --checkpoint or --model means, with the name of the model.
pub fn checkpoint<'a>(
    path: Option<&Path>,
    model: Option<&'a str>,
) -> Result<(Checkpoint, Option<&'a str>), CliError> {
    match (path, model.and_then(|name| MODELS.iter().find(|model| name == model.name))) {
        (Some(path), _) => Ok((super::open_checkpoint(path, output::warning)?.checkpoint, None)),
        (None, Some(known)) => Ok((known.checkpoint()?, model)),
        (None, None) => {
            Err(CliError::Usage("--checkpoint or --model says what to draw with".into()))
        }
    }
}

impl GeneratorArgs {
    /// Opens it.
    ///
    /// # Errors
    /// No good checkpoint, or no device.
    pub fn open(&self) -> Result<LoadedGenerator, CliError> {
        let (checkpoint, model) = checkpoint(self.checkpoint.as_deref(), self.model.as_deref())?;
        let sampler = Sampler::new(&checkpoint, self.bn.map(Into::into), &self.device.open()?)?;
        Ok(LoadedGenerator {
            networks: ModelId::of(&checkpoint, model),
            checkpoint,
            sampler,
            batch: self.batch as usize,
        })
    }

    /// [`open`](Self::open) for work in which every picture must be the same in any company.
    ///
    /// # Errors
    /// As there; and --bn batch.
    pub fn open_alone(&self) -> Result<LoadedGenerator, CliError> {
        if self.bn == Some(BatchNorm::Batch) {
            return Err(CliError::Usage(
                "--bn batch: a picture would depend on those that are drawn with it; choose running or recalibrated".into(),
            ));
        }
        self.open()
    }
}

/// Flags that say what a generator is told.
#[derive(clap::Args)]
pub struct ConditionArgs {
    /// The class to draw, by number or name, for a generator that was trained with classes; all takes each.
    #[arg(long, value_name = "CLASS|all", allow_negative_numbers = true, conflicts_with_all = ["attr", "condition"])]
    class: Option<String>,
    /// An attribute of what to draw, such as smiling=1 or gender=female; those that are not named are 0. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "condition")]
    attr: Vec<String>,
    /// Vectors to draw under, a tensor [1, K] or [N, K] (called "condition" where there are several).
    #[arg(long, value_name = "FILE.safetensors")]
    condition: Option<PathBuf>,
}

/// What latents are drawn under.
pub struct Conditions {
    /// The different conditions; none for a generator that is told nothing.
    pub rows: Vec<Vec<f32>>,
    /// Whether every latent is drawn under each.
    pub all: bool,
    /// The file they are from.
    file: Option<PathBuf>,
}

impl Conditions {
    /// Which latent each picture has, and which condition: `count` latents under one condition or one each; or under every one, class by class.
    ///
    /// # Errors
    /// Neither one condition nor as many as latents.
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
                return Err(CliError::Usage(format!(
                    "--condition {file:?} holds {known} vectors for {count} pictures: give 1, or --count {known}"
                )));
            }
        };
        Ok((order, Some(ConditionTable { rows: self.rows.clone(), indices: of })))
    }

    /// The rows as a tensor `[M, K]`; none where there are none.
    pub fn tensor(&self) -> Option<Tensor> {
        let width = self.rows.first()?.len();
        Some(Tensor::from_slice(&self.rows.concat(), [self.rows.len(), width]))
    }
}

impl ConditionArgs {
    /// Whether each class is asked for.
    pub fn is_all(&self) -> bool {
        self.class.as_deref() == Some("all")
    }

    /// What is asked for.
    ///
    /// # Errors
    /// What the generator does not know, or no condition where it wants one.
    pub fn read(&self, recipe: &Recipe) -> Result<Conditions, CliError> {
        let asked = if self.condition.is_some() {
            Some("--condition")
        } else {
            self.class.as_ref().map(|_| "--class")
        };
        let asked = asked.or_else(|| (!self.attr.is_empty()).then_some("--attr"));
        let Some(condition) = train::generator_condition(recipe) else {
            return match asked {
                Some(flag) => Err(CliError::Usage(format!(
                    "{flag}: this generator was trained without a condition"
                ))),
                None => Ok(Conditions { rows: Vec::new(), all: false, file: None }),
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
        Ok(Conditions { rows, all, file: self.condition.clone() })
    }
}

/// What a condition is called for people: a class's name where it is one.
pub fn name_of(recipe: &Recipe, row: &[f32]) -> String {
    let one = (row.iter().filter(|v| **v != 0.0).count() == 1)
        .then(|| row.iter().position(|v| *v == 1.0))
        .flatten();
    let names = train::generator_condition(recipe).map_or(&[][..], |c| &c.names);
    match one {
        Some(at) => names.get(at).cloned().unwrap_or_else(|| at.to_string()),
        None => format!("{row:?}"),
    }
}

/// The tensor of a file, `[N, width]`: its only one, or the one of this name.
pub fn read(file: &Path, name: &str, width: usize) -> Result<Tensor, CliError> {
    let wrong = |what: String| {
        CliError::Failed(format!(
            "{file:?} {what}: this generator takes one tensor [N, {width}] of F32"
        ))
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
        (_, None) => Err(wrong("holds whole numbers".to_owned())),
    }
}

/// Where the latents of `sample` come from.
pub enum Source {
    /// A seed, and how near to the middle.
    Seed(u64, Option<f64>),
    /// A file's, `[N, latent]`.
    Values(Tensor),
}

impl Source {
    /// These rows.
    pub fn block(&self, rows: &[usize]) -> LatentSource {
        match self {
            Self::Seed(seed, truncation) => LatentSource::of_rows(*seed, *truncation, rows),
            Self::Values(values) => LatentSource::of_values(&values.index_select(rows)),
        }
    }
}

/// The command line, as a shell takes it.
pub fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(Path::new(&word)));
    std::iter::once("dcgan".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
