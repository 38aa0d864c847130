//! NumPy's `.npz` files: a zip archive of `.npy` files, as `numpy.savez` (stored) and
//! `numpy.savez_compressed` (deflated) write them.

use crate::npy::{parse_f64, to_bytes};
use crate::{ArtifactError, write_atomic};
use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveWriter};
use std::io::{self, Read, Write};
use std::path::Path;

/// The most bytes that a stored one may stand for: reading an array takes its bytes, numbers of at
/// most twice their size, and in Fortran order a copy of these, in all 1000 bytes.
const MAX_RATIO: u64 = 200;

/// An array of float64 in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct NpzArray {
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Vec<f64>,
}

/// Reads the float32 or float64 arrays with these names as float64, in their order.
///
/// # Errors
/// Returns an error if the file cannot be read or is no such archive, if an array is missing,
/// malformed, there twice or of another element type, or if a checksum does not fit.
pub fn read_npz<const N: usize>(
    path: &Path,
    names: [&str; N],
) -> Result<[NpzArray; N], ArtifactError> {
    let refused = |reason: String| ArtifactError::Npz { path: path.to_owned(), reason };
    let bytes = file_io::read(path).map_err(ArtifactError::read(path))?;
    let archive = ZipArchive::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    let mut found: [Option<NpzArray>; N] = [const { None }; N];
    for entry in archive.entries() {
        let entry = entry.map_err(|error| refused(error.to_string()))?;
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        let wanted = names.iter().position(|wanted| name.strip_suffix(".npy") == Some(wanted));
        let Some(slot) = wanted.and_then(|at| found.get_mut(at)) else { continue };
        let array = |reason: String| refused(format!("array {name:?}: {reason}"));
        // Each is decompressed, so that many of one name would take for ever.
        if slot.is_some() {
            return Err(array("it is there twice".to_owned()));
        }
        let length = entry.uncompressed_size_hint();
        let local = archive.get_entry(entry.wayfinder()).map_err(|e| array(e.to_string()))?;
        let stored = local.data();
        let reader: Box<dyn Read + '_> = match entry.compression_method() {
            CompressionMethod::STORE => Box::new(stored),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(stored)),
            other => return Err(array(format!("compressed by {other:?}"))),
        };
        if length > (stored.len() as u64).saturating_mul(MAX_RATIO) {
            return Err(array(format!("{} bytes stand for {length}", stored.len())));
        }
        let mut content = Vec::new();
        if content.try_reserve_exact(length as usize + 1).is_err() {
            return Err(array(format!("there is no memory for {length} bytes")));
        }
        let mut reader = local.verifying_reader(reader.take(length + 1));
        reader.read_to_end(&mut content).map_err(|error| array(error.to_string()))?;
        let (shape, values) = parse_f64(&content).map_err(array)?;
        *slot = Some(NpzArray { shape, values });
    }
    let missing =
        names.iter().zip(&found).find_map(|(name, array)| array.is_none().then_some(name));
    if let Some(name) = missing {
        return Err(refused(format!("it has no array {name:?}")));
    }
    Ok(found.map(|array| array.unwrap_or(NpzArray { shape: Vec::new(), values: Vec::new() })))
}

/// Writes arrays of float64 with their names, as `numpy.savez` does; atomically.
///
/// # Errors
/// Returns an error if an array does not fill its shape, or the file cannot be written.
pub fn write_npz(path: &Path, arrays: &[(&str, &NpzArray)]) -> Result<(), ArtifactError> {
    for (name, array) in arrays {
        let elements = array.shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        if elements != Some(array.values.len()) {
            let (name, shape) = ((*name).to_owned(), array.shape.clone());
            return Err(ArtifactError::Shape { name, shape, len: array.values.len() });
        }
    }
    write_atomic(path, |file| {
        let zip = |error: rawzip::Error| match error.into_kind() {
            rawzip::ErrorKind::IO(error) => error,
            kind => io::Error::other(kind.to_string()),
        };
        let mut archive = ZipArchiveWriter::new(file);
        for (name, array) in arrays {
            let (mut entry, config) =
                archive.new_file(&*format!("{name}.npy")).start().map_err(zip)?;
            let mut writer = config.wrap(&mut entry);
            writer.write_all(&to_bytes(&array.shape, &array.values))?;
            let (_, output) = writer.finish().map_err(zip)?;
            entry.finish(output).map_err(zip)?;
        }
        archive.finish().map_err(zip)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("statistics.npz");
        let mu = NpzArray { shape: vec![3], values: vec![0.1, -2.5, 1e300] };
        let sigma =
            NpzArray { shape: vec![2, 2], values: vec![1.0, 0.25, 0.25, f64::MIN_POSITIVE] };
        write_npz(&path, &[("mu", &mu), ("mu", &mu)]).unwrap();
        let twice = read_npz(&path, ["mu"]).unwrap_err().to_string();
        assert!(twice.ends_with("array \"mu.npy\": it is there twice"), "{twice}");
        write_npz(&path, &[("mu", &mu), ("sigma", &sigma)]).unwrap();
        assert_eq!(read_npz(&path, ["sigma", "mu"]).unwrap(), [sigma, mu]);
        let problem = |bytes: &[u8], name: &str| {
            std::fs::write(&path, bytes).unwrap();
            match read_npz(&path, [name]) {
                Err(ArtifactError::Npz { reason, .. }) => reason,
                other => panic!("{other:?}"),
            }
        };
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(problem(&whole, "mean"), "it has no array \"mean\"");
        // A bit of a value.
        let at = whole.windows(8).position(|w| w == (-2.5f64).to_le_bytes()).unwrap();
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(problem(&flipped, "mu").starts_with("array \"mu.npy\":"));
        problem(&whole[..whole.len() - 30], "mu");
    }
}
