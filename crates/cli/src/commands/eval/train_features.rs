//! `dcgan eval train-features`, and finding what it made.

use super::{DeviceArgs, PreprocessArgs};
use crate::commands::representation::draw_points;
use crate::error::CliError;
use crate::{cache, commands, output, parse, render};
use data::{DataError, DataSpec, Dataset, Preprocess, Split};
use eval::feature_network::{self, FeatureNetwork, Options, Splits, TargetHead, Targets};
use eval::images::{evenly_spaced, load_images};
use eval::representation::MAX_POINTS;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::Device;

/// The folder of the cache with feature networks.
const CACHED: &str = "features";

/// Flags of `eval train-features`.
#[derive(clap::Args)]
pub struct Args {
    /// The labelled set to learn from: what `dcgan train --data` takes.
    #[arg(long, value_name = "SPEC", default_value = "fashion-mnist")]
    data: String,
    /// Learn the set's attributes, those that are yes or no or one of a few words, in place of its classes.
    #[arg(long)]
    attributes: bool,
    /// Passes over the pictures [default: as many as see about 360,000 of them, from 2 to 40].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    epochs: Option<u32>,
    /// The same seed on the same kind of machine gives the same network, bit by bit.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse::seed)]
    seed: u64,
    #[command(flatten)]
    pictures: PreprocessArgs,
    /// Where to write it [default: a file for this set in the user's cache, where dcgan eval looks for it].
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    /// Draws up to 1000 pictures that it was tested on as points along the two directions in which their features vary most (principal components),
    /// coloured by class, or by the first attribute.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Train again what is there already, and write over a picture that is.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Trains and writes a feature network.
///
/// # Errors
/// Data that are missing or have no labels, a file that is there already, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    if let Some(out) = &args.out {
        commands::require_folder("--out", out)?;
        commands::refuse_existing(out, args.force)?;
    }
    args.grid.as_ref().map_or(Ok(()), |grid| commands::require_grid(grid, args.force))?;
    let device = args.device.open()?;
    let preprocess = unmirrored(args.pictures.of_recipe(None, &DataSpec::parse(&args.data)?)?);
    let train = Arc::new(open(&args.data, Split::Train, &preprocess)?);
    let file = match &args.out {
        Some(out) => out.clone(),
        None => cached(&train, args.attributes)?,
    };
    if args.out.is_none() && !args.force && file.exists() {
        let network = FeatureNetwork::load(&file, &device)?;
        output::note(format!("{} is there already; --force trains it again", file.display()));
        return finish(args, &network, &train, &file);
    }
    let options =
        Options { epochs: args.epochs.map(|n| n as usize), seed: args.seed, ..Options::default() };
    let network =
        make(&args.data, Arc::clone(&train), args.attributes, &options, &device, args.json)?;
    network.save(&file)?;
    finish(args, &network, &train, &file)
}

/// Draws where that is asked for, and tells.
fn finish(
    args: &Args,
    network: &FeatureNetwork,
    train: &Arc<Dataset>,
    file: &Path,
) -> Result<(), CliError> {
    if let Some(grid) = &args.grid {
        let splits = splits(&args.data, Arc::clone(train))?;
        let (_, tested, held) = splits.holdout_split(network.description().seed);
        let shown: Vec<usize> = evenly_spaced(held.len(), MAX_POINTS)
            .into_iter()
            .filter_map(|at| held.get(at).copied())
            .collect();
        let rows = network.predict(&load_images(tested, &shown)?)?.features.to_vec();
        let targets = &network.description().targets;
        let names = targets.heads.first().map_or_else(Vec::new, TargetHead::answer_names);
        let classes = targets.first_answers(tested, &shown);
        draw_points(grid, &rows, shown.len(), classes.as_deref().map(|of| (of, &names[..])))?;
    }
    tell(args, network, file);
    Ok(())
}

