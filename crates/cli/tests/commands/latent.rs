//! Experiments in latent space, and images with the metadata to reproduce them.

use crate::common::{TestDir, files, write_images};
use runs::read_state_dict;
use std::fs;

/// A run of a tiny unconditional generator.
fn trained() -> TestDir {
    let dir = TestDir::new();
    dir.train(&["--steps", "3", "--out", "run"]);
    dir
}

/// A run of a tiny generator with three classes.
fn zoo() -> TestDir {
    let dir = TestDir::new();
    for name in ["cat", "dog", "owl"] {
        write_images(&dir.path(&format!("zoo/{name}")), 8);
    }
    let flags = ["--steps", "2", "--condition", "class", "--out", "run"];
    dir.ok(&TestDir::training_on("zoo", &flags));
    dir
}

#[track_caller]
fn redrawn(dir: &TestDir, image: &str) {
    let [report] = &dir.ok(&["reproduce", image, "--checkpoint", "run", "--json"]).json()[..]
    else {
        panic!("not one object")
    };
    assert_eq!((&report["equal"], &report["differing"]), (&true.into(), &0.into()), "{image}");
}

#[test]
fn a_walk_is_measured_and_drawn() {
    let dir = trained();
    let files = ["--grid", "walk.png", "--gif", "walk.gif"];
    let walk = ["walk", "--checkpoint", "run", "--rows", "3", "--columns", "4", "--steps", "6"];
    let text = dir.ok(&[&walk[..], &files].concat()).out;
    assert!(
        text.contains("2 → 0") && text.contains("wrote walk.png") && text.contains("memorized"),
        "{text}"
    );
    let grid = image::open(dir.path("walk.png")).unwrap();
    // Four columns and three rows of 16 pixels, enlarged fourfold.
    assert_eq!((grid.width(), grid.height()), (4 * 66 + 2, 3 * 66 + 2));
    redrawn(&dir, "walk.png");
    dir.refused(1, &[&walk[..], &files].concat(), &["exists already", "--force"]);
    let json =
        |args: &[&str]| dir.ok(&[&walk[..], &["--json"], args].concat()).json().pop().unwrap();
    let (straight, round) = (json(&["--path", "linear"]), json(&["--path", "spherical"]));
    assert_eq!(straight["legs"].as_array().unwrap().len(), 3);
    assert!(
        straight["largest"].as_f64() >= straight["mean"].as_f64()
            && straight["mean"].as_f64() > Some(0.0)
    );
    assert_ne!(straight["mean"], round["mean"]);
    assert_eq!(round, json(&[]), "latents are normal, and the seed is the same");
    assert_ne!(round["mean"], json(&["--seed", "1"])["mean"]);
    // The last image of a row is the first of the next.
    let rows: Vec<Vec<u8>> = (0..3)
        .flat_map(|row| [(row, 0), (row, 3)])
        .map(|(row, column)| grid.crop_imm(2 + column * 66, 2 + row * 66, 64, 64).into_bytes())
        .collect();
    assert!(rows[1] == rows[2] && rows[3] == rows[4] && rows[5] == rows[0] && rows[0] != rows[1]);
    dir.refused(
        2,
        &["walk", "--checkpoint", "run", "--bn", "batch"],
        &["--bn batch", "recalibrated"],
    );
    dir.refused(2, &[&walk[..], &["--class", "1"]].concat(), &["trained without a condition"]);
    // Before anything is drawn: drawing would take minutes.
    let long = ["walk", "--checkpoint", "run", "--rows", "1000", "--steps", "10000"];
    dir.refused(2, &long, &["--rows 1000", "--steps 10000", "1000000"]);
}

#[test]
fn a_walk_leads_from_class_to_class() {
    let dir = zoo();
    let walk = ["walk", "--checkpoint", "run", "--rows", "4", "--steps", "3", "--grid", "walk.png"];
    dir.refused(1, &walk, &["--class", "cat, dog, owl"]);
    let text = dir.ok(&[&walk[..], &["--class", "all"]].concat()).out;
    assert!(text.contains("0 cat → 1 dog") && text.contains("3 cat → 0 cat"), "{text}");
    redrawn(&dir, "walk.png");
    dir.ok(&[&walk[..], &["--class", "dog", "--force"]].concat());
    redrawn(&dir, "walk.png");
}

