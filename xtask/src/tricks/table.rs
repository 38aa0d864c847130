//! The tables of docs/tricks.md.

use super::rows::{REVERSED, TRICKS};
use super::{Measured, Options, result};
use std::error::Error;
use std::fmt::Write;

/// What stands around the tables in the page.
const MARKS: [&str; 2] = ["<!-- measured by cargo xtask tricks -->", "<!-- end of what was measured -->"];

/// Writes both tables into the page, between their marks.
pub fn write(options: &Options) -> Result<(), Box<dyn Error>> {
    let page = std::fs::read_to_string(&options.page)?;
    let (Some(start), Some(end)) = (page.find(MARKS[0]), page.find(MARKS[1])) else {
        return Err(format!("{} has no place for the tables: {:?} and {:?}", options.page.display(), MARKS[0], MARKS[1]).into());
    };
    let mut text = format!("{}\n", MARKS[0]);
    for (section, rows) in TRICKS.iter().chain(REVERSED) {
        write!(text, "\n{section}\n\n| flags | Fréchet distance | precision | recall |\n| --- | --- | --- | --- |\n")?;
        for flags in std::iter::once(&"").chain(*rows) {
            writeln!(text, "{}", line(options, flags)?)?;
        }
    }
    let rest = page.get(end..).unwrap_or_default();
    std::fs::write(&options.page, format!("{}{text}\n{rest}", page.get(..start).unwrap_or_default()))?;
    println!("wrote {}", options.page.display());
    Ok(())
}

/// A row of the table: mean ± standard deviation over the seeds.
fn line(options: &Options, flags: &str) -> Result<String, Box<dyn Error>> {
    let measured: Vec<Option<Measured>> = (0..options.seeds)
        .map(|seed| Ok(serde_json::from_slice(&std::fs::read(result(options, flags, seed))?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let name = if flags.is_empty() { "none: the baseline".to_owned() } else { format!("`{flags}`") };
    let sound: Vec<Measured> = measured.iter().copied().flatten().collect();
    if sound.is_empty() {
        return Ok(format!("| {name} | diverges | | |"));
    }
    let diverged = measured.len() - sound.len();
    let note = if diverged == 0 { String::new() } else { format!(" ({diverged} of {} diverge)", measured.len()) };
    let column = |of: fn(&Measured) -> f64, digits| spread(&sound.iter().map(of).collect::<Vec<_>>(), digits);
    let [frechet, precision, recall] = [column(|m| m.frechet, 1), column(|m| m.precision, 2), column(|m| m.recall, 2)];
    Ok(format!("| {name}{note} | {frechet} | {precision} | {recall} |"))
}

/// Mean ± sample standard deviation; of one value, that.
fn spread(values: &[f64], digits: usize) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() == 1 {
        return format!("{mean:.digits$}");
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{mean:.digits$} ± {:.digits$}", (squares / (n - 1.0)).sqrt())
}
