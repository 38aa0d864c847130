//! NumPy's arrays, as NumPy wrote them, and their defects.

use std::fs;
use std::path::Path;

use crate::common::{
    assert_refused, bytes, copied, fixture, idx, labels, open, open_as, pixels, problem, write,
};
use data::{DataError, DataSpec, Dataset, FileProblem, ForeignFormat, Preprocess, Split};

fn gray() -> Preprocess {
    Preprocess::new([8, 8], 1)
}

fn rgb() -> Preprocess {
    Preprocess::new([8, 8], 3)
}

/// Asserts that the images are the red channels of the fixtures' images.
fn assert_gray(set: &Dataset, images: &[usize]) {
    assert_eq!(set.len(), images.len());
    for (index, &k) in images.iter().enumerate() {
        let red: Vec<u8> = pixels(k, 8).into_iter().step_by(3).collect();
        assert_eq!(bytes(set, index), red, "image {k}");
    }
}

fn assert_color(set: &Dataset, images: &[usize]) {
    assert_eq!(set.len(), images.len());
    for (index, &k) in images.iter().enumerate() {
        assert_eq!(bytes(set, index), pixels(k, 8), "image {k}");
    }
}

fn description(set: &Dataset) -> &str {
    &set.report().unwrap().description
}

fn shape(path: &Path) -> Option<[u32; 3]> {
    DataSpec::parse(path.to_str().unwrap()).unwrap().image_shape(Split::Train).unwrap()
}

#[test]
fn keras() {
    let file = fixture("numpy/mnist.npz");
    let train = open(&file, &gray()).unwrap();
    assert_gray(&train, &[0, 1, 2, 3]);
    assert_eq!((labels(&train), train.class_names().len()), (vec![1, 0, 2, 1], 3));
    assert_eq!(description(&train), "3 classes from y_train, images from x_train; split train");
    let test = open_as("npz:", &file, Split::Test, &gray()).unwrap();
    assert_gray(&test, &[4, 5]);
    assert_eq!(labels(&test), [0, 1]);
    assert_eq!(shape(&file), Some([8, 8, 1]));
    // The same images and labels in MNIST's own format are the same dataset.
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<u8> = (0..4).flat_map(|k| pixels(k, 8).into_iter().step_by(3)).collect();
    write(folder.path(), "train-images-idx3-ubyte", &idx(&[4, 8, 8], &all));
    write(folder.path(), "train-labels-idx1-ubyte", &idx(&[4], &[1, 0, 2, 1]));
    assert_eq!(open(folder.path(), &gray()).unwrap().fingerprint(), train.fingerprint());
    // Alone in a folder.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&file, folder.path().join("mnist.npz")).unwrap();
    assert_eq!(open(folder.path(), &gray()).unwrap().fingerprint(), train.fingerprint());
}

#[test]
fn medmnist() {
    let file = fixture("numpy/medmnist.npz");
    let train = open(&file, &rgb()).unwrap();
    assert_color(&train, &[0, 1, 2]);
    assert_eq!(labels(&train), [1, 0, 2]);
    // Not `val_images`.
    let test = open_as("", &file, Split::Test, &rgb()).unwrap();
    assert_color(&test, &[4, 5]);
    assert_eq!((labels(&test), shape(&file)), (vec![0, 1], Some([8, 8, 3])));
    // Not kept in memory.
    let spec = file.display().to_string();
    let uncached = Dataset::open_within(&spec, Split::Train, &rgb(), 0, &|_| ()).unwrap();
    assert_color(&uncached, &[0, 1, 2]);
    assert_eq!(uncached.fingerprint(), train.fingerprint());
}

#[test]
fn kuzushiji() {
    let file = fixture("numpy/k49-train-imgs.npz");
    let train = open(&file, &gray()).unwrap();
    assert_gray(&train, &[0, 1, 2, 3]);
    assert_eq!(labels(&train), [1, 0, 2, 1]);
    let test = open_as("", &file, Split::Test, &gray()).unwrap();
    assert_gray(&test, &[4, 5]);
    assert_eq!(labels(&test), [0, 1]);
    assert_eq!(
        description(&test),
        "2 classes from k49-test-labels.npz, images from arr_0; split test"
    );
}

#[test]
fn quickdraw() {
    let file = fixture("numpy/quickdraw.npy");
    let set = open(&file, &gray()).unwrap();
    assert_gray(&set, &[0, 1, 2, 3, 4]);
    assert_eq!((set.label(0), set.class_names().len()), (None, 0));
    assert_refused!(
        open_as("npy:", &file, Split::Test, &gray()),
        DataError::NoSplit { split: "test", .. }
    );
    // With labels beside it.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&file, folder.path().join("cats.npy")).unwrap();
    let y =
        b"\x93NUMPY\x01\x00\x3b\x00{'descr': '<i8', 'fortran_order': False, 'shape': (5,), } \n";
    let values: Vec<u8> = [3i64, 0, 1, 0, 3].iter().flat_map(|label| label.to_le_bytes()).collect();
    write(folder.path(), "cats_labels.npy", &[&y[..], &values].concat());
    let set = open(&folder.path().join("cats.npy"), &gray()).unwrap();
    assert_eq!((labels(&set), set.class_names().len()), (vec![3, 0, 1, 0, 3], 4));
}

