//! Names, links and special files that are made to do harm.

use crate::common::{Ended, TestDir, files};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Writes a tar of WebDataset's form: for each class some images with the class in a .json file.
fn webdataset(path: &Path, classes: &[&str], images: u32) {
    let mut tar = tar::Builder::new(fs::File::create(path).unwrap());
    let mut add = |name: String, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    for (k, class) in classes.iter().enumerate() {
        for i in 0..images {
            let image = image::RgbImage::from_fn(16, 16, |x, y| {
                let hash = (x * 73 + y * 199 + i * 31 + k as u32 * 83).wrapping_mul(2_654_435_761);
                image::Rgb([(hash >> 24) as u8, (hash >> 16) as u8, (hash >> 8) as u8])
            });
            let mut png = std::io::Cursor::new(Vec::new());
            image.write_to(&mut png, image::ImageFormat::Png).unwrap();
            add(format!("{k}-{i}.png"), png.get_ref());
            add(format!("{k}-{i}.json"), json!({ "label": class }).to_string().as_bytes());
        }
    }
    tar.finish().unwrap();
}

/// All files below a folder, and their contents.
fn tree(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in files(folder) {
        match path.is_dir() {
            true => found.extend(tree(&path)),
            false => found.push((path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}

const DEDUP: [&str; 7] = ["--epochs", "1", "--device", "cpu", "--image", "16", "--out"];

#[test]
fn the_name_of_a_class_leads_nowhere_else() {
    let dir = TestDir::new();
    let long = "x".repeat(300);
    let classes = [
        "..",
        ".",
        "../..",
        "/etc",
        "a/b",
        "a-b",
        "a\\b",
        "nul\0l",
        "\u{1b}[2J",
        &long,
        "Cat",
        "cat",
    ];
    webdataset(&dir.path("set.tar"), &classes, 2);
    // A packed file has the same names.
    dir.ok(&["data", "prepare", "set.tar", "--image", "16", "--out", "set.dcgan"]);
    fs::write(dir.path("000000.png"), "mine").unwrap();
    fs::write(dir.path("000001.png"), "mine").unwrap();
    let before = tree(&dir.path(""));
    for (data, out) in [("set.tar", "one"), ("set.dcgan", "two")] {
        let ended = dir.ok(&[&["dedup", data], &DEDUP[..], &[out, "--json"]].concat());
        let kept = 24 - ended.json()[0]["left_out"].as_u64().unwrap();
        let folders = files(&dir.path(out));
        assert!(folders.iter().all(|folder| folder.is_dir()), "{folders:?}");
        assert_eq!(tree(&dir.path(out)).len() as u64, kept);
        // Nothing else was touched, and nothing is left that blocks the next call.
        fs::remove_dir_all(dir.path(out)).unwrap();
        assert!(before == tree(&dir.path("")), "other files changed");
    }
}

/// Asserts that a terminal shows what was printed and acts on none of it.
#[track_caller]
fn harmless(ended: &Ended) {
    for text in [&ended.out, &ended.err] {
        let acts = |c: char| {
            (c.is_control() && c != '\n')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(acts), "{text:?}");
    }
}

const EVIL: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\r\u{8}\u{202e}gpj\u{7f}\ncat";

#[test]
fn names_in_data_reach_the_terminal_as_text() {
    let dir = TestDir::new();
    webdataset(&dir.path("set.tar"), &[EVIL, "dog"], 12);
    let train = ["--steps", "1", "--condition", "class", "--out", "run"];
    let train = TestDir::training_on("set.tar", &train);
    let data: &[&[&str]] = &[
        &["data", "info", "set.tar"],
        &["data", "info", "set.tar", "--json"],
        &["dedup", "set.tar", "--epochs", "1", "--device", "cpu", "--out", "list.txt"],
        &train,
        &["sample", "--checkpoint", "run", "--count", "1", "--class", EVIL, "--grid", "g.png"],
        &["info", "run"],
        &["info", "run", "--json"],
        &["info", "g.png"],
    ];
    for args in data {
        let ended = dir.ok(args);
        harmless(&ended);
        if args.contains(&"--json") {
            assert!(ended.out.contains("\\u001b]0;owned\\u0007\\u009b31m"), "{}", ended.out);
            assert!(ended.json().iter().any(|object| object.to_string().contains("owned")));
        }
    }
    let info = dir.ok(&["data", "info", "set.tar"]).out;
    assert!(info.contains("\\u001b]0;owned\\u0007\\u009b31m\\r\\u0008"), "{info}");
    assert!(info.contains("\\u202egpj\\u007f\\ncat: 12"), "{info}");
    assert_eq!(
        dir.ok(&["data", "info", "set.tar", "--json"]).json()[0]["classes"][0]["name"],
        EVIL
    );
}

/// Names of files, in lists and errors, and texts within files.
#[test]
fn names_of_files_reach_the_terminal_as_text() {
    let dir = TestDir::new();
    let name = EVIL.replace('/', "");
    let set = format!("set{name}");
    fs::create_dir(dir.path(&set)).unwrap();
    for (k, file) in files(&dir.path("photos")).iter().enumerate() {
        fs::copy(file, dir.path(&set).join(format!("{k}{name}.png"))).unwrap();
    }
    fs::copy(dir.path("photos/000.png"), dir.path(&set).join("same.png")).unwrap();
    harmless(&dir.ok(&["data", "info", &set]));
    harmless(&dir.ok(&["dedup", &set, "--epochs", "1", "--device", "cpu", "--out", "kept.txt"]));
    let list = fs::read_to_string(dir.path("kept.txt")).unwrap();
    assert!(!list.contains(|c: char| c.is_control() && c != '\n'), "{list:?}");
    assert!(list.lines().all(|line| line.ends_with(".png")), "one name is one line: {list:?}");
    fs::write(dir.path(&set).join(format!("bad{name}.png")), "no image").unwrap();
    harmless(&dir.ok(&["data", "info", &set]));
    let run = format!("run{name}");
    harmless(&dir.ok(&TestDir::training_on(&set, &["--steps", "1", "--out", &run])));
    let grid = format!("g{name}.png");
    harmless(&dir.ok(&["sample", "--checkpoint", &run, "--count", "2", "--grid", &grid]));
    harmless(&dir.ok(&["info", &run]));
    harmless(&dir.ok(&["info", &grid]));
    harmless(&dir.ok(&["reproduce", &grid, "--checkpoint", &run]));
    harmless(&dir.ok(&["runs", "--runs-dir", "."]));
    harmless(&dir.run(&["sample", "--checkpoint", &name, "--grid", &grid, "--force"]));
    harmless(&dir.run(&["sample", "--checkpoint", &run, "--grid", &grid]));
    harmless(&dir.run(&["train", "--recipe", &name]));
    harmless(&dir.run(&["train", &format!("--{name}")]));
    harmless(&dir.run(&["train", "--steps", &name]));
    harmless(&dir.run(&[&name]));
    // A damaged checkpoint is named in a warning.
    let checkpoint = dir.checkpoints(&run).pop().unwrap();
    fs::write(checkpoint, "damaged").unwrap();
    harmless(&dir.ok(&["info", &run]));
    // A recipe, in its own texts and in its errors.
    let recipe = dir
        .ok(&["recipes", "small"])
        .out
        .replace("name = \"small\"", "name = \"\\u001b[31m\\u009b\\u202ered\"");
    let file = format!("r{name}.toml");
    fs::write(dir.path(&file), &recipe).unwrap();
    let printed = dir.ok(&["recipes", &file]);
    harmless(&printed);
    fs::write(dir.path("again.toml"), &printed.out).unwrap();
    assert_eq!(dir.ok(&["recipes", "again.toml"]).out, printed.out, "it is a recipe");
    harmless(&dir.ok(&["train", "--recipe", &file, "--data", "photos", "--dry-run"]));
    fs::write(dir.path(&file), recipe.replace("red", "\u{1b}")).unwrap();
    harmless(&dir.run(&["recipes", &file]));
    // A tar header whose checksum is not a number.
    let mut header = vec![0; 1536];
    header[..14].copy_from_slice(b"\x1b]0;owned\x07.png");
    header[148..156].copy_from_slice(b"zzzz\x1b[2J");
    header[257..263].copy_from_slice(b"ustar\0");
    fs::write(dir.path("sum.tar"), header).unwrap();
    let ended = dir.run(&["data", "info", "sum.tar"]);
    assert_eq!(ended.code, Some(1));
    harmless(&ended);
}

#[test]
fn the_text_of_an_image_reaches_the_terminal_as_text() {
    let dir = TestDir::new();
    dir.train(&["--steps", "1", "--out", "run"]);
    dir.ok(&["sample", "--checkpoint", "run", "--count", "1", "--grid", "g.png"]);
    let (image, texts) = runs::grid::read_png(&dir.path("g.png")).unwrap();
    let evil = json!(EVIL).to_string();
    let texts: Vec<(&str, String)> = texts
        .iter()
        .map(|(key, text)| (&**key, text.replace("dcgan sample", evil.trim_matches('"'))))
        .collect();
    assert!(texts.iter().any(|(_, text)| text.contains("owned")));
    runs::grid::save_png_with(&dir.path("g.png"), &image, &texts).unwrap();
    for args in [
        &["info", "g.png"][..],
        &["info", "g.png", "--json"],
        &["reproduce", "g.png", "--checkpoint", "run"],
        &["reproduce", "g.png"],
    ] {
        let ended = dir.run(args);
        assert!((ended.out.clone() + &ended.err).contains("step 1") || ended.out.contains("owned"));
        harmless(&ended);
    }
}
