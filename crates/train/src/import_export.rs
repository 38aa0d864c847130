//! Import and export of weights: state dicts with the names of PyTorch's DCGAN example, with the
//! modules that load them, ONNX graphs, and the arrays that the paper's authors released.

use crate::TrainError;
use crate::checkpoint_state::meta;
use crate::sampler::{generator_condition, load_discriminator, load_generator};
use nn::export::onnx::{self, OnnxOptions};
use nn::export::pytorch;
use nn::recipe::{LatentDistribution, NetworkRole, TensorShapes};
use nn::{Network, NnError, Recipe, StateDict};
use runs::{ArtifactError, Checkpoint, DatasetId, StateDictFile, StateDictInfo, UnreadEntry};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tensor::rng::Philox;
use tensor::{Device, HostTensor};

/// Imported weights.
pub struct Import {
    /// A checkpoint of step 0, without a training state.
    pub checkpoint: Checkpoint,
    /// The given recipe, or the one that was found.
    pub recipe: Recipe,
    /// The keys that lead to G's tensors in its file, joined by dots; empty if the file is the
    /// state dict.
    pub generator: String,
    /// The same for D; `None` if it has fresh weights.
    pub discriminator: Option<String>,
    /// What the files hold beside tensors.
    pub unread: Vec<UnreadEntry>,
}

/// Imports PyTorch state dicts, from safetensors files or those of `torch.save`.
///
/// Without a recipe, it is found by the names and shapes of the tensors. Of several dicts in a file
/// the one is taken that fits the recipe, or any if there is none. Without a file for the
/// discriminator, it is taken from the generator's file, if one dict there fits, and gets fresh
/// weights (seed 0) otherwise. A prefix that all names of a dict share is ignored, and a missing
/// `num_batches_tracked` is 0.
///
/// # Errors
/// Returns an error if a file cannot be read, if several dicts fit, if names or shapes are not
/// those of the recipe or of any, or if a weight is NaN or infinite.
pub fn import(
    recipe: Option<&Recipe>,
    generator: &Path,
    discriminator: Option<&Path>,
) -> Result<Import, TrainError> {
    let g_file = StateDictFile::open(generator)?;
    let fits_g = |shapes: &TensorShapes| match recipe {
        Some(recipe) => recipe.check_shapes(NetworkRole::Generator, shapes),
        None => Recipe::of_state_dicts(shapes, None).map(drop),
    };
    let g_dicts = shapes(&g_file);
    let (g_key, g_shapes) = choose(generator, &g_dicts, fits_g)?;
    let fits_d = |shapes: &TensorShapes| match recipe {
        Some(recipe) => recipe.check_shapes(NetworkRole::Discriminator, shapes),
        None => Recipe::of_state_dicts(g_shapes, Some(shapes)).map(drop),
    };
    let d_dicts;
    let (d_path, chosen) = match discriminator {
        Some(path) => {
            d_dicts = shapes(&StateDictFile::open(path)?);
            (path, Some(choose(path, &d_dicts, fits_d)?))
        }
        None => {
            let mut others =
                g_dicts.iter().filter(|(key, shapes)| key != g_key && fits_d(shapes).is_ok());
            let only = others.next().filter(|_| others.next().is_none());
            (generator, only.map(|(key, shapes)| (key.as_str(), shapes)))
        }
    };
    let recipe = match recipe {
        Some(recipe) => recipe.clone(),
        None => with_path_context(
            chosen.map_or(generator, |_| d_path),
            Recipe::of_state_dicts(g_shapes, chosen.map(|(_, shapes)| shapes)),
        )?,
    };
    let networks = recipe.build(&mut Philox::new(0, 0))?;
    with_path_context(generator, networks.0.import_state_dict(g_file.read(g_key)?))?;
    let mut unread = StateDictFile::open(generator)?.into_unread();
    if let Some((key, _)) = chosen {
        let state = StateDictFile::open(d_path)?.read(key)?;
        with_path_context(d_path, networks.1.import_state_dict(state))?;
    }
    if let Some(path) = discriminator.filter(|path| *path != generator) {
        unread.extend(StateDictFile::open(path)?.into_unread());
    }
    Ok(Import {
        checkpoint: checkpoint_from_networks(&recipe, &networks),
        recipe,
        generator: g_key.to_owned(),
        discriminator: chosen.map(|(key, _)| key.to_owned()),
        unread,
    })
}

fn shapes(file: &StateDictFile) -> Vec<(String, TensorShapes)> {
    let of = |dict: StateDictInfo| {
        let shapes = dict.tensors.into_iter().map(|tensor| (tensor.name, tensor.shape));
        (dict.key, shapes.collect())
    };
    file.dicts().into_iter().map(of).collect()
}

