//! `dcgan data`, and the flags of preprocessing.

use crate::common::{Ended, TestDir, files, logged_steps, write_images};
use image::GenericImageView;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

#[test]
fn datasets_are_listed_with_their_folders() {
    let dir = TestDir::new();
    let text = dir.ok(&["data", "list"]).out;
    for part in [
        "fashion-mnist, fashion",
        "emoji-people, emoji",
        "datasets",
        "dcgan data fetch mnist",
        "dcgan data fetch celeba",
        "--data PATH",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(text.lines().all(|line| line.trim_end() == line));
    let sets = dir.ok(&["data", "list", "--json"]).json();
    let of = |name: &str| sets.iter().find(|set| set["name"] == name).unwrap();
    assert!(of("emoji-people")["path"].is_string() && of("emoji-people")["aliases"][0] == "emoji");
    assert!(of("mnist")["path"].is_null());
    assert!(of("cifar-10")["path"].is_null() && of("svhn-extra")["bytes"] == 1_329_278_602_u64);
    dir.refused(
        1,
        &["train", "--data", "mnist"],
        &["cannot find the dataset \"mnist\"", "dcgan data fetch mnist"],
    );
}

#[test]
fn info_reports_sizes_classes_and_bad_images() {
    let dir = TestDir::new();
    write_images(&dir.path("pets/cats"), 3);
    write_images(&dir.path("pets/dogs"), 4);
    image::GrayImage::new(5, 9).save(dir.path("pets/dogs/gray.png")).unwrap();
    fs::write(dir.path("pets/dogs/bad.png"), "nothing").unwrap();
    let ended = dir.ok(&["data", "info", "pets"]);
    for part in [
        "pets, train split: 9 images",
        "18x20: 7, 9x5: 1",
        "gray: 1, RGB: 7",
        "2 classes  cats: 3, dogs: 6",
    ] {
        assert!(ended.out.contains(part), "{part:?} is not in {}", ended.out);
    }
    assert!(ended.err.starts_with("warning: cannot decode \"dogs/bad.png\""), "{}", ended.err);
    assert!(!ended.out.contains("test split"));
    let both = dir.ok(&["data", "info", "emoji", "--json"]).json();
    let counts: Vec<u64> = both.iter().map(|split| split["images"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1407, 150]);
    assert_eq!(both[0]["sizes"][0]["height"], 64);
    assert_eq!(
        (&both[1]["split"], &both[0]["channels"][0]["channels"]),
        (&"test".into(), &4.into())
    );
    dir.refused(1, &["data", "info", "nowhere"], &["no data at \"nowhere\""]);
}

/// The pixels of a grid's first image, at the given side.
fn first(dir: &TestDir, file: &str, side: u32) -> Vec<u8> {
    let grid = image::open(dir.path(file)).unwrap();
    grid.view(2, 2, side, side).to_image().into_raw()
}

#[test]
fn a_preview_shows_the_images_that_a_run_trains_on() {
    let dir = TestDir::new();
    let preview = |args: &[&str]| -> Ended { dir.ok(&[&["data", "preview"], args].concat()) };
    let ended = preview(&["emoji", "--grid", "emoji.png"]);
    assert!(
        ended.out.contains("1407 images at 64x64x3") && ended.out.contains("wrote emoji.png"),
        "{}",
        ended.out
    );
    assert_eq!(image::open(dir.path("emoji.png")).unwrap().dimensions(), (8 * 66 + 2, 8 * 66 + 2));
    assert_eq!(first(&dir, "emoji.png", 64)[..3], [255; 3], "emoji are on white");
    dir.refused(
        1,
        &["data", "preview", "emoji", "--grid", "emoji.png"],
        &["\"emoji.png\" exists already", "--force"],
    );
    preview(&[
        "emoji",
        "--grid",
        "emoji.png",
        "--force",
        "--background",
        "gray",
        "--count",
        "3",
        "--columns",
        "2",
    ]);
    assert_eq!(image::open(dir.path("emoji.png")).unwrap().dimensions(), (2 * 66 + 2, 2 * 66 + 2));
    assert_eq!(first(&dir, "emoji.png", 64)[..3], [128; 3]);
    preview(&["fashion", "--grid", "gray.png", "--split", "test"]);
    assert!(image::open(dir.path("gray.png")).unwrap().color() == image::ColorType::L8);
    // The same seed with other batches: the larger grid begins with the smaller one.
    preview(&["photos", "--grid", "a.png", "--image", "64", "--count", "4", "--seed", "7"]);
    preview(&["photos", "--grid", "b.png", "--image", "64", "--count", "40", "--seed", "7"]);
    preview(&["photos", "--grid", "c.png", "--image", "64", "--count", "40", "--seed", "8"]);
    assert!(first(&dir, "a.png", 64) == first(&dir, "b.png", 64));
    assert!(first(&dir, "c.png", 64) != first(&dir, "b.png", 64));
    // The crop and the filter change the pixels.
    for (name, flags) in [
        ("cut", &["--crop", "8"][..]),
        ("less", &["--min-side", "100"]),
        ("blocks", &["--filter", "nearest"]),
    ] {
        preview(
            &[
                &[
                    "photos",
                    "--image",
                    "64",
                    "--count",
                    "4",
                    "--seed",
                    "7",
                    "--grid",
                    name_of(name),
                ],
                flags,
            ]
            .concat(),
        );
        assert!(first(&dir, name_of(name), 64) != first(&dir, "a.png", 64), "{name}");
    }
    // Some of the 40 images are mirrored, and some are not.
    preview(&[
        "photos", "--grid", "d.png", "--image", "64", "--count", "40", "--seed", "7", "--flip",
    ]);
    let [plain, mirrored] = ["b.png", "d.png"].map(|file| image::open(dir.path(file)).unwrap());
    let cells = |k: u32| (2 + k % 8 * 66, 2 + k / 8 * 66);
    let same = (0..40).filter(|&k| {
        let (x, y) = cells(k);
        let [a, b] = [&plain, &mirrored].map(|grid| grid.view(x, y, 64, 64).to_image());
        assert!(a == b || image::imageops::flip_horizontal(&a) == b, "{k}");
        a == b
    });
    assert!((8..=32).contains(&same.count()));
}

fn name_of(name: &str) -> &'static str {
    match name {
        "cut" => "cut.png",
        "less" => "less.png",
        _ => "blocks.png",
    }
}

