//! `dcgan dedup` and `dcgan nearest`.

use crate::common::{TestDir, files, write_images};
use std::fs;

#[test]
fn duplicates_are_found_reported_and_left_out() {
    let dir = TestDir::new();
    // Two copies under other names, one of them in a sub-folder.
    fs::copy(dir.path("photos/003.png"), dir.path("photos/copy.png")).unwrap();
    fs::create_dir(dir.path("photos/more")).unwrap();
    fs::copy(dir.path("photos/017.png"), dir.path("photos/more/017.png")).unwrap();
    fs::write(dir.path("photos/attributes.csv"), table(&dir)).unwrap();
    let dedup = ["dedup", "photos", "--epochs", "30", "--device", "cpu"];
    let run = |args: &[&str]| dir.ok(&[&dedup[..], args].concat());
    let report =
        run(&["--json", "--out", "clean", "--groups", "groups.json", "--grid", "groups.png"])
            .json()
            .remove(0);
    let groups: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(dir.path("groups.json")).unwrap()).unwrap();
    let left_out = report["left_out"].as_u64().unwrap();
    assert!(left_out >= 2 && report["images"] == 42, "{report}");
    for (kept, copy) in [("003.png", "copy.png"), ("017.png", "more/017.png")] {
        let group = groups.iter().find(|group| {
            group["kept"] == kept || group["left_out"].as_array().unwrap().contains(&kept.into())
        });
        let group = group.unwrap_or_else(|| panic!("no group with {kept}"));
        assert!(group["left_out"].as_array().unwrap().contains(&copy.into()), "{group}");
    }
    assert!(
        dir.path("clean/003.png").is_file()
            && !dir.path("clean/copy.png").exists()
            && !dir.path("clean/more").exists()
    );
    let rows = fs::read_to_string(dir.path("clean/attributes.csv")).unwrap();
    assert_eq!(rows.lines().count() as u64, 1 + 42 - left_out);
    assert_eq!(files(&dir.path("clean")).len() as u64, 1 + 42 - left_out);
    assert!(image::open(dir.path("groups.png")).unwrap().width() > 100);
    // The same seed finds the same duplicates, also as a list.
    assert_eq!(run(&["--json", "--out", "clean.txt"]).json()[0], report);
    assert_eq!(
        fs::read_to_string(dir.path("clean.txt")).unwrap().lines().count() as u64,
        42 - left_out
    );
    // A wider radius finds at least as many.
    assert!(run(&["--json", "--radius", "6"]).json()[0]["left_out"].as_u64().unwrap() >= left_out);
    let text = run(&[]).out;
    assert!(
        text.contains("copy.png")
            && text.contains("of 128 bits")
            && text.contains("false positives"),
        "{text}"
    );
    dir.refused(
        1,
        &[&dedup[..], &["--out", "clean", "--force"]].concat(),
        &["\"clean\" is an existing folder"],
    );
    // A file is not replaced by a folder.
    dir.refused(
        1,
        &[&dedup[..], &["--out", "groups.png", "--force"]].concat(),
        &["\"groups.png\" is an existing file"],
    );
    // Said before the work, and by the name that was given.
    dir.refused(
        1,
        &["dedup", "photos", "--device", "cpu", "--out", "photos/clean"],
        &["\"photos/clean\" is inside \"photos\""],
    );
}

#[test]
fn datasets_without_files_are_written_as_images() {
    let dir = TestDir::new();
    for class in ["cat", "dog"] {
        write_images(&dir.path(&format!("zoo/{class}")), 12);
    }
    dir.ok(&["data", "prepare", "zoo", "--image", "32", "--channels", "3", "--out", "zoo.dcgan"]);
    let dedup = ["dedup", "zoo.dcgan", "--epochs", "30", "--device", "cpu", "--json"];
    let report = dir.ok(&[&dedup[..], &["--out", "clean"]].concat()).json().remove(0);
    // Both classes have the same images.
    let stay = 24 - report["left_out"].as_u64().unwrap();
    assert!(stay <= 12, "{report}");
    let kept: Vec<_> = files(&dir.path("clean")).iter().flat_map(|folder| files(folder)).collect();
    assert_eq!(kept.len() as u64, stay);
    assert!(dir.path("clean/cat").is_dir());
    let image = image::open(&kept[0]).unwrap();
    assert_eq!((image.width(), image.height()), (32, 32));
}

