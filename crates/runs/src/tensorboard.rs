//! TensorBoard event files: protobuf messages in TFRecord frames.
//!
//! ```
//! use runs::EventWriter;
//!
//! let dir = tempfile::tempdir().unwrap();
//! let mut events = EventWriter::create(dir.path(), None).unwrap();
//! events.scalars(100, &[("loss/d", 1.38), ("loss/g", 0.69)]).unwrap();
//! events.sync().unwrap();
//! let name = events.path().file_name().unwrap().to_str().unwrap();
//! assert!(name.starts_with("events.out.tfevents."));
//! ```
//!
//! A frame is length (u64), masked CRC of the length (u32), message, masked CRC of the message
//! (u32), little-endian (tensorflow/core/lib/io/record_writer.h). Only the fields of `event.proto`
//! and `summary.proto` that are written here are declared.

use crate::ArtifactError;
use crate::grid::encode;
use image::DynamicImage;
use prost::{Enumeration, Message, Oneof};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, PartialEq, Message)]
struct EventRecord {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "Payload", tags = "3, 5, 7")]
    what: Option<Payload>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Payload {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Content", tags = "2, 4")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Content {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "4")]
    Image(ProtoImage),
}

#[derive(Clone, PartialEq, Message)]
struct ProtoImage {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// The number of channels.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(enumeration = "SessionStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum SessionStatus {
    Unspecified = 0,
    Start = 1,
}

/// The prefix by which TensorBoard finds event files.
pub(crate) const PREFIX: &str = "events.out.tfevents.";

/// Writes one `events.out.tfevents.*` file. A resumed run adds another one to the first.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
    /// Bytes of complete frames; a failed write is truncated to this length.
    len: u64,
}

impl EventWriter {
    /// Creates an event file in `dir`, named to sort after the existing ones: TensorBoard reads
    /// them in that order.
    ///
    /// `resumed_at` is the step of the checkpoint that training resumes from; TensorBoard then
    /// drops the events of later steps in earlier files.
    ///
    /// # Errors
    /// Returns an error if the file cannot be created or written.
    pub fn create(dir: &Path, resumed_at: Option<u64>) -> Result<Self, ArtifactError> {
        let mut second =
            now().as_secs().max(newest_second(dir)?.map_or(0, |second| second.saturating_add(1)));
        let (path, file) = loop {
            let path = dir.join(format!("{PREFIX}{second:010}.dcgan"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => second += 1,
                Err(error) => return Err(ArtifactError::write(&path)(error)),
            }
        };
        let mut writer = Self { path, file, len: 0 };
        writer.put(0, Payload::FileVersion("brain.Event:2".to_owned()))?;
        // TensorBoard takes the first START for the beginning, and at each later one drops the
        // events from its step on. So a new run writes START too, and a resumed one names the first
        // step that is computed again.
        let first_step = resumed_at.map_or(0, |step| step.saturating_add(1));
        let status = SessionStatus::Start.into();
        writer.put(first_step, Payload::SessionLog(SessionLog { status }))?;
        Ok(writer)
    }

    /// Writes scalars of one step, such as `("loss/d", 1.38)`.
    ///
    /// # Errors
    /// Returns an error if the event cannot be written; the file then ends with the previous event.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<(), ArtifactError> {
        let value = scalars
            .iter()
            .map(|(tag, value)| Value {
                tag: (*tag).to_owned(),
                content: Some(Content::SimpleValue(*value as f32)),
            })
            .collect();
        self.put(step, Payload::Summary(Summary { value }))
    }

    /// Writes an image of one step, such as the grid of samples under the tag `samples`.
    ///
    /// # Errors
    /// Returns an error if the image cannot be encoded as PNG or the event cannot be written.
    pub fn image(
        &mut self,
        step: u64,
        tag: &str,
        image: &DynamicImage,
    ) -> Result<(), ArtifactError> {
        let encoded = encode(image, &[])
            .map_err(|reason| ArtifactError::Encode { path: self.path.clone(), reason })?;
        let image = ProtoImage {
            // The sides of a PNG are at most 2³¹ − 1.
            height: image.height() as i32,
            width: image.width() as i32,
            colorspace: i32::from(image.color().channel_count()),
            encoded,
        };
        let value = vec![Value { tag: tag.to_owned(), content: Some(Content::Image(image)) }];
        self.put(step, Payload::Summary(Summary { value }))
    }

    /// Flushes all events to the disk (fsync).
    ///
    /// # Errors
    /// Returns an error if the file cannot be synced.
    pub fn sync(&mut self) -> Result<(), ArtifactError> {
        self.file.sync_all().map_err(ArtifactError::write(&self.path))
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn put(&mut self, step: u64, what: Payload) -> Result<(), ArtifactError> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let event = EventRecord { wall_time: now().as_secs_f64(), step, what: Some(what) };
        let record = frame(&event.encode_to_vec());
        if let Err(error) = self.file.write_all(&record) {
            // A reader stops at a partial frame and would never see the events after it.
            let _ = self
                .file
                .set_len(self.len)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.len)));
            return Err(ArtifactError::write(&self.path)(error));
        }
        self.len += record.len() as u64;
        Ok(())
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_crc(message).to_le_bytes());
    record
}

/// CRC-32C, rotated and offset so that a CRC over data that contains CRCs stays strong.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The latest second in the names of event files in `dir`.
fn newest_second(dir: &Path) -> Result<Option<u64>, ArtifactError> {
    let mut newest = None;
    for entry in fs::read_dir(dir).map_err(ArtifactError::read(dir))? {
        let name = entry.map_err(ArtifactError::read(dir))?.file_name();
        let second = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('.').next()?.parse().ok());
        newest = newest.max(second);
    }
    Ok(newest)
}
