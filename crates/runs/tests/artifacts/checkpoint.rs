use crate::{assert_error, sample};
use runs::checkpoint::{SCHEMA, inspect, load, save};
use runs::{ArtifactError, read_state_dict, remove_stale, write_state_dict};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use tensor::HostTensor;

#[test]
fn checkpoint_roundtrip_is_bit_exact() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let mut checkpoint = sample(12);
    let odd = vec![f32::NAN, -0.0, f32::MIN_POSITIVE / 8.0, f32::NEG_INFINITY];
    checkpoint.tensors.insert("odd".to_owned(), HostTensor::f32([4], odd.clone()));
    save(&path, &checkpoint).unwrap();
    let mut loaded = load(&path).unwrap();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(loaded.tensors["odd"].as_f32().unwrap()), bits(&odd));
    loaded.tensors.remove("odd");
    assert_eq!(loaded, sample(12));
    assert_eq!(loaded.meta.state["lr"].as_f64().unwrap().to_bits(), (0.1f64 + 0.2).to_bits());
    assert_eq!(loaded.meta.state["seed"].as_u64(), Some(u64::MAX));
}

#[test]
fn state_floats_roundtrip_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let mut checkpoint = sample(1);
    // Multiplication visits many exponents; a parser without exact rounding misses about a
    // third of these.
    let floats: Vec<f64> =
        (0..2000u32).map(|i| 1.000_123_f64.powi(i as i32 * 37) / 3.0 * 1e-9).collect();
    checkpoint.meta.state = serde_json::json!(floats);
    save(&path, &checkpoint).unwrap();
    assert_eq!(load(&path).unwrap().meta.state, serde_json::json!(floats));
}

#[test]
fn equal_contents_give_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    save(&a, &sample(3)).unwrap();
    save(&b, &sample(3)).unwrap();
    assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
}

#[test]
fn safetensors_crate_reads_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    save(&path, &sample(3)).unwrap();
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 4);
    let weight = file.tensor("generator.main.0.weight").unwrap();
    assert_eq!(weight.shape(), [2, 3, 1]);
    assert_eq!(weight.data()[..4], 2.7f32.to_le_bytes());
    for (name, view) in file.iter() {
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(start % (view.dtype().bitsize() / 8), 0, "{name} is not aligned to its type");
    }
    assert_eq!(read_state_dict(&path).unwrap(), sample(3).tensors);
}

#[test]
fn inspect_lists_tensors_and_detects_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    save(&path, &sample(40)).unwrap();
    let header = inspect(&path).unwrap();
    assert_eq!((header.schema, header.meta), (SCHEMA, sample(40).meta));
    assert_eq!(header.bytes, fs::metadata(&path).unwrap().len());
    let names: Vec<_> = header.tensors.iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, sample(40).tensors.keys().collect::<Vec<_>>());
    assert_eq!(
        (header.tensors[1].dtype.as_str(), header.tensors[1].shape.as_slice()),
        ("F32", &[2, 3, 1][..])
    );
    assert_eq!(header.tensors[3].dtype, "I64");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_error!(inspect(&path).unwrap_err(), &path, ArtifactError::Checksum { .. });
}