#[test]
fn impossible_previews_are_refused() {
    let dir = TestDir::new();
    let refused = |code, args: &[&str], parts: &[&str]| {
        dir.refused(code, &[&["data", "preview", "photos"], args].concat(), parts)
    };
    refused(2, &["--grid", "x.jpg"], &["--grid x.jpg", ".png"]);
    refused(1, &["--grid", "none/x.png"], &["there is no folder \"none\""]);
    refused(2, &["--grid", "x.png", "--image", "63"], &["60x60, 64x64"]);
    refused(2, &["--grid", "x.png", "--crop", "0"], &["--crop", "108"]);
    refused(2, &["--grid", "x.png", "--min-side", "32"], &["a shorter side of 32", "from 64"]);
    refused(2, &["--grid", "x.png", "--min-side", "96", "--fit", "pad"], &["without cropping"]);
    refused(2, &["--grid", "x.png", "--filter", "cubic"], &["cubic", "bicubic"]);
    refused(1, &["--grid", "x.png", "--split", "test"], &["no test split"]);
    assert!(!dir.path("x.png").exists());
}

#[test]
fn a_packed_file_trains_like_its_source() {
    let dir = TestDir::new();
    let flags = ["--image", "16", "--crop", "14", "--background", "white", "--filter", "bicubic"];
    fn prepare<'a>(args: &[&'a str]) -> Vec<&'a str> {
        [&["data", "prepare", "photos", "--out", "set.dcgan"], args].concat()
    }
    let ended = dir.ok(&prepare(&flags));
    assert!(ended.out.contains("wrote set.dcgan: 40 images of 16x16x3"), "{}", ended.out);
    assert_eq!(
        files(&dir.path(""))
            .iter()
            .filter(|path| path.to_string_lossy().contains("set.dcgan"))
            .count(),
        1
    );
    // Both give the same networks, to the bit, mirrored or not; a run may resume with the other.
    let train = |data: &str, args: &[&str], out: &str| {
        let flags =
            ["train", "--data", data, "--width", "2", "--batch", "8", "--steps", "7", "--out", out];
        dir.ok(&[&flags[..], args].concat());
        (
            fs::read(dir.checkpoints(out).pop().unwrap()).unwrap(),
            fs::read_to_string(dir.path(out).join("config.toml")).unwrap(),
        )
    };
    for flip in [&[][..], &["--flip"]] {
        let weights = |(bytes, _): &(Vec<u8>, String)| {
            let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            bytes[start..].to_vec()
        };
        let source =
            train("photos", &[&flags[..], flip].concat(), &format!("source{}", flip.len()));
        let packed = train(
            "set.dcgan",
            &[&["--recipe", "torch"], flip].concat(),
            &format!("packed{}", flip.len()),
        );
        assert!(weights(&source) == weights(&packed));
        for line in ["crop = [14, 14]", "filter = \"bicubic\"", "background = [255, 255, 255]"] {
            assert!(source.1.contains(line) && packed.1.contains(line), "{line}");
        }
    }
    dir.ok(&["data", "preview", "set.dcgan", "--grid", "packed.png"]);
    dir.ok(&[&["data", "preview", "photos", "--grid", "source.png"], &flags[..]].concat());
    assert_eq!(
        fs::read(dir.path("packed.png")).unwrap(),
        fs::read(dir.path("source.png")).unwrap()
    );
    let info = dir.ok(&["data", "info", "set.dcgan"]).out;
    for part in ["train split: 40 images", "packed with", "crop [14,14]", "16x16: 40"] {
        assert!(info.contains(part), "{part:?} is not in {info}");
    }
    // A finished file is not packed again, and an existing one is not replaced.
    let cut = ["train", "--data", "set.dcgan", "--image", "16", "--crop", "10"];
    dir.refused(2, &cut, &["--crop: the packed file", "prepare another"]);
    dir.refused(2, &prepare(&["--flip", "--force"]), &["--flip: ", "dcgan train"]);
    dir.refused(1, &prepare(&flags), &["\"set.dcgan\" exists already", "--force"]);
    let before = fs::read(dir.path("set.dcgan")).unwrap();
    dir.ok(&prepare(&["--image", "16", "--force"]));
    assert!(fs::read(dir.path("set.dcgan")).unwrap() != before);
    // The file of an interrupted call is continued.
    let whole = fs::read(dir.path("set.dcgan")).unwrap();
    fs::remove_file(dir.path("set.dcgan")).unwrap();
    fs::write(dir.path("set.dcgan.part"), &whole[..whole.len() / 2]).unwrap();
    let ended = dir.ok(&prepare(&["--image", "16"]));
    assert!(ended.out.contains("of them by an earlier call"), "{}", ended.out);
    assert!(fs::read(dir.path("set.dcgan")).unwrap() == whole);
    // One that was cut is not continued.
    fs::write(dir.path("cut.dcgan"), &whole[..whole.len() / 2]).unwrap();
    dir.refused(1, &["data", "info", "cut.dcgan"], &["truncated", "dcgan data prepare"]);
    dir.refused(
        1,
        &["data", "prepare", "photos", "--out", "no/where"],
        &["there is no folder \"no\""],
    );
}

