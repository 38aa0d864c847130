//! `dcgan sample`.

use crate::common::{TestDir, files};
use runs::{read_state_dict, write_state_dict};
use std::collections::BTreeMap;
use std::fs;
use tensor::HostTensor;

fn trained() -> TestDir {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "run"]);
    dir
}

#[test]
fn a_seed_gives_the_same_images_whatever_count_and_batch() {
    let dir = trained();
    let images = |name: &str, args: &[&str]| {
        dir.ok(&[&["sample", "--checkpoint", "run", "--out", name], args].concat());
        let mut arrays = read_state_dict(&dir.path(name)).unwrap();
        let array = arrays.remove("images").unwrap();
        assert_eq!(arrays["latents"].shape, [array.shape[0], 100]);
        assert_eq!(array.shape[1..], [16, 16, 3]);
        array.into_f32().unwrap()
    };
    let all = images("a.safetensors", &["--count", "10"]);
    assert!(all.iter().all(|value| (-1.0..=1.0).contains(value)));
    for (name, batch) in [("b.safetensors", "1"), ("c.safetensors", "3"), ("d.safetensors", "10")] {
        assert_eq!(all, images(name, &["--count", "10", "--batch", batch]), "--batch {batch}");
    }
    assert_eq!(all[..4 * 16 * 16 * 3], images("e.safetensors", &["--count", "4"]));
    assert_ne!(all, images("f.safetensors", &["--count", "10", "--seed", "1"]));
    // Sampling from the written latents gives the same images.
    assert_eq!(all, images("g.safetensors", &["--latents", "a.safetensors"]));
    for bn in ["batch", "recalibrated"] {
        assert_ne!(
            all,
            images(&format!("{bn}.safetensors"), &["--count", "10", "--bn", bn]),
            "{bn}"
        );
    }
}

#[test]
fn images_and_grids_are_written_and_never_overwrite() {
    let dir = trained();
    let command = [
        "sample",
        "--checkpoint",
        "run",
        "--count",
        "5",
        "--grid",
        "grid.png",
        "--columns",
        "3",
        "--out",
        "drawn",
    ];
    dir.ok(&command);
    let drawn = files(&dir.path("drawn"));
    assert_eq!(drawn.len(), 5);
    let image = image::open(&drawn[4]).unwrap();
    assert_eq!((image.width(), image.height(), image.color().channel_count()), (16, 16, 3));
    let grid = image::open(dir.path("grid.png")).unwrap();
    assert!(grid.width() > grid.height(), "three columns, two rows");

    fs::write(dir.path("grid.png"), "mine").unwrap();
    dir.refused(1, &command, &["grid.png", "--force"]);
    dir.refused(1, &["sample", "--checkpoint", "run", "--out", "drawn"], &["00000.png", "--force"]);
    assert_eq!(fs::read(dir.path("grid.png")).unwrap(), b"mine");
    dir.ok(&[&command[..], &["--force"]].concat());
    assert_ne!(fs::read(dir.path("grid.png")).unwrap(), b"mine");
}

#[test]
fn impossible_outputs_are_refused_before_sampling() {
    let dir = trained();
    let sample = ["sample", "--checkpoint", "run", "--count", "2"];
    for name in ["one.jpg", "one", "png"] {
        dir.refused(2, &[&sample[..], &["--grid", name]].concat(), &["--grid", name, ".png"]);
    }
    // Before the checkpoint is read.
    let unread = ["sample", "--checkpoint", "gone", "--count", "2"];
    for (flag, path) in
        [("--grid", "none/x.png"), ("--out", "none/x.safetensors"), ("--out", "none/x")]
    {
        dir.refused(
            1,
            &[&unread[..], &[flag, path]].concat(),
            &[flag, path, "there is no folder \"none\""],
        );
    }
    dir.refused(
        1,
        &[&unread[..], &["--grid", "photos/000.png/x.png"]].concat(),
        &["\"photos/000.png\" is not a folder"],
    );
    assert!(!dir.path("none").exists());
    dir.ok(&[&sample[..], &["--grid", "UPPER.PNG"]].concat());
}

#[test]
fn batch_statistics_never_come_from_a_single_image() {
    let dir = trained();
    let sample = |count: &str, name: &str| {
        let args = ["--count", count, "--batch", "4", "--out", name];
        dir.run(&[&["sample", "--checkpoint", "run", "--bn", "batch"], &args[..]].concat())
    };
    assert_eq!(sample("5", "five.safetensors").code, Some(0));
    sample("1", "one.safetensors").refused(1, &["at least 2"]);
}

