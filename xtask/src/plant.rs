//! `plant`: a set with duplicates whose number is known, and how many of them were found.

use clap::Args;
use image::{Rgb, RgbImage, imageops};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Copies the emoji people and plants near-duplicates of every fifth picture: recompressed, moved by a pixel, brighter. With --judge, tells how many of
/// them, and of the natural ones (the same emoji in another skin tone), are in the groups that `dcgan dedup --groups` wrote, and what else is.
#[derive(Args)]
pub struct Options {
    /// The pictures, PNG in sub-folders [default: the training pictures of datasets/emoji-people].
    #[arg(long)]
    input: Option<PathBuf>,
    /// The folder to make.
    #[arg(long, required_unless_present = "judge")]
    out: Option<PathBuf>,
    /// The groups to judge.
    #[arg(long, value_name = "FILE.json", conflicts_with = "out")]
    judge: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;
type Change = (&'static str, fn(&RgbImage) -> RgbImage);

/// Pairs of different emoji that are told one by one.
const SHOWN: usize = 12;
/// One picture in so many has duplicates.
const EVERY: usize = 5;
/// Between a picture's name and what was done to it.
const MARK: char = '~';
const CHANGES: [Change; 3] =
    [("jpeg", |picture| picture.clone()), ("shift", shifted), ("bright", brighter)];

/// Plants, or judges.
///
/// # Errors
/// Files that cannot be read or written.
pub fn run(options: &Options) -> Result<(), Failure> {
    match (&options.judge, &options.out) {
        (Some(file), _) => judge(file),
        (None, Some(out)) => {
            let input = options
                .input
                .clone()
                .unwrap_or_else(|| crate::tasks::root().join("datasets/emoji-people/train"));
            plant(&input, out)
        }
        (None, None) => Err("--out or --judge".into()),
    }
}

fn plant(input: &Path, out: &Path) -> Result<(), Failure> {
    fs::create_dir_all(out)?;
    let mut files = Vec::new();
    for folder in fs::read_dir(input)? {
        for file in fs::read_dir(folder?.path())? {
            files.push(file?.path());
        }
    }
    files.sort();
    for (k, file) in files.iter().enumerate() {
        let stem = file.file_stem().ok_or("a file without a name")?.to_string_lossy();
        let picture = on_white(&image::open(file)?.to_rgba8());
        picture.save(out.join(format!("{stem}.png")))?;
        if k % EVERY == 0 {
            for (name, change) in CHANGES {
                let ending = if name == "jpeg" { "jpg" } else { "png" };
                change(&picture).save(out.join(format!("{stem}{MARK}{name}.{ending}")))?;
            }
        }
    }
    println!(
        "{} pictures, {} planted beside them",
        files.len(),
        files.len().div_ceil(EVERY) * CHANGES.len()
    );
    Ok(())
}

fn on_white(picture: &image::RgbaImage) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [r, g, b, a] = picture.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8))
    })
}

fn shifted(picture: &RgbImage) -> RgbImage {
    let mut out = RgbImage::from_pixel(picture.width(), picture.height(), Rgb([255; 3]));
    imageops::overlay(&mut out, picture, 1, 0);
    out
}

fn brighter(picture: &RgbImage) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        Rgb(picture.get_pixel(x, y).0.map(|c| c.saturating_add(13)))
    })
}

/// What is known of the emoji people: which pictures are the same emoji in different skin tones.
struct Truth {
    /// The name, which says neither skin tone nor how the code points are written, by the stem of the file.
    names: HashMap<String, String>,
    /// The training pictures of each name.
    counts: HashMap<String, usize>,
}

impl Truth {
    fn read(table: &Path) -> Result<Self, Failure> {
        Self::parse(
            &fs::read_to_string(table)
                .map_err(|error| format!("cannot read {}: {error}", table.display()))?,
        )
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let mut lines = text.lines();
        let heads: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let column = |name: &str| {
            heads.iter().position(|head| *head == name).ok_or_else(|| format!("no column {name}"))
        };
        let (file, name, split) = (column("file")?, column("name")?, column("split")?);
        let mut truth = Self { names: HashMap::new(), counts: HashMap::new() };
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            if cells.len() != heads.len() {
                return Err(format!("{line:?} has not {} cells", heads.len()).into());
            }
            truth.names.insert(stem(cells[file]).to_owned(), cells[name].to_owned());
            if cells[split] == "train" {
                *truth.counts.entry(cells[name].to_owned()).or_default() += 1;
            }
        }
        Ok(truth)
    }

    /// What the picture is called; a name of its own where the table does not know it.
    fn name<'a>(&'a self, stem: &'a str) -> &'a str {
        self.names.get(stem).map_or(stem, String::as_str)
    }
}