#[test]
fn a_fetched_dataset_has_a_name_and_attributes() {
    let dir = TestDir::new();
    let cifar = dir.path("datasets/cifar-10/cifar-10-batches-bin");
    fs::create_dir_all(&cifar).unwrap();
    fs::write(cifar.join("data_batch_1.bin"), [&[1][..], &[128; 3072]].concat().repeat(64))
        .unwrap();
    let ended = dir.ok(&["train", "--data", "cifar-10", "--dry-run", "--json"]);
    assert_eq!(ended.event("data")["shape"], serde_json::json!([32, 32, 3]));
    let missing = ["cannot find the dataset \"cifar-100\"", "dcgan data fetch cifar-100"];
    dir.refused(1, &["train", "--data", "cifar-100"], &missing);
    fs::create_dir(dir.path("celeba")).unwrap();
    dir.refused(1, &["train", "--data", "celeba"], &["the path of that name is ./celeba"]);
    let emoji = dir.ok(&["data", "info", "emoji"]).out;
    for part in [
        "attribute gender  neutral: 499",
        "attribute hair  \"\": 1335, bald: 18",
        "attribute emoji  1407 different words",
    ] {
        assert!(emoji.contains(part), "{part:?} is not in {emoji}");
    }
    let row = |(k, path): (usize, &std::path::PathBuf)| {
        format!("{},{},{k}\n", path.file_name().unwrap().to_str().unwrap(), k % 2)
    };
    let rows: String = files(&dir.path("photos")).iter().enumerate().map(row).collect();
    let table = format!("file,smiles,age\n{rows}");
    fs::write(dir.path("photos/attributes.csv"), table).unwrap();
    let info = dir.ok(&["data", "info", "photos"]).out;
    assert!(
        info.contains("attribute smiles  yes: 20, no: 20")
            && info.contains("attribute age  0 to 39"),
        "{info}"
    );
    let info = dir.ok(&["data", "info", "photos", "--json"]).json();
    assert_eq!(
        info[0]["attributes"][1],
        serde_json::json!({ "name": "age", "least": 0.0, "largest": 39.0 })
    );
}