/// The only dict, or the only one that fits.
fn choose<'a>(
    path: &Path,
    dicts: &'a [(String, TensorShapes)],
    fits: impl Fn(&TensorShapes) -> Result<(), NnError>,
) -> Result<(&'a str, &'a TensorShapes), TrainError> {
    if let [(key, shapes)] = dicts {
        return Ok((key, shapes));
    }
    let fitting: Vec<_> = dicts.iter().filter(|(_, shapes)| fits(shapes).is_ok()).collect();
    if let [(key, shapes)] = fitting[..] {
        return Ok((key, shapes));
    }
    let of = |dicts: &mut dyn Iterator<Item = &(String, TensorShapes)>| {
        dicts.map(|(key, _)| key.clone()).collect()
    };
    let keys = match fitting.is_empty() {
        true => of(&mut dicts.iter()),
        false => of(&mut fitting.into_iter()),
    };
    Err(ArtifactError::SeveralDicts { path: path.to_owned(), keys }.into())
}

/// The checkpoint of the SVHN networks that the DCGAN authors released, from a folder of
/// `200_gen_params.jl_NN.npy` and `200_discrim_params.jl_NN.npy`. They have no running statistics.
///
/// # Errors
/// Returns an error if a file is missing, damaged or of another shape.
pub fn import_newmu_svhn(folder: &Path) -> Result<Checkpoint, TrainError> {
    let arrays = |part: &str, count: usize| -> Result<Vec<HostTensor>, TrainError> {
        (1..=count)
            .map(|i| Ok(runs::read_npy(&folder.join(format!("200_{part}_params.jl_{i:02}.npy")))?))
            .collect()
    };
    let (g, d) = nn::newmu_svhn_state(&arrays("gen", 10)?, &arrays("discrim", 8)?)?;
    let recipe = Recipe::preset("newmu-svhn")?;
    let networks = recipe.build(&mut Philox::new(0, 0))?;
    networks.0.load_state_dict(&g)?;
    networks.1.load_state_dict(&d)?;
    Ok(checkpoint_from_networks(&recipe, &networks))
}

fn checkpoint_from_networks(recipe: &Recipe, (g, d): &(Network, Network)) -> Checkpoint {
    let prefixed = |prefix: &'static str, state: StateDict| {
        state.into_iter().map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
    };
    let tensors = prefixed("g.", g.state_dict()).chain(prefixed("d.", d.state_dict())).collect();
    Checkpoint {
        meta: meta(
            recipe,
            0,
            DatasetId::default(),
            serde_json::Value::Null,
            Device::Cpu.numerics_id(),
        ),
        tensors,
    }
}

fn with_path_context<T>(path: &Path, result: Result<T, NnError>) -> Result<T, TrainError> {
    result.map_err(|source| TrainError::Weights { path: path.to_owned(), source: Box::new(source) })
}

/// Writes a checkpoint's networks for PyTorch into `folder`: the state dicts
/// `generator.safetensors` and `discriminator.safetensors`, and beside each the Python file of a
/// module that loads it, `generator.py` and `discriminator.py`. The generator is the EMA of G where
/// there is one, with recalibrated statistics. A checkpoint of a generator alone has no files of D.
/// Existing files are only overwritten with `force`.
///
/// # Errors
/// Returns [`TrainError::FileExists`] without `force`, and an error if a file cannot be written.
pub fn export(
    checkpoint: &Checkpoint,
    folder: &Path,
    force: bool,
) -> Result<Vec<PathBuf>, TrainError> {
    let (recipe, generator, _) = load_generator(checkpoint, None, &Device::Cpu)?;
    let module = pytorch::generator(&recipe, &generator)?;
    let mut networks = vec![("generator", generator.state_dict(), module)];
    if let Some((recipe, discriminator, _)) = load_discriminator(checkpoint, &Device::Cpu)? {
        let module = pytorch::discriminator(&recipe, &discriminator)?;
        networks.push(("discriminator", checkpoint.section("d."), module));
    }
    let files: Vec<[PathBuf; 2]> = networks
        .iter()
        .map(|(name, ..)| ["safetensors", "py"].map(|kind| folder.join(format!("{name}.{kind}"))))
        .collect();
    let exists = |file: &&PathBuf| file.symlink_metadata().is_ok() && !force;
    if let Some(path) = files.iter().flatten().find(exists) {
        return Err(TrainError::FileExists { path: path.clone() });
    }
    std::fs::create_dir_all(folder)
        .map_err(|source| TrainError::CreateFolder { path: folder.to_owned(), source })?;
    for ([weights, python], (_, state, module)) in files.iter().zip(&networks) {
        runs::write_state_dict(weights, state)?;
        runs::write_atomic(python, |file| file.write_all(module.as_bytes()))?;
    }
    Ok(files.into_iter().flatten().collect())
}

