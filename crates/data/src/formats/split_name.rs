//! Which split a folder or an archive holds, by the words of its name.
//!
//! Names are compared word by word: `training_set`, `train2017`, `trainA` and `TestImages` are
//! splits, `contest` and `interval` are none.

use std::path::{Path, PathBuf};

use crate::source::Split;

const TRAIN_WORDS: &[&str] = &["train", "training", "trainset", "trainval"];

/// Words for a held-out split, in order of preference.
const TEST_WORDS: &[&str] = &[
    "test",
    "testing",
    "testset",
    "t10k",
    "val",
    "valid",
    "validation",
    "valset",
    "dev",
    "eval",
    "evaluation",
    "holdout",
    "heldout",
    "hold",
    "held",
];

/// The first words for a held-out split that mean one even without a training split beside it.
const CERTAIN_TEST_WORDS: usize = 8;

/// Words that say nothing about the images.
const NEUTRAL_WORDS: &[&str] = &[
    "a", "b", "all", "data", "dataset", "dir", "folder", "full", "image", "images", "img", "imgs",
    "jpeg", "jpegs", "jpg", "out", "photo", "photos", "pic", "pics", "picture", "pictures", "png",
    "pngs", "set", "sets", "split", "splits",
];

/// A name that means a split.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SplitName {
    pub split: Split,
    /// The position in the order of preference.
    pub rank: usize,
    /// The words that neither mean a split nor are neutral.
    rest: Vec<String>,
}

impl SplitName {
    /// The split that `name` means, if any.
    pub fn of(name: &str) -> Option<Self> {
        let mut words = words(name);
        let position = |list: &[&str], word: &String| list.iter().position(|known| known == word);
        let is_train = words.iter().any(|word| TRAIN_WORDS.contains(&word.as_str()));
        let rank = words.iter().filter_map(|word| position(TEST_WORDS, word)).min();
        let (split, rank) = match (is_train, rank) {
            (true, _) => (Split::Train, 0),
            (false, Some(rank)) => (Split::Test, rank),
            (false, None) => return None,
        };
        words.retain(|word| {
            ![TRAIN_WORDS, TEST_WORDS, NEUTRAL_WORDS]
                .iter()
                .any(|list| list.contains(&word.as_str()))
                && !word.bytes().all(|byte| byte.is_ascii_digit())
        });
        Some(Self { split, rank, rest: words })
    }
}

/// The split that the words of a file's name mean, if any.
pub(super) fn split_of(path: &Path) -> Option<Split> {
    let name = path.file_name()?.to_string_lossy();
    SplitName::of(&name).map(|name| name.split)
}

/// The held-out file beside a training file: the one whose name has the preferred word for a
/// held-out split in the place of `train`.
pub(super) fn test_file_beside(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_string_lossy();
    TEST_WORDS
        .iter()
        .map(|word| file.with_file_name(name.replacen("train", word, 1)))
        .find(|other| other != file && other.is_file())
}

/// The lower-case words of a name: parts between other characters, of letters or of digits, and
/// from one capital letter after small ones to the next.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut previous = ' ';
    for c in name.chars() {
        let inside = c.is_alphanumeric()
            && previous.is_alphanumeric()
            && c.is_numeric() == previous.is_numeric()
            && !(previous.is_lowercase() && c.is_uppercase());
        if c.is_alphanumeric() {
            match words.last_mut().filter(|_| inside) {
                Some(word) => word.extend(c.to_lowercase()),
                None => words.push(c.to_lowercase().collect()),
            }
        }
        previous = c;
    }
    // One word, although it changes between letters and digits.
    if let Some(at) = words.windows(3).position(|w| w[0] == "t" && w[1] == "10" && w[2] == "k") {
        words.splice(at..at + 3, ["t10k".to_owned()]);
    }
    words
}

/// The split that the name of a shard means, or else the innermost of its folders that means one,
/// and its other folders, with `/` between them.
pub(crate) fn place_of_shard(path: &Path) -> (Option<SplitName>, String) {
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    let at = names.iter().rposition(|name| SplitName::of(name).is_some());
    let folders = names.iter().enumerate().take(names.len().saturating_sub(1));
    let others: Vec<&str> =
        folders.filter(|(k, _)| Some(*k) != at).map(|(_, name)| &**name).collect();
    (at.and_then(|at| SplitName::of(&names[at])), others.join("/"))
}

/// Those of `items` whose name has the word that comes first in a list; all of them if no name has
/// one.
pub(super) fn preferred<'a>(
    items: &[usize],
    name: impl Fn(usize) -> &'a str,
    list: &[&str],
) -> Vec<usize> {
    let rank = |item: usize| {
        let words = words(name(item));
        list.iter().position(|known| words.iter().any(|word| word == known)).unwrap_or(list.len())
    };
    let ranks: Vec<usize> = items.iter().map(|&item| rank(item)).collect();
    let best = ranks.iter().min();
    items
        .iter()
        .zip(&ranks)
        .filter(|(_, rank)| Some(*rank) == best)
        .map(|(&item, _)| item)
        .collect()
}

