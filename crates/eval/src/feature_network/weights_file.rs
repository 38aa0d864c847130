//! A feature network on disk: one safetensors file with a checksum, like a checkpoint.

use super::{Description, FeatureNetwork, architecture};
use crate::EvalError;
use nn::Network;
use runs::{Checkpoint, CheckpointMeta, checkpoint};
use sha2::{Digest, Sha256};
use std::path::Path;
use tensor::rng::Philox;
use tensor::{Device, TensorData};

/// The kind of file in its metadata, where a checkpoint has its recipe's name.
const KIND: &str = "feature-network";
/// The most pixels of a side, as for any image: a damaged description must not ask for more.
const MAX_SIDE: usize = data::MAX_SIDE as usize;

/// The first 32 bits of the SHA-256 of all parameters and running statistics, in hexadecimal.
pub(super) fn hash(network: &Network) -> String {
    let mut hash = Sha256::new();
    for (name, value) in network.state_dict() {
        hash.update(name.as_bytes());
        hash.update([0]);
        value.shape.iter().for_each(|&axis| hash.update((axis as u64).to_le_bytes()));
        match value.data {
            TensorData::F32(data) => data.iter().for_each(|v| hash.update(v.to_le_bytes())),
            TensorData::I64(data) => data.iter().for_each(|v| hash.update(v.to_le_bytes())),
        }
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

impl FeatureNetwork {
    /// Writes the network atomically: the file is the old one or the whole new one.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), EvalError> {
        let state = serde_json::to_value(&self.description).map_err(|e| {
            EvalError::FeatureNetworkFile { path: path.into(), problem: e.to_string() }
        })?;
        let meta = CheckpointMeta {
            recipe_name: KIND.into(),
            state,
            numerics_id: self.device.numerics_id(),
            ..CheckpointMeta::default()
        };
        let tensors = self.network.state_dict();
        Ok(checkpoint::save(path, &Checkpoint { meta, tensors })?)
    }

    /// Reads a file that [`save`](Self::save) wrote, to compute on `device`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is damaged, or holds something else.
    pub fn load(path: &Path, device: &Device) -> Result<Self, EvalError> {
        let Checkpoint { meta, tensors } = checkpoint::load(path)?;
        if meta.recipe_name != KIND {
            return Err(EvalError::CheckpointAsFeatureNetwork { path: path.into() });
        }
        let wrong = |problem: String| EvalError::FeatureNetworkFile { path: path.into(), problem };
        let description: Description = serde_json::from_value(meta.state)
            .map_err(|e| wrong(format!("its description is invalid ({e})")))?;
        let [height, width, channels] = description.preprocess.shape();
        let outputs = description.targets.outputs();
        if height.max(width) > MAX_SIDE
            || height.min(width) < 1
            || !(1..=4).contains(&channels)
            || outputs == 0
        {
            return Err(wrong(format!("it describes images of {height}x{width}x{channels}")));
        }
        let network =
            architecture::build([height, width, channels], outputs, &mut Philox::new(0, 0));
        network.load_state_dict(&tensors)?;
        Ok(Self::new(description, network, device))
    }
}
