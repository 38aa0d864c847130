//! Writes ONNX files and PyTorch modules of every recipe, with the outputs that this program
//! computes, and lets Python compare them.

use crate::tasks;
use clap::Args;
use nn::export::onnx::OnnxOptions;
use nn::recipe::NetworkRole;
use nn::{DiscriminatorOutput, ForwardCtx, Mode, Network, Recipe};
use runs::{Checkpoint, CheckpointMeta};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use tensor::rng::Philox;
use tensor::{Device, HostTensor, Tensor};
use train::Sampler;

/// Compare the ONNX files and PyTorch modules of every recipe with this program (see
/// xtask/golden/README.md).
#[derive(Args)]
pub struct Options {
    /// A Python with torch, numpy, safetensors, onnx and onnxruntime.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Where the files are written.
    #[arg(long, value_name = "DIR", default_value = "runs/exports")]
    out: PathBuf,
    /// These cases alone: names of recipes, built-in or of xtask/golden/exports.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Samples in a batch.
const BATCH: usize = 5;

/// The presets, those whose width is a key 8 wide, and the recipes of `xtask/golden/exports`, which
/// have the layers that no preset has, in orders that need care.
fn recipes() -> Result<Vec<(String, Recipe)>, Box<dyn Error>> {
    let mut all = Vec::new();
    for name in Recipe::names() {
        let mut recipe = Recipe::preset(name)?;
        if recipe.generator.layers.is_empty() {
            (recipe.generator.width, recipe.discriminator.width) = (8, 8);
        }
        all.push((name.to_owned(), recipe));
    }
    let folder = tasks::root().join("xtask/golden/exports");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in files {
        let wrong = |error| format!("{}: {error}", file.display());
        let recipe = Recipe::from_toml(&std::fs::read_to_string(&file)?).map_err(wrong)?;
        all.push((recipe.name.clone(), recipe));
    }
    Ok(all)
}

/// Weights whose signals keep their scale, and statistics of all kinds, so that no difference is
/// hidden by outputs near zero.
fn randomize(network: &Network, rng: &mut Philox) -> Result<(), Box<dyn Error>> {
    let mut state = network.state_dict();
    for (name, tensor) in &mut state {
        let shape = tensor.shape.clone();
        let last = name.rsplit('.').next().unwrap_or_default();
        // u and v of spectral norm belong to the weights that were drawn.
        if name.starts_with("reference")
            || ["weight_u", "weight_v"].contains(&last) && is_spectral(network, name)
        {
            continue;
        }
        let len = tensor.len();
        let fan_in = match shape[..] {
            [out, ..] if shape.len() > 1 => len / out.max(1),
            _ => 0,
        };
        let values = match last {
            "num_batches_tracked" => {
                *tensor = HostTensor::scalar_i64(7);
                continue;
            }
            "running_var" => rng.uniform([len], 0.3, 2.0),
            "running_mean" | "bias" | "b" | "log_weight_scale" => rng.normal([len], 0.0, 0.3),
            "weight_orig" => continue,
            "weight_g" | "gamma" => rng.uniform([len], 0.5, 1.5),
            _ if fan_in > 0 => rng.normal([len], 0.0, (1.0 / fan_in as f32).sqrt()),
            _ => rng.uniform([len], 0.5, 1.5),
        };
        *tensor = HostTensor::f32(shape, values.to_vec());
    }
    Ok(network.load_state_dict(&state)?)
}

/// Whether a weight has spectral norm, not weight norm, which calls its direction `weight_v`.
fn is_spectral(network: &Network, name: &str) -> bool {
    let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer);
    network.params().iter().any(|(param, _)| *param == format!("{layer}.weight_orig"))
}