#[test]
fn tensor_with_wrong_length_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let mut checkpoint = sample(1);
    checkpoint.tensors.insert("short".to_owned(), HostTensor::f32([2, 3], vec![0.0; 5]));
    assert!(matches!(save(&path, &checkpoint), Err(ArtifactError::Shape { len: 5, .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let reserved = BTreeMap::from([("__metadata__".to_owned(), HostTensor::scalar_i64(1))]);
    assert!(matches!(write_state_dict(&path, &reserved), Err(ArtifactError::Write { .. })));
}

#[test]
fn plain_safetensors_is_not_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    write_state_dict(&path, &sample(1).tensors).unwrap();
    let error = load(&path).unwrap_err();
    assert_error!(error, &path, ArtifactError::NotCheckpoint { .. });
    assert!(matches!(inspect(&path), Err(ArtifactError::NotCheckpoint { .. })));
    // PyTorch's exporter writes a metadata of its own.
    let foreign = r#"{"__metadata__":{"format":"pt"}}"#;
    fs::write(&path, [&(foreign.len() as u64).to_le_bytes(), foreign.as_bytes()].concat()).unwrap();
    assert!(matches!(load(&path), Err(ArtifactError::NotCheckpoint { .. })));
}

#[test]
fn newer_schema_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    save(&path, &sample(1)).unwrap();
    replace(&path, r#""schema":"1""#, r#""schema":"2""#);
    for error in [load(&path).unwrap_err(), inspect(&path).unwrap_err()] {
        assert_error!(error, &path, ArtifactError::NewerSchema { found: 2, supported: 1, .. });
    }
    replace(&path, r#""schema":"2""#, r#""schema":"0""#);
    assert!(matches!(load(&path), Err(ArtifactError::Damaged { .. })));
    replace(&path, r#""schema":"0""#, r#""schema":"x""#);
    assert!(matches!(load(&path), Err(ArtifactError::Damaged { .. })));
}

#[test]
fn invalid_files_have_distinct_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    for (path, kind) in
        [(path.as_path(), ErrorKind::NotFound), (dir.path(), ErrorKind::IsADirectory)]
    {
        let error = load(path).unwrap_err();
        assert_error!(error, path, ArtifactError::Read { source, .. } if source.kind() == kind);
    }
    for content in [&b""[..], b"{}", b"\x89PNG\r\n\x1a\n and more", &[0; 64], &[0xff; 64]] {
        fs::write(&path, content).unwrap();
        let error = load(&path).unwrap_err();
        assert_error!(error, &path, ArtifactError::NotSafetensors { .. });
    }
    save(&path, &sample(1)).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let length = whole.len() as u64;
    let error = load(&path).unwrap_err();
    assert_error!(error, &path, ArtifactError::Size { expected, actual, .. }
        if (*expected, *actual) == (length, length - 1));
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(matches!(load(&path), Err(ArtifactError::Size { .. })));
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&path, flipped).unwrap();
    assert_error!(load(&path).unwrap_err(), &path, ArtifactError::Checksum { .. });
}

#[test]
fn false_sizes_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let write = |header: &str| {
        fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat())
            .unwrap();
        load(&path).unwrap_err()
    };
    let huge = 1u64 << 40;
    let error = write(&format!(
        r#"{{"w":{{"dtype":"F32","shape":[{huge}],"data_offsets":[0,{}]}}}}"#,
        huge * 4
    ));
    assert!(matches!(error, ArtifactError::Size { .. }), "{error}");
    for shape in
        ["[18446744073709551615,18446744073709551615]", "[4611686018427387905,4]", "[-1]", "[1.5]"]
    {
        let error =
            write(&format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":[0,16]}}}}"#));
        assert!(matches!(error, ArtifactError::NotSafetensors { .. }), "{error}");
    }
    fs::write(&path, [&90_000_000u64.to_le_bytes()[..], b"{\"a\":1}"].concat()).unwrap();
    assert!(matches!(load(&path), Err(ArtifactError::Size { .. })));
}

#[test]
fn stale_temporary_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("step-00000001.safetensors");
    let stale = dir.path().join("step-00000002.safetensors.Xy12.tmp");
    save(&good, &sample(1)).unwrap();
    fs::write(&stale, b"half").unwrap();
    assert_eq!(remove_stale(dir.path()).unwrap(), std::slice::from_ref(&stale));
    assert!(good.exists() && !stale.exists());
}

#[test]
fn failed_write_names_the_target_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing/a.safetensors");
    let error = save(&path, &sample(1)).unwrap_err();
    assert!(!error.to_string().contains("a.safetensors."), "{error}");
    assert_error!(error, &path, ArtifactError::Write { source, .. }
        if source.kind() == ErrorKind::NotFound);
}

#[cfg(unix)]
#[test]
fn permissions_follow_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let [ours, ordinary] = ["a", "b"].map(|name| dir.path().join(name));
    save(&ours, &sample(1)).unwrap();
    fs::write(&ordinary, b"").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&ours), mode(&ordinary));
}

fn replace(path: &std::path::Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(path).unwrap();
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .expect("the text is there");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    fs::write(path, bytes).unwrap();
}
