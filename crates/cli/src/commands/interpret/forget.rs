//! `dcgan forget`.

use super::wrote;
use crate::commands::{
    CheckpointArgs, ConditionArgs, DeviceArgs, OutputArgs, SeedArg, require_grid,
};
use crate::error::CliError;
use crate::parse::count;
use crate::render;
use crate::report::{self, Report, table};
use eval::feature_network::FeatureNetwork;
use eval::image_sheet::ImageSheet;
use eval::interpret::InspectedGenerator;
use eval::interpret::forget::{self, AblationResult, DetectionRates, NegativeSampling, Options};
use eval::interpret::regions::{self, Region, Scorer};
use eval::{EvalError, Progress};
use serde::Serialize;
use std::path::{Path, PathBuf};
use tensor::{Device, Tensor};

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Boxes of the object: lines sample,x0,y0,x1,y1 in pixels. Images are numbered as in
    /// `dcgan sample --seed N --out DIR`.
    #[arg(long, value_name = "FILE.csv", required_unless_present = "object")]
    boxes: Option<PathBuf>,
    /// The object: a class or attribute of the --classifier, by name or index. Without --boxes it
    /// is searched for in the images.
    #[arg(long, value_name = "NAME", requires = "classifier")]
    object: Option<String>,
    /// Classifier of the object, from `dcgan eval train-features`: it detects the object and, by
    /// occlusion, its position.
    #[arg(long, value_name = "FILE.safetensors", requires = "object")]
    classifier: Option<PathBuf>,
    /// Number of images with the object in which its position is searched for.
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = count(1..=1_000_000))]
    num_positives: u32,
    /// Layer whose feature maps are dropped [default: the second highest layer with feature maps].
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Source of negative examples for the regression that finds the object's feature maps.
    #[arg(long, value_enum, default_value = "same")]
    negatives: NegativeSampling,
    /// Inverse regularization strength of the logistic regression.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = crate::parse::learning_rate,
        allow_negative_numbers = true)]
    logistic_c: f64,
    /// Number of images to generate, and again without the maps (N per class with --class all).
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = count(1..=1_000_000))]
    count: u32,
    /// Random seed of the latents, the negative positions and the control maps.
    #[command(flatten)]
    seed: SeedArg,
    #[command(flatten)]
    condition: ConditionArgs,
    /// Number of control experiments, each without as many random maps.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count(1..=1000))]
    controls: u32,
    /// Write a PNG with blocks of three rows: the original images, without the maps, and without as
    /// many random maps.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: PathBuf,
    /// Columns of the grid.
    #[arg(long, value_name = "N", default_value_t = 12, help_heading = "Output",
        value_parser = count(1..=10_000))]
    columns: u32,
    /// Blocks of the grid.
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Output",
        value_parser = count(1..=10_000))]
    blocks: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Fits the regression, drops its feature maps, redraws the images and reports the changes.
