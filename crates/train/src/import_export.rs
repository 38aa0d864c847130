//! Import and export of weights: state dicts with the names of PyTorch's DCGAN example, and the
//! arrays that the paper's authors released.

use crate::TrainError;
use crate::checkpoint_state::meta;
use crate::sampler::load_generator;
use nn::{Network, Recipe, StateDict};
use runs::{Checkpoint, DatasetId};
use std::path::{Path, PathBuf};
use tensor::rng::Philox;
use tensor::{Device, HostTensor};

/// A checkpoint (step 0, no training state) from PyTorch state dicts in safetensors files. Without
/// a file for the discriminator, it gets fresh weights (seed 0). A prefix that all names of a file
/// share is ignored, and a missing `num_batches_tracked` is 0.
///
/// # Errors
/// Returns an error if a file cannot be read, if names or shapes are not those of the recipe, or if
/// a weight is NaN or infinite.
pub fn import(
    recipe: &Recipe,
    generator: &Path,
    discriminator: Option<&Path>,
) -> Result<Checkpoint, TrainError> {
    let networks = recipe.build(&mut Philox::new(0, 0))?;
    with_path_context(generator, networks.0.import_state_dict(runs::read_state_dict(generator)?))?;
    if let Some(path) = discriminator {
        with_path_context(path, networks.1.import_state_dict(runs::read_state_dict(path)?))?;
    }
    Ok(checkpoint_from_networks(recipe, &networks))
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

fn with_path_context(path: &Path, result: Result<(), nn::NnError>) -> Result<(), TrainError> {
    result.map_err(|source| TrainError::Weights { path: path.to_owned(), source: Box::new(source) })
}

/// Writes a checkpoint's networks as PyTorch state dicts, `generator.safetensors` and
/// `discriminator.safetensors`, into `folder`. The generator is the EMA of G where there is one,
/// with recalibrated statistics. Existing files are only overwritten with `force`.
///
/// # Errors
/// Returns [`TrainError::FileExists`] without `force`, and an error if a file cannot be written.
pub fn export(
    checkpoint: &Checkpoint,
    folder: &Path,
    force: bool,
) -> Result<[PathBuf; 2], TrainError> {
    let (_, generator, _) = load_generator(checkpoint, None, &Device::Cpu)?;
    let files = [folder.join("generator.safetensors"), folder.join("discriminator.safetensors")];
    if let Some(path) = files.iter().find(|file| file.symlink_metadata().is_ok() && !force) {
        return Err(TrainError::FileExists { path: path.clone() });
    }
    std::fs::create_dir_all(folder)
        .map_err(|source| TrainError::CreateFolder { path: folder.to_owned(), source })?;
    runs::write_state_dict(&files[0], &generator.state_dict())?;
    runs::write_state_dict(&files[1], &checkpoint.section("d."))?;
    Ok(files)
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
