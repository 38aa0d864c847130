//! `dcgan data info`.

use crate::error::CliError;
use crate::output;
use crate::render::counter;
use data::{Attribute, AttributeKind, DataError, DataSpec, Preprocess, Split, Survey, Values};
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
    let prepared = spec.prepared()?;
    survey(&spec, Split::Train, args, prepared.as_ref())?;
    match survey(&spec, Split::Test, args, None) {
        // Most sets are not divided.
        Err(CliError::Data(DataError::NoSplit { .. })) => Ok(()),
        other => other,
    }
}

fn survey(
    spec: &DataSpec,
    split: Split,
    args: &Args,
    prepared: Option<&Preprocess>,
) -> Result<(), CliError> {
    let bar = counter(0, "looking at images");
    let survey = Survey::of(spec, split, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let survey = survey?;
    if args.json {
        print_json(spec, split, &survey, prepared);
    } else {
        print(spec, split, &survey, prepared);
    }
    Ok(())
}

fn print(spec: &DataSpec, split: Split, survey: &Survey, prepared: Option<&Preprocess>) {
    let Survey { images, looked_at, sizes, channels, classes, attributes, bad } = survey;
    let of =
        if looked_at < images { format!(" (of {looked_at} looked at)") } else { String::new() };
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
        output::line(format!("  attribute {name}{of}  {}", shown_values(kind, values, *looked_at)));
    }
    bad.iter().take(BAD).for_each(output::warning);
    if bad.len() > BAD {
        output::warning(format!("{} more images cannot be decoded", bad.len() - BAD));
    }
}

/// The words by how many images have them, or the range of the numbers.
fn shown_values(kind: &AttributeKind, values: &Values, images: usize) -> String {
    let counts = match values {
        Values::Number(least, largest) => return format!("{least} to {largest}"),
        Values::Binary(yes) => return format!("yes: {yes}, no: {}", images - yes),
        Values::Category(counts) => counts,
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

fn print_json(spec: &DataSpec, split: Split, survey: &Survey, prepared: Option<&Preprocess>) {
    let bad: Vec<_> =
        survey.bad.iter().map(|bad| json!({ "name": bad.name, "reason": bad.reason })).collect();
    let sizes: Vec<_> = survey
        .sizes
        .iter()
        .map(|([h, w], count)| json!({ "height": h, "width": w, "images": count }))
        .collect();
    let classes: Vec<_> = survey
        .classes
        .iter()
        .map(|(name, count)| json!({ "name": name, "images": count }))
        .collect();
    let channels: Vec<_> = survey
        .channels
        .iter()
        .map(|(n, count)| json!({ "channels": n, "images": count }))
        .collect();
    let attributes: Vec<_> = survey
        .attributes
        .iter()
        .map(|(attribute, values)| json_attribute(attribute, values))
        .collect();
    output::json(&json!({
        "name": spec.name(), "split": split.name(), "images": survey.images, "looked_at": survey.looked_at,
        "sizes": sizes, "channels": channels, "classes": classes, "attributes": attributes, "bad": bad, "packed_with": prepared,
    }));
}

fn json_attribute(Attribute { name, kind }: &Attribute, values: &Values) -> Value {
    match (kind, values) {
        (AttributeKind::Category(words), Values::Category(counts)) => {
            let words: Vec<_> = words
                .iter()
                .zip(counts)
                .map(|(word, count)| json!({ "word": word, "images": count }))
                .collect();
            json!({ "name": name, "words": words })
        }
        (_, Values::Number(least, largest)) => {
            json!({ "name": name, "least": least, "largest": largest })
        }
        (_, Values::Binary(yes)) => json!({ "name": name, "yes": yes }),
        (_, Values::Category(counts)) => json!({ "name": name, "words": counts }),
    }
}
