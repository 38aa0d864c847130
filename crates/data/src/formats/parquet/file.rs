//! One Parquet file: its footer, and the values of its columns.
//!
//! The library that decodes them panics on some damaged files. Offsets and counts are therefore
//! checked against the file first, and its calls are guarded.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::basic::{Compression, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::SchemaDescriptor;

use super::FORMAT_NAME;
use super::pages::{ChunkPages, unread};
use crate::decode::one_line;
use crate::error::{DataError, FileProblem};
use crate::formats::io;
use crate::quiet::catch_quietly;

/// The first and the last bytes of a file.
pub(super) const MAGIC: &[u8] = b"PAR1";
/// The length of the footer and the magic number.
const TAIL: u64 = 8;

/// Rows whose values are decoded at once.
const BATCH: usize = 256;

/// A file whose footer was read.
pub(super) struct ParquetFile {
    pub path: PathBuf,
    metadata: ParquetMetaData,
    /// Where the footer begins, before which all pages are.
    end: u64,
}

/// A value of a column of bytes.
pub(super) enum BytesAt<'a> {
    /// In the file, from this byte on.
    File { start: u64, bytes: &'a ByteArray },
    /// In a compressed page.
    Packed(&'a ByteArray),
}

impl ParquetFile {
    /// Reads the footer.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let as_io = |error| io(path, error);
        let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, path, problem);
        let mut file = file_io::open(path).map_err(as_io)?;
        let length = file.metadata().map_err(as_io)?.len();
        if length < TAIL + MAGIC.len() as u64 {
            let problem = format!("{length} bytes are too few for one");
            return Err(bad(FileProblem::Truncated(problem)));
        }
        let mut head = [0; 4];
        file.read_exact(&mut head).map_err(as_io)?;
        let mut tail = [0; TAIL as usize];
        file.seek(SeekFrom::Start(length - TAIL)).map_err(as_io)?;
        file.read_exact(&mut tail).map_err(as_io)?;
        if head != MAGIC && &head != b"PARE" {
            return Err(bad(FileProblem::Unsupported("it does not start like one".to_owned())));
        }
        if &tail[4..] == b"PARE" {
            return Err(bad(FileProblem::Unsupported("it is encrypted".to_owned())));
        }
        if &tail[4..] != MAGIC {
            let problem = "its end, which is written last, is missing".to_owned();
            return Err(bad(FileProblem::Truncated(problem)));
        }
        let size = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
        let available = length - TAIL - MAGIC.len() as u64;
        if size > available {
            let problem = format!("a footer of {size} bytes is declared where {available} are");
            return Err(bad(FileProblem::Truncated(problem)));
        }
        let end = length - TAIL - size;
        let footer = read_range(path, end, size)?;
        let metadata = catch_quietly("the reader", || {
            ParquetMetaDataReader::decode_metadata(&footer).map_err(|error| one_line(&error))
        });
        let metadata = metadata
            .map_err(|problem| bad(FileProblem::Damaged(format!("its footer: {problem}"))))?;
        let file = Self { path: path.to_owned(), metadata, end };
        file.check().map_err(|problem| bad(FileProblem::Damaged(problem)))?;
        Ok(file)
    }

    /// Checks the counts of rows, and that all column chunks are within the file.
    fn check(&self) -> Result<(), String> {
        let columns = self.schema().num_columns();
        let mut rows = 0u64;
        for (number, group) in self.metadata.row_groups().iter().enumerate() {
            let count = u64::try_from(group.num_rows())
                .map_err(|_| format!("row group {number} has {} rows", group.num_rows()))?;
            rows = rows.saturating_add(count);
            if group.num_columns() != columns {
                return Err(format!("row group {number} lacks columns"));
            }
            for column in 0..columns {
                self.chunk_range(number, column)?;
            }
        }
        // An image has more bytes than one; many values can be in few.
        if rows > self.end || rows > u32::MAX.into() {
            return Err(format!("{rows} rows are declared, more than the bytes of the file"));
        }
        if (columns as u64).saturating_mul(rows) > self.end.saturating_mul(32) {
            return Err(format!("{rows} rows of {columns} columns are more than it could hold"));
        }
        Ok(())
    }

    /// The offset and the length of a column chunk.
    fn chunk_range(&self, group: usize, column: usize) -> Result<(u64, u64), String> {
        let chunk = self.metadata.row_group(group).column(column);
        let data = chunk.data_page_offset();
        // Some writers set it to 0 where there is no dictionary.
        let start = match chunk.dictionary_page_offset() {
            Some(dictionary) if dictionary > 0 => dictionary.min(data),
            _ => data,
        };
        let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
        let inside = |(start, length): &(u64, u64)| {
            *start >= MAGIC.len() as u64
                && start.checked_add(*length).is_some_and(|end| end <= self.end)
        };
        range.filter(inside).ok_or_else(|| {
            format!("column {column} of row group {group} is said to be outside of the file")
        })
    }

    pub fn schema(&self) -> &SchemaDescriptor {
        self.metadata.file_metadata().schema_descr()
    }

    /// What a writer noted under a key.
    pub fn note(&self, key: &str) -> Option<&str> {
        let notes = self.metadata.file_metadata().key_value_metadata()?;
        notes.iter().find(|note| note.key == key)?.value.as_deref()
    }

    /// The number of row groups.
    pub fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// The number of rows of a row group.
    pub fn rows(&self, group: usize) -> usize {
        // Checked to be within 32 bits.
        self.metadata.row_group(group).num_rows() as usize
    }

    fn damaged(&self, group: usize, column: usize, problem: &str) -> DataError {
        let name = self.schema().column(column).path().string();
        let problem = format!("column {name:?} of row group {group}: {problem}");
        DataError::malformed(FORMAT_NAME, &self.path, FileProblem::Damaged(problem))
    }

    /// Decodes a column of a row group, and calls `row` with each of its rows' values, `None` where
    /// it is null.
    fn read_column<T: DataType>(
        &self,
        group: usize,
        column: usize,
        reader: impl FnOnce(ColumnReader) -> Option<ColumnReaderImpl<T>>,
        chunk: Bytes,
        mut row: impl FnMut(Option<&T::T>),
    ) -> Result<(), DataError> {
        let metadata = self.metadata.row_group(group).column(column);
        let descriptor = metadata.column_descr_ptr();
        let present = descriptor.max_def_level();
        let rows = self.rows(group);
        let pages = ChunkPages::new(chunk, metadata.compression(), rows as i64, present > 0);
        let read = catch_quietly("the reader", || {
            let reader = reader(get_column_reader(descriptor, Box::new(pages)));
            let mut reader = reader.ok_or("its values are of another type")?;
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let mut done = 0;
            while done < rows {
                levels.clear();
                values.clear();
                let wanted = BATCH.min(rows - done);
                let read = reader.read_records(wanted, Some(&mut levels), None, &mut values);
                let (records, count, _) = read.map_err(|error| one_line(&error))?;
                if records == 0 {
                    return Err(format!("it has {done} values where {rows} belong"));
                }
                let mut found = values.iter().take(count);
                match present {
                    0 => (0..records).for_each(|_| row(found.next())),
                    _ => levels.iter().for_each(|&level| {
                        row(if level == present { found.next() } else { None });
                    }),
                }
                done += records;
            }
            Ok(())
        });
        read.map_err(|problem| self.damaged(group, column, &problem))
    }

    /// The bytes of a column chunk, and where they begin.
    fn chunk(&self, group: usize, column: usize) -> Result<(u64, Bytes), DataError> {
        if let Some(name) = unread(self.metadata.row_group(group).column(column)) {
            let column = self.schema().column(column).path().string();
            let problem = format!(
                "its column {column:?} is in {name}, which is not read: write it again with plain \
                 or dictionary encoding, without compression or with snappy, gzip, zstd or LZ4_RAW"
            );
            let problem = FileProblem::Unsupported(problem);
            return Err(DataError::malformed(FORMAT_NAME, &self.path, problem));
        }
        let range = self.chunk_range(group, column);
        let (start, length) = range.map_err(|problem| self.damaged(group, column, &problem))?;
        Ok((start, read_range(&self.path, start, length)?.into()))
    }

    /// Calls `row` with the bytes of each row.
    pub fn read_bytes(
        &self,
        group: usize,
        column: usize,
        mut row: impl FnMut(Option<BytesAt<'_>>),
    ) -> Result<(), DataError> {
        let (start, chunk) = self.chunk(group, column)?;
        let (first, length) = (chunk.as_ptr() as usize, chunk.len());
        let metadata = self.metadata.row_group(group).column(column);
        let is_plain = matches!(metadata.compression(), Compression::UNCOMPRESSED);
        let reader = |reader| match reader {
            ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
            _ => None,
        };
        // Of a chunk that is not compressed the values are parts, whose places in the file follow
        // from their addresses.
        self.read_column(group, column, reader, chunk.clone(), |value: Option<&ByteArray>| {
            row(value.map(|bytes| {
                let at = (bytes.data().as_ptr() as usize).wrapping_sub(first);
                match is_plain && at <= length && bytes.len() <= length - at {
                    true => BytesAt::File { start: start + at as u64, bytes },
                    false => BytesAt::Packed(bytes),
                }
            }));
        })
    }

    /// The numbers of a column of a row group; booleans are 0 and 1.
    pub fn read_numbers(&self, group: usize, column: usize) -> Result<Vec<Option<f64>>, DataError> {
        let mut numbers = Vec::new();
        let (_, chunk) = self.chunk(group, column)?;
        /// Reads the column by the reader of its type.
        macro_rules! read {
            ($reader:ident, $number:expr) => {
                self.read_column(
                    group,
                    column,
                    |reader| match reader {
                        ColumnReader::$reader(reader) => Some(reader),
                        _ => None,
                    },
                    chunk,
                    |value| numbers.push(value.map($number)),
                )?
            };
        }
        match self.schema().column(column).physical_type() {
            Type::BOOLEAN => read!(BoolColumnReader, |&value| f64::from(u8::from(value))),
            Type::INT32 => read!(Int32ColumnReader, |&value| f64::from(value)),
            Type::INT64 => read!(Int64ColumnReader, |&value| value as f64),
            Type::FLOAT => read!(FloatColumnReader, |&value| f64::from(value)),
            Type::DOUBLE => read!(DoubleColumnReader, |&value| value),
            _ => return Err(self.damaged(group, column, "it has no numbers")),
        }
        Ok(numbers)
    }
}

/// Bytes of a file.
fn read_range(path: &Path, start: u64, length: u64) -> Result<Vec<u8>, DataError> {
    let as_io = |error| io(path, error);
    let memory =
        || DataError::Memory { what: "a part of a Parquet file".to_owned(), bytes: length };
    let mut bytes = Vec::new();
    let capacity = usize::try_from(length).map_err(|_| memory())?;
    bytes.try_reserve_exact(capacity).map_err(|_| memory())?;
    let mut file = file_io::open(path).map_err(as_io)?;
    file.seek(SeekFrom::Start(start)).map_err(as_io)?;
    file.take(length).read_to_end(&mut bytes).map_err(as_io)?;
    if bytes.len() < capacity {
        return Err(as_io(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}
