//! The cache folder, for results that take minutes to compute.

use crate::error::CliError;
use std::env::var_os;
use std::path::{Path, PathBuf};

/// The environment variable that names the cache folder.
pub const CACHE_VARIABLE: &str = "DCGAN_CACHE";

/// The folder `name` in the cache, created if it is missing: in `DCGAN_CACHE` if that is set, else
/// in the user's cache folder.
pub fn folder(name: &str) -> Result<PathBuf, CliError> {
    let root = root().ok_or_else(|| {
        failure!("there is no home directory for the cache: set {CACHE_VARIABLE} to a folder")
    })?;
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).map_err(|e| {
        failure!("cannot make the folder {folder:?}: {e}; set {CACHE_VARIABLE} to another one")
    })?;
    Ok(folder)
}

fn root() -> Option<PathBuf> {
    let set = |name| var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().filter(|home| home.is_absolute());
    let system = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME")
            .filter(|path| Path::new(path).is_absolute())
            .or_else(|| home().map(|home| home.join(".cache")))
    };
    set(CACHE_VARIABLE).or_else(|| system.map(|root| root.join("dcgan")))
}
