//! `dcgan import` and `export`: weights to and from other programs.

use crate::common::TestDir;
use runs::{read_state_dict, write_state_dict};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tensor::HostTensor;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nn/tests/golden").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const TORCH64: [&str; 7] = ["import", "--recipe", "torch", "--width", "4", "--latent", "8"];

#[test]
fn pytorch_weights_sample_as_in_pytorch_and_export_unchanged() {
    let dir = TestDir::new();
    let (g, d) = (golden("torch64-g.safetensors"), golden("torch64-d.safetensors"));
    dir.ok(&[
        &TORCH64[..],
        &["--generator", text(&g), "--discriminator", text(&d), "--out", "run"],
    ]
    .concat());

    let networks = read_state_dict(&golden("networks.safetensors")).unwrap();
    let latents = networks["torch64/z"].clone();
    let count = latents.shape[0];
    let flat = HostTensor::f32([count, 8], latents.into_f32().unwrap());
    write_state_dict(&dir.path("z.safetensors"), &BTreeMap::from([("z".to_owned(), flat)]))
        .unwrap();
    let sample = [
        "sample",
        "--checkpoint",
        "run",
        "--bn",
        "running",
        "--latents",
        "z.safetensors",
        "--out",
        "x.safetensors",
    ];
    dir.ok(&sample);
    let drawn = read_state_dict(&dir.path("x.safetensors")).unwrap().remove("images").unwrap();
    assert_eq!(drawn.shape, [count, 64, 64, 3]);
    let drawn = drawn.into_f32().unwrap();
    let wanted = networks["torch64/image_eval"].as_f32().unwrap();
    assert_eq!(wanted.len(), drawn.len());
    let largest = wanted.iter().fold(0f32, |most, value| most.max(value.abs()));
    for (i, (wanted, drawn)) in wanted.iter().zip(&drawn).enumerate() {
        assert!((drawn - wanted).abs() <= 1e-5 * largest, "{i}: {drawn} for {wanted}");
    }

    dir.ok(&["export", "--checkpoint", "run", "--out", "back"]);
    for (name, original) in [("generator", &g), ("discriminator", &d)] {
        let back = read_state_dict(&dir.path("back").join(format!("{name}.safetensors"))).unwrap();
        assert_eq!(back, read_state_dict(original).unwrap(), "{name}");
    }
    let both =
        ["export", "--checkpoint", "run", "--out", "back", "--generator", "alone.safetensors"];
    dir.refused(1, &both, &["generator.safetensors", "exists already", "--force"]);
    assert!(!dir.path("alone.safetensors").exists(), "what is refused leaves nothing behind");
    let old = fs::read(dir.path("back/generator.safetensors")).unwrap();
    fs::write(dir.path("back/generator.safetensors"), "old").unwrap();
    dir.ok(&[&both[..], &["--force"]].concat());
    assert!(
        fs::read(dir.path("back/generator.safetensors")).unwrap() == old
            && dir.path("alone.safetensors").exists()
    );
    // It can initialize a run, but it has no state to resume.
    for named in ["run", "run/checkpoints/step-00000000.safetensors"] {
        let ended = dir.run(&["train", "--resume", named]);
        ended.refused(1, &["holds no training state", "train --init-from"]);
        assert!(
            !ended.err.contains("invalid type") && !ended.err.contains("struct"),
            "{}",
            ended.err
        );
    }
    dir.ok(&[
        "train",
        "--init-from",
        "run",
        "--data",
        "photos",
        "--batch",
        "4",
        "--steps",
        "1",
        "--out",
        "more",
    ]);
}

