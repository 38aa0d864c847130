//! Conditional networks: classes, attributes, vectors; and truncated latents.

use crate::common::{TestDir, logged_steps, write_images};
use runs::{read_state_dict, write_state_dict};
use std::collections::BTreeMap;
use std::fs;
use tensor::HostTensor;

const SHAPE: [usize; 3] = [16, 16, 3];
const PIXELS: usize = 16 * 16 * 3;
const CLASSES: [&str; 3] = ["cat", "dog", "owl"];

/// Three classes of eight images in `zoo/`, with a table of attributes.
fn zoo() -> TestDir {
    let dir = TestDir::new();
    let mut table = String::from("file,smiling,fur\n");
    for (class, name) in CLASSES.iter().enumerate() {
        write_images(&dir.path(&format!("zoo/{name}")), 8);
        for i in 0..8 {
            table += &format!(
                "{name}/{i:03}.png,{},{}\n",
                (class + i) % 2,
                if i < 3 { "brown" } else { "gray" }
            );
        }
    }
    fs::write(dir.path("zoo/attributes.csv"), table).unwrap();
    dir
}

fn training<'a>(args: &[&'a str]) -> Vec<&'a str> {
    TestDir::training_on("zoo", &[&["--steps", "2"], args].concat())
}

fn vectors(dir: &TestDir, name: &str, shape: [usize; 2]) {
    let values = (0..shape[0] * shape[1]).map(|i| (i as f32 * 0.7).sin()).collect();
    write_state_dict(
        &dir.path(name),
        &BTreeMap::from([("condition".to_owned(), HostTensor::f32(shape, values))]),
    )
    .unwrap();
}

/// Samples from `run`.
fn drawn(dir: &TestDir, args: &[&str]) -> Vec<f32> {
    dir.ok(&[&["sample", "--checkpoint", "run", "--out", "drawn.safetensors", "--force"], args]
        .concat());
    let mut arrays = read_state_dict(&dir.path("drawn.safetensors")).unwrap();
    let images = arrays.remove("images").unwrap();
    assert_eq!(images.shape[1..], SHAPE);
    images.into_f32().unwrap()
}

#[track_caller]
fn sample_refused(dir: &TestDir, code: i32, args: &[&str], parts: &[&str]) {
    dir.refused(
        code,
        &[&["sample", "--checkpoint", "run", "--grid", "refused.png"], args].concat(),
        parts,
    );
    assert!(!dir.path("refused.png").exists());
}

#[test]
fn a_class_is_sampled_by_number_by_name_and_with_all_others() {
    let dir = zoo();
    let ended = dir.ok(&training(&["--condition", "class", "--out", "run"]));
    assert!(ended.out.contains("24 images"), "{}", ended.out);
    let config = fs::read_to_string(dir.path("run/config.toml")).unwrap();
    assert!(config.contains("kind = \"class\"") && config.contains("\"owl\""), "{config}");

    let dogs = drawn(&dir, &["--class", "1", "--count", "5"]);
    assert_eq!(dogs.len(), 5 * PIXELS);
    assert_eq!(dogs, drawn(&dir, &["--class", "dog", "--count", "5"]));
    assert_eq!(dogs, drawn(&dir, &["--class", "Dog", "--count", "5", "--batch", "2"]));
    let owls = drawn(&dir, &["--class", "owl", "--count", "5"]);
    assert_ne!(dogs, owls);
    // One row per class, with the same latents in each.
    let all = drawn(&dir, &["--class", "all", "--columns", "4", "--grid", "all.png"]);
    assert_eq!(all.len(), 3 * 4 * PIXELS);
    let row = |class: usize| &all[class * 4 * PIXELS..][..4 * PIXELS];
    assert_eq!((row(1), row(2)), (&dogs[..4 * PIXELS], &owls[..4 * PIXELS]));
    let grid = image::open(dir.path("all.png")).unwrap();
    assert!(grid.width() > grid.height(), "four columns, three rows");
    assert_eq!(drawn(&dir, &["--class", "all", "--count", "2"]).len(), 3 * 2 * PIXELS);

    sample_refused(&dir, 1, &["--class", "fish"], &["\"fish\"", "--class", "cat, dog, owl"]);
    sample_refused(&dir, 1, &["--class", "3"], &["\"3\"", "--class", "cat, dog, owl"]);
    sample_refused(&dir, 1, &["--class", "-1"], &["\"-1\"", "--class", "cat, dog, owl"]);
    sample_refused(&dir, 1, &[], &["conditioned on a class", "--class", "cat, dog, owl"]);
    sample_refused(&dir, 1, &["--attr", "smiling=1"], &["conditioned on a class"]);
    sample_refused(&dir, 2, &["--class", "1", "--attr", "smiling=1"], &["--class", "--attr"]);
}

