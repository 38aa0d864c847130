//! Damaged inputs of every format: the program reads them or names what is wrong, in bounded time
//! and memory. (The tests of `data` go deeper: they change what is compressed or has a checksum.)

use super::case::{Case, Setup};
use super::jobs::OUT;
use super::{BoxError, copy, files};
use fastrand::Rng;
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// CPU seconds, and KiB of address space: far more than any of these inputs needs.
const RESOURCE_LIMITS: &str = "ulimit -t 30; ulimit -v 4194304; ";
/// Stands for the input in a command.
const INPUT: &str = "INPUT";
const INFO: &str = "data info INPUT";
const PREPARE: &str = "data prepare INPUT --image 8 --out out";
/// Imports the state dict that follows.
pub const IMPORT: &str =
    "import --recipe torch --image 8 --width 4 --channels 3 --out imported --generator";
/// The fixtures that are several files of one dataset; every other one is a file alone.
const FOLDERS: [&str; 9] = [
    "celeba",
    "cifar10",
    "cifar10-numpy",
    "cifar10-python",
    "cifar100",
    "cifar100-python",
    "lsun",
    "stl10",
    "svhn",
];
/// Images of the sets that ship with the program.
const IMAGES: usize = 20;

/// An input of the program, of which one file is damaged.
pub struct Input {
    /// The file, or the folder that is copied.
    root: PathBuf,
    /// The file to damage, in that folder.
    file: String,
    /// The commands that read it.
    commands: Vec<String>,
}

pub fn run(case: &mut Case) -> Result<(), BoxError> {
    let inputs = &case.setup.inputs;
    // Now and then one is read as it is.
    let whole =
        case.index.is_multiple_of(4).then(|| inputs.get(usize::try_from(case.index / 4).ok()?));
    let whole = whole.flatten();
    let input = whole.unwrap_or_else(|| &inputs[case.rng.usize(..inputs.len())]);
    let folder = case.dir.join("input");
    let copied = folder.join(input.root.file_name().unwrap_or_default());
    copy(&input.root, &copied)?;
    let damaged = join(&copied, &input.file);
    if whole.is_none() {
        let other = &inputs[case.rng.usize(..inputs.len())];
        let (mut bytes, other) = (fs::read(&damaged)?, fs::read(join(&other.root, &other.file))?);
        for _ in 0..case.rng.u8(1..5) {
            mutate(&mut bytes, &other, &mut case.rng);
        }
        fs::write(&damaged, bytes)?;
    }
    let extensions =
        ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "tga"];
    let is_image = copied.extension().is_some_and(|e| extensions.iter().any(|p| e == *p));
    let command = &input.commands[case.rng.usize(..input.commands.len())];
    let data = command.starts_with("data ") && is_image;
    let path = if data { &folder } else { &copied }.display().to_string();
    let args: Vec<String> = command
        .split(' ')
        .map(|word| if word == INPUT { path.clone() } else { word.to_owned() })
        .collect();
    let mut codes = vec![0, 1, 2];
    if whole.is_some() {
        // The limits change nothing.
        codes = vec![case.run("", &args)?.code(&codes)?];
        fs::remove_dir_all(&case.work)?;
        fs::create_dir(&case.work)?;
    }
    case.run(RESOURCE_LIMITS, &args)?.code(&codes)?;
    Ok(())
}

/// A file of a folder; a file itself without a name.
pub fn join(root: &Path, name: &str) -> PathBuf {
    if name.is_empty() { root.to_owned() } else { root.join(name) }
}