/// The folders of each split, by their indices.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SplitFolders {
    pub train: Vec<usize>,
    pub test: Vec<usize>,
}

impl SplitFolders {
    /// The splits among the folders called `names`, if there are any.
    ///
    /// A training and a held-out folder are splits if their names have the same other words, or
    /// none (`train` with `val`, `seg_train` with `seg_test`). If there is only one of them, every
    /// folder must be one and `alone` must be allowed. Of several kinds of held-out folders, the
    /// preferred one is taken.
    pub fn among(names: &[&str], alone: bool) -> Option<Self> {
        let found: Vec<(usize, SplitName)> = names
            .iter()
            .enumerate()
            .filter_map(|(index, name)| Some((index, SplitName::of(name)?)))
            .collect();
        let of = |split, rest: &[String]| -> Vec<&(usize, SplitName)> {
            let wanted = |(_, name): &&(usize, SplitName)| name.split == split && name.rest == rest;
            found.iter().filter(wanted).collect()
        };
        let mut rests: Vec<&[String]> = found.iter().map(|(_, name)| &*name.rest).collect();
        rests.sort_unstable();
        rests.dedup();
        // The empty list of other words comes first.
        let mut folders = Self::default();
        for rest in rests {
            let (train, test) = (of(Split::Train, rest), of(Split::Test, rest));
            let Some(rank) = test.iter().map(|(_, name)| name.rank).min() else { continue };
            if !train.is_empty() {
                folders.train.extend(train.iter().map(|(index, _)| *index));
                let preferred = test.iter().filter(|(_, name)| name.rank == rank);
                folders.test.extend(preferred.map(|(index, _)| *index));
                if rest.is_empty() {
                    break;
                }
            }
        }
        if !folders.train.is_empty() {
            return Some(folders);
        }
        let plain = |(_, name): &(usize, SplitName)| {
            name.rest.is_empty() && (name.split == Split::Train || name.rank < CERTAIN_TEST_WORDS)
        };
        if !alone || found.is_empty() || found.len() < names.len() || !found.iter().all(plain) {
            return None;
        }
        let rank = found.iter().map(|(_, name)| name.rank).min()?;
        for (index, name) in found {
            match name.split {
                Split::Train => folders.train.push(index),
                Split::Test if name.rank == rank => folders.test.push(index),
                Split::Test => {}
            }
        }
        Some(folders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_decide() {
        for name in
            ["train", "Training", "training_set", "train2017", "trainA", "TRAIN", "x-train-0.tar"]
        {
            assert_eq!(SplitName::of(name).unwrap().split, Split::Train, "{name}");
        }
        for name in ["test", "TestImages", "val2017", "testB", "t10k", "held-out", "x_valid-1"] {
            assert_eq!(SplitName::of(name).unwrap().split, Split::Test, "{name}");
        }
        for name in
            ["contest-000.tar", "latest", "interval", "strain", "trains", "medieval", "invalid", ""]
        {
            assert_eq!(SplitName::of(name), None, "{name}");
        }
    }

    #[test]
    fn folders_are_splits_in_pairs_or_alone() {
        type ExpectedSplits<'a> = Option<(&'a [usize], &'a [usize])>;
        let cases: &[(&[&str], ExpectedSplits<'_>)] = &[
            (&["test", "train"], Some((&[1], &[0]))),
            (&["test", "train", "val", "extra"], Some((&[1], &[0]))),
            (&["train", "val", "valid"], Some((&[0], &[1]))),
            (&["test_set", "training_set"], Some((&[1], &[0]))),
            (&["seg_pred", "seg_test", "seg_train"], Some((&[2], &[1]))),
            (&["testA", "testB", "trainA", "trainB"], Some((&[2, 3], &[0, 1]))),
            (&["test", "train", "train_masks"], Some((&[1], &[0]))),
            (&["annotations", "train2017", "val2017"], Some((&[1], &[2]))),
            (&["dev", "train"], Some((&[1], &[0]))),
            (&["train"], Some((&[0], &[]))),
            (&["test", "val"], Some((&[], &[0]))),
            (&["bus", "car", "train"], None),
            (&["dev"], None),
            (&["invalid", "valid"], None),
            (&["cat_train", "dog_test"], None),
            (&["contest", "trains"], None),
            (&[], None),
        ];
        for (names, wanted) in cases {
            let found = SplitFolders::among(names, true);
            let found = found.as_ref().map(|found| (&found.train[..], &found.test[..]));
            assert_eq!(found, *wanted, "{names:?}");
        }
        assert_eq!(SplitFolders::among(&["train"], false), None);
    }
}
