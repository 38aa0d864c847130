//! Candidates: latents to pick exemplars from, and the attributes that a model detects in their
//! images.

use super::{FileArgs, SeedArgs, grid_options};
use crate::commands::{ConditionSet, LoadedGenerator};
use crate::error::CliError;
use crate::hints;
use crate::parse::count;
use eval::feature_network::FeatureNetwork;
use eval::latent::{
    AttributeQuery, ConditionTable, ExemplarSpec, LatentSource, PixelAttributes, SampleSpec, Scores,
};
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use tensor::Tensor;

/// Flags for the candidates and the models that score them.
#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct CandidateArgs {
    /// Number of candidates: the latents of `dcgan sample` with this --seed, numbered from 0, left
    /// to right and top to bottom of its grid (with --class all, N of each class, as in its grid
    /// with --columns N).
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count(1..=100_000))]
    candidates: u32,
    /// Classifier of classes or attributes, from `dcgan eval train-features` [default: light,
    /// contrast and, in color, warm (red, not blue) and green, above or below the candidates'
    /// median].
    #[arg(long, value_name = "FILE.safetensors")]
    classifier: Option<PathBuf>,
    /// Second network with the same names, which detects the expected attributes: a network that
    /// also picks the exemplars repeats its own errors [default: --classifier].
    #[arg(long, value_name = "FILE.safetensors", requires = "classifier")]
    eval_classifier: Option<PathBuf>,
}

/// A detector of attributes in images.
pub enum Model {
    /// Light, contrast and colors, relative to the median of the candidates.
    Pixels(PixelAttributes),
    /// A network's logits: of a class minus the highest other one, or of each attribute.
    Network(Box<FeatureNetwork>, Vec<String>),
}

/// Batch size of the network.
const BATCH: usize = 256;

impl Model {
    /// Loads the network of `file`, which must take images of the generator's shape.
    fn read(flag: &str, file: &Path, opened: &LoadedGenerator) -> Result<Self, CliError> {
        let network = FeatureNetwork::load(file, opened.sampler.device())?;
        let (own, wanted) = (opened.sampler.shape(), network.image());
        if own != wanted {
            return Err(failure!(
                "{flag} {file:?} takes images of {wanted:?}, the generator draws {own:?}"
            ));
        }
        let names = network.outputs();
        Ok(Self::Network(Box::new(network), names))
    }

    /// The name to print: the network's name with the hash of its weights.
    pub fn id(&self) -> String {
        match self {
            Self::Pixels(_) => "pixels against the median of the candidates".to_owned(),
            Self::Network(network, _) => network.id(),
        }
    }

    /// The attributes or classes that it detects.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Pixels(scores) => scores.names(),
            Self::Network(_, names) => names,
        }
    }

    /// The scores of images `[N, H, W, C]`: a value per name and image, above 0 if detected.
    pub fn score(&self, images: &Tensor) -> Result<Scores, CliError> {
        let (network, names) = match self {
            Self::Pixels(scores) => return Ok(scores.score(images)),
            Self::Network(network, names) => (network, names),
        };
        let count = images.shape()[0];
        let mut values = Vec::with_capacity(count * names.len());
        for start in (0..count).step_by(BATCH) {
            let part =
                images.narrow(0, start, BATCH.min(count - start)).to_device(network.device());
            values.extend(network.logits(&part)?.to_vec());
        }
        let scores = Scores::new(names.len(), values);
        Ok(if network.is_classifier() { scores.class_margins() } else { scores })
    }
}

/// A latent: a row of a seed's latents, and its condition.
#[derive(Clone, Copy)]
pub struct Candidate {
    seed: u64,
    row: usize,
    condition: usize,
}

/// Exemplars of one concept.
#[derive(Serialize)]
pub struct Selection {
    /// The query, as the user wrote it.
    pub query: String,
    /// The exemplars and their latents.
    #[serde(skip)]
    pub exemplars: Vec<Candidate>,
    /// Their names: `3, 17` or `seed 5`.
    #[serde(rename = "exemplars")]
    pub names: Vec<String>,
    /// All candidates with the requested attributes, by descending score; none for indices and
    /// seeds.
    #[serde(serialize_with = "number_of")]
    pub matches: Option<Vec<usize>>,
}

fn number_of<S: Serializer>(all: &Option<Vec<usize>>, serializer: S) -> Result<S::Ok, S::Error> {
    all.as_ref().map(Vec::len).serialize(serializer)
}

/// All candidates.
pub struct Candidates<'a> {
    opened: &'a LoadedGenerator,
    seed: u64,
    truncation: Option<f64>,
    conditions: &'a ConditionSet,
    classifier: Option<Model>,
    eval_classifier: Option<Model>,
    /// The row under the seed of each candidate.
    order: Vec<usize>,
    condition_table: Option<ConditionTable>,
    scores: Option<CandidateScores>,
}

/// The scores of all candidates.
struct CandidateScores {
    /// Attributes by the model that picks exemplars.
    picking: (Model, Scores),
    /// Attributes by the model that checks results, if it is another one.
    evaluation: Option<(Model, Scores)>,
}

impl<'a> Candidates<'a> {
    /// Prepares the candidates and loads the networks.
    pub fn new(
        opened: &'a LoadedGenerator,
        seed: &SeedArgs,
        conditions: &'a ConditionSet,
        args: &CandidateArgs,
    ) -> Result<Self, CliError> {
        let (order, condition_table) =
            conditions.pair_latents_with_conditions(args.candidates as usize)?;
        let read = |flag, file: &Option<PathBuf>| {
            file.as_ref().map(|file| Model::read(flag, file, opened)).transpose()
        };
        Ok(Self {
            opened,
            seed: seed.seed,
            truncation: seed.truncation,
            conditions,
            classifier: read("--classifier", &args.classifier)?,
            eval_classifier: read("--eval-classifier", &args.eval_classifier)?,
            order,
            condition_table,
            scores: None,
        })
    }