/// The fixtures of all formats, parts of the sets that ship with the program, and files that the
/// program wrote.
pub fn inputs(setup: &Setup) -> Result<Vec<Input>, BoxError> {
    let data = [INFO, PREPARE];
    let mut inputs = Vec::new();
    let mut add = |root: &Path, file: &str, commands: &[&str]| {
        let commands = commands.iter().map(|&command| command.to_owned()).collect();
        inputs.push(Input { root: root.to_owned(), file: file.to_owned(), commands });
    };
    let repository = crate::tasks::root();
    let fixtures = repository.join("crates/data/tests/fixtures");
    for (name, path) in files(&fixtures)? {
        match name.split_once('/') {
            Some((folder, file)) if FOLDERS.contains(&folder) => {
                add(&fixtures.join(folder), file, &data);
            }
            Some(_) => add(&path, "", &data),
            // A script that made them, or what it needs.
            None => {}
        }
    }
    for folder in [fashion(setup, &repository)?, emoji(setup, &repository)?] {
        for (file, _) in files(&folder)? {
            add(&folder, &file, &data);
        }
    }
    add(&setup.whole("prepare").join(OUT), "", &data);
    let draw = "sample --device cpu --count 2 --out out --checkpoint INPUT";
    let run = setup.whole("train").join(OUT);
    if let Some((_, path)) = files(&run.join("checkpoints"))?.pop() {
        add(&path, "", &["info INPUT", draw]);
    }
    let import = format!("{IMPORT} INPUT");
    add(&setup.whole("export").join(OUT).join("generator.safetensors"), "", &[&import]);
    add(&setup.whole("sample").join(OUT).join("00000.png"), "", &["info INPUT", "data info INPUT"]);
    for (_, path) in files(&repository.join("crates/nn/recipes"))? {
        add(&path, "", &["train --dry-run --recipe INPUT"]);
    }
    Ok(inputs)
}

/// The first images of Fashion-MNIST and their labels.
fn fashion(setup: &Setup, repository: &Path) -> Result<PathBuf, BoxError> {
    let folder = setup.dir.join("inputs/fashion");
    fs::create_dir_all(&folder)?;
    for (name, head, each) in
        [("train-images-idx3-ubyte", 16, 28 * 28), ("train-labels-idx1-ubyte", 8, 1)]
    {
        let packed = repository.join(format!("datasets/fashion-mnist/{name}.gz"));
        let mut bytes = vec![0; head + IMAGES * each];
        GzDecoder::new(File::open(packed)?).read_exact(&mut bytes)?;
        bytes[4..8].copy_from_slice(&u32::try_from(IMAGES)?.to_be_bytes());
        fs::write(folder.join(name), bytes)?;
    }
    Ok(folder)
}

/// An image of each class of the emoji, with the table of attributes.
fn emoji(setup: &Setup, repository: &Path) -> Result<PathBuf, BoxError> {
    let (from, to) = (repository.join("datasets/emoji-people"), setup.dir.join("inputs/emoji"));
    copy(&from.join("attributes.csv"), &to.join("attributes.csv"))?;
    let mut class = String::new();
    for (name, path) in files(&from.join("train"))? {
        let folder = name.split('/').next().unwrap_or_default();
        if folder != class {
            copy(&path, &to.join("train").join(&name))?;
            folder.clone_into(&mut class);
        }
    }
    Ok(to)
}

/// One change: a flip, a cut, an end, a longer file, a piece of this or another file, or a number
/// at a limit.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let length = bytes.len();
    let at = rng.usize(..=length);
    let end = (at + rng.usize(1..600)).min(length);
    match rng.u8(..10) {
        0 | 1 if at < length => bytes[at] ^= 1 << rng.u8(..8),
        2 => bytes.truncate(at),
        3 => bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(end - at)),
        4 if !other.is_empty() => {
            let from = rng.usize(..other.len());
            let piece = &other[from..other.len().min(from + rng.usize(1..600))];
            bytes.splice(at..at, piece.iter().copied());
        }
        5 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        6 => drop(bytes.drain(at..end)),
        7 => {
            // A number in digits.
            let numbers = ["0", "-1", "65536", "4294967296", "99999999999999999999", "1e400"];
            let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
            let start = at + bytes[at..].iter().take_while(|b| !b.is_ascii_digit()).count();
            let count = digits(&bytes[start..]);
            bytes.splice(start..start + count, numbers[rng.usize(..numbers.len())].bytes());
        }
        _ => {
            let size = 1 << rng.u8(..4);
            let ones = u64::MAX >> (64 - 8 * size);
            let number = [0, 1, 1 << 16, 1 << 24, ones >> 1, (ones >> 1) + 1, ones, ones - 1]
                [rng.usize(..8)];
            let mut number = number.to_le_bytes()[..size].to_vec();
            if rng.bool() {
                number.reverse();
            }
            bytes.iter_mut().skip(at & !1).zip(number).for_each(|(byte, new)| *byte = new);
        }
    }
}
