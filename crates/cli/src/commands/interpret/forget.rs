//! `dcgan forget`.

use super::{NetworkArgs, wrote};
use crate::commands::device::DeviceArgs;
use crate::error::CliError;
use crate::{output, render};
use clap::value_parser;
use eval::feature_network::FeatureNetwork;
use eval::interpret::InspectedGenerator;
use eval::interpret::forget::{self, AblationEffect, AblationResult, NegativeSampling, Options};
use eval::interpret::regions::{self, Region, Scorer};
use eval::{EvalError, Progress};
use serde_json::json;
use std::path::{Path, PathBuf};
use tensor::{Device, Tensor};

/// Flags of `forget`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    networks: NetworkArgs,
    /// Where the object is: lines sample,x0,y0,x1,y1 in pixels, of pictures as `dcgan sample --seed N --out DIR` numbers them.
    #[arg(
        long,
        value_name = "FILE.csv",
        required_unless_present = "object",
        help_heading = "Evaluation"
    )]
    boxes: Option<PathBuf>,
    /// The object, a class or attribute that the network of --classifier tells, by name or number. Without --boxes it is looked for in the pictures.
    #[arg(long, value_name = "NAME", requires = "classifier", help_heading = "Evaluation")]
    object: Option<String>,
    /// What `dcgan eval train-features` wrote: it tells how often the object is seen, and where, by covering parts of the pictures.
    #[arg(long, value_name = "FILE.safetensors", requires = "object", help_heading = "Evaluation")]
    classifier: Option<PathBuf>,
    /// Pictures with the object in which it is looked for.
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = value_parser!(u32).range(1..=1_000_000), help_heading = "Evaluation")]
    num_positives: u32,
    /// The layer whose maps are dropped [default: the second highest with maps].
    #[arg(long, value_name = "NAME", help_heading = "Evaluation")]
    layer: Option<String>,
    /// What positions with the object are told apart from.
    #[arg(long, value_enum, default_value = "same", help_heading = "Evaluation")]
    negatives: NegativeSampling,
    /// The weight of the data beside that of the penalty in the regression.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = crate::parse::learning_rate, allow_negative_numbers = true, help_heading = "Evaluation")]
    c: f64,
    /// Pictures that are drawn, and drawn again without the maps.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Of the latents, of positions without the object, and of the maps that are dropped to compare.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// The class to draw, by number or name, for a generator that was trained with classes.
    #[arg(long, value_name = "CLASS", allow_negative_numbers = true)]
    class: Option<String>,
    /// An attribute of what to draw, such as smiling=1; those that are not named are 0. May be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    attr: Vec<String>,
    /// How often as many maps, drawn at random, are dropped to compare.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=1000))]
    controls: u32,
    /// The PNG to write, in blocks of three rows: as it was, without the maps, without as many random ones.
    #[arg(long, value_name = "FILE.png")]
    grid: PathBuf,
    /// Pictures in a row of the grid.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = value_parser!(u32).range(1..=10_000))]
    columns: u32,
    /// Blocks of the grid.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..=10_000))]
    blocks: u32,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// JSON lines on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Fits, drops, redraws, and tells what changed.
///
/// # Errors
/// A file that is there already, no good checkpoint, boxes that are none, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    crate::commands::require_grid(&args.grid, args.force)?;
    let checkpoint = args.networks.open()?;
    let device = args.device.open()?;
    let generator = InspectedGenerator::new(&checkpoint, args.layer.as_deref(), &device)?;
    drop(checkpoint);
    let count = args.count as usize;
    let latents = train::latents(generator.recipe(), args.seed, count);
    let condition = condition(args, &generator, count)?;
    let classifier = args
        .classifier
        .as_deref()
        .map(|file| ObjectClassifier::new(file, args.object.as_deref(), &device))
        .transpose()?;
    let sees = |pictures: &Tensor| {
        classifier
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |classifier| classifier.classify_batch(pictures))
    };
    let judge = classifier.as_ref().map(|_| &sees as &Scorer<'_>);
    let options = Options {
        negatives: args.negatives,
        c: args.c,
        controls: args.controls as usize,
        seed: args.seed,
    };
    let (regions, forgotten) = render::with_progress(args.json, |progress| {
        let drawn = (&latents, condition.as_ref());
        let regions = regions(args, &generator, drawn, judge, progress)?;
        let forgotten = forget::forget(&generator, drawn, &regions, options, judge, progress)?;
        Ok::<_, CliError>((regions, forgotten))
    })?;
    let mut shown: Vec<usize> = regions.iter().map(|region| region.sample).collect();
    shown.dedup();
    shown.truncate(args.columns as usize * args.blocks as usize);
    forgotten.sheet(&shown, args.columns as usize).save(&args.grid)?;
    tell(args, &generator, &regions, classifier.as_ref(), &forgotten);
    wrote(args.json, &args.grid);
    Ok(())
}

/// What sees the object.
struct ObjectClassifier {
    network: FeatureNetwork,
    output: usize,
}