/// Writes a checkpoint's generator or discriminator as an ONNX file. The generator computes what
/// [`Sampler`](crate::Sampler) does: it is the EMA of G where there is one, with recalibrated
/// statistics. The file's metadata are those of `options` and: `name` (the given one, or that of
/// dataset and recipe), `network`, `recipe`, `step`, `hash` (of the checkpoint's networks), of a
/// generator `latent_size`, `latent_distribution` and `range` of the images, and the `conditions`'
/// names, as JSON.
///
/// # Errors
/// Returns [`TrainError::GeneratorAlone`] and [`TrainError::NoRunningStatistics`] for a
/// discriminator that cannot be exported, and an error if a layer has no translation, a weight is
/// too large for half precision, or the file cannot be written.
pub fn export_onnx(
    checkpoint: &Checkpoint,
    name: Option<&str>,
    role: NetworkRole,
    options: &OnnxOptions,
    file: &Path,
) -> Result<(), TrainError> {
    let (recipe, network) = match role {
        NetworkRole::Generator => {
            let (recipe, generator, _) = load_generator(checkpoint, None, &Device::Cpu)?;
            (recipe, generator)
        }
        NetworkRole::Discriminator => match load_discriminator(checkpoint, &Device::Cpu)? {
            None => return Err(TrainError::GeneratorAlone),
            Some((_, _, false)) => return Err(TrainError::NoRunningStatistics),
            Some((recipe, discriminator, true)) => (recipe, discriminator),
        },
    };
    let mut options = options.clone();
    options.metadata.extend(describe(checkpoint, name, &recipe, role, options.bytes));
    let bytes = match role {
        NetworkRole::Generator => onnx::generator(&recipe, &network, &options)?,
        NetworkRole::Discriminator => onnx::discriminator(&recipe, &network, &options)?,
    };
    Ok(runs::write_atomic(file, |file| file.write_all(&bytes))?)
}

/// What an ONNX file says about its network.
fn describe(
    checkpoint: &Checkpoint,
    name: Option<&str>,
    recipe: &Recipe,
    role: NetworkRole,
    bytes: bool,
) -> Vec<(String, String)> {
    let meta = &checkpoint.meta;
    let name = name.map_or_else(
        || {
            // Of a dataset that was given by its path, the last part.
            let dataset = Path::new(&meta.dataset.name).file_stem();
            let dataset = dataset.map(|dataset| dataset.to_string_lossy().into_owned());
            dataset.into_iter().chain([recipe.name.clone()]).collect::<Vec<_>>().join("-")
        },
        str::to_owned,
    );
    let mut entries = vec![
        ("name", name),
        ("recipe", recipe.name.clone()),
        ("step", meta.step.to_string()),
        ("hash", checkpoint.identity()),
    ];
    let condition = match role {
        NetworkRole::Discriminator => {
            entries.push(("network", "discriminator".into()));
            // D's class logits have names, too.
            recipe.condition.as_ref()
        }
        NetworkRole::Generator => {
            let distribution = match recipe.generator.distribution {
                LatentDistribution::Normal => "N(0, 1)",
                LatentDistribution::Uniform => "U(-1, 1)",
            };
            entries.push(("network", "generator".into()));
            entries.push(("latent_size", recipe.generator.latent.to_string()));
            entries.push(("latent_distribution", distribution.into()));
            entries.push(("range", if bytes { "[0, 255]" } else { "[-1, 1]" }.into()));
            generator_condition(recipe)
        }
    };
    if let Some(condition) = condition.filter(|condition| !condition.names.is_empty()) {
        entries.push(("conditions", serde_json::Value::from(condition.names.clone()).to_string()));
    }
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Writes a checkpoint that holds only what sampling needs: the generator (its EMA where there is
/// one), the recipe, and the identity of the dataset. A run cannot be resumed from it.
///
/// # Errors
/// Returns an error if the weights are not those of the recipe or the file cannot be written.
pub fn export_generator(checkpoint: &Checkpoint, file: &Path) -> Result<(), TrainError> {
    let (_, generator, _) = load_generator(checkpoint, None, &Device::Cpu)?;
    let tensors = generator
        .state_dict()
        .into_iter()
        .map(|(name, tensor)| (format!("g.{name}"), tensor))
        .collect();
    let meta = runs::CheckpointMeta { state: serde_json::Value::Null, ..checkpoint.meta.clone() };
    Ok(runs::checkpoint::save(file, &Checkpoint { meta, tensors })?)
}
