//! The sets that are known by name, and where their files are found.

use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::spec::Kind;

/// The environment variable that names the folder in which built-in sets are looked for first.
pub const DATASETS_VARIABLE: &str = "DCGAN_DATASETS";

/// A set known by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BuiltInSet {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// Its folder inside the datasets folder.
    pub folder: &'static str,
    /// How that folder is read.
    pub kind: Kind,
    /// The names of labels 0, 1, …, where the files do not tell.
    pub classes: &'static [&'static str],
    /// The colour that suits what is transparent.
    pub background: [u8; 3],
    /// Whether it is small and its pictures have small_flat_graphics edges and flat colours, which a discriminator learns by heart at once.
    pub small_flat_graphics: bool,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether it comes with the repository; else it can be fetched.
    pub bundled: bool,
}

pub(crate) static BUILT_IN: &[BuiltInSet] = &[
    BuiltInSet {
        name: "fashion-mnist",
        aliases: &["fashion"],
        folder: "fashion-mnist",
        kind: Kind::Idx,
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
        about: "articles of clothing, 60,000 + 10,000, 28x28 grey, 10 classes",
        bundled: true,
    },
    BuiltInSet {
        name: "emoji-people",
        aliases: &["emoji"],
        folder: "emoji-people",
        kind: Kind::Folder,
        classes: &[],
        // What emoji are drawn for.
        background: [255; 3],
        small_flat_graphics: true,
        about: "people of Noto Emoji, 1,407 + 150, 64x64 colour, 6 classes",
        bundled: true,
    },
    BuiltInSet {
        name: "mnist",
        aliases: &[],
        folder: "mnist",
        kind: Kind::Idx,
        classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        background: [0; 3],
        small_flat_graphics: false,
        about: "handwritten digits, 60,000 + 10,000, 28x28 grey, 10 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "cifar-10",
        aliases: &[],
        folder: "cifar-10/cifar-10-batches-bin",
        kind: Kind::Cifar10,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "small photographs, 50,000 + 10,000, 32x32 colour, 10 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "cifar-100",
        aliases: &[],
        folder: "cifar-100/cifar-100-binary",
        kind: Kind::Cifar100,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "small photographs, 50,000 + 10,000, 32x32 colour, 100 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "svhn",
        aliases: &[],
        folder: "svhn",
        kind: Kind::Svhn,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "house numbers, 73,257 + 26,032, 32x32 colour, 10 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "stl-10",
        aliases: &[],
        folder: "stl-10/stl10_binary",
        kind: Kind::Stl10,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "photographs, 5,000 + 8,000, 96x96 colour, 10 classes",
        bundled: false,
    },
    BuiltInSet {
        name: "celeba",
        aliases: &[],
        folder: "celeba",
        kind: Kind::CelebA,
        classes: &[],
        background: [0; 3],
        small_flat_graphics: false,
        about: "famous faces, 162,770 + 19,962, 178x218 colour, 40 attributes",
        bundled: false,
    },
];

/// The names that `--data` knows without a path, aliases left out.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|set| set.name)
}

/// A set that `--data` knows by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSet {
    /// Its name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it is, in a few words.
    pub about: &'static str,
    /// Where it is; `None` if it is not on this machine.
    pub path: Option<PathBuf>,
    /// Whether it comes with the repository; else it can be fetched.
    pub bundled: bool,
}

/// All sets known by name, here or not.
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
    /// The first existing of: the folder in [`DATASETS_VARIABLE`], `./datasets`, `datasets` of the source tree.
    pub fn locate(&self) -> Result<PathBuf, DataError> {
        self.locate_in(&roots())
    }

    fn locate_in(&self, roots: &[PathBuf]) -> Result<PathBuf, DataError> {
        let folders: Vec<PathBuf> = roots.iter().map(|root| root.join(self.folder)).collect();
        folders.iter().find(|folder| is_filled(folder)).cloned().ok_or_else(|| {
            DataError::BuiltInMissing {
                name: self.name,
                folder: self.folder,
                looked: folders
                    .iter()
                    .map(|folder| folder.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
                variable: DATASETS_VARIABLE,
                get: match self.bundled {
                    true => "run this inside the repository, which has it".to_owned(),
                    false => format!("get it with dcgan data fetch {}", self.name),
                },
                hint: match Path::new(self.name).exists() {
                    true => format!("; what is here under that name is ./{}", self.name),
                    false => String::new(),
                },
            }
        })
    }
}

/// Whether a folder holds more than what a fetch that did not end leaves there. Of one that cannot be read the reader will say why.
fn is_filled(folder: &Path) -> bool {
    let begun = |name: &str| name.starts_with('.') || name.ends_with(".part");
    match folder.read_dir() {
        Ok(entries) => entries.flatten().any(|entry| !begun(&entry.file_name().to_string_lossy())),
        Err(_) => folder.is_dir(),
    }
}

/// Where sets are looked for.
pub(crate) fn roots() -> Vec<PathBuf> {
    let source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let named =
        std::env::var_os(DATASETS_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let datasets = [Path::new("")].into_iter().chain(source_tree).map(|root| root.join("datasets"));
    named.into_iter().chain(datasets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_root_that_has_the_folder_wins() {
        let [empty, full] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        std::fs::create_dir(full.path().join("fashion-mnist")).unwrap();
        std::fs::write(full.path().join("fashion-mnist/t10k-labels-idx1-ubyte"), "").unwrap();
        // A fetch that did not end.
        std::fs::create_dir(empty.path().join("fashion-mnist")).unwrap();
        for name in [".lock", "t10k-labels-idx1-ubyte.gz.part"] {
            std::fs::write(empty.path().join("fashion-mnist").join(name), "").unwrap();
        }
        let set = find("fashion").unwrap();
        let roots = [empty.path().to_owned(), full.path().to_owned()];
        assert_eq!(set.locate_in(&roots).unwrap(), full.path().join("fashion-mnist"));
        let message = set.locate_in(&roots[..1]).unwrap_err().to_string();
        assert!(message.contains("cannot find the set \"fashion-mnist\""), "{message}");
        assert!(message.contains(DATASETS_VARIABLE), "{message}");
    }

    #[test]
    fn what_is_fetched_is_looked_for_where_it_is_put() {
        for set in BUILT_IN.iter().filter(|set| !set.bundled) {
            let place = crate::remote_set(set.name).unwrap().place(Path::new("datasets"));
            assert_eq!(place, Path::new("datasets").join(set.folder), "{}", set.name);
        }
    }
}
