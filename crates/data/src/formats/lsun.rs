//! LSUN: an LMDB database for each category and split, whose values are JPEG or WebP files.
//!
//! <https://github.com/fyu/lsun>. The database is opened read-only and without its lock file, so
//! that it may be in a read-only folder; no process may write to it meanwhile.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};
use std::thread;
use std::time::Duration;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};
use parking_lot::Mutex;

use super::split_name::split_of;
use super::{Confidence, Format, any_shape, io, lmdb, no_split};
use crate::decode::{MAX_DECODED_BYTES, one_line};
use crate::error::{DataError, FileProblem};
use crate::source::{EncodedStore, Split};

const FORMAT_NAME: &str = "LMDB database";
const DATA_FILE: &str = "data.mdb";
/// A multiple of every system's page size.
const MAP_UNIT: usize = 1 << 16;

pub(crate) static FORMAT: Format = Format {
    name: "lsun",
    about: "LSUN: a category's LMDB folder, or the folder with its ..._train_lmdb and ..._val_lmdb",
    detect: |candidate| {
        Ok(match &candidate.start {
            None => Confidence::Certain.when(is_database_folder(candidate.path)),
            Some(start) => Confidence::Likely.when(start.get(16..20) == Some(&lmdb::MAGIC)),
        })
    },
    open: |path, split, _| Ok(Box::new(LsunSource::open(path, split)?)),
    image_shape: any_shape,
};

/// The images of one database.
struct LsunSource {
    path: PathBuf,
    database: Arc<LsunDatabase>,
    keys: Keys,
}

struct LsunDatabase {
    env: Env<WithoutTls>,
    database: Database<'static, Bytes, Bytes>,
}

/// Byte strings stored end to end: there are millions, too many for an allocation each.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

impl LsunSource {
    /// Opens the database at `path` (its folder or its file), or the one of `split` inside `path`,
    /// and reads its keys.
    fn open(path: &Path, split: Split) -> Result<Self, DataError> {
        let path = database_path(path, split)?;
        let bad = |error: heed::Error| DataError::malformed(FORMAT_NAME, &path, one_line(&error));
        let database = open_database(&path)?;
        let mut keys = Keys::default();
        let transaction = database.env.read_txn().map_err(bad)?;
        for entry in database.database.iter(&transaction).map_err(bad)? {
            keys.push(entry.map_err(bad)?.0);
        }
        drop(transaction);
        if keys.ends.is_empty() {
            return Err(DataError::NoImages { path, files: 0, notes: Vec::new() });
        }
        Ok(Self { path, database, keys })
    }
}

impl EncodedStore for LsunSource {
    fn len(&self) -> usize {
        self.keys.ends.len()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self, index: usize) -> String {
        String::from_utf8_lossy(self.keys.get(index)).into_owned()
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, String> {
        let LsunDatabase { env, database } = self.database.as_ref();
        let transaction = env.read_txn().map_err(|error| one_line(&error))?;
        match database.get(&transaction, self.keys.get(index)) {
            Ok(Some(value)) if value.len() as u64 <= MAX_DECODED_BYTES => Ok(value.to_vec()),
            Ok(Some(_)) => Err(format!("the value has more than {} MiB", MAX_DECODED_BYTES >> 20)),
            Ok(None) => Err("the database has lost this key".to_owned()),
            Err(error) => Err(one_line(&error)),
        }
    }
}

/// Whether a folder is a database, or holds those of LSUN.
fn is_database_folder(folder: &Path) -> bool {
    folder.join(DATA_FILE).is_file()
        || [Split::Train, Split::Test].iter().any(|&split| !of_split(folder, split).is_empty())
}

fn database_path(path: &Path, split: Split) -> Result<PathBuf, DataError> {
    let file = path.is_file() || path.join(DATA_FILE).is_file();
    if file && (split == Split::Train || split_of(path) == Some(Split::Test)) {
        return Ok(path.to_owned());
    }
    let folder = if file { path.parent().unwrap_or(path) } else { path };
    let mut found = of_split(folder, split);
    if file {
        // Of the same category as the path's.
        let name = path.file_name().unwrap_or_default().to_string_lossy().replace("_train", "_val");
        found.retain(|other| other.file_name().is_some_and(|other| *other == *name));
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let suffix = split_name(split);
            let wanted = format!("looked for {DATA_FILE} and for a folder …_{suffix}_lmdb");
            Err(no_split(path, split, wanted))
        }
        several => {
            let name = |path: &PathBuf| {
                path.file_name().unwrap_or_default().to_string_lossy().into_owned()
            };
            Err(DataError::Ambiguous {
                path: path.to_owned(),
                files: several.iter().map(name).collect::<Vec<_>>().join(", "),
            })
        }
    }
}

