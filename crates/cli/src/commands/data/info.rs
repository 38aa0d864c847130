//! `dcgan data info`.

use crate::error::CliError;
use crate::output;
use crate::render::counter;
use data::{DataError, DataSpec, Split, Survey};
use serde_json::json;

/// Sizes and classes that are named one by one.
const NAMED: usize = 12;
/// Bad pictures that are named one by one.
const BAD: usize = 5;

/// Flags of `data info`.
#[derive(clap::Args)]
pub struct Args {
    /// What `dcgan train --data` takes.
    #[arg(value_name = "SPEC")]
    spec: String,
    /// One JSON object per split on standard output.
    #[arg(long)]
    json: bool,
}

/// Tells what each split holds.
///
/// # Errors
/// Data that are not there or cannot be read.
pub fn run(args: &Args) -> Result<(), CliError> {
    let spec = DataSpec::parse(&args.spec)?;
    survey(&spec, Split::Train, args)?;
    match survey(&spec, Split::Test, args) {
        // Most sets are not divided.
        Err(CliError::Data(DataError::NoSplit { .. })) => Ok(()),
        other => other,
    }
}

fn survey(spec: &DataSpec, split: Split, args: &Args) -> Result<(), CliError> {
    let bar = counter(0, "looking at images");
    let survey = Survey::of(spec, split, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let survey = survey?;
    if args.json {
        print_json(spec, split, &survey);
    } else {
        print(spec, split, &survey);
    }
    Ok(())
}

fn print(spec: &DataSpec, split: Split, survey: &Survey) {
    let Survey { images, looked_at, sizes, channels, classes, bad } = survey;
    let of = if looked_at < images { format!(" (of {looked_at} looked at)") } else { String::new() };
    output::line(format!("{}, {} split: {images} images", spec.name(), split.name()));
    let shown = |([h, w], count): &([u32; 2], usize)| format!("{h}x{w}: {count}");
    output::line(format!("  height x width{of}  {}", listed(sizes.iter().map(shown).collect())));
    let shown = |(depth, count): (&u8, &usize)| {
        let name = match depth {
            1 => "grey",
            2 => "grey with transparency",
            3 => "colour",
            _ => "colour with transparency",
        };
        format!("{name}: {count}")
    };
    output::line(format!("  channels{of}  {}", listed(channels.iter().map(shown).collect())));
    if !classes.is_empty() {
        let shown = classes.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        output::line(format!("  {} classes  {}", classes.len(), listed(shown)));
    }
    bad.iter().take(BAD).for_each(output::warning);
    if bad.len() > BAD {
        output::warning(format!("{} more images cannot be decoded", bad.len() - BAD));
    }
}

fn listed(mut parts: Vec<String>) -> String {
    let more = parts.len().saturating_sub(NAMED);
    parts.truncate(NAMED);
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    parts.join(", ")
}

fn print_json(spec: &DataSpec, split: Split, survey: &Survey) {
    let bad: Vec<_> = survey.bad.iter().map(|bad| json!({ "name": bad.name, "reason": bad.reason })).collect();
    let sizes: Vec<_> = survey.sizes.iter().map(|([h, w], count)| json!({ "height": h, "width": w, "images": count })).collect();
    let classes: Vec<_> = survey.classes.iter().map(|(name, count)| json!({ "name": name, "images": count })).collect();
    let channels: Vec<_> = survey.channels.iter().map(|(n, count)| json!({ "channels": n, "images": count })).collect();
    output::json(&json!({
        "name": spec.name(), "split": split.name(), "images": survey.images, "looked_at": survey.looked_at,
        "sizes": sizes, "channels": channels, "classes": classes, "bad": bad,
    }));
}
