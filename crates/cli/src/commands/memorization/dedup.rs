//! `dcgan dedup`.

use crate::commands::data::SpecArgs;
use crate::commands::{DeviceArgs, OutputArgs, SeedArg, open_dataset, require_files};
use crate::error::CliError;
use crate::output;
use crate::parse::count;
use crate::render::with_progress;
use crate::report::{self, Report, table};
use data::{DataSpec, Dataset, Fit, Preprocess, Split};
use eval::image_sheet::ImageSheet;
use eval::images::load_images;
use eval::memorization::{AutoencoderConfig, Duplicates, Group, Options, dedup};
use file_io::NewFolder;
use runs::{GridOptions, grid, write_atomic};
use serde::Serialize;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Groups that are listed individually.
const MAX_LISTED_GROUPS: usize = 10;
/// Rows and columns of the grid of groups.
const SHEET: [usize; 2] = [16, 8];
/// The frame around images that are left out.
const RED: [f32; 3] = [0.8, -0.8, -0.8];

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Split of the dataset.
    #[arg(long, value_enum, default_value = "train", help_heading = "Data")]
    split: Split,
    /// Hamming distance between the 128-bit codes of duplicates; 0, as in the DCGAN paper, means
    /// equal codes.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count(0..=32))]
    radius: u32,
    /// Epochs of the autoencoder.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count(1..=100_000))]
    epochs: u32,
    #[command(flatten)]
    seed: SeedArg,
    /// Output path: the dataset without duplicates. DIR: the files of a folder of images (linked,
    /// or copied) with their classes and attributes; of another dataset, PNG files of the original
    /// size (or --image) in a folder per class. FILE.txt: only the names of the images kept, one
    /// per line.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Image size that --out writes of a dataset that is not a folder [default: the images'
    /// own size, if all have the same].
    #[arg(long, value_name = "N|HxW", value_parser = crate::parse::size, help_heading = "Output")]
    image: Option<[u32; 2]>,
    /// Write all groups of duplicates, with names and distances.
    #[arg(long, value_name = "FILE.json", help_heading = "Output")]
    groups: Option<PathBuf>,
    /// Write a PNG of the first groups, a row each: the image kept, then, framed in red, those left
    /// out.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Finds duplicates by the codes of an autoencoder, and writes the dataset without them.
pub fn run(args: &Args) -> Result<(), CliError> {
    let spec = DataSpec::parse(args.spec.get())?;
    require(args)?;
    let device = args.device.open()?;
    let preprocess = Preprocess {
        fit: Fit::Crop,
        background: spec.background().unwrap_or_default(),
        ..Preprocess::new([32, 32], 3)
    };
    let autoencoder = AutoencoderConfig {
        epochs: args.epochs as usize,
        seed: args.seed.seed,
        ..AutoencoderConfig::default()
    };
    let options = Options { training: autoencoder, radius: args.radius };
    let dataset = open_dataset(args.spec.get(), args.split, &preprocess, args.output.json)?;
    if let Some((folder, out)) = dataset.folder().zip(args.out.as_ref().filter(|out| !is_list(out)))
    {
        data::require_outside(&folder, out)?;
    }
    let originals = originals(args, &spec, &dataset)?;
    let found = with_progress(|progress| dedup(&dataset, options, &device, progress))?;
    report::print(&DedupReport::new(args, &dataset, &found), args.output.json);
    write(args, &dataset, originals.as_ref(), &found)
}

/// Rejects output that could not be written, before the work is done.
fn require(args: &Args) -> Result<(), CliError> {
    for (flag, path) in [("--out", &args.out), ("--groups", &args.groups)] {
        if let Some(path) = path.as_ref().filter(|path| path.is_dir()) {
            return Err(failure!(
                "{flag} {path:?} is an existing folder: choose another name, or remove it"
            ));
        }
    }
    let folder = args.out.as_deref().filter(|out| !is_list(out));
    if let Some(folder) = folder.filter(|folder| folder.symlink_metadata().is_ok()) {
        return Err(failure!(
            "--out {folder:?} is an existing file: choose another name for the folder"
        ));
    }
    let grid = ("--grid", args.grid.as_deref(), "png");
    let others = [("--out", args.out.as_deref(), ""), ("--groups", args.groups.as_deref(), "")];
    require_files(args.output.force, others.into_iter().chain([grid]))
}

