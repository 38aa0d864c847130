//! Invalid flags and files: one line that names the problem, exit code 2 for usage and 1 otherwise.

use crate::common::{Ended, TestDir, files, write_images};
use std::fs;

#[test]
fn flags_out_of_range_are_usage() {
    let dir = TestDir::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--batch", "0"], &["--batch", "'0'"]),
        (&["--lr", "0"], &["--lr", "greater than 0"]),
        (&["--lr", "-1"], &["--lr", "greater than 0"]),
        (&["--lr", "NaN"], &["--lr", "NaN"]),
        (&["--image", "63"], &["63", "60x60, 64x64"]),
        (&["--image", "33x64"], &["33x64", "32x64, 36x64"]),
        (&["--image", "2"], &["8x8"]),
        (&["--channels", "2"], &["--channels", "1 (gray)"]),
        (&["--steps", "0"], &["--steps", "'0'"]),
        (&["--steps", "5", "--epochs", "5"], &["--steps", "--epochs"]),
        (&["--ema", "1"], &["--ema", "less than 1"]),
        (&["--seed", "-1"], &["'-1'"]),
        (&["--device", "tpu"], &["tpu", "auto, cpu, gpu"]),
        (&["--threads", "0"], &["--threads"]),
        (&["--keep", "0"], &["--keep"]),
        (&["--log-every", "0"], &["--log-every"]),
        (&["--background", "red"], &["--background", "hexadecimal"]),
        (&["--fit", "zoom"], &["zoom", "crop"]),
        (&["--recipe", "torhc"], &["torhc", "did you mean \"torch\"?"]),
        (&["--recipe", "paper", "--batch", "1"], &["batch norm", "single value"]),
        (&["--batch", "1", "--recipe", "torch", "--epochs", "900000000000"], &["--epochs"]),
        (&["--widht", "4"], &["--widht", "--width"]),
        (&["--resume", "--init-from", "x"], &["--resume", "--init-from"]),
        // Conditions that no listed layer reads, or that are missing, and keys that a list makes
        // unused.
        (
            &[
                "--recipe",
                "newmu-mnist",
                "--condition",
                "class",
                "--condition-g",
                "none",
                "--dry-run",
            ],
            &["condition.generator", "generator.layers has layers that read the condition"],
        ),
        (
            &["--recipe", "newmu-mnist", "--condition", "class", "--condition-d", "none"],
            &["condition.discriminator"],
        ),
        (
            &["--recipe", "keras-mnist", "--condition", "class"],
            &["condition.generator", "add { layer = \"condition\" }"],
        ),
        (
            &["--recipe", "gan2014", "--norm-d", "layer"],
            &["discriminator.norm", "with a list of layers"],
        ),
        (&["--recipe", "gan2014", "--width", "8"], &["generator.width", "with a list of layers"]),
        // Invalid combinations.
        (&["--optimizer", "sgd", "--beta1", "0.5"], &["optimizer.beta1", "adam"]),
        (&["--r1-every", "8"], &["objective.r1_every", "needs objective.r1"]),
        (&["--noise-decay", "100"], &["noise.decay_steps", "no noise"]),
        (&["--label-flip", "1"], &["labels.flip", "less than 1"]),
        (&["--label-flip", "--loss", "hinge"], &["objective.loss", "no targets"]),
        (&["--minibatch-discrimination", "5"], &["--minibatch-discrimination", "100,5,mean"]),
        (
            &["--minibatch-discrimination", "5,3,median"],
            &["minibatch_discrimination", "median", "mean"],
        ),
        (&["--num-labels", "100"], &["objective.num_labels", "semi_supervised"]),
    ];
    for (args, parts) in cases {
        dir.refused(2, &[&["train", "--data", "photos"], *args].concat(), parts);
    }
    for args in [
        &["sample", "--checkpoint", "x"][..],
        &["sample"],
        &["export"],
        &["import", "--out", "x"],
        &["paint"],
    ] {
        dir.refused(2, args, &["(see --help)"]);
    }
    assert!(!dir.path("runs").exists());
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let dir = TestDir::new();
    let adapters = dir.ok(&["devices", "--json"]).json().split_off(1);
    dir.refused(
        1,
        &["train", "--device", "gpu:99", "--allow-software"],
        &[if adapters.is_empty() { "no graphics adapter" } else { "there is no gpu:99" }],
    );
    if !adapters.iter().any(|a| a["software"] == false) {
        let way_out = if adapters.is_empty() { "--device cpu" } else { "--allow-software" };
        dir.refused(1, &["train", "--device", "gpu"], &[way_out]);
        dir.refused(
            1,
            &["train", "--precision", "mixed"],
            &["the cpu", "half precision", "--precision f32"],
        );
    }
    dir.refused(
        1,
        &["sample", "--checkpoint", "x", "--grid", "x.png", "--device", "cpu"],
        &["\"x\""],
    );
    assert!(!dir.path("runs").exists());
}

