//! What measures a run while it goes.

use super::compare::{MetricChoice, extractor};
use super::features::{open, unmirrored};
use crate::cache;
use crate::error::CliError;
use crate::render;
use data::{Dataset, Split};
use eval::metrics::{Better, Figure, Measured, Metric, Options, Source, Subsets, Told, compare};
use eval::network::Extractor;
use eval::{EvalError, Progress};
use std::sync::Arc;
use tensor::Device;
use train::artefacts::Checkpoint;
use train::{Evaluate, Measurement, Sampler, Settings, TrainError};

/// The real pictures' features, and what compares a generator's with them.
pub struct Judge {
    train: Arc<Dataset>,
    extractor: Extractor,
    real: Measured,
    options: Options,
    count: usize,
    seed: u64,
    device: Device,
}

impl Judge {
    /// Looks at the real pictures of a run that is to be measured; trains the feature network where there is none yet.
    ///
    /// # Errors
    /// Metrics or features that are unknown, or do not fit the data.
    pub fn new(
        evaluate: &Evaluate,
        settings: &Settings,
        dataset: &Arc<Dataset>,
        device: &Device,
        json: bool,
    ) -> Result<Self, CliError> {
        let metrics =
            evaluate.metrics.iter().map(|name| MetricChoice::named(name).map(Metric::from)).collect::<Result<_, _>>()?;
        // Features know pictures as they are: a set that is mirrored is another one.
        let train = match dataset.preprocess().flip {
            true => Arc::new(open(&settings.data, Split::Train, &unmirrored(dataset.preprocess().clone()))?),
            false => Arc::clone(dataset),
        };
        let extractor = extractor(&evaluate.features, &settings.data, &train, device, json)?;
        let kept = cache::folder("statistics")?;
        let source = Source::some_of(&train, evaluate.count, settings.seed);
        let real =
            render::watched(json, |progress| source.measure_once(&extractor, Some(&kept), "looking at real pictures", progress))?;
        let options = Options { metrics, neighbours: 3, subsets: Subsets::default(), bootstrap: 0, seed: settings.seed };
        Ok(Self { train, extractor, real, options, count: evaluate.count, seed: settings.seed, device: device.clone() })
    }

    /// Measures the generator of a checkpoint.
    ///
    /// # Errors
    /// The generator, or the device.
    pub fn measure(&self, checkpoint: &Checkpoint) -> Result<Measurement, TrainError> {
        self.try_measure(checkpoint).map_err(|error| match error {
            EvalError::Train(error) => *error,
            other => TrainError::Mismatch(format!("cannot measure the generator: {other}")),
        })
    }

    fn try_measure(&self, checkpoint: &Checkpoint) -> Result<Measurement, EvalError> {
        let sampler = Sampler::new(checkpoint, None, &self.device)?;
        let source = Source::generated(&sampler, self.count, self.seed, Told::AsReal, &self.train)?;
        let fake = source.measure_once(&self.extractor, None, "looking at generated pictures", Progress::SILENT)?;
        let report = compare(&self.real, &fake, None, &self.options, &self.device, Progress::SILENT)?;
        let first = report.figures.first();
        let by = first.map_or_else(String::new, |figure| format!("{} ({})", figure.name, self.extractor.id()));
        let figures = report.figures.iter().map(|figure| (format!("eval/{}", figure.key), figure.value)).collect();
        Ok(Measurement { figures, score: first.map_or(f64::NAN, score), by })
    }
}

/// The lower, the better.
fn score(figure: &Figure) -> f64 {
    if figure.better == Better::Higher { -figure.value } else { figure.value }
}