/// The original images, if `--out` must write them because the dataset has no files to link.
fn originals(args: &Args, spec: &DataSpec, dataset: &Dataset) -> Result<Option<Dataset>, CliError> {
    let Some(out) = args.out.as_ref().filter(|out| !is_list(out) && dataset.folder().is_none())
    else {
        return Ok(None);
    };
    let name = args.spec.get();
    let shape = spec.image_shape(args.split)?;
    let Some(size) = args.image.or(shape.map(|[h, w, _]| [h, w])) else {
        return Err(usage!(
            "--out {}: the images of {name} are not files, and have no common size: give --image, \
             or a name that ends in .txt",
            out.display()
        ));
    };
    let channels = shape.map_or(3, |[.., channels]| channels as u8);
    let preprocess = Preprocess {
        background: spec.background().unwrap_or_default(),
        ..Preprocess::new(size, channels)
    };
    let originals = open_dataset(name, args.split, &preprocess, args.output.json)?;
    match originals.len() == dataset.len() {
        true => Ok(Some(originals)),
        false => Err(failure!(
            "{name}: {} images at first, then {}: the dataset changed meanwhile",
            dataset.len(),
            originals.len()
        )),
    }
}

fn is_list(out: &Path) -> bool {
    out.extension().is_some_and(|extension| extension == "txt")
}

/// The duplicates that were found.
#[derive(Serialize)]
struct DedupReport {
    images: usize,
    groups: usize,
    left_out: usize,
    /// Images left out whose distance is that of unrelated images.
    borderline: usize,
    distinct_codes: usize,
    informative_bits: u32,
    loss: f64,
    median_distance: f64,
    near_distance: f64,
    radius: u32,
    #[serde(skip)]
    first: Vec<GroupReport>,
}

/// A group of duplicates: the image kept, and the others with their distances to it.
#[derive(Serialize)]
struct GroupReport {
    kept: String,
    left_out: Vec<String>,
    distances: Vec<f64>,
}

impl GroupReport {
    fn new(dataset: &Dataset, group: &Group) -> Self {
        let mut names = group.images.iter().map(|&index| dataset.image_name(index));
        Self {
            kept: names.next().unwrap_or_default(),
            left_out: names.collect(),
            distances: group.distances.clone(),
        }
    }

    fn cells(&self) -> [String; 3] {
        let names: Vec<&str> = self.left_out.iter().take(3).map(String::as_str).collect();
        let more = match self.left_out.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let largest = self.distances.iter().copied().fold(0.0, f64::max);
        [self.kept.clone(), format!("{}{more}", names.join(", ")), format!("{largest:.3}")]
    }
}

impl DedupReport {
    fn new(args: &Args, dataset: &Dataset, found: &Duplicates) -> Self {
        let first = found.groups.iter().take(MAX_LISTED_GROUPS);
        Self {
            images: dataset.len(),
            groups: found.groups.len(),
            left_out: found.to_drop().len(),
            borderline: found.borderline(),
            distinct_codes: found.distinct,
            informative_bits: found.informative_bits,
            loss: found.loss,
            median_distance: found.median,
            near_distance: found.near,
            radius: args.radius,
            first: first.map(|group| GroupReport::new(dataset, group)).collect(),
        }
    }
}

impl Report for DedupReport {
    fn text(&self) -> Vec<String> {
        let Self { groups, left_out, borderline, .. } = self;
        let mut lines = Vec::new();
        if *groups > 0 {
            let rows = self.first.iter().map(GroupReport::cells);
            lines.push(table(&["kept", "left out", "largest distance"], rows));
        }
        if *groups > self.first.len() {
            lines.push(format!("… and {} more groups", groups - self.first.len()));
        }
        lines.push(format!(
            "\n{} images, {} distinct codes ({} of 128 bits vary): {groups} groups, {left_out} \
             images to leave out",
            self.images, self.distinct_codes, self.informative_bits
        ));
        if *left_out > 0 {
            lines.push(format!(
                "false positives, by pixels: {borderline} of {left_out} ({:.1} %) differ from the \
                 image kept by more than {:.3}, as 99 % of random pairs do (median {:.3})",
                *borderline as f64 / *left_out as f64 * 100.0,
                self.near_distance,
                self.median_distance
            ));
        }
        lines
    }
}