fn split_name(split: Split) -> &'static str {
    if split == Split::Train { "train" } else { "val" }
}

/// The databases of a split directly in a folder, by their names.
fn of_split(folder: &Path, split: Split) -> Vec<PathBuf> {
    let suffix = format!("_{}_lmdb", split_name(split));
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&suffix))
    };
    let mut found: Vec<PathBuf> =
        entries.filter(|path| named(path) && path.join(DATA_FILE).is_file()).collect();
    found.sort();
    found
}

/// The open databases by their resolved paths: LMDB allows each to be opened once per process.
static OPEN_DATABASES: LazyLock<Mutex<HashMap<PathBuf, Weak<LsunDatabase>>>> =
    LazyLock::new(Mutex::default);

fn open_database(path: &Path) -> Result<Arc<LsunDatabase>, DataError> {
    let resolved = path.canonicalize().map_err(|error| io(path, error))?;
    let mut open = OPEN_DATABASES.lock();
    open.retain(|_, database| database.strong_count() > 0);
    if let Some(database) = open.get(&resolved).and_then(Weak::upgrade) {
        return Ok(database);
    }
    let file = if resolved.is_dir() { resolved.join(DATA_FILE) } else { resolved.clone() };
    lmdb::check(&file).map_err(|problem| DataError::malformed(FORMAT_NAME, &file, problem))?;
    let length = file.metadata().map_err(|error| io(path, error))?.len();
    let mut patience = 1000;
    let env = loop {
        match open_env(&resolved, length) {
            // Another thread has dropped its last reference and is about to close it.
            Err(heed::Error::EnvAlreadyOpened) if patience > 0 => {
                patience -= 1;
                thread::sleep(Duration::from_millis(1));
            }
            result => {
                break result
                    .map_err(|error| DataError::malformed(FORMAT_NAME, path, one_line(&error)))?;
            }
        }
    };
    let database = main_database(&env)
        .map_err(|error| DataError::malformed(FORMAT_NAME, path, one_line(&error)))?;
    let Some(database) = database else {
        return Err(DataError::malformed(
            FORMAT_NAME,
            path,
            FileProblem::Missing("main database".to_owned()),
        ));
    };
    let database = Arc::new(LsunDatabase { env, database });
    open.insert(resolved, Arc::downgrade(&database));
    Ok(database)
}

#[expect(unsafe_code, reason = "LMDB is read through a memory map")]
fn open_env(path: &Path, length: u64) -> Result<Env<WithoutTls>, heed::Error> {
    let flags = EnvFlags::READ_ONLY | EnvFlags::NO_LOCK;
    let flags = if path.is_dir() { flags } else { flags | EnvFlags::NO_SUB_DIR };
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    // The file alone is mapped, not the size that it was made to grow to, which may be a terabyte.
    options.map_size((length as usize).next_multiple_of(MAP_UNIT));
    // SAFETY: without its lock file the database must have no writer, and the mapped file must not
    // change. `data` never writes to it, and the documentation of this format demands the same of
    // others. Its pages were checked (`lmdb::check`). Nothing is written through the map.
    unsafe {
        options.flags(flags);
        options.open(path)
    }
}

fn main_database(
    env: &Env<WithoutTls>,
) -> Result<Option<Database<'static, Bytes, Bytes>>, heed::Error> {
    let opened = env.open_databases_and_commit(env.read_txn()?, |opener, transaction| {
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(
            opener.open_database::<Bytes, Bytes>(transaction, None)?,
        ))
    })?;
    Ok(opened.commit().flatten())
}
