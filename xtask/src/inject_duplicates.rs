//! `inject-duplicates`: a dataset with a known number of near-duplicates, and the recall and
//! precision of their detection.

use clap::Args;
use image::{Rgb, RgbImage, imageops};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Copy the emoji people and inject near-duplicates of every fifth image: recompressed, shifted by
/// a pixel, brighter. With --groups, report how many of them, and of the natural near-duplicates
/// (the same emoji in another skin tone), are in the groups that `dcgan dedup --groups` wrote, and
/// what else is.
#[derive(Args)]
pub struct Options {
    /// The images, PNG in sub-folders [default: the training images of datasets/emoji-people].
    #[arg(long)]
    input: Option<PathBuf>,
    /// The folder to create.
    #[arg(long, required_unless_present = "groups")]
    out: Option<PathBuf>,
    /// The groups to evaluate.
    #[arg(long, value_name = "FILE.json", conflicts_with = "out")]
    groups: Option<PathBuf>,
}

type BoxError = Box<dyn std::error::Error>;
type Perturbation = (&'static str, fn(&RgbImage) -> RgbImage);

/// Pairs of different emoji that are printed one by one.
const MAX_PRINTED_PAIRS: usize = 12;
/// One image in this many has duplicates.
const DUPLICATE_EVERY: usize = 5;
/// Separates an image's name from its perturbation.
const NAME_SEPARATOR: char = '~';
const PERTURBATIONS: [Perturbation; 3] =
    [("jpeg", |image| image.clone()), ("shift", shifted), ("bright", brighter)];

/// Injects duplicates, or evaluates their detection.
pub fn run(options: &Options) -> Result<(), BoxError> {
    match (&options.groups, &options.out) {
        (Some(file), _) => evaluate(file),
        (None, Some(out)) => {
            let input = options
                .input
                .clone()
                .unwrap_or_else(|| crate::tasks::root().join("datasets/emoji-people/train"));
            inject(&input, out)
        }
        (None, None) => Err("--out or --groups".into()),
    }
}

fn inject(input: &Path, out: &Path) -> Result<(), BoxError> {
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
        let image = on_white(&image::open(file)?.to_rgba8());
        image.save(out.join(format!("{stem}.png")))?;
        if k % DUPLICATE_EVERY == 0 {
            for (name, change) in PERTURBATIONS {
                let ending = if name == "jpeg" { "jpg" } else { "png" };
                change(&image).save(out.join(format!("{stem}{NAME_SEPARATOR}{name}.{ending}")))?;
            }
        }
    }
    println!(
        "{} images and {} injected near-duplicates",
        files.len(),
        files.len().div_ceil(DUPLICATE_EVERY) * PERTURBATIONS.len()
    );
    Ok(())
}

fn on_white(image: &image::RgbaImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, a] = image.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8))
    })
}

fn shifted(image: &RgbImage) -> RgbImage {
    let mut out = RgbImage::from_pixel(image.width(), image.height(), Rgb([255; 3]));
    imageops::overlay(&mut out, image, 1, 0);
    out
}

fn brighter(image: &RgbImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        Rgb(image.get_pixel(x, y).0.map(|c| c.saturating_add(13)))
    })
}

/// The ground truth for the emoji people: which images are the same emoji in different skin tones.
struct EmojiTable {
    /// The emoji's name, without skin tone and spelling of the code points, by the stem of the
    /// file.
    names: HashMap<String, String>,
    /// The number of training images of each name.
    counts: HashMap<String, usize>,
}

impl EmojiTable {
    fn read(path: &Path) -> Result<Self, BoxError> {
        Self::parse(
            &fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        )
    }

    fn parse(text: &str) -> Result<Self, BoxError> {
        let mut lines = text.lines();
        let heads: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let column = |name: &str| {
            heads.iter().position(|head| *head == name).ok_or_else(|| format!("no column {name}"))
        };
        let (file, name, split) = (column("file")?, column("name")?, column("split")?);
        let mut table = Self { names: HashMap::new(), counts: HashMap::new() };
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            if cells.len() != heads.len() {
                return Err(format!("{line:?} has not {} cells", heads.len()).into());
            }
            table.names.insert(stem(cells[file]).to_owned(), cells[name].to_owned());
            if cells[split] == "train" {
                *table.counts.entry(cells[name].to_owned()).or_default() += 1;
            }
        }
        Ok(table)
    }

    /// The emoji's name; the stem itself if the table does not contain it.
    fn name<'a>(&'a self, stem: &'a str) -> &'a str {
        self.names.get(stem).map_or(stem, String::as_str)
    }
}

/// The stem of `a/1f3fb~jpeg.jpg`: without folders, perturbation and extension.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split([NAME_SEPARATOR, '.']).next().unwrap_or(file)
}

