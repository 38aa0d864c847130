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

    fs::write(dir.path("g.pth"), b"PK\x03\x04\0\0\x08\x08\0\0\0\0").unwrap();
    let import = [&TORCH64[..], &["--generator", "g.pth", "--out", "pth"]].concat();
    dir.refused(1, &import, &["g.pth", "PyTorch", "safetensors.torch.save_file"]);
    assert!(!dir.path("pth").exists());
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

/// A safetensors file of these tensors, the one called `wide` as F64 with `value` as its second
/// element.
fn write_with_f64(path: &Path, state: &BTreeMap<String, HostTensor>, wide: &str, value: f64) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, tensor) in state {
        let start = data.len();
        let dtype = match (tensor.as_f32(), tensor.as_i64()) {
            (Some(values), _) if name == wide => {
                let mut values: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
                values[1] = value;
                data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
                "F64"
            }
            (Some(values), _) => {
                data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
                "F32"
            }
            (_, counts) => {
                data.extend(counts.unwrap().iter().flat_map(|v| v.to_le_bytes()));
                "I64"
            }
        };
        let offsets = [start, data.len()];
        let entry =
            serde_json::json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": offsets });
        header.insert(name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length[..], &header, &data].concat()).unwrap();
}

#[test]
fn weights_that_are_not_finite_are_refused_wherever_they_are_read() {
    let dir = TestDir::new();
    let state = read_state_dict(&golden("torch64-g.safetensors")).unwrap();
    let import = [&TORCH64[..], &["--generator", "bad.safetensors", "--out", "x"]].concat();
    for value in [f64::NAN, f64::NEG_INFINITY, 1e39] {
        write_with_f64(&dir.path("bad.safetensors"), &state, "main.4.bias", value);
        dir.refused(1, &import, &["bad.safetensors", "\"main.4.bias\"", "element 1"]);
        assert!(!dir.path("x").exists());
    }
    // A float64 that float32 has is read, also under another program's names.
    write_with_f64(&dir.path("bad.safetensors"), &state, "main.4.bias", 0.5);
    dir.ok(&import);
    let named = |prefix: &str| -> BTreeMap<String, HostTensor> {
        let kept = state.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
        kept.map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
    };
    write_state_dict(&dir.path("module.safetensors"), &named("module.")).unwrap();
    dir.ok(&[&TORCH64[..], &["--generator", "module.safetensors", "--out", "m"]].concat());
    // The statistics are those of training, although nothing says how many batches they saw.
    let file = dir.path("m/checkpoints/step-00000000.safetensors");
    let checkpoint = runs::checkpoint::load(&file).unwrap();
    let sampler = train::Sampler::new(&checkpoint, None, &tensor::Device::Cpu).unwrap();
    assert_eq!(sampler.batch_norm(), train::BatchNormMode::Running);

    // A checkpoint whose checksum is right.
    dir.train(&["--steps", "2", "--out", "run"]);
    let file = dir.path("run/checkpoints/step-00000002.safetensors");
    let mut checkpoint = runs::checkpoint::load(&file).unwrap();
    let tensor = checkpoint.tensors.get_mut("g.main.0.weight").unwrap();
    let mut values = tensor.as_f32().unwrap().to_vec();
    values[0] = f32::INFINITY;
    *tensor = HostTensor::f32(tensor.shape.clone(), values);
    runs::checkpoint::save(&file, &checkpoint).unwrap();
    let parts = ["main.0.weight", "inf", "element 0"];
    dir.refused(1, &["sample", "--checkpoint", text(&file), "--grid", "x.png"], &parts);
    dir.refused(1, &["train", "--resume", text(&file), "--steps", "3"], &parts);
    dir.refused(1, &["export", "--checkpoint", text(&file), "--out", "x"], &parts);
    let init = ["--init-from", text(&file), "--steps", "1", "--out", "more"];
    dir.refused(1, &TestDir::training(&init), &parts);
    assert!(!dir.path("more").exists() && !dir.path("x.png").exists());
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
