//! `dcgan guided`.

use super::wrote;
use crate::commands::device::DeviceArgs;
use crate::commands::preprocess::{DatasetInfo, PreprocessArgs};
use crate::error::CliError;
use crate::{output, render};
use clap::value_parser;
use data::{DataSpec, Dataset, Split};
use eval::Progress;
use eval::interpret::InspectedDiscriminator;
use eval::interpret::guided_backprop::{self, Feature, Options};
use nn::Recipe;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// Flags of `guided`.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint, or a run directory, which means its newest good checkpoint.
    #[arg(long, value_name = "PATH|RUNDIR")]
    checkpoint: PathBuf,
    /// The pictures that the discriminator is shown: what `dcgan train --data` takes.
    #[arg(long, value_name = "SPEC", help_heading = "Data")]
    data: String,
    /// Which part of the set.
    #[arg(long, value_enum, default_value = "train", help_heading = "Data")]
    split: Split,
    /// At most so many of its pictures, spread evenly over it.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..), help_heading = "Data")]
    count: u32,
    /// The first N features of the last convolution.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = value_parser!(u32).range(1..=65_536))]
    maps: u32,
    /// So many pictures with the strongest responses of each.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u32).range(1..=1000))]
    top: u32,
    /// Of the weights of the discriminator beside it, which has learned nothing.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// The PNG to write: two rows a feature, what is seen and its guided gradient; left random filters, right the trained ones.
    #[arg(long, value_name = "FILE.png")]
    grid: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// JSON lines on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pictures: PreprocessArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Finds the strongest responses, draws their guided gradients, and tells how selective the features are.
///
/// # Errors
/// A file that is there already, no good checkpoint, a set of other pictures, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    crate::commands::require_grid(&args.grid, args.force)?;
    let checkpoint =
        crate::commands::open_checkpoint(&args.checkpoint, output::warning)?.checkpoint;
    let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
    let device = args.device.open()?;
    let (trained, dataset, random) = render::with_progress(args.json, |progress| {
        let dataset = Arc::new(open(args, &recipe, progress)?);
        let options = Options {
            maps: args.maps as usize,
            top: args.top as usize,
            images: args.count as usize,
        };
        let d = InspectedDiscriminator::trained(&checkpoint, &dataset, &device, progress)?;
        let untrained =
            InspectedDiscriminator::untrained(&recipe, args.seed, &dataset, &device, progress)?;
        let features = guided_backprop::features(&d, options, "responses, trained", progress)?;
        let random =
            guided_backprop::features(&untrained, options, "responses, untrained", progress)?;
        guided_backprop::sheet(&d, &random, &features)?.save(&args.grid)?;
        Ok::<_, CliError>(((d.layer().to_owned(), features), dataset, random))
    })?;
    let (layer, features) = trained;
    if args.json {
        output::json(
            &json!({ "event": "layer", "layer": layer, "pictures": dataset.len().min(args.count as usize) }),
        );
        for (network, all) in [("trained", &features), ("untrained", &random)] {
            all.iter().for_each(|feature| output::json(&told(network, feature, &dataset)));
        }
    } else {
        let shown = dataset.len().min(args.count as usize);
        output::line(format!(
            "Layer {layer}, {shown} pictures of {}: the {} strongest responses of each feature\n",
            dataset.name(),
            args.top
        ));
        output::line(table(&features, &random, &dataset));
        output::line("");
    }
    wrote(args.json, &args.grid);
    Ok(())
}

/// The set, as the networks take its pictures.
fn open(args: &Args, recipe: &Recipe, progress: Progress<'_>) -> Result<Dataset, CliError> {
    let known = DatasetInfo::of(&DataSpec::parse(&args.data)?)?;
    let asked = args.pictures.recipe(None, &known, Some(recipe.clone()))?;
    if (asked.image.size, asked.image.channels) != (recipe.image.size, recipe.image.channels) {
        let ([h, w], c) = (recipe.image.size, recipe.image.channels);
        return Err(CliError::Usage(format!(
            "--image, --channels: these networks have pictures of {h}x{w}x{c}; leave them out"
        )));
    }
    let mut preprocess = args.pictures.preprocess(&asked, &known)?;
    preprocess.flip = false;
    Ok(Dataset::open(&args.data, args.split, &preprocess, &|p| {
        // It does not stop for anybody.
        let _ = progress.report("reading images", p.done, p.total);
    })?)
}

fn told(network: &str, feature: &Feature, dataset: &Dataset) -> serde_json::Value {
    let top: Vec<_> = feature
        .top
        .iter()
        .map(|r| json!({ "picture": r.image, "at": r.at, "response": r.value, "label": dataset.label(r.image) }))
        .collect();
    json!({
        "event": "feature", "network": network, "feature": feature.index, "selectivity": feature.selectivity(),
        "mean": feature.responses.mean, "std": feature.responses.std, "top": top,
    })
}

fn table(trained: &[Feature], random: &[Feature], dataset: &Dataset) -> String {
    let heads = [
        "feature",
        "strongest",
        "selectivity",
        "class",
        "random: strongest",
        "selectivity",
        "class",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let class = |feature: &Feature| match feature.class(dataset) {
        Some((label, count)) => {
            let name = dataset
                .class_names()
                .get(label as usize)
                .cloned()
                .unwrap_or_else(|| label.to_string());
            format!("{count} {name}")
        }
        None => "-".to_owned(),
    };
    let strongest = |feature: &Feature| {
        feature.top.first().map_or_else(String::new, |r| format!("{:.3}", r.value))
    };
    for (a, b) in trained.iter().zip(random) {
        let half = |f: &Feature| [strongest(f), format!("{:.2}", f.selectivity()), class(f)];
        rows.push([vec![a.index.to_string()], half(a).to_vec(), half(b).to_vec()].concat());
    }
    render::table(&rows)
}
