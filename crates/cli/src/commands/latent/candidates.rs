//! Latents to pick exemplars from, and what a model sees in their pictures.

use super::{FileArgs, SeedArgs, options};
use crate::commands::generator::{Conditions, LoadedGenerator};
use crate::error::CliError;
use crate::hints;
use clap::value_parser;
use eval::feature_network::FeatureNetwork;
use eval::latent::{
    AttributeQuery, ConditionTable, ExemplarSpec, LatentSource, PixelAttributes, SampleSpec, Scores,
};
use std::path::{Path, PathBuf};
use tensor::Tensor;

/// Flags that say where exemplars are looked for.
#[derive(clap::Args)]
pub struct CandidateArgs {
    /// Candidates: the latents that dcgan sample draws from --seed, numbered from 0, left to right and top to bottom in its grid (with --class all so many of each
    /// class, as in its grid of --columns N).
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = value_parser!(u32).range(1..=100_000))]
    candidates: u32,
    /// A network that sees classes or attributes, which dcgan eval train-features wrote. Without one, what is seen are light, contrast and, in colour, warm (red, not
    /// blue) and green, each above or below the median of the candidates.
    #[arg(long, value_name = "FILE.safetensors")]
    score: Option<PathBuf>,
    /// Another network that knows the same words and gives the verdict: one that picks exemplars and then judges what comes of them is fooled twice by the same
    /// thing. Without it, what picks also judges.
    #[arg(long, value_name = "FILE.safetensors", requires = "score")]
    judge: Option<PathBuf>,
}

/// What sees attributes in pictures.
pub enum Model {
    /// Light, contrast and colours, against the median of the candidates.
    Pixels(PixelAttributes),
    /// A network's logits: of its class against the best other one, or of each attribute against 0.
    Network(Box<FeatureNetwork>, Vec<String>),
}

/// Pictures that a network looks at together.
const BATCH: usize = 256;

impl Model {
    /// That of a file, for pictures of this shape.
    fn read(flag: &str, file: &Path, opened: &LoadedGenerator) -> Result<Self, CliError> {
        let network = FeatureNetwork::load(file, opened.sampler.device())?;
        let (own, wanted) = (opened.sampler.shape(), network.image());
        if own != wanted {
            return Err(CliError::Failed(format!(
                "{flag} {file:?} looks at pictures of {wanted:?}, the generator draws {own:?}"
            )));
        }
        let names = network.outputs();
        Ok(Self::Network(Box::new(network), names))
    }

    /// What to print beside what it says: the network's name and the hash of its weights.
    pub fn id(&self) -> String {
        match self {
            Self::Pixels(_) => "pixels against the median of the candidates".to_owned(),
            Self::Network(network, _) => network.id(),
        }
    }

    /// What it knows.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Pixels(scores) => scores.names(),
            Self::Network(_, names) => names,
        }
    }

    /// What it says of pictures `[N, H, W, C]`.
    ///
    /// # Errors
    /// Pictures of another shape than the network's, or its device.
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

/// A latent that can be named.
#[derive(Clone, Copy)]
pub struct Candidate {
    seed: u64,
    row: usize,
    told: usize,
}

/// Exemplars of one concept.
pub struct Selection {
    /// How they were asked for.
    pub said: String,
    /// The exemplars.
    pub exemplars: Vec<Candidate>,
    /// What to call them: `3, 17` or `seed 5`.
    pub names: Vec<String>,
    /// Where a model was asked: all candidates that are one, the surest first.
    pub found: Option<Vec<usize>>,
}

/// All candidates.
pub struct Candidates<'a> {
    opened: &'a LoadedGenerator,
    seed: u64,
    truncation: Option<f64>,
    conditions: &'a Conditions,
    network: Option<Model>,
    judge: Option<Model>,
    /// Of each candidate: its row under the seed, and its condition.
    order: Vec<usize>,
    told: Option<ConditionTable>,
    seen: Option<CandidateScores>,
}

/// What is seen in the candidates.
struct CandidateScores {
    /// By what picks.
    picks: (Model, Scores),
    /// By what judges, where that is another one.
    judges: Option<(Model, Scores)>,
}

