//! `dcgan filters`, `guided` and `forget` on tiny trained networks.

use crate::common::{TestDir, files};
use std::fs;
use std::path::PathBuf;

fn trained() -> TestDir {
    let dir = TestDir::new();
    // Wide enough that some weights of a regression have either sign.
    let networks = ["--data", "photos", "--image", "16", "--width", "8", "--batch", "8"];
    dir.ok(&[&["train"], &networks[..], &["--steps", "3", "--out", "run"]].concat());
    dir
}

fn size(dir: &TestDir, name: &str) -> (u32, u32) {
    let image = image::open(dir.path(name)).unwrap();
    (image.width(), image.height())
}

#[test]
fn filters_of_both_networks_are_drawn() {
    let dir = trained();
    let command = ["filters", "--checkpoint", "run", "--grid", "d.png"];
    let text = dir.ok(&command).out;
    assert!(
        text.contains("Layer main.0: 8 filters of 4x4x3") && text.contains("wrote d.png"),
        "{text}"
    );
    assert_eq!(dir.ok(&[&command[..], &["--force", "--device", "cpu"]].concat()).out, text);
    // Eight filters of 4×4, 16 times as large, and the gaps.
    assert_eq!(size(&dir, "d.png"), (8 * 66 + 2, 66 + 2));
    let more = ["--network", "generator", "--columns", "2", "--each", "--json", "--grid", "g.png"];
    let report =
        dir.ok(&[&["filters", "--checkpoint", "run"], &more[..]].concat()).event("filters");
    assert_eq!(report["shape"], serde_json::json!([8, 4, 4, 3]));
    assert_eq!(report["norms"].as_array().unwrap().len(), 8);
    assert_eq!(size(&dir, "g.png"), (2 * 66 + 2, 4 * 66 + 2));
    dir.refused(1, &command, &["d.png", "--force"]);
    dir.ok(&[&command[..], &["--force"]].concat());
    dir.refused(
        1,
        &["filters", "--model", "fashion", "--grid", "x.png"],
        &["no discriminator", "--network"],
    );
    dir.ok(&["filters", "--model", "fashion", "--network", "generator", "--grid", "fashion.png"]);
    dir.refused(2, &["filters", "--grid", "x.png"], &["--checkpoint"]);
}

