//! The settings of a toy run: a mixture of Gaussians, and a recipe whose images are points.

use super::Mixture;
use crate::TrainError;
use nn::Recipe;

/// A mixture of Gaussians by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ToyDataset {
    /// [`Mixture::ring`].
    Ring,
    /// [`Mixture::grid`].
    Grid,
}

impl ToyDataset {
    /// The mixture of Gaussians that the name stands for.
    pub fn mixture(self) -> Mixture {
        match self {
            Self::Ring => Mixture::ring(),
            Self::Grid => Mixture::grid(),
        }
    }
}

/// Everything that determines a toy run.
///
/// The recipe is an ordinary one, validated and trained like those of images. A point is an image
/// of 1×2 pixels; D classifies `pack` of them together (PacGAN, Lin et al. 2018) as one of `pack`
/// rows.
#[derive(Clone, PartialEq, Debug)]
pub struct ToySettings {
    /// The training data.
    pub dataset: ToyDataset,
    /// Seed of weights, latents and data.
    pub seed: u64,
    /// Points that D classifies together; 1 classifies each alone.
    pub pack: usize,
    /// Units of each hidden layer.
    pub width: usize,
    /// Length of a point's latent vector.
    pub latent: usize,
    /// The networks and how they are trained; `train.steps` is the length of the run.
    pub recipe: Recipe,
    /// Whether D's logit of a sample depends on the rest of its batch.
    pub(super) d_is_batch_dependent: bool,
}

/// Two perceptrons with two hidden layers of ReLU each, the non-saturating loss, and Adam with the
/// DCGAN's β₁. Written as a recipe of images, to which any change of its keys can be applied; the
/// layers are listed afterwards, by [`ToySettings::new`].
const PLAIN: &str = r#"
base = "torch"
name = "toy"
description = "Two perceptrons on points of the plane."
[image]
size = [16, 16]
channels = 1
[generator]
latent = 2
width = 128
norm = "none"
[discriminator]
width = 128
norm = "none"
[init]
std = 0.1
gamma_std = 0.0
[optimizer]
lr = 1e-3
beta1 = 0.5
[train]
batch = 128
steps = 20_000
resample_z = true
"#;

/// Decay of RMSProp's mean square (Tieleman & Hinton 2012), where no other is given.
const RMSPROP_BETA2: &str = "0.99";

impl ToySettings {
    /// The plain GAN of the literature with other values for some keys of its recipe, given as
    /// `section.key` with the TOML of the value, as in [`Recipe::with`].
    ///
    /// The layers follow from the usual keys: `generator.width` and `discriminator.width`, which
    /// are equal, the norms, and the minibatch layers. Noise on D's input decays to 0 at the last
    /// step unless `noise.decay_steps` is set.
    ///
    /// # Errors
    /// Returns an error if a key is unknown, a value is out of range, keys make no sense together,
    /// or `pack` does not divide the batch.
    pub fn new(
        dataset: ToyDataset,
        seed: u64,
        pack: usize,
        changes: &[(String, String)],
    ) -> Result<Self, TrainError> {
        let mut changes = changes.to_vec();
        let has = |key: &str| changes.iter().any(|(own, _)| own == key);
        let is_rmsprop = changes.contains(&("optimizer.type".into(), "rmsprop".into()));
        if is_rmsprop && !has("optimizer.beta2") {
            changes.push(("optimizer.beta2".into(), RMSPROP_BETA2.into()));
        }
        // Images first: their rules of combination ask for keys that a list of layers replaces.
        let recipe = Self::plain_recipe()?.with(&changes)?;
        let batch = recipe.train.batch;
        let d = &recipe.discriminator;
        let d_is_batch_dependent = d.minibatch_stddev > 0 || d.minibatch_discrimination.is_some();
        let fewest = if d_is_batch_dependent { 2 } else { 1 };
        if pack == 0 || !batch.is_multiple_of(pack) || batch / pack < fewest {
            return Err(TrainError::Pack { pack, batch });
        }
        let (width, latent) = (recipe.generator.width, recipe.generator.latent);
        let recipe = recipe.with(&points(&recipe, pack))?;
        Ok(Self { dataset, seed, pack, width, latent, recipe, d_is_batch_dependent })
    }

