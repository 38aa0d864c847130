//! The dataset spec: a string that names a dataset, parsed into its location and format.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::builtin::{self, BuiltInSet};
use crate::error::DataError;
#[cfg(feature = "parquet")]
use crate::fetch::HubDataset;
use crate::fetch::remote_sets;
use crate::formats::{self, Format, packed};
use crate::preprocess::Preprocess;
use crate::source::{Source, Split};

/// A parsed dataset spec.
///
/// - the name of a built-in dataset: `fashion-mnist` (or `fashion`), `emoji-people` (or `emoji`),
///   and `mnist`, `cifar-10`, `celeba` … once they are fetched; a folder of that name is `./mnist`;
/// - a path: a folder or an archive of images, an idx file (`.gz` or not; labels are found next to
///   it by the usual names), the files of CIFAR, SVHN, STL-10, LSUN or CelebA, NumPy's arrays,
///   Parquet files, or a file that [`prepare`](crate::prepare) wrote; the format is detected from
///   the contents;
/// - `hf://datasets/OWNER/NAME`, once [`fetch_hub`](crate::fetch_hub) has fetched it;
/// - `FORMAT:PATH`, such as `lsun:PATH`, to force one of the [`formats`](crate::formats()).
///
/// ```
/// use data::{DataSpec, Split};
///
/// let spec = DataSpec::parse("fashion")?;
/// assert_eq!(spec.name(), "fashion-mnist");
/// assert_eq!(spec.image_shape(Split::Train)?, Some([28, 28, 1]));
/// # Ok::<(), data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSpec {
    text: String,
    location: DataLocation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DataLocation {
    BuiltIn(&'static BuiltInSet),
    /// `format` is detected if it is `None`.
    Path {
        format: Option<&'static Format>,
        path: PathBuf,
    },
}

impl DataSpec {
    /// Parses `text`. The path must exist; its contents are not read.
    ///
    /// # Errors
    /// Returns [`DataError::EmptySpec`], [`DataError::Url`], [`DataError::UnknownFormat`], or
    /// [`DataError::NotFound`].
    pub fn parse(text: &str) -> Result<Self, DataError> {
        if text.is_empty() {
            return Err(DataError::EmptySpec);
        }
        let at = |location| Ok(Self { text: text.to_owned(), location });
        if let Some(set) = builtin::find(text) {
            return at(DataLocation::BuiltIn(set));
        }
        #[cfg(feature = "parquet")]
        if let Some(Ok(dataset)) = HubDataset::parse(text)
            && let Some(path) = dataset.locate()
        {
            return at(DataLocation::Path { format: Some(&formats::parquet::FORMAT), path });
        }
        if text.contains("://") && !Path::new(text).exists() {
            return Err(DataError::Url { spec: text.to_owned() });
        }
        let (format, path) = split_prefix(text)?;
        let path = match unescape(&path).filter(|_| !path.exists()) {
            Some(unescaped) => unescaped,
            None => path,
        };
        // Where existence cannot be known (no permission), reading will give the reason.
        if path.try_exists().unwrap_or(true) {
            return at(DataLocation::Path { format, path });
        }
        let remote = remote_sets().find(|set| set.name == text);
        Err(DataError::NotFound {
            spec: text.to_owned(),
            fetchable: remote.is_some(),
            fetched: remote.and_then(|set| set.locate()),
        })
    }

    /// The text of a spec whose path may have any bytes: one that is not UTF-8 is written as
    /// `\xE9`, which [`parse`](Self::parse) understands.
    ///
    /// ```
    /// assert_eq!(data::DataSpec::escape("zip:photos.zip".as_ref()), "zip:photos.zip");
    /// ```
    pub fn escape(text: &OsStr) -> String {
        let mut escaped = String::new();
        for chunk in text.as_encoded_bytes().utf8_chunks() {
            escaped.push_str(chunk.valid());
            chunk.invalid().iter().for_each(|byte| escaped += &format!("\\x{byte:02X}"));
        }
        escaped
    }

    /// The spec with an absolute path, which means the same in every working folder.
    pub fn absolute(&self) -> String {
        match &self.location {
            DataLocation::BuiltIn(_) => self.text.clone(),
            DataLocation::Path { format, path } => {
                let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                let path = Self::escape(absolute.as_os_str());
                format.map_or(path.clone(), |format| format!("{}:{path}", format.name))
            }
        }
    }

    /// The path, unless it is a built-in dataset.
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            DataLocation::BuiltIn(_) => None,
            DataLocation::Path { path, .. } => Some(path),
        }
    }

    /// A short name for messages and run folders: the built-in name, or the path's last component.
    pub fn name(&self) -> String {
        match &self.location {
            DataLocation::BuiltIn(set) => set.name.to_owned(),
            DataLocation::Path { path, .. } => {
                // `.` and `..` have no last component of their own.
                let resolved = path.canonicalize().unwrap_or_else(|_| path.clone());
                resolved
                    .file_name()
                    .map_or_else(|| self.text.clone(), |name| name.to_string_lossy().into_owned())
            }
        }
    }

    /// `[H, W, C]` of the images where all have the same shape (idx, CIFAR, SVHN, STL-10, NumPy's
    /// arrays, packed files), from the format or a file's header alone; `None` for images of any size.
    ///
    /// # Errors
    /// Returns the error of opening the dataset if files are missing or a header is damaged.
    pub fn image_shape(&self, split: Split) -> Result<Option<[u32; 3]>, DataError> {
        let (format, path) = self.resolve()?;
        (format.image_shape)(&path, split)
    }

    /// The preprocessing that was applied to the images of a [packed file](crate::prepare); `None`
    /// for any other dataset.
    ///
    /// # Errors
    /// Returns the error of opening the dataset.
    pub fn packed_preprocess(&self) -> Result<Option<Preprocess>, DataError> {
        let (format, path) = self.resolve()?;
        if *format != packed::FORMAT {
            return Ok(None);
        }
        Ok(Some(packed::layout::read_footer(&path)?.1.preprocess))
    }

    /// The background color (RGB) for the transparent pixels of a built-in dataset; `None` for a
    /// path.
    pub fn background(&self) -> Option<[u8; 3]> {
        match &self.location {
            DataLocation::BuiltIn(set) => Some(set.background),
            DataLocation::Path { .. } => None,
        }
    }

    /// Whether this is a built-in dataset of few images with clean edges and flat colors, on which
    /// a plain GAN collapses.
    pub fn is_small_flat_graphics(&self) -> bool {
        matches!(&self.location, DataLocation::BuiltIn(set) if set.small_flat_graphics)
    }

    /// Opens one split.
    pub(crate) fn open(&self, split: Split) -> Result<Box<dyn Source>, DataError> {
        let (format, path) = self.resolve()?;
        let class_names = match &self.location {
            DataLocation::BuiltIn(set) => Some(set.classes).filter(|names| !names.is_empty()),
            DataLocation::Path { .. } => None,
        };
        (format.open)(&path, split, class_names)
    }

    /// The path of the dataset, in which its files may be further down.
    pub(crate) fn root(&self) -> Result<PathBuf, DataError> {
        match &self.location {
            DataLocation::BuiltIn(set) => set.locate(),
            DataLocation::Path { path, .. } => Ok(path.clone()),
        }
    }

    /// The format and the path of the files.
    fn resolve(&self) -> Result<(&'static Format, PathBuf), DataError> {
        match &self.location {
            DataLocation::BuiltIn(set) => Ok((set.format, set.locate()?)),
            DataLocation::Path { format: Some(format), path } => Ok((format, path.clone())),
            DataLocation::Path { format: None, path } => formats::detect(path),
        }
    }
}

