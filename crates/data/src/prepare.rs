//! Packs a dataset: decodes it once and writes it to one file, in one call or in several.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::attributes;
use crate::error::{DataError, FileProblem, SkippedImage};
use crate::fingerprint::FingerprintHasher;
use crate::formats::packed::layout::{FORMAT_NAME, Footer, HEAD, RecordFields, RecordLayout};
use crate::layout_report::LayoutReport;
use crate::preprocess::Preprocess;
use crate::scan::{self, ScanProgress};
use crate::source::{Digest, Source, Split};
use crate::spec::DataSpec;

/// The outcome of [`prepare`].
#[derive(Debug)]
pub struct PrepareSummary {
    /// The number of images in the file.
    pub images: usize,
    /// The number of these that an earlier, interrupted call had written.
    pub resumed: usize,
    /// The images that could not be decoded and are left out.
    pub skipped: Vec<SkippedImage>,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The [fingerprint](crate::Dataset::fingerprint) of the dataset, packed or not.
    pub fingerprint: String,
    /// What was decided about the dataset's files, as [`Dataset::report`](crate::Dataset::report).
    pub report: Option<LayoutReport>,
}

/// Decodes the dataset `spec` once, on all cores, and writes it to `out` after `preprocess`.
///
/// The file is written under its name with `.part` appended, synced and renamed: `out` is never
/// incomplete. After an interruption, the next call with the same arguments resumes after the last
/// complete image. `out` has the same fingerprint as `spec` under the same preprocessing, so that a
/// run may resume with either.
///
/// # Errors
/// Returns an error as [`Dataset::open`](crate::Dataset::open) does; [`DataError::Exists`] if `out`
/// exists and `replace` is false; [`DataError::Malformed`] if the `.part` file belongs to another
/// dataset or is in use; [`DataError::Write`].
pub fn prepare(
    spec: &str,
    split: Split,
    preprocess: &Preprocess,
    out: &Path,
    replace: bool,
    progress: &dyn Fn(ScanProgress),
) -> Result<PrepareSummary, DataError> {
    preprocess.validate()?;
    let check_free = || match out.symlink_metadata() {
        // A file or a link is replaced, never a device.
        Ok(found) if !replace || !(found.is_file() || found.is_symlink()) => {
            Err(DataError::Exists { path: out.to_owned() })
        }
        _ => Ok(()),
    };
    check_free()?;
    let spec = DataSpec::parse(spec)?;
    let source = spec.open(split)?;
    scan::check_count(source.as_ref(), &spec.name())?;
    let mut writer = PackWriter::open(source.as_ref(), preprocess, out)?;
    let resumed = writer.resume()?;
    writer.write_records(progress)?;
    if let Err(error) = scan::check_share(source.as_ref(), &writer.bad) {
        // It would be in the way once the bad images are removed.
        let _ = fs::remove_file(&writer.part);
        return Err(error);
    }
    let footer = writer.finish()?;
    check_free()?;
    fs::rename(&writer.part, out).map_err(DataError::write(out))?;
    // The name must be on disk too. A failure here loses nothing that was written.
    let _ = file_io::sync_folder(file_io::folder_of(out));
    let bytes = writer.file.metadata().map_err(DataError::write(out))?.len();
    let skipped = scan::skipped(writer.bad, source.len());
    Ok(PrepareSummary {
        images: footer.images as usize,
        resumed,
        skipped,
        bytes,
        fingerprint: footer.fingerprint,
        report: source.report().cloned(),
    })
}

/// A packed file that is being written.
struct PackWriter<'a> {
    source: &'a dyn Source,
    preprocess: &'a Preprocess,
    /// The part of the preprocessing that the source has not applied already.
    pending_preprocess: Preprocess,
    layout: RecordLayout,
    part: PathBuf,
    file: File,
    identity: FingerprintHasher,
    /// The source's indices of the images written.
    written: Vec<u32>,
    /// The names of the images that cannot be decoded, with the reasons.
    bad: Vec<(String, String)>,
    /// The source's index of the next image.
    next: usize,
}

