//! `dcgan train`, from an empty folder to a finished run.

use crate::common::{TestDir, files, logged_steps, rows, write_images};
use serde_json::json;
use std::fs;

#[test]
fn a_run_writes_all_of_its_files() {
    let dir = TestDir::new();
    let ended = dir.train(&[
        "--steps",
        "7",
        "--out",
        "run",
        "--log-every",
        "2",
        "--sample-every",
        "3",
        "--checkpoint-every",
        "2",
        "--keep",
        "2",
    ]);
    let at = |text: &str| {
        ended.out.find(text).unwrap_or_else(|| panic!("{text:?} is not in {}", ended.out))
    };
    // The networks, the dataset, a line per logged step, and the next command.
    assert!(at("Generator: latent vector 100 -> image 16x16x3") < at("Data: photos, 40 images"));
    assert!(at("Data: photos, 40 images") < at("step 2/7  D loss"));
    assert_eq!(ended.out.lines().filter(|line| line.starts_with("step ")).count(), 4);
    at("dcgan sample --checkpoint run");
    assert_eq!(ended.err, "");

    let run = dir.path("run");
    assert_eq!(logged_steps(&run), [2, 4, 6, 7]);
    for key in ["step", "d_loss", "g_loss", "d_real", "d_fake", "images_per_second", "seconds"] {
        assert!(rows(&run).iter().all(|row| row[key].is_number()), "{key}");
    }
    let names = |folder: &str| -> Vec<String> {
        files(&run.join(folder))
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("checkpoints"), ["step-00000006.safetensors", "step-00000007.safetensors"]);
    // Every third step, the last one, and the end of the first epoch (5 batches).
    assert_eq!(names("samples"), [3, 5, 6, 7].map(|step| format!("step-{step:08}.png")));
    let grid = image::open(run.join("samples/step-00000007.png")).unwrap();
    assert!(grid.width() >= 8 * 16 && grid.height() >= 8 * 16);
    for name in ["config.toml", "timelapse.gif", "losses.png"] {
        assert!(run.join(name).is_file(), "{name}");
    }
    assert!(names("").iter().any(|name| name.starts_with("events.out.tfevents.")));
    assert!(fs::read_to_string(run.join("config.toml")).unwrap().contains("steps = 7"));
}

#[test]
fn json_is_one_object_per_event_and_nothing_else() {
    let dir = TestDir::new();
    let ended = dir.train(&["--epochs", "2", "--json", "--log-every", "5", "--threads", "1"]);
    assert_eq!(ended.err, "");
    let events = ended.json();
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!([named("plan"), named("data"), named("started"), named("finished")], [1; 4]);
    assert_eq!([named("logged"), named("epoch")], [2, 2]);
    assert_eq!(events.len(), events.iter().filter(|event| event["event"].is_string()).count());
    assert_eq!(ended.event("started")["steps"], 10);
    assert_eq!(ended.event("data")["images"], 40);
    let path = dir.path(ended.event("finished")["checkpoint"].as_str().unwrap());
    assert!(path.is_file() && path.starts_with(dir.path("runs/0001-photos-torch")), "{path:?}");
}

#[test]
fn under_json_warnings_are_events_too() {
    let dir = TestDir::new();
    dir.train(&["--steps", "2", "--out", "old"]);
    fs::write(dir.checkpoints("old").pop().unwrap(), "x").unwrap();
    let ended = dir.train(&["--init-from", "old", "--steps", "1", "--out", "new", "--json"]);
    assert_eq!(ended.err, "");
    let message = ended.event("warning")["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("step-00000002.safetensors") && message.contains("skipped"),
        "{message}"
    );
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = TestDir::new();
    let before = files(&dir.path(""));
    let ended = dir.train(&["--dry-run"]);
    assert!(
        ended.out.contains("Discriminator") && ended.out.contains("40 images"),
        "{}",
        ended.out
    );
    assert_eq!(files(&dir.path("")), before);
}

#[test]
fn defaults_follow_the_data() {
    let dir = TestDir::new();
    let plan = |args: &[&str]| {
        let ended = dir.ok(&[&["train", "--dry-run", "--json"], args].concat());
        (
            ended.event("plan")["recipe"].clone(),
            ended.event("plan")["image"].clone(),
            ended.event("dry_run")["steps"].clone(),
        )
    };
    assert_eq!(plan(&[]), (json!("small"), json!([28, 28, 1]), json!(5 * 468)));
    assert_eq!(
        plan(&["--image", "32", "--epochs", "1"]),
        (json!("small"), json!([32, 32, 1]), json!(468))
    );
    assert_eq!(
        plan(&["--image", "64", "--steps", "9"]),
        (json!("torch"), json!([64, 64, 1]), json!(9))
    );
    assert_eq!(
        plan(&["--recipe", "torch", "--steps", "9"]),
        (json!("torch"), json!([64, 64, 1]), json!(9))
    );
    // With separate batches, a step takes two.
    assert_eq!(
        plan(&["--recipe", "newmu-mnist", "--epochs", "1"]),
        (json!("newmu-mnist"), json!([28, 28, 1]), json!(234))
    );
    assert_eq!(
        plan(&["--data", "photos", "--batch", "20"]),
        (json!("torch"), json!([64, 64, 3]), json!(50))
    );
    assert_eq!(
        plan(&["--data", "photos", "--batch", "20", "--channels", "4"]).1,
        json!([64, 64, 4])
    );
}

