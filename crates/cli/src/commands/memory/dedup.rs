//! `dcgan dedup`.

use crate::commands::data::SplitChoice;
use crate::commands::device::DeviceArgs;
use crate::commands::{refuse_existing, require_folder, require_grid};
use crate::error::CliError;
use crate::output;
use crate::render::{table, watched};
use clap::value_parser;
use data::{DataSpec, Dataset, Fit, Preprocess};
use eval::memory::{Duplicates, Group, Options, Sheet, Training, dedup};
use eval::represent::images;
use serde_json::json;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use train::artefacts::{grid, write_atomic};

/// Groups that are told one by one.
const SHOWN: usize = 10;
/// Rows and columns of the picture of groups.
const SHEET: [usize; 2] = [16, 8];
/// Around what is left out.
const RED: [f32; 3] = [0.8, -0.8, -0.8];

/// Flags of `dedup`.
#[derive(clap::Args)]
pub struct Args {
    /// What `dcgan train --data` takes.
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Which part of the set.
    #[arg(long, value_enum, default_value = "train")]
    split: SplitChoice,
    /// How many of their 128 bits the codes of duplicates may differ in; 0, as in the paper, means equal codes.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(0..=32))]
    radius: u32,
    /// Passes of the autoencoder over the set.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=100_000))]
    epochs: u32,
    /// Of the autoencoder: the same seed finds the same duplicates.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Writes the set without duplicates: as a folder with the files of a folder of pictures (linked, or copied), with its attributes.csv; or, with a
    /// name that ends in .txt, as the names of the pictures that stay, one in a line.
    #[arg(long, value_name = "DIR|FILE.txt")]
    out: Option<PathBuf>,
    /// Writes all groups, with names and distances.
    #[arg(long, value_name = "FILE.json")]
    groups: Option<PathBuf>,
    /// Draws the first groups, a row each: what is kept, then in red what is left out.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Finds duplicates and tells, draws and leaves them out.
///
/// # Errors
/// Data, files that are there already, the device, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    let spec = DataSpec::parse(&args.spec)?;
    require(args)?;
    let device = args.device.open()?;
    let preprocess =
        Preprocess { fit: Fit::Crop, background: spec.background().unwrap_or_default(), ..Preprocess::new([32, 32], 3) };
    let options = Options {
        training: Training { epochs: args.epochs as usize, seed: args.seed, ..Training::default() },
        radius: args.radius,
    };
    let dataset = crate::commands::represent::open_as(&args.spec, args.split.into(), &preprocess, args.json)?;
    require_files(args, &dataset)?;
    let found = watched(args.json, |progress| dedup(&dataset, options, &device, progress))?;
    report(args, &dataset, &found);
    write(args, &dataset, &found)
}

/// Refuses what could not be written, before the work is done.
fn require(args: &Args) -> Result<(), CliError> {
    for (flag, path) in [("--out", &args.out), ("--groups", &args.groups)] {
        if let Some(path) = path {
            require_folder(flag, path)?;
            refuse_existing(path, args.force && path.is_file())?;
        }
    }
    args.grid.as_ref().map_or(Ok(()), |grid| require_grid(grid, args.force))
}

fn require_files(args: &Args, dataset: &Dataset) -> Result<(), CliError> {
    match &args.out {
        Some(out) if !is_list(out) && dataset.folder().is_none() => Err(CliError::Usage(format!(
            "--out {}: {} is no folder of pictures, whose files could be taken along: give a name that ends in .txt, for a list",
            out.display(),
            args.spec
        ))),
        _ => Ok(()),
    }
}

fn is_list(out: &Path) -> bool {
    out.extension().is_some_and(|extension| extension == "txt")
}

fn object(dataset: &Dataset, group: &Group) -> serde_json::Value {
    let names: Vec<String> = group.pictures.iter().map(|&picture| dataset.image_name(picture)).collect();
    json!({"kept": names.first(), "left_out": names.get(1..), "distances": group.distances})
}