#[test]
fn an_instruction_set_that_is_not_there_is_named() {
    let dir = TestDir::new();
    let ended = Ended::of(dir.command(&["devices"]).env("DCGAN_SIMD", "mmx").output().unwrap());
    ended.refused(1, &["DCGAN_SIMD=mmx", "portable"]);
}

#[test]
fn data_that_is_not_there_or_empty() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("empty")).unwrap();
    fs::create_dir(dir.path("texts")).unwrap();
    fs::write(dir.path("texts/a.txt"), "hello").unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("nowhere", &["no data at \"nowhere\""]),
        ("fashon-mnist", &["did you mean \"fashion-mnist\"?"]),
        ("", &["no dataset given"]),
        ("empty", &["no images in", "empty"]),
        ("texts", &["no images in", "1 other file"]),
        ("lmdb:photos", &["unknown format \"lmdb\""]),
        ("photos/000.png", &["000.png", "single image"]),
    ];
    for (spec, parts) in cases {
        let ended = dir.run(&["train", "--data", spec, "--out", "run"]);
        ended.refused(1, parts);
        assert_eq!(
            ended.out, "",
            "the networks are shown only once there is something to learn from"
        );
    }
    dir.refused(
        1,
        &["train", "--data", "photos", "--batch", "41", "--out", "run"],
        &["40 images", "batch of 41"],
    );
    assert!(!dir.path("run").exists());
}

#[test]
fn an_impossible_output_is_refused_before_images_are_read() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("empty")).unwrap();
    let refused = |args: &[&str], parts: &[&str]| {
        dir.refused(1, &[&["train", "--data", "empty"], args].concat(), parts);
    };
    refused(&["--out", "photos"], &["\"photos\" exists and is not empty"]);
    refused(&["--out", "photos/000.png/run"], &["cannot write", "photos/000.png/run"]);
    refused(&["--runs-dir", "photos/000.png"], &["cannot write", "photos/000.png"]);
    refused(&["--out", "new/run"], &["no images in"]);
    assert!(!dir.path("new").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_step_that_does_not_fit_the_memory_is_refused() {
    let dir = TestDir::new();
    // About 45 GiB: the most that a recipe can ask for with so few images.
    let huge = [
        "train", "--data", "photos", "--image", "1024", "--batch", "40", "--width", "64", "--out",
        "run",
    ];
    let table = fs::read_to_string("/proc/meminfo").unwrap();
    let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
    if kib > 43 << 20 {
        eprintln!("skipped: this computer has memory enough");
        return;
    }
    let parts =
        ["training on 40 images a step takes 4", "GiB are available", "smaller --batch, --width"];
    dir.refused(1, &huge, &parts);
    assert!(!dir.path("run").exists());
    let ended = dir.ok(&[&huge[..], &["--dry-run", "--json"]].concat());
    assert_eq!(ended.err, "");
    let message = ended.event("warning")["message"].as_str().unwrap().to_owned();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    assert_eq!(ended.event("dry_run")["steps"], 25);
}

/// A limit of address space: what does not fit is refused before it begins, and an allocation that
/// fails all the same ends the command with one line, not with an abort.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_address_space_is_an_error_with_a_way_out() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    let limited = |kib: u32, args: &[&str]| {
        Ended::of(dir.command_after(&format!("ulimit -v {kib}"), args).output().unwrap())
    };
    let train = ["train", "--data", "photos", "--image", "128", "--batch", "40", "--out", "large"];
    limited(1_500_000, &train).refused(1, &["address space (ulimit -v)", "smaller --batch"]);
    assert!(!dir.path("large").exists());
    let drawn = ["--count", "65536", "--batch", "65536", "--out", "drawn"];
    let sample = [&["sample", "--model", "fashion", "--class", "Sneaker"], &drawn[..]].concat();
    limited(1_500_000, &sample).refused(1, &["no memory for a tensor of", "--batch", "ulimit -v"]);
    let grid = ["sample", "--checkpoint", "run", "--count", "900000", "--columns", "1000"];
    let file = [&grid[..], &["--out", "x.safetensors"]].concat();
    limited(1_500_000, &file).refused(1, &["900000 images take", "lower --count"]);
    // What fits is trained.
    let small = limited(4_000_000, &TestDir::training(&["--steps", "1", "--out", "small"]));
    assert_eq!(small.code, Some(0), "{}", small.err);
    assert!(dir.path("small/checkpoints").is_dir());
}

