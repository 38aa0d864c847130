//! Recipes that together use every option, and a small labeled dataset.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use data::{Dataset, Fit, Preprocess, Split};
use nn::Recipe;
use nn::layers::{ConvConfig, ConvTransposeConfig, LayerConfig, LinearConfig, ReshapeConfig};
use runs::{MetricsRow, RunDir, metrics, write_state_dict};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tensor::{Device, HostTensor};
use train::{RunOutcome, Settings, Trainer};

/// The keys that recipes with the 16×16 networks of `torch` change. The three together switch on
/// everything that has a state or uses random numbers.
const EVERYTHING: [(&str, &str); 3] = [
    (
        "conditional",
        "generator.norm = \"virtual-batch\"
         generator.reference = 5
         generator.dropout = 0.1
         generator.attention = 8
         discriminator.norm = \"none\"
         discriminator.parametrization = \"spectral-norm\"
         discriminator.bias = true
         discriminator.noise = 0.1
         discriminator.dropout = 0.2
         discriminator.minibatch_stddev = 4
         discriminator.attention = 8
         noise.input = 0.1
         noise.decay_steps = 6
         labels.real = [0.9, 1.0]
         labels.fake = [0.0, 0.1]
         labels.flip = 0.2
         augment.policy = [\"color\", \"translation\", \"cutout\", \"flip\"]
         image.flip = true
         condition.kind = \"class\"
         condition.size = 10
         condition.generator = \"every-layer\"
         condition.discriminator = \"every-layer\"
         condition.embedding = 3
         objective.relativistic = true
         objective.r1 = 1.0
         objective.r1_every = 2
         objective.historical_averaging = 0.1
         optimizer.clip_gradient = 5.0
         optimizer.lr_discriminator = 0.0004
         optimizer.schedule = { kind = \"cosine\", warmup = 3 }
         train.ema = 0.9",
    ),
    (
        "critic",
        "generator.parametrization = \"weight-norm\"
         generator.upsample = \"nearest\"
         discriminator.norm = \"layer\"
         discriminator.downsample = \"average-pool\"
         condition.kind = \"vector\"
         condition.size = 6
         condition.generator = \"input\"
         condition.discriminator = \"projection\"
         objective.loss = \"wasserstein\"
         objective.gradient_penalty = 10.0
         optimizer.type = \"adamw\"
         optimizer.weight_decay = 0.01
         optimizer.schedule = { kind = \"linear\", from = 0.5 }
         init.scheme = \"orthogonal\"
         train.d_steps = 2
         train.resample_z = true
         train.separate_batches = true
         train.ema = 0.5",
    ),
    (
        "squares",
        "generator.norm = \"instance\"
         discriminator.norm = \"instance\"
         discriminator.parametrization = \"weight-norm\"
         discriminator.bias = true
         discriminator.minibatch_discrimination = { kernels = 3, dims = 2, form = \"code\" }
         condition.kind = \"attributes\"
         condition.size = 3
         condition.generator = \"input\"
         condition.discriminator = \"auxiliary\"
         objective.loss = \"least-squares\"
         objective.feature_matching = 0.5
         objective.feature_norm = \"l1\"
         objective.historical_averaging = 0.05
         labels.swap = true
         optimizer.type = \"sgd\"
         optimizer.momentum = 0.9
         optimizer.nesterov = true
         optimizer.lr = 0.001
         optimizer.schedule = { kind = \"step\", every = 2, factor = 0.5, warmup = 2 }
         train.update_order = \"g-first\"
         train.g_steps = 2",
    ),
];

/// The recipes, by name.
pub fn everything() -> Vec<Recipe> {
    let small = "image.size = [16, 16]
         generator.width = 8
         generator.latent = 6
         discriminator.width = 8
         train.batch = 4";
    let recipe = |(name, text): &(&str, &str)| {
        let lines =
            small.lines().chain(text.lines()).filter_map(|line| line.trim().split_once(" = "));
        let changes: Vec<_> =
            lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut recipe = Recipe::preset("torch")
            .unwrap()
            .with(&changes)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        recipe.name = (*name).into();
        recipe
    };
    EVERYTHING.iter().map(recipe).collect()
}

/// The preset, for images of 16×16 if it takes any size, with its layers a sixteenth as wide, so
/// that a software adapter can train it, too.
pub fn small(name: &str) -> Recipe {
    let mut recipe = Recipe::preset(name).unwrap();
    (recipe.generator.width, recipe.discriminator.width) = (4, 4);
    if recipe.generator.layers.is_empty() && recipe.discriminator.layers.is_empty() {
        recipe.image.size = [16, 16];
    }
    thin(&mut recipe.generator.layers);
    thin(&mut recipe.discriminator.layers);
    recipe.train.batch = 2;
    recipe.validate().unwrap();
    recipe
}

/// Hidden layers with a sixteenth of their channels and units.
fn thin(layers: &mut [LayerConfig]) {
    for at in 0..layers.len() {
        let (before, rest) = layers.split_at_mut(at);
        match &mut rest[0] {
            LayerConfig::Conv(ConvConfig { channels: n, .. })
            | LayerConfig::ConvTranspose(ConvTransposeConfig { channels: n, .. })
            | LayerConfig::Linear(LinearConfig { units: n, .. })
                if *n >= 32 =>
            {
                *n /= 16;
            }
            LayerConfig::Reshape(ReshapeConfig { shape }) => {
                if shape[2] >= 32 {
                    shape[2] /= 16;
                }
                // Of the product that the image is computed from.
                let linear = |layer: &&mut LayerConfig| matches!(layer, LayerConfig::Linear(_));
                if let Some(LayerConfig::Linear(linear)) = before.iter_mut().rfind(linear) {
                    linear.units = shape.iter().product();
                }
            }
            _ => {}
        }
    }
}

/// A whole run on [`labeled`] images in the directory `at`; all its losses are finite.
pub fn trained(
    recipe: &Recipe,
    steps: u64,
    places: &(PathBuf, PathBuf),
    at: &Path,
    device: &Device,
) -> (RunOutcome, Vec<MetricsRow>) {
    let name = &recipe.name;
    let settings = settings(recipe.clone(), places, steps);
    let data = open(&settings);
    let run_dir = RunDir::create_at(at).unwrap();
    let mut trainer = Trainer::new(settings, device).unwrap();
    let outcome = train::run(&mut trainer, &data, &run_dir, &AtomicBool::new(false), &mut |_| ())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(outcome.finished, "{name}");
    let rows = metrics::read(&run_dir.metrics()).unwrap();
    assert_eq!(rows.len() as u64, steps, "{name}");
    assert!(rows.iter().all(|row| row.d_loss.is_finite() && row.g_loss.is_finite()), "{name}");
    (outcome, rows)
}

/// A folder of `2 · 10` images in ten classes with a table of attributes (three values), and a file
/// of vectors of length 6.
pub fn labeled(dir: &Path) -> (PathBuf, PathBuf) {
    let data = dir.join("data");
    let mut table = String::from("file,smiling,hair\n");
    for i in 0..20u32 {
        let class = data.join((i % 10).to_string());
        std::fs::create_dir_all(&class).unwrap();
        let image = image::RgbImage::from_fn(16, 16, |x, y| {
            image::Rgb([(x * 16) as u8, (y * 16 + i * 7) as u8, ((x ^ y) * i % 256) as u8])
        });
        image.save(class.join(format!("{i:03}.png"))).unwrap();
        table += &format!(
            "{}/{i:03}.png,{},{}\n",
            i % 10,
            i % 2,
            if i % 3 == 0 { "red" } else { "gray" }
        );
    }
    std::fs::write(data.join("attributes.csv"), table).unwrap();
    let vectors = dir.join("vectors.safetensors");
    let numbers = tensor::rng::Philox::new(3, 0).normal([20, 6], 0.0, 1.0).to_vec();
    write_state_dict(
        &vectors,
        &BTreeMap::from([("condition".to_owned(), HostTensor::f32([20, 6], numbers))]),
    )
    .unwrap();
    (data, vectors)
}

/// The settings of a run of `recipe` on [`labeled`] images.
pub fn settings(recipe: Recipe, (data, vectors): &(PathBuf, PathBuf), steps: u64) -> Settings {
    let ([h, w], channels) = (recipe.image.size, recipe.image.channels);
    let plain = Preprocess::new([h as u32, w as u32], channels as u8);
    let preprocess = Preprocess { fit: Fit::Crop, flip: recipe.image.flip, ..plain };
    let vector =
        recipe.condition.as_ref().is_some_and(|c| c.kind == nn::recipe::ConditionKind::Vector);
    Settings {
        data: data.display().to_string(),
        preprocess,
        condition_file: vector.then(|| vectors.clone()),
        ..crate::settings::base(recipe, steps)
    }
}

pub fn open(settings: &Settings) -> Arc<Dataset> {
    Arc::new(Dataset::open(&settings.data, Split::Train, &settings.preprocess, &|_| ()).unwrap())
}
