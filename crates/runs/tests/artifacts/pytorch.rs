//! Files of `torch.save`, written by `tests/pytorch/generate.py`.

use crate::assert_error;
use runs::{ArtifactError, PyTorchProblem, StateDictFile, TensorInfo, read_state_dict};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tensor::HostTensor;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch").join(name)
}

/// The fixtures' values: i − n/2.
fn a(shape: &[usize]) -> HostTensor {
    let n: usize = shape.iter().product();
    HostTensor::f32(shape.to_vec(), (0..n).map(|i| i as f32 - n as f32 / 2.0).collect())
}

fn problem(name: &str) -> PyTorchProblem {
    match read_state_dict(&fixture(name)).unwrap_err() {
        ArtifactError::PyTorchFile { problem, .. } => problem,
        other => panic!("{name}: {other}"),
    }
}

#[test]
fn all_types_are_read_in_both_formats() {
    for (format, name) in [("zip", "types-zip.pt"), ("legacy", "types-legacy.pt")] {
        assert_eq!(StateDictFile::open(&fixture(name)).unwrap().format(), format);
        let state = read_state_dict(&fixture(name)).unwrap();
        for float in ["f64", "f32", "f16", "bf16"] {
            assert_eq!(state[float], a(&[2, 3]), "{name} {float}");
        }
        for integer in ["i64", "i32", "i16", "i8"] {
            assert_eq!(state[integer].as_i64(), Some(&[-3, -2, -1, 0, 1, 2][..]), "{integer}");
        }
        assert_eq!(state["u8"].as_i64(), Some(&[0, 255][..]));
        assert_eq!(state["count"], HostTensor::scalar_i64(7));
        assert_eq!(state["empty"], HostTensor::f32([0, 4], vec![]));
        assert_eq!(state.len(), 11);
    }
    let error = read_state_dict(&fixture("bool.pt")).unwrap_err();
    assert_error!(error, &fixture("bool.pt"), ArtifactError::Dtype { tensor, dtype, .. }
        if tensor == "a" && dtype == "BOOL");
}

#[test]
fn views_share_a_storage_with_any_strides() {
    // a(4, 6) begins with -12.
    let at = |y: usize, x: usize| (6 * y + x) as f32 - 12.0;
    let of = |rows: Vec<usize>, columns: &[usize]| -> Vec<f32> {
        rows.iter().flat_map(|&y| columns.iter().map(move |&x| at(y, x))).collect()
    };
    for name in ["views-zip.pt", "views-legacy.pt", "protocol4.pt"] {
        let state = read_state_dict(&fixture(name)).unwrap();
        let turned: Vec<f32> = (0..6).flat_map(|x| (0..4).map(move |y| at(y, x))).collect();
        assert_eq!(state["permuted"], HostTensor::f32([6, 4], turned), "{name}");
        let sliced = of(vec![1, 2, 3], &[2, 4]);
        assert_eq!(state["sliced"], HostTensor::f32([3, 2], sliced), "{name}");
        assert_eq!(state["row"], HostTensor::f32([6], of(vec![3], &[0, 1, 2, 3, 4, 5])));
        assert_eq!(state["expanded"], HostTensor::f32([3, 2], of(vec![0; 3], &[0, 1])));
        assert_eq!(state["base"], a(&[4, 6]));
        assert_eq!(state["parameter"], a(&[2]));
    }
    let alone = read_state_dict(&fixture("tensor.pt")).unwrap();
    assert_eq!(alone, BTreeMap::from([("tensor".to_owned(), a(&[2, 3]))]));
}