#[test]
fn preprocessing_is_kept_in_the_run() {
    let dir = TestDir::new();
    let flags = ["--crop", "16x14", "--filter", "bicubic", "--flip", "--background", "white"];
    dir.train(&[&["--steps", "2", "--out", "run"], &flags[..]].concat());
    let config = fs::read_to_string(dir.path("run/config.toml")).unwrap();
    for line in
        ["crop = [16, 14]", "filter = \"bicubic\"", "flip = true", "background = [255, 255, 255]"]
    {
        assert!(config.contains(line), "{line} is not in {config}");
    }
    // The same flags or none resume the run; other flags are refused.
    dir.train(&[&["--resume", "run", "--steps", "3"], &flags[..]].concat());
    dir.ok(&["train", "--resume", "run", "--steps", "4"]);
    for (flags, part) in [
        (&["--crop", "16"][..], "--crop 16x16 differs from this run's 16x14"),
        (&["--min-side", "64"], "--min-side 64 differs from this run's none"),
        (&["--filter", "box"], "--filter box differs from this run's bicubic"),
        (&["--flip=false"], "--flip false differs from this run's true"),
    ] {
        dir.refused(2, &[&["train", "--resume", "run", "--steps", "9"], flags].concat(), &[part]);
    }
    // A recipe may enable mirroring, and a flag disable it.
    fs::write(dir.path("mirrored.toml"), "base = \"torch\"\n[image]\nflip = true\n").unwrap();
    for (flags, wanted) in [
        (&["--recipe", "mirrored.toml"][..], true),
        (&["--recipe", "mirrored.toml", "--flip=false"], false),
    ] {
        let out = format!("run-{wanted}");
        dir.train(&[&["--steps", "1", "--out", &out], flags].concat());
        let config = fs::read_to_string(dir.path(&out).join("config.toml")).unwrap();
        assert!(config.contains(&format!("flip = {wanted}")), "{config}");
    }
}

#[test]
fn a_recipe_sets_preprocessing_and_flags_override_it() {
    let dir = TestDir::new();
    let keys = "crop = [16, 14]\nfilter = \"bicubic\"\nbackground = \"ff8000\"\nfit = \"pad\"";
    fs::write(dir.path("own.toml"), format!("base = \"torch\"\n[image]\n{keys}\n")).unwrap();
    fs::write(dir.path("near.toml"), "base = \"torch\"\n[image]\nmin_side = 96\n").unwrap();
    let preview = |grid: &str, args: &[&str]| {
        dir.ok(&[
            &["data", "preview", "photos", "--image", "64", "--count", "4", "--grid", grid],
            args,
        ]
        .concat());
        fs::read(dir.path(grid)).unwrap()
    };
    let flags =
        ["--crop", "16x14", "--filter", "bicubic", "--background", "ff8000", "--fit", "pad"];
    let by_recipe = preview("a.png", &["--recipe", "own.toml"]);
    assert!(by_recipe == preview("b.png", &flags) && by_recipe != preview("c.png", &[]));
    assert!(
        preview("d.png", &["--recipe", "near.toml"]) == preview("e.png", &["--min-side", "96"])
    );
    // A flag overrides the recipe.
    let other = ["--crop", "10", "--filter", "box", "--background", "white", "--fit", "stretch"];
    assert!(
        preview("f.png", &[&["--recipe", "own.toml"], &other[..]].concat())
            == preview("g.png", &other)
    );
    // The same holds in a packed file, which needs the recipe no more, and in a run, whose
    // checkpoint keeps it.
    let prepare = |out: &str, args: &[&str]| {
        dir.ok(&[&["data", "prepare", "photos", "--image", "16", "--out", out], args].concat());
        fs::read(dir.path(out)).unwrap()
    };
    assert!(prepare("a.dcgan", &["--recipe", "own.toml"]) == prepare("b.dcgan", &flags));
    for (data, recipe) in [("photos", "own.toml"), ("a.dcgan", "own.toml"), ("a.dcgan", "torch")] {
        let out = format!("{data}-{recipe}");
        dir.ok(&TestDir::training_on(data, &["--recipe", recipe, "--out", &out, "--steps", "1"]));
        let config = fs::read_to_string(dir.path(&out).join("config.toml")).unwrap();
        let [mut runs, mut recipes] = [
            config.split_once("[preprocess]").unwrap().1,
            config.split_once("[recipe.image]").unwrap().1,
        ];
        runs = runs.split("\n[").next().unwrap();
        recipes = recipes.split("\n[").next().unwrap();
        for line in [
            "crop = [16, 14]",
            "filter = \"bicubic\"",
            "background = [255, 128, 0]",
            "fit = \"pad\"",
        ] {
            assert!(runs.contains(line), "{line:?} is not in {runs}");
        }
        for line in
            ["crop = [16, 14]", "filter = \"bicubic\"", "background = \"ff8000\"", "fit = \"pad\""]
        {
            assert_eq!(recipes.contains(line), recipe == "own.toml", "{line:?}: {recipes}");
        }
    }
    dir.ok(&["train", "--resume", "photos-own.toml", "--steps", "2"]);
    // Invalid values are an error of one line.
    dir.refused(
        1,
        &["train", "--data", "a.dcgan", "--image", "16", "--recipe", "near.toml"],
        &["image.min_side", "--recipe"],
    );
    dir.refused(
        2,
        &["train", "--data", "photos", "--image", "128", "--recipe", "near.toml"],
        &["min_side", "96", "from 128"],
    );
    for (keys, parts) in [
        ("crops = 108", &["image.crops", "image.crop"][..]),
        ("crop = 0", &["image.crop", "from 1"]),
        ("fit = \"zoom\"", &["image.fit", "zoom"]),
        ("filter = \"cubic\"", &["image.filter", "bicubic"]),
        ("background = \"pink\"", &["image.background", "pink"]),
    ] {
        fs::write(dir.path("bad.toml"), format!("base = \"torch\"\n[image]\n{keys}\n")).unwrap();
        dir.refused(
            1,
            &["train", "--data", "photos", "--recipe", "bad.toml"],
            &[&["bad.toml"], parts].concat(),
        );
    }
}

