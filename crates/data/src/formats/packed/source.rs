//! A packed file as a source of images.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use sha2::{Digest as _, Sha256};

use super::layout::{FORMAT_NAME, Footer, HEAD, RecordFields, RecordLayout, read_footer};
use crate::attributes::Attribute;
use crate::decode::DecodedImage;
use crate::error::{DataError, FileProblem, ImageError};
use crate::preprocess::Preprocess;
use crate::source::{Digest, Source};

/// The images of a packed file, in the order in which they were prepared.
pub(crate) struct PackedSource {
    path: PathBuf,
    map: Mmap,
    footer: Footer,
    layout: RecordLayout,
}

impl PackedSource {
    /// Opens the file; no record is read yet.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let as_io = |error| DataError::Io { path: path.to_owned(), error };
        let (file, footer) = read_footer(path)?;
        #[expect(unsafe_code, reason = "a file is mapped")]
        // SAFETY: the mapped file must not change. `data` writes such files under temporary names
        // and never changes a finished one, and the documentation of the format demands the same of
        // others.
        let map = unsafe { Mmap::map(&file) }.map_err(as_io)?;
        // Shuffled reads gain nothing from the system's read-ahead. Only a hint: a failure is
        // harmless.
        #[cfg(unix)]
        let _ = map.advise(memmap2::Advice::Random);
        let names = &map[footer.names_at() as usize..][..footer.names_len() as usize];
        if footer.names_checksum.is_some_and(|checksum| checksum != crc32c::crc32c(names)) {
            let problem = FileProblem::Damaged("the names of its images".to_owned());
            return Err(DataError::malformed(FORMAT_NAME, path, problem));
        }
        Ok(Self { path: path.to_owned(), map, layout: footer.layout(), footer })
    }

    /// The record, whole or not.
    fn record(&self, index: usize) -> &[u8] {
        let length = self.layout.record();
        &self.map[HEAD + index * length..][..length]
    }

    /// The record, if it is what was written.
    fn whole(&self, index: usize) -> Result<(&[u8], RecordFields), String> {
        let record = self.record(index);
        if !self.layout.is_whole(record) {
            return Err("the checksum of its record is wrong: the file is damaged".to_owned());
        }
        let fields = self.layout.fields(record);
        let known = fields
            .label
            .map_or(!self.footer.labeled, |label| (label as usize) < self.footer.class_names.len());
        if known {
            Ok((&record[..self.layout.image], fields))
        } else {
            Err("its label is out of range".to_owned())
        }
    }
}

impl Source for PackedSource {
    fn len(&self) -> usize {
        self.footer.images as usize
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self, index: usize) -> String {
        let names = &self.map[self.footer.names_at() as usize..];
        let offset = |k: usize| {
            names.get(8 * k..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes) as usize)
        };
        let bytes = names.get(8 * (self.len() + 1)..).unwrap_or_default();
        let name =
            offset(index).zip(offset(index + 1)).and_then(|(start, end)| bytes.get(start..end));
        name.map_or_else(|| index.to_string(), |name| String::from_utf8_lossy(name).into_owned())
    }

    fn load(&self, index: usize) -> Result<DecodedImage<'_>, ImageError> {
        Ok(self.load_with_digest(index)?.0)
    }

    fn load_with_digest(&self, index: usize) -> Result<(DecodedImage<'_>, Digest), ImageError> {
        let (pixels, fields) = self.whole(index)?;
        let Preprocess { size: [height, width], channels, .. } = self.footer.preprocess;
        Ok((DecodedImage { width, height, channels, pixels: Cow::Borrowed(pixels) }, fields.digest))
    }

    fn check(&self, index: usize) -> Result<Digest, ImageError> {
        Ok(self.whole(index)?.1.digest)
    }

    fn label(&self, index: usize) -> Option<u32> {
        // Of a damaged record, which is never loaded, any class will do.
        let last = self.footer.class_names.len().checked_sub(1)?;
        Some(self.layout.fields(self.record(index)).label.unwrap_or(0).min(last as u32))
    }

    fn class_names(&self) -> &[String] {
        &self.footer.class_names
    }

    fn columns(&self) -> &[Attribute] {
        &self.footer.columns
    }

    fn attributes_of(&self, index: usize) -> Vec<f32> {
        self.layout.fields(self.record(index)).attributes
    }

    #[cfg(unix)]
    fn prefetch(&self, index: usize) {
        let length = self.layout.record();
        // Only a hint: a failure is harmless.
        let _ = self.map.advise_range(memmap2::Advice::WillNeed, HEAD + index * length, length);
    }

    fn read_ahead(&self, index: usize) {
        // A damaged record is reported when the image is loaded.
        let _ = self.layout.is_whole(self.record(index));
    }

    /// Nothing, if the images were packed with an equivalent preprocessing.
    fn pending_preprocess(&self, preprocess: &Preprocess) -> Preprocess {
        match self.footer.preprocess.is_equivalent(preprocess) {
            true => Preprocess::new(preprocess.size, preprocess.channels),
            false => preprocess.clone(),
        }
    }

    /// The fingerprint of the dataset that was packed, if its pixels pass through unchanged.
    fn fingerprint(&self, preprocess: &Preprocess) -> Option<String> {
        let Footer { preprocess: prepared, fingerprint, .. } = &self.footer;
        let Preprocess { size, channels, crop, min_side, .. } = self.pending_preprocess(preprocess);
        if (prepared.size, prepared.channels) == (size, channels)
            && crop.is_none()
            && min_side.is_none()
        {
            return Some(fingerprint.clone());
        }
        let mut hash = Sha256::new_with_prefix(b"dcgan packed set 1\0");
        hash.update(fingerprint);
        preprocess.hash_into(&mut hash);
        Some(hex::encode(hash.finalize()))
    }
}