#[test]
fn guided_gradients_are_drawn_and_reported() {
    let dir = trained();
    let command = [
        "guided",
        "--checkpoint",
        "run",
        "--data",
        "photos",
        "--maps",
        "2",
        "--top",
        "3",
        "--device",
        "cpu",
    ];
    let text = dir.ok(&[&command[..], &["--grid", "guided.png"]].concat()).out;
    for part in ["40 images of photos", "selectivity", "wrote guided.png"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let (width, height) = size(&dir, "guided.png");
    assert!(width > height, "7 columns, 4 rows");
    let report = |args: &[&str]| {
        let all = [&command[..], &["--json", "--force", "--grid", "guided.png"], args].concat();
        dir.ok(&all).json()
    };
    let objects = report(&[]);
    assert_eq!(objects.len(), 6, "a layer, two features of two networks, an image");
    let drawn = fs::read(dir.path("guided.png")).unwrap();
    let top = objects[1]["top"].as_array().unwrap();
    assert!(
        top.len() == 3 && top[0]["response"].as_f64() >= top[2]["response"].as_f64(),
        "{top:?}"
    );
    assert_eq!(objects, report(&[]));
    assert_eq!(drawn, fs::read(dir.path("guided.png")).unwrap());
    // Another seed makes another random network; the trained one is the same.
    let other = report(&["--seed", "1"]);
    assert_eq!(objects[1..3], other[1..3]);
    assert_ne!(objects[3..5], other[3..5]);
    let grid = ["--grid", "x.png"];
    dir.refused(
        1,
        &[&command[..4], &["photos", "--maps", "99"], &grid].concat(),
        &["99 features", "main."],
    );
    // Before the responses that would show that there are not so many.
    dir.refused(
        1,
        &[&command[..4], &["photos", "--maps", "999"], &grid].concat(),
        &["33966 images of 64x64", "draw fewer"],
    );
    dir.refused(2, &[&command[..], &["--image", "32"], &grid].concat(), &["16x16x3"]);
    dir.refused(
        1,
        &["guided", "--checkpoint", "run", "--data", "gone", "--grid", "x.png"],
        &["gone"],
    );
}

#[test]
fn feature_maps_are_dropped_and_reported() {
    let dir = trained();
    let boxes: String = (0..20).map(|i| format!("{i},0,0,8,8\n")).collect();
    fs::write(dir.path("boxes.csv"), format!("sample,x0,y0,x1,y1\n{boxes}")).unwrap();
    let command = [
        "forget",
        "--checkpoint",
        "run",
        "--count",
        "24",
        "--boxes",
        "boxes.csv",
        "--device",
        "cpu",
    ];
    let grid = ["--grid", "forgotten.png", "--columns", "5", "--blocks", "2"];
    let text = dir.ok(&[&command[..], &grid].concat()).out;
    for part in ["20 boxes", "these maps", "random maps", "wrote forgotten.png"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    // 16×16, four times as large: five columns, six rows.
    assert_eq!(size(&dir, "forgotten.png"), (5 * 66 + 2, 6 * 66 + 2));
    let report = |args: &[&str]| {
        dir.ok(&[&command[..], &grid, &["--force", "--json"], args].concat()).event("forget")
    };
    let first = report(&[]);
    assert_eq!(first, report(&[]));
    let dropped = first["dropped"].as_array().unwrap().len() as u64;
    assert!(dropped > 0 && dropped < first["maps"].as_u64().unwrap(), "{first}");
    assert_eq!(first["rates"], serde_json::Value::Null);
    let layer = first["layer"].as_str().unwrap();
    assert_eq!(first, report(&["--layer", layer]));
    dir.refused(
        1,
        &[&command[..], &grid, &["--force", "--layer", "main.99"]].concat(),
        &["main.99", layer],
    );
    fs::write(dir.path("boxes.csv"), "0,0,0,8,8\n1,0,0,99,8\n").unwrap();
    dir.refused(
        1,
        &[&command[..], &grid, &["--force"]].concat(),
        &["boxes.csv", "line 2", "16x16"],
    );
    fs::write(dir.path("boxes.csv"), "0,0,0,16,16\n").unwrap();
    dir.refused(1, &[&command[..], &grid, &["--force"]].concat(), &["fill their images"]);
    dir.refused(
        2,
        &[&command[..], &["--class", "3", "--grid", "x.png"]].concat(),
        &["without a condition"],
    );
    let fashion = ["forget", "--model", "fashion", "--boxes", "boxes.csv", "--grid", "x.png"];
    dir.refused(1, &fashion, &["--class"]);
}

/// The brighter and the darker half of a generator's own images are two classes, so the generator
/// makes both, and a network trained on them detects each.
#[test]
fn a_class_is_detected_and_dropped() {
    let dir = trained();
    dir.ok(&["sample", "--checkpoint", "run", "--count", "80", "--seed", "5", "--out", "drawn"]);
    let mut drawn: Vec<(u64, PathBuf)> = files(&dir.path("drawn"))
        .into_iter()
        .map(|file| {
            (
                image::open(&file).unwrap().to_rgb8().as_raw().iter().map(|v| u64::from(*v)).sum(),
                file,
            )
        })
        .collect();
    drawn.sort();
    for (i, (_, file)) in drawn.iter().enumerate() {
        let folder = dir.path("set").join(if i < 40 { "dark" } else { "bright" });
        fs::create_dir_all(&folder).unwrap();
        fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let features = [
        "eval",
        "train-features",
        "--data",
        "set",
        "--image",
        "16",
        "--epochs",
        "100",
        "--device",
        "cpu",
        "--out",
        "classifier.safetensors",
    ];
    dir.ok(&features);
    let command = [
        "forget",
        "--checkpoint",
        "run",
        "--count",
        "64",
        "--object",
        "bright",
        "--classifier",
        "classifier.safetensors",
        "--num-positives",
        "12",
    ];
    let others = [
        "--negatives",
        "others",
        "--device",
        "cpu",
        "--columns",
        "6",
        "--blocks",
        "1",
        "--controls",
        "3",
        "--grid",
        "bright.png",
    ];
    let report = dir.ok(&[&command[..], &others, &["--json"]].concat()).event("forget");
    assert_eq!(
        (report["object"].as_str(), report["rates"]["controls"].as_array().unwrap().len()),
        (Some("bright"), 3)
    );
    let before = report["rates"]["before"].as_f64().unwrap();
    assert!(
        before > 0.0
            && before < 1.0
            && report["rates"]["after"].as_f64().is_some_and(|after| after != before),
        "{report}"
    );
    assert!((1..=12).contains(&report["boxes"].as_u64().unwrap()), "{report}");
    let text = dir.ok(&[&command[..], &others, &["--force"]].concat()).out;
    assert!(text.contains("detects bright in"), "{text}");
    let unknown = [
        "forget",
        "--checkpoint",
        "run",
        "--object",
        "round",
        "--classifier",
        "classifier.safetensors",
        "--grid",
        "x.png",
    ];
    dir.refused(2, &unknown, &["--object round", "bright, dark"]);
    dir.refused(
        2,
        &["forget", "--checkpoint", "run", "--object", "bright", "--grid", "x.png"],
        &["--classifier"],
    );
    dir.refused(
        1,
        &[
            "forget",
            "--checkpoint",
            "run",
            "--object",
            "bright",
            "--classifier",
            "gone",
            "--grid",
            "x.png",
        ],
        &["gone"],
    );
}
