//! `emoji`: builds `datasets/emoji-people` from the npm package that contains the images.

use clap::Args;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Build `datasets/emoji-people` (images, `attributes.csv`, `SHA256SUMS`) from the npm package
/// `emoji-datasource-google`.
#[derive(Args)]
pub struct Options {
    /// The unpacked package: the folder with `emoji.json` and `img/google/64`.
    package: PathBuf,
    /// The folder to write.
    #[arg(long, default_value = "datasets/emoji-people")]
    out: PathBuf,
}

/// The subcategories of `emoji.json` to use, and the classes that they become.
const CLASSES: [(&str, &str); 6] = [
    ("person", "person"),
    ("person-activity", "activity"),
    ("person-fantasy", "fantasy"),
    ("person-gesture", "gesture"),
    ("person-role", "role"),
    ("person-sport", "sport"),
];

/// Emoji with separate code points for each gender, and the code point of the neutral form.
const RELATED: [(&str, &str); 11] = [
    ("1F468", "1F9D1"), // man: adult
    ("1F469", "1F9D1"), // woman
    ("1F466", "1F9D2"), // boy: child
    ("1F467", "1F9D2"), // girl
    ("1F474", "1F9D3"), // older man: older adult
    ("1F475", "1F9D3"), // older woman
    ("1F934", "1FAC5"), // prince: person with crown
    ("1F478", "1FAC5"), // princess
    ("1F930", "1FAC4"), // pregnant woman: pregnant person
    ("1FAC3", "1FAC4"), // pregnant man
    ("1F57A", "1F483"), // man dancing: dancer
];
/// Father and Mother Christmas, whose neutral form is a sequence.
const CHRISTMAS: (&[&str], &str) = (&["1F385", "1F936"], "1F9D1-1F384");

/// Words of the names that give the gender.
const FEMALE: [&str; 4] = ["WOMAN", "GIRL", "PRINCESS", "MOTHER"];
const MALE: [&str; 4] = ["MAN", "BOY", "PRINCE", "FATHER"];

const SKIN: [(&str, &str); 5] = [
    ("1F3FB", "light"),
    ("1F3FC", "medium-light"),
    ("1F3FD", "medium"),
    ("1F3FE", "medium-dark"),
    ("1F3FF", "dark"),
];
const HAIR: [(&str, &str); 5] = [
    ("1F9B0", "red"),
    ("1F9B1", "curly"),
    ("1F9B2", "bald"),
    ("1F9B3", "white"),
    ("1F471", "blond"),
];

#[derive(Deserialize)]
struct Entry {
    name: String,
    unified: String,
    image: String,
    subcategory: String,
    has_img_google: bool,
    #[serde(default)]
    skin_variations: BTreeMap<String, Variation>,
}

#[derive(Deserialize)]
struct Variation {
    unified: String,
    image: String,
    has_img_google: bool,
}

/// One image and its attributes.
struct Row {
    image: String,
    emoji: String,
    name: String,
    class: &'static str,
    base: String,
}

