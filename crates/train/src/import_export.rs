//! Weights in and out: state dicts of the PyTorch example, and the paper's authors' own arrays.

use crate::TrainError;
use crate::checkpoint_state::meta;
use crate::sampler::load_generator;
use nn::{Network, Recipe, StateDict};
use runs::{Checkpoint, DatasetId};
use std::path::{Path, PathBuf};
use tensor::rng::Philox;
use tensor::{Device, HostTensor};

/// A checkpoint (step 0, no training state) from PyTorch state dicts in safetensors files. Without a discriminator, a fresh one (seed
/// 0) stands in for it.
///
/// # Errors
/// Files that cannot be read, or names or shapes that are not the recipe's.
pub fn import(
    recipe: &Recipe,
    generator: &Path,
    discriminator: Option<&Path>,
) -> Result<Checkpoint, TrainError> {
    let networks = recipe.build(&mut Philox::new(0, 0))?;
    with_path_context(generator, networks.0.load_state_dict(&runs::read_state_dict(generator)?))?;
    if let Some(path) = discriminator {
        with_path_context(path, networks.1.load_state_dict(&runs::read_state_dict(path)?))?;
    }
    Ok(checkpoint_from_networks(recipe, &networks))
}

/// The checkpoint of the SVHN networks that the DCGAN authors released, from a folder of `200_gen_params.jl_NN.npy` and
/// `200_discrim_params.jl_NN.npy`. They have no running statistics.
///
/// # Errors
/// Files that are missing, damaged or of other shapes.
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
        state.into_iter().map(move |(name, array)| (format!("{prefix}{name}"), array))
    };
    let tensors = prefixed("g.", g.state_dict()).chain(prefixed("d.", d.state_dict())).collect();
    Checkpoint {
        meta: meta(recipe, 0, DatasetId::default(), serde_json::Value::Null, &Device::Cpu),
        tensors,
    }
}

fn with_path_context(path: &Path, result: Result<(), nn::NnError>) -> Result<(), TrainError> {
    result.map_err(|e| TrainError::Mismatch(format!("{}: {e}", path.display())))
}

/// Writes a checkpoint's networks as PyTorch state dicts, `generator.safetensors` and `discriminator.safetensors`, into `folder`; the
/// generator is the average over training where there is one, with statistics measured anew for it. Existing files are not touched, unless `force`.
///
/// # Errors
/// A file that is there already, or the disk.
pub fn export(
    checkpoint: &Checkpoint,
    folder: &Path,
    force: bool,
) -> Result<[PathBuf; 2], TrainError> {
    let (_, generator, _) = load_generator(checkpoint, None, &Device::Cpu)?;
    let files = [folder.join("generator.safetensors"), folder.join("discriminator.safetensors")];
    if let Some(there) = files.iter().find(|f| f.exists() && !force) {
        return Err(TrainError::Setting(format!(
            "{there:?} is there already: choose another --out, or write over it with --force"
        )));
    }
    std::fs::create_dir_all(folder)
        .map_err(|e| TrainError::Setting(format!("cannot create {}: {e}", folder.display())))?;
    runs::write_state_dict(&files[0], &generator.state_dict())?;
    runs::write_state_dict(&files[1], &checkpoint.section("d."))?;
    Ok(files)
}

/// Writes what `sample` needs of a checkpoint and nothing else, as a checkpoint of its own: the generator (its average over training where there is
/// one), the recipe, and what it learned from. It cannot be trained on.
///
/// # Errors
/// The disk.
pub fn export_generator(checkpoint: &Checkpoint, file: &Path) -> Result<(), TrainError> {
    let (_, generator, _) = load_generator(checkpoint, None, &Device::Cpu)?;
    let tensors = generator
        .state_dict()
        .into_iter()
        .map(|(name, array)| (format!("g.{name}"), array))
        .collect();
    let meta = runs::CheckpointMeta { state: serde_json::Value::Null, ..checkpoint.meta.clone() };
    Ok(runs::checkpoint::save(file, &Checkpoint { meta, tensors })?)
}
