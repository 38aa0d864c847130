//! `dcgan info`.

use super::JsonArg;
use crate::error::CliError;
use crate::output;
use crate::report::{self, Report, ReportPath, table};
use eval::latent::{LatentSource, ModelId, Provenance};
use indicatif::HumanBytes;
use nn::{ModelSummary, Recipe};
use runs::checkpoint::CheckpointHeader;
use runs::{
    ArtifactError, LatestValidCheckpoint, StateDictFile, StateDictInfo, TensorInfo, UnreadEntry,
    run_dir,
};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint file, run directory (its newest valid checkpoint), state dict (.pth, .pt,
    /// .safetensors), or a generated PNG.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints what a checkpoint contains, after verifying its checksum; or how an image was generated.
pub fn run(args: &Args) -> Result<(), CliError> {
    let json = args.json.json;
    if args.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        report::print(&ImageReport::new(&args.path)?, json);
        return Ok(());
    }
    let found = match run_dir::resolve_header(&args.path) {
        Err(ArtifactError::PyTorch { .. } | ArtifactError::NotCheckpoint { .. })
            if args.path.is_file() =>
        {
            report::print(&StateDictReport::new(&args.path)?, json);
            return Ok(());
        }
        found => found?,
    };
    super::warn_skipped(&found.skipped, &found.path, output::warning);
    let recipe = Recipe::from_toml(&found.checkpoint.meta.recipe)
        .map_err(|e| CliError::in_context(found.path.display(), e))?;
    report::print(&CheckpointReport::new(found, recipe)?, json);
    Ok(())
}

