//! The sets that are known by name, and where their files are found.

use std::path::{Path, PathBuf};

use crate::error::DataError;

/// The environment variable that names the folder in which built-in sets are looked for first.
pub const DATASETS_VARIABLE: &str = "DCGAN_DATASETS";

/// A set known by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BuiltIn {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// Its folder inside the datasets folder.
    pub folder: &'static str,
    /// The names of labels 0, 1, ….
    pub classes: &'static [&'static str],
}

pub(crate) static BUILT_IN: &[BuiltIn] = &[BuiltIn {
    name: "fashion-mnist",
    aliases: &["fashion"],
    folder: "fashion-mnist",
    classes: &["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
}];

/// The names that `--data` knows without a path, aliases left out.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|set| set.name)
}

pub(crate) fn find(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|set| set.name == name || set.aliases.contains(&name))
}

impl BuiltIn {
    /// The first existing of: the folder in [`DATASETS_VARIABLE`], `./datasets`, `datasets` of the source tree.
    pub fn locate(&self) -> Result<PathBuf, DataError> {
        self.locate_in(&roots())
    }

    fn locate_in(&self, roots: &[PathBuf]) -> Result<PathBuf, DataError> {
        let folders: Vec<PathBuf> = roots.iter().map(|root| root.join(self.folder)).collect();
        folders.iter().find(|folder| folder.is_dir()).cloned().ok_or_else(|| DataError::BuiltInMissing {
            name: self.name.to_owned(),
            folder: self.folder.to_owned(),
            looked: folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
            variable: DATASETS_VARIABLE,
        })
    }
}

fn roots() -> Vec<PathBuf> {
    let source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let named = std::env::var_os(DATASETS_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
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
        let set = find("fashion").unwrap();
        let roots = [empty.path().to_owned(), full.path().to_owned()];
        assert_eq!(set.locate_in(&roots).unwrap(), full.path().join("fashion-mnist"));
        let message = set.locate_in(&roots[..1]).unwrap_err().to_string();
        assert!(message.contains("cannot find the built-in set \"fashion-mnist\""), "{message}");
        assert!(message.contains(DATASETS_VARIABLE), "{message}");
    }
}
