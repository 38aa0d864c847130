//! How every crate opens, replaces, locks and names files.
//!
//! - [`open`], [`read`] and [`read_text`] read regular files alone: a FIFO would block for ever and
//!   a device may never end.
//! - [`open_own`] and [`create_own_folder`] open what the program writes in place. They follow no
//!   symbolic link, so that a planted one cannot direct a write elsewhere.
//! - [`write_atomic`] and [`NewFolder`] write what is complete or absent.
//! - [`file_name`] and [`file_names`] turn names found in data into names of files.

#![forbid(unsafe_code)]

mod atomic;
mod lock;
mod name;
mod open;

pub use atomic::{
    NewFolder, TEMPORARY, check_writable, discard_temporaries, folder_of, sync_folder, write_atomic,
};
pub use lock::LockFile;
pub use name::{file_name, file_names, is_unprintable};
pub use open::{create_own_folder, open, open_own, read, read_text};
