//! What was decided about the files of a dataset: its classes, its split, and what is left out.

use std::fmt;

/// The format of archives in a [`LayoutNote::Unread`]: they are unpacked rather than converted.
pub(crate) const ARCHIVE: &str = "archive";

/// What was decided about the files of a folder or archive of images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayoutReport {
    /// Classes, split, and folders that belong to neither, in one line:
    /// `2 classes from folders cat, dog; split train`.
    pub description: String,
    /// What else a user should know.
    pub notes: Vec<LayoutNote>,
}

/// Files that are left out of a dataset, or a table that may not mean what it seems to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutNote {
    /// Images or videos of a format that is not read, or archives.
    Unread {
        /// The format's name, such as HEIC, or `archive`.
        format: &'static str,
        /// The number of files.
        count: usize,
        /// The path of the first.
        first: String,
    },
    /// Images in directories of training runs.
    RunDirectories {
        /// The number of images.
        count: usize,
        /// The directories.
        folders: Vec<String>,
    },
    /// Images that this program drew or generated, among others.
    OwnImages {
        /// The number of images.
        count: usize,
        /// The path of the first.
        first: String,
    },
    /// A few images outside the folders that are classes.
    OutsideClasses {
        /// The number of images.
        count: usize,
        /// The path of the first.
        first: String,
    },
    /// A file with the name of a table of labels or attributes that is something else.
    UnreadTable {
        /// The path of the table.
        table: String,
        /// Why it is not read.
        reason: &'static str,
    },
    /// A column of an attribute table in which most cells are numbers, and one is a word.
    ColumnOfWords {
        /// The path of the table.
        table: String,
        /// The name of the column.
        column: String,
        /// The line of the first cell that is not a number.
        line: u64,
        /// The content of that cell.
        cell: String,
    },
    /// Rows of a table without an image.
    NullImages {
        /// The number of rows.
        count: usize,
        /// The first row.
        first: String,
    },
    /// A column of attributes that is left out because an image has no value.
    AttributeWithGaps {
        /// The name of the column.
        column: String,
        /// The first such image.
        first: String,
    },
    /// A column of numbers that is left out because cells are empty.
    ColumnWithGaps {
        /// The path of the table.
        table: String,
        /// The name of the column.
        column: String,
        /// The line of the first empty cell.
        line: u64,
    },
}

impl fmt::Display for LayoutNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = |count: usize| if count == 1 { "is" } else { "are" };
        match self {
            Self::Unread { format: ARCHIVE, count: 1, first } => {
                write!(f, "1 archive in it is not read: unpack it ({first:?})")
            }
            Self::Unread { format: ARCHIVE, count, first } => {
                write!(
                    f,
                    "{count} archives in it are not read: unpack them (the first is {first:?})"
                )
            }
            Self::Unread { format, count: 1, first } => {
                write!(f, "1 {format} file is not read: convert it ({first:?})")
            }
            Self::Unread { format, count, first } => write!(
                f,
                "{count} {format} files are not read: convert them (the first is {first:?})"
            ),
            Self::RunDirectories { count, folders } => {
                let count = images(*count);
                match &folders[..] {
                    [only] => write!(f, "the run directory {only:?} is left out ({count})"),
                    [first, ..] => write!(
                        f,
                        "{} run directories are left out ({count}; the first is {first:?})",
                        folders.len()
                    ),
                    [] => Ok(()),
                }
            }
            Self::OwnImages { count, first } => write!(
                f,
                "{} that this program wrote {} left out ({first:?})",
                images(*count),
                is(*count)
            ),
            Self::OutsideClasses { count, first } => write!(
                f,
                "{} outside the folders of classes {} left out ({first:?})",
                images(*count),
                is(*count)
            ),
            Self::UnreadTable { table, reason } => write!(f, "{table:?} is not read: {reason}"),
            Self::ColumnOfWords { table, column, line, cell } => write!(
                f,
                "{table:?} line {line}: {cell:?} makes {column:?} a column of words, although \
                 most of its cells are numbers"
            ),
            Self::NullImages { count, first } => {
                let rows = if *count == 1 { "row has" } else { "rows have" };
                write!(f, "{count} {rows} no image and {} left out ({first:?})", is(*count))
            }
            Self::AttributeWithGaps { column, first } => write!(
                f,
                "the image {first:?} has no {column:?}, a column of numbers: the column is left out"
            ),
            Self::ColumnWithGaps { table, column, line } => write!(
                f,
                "{table:?} line {line} leaves {column:?} empty, a column of numbers: the column is \
                 left out"
            ),
        }
    }
}

/// The number of images, as text.
pub(crate) fn images(count: usize) -> String {
    if count == 1 { "1 image".to_owned() } else { format!("{count} images") }
}

/// A few of many names, for a line of text.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str> + Clone) -> String {
    const MAX_LISTED_NAMES: usize = 12;
    let more = names.len().saturating_sub(MAX_LISTED_NAMES);
    let shown = names.take(MAX_LISTED_NAMES).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
