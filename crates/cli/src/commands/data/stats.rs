//! `dcgan data info`.

use crate::error::CliError;
use crate::output;
use crate::render::counter;
use data::{
    Attribute, AttributeKind, AttributeStats, DataError, DataSpec, DatasetStats, Preprocess, Split,
};
use serde_json::{Value, json};

/// Sizes, classes and words that are named one by one.
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
    let prepared = spec.packed_preprocess()?;
    report(&spec, Split::Train, args, prepared.as_ref())?;
    match report(&spec, Split::Test, args, None) {
        // Most sets are not divided.
        Err(CliError::Data(DataError::NoSplit { .. })) => Ok(()),
        other => other,
    }
}

fn report(
    spec: &DataSpec,
    split: Split,
    args: &Args,
    prepared: Option<&Preprocess>,
) -> Result<(), CliError> {
    let bar = counter(0, "looking at images");
    let stats = DatasetStats::compute(spec, split, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let stats = stats?;
    if args.json {
        print_json(spec, split, &stats, prepared);
    } else {
        print(spec, split, &stats, prepared);
    }
    Ok(())
}

fn print(spec: &DataSpec, split: Split, stats: &DatasetStats, prepared: Option<&Preprocess>) {
    let DatasetStats { images, examined, sizes, channels, classes, attributes, bad } = stats;
    let of = if examined < images { format!(" (of {examined} examined)") } else { String::new() };
    output::line(format!("{}, {} split: {images} images", spec.name(), split.name()));
    if let Some(Value::Object(fields)) =
        prepared.and_then(|prepared| serde_json::to_value(prepared).ok())
    {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
        output::line(format!("  packed with  {}", fields.join(", ").replace('"', "")));
    }
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
        let of =
            if classes.iter().map(|(_, count)| count).sum::<usize>() < *images { &*of } else { "" };
        output::line(format!("  {} classes{of}  {}", classes.len(), listed(shown)));
    }
    for (Attribute { name, kind }, values) in attributes {
        output::line(format!("  attribute {name}{of}  {}", shown_values(kind, values, *examined)));
    }
    bad.iter().take(BAD).for_each(output::warning);
    if bad.len() > BAD {
        output::warning(format!("{} more images cannot be decoded", bad.len() - BAD));
    }
}

/// The words by how many images have them, or the range of the numbers.
fn shown_values(kind: &AttributeKind, values: &AttributeStats, images: usize) -> String {
    let counts = match values {
        AttributeStats::Number(least, largest) => return format!("{least} to {largest}"),
        AttributeStats::Binary(yes) => return format!("yes: {yes}, no: {}", images - yes),
        AttributeStats::Category(counts) => counts,
    };
    let words = if let AttributeKind::Category(words) = kind { &words[..] } else { &[] };
    let mut found: Vec<_> = counts.iter().zip(words).filter(|(count, _)| **count > 0).collect();
    found.sort_by_key(|(count, _)| std::cmp::Reverse(**count));
    match found.first() {
        // Names of the images rather than anything they share.
        Some((1, _)) => format!("{} different words", found.len()),
        _ => {
            let quoted =
                |word: &str| if word.is_empty() { "\"\"".to_owned() } else { word.to_owned() };
            listed(found.iter().map(|(count, word)| format!("{}: {count}", quoted(word))).collect())
        }
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

fn print_json(spec: &DataSpec, split: Split, stats: &DatasetStats, prepared: Option<&Preprocess>) {
    let bad: Vec<_> =
        stats.bad.iter().map(|bad| json!({ "name": bad.name, "reason": bad.reason })).collect();
    let sizes: Vec<_> = stats
        .sizes
        .iter()
        .map(|([h, w], count)| json!({ "height": h, "width": w, "images": count }))
        .collect();
    let classes: Vec<_> = stats
        .classes
        .iter()
        .map(|(name, count)| json!({ "name": name, "images": count }))
        .collect();
    let channels: Vec<_> =
        stats.channels.iter().map(|(n, count)| json!({ "channels": n, "images": count })).collect();
    let attributes: Vec<_> = stats
        .attributes
        .iter()
        .map(|(attribute, values)| json_attribute(attribute, values))
        .collect();
    output::json(&json!({
        "name": spec.name(), "split": split.name(), "images": stats.images, "examined": stats.examined,
        "sizes": sizes, "channels": channels, "classes": classes, "attributes": attributes, "bad": bad, "packed_with": prepared,
    }));
}

fn json_attribute(Attribute { name, kind }: &Attribute, values: &AttributeStats) -> Value {
    match (kind, values) {
        (AttributeKind::Category(words), AttributeStats::Category(counts)) => {
            let words: Vec<_> = words
                .iter()
                .zip(counts)
                .map(|(word, count)| json!({ "word": word, "images": count }))
                .collect();
            json!({ "name": name, "words": words })
        }
        (_, AttributeStats::Number(least, largest)) => {
            json!({ "name": name, "least": least, "largest": largest })
        }
        (_, AttributeStats::Binary(yes)) => json!({ "name": name, "yes": yes }),
        (_, AttributeStats::Category(counts)) => json!({ "name": name, "words": counts }),
    }
}