#[test]
fn latents_of_another_shape_are_refused() {
    let dir = trained();
    let write = |arrays: &[(&str, HostTensor)]| {
        let arrays: BTreeMap<String, HostTensor> =
            arrays.iter().map(|(name, array)| ((*name).to_owned(), array.clone())).collect();
        write_state_dict(&dir.path("z.safetensors"), &arrays).unwrap();
    };
    let refused = |parts: &[&str]| {
        let args =
            ["sample", "--checkpoint", "run", "--latents", "z.safetensors", "--grid", "x.png"];
        dir.refused(1, &args, &[&["z.safetensors", "[N, 100]"], parts].concat());
    };
    write(&[("z", HostTensor::f32([2, 99], vec![0.0; 198]))]);
    refused(&["[2, 99]"]);
    write(&[("z", HostTensor::f32([0, 100], vec![]))]);
    refused(&["[0, 100]"]);
    write(&[("z", HostTensor::scalar_i64(3))]);
    refused(&["integers"]);
    write(&[("z", HostTensor::f32([1, 100], vec![f32::NAN; 100]))]);
    refused(&["NaN"]);
    write(&[
        ("a", HostTensor::f32([1, 100], vec![0.0; 100])),
        ("b", HostTensor::f32([1, 100], vec![0.0; 100])),
    ]);
    refused(&["2 tensors"]);
    dir.refused(
        2,
        &["sample", "--checkpoint", "run", "--latents", "z", "--count", "3", "--grid", "x.png"],
        &["--latents", "--count"],
    );
}

/// Drawing as many images would take minutes, and memory that few computers have.
#[test]
fn grids_that_are_too_large_are_refused_before_drawing() {
    let dir = trained();
    let model = ["--checkpoint", "run"];
    let size = ["too large", "draw fewer"];
    let refused = |command: &[&str], count: &str| {
        let parts = [&[count], &size[..]].concat();
        dir.refused(1, &[command, &model].concat(), &parts);
    };
    refused(&["sample", "--count", "1000000", "--grid", "x.png"], "1000000 images");
    refused(&["sample", "--count", "9000", "--columns", "9000", "--grid", "x.png"], "9000 images");
    refused(&["walk", "--rows", "1000", "--columns", "1000", "--grid", "x.png"], "1000000 images");
    refused(
        &["turn", "--a", "1", "--b", "2", "--rows", "1000", "--columns", "1000", "--grid", "x.png"],
        "1000000 images",
    );
    let exemplars = ["--a", "light=1", "--b", "light=0", "--c", "light=1", "--exemplars", "1000"];
    let candidates = ["--candidates", "100000", "--grid", "x.png"];
    refused(&[&["arithmetic"], &exemplars[..], &candidates].concat(), "4018 images");
    refused(&["nearest", "--count", "1000", "--neighbors", "64", "--grid", "x.png"], "images");
    assert!(!dir.path("x.png").exists());

    // A file whose metadata ask for more than it shows: of images side by side, and of one cell
    // that shows the last of a million.
    dir.ok(&[&["sample", "--count", "4", "--grid", "four.png"], &model[..]].concat());
    let (image, texts) = runs::grid::read_png(&dir.path("four.png")).unwrap();
    let forge = |rows: &str, cells: &str| {
        let text = texts["dcgan"].replace("\"rows\":[[0,4]]", rows);
        let text = text.replace(",\"grid\":", &format!("{cells},\"grid\":"));
        assert!(text.contains(rows) && text.contains(cells), "{text}");
        runs::grid::save_png_with(&dir.path("forged.png"), &image, &[("dcgan", text)]).unwrap();
    };
    let again = [&["reproduce", "forged.png"], &model[..]].concat();
    forge("\"rows\":[[0,1000000]]", "");
    dir.refused(1, &again, &[&["1000000 images"], &size[..]].concat());
    forge("\"rows\":[[0,40]]", "");
    dir.refused(1, &again, &["the reproduced image is", "the file's is"]);
    let unseen = "\"rows\":[[0,200000]]";
    forge(unseen, ",\"cells\":[{\"image\":199999},{\"image\":1},{\"image\":0},{\"image\":3}]");
    // Only the batches of what is shown are drawn.
    let ended = dir.run(&again);
    assert!(ended.code == Some(1) && ended.out.contains("values differ"), "{}", ended.err);
}
