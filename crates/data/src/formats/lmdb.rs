//! Checks an LMDB file before LMDB maps it.
//!
//! The C library trusts a database's pages: it uses offsets, lengths and page numbers unchecked in
//! its memory map, and a damaged file crashes the process. So every page that reading can reach is
//! checked here first. These are the pages of the main database's tree, which are read once more
//! when the keys are listed, and are a small part of a file whose values are images. Pages of
//! values only need to be within the file. Layout: `mdb.c` of LMDB 0.9, data version 1,
//! little-endian, 64 bits.

use std::path::Path;

use rawzip::{FileReader, ReaderAt as _};

use crate::decode::one_line;
use crate::error::FileProblem;

/// LMDB's magic number at byte 16 of a file written on a little-endian machine.
pub(super) const MAGIC: [u8; 4] = 0xBEEF_C0DE_u32.to_le_bytes();

const VERSION: u32 = 1;
/// Bytes before a page's content.
const HEAD: usize = 16;
/// A page head and a meta record.
const META: usize = HEAD + 136;
/// The page number for "no page".
const NO_PAGE: u64 = u64::MAX;
/// The largest depth of the library's cursors.
const MAX_DEPTH: usize = 32;

mod page {
    pub const BRANCH: u16 = 1;
    pub const LEAF: u16 = 2;
    pub const META: u16 = 8;
}

/// The flag of a node whose value has its own pages.
const BIG: u16 = 1;
/// The flag of a node that is a named database.
const SUB_DATABASE: u16 = 2;

/// One of the two meta pages.
struct MetaPage {
    page_size: usize,
    last_page: u64,
    transaction: u64,
    /// The flags of the main database.
    flags: u16,
    root: u64,
}

/// Checks that the library can read the main database of a file to its end.
///
/// # Errors
/// Returns the defect, in one line.
pub(super) fn check(path: &Path) -> Result<(), FileProblem> {
    let file = file_io::open(path).map_err(|error| FileProblem::Other(one_line(&error)))?;
    let length = file.metadata().map_err(|error| FileProblem::Other(one_line(&error)))?.len();
    let file = FileReader::from(file);
    let first = meta(&file, 0, length)?;
    let second = meta(&file, first.page_size as u64, length)?;
    if second.page_size != first.page_size {
        return Err(damaged("its two heads declare two page sizes"));
    }
    // The library chooses the same way.
    let meta = if first.transaction < second.transaction { second } else { first };
    if meta.flags != 0 {
        return Err(FileProblem::Unsupported(format!(
            "its main database is of another kind (flags {:#x}) than LSUN's",
            meta.flags
        )));
    }
    if meta.root == NO_PAGE {
        return Ok(());
    }
    TreeChecker { file: &file, meta: &meta, seen: 0 }.check(meta.root, 1)
}

fn damaged(what: &str) -> FileProblem {
    FileProblem::Damaged(what.to_owned())
}

fn meta(file: &FileReader, at: u64, length: u64) -> Result<MetaPage, FileProblem> {
    let unsupported = |problem| Err(FileProblem::Unsupported(problem));
    let mut bytes = [0; META];
    file.read_exact_at(&mut bytes, at)
        .map_err(|_| FileProblem::Truncated("it is shorter than its header".to_owned()))?;
    match bytes[HEAD..HEAD + 4] {
        ref magic if *magic == MAGIC => {}
        ref magic if *magic == 0xBEEF_C0DE_u32.to_be_bytes() => {
            return unsupported("it was made on a big-endian machine".to_owned());
        }
        _ => return unsupported("it does not start like one".to_owned()),
    }
    let version = u32_at(&bytes, HEAD + 4);
    if version != VERSION {
        return unsupported(format!("it is of version {version}; only version {VERSION} is read"));
    }
    let main = HEAD + 24 + 48;
    let meta = MetaPage {
        page_size: u32_at(&bytes, HEAD + 24) as usize,
        flags: u16_at(&bytes, main + 4),
        root: u64_at(&bytes, main + 40),
        last_page: u64_at(&bytes, HEAD + 120),
        transaction: u64_at(&bytes, HEAD + 128),
    };
    if !meta.page_size.is_power_of_two()
        || !(512..=65_536).contains(&meta.page_size)
        || u16_at(&bytes, 10) & page::META == 0
    {
        return Err(damaged("its head makes no sense"));
    }
    let promised = meta.last_page.saturating_add(1).saturating_mul(meta.page_size as u64);
    if promised > length {
        let problem = format!("{promised} bytes declared, but it holds {length}");
        return Err(FileProblem::Truncated(problem));
    }
    Ok(meta)
}

