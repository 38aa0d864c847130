//! What measures a run while it goes.

use super::compare::{extractor, metric_named};
use super::train_features::{open, unmirrored};
use crate::cache;
use crate::error::CliError;
use crate::render;
use data::{Dataset, Split};
use eval::feature_network::FeatureExtractor;
use eval::metrics::{
    ConditionSampling, FeatureSet, ImageSource, Metric, MetricValue, Needs, Options, Subsets,
    TrainNeighborIndex, compare,
};
use eval::{EvalError, Progress};
use runs::Checkpoint;
use std::borrow::Cow;
use std::sync::Arc;
use tensor::Device;
use train::{EvalConfig, EvalResult, Sampler, Settings, TrainError};

/// The real pictures' features, and what compares a generator's with them.
pub struct Evaluator {
    train: Arc<Dataset>,
    extractor: FeatureExtractor,
    real: FeatureSet,
    /// All training pictures, where it is measured what was learned by heart.
    training: Option<TrainNeighborIndex<'static>>,
    options: Options,
    count: usize,
    seed: u64,
    device: Device,
    json: bool,
}

/// Pictures that each metric is tried on before a run begins.
const DRY_RUN_IMAGES: usize = 64;

impl Evaluator {
    /// Looks at the real pictures of a run that is to be measured; trains the feature network where there is none yet.
    ///
    /// # Errors
    /// Metrics or features that are unknown, or do not fit the data or each other: all that would otherwise end the run when it is first measured.
    pub fn new(
        evaluate: &EvalConfig,
        settings: &Settings,
        dataset: &Arc<Dataset>,
        device: &Device,
        json: bool,
    ) -> Result<Self, CliError> {
        let metrics: Vec<&'static Metric> =
            evaluate.metrics.iter().map(|name| metric_named(name)).collect::<Result<_, _>>()?;
        // Features know pictures as they are: a set that is mirrored is another one.
        let train = match dataset.preprocess().flip {
            true => Arc::new(open(
                &settings.data,
                Split::Train,
                &unmirrored(dataset.preprocess().clone()),
            )?),
            false => Arc::clone(dataset),
        };
        let extractor = extractor(&evaluate.features, &settings.data, &train, device, json)?;
        let unfit = |metric: &&&Metric| metric.needs == Needs::ClassProbabilities;
        if let Some(metric) = metrics.iter().find(unfit).filter(|_| !extractor.is_classifier()) {
            return Err(CliError::Usage(format!(
                "--eval-metrics {}: it needs features of a network that was trained on classes, \
                 not {}: leave it out, or give other --eval-features",
                metric.name,
                extractor.id()
            )));
        }
        let kept = cache::folder("statistics")?;
        let (seed, count) = (settings.seed, evaluate.count);
        let options =
            Options { metrics, neighbors: 3, subsets: Subsets::default(), bootstrap: 0, seed };
        let (real, training) = render::with_progress(json, |progress| {
            let measured = |count, what| {
                ImageSource::from_dataset(&train, count, seed).cached_features(
                    &extractor,
                    Some(&kept),
                    what,
                    progress,
                )
            };
            let real = measured(count, "looking at real pictures")?;
            let training =
                match options.metrics.iter().any(|metric| metric.needs == Needs::TrainSet) {
                    true => {
                        let all = measured(usize::MAX, "looking at training pictures")?;
                        Some(TrainNeighborIndex::new(Cow::Owned(all.features), device, progress)?)
                    }
                    false => None,
                };
            Ok::<_, EvalError>((real, training))
        })?;
        let judge = Self {
            train,
            extractor,
            real,
            training,
            options,
            count,
            seed,
            device: device.clone(),
            json,
        };
        judge.dry_run().map_err(|error| {
            CliError::Failed(format!("--eval-every: the run could not be measured: {error}"))
        })?;
        Ok(judge)
    }

    /// Tries each metric on some of the real pictures.
    fn dry_run(&self) -> Result<(), EvalError> {
        let some: Vec<usize> = (0..self.real.features.len().min(DRY_RUN_IMAGES)).collect();
        let some = FeatureSet {
            features: self.real.features.select(&some),
            classes: self.real.classes.as_ref().map(|rows| rows.select(&some)),
        };
        compare(
            &some,
            &some.clone(),
            self.training.as_ref(),
            &self.options,
            &self.device,
            Progress::SILENT,
        )
        .map(drop)
    }

    /// Measures the generator of a checkpoint.
    ///
    /// # Errors
    /// The generator, or the device.
    pub fn measure(&self, checkpoint: &Checkpoint) -> Result<EvalResult, TrainError> {
        self.try_measure(checkpoint).map_err(|error| match error {
            EvalError::Train(error) => *error,
            other => TrainError::Mismatch(format!("cannot measure the generator: {other}")),
        })
    }

    fn try_measure(&self, checkpoint: &Checkpoint) -> Result<EvalResult, EvalError> {
        let sampler = Sampler::new(checkpoint, None, &self.device)?;
        let source = ImageSource::generated(
            &sampler,
            self.count,
            self.seed,
            ConditionSampling::FromRealSet,
            &self.train,
        )?;
        let report = render::with_progress(self.json, |progress| {
            let fake = source.cached_features(
                &self.extractor,
                None,
                "looking at generated pictures",
                progress,
            )?;
            compare(
                &self.real,
                &fake,
                self.training.as_ref(),
                &self.options,
                &self.device,
                progress,
            )
        })?;
        // Of memorisation too what is expected of new pictures, without which it says nothing.
        let figures = report.values.iter().flat_map(|figure| {
            let own = (format!("eval/{}", figure.key), figure.value);
            let expected =
                figure.expected.map(|expected| (format!("eval/{}_real", figure.key), expected));
            std::iter::once(own).chain(expected)
        });
        // The report has an order of its own.
        let first = self.options.metrics.first().and_then(|metric| report.get(metric.key));
        let features = self.extractor.id();
        Ok(EvalResult {
            metrics: figures.collect(),
            score: first.map_or(f64::NAN, MetricValue::score),
            value: first.map_or(f64::NAN, |figure| figure.value),
            by: first.map_or_else(String::new, |figure| format!("{} ({features})", figure.name)),
            features,
        })
    }
}
