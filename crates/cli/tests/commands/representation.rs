//! `dcgan features` and `dcgan linear-probe`.

use crate::common::{TestDir, write_images};
use runs::read_state_dict;
use std::fs;

/// A tiny trained run, and a labeled dataset of two classes with both splits.
fn trained() -> TestDir {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "run"]);
    for (part, count) in [("train", 60), ("test", 20)] {
        for class in ["plain", "striped"] {
            let folder = dir.path(&format!("kinds/{part}/{class}"));
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let image = image::RgbImage::from_fn(16, 16, |x, y| {
                    let stripe = if class == "striped" && (x + i) % 4 < 2 { 60 } else { 0 };
                    let noise = (x * 37 + y * 59 + i * 83 + x * y * i) % 90;
                    image::Rgb([(40 + stripe + noise) as u8; 3])
                });
                image.save(folder.join(format!("{i:02}.png"))).unwrap();
            }
        }
    }
    dir
}

#[test]
fn features_are_written_with_labels_whatever_the_count() {
    let dir = trained();
    let features = |out: &str, args: &[&str]| {
        let ended = dir.ok(&[
            &[
                "features",
                "--checkpoint",
                "run",
                "--data",
                "kinds",
                "--out",
                out,
                "--device",
                "cpu",
            ],
            args,
        ]
        .concat());
        (read_state_dict(&dir.path(out)).unwrap(), ended.out)
    };
    let (all, text) = features("all.safetensors", &["--grid", "points.png"]);
    let points = image::open(dir.path("points.png")).unwrap().to_rgb8();
    assert_eq!(points.dimensions(), (900, 640));
    // Two classes, the first of them red.
    assert!(points.pixels().filter(|p| p.0[0] > 180 && p.0[1] < 110 && p.0[2] < 110).count() > 100);
    assert!(text.contains("wrote points.png"), "{text}");
    // Width 2: 8×8×2 and 4×4×4 maps, each pooled to 4×4.
    assert_eq!(
        (&all["features"].shape[..], &all["labels"].shape[..]),
        (&[120, 96][..], &[120][..])
    );
    assert!(
        text.contains("8x8x2") && text.contains("96 features for each of 120 images"),
        "{text}"
    );
    assert_eq!(all["labels"].as_i64().unwrap()[59..61], [0, 1]);
    let (part, _) = features("part.safetensors", &["--count", "7"]);
    assert_eq!(part["features"].shape, [7, 96]);
    for (row, &index) in
        part["features"].as_f32().unwrap().chunks(96).zip(part["indices"].as_i64().unwrap())
    {
        assert_eq!(row, &all["features"].as_f32().unwrap()[index as usize * 96..][..96]);
    }
    let (random, _) = features("random.safetensors", &["--untrained", "--seed", "4"]);
    assert_ne!(random["features"], all["features"]);
    let (of_images, _) = features("images.safetensors", &["--bn-d", "images"]);
    assert_ne!(of_images["features"], all["features"]);
    let again = ["features", "--checkpoint", "run", "--data", "kinds", "--out", "all.safetensors"];
    dir.refused(1, &again, &["all.safetensors", "--force"]);
    let over = [
        "features",
        "--checkpoint",
        "run",
        "--data",
        "kinds",
        "--out",
        "new.safetensors",
        "--grid",
        "points.png",
    ];
    dir.refused(1, &over, &["points.png", "--force"]);
    dir.refused(
        2,
        &["features", "--checkpoint", "run", "--data", "kinds", "--out", "x.npy"],
        &["--out x.npy", ".safetensors"],
    );
}

#[test]
fn representations_are_compared_over_draws_of_labels() {
    let dir = trained();
    let probe = [
        "linear-probe",
        "--checkpoint",
        "run",
        "--data",
        "kinds",
        "--protocol",
        "fashion1000",
        "--device",
        "cpu",
    ];
    let few = [
        "--num-labels",
        "20",
        "--validation",
        "40",
        "--draws",
        "3",
        "--centroids",
        "16",
        "--trials",
        "2",
        "--epochs",
        "4",
    ];
    let run = |args: &[&str]| dir.ok(&[&probe[..], &few, args].concat());
    let rows = run(&["--json", "--out", "all.json", "--grid", "all.png"]).json();
    // Five bars and an axis.
    let bars = image::open(dir.path("all.png")).unwrap();
    assert_eq!((bars.width(), bars.height()), (900, 5 * 56 + 74));
    dir.refused(1, &[&probe[..], &["--grid", "all.png"]].concat(), &["all.png", "--force"]);
    let names: Vec<&str> = rows.iter().map(|row| row["representation"].as_str().unwrap()).collect();
    assert_eq!(names, ["D", "random D", "pixels", "K-means", "supervised"]);
    assert_eq!(rows[4]["trials"].as_array().unwrap().len(), 2);
    for row in &rows[..4] {
        assert_eq!(
            (&row["labels"], &row["held_out"], &row["tested"]),
            (&20.into(), &40.into(), &40.into())
        );
        assert_eq!(row["draws"].as_array().unwrap().len(), 3);
        assert!(row["accuracy"].as_f64().unwrap() > 0.6, "{row}");
    }
    let written: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(dir.path("all.json")).unwrap()).unwrap();
    assert_eq!(written, rows);
    assert_eq!(run(&["--json"]).json(), rows);
    let table = run(&["--representations", "pixels", "--standardize"]).out;
    assert!(
        table.contains("pixels") && table.contains("over 3 draws") && !table.contains("random D"),
        "{table}"
    );
    let same = run(&["--representations", "pixels,pixels"]).out;
    assert!(
        same.contains(
            "pixels compared with pixels: +0.00 ± 0.00 points, draw by draw; better in 0 of 3"
        ),
        "{same}"
    );
    // All labels, in one draw.
    let all = dir.ok(&[
        &probe[..5],
        &["--protocol", "cifar10", "--validation", "40", "--json", "--representations", "d"],
    ]
    .concat());
    assert_eq!(all.json()[0]["labels"], 80);
}

#[test]
fn impossible_comparisons_are_refused() {
    let dir = trained();
    let probe =
        ["linear-probe", "--checkpoint", "run", "--protocol", "fashion1000", "--device", "cpu"];
    let refused =
        |args: &[&str], parts: &[&str]| dir.refused(1, &[&probe[..], args].concat(), parts);
    refused(
        &["--data", "kinds", "--num-labels", "21", "--validation", "40"],
        &["21 labels", "2 classes", "--num-labels 20"],
    );
    refused(
        &["--data", "kinds", "--num-labels", "200", "--validation", "40"],
        &["\"plain\"", "--num-labels"],
    );
    refused(&["--data", "kinds"], &["10000", "120", "--validation"]);
    refused(&["--data", "photos"], &["test"]);
    write_images(&dir.path("bare/train"), 12);
    write_images(&dir.path("bare/test"), 12);
    refused(&["--data", "bare", "--validation", "4"], &["0 classes"]);
    dir.ok(&["export", "--checkpoint", "run", "--generator", "g.safetensors"]);
    let features =
        ["features", "--checkpoint", "g.safetensors", "--data", "kinds", "--out", "x.safetensors"];
    dir.refused(1, &features, &["no discriminator"]);
}
