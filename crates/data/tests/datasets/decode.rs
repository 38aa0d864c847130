//! Every image format and feature against Pillow's pixels: the files, the pixels and how they were
//! made are in `fixtures/decode.py`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use crate::common::fixture;
use data::{DataError, Preprocess, load_image};
use lzma_rust2::XzReader;

/// The contents of the archive's files by their names.
fn files() -> HashMap<String, Vec<u8>> {
    let file = File::open(fixture("decode.tar.xz")).unwrap();
    let mut archive = tar::Archive::new(XzReader::new(BufReader::new(file), false));
    let read = |mut entry: tar::Entry<'_, _>| {
        let mut content = Vec::new();
        Read::read_to_end(&mut entry, &mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    };
    archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// The pixels of an image of this size, as RGBA, or the reason for which it is refused.
fn decode(path: &Path, [width, height]: [u32; 2]) -> Result<Vec<u8>, String> {
    let preprocess = Preprocess::new([height, width], 4);
    let (pixels, size) = load_image(path, &preprocess).map_err(|error| match error {
        DataError::Decode { reason, .. } => reason,
        other => panic!("{other}"),
    })?;
    if size != [height as usize, width as usize] {
        return Err(format!("{}×{} pixels where {width}×{height} are right", size[1], size[0]));
    }
    Ok(pixels.iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect())
}

/// The largest difference of alpha, and of the colors over black, and the pixel that has it.
fn difference(a: &[u8], b: &[u8]) -> (u8, usize) {
    let over = |p: &[u8], c| ((u32::from(p[c]) * u32::from(p[3]) + 127) / 255) as u8;
    let pixel = |(p, q): (&[u8], &[u8])| {
        (0..3).map(|c| over(p, c).abs_diff(over(q, c))).fold(p[3].abs_diff(q[3]), u8::max)
    };
    let differences = a.chunks_exact(4).zip(b.chunks_exact(4)).map(pixel);
    differences.zip(0..).max_by_key(|&(difference, _)| difference).unwrap_or_default()
}

#[test]
fn pixels_are_pillows() {
    let files = files();
    let folder = tempfile::tempdir().unwrap();
    let table = String::from_utf8(files["table.csv"].clone()).unwrap();
    let mut wrong = Vec::new();
    for line in table.lines() {
        let [name, width, height, tolerance, start] = line.split(',').collect::<Vec<_>>()[..]
        else {
            panic!("{line}");
        };
        let path = folder.path().join(name);
        fs::write(&path, &files[name]).unwrap();
        let size = [width, height].map(|side| side.parse::<u32>().unwrap());
        if size == [0, 0] {
            match decode(&path, [4, 4]) {
                Err(reason) if reason.contains(tolerance) => {}
                Err(reason) => wrong.push(format!("{name}: {reason:?} lacks {tolerance:?}")),
                Ok(_) => wrong.push(format!("{name} is read")),
            }
            continue;
        }
        let start: usize = start.parse().unwrap();
        let right = &files["expected"][start..start + (size[0] * size[1] * 4) as usize];
        match decode(&path, size) {
            Ok(pixels) => {
                let (difference, at) = difference(&pixels, right);
                if difference > tolerance.parse().unwrap() {
                    let [x, y] = [at % size[0] as usize, at / size[0] as usize];
                    wrong.push(format!("{name} differs by {difference} at {x}, {y}"));
                }
            }
            Err(reason) => wrong.push(format!("{name}: {reason}")),
        }
    }
    assert!(table.lines().count() > 1100);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
