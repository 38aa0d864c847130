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
    dir.refused(1, &import, &["g.pth", "PyTorch", "damaged"]);
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

/// A file of `torch.save`, written by `crates/runs/tests/pytorch/generate.py`.
fn pytorch(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runs/tests/pytorch").join(name);
    text(&path).to_owned()
}

#[test]
fn files_of_pytorch_are_imported_with_the_recipe_that_fits() {
    let dir = TestDir::new();
    let found = "recipe: small for 8x8x1, latent 3, width 2, found by names and shapes";
    let import = |name: &str, out: &str| {
        let generator = pytorch(name);
        dir.ok(&["import", "--generator", &generator, "--out", out])
    };
    let checkpoint = |out: &str| {
        runs::checkpoint::load(&dir.path(out).join("checkpoints/step-00000000.safetensors"))
    };
    for (name, out) in [("generator.pth", "plain"), ("prefix.pth", "prefix"), ("nested.pth", "in")]
    {
        let ended = import(name, out);
        assert!(ended.out.contains(found), "{}", ended.out);
        assert_eq!(checkpoint(out).unwrap().tensors, checkpoint("plain").unwrap().tensors);
        let nested = name == "nested.pth";
        assert_eq!(ended.out.contains("generator: state_dict\n"), nested, "{}", ended.out);
        assert_eq!(ended.err.contains("not read: \"epoch\" (the int 5)"), nested, "{}", ended.err);
    }
    // Both networks of a file.
    let ended = import("both.pth", "both");
    assert!(ended.out.contains("generator: netG\ndiscriminator: netD\n"), "{}", ended.out);
    let both = checkpoint("both").unwrap();
    let netd = runs::StateDictFile::open(Path::new(&pytorch("both.pth"))).unwrap();
    assert_eq!(both.section("d."), netd.read("netD").unwrap());
    assert_eq!(both.section("g."), checkpoint("plain").unwrap().section("g."));
    dir.refused(
        1,
        &["import", "--generator", &pytorch("ema.pth"), "--out", "x"],
        &["several dicts of tensors", "\"ema\", \"netG\"", "torch.save"],
    );
    dir.refused(
        1,
        &["import", "--generator", &pytorch("views-zip.pt"), "--out", "x"],
        &["views-zip.pt", "no recipe", "the nearest is", "main.0.weight", "--recipe"],
    );
    dir.refused(
        1,
        &["import", "--generator", &pytorch("module-zip.pt"), "--out", "x"],
        &["__main__.Net", "state_dict()"],
    );
    dir.refused(
        2,
        &["import", "--generator", &pytorch("generator.pth"), "--width", "2", "--out", "x"],
        &["--recipe"],
    );
    assert!(!dir.path("x").exists());

    // Wherever a checkpoint is taken.
    let file = pytorch("both.pth");
    let ended =
        dir.ok(&["sample", "--checkpoint", &file, "--count", "2", "--out", "a.safetensors"]);
    assert!(ended.err.contains("small for 8x8x1"), "{}", ended.err);
    dir.ok(&["sample", "--checkpoint", "both", "--count", "2", "--out", "b.safetensors"]);
    let [a, b] = ["a", "b"].map(|n| fs::read(dir.path(&format!("{n}.safetensors"))).unwrap());
    assert_eq!(a, b);
    let pixels = ["--real", "photos", "--features", "pixels", "--count", "20", "--no-cache"];
    dir.ok(&[&["eval", "--fake", &file][..], &pixels].concat());
    dir.ok(&[
        "train",
        "--init-from",
        &file,
        "--data",
        "photos",
        "--batch",
        "4",
        "--steps",
        "1",
        "--out",
        "more",
    ]);
    dir.refused(1, &["train", "--resume", &file], &["both.pth"]);
}