/// Lines `name  value`.
fn facts(facts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let lines =
        facts.into_iter().map(|(name, value)| format!("{name:<14}  {}", output::name(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// How an image was generated: the metadata of its PNG.
#[derive(Serialize)]
#[serde(transparent)]
struct ImageReport {
    origin: Provenance,
    #[serde(skip)]
    path: PathBuf,
    /// Width and height.
    #[serde(skip)]
    size: [u32; 2],
}

impl ImageReport {
    fn new(path: &Path) -> Result<Self, CliError> {
        let (image, origin) = Provenance::read(path)?;
        Ok(Self { origin, path: path.to_owned(), size: [image.width(), image.height()] })
    }
}

impl Report for ImageReport {
    fn text(&self) -> Vec<String> {
        let origin = &self.origin;
        let ModelId { identity, recipe, step, model } = &origin.networks;
        let drawing = &origin.samples;
        let from = drawing.latents.iter().map(|block| match block {
            LatentSource::Seed { seed, truncation, rows } => {
                let spans = rows.iter().map(|[first, count]| {
                    if *count == 1 {
                        first.to_string()
                    } else {
                        format!("{first} to {}", first + count - 1)
                    }
                });
                let within =
                    truncation.map_or_else(String::new, |psi| format!(", truncated to ±{psi}"));
                format!("seed {seed}, {}{within}", spans.collect::<Vec<_>>().join(", "))
            }
            LatentSource::Noise { seed, amplitude, count } => {
                format!("{count} of noise within ±{amplitude}, seed {seed}")
            }
            LatentSource::Values { count, .. } => format!("{count} that are in the file"),
        });
        let images = drawing.images();
        let conditions = drawing
            .conditions
            .as_ref()
            .map_or_else(|| "none".into(), |table| format!("{} different ones", table.rows.len()));
        let model = model.as_ref().map_or_else(String::new, |name| format!(", --model {name}"));
        let [width, height] = self.size;
        vec![facts([
            ("image", self.path.display().to_string()),
            ("size", format!("{width}x{height}")),
            ("drawn by", origin.command.clone()),
            ("program", format!("dcgan {}, {}", origin.version, origin.computed_with)),
            ("networks", format!("recipe {recipe}, step {step}, {identity}{model}")),
            ("batch norm", format!("{:?}", origin.batch_norm).to_lowercase()),
            ("latents", from.collect::<Vec<_>>().join("; ")),
            ("conditions", conditions),
            ("images", images.to_string()),
        ])]
    }
}

/// The contents of a state dict of another program.
#[derive(Serialize)]
struct StateDictReport {
    path: ReportPath,
    bytes: u64,
    format: &'static str,
    /// The recipe of its generator, if it is one.
    recipe: Option<String>,
    dicts: Vec<StateDictInfo>,
    unread: Vec<UnreadEntry>,
}

impl StateDictReport {
    fn new(path: &Path) -> Result<Self, CliError> {
        let file = StateDictFile::open(path)?;
        let dicts = file.dicts();
        let recipes = dicts.iter().filter_map(|dict| {
            let shapes = dict.tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
            Recipe::of_state_dicts(&shapes, None).ok()
        });
        let recipe = recipes.map(|recipe| recipe.sizes_text()).next();
        let (bytes, format) = (file.bytes(), file.format());
        let unread = file.into_unread();
        Ok(Self { path: path.into(), bytes, format, recipe, dicts, unread })
    }
}

impl Report for StateDictReport {
    fn text(&self) -> Vec<String> {
        let count = |dict: &StateDictInfo| dict.tensors.len();
        let none = || "none: no built-in recipe has these tensors".to_owned();
        let mut text = vec![facts([
            ("state dict", self.path.display().to_string()),
            ("format", self.format.to_owned()),
            ("size", HumanBytes(self.bytes).to_string()),
            ("tensors", self.dicts.iter().map(count).sum::<usize>().to_string()),
            ("recipe", self.recipe.clone().unwrap_or_else(none)),
        ])];
        for dict in &self.dicts {
            if !dict.key.is_empty() {
                text.push(format!("\n{}", output::name(&dict.key)));
            }
            let rows = dict.tensors.iter().map(|tensor| {
                [tensor.name.clone(), tensor.dtype.clone(), format!("{:?}", tensor.shape)]
            });
            text.push(format!("\n{}", table(&["tensor", "type", "shape"], rows)));
        }
        if !self.unread.is_empty() {
            let rows = self.unread.iter().map(|entry| [entry.key.clone(), entry.what.clone()]);
            text.push(format!("\n{}", table(&["not read", "what it is"], rows)));
        }
        text
    }
}

/// The contents of a checkpoint.
#[derive(Serialize)]
struct CheckpointReport {
    path: ReportPath,
    bytes: u64,
    schema: u32,
    step: u64,
    recipe_name: String,
    recipe: Recipe,
    data: DataReport,
    parameters: usize,
    #[serde(rename = "instruction_set")]
    numerics_id: String,
    #[serde(rename = "algorithm_table")]
    numerics_version: String,
    resumable: bool,
    tensors: Vec<TensorInfo>,
    #[serde(skip)]
    summary: ModelSummary,
    #[serde(skip)]
    recipe_text: String,
}

#[derive(Serialize)]
struct DataReport {
    name: String,
    fingerprint: String,
}

impl CheckpointReport {
    fn new(
        found: LatestValidCheckpoint<CheckpointHeader>,
        recipe: Recipe,
    ) -> Result<Self, CliError> {
        let summary = recipe.summary()?;
        let CheckpointHeader { meta, bytes, schema, tensors, .. } = found.checkpoint;
        Ok(Self {
            path: found.path.into(),
            bytes,
            schema,
            step: meta.step,
            recipe_name: meta.recipe_name,
            recipe,
            data: DataReport { name: meta.dataset.name, fingerprint: meta.dataset.fingerprint },
            parameters: summary.parameters,
            numerics_id: meta.numerics_id,
            numerics_version: meta.numerics_version,
            resumable: !meta.state.is_null(),
            tensors,
            summary,
            recipe_text: meta.recipe,
        })
    }
}

impl Report for CheckpointReport {
    fn text(&self) -> Vec<String> {
        let Self { recipe, numerics_id, numerics_version, .. } = self;
        let data = match &self.data {
            DataReport { name, .. } if name.is_empty() => "none (imported weights)".to_owned(),
            DataReport { name, fingerprint } => format!("{name} (fingerprint {fingerprint:.16})"),
        };
        let state = match self.resumable {
            true => "yes: it can be resumed",
            false => "none: it cannot be resumed",
        };
        let rows = self.tensors.iter().map(|tensor| {
            [tensor.name.clone(), tensor.dtype.clone(), format!("{:?}", tensor.shape)]
        });
        vec![
            facts([
                ("checkpoint", self.path.display().to_string()),
                ("size", HumanBytes(self.bytes).to_string()),
                ("step", self.step.to_string()),
                ("recipe", format!("{}: {}", recipe.name, recipe.description)),
                ("data", data),
                ("parameters", self.parameters.to_string()),
                ("computed with", format!("{numerics_id}, algorithms {numerics_version}")),
                ("training state", state.to_owned()),
            ]),
            format!("\n{}\n", self.summary),
            table(&["tensor", "type", "shape"], rows),
            format!("\nrecipe\n\n{}", self.recipe_text.trim_end()),
        ]
    }
}