#[test]
fn images_are_reproduced_from_their_metadata() {
    let dir = trained();
    let sample = ["sample", "--checkpoint", "run"];
    for (i, flags) in [
        &["--count", "5", "--seed", "3"][..],
        &["--count", "3", "--truncation", "0.5", "--columns", "2"],
        &["--count", "4", "--bn", "recalibrated", "--batch", "3"],
        &["--count", "5", "--bn", "batch", "--batch", "3"],
        &["--latents", "z.safetensors"],
    ]
    .iter()
    .enumerate()
    {
        if i == 4 {
            dir.ok(
                &[&sample[..], &["--count", "3", "--seed", "9", "--out", "z.safetensors"]].concat()
            );
        }
        let (grid, folder) = (format!("grid{i}.png"), format!("drawn{i}"));
        dir.ok(&[&sample[..], flags, &["--grid", &grid, "--out", &folder]].concat());
        redrawn(&dir, &grid);
        for file in [files(&dir.path(&folder)).first(), files(&dir.path(&folder)).last()] {
            redrawn(&dir, file.unwrap().to_str().unwrap());
        }
    }
    let text = dir.ok(&["info", "grid1.png"]).out;
    for part in [
        "drawn by",
        "dcgan sample --checkpoint run --count 3",
        "seed 0, 0 to 2, truncated to ±0.5",
        "running",
        "crc32c:",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let [origin] = &dir.ok(&["info", "grid0.png", "--json"]).json()[..] else {
        panic!("not one object")
    };
    assert_eq!(origin["samples"]["latents"][0]["seed"], 3);

    // A changed pixel, and an image without metadata.
    let (image, texts) = runs::grid::read_png(&dir.path("grid0.png")).unwrap();
    assert!(texts["Software"].starts_with("dcgan "), "{texts:?}");
    let mut touched = image.to_rgb8();
    touched.get_pixel_mut(7, 7).0[0] ^= 1;
    let texts = [("dcgan", texts["dcgan"].clone())];
    runs::grid::save_png_with(&dir.path("touched.png"), &touched.into(), &texts).unwrap();
    let ended = dir.run(&["reproduce", "touched.png", "--checkpoint", "run", "--out", "again.png"]);
    assert!(
        ended.code == Some(1) && ended.out.contains(" 1 of ") && ended.out.contains("by 1 of 255"),
        "{}",
        ended.out
    );
    assert_eq!(image::open(dir.path("again.png")).unwrap(), image);
    dir.refused(
        1,
        &["reproduce", "photos/000.png", "--checkpoint", "run"],
        &["000.png", "no metadata that say how it was generated"],
    );
    dir.refused(1, &["info", "photos/000.png"], &["000.png", "no metadata"]);
    dir.refused(2, &["reproduce", "grid0.png"], &["--checkpoint", "step 3"]);
    fs::write(dir.path("broken.png"), "x").unwrap();
    dir.refused(1, &["reproduce", "broken.png", "--checkpoint", "run"], &["broken.png", "as PNG"]);
}

#[test]
fn another_checkpoint_reproduces_only_by_force() {
    let dir = trained();
    dir.train(&["--steps", "3", "--seed", "5", "--out", "other"]);
    dir.ok(&["sample", "--checkpoint", "run", "--count", "2", "--grid", "grid.png"]);
    let again = ["reproduce", "grid.png", "--checkpoint", "other"];
    dir.refused(1, &again, &["another checkpoint", "--force-checkpoint"]);
    let ended = dir.ok(&[&again[..], &["--force-checkpoint", "--grid", "new.png"]].concat());
    assert!(ended.out.contains("values differ"), "{}", ended.out);
    let [now] = &dir.ok(&["reproduce", "new.png", "--checkpoint", "other", "--json"]).json()[..]
    else {
        panic!("not one object")
    };
    assert_eq!(now["equal"], true, "it names the networks that drew it");
    // The program's own generator needs no name.
    dir.ok(&[
        "sample",
        "--model",
        "fashion",
        "--class",
        "all",
        "--columns",
        "2",
        "--grid",
        "fashion.png",
    ]);
    assert!(dir.ok(&["reproduce", "fashion.png"]).out.contains("all pixels are equal"));
}

#[test]
fn arithmetic_by_index_by_seed_and_by_attribute() {
    let dir = trained();
    let arithmetic = |args: &[&'static str]| {
        [&["arithmetic", "--checkpoint", "run", "--candidates", "60"], args].concat()
    };
    let by_number = ["--a", "0,1,2", "--b", "3,4,5", "--c", "6,7,59", "--grid", "numbers.png"];
    let text = dir.ok(&arithmetic(&by_number)).out;
    assert!(text.contains("6, 7, 59") && !text.contains("expected"), "{text}");
    let grid = image::open(dir.path("numbers.png")).unwrap();
    assert_eq!((grid.width(), grid.height()), (8 * 66 + 2, 4 * 66 + 2));
    redrawn(&dir, "numbers.png");
    dir.ok(&arithmetic(&[
        "--a",
        "seed:1",
        "--b",
        "seed:2",
        "--c",
        "seed:3",
        "--grid",
        "seeds.png",
    ]));
    redrawn(&dir, "seeds.png");
    // Where A is B, the result is C.
    dir.ok(&arithmetic(&[
        "--a", "4", "--b", "4", "--c", "9", "--noise", "0", "--grid", "same.png",
    ]));
    let same = image::open(dir.path("same.png")).unwrap();
    let cell =
        |column: u32, row: u32| same.crop_imm(2 + column * 66, 2 + row * 66, 64, 64).into_bytes();
    let (center, c) = (cell(4, 1), cell(0, 2));
    let off = center.iter().zip(&c).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(off <= 1 && cell(3, 0) == center && cell(0, 0) != c, "{off}");

    let seen = arithmetic(&[
        "--a",
        "light=1,warm=1",
        "--b",
        "light=0,warm=1",
        "--c",
        "light=0,warm=0",
        "--expect",
        "light=1,warm=0",
        "--exemplars",
        "2",
        "--draws",
        "20",
        "--json",
    ]);
    let [report] = &dir.ok(&seen).json()[..] else { panic!("not one object") };
    assert_eq!(report["a"]["exemplars"].as_array().unwrap().len(), 2);
    let draws = report["check"]["draws"].as_array().unwrap();
    assert_eq!((&draws[0]["exemplars"], &draws[1]["exemplars"]), (&1.into(), &2.into()));
    assert_eq!(
        (&draws[0]["result"]["of"], &draws[1]["with_neighbors"]["of"]),
        (&20.into(), &180.into())
    );
    assert_eq!(report["check"]["chance"]["of"], 60);
    // The nine images of a trial count as one; a single result has no interval.
    let [one, mean] =
        [0, 1].map(|i| draws[i]["with_neighbors"]["interval"].as_array().unwrap().clone());
    assert!(one[0].as_f64() <= one[1].as_f64() && mean[0].as_f64() <= mean[1].as_f64(), "{report}");
    assert!(report["check"]["figure"]["result"]["interval"].is_null(), "{report}");
    // The norm of a normal latent is about √latent, that of A − B + C √3 times as large, and with
    // means of two exemplars √1.5 times.
    for (length, wanted) in [
        (&report["check"]["length"], 1.0f64),
        (&draws[0]["length"], 3.0),
        (&draws[1]["length"], 1.5),
    ] {
        assert!((length.as_f64().unwrap() - wanted.sqrt()).abs() < 0.15, "{report}");
    }
    assert_eq!(dir.ok(&seen).json()[0], *report, "the same seed");

    dir.refused(2, &arithmetic(&["--a", "60", "--b", "1", "--c", "2"]), &["--a 60", "0 to 59"]);
    dir.refused(
        2,
        &arithmetic(&["--a", "1,2", "--b", "1", "--c", "2"]),
        &["2, 1 and 1", "equally many"],
    );
    dir.refused(
        2,
        &arithmetic(&["--a", "hat=1", "--b", "1", "--c", "2"]),
        &["--a", "hat", "light, contrast, warm, green"],
    );
    dir.refused(
        2,
        &arithmetic(&["--a", "1", "--b", "1", "--c", "2", "--expect", "hat"]),
        &["--expect", "hat"],
    );
    dir.refused(2, &arithmetic(&["--a", "seed:x", "--b", "1", "--c", "2"]), &["seed:5"]);
    dir.refused(
        1,
        &arithmetic(&["--a", "light=1", "--b", "1", "--c", "2", "--exemplars", "60"]),
        &["of 60 candidates", "--candidates"],
    );
}

#[test]
fn another_network_may_evaluate() {
    let dir = zoo();
    for (file, seed) in [("one.safetensors", "1"), ("two.safetensors", "2")] {
        let learn = ["eval", "train-features", "--data", "zoo", "--image", "16", "--epochs", "1"];
        dir.ok(&[&learn[..], &["--seed", seed, "--out", file]].concat());
    }
    let numbers = [
        "--class",
        "cat",
        "--candidates",
        "12",
        "--a",
        "0,1",
        "--b",
        "2,3",
        "--expect",
        "cat",
        "--json",
    ];
    let by = |command: &str, more: &[&str]| {
        let start = if command == "turn" { vec![] } else { vec!["--c", "4,5"] };
        let report = dir
            .ok(&[&[command, "--checkpoint", "run"], &numbers[..], &start, more].concat())
            .json()
            .remove(0);
        if command == "turn" { report["by"].clone() } else { report["check"]["by"].clone() }
    };
    let score = ["--classifier", "one.safetensors"];
    for command in ["arithmetic", "turn"] {
        let [picks, evaluator] =
            [&score[..], &[&score[..], &["--eval-classifier", "two.safetensors"]].concat()]
                .map(|more| by(command, more));
        assert!(
            picks.as_str().unwrap().starts_with("zoo-cnn ")
                && evaluator.as_str().unwrap().starts_with("zoo-cnn "),
            "{picks} {evaluator}"
        );
        assert_ne!(picks, evaluator);
    }
    dir.refused(
        2,
        &[
            "arithmetic",
            "--checkpoint",
            "run",
            "--a",
            "0",
            "--b",
            "1",
            "--c",
            "2",
            "--eval-classifier",
            "two.safetensors",
        ],
        &["--classifier"],
    );
}

#[test]
fn conditions_go_through_the_same_arithmetic() {
    let dir = zoo();
    let flags = ["--candidates", "4", "--class", "all", "--noise", "0", "--grid", "a.png"];
    // The first candidates of all classes share a latent, so the conditions are cat − dog + owl and
    // the latent is unchanged.
    dir.ok(&[
        &["arithmetic", "--checkpoint", "run", "--a", "0", "--b", "0", "--c", "8"],
        &flags[..],
    ]
    .concat());
    redrawn(&dir, "a.png");
    let grid = image::open(dir.path("a.png")).unwrap();
    let cell =
        |column: u32, row: u32| grid.crop_imm(2 + column * 66, 2 + row * 66, 64, 64).into_bytes();
    assert_eq!(cell(4, 1), cell(0, 2), "an owl");
    assert_ne!(cell(0, 0), cell(0, 2));
    let one = [
        "arithmetic",
        "--checkpoint",
        "run",
        "--a",
        "seed:1",
        "--b",
        "seed:2",
        "--c",
        "seed:3",
        "--class",
        "all",
    ];
    dir.refused(2, &one, &["a seed does not name a class"]);
}

#[test]
fn images_turn_along_an_axis() {
    let dir = trained();
    let turn =
        ["turn", "--checkpoint", "run", "--candidates", "40", "--rows", "2", "--columns", "5"];
    let text = dir
        .ok(&[
            &turn[..],
            &["--a", "light=1", "--b", "light=0", "--draws", "30", "--grid", "turn.png"],
        ]
        .concat())
        .out;
    assert!(text.contains("-1.00") && text.contains("of 30"), "{text}");
    redrawn(&dir, "turn.png");
    // The middle column is the unchanged image: the first latents after the candidates.
    dir.ok(&[
        "sample",
        "--checkpoint",
        "run",
        "--count",
        "42",
        "--columns",
        "1",
        "--grid",
        "all.png",
    ]);
    let (turned, all) =
        (image::open(dir.path("turn.png")).unwrap(), image::open(dir.path("all.png")).unwrap());
    for row in 0..2 {
        assert_eq!(
            turned.crop_imm(2 + 2 * 66, 2 + row * 66, 64, 64),
            all.crop_imm(2, 2 + (40 + row) * 66, 64, 64)
        );
    }
    dir
        .ok(&[&turn[..], &["--a", "0,1", "--b", "2", "--gif", "turn.gif", "--frames", "4"]]
            .concat());
    assert!(fs::metadata(dir.path("turn.gif")).unwrap().len() > 100);
}

#[test]
fn the_latent_of_a_sample_is_recovered() {
    let dir = TestDir::new();
    dir.ok(&[
        "sample", "--model", "fashion", "--class", "Sneaker", "--count", "1", "--seed", "4",
        "--out", "drawn",
    ]);
    let invert = |args: &[&'static str]| {
        [
            &[
                "invert",
                "drawn/00000.png",
                "--model",
                "fashion",
                "--starts",
                "2",
                "--lr",
                "0.1",
                "--json",
                "--force",
            ],
            args,
        ]
        .concat()
    };
    let report = |args: &[&'static str]| dir.ok(&invert(args)).json().pop().unwrap();
    let error = |args: &[&'static str]| report(args)["error"].as_f64().unwrap();
    let first = error(&["--class", "Sneaker", "--steps", "1"]);
    let found =
        ["--class", "Sneaker", "--steps", "1000", "--out", "z.safetensors", "--grid", "pair.png"];
    let last = error(&found);
    assert!(first > 20.0 && last < 2.0, "{first} {last}");
    assert!(dir.ok(&["reproduce", "pair.png"]).out.contains("all pixels are equal"));
    let latent = read_state_dict(&dir.path("z.safetensors")).unwrap();
    assert_eq!(
        (&latent["latents"].shape[..1], &latent["condition"].shape[..]),
        (&[1][..], &[1, 10][..])
    );
    // `sample` draws the right half of the pair from it.
    let again = ["--latents", "z.safetensors", "--condition", "z.safetensors", "--grid", "one.png"];
    dir.ok(&[&["sample", "--model", "fashion"], &again[..]].concat());
    let (pair, one) =
        (image::open(dir.path("pair.png")).unwrap(), image::open(dir.path("one.png")).unwrap());
    assert_eq!(pair.crop_imm(2 + 58, 2, 56, 56), one.crop_imm(2, 2, 56, 56));
    // Of all classes, the image's own gives the smallest error.
    let best = report(&["--class", "all", "--steps", "200"]);
    let kept = usize::try_from(best["best"].as_u64().unwrap()).unwrap();
    assert_eq!(
        (best["starts"].as_array().unwrap().len(), &best["starts"][kept]["condition"]),
        (20, &7.into())
    );
    dir.refused(
        1,
        &invert(&["--class", "Sneaker", "--feature-weight", "1"]),
        &["--feature-weight", "no discriminator"],
    );
    dir.refused(1, &["invert", "gone.png", "--model", "fashion", "--class", "1"], &["gone.png"]);
}

#[test]
fn the_discriminator_s_features_take_part() {
    let dir = trained();
    dir.ok(&["sample", "--checkpoint", "run", "--count", "1", "--seed", "4", "--out", "drawn"]);
    let error = |features: &'static str| {
        let flags = [
            "--steps",
            "40",
            "--starts",
            "2",
            "--latent-l2",
            "0",
            "--feature-weight",
            features,
            "--json",
        ];
        dir.ok(&[&["invert", "drawn/00000.png", "--checkpoint", "run"], &flags[..]].concat()).json()
            [0]["error"]
            .as_f64()
            .unwrap()
    };
    let (without, with) = (error("0"), error("1"));
    assert!(without != with && with < 2.0, "{without} {with}");
}

#[test]
fn images_are_inpainted_enlarged_and_denoised() {
    let dir = TestDir::new();
    dir.ok(&[
        "sample", "--model", "fashion", "--class", "Sneaker", "--count", "1", "--seed", "4",
        "--out", "drawn",
    ]);
    let restore = |task: &'static str, args: &[&'static str]| {
        let flags = [
            "--model", "fashion", "--class", "Sneaker", "--task", task, "--steps", "300",
            "--starts", "4", "--force",
        ];
        [&["restore", "drawn/00000.png"], &flags[..], args].concat()
    };
    let report = |task, args: &[&'static str]| {
        dir.ok(&restore(task, &[&["--json"], args].concat())).json().pop().unwrap()
    };
    let whole = image::open(dir.path("drawn/00000.png")).unwrap();

    let filled = report(
        "inpaint",
        &["--grid", "filled.png", "--out", "whole.png", "--out", "z.safetensors"],
    );
    let better = |report: &serde_json::Value| {
        report["psnr"]["restored"].as_f64() > report["psnr"]["without a generator"].as_f64()
    };
    assert!(better(&filled), "{filled}");
    assert!(dir.ok(&["reproduce", "filled.png"]).out.contains("all pixels are equal"));
    let restored = image::open(dir.path("whole.png")).unwrap();
    assert_eq!(restored.crop_imm(0, 0, 28, 7), whole.crop_imm(0, 0, 28, 7), "what is known stays");
    assert_ne!(restored, whole);
    // With a mask file the original is unknown, so there is no PSNR.
    let mask =
        image::GrayImage::from_fn(28, 28, |x, _| image::Luma([if x < 14 { 255 } else { 0 }]));
    mask.save(dir.path("mask.png")).unwrap();
    assert!(report("inpaint", &["--mask", "mask.png"])["psnr"]["restored"].is_null());
    image::GrayImage::from_pixel(28, 28, image::Luma([255])).save(dir.path("mask.png")).unwrap();
    dir.refused(
        1,
        &restore("inpaint", &["--mask", "mask.png"]),
        &["all pixels as missing", "white"],
    );
    dir.refused(2, &restore("inpaint", &["--factor", "2"]), &["--factor is for --task superres"]);

    let large = report(
        "superres",
        &["--factor", "4", "--discriminator-weight", "0", "--grid", "large.png"],
    );
    assert!(better(&large), "{large}");
    // A small image is used as it is.
    whole
        .resize_exact(7, 7, image::imageops::FilterType::Triangle)
        .save(dir.path("drawn/00000.png"))
        .unwrap();
    assert!(report("superres", &["--factor", "4"])["psnr"]["restored"].is_null());
    dir.refused(1, &restore("superres", &["--factor", "3"]), &["factor 3", "28x28", "--factor"]);
    whole.save(dir.path("drawn/00000.png")).unwrap();

    let clean = report("denoise", &["--noise", "40", "--grid", "clean.png"]);
    assert!(better(&clean), "{clean}");
    assert!(dir.ok(&["reproduce", "clean.png"]).out.contains("all pixels are equal"));
    assert_eq!(clean, report("denoise", &["--noise", "40"]), "the same seed");
}

#[test]
fn the_discriminator_s_loss_changes_missing_pixels() {
    let dir = trained();
    dir.ok(&["sample", "--checkpoint", "run", "--count", "1", "--seed", "4", "--out", "drawn"]);
    let report = |critic: &'static [&'static str]| {
        let flags = ["--task", "inpaint", "--steps", "40", "--starts", "2", "--json"];
        dir.ok(
            &[&["restore", "drawn/00000.png", "--checkpoint", "run"], &flags[..], critic].concat()
        )
        .json()
        .pop()
        .unwrap()
    };
    assert_ne!(
        report(&["--discriminator-weight", "0"]),
        report(&["--discriminator-weight", "0.1"])
    );
    assert_eq!(report(&[]), report(&["--discriminator-weight", "0.0003"]));
    dir.ok(&["export", "--checkpoint", "run", "--generator", "g.safetensors"]);
    dir.refused(
        1,
        &[
            "restore",
            "drawn/00000.png",
            "--checkpoint",
            "g.safetensors",
            "--task",
            "inpaint",
            "--discriminator-weight",
            "1",
        ],
        &["--discriminator-weight", "no discriminator"],
    );
}
