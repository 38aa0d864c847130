//! Access to the files of an archive, which zip and tar implement.

use std::path::Path;

use crate::error::DataError;

/// Access to the contents of an archive's files.
pub(super) trait ArchiveReader: Send + Sync {
    /// The format's name, for messages.
    fn format(&self) -> &'static str;

    /// The content of a file, at most [`MAX_DECODED_BYTES`](crate::MAX_DECODED_BYTES).
    fn read(&self, number: usize) -> Result<Vec<u8>, String>;

    /// Frees the memory that only `read` needs.
    fn drop_cache(&mut self) {}
}

/// A file in an archive.
#[derive(Debug)]
pub(crate) struct ArchiveMember {
    /// The index of its archive, where several archives are one dataset.
    pub shard: u32,
    pub name: String,
    /// Its index in the archive reader.
    pub number: usize,
}

/// The name of a file, with `/` between its components. The error is the reason for which an
/// archive with such a name is refused.
///
/// Nothing is written under these names, but a malicious archive must not become training data.
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
    Ok(name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/"))
}

/// The content of a text file.
pub(super) fn read_text(
    path: &Path,
    container: &dyn ArchiveReader,
    member: &ArchiveMember,
) -> Result<Vec<u8>, DataError> {
    let bad = |reason| {
        DataError::malformed(
            container.format(),
            path,
            format!("cannot read {:?}: {reason}", member.name),
        )
    };
    container.read(member.number).map_err(bad)
}
