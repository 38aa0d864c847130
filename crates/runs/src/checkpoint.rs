//! A checkpoint: one safetensors file with the run's whole state, and its checksum.
//!
//! `__metadata__` holds three strings: `schema` (this layout's version), `meta` ([`CheckpointMeta`] as JSON) and `checksum`
//! (CRC-32C over names, types, shapes and values of all tensors, and over `schema` and `meta`). Any program that reads
//! safetensors can read the weights.

use crate::container::{self, Container, Fingerprint, TensorInfo};
use crate::{Array, ArtifactError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the layout that this program writes, and the newest it reads.
pub const SCHEMA: u32 = 1;

/// The data that a run learns from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetId {
    /// What the user gave as `--data`.
    pub name: String,
    /// A digest of the content, to notice other data under the same name.
    pub fingerprint: String,
}

/// Everything of a checkpoint that is not a tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Finished training steps.
    pub step: u64,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// The recipe's name.
    pub recipe_name: String,
    /// What was trained on.
    pub dataset: DatasetId,
    /// Data cursor, RNG counters, update schedule and whatever else the loop needs to go on. Numbers come back
    /// bit-exactly (finite `f64`, `u64`, `i64`); JSON has no NaN or infinity.
    pub state: serde_json::Value,
    /// The numerics of the device that computed the run: its instruction set, or adapter, driver and precision.
    #[serde(rename = "instruction_set")]
    pub numerics_id: String,
    /// The version of the kernels that computed the run.
    #[serde(rename = "algorithm_table")]
    pub numerics_version: String,
}

/// A run's whole state: what `--resume` needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Everything that is not a tensor.
    pub meta: CheckpointMeta,
    /// Weights, buffers, moments, averages, by name.
    pub tensors: BTreeMap<String, Array>,
}

impl Checkpoint {
    /// What tells these networks from others: CRC-32C over the recipe and over names, types, shapes and values of all tensors. Nothing else of the
    /// file counts.
    pub fn identity(&self) -> String {
        Fingerprint::of(&self.tensors).checksum(&self.meta.recipe)
    }
}

/// What a checkpoint holds, short of the tensors' values.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointHeader {
    /// The layout version of the file.
    pub schema: u32,
    /// Everything that is not a tensor.
    pub meta: CheckpointMeta,
    /// Names, types and shapes, sorted by name.
    pub tensors: Vec<TensorInfo>,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes a checkpoint atomically: `path` is the old file or the whole new one, whatever happens.
///
/// # Errors
/// An array that does not fill its shape, or the disk; then nothing of the new file is left behind.
pub fn save(path: &Path, checkpoint: &Checkpoint) -> Result<(), ArtifactError> {
    let meta = serde_json::to_string(&checkpoint.meta)
        .map_err(|error| ArtifactError::write(path)(error.into()))?;
    let checksum = checksum(&Fingerprint::of(&checkpoint.tensors), SCHEMA, &meta);
    let metadata =
        BTreeMap::from([("schema", SCHEMA.to_string()), ("meta", meta), ("checksum", checksum)]);
    container::write(path, &metadata, &checkpoint.tensors)
}

/// Reads a checkpoint and verifies every byte that matters.
///
/// # Errors
/// Each its own: cannot be read; no safetensors file; truncated; a safetensors file that is no checkpoint; written by
/// a newer version; damaged. Nothing is allocated beyond the size of the file.
pub fn load(path: &Path) -> Result<Checkpoint, ArtifactError> {
    read(Container::open(path)?, path)
}

/// [`load`] from bytes that errors call `name`.
pub(crate) fn load_bytes(name: &str, bytes: &'static [u8]) -> Result<Checkpoint, ArtifactError> {
    let path = Path::new(name);
    read(Container::read(path, Box::new(bytes), bytes.len() as u64)?, path)
}

fn read(container: Container, path: &Path) -> Result<Checkpoint, ArtifactError> {
    let envelope = Envelope::of(&container, path)?;
    let (tensors, fingerprint) = container.read_tensors()?;
    envelope.verify(&fingerprint, path)?;
    Ok(Checkpoint { meta: envelope.parse_meta(path)?, tensors })
}

/// Reads the header and verifies the whole file as [`load`] does, but keeps no tensor: little memory, however large the networks.
///
/// # Errors
/// As [`load`].
pub fn inspect(path: &Path) -> Result<CheckpointHeader, ArtifactError> {
    let container = Container::open(path)?;
    let envelope = Envelope::of(&container, path)?;
    let (tensors, bytes) = (container.infos(), container.bytes);
    envelope.verify(&container.fingerprint()?, path)?;
    Ok(CheckpointHeader {
        schema: envelope.schema,
        meta: envelope.parse_meta(path)?,
        tensors,
        bytes,
    })
}

fn checksum(tensors: &Fingerprint, schema: u32, meta: &str) -> String {
    tensors.checksum(&format!("{schema}\n{meta}"))
}

/// The three strings of the metadata, as found.
struct Envelope {
    schema: u32,
    meta: String,
    checksum: String,
}

impl Envelope {
    fn of(container: &Container, path: &Path) -> Result<Self, ArtifactError> {
        let damaged = |reason: String| ArtifactError::Damaged { path: path.to_owned(), reason };
        let text = |key: &str| container.metadata.get(key).cloned();
        let (schema, meta, checksum) = (text("schema"), text("meta"), text("checksum"));
        // Many programs write a `format` or even a `schema` of their own; all three together are ours. With one
        // of them missing the header was damaged.
        let (schema, meta, checksum) = match (schema, meta, checksum) {
            (Some(schema), Some(meta), Some(checksum)) => (schema, meta, checksum),
            (None, None, _) | (None, _, None) | (_, None, None) => {
                return Err(ArtifactError::NotCheckpoint { path: path.to_owned() });
            }
            _ => {
                return Err(damaged(
                    "its header lacks one of schema, meta and checksum".to_owned(),
                ));
            }
        };
        let schema: u32 = schema
            .parse()
            .map_err(|_| damaged(format!("its schema is {schema:?}, which is no number")))?;
        if schema > SCHEMA {
            return Err(ArtifactError::NewerSchema {
                path: path.to_owned(),
                found: schema,
                supported: SCHEMA,
            });
        }
        if schema == 0 {
            return Err(damaged("its schema is 0, which no version wrote".to_owned()));
        }
        Ok(Self { schema, meta, checksum })
    }

    fn verify(&self, tensors: &Fingerprint, path: &Path) -> Result<(), ArtifactError> {
        let actual = checksum(tensors, self.schema, &self.meta);
        if actual == self.checksum {
            return Ok(());
        }
        Err(ArtifactError::Checksum {
            path: path.to_owned(),
            expected: self.checksum.clone(),
            actual,
        })
    }

    fn parse_meta(&self, path: &Path) -> Result<CheckpointMeta, ArtifactError> {
        serde_json::from_str(&self.meta).map_err(|error| ArtifactError::Damaged {
            path: path.to_owned(),
            reason: format!("its metadata cannot be understood: {error}"),
        })
    }
}