pub fn run(args: &Args) -> Result<(), CliError> {
    let json = args.output.json;
    require_grid(&args.grid, args.output.force)?;
    let device = args.device.open()?;
    let (checkpoint, _) = args.checkpoint.open()?;
    let generator = InspectedGenerator::new(&checkpoint, args.layer.as_deref(), &device)?;
    drop(checkpoint);
    let conditions = args.condition.read(generator.recipe())?;
    let (order, pairing) = conditions.pair_latents_with_conditions(args.count as usize)?;
    let columns = args.columns as usize;
    let most = columns.saturating_mul(args.blocks as usize);
    let blocks = most.min(order.len()).div_ceil(columns);
    ImageSheet::new(generator.shape(), columns).check_size(3 * blocks * columns)?;
    let latents = train::latents(generator.recipe(), args.seed.seed, args.count as usize);
    let latents = latents.index_select(&order);
    let condition =
        conditions.tensor().zip(pairing).map(|(rows, table)| rows.index_select(&table.indices));
    let classifier = args
        .classifier
        .as_deref()
        .map(|file| ObjectClassifier::new(file, args.object.as_deref(), &device))
        .transpose()?;
    let score = |images: &Tensor| {
        classifier.as_ref().map_or_else(|| Ok(Vec::new()), |own| own.classify_batch(images))
    };
    let scorer = classifier.as_ref().map(|_| &score as &Scorer<'_>);
    let options = Options {
        negatives: args.negatives,
        c: args.logistic_c,
        controls: args.controls as usize,
        seed: args.seed.seed,
    };
    let (regions, result) = render::with_progress(|progress| {
        let inputs = (&latents, condition.as_ref());
        let regions = regions(args, &generator, inputs, scorer, progress)?;
        let result = forget::forget(&generator, inputs, &regions, options, scorer, progress)?;
        Ok::<_, CliError>((regions, result))
    })?;
    let mut shown: Vec<usize> = regions.iter().map(|region| region.sample).collect();
    shown.dedup();
    shown.truncate(most);
    result.sheet(&shown, columns).save(&args.grid)?;
    let report = ForgetReport::new(&generator, regions.len(), order.len(), classifier, result);
    report::print(&report, json);
    wrote(json, &args.grid);
    Ok(())
}

/// One output of a feature network, which detects the object.
struct ObjectClassifier {
    network: FeatureNetwork,
    output: usize,
}

impl ObjectClassifier {
    fn new(file: &Path, object: Option<&str>, device: &Device) -> Result<Self, CliError> {
        let network = FeatureNetwork::load(file, device)?;
        let known = network.outputs();
        let wanted = object.unwrap_or_default();
        let named = known.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        match named.or_else(|| wanted.parse().ok().filter(|output| *output < known.len())) {
            Some(output) => Ok(Self { network, output }),
            None => Err(usage!("--object {wanted}: {} detects {}", network.id(), known.join(", "))),
        }
    }

    /// The probability of the object in each image.
    fn classify_batch(&self, images: &Tensor) -> Result<Vec<f32>, EvalError> {
        let scores = self.network.predict(images)?.scores;
        Ok(scores.narrow(1, self.output, 1).to_vec())
    }
}

/// The boxes of the file, or those that the classifier finds.
fn regions(
    args: &Args,
    generator: &InspectedGenerator,
    (latents, condition): (&Tensor, Option<&Tensor>),
    scorer: Option<&Scorer<'_>>,
    progress: Progress<'_>,
) -> Result<Vec<Region>, CliError> {
    let [h, w, _] = generator.shape();
    let count = latents.shape()[0];
    if let Some(file) = &args.boxes {
        return Ok(regions::read_boxes(file, count, [h, w])?);
    }
    let Some(scorer) = scorer else {
        return Err(usage!("give --boxes or --object: the object to forget"));
    };
    let images = generator.generate(latents, condition, &[], ("drawing", progress))?;
    let scores = scorer(&images)?;
    let positives: Vec<usize> =
        (0..scores.len()).filter(|&i| scores[i] > 0.5).take(args.num_positives as usize).collect();
    let found = regions::find_by_occlusion(&images, &positives, scorer, progress)?;
    match found.is_empty() {
        true => Err(failure!(
            "the classifier detects the object in none of {count} images: draw more with --count"
        )),
        false => Ok(found),
    }
}

/// The feature maps that were dropped, and the effects on the images.
#[derive(Serialize)]
#[serde(tag = "event", rename = "forget")]
struct ForgetReport {
    layer: String,
    /// Feature maps of the layer.
    maps: usize,
    dropped: Vec<usize>,
    boxes: usize,
    /// Positions with and without the object.
    positions: [usize; 2],
    /// Accuracy of the regression.
    accuracy: f64,
    /// Mean absolute change in the boxes and elsewhere, of these maps and of random ones.
    change: [[f64; 2]; 2],
    /// Fraction of the contrast that is left, in the same order.
    contrast: [[f64; 2]; 2],
    classifier: Option<String>,
    object: Option<String>,
    rates: Option<DetectionRates>,
    #[serde(skip)]
    layer_text: String,
    #[serde(skip)]
    images: usize,
}

impl ForgetReport {
    fn new(
        generator: &InspectedGenerator,
        boxes: usize,
        images: usize,
        classifier: Option<ObjectClassifier>,
        result: AblationResult,
    ) -> Self {
        let (classifier, object) = classifier
            .map(|own| (own.network.id(), own.network.outputs().swap_remove(own.output)))
            .unzip();
        let layer = generator.layer();
        Self {
            layer: layer.name.clone(),
            maps: layer.shape[2],
            dropped: result.dropped,
            boxes,
            positions: result.positions,
            accuracy: result.accuracy,
            change: result.effects.map(|effect| effect.change),
            contrast: result.effects.map(|effect| effect.contrast),
            classifier,
            object,
            rates: result.rates,
            layer_text: layer.to_string(),
            images,
        }
    }
}

impl Report for ForgetReport {
    fn text(&self) -> Vec<String> {
        let [with, without] = self.positions;
        let rows = ["these maps", "random maps"].iter().enumerate().map(|(i, name)| {
            let change = self.change[i].map(|change| format!("{change:.1}"));
            let contrast = self.contrast[i].map(|share| format!("{:.0} %", 100.0 * share));
            [vec![(*name).to_owned()], change.to_vec(), contrast.to_vec()].concat()
        });
        let head = ["", "change in boxes", "elsewhere", "contrast left in boxes", "elsewhere"];
        let mut lines = vec![
            format!("Layer {}; {} boxes", self.layer_text, self.boxes),
            format!(
                "Regression: {with} positions with the object, {without} without, {:.1} % \
                 classified correctly; {} of {} maps have a positive weight\n",
                100.0 * self.accuracy,
                self.dropped.len(),
                self.maps
            ),
            table(&head, rows),
        ];
        if let (Some(rates), Some(by), Some(object)) = (&self.rates, &self.classifier, &self.object)
        {
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            let random = rates.controls.iter().sum::<f64>() / rates.controls.len().max(1) as f64;
            lines.push(format!(
                "\n{by} detects {object} in {} of {} images; without these maps in {}, without as \
                 many random ones in {}",
                percent(rates.before),
                self.images,
                percent(rates.after),
                percent(random)
            ));
        }
        lines.push(String::new());
        lines
    }
}
