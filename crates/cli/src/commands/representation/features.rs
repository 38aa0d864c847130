//! `dcgan features`.

use crate::commands::{DeviceArgs, OutputArgs, open_checkpoint, open_for_recipe, require_files};
use crate::distributed;
use crate::error::CliError;
use crate::output;
use crate::parse::count;
use crate::render::with_progress;
use crate::report::{self, Report, ReportPath, table};
use data::{Dataset, Split};
use eval::images::evenly_spaced;
use eval::representation::{BnStatistics, DiscriminatorFeatures, Representation, extract};
use runs::write_state_dict;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;
use tensor::{HostTensor, TensorData};

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    /// Checkpoint file, or run directory (its newest valid checkpoint).
    #[arg(long, value_name = "PATH|RUNDIR", help_heading = "Model")]
    checkpoint: PathBuf,
    /// Dataset of images, as for `dcgan train`.
    #[arg(long, value_name = "SPEC", value_parser = crate::parse::spec(), help_heading = "Data")]
    data: String,
    /// Split of the dataset.
    #[arg(long, value_enum, default_value = "train", help_heading = "Data")]
    split: Split,
    /// Number of images, evenly spaced over the dataset [default: all].
    #[arg(long, value_name = "N", help_heading = "Data", value_parser = count(1..=100_000_000))]
    count: Option<u32>,
    /// Output path. FILE.safetensors: "features" (N×F), "indices" (N) and, if the dataset has
    /// classes, "labels" (N).
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: PathBuf,
    /// Write a PNG with a scatter plot of up to 1000 images in the plane of the first two principal
    /// components of their features, colored by class.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: Option<PathBuf>,
    /// Batch norm statistics of the discriminator.
    #[arg(long, value_enum, default_value = "running", help_heading = "Model")]
    bn_d: BnStatistics,
    /// Use random weights instead of the trained ones: the effect of the architecture alone.
    #[arg(long, help_heading = "Model")]
    untrained: bool,
    /// Random seed of those weights.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed,
        requires = "untrained", help_heading = "Model")]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Writes the discriminator's features of a dataset.
pub fn run(args: &Args) -> Result<(), CliError> {
    let ranks = distributed::ranks();
    ranks.agree(require_files(
        args.output.force,
        [("--out", Some(&*args.out), "safetensors"), ("--grid", args.grid.as_deref(), "png")],
    ))?;
    let device = ranks.agree(args.device.open())?;
    let checkpoint = open_checkpoint(&args.checkpoint, output::warning)?.checkpoint;
    let mut features = DiscriminatorFeatures::trained(&checkpoint, &device)?;
    if args.untrained {
        features = DiscriminatorFeatures::random(features.recipe(), args.seed, &device)?;
    }
    drop(checkpoint);
    let json = args.output.json;
    let dataset = open_for_recipe(&args.data, args.split, features.recipe(), json)?;
    let count = args.count.map_or(usize::MAX, |count| count as usize);
    let indices = evenly_spaced(dataset.len(), count);
    let (values, seconds) = with_progress(|progress| {
        features.set_bn_statistics(args.bn_d, &dataset, progress)?;
        let began = Instant::now();
        let group = ranks.group();
        let values = extract(&features, &dataset, &indices, "features", progress, group)?;
        Ok::<_, CliError>((values, began.elapsed().as_secs_f64()))
    })?;
    if !ranks.is_root() {
        return Ok(());
    }
    if let Some(grid) = &args.grid {
        let labels = indices.iter().map(|&i| dataset.label(i).map(|label| label as usize));
        let labels = labels.collect::<Option<Vec<_>>>();
        let classes = labels.as_deref().map(|of| (of, dataset.class_names()));
        super::draw_points(grid, &values, indices.len(), classes)?;
    }
    write(args, &dataset, &indices, values, features.width())?;
    let layer = |layer: &eval::representation::FeatureLayer| LayerReport {
        name: layer.name.clone(),
        map: layer.map,
        grid: layer.grid,
        width: layer.width(),
    };
    let report = FeaturesReport {
        layers: features.layers().iter().map(layer).collect(),
        width: features.width(),
        images: indices.len(),
        images_per_second: indices.len() as f64 / seconds.max(1e-9),
        out: args.out.clone().into(),
        grid: args.grid.clone().map(Into::into),
    };
    report::print(&report, json);
    Ok(())
}

fn write(
    args: &Args,
    dataset: &Dataset,
    indices: &[usize],
    values: Vec<f32>,
    width: usize,
) -> Result<(), CliError> {
    let integers =
        |values: Vec<i64>| HostTensor { shape: vec![values.len()], data: TensorData::I64(values) };
    let labels: Option<Vec<i64>> =
        indices.iter().map(|&index| dataset.label(index).map(i64::from)).collect();
    let mut tensors = BTreeMap::from([
        ("features".to_owned(), HostTensor::f32([indices.len(), width], values)),
        ("indices".to_owned(), integers(indices.iter().map(|&index| index as i64).collect())),
    ]);
    tensors.extend(labels.map(|labels| ("labels".to_owned(), integers(labels))));
    Ok(write_state_dict(&args.out, &tensors)?)
}

/// The layers whose features were written.
#[derive(Serialize)]
struct FeaturesReport {
    layers: Vec<LayerReport>,
    width: usize,
    images: usize,
    images_per_second: f64,
    out: ReportPath,
    grid: Option<ReportPath>,
}

#[derive(Serialize)]
struct LayerReport {
    name: String,
    /// Height, width, channels.
    map: [usize; 3],
    /// Height and width after max pooling.
    grid: [usize; 2],
    width: usize,
}

impl Report for FeaturesReport {
    fn text(&self) -> Vec<String> {
        let rows = self.layers.iter().map(|layer| {
            let ([h, w, c], [gh, gw]) = (layer.map, layer.grid);
            [
                layer.name.clone(),
                format!("{h}x{w}x{c}"),
                format!("{gh}x{gw}"),
                layer.width.to_string(),
            ]
        });
        let mut lines = vec![
            table(&["layer", "map", "pooled to", "features"], rows),
            format!(
                "wrote {}: {} features for each of {} images ({:.0} images/s)",
                output::name(self.out.display()),
                self.width,
                self.images,
                self.images_per_second
            ),
        ];
        lines
            .extend(self.grid.iter().map(|grid| format!("wrote {}", output::name(grid.display()))));
        lines
    }
}