/// `a/1f3fb~jpeg.jpg` without folders, what was done to it, and ending.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split([MARK, '.']).next().unwrap_or(file)
}

fn change(name: &str) -> Option<&str> {
    name.split_once(MARK).map(|(_, rest)| rest.split('.').next().unwrap_or(rest))
}

/// What the groups hold.
#[derive(Debug, Default, PartialEq)]
struct Verdict {
    groups: usize,
    left_out: usize,
    /// Left out, and the same emoji as what is kept, in any skin tone.
    right: usize,
    /// Left out, and another emoji: beside what is kept.
    wrong: Vec<(String, String)>,
    /// Planted ones in a group with their original, by what was done.
    planted: BTreeMap<String, usize>,
    /// Pictures of the set in a group with the same emoji in another skin tone.
    natural: usize,
}

impl Verdict {
    fn of(groups: &[Value], truth: &Truth) -> Result<Self, Failure> {
        let mut verdict = Self { groups: groups.len(), ..Self::default() };
        for group in groups {
            let others = group["left_out"].as_array().ok_or("a group without left_out")?;
            let names: Vec<&str> =
                std::iter::once(&group["kept"]).chain(others).filter_map(Value::as_str).collect();
            let Some(kept) = names.first() else { continue };
            verdict.left_out += others.len();
            for name in &names[1..] {
                if truth.name(stem(name)) == truth.name(stem(kept)) {
                    verdict.right += 1;
                } else {
                    verdict.wrong.push((
                        truth.name(stem(kept)).to_owned(),
                        truth.name(stem(name)).to_owned(),
                    ));
                }
            }
            let originals =
                || names.iter().filter(|name| change(name).is_none()).map(|name| stem(name));
            for name in &names {
                match change(name) {
                    Some(change) if originals().any(|other| other == stem(name)) => {
                        *verdict.planted.entry(change.to_owned()).or_default() += 1;
                    }
                    Some(_) => {}
                    None => {
                        let own = truth.name(stem(name));
                        let mate = originals()
                            .any(|other| other != stem(name) && truth.name(other) == own);
                        verdict.natural += usize::from(mate);
                    }
                }
            }
        }
        Ok(verdict)
    }
}

fn judge(file: &Path) -> Result<(), Failure> {
    let truth = Truth::read(&crate::tasks::root().join("datasets/emoji-people/attributes.csv"))?;
    let groups: Vec<Value> = serde_json::from_slice(&fs::read(file)?)?;
    let found = Verdict::of(&groups, &truth)?;
    let percent = |of: usize, all: usize| 100.0 * of as f64 / all.max(1) as f64;
    let Verdict { groups, left_out, right, wrong, planted, natural } = &found;
    println!("{left_out} left out of {groups} groups");
    println!(
        "the same emoji as what is kept, in whatever skin tone: {right}, precision {:.1} %",
        percent(*right, *left_out)
    );
    let all: usize = truth.counts.values().filter(|&&count| count > 1).sum();
    println!(
        "in a group with the same emoji in another skin tone: {natural} of {all}, recall {:.1} %",
        percent(*natural, all)
    );
    let pictures: usize = truth.counts.values().sum();
    for (change, count) in planted {
        let of = pictures.div_ceil(EVERY);
        println!(
            "planted, {change}: {count} of {of} in a group with their original, recall {:.1} %",
            percent(*count, of)
        );
    }
    let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (kept, other) in wrong {
        *pairs.entry((kept, other)).or_default() += 1;
    }
    for ((kept, other), count) in pairs.iter().take(SHOWN) {
        println!("another emoji: {other} beside {kept}, {count} times");
    }
    if pairs.len() > SHOWN {
        println!("… and {} more such pairs", pairs.len() - SHOWN);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &str = "file,name,split\ntrain/role/a-1.png,cook,train\ntrain/role/a-2.png,cook,train\ntrain/role/a-b.png,nurse,train\ntest/role/c.png,cook,test\n";

    #[test]
    fn other_tones_are_the_same_emoji_and_other_roles_are_not() {
        let truth = Truth::parse(TABLE).unwrap();
        assert_eq!(truth.counts["cook"], 2);
        let groups = [
            json!({"kept": "role/a-1.png", "left_out": ["role/a-2.png", "role/a-b.png"]}),
            json!({"kept": "a-b.png", "left_out": ["a-b~jpeg.jpg", "a-1~shift.png"]}),
        ];
        let found = Verdict::of(&groups, &truth).unwrap();
        assert_eq!((found.left_out, found.right, found.natural), (4, 2, 2));
        let nurse = ("cook".to_owned(), "nurse".to_owned());
        assert_eq!(found.wrong, [nurse.clone(), (nurse.1, nurse.0)]);
        assert_eq!(found.planted.into_iter().collect::<Vec<_>>(), [("jpeg".to_owned(), 1)]);
    }
}