    /// The number of candidates.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The drawing of all of them.
    pub fn all(&self) -> SampleSpec {
        SampleSpec::plain(
            vec![LatentSource::of_rows(self.seed, self.truncation, &self.order)],
            self.condition_table.clone(),
            grid_options(self.opened, 8),
        )
    }

    /// The model that checks results, and its scores of the candidates.
    pub fn evaluation_scores(&mut self, files: &FileArgs) -> Result<(&Model, &Scores), CliError> {
        let scores = self.scores(files)?;
        let (model, scores) = scores.evaluation.as_ref().unwrap_or(&scores.picking);
        Ok((model, scores))
    }

    /// Draws and scores all candidates, once.
    fn scores(&mut self, files: &FileArgs) -> Result<&CandidateScores, CliError> {
        if self.scores.is_none() {
            let images = files.draw(self.opened, "drawing candidates", &self.all())?;
            let [h, w, c] = self.opened.sampler.shape();
            let images = Tensor::from_slice(&images, [self.len(), h, w, c]);
            let scored = |model: Model| {
                let scores = model.score(&images)?;
                Ok::<_, CliError>((model, scores))
            };
            let picking = scored(
                self.classifier
                    .take()
                    .unwrap_or_else(|| Model::Pixels(PixelAttributes::new(&images))),
            )?;
            let evaluation = self.eval_classifier.take().map(scored).transpose()?;
            self.scores = Some(CandidateScores { picking, evaluation });
        }
        self.scores.as_ref().ok_or_else(|| failure!("the candidates were not drawn"))
    }

    /// The exemplars that `pick` of `--flag` asks for; of attributes the `count` with the highest
    /// scores.
    pub fn pick(
        &mut self,
        flag: &str,
        pick: &ExemplarSpec,
        count: usize,
        files: &FileArgs,
    ) -> Result<Selection, CliError> {
        let usage = |text: String| usage!("--{flag} {text}");
        match pick {
            ExemplarSpec::Indices(rows) => match rows.iter().find(|row| **row >= self.len()) {
                Some(row) => Err(usage(format!(
                    "{row}: the candidates are numbered 0 to {}; see --candidates",
                    self.len() - 1
                ))),
                None => Ok(self.select("by index".into(), rows, None)),
            },
            ExemplarSpec::Seeds(_) if self.conditions.rows.len() > 1 => Err(usage(
                "seed:…: a seed does not name a class: give one --class, or indices".into(),
            )),
            ExemplarSpec::Seeds(seeds) => Ok(Selection {
                query: "by seed".into(),
                exemplars: seeds
                    .iter()
                    .map(|&seed| Candidate { seed, row: 0, condition: 0 })
                    .collect(),
                names: seeds.iter().map(|seed| format!("seed {seed}")).collect(),
                matches: None,
            }),
            ExemplarSpec::Query(text) => {
                let (model, scores) = &self.scores(files)?.picking;
                let concept = AttributeQuery::parse(text, model.names())
                    .map_err(|error| usage(hints::compose(&error, hints::eval(&error))))?;
                let matches = concept.ranked(scores);
                if matches.len() < count {
                    return Err(failure!(
                        "--{flag} {text:?}: {} of {} candidates match, {count} are needed: raise \
                         --candidates, or ask for less",
                        matches.len(),
                        self.len()
                    ));
                }
                let best = matches[..count].to_vec();
                Ok(self.select(text.clone(), &best, Some(matches)))
            }
        }
    }

    fn select(&self, query: String, rows: &[usize], matches: Option<Vec<usize>>) -> Selection {
        Selection {
            query,
            exemplars: rows.iter().map(|&row| self.candidate(row)).collect(),
            names: rows.iter().map(usize::to_string).collect(),
            matches,
        }
    }

    fn candidate(&self, i: usize) -> Candidate {
        let conditions = self.condition_table.as_ref();
        let condition = conditions.and_then(|table| table.indices.get(i)).copied().unwrap_or(0);
        Candidate { seed: self.seed, row: self.order.get(i).copied().unwrap_or(0), condition }
    }

    /// The first `count` latents behind the candidates, whose conditions take turns.
    pub fn others(&self, count: usize) -> Vec<Candidate> {
        let first = self.order.iter().max().map_or(0, |last| last + 1);
        let known = self.conditions.rows.len().max(1);
        (0..count)
            .map(|i| Candidate { seed: self.seed, row: first + i, condition: i % known })
            .collect()
    }

    /// The drawing of these.
    pub fn drawing(&self, chosen: &[Candidate], columns: usize) -> SampleSpec {
        let mut latents: Vec<LatentSource> = Vec::new();
        for group in chosen.chunk_by(|a, b| a.seed == b.seed) {
            let rows: Vec<usize> = group.iter().map(|candidate| candidate.row).collect();
            let seed = group.first().map_or(self.seed, |candidate| candidate.seed);
            latents.push(LatentSource::of_rows(seed, self.truncation, &rows));
        }
        let of = chosen.iter().map(|candidate| candidate.condition).collect();
        let condition_table = (!self.conditions.rows.is_empty())
            .then(|| ConditionTable { rows: self.conditions.rows.clone(), indices: of });
        SampleSpec::plain(latents, condition_table, grid_options(self.opened, columns))
    }
}