/// The decoders abort where they get no memory. With more of it the image is read, so it is not
/// left out as a bad one.
#[cfg(target_os = "linux")]
#[test]
fn an_image_that_does_not_fit_into_memory_is_an_error() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("large")).unwrap();
    image::GrayImage::new(16384, 16384).save(dir.path("large/black.png")).unwrap();
    let limited = |kib: u32, args: &[&str]| {
        let mut command = dir.command_after(&format!("ulimit -v {kib}"), args);
        command.envs([("RAYON_NUM_THREADS", "2"), ("MALLOC_ARENA_MAX", "2")]);
        Ended::of(command.output().unwrap())
    };
    let info = ["data", "info", "large"];
    let prepare = ["data", "prepare", "large", "--image", "8", "--channels", "1", "--out", "set"];
    let parts = ["memory for the 16384×16384 pixels of \"black.png\"", "ulimit -v"];
    limited(900_000, &info).refused(1, &parts);
    limited(900_000, &prepare).refused(1, &parts);
    let whole = limited(2_000_000, &info);
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    assert!(whole.out.contains("16384"), "{}", whole.out);
}

/// Where even small allocations fail, the exit code is that of an error, not of a signal.
#[cfg(target_os = "linux")]
#[test]
fn an_allocation_that_cannot_be_refused_ends_with_an_error() {
    let dir = TestDir::new();
    let limited = |mib: u32, args: &[&str]| {
        let mut command = dir.command_after(&format!("ulimit -v {}", mib << 10), args);
        Ended::of(command.env("RAYON_NUM_THREADS", "2").output().unwrap())
    };
    // Below about this limit the system cannot load the program.
    let least = (30..300).find(|&mib| limited(mib, &["--version"]).code == Some(0)).unwrap();
    for mib in [3, 7, 11].map(|more| least + more) {
        let preview = ["data", "preview", "photos", "--image", "512", "--grid", "preview.png"];
        let ended = limited(mib, &preview);
        assert_eq!(ended.code, Some(1), "{mib} MiB: {}", ended.err);
        assert!(ended.err.contains("memory"), "{mib} MiB: {}", ended.err);
    }
}

#[test]
fn more_than_a_tenth_of_bad_images_is_too_many() {
    let dir = TestDir::new();
    for i in 0..5 {
        let good = fs::read(dir.path("photos/000.png")).unwrap();
        fs::write(dir.path(&format!("photos/cut{i}.png")), &good[..good.len() / 2]).unwrap();
    }
    dir.refused(
        1,
        &["train", "--data", "photos", "--image", "16"],
        &["5 of 45 images", "10 %", "cut0.png"],
    );
}

#[test]
fn an_image_bomb_is_refused_by_its_header() {
    let dir = TestDir::new();
    write_images(&dir.path("bomb"), 20);
    // A valid header of 60000×60000 pixels and the beginning of image data, with checksums.
    let mut bomb = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = b"IHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0";
    for chunk in [&header[..], b"IDAT\x78\x01"] {
        let crc = chunk.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| {
                if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 }
            })
        });
        bomb.extend((chunk.len() as u32 - 4).to_be_bytes());
        bomb.extend(chunk);
        bomb.extend((!crc).to_be_bytes());
    }
    fs::write(dir.path("bomb/bomb.png"), bomb).unwrap();
    let ended = dir.ok(&["train", "--data", "bomb", "--image", "16", "--batch", "8", "--dry-run"]);
    assert!(
        ended.err.contains("warning: cannot decode \"bomb.png\": 60000×60000 pixels")
            && ended.err.contains("16384"),
        "{}",
        ended.err
    );
}