#[test]
fn arrays_in_a_folder() {
    let folder = fixture("numpy/apart");
    // Channels first, labels in big-endian order.
    let train = open(&folder, &rgb()).unwrap();
    assert_color(&train, &[0, 1, 2, 3]);
    assert_eq!((labels(&train), shape(&folder)), (vec![1, 0, 2, 1], Some([8, 8, 3])));
    assert_eq!(description(&train), "3 classes from y_train, images from X_train; split train");
    let test = open_as("npy:", &folder, Split::Test, &rgb()).unwrap();
    assert_color(&test, &[4, 5]);
    assert_eq!(labels(&test), [0, 1]);
    // By one of the files.
    for (name, split, of_folder) in
        [("X_train.npy", Split::Train, &train), ("X_train.npy", Split::Test, &test)]
    {
        let file = open_as("", &folder.join(name), split, &rgb()).unwrap();
        assert_eq!(file.fingerprint(), of_folder.fingerprint());
    }
    // Beside images, arrays are something else.
    let mixed = copied("numpy/apart");
    crate::common::plain(mixed.path(), "a.png", 8, [9, 8, 7]);
    assert_eq!(open(mixed.path(), &rgb()).unwrap().image_name(0), "a.png");
    // In an archive they are named.
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("set", &folder).unwrap();
    write(mixed.path(), "set.tar", &archive.into_inner().unwrap());
    assert_refused!(
        open(&mixed.path().join("set.tar"), &rgb()),
        DataError::Foreign { format: ForeignFormat::Npy, .. }
    );
}

#[test]
fn several_arrays_could_be_meant() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cat.npy", "dog.npy"] {
        fs::copy(fixture("numpy/quickdraw.npy"), folder.path().join(name)).unwrap();
    }
    assert_refused!(
        open(folder.path(), &gray()),
        DataError::Ambiguous { files, .. } if files == "cat, dog"
    );
}

#[test]
fn other_arrays_are_refused() {
    let found = |name: &str| {
        let file = fixture("numpy/bad").join(name);
        let (path, problem) = problem(open(&file, &gray()));
        assert_eq!(path, file);
        problem
    };
    for (name, kind) in [("float.npy", "float32"), ("bool.npy", "bool")] {
        let problem = found(name);
        assert!(
            matches!(&problem, FileProblem::ElementType { found, wanted: "bytes (uint8)", .. }
                if found == kind),
            "{problem}"
        );
    }
    let words = found("words.npz");
    assert!(
        matches!(&words, FileProblem::ElementType { array, wanted: "integers", .. } if array == "y"),
        "{words}"
    );
    assert_eq!(found("fortran.npy"), FileProblem::ColumnOrder { array: "fortran".to_owned() });
    for name in ["one.npy", "either.npy"] {
        let problem = found(name);
        assert!(matches!(problem, FileProblem::Unsupported(_)), "{name}: {problem}");
    }
    for name in ["object.npy", "none.npz"] {
        let problem = found(name);
        assert!(matches!(problem, FileProblem::Missing(_)), "{name}: {problem}");
    }
    for name in ["labels.npz", "negative.npz", "several.npz"] {
        let problem = found(name);
        assert!(matches!(problem, FileProblem::Labels(_)), "{name}: {problem}");
    }
}

#[test]
fn damaged_arrays_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(fixture("numpy/quickdraw.npy")).unwrap();
    let file = folder.path().join("x.npy");
    let found = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        problem(open(&file, &gray())).1
    };
    for content in [&good[..good.len() - 1], &[&good[..], b"x"].concat()] {
        let problem = found(content);
        assert!(matches!(problem, FileProblem::Truncated(_)), "{problem}");
    }
    for length in [7, 40] {
        let problem = found(&good[..length]);
        assert!(matches!(problem, FileProblem::Damaged(_)), "{problem}");
    }
    // NumPy writes `|u1`. The size of another name of the type is not known, so that the shape
    // could not be checked.
    let text = "{'descr': 'B', 'fortran_order': False, 'shape': (4294967295, 8, 8), }\n";
    let length = (text.len() as u16).to_le_bytes();
    let unknown = found(&[&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes()].concat());
    assert!(matches!(unknown, FileProblem::ElementType { .. }), "{unknown}");
    // One bit of compressed pixels.
    let mut archive = fs::read(fixture("numpy/k49-train-imgs.npz")).unwrap();
    let file = folder.path().join("x.npz");
    archive[250] ^= 4;
    fs::write(&file, &archive).unwrap();
    let (path, damaged) = problem(open(&file, &gray()));
    assert_eq!(path, file);
    assert!(matches!(damaged, FileProblem::Damaged(_)), "{damaged}");
}