impl fmt::Display for DataSpec {
    /// The string that was parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The path that [`DataSpec::escape`] wrote, if it has bytes that are not UTF-8.
#[cfg(unix)]
fn unescape(path: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let (mut rest, mut bytes) = (path.to_str()?, Vec::new());
    let mut changed = false;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits.filter(|&byte| byte >= 0x80) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
                changed = true;
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    changed.then(|| std::ffi::OsString::from_vec(bytes).into())
}

/// Elsewhere, paths are Unicode.
#[cfg(not(unix))]
fn unescape(_path: &Path) -> Option<PathBuf> {
    None
}

/// The format of the prefix, if there is one, and the path.
fn split_prefix(text: &str) -> Result<(Option<&'static Format>, PathBuf), DataError> {
    if let Some((prefix, path)) = text.split_once(':') {
        if let Some(format) = formats::find(prefix) {
            return Ok((Some(format), PathBuf::from(path)));
        }
        // A single letter is a Windows drive; a colon may also be part of an existing file's name.
        let word =
            prefix.len() > 1 && prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if word && !Path::new(text).exists() {
            let (prefix, spec) = (prefix.to_owned(), text.to_owned());
            return Err(DataError::UnknownFormat { prefix, spec });
        }
    }
    Ok((None, PathBuf::from(text)))
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
    fn image_shape_is_read_from_headers() {
        let fashion = DataSpec::parse("fashion-mnist").unwrap();
        assert_eq!(fashion.image_shape(Split::Test).unwrap(), Some([28, 28, 1]));
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
    fn prefix_selects_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for (prefix, wanted) in [("", None), ("idx:", Some("idx")), ("folder:", Some("folder"))] {
            let spec = DataSpec::parse(&format!("{prefix}{path}")).unwrap();
            let format = wanted.and_then(formats::find);
            assert_eq!(spec.location, DataLocation::Path { format, path: path.into() });
        }
        let error = DataSpec::parse(&format!("lmbd:{path}")).unwrap_err();
        assert!(matches!(error, DataError::UnknownFormat { prefix, .. } if prefix == "lmbd"));
    }

    #[test]
    fn paths_become_absolute_and_keep_their_kind() {
        let absolute = |text: &str| DataSpec::parse(text).unwrap().absolute();
        assert_eq!(absolute("fashion"), "fashion");
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("."), here.to_str().unwrap());
        assert_eq!(absolute("src"), here.join("src").to_str().unwrap());
        assert_eq!(absolute("folder:./src"), format!("folder:{}", here.join("src").display()));
    }

    #[cfg(unix)]
    #[test]
    fn paths_may_have_bytes_that_are_not_utf8() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        for name in [&b"caf\xe9"[..], b"\xff\xfe \xc3\xa9", b"a\\xE9"] {
            let path = folder.path().join(OsStr::from_bytes(name));
            std::fs::create_dir(&path).unwrap();
            for prefix in ["", "folder:"] {
                let mut text = OsStr::new(prefix).to_owned();
                text.push(&path);
                let spec = DataSpec::parse(&DataSpec::escape(&text)).unwrap();
                assert_eq!(spec.path(), Some(&*path));
                assert_eq!(DataSpec::parse(&spec.absolute()).unwrap().path(), Some(&*path));
            }
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        let parse = |text: &str| DataSpec::parse(text).unwrap_err();
        assert!(matches!(
            parse("fashon-mnist"),
            DataError::NotFound { spec, fetchable: false, .. } if spec == "fashon-mnist"
        ));
        assert!(matches!(
            parse("svhn-extra"),
            DataError::NotFound { fetchable: true, fetched: None, .. }
        ));
        assert!(matches!(parse(""), DataError::EmptySpec));
    }
}