#[test]
fn info_lists_what_a_state_dict_holds() {
    let dir = TestDir::new();
    let ended = dir.ok(&["info", &pytorch("nested.pth")]);
    for part in [
        "small for 8x8x1, latent 3, width 2",
        "main.0.weight",
        "[3, 2, 4, 4]",
        "main.1.num_batches_tracked",
        "I64",
        "a list of 1",
    ] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    let ended = dir.ok(&["info", &pytorch("malicious.pth"), "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["format"], "zip");
    assert_eq!(report["dicts"][0]["tensors"][0]["name"], "a");
    assert_eq!(report["unread"][0]["what"], "an object of posix.system");
    assert!(report["recipe"].is_null());
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

/// `export --onnx g.onnx` of the run.
fn of_run<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["export", "--checkpoint", "run", "--onnx", "g.onnx"], more].concat()
}

#[test]
fn networks_are_exported_as_onnx_files() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    let holds = |file: &str, text: &str| {
        let bytes = fs::read(dir.path(file)).unwrap();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    };
    let ended = dir.ok(&of_run(&[]));
    assert!(ended.out.contains("g.onnx"), "{}", ended.out);
    // The dataset's path is not in the file, its last part is.
    for text in ["ConvTranspose", "latent_distribution", "N(0, 1)", "photos-torch", "main.0.weight"]
    {
        assert!(holds("g.onnx", text), "{text}");
    }
    assert!(!holds("g.onnx", "BatchNormalization"));
    let len = |file: &str| fs::metadata(dir.path(file)).unwrap().len();
    let plain = len("g.onnx");
    dir.refused(1, &of_run(&[]), &["g.onnx", "exists already", "--force"]);
    dir.ok(&of_run(&["--force", "--no-fold"]));
    assert!(holds("g.onnx", "BatchNormalization"));
    dir.ok(&of_run(&["--force", "--half", "--uint8"]));
    assert!(len("g.onnx") < plain && holds("g.onnx", "[0, 255]"));
    dir.ok(&["export", "--checkpoint", "run", "--onnx", "d.onnx", "--discriminator"]);
    assert!(holds("d.onnx", "logits") && !holds("d.onnx", "latent"));

    let of_model = ["export", "--model", "fashion", "--onnx", "fashion.onnx"];
    dir.ok(&of_model);
    assert!(holds("fashion.onnx", "OneHot") && holds("fashion.onnx", "Ankle boot"));
    let d_of_model = [&of_model[..], &["--force", "--discriminator"]].concat();
    dir.refused(1, &d_of_model, &["a generator alone", "leave out --discriminator"]);
    dir.refused(
        2,
        &["export", "--model", "fashion", "--onnx", "x.bin"],
        &["--onnx x.bin", ".onnx"],
    );
    dir.refused(2, &["export", "--model", "fashion", "--out", "x", "--half"], &["--onnx"]);
}

#[test]
fn a_module_is_exported_beside_each_state_dict() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    dir.ok(&["export", "--checkpoint", "run", "--out", "weights"]);
    let source = |name: &str| fs::read_to_string(dir.path("weights").join(name)).unwrap();
    assert!(source("generator.py").contains("class Generator(nn.Module)"));
    assert!(source("discriminator.py").contains("nn.BatchNorm2d("));
    fs::remove_file(dir.path("weights/generator.safetensors")).unwrap();
    let again = ["export", "--checkpoint", "run", "--out", "weights"];
    dir.refused(1, &again, &["generator.py", "exists already", "--force"]);
    assert!(!dir.path("weights/generator.safetensors").exists());

    dir.ok(&["export", "--model", "fashion", "--out", "fashion"]);
    let mut files: Vec<_> = fs::read_dir(dir.path("fashion"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["generator.py", "generator.safetensors"]);
}

#[test]
fn a_generator_becomes_a_page() {
    let dir = TestDir::new();
    let page = ["export", "--model", "fashion", "--html", "page.html"];
    dir.ok(&page);
    let text = fs::read_to_string(dir.path("page.html")).unwrap();
    assert!(text.starts_with("<!doctype html>") && text.len() <= 1_500_000, "{}", text.len());
    assert!(!text.contains("://"), "the page names no address");
    dir.refused(1, &page, &["page.html", "exists already", "--force"]);
    dir.ok(&[&page[..], &["--force", "--full"]].concat());
    assert!(fs::metadata(dir.path("page.html")).unwrap().len() > text.len() as u64 * 3 / 2);
    dir.refused(2, &["export", "--model", "fashion", "--html", "page.txt"], &["page.txt", ".html"]);
    dir.refused(2, &["export", "--model", "fashion", "--full", "--out", "x"], &["--html"]);

    let recipe = "base = \"small\"\n[image]\nsize = [16, 16]\n[generator]\nlayers = [\n\
                  { layer = \"linear\", units = 256 },\n\
                  { layer = \"reshape\", shape = [16, 16, 1] },\n\
                  { layer = \"minibatch-stddev\", group = 4 },\n\
                  { layer = \"conv\", channels = 0, kernel = 3, pad = 1 },\n\
                  { layer = \"tanh\" },\n]\n";
    fs::write(dir.path("mixed.toml"), recipe).unwrap();
    let train = ["train", "--data", "photos", "--recipe", "mixed.toml", "--channels", "1"];
    dir.ok(&[&train[..], &["--batch", "4", "--steps", "1", "--out", "run"]].concat());
    let export = ["export", "--checkpoint", "run", "--html", "mixed.html"];
    dir.refused(1, &export, &["main.2", "MinibatchStdDev", "each image alone"]);
    assert!(!dir.path("mixed.html").exists());
}
