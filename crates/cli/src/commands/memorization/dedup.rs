//! `dcgan dedup`.

use crate::commands::device::DeviceArgs;
use crate::commands::{refuse_existing, require_folder, require_grid};
use crate::error::CliError;
use crate::output;
use crate::render::{table, with_progress};
use clap::value_parser;
use data::{DataSpec, Dataset, Fit, Preprocess, Split};
use eval::image_sheet::ImageSheet;
use eval::images::load_images;
use eval::memorization::{AutoencoderConfig, Duplicates, Group, Options, dedup};
use runs::{GridOptions, grid, write_atomic};
use serde_json::json;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

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
    split: Split,
    /// How many of their 128 bits the codes of duplicates may differ in; 0, as in the paper, means equal codes.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(0..=32))]
    radius: u32,
    /// Passes of the autoencoder over the set.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=100_000))]
    epochs: u32,
    /// Of the autoencoder: the same seed finds the same duplicates.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Writes the set without duplicates, as a folder: with the files of a set that is a folder of pictures (linked, or copied) and its attributes.csv; of
    /// another set the pictures as PNG at the size they have (or --image), in a folder for each class. A name that ends in .txt gives no pictures but the names
    /// of those that stay, one in a line, for other programs.
    #[arg(long, value_name = "DIR|FILE.txt")]
    out: Option<PathBuf>,
    /// The size of the pictures that --out writes of a set that is no folder, where they do not all have the same one.
    #[arg(long, value_name = "N|HxW", value_parser = crate::parse::size)]
    image: Option<[u32; 2]>,
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
    let preprocess = Preprocess {
        fit: Fit::Crop,
        background: spec.background().unwrap_or_default(),
        ..Preprocess::new([32, 32], 3)
    };
    let options = Options {
        training: AutoencoderConfig {
            epochs: args.epochs as usize,
            seed: args.seed,
            ..AutoencoderConfig::default()
        },
        radius: args.radius,
    };
    let dataset =
        crate::commands::representation::open_as(&args.spec, args.split, &preprocess, args.json)?;
    let whole = whole(args, &spec, &dataset)?;
    let found = with_progress(args.json, |progress| dedup(&dataset, options, &device, progress))?;
    report(args, &dataset, &found);
    write(args, &dataset, whole.as_ref(), &found)
}

/// Refuses what could not be written, before the work is done.
fn require(args: &Args) -> Result<(), CliError> {
    for (flag, path) in [("--out", &args.out), ("--groups", &args.groups)] {
        if let Some(path) = path {
            require_folder(flag, path)?;
            if path.is_dir() {
                return Err(CliError::Failed(format!(
                    "{flag} {path:?} is a folder that is there already: choose another name, or remove it"
                )));
            }
            refuse_existing(path, args.force)?;
        }
    }
    if let Some(partial) = args
        .out
        .as_deref()
        .filter(|out| !is_list(out))
        .map(partial)
        .filter(|partial| partial.exists())
    {
        return Err(CliError::Failed(format!(
            "{} is there, of a command that was cut off: remove it",
            partial.display()
        )));
    }
    args.grid.as_ref().map_or(Ok(()), |grid| require_grid(grid, args.force))
}