#[test]
fn attributes_are_sampled_by_name() {
    let dir = zoo();
    dir.ok(&training(&["--condition", "attributes", "--condition-d", "auxiliary", "--out", "run"]));
    let draw = |args: &[&str]| drawn(&dir, &[&["--count", "3"], args].concat());
    let plain = draw(&[]);
    let smiling = draw(&["--attr", "smiling=1"]);
    assert_eq!(plain, draw(&["--attr", "smiling=0"]));
    assert_eq!(smiling, draw(&["--attr", "smiling"]));
    assert_ne!(plain, smiling);
    assert_ne!(smiling, draw(&["--attr", "smiling=1", "--attr", "fur=brown"]));
    assert_ne!(smiling, draw(&["--attr", "smiling=0.5"]));
    sample_refused(
        &dir,
        1,
        &["--attr", "smilng=1"],
        &["\"smilng=1\"", "smiling", "fur=brown", "--attr"],
    );
    sample_refused(&dir, 1, &["--attr", "fur=green"], &["\"fur=green\"", "fur=brown", "--attr"]);
    sample_refused(&dir, 1, &["--attr", "smiling=much"], &["\"smiling=much\"", "--attr"]);
    sample_refused(&dir, 1, &["--class", "1"], &["conditioned on attributes", "--attr"]);
}

/// Attributes with a different value for every image are left out, unless they are named.
#[test]
fn attributes_can_be_chosen() {
    let dir = zoo();
    let mut table = String::from("file,id,code,split,smiling,fur,height\n");
    for (class, name) in CLASSES.iter().enumerate() {
        for i in 0..8 {
            let (number, fur) = (class * 8 + i, if i < 3 { "brown" } else { "gray" });
            let split = if i < 4 { "early" } else { "late" };
            table += &format!(
                "{name}/{i:03}.png,who{number},{},{split},{},{fur},1.{number}7\n",
                100 + number,
                (class + i) % 2
            );
        }
    }
    fs::write(dir.path("zoo/attributes.csv"), table).unwrap();
    let names = |condition: &str, out: &str| -> Vec<String> {
        dir.ok(&training(&["--condition", condition, "--out", out]));
        let config: toml::Table =
            fs::read_to_string(dir.path(out).join("config.toml")).unwrap().parse().unwrap();
        let condition = &config["recipe"]["condition"];
        let names: Vec<String> = condition["names"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().into())
            .collect();
        assert_eq!(condition["size"].as_integer(), Some(names.len() as i64));
        names
    };
    assert_eq!(names("attributes", "all"), ["smiling", "fur=brown", "fur=gray", "height"]);
    assert_eq!(names("attributes:fur", "run"), ["fur=brown", "fur=gray"]);
    assert_eq!(names("attributes:fur, smiling", "two"), ["smiling", "fur=brown", "fur=gray"]);
    assert_eq!(names("attributes:id,split", "ids").len(), 24 + 2);
    // The resumed run and the samples have the same ones.
    dir.ok(&["train", "--resume", "run", "--steps", "3"]);
    let draw = |fur: &str| drawn(&dir, &["--count", "2", "--attr", fur]);
    assert_ne!(draw("fur=brown"), draw("fur=gray"));
    sample_refused(
        &dir,
        1,
        &["--attr", "smiling=1"],
        &["\"smiling=1\"", "fur=brown, fur=gray", "--attr"],
    );
    let unknown = training(&["--condition", "attributes:fur,hair", "--out", "x"]);
    dir.refused(1, &unknown, &["no attribute \"hair\"", "id, code, split, smiling, fur, height"]);
    dir.refused(
        2,
        &training(&["--condition", "attributesfur", "--out", "x"]),
        &["attributes:NAME,NAME"],
    );
    assert!(!dir.path("x").exists());
}