/// A file that `crates/data/tests/fixtures/generate.py` wrote.
fn fixture(name: &str) -> String {
    format!("{}/../data/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn archives_and_databases_are_trained_on_in_place() {
    let dir = TestDir::new();
    let lsun = format!("lsun:{}", fixture("lsun"));
    for (data, out) in [(fixture("archives/tree.zip"), "zip"), (lsun, "lsun")] {
        let flags =
            ["--image", "16", "--width", "2", "--batch", "2", "--steps", "3", "--log-every", "1"];
        dir.ok(&[&["train", "--data", &data, "--out", out], &flags[..]].concat());
        assert_eq!(logged_steps(&dir.path(out)), [1, 2, 3], "{data}");
        dir.ok(&["train", "--resume", out, "--steps", "4"]);
        assert_eq!(logged_steps(&dir.path(out)), [1, 2, 3, 4], "{data}");
    }
}

/// A folder of images in two classes. One class and one image of the other have names that are not
/// UTF-8; `None` where the file system has no such names.
#[cfg(unix)]
fn oddly_named(dir: &TestDir) -> Option<()> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    write_images(&dir.path("odd/plain"), 12);
    let class = dir.path("odd").join(OsStr::from_bytes(b"caf\xE9"));
    fs::create_dir(&class).ok()?;
    for entry in files(&dir.path("photos")).iter().take(12) {
        fs::copy(entry, class.join(entry.file_name().unwrap())).unwrap();
    }
    fs::rename(
        dir.path("odd/plain/000.png"),
        dir.path("odd/plain").join(OsStr::from_bytes(b"\xFF\xFE.png")),
    )
    .ok()
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_are_read_or_refused() {
    let dir = TestDir::new();
    let Some(()) = oddly_named(&dir) else { return };
    let info = dir.ok(&["data", "info", "odd"]);
    assert!(
        info.out.contains("train split: 24 images")
            && info.out.contains("caf\u{fffd}: 12, plain: 12"),
        "{}",
        info.out
    );
    let flags = ["--steps", "2", "--condition", "class", "--out", "run"];
    dir.ok(&TestDir::training_on("odd", &flags));
    dir.ok(&["data", "preview", "odd", "--image", "16", "--grid", "odd.png"]);
    let ended = dir.ok(&["data", "prepare", "odd", "--image", "16", "--out", "odd.dcgan"]);
    assert!(ended.out.contains("24 images"), "{}", ended.out);
    // Copies would have other names than the originals.
    dir.refused(
        1,
        &["data", "split", "odd", "--out", "divided"],
        &["is not UTF-8: rename it", "\u{fffd}"],
    );
    assert!(!dir.path("divided").exists());
}

#[test]
fn emoji_have_defaults_of_their_own() {
    let dir = TestDir::new();
    let ended = dir.ok(&["train", "--data", "emoji", "--dry-run", "--json"]);
    assert_eq!(ended.event("data")["shape"], serde_json::json!([64, 64, 3]), "{}", ended.out);
    dir.ok(&TestDir::training_on("emoji", &["--steps", "1", "--out", "run"]));
    let config = fs::read_to_string(dir.path("run/config.toml")).unwrap();
    assert!(
        config.contains("background = [255, 255, 255]") && config.contains("data = \"emoji\""),
        "{config}"
    );
}

#[test]
fn fetching_needs_a_known_dataset_and_its_files() {
    let dir = TestDir::new();
    let fetch = |args: &[&str]| {
        [&["data", "fetch"], args].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let refused = |args: &[&str], parts: &[&str]| {
        let args = fetch(args);
        dir.refused(1, &args.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    };
    refused(&["imagenet"], &["cannot fetch \"imagenet\"", "cifar-10"]);
    refused(
        &["celeba", "--out", "sets"],
        &["no plain address", "img_align_celeba.zip", "sets/celeba"],
    );
    let ended = dir.ok(&["data", "fetch", "fashion"]);
    assert!(ended.out.contains("fashion-mnist is here already"), "{}", ended.out);
    // A local server that answers every request with a page.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = format!("http://{}/mnist", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = BufReader::new(&stream).lines().next().unwrap().unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlogin")
            .unwrap();
        request
    });
    refused(
        &["mnist", "--out", "sets", "--mirror", &mirror],
        &["5 bytes where the set has 9912422", "--mirror"],
    );
    assert_eq!(server.join().unwrap(), "GET /mnist/train-images-idx3-ubyte.gz HTTP/1.1");
    // A folder that is locked by another fetch is left alone.
    assert_eq!(files(&dir.path("sets/mnist")), [dir.path("sets/mnist/.lock")]);
}

#[cfg(feature = "parquet")]
#[test]
fn datasets_of_the_hub_are_fetched_and_read() {
    const SHARD: &[u8] =
        include_bytes!("../../../data/tests/fixtures/parquet/hf/data/test-00000-of-00001.parquet");
    const SUM: &str = "8b4f26d50412e042791918ef904c54b0490b79596b9fd2a3ba1e2db1070fa2ae";
    const SPEC: &str = "hf://datasets/me/cats";
    let dir = TestDir::new();
    dir.refused(1, &["data", "info", SPEC], &["dcgan data fetch hf://datasets/me/cats"]);
    dir.refused(1, &["data", "fetch", "hf://datasets/../cats"], &["hf://datasets/OWNER/NAME"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let tree = format!(
            r#"[{{"type": "file", "oid": "0", "size": {0}, "path": "data/train-0.parquet",
                "lfs": {{"oid": "{SUM}", "size": {0}, "pointerSize": 132}}}}]"#,
            SHARD.len()
        );
        [tree.as_bytes(), SHARD].map(|body| {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map(|line| line.unwrap());
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            )
            .unwrap();
            stream.write_all(body).unwrap();
            head
        })
    });
    let run = |args: &[&str]| {
        let mut command = dir.command(args);
        command.env("DCGAN_DATASETS", "sets").env("HF_TOKEN", "hf_secret");
        Ended::of(command.output().unwrap())
    };
    let ended = run(&["data", "fetch", SPEC, "--mirror", &mirror]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("inspect it with: dcgan data info hf://datasets/me/cats"));
    let requests = server.join().unwrap();
    assert_eq!(requests[0][0], "GET /api/datasets/me/cats/tree/main?recursive=true HTTP/1.1");
    assert!(requests.iter().flatten().any(|line| line.contains("Bearer hf_secret")));
    let info = run(&["data", "info", SPEC, "--json"]);
    assert_eq!(info.json()[0]["images"], 2, "{}", info.err);
    for ended in [&ended, &info] {
        assert!(!ended.out.contains("hf_secret") && !ended.err.contains("hf_secret"));
    }
    // Without the server.
    assert_eq!(run(&["data", "fetch", SPEC, "--mirror", &mirror]).code, Some(0));
}

