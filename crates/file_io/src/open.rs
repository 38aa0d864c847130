//! Opening: regular files alone, and no link in the program's own folders.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file for reading. A link that the user names is followed.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let error = file_io::open(folder.path()).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
/// ```
///
/// # Errors
/// Returns the error of the operating system, [`io::ErrorKind::IsADirectory`] for a folder and
/// [`io::ErrorKind::InvalidInput`] for a FIFO, socket or device.
pub fn open(path: &Path) -> io::Result<File> {
    // Before it is opened: opening a FIFO waits for a writer.
    require_regular(fs::metadata(path)?.file_type())?;
    File::open(path)
}

/// Reads a regular file.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    // An estimate: a file that grows meanwhile is read to its end.
    bytes.try_reserve_exact(file.metadata()?.len().try_into().unwrap_or(usize::MAX))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a regular UTF-8 file of at most `limit` bytes.
///
/// # Errors
/// As [`open`]; [`io::ErrorKind::FileTooLarge`] if it is longer, [`io::ErrorKind::InvalidData`] if
/// it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Opens a file that the program itself writes, with the access that `options` give. A link at
/// `path` is refused, not followed: a file planted there must not direct the write elsewhere.
///
/// # Errors
/// Returns the error of the operating system, and [`io::ErrorKind::InvalidInput`] for a link, FIFO,
/// socket or device.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    require_no_link(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Holds for a link that appears after the check. O_NONBLOCK, for a FIFO, has no effect on
        // regular files.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    require_regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Creates a folder, if it is missing, for files that the program writes. A link to a folder is
/// refused.
///
/// # Errors
/// Returns the error of the operating system, and [`io::ErrorKind::InvalidInput`] for a link.
pub fn create_own_folder(path: &Path) -> io::Result<()> {
    require_no_link(path)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            require_no_link(path)?;
            match path.is_dir() {
                true => Ok(()),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        other => other,
    }
}

fn require_no_link(path: &Path) -> io::Result<()> {
    match path.is_symlink() {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a symbolic link, which is not followed here",
        )),
        false => Ok(()),
    }
}

fn require_regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let text = format!("it is {}, not a regular file", special(kind));
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn special(_: FileType) -> &'static str {
    "a device"
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_fifo_and_a_device_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        for path in [&*fifo, Path::new("/dev/zero"), Path::new("/dev/null")] {
            assert_eq!(open(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
            let own = open_own(path, File::options().read(true).write(true));
            assert_eq!(own.unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
        }
    }

    #[test]
    fn a_text_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        fs::write(&path, "é".repeat(8)).unwrap();
        assert_eq!(read_text(&path, 16).unwrap(), "é".repeat(8));
        assert_eq!(read_text(&path, 15).unwrap_err().kind(), ErrorKind::FileTooLarge);
        fs::write(&path, [0xFF]).unwrap();
        assert_eq!(read_text(&path, 15).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn no_link_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let [target, link, missing] = ["target", "link", "missing"].map(|n| dir.path().join(n));
        fs::write(&target, "kept").unwrap();
        symlink(&target, &link).unwrap();
        let writing = || File::options().write(true).create(true).truncate(true).clone();
        assert_eq!(open_own(&link, &mut writing()).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::read(&target).unwrap(), b"kept");
        // A link to nothing is one, too.
        fs::remove_file(&target).unwrap();
        assert_eq!(open_own(&link, &mut writing()).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(!target.exists());
        open_own(&missing, &mut writing()).unwrap();

        let (folder, to_folder) = (dir.path().join("folder"), dir.path().join("to-folder"));
        create_own_folder(&folder).unwrap();
        create_own_folder(&folder).unwrap();
        symlink(&folder, &to_folder).unwrap();
        assert_eq!(create_own_folder(&to_folder).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(create_own_folder(&missing).unwrap_err().kind(), ErrorKind::NotADirectory);
    }
}