#[test]
fn a_dataset_without_duplicates_has_no_sheet() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("noise")).unwrap();
    for i in 0..6u32 {
        let noise = image::RgbImage::from_fn(32, 32, |x, y| {
            let hash = ((x * 73_856_093) ^ (y * 19_349_663) ^ ((i + 1) * 83_492_791))
                .wrapping_mul(2_654_435_761);
            image::Rgb([(hash >> 24) as u8, (hash >> 16) as u8, (hash >> 8) as u8])
        });
        noise.save(dir.path(&format!("noise/{i}.png"))).unwrap();
    }
    let dedup = [
        "dedup", "noise", "--epochs", "30", "--device", "cpu", "--out", "clean", "--groups",
        "g.json", "--grid", "g.png",
    ];
    let ended = dir.ok(&dedup);
    assert!(
        ended.out.contains("0 groups") && ended.err.contains("g.png is not written"),
        "{} {}",
        ended.out,
        ended.err
    );
    assert!(
        dir.path("clean/5.png").is_file()
            && dir.path("g.json").is_file()
            && !dir.path("g.png").exists()
    );
}

fn table(dir: &TestDir) -> String {
    let root = dir.path("photos");
    let mut text = String::from("file,number\n");
    for file in
        files(&root).into_iter().chain(files(&root.join("more"))).filter(|file| file.is_file())
    {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        text += &format!("{name},1\n");
    }
    text
}

#[test]
fn samples_are_shown_with_their_neighbors() {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "run"]);
    let command = [
        "nearest",
        "--checkpoint",
        "run",
        "--count",
        "3",
        "--neighbors",
        "2",
        "--grid",
        "near.png",
        "--device",
        "cpu",
    ];
    let text = dir.ok(&command).out;
    assert!(text.contains("small transforms") && text.contains("nearest in features"), "{text}");
    let sheet = image::open(dir.path("near.png")).unwrap().to_rgb8();
    // Cells of 64 pixels with frames of 3 and lines of 1: a sample, two neighbors in pixels, two in
    // features.
    assert_eq!(sheet.dimensions(), (5 * 71 + 1, 3 * 71 + 1));
    let frame = |column: u32| sheet.get_pixel(1 + column * 71, 1).0;
    assert_eq!((frame(0), frame(1), frame(2)), ([255; 3], frame(2), frame(1)));
    assert!(frame(1)[0] > 200 && frame(1)[2] < 50 && frame(3)[2] > 200, "yellow, then blue");
    dir.refused(1, &command, &["near.png", "--force"]);
    let rows = dir.ok(&[&command[..], &["--force", "--json"]].concat()).json();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        for kind in ["pixels", "features"] {
            let near = row[kind].as_array().unwrap();
            assert!(
                near.len() == 2 && near[0]["distance"].as_f64() <= near[1]["distance"].as_f64(),
                "{row}"
            );
        }
    }
    let many = ["--neighbors", "64", "--grid", "many.png"];
    dir.refused(1, &[&command[..5], &many].concat(), &["at least 64 images", "40"]);
    // A generator alone has no features.
    dir.ok(&["export", "--checkpoint", "run", "--generator", "g.safetensors"]);
    let alone = [
        "nearest",
        "--checkpoint",
        "g.safetensors",
        "--data",
        "photos",
        "--grid",
        "alone.png",
        "--json",
    ];
    assert!(dir.ok(&alone).json()[0]["features"].is_null());
}
