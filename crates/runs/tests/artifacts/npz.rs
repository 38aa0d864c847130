//! Archives of NumPy's arrays, as NumPy wrote them.

use runs::{ArtifactError, read_npz, write_npz};
use std::path::Path;

#[test]
fn files_of_numpy_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/numpy");
    let all: Vec<_> = ["savez", "compressed", "mixed"]
        .iter()
        .map(|name| read_npz(&folder.join(format!("{name}.npz")), ["mu", "sigma"]).unwrap())
        .collect();
    let [mu, sigma] = &all[0];
    assert_eq!((&mu.shape[..], &mu.values[..]), (&[3][..], &[0.5, 1.5, 2.5][..]));
    assert_eq!(sigma.shape, [3, 3]);
    let wanted = [0.25, 1.25, 2.25, 10.25, 11.25, 12.25, 20.25, 21.25, 22.25];
    assert_eq!(sigma.values, wanted);
    assert!(all[1..].iter().all(|arrays| *arrays == all[0]));

    // What is written has the bytes of NumPy's arrays.
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.npz");
    write_npz(&own, &[("mu", mu), ("sigma", sigma)]).unwrap();
    let (own, numpy) = (std::fs::read(own).unwrap(), std::fs::read(folder.join("savez.npz")));
    let arrays = |file: &[u8]| -> Vec<Vec<u8>> {
        let starts = file.windows(6).enumerate().filter(|(_, six)| *six == b"\x93NUMPY");
        // A header of 128 bytes in all, and the values.
        let lengths = [128 + 3 * 8, 128 + 9 * 8];
        starts.zip(lengths).map(|((at, _), len)| file[at..at + len].to_vec()).collect()
    };
    assert_eq!(arrays(&own), arrays(&numpy.unwrap()));
    assert_eq!(arrays(&own).len(), 2);

    let missing = read_npz(&folder.join("savez.npz"), ["mu", "names"]);
    assert!(matches!(missing, Err(ArtifactError::Npz { .. })), "{missing:?}");
    let words = read_npz(&folder.join("mixed.npz"), ["names"]).unwrap_err().to_string();
    assert!(words.contains("\"<U1\"") && words.contains("names"), "{words}");
}