fn perturbation(name: &str) -> Option<&str> {
    name.split_once(NAME_SEPARATOR).map(|(_, rest)| rest.split('.').next().unwrap_or(rest))
}

/// The evaluation of the detected groups.
#[derive(Debug, Default, PartialEq)]
struct DetectionOutcome {
    groups: usize,
    left_out: usize,
    /// Removed images of the same emoji as the kept one, in any skin tone.
    correct: usize,
    /// Removed images of another emoji, with the kept one.
    wrong: Vec<(String, String)>,
    /// Injected duplicates in a group with their original, by perturbation.
    injected: BTreeMap<String, usize>,
    /// Images of the dataset in a group with the same emoji in another skin tone.
    natural: usize,
}

impl DetectionOutcome {
    fn of(groups: &[Value], table: &EmojiTable) -> Result<Self, BoxError> {
        let mut outcome = Self { groups: groups.len(), ..Self::default() };
        for group in groups {
            let others = group["left_out"].as_array().ok_or("a group without left_out")?;
            let names: Vec<&str> =
                std::iter::once(&group["kept"]).chain(others).filter_map(Value::as_str).collect();
            let Some(kept) = names.first() else { continue };
            outcome.left_out += others.len();
            for name in &names[1..] {
                if table.name(stem(name)) == table.name(stem(kept)) {
                    outcome.correct += 1;
                } else {
                    outcome.wrong.push((
                        table.name(stem(kept)).to_owned(),
                        table.name(stem(name)).to_owned(),
                    ));
                }
            }
            let originals =
                || names.iter().filter(|name| perturbation(name).is_none()).map(|name| stem(name));
            for name in &names {
                match perturbation(name) {
                    Some(change) if originals().any(|other| other == stem(name)) => {
                        *outcome.injected.entry(change.to_owned()).or_default() += 1;
                    }
                    Some(_) => {}
                    None => {
                        let own = table.name(stem(name));
                        let mate = originals()
                            .any(|other| other != stem(name) && table.name(other) == own);
                        outcome.natural += usize::from(mate);
                    }
                }
            }
        }
        Ok(outcome)
    }
}

fn evaluate(file: &Path) -> Result<(), BoxError> {
    let table =
        EmojiTable::read(&crate::tasks::root().join("datasets/emoji-people/attributes.csv"))?;
    let groups: Vec<Value> = serde_json::from_slice(&fs::read(file)?)?;
    let found = DetectionOutcome::of(&groups, &table)?;
    let percent = |of: usize, all: usize| 100.0 * of as f64 / all.max(1) as f64;
    let DetectionOutcome { groups, left_out, correct, wrong, injected, natural } = &found;
    println!("{left_out} left out of {groups} groups");
    println!(
        "the same emoji as what is kept, in whatever skin tone: {correct}, precision {:.1} %",
        percent(*correct, *left_out)
    );
    let all: usize = table.counts.values().filter(|&&count| count > 1).sum();
    println!(
        "in a group with the same emoji in another skin tone: {natural} of {all}, recall {:.1} %",
        percent(*natural, all)
    );
    let images: usize = table.counts.values().sum();
    for (change, count) in injected {
        let of = images.div_ceil(DUPLICATE_EVERY);
        println!(
            "injected, {change}: {count} of {of} in a group with their original, recall {:.1} %",
            percent(*count, of)
        );
    }
    let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (kept, other) in wrong {
        *pairs.entry((kept, other)).or_default() += 1;
    }
    for ((kept, other), count) in pairs.iter().take(MAX_PRINTED_PAIRS) {
        println!("another emoji: {other} with {kept}, {count} times");
    }
    if pairs.len() > MAX_PRINTED_PAIRS {
        println!("… and {} more such pairs", pairs.len() - MAX_PRINTED_PAIRS);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &str = "file,name,split\ntrain/role/a-1.png,cook,train\n\
                         train/role/a-2.png,cook,train\ntrain/role/a-b.png,nurse,train\n\
                         test/role/c.png,cook,test\n";

    #[test]
    fn other_tones_are_the_same_emoji_and_other_roles_are_not() {
        let table = EmojiTable::parse(TABLE).unwrap();
        assert_eq!(table.counts["cook"], 2);
        let groups = [
            json!({"kept": "role/a-1.png", "left_out": ["role/a-2.png", "role/a-b.png"]}),
            json!({"kept": "a-b.png", "left_out": ["a-b~jpeg.jpg", "a-1~shift.png"]}),
        ];
        let found = DetectionOutcome::of(&groups, &table).unwrap();
        assert_eq!((found.left_out, found.correct, found.natural), (4, 2, 2));
        let nurse = ("cook".to_owned(), "nurse".to_owned());
        assert_eq!(found.wrong, [nurse.clone(), (nurse.1, nurse.0)]);
        assert_eq!(found.injected.into_iter().collect::<Vec<_>>(), [("jpeg".to_owned(), 1)]);
    }
}