impl ObjectClassifier {
    fn new(file: &Path, object: Option<&str>, device: &Device) -> Result<Self, CliError> {
        let network = FeatureNetwork::load(file, device)?;
        let known = network.outputs();
        let asked = object.unwrap_or_default();
        let named = known.iter().position(|name| name.eq_ignore_ascii_case(asked));
        match named.or_else(|| asked.parse().ok().filter(|output| *output < known.len())) {
            Some(output) => Ok(Self { network, output }),
            None => Err(CliError::Usage(format!(
                "--object {asked}: {} tells {}",
                network.id(),
                known.join(", ")
            ))),
        }
    }

    /// How likely each picture shows it.
    fn classify_batch(&self, pictures: &Tensor) -> Result<Vec<f32>, EvalError> {
        let scores = self.network.predict(pictures)?.scores;
        Ok(scores.narrow(1, self.output, 1).to_vec())
    }

    fn name(&self) -> String {
        self.network.outputs().swap_remove(self.output)
    }
}

/// The boxes of the file, or those that the judge finds.
fn regions(
    args: &Args,
    generator: &InspectedGenerator,
    (latents, condition): (&Tensor, Option<&Tensor>),
    judge: Option<&Scorer<'_>>,
    progress: Progress<'_>,
) -> Result<Vec<Region>, CliError> {
    let [h, w, _] = generator.shape();
    let (Some(judge), None) = (judge, &args.boxes) else {
        let Some(file) = &args.boxes else {
            return Err(CliError::Usage("--boxes or --object says what to forget".into()));
        };
        return Ok(regions::read_boxes(file, args.count as usize, [h, w])?);
    };
    let pictures = generator.generate(latents, condition, &[], ("drawing", progress))?;
    let scores = judge(&pictures)?;
    let seen: Vec<usize> =
        (0..scores.len()).filter(|&i| scores[i] > 0.5).take(args.num_positives as usize).collect();
    let found = regions::find_by_occlusion(&pictures, &seen, judge, progress)?;
    match found.is_empty() {
        true => Err(CliError::Failed(format!(
            "the judge finds the object nowhere in {} pictures: draw more with --count",
            args.count
        ))),
        false => Ok(found),
    }
}

/// What the generator is told of each picture.
fn condition(
    args: &Args,
    generator: &InspectedGenerator,
    count: usize,
) -> Result<Option<Tensor>, CliError> {
    match train::generator_condition(generator.recipe()) {
        Some(condition) => {
            let row =
                train::condition::parse_condition(condition, args.class.as_deref(), &args.attr)?;
            Ok(Some(row.index_select(&vec![0; count])))
        }
        None if args.class.is_some() || !args.attr.is_empty() => Err(CliError::Usage(
            "--class, --attr: this generator was trained without a condition".into(),
        )),
        None => Ok(None),
    }
}

fn tell(
    args: &Args,
    generator: &InspectedGenerator,
    regions: &[Region],
    classifier: Option<&ObjectClassifier>,
    forgotten: &AblationResult,
) {
    let AblationResult { dropped, positions, accuracy, effects, rates, .. } = forgotten;
    let maps = generator.layer().shape[2];
    if args.json {
        output::json(&json!({
            "event": "forgotten", "layer": generator.layer().name, "maps": maps, "dropped": dropped, "boxes": regions.len(),
            "positions": positions, "accuracy": accuracy, "change": effects.map(|e| e.change), "contrast": effects.map(|e| e.contrast),
            "judge": classifier.map(|classifier| classifier.network.id()), "object": classifier.map(ObjectClassifier::name),
            "rates": rates.as_ref().map(|r| json!({ "before": r.before, "after": r.after, "controls": r.controls })),
        }));
        return;
    }
    output::line(format!("Layer {}; {} boxes", generator.layer(), regions.len()));
    output::line(format!(
        "Regression: {} positions with the object, {} without, {:.1} % told rightly; {} of {maps} maps have a positive weight\n",
        positions[0],
        positions[1],
        100.0 * accuracy,
        dropped.len()
    ));
    let heads = ["", "change in boxes", "elsewhere", "contrast left in boxes", "elsewhere"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (name, AblationEffect { change, contrast }) in
        [("these maps", effects[0]), ("random maps", effects[1])]
    {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let change = change.map(|of| format!("{of:.1}"));
        rows.push(
            [vec![name.to_owned()], change.to_vec(), contrast.map(percent).to_vec()].concat(),
        );
    }
    output::line(render::table(&rows));
    if let (Some(rates), Some(classifier)) = (rates, classifier) {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let random = rates.controls.iter().sum::<f64>() / rates.controls.len().max(1) as f64;
        output::line(format!(
            "\n{} sees {} in {} of {} pictures; without these maps in {}, without as many random ones in {}",
            classifier.network.id(),
            classifier.name(),
            percent(rates.before),
            args.count,
            percent(rates.after),
            percent(random)
        ));
    }
    output::line("");
}
