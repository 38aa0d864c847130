//! Checkpoints: one safetensors file with the complete state of a run, and its checksum.
//!
//! `__metadata__` holds three strings: `schema` (the version of this layout), `meta`
//! ([`CheckpointMeta`] as JSON) and `checksum` (CRC-32C over names, types, shapes and values of all
//! tensors, and over `schema` and `meta`). Any program that reads safetensors can read the weights.
//!
//! ```
//! use runs::{ArtifactError, Checkpoint, CheckpointMeta, checkpoint};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("step-00000100.safetensors");
//! let meta = CheckpointMeta { step: 100, ..CheckpointMeta::default() };
//! let saved = Checkpoint { meta, ..Checkpoint::default() };
//! checkpoint::save(&path, &saved).unwrap();
//! assert_eq!(checkpoint::load(&path).unwrap(), saved);
//!
//! // A single changed byte is noticed: here the step in the metadata, 100.
//! let mut bytes = std::fs::read(&path).unwrap();
//! let at = bytes.windows(3).position(|window| window == b"100").unwrap();
//! bytes[at] = b'2';
//! std::fs::write(&path, bytes).unwrap();
//! assert!(matches!(checkpoint::load(&path), Err(ArtifactError::Checksum { .. })));
//! ```

use crate::ArtifactError;
use crate::container::{self, Container, Fingerprint, TensorInfo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::HostTensor;

/// The version of the layout that this program writes, and the newest that it reads.
pub const SCHEMA: u32 = 1;

/// Identifies the dataset that a run is trained on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetId {
    /// The dataset's name or path, as the user gave it.
    pub name: String,
    /// A digest of the contents, to detect other data under the same name.
    pub fingerprint: String,
}

/// The metadata of a checkpoint: everything that is not a tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Finished training steps.
    pub step: u64,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// The recipe's name.
    pub recipe_name: String,
    /// The training set.
    pub dataset: DatasetId,
    /// Data cursor, RNG counters and the rest of the loop's state. Finite `f64`, `u64` and `i64`
    /// are read back bit-exactly; JSON has no NaN or infinity.
    pub state: serde_json::Value,
    /// The numerics of the device that computed the run: its instruction set, or adapter, driver
    /// and precision.
    #[serde(rename = "instruction_set")]
    pub numerics_id: String,
    /// The version of the kernels that computed the run.
    #[serde(rename = "algorithm_table")]
    pub numerics_version: String,
}

/// The complete state of a run: what resuming needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The metadata.
    pub meta: CheckpointMeta,
    /// Weights, buffers, optimizer state and averages, by name.
    pub tensors: BTreeMap<String, HostTensor>,
}

impl Checkpoint {
    /// Identifies the networks: CRC-32C over the recipe and over names, types, shapes and values of
    /// all tensors, and nothing else of the file.
    pub fn identity(&self) -> String {
        Fingerprint::of(&self.tensors).checksum(&self.meta.recipe)
    }

    /// The tensors whose names have this prefix, such as `g.`, without it: a state dict.
    pub fn section(&self, prefix: &str) -> BTreeMap<String, HostTensor> {
        let own = self.tensors.iter().filter_map(|(name, tensor)| {
            Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()))
        });
        own.collect()
    }
}

/// The contents of a checkpoint without the tensors' values.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointHeader {
    /// The layout version of the file.
    pub schema: u32,
    /// The metadata.
    pub meta: CheckpointMeta,
    /// Names, types and shapes, sorted by name.
    pub tensors: Vec<TensorInfo>,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// Writes a checkpoint atomically: `path` is the old file or the whole new one, whatever happens.
///
/// # Errors
/// Returns an error if a tensor does not fill its shape or the file cannot be written; nothing of
/// the new file is left then.
pub fn save(path: &Path, checkpoint: &Checkpoint) -> Result<(), ArtifactError> {
    let meta = serde_json::to_string(&checkpoint.meta)
        .map_err(|error| ArtifactError::write(path)(error.into()))?;
    let checksum = checksum(&Fingerprint::of(&checkpoint.tensors), SCHEMA, &meta);
    let metadata =
        BTreeMap::from([("schema", SCHEMA.to_string()), ("meta", meta), ("checksum", checksum)]);
    container::write(path, &metadata, &checkpoint.tensors)
}

/// Reads a checkpoint and verifies its checksum. Allocates no more than the size of the file.
///
/// # Errors
/// Returns an error, with a variant for each, if the file cannot be read, is not a safetensors
/// file, is truncated, is not a checkpoint, was written by a newer version, or is damaged.
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

/// Reads the header and verifies the whole file as [`load`] does, but keeps no tensor: the memory
/// does not depend on the size of the networks.
///
/// # Errors
/// Returns the errors of [`load`].
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

/// Reads the metadata alone, without verifying it: to show it, where a damaged value does no harm.
/// The tensors are not read.
///
/// # Errors
/// Returns the errors of [`load`], except those of damaged tensors.
pub fn read_meta(path: &Path) -> Result<CheckpointMeta, ArtifactError> {
    Envelope::of(&Container::open(path)?, path)?.parse_meta(path)
}

fn checksum(tensors: &Fingerprint, schema: u32, meta: &str) -> String {
    tensors.checksum(&format!("{schema}\n{meta}"))
}

/// The three strings of the metadata.
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
        // Many programs write a `format` or even a `schema` of their own, but not these three
        // together. If only one of them is missing, the header was damaged.
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
            .map_err(|_| damaged(format!("its schema {schema:?} is not an integer")))?;
        if schema > SCHEMA {
            return Err(ArtifactError::NewerSchema {
                path: path.to_owned(),
                found: schema,
                supported: SCHEMA,
            });
        }
        if schema == 0 {
            return Err(damaged("its schema is 0, which no version writes".to_owned()));
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
            reason: format!("its metadata cannot be parsed: {error}"),
        })
    }
}
