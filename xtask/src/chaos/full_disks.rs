//! Full disks: a file system without room for the output or its files (tmpfs), or a limit on the
//! size of files. The job ends with an error, older files stay, and with room it ends like an
//! undisturbed one.

use super::case::Case;
use super::{BoxError, copy, files, kills};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for any output.
const AMPLE_BYTES: u64 = 64 << 20;
/// tmpfs counts in pages.
const PAGE: u64 = 4096;

pub fn run(case: &mut Case) -> Result<(), BoxError> {
    let disk = Disk::mount(&case.work).ok().filter(|_| case.rng.u8(..4) > 0);
    let result = fill(case, disk.as_ref());
    if result.is_err() && disk.is_some() {
        // What is on the disk would be gone with it.
        copy(&case.work, &case.dir.join("left"))?;
    }
    result
}

fn fill(case: &mut Case, disk: Option<&Disk>) -> Result<(), BoxError> {
    let job = case.job();
    let work = case.work.clone();
    if case.rng.bool() {
        job.put_older(case)?;
    }
    let need = job.whole.values().map(|bytes| pages(bytes.len() as u64)).sum::<u64>();
    let mut limit = String::new();
    match disk {
        Some(disk) => {
            let option = if case.rng.u8(..4) > 0 {
                disk.room(case.rng.u64(..need + need / 2))?
            } else {
                // Folders count too.
                format!("nr_inodes={}", 6 + files(&work)?.len() + case.rng.usize(..12))
            };
            case.note(&format!("mount -o remount,{option}"));
            disk.remount(&option)?;
        }
        None => {
            // In blocks of 512 bytes, with room for messages. Unless ignored, its signal kills.
            let ignore = if case.rng.bool() { "trap '' XFSZ; " } else { "" };
            limit = format!("{ignore}ulimit -f {}; ", case.rng.u64(8..300));
        }
    }
    let args = job.args(&work);
    case.run(&limit, &args)?.code(&[0, 1])?;
    if let Some(disk) = disk {
        disk.make_room()?;
    }
    kills::readable(case, job)?;
    if let Some((name, _)) = files(&work)?.iter().find(|(name, _)| name.ends_with(".tmp")) {
        return Err(format!("{name} is left over").into());
    }
    job.finish(case)
}

fn pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE)
}

/// A tmpfs, unmounted when dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one with room for any output.
    ///
    /// # Errors
    /// Returns an error if this user may not.
    pub fn mount(folder: &Path) -> Result<Self, BoxError> {
        call("mount", &["-t", "tmpfs", "-o", &format!("size={AMPLE_BYTES}"), "tmpfs"], folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Makes room for any output again.
    pub fn make_room(&self) -> Result<(), BoxError> {
        self.remount(&format!("size={AMPLE_BYTES},nr_inodes=100000"))
    }

    /// The mount option that leaves room for `bytes` bytes beside its files: a smaller size than
    /// they take would be refused.
    pub fn room(&self, bytes: u64) -> Result<String, BoxError> {
        let mut used = 0;
        for (_, path) in files(&self.0)? {
            used += pages(path.metadata()?.len());
        }
        Ok(format!("size={}", PAGE + used + bytes))
    }

    /// Changes a mount option.
    pub fn remount(&self, option: &str) -> Result<(), BoxError> {
        call("mount", &["-o", &format!("remount,{option}")], &self.0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = call("umount", &[], &self.0);
    }
}

fn call(program: &str, args: &[&str], folder: &Path) -> Result<(), BoxError> {
    let output = Command::new(program).args(args).arg(folder).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim_end().into())
}