#[test]
fn nested_dicts_are_found_and_the_rest_is_listed() {
    let generator = read_state_dict(&fixture("generator.pth")).unwrap();
    assert_eq!(generator["main.0.weight"].shape, [3, 2, 4, 4]);
    assert_eq!(generator["main.3.weight"], HostTensor::f32([2, 1, 4, 4], vec![0.25; 32]));
    assert_eq!(generator["main.1.num_batches_tracked"], HostTensor::scalar_i64(0));
    assert_eq!(generator.len(), 7);
    let prefixed = read_state_dict(&fixture("prefix.pth")).unwrap();
    let plain = prefixed
        .into_iter()
        .map(|(name, tensor)| (name.strip_prefix("module.").unwrap().to_owned(), tensor));
    assert_eq!(plain.collect::<BTreeMap<_, _>>(), generator);
    assert_eq!(read_state_dict(&fixture("nested.pth")).unwrap(), generator);

    let file = StateDictFile::open(&fixture("nested.pth")).unwrap();
    let dicts = file.dicts();
    assert_eq!(dicts.len(), 1);
    assert_eq!(dicts[0].key, "state_dict");
    assert_eq!(
        dicts[0].tensors[0],
        TensorInfo { name: "main.0.weight".into(), dtype: "F32".into(), shape: vec![3, 2, 4, 4] }
    );
    let unread: Vec<_> = file.into_unread().into_iter().map(|e| (e.key, e.what)).collect();
    let wanted = [
        ("epoch", "the int 5"),
        ("optimizer.state[the int 0]", "a dict of 2"),
        ("optimizer.param_groups", "a list of 1"),
    ];
    assert_eq!(unread, wanted.map(|(key, what)| (key.to_owned(), what.to_owned())));

    let path = fixture("both.pth");
    let both = StateDictFile::open(&path).unwrap();
    assert_eq!(both.dicts().iter().map(|d| d.key.as_str()).collect::<Vec<_>>(), ["netD", "netG"]);
    assert_eq!(both.read("netG").unwrap(), generator);
    let error = read_state_dict(&path).unwrap_err();
    assert_error!(error, &path, ArtifactError::SeveralDicts { keys, .. }
        if *keys == ["netD", "netG"]);
}

#[test]
fn nothing_in_a_pickle_is_called() {
    let file = StateDictFile::open(&fixture("malicious.pth")).unwrap();
    let unread = file.into_unread();
    assert_eq!(unread.len(), 1);
    assert_eq!((&*unread[0].key, &*unread[0].what), ("b", "an object of posix.system"));
    assert_eq!(read_state_dict(&fixture("malicious.pth")).unwrap().len(), 1);
    assert!(!Path::new("a-pickle-was-called").exists());
}

#[test]
fn what_is_no_state_dict_is_named() {
    for name in ["module-zip.pt", "module-legacy.pt"] {
        let found = "an object of __main__.Net";
        assert_eq!(problem(name), PyTorchProblem::Object { found: found.into() }, "{name}");
    }
    assert_eq!(problem("script.pt"), PyTorchProblem::TorchScript);
    assert_eq!(problem("plain.pkl"), PyTorchProblem::NotTorch);
    let first = Some("\"epoch\" is the int 5".to_owned());
    assert_eq!(problem("nothing.pt"), PyTorchProblem::NoTensors { first });
}

/// A file of these bytes in a folder of its own.
fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pt");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// A copy of a fixture with the first occurrence of some bytes replaced by others.
fn replaced(name: &str, from: &[u8], to: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let mut bytes = fs::read(fixture(name)).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes.splice(at..at + from.len(), to.iter().copied());
    written(&bytes)
}

/// A legacy file of an object whose tensors share storage 0, of `count` elements.
fn legacy_file(object: &[u8], count: u64, storage: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let head = b"\x80\x02\x8A\nl\xFC\x9CF\xF9 j\xA8P\x19.\x80\x02M\xE9\x03.\x80\x02}.\x80\x02";
    let keys = b".\x80\x02](X\x01\x00\x00\x000e.";
    written(&[&head[..], object, keys, &count.to_le_bytes(), storage].concat())
}

/// The entry of a dict: a tensor of one element in storage 0, which has `count`.
fn entry(name: &str, class: &str, count: u8) -> Vec<u8> {
    [
        &b"X"[..],
        &(name.len() as u32).to_le_bytes(),
        name.as_bytes(),
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n",
        class.as_bytes(),
        b"\nX\x01\x00\x00\x000X\x03\0\0\0cpuK",
        &[count],
        b"tQK\0K\x01\x85K\x01\x85\x89NtR",
    ]
    .concat()
}

