//! `dcgan data info`.

use super::SpecArgs;
use crate::error::CliError;
use crate::output;
use crate::render::{self, count_images};
use crate::report::{self, Report};
use data::{
    Attribute, AttributeKind, AttributeStats, DataError, DataSpec, DatasetStats, Preprocess,
    SkippedImage, Split,
};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Sizes, classes and words that are listed individually.
const MAX_LISTED: usize = 12;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Print JSON on standard output, one object per split.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Prints the contents of each split.
pub fn run(args: &Args) -> Result<(), CliError> {
    let spec = DataSpec::parse(args.spec.get())?;
    let prepared = spec.packed_preprocess()?;
    let train = report_split(&spec, Split::Train, args.json, prepared);
    let held_out_only = matches!(train, Err(CliError::Data(DataError::HeldOutOnly { .. })));
    if !held_out_only {
        train?;
    }
    match report_split(&spec, Split::Test, args.json, None) {
        // Most datasets have no test split.
        Err(CliError::Data(DataError::NoSplit { .. })) => Ok(()),
        other => other,
    }
}

fn report_split(
    spec: &DataSpec,
    split: Split,
    json: bool,
    prepared: Option<Preprocess>,
) -> Result<(), CliError> {
    let stats =
        count_images("reading images", |progress| DatasetStats::compute(spec, split, progress))?;
    let report = SplitReport::new(spec, split, stats, prepared);
    report::print(&report, json);
    if !json {
        report.notes.iter().for_each(output::warning);
        render::warn_skipped(&report.bad);
    }
    Ok(())
}

/// The contents of one split.
#[derive(Serialize)]
struct SplitReport {
    name: String,
    split: Split,
    images: usize,
    examined: usize,
    sizes: Vec<SizeCount>,
    channels: Vec<ChannelCount>,
    classes: Vec<ClassCount>,
    attributes: Vec<AttributeReport>,
    #[serde(serialize_with = "without_ordinals")]
    bad: Vec<SkippedImage>,
    packed_with: Option<Preprocess>,
    layout: Option<String>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct SizeCount {
    height: u32,
    width: u32,
    images: usize,
}

#[derive(Serialize)]
struct ChannelCount {
    channels: u8,
    images: usize,
}

#[derive(Serialize)]
struct ClassCount {
    name: String,
    images: usize,
}

#[derive(Serialize)]
struct WordCount {
    word: String,
    images: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AttributeReport {
    Words { name: String, words: Vec<WordCount> },
    Range { name: String, least: f32, largest: f32 },
    Binary { name: String, yes: usize },
}

impl SplitReport {
    fn new(
        spec: &DataSpec,
        split: Split,
        stats: DatasetStats,
        packed_with: Option<Preprocess>,
    ) -> Self {
        let size =
            |([height, width], images): ([u32; 2], usize)| SizeCount { height, width, images };
        let channel = |(channels, images): (u8, usize)| ChannelCount { channels, images };
        let class = |(name, images): (String, usize)| ClassCount { name, images };
        Self {
            name: spec.name(),
            split,
            images: stats.images,
            examined: stats.examined,
            sizes: stats.sizes.into_iter().map(size).collect(),
            channels: stats.channels.into_iter().map(channel).collect(),
            classes: stats.classes.into_iter().map(class).collect(),
            attributes: stats.attributes.into_iter().map(AttributeReport::new).collect(),
            bad: stats.bad,
            packed_with,
            notes: stats.report.iter().flat_map(|r| &r.notes).map(ToString::to_string).collect(),
            layout: stats.report.map(|report| report.description),
        }
    }
}

impl AttributeReport {
    fn new((Attribute { name, kind }, values): (Attribute, AttributeStats)) -> Self {
        match values {
            AttributeStats::Number(least, largest) => Self::Range { name, least, largest },
            AttributeStats::Binary(yes) => Self::Binary { name, yes },
            AttributeStats::Category(counts) => {
                let words = if let AttributeKind::Category(words) = kind { words } else { vec![] };
                let count = |(word, images)| WordCount { word, images };
                Self::Words { name, words: words.into_iter().zip(counts).map(count).collect() }
            }
        }
    }