#[test]
fn damaged_idx_files_are_distinguished() {
    let dir = TestDir::new();
    let good: Vec<u8> =
        [&[0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 28, 0, 0, 0, 28][..], &[9; 4 * 784]].concat();
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("magic-idx3-ubyte", [b"IDX!", &good[4..]].concat(), "starts with"),
        ("short-idx3-ubyte", good[..good.len() - 1].to_vec(), "truncated"),
        ("head-idx3-ubyte", good[..9].to_vec(), "truncated"),
        ("long-idx3-ubyte", [&good[..], &[0]].concat(), "continues after"),
        ("pack-idx3-ubyte.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03nonsense".to_vec(), "gzip"),
    ];
    for (name, bytes, part) in cases {
        fs::write(dir.path(name), bytes).unwrap();
        dir.refused(1, &["train", "--data", name, "--batch", "2"], &[name, part]);
    }
    dir.refused(1, &["data", "info", "short-idx3-ubyte"], &["copy or download it again"]);
    fs::write(dir.path("train-images-idx3-ubyte"), &good).unwrap();
    fs::write(dir.path("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]).unwrap();
    dir.refused(
        1,
        &["train", "--data", "train-images-idx3-ubyte", "--batch", "2"],
        &["4 images", "3 labels"],
    );
}

#[test]
fn faulty_recipes_are_refused_with_the_key() {
    let dir = TestDir::new();
    let cases: &[(&str, &[&str])] = &[
        (
            "base = \"small\"\n[optimizer]\nlearning_rate = 1\n",
            &["bad.toml", "optimizer.learning_rate"],
        ),
        ("base = \"small\"\n[train]\nbach = 1\n", &["train.bach", "train.batch"]),
        ("base = \"small\"\n[optimizer]\nlr = \"fast\"\n", &["optimizer.lr"]),
        ("base = \"small\"\n[optimizer]\nlr = nan\n", &["optimizer.lr"]),
        ("base = \"small\"\n[image]\nsize = [63, 64]\n", &["63x64", "60x64, 64x64"]),
        ("base = \"smal\"\n", &["smal", "did you mean \"small\"?"]),
        ("[image\n", &["TOML", "line 1"]),
    ];
    for (text, parts) in cases {
        fs::write(dir.path("bad.toml"), text).unwrap();
        dir.refused(1, &["train", "--recipe", "bad.toml"], parts);
    }
    dir.refused(1, &["train", "--recipe", "none.toml"], &["none.toml"]);
    dir.refused(1, &["train", "--recipe", "photos/000.png"], &["photos/000.png"]);
    dir.refused(2, &["recipes", "papr"], &["did you mean \"paper\"?"]);
}

#[test]
fn nothing_to_resume() {
    let dir = TestDir::new();
    let resume = |args: &[&str], parts: &[&str]| {
        dir.refused(1, &[&["train", "--resume"], args].concat(), parts)
    };
    resume(&[], &["nothing to resume", "runs"]);
    resume(&["gone"], &["nothing to resume", "gone"]);
    resume(&["photos"], &["photos", "not a run directory"]);
    fs::create_dir_all(dir.path("runs/0001-x/checkpoints")).unwrap();
    resume(&[], &["no checkpoint yet", "0001-x", "the same command without --resume"]);
    fs::write(dir.path("runs/0001-x/checkpoints/step-00000007.safetensors"), "x").unwrap();
    resume(&[], &["no checkpoint", "0001-x", "1 damaged", "start a new run without --resume"]);
    for args in [
        &["info"][..],
        &["sample", "--grid", "x.png", "--checkpoint"],
        &["export", "--out", "x", "--checkpoint"],
    ] {
        let ended = dir.run(&[args, &["runs/0001-x"]].concat());
        ended.refused(1, &["no checkpoint to load", "0001-x"]);
        assert!(!ended.err.contains("--resume"), "{}", ended.err);
    }
    fs::write(dir.path("copy.safetensors"), "x").unwrap();
    resume(&["copy.safetensors"], &["copy.safetensors", "--init-from copy.safetensors"]);
    fs::write(dir.path("runs/0001-x/checkpoints/mine.safetensors"), "x").unwrap();
    resume(&["runs/0001-x/checkpoints/mine.safetensors"], &["mine.safetensors", "--init-from"]);
    dir.refused(1, &["runs", "--runs-dir", "gone"], &["no runs in \"gone\""]);
}

#[test]
fn unusable_checkpoints_are_refused_with_the_reason() {
    let dir = TestDir::new();
    dir.train(&["--steps", "2", "--out", "run"]);
    let good = fs::read(dir.checkpoints("run").last().unwrap()).unwrap();
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle] ^= 4;
    let schema = b"\"schema\":\"1\"";
    let at = good
        .windows(schema.len())
        .position(|window| window == schema)
        .expect("a schema in the header");
    let mut newer = good.clone();
    newer[at + schema.len() - 2] = b'9';
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("cut.safetensors", &good[..middle], &["cut.safetensors", "truncated"]),
        ("flip.safetensors", &flipped, &["flip.safetensors", "damaged", "checksum"]),
        ("newer.safetensors", &newer, &["newer.safetensors", "newer version"]),
        ("text.safetensors", b"hello", &["text.safetensors", "not a safetensors file"]),
        ("empty.safetensors", b"", &["empty.safetensors"]),
    ];
    for (name, bytes, parts) in cases {
        fs::write(dir.path(name), bytes).unwrap();
        dir.refused(1, &["sample", "--checkpoint", name, "--grid", "x.png"], parts);
        dir.refused(1, &["info", name], parts);
    }
    dir.refused(1, &["info", "gone.safetensors"], &["gone.safetensors"]);
    dir.ok(&["sample", "--checkpoint", "run", "--out", "raw.safetensors", "--count", "2"]);
    assert!(dir.ok(&["info", "raw.safetensors"]).out.contains("images"));
    let sample = ["sample", "--checkpoint", "raw.safetensors", "--grid", "x.png"];
    dir.refused(1, &sample, &["raw.safetensors", "no recipe"]);
    // Weights of another recipe.
    dir.refused(
        1,
        &["train", "--init-from", "run", "--recipe", "small", "--out", "y"],
        &["--init-from run", "another recipe"],
    );
    assert!(!dir.path("x.png").exists() && !dir.path("y").exists());
}