#[test]
fn faces_are_cropped_from_images() {
    let dir = TestDir::new();
    fs::write(dir.path("photos/bad.png"), "nothing").unwrap();
    let ended = dir.ok(&["data", "faces", "photos", "--out", "faces"]);
    assert!(
        ended.out.contains("0 faces in 41 images (40 without a face, 1 unreadable)"),
        "{}",
        ended.out
    );
    assert!(ended.err.starts_with("warning: cannot decode \"bad.png\""), "{}", ended.err);
    assert_eq!(files(&dir.path("faces")), [dir.path("faces/faces.csv")]);
    dir.refused(1, &["data", "faces", "photos", "--out", "faces"], &["\"faces\" is not empty"]);
    dir.refused(1, &["data", "faces", "nowhere", "--out", "new"], &["no data at \"nowhere\""]);
    dir.refused(
        2,
        &["data", "faces", "photos", "--out", "new", "--min-size", "19"],
        &["--min-size", "19"],
    );
    dir.refused(
        1,
        &["data", "faces", "photos", "--out", "new", "--min-score", "0"],
        &["a score of 0"],
    );
    let model =
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/models/seeta_fd_frontal_v1.0.bin"))
            .unwrap();
    fs::write(dir.path("cut.bin"), &model[..50_000]).unwrap();
    let with = |model| ["data", "faces", "photos", "--out", "new", "--detector", model];
    dir.refused(1, &with("cut.bin"), &["bad face detector \"cut.bin\": truncated"]);
    dir.refused(1, &with("photos/000.png"), &["bad face detector \"photos/000.png\""]);
    dir.refused(1, &with("none.bin"), &["cannot read \"none.bin\""]);
    assert!(!dir.path("new").exists());
    fs::write(dir.path("whole.bin"), model).unwrap();
    assert!(dir.ok(&with("whole.bin")).out.contains("0 faces in 41 images"));
}