#[test]
fn any_vectors_are_a_condition() {
    let dir = zoo();
    vectors(&dir, "texts.safetensors", [24, 5]);
    vectors(&dir, "few.safetensors", [23, 5]);
    dir.refused(
        1,
        &training(&["--condition", "few.safetensors", "--out", "run"]),
        &["few.safetensors", "[23, 5]", "24"],
    );
    dir.refused(
        2,
        &training(&["--condition", "gone.safetensors", "--out", "run"]),
        &["--condition", "gone.safetensors"],
    );
    assert!(!dir.path("run").exists());
    let flags = [
        "--condition",
        "texts.safetensors",
        "--condition-d",
        "projection",
        "--embedding",
        "3",
        "--out",
        "run",
    ];
    dir.ok(&training(&flags));
    // A run finds its vectors again when it is resumed from another folder.
    fs::create_dir(dir.path("elsewhere")).unwrap();
    let resumed = dir
        .command(&["train", "--resume", "../run", "--steps", "3"])
        .current_dir(dir.path("elsewhere"))
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));

    vectors(&dir, "four.safetensors", [4, 5]);
    vectors(&dir, "one.safetensors", [1, 5]);
    vectors(&dir, "wide.safetensors", [4, 6]);
    let four = drawn(&dir, &["--condition", "four.safetensors", "--count", "4"]);
    let one = drawn(&dir, &["--condition", "one.safetensors", "--count", "4"]);
    assert_eq!(four[..PIXELS], one[..PIXELS]);
    assert_ne!(four[PIXELS..], one[PIXELS..]);
    sample_refused(
        &dir,
        2,
        &["--condition", "four.safetensors", "--count", "5"],
        &["four.safetensors", "4 vectors for 5"],
    );
    sample_refused(
        &dir,
        1,
        &["--condition", "wide.safetensors"],
        &["wide.safetensors", "[N, 5]", "[4, 6]"],
    );
    sample_refused(&dir, 1, &[], &["conditioned on vectors", "--condition"]);
}

#[test]
fn truncated_latents_stay_within_their_bound() {
    let dir = TestDir::new();
    dir.train(&["--steps", "2", "--out", "run"]);
    let latents = || {
        let mut arrays = read_state_dict(&dir.path("drawn.safetensors")).unwrap();
        arrays.remove("latents").unwrap().into_f32().unwrap()
    };
    let plain = drawn(&dir, &["--count", "4"]);
    let wide = latents();
    let tame = drawn(&dir, &["--count", "4", "--truncation", "0.5"]);
    let near = latents();
    assert!(wide.iter().any(|z| z.abs() > 1.0) && near.iter().all(|z| z.abs() <= 0.5));
    assert_ne!(plain, tame);
    for value in ["0", "-1", "NaN"] {
        sample_refused(&dir, 2, &["--truncation", value], &["--truncation", value]);
    }
    let given = ["--truncation", "0.5", "--latents", "drawn.safetensors"];
    sample_refused(&dir, 2, &given, &["--truncation", "--latents"]);
    // An unconditional generator takes no condition.
    for flags in [["--class", "1"], ["--attr", "smiling=1"], ["--condition", "drawn.safetensors"]] {
        sample_refused(&dir, 2, &flags, &[flags[0], "trained without a condition"]);
    }
}

#[test]
fn a_resumed_run_keeps_its_options() {
    let dir = TestDir::new();
    dir.train(&["--steps", "2", "--loss", "hinge", "--out", "run"]);
    for flags in [
        &["--loss", "hinge"][..],
        &["--parametrization-d", "spectral-norm"],
        &["--augment", "color"],
        &["--relativistic"],
        &["--set", "optimizer.eps=1e-7"],
        &["--condition", "class"],
    ] {
        let command = [&["train", "--resume", "run", "--steps", "3"], flags].concat();
        dir.refused(2, &command, &[flags[0], "resumed run", "--init-from"]);
    }
    dir.refused(
        2,
        &["train", "--resume", "run", "--allow-augment"],
        &["--allow-augment", "--resume"],
    );
    assert_eq!(logged_steps(&dir.path("run")), [2]);
}

#[test]
fn the_paper_s_recipe_is_augmented_only_by_force() {
    let dir = TestDir::new();
    let paper = |args: &[&'static str]| {
        [&["train", "--data", "photos", "--recipe", "paper", "--image", "16", "--dry-run"], args]
            .concat()
    };
    dir.ok(&paper(&[]));
    for flags in [&["--augment", "color"][..], &["--flip"]] {
        dir.refused(2, &paper(flags), &["augment.allow", "without augmentation"]);
        dir.ok(&paper(&[flags, &["--allow-augment"]].concat()));
    }
}