#[test]
fn a_run_needs_an_empty_folder() {
    let dir = TestDir::new();
    dir.train(&["--steps", "2", "--out", "run"]);
    let before = fs::read(dir.path("run/metrics.jsonl")).unwrap();
    dir.refused(
        1,
        &TestDir::training(&["--out", "run"]),
        &["\"run\" exists and is not empty", "--resume"],
    );
    assert_eq!(fs::read(dir.path("run/metrics.jsonl")).unwrap(), before);
    // Nor below a file.
    dir.refused(1, &TestDir::training(&["--out", "photos/000.png/run"]), &["photos/000.png/run"]);
    assert_eq!(files(&dir.path("photos")).len(), 40);
}

/// Without MPI each of several processes would do the whole work; the first one says so.
#[cfg(not(feature = "mpi"))]
#[test]
fn one_of_several_processes_is_refused() {
    let dir = TestDir::new();
    let start = |variables: &[(&str, &str)]| {
        let mut command = dir.command(&TestDir::training(&["--out", "run"]));
        Ended::of(command.envs(variables.iter().copied()).output().unwrap())
    };
    start(&[("PMI_SIZE", "3")]).refused(2, &["PMI_SIZE=3", "--features mpi"]);
    let second = start(&[("SLURM_STEP_ID", "0"), ("SLURM_NTASKS", "2"), ("SLURM_PROCID", "1")]);
    assert_eq!((second.code, &*second.err), (Some(2), ""));
    assert!(!dir.path("run").exists());
    dir.ok(&TestDir::training(&["--out", "run", "--steps", "1"]));
    let alone = dir.command(&["recipes"]).env("OMPI_COMM_WORLD_SIZE", "1").output().unwrap();
    assert_eq!(Ended::of(alone).code, Some(0));
}
