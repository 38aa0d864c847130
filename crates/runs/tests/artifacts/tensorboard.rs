//! Event files are read back by an independent parser: frames with their CRCs here, messages by
//! field number.

use image::GenericImageView;
use prost::Message;
use runs::{ArtifactError, EventWriter};
use std::fs;
use std::path::Path;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session: Option<Session>,
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
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// CRC-32C bit by bit, with TensorFlow's mask.
fn masked_crc(bytes: &[u8]) -> u32 {
    let crc = !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    });
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn events(path: &Path) -> Vec<Event> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_at(8);
        let (length_crc, tail) = tail.split_at(4);
        let (message, tail) =
            tail.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        let (message_crc, tail) = tail.split_at(4);
        assert_eq!(length_crc, masked_crc(length).to_le_bytes());
        assert_eq!(message_crc, masked_crc(message).to_le_bytes());
        events.push(Event::decode(message).unwrap());
        rest = tail;
    }
    events
}

#[test]
fn crc_matches_rfc_3720() {
    // RFC 3720, B.4: 32 bytes of zeros have the CRC 8a9136aa.
    assert_eq!(masked_crc(&[0; 32]).wrapping_sub(0xa282_ead8).rotate_left(15), 0x8a91_36aa);
}

#[test]
fn scalars_and_images_roundtrip() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path(), None).unwrap();
    writer.scalars(10, &[("loss/d", 1.5), ("loss/g", 0.0)]).unwrap();
    let image = image::RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 9])).into();
    writer.image(20, "samples", &image).unwrap();
    writer.sync().unwrap();
    let name = writer.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("events.out.tfevents."), "{name}");

    let events = events(writer.path());
    assert_eq!(events.len(), 4);
    assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
    assert!(events.iter().all(|event| event.wall_time > 1.6e9));
    let scalars = &events[2].summary.as_ref().unwrap().value;
    assert_eq!(events[2].step, 10);
    assert_eq!((scalars[0].tag.as_str(), scalars[0].simple_value), ("loss/d", Some(1.5)));
    assert_eq!(
        (scalars[1].tag.as_str(), scalars[1].simple_value),
        ("loss/g", Some(0.0)),
        "0 is written too"
    );
    let value = &events[3].summary.as_ref().unwrap().value[0];
    let back = value.image.as_ref().unwrap();
    assert_eq!((events[3].step, value.tag.as_str()), (20, "samples"));
    assert_eq!((back.height, back.width, back.colorspace), (3, 5, 3));
    assert_eq!(image::load_from_memory(&back.encoded).unwrap().dimensions(), (5, 3));
    assert_eq!(image::load_from_memory(&back.encoded).unwrap(), image);
}

#[test]
fn resume_purges_recomputed_events() {
    let dir = tempfile::tempdir().unwrap();
    let first = EventWriter::create(dir.path(), None).unwrap();
    let second = EventWriter::create(dir.path(), Some(100)).unwrap();
    let third = EventWriter::create(dir.path(), Some(150)).unwrap();
    assert!(
        first.path() < second.path() && second.path() < third.path(),
        "TensorBoard reads by name"
    );
    let events = events(second.path());
    let status = events[1].session.as_ref().map(|session| session.status);
    assert_eq!(
        (events[1].step, status),
        (101, Some(1)),
        "START purges from its own step on, and row 100 stays"
    );
}

#[test]
fn missing_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = EventWriter::create(&missing, None).unwrap_err();
    crate::assert_error!(error, &missing, ArtifactError::Read { source, .. }
        if source.kind() == std::io::ErrorKind::NotFound);
}
