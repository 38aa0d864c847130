//! Statistics of a dataset before preprocessing: sizes, channels, classes, attributes, bad images.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::attributes::{Attribute, AttributeKind};
use crate::error::{DataError, SkippedImage};
use crate::layout_report::LayoutReport;
use crate::scan::ScanProgress;
use crate::source::{Source, Split};
use crate::spec::DataSpec;

/// At most this many images are decoded; of a larger dataset, this many evenly spaced ones.
pub const STATS_MAX_IMAGES: usize = 20_000;

/// Classes are counted over all images of datasets up to this size. A larger packed file would have
/// to be read from end to end for it.
pub const STATS_MAX_COUNTED: usize = 1_000_000;

/// The values of one attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeStats {
    /// The number of images with 1 (yes).
    Binary(usize),
    /// The smallest and the largest value.
    Number(f32, f32),
    /// The number of images with each word, in the words' order.
    Category(Vec<usize>),
}

/// Images handed to the threads between two calls of the progress callback.
const BLOCK: usize = 256;

/// Statistics of one split of a dataset.
///
/// ```
/// use data::{DataSpec, DatasetStats, Split};
///
/// let stats = DatasetStats::compute(&DataSpec::parse("emoji")?, Split::Test, &|_| ())?;
/// assert_eq!((stats.images, stats.classes.len()), (150, 6));
/// # Ok::<(), data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetStats {
    /// The number of images, good and bad.
    pub images: usize,
    /// The number of images that were examined, decodable or not: all, or [`STATS_MAX_IMAGES`] of
    /// them.
    pub examined: usize,
    /// Height and width, with the number of images that have them: the most frequent first, then
    /// the larger.
    pub sizes: Vec<([u32; 2], usize)>,
    /// 1 gray, 2 gray with alpha, 3 RGB, 4 RGBA, with the number of images that have them.
    pub channels: BTreeMap<u8, usize>,
    /// The classes' names, with the number of images in each (among all images, or among the
    /// examined ones in datasets above [`STATS_MAX_COUNTED`]); empty without labels.
    pub classes: Vec<(String, usize)>,
    /// The attribute columns and their values over the examined images.
    pub attributes: Vec<(Attribute, AttributeStats)>,
    /// The examined images that cannot be decoded.
    pub bad: Vec<SkippedImage>,
    /// What was decided about the dataset's files, as [`Dataset::report`](crate::Dataset::report).
    pub report: Option<LayoutReport>,
}

impl DatasetStats {
    /// Examines one split on all cores. `progress` is called from this thread.
    ///
    /// # Errors
    /// Returns an error if the data do not exist, have no such split or no images, or if a file of
    /// many images is damaged. Bad images are not an error.
    pub fn compute(
        spec: &DataSpec,
        split: Split,
        progress: &dyn Fn(ScanProgress),
    ) -> Result<Self, DataError> {
        let source = spec.open(split)?;
        let images = source.len();
        let chosen: Vec<usize> = match images {
            0..=STATS_MAX_IMAGES => (0..images).collect(),
            _ => (0..STATS_MAX_IMAGES)
                .map(|k| (k as u128 * images as u128 / STATS_MAX_IMAGES as u128) as usize)
                .collect(),
        };
        let (mut sizes, mut channels, mut bad) =
            (BTreeMap::<[u32; 2], usize>::new(), BTreeMap::new(), Vec::new());
        let mut done = 0;
        progress(ScanProgress { done, total: chosen.len(), skipped: 0 });
        for block in chosen.chunks(BLOCK) {
            let look =
                |&index: &usize| source.load(index).map(|p| ([p.height, p.width], p.channels));
            let found: Vec<_> = block.par_iter().map(look).collect();
            for (&index, found) in block.iter().zip(found) {
                match found {
                    Ok((size, depth)) => {
                        *sizes.entry(size).or_default() += 1;
                        *channels.entry(depth).or_default() += 1;
                    }
                    Err(error) => {
                        let (name, ordinal) = (source.name(index), bad.len() + 1);
                        let reason = error.reason(&name)?;
                        bad.push(SkippedImage { name, reason, ordinal, found: chosen.len() });
                    }
                }
            }
            done += block.len();
            progress(ScanProgress { done, total: chosen.len(), skipped: bad.len() });
        }
        let mut sizes: Vec<_> = sizes.into_iter().collect();
        sizes.sort_by_key(|&([h, w], count)| {
            std::cmp::Reverse((count, u64::from(h) * u64::from(w), h))
        });
        let source = source.as_ref();
        let classes = if images <= STATS_MAX_COUNTED {
            classes(source, 0..images)
        } else {
            classes(source, chosen.iter().copied())
        };
        Ok(Self {
            images,
            examined: chosen.len(),
            sizes,
            channels,
            classes,
            attributes: attributes(source, &chosen),
            bad,
            report: source.report().cloned(),
        })
    }
}

fn attributes(source: &dyn Source, chosen: &[usize]) -> Vec<(Attribute, AttributeStats)> {
    let columns = source.columns();
    if columns.is_empty() {
        return Vec::new();
    }
    let start = |column: &Attribute| match &column.kind {
        AttributeKind::Binary => AttributeStats::Binary(0),
        AttributeKind::Number => AttributeStats::Number(f32::INFINITY, f32::NEG_INFINITY),
        AttributeKind::Category(words) => AttributeStats::Category(vec![0; words.len()]),
    };
    let mut found: Vec<_> = columns.iter().map(|column| (column.clone(), start(column))).collect();
    for &index in chosen {
        for ((_, values), value) in found.iter_mut().zip(source.attributes_of(index)) {
            match values {
                AttributeStats::Binary(yes) => *yes += usize::from(value == 1.0),
                AttributeStats::Number(least, largest) => {
                    (*least, *largest) = (least.min(value), largest.max(value))
                }
                // A damaged packed file may hold any value.
                AttributeStats::Category(counts) => {
                    if let Some(count) = counts.get_mut(value as usize) {
                        *count += 1;
                    }
                }
            }
        }
    }
    found
}

fn classes(source: &dyn Source, indices: impl Iterator<Item = usize>) -> Vec<(String, usize)> {
    let mut counts = vec![0; source.class_names().len()];
    for index in indices {
        if let Some(count) = source.label(index).and_then(|label| counts.get_mut(label as usize)) {
            *count += 1;
        }
    }
    source.class_names().iter().cloned().zip(counts).collect()
}