fn write(
    args: &Args,
    dataset: &Dataset,
    originals: Option<&Dataset>,
    found: &Duplicates,
) -> Result<(), CliError> {
    let json = args.output.json;
    let left_out: HashSet<usize> = found.to_drop().into_iter().collect();
    let kept: Vec<usize> = (0..dataset.len()).filter(|i| !left_out.contains(i)).collect();
    if let Some(out) = &args.out {
        if is_list(out) {
            // One name is one line, whatever characters it has.
            let lines: String =
                kept.iter().map(|&index| output::name(dataset.image_name(index)) + "\n").collect();
            write_atomic(out, |writer| std::io::Write::write_all(writer, lines.as_bytes()))?;
        } else {
            // A folder with the final name is complete.
            let folder = NewFolder::create(out).map_err(cannot_make(out))?;
            match originals {
                Some(originals) => write_images(originals, &kept, &folder, out)?,
                None => data::select(dataset, &kept, folder.path())?,
            }
            folder.finish().map_err(cannot_make(out))?;
        }
        output::wrote(out, json);
    }
    if let Some(file) = &args.groups {
        let groups: Vec<_> =
            found.groups.iter().map(|group| GroupReport::new(dataset, group)).collect();
        let text =
            serde_json::to_vec_pretty(&groups).map_err(|e| failure!("{}: {e}", file.display()))?;
        write_atomic(file, |writer| std::io::Write::write_all(writer, &text))?;
        output::wrote(file, json);
    }
    match &args.grid {
        Some(file) if found.groups.is_empty() => output::note(format!(
            "there are no duplicates to draw: {} is not written",
            file.display()
        )),
        Some(file) => {
            draw(file, dataset, found)?;
            output::wrote(file, json);
        }
        None => {}
    }
    Ok(())
}

/// Writes these images as PNG, each in the folder of its class, into the folder that becomes `out`.
fn write_images(
    originals: &Dataset,
    kept: &[usize],
    new: &NewFolder,
    out: &Path,
) -> Result<(), CliError> {
    let [h, w, c] = originals.shape();
    // The name of a class may be any text, such as T-shirt/top or `..`.
    let classes = file_io::file_names(originals.class_names());
    let folder_of = |index: usize| {
        let class = originals.label(index).and_then(|i| classes.get(i as usize));
        class.map_or_else(|| Ok(new.path().to_owned()), |class| new.subfolder(class))
    };
    with_progress(|progress| {
        for (done, &index) in kept.iter().enumerate() {
            let folder = folder_of(index).map_err(cannot_make(out))?;
            let values = load_images(originals, &[index])?.to_vec();
            let image = grid::grid(&values, [1, h, w, c], GridOptions::SINGLE)?;
            // Data, so without the signature of what this program draws.
            grid::save_png_with(&folder.join(format!("{index:06}.png")), &image, &[])?;
            progress.report("writing images", done + 1, kept.len())?;
        }
        Ok(())
    })
}

fn cannot_make(folder: &Path) -> impl Fn(std::io::Error) -> CliError + use<'_> {
    move |error| failure!("cannot make the folder {folder:?}: {error}")
}

fn draw(file: &Path, dataset: &Dataset, found: &Duplicates) -> Result<(), CliError> {
    let [rows, columns] = SHEET;
    let [h, w, c] = dataset.shape();
    let mut sheet = ImageSheet::framed([h, w, c], columns);
    let blank = vec![1.0; h * w * c];
    for group in found.groups.iter().take(rows) {
        let shown: Vec<usize> = group.images.iter().copied().take(columns).collect();
        let images = load_images(dataset, &shown)?.to_vec();
        for (k, image) in images.chunks_exact(h * w * c).enumerate() {
            sheet.add(image, (k > 0).then_some(RED));
        }
        (shown.len()..columns).for_each(|_| sheet.add(&blank, None));
    }
    Ok(grid::save_png(file, &sheet.draw()?)?)
}