#[test]
fn names_that_are_too_long_are_not_read() {
    let long = "n".repeat(300);
    let tensor = |name: &str| entry(name, "FloatStorage", 1);
    let nested = [&b"X\x01\0\0\0d}("[..], &tensor(&long), b"u"].concat();
    let object = [&b"}("[..], &tensor("a"), &tensor(&long), &nested, b"u"].concat();
    let (_dir, path) = legacy_file(&object, 1, &2.5f32.to_le_bytes());
    let state = read_state_dict(&path).unwrap();
    assert_eq!(state, BTreeMap::from([("a".to_owned(), HostTensor::f32([1], vec![2.5]))]));
    let unread = StateDictFile::open(&path).unwrap().into_unread();
    assert_eq!(unread.len(), 2);
    for (entry, path) in unread.iter().zip(["[", "d["]) {
        assert!(entry.key.starts_with(&format!("{path}the str \"nnn")), "{}", entry.key);
        assert!(entry.key.len() <= 256 && entry.what == "under a name that is too long");
    }
}

#[test]
fn unsupported_and_damaged_files_are_refused() {
    let problem = |path: &Path| match read_state_dict(path).unwrap_err() {
        ArtifactError::PyTorchFile { problem, .. } => problem,
        other => panic!("{other}"),
    };
    let legacy = |from: &[u8], to: &[u8]| {
        let (_dir, path) = replaced("views-legacy.pt", from, to);
        problem(&path)
    };
    // "little_endian": True becomes False; the memo's number is between.
    assert_eq!(legacy(b"endianq\x02\x88", b"endianq\x02\x89"), PyTorchProblem::BigEndian);
    assert_eq!(legacy(b"M\xE9\x03.", b"M\xEA\x03."), PyTorchProblem::Version(1002));
    // Shape (6, 4) of strides (1, 6): a size beyond the storage, and one beyond all numbers.
    let shape = b"K\x06K\x04\x86";
    assert!(matches!(legacy(shape, b"K\x06K\x05\x86"), PyTorchProblem::Tensor { name, .. }
        if name == "permuted"));
    assert!(matches!(legacy(shape, b"K\x06K\x04\x85"), PyTorchProblem::Tensor { .. }));
    // expand(3, 2), of strides (0, 1), with 2^31 - 1 rows would be 32 GiB.
    let rows = legacy(b"K\x03K\x02\x86q!", b"J\xFF\xFF\xFF\x7FK\x02\x86q!");
    assert!(matches!(rows, PyTorchProblem::Expansion { .. }), "{rows}");
    // An empty tensor of shape (0, 4) at the largest offset, whose position in bytes overflows.
    let largest = b"Q\x8A\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7FK\0K\x04\x86";
    let (_dir, path) = replaced("types-legacy.pt", b"QK\0K\0K\x04\x86", largest);
    assert!(matches!(problem(&path), PyTorchProblem::Tensor { name, .. } if name == "empty"));
    // Two tensors that share a storage of three bytes, one of them of floats.
    let entries = [entry("a", "FloatStorage", 3), entry("b", "ByteStorage", 3)].concat();
    let (_dir, path) = legacy_file(&[&b"}("[..], &entries, b"u"].concat(), 3, &[0; 3]);
    let error = read_state_dict(&path).unwrap_err();
    assert_error!(error, &path, ArtifactError::PyTorchFile {
        problem: PyTorchProblem::Tensor { name, problem }, ..
    } if name == "a" && problem.contains("not a whole number of elements"));

    // A bit of a storage in a zip archive, which has checksums; the length of one in a legacy file.
    let (_dir, path) = replaced("types-zip.pt", &(-2f32).to_le_bytes(), &2f32.to_le_bytes());
    let error = read_state_dict(&path).unwrap_err();
    assert_error!(error, &path, ArtifactError::PyTorchFile { problem, .. }
        if matches!(problem, PyTorchProblem::Zip(_)));
    let (_dir, path) = replaced("types-zip.pt", b"little", b"bigbig");
    // The checksum of that entry is wrong, too.
    assert!(read_state_dict(&path).is_err());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.pth");
    let mut tar = vec![0; 1024];
    tar[..8].copy_from_slice(b"sys_info");
    tar[257..262].copy_from_slice(b"ustar");
    fs::write(&path, tar).unwrap();
    let error = read_state_dict(&path).unwrap_err();
    assert_error!(error, &path, ArtifactError::PyTorchFile { problem: PyTorchProblem::Tar, .. });
    for name in ["types-zip.pt", "types-legacy.pt"] {
        let bytes = fs::read(fixture(name)).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(read_state_dict(&path).is_err(), "{name} cut to {length}");
        }
    }
}