#[test]
fn folders_are_split() {
    let dir = TestDir::new();
    let ended = dir.ok(&["data", "split", "photos", "--out", "divided", "--test", "0.25"]);
    assert!(ended.out.contains("30 training and 10 test images in divided"), "{}", ended.out);
    let counts: Vec<u64> = dir
        .ok(&["data", "info", "divided", "--json"])
        .json()
        .iter()
        .map(|split| split["images"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [30, 10]);
    dir.refused(1, &["data", "split", "photos", "--out", "divided"], &["\"divided\" is not empty"]);
    dir.refused(1, &["data", "split", "photos", "--out", "new", "--test", "1"], &["a share of 1"]);
    dir.refused(
        1,
        &["data", "split", "photos", "--out", "new", "--group-by", "person"],
        &["attributes.csv", "person"],
    );
    assert!(!dir.path("new").exists());
}

#[test]
fn a_run_may_lie_in_its_own_data() {
    let dir = TestDir::new();
    let photos = dir.path("photos");
    let run = |folder: &std::path::Path, args: &[&str]| {
        let output = dir.command(args).current_dir(folder).output().unwrap();
        let ended = Ended::of(output);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
        ended
    };
    let train = TestDir::training_on(".", &["--steps", "3", "--sample-every", "1"]);
    let ended = run(&photos, &train);
    assert!(ended.out.contains("Data: photos, 40 images at 16x16x3, no classes"), "{}", ended.out);
    assert!(photos.join("runs").is_dir());
    // It resumes there, and from elsewhere, with the images that it began with.
    let resume = |steps| ["train", "--resume", "--runs-dir", "photos/runs", "--steps", steps];
    let ended = run(&photos, &["train", "--resume", "--steps", "4"]);
    assert!(ended.out.contains("40 images"), "{}", ended.out);
    assert!(ended.err.contains("the run directory \"runs/0001-"), "{}", ended.err);
    let place = photos.parent().unwrap();
    run(place, &resume("5"));
    // Everything that is drawn is known by its signature, wherever it is.
    run(&photos, &["data", "preview", ".", "--image", "16", "--count", "4", "--grid", "p.png"]);
    let first = files(&photos.join("runs")).into_iter().find(|path| path.is_dir()).unwrap();
    let checkpoint = first.to_str().unwrap();
    run(place, &["sample", "--checkpoint", checkpoint, "--count", "3", "--out", "photos/mine"]);
    let gif = fs::read(first.join("timelapse.gif")).unwrap();
    fs::write(photos.join("t.gif"), gif).unwrap();
    let ended = run(place, &resume("6"));
    assert!(ended.err.contains("5 images that this program wrote are left out"), "{}", ended.err);
    // Where there is nothing else, they are the dataset.
    let info = dir.ok(&["data", "info", "photos/mine"]);
    assert!(info.out.contains("mine, train split: 3 images"), "{}", info.out);
}

#[test]
fn layouts_are_told_in_one_line() {
    let dir = TestDir::new();
    for (path, count) in [("set/train/cat", 12), ("set/train/dog", 12)] {
        write_images(&dir.path(path), count);
    }
    fs::write(dir.path("set/train/cat/IMG_1.HEIC"), b"\0\0\0\x24ftypheic").unwrap();
    let line = "2 classes from folders cat, dog; split train";
    let info = dir.ok(&["data", "info", "set"]);
    assert!(info.out.contains(line) && info.out.contains("cat: 12, dog: 12"), "{}", info.out);
    assert!(info.err.contains("1 HEIC file is not read: convert it"), "{}", info.err);
    let json = &dir.ok(&["data", "info", "set", "--json"]).json()[0];
    assert_eq!((&json["layout"], json["notes"].as_array().unwrap().len()), (&line.into(), 1));
    let train = |data: &'static str, more: &[&'static str]| {
        TestDir::training_on(data, &[&["--steps", "1", "--dry-run"], more].concat())
    };
    let ended = dir.ok(&train("set", &[]));
    assert!(ended.out.contains(&format!("24 images at 16x16x3, {line}")), "{}", ended.out);
    assert!(ended.err.contains("1 HEIC file is not read"), "{}", ended.err);
    let event = dir.ok(&train("set", &["--json"])).event("data");
    assert_eq!((&event["layout"], event["notes"].as_array().unwrap().len()), (&line.into(), 1));
    // One class distinguishes nothing, and a misplaced image does not remove two of them.
    let by_class = |data: &'static str| train(data, &["--condition", "class"]);
    fs::rename(dir.path("photos/000.png"), dir.path("set/train/x.png")).unwrap();
    let ended = dir.ok(&by_class("set"));
    assert!(ended.err.contains("1 image outside the folders of classes"), "{}", ended.err);
    dir.refused(1, &by_class("set/train/cat"), &["no labels to condition on (no classes)"]);
    fs::write(dir.path("photos/dataset.json"), "{\"labels\": null}").unwrap();
    dir.refused(1, &by_class("photos"), &["dataset.json has no labels", "--condition"]);
    let rows: Vec<String> = (1..40).map(|k| format!("[\"{k:03}.png\", 0]")).collect();
    let labels = format!("{{\"labels\": [{}]}}", rows.join(","));
    fs::write(dir.path("photos/dataset.json"), labels).unwrap();
    dir.refused(1, &by_class("photos"), &["one class, \"0\"", "two or more classes"]);
    // A held-out split alone is not a training set.
    fs::create_dir(dir.path("coco")).unwrap();
    fs::rename(dir.path("set/train"), dir.path("coco/val2017")).unwrap();
    dir.refused(1, &train("coco", &[]), &["val2017", "held-out", "name the folder itself"]);
    let info = dir.ok(&["data", "info", "coco"]);
    assert!(info.out.contains("coco, test split: 24 images"), "{}", info.out);
}

