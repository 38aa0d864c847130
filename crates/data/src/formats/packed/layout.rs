//! The layout of a packed file.

use std::fs::File;
use std::path::Path;

use rawzip::{FileReader, ReaderAt as _};
use serde::{Deserialize, Serialize};

use crate::attributes::Attribute;
use crate::decode::one_line;
use crate::error::{DataError, FileProblem};
use crate::preprocess::Preprocess;
use crate::source::Digest;

pub(crate) const FORMAT_NAME: &str = "packed file";
/// The first bytes of a packed file; the last one is the version.
pub(crate) const MAGIC: &[u8; 8] = b"DCGANPK1";
pub(crate) const HEAD: usize = 64;

const END: &[u8; 8] = b"DCGANEND";
/// Bytes after the footer: its length, checksum and end mark.
const TAIL: u64 = 8 + 4 + 8;
/// The label of an image without one.
const NO_LABEL: u32 = u32::MAX;

/// The lengths of a record's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordLayout {
    pub image: usize,
    pub columns: usize,
}

/// A record's fields except its pixels.
pub(crate) struct RecordFields {
    pub digest: Digest,
    /// The image's index in the dataset that was packed.
    pub number: u32,
    pub label: Option<u32>,
    pub attributes: Vec<f32>,
}

/// The footer, which is known once all records are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Footer {
    pub images: u32,
    pub preprocess: Preprocess,
    #[serde(alias = "labelled")]
    pub labeled: bool,
    pub class_names: Vec<String>,
    pub columns: Vec<Attribute>,
    /// Fingerprint of the dataset that was packed, under this preprocessing.
    pub fingerprint: String,
    /// Bytes of all names.
    pub name_bytes: u64,
    /// CRC-32C of the names and their offsets; files from before it was written have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names_checksum: Option<u32>,
}

impl RecordLayout {
    /// Bytes of a record.
    pub fn record(self) -> usize {
        self.image + 32 + 4 + 4 + 4 * self.columns + 4
    }

    /// Appends a record to `out`.
    pub fn push(self, out: &mut Vec<u8>, pixels: &[u8], fields: &RecordFields) {
        let start = out.len();
        out.extend_from_slice(pixels);
        out.extend_from_slice(&fields.digest);
        out.extend_from_slice(&fields.number.to_le_bytes());
        out.extend_from_slice(&fields.label.unwrap_or(NO_LABEL).to_le_bytes());
        fields.attributes.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        let sum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
    }

    /// Whether a record's checksum is right.
    pub fn is_whole(self, record: &[u8]) -> bool {
        let (content, sum) = record.split_at(record.len() - 4);
        crc32c::crc32c(content).to_le_bytes() == sum
    }

    /// The fields of a record, valid or not.
    pub fn fields(self, record: &[u8]) -> RecordFields {
        let rest = &record[self.image..];
        let number =
            |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let mut digest = [0; 32];
        digest.copy_from_slice(&rest[..32]);
        let attributes = (0..self.columns).map(|k| f32::from_bits(number(40 + 4 * k))).collect();
        RecordFields {
            digest,
            number: number(32),
            label: Some(number(36)).filter(|&label| label != NO_LABEL),
            attributes,
        }
    }

    /// The first bytes of a file with this layout and plan.
    pub fn head(self, plan: &Digest) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        // Images are at most 2³⁰ bytes, and columns fit a table in memory.
        head[8..12].copy_from_slice(&(self.image as u32).to_le_bytes());
        head[12..16].copy_from_slice(&(self.columns as u32).to_le_bytes());
        head[16..48].copy_from_slice(plan);
        let sum = crc32c::crc32c(&head[..60]);
        head[60..].copy_from_slice(&sum.to_le_bytes());
        head
    }

    /// The layout and the plan that a head declares.
    pub fn of_head(head: &[u8; HEAD]) -> Result<(Self, Digest), FileProblem> {
        if &head[..8] != MAGIC {
            let problem = match head.strip_prefix(&MAGIC[..7]) {
                Some([version, ..]) => {
                    let version = char::from(*version);
                    format!("it is of version {version:?}; this program reads version 1")
                }
                _ => "it does not start like one".to_owned(),
            };
            return Err(FileProblem::Unsupported(problem));
        }
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if crc32c::crc32c(&head[..60]) != number(60) {
            return Err(FileProblem::Damaged("its first bytes".to_owned()));
        }
        let mut plan = [0; 32];
        plan.copy_from_slice(&head[16..48]);
        Ok((Self { image: number(8) as usize, columns: number(12) as usize }, plan))
    }
}

impl Footer {
    pub fn layout(&self) -> RecordLayout {
        RecordLayout { image: self.preprocess.image_len(), columns: self.columns.len() }
    }

    /// The footer with length, checksum and end mark.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = serde_json::to_vec(self).map_err(|error| one_line(&error))?;
        let (length, sum) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes.extend_from_slice(END);
        Ok(bytes)
    }

    /// The offset of the names: after the records.
    pub fn names_at(&self) -> u64 {
        (HEAD as u64)
            .saturating_add(u64::from(self.images).saturating_mul(self.layout().record() as u64))
    }

    /// Bytes of the names and their offsets.
    pub fn names_len(&self) -> u64 {
        (8 * (u64::from(self.images) + 1)).saturating_add(self.name_bytes)
    }

    fn is_valid(&self, length: u64) -> bool {
        self.preprocess.validate().is_ok()
            && self.images > 0
            && self.labeled != self.class_names.is_empty()
            && self.names_at().checked_add(self.names_len()) == Some(length)
    }
}

/// Opens a finished packed file and reads its footer.
pub(crate) fn read_footer(path: &Path) -> Result<(File, Footer), DataError> {
    let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, path, problem);
    let as_io = |error| DataError::Io { path: path.to_owned(), error };
    let file = file_io::open(path).map_err(as_io)?;
    let length = file.metadata().map_err(as_io)?.len();
    let reader = FileReader::from(file);
    let mut head = [0; HEAD];
    if length < HEAD as u64 + TAIL {
        let problem = format!("{length} bytes are too few for one");
        return Err(bad(FileProblem::Truncated(problem)));
    }
    reader.read_exact_at(&mut head, 0).map_err(as_io)?;
    let (layout, _) = RecordLayout::of_head(&head).map_err(bad)?;
    let mut tail = [0; TAIL as usize];
    reader.read_exact_at(&mut tail, length - TAIL).map_err(as_io)?;
    if &tail[12..] != END {
        let problem = "its end, which is written last, is missing".to_owned();
        return Err(bad(FileProblem::Truncated(problem)));
    }
    let size = tail.first_chunk().map_or(u64::MAX, |size| u64::from_le_bytes(*size));
    let available = length - HEAD as u64 - TAIL;
    if size > available {
        let problem = format!("a footer of {size} bytes is declared where {available} are left");
        return Err(bad(FileProblem::Truncated(problem)));
    }
    let mut bytes = vec![0; size as usize];
    reader.read_exact_at(&mut bytes, length - TAIL - size).map_err(as_io)?;
    if crc32c::crc32c(&bytes).to_le_bytes() != tail[8..12] {
        return Err(bad(FileProblem::Damaged("its footer".to_owned())));
    }
    let footer: Footer = serde_json::from_slice(&bytes)
        .map_err(|error| bad(FileProblem::Damaged(one_line(&error))))?;
    if !footer.is_valid(length - TAIL - size) || footer.layout() != layout {
        let problem = "its footer does not fit its length".to_owned();
        return Err(bad(FileProblem::Damaged(problem)));
    }
    Ok((reader.into_inner(), footer))
}
