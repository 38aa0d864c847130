//! Evaluation of a run during training (`train --eval-every`).

use super::compare::{FeatureSource, extractor, metric_named, note_weights};
use super::train_features::unmirrored;
use crate::cache;
use crate::commands::open_dataset;
use crate::error::CliError;
use crate::render;
use data::{Dataset, Split};
use eval::feature_network::FeatureExtractor;
use eval::inception::InputScaling;
use eval::metrics::{
    ConditionSampling, FeatureSet, ImageSource, Metric, MetricValue, Needs, Options, Subsets,
    TrainNeighborIndex, compare,
};
use eval::{EvalError, Progress};
use runs::Checkpoint;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tensor::Device;
use tensor::distributed::ProcessGroup;
use train::{EvalConfig, EvalResult, Sampler, Settings, TrainError};

/// The features of the real images, and the metrics to compare a generator's images with them.
pub struct Evaluator {
    train: Arc<Dataset>,
    extractor: FeatureExtractor,
    real: FeatureSet,
    /// All training images, for the memorization metric.
    training: Option<TrainNeighborIndex<'static>>,
    options: Options,
    count: usize,
    seed: u64,
    device: Device,
}

/// Images on which each metric is tried before a run begins.
const DRY_RUN_IMAGES: usize = 64;

/// How often an evaluation looks whether the run was stopped.
const STOP_CHECK: Duration = Duration::from_millis(50);

impl Evaluator {
    /// Computes the features of a run's real images; trains the feature network if there is none
    /// yet.
    pub fn new(
        evaluate: &EvalConfig,
        settings: &Settings,
        dataset: &Arc<Dataset>,
        device: &Device,
        json: bool,
    ) -> Result<Self, CliError> {
        let metrics: Vec<&'static Metric> =
            evaluate.metrics.iter().map(|name| metric_named(name)).collect::<Result<_, _>>()?;
        // Metrics compare with the original images, not with mirrored ones.
        let train = match dataset.preprocess().flip {
            true => {
                let preprocess = unmirrored(dataset.preprocess().clone());
                Arc::new(open_dataset(&settings.data, Split::Train, &preprocess, json)?)
            }
            false => Arc::clone(dataset),
        };
        let source =
            FeatureSource { features: &evaluate.features, scaling: InputScaling::default() };
        let named = Some((settings.data.as_str(), &train));
        let extractor = extractor(source, named, train.shape(), device, json)?;
        note_weights(&extractor);
        let unfit = |metric: &&&Metric| metric.needs == Needs::ClassProbabilities;
        if let Some(metric) = metrics.iter().find(unfit).filter(|_| !extractor.is_classifier()) {
            return Err(usage!(
                "--eval-metrics {}: it needs features of a network that was trained on classes, \
                 not {}: leave it out, or give other --eval-features",
                metric.name,
                extractor.id()
            ));
        }
        let cache = cache::folder("statistics")?;
        let (seed, count) = (settings.seed, evaluate.count);
        let options =
            Options { metrics, neighbors: 3, subsets: Subsets::default(), bootstrap: 0, seed };
        // Rank 0 evaluates.
        let alone = ProcessGroup::default();
        let (real, training) = render::with_progress(|progress| {
            let features = |count, what| {
                ImageSource::from_dataset(&train, count, seed).cached_features(
                    &extractor,
                    Some(&cache),
                    what,
                    progress,
                    &alone,
                )
            };
            let real = features(count, "features of real images")?;
            let training =
                match options.metrics.iter().any(|metric| metric.needs == Needs::TrainSet) {
                    true => {
                        let all = features(usize::MAX, "features of training images")?;
                        Some(TrainNeighborIndex::new(Cow::Owned(all.features), device, progress)?)
                    }
                    false => None,
                };
            Ok::<_, EvalError>((real, training))
        })?;
        let evaluator =
            Self { train, extractor, real, training, options, count, seed, device: device.clone() };
        evaluator
            .dry_run()
            .map_err(|error| failure!("--eval-every: the run could not be evaluated: {error}"))?;
        Ok(evaluator)
    }

    /// Tries each metric on some of the real images.
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

    /// Evaluates the generator of a checkpoint, on a thread that is abandoned when `stop` is set:
    /// parts of some metrics take longer than a user waits for an interrupt to be obeyed. Returns
    /// `None` then.
    pub fn measure(
        self: &Arc<Self>,
        checkpoint: &Checkpoint,
        stop: &AtomicBool,
    ) -> Result<Option<EvalResult>, TrainError> {
        let (evaluator, copy) = (Arc::clone(self), checkpoint.clone());
        let (send, receive) = mpsc::channel();
        let work = move || drop(send.send(evaluator.try_measure(&copy)));
        let Ok(thread) = std::thread::Builder::new().spawn(work) else {
            return measured(self.try_measure(checkpoint));
        };
        while !stop.load(Ordering::Relaxed) {
            match receive.recv_timeout(STOP_CHECK) {
                Ok(result) => return measured(result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(panic) = thread.join() {
                        std::panic::resume_unwind(panic);
                    }
                    break;
                }
            }
        }
        Ok(None)
    }

    fn try_measure(&self, checkpoint: &Checkpoint) -> Result<EvalResult, EvalError> {
        let sampler = Sampler::new(checkpoint, None, &self.device)?;
        let source = ImageSource::generated(
            &sampler,
            self.count,
            self.seed,
            ConditionSampling::FromRealSet,
            Some(&self.train),
        )?;
        let report = render::with_progress(|progress| {
            let fake = source.cached_features(
                &self.extractor,
                None,
                "features of generated images",
                progress,
                &ProcessGroup::default(),
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
        // The memorization metric is meaningless without its expected value for new images.
        let metrics = report.values.iter().flat_map(|metric| {
            let own = (format!("eval/{}", metric.key), metric.value);
            let expected =
                metric.expected.map(|expected| (format!("eval/{}_real", metric.key), expected));
            std::iter::once(own).chain(expected)
        });
        // The report has an order of its own.
        let first = self.options.metrics.first().and_then(|metric| report.get(metric.key));
        let features = self.extractor.id();
        Ok(EvalResult {
            metrics: metrics.collect(),
            score: first.map_or(f64::NAN, MetricValue::score),
            value: first.map_or(f64::NAN, |metric| metric.value),
            by: first.map_or_else(String::new, |metric| format!("{} ({features})", metric.name)),
            features,
        })
    }
}

/// `None` for an evaluation that was cancelled.
fn measured(result: Result<EvalResult, EvalError>) -> Result<Option<EvalResult>, TrainError> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(EvalError::Stopped) => Ok(None),
        Err(EvalError::Train(error)) => Err(*error),
        Err(other) => Err(TrainError::Eval(Box::new(other))),
    }
}
