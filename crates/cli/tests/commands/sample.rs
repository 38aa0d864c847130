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