#[test]
fn trained_weights_survive_export_and_import() {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "run"]);
    dir.ok(&["export", "--checkpoint", "run", "--out", "weights"]);
    let files = [
        "--generator",
        "weights/generator.safetensors",
        "--discriminator",
        "weights/discriminator.safetensors",
    ];
    let ended = dir.ok(&[
        &["import", "--recipe", "torch", "--image", "16", "--width", "2", "--out", "again"],
        &files[..],
    ]
    .concat());
    assert!(ended.out.contains("--checkpoint again --grid"), "{}", ended.out);
    let ended = dir.ok(&[
        &["import", "--recipe", "torch", "--image", "16", "--width", "2", "--out", "a b"],
        &files[..],
    ]
    .concat());
    assert!(ended.out.contains("--checkpoint 'a b' --grid"), "{}", ended.out);
    for run in ["run", "again"] {
        dir.ok(&[
            "sample",
            "--checkpoint",
            run,
            "--count",
            "3",
            "--out",
            &format!("{run}.safetensors"),
        ]);
    }
    assert_eq!(
        fs::read(dir.path("run.safetensors")).unwrap(),
        fs::read(dir.path("again.safetensors")).unwrap()
    );
}

#[test]
fn weights_of_another_recipe_are_refused_by_name() {
    let dir = TestDir::new();
    let g = golden("torch64-g.safetensors");
    let import = |args: &[&str], parts: &[&str]| {
        dir.refused(
            1,
            &[&["import", "--recipe", "torch", "--generator", text(&g), "--out", "x"], args]
                .concat(),
            parts,
        );
    };
    import(
        &["--width", "4"],
        &["torch64-g.safetensors", "main.0.weight", "[100, 32, 4, 4]", "[8, 32, 4, 4]"],
    );
    import(
        &["--width", "4", "--latent", "8", "--image", "32"],
        &["torch64-g.safetensors", "main."],
    );
    dir.refused(
        1,
        &[&TORCH64[..], &["--generator", "gone.safetensors", "--out", "x"]].concat(),
        &["gone.safetensors"],
    );
    dir.refused(1, &["import", "--recipe", "newmu-svhn", "gone", "--out", "x"], &["gone"]);
    dir.refused(
        1,
        &["import", "--recipe", "newmu-svhn", "photos", "--out", "x"],
        &["200_gen_params.jl_01.npy"],
    );
    dir.refused(2, &["import", "--recipe", "newmu-svhn", "--out", "x"], &["folder"]);
    dir.refused(2, &["import", "--recipe", "torch", "photos", "--out", "x"], &["--generator"]);
    dir.refused(2, &["import", "--recipe", "torch", "--out", "x"], &["--generator"]);
    assert!(!dir.path("x").exists());
}

#[test]
fn the_authors_networks_generate_house_numbers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/newmu-svhn");
    if !folder.is_dir() {
        eprintln!(
            "skipped: the weights that the paper's authors released are not in {}",
            folder.display()
        );
        return;
    }
    let dir = TestDir::new();
    dir.ok(&["import", "--recipe", "newmu-svhn", text(&folder), "--out", "svhn"]);
    dir.ok(&[
        "sample",
        "--checkpoint",
        "svhn",
        "--count",
        "64",
        "--out",
        "x.safetensors",
        "--grid",
        "svhn.png",
    ]);
    let images = read_state_dict(&dir.path("x.safetensors")).unwrap().remove("images").unwrap();
    assert_eq!(images.shape, [64, 32, 32, 3]);
    // Photographs are smooth; flipped kernels or a wrong normalization leave checkerboards and
    // saturation. Neighboring pixels differ far less than distant ones, and few are at the ends of
    // the range.
    let images = images.into_f32().unwrap();
    let at = |n: usize, y: usize, x: usize| images[((n * 32 + y) * 32 + x) * 3];
    let mut sums = [0.0f64; 2];
    for (n, y, x) in
        (0..64).flat_map(|n| (0..32).flat_map(move |y| (0..16).map(move |x| (n, y, x))))
    {
        sums[0] += f64::from((at(n, y, x) - at(n, y, x + 1)).powi(2));
        sums[1] += f64::from((at(n, y, x) - at((n + 1) % 64, y, x)).powi(2));
    }
    assert!(sums[0] * 10.0 < sums[1], "{sums:?}");
    let saturated = images.iter().filter(|value| value.abs() > 0.99).count();
    assert!(saturated * 10 < images.len(), "{saturated} of {}", images.len());
}
