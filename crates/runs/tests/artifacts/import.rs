//! Files of other programs: state dicts and .npy.

use crate::assert_error;
use half::{bf16, f16};
use runs::{ArtifactError, read_npy, read_state_dict, write_state_dict};
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::collections::BTreeMap;
use std::fs;
use tensor::HostTensor;

#[test]
fn float_types_become_f32() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.safetensors");
    let values = [1.5f32, -0.25, 3.0, 65504.0];
    let bytes = |of: &dyn Fn(f32) -> Vec<u8>| {
        values.iter().flat_map(|&value| of(value)).collect::<Vec<u8>>()
    };
    let f64s = bytes(&|v| f64::from(v).to_le_bytes().to_vec());
    let f16s = bytes(&|v| f16::from_f32(v).to_le_bytes().to_vec());
    let bf16s = bytes(&|v| bf16::from_f32(v).to_le_bytes().to_vec());
    let i64s: Vec<u8> = [-5i64, i64::MAX].iter().flat_map(|value| value.to_le_bytes()).collect();
    let views = [
        ("double", TensorView::new(Dtype::F64, vec![2, 2], &f64s).unwrap()),
        ("half", TensorView::new(Dtype::F16, vec![4], &f16s).unwrap()),
        ("brain", TensorView::new(Dtype::BF16, vec![4, 1], &bf16s).unwrap()),
        ("count", TensorView::new(Dtype::I64, vec![2], &i64s).unwrap()),
    ];
    fs::write(&path, serialize(views, None).unwrap()).unwrap();
    let dict = read_state_dict(&path).unwrap();
    assert_eq!(dict["double"], HostTensor::f32([2, 2], values.to_vec()));
    assert_eq!(dict["half"], HostTensor::f32([4], values.to_vec()));
    let rounded = values.iter().map(|&value| bf16::from_f32(value).to_f32()).collect();
    assert_eq!(dict["brain"], HostTensor::f32([4, 1], rounded));
    assert_eq!(dict["count"].as_i64(), Some(&[-5, i64::MAX][..]));

    let bytes =
        serialize([("mask", TensorView::new(Dtype::U8, vec![3], &[1, 2, 3]).unwrap())], None)
            .unwrap();
    fs::write(&path, bytes).unwrap();
    let error = read_state_dict(&path).unwrap_err();
    assert_error!(error, &path, ArtifactError::Dtype { tensor, dtype, .. }
        if tensor == "mask" && dtype == "U8");
}

#[test]
fn foreign_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("g.pth");
    for start in [&b"PK\x03\x04\0\0\x08\x08\0\0\0\0"[..], b"\x80\x02\x8A\nl\xFC\x9CF\xF9 j."] {
        fs::write(&path, start).unwrap();
        let error = read_state_dict(&path).unwrap_err();
        assert_error!(error, &path, ArtifactError::PyTorchFile { .. });
        let error = runs::checkpoint::load(&path).unwrap_err();
        assert_error!(error, &path, ArtifactError::PyTorch { .. });
    }
    for (text, what) in
        [("version https://git-lfs.github.com/spec/v1", "Git LFS"), ("<!DOCTYPE html>", "web page")]
    {
        fs::write(&path, text).unwrap();
        let error = read_state_dict(&path).unwrap_err();
        assert_error!(error, &path, ArtifactError::NotSafetensors { reason, .. }
            if reason.contains(what));
    }
}

#[test]
fn state_dict_roundtrip() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.safetensors");
    let dict = BTreeMap::from([
        (
            "main.0.weight".to_owned(),
            HostTensor::f32([2, 1, 2, 2], (0..8).map(|i| i as f32).collect()),
        ),
        ("main.1.num_batches_tracked".to_owned(), HostTensor::scalar_i64(3)),
    ]);
    write_state_dict(&path, &dict).unwrap();
    assert_eq!(read_state_dict(&path).unwrap(), dict);
    write_state_dict(&path, &BTreeMap::new()).unwrap();
    assert_eq!(read_state_dict(&path).unwrap(), BTreeMap::new());
}

/// A .npy file of version `major`.
fn npy(major: u8, dict: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([major, 0]);
    match major {
        1 => bytes.extend((dict.len() as u16).to_le_bytes()),
        _ => bytes.extend((dict.len() as u32).to_le_bytes()),
    }
    bytes.extend(dict.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(len: usize) -> Vec<u8> {
    (0..len).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

#[test]
fn npy_reads_both_orders_and_widths() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let read = |bytes: Vec<u8>| {
        fs::write(&path, bytes).unwrap();
        read_npy(&path).unwrap()
    };
    let c = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    assert_eq!(read(npy(1, c, &floats(6))), HostTensor::f32([2, 3], vec![0., 1., 2., 3., 4., 5.]));
    let fortran = c.replace("False", "True");
    // numpy: np.arange(6, dtype='f4').reshape(2, 3, order='F').ravel() is 0 2 4 1 3 5.
    assert_eq!(
        read(npy(2, &fortran, &floats(6))),
        HostTensor::f32([2, 3], vec![0., 2., 4., 1., 3., 5.])
    );
    // np.arange(8).reshape(2, 2, 2, order='F').ravel() is 0 4 2 6 1 5 3 7.
    let cube = fortran.replace("(2, 3)", "(2, 2, 2)");
    assert_eq!(
        read(npy(1, &cube, &floats(8))),
        HostTensor::f32([2, 2, 2], vec![0., 4., 2., 6., 1., 5., 3., 7.])
    );
    let double = r#"{"shape": (2L,), "fortran_order": False, "descr": "<f8"}"#;
    let data: Vec<u8> = [0.1f64, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(read(npy(1, double, &data)), HostTensor::f32([2], vec![0.1, -2.0]));
    let scalar = c.replace("(2, 3)", "()");
    assert_eq!(read(npy(1, &scalar, &floats(1))), HostTensor::f32(Vec::new(), vec![0.0]));
    let empty = fortran.replace("(2, 3)", "(4, 0, 9)");
    assert_eq!(read(npy(1, &empty, &[])), HostTensor::f32([4, 0, 9], vec![]));
}

#[test]
fn malformed_npy_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    let good = npy(1, dict, &floats(6));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"PK\x03\x04".to_vec(), "magic"),
        (good[..7].to_vec(), "header"),
        (good[..40].to_vec(), "header"),
        (good[..good.len() - 1].to_vec(), "needs 24 bytes of data, there are 23"),
        ([&good[..], b"x"].concat(), "there are 25"),
        (npy(9, dict, &floats(6)), "version is 9.0"),
        (npy(1, &dict.replace("<f4", "|O"), &floats(6)), r#"type is "|O""#),
        (npy(1, &dict.replace("<f4", ">f4"), &floats(6)), r#"type is ">f4""#),
        (npy(1, &dict.replace("False", "Perhaps"), &floats(6)), "fortran_order"),
        (npy(1, &dict.replace("(2, 3)", "[2, 3]"), &floats(6)), "shape"),
        (npy(1, &dict.replace("(2, 3)", "(2, -3)"), &floats(6)), "shape"),
        (
            npy(1, &dict.replace("(2, 3)", "(4611686018427387905, 4)"), &floats(6)),
            "more than can exist",
        ),
        (npy(1, "{}", &floats(6)), "descr"),
    ];
    for (bytes, words) in cases {
        fs::write(&path, bytes).unwrap();
        let error = read_npy(&path).unwrap_err();
        assert_error!(error, &path, ArtifactError::Npy { reason, .. } if reason.contains(words));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(read_npy(&path), Err(ArtifactError::Read { .. })));
}
