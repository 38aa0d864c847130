//! The files of a folder or an archive: their paths, and access to their contents.

use std::path::Path;

/// The bytes that [`FileStore::read_start`] returns at most.
pub(super) const START_BYTES: usize = 1024;

/// Access to the contents of files, which folders, zip and tar archives implement.
pub(super) trait FileStore: Send + Sync {
    /// The format's name, for messages.
    fn format(&self) -> &'static str;

    /// The content of a file, at most [`MAX_DECODED_BYTES`](crate::MAX_DECODED_BYTES).
    fn read(&self, number: usize) -> Result<Vec<u8>, String>;

    /// The first [`START_BYTES`] of a file.
    fn read_start(&self, number: usize) -> Result<Vec<u8>, String>;

    /// The path of a file in the folder, if it is a folder.
    fn file(&self, _number: usize) -> Option<&Path> {
        None
    }

    /// Frees the memory that only `read` needs.
    fn drop_cache(&mut self) {}
}

/// A file in a folder or an archive.
#[derive(Debug)]
pub(crate) struct FileEntry {
    /// The index of its archive, where several archives are one dataset.
    pub shard: u32,
    /// The file's path inside the folder or archive, with `/` between the components.
    pub path: Vec<u8>,
    /// The file's index in the store.
    pub number: usize,
}

impl FileEntry {
    /// The path for messages, with replacement characters for what is not UTF-8.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// The path of a file in an archive, with `/` between its components. The error is the reason for
/// which an archive with such a path is refused.
///
/// Nothing is written under these paths, but a malicious archive must not become training data.
pub(crate) fn checked_name(bytes: &[u8]) -> Result<String, String> {
    let shown = String::from_utf8_lossy(bytes);
    let Ok(name) = std::str::from_utf8(bytes) else {
        return Err(format!("the name of {shown:?} is not UTF-8: rename it and repack"));
    };
    let name = name.replace('\\', "/");
    let drive = name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic();
    if name.starts_with('/') || drive {
        return Err(format!("it holds {shown:?}, an absolute path: repack it with relative ones"));
    }
    if name.split('/').any(|part| part == "..") {
        return Err(format!(
            "it holds {shown:?}, a path that leads out of it: repack it without `..`"
        ));
    }
    if name.contains('\0') {
        return Err(format!("it holds {shown:?}, a name with a zero byte"));
    }
    Ok(clean_path(&name))
}

/// Whether a file or folder is hidden, by its name: dot files, and the folder that macOS adds to
/// archives.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") || name == b"__MACOSX"
}

/// A relative path without `.` and empty components, with `/` between the others.
pub(crate) fn clean_path(path: &str) -> String {
    path.split(['/', '\\'])
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/")
}
