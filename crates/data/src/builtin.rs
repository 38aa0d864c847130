//! The datasets that are known by name, and the folders in which their files are searched.

use std::path::{Path, PathBuf};

use parking_lot::RwLock;

use crate::error::DataError;
use crate::formats::{self, Format, celeba, cifar, idx, stl10, svhn};

/// A dataset known by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BuiltInSet {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// The dataset's folder inside the datasets folder.
    pub folder: &'static str,
    /// The format of that folder.
    pub format: &'static Format,
    /// The names of labels 0, 1, …, where the files do not contain them.
    pub classes: &'static [&'static str],
    /// The background color (RGB) for transparent pixels.
    pub background: [u8; 3],
    /// Whether the dataset has few images with clean edges and flat colors, which a discriminator
    /// memorizes within a few epochs.
    pub small_flat_graphics: bool,
    /// A description in a few words.
    pub about: &'static str,
    /// Whether the repository contains it; otherwise it can be fetched.
    pub bundled: bool,
}

pub(crate) static BUILT_IN: &[BuiltInSet] = &[
    BuiltInSet {
        name: "fashion-mnist",
        aliases: &["fashion"],
        folder: "fashion-mnist",
        format: &idx::FORMAT,
        classes: &[
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ],
        background: [0; 3],
        small_flat_graphics: false,
        about: "articles of clothing, 60,000 + 10,000, 28x28 gray, 10 classes",
        bundled: true,
    },
    BuiltInSet {
        name: "emoji-people",
        aliases: &["emoji"],
        folder: "emoji-people",
        format: &formats::FOLDER,
        classes: &[],
        // Emoji are drawn for a white background.
        background: [255; 3],
        small_flat_graphics: true,
        about: "people of Noto Emoji, 1,407 + 150, 64x64 color, 6 classes",
        bundled: true,
    },
    BuiltInSet {
        name: "mnist",
        aliases: &[],
        folder: "mnist",
        format: &idx::FORMAT,
        classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        background: [0; 3],
        small_flat_graphics: false,
        about: "handwritten digits, 60,000 + 10,000, 28x28 gray, 10 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "cifar-10",
        aliases: &[],
        folder: "cifar-10/cifar-10-batches-bin",
        format: &cifar::FORMAT10,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "small photographs, 50,000 + 10,000, 32x32 color, 10 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "cifar-100",
        aliases: &[],
        folder: "cifar-100/cifar-100-binary",
        format: &cifar::FORMAT100,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "small photographs, 50,000 + 10,000, 32x32 color, 100 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "svhn",
        aliases: &[],
        folder: "svhn",
        format: &svhn::FORMAT,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "house numbers, 73,257 + 26,032, 32x32 color, 10 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "stl-10",
        aliases: &[],
        folder: "stl-10/stl10_binary",
        format: &stl10::FORMAT,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "photographs, 5,000 + 8,000, 96x96 color, 10 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "celeba",
        aliases: &[],
        folder: "celeba",
        format: &celeba::FORMAT,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "famous faces, 162,770 + 19,962, 178x218 color, 40 attributes",
        bundled: false,
    },
];

/// The names of the built-in datasets, without aliases.
///
/// ```
/// assert!(data::builtin_names().any(|name| name == "fashion-mnist"));
/// ```
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|set| set.name)
}

/// A dataset known by name, on this machine or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSet {
    /// The dataset's name.
    pub name: &'static str,
    /// Other names of the dataset.
    pub aliases: &'static [&'static str],
    /// A description in a few words.
    pub about: &'static str,
    /// The dataset's folder; `None` if it is not on this machine.
    pub path: Option<PathBuf>,
    /// Whether the repository contains it; otherwise it can be fetched.
    pub bundled: bool,
}

/// All datasets known by name, on this machine or not.
pub fn known_sets() -> impl Iterator<Item = KnownSet> {
    BUILT_IN.iter().map(|set| {
        let BuiltInSet { name, aliases, about, bundled, .. } = *set;
        KnownSet { name, aliases, about, path: set.locate().ok(), bundled }
    })
}

pub(crate) fn find(name: &str) -> Option<&'static BuiltInSet> {
    BUILT_IN.iter().find(|set| set.name == name || set.aliases.contains(&name))
}

impl BuiltInSet {
    /// The first existing folder of the dataset in the [`roots`].
    pub fn locate(&self) -> Result<PathBuf, DataError> {
        self.locate_in(&roots())
    }

    fn locate_in(&self, roots: &[PathBuf]) -> Result<PathBuf, DataError> {
        let folders: Vec<PathBuf> = roots.iter().map(|root| root.join(self.folder)).collect();
        folders.iter().find(|folder| is_filled(folder)).cloned().ok_or_else(|| {
            let (name, folder, bundled) = (self.name, self.folder, self.bundled);
            DataError::BuiltInMissing { name, folder, searched: folders.clone(), bundled }
        })
    }
}

/// Whether a folder holds more than the files that an unfinished fetch leaves in it.
fn is_filled(folder: &Path) -> bool {
    let unfinished = |name: &str| name.starts_with('.') || name.ends_with(".part");
    match folder.read_dir() {
        Ok(entries) => {
            entries.flatten().any(|entry| !unfinished(&entry.file_name().to_string_lossy()))
        }
        // If the folder cannot be read, opening it reports the reason.
        Err(_) => folder.is_dir(),
    }
}

static FIRST_ROOT: RwLock<Option<PathBuf>> = RwLock::new(None);

/// Sets the folder in which built-in and fetched datasets are searched first, for this process.
pub fn set_datasets_folder(folder: Option<PathBuf>) {
    *FIRST_ROOT.write() = folder;
}

/// The folders in which datasets are searched: the one [set](set_datasets_folder) by the program,
/// `./datasets`, `datasets` of the source tree.
pub(crate) fn roots() -> Vec<PathBuf> {
    let source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let datasets = [Path::new("")].into_iter().chain(source_tree).map(|root| root.join("datasets"));
    FIRST_ROOT.read().clone().into_iter().chain(datasets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_root_with_the_folder_wins() {
        let [empty, full] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        std::fs::create_dir(full.path().join("fashion-mnist")).unwrap();
        std::fs::write(full.path().join("fashion-mnist/t10k-labels-idx1-ubyte"), "").unwrap();
        // The files of an unfinished fetch.
        std::fs::create_dir(empty.path().join("fashion-mnist")).unwrap();
        for name in [".lock", "t10k-labels-idx1-ubyte.gz.part"] {
            std::fs::write(empty.path().join("fashion-mnist").join(name), "").unwrap();
        }
        let set = find("fashion").unwrap();
        let roots = [empty.path().to_owned(), full.path().to_owned()];
        assert_eq!(set.locate_in(&roots).unwrap(), full.path().join("fashion-mnist"));
        let error = set.locate_in(&roots[..1]).unwrap_err();
        assert!(matches!(
            error,
            DataError::BuiltInMissing { name: "fashion-mnist", bundled: true, searched, .. }
                if searched == [empty.path().join("fashion-mnist")]
        ));
    }
}