struct TreeChecker<'a> {
    file: &'a FileReader,
    meta: &'a MetaPage,
    /// Pages visited: a tree with a cycle would visit more than the file has.
    seen: u64,
}

impl TreeChecker<'_> {
    /// Checks a page and those below it.
    fn check(&mut self, number: u64, depth: usize) -> Result<(), FileProblem> {
        let bad = |what: &str| damaged(&format!("page {number}: {what}"));
        self.seen += 1;
        if number > self.meta.last_page || self.seen > self.meta.last_page || depth >= MAX_DEPTH {
            return Err(bad("the tree leads out of the file or back into itself"));
        }
        let mut bytes = vec![0; self.meta.page_size];
        self.file
            .read_exact_at(&mut bytes, number * self.meta.page_size as u64)
            .map_err(|error| FileProblem::Other(one_line(&error)))?;
        let flags = u16_at(&bytes, 10);
        let lower = usize::from(u16_at(&bytes, 12));
        if u64_at(&bytes, 0) != number || lower < HEAD || lower % 2 != 0 || lower > bytes.len() {
            return Err(bad("its head makes no sense"));
        }
        let nodes = bytes[HEAD..lower].chunks_exact(2).map(|pair| usize::from(u16_at(pair, 0)));
        match flags {
            // The library assumes at least two nodes in a branch.
            page::BRANCH if nodes.len() >= 2 => {
                let nodes: Vec<usize> = nodes.collect();
                nodes
                    .into_iter()
                    .try_for_each(|at| self.check(child(&bytes, at).map_err(&bad)?, depth + 1))
            }
            page::LEAF if nodes.len() >= 1 => {
                nodes.into_iter().try_for_each(|at| match node(&bytes, at) {
                    Ok((key, SUB_DATABASE)) => Err(named_database(&bytes[at + 8..at + 8 + key])),
                    _ => self.leaf(&bytes, at).map_err(&bad),
                })
            }
            _ => Err(bad("it is not a page of a tree, or an empty one")),
        }
    }

    /// Checks an entry of a leaf.
    fn leaf(&self, page: &[u8], at: usize) -> Result<(), &'static str> {
        let (key, flags) = node(page, at)?;
        let size = (u64::from(u16_at(page, at + 2)) << 16) | u64::from(u16_at(page, at));
        let value = at + 8 + key;
        match flags {
            0 if value as u64 + size <= page.len() as u64 => Ok(()),
            0 => Err("a value is outside of it"),
            BIG if value + 8 <= page.len() => {
                let first = u64_at(page, value);
                let available = (self.meta.last_page + 1)
                    .saturating_sub(first)
                    .saturating_mul(self.meta.page_size as u64);
                if HEAD as u64 + size <= available {
                    Ok(())
                } else {
                    Err("a value is outside the file")
                }
            }
            _ => Err("an entry is not a plain value"),
        }
    }
}

fn named_database(key: &[u8]) -> FileProblem {
    FileProblem::Unsupported(format!(
        "it has named databases, such as {:?}, and only images of the main one are read: copy \
         their entries into the main database of another file",
        String::from_utf8_lossy(key)
    ))
}

/// The page below an entry of a branch.
fn child(page: &[u8], at: usize) -> Result<u64, &'static str> {
    let (_, high) = node(page, at)?;
    Ok(u64::from(high) << 32 | u64::from(u16_at(page, at + 2)) << 16 | u64::from(u16_at(page, at)))
}

/// Length of a node's key, and its flags; head and key are within the page.
fn node(page: &[u8], at: usize) -> Result<(usize, u16), &'static str> {
    if at < HEAD || !at.is_multiple_of(2) || at + 8 > page.len() {
        return Err("an entry is outside of it");
    }
    let key = usize::from(u16_at(page, at + 6));
    if at + 8 + key > page.len() {
        return Err("a key is outside of it");
    }
    Ok((key, u16_at(page, at + 4)))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
