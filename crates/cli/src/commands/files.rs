//! Checks of output files before the work starts whose results would be lost.

use crate::error::CliError;
use std::path::Path;

/// Refuses a path whose parent folder does not exist.
pub fn require_folder(flag: &str, path: &Path) -> Result<(), CliError> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wrong = match folder.metadata() {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => format!("{folder:?} is not a folder: choose another path"),
        Err(_) => format!("there is no folder {folder:?}: make it, or choose another path"),
    };
    Err(failure!("{flag} {}: {wrong}", path.display()))
}

/// Refuses a file whose name does not end in `.extension`, that cannot be written, or that exists
/// (unless `force`).
pub fn require_file(flag: &str, path: &Path, extension: &str, force: bool) -> Result<(), CliError> {
    if !path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension)) {
        return Err(usage!("{flag} {}: give it a name that ends in .{extension}", path.display()));
    }
    require_folder(flag, path)?;
    refuse_existing(path, force)
}

/// An output file: its flag, its value and the extension that the name must have (`""`: any).
pub type OutputFile<'a> = (&'a str, Option<&'a Path>, &'a str);

/// Refuses output files as [`require_file`] does; a flag without a value is fine.
pub fn require_files<'a>(
    force: bool,
    files: impl IntoIterator<Item = OutputFile<'a>>,
) -> Result<(), CliError> {
    for (flag, path, extension) in files {
        match path {
            Some(path) if extension.is_empty() => {
                require_folder(flag, path)?;
                refuse_existing(path, force)?;
            }
            Some(path) => require_file(flag, path, extension, force)?,
            None => {}
        }
    }
    Ok(())
}

/// Refuses a `--grid` that cannot be written.
pub fn require_grid(grid: &Path, force: bool) -> Result<(), CliError> {
    require_file("--grid", grid, "png", force)
}

/// Refuses to overwrite a file, unless `force`, and a folder or device always.
pub fn refuse_existing(path: &Path, force: bool) -> Result<(), CliError> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !force {
        return Err(failure!(
            "{path:?} exists already: choose another name, or overwrite it with --force"
        ));
    }
    // A link is replaced, but not one such as /dev/stdout. One that leads nowhere is as good as a
    // file.
    let is_file = path.metadata().map_or(found.is_symlink(), |target| target.is_file());
    if !is_file {
        return Err(failure!(
            "{path:?} is not a regular file, and --force overwrites no other: choose another name"
        ));
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_files_are_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "old").unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (name, target) in [("link", "file"), ("to-socket", "socket"), ("dangling", "nothing")] {
            symlink(at(target), at(name)).unwrap();
        }
        for name in ["file", "link", "dangling", "socket", "to-socket"] {
            assert!(refuse_existing(&at(name), false).is_err(), "{name}");
            let is_file = !name.contains("socket");
            assert_eq!(refuse_existing(&at(name), true).is_ok(), is_file, "{name}");
        }
        assert!(refuse_existing(folder.path(), true).is_err());
        assert!(refuse_existing(&at("nothing"), false).is_ok());
    }
}
