//! `dcgan info`.

use crate::error::CliError;
use crate::output;
use crate::render::table;
use eval::latent::{LatentSource, ModelId, Provenance};
use indicatif::HumanBytes;
use nn::Recipe;
use runs::checkpoint::CheckpointHeader;
use runs::{LatestValidCheckpoint, TensorInfo, run_dir};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Flags of `info`.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint, or a run directory, which means its newest good checkpoint; or a PNG that says how it was drawn.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Tells what a checkpoint holds, after verifying its checksum; or how a picture was drawn.
///
/// # Errors
/// No good checkpoint there, or a picture that does not say.
pub fn run(args: &Args) -> Result<(), CliError> {
    if args.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        return picture(args);
    }
    let found = run_dir::resolve_header(&args.path)?;
    super::warn_skipped(&found.skipped, &found.path, output::warning);
    let recipe = Recipe::from_toml(&found.checkpoint.meta.recipe)
        .map_err(|e| CliError::in_context(found.path.display(), e))?;
    if args.json { print_json(&found, &recipe) } else { print(&found, &recipe) }
}

fn picture(args: &Args) -> Result<(), CliError> {
    let (image, origin) = Provenance::read(&args.path)?;
    if args.json {
        output::json(&serde_json::to_value(&origin).unwrap_or(Value::Null));
        return Ok(());
    }
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
    let pictures = drawing.images();
    let conditions = drawing
        .conditions
        .as_ref()
        .map_or_else(|| "none".into(), |told| format!("{} different ones", told.rows.len()));
    let facts = [
        ("picture", args.path.display().to_string()),
        ("size", format!("{}x{}", image.width(), image.height())),
        ("drawn by", origin.command.clone()),
        ("program", format!("dcgan {}, {}", origin.version, origin.computed_with)),
        (
            "networks",
            format!(
                "recipe {recipe}, step {step}, {identity}{}",
                model.as_ref().map_or_else(String::new, |m| format!(", --model {m}"))
            ),
        ),
        ("batch norm", format!("{:?}", origin.batch_norm).to_lowercase()),
        ("latents", from.collect::<Vec<_>>().join("; ")),
        ("conditions", conditions),
        ("pictures", pictures.to_string()),
    ];
    facts.iter().for_each(|(name, value)| output::line(format!("{name:<14}  {value}")));
    Ok(())
}

fn print(found: &LatestValidCheckpoint<CheckpointHeader>, recipe: &Recipe) -> Result<(), CliError> {
    let meta = &found.checkpoint.meta;
    let data = if meta.dataset.name.is_empty() {
        "none (imported weights)".to_owned()
    } else {
        format!("{} (fingerprint {:.16})", meta.dataset.name, meta.dataset.fingerprint)
    };
    let plan = recipe.summary()?;
    let facts = [
        ("checkpoint", found.path.display().to_string()),
        ("size", HumanBytes(found.checkpoint.bytes).to_string()),
        ("step", meta.step.to_string()),
        ("recipe", format!("{}: {}", recipe.name, recipe.description)),
        ("data", data),
        ("parameters", plan.parameters.to_string()),
        ("computed with", format!("{}, algorithms {}", meta.numerics_id, meta.numerics_version)),
        (
            "training state",
            if meta.state.is_null() {
                "none: it cannot be resumed"
            } else {
                "yes: it can be resumed"
            }
            .to_owned(),
        ),
    ];
    facts.iter().for_each(|(name, value)| output::line(format!("{name:<14}  {value}")));
    output::line(format!("\n{plan}\n"));
    let mut cells = vec![["tensor", "type", "shape"].map(String::from).to_vec()];
    let row = |tensor: &TensorInfo| {
        vec![tensor.name.clone(), tensor.dtype.clone(), format!("{:?}", tensor.shape)]
    };
    cells.extend(found.checkpoint.tensors.iter().map(row));
    output::line(table(&cells));
    output::line(format!("\nrecipe\n\n{}", meta.recipe.trim_end()));
    Ok(())
}

fn print_json(
    found: &LatestValidCheckpoint<CheckpointHeader>,
    recipe: &Recipe,
) -> Result<(), CliError> {
    let meta = &found.checkpoint.meta;
    let tensor = |tensor: &TensorInfo| json!({ "name": tensor.name, "type": tensor.dtype, "shape": tensor.shape });
    let tensors: Vec<Value> = found.checkpoint.tensors.iter().map(tensor).collect();
    output::json(&json!({
        "path": found.path,
        "bytes": found.checkpoint.bytes,
        "schema": found.checkpoint.schema,
        "step": meta.step,
        "recipe_name": meta.recipe_name,
        "recipe": serde_json::to_value(recipe).unwrap_or(Value::Null),
        "data": { "name": meta.dataset.name, "fingerprint": meta.dataset.fingerprint },
        "parameters": recipe.summary()?.parameters,
        "instruction_set": meta.numerics_id,
        "algorithm_table": meta.numerics_version,
        "resumable": !meta.state.is_null(),
        "tensors": tensors,
    }));
    Ok(())
}