    /// The plain GAN as a recipe of images, whose values are the defaults of [`new`](Self::new).
    ///
    /// # Errors
    /// Returns an error if the built-in text is invalid, which a test excludes.
    pub fn plain_recipe() -> Result<Recipe, TrainError> {
        Ok(Recipe::from_toml(PLAIN)?)
    }

    /// Steps of the run.
    pub fn steps(&self) -> u64 {
        self.recipe.train.steps.unwrap_or_default()
    }
}

/// The keys that turn a recipe of images into one of points.
fn points(recipe: &Recipe, pack: usize) -> Vec<(String, String)> {
    let mut changes = vec![
        ("image.size", format!("[{pack}, 2]")),
        ("generator.latent", (recipe.generator.latent * pack).to_string()),
        ("generator.layers", g_layers(recipe, pack)),
        ("discriminator.layers", d_layers(recipe)),
        ("train.batch", (recipe.train.batch / pack).to_string()),
    ];
    if recipe.noise.input > 0.0 && recipe.noise.decay_steps == 0 {
        changes.push(("noise.decay_steps", recipe.train.steps.unwrap_or_default().to_string()));
    }
    // Only these losses use real samples in G's update; the others would waste a batch.
    if recipe.objective.relativistic || recipe.objective.feature_matching > 0.0 {
        changes.push(("train.separate_batches", "true".into()));
    }
    changes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A normalization layer by the name of its recipe key; nothing for `none`.
fn norm(kind: impl serde::Serialize) -> String {
    match toml::Value::try_from(kind).ok().as_ref().and_then(toml::Value::as_str) {
        None | Some("none") => String::new(),
        Some(name) => format!("{{ layer = \"{name}-norm\" }}, "),
    }
}

/// Latents `[pack · latent]` to points `[pack, 2, 1]`: two hidden layers with ReLU. Several points
/// are pixels of an image, whose 1×1 convolutions are the layers of a perceptron.
fn g_layers(recipe: &Recipe, pack: usize) -> String {
    let g = &recipe.generator;
    let norm = norm(g.norm);
    let layer = |units: usize| match pack {
        1 => format!("{{ layer = \"linear\", units = {units} }}, "),
        _ => format!("{{ layer = \"conv\", channels = {units}, kernel = 1 }}, "),
    };
    let start = match pack {
        1 => String::new(),
        _ => format!("{{ layer = \"reshape\", shape = [{pack}, 1, {}] }}, ", g.latent),
    };
    let hidden = format!("{}{norm}{{ layer = \"relu\" }}, ", layer(g.width)).repeat(2);
    let end = format!("{{ layer = \"reshape\", shape = [{pack}, 2, 1] }}");
    format!("[{start}{hidden}{}{end}]", layer(2))
}

/// Packs of points `[pack, 2, 1]` to a logit: two hidden layers with ReLU, then the minibatch
/// layers.
fn d_layers(recipe: &Recipe) -> String {
    let d = &recipe.discriminator;
    let norm = norm(d.norm);
    let linear = |units: usize| format!("{{ layer = \"linear\", units = {units} }}, ");
    let hidden = format!("{}{norm}{{ layer = \"relu\" }}, ", linear(d.width)).repeat(2);
    let mut minibatch = String::new();
    if let Some(own) = d.minibatch_discrimination {
        let form =
            toml::Value::try_from(own.form).map_or_else(|_| String::new(), |f| f.to_string());
        minibatch = format!(
            "{{ layer = \"minibatch-discrimination\", kernels = {}, dims = {}, form = {form} }}, ",
            own.kernels, own.dims
        );
    }
    if d.minibatch_stddev > 0 {
        minibatch = format!("{{ layer = \"minibatch-stddev\", group = {} }}, ", d.minibatch_stddev);
    }
    format!("[{{ layer = \"flatten\" }}, {hidden}{minibatch}{{ layer = \"linear\", units = 1 }}]")
}