#[test]
fn conditions_that_the_dataset_lacks_are_refused() {
    let dir = TestDir::new();
    let condition = |kind: &'static str| TestDir::training(&["--condition", kind, "--out", "run"]);
    dir.refused(1, &condition("class"), &["photos", "no labels", "condition"]);
    dir.refused(1, &condition("attributes"), &["photos", "no attributes", "attributes.csv"]);
    dir.refused(
        2,
        &condition("clas"),
        &["--condition", "clas", "class, attributes (or attributes:NAME,NAME) or none"],
    );
    // So does a recipe with classes, unless it is used with --condition none.
    dir.refused(
        1,
        &["train", "--data", "photos", "--recipe", "newmu-mnist", "--out", "run"],
        &["no labels"],
    );
    assert!(!dir.path("run").exists());
}

#[test]
fn generators_ship_with_the_program() {
    let dir = TestDir::new();
    dir.ok(&[
        "sample",
        "--model",
        "fashion",
        "--class",
        "7",
        "--count",
        "4",
        "--out",
        "drawn.safetensors",
    ]);
    let images = read_state_dict(&dir.path("drawn.safetensors")).unwrap().remove("images").unwrap();
    assert_eq!(images.shape, [4, 28, 28, 1]);
    // Sneakers leave most of the image black, and the upper third is darker than the lower one.
    let values = images.into_f32().unwrap();
    let mean = |rows: std::ops::Range<usize>| {
        let pixels =
            values.chunks(28 * 28).flat_map(|image| &image[rows.start * 28..rows.end * 28]);
        pixels.sum::<f32>() / (4 * 28 * rows.len()) as f32
    };
    assert!(
        mean(0..9) < -0.8 && mean(14..23) > mean(0..9) + 0.3,
        "{} {}",
        mean(0..9),
        mean(14..23)
    );
    dir.refused(1, &["sample", "--model", "fashion", "--grid", "g.png"], &["--class", "Sneaker"]);
    dir.refused(2, &["sample", "--model", "shoes", "--grid", "g.png"], &["fashion", "emoji"]);
    // People stand on white: corners are bright, centers are not, and all images differ.
    dir.ok(&["sample", "--model", "emoji", "--count", "8", "--out", "people.safetensors"]);
    let images =
        read_state_dict(&dir.path("people.safetensors")).unwrap().remove("images").unwrap();
    assert_eq!(images.shape, [8, 64, 64, 3]);
    let values = images.into_f32().unwrap();
    let samples: Vec<&[f32]> = values.chunks(64 * 64 * 3).collect();
    let part = |from: usize, to: usize| {
        let pixels = samples.iter().flat_map(|image| {
            (from..to).flat_map(|y| &image[(y * 64 + from) * 3..(y * 64 + to) * 3])
        });
        pixels.sum::<f32>() / (8 * (to - from).pow(2) * 3) as f32
    };
    assert!(part(0, 6) > 0.9 && part(20, 44) < 0.6, "{} {}", part(0, 6), part(20, 44));
    let apart = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
    };
    assert!((0..8).all(|i| (0..i).all(|j| apart(samples[i], samples[j]) > 0.05)));
}

#[test]
fn an_exported_generator_samples_as_its_run() {
    let dir = zoo();
    dir.ok(&training(&["--condition", "class", "--out", "run", "--ema", "0.9"]));
    let whole = drawn(&dir, &["--class", "1", "--count", "5"]);
    dir.ok(&["export", "--checkpoint", "run", "--generator", "small.safetensors"]);
    dir.refused(
        1,
        &["export", "--checkpoint", "run", "--generator", "small.safetensors"],
        &["small.safetensors", "--force"],
    );
    dir.ok(&[
        "sample",
        "--checkpoint",
        "small.safetensors",
        "--class",
        "1",
        "--count",
        "5",
        "--out",
        "again.safetensors",
    ]);
    let again = read_state_dict(&dir.path("again.safetensors"))
        .unwrap()
        .remove("images")
        .unwrap()
        .into_f32()
        .unwrap();
    let off = whole.iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(whole.len() == again.len() && off < 1e-5, "{off}");
    let bytes = |name: &str| fs::metadata(dir.path(name)).unwrap().len();
    assert!(
        bytes("small.safetensors") * 3
            < fs::metadata(dir.checkpoints("run").last().unwrap()).unwrap().len()
    );
    dir.refused(1, &["train", "--resume", "small.safetensors"], &["small.safetensors"]);
}