/// The feature network of a set's classes: the cached one, or one that is trained now and cached. `train` is the set's training split.
///
/// # Errors
/// As [`run`].
pub fn of_set(
    spec: &str,
    train: Arc<Dataset>,
    device: &Device,
    json: bool,
) -> Result<FeatureNetwork, CliError> {
    // Before anybody waits for it.
    Targets::classes(&train)?;
    let file = cached(&train, false)?;
    if file.exists() {
        return Ok(FeatureNetwork::load(&file, device)?);
    }
    output::note(format!(
        "There is no feature network for {spec} yet: training one, once, into {}",
        file.display()
    ));
    let network = make(spec, train, false, &Options::default(), device, json)?;
    network.save(&file)?;
    Ok(network)
}

fn make(
    spec: &str,
    train: Arc<Dataset>,
    attributes: bool,
    options: &Options,
    device: &Device,
    json: bool,
) -> Result<FeatureNetwork, CliError> {
    let targets = if attributes { Targets::attributes(&train)? } else { Targets::classes(&train)? };
    let splits = splits(spec, train)?;
    Ok(render::with_progress(json, |progress| {
        feature_network::train(&splits, targets, options, device, progress)
    })?)
}

/// What a network learns from and is tested on.
fn splits(spec: &str, train: Arc<Dataset>) -> Result<Splits, CliError> {
    let test = match open(spec, Split::Test, train.preprocess()) {
        Ok(test) => Some(Arc::new(test)),
        // Some of the training pictures are held out then.
        Err(CliError::Data(DataError::NoSplit { .. })) => None,
        Err(error) => return Err(error),
    };
    Ok(Splits::new(train, test)?)
}

/// Opens a split with a bar.
///
/// # Errors
/// As [`Dataset::open`].
pub fn open(spec: &str, split: Split, preprocess: &Preprocess) -> Result<Dataset, CliError> {
    let bar = render::counter(0, "reading images");
    let dataset = Dataset::open(spec, split, preprocess, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    Ok(dataset?)
}

/// Pictures as they are: metrics do not mirror any.
pub fn unmirrored(preprocess: Preprocess) -> Preprocess {
    Preprocess { flip: false, ..preprocess }
}

/// The file of a set's network in the cache: of these pictures at this size, whatever the set is called.
fn cached(train: &Dataset, attributes: bool) -> Result<PathBuf, CliError> {
    let fingerprint: String = train.fingerprint().chars().take(24).collect();
    let about = if attributes { "attributes" } else { "cnn" };
    Ok(cache::folder(CACHED)?.join(format!("{fingerprint}-{about}.safetensors")))
}

fn tell(args: &Args, network: &FeatureNetwork, file: &Path) {
    let description = network.description();
    let questions = description.targets.heads.iter().zip(&description.accuracy);
    let (tested, own) = description.tested;
    let on = if own { "test" } else { "held-out" };
    if args.json {
        let accuracy: serde_json::Map<String, serde_json::Value> = questions
            .map(|(question, &accuracy)| (question.name.clone(), json!(accuracy)))
            .collect();
        output::json(&json!({
            "network": network.id(), "file": file, "image": network.image(), "features": network.width(), "outputs": network.outputs(),
            "epochs": description.epochs, "seed": description.seed, "accuracy": accuracy, "tested_on": tested, "split": on,
            "grid": args.grid,
        }));
        return;
    }
    let [h, w, c] = network.image();
    output::line(format!(
        "{}: {} features of {h}x{w}x{c} pictures, {} epochs",
        network.id(),
        network.width(),
        description.epochs
    ));
    for (question, accuracy) in questions {
        output::line(format!(
            "  {}: right for {:.2} % of {tested} {on} pictures",
            question.name,
            accuracy * 100.0
        ));
    }
    for written in [Some(file), args.grid.as_deref()].into_iter().flatten() {
        output::line(format!("wrote {}", written.display()));
    }
}
