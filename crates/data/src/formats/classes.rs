//! Classes and splits from folder names, in a folder or in an archive.

use std::path::Path;

use super::no_split;
use crate::error::DataError;
use crate::source::Split;

/// Folder names of a held-out split, in order of preference.
const TEST_NAMES: &[&str] = &["test", "val", "valid", "validation"];

/// Which of `folders`, those directly in `root`, holds the split; `None` for all of it.
pub(super) fn split_folder<'a>(
    root: &Path,
    folders: &[&'a str],
    split: Split,
) -> Result<Option<&'a str>, DataError> {
    let named =
        |name: &str| folders.iter().copied().find(|folder| folder.eq_ignore_ascii_case(name));
    let train = named("train");
    let test = TEST_NAMES.iter().find_map(|name| named(name));
    match (split, train, test) {
        (Split::Train, Some(train), Some(_)) => Ok(Some(train)),
        (Split::Train, ..) => Ok(None),
        (Split::Test, Some(_), Some(test)) => Ok(Some(test)),
        (Split::Test, ..) => {
            let wanted =
                format!("looked for a folder `train` next to one of {}", TEST_NAMES.join(", "));
            Err(no_split(root, split, wanted))
        }
    }
}

/// The path's bytes with `/` between its components on every system.
pub(super) fn sort_key(path: &Path) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.iter().map(|part| part.as_encoded_bytes()).collect();
    parts.join(&b'/')
}

/// The class of each image.
pub(super) struct ClassLabels {
    pub labels: Vec<u32>,
    /// The names of classes 0, 1, ….
    pub names: Vec<String>,
}

/// A path's class is its first folder; `None` if a path has no folder.
pub(super) fn by_folder<'a>(
    root: &Path,
    paths: impl Iterator<Item = &'a Path> + Clone,
) -> Result<Option<ClassLabels>, DataError> {
    let Some(mut folders) = paths.clone().map(class_of).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    folders.sort_unstable();
    folders.dedup();
    let mut names: Vec<String> =
        folders.iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = format!(
            "two of its folders read {:?} once bytes that are not UTF-8 are replaced: rename one",
            pair[0]
        );
        return Err(DataError::malformed("folder", root, problem));
    }
    let label = |path| {
        let class = class_of(path)?.to_string_lossy();
        names.binary_search_by(|name| name.as_str().cmp(&class)).ok()
    };
    // Every path has a class that is in the list.
    let labels = paths.filter_map(label).map(|label| label as u32).collect();
    Ok(Some(ClassLabels { labels, names }))
}

/// The first folder, if there is one.
fn class_of(path: &Path) -> Option<&std::ffi::OsStr> {
    let mut parts = path.iter();
    let first = parts.next()?;
    parts.next().map(|_| first)
}