impl<'a> PackWriter<'a> {
    /// Opens or creates the unfinished file and locks it for this process.
    fn open(
        source: &'a dyn Source,
        preprocess: &'a Preprocess,
        out: &Path,
    ) -> Result<Self, DataError> {
        let mut part = out.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let failed = |error| DataError::write(&part)(error);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = file_io::open_own(&part, &mut options).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataError::malformed(FORMAT_NAME, &part, FileProblem::Locked));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let layout =
            RecordLayout { image: preprocess.image_len(), columns: source.columns().len() };
        let identity = FingerprintHasher::new(preprocess, source.columns());
        let pending_preprocess = source.pending_preprocess(preprocess);
        Ok(Self {
            source,
            preprocess,
            pending_preprocess,
            layout,
            part,
            file,
            identity,
            written: Vec::new(),
            bad: Vec::new(),
            next: 0,
        })
    }

    fn failed(&self, error: io::Error) -> DataError {
        DataError::write(&self.part)(error)
    }

    /// Keeps the complete records of an interrupted call; returns their number.
    fn resume(&mut self) -> Result<usize, DataError> {
        let plan = self.plan();
        let head = self.layout.head(&plan);
        let length = self.file.metadata().map_err(|error| self.failed(error))?.len();
        let mut kept = HEAD as u64;
        if length < HEAD as u64 {
            self.file
                .rewind()
                .and_then(|()| self.file.write_all(&head))
                .map_err(|error| self.failed(error))?;
        } else {
            let mut found = [0; HEAD];
            let mut stream = BufReader::with_capacity(
                1 << 20,
                self.file.try_clone().map_err(|error| self.failed(error))?,
            );
            stream
                .rewind()
                .and_then(|()| stream.read_exact(&mut found))
                .map_err(|error| self.failed(error))?;
            if found != head {
                return Err(DataError::malformed(FORMAT_NAME, &self.part, FileProblem::Unfinished));
            }
            let mut record = vec![0; self.layout.record()];
            while stream.read_exact(&mut record).is_ok() && self.take_over(&record)? {
                kept += record.len() as u64;
            }
        }
        // The rest is a record that was cut off.
        self.file
            .set_len(kept)
            .and_then(|()| self.file.seek(SeekFrom::Start(kept)))
            .map_err(|error| self.failed(error))?;
        Ok(self.written.len())
    }

    /// Counts a record that exists already. Returns false if it is damaged, or if images before it
    /// that were bad can be decoded now.
    fn take_over(&mut self, record: &[u8]) -> Result<bool, DataError> {
        if !self.layout.is_whole(record) {
            return Ok(false);
        }
        let RecordFields { digest, number, .. } = self.layout.fields(record);
        if !(self.next..self.source.len()).contains(&(number as usize)) {
            return Ok(false);
        }
        let mut bad = Vec::new();
        for index in self.next..number as usize {
            match self.source.load(index) {
                Ok(_) => return Ok(false),
                Err(error) => {
                    let name = self.source.name(index);
                    let reason = error.reason(&name)?;
                    bad.push((name, reason));
                }
            }
        }
        self.bad.append(&mut bad);
        self.count(number as usize, &digest);
        Ok(true)
    }

    fn count(&mut self, index: usize, digest: &Digest) {
        let label = self.source.hashed_label(index);
        self.identity.add(digest, label, &self.source.attributes_of(index));
        // In range: the number of images was checked.
        self.written.push(index as u32);
        self.next = index + 1;
    }

    /// Decodes and writes the images that are missing.
    fn write_records(&mut self, progress: &dyn Fn(ScanProgress)) -> Result<(), DataError> {
        let total = self.source.len();
        let block = scan::block_len();
        let size = self.layout.image;
        let mut pixels = vec![0; block.min(total) * size];
        let mut records = Vec::new();
        progress(ScanProgress { done: self.next, total, skipped: self.bad.len() });
        while self.next < total {
            let images = self.next..(self.next + block).min(total);
            let pixels = &mut pixels[..images.len() * size];
            let results =
                scan::decode_block(self.source, &self.pending_preprocess, images.start, pixels);
            records.clear();
            for ((index, result), pixels) in
                images.clone().zip(results).zip(pixels.chunks_exact(size))
            {
                match result {
                    Ok(digest) => {
                        let (label, attributes) =
                            (self.source.label(index), self.source.attributes_of(index));
                        let fields =
                            RecordFields { digest, number: index as u32, label, attributes };
                        self.layout.push(&mut records, pixels, &fields);
                        self.count(index, &digest);
                    }
                    Err(error) => {
                        let name = self.source.name(index);
                        let reason = error.reason(&name)?;
                        self.bad.push((name, reason));
                    }
                }
            }
            self.next = images.end;
            self.file.write_all(&records).map_err(|error| self.failed(error))?;
            progress(ScanProgress { done: self.next, total, skipped: self.bad.len() });
        }
        Ok(())
    }

    /// Writes names and footer, and syncs the file.
    fn finish(&mut self) -> Result<Footer, DataError> {
        let names: Vec<String> =
            self.written.iter().map(|&index| self.source.name(index as usize)).collect();
        let mut end = 0u64;
        let mut bytes = end.to_le_bytes().to_vec();
        for name in &names {
            end += name.len() as u64;
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        names.iter().for_each(|name| bytes.extend_from_slice(name.as_bytes()));
        let identity =
            std::mem::replace(&mut self.identity, FingerprintHasher::new(self.preprocess, &[]));
        let footer = Footer {
            images: self.written.len() as u32,
            // Flips are applied to batches: the file does not depend on them.
            preprocess: Preprocess { flip: false, ..self.preprocess.clone() },
            labeled: !self.source.class_names().is_empty(),
            class_names: self.source.class_names().to_vec(),
            columns: self.source.columns().to_vec(),
            // Packing a packed file keeps the fingerprint of the original.
            fingerprint: self
                .source
                .fingerprint(self.preprocess)
                .filter(|_| self.bad.is_empty())
                .unwrap_or_else(|| identity.finish()),
            name_bytes: end,
            names_checksum: Some(crc32c::crc32c(&bytes)),
        };
        bytes.extend(
            footer
                .encode()
                .map_err(|problem| DataError::malformed(FORMAT_NAME, &self.part, problem))?,
        );
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| self.failed(error))?;
        Ok(footer)
    }

    /// A hash of everything that determines the file and is known without decoding.
    fn plan(&self) -> Digest {
        let mut hash = Sha256::new_with_prefix(b"dcgan packed plan 1\0");
        self.preprocess.hash_into(&mut hash);
        attributes::hash_into(self.source.columns(), &mut hash);
        for index in 0..self.source.len() {
            let (name, label) =
                (self.source.name(index), self.source.label(index).map_or(-1, i64::from));
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(label.to_le_bytes());
            self.source
                .attributes_of(index)
                .iter()
                .for_each(|value| hash.update(value.to_le_bytes()));
        }
        hash.finalize().into()
    }
}