fn report(args: &Args, dataset: &Dataset, found: &Duplicates) {
    let (left_out, doubtful) = (found.left_out().len(), found.doubtful());
    if args.json {
        output::json(&json!({
            "pictures": dataset.len(),
            "groups": found.groups.len(),
            "left_out": left_out,
            "doubtful": doubtful,
            "distinct_codes": found.distinct,
            "telling_bits": found.telling,
            "loss": found.loss,
            "median_distance": found.median,
            "near_distance": found.near,
            "radius": args.radius,
        }));
        return;
    }
    let mut cells = vec![["kept", "left out", "farthest"].map(String::from).to_vec()];
    for group in found.groups.iter().take(SHOWN) {
        let names: Vec<String> = group.pictures.iter().skip(1).take(3).map(|&picture| dataset.image_name(picture)).collect();
        let more = group.pictures.len().saturating_sub(4);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let farthest = group.distances.iter().copied().fold(0.0, f64::max);
        let kept = group.pictures.first().map_or_else(String::new, |&picture| dataset.image_name(picture));
        cells.push(vec![kept, format!("{}{more}", names.join(", ")), format!("{farthest:.3}")]);
    }
    if !found.groups.is_empty() {
        output::line(table(&cells));
    }
    if found.groups.len() > SHOWN {
        output::line(format!("… and {} more groups", found.groups.len() - SHOWN));
    }
    output::line(format!(
        "\n{} pictures, {} different codes ({} of 128 bits tell something): {} groups, {left_out} pictures to leave out",
        dataset.len(),
        found.distinct,
        found.telling,
        found.groups.len()
    ));
    if left_out > 0 {
        output::line(format!(
            "false positives, by pixels: {doubtful} of {left_out} ({:.1} %) differ more than {:.3} from what is kept, as 99 % of pairs drawn by chance do (median {:.3})",
            doubtful as f64 / left_out as f64 * 100.0,
            found.near,
            found.median
        ));
    }
}

fn write(args: &Args, dataset: &Dataset, found: &Duplicates) -> Result<(), CliError> {
    let say = |path: &Path| {
        if !args.json {
            output::line(format!("wrote {}", path.display()));
        }
    };
    let left_out: HashSet<usize> = found.left_out().into_iter().collect();
    let kept: Vec<usize> = (0..dataset.len()).filter(|i| !left_out.contains(i)).collect();
    if let Some(out) = &args.out {
        if is_list(out) {
            let lines: String = kept.iter().map(|&index| dataset.image_name(index) + "\n").collect();
            write_atomic(out, |writer| std::io::Write::write_all(writer, lines.as_bytes()))?;
        } else {
            data::select(dataset, &kept, out)?;
        }
        say(out);
    }
    if let Some(file) = &args.groups {
        let groups: Vec<_> = found.groups.iter().map(|group| object(dataset, group)).collect();
        let text = serde_json::to_vec_pretty(&groups).map_err(|e| CliError::Failed(format!("{}: {e}", file.display())))?;
        write_atomic(file, |writer| std::io::Write::write_all(writer, &text))?;
        say(file);
    }
    if let Some(file) = &args.grid {
        draw(file, dataset, found)?;
        say(file);
    }
    Ok(())
}

fn draw(file: &Path, dataset: &Dataset, found: &Duplicates) -> Result<(), CliError> {
    let [rows, columns] = SHEET;
    if found.groups.is_empty() {
        return Err(CliError::Failed(format!("--grid {}: there are no duplicates to draw", file.display())));
    }
    let [h, w, c] = dataset.shape();
    let mut sheet = Sheet::new([h, w, c], columns);
    let blank = vec![1.0; h * w * c];
    for group in found.groups.iter().take(rows) {
        let shown: Vec<usize> = group.pictures.iter().copied().take(columns).collect();
        let pictures = images(dataset, &shown)?.to_vec();
        for (k, picture) in pictures.chunks_exact(h * w * c).enumerate() {
            sheet.add(picture, (k > 0).then_some(RED));
        }
        (shown.len()..columns).for_each(|_| sheet.add(&blank, None));
    }
    Ok(grid::save_png(file, &sheet.draw()?)?)
}
