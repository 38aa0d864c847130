//! What a `--data` string means.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::builtin::{self, BuiltInSet};
use crate::error::DataError;
use crate::preprocess::Preprocess;

/// Which part of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Split {
    /// The training part; everything, where a set is not divided.
    #[default]
    Train,
    /// The held-out part.
    Test,
}

impl Split {
    /// `train` or `test`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// How a path is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Detection out from the content.
    Auto,
    /// An idx file of images, or a folder of idx files.
    Idx,
    /// A folder of images, its first sub-folders being classes.
    Folder,
    /// CIFAR-10's binary version: its folder, or one of its files.
    Cifar10,
    /// CIFAR-100's binary version: its folder, or one of its files.
    Cifar100,
    /// SVHN's cropped digits: a `.mat` file, or the folder with it.
    Svhn,
    /// STL-10's binary version: its folder, or one of its files of pictures.
    Stl10,
    /// LSUN: a category's LMDB folder, or the folder with its `…_train_lmdb` and `…_val_lmdb`.
    Lsun,
    /// A zip archive of images.
    Zip,
    /// A tar archive of images, gzipped or not, or a folder of plain ones.
    Tar,
    /// CelebA: the folder with `img_align_celeba` and `list_attr_celeba.txt`.
    CelebA,
    /// A file that [`prepare`](crate::prepare) wrote.
    Packed,
}

impl Kind {
    const NAMED: &[(&'static str, Self)] = &[
        ("idx", Self::Idx),
        ("folder", Self::Folder),
        ("cifar10", Self::Cifar10),
        ("cifar100", Self::Cifar100),
        ("svhn", Self::Svhn),
        ("stl10", Self::Stl10),
        ("lsun", Self::Lsun),
        ("zip", Self::Zip),
        ("tar", Self::Tar),
        ("celeba", Self::CelebA),
        ("packed", Self::Packed),
    ];

    /// The names that may stand before a path, for messages.
    pub(crate) fn known() -> String {
        Self::NAMED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// A parsed `--data` string.
///
/// - a built-in name: `fashion-mnist` (or `fashion`), `emoji-people` (or `emoji`), and `mnist`, `cifar-10`, `celeba` … once they are
///   fetched; a folder of that name is `./mnist`;
/// - a path: a folder or an archive of images, an idx file (`.gz` or not; labels are found beside it by the usual names), the
///   files of CIFAR, SVHN, STL-10, LSUN or CelebA, or a file that [`prepare`](crate::prepare) wrote; which of them (see [`Kind`]) is
///   found out from the content;
/// - `KIND:PATH`, such as `lsun:PATH`, to say which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSpec {
    text: String,
    target: DataLocation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataLocation {
    BuiltIn(&'static BuiltInSet),
    Path { kind: Kind, path: PathBuf },
}

impl DataSpec {
    /// Parses `text`; that a path exists is checked, what is in it is not.
    ///
    /// # Errors
    /// [`DataError::EmptySpec`], [`DataError::UnknownKind`], or [`DataError::NotFound`] with the nearest built-in name.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let known = || builtin::builtin_names().collect::<Vec<_>>().join(", ");
        if text.is_empty() {
            return Err(DataError::EmptySpec { known: known() });
        }
        let of = |target| Ok(Self { text: text.to_owned(), target });
        if let Some(set) = builtin::find(text) {
            return of(DataLocation::BuiltIn(set));
        }
        let (kind, path) = split_kind(text)?;
        if path.try_exists().unwrap_or(true) {
            // Where existence cannot be known (no permission), reading will give the reason.
            return of(DataLocation::Path { kind, path });
        }
        let hint = match crate::remote_sets().find(|set| set.name == text).map(|set| set.locate()) {
            Some(Some(path)) => format!("; it is at {path:?}"),
            Some(None) => format!("; get it with dcgan data fetch {text}"),
            None => {
                nearest(text).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
            }
        };
        Err(DataError::NotFound { spec: text.to_owned(), known: known(), hint })
    }

    /// The path, unless it is a built-in set.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.target {
            DataLocation::BuiltIn(_) => None,
            DataLocation::Path { path, .. } => Some(path),
        }
    }

    /// A short name for messages and run folders: the built-in name, or the path's last part.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.target {
            DataLocation::BuiltIn(set) => set.name.to_owned(),
            DataLocation::Path { path, .. } => {
                // `.` and `..` have no last part of their own.
                let resolved = path.canonicalize().unwrap_or_else(|_| path.clone());
                resolved
                    .file_name()
                    .map_or_else(|| self.text.clone(), |name| name.to_string_lossy().into_owned())
            }
        }
    }

    /// `[H, W, C]` of the pictures where all have it (idx, CIFAR, SVHN, STL-10, packed files), from the format or a file's header alone; `None` for a
    /// set of any pictures. What defaults are chosen by, before anything is decoded.
    ///
    /// # Errors
    /// As opening the set: files that are missing or whose header is damaged.
    pub fn image_shape(&self, split: Split) -> Result<Option<[u32; 3]>, DataError> {
        crate::formats::image_shape(self, split)
    }

    /// How the pictures of a [packed file](crate::prepare) were brought to their shape; `None` for any other set.
    ///
    /// # Errors
    /// As opening the set.
    pub fn packed_preprocess(&self) -> Result<Option<Preprocess>, DataError> {
        crate::formats::packed_preprocess(self)
    }

    /// The colour (RGB) that suits what is transparent in a built-in set; `None` for a path, of which nothing is known.
    #[must_use]
    pub fn background(&self) -> Option<[u8; 3]> {
        match &self.target {
            DataLocation::BuiltIn(set) => Some(set.background),
            DataLocation::Path { .. } => None,
        }
    }

    /// Whether this is a built-in set that is small, with clean edges and flat colours: a plain GAN collapses on it.
    #[must_use]
    pub fn is_small_flat_graphics(&self) -> bool {
        matches!(&self.target, DataLocation::BuiltIn(set) if set.small_flat_graphics)
    }

    pub(crate) fn target(&self) -> &DataLocation {
        &self.target
    }
}