/// Writes the dataset; an earlier build in the folder is replaced.
///
/// # Errors
/// Returns an error if the package is invalid or a file cannot be written.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let list = options.package.join("emoji.json");
    let text =
        fs::read_to_string(&list).map_err(|e| format!("cannot read {}: {e}", list.display()))?;
    let entries: Vec<Entry> =
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", list.display()))?;
    let rows = rows(&entries);
    if rows.is_empty() {
        return Err(format!("{} lists no person emoji with a Google image", list.display()).into());
    }
    let tests = test_bases(&rows)?;
    let roles = roles(&rows);
    let signed: BTreeSet<&str> =
        rows.iter().filter(|row| sign(&row.emoji).is_some()).map(|row| row.base.as_str()).collect();
    let read = |row: &Row| -> Result<Vec<u8>, String> {
        let path = options.package.join("img/google/64").join(&row.image);
        fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
    };
    let images: Vec<Vec<u8>> = rows.iter().map(read).collect::<Result<_, _>>()?;
    for split in ["train", "test"] {
        let folder = options.out.join(split);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
    }
    let mut sums = BTreeMap::new();
    let mut table = vec![];
    for (row, image) in rows.iter().zip(&images) {
        let split = if tests.contains(row.base.as_str()) { "test" } else { "train" };
        let file = format!("{split}/{}/{}", row.class, row.image);
        write(&options.out.join(&file), image)?;
        sums.insert(file.clone(), sum(image));
        let role = roles.get(row.base.as_str()).map_or("", String::as_str);
        let fields = [
            &file,
            &row.emoji,
            &row.name.to_lowercase(),
            &row.base,
            skin(&row.emoji),
            gender(row, signed.contains(row.base.as_str())),
            role,
            hair(&row.emoji),
            facing(&row.name),
            split,
        ];
        if let Some(field) = fields.iter().find(|field| field.contains([',', '"', '\n'])) {
            return Err(format!("{field:?} of {file} would need quotes in CSV").into());
        }
        table.push(fields.join(","));
    }
    table.sort();
    let csv = format!(
        "file,emoji,name,base,skin_tone,gender,role,hair,facing,split\n{}\n",
        table.join("\n")
    );
    write(&options.out.join("attributes.csv"), csv.as_bytes())?;
    sums.insert("attributes.csv".to_owned(), sum(csv.as_bytes()));
    let lines: String = sums.iter().map(|(file, sum)| format!("{sum}  {file}\n")).collect();
    write(&options.out.join("SHA256SUMS"), lines.as_bytes())?;
    println!(
        "wrote {} images of {} base emoji into {}",
        table.len(),
        roles.len(),
        options.out.display()
    );
    println!(
        "the test split has the base emoji {}",
        tests.iter().copied().collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

fn rows(entries: &[Entry]) -> Vec<Row> {
    let mut rows = vec![];
    for entry in entries {
        let Some((_, class)) = CLASSES.iter().find(|(name, _)| *name == entry.subcategory) else {
            continue;
        };
        let itself = (&entry.unified, &entry.image, entry.has_img_google);
        let variations =
            entry.skin_variations.values().map(|v| (&v.unified, &v.image, v.has_img_google));
        for (emoji, image, there) in [itself].into_iter().chain(variations) {
            if there {
                let (emoji, image, name) = (emoji.clone(), image.clone(), entry.name.clone());
                rows.push(Row { image, base: base(&emoji), emoji, name, class });
            }
        }
    }
    rows
}

/// The code points that skin tones, genders and directions of one emoji have in common.
fn base(emoji: &str) -> String {
    let joined = ["200D", "FE0F", "2640", "2642", "27A1"];
    let bare =
        |point: &&str| !joined.contains(point) && !SKIN.iter().any(|(skin, _)| skin == point);
    let mut points: Vec<&str> = emoji.split('-').filter(bare).collect();
    if let [only] = points[..]
        && CHRISTMAS.0.contains(&only)
    {
        return CHRISTMAS.1.to_owned();
    }
    if let Some((first, (_, neutral))) = points.first_mut().and_then(|first| {
        RELATED.iter().find(|(gendered, _)| gendered == first).map(|found| (first, found))
    }) {
        *first = neutral;
    }
    points.join("-")
}

/// The tenth (at least one) of each class's base emoji that comes first in the order of their
/// SHA-256: a choice that is arbitrary and independent of the other classes.
fn test_bases(rows: &[Row]) -> Result<BTreeSet<&str>, Box<dyn Error>> {
    let mut classes: BTreeMap<&str, &str> = BTreeMap::new();
    for row in rows {
        if *classes.entry(&row.base).or_insert(row.class) != row.class {
            return Err(format!("the variants of {} are in two classes", row.base).into());
        }
    }
    let mut tests = BTreeSet::new();
    for (_, class) in CLASSES {
        let mut bases: Vec<&str> =
            classes.iter().filter(|(_, of)| **of == class).map(|(base, _)| *base).collect();
        bases.sort_by_cached_key(|base| sum(base.as_bytes()));
        let count = (bases.len() + 5) / 10;
        tests.extend(bases.into_iter().take(count.max(1)));
    }
    Ok(tests)
}

/// The role of each base emoji: the name of its woman, man or person without that word, else its
/// own name.
fn roles(rows: &[Row]) -> BTreeMap<String, String> {
    let mut roles = BTreeMap::new();
    for row in rows {
        roles.entry(row.base.clone()).or_insert_with(|| {
            let mut names = rows
                .iter()
                .filter(|other| other.base == row.base && skin(&other.emoji) == "default")
                .map(|r| &r.name);
            let own = rows
                .iter()
                .find(|other| other.emoji.replace("-200D", "").replace("-FE0F", "") == row.base);
            let without = names.find_map(|name| without_gender(name));
            without.unwrap_or_else(|| own.unwrap_or(row).name.to_lowercase())
        });
    }
    roles
}

/// `WOMAN: RED HAIR` as `red hair`, `DEAF MAN` as `deaf`; `None` for a name without such a word, or
/// with nothing else.
fn without_gender(name: &str) -> Option<String> {
    let name = name.strip_suffix(" FACING RIGHT").unwrap_or(name);
    let words: Vec<&str> = name.split([' ', ':']).filter(|word| !word.is_empty()).collect();
    let kept: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !["WOMAN", "WOMEN", "MAN", "MEN", "PERSON"].contains(word))
        .collect();
    (!kept.is_empty() && kept.len() < words.len()).then(|| kept.join(" ").to_lowercase())
}

fn skin(emoji: &str) -> &'static str {
    SKIN.iter()
        .find(|(point, _)| emoji.split('-').any(|p| p == *point))
        .map_or("default", |(_, name)| name)
}

fn hair(emoji: &str) -> &'static str {
    HAIR.iter()
        .find(|(point, _)| emoji.split('-').any(|p| p == *point))
        .map_or("", |(_, name)| name)
}

fn facing(name: &str) -> &'static str {
    if name.ends_with(" FACING RIGHT") { "right" } else { "" }
}

/// The gender of the emoji's sign.
fn sign(emoji: &str) -> Option<&'static str> {
    emoji.split('-').find_map(|point| match point {
        "2640" => Some("female"),
        "2642" => Some("male"),
        _ => None,
    })
}

/// The gender by the emoji's sign, else by its name. An emoji without a sign whose relatives are
/// `signed` is neutral, though some still have older names (`MAN WITH TURBAN`).
fn gender(row: &Row, signed: bool) -> &'static str {
    let named = |words: &[&str]| row.name.split([' ', ':']).any(|word| words.contains(&word));
    match sign(&row.emoji) {
        Some(gender) => gender,
        None if signed => "neutral",
        None if named(&FEMALE) => "female",
        None if named(&MALE) => "male",
        None => "neutral",
    }
}

fn sum(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let wrong = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    fs::write(path, bytes).map_err(wrong)?;
    Ok(())
}