#[test]
fn a_small_image_is_padded_and_a_large_one_cropped() {
    let dir = TestDir::new();
    let config = |name: &str, args: &[&str]| {
        dir.ok(&[&["train", "--out", name, "--steps", "1", "--batch", "4", "--width", "1"], args]
            .concat());
        fs::read_to_string(dir.path(name).join("config.toml")).unwrap()
    };
    assert!(config("pad", &["--image", "32"]).contains("fit = \"pad\""));
    assert!(config("same", &[]).contains("fit = \"crop\""));
    assert!(
        config("set", &["--image", "32", "--fit", "stretch", "--background", "ff8000"])
            .contains("fit = \"stretch\"")
    );
    assert!(config("folder", &["--data", "photos", "--image", "32"]).contains("fit = \"crop\""));
}

#[test]
fn flags_override_a_recipe_file() {
    let dir = TestDir::new();
    fs::write(
        dir.path("mine.toml"),
        "base = \"small\"\nname = \"mine\"\n[image]\nsize = [16, 16]\n[optimizer]\n\
         lr_discriminator = 0.0001\n[train]\nbatch = 4\nsteps = 3\n",
    )
    .unwrap();
    let flags = [
        "train",
        "--recipe",
        "mine.toml",
        "--width",
        "2",
        "--ema",
        "0.9",
        "--lr",
        "0.001",
        "--seed",
        "5",
        "--name",
        "a b/c",
    ];
    dir.ok(&flags);
    let config = fs::read_to_string(dir.path("runs/0001-a-b-c/config.toml")).unwrap();
    for part in [
        "name = \"mine\"",
        "batch = 4",
        "steps = 3",
        "ema = 0.9",
        "lr = 0.001",
        "seed = 5",
        "width = 2",
    ] {
        assert!(config.contains(part), "{part} is not in {config}");
    }
    // D's learning rate stays half of G's.
    assert!(config.contains("lr_discriminator = 0.0005\n"), "{config}");
}

#[test]
fn bits_depend_on_the_seed_and_not_on_threads() {
    let dir = TestDir::new();
    let last = |name: &str, args: &[&str]| {
        dir.train(&[&["--steps", "6", "--out", name], args].concat());
        fs::read(dir.checkpoints(name).last().unwrap()).unwrap()
    };
    let one = last("one", &["--threads", "1"]);
    assert!(one == last("two", &["--threads", "2"]) && one == last("three", &["--threads", "3"]));
    assert!(one != last("other", &["--seed", "1"]));
}

#[test]
fn bad_images_are_skipped_and_named_up_to_five() {
    let dir = TestDir::new();
    write_images(&dir.path("many"), 90);
    for i in 0..7 {
        fs::write(dir.path(&format!("many/bad{i}.png")), b"\x89PNG\r\n\x1a\nnothing").unwrap();
    }
    let ended = dir.ok(&TestDir::training_on("many", &["--steps", "2"]));
    assert!(ended.out.contains("90 images"), "{}", ended.out);
    let warnings: Vec<&str> = ended.err.lines().collect();
    assert_eq!(warnings.len(), 6, "{warnings:?}");
    assert!(
        warnings[0].starts_with("warning: cannot decode \"bad0.png\"")
            && warnings[0].contains("1 of 97"),
        "{}",
        warnings[0]
    );
    assert!(warnings[5].contains("2 more images"), "{}", warnings[5]);
}

#[test]
fn a_new_run_starts_from_old_weights() {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "old"]);
    // Without --recipe, the checkpoint's recipe is used, with its image size and widths.
    dir.ok(&[
        "train",
        "--data",
        "photos",
        "--init-from",
        "old",
        "--steps",
        "1",
        "--out",
        "new",
        "--checkpoint-every",
        "1",
    ]);
    let read = |path: &std::path::Path| runs::read_state_dict(path).unwrap();
    let old = read(dir.checkpoints("old").last().unwrap());
    let first = read(dir.checkpoints("new").first().unwrap());
    let name = "g.main.0.weight";
    assert_eq!(old[name], first[name]);
    let steps = first["adam_g.steps"].as_i64().map(<[i64]>::to_vec);
    assert_eq!(steps, Some(vec![0]), "the optimizer starts from zero");
    dir.refused(
        1,
        &["train", "--data", "photos", "--init-from", "old", "--width", "3", "--out", "x"],
        &["--init-from old", "shape"],
    );
    assert!(!dir.path("x").exists());
}

