//! The tables of docs/options.md and docs/toy.md.

use super::grid::{GridResult, result as result_of_grid};
use super::rows::{GRID, OPTIONS, REVERSED};
use super::{AblationScores, Options, result};
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

/// The marks around the tables in a page.
const MARKS: [&str; 2] =
    ["<!-- measured by cargo xtask ablations -->", "<!-- end of what was measured -->"];

/// Writes the tables of docs/options.md, between their marks.
pub fn garments(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    for (section, rows) in OPTIONS.iter().chain(REVERSED) {
        write!(
            text,
            "\n{section}\n\n| flags | Fréchet distance | precision | recall |\n| --- | --- | --- \
             | --- |\n"
        )?;
        for flags in std::iter::once(&"").chain(*rows) {
            writeln!(text, "{}", line(options, flags)?)?;
        }
    }
    replace(&options.docs.join("options.md"), &text)
}

/// Writes the table of docs/toy.md.
pub fn grid(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut text = "\n| flags | modes of 25 | with a quarter of their fair share | high quality | \
        reverse KL |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    for flags in std::iter::once(&"").chain(GRID) {
        let found: GridResult =
            serde_json::from_slice(&std::fs::read(result_of_grid(options, flags))?)?;
        let note = if found.diverged == 0 {
            String::new()
        } else {
            format!(" ({} of 10 diverge)", found.diverged)
        };
        let column = |[mean, std]: [f64; 2], factor: f64, digits: usize| {
            format!("{:.digits$} ± {:.digits$}", factor * mean, factor * std)
        };
        let [modes, fair] = [found.modes, found.fair_modes].map(|pair| column(pair, 1.0, 1));
        let [quality, kl] =
            [column(found.high_quality, 100.0, 1), column(found.reverse_kl, 1.0, 2)];
        writeln!(text, "| {}{note} | {modes} | {fair} | {quality} % | {kl} |", name(flags))?;
    }
    replace(&options.docs.join("toy.md"), &text)
}

/// Replaces the text between the marks of a page.
fn replace(page: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    let old = std::fs::read_to_string(page)?;
    let (Some(start), Some(end)) = (old.find(MARKS[0]), old.find(MARKS[1])) else {
        return Err(format!(
            "{} has no marks for the tables: {:?} and {:?}",
            page.display(),
            MARKS[0],
            MARKS[1]
        )
        .into());
    };
    let [before, after] = [old.get(..start), old.get(end..)].map(Option::unwrap_or_default);
    std::fs::write(page, format!("{before}{}\n{text}\n{after}", MARKS[0]))?;
    println!("wrote {}", page.display());
    Ok(())
}

/// A row's first column.
fn name(flags: &str) -> String {
    if flags.is_empty() { "none: the baseline".to_owned() } else { format!("`{flags}`") }
}

/// A row of the table: mean ± standard deviation over the seeds.
fn line(options: &Options, flags: &str) -> Result<String, Box<dyn Error>> {
    let measured: Vec<Option<AblationScores>> = (0..options.seeds)
        .map(|seed| Ok(serde_json::from_slice(&std::fs::read(result(options, flags, seed))?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let name = name(flags);
    let finite: Vec<AblationScores> = measured.iter().copied().flatten().collect();
    if finite.is_empty() {
        return Ok(format!("| {name} | diverges | | |"));
    }
    let diverged = measured.len() - finite.len();
    let note = if diverged == 0 {
        String::new()
    } else {
        format!(" ({diverged} of {} diverge)", measured.len())
    };
    let column = |of: fn(&AblationScores) -> f64, digits| {
        spread(&finite.iter().map(of).collect::<Vec<_>>(), digits)
    };
    let [frechet, precision, recall] =
        [column(|m| m.frechet, 1), column(|m| m.precision, 2), column(|m| m.recall, 2)];
    Ok(format!("| {name}{note} | {frechet} | {precision} | {recall} |"))
}

/// Mean ± sample standard deviation; a single value alone.
fn spread(values: &[f64], digits: usize) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() == 1 {
        return format!("{mean:.digits$}");
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{mean:.digits$} ± {:.digits$}", (squares / (n - 1.0)).sqrt())
}
