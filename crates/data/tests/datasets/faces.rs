//! Face extraction by the real detector, which detects faces in emoji.

use std::fs;
use std::path::Path;

use crate::common::{assert_refused, plain, problem, write};
use data::{DataError, DataSpec, FaceCounts, FaceOptions, FileProblem, extract_faces};

const OPTIONS: FaceOptions = FaceOptions { min_size: 20, min_score: 5.0, margin: 0.25 };

fn run(input: &Path, out: &Path, options: FaceOptions) -> Result<FaceCounts, DataError> {
    extract_faces(&DataSpec::parse(input.to_str().unwrap()).unwrap(), out, options, None, &|_| ())
}

/// A folder of emoji of one gesture, a plain image and a bad one.
fn input() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let emoji =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/emoji-people/train/gesture");
    for entry in emoji.read_dir().unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    plain(folder.path(), "plain, \"gray\".png", 70, [90; 3]);
    write(folder.path(), "bad.png", b"nothing");
    folder
}

#[test]
fn faces_are_written_with_their_places() {
    let (input, out) = (input(), tempfile::tempdir().unwrap());
    let out = out.path().join("faces");
    let found = run(input.path(), &out, OPTIONS).unwrap();
    assert_eq!((found.images, found.bad.len()), (164, 1));
    assert!(found.bad[0].to_string().contains("bad.png"));
    assert!(found.faces >= 10 && found.without_faces >= 100, "{found:?}");
    let table = fs::read_to_string(out.join("faces.csv")).unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert!(
        table.starts_with("file,source,score,x,y,side,cut_x,cut_y,cut_side\n")
            && rows.len() == found.faces,
        "{table}"
    );
    for (k, row) in rows.iter().enumerate() {
        assert_eq!(row[0], format!("{k:06}.png"));
        let number = |column: usize| row[column].parse::<f64>().unwrap();
        assert!(number(2) >= 5.0 && number(5) >= 20.0, "{row:?}");
        let (face, whole) = (
            image::open(out.join(row[0])).unwrap(),
            image::open(input.path().join(row[1])).unwrap(),
        );
        let side = number(8) as u32;
        assert_eq!((face.width(), face.height()), (side, side));
        let cut = whole.crop_imm(number(6) as u32, number(7) as u32, side, side);
        assert!(cut.to_rgba8() == face.to_rgba8(), "{row:?}");
    }
    // A second run gives the same faces, and never writes into a folder that holds files.
    let again = out.with_file_name("again");
    assert_eq!(run(input.path(), &again, OPTIONS).unwrap(), found);
    assert_eq!(fs::read_to_string(again.join("faces.csv")).unwrap(), table);
    assert_refused!(run(input.path(), &out, OPTIONS), DataError::NotEmpty { .. });
    // A higher score gives fewer faces.
    let strict =
        run(input.path(), &out.with_file_name("strict"), FaceOptions { min_score: 7.0, ..OPTIONS })
            .unwrap();
    assert!(strict.faces < found.faces);
}

#[test]
fn another_model_may_look_and_a_bad_one_may_not() {
    let (input, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let emoji =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/emoji-people/train/gesture");
    for (k, entry) in emoji.read_dir().unwrap().take(8).enumerate() {
        fs::copy(entry.unwrap().path(), input.path().join(format!("{k}.png"))).unwrap();
    }
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/seeta_fd_frontal_v1.0.bin");
    let spec = DataSpec::parse(input.path().to_str().unwrap()).unwrap();
    let with = |model: Option<&Path>, to: &str| {
        extract_faces(&spec, &out.path().join(to), OPTIONS, model, &|_| ())
    };
    assert_eq!(with(Some(&built_in), "a").unwrap(), with(None, "b").unwrap());
    let (damaged, mut bytes) = (out.path().join("damaged.bin"), fs::read(&built_in).unwrap());
    bytes.truncate(bytes.len() / 2);
    fs::write(&damaged, bytes).unwrap();
    let (path, problem) = problem(with(Some(&damaged), "c"));
    assert!(path == damaged && matches!(problem, FileProblem::Truncated(_)), "{problem}");
    let none = out.path().join("none.bin");
    for model in [none.as_path(), input.path()] {
        assert_refused!(with(Some(model), "c"), DataError::Io { path, .. } if path == model);
    }
    assert!(!out.path().join("c").exists());
}

#[test]
fn options_out_of_range_are_named() {
    let (input, out) = (input(), tempfile::tempdir().unwrap());
    for options in [
        FaceOptions { min_size: 19, ..OPTIONS },
        FaceOptions { min_score: 0.0, ..OPTIONS },
        FaceOptions { min_score: f64::NAN, ..OPTIONS },
        FaceOptions { margin: -0.1, ..OPTIONS },
        FaceOptions { margin: f64::INFINITY, ..OPTIONS },
    ] {
        let refused = run(input.path(), out.path(), options);
        assert_refused!(refused, DataError::FaceOptions { least: 20, .. });
    }
    write(out.path(), "file", b"");
    let under_a_file = run(input.path(), &out.path().join("file/x"), OPTIONS);
    assert_refused!(under_a_file, DataError::Write { .. });
    let inside = run(input.path(), &input.path().join("faces"), OPTIONS);
    assert_refused!(inside, DataError::OutputInsideInput { .. });
}