/// Where a folder is filled before it has its name: one with that name is whole.
fn partial(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// The set's pictures as they are, where `--out` has no files to take along and must write them.
fn whole(args: &Args, spec: &DataSpec, dataset: &Dataset) -> Result<Option<Dataset>, CliError> {
    let Some(out) = args.out.as_ref().filter(|out| !is_list(out) && dataset.folder().is_none())
    else {
        return Ok(None);
    };
    let shape = spec.image_shape(args.split)?;
    let size = args.image.or(shape.map(|[h, w, _]| [h, w]));
    let Some(size) = size else {
        return Err(CliError::Usage(format!(
            "--out {}: the pictures of {} have no files that could be taken along, and no common size: give --image, or a name that ends in .txt",
            out.display(),
            args.spec
        )));
    };
    let channels = shape.map_or(3, |[.., channels]| channels as u8);
    let preprocess = Preprocess {
        background: spec.background().unwrap_or_default(),
        ..Preprocess::new(size, channels)
    };
    let whole =
        crate::commands::representation::open_as(&args.spec, args.split, &preprocess, args.json)?;
    match whole.len() == dataset.len() {
        true => Ok(Some(whole)),
        false => Err(CliError::Failed(format!(
            "{}: {} pictures at first, {} then",
            args.spec,
            dataset.len(),
            whole.len()
        ))),
    }
}

fn is_list(out: &Path) -> bool {
    out.extension().is_some_and(|extension| extension == "txt")
}

fn object(dataset: &Dataset, group: &Group) -> serde_json::Value {
    let names: Vec<String> =
        group.images.iter().map(|&picture| dataset.image_name(picture)).collect();
    json!({"kept": names.first(), "left_out": names.get(1..), "distances": group.distances})
}

fn report(args: &Args, dataset: &Dataset, found: &Duplicates) {
    let (left_out, doubtful) = (found.to_drop().len(), found.borderline());
    if args.json {
        output::json(&json!({
            "pictures": dataset.len(),
            "groups": found.groups.len(),
            "left_out": left_out,
            "doubtful": doubtful,
            "distinct_codes": found.distinct,
            "telling_bits": found.informative_bits,
            "loss": found.loss,
            "median_distance": found.median,
            "near_distance": found.near,
            "radius": args.radius,
        }));
        return;
    }
    let mut cells = vec![["kept", "left out", "farthest"].map(String::from).to_vec()];
    for group in found.groups.iter().take(SHOWN) {
        let names: Vec<String> = group
            .images
            .iter()
            .skip(1)
            .take(3)
            .map(|&picture| dataset.image_name(picture))
            .collect();
        let more = group.images.len().saturating_sub(4);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let farthest = group.distances.iter().copied().fold(0.0, f64::max);
        let kept =
            group.images.first().map_or_else(String::new, |&picture| dataset.image_name(picture));
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
        found.informative_bits,
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

fn write(
    args: &Args,
    dataset: &Dataset,
    whole: Option<&Dataset>,
    found: &Duplicates,
) -> Result<(), CliError> {
    let say = |path: &Path| {
        if !args.json {
            output::line(format!("wrote {}", path.display()));
        }
    };
    let left_out: HashSet<usize> = found.to_drop().into_iter().collect();
    let kept: Vec<usize> = (0..dataset.len()).filter(|i| !left_out.contains(i)).collect();
    if let Some(out) = &args.out {
        if is_list(out) {
            let lines: String =
                kept.iter().map(|&index| dataset.image_name(index) + "\n").collect();
            write_atomic(out, |writer| std::io::Write::write_all(writer, lines.as_bytes()))?;
        } else {
            let partial = partial(out);
            match whole {
                Some(whole) => write_pictures(args, whole, &kept, &partial)?,
                None => data::select(dataset, &kept, &partial)?,
            }
            let failed = |e: std::io::Error| {
                CliError::Failed(format!(
                    "cannot name {} {}: {e}",
                    partial.display(),
                    out.display()
                ))
            };
            std::fs::rename(&partial, out).map_err(failed)?;
        }
        say(out);
    }
    if let Some(file) = &args.groups {
        let groups: Vec<_> = found.groups.iter().map(|group| object(dataset, group)).collect();
        let text = serde_json::to_vec_pretty(&groups)
            .map_err(|e| CliError::Failed(format!("{}: {e}", file.display())))?;
        write_atomic(file, |writer| std::io::Write::write_all(writer, &text))?;
        say(file);
    }
    match &args.grid {
        Some(file) if found.groups.is_empty() => {
            output::note(format!(
                "there are no duplicates to draw: {} is not written",
                file.display()
            ));
        }
        Some(file) => {
            draw(file, dataset, found)?;
            say(file);
        }
        None => {}
    }
    Ok(())
}

/// These pictures of a set as PNG, each in the folder of its class.
fn write_pictures(
    args: &Args,
    whole: &Dataset,
    kept: &[usize],
    out: &Path,
) -> Result<(), CliError> {
    let [h, w, c] = whole.shape();
    let folder_of = |index: usize| match whole
        .label(index)
        .and_then(|label| whole.class_names().get(label as usize))
    {
        // A class may be called T-shirt/top.
        Some(class) => out.join(class.replace(['/', '\\'], "-")),
        None => out.to_owned(),
    };
    let made = |folder: &Path| {
        std::fs::create_dir_all(folder)
            .map_err(|e| CliError::Failed(format!("cannot make {}: {e}", folder.display())))
    };
    made(out)?;
    with_progress(args.json, |progress| {
        for (done, &index) in kept.iter().enumerate() {
            let folder = folder_of(index);
            made(&folder)?;
            let picture = grid::grid(
                &load_images(whole, &[index])?.to_vec(),
                [1, h, w, c],
                GridOptions::SINGLE,
            )?;
            grid::save_png(&folder.join(format!("{index:06}.png")), &picture)?;
            progress.report("writing pictures", done + 1, kept.len())?;
        }
        Ok(())
    })
}

fn draw(file: &Path, dataset: &Dataset, found: &Duplicates) -> Result<(), CliError> {
    let [rows, columns] = SHEET;
    let [h, w, c] = dataset.shape();
    let mut sheet = ImageSheet::framed([h, w, c], columns);
    let blank = vec![1.0; h * w * c];
    for group in found.groups.iter().take(rows) {
        let shown: Vec<usize> = group.images.iter().copied().take(columns).collect();
        let pictures = load_images(dataset, &shown)?.to_vec();
        for (k, picture) in pictures.chunks_exact(h * w * c).enumerate() {
            sheet.add(picture, (k > 0).then_some(RED));
        }
        (shown.len()..columns).for_each(|_| sheet.add(&blank, None));
    }
    Ok(grid::save_png(file, &sheet.draw()?)?)
}
