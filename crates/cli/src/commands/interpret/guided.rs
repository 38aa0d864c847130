//! `dcgan guided`.

use super::wrote;
use crate::commands::{
    DatasetInfo, DeviceArgs, OutputArgs, PreprocessArgs, open_checkpoint, require_grid,
};
use crate::error::CliError;
use crate::parse::count;
use crate::report::{self, Report, table};
use crate::{output, render};
use data::{DataSpec, Dataset, Split};
use eval::Progress;
use eval::interpret::InspectedDiscriminator;
use eval::interpret::guided_backprop::{self, Feature, Options};
use nn::Recipe;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    /// Checkpoint file, or run directory (its newest valid checkpoint).
    #[arg(long, value_name = "PATH|RUNDIR", help_heading = "Model")]
    checkpoint: PathBuf,
    /// Dataset of D's input images, as for `dcgan train`.
    #[arg(long, value_name = "SPEC", value_parser = crate::parse::spec(), help_heading = "Data")]
    data: String,
    /// Split of the dataset.
    #[arg(long, value_enum, default_value = "train", help_heading = "Data")]
    split: Split,
    /// Number of images, spread evenly over the dataset; at most all of it.
    #[arg(long, value_name = "N", default_value_t = 10_000, help_heading = "Data",
        value_parser = count(1..))]
    count: u32,
    /// Number of features: the first N channels of the last convolution.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = count(1..=65_536))]
    maps: u32,
    /// Images with the strongest responses to show per feature.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count(1..=1000))]
    top: u32,
    /// Random seed of the weights of the untrained discriminator for comparison.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Write a PNG with two rows per feature: image patches and their guided gradients; random
    /// filters on the left, trained ones on the right.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    preprocess: PreprocessArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Finds the strongest responses of features, draws their guided gradients and measures how
/// selective the features are.
pub fn run(args: &Args) -> Result<(), CliError> {
    require_grid(&args.grid, args.output.force)?;
    let device = args.device.open()?;
    let checkpoint = open_checkpoint(&args.checkpoint, output::warning)?.checkpoint;
    let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
    let report = render::with_progress(|progress| {
        let dataset = Arc::new(open(args, &recipe, progress)?);
        let options = Options {
            maps: args.maps as usize,
            top: args.top as usize,
            images: args.count as usize,
        };
        guided_backprop::check_sheet(&dataset, options)?;
        let d = InspectedDiscriminator::trained(&checkpoint, &dataset, &device, progress)?;
        let untrained =
            InspectedDiscriminator::untrained(&recipe, args.seed, &dataset, &device, progress)?;
        let trained = guided_backprop::features(&d, options, "responses, trained", progress)?;
        let random =
            guided_backprop::features(&untrained, options, "responses, untrained", progress)?;
        guided_backprop::sheet(&d, &random, &trained)?.save(&args.grid)?;
        let of = |network, all: &[Feature]| -> Vec<FeatureReport> {
            all.iter().map(|feature| FeatureReport::new(network, feature, &dataset)).collect()
        };
        let layer = GuidedEvent::Layer {
            layer: d.layer().to_owned(),
            images: dataset.len().min(args.count as usize),
            dataset: dataset.name().to_owned(),
            top: args.top,
        };
        let features = [of("trained", &trained), of("untrained", &random)].concat();
        let features = features.into_iter().map(GuidedEvent::Feature);
        Ok::<_, CliError>(GuidedReport([layer].into_iter().chain(features).collect()))
    })?;
    report::print(&report, args.output.json);
    wrote(args.output.json, &args.grid);
    Ok(())
}

/// Opens the dataset, preprocessed as the networks' images.
fn open(args: &Args, recipe: &Recipe, progress: Progress<'_>) -> Result<Dataset, CliError> {
    let info = DatasetInfo::of(&DataSpec::parse(&args.data)?)?;
    let wanted = args.preprocess.recipe(None, &info, Some(recipe.clone()))?;
    if (wanted.image.size, wanted.image.channels) != (recipe.image.size, recipe.image.channels) {
        let ([h, w], c) = (recipe.image.size, recipe.image.channels);
        return Err(usage!(
            "--image, --channels: these networks have images of {h}x{w}x{c}; leave them out"
        ));
    }
    let mut preprocess = args.preprocess.preprocess(&wanted, &info)?;
    preprocess.flip = false;
    Ok(Dataset::open(&args.data, args.split, &preprocess, &|p| {
        // Opening a dataset cannot be stopped half-way.
        let _ = progress.report("reading images", p.done, p.total);
    })?)
}

/// The layer, then its features: of the trained network, and of an untrained one.
#[derive(Serialize)]
#[serde(transparent)]
struct GuidedReport(Vec<GuidedEvent>);

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum GuidedEvent {
    Layer {
        layer: String,
        images: usize,
        #[serde(skip)]
        dataset: String,
        #[serde(skip)]
        top: u32,
    },
    Feature(FeatureReport),
}

/// A feature's strongest responses.
#[derive(Clone, Serialize)]
struct FeatureReport {
    network: &'static str,
    feature: usize,
    selectivity: f64,
    /// Mean and standard deviation of the strongest response in each image.
    mean: f64,
    std: f64,
    top: Vec<ResponseReport>,
    /// The most frequent class among the strongest responses, and how many have it.
    #[serde(skip)]
    class: Option<String>,
}

#[derive(Clone, Serialize)]
struct ResponseReport {
    image: usize,
    at: [usize; 2],
    response: f32,
    label: Option<u32>,
}

impl FeatureReport {
    fn new(network: &'static str, feature: &Feature, dataset: &Dataset) -> Self {
        let top = feature.top.iter().map(|response| ResponseReport {
            image: response.image,
            at: response.at,
            response: response.value,
            label: dataset.label(response.image),
        });
        let class = feature.class(dataset).map(|(label, count)| {
            let name = dataset.class_names().get(label as usize).cloned();
            format!("{count} {}", name.unwrap_or_else(|| label.to_string()))
        });
        Self {
            network,
            feature: feature.index,
            selectivity: feature.selectivity(),
            mean: feature.responses.mean,
            std: feature.responses.std,
            top: top.collect(),
            class,
        }
    }

    fn cells(&self) -> [String; 3] {
        let strongest = self.top.first().map(|top| format!("{:.3}", top.response));
        [
            strongest.unwrap_or_default(),
            format!("{:.2}", self.selectivity),
            self.class.clone().unwrap_or_else(|| "-".into()),
        ]
    }
}

impl Report for GuidedReport {
    fn text(&self) -> Vec<String> {
        let features = |wanted| {
            self.0.iter().filter_map(move |event| match event {
                GuidedEvent::Feature(feature) if feature.network == wanted => Some(feature),
                _ => None,
            })
        };
        let rows = features("trained").zip(features("untrained")).map(|(trained, random)| {
            [vec![trained.feature.to_string()], trained.cells().into(), random.cells().into()]
                .concat()
        });
        let head = [
            "feature",
            "strongest",
            "selectivity",
            "class",
            "random: strongest",
            "selectivity",
            "class",
        ];
        let title = self.0.iter().find_map(|event| match event {
            GuidedEvent::Layer { layer, images, dataset, top } => Some(format!(
                "Layer {layer}, {images} images of {dataset}: the {top} strongest responses per \
                 feature\n"
            )),
            GuidedEvent::Feature(_) => None,
        });
        title.into_iter().chain([table(&head, rows), String::new()]).collect()
    }
}
