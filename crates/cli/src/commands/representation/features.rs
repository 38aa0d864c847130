//! `dcgan features`.

use crate::commands::device::DeviceArgs;
use crate::error::CliError;
use crate::output;
use crate::render::{table, with_progress};
use data::{Dataset, Split};
use eval::images::evenly_spaced;
use eval::representation::{BnStatistics, DiscriminatorFeatures, Representation, extract};
use runs::write_state_dict;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;
use tensor::{HostTensor, TensorData};

/// Flags of `features`.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint, or a run directory, which means its newest good checkpoint.
    #[arg(long, value_name = "PATH|RUNDIR")]
    checkpoint: PathBuf,
    /// The pictures, as for `dcgan train`.
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Which part of the set.
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
    /// How many pictures, evenly spread over the set [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    count: Option<u32>,
    /// The file to write: "features" [N, F], "indices" [N] and, where the set has classes, "labels" [N].
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Draws up to 1000 of the pictures as points along the two directions in which their features vary most (principal components), coloured by class.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// What batch norm uses.
    #[arg(long, value_enum, default_value = "running")]
    bn: BnStatistics,
    /// Take the same network with fresh weights instead of the trained ones: what the shape alone does.
    #[arg(long)]
    untrained: bool,
    /// Of the fresh weights.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed, requires = "untrained")]
    seed: u64,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Writes the discriminator's features of a set's pictures.
///
/// # Errors
/// No good checkpoint, no discriminator in it, data, a file that is there already, the device, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    if args.out.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(CliError::Usage(format!(
            "--out {}: give it a name that ends in .safetensors",
            args.out.display()
        )));
    }
    crate::commands::require_folder("--out", &args.out)?;
    crate::commands::refuse_existing(&args.out, args.force)?;
    args.grid.as_ref().map_or(Ok(()), |grid| crate::commands::require_grid(grid, args.force))?;
    let checkpoint =
        crate::commands::open_checkpoint(&args.checkpoint, output::warning)?.checkpoint;
    let device = args.device.open()?;
    let mut features = DiscriminatorFeatures::trained(&checkpoint, &device)?;
    if args.untrained {
        features = DiscriminatorFeatures::random(features.recipe(), args.seed, &device)?;
    }
    drop(checkpoint);
    let dataset = super::open(&args.data, args.split, Some(features.recipe()), args.json)?;
    let indices =
        evenly_spaced(dataset.len(), args.count.map_or(usize::MAX, |count| count as usize));
    let (values, seconds) = with_progress(args.json, |progress| {
        features.set_bn_statistics(args.bn, &dataset, progress)?;
        let began = Instant::now();
        let values = extract(&features, &dataset, &indices, "features", progress)?;
        Ok::<_, CliError>((values, began.elapsed().as_secs_f64()))
    })?;
    if let Some(grid) = &args.grid {
        let classes = indices
            .iter()
            .map(|&index| dataset.label(index).map(|label| label as usize))
            .collect::<Option<Vec<_>>>();
        super::draw_points(
            grid,
            &values,
            indices.len(),
            classes.as_deref().map(|of| (of, dataset.class_names())),
        )?;
    }
    write(args, &dataset, &indices, values, features.width())?;
    report(args, &features, indices.len(), seconds);
    Ok(())
}

fn write(
    args: &Args,
    dataset: &Dataset,
    indices: &[usize],
    values: Vec<f32>,
    width: usize,
) -> Result<(), CliError> {
    let whole = |numbers: Vec<i64>| HostTensor {
        shape: vec![numbers.len()],
        data: TensorData::I64(numbers),
    };
    let labels: Option<Vec<i64>> =
        indices.iter().map(|&index| dataset.label(index).map(i64::from)).collect();
    let mut arrays = BTreeMap::from([
        ("features".to_owned(), HostTensor::f32([indices.len(), width], values)),
        ("indices".to_owned(), whole(indices.iter().map(|&index| index as i64).collect())),
    ]);
    if let Some(labels) = labels {
        arrays.insert("labels".to_owned(), whole(labels));
    }
    Ok(write_state_dict(&args.out, &arrays)?)
}

fn report(args: &Args, features: &DiscriminatorFeatures, count: usize, seconds: f64) {
    let speed = count as f64 / seconds.max(1e-9);
    if args.json {
        let layers = features
            .layers()
            .iter()
            .map(|layer| json!({"name": layer.name, "map": layer.map, "grid": layer.grid, "width": layer.width()}));
        output::json(&json!({
            "layers": layers.collect::<Vec<_>>(),
            "width": features.width(),
            "pictures": count,
            "pictures_per_second": speed,
            "out": args.out,
            "grid": args.grid,
        }));
        return;
    }
    let mut cells = vec![["layer", "map", "pooled to", "numbers"].map(String::from).to_vec()];
    cells.extend(features.layers().iter().map(|layer| {
        let ([h, w, c], [gh, gw]) = (layer.map, layer.grid);
        vec![
            layer.name.clone(),
            format!("{h}x{w}x{c}"),
            format!("{gh}x{gw}"),
            layer.width().to_string(),
        ]
    }));
    output::line(table(&cells));
    let width = features.width();
    output::line(format!(
        "wrote {}: {width} numbers for each of {count} pictures ({speed:.0} pictures/s)",
        args.out.display()
    ));
    if let Some(grid) = &args.grid {
        output::line(format!("wrote {}", grid.display()));
    }
}