    /// The name, and the words by how many images have them, or the range of the values.
    fn text(&self, images: usize) -> (&str, String) {
        match self {
            Self::Range { name, least, largest } => (name, format!("{least} to {largest}")),
            Self::Binary { name, yes } => (name, format!("yes: {yes}, no: {}", images - yes)),
            Self::Words { name, words } => {
                let mut found: Vec<_> = words.iter().filter(|count| count.images > 0).collect();
                found.sort_by_key(|count| std::cmp::Reverse(count.images));
                let quoted = |word: &str| if word.is_empty() { "\"\"" } else { word }.to_owned();
                let text = match found.first() {
                    // One image per word: a name of the image rather than an attribute.
                    Some(WordCount { images: 1, .. }) => format!("{} different words", found.len()),
                    _ => {
                        listed(found, |count| format!("{}: {}", quoted(&count.word), count.images))
                    }
                };
                (name, text)
            }
        }
    }
}

impl Report for SplitReport {
    fn text(&self) -> Vec<String> {
        let of = match self.examined < self.images {
            true => format!(" (of {} examined)", self.examined),
            false => String::new(),
        };
        let Self { name, split, images, .. } = self;
        let mut lines =
            vec![format!("{}, {} split: {images} images", output::name(name), split.name())];
        if let Some(layout) = &self.layout {
            lines.push(format!("  layout  {}", output::name(layout)));
        }
        if let Some(Ok(Value::Object(fields))) = self.packed_with.as_ref().map(serde_json::to_value)
        {
            let fields: Vec<_> =
                fields.iter().map(|(key, value)| format!("{key} {value}")).collect();
            lines.push(format!("  packed with  {}", fields.join(", ").replace('"', "")));
        }
        let sizes =
            listed(&self.sizes, |size| format!("{}x{}: {}", size.height, size.width, size.images));
        if !self.sizes.is_empty() {
            lines.push(format!("  height x width{of}  {sizes}"));
        }
        let channels = listed(&self.channels, |count| {
            let name = match count.channels {
                1 => "gray",
                2 => "gray with alpha",
                3 => "RGB",
                _ => "RGBA",
            };
            format!("{name}: {}", count.images)
        });
        if !self.channels.is_empty() {
            lines.push(format!("  channels{of}  {channels}"));
        }
        if !self.classes.is_empty() {
            let counted: usize = self.classes.iter().map(|class| class.images).sum();
            let of = if counted < *images { &*of } else { "" };
            let classes =
                listed(&self.classes, |class| format!("{}: {}", class.name, class.images));
            let count = match self.classes.len() {
                1 => "1 class".to_owned(),
                count => format!("{count} classes"),
            };
            lines.push(format!("  {count}{of}  {classes}"));
        }
        for attribute in &self.attributes {
            let (name, values) = attribute.text(self.examined);
            lines.push(format!("  attribute {}{of}  {}", output::name(name), output::name(values)));
        }
        lines
    }
}

/// The first [`MAX_LISTED`] items, and the number of the others.
fn listed<T>(items: impl IntoIterator<Item = T>, show: impl Fn(T) -> String) -> String {
    let mut parts: Vec<String> = items.into_iter().map(show).collect();
    let more = parts.len().saturating_sub(MAX_LISTED);
    parts.truncate(MAX_LISTED);
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    output::name(parts.join(", "))
}

fn without_ordinals<S: Serializer>(bad: &[SkippedImage], serializer: S) -> Result<S::Ok, S::Error> {
    let name_and_reason =
        |image: &SkippedImage| json!({ "name": image.name, "reason": image.reason });
    serializer.collect_seq(bad.iter().map(name_and_reason))
}