#[cfg(unix)]
#[test]
fn data_may_have_a_path_that_is_not_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = TestDir::new();
    let name = OsStr::from_bytes(b"caf\xE9");
    if fs::rename(dir.path("photos"), dir.path("x").with_file_name(name)).is_err() {
        return;
    }
    let run = |args: &[&OsStr], folder: &OsStr| {
        let place = dir.path("x").with_file_name(folder);
        let ended = Ended::of(dir.command(&[]).args(args).current_dir(place).output().unwrap());
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
        ended
    };
    let here = OsStr::new(".");
    let info =
        run(&["data", "info"].map(OsStr::new).into_iter().chain([name]).collect::<Vec<_>>(), here);
    assert!(info.out.contains("train split: 40 images"), "{}", info.out);
    let flags = "--image 16 --width 2 --batch 8 --steps 2 --out";
    let train = |data: &'static OsStr, out: &'static str| {
        let flags = flags.split(' ').chain([out]).map(OsStr::new);
        [OsStr::new("train"), OsStr::new("--data"), data]
            .into_iter()
            .chain(flags)
            .collect::<Vec<_>>()
    };
    run(&train(OsStr::from_bytes(b"folder:caf\xE9"), "one"), here);
    // The folder itself, from inside: the run knows its place from elsewhere, too.
    run(&train(OsStr::new("."), "../two"), name);
    for out in ["one", "two"] {
        dir.ok(&["train", "--resume", out, "--steps", "3"]);
    }
    // So may the run.
    let place = OsStr::from_bytes(b"r\xE9");
    let mut args = train(OsStr::from_bytes(b"folder:caf\xE9"), "three");
    *args.last_mut().unwrap() = place;
    args.push(OsStr::new("--json"));
    let ended = run(&args, here);
    for event in ["directory", "saved", "sampled"] {
        let path = ended.event(event)["path"].as_str().unwrap().to_owned();
        assert!(path.contains("r\\xE9"), "{path}");
    }
    let resume = ["train", "--resume"].map(OsStr::new).into_iter().chain([place]);
    run(&resume.chain(["--steps", "3"].map(OsStr::new)).collect::<Vec<_>>(), here);
    let info = ["info", "--json"].map(OsStr::new).into_iter().chain([place]);
    let info = run(&info.collect::<Vec<_>>(), here).json();
    assert!(info[0]["path"].as_str().unwrap().contains("r\\xE9"));
}
