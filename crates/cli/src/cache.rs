//! Where results that take minutes to compute are kept for the next time.

use crate::error::CliError;
use std::env::var_os;
use std::path::{Path, PathBuf};

/// The environment variable that names the folder.
pub const CACHE_VARIABLE: &str = "DCGAN_CACHE";

/// A folder of this name in the user's cache: in `DCGAN_CACHE` where it is set, else where the system keeps caches. It is made where it is not there.
///
/// # Errors
/// No home, or the disk.
pub fn folder(name: &str) -> Result<PathBuf, CliError> {
    let root = root().ok_or_else(|| {
        CliError::Failed(format!(
            "there is no home directory to keep results in: set {CACHE_VARIABLE} to a folder"
        ))
    })?;
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).map_err(|e| {
        CliError::Failed(format!(
            "cannot make the folder {folder:?}: {e}; set {CACHE_VARIABLE} to another one"
        ))
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