impl fmt::Display for DataSpec {
    /// The string that was parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn split_kind(text: &str) -> Result<(Kind, PathBuf), DataError> {
    if let Some((prefix, path)) = text.split_once(':') {
        if let Some(&(_, kind)) = Kind::NAMED.iter().find(|(name, _)| *name == prefix) {
            return Ok((kind, PathBuf::from(path)));
        }
        // A single letter is a Windows drive; a colon may also be part of an existing file's name.
        let word =
            prefix.len() > 1 && prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if word && !Path::new(text).exists() {
            return Err(DataError::UnknownKind {
                kind: prefix.to_owned(),
                spec: text.to_owned(),
                known: Kind::known(),
            });
        }
    }
    Ok((Kind::Auto, PathBuf::from(text)))
}

fn nearest(text: &str) -> Option<&'static str> {
    let names =
        builtin::BUILT_IN.iter().flat_map(|set| set.aliases.iter().copied().chain([set.name]));
    names
        .map(|name| (strsim::damerau_levenshtein(&text.to_lowercase(), name), name))
        .filter(|&(distance, name)| distance <= name.len() / 3)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_names_win_over_paths() {
        for name in ["fashion", "fashion-mnist"] {
            let spec = DataSpec::parse(name).unwrap();
            assert_eq!((spec.name().as_str(), spec.path()), ("fashion-mnist", None));
            assert_eq!(spec.to_string(), name);
        }
    }

    #[test]
    fn sets_of_one_shape_tell_it() {
        assert_eq!(
            DataSpec::parse("fashion-mnist").unwrap().image_shape(Split::Test).unwrap(),
            Some([28, 28, 1])
        );
        let folder = tempfile::tempdir().unwrap();
        let spec = |path: &Path| DataSpec::parse(path.to_str().unwrap()).unwrap();
        assert_eq!(spec(folder.path()).image_shape(Split::Train).unwrap(), None);
        let file = folder.path().join("some-images-idx3-ubyte");
        std::fs::write(&file, [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 5]).unwrap();
        assert_eq!(spec(&file).image_shape(Split::Train).unwrap(), Some([6, 5, 1]));
        std::fs::write(&file, [0, 0, 8, 3, 0]).unwrap();
        assert!(spec(&file).image_shape(Split::Train).is_err());
    }

    #[test]
    fn kinds_are_split_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for (prefix, wanted) in [("", Kind::Auto), ("idx:", Kind::Idx), ("folder:", Kind::Folder)] {
            let spec = DataSpec::parse(&format!("{prefix}{path}")).unwrap();
            assert_eq!(spec.target(), &DataLocation::Path { kind: wanted, path: path.into() });
        }
        let message = DataSpec::parse(&format!("lmbd:{path}")).unwrap_err().to_string();
        assert!(
            message.contains("unknown kind \"lmbd\"") && message.contains("idx, folder"),
            "{message}"
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_nearest_name() {
        let message = DataSpec::parse("fashon-mnist").unwrap_err().to_string();
        assert!(message.contains("did you mean \"fashion-mnist\"?"), "{message}");
        let message = DataSpec::parse("svhn-extra").unwrap_err().to_string();
        assert!(message.ends_with("; get it with dcgan data fetch svhn-extra"), "{message}");
        let message = DataSpec::parse("no/such/place").unwrap_err().to_string();
        assert!(
            message.contains("no data at \"no/such/place\"") && !message.contains("did you mean"),
            "{message}"
        );
        assert!(matches!(DataSpec::parse(""), Err(DataError::EmptySpec { .. })));
    }
}