impl<'a> Candidates<'a> {
    /// Names them.
    ///
    /// # Errors
    /// Conditions that are not as many as candidates; a network that cannot be read, or for pictures of another shape.
    pub fn new(
        opened: &'a LoadedGenerator,
        seed: &SeedArgs,
        conditions: &'a Conditions,
        args: &CandidateArgs,
    ) -> Result<Self, CliError> {
        let (order, told) = conditions.pair_latents_with_conditions(args.candidates as usize)?;
        let read = |flag, file: &Option<PathBuf>| {
            file.as_ref().map(|file| Model::read(flag, file, opened)).transpose()
        };
        let (network, judge) = (read("--score", &args.score)?, read("--judge", &args.judge)?);
        Ok(Self {
            opened,
            seed: seed.seed,
            truncation: seed.truncation,
            conditions,
            network,
            judge,
            order,
            told,
            seen: None,
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
            self.told.clone(),
            options(self.opened, 8),
        )
    }

    /// What the model that picks sees in them.
    ///
    /// # Errors
    /// SampleSpec.
    pub fn look(&mut self, files: &FileArgs) -> Result<(&Model, &Scores), CliError> {
        let (model, scores) = &self.see(files)?.picks;
        Ok((model, scores))
    }

    /// What the model that judges sees in them.
    ///
    /// # Errors
    /// SampleSpec.
    pub fn judged(&mut self, files: &FileArgs) -> Result<(&Model, &Scores), CliError> {
        let seen = self.see(files)?;
        let (model, scores) = seen.judges.as_ref().unwrap_or(&seen.picks);
        Ok((model, scores))
    }

    /// Draws all of them and has the models look at them, once.
    fn see(&mut self, files: &FileArgs) -> Result<&CandidateScores, CliError> {
        if self.seen.is_none() {
            let images = files.draw(self.opened, "drawing candidates", &self.all())?;
            let [h, w, c] = self.opened.sampler.shape();
            let images = Tensor::from_slice(&images, [self.len(), h, w, c]);
            let scored = |model: Model| {
                let scores = model.score(&images)?;
                Ok::<_, CliError>((model, scores))
            };
            let picks = scored(
                self.network.take().unwrap_or_else(|| Model::Pixels(PixelAttributes::new(&images))),
            )?;
            self.seen =
                Some(CandidateScores { picks, judges: self.judge.take().map(scored).transpose()? });
        }
        self.seen.as_ref().ok_or_else(|| CliError::Failed("the candidates were not drawn".into()))
    }

    /// Finds the exemplars that `pick` of `--flag` asks for, the surest `per` where a model is asked.
    ///
    /// # Errors
    /// Numbers beyond the candidates, words that the model does not know, too few that are such.
    pub fn pick(
        &mut self,
        flag: &str,
        pick: &ExemplarSpec,
        per: usize,
        files: &FileArgs,
    ) -> Result<Selection, CliError> {
        let usage = |text: String| CliError::Usage(format!("--{flag} {text}"));
        match pick {
            ExemplarSpec::Indices(rows) => {
                if let Some(row) = rows.iter().find(|row| **row >= self.len()) {
                    return Err(usage(format!(
                        "{row}: the candidates are numbered 0 to {}; see --candidates",
                        self.len() - 1
                    )));
                }
                let names = rows.iter().map(usize::to_string).collect();
                Ok(Selection {
                    said: "by number".into(),
                    exemplars: rows.iter().map(|&row| self.candidate(row)).collect(),
                    names,
                    found: None,
                })
            }
            ExemplarSpec::Seeds(seeds) => {
                if self.conditions.rows.len() > 1 {
                    return Err(usage(
                        "seed:…: a seed does not say which class: give one --class, or numbers"
                            .into(),
                    ));
                }
                let exemplars =
                    seeds.iter().map(|&seed| Candidate { seed, row: 0, told: 0 }).collect();
                Ok(Selection {
                    said: "by seed".into(),
                    exemplars,
                    names: seeds.iter().map(|seed| format!("seed {seed}")).collect(),
                    found: None,
                })
            }
            ExemplarSpec::Query(text) => {
                let (model, scores) = self.look(files)?;
                let concept = AttributeQuery::parse(text, model.names())
                    .map_err(|error| usage(hints::compose(&error, hints::eval(&error))))?;
                let found = concept.ranked(scores);
                if found.len() < per {
                    return Err(CliError::Failed(format!(
                        "--{flag} {text:?}: {} of {} candidates are such, {per} are needed: raise --candidates, or ask for less",
                        found.len(),
                        self.len()
                    )));
                }
                let best = found[..per].to_vec();
                let names = best.iter().map(usize::to_string).collect();
                let exemplars = best.iter().map(|&row| self.candidate(row)).collect();
                Ok(Selection { said: text.clone(), exemplars, names, found: Some(found) })
            }
        }
    }

    fn candidate(&self, i: usize) -> Candidate {
        let told = self.told.as_ref().and_then(|told| told.indices.get(i)).copied().unwrap_or(0);
        Candidate { seed: self.seed, row: self.order.get(i).copied().unwrap_or(0), told }
    }

    /// Latents that are no candidates, the first `count` behind them, each under the next condition.
    pub fn others(&self, count: usize) -> Vec<Candidate> {
        let first = self.order.iter().max().map_or(0, |last| last + 1);
        let known = self.conditions.rows.len().max(1);
        (0..count).map(|i| Candidate { seed: self.seed, row: first + i, told: i % known }).collect()
    }

    /// The drawing of these.
    pub fn drawing(&self, chosen: &[Candidate], columns: usize) -> SampleSpec {
        let mut latents: Vec<LatentSource> = Vec::new();
        for group in chosen.chunk_by(|a, b| a.seed == b.seed) {
            let rows: Vec<usize> = group.iter().map(|candidate| candidate.row).collect();
            let seed = group.first().map_or(self.seed, |candidate| candidate.seed);
            latents.push(LatentSource::of_rows(seed, self.truncation, &rows));
        }
        let of = chosen.iter().map(|candidate| candidate.told).collect();
        let told = (!self.conditions.rows.is_empty())
            .then(|| ConditionTable { rows: self.conditions.rows.clone(), indices: of });
        SampleSpec::plain(latents, told, options(self.opened, columns))
    }
}
