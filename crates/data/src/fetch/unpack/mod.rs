//! Unpacks downloaded archives so that nothing can be written outside the folder, overwrite a file
//! or fill the disk.
//!
//! Everything goes into a new folder first, as plain files under checked names, and is moved when
//! all of it is there: a partly unpacked dataset is never mistaken for a complete one.

use std::fs::{self, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::error::FetchError;
use super::sets::{ArchiveContent, ArchiveKind};
use crate::decode::one_line;
use crate::error::DataError;
use crate::formats::{self, zip::ZipFiles};

/// The folder that files are unpacked into first.
const STAGING: &str = ".unpacking";

/// Empty blocks after the end of a tar archive, in bytes: writers pad to a multiple of their block
/// size.
const MAX_BEHIND: u64 = 1 << 20;

/// More files than any dataset here has.
const MAX_FILES: usize = 300_000;

/// Unpacks `archive` into `folder`, where its top folder must not exist yet.
pub(super) fn unpack(archive: &Path, kind: ArchiveKind, folder: &Path) -> Result<(), FetchError> {
    let (content, extract): (ArchiveContent, Extract) = match kind {
        ArchiveKind::Plain => return Ok(()),
        ArchiveKind::TarGz(content) => (content, tar_gz),
        ArchiveKind::Zip(content) => (content, zip),
    };
    let staging = folder.join(STAGING);
    // Left by an earlier, interrupted call.
    remove(&staging)?;
    fs::create_dir(&staging).map_err(FetchError::disk(&staging))?;
    let mut target =
        UnpackTarget { root: staging.clone(), bytes_left: content.at_most, files_left: MAX_FILES };
    let unpacked = extract(archive, &mut target).and_then(|()| {
        if staging.join(content.top).is_dir() {
            Ok(())
        } else {
            Err(UnpackError::Archive(format!("there is no {:?} in it", content.top)))
        }
    });
    let (from, to) = (staging.join(content.top), folder.join(content.top));
    let outcome = match unpacked {
        Ok(()) if to.exists() => Err(FetchError::InTheWay { path: to }),
        Ok(()) => fs::rename(&from, &to).map_err(FetchError::disk(&to)),
        Err(UnpackError::Archive(problem)) => {
            Err(FetchError::Archive { path: archive.to_owned(), problem })
        }
        Err(UnpackError::Disk(path, error)) => Err(FetchError::Disk { path, error }),
    };
    remove(&staging)?;
    outcome
}

fn remove(folder: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FetchError::disk(folder)(error))
        }
        _ => Ok(()),
    }
}

type Extract = fn(&Path, &mut UnpackTarget) -> Result<(), UnpackError>;

/// Why unpacking failed.
#[derive(Debug)]
enum UnpackError {
    Archive(String),
    Disk(PathBuf, io::Error),
}

fn bad(error: impl std::fmt::Display) -> UnpackError {
    UnpackError::Archive(one_line(&error))
}

/// The folder that is written to, and the bytes and files that may still be written.
struct UnpackTarget {
    root: PathBuf,
    bytes_left: u64,
    files_left: usize,
}

impl UnpackTarget {
    /// The path for the archive's `name`, which was
    /// [checked](formats::file_store::checked_name); its parent folder is created.
    fn place(&mut self, name: &str) -> Result<PathBuf, UnpackError> {
        self.files_left = self
            .files_left
            .checked_sub(1)
            .ok_or_else(|| bad(format!("it holds more than {MAX_FILES} files")))?;
        let path = Path::new(name);
        // A colon has a special meaning on Windows; no dataset has one.
        if name.contains(':') || !path.components().all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(bad(format!("it holds {name:?}, which leads out of the folder")));
        }
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|error| UnpackError::Disk(folder.to_owned(), error))?;
        }
        Ok(path)
    }

    /// Writes a new file.
    fn file(&mut self, name: &str, reader: impl Read) -> Result<(), UnpackError> {
        let path = self.place(name)?;
        let mut out = OpenOptions::new().write(true).create_new(true).open(&path).map_err(
            |error| match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    bad(format!("two of its files are called {name:?}"))
                }
                _ => UnpackError::Disk(path.clone(), error),
            },
        )?;
        // One more than allowed, so that an excess is detected.
        let mut reader = reader.take(self.bytes_left.saturating_add(1));
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = reader.read(&mut buffer).map_err(bad)?;
            if count == 0 {
                return Ok(());
            }
            self.bytes_left = self
                .bytes_left
                .checked_sub(count as u64)
                .ok_or_else(|| bad("it unpacks to more than the set holds"))?;
            io::Write::write_all(&mut out, &buffer[..count])
                .map_err(|error| UnpackError::Disk(path.clone(), error))?;
        }
    }
}

fn tar_gz(archive: &Path, target: &mut UnpackTarget) -> Result<(), UnpackError> {
    let file =
        file_io::open(archive).map_err(|error| UnpackError::Disk(archive.to_owned(), error))?;
    let mut tar = tar::Archive::new(MultiGzDecoder::new(BufReader::new(file)));
    for entry in tar.entries().map_err(bad)? {
        let entry = entry.map_err(bad)?;
        if let Some(name) = formats::tar::file_name(&entry).map_err(bad)? {
            target.file(&name, entry)?;
        }
    }
    // The archive ends before the gzip stream, whose checksum comes last.
    let behind =
        io::copy(&mut tar.into_inner().take(MAX_BEHIND + 1), &mut io::sink()).map_err(bad)?;
    if behind > MAX_BEHIND { Err(bad("it continues after its end")) } else { Ok(()) }
}

fn zip(archive: &Path, target: &mut UnpackTarget) -> Result<(), UnpackError> {
    let (zip, members) = ZipFiles::open(archive).map_err(|error| match error {
        DataError::Malformed { problem, .. } => bad(problem),
        DataError::Io { path, error } => UnpackError::Disk(path, error),
        other => bad(other),
    })?;
    members.iter().try_for_each(|member| {
        let name = member.shown();
        zip.with(member.number, |content| target.file(&name, content))
            .map_err(|problem| bad(format!("{name:?} in it: {problem}")))?
    })
}

#[cfg(test)]
mod tests;