/// A dataset of one image size sets size and channels; flags override them.
#[test]
fn sets_of_one_shape_choose_size_and_recipe() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("cifar")).unwrap();
    let record = [&[1][..], &[128; 3072]].concat();
    fs::write(dir.path("cifar/data_batch_1.bin"), record.repeat(130)).unwrap();
    let stl = dir.path("train_X.bin");
    fs::write(&stl, vec![7; 130 * 27_648]).unwrap();
    let of = |args: &[&str]| {
        let ended = dir.ok(&[&["train", "--dry-run", "--json"], args].concat());
        (ended.event("plan")["recipe"].clone(), ended.event("data")["shape"].clone())
    };
    assert_eq!(of(&["--data", "cifar"]), (json!("small"), json!([32, 32, 3])));
    assert_eq!(
        of(&["--data", "cifar", "--channels", "1", "--image", "28"]),
        (json!("small"), json!([28, 28, 1]))
    );
    assert_eq!(
        of(&["--data", "cifar10:cifar", "--image", "64"]),
        (json!("torch"), json!([64, 64, 3]))
    );
    assert_eq!(of(&["--data", "train_X.bin"]), (json!("torch"), json!([64, 64, 3])));
}

/// A dataset smaller than the recipe's batch is trained on, with a hint on what to expect.
#[test]
fn few_images_get_a_smaller_batch_and_a_hint() {
    let dir = TestDir::new();
    let flags = ["train", "--data", "photos", "--image", "16", "--width", "2", "--steps", "1"];
    let ended = dir.ok(&[&flags[..], &["--out", "run"]].concat());
    let helps = ["--recipe modern", "--augment color,translation", "--flip", "--width 32", "--ema"];
    for part in [&["only 40 images (batch 40)"][..], &helps].concat() {
        assert!(ended.out.contains(part), "{part:?} is not in {}", ended.out);
    }
    assert!(fs::read_to_string(dir.path("run/config.toml")).unwrap().contains("batch = 40"));
    let ended = dir.ok(&[&flags[..], &["--flip", "--json", "--dry-run"]].concat());
    let advice = ended.event("hint")["message"].as_str().unwrap().to_owned();
    assert!(advice.contains("40 images") && !advice.contains("--flip"), "{advice}");
    // What is already set is not suggested.
    let ended = dir.ok(&[&flags[..], &["--recipe", "modern", "--json", "--dry-run"]].concat());
    let advice = ended.event("hint")["message"].as_str().unwrap().to_owned();
    assert!(
        helps[..2].iter().all(|part| !advice.contains(part)) && !advice.contains("--ema"),
        "{advice}"
    );
    let augmented = dir.ok(&[&flags[..], &["--augment", "flip", "--dry-run"]].concat());
    assert!(
        augmented.out.contains("--recipe modern") && !augmented.out.contains("--augment"),
        "{}",
        augmented.out
    );
    // A batch set by a flag is not made smaller, and a dataset can be too small.
    dir.refused(
        1,
        &[&flags[..], &["--batch", "41"]].concat(),
        &["40 images, fewer than one batch of 41"],
    );
    write_images(&dir.path("seven"), 7);
    dir.refused(1, &["train", "--data", "seven"], &["7 images, fewer than one batch of"]);
    write_images(&dir.path("many"), 1000);
    assert!(
        !dir.ok(&["train", "--data", "many", "--image", "16", "--dry-run"]).out.contains("are few")
    );
}

#[test]
fn divergence_has_its_own_exit_code() {
    let dir = TestDir::new();
    // A learning rate at which all four attempts diverge.
    let ended = dir.run(&TestDir::training(&["--steps", "3", "--lr", "1e30", "--out", "run"]));
    ended.refused(3, &["after 3 roll-backs to a valid checkpoint"]);
    assert_eq!(ended.err.matches("with half the learning rate, ").count(), 3, "{}", ended.err);
    let config = std::fs::read_to_string(dir.path("run/config.toml")).unwrap();
    assert_eq!(config.matches("setting = \"rollback\"").count(), 3, "{config}");
    dir.refused(
        3,
        &TestDir::training(&[
            "--steps", "3", "--lr", "1e30", "--out", "at-once", "--on-nan", "stop",
        ]),
        &["step 1:"],
    );
    // Resumed with another action, which changes no value.
    dir.train(&["--steps", "3", "--out", "valid"]);
    dir.ok(&["train", "--resume", "valid", "--steps", "4", "--on-collapse", "stop"]);
    let config = std::fs::read_to_string(dir.path("valid/config.toml")).unwrap();
    assert!(
        config.contains("on_collapse = \"stop\"") && config.contains("setting = \"on_collapse\""),
        "{config}"
    );
    let row = &rows(&dir.path("valid"))[0];
    assert!(row["d_accuracy"].is_number() && row["g_grad_norm"].is_number(), "{row}");
}