/// Writes the files of a recipe: `NAME/{generator,discriminator}.{safetensors,py}`, ONNX files and
/// `expected.safetensors`.
fn write(name: &str, recipe: &Recipe, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut rng = Philox::new(41, 0);
    let (generator, discriminator) = recipe.build(&mut rng)?;
    randomize(&generator, &mut rng)?;
    randomize(&discriminator, &mut rng)?;
    let prefixed = |prefix: &'static str, network: &Network| {
        let tensors = network.state_dict().into_iter();
        tensors.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor)).collect::<Vec<_>>()
    };
    let tensors = prefixed("g.", &generator).into_iter().chain(prefixed("d.", &discriminator));
    let meta = CheckpointMeta {
        recipe: recipe.to_toml(),
        recipe_name: recipe.name.clone(),
        ..CheckpointMeta::default()
    };
    let checkpoint = Checkpoint { meta, tensors: tensors.collect() };
    train::export(&checkpoint, folder, true)?;
    let plain = OnnxOptions::default();
    let forms = [
        ("plain", plain.clone()),
        ("no-fold", OnnxOptions { fold: false, ..plain.clone() }),
        ("half", OnnxOptions { half: true, ..plain.clone() }),
        ("uint8", OnnxOptions { bytes: true, ..plain.clone() }),
    ];
    for (form, options) in &forms {
        let file = folder.join(format!("generator-{form}.onnx"));
        train::export_onnx(&checkpoint, Some(name), NetworkRole::Generator, options, &file)?;
        if !options.bytes {
            let file = folder.join(format!("discriminator-{form}.onnx"));
            train::export_onnx(&checkpoint, None, NetworkRole::Discriminator, options, &file)?;
        }
    }

    let sampler = Sampler::new(&checkpoint, None, &Device::Cpu)?;
    let latents = train::latents(recipe, 3, BATCH);
    let condition = recipe.condition.as_ref().map(|_| recipe.example_conditions(BATCH));
    let for_g = condition.as_ref().filter(|_| recipe.g_conditional());
    let images = sampler.sample(&latents, for_g, BATCH, |_| ())?;
    let [h, w] = recipe.image.size;
    let real: Tensor = rng.uniform([BATCH, h, w, recipe.image.channels], -1.0, 1.0);
    let for_d = condition.as_ref().filter(|_| recipe.d_conditional());
    let d_output = |rows: usize| {
        let first = |all: &Tensor| all.narrow(0, 0, rows);
        let given = for_d.map(first);
        let ctx = ForwardCtx::from(Mode::SAMPLE).with_condition(given.as_ref());
        let input = recipe.image.range.to_network_range(&first(&real));
        DiscriminatorOutput::split(recipe, discriminator.forward(&input, ctx), Vec::new())
    };
    let host = |tensor: &Tensor| HostTensor::f32(tensor.shape().to_vec(), tensor.to_vec());
    let mut expected = BTreeMap::from([
        ("latents".to_owned(), host(&latents)),
        ("images".to_owned(), host(&images)),
        ("real".to_owned(), host(&real)),
    ]);
    if let Some(condition) = &condition {
        expected.insert("condition".into(), host(condition));
    }
    for rows in [1, BATCH] {
        let output = d_output(rows);
        expected.insert(format!("logits_{rows}"), host(&output.logits));
        if let Some(classes) = &output.classes {
            expected.insert(format!("class_logits_{rows}"), host(classes));
        }
    }
    Ok(runs::write_state_dict(&folder.join("expected.safetensors"), &expected)?)
}

/// Writes all cases, then runs `xtask/golden/check_exports.py`, which prints the table of
/// docs/export.md.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (out, all) = (tasks::root().join(&options.out), recipes()?);
    let is_known = |name: &&String| all.iter().any(|(own, _)| own == *name);
    if let Some(name) = options.names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = all.iter().map(|(name, _)| &**name).collect();
        return Err(format!("no recipe {name:?}: there are {}", known.join(", ")).into());
    }
    let mut folders = Vec::new();
    for (name, recipe) in all {
        if options.names.is_empty() || options.names.contains(&name) {
            let folder = out.join(&name);
            write(&name, &recipe, &folder).map_err(|error| format!("{name}: {error}"))?;
            folders.push(folder.display().to_string());
        }
    }
    let arguments: Vec<&str> = std::iter::once("xtask/golden/check_exports.py")
        .chain(folders.iter().map(String::as_str))
        .collect();
    tasks::call(&options.python, &arguments)
}
