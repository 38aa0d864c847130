//! The pages of a column chunk: their headers, and their decompression.
//!
//! The library could do both. Here a page's lengths are checked against the file before memory is
//! taken for them, and the decoders are those that this crate has. Pages are described in
//! <https://github.com/apache/parquet-format>; their headers are in Thrift's compact protocol.

use std::io::Read;

use bytes::Bytes;
use flate2::Crc;
use flate2::read::MultiGzDecoder;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use ruzstd::decoding::FrameDecoder;

use crate::decode::one_line;
use crate::formats::MAX_DEFLATE_RATIO;

/// The window that a Zstandard page may take, that of the highest level.
const MAX_WINDOW: u64 = 128 << 20;

/// The pages of a column chunk, in order.
pub(super) struct ChunkPages {
    /// What follows the pages that were read.
    rest: Bytes,
    compression: Compression,
    /// Values that pages may still have: each row of the columns read here has one.
    values_left: i64,
    /// Whether values may be missing, so that each page begins with definition levels.
    optional: bool,
}

impl ChunkPages {
    pub fn new(chunk: Bytes, compression: Compression, rows: i64, optional: bool) -> Self {
        Self { rest: chunk, compression, values_left: rows, optional }
    }

    fn next_page(&mut self) -> std::result::Result<Option<Page>, String> {
        loop {
            if self.rest.is_empty() || self.values_left == 0 {
                return Ok(None);
            }
            let mut header = Compact(&self.rest);
            let fields = header.fields(0)?;
            let length = self.rest.len() - header.0.len();
            self.rest = self.rest.slice(length..);
            let size = |id| field(&fields, id).and_then(|size| usize::try_from(size).ok());
            let (Some(unpacked), Some(packed)) = (size(2), size(3)) else {
                return Err("a page has no length".to_owned());
            };
            if packed > self.rest.len() {
                return Err(format!(
                    "a page of {packed} bytes is declared where {} are left",
                    self.rest.len()
                ));
            }
            let content = self.rest.split_to(packed);
            let mut checksum = Crc::new();
            checksum.update(&content);
            if field(&fields, 4).is_some_and(|declared| declared as u32 != checksum.sum()) {
                return Err("the checksum of a page is wrong".to_owned());
            }
            let page = match field(&fields, 1) {
                // Data, its second version, a dictionary.
                Some(0) => self.data_page(&fields, content, unpacked)?,
                Some(3) => self.data_page_v2(&fields, content, unpacked)?,
                Some(2) => self.dictionary_page(&fields, content, unpacked)?,
                // An index.
                _ => continue,
            };
            return Ok(Some(page));
        }
    }

    fn data_page(
        &mut self,
        fields: &[Field],
        content: Bytes,
        unpacked: usize,
    ) -> std::result::Result<Page, String> {
        let header = structure(fields, 5).ok_or("a page of data has no header")?;
        let num_values = self.take_values(field(header, 1))?;
        let encoding = encoding(field(header, 2))?;
        let buf = unpack(self.compression, &content, unpacked)?;
        // Levels come first, after their length.
        let levels = match self.optional {
            true => buf.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize + 4),
            false => 0,
        };
        check_lengths(encoding, buf.get(levels..).unwrap_or_default(), num_values)?;
        Ok(Page::DataPage {
            num_values,
            encoding,
            def_level_encoding: level_encoding(field(header, 3))?,
            rep_level_encoding: level_encoding(field(header, 4))?,
            buf,
            statistics: None,
        })
    }

    fn data_page_v2(
        &mut self,
        fields: &[Field],
        content: Bytes,
        unpacked: usize,
    ) -> std::result::Result<Page, String> {
        let header = structure(fields, 8).ok_or("a page of data has no header")?;
        let num_values = self.take_values(field(header, 1))?;
        let number = |id| field(header, id).and_then(|number| u32::try_from(number).ok());
        let (Some(num_nulls), Some(num_rows), Some(def_levels), Some(rep_levels)) =
            (number(2), number(3), number(5), number(6))
        else {
            return Err("the header of a page lacks a number".to_owned());
        };
        let levels = def_levels as usize + rep_levels as usize;
        if levels > content.len() || levels > unpacked || num_nulls > num_values {
            return Err("the levels of a page are longer than it".to_owned());
        }
        let encoding = encoding(field(header, 4))?;
        // Levels are not compressed.
        let is_compressed = field(header, 7) != Some(0);
        let compression = if is_compressed { self.compression } else { Compression::UNCOMPRESSED };
        let buf = match compression {
            Compression::UNCOMPRESSED => content,
            compression => {
                let values = unpack(compression, &content.slice(levels..), unpacked - levels)?;
                [&content[..levels], &values[..]].concat().into()
            }
        };
        check_lengths(encoding, &buf[levels..], num_values)?;
        Ok(Page::DataPageV2 {
            num_values,
            encoding,
            num_nulls,
            num_rows,
            def_levels_byte_len: def_levels,
            rep_levels_byte_len: rep_levels,
            is_compressed,
            buf,
            statistics: None,
        })
    }

    fn dictionary_page(
        &mut self,
        fields: &[Field],
        content: Bytes,
        unpacked: usize,
    ) -> std::result::Result<Page, String> {
        let header = structure(fields, 7).ok_or("a dictionary has no header")?;
        let buf = unpack(self.compression, &content, unpacked)?;
        // Each value has four bytes or more; of booleans there are no dictionaries.
        let count = field(header, 1).and_then(|count| u32::try_from(count).ok());
        let num_values = count
            .filter(|&count| count as usize <= buf.len() / 4)
            .ok_or("a dictionary has more values than bytes")?;
        let encoding = encoding(field(header, 2))?;
        Ok(Page::DictionaryPage { buf, num_values, encoding, is_sorted: false })
    }

    /// Counts the values of a page.
    fn take_values(&mut self, count: Option<i64>) -> std::result::Result<u32, String> {
        let count = count.filter(|count| (0..=self.values_left).contains(count));
        let count = count.ok_or("its pages have more values than it has rows")?;
        self.values_left -= count;
        u32::try_from(count).map_err(|_| "a page has too many values".to_owned())
    }
}

impl Iterator for ChunkPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for ChunkPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.next_page().map_err(ParquetError::General)
    }

    // Without these two nothing is skipped, which is not done here.
    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(ParquetError::NYI("peeking at pages".to_owned()))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(ParquetError::NYI("skipping pages".to_owned()))
    }
}

/// The name of a column chunk's compression or encoding, if it is not read.
pub(super) fn unread(chunk: &ColumnChunkMetaData) -> Option<String> {
    match chunk.compression() {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::GZIP(_)
        | Compression::ZSTD(_)
        | Compression::LZ4_RAW => {}
        // Its `Debug` has the level, too.
        other => return format!("{other:?}").split('(').next().map(str::to_owned),
    }
    let is_unread = |encoding: &Encoding| *encoding == Encoding::DELTA_BYTE_ARRAY;
    chunk.encodings().find(is_unread).map(|encoding| encoding.to_string())
}

/// The encodings that are read.
fn encoding(number: Option<i64>) -> std::result::Result<Encoding, String> {
    Ok(match number {
        Some(0) => Encoding::PLAIN,
        Some(2) => Encoding::PLAIN_DICTIONARY,
        Some(3) => Encoding::RLE,
        Some(5) => Encoding::DELTA_BINARY_PACKED,
        Some(6) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        Some(8) => Encoding::RLE_DICTIONARY,
        Some(9) => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err("its values are in an unknown encoding".to_owned()),
    })
}

/// The encoding of levels.
#[expect(deprecated, reason = "old files have it")]
fn level_encoding(number: Option<i64>) -> std::result::Result<Encoding, String> {
    match number {
        Some(3) => Ok(Encoding::RLE),
        Some(4) => Ok(Encoding::BIT_PACKED),
        _ => Err("its levels are in an unknown encoding".to_owned()),
    }
}

/// Checks how many lengths a page of byte arrays declares, for which the library takes memory.
fn check_lengths(
    encoding: Encoding,
    values: &[u8],
    num_values: u32,
) -> std::result::Result<(), String> {
    if encoding != Encoding::DELTA_LENGTH_BYTE_ARRAY {
        return Ok(());
    }
    let mut header = Compact(values);
    // The size of a block and of its parts come first.
    let count = header.varint().and_then(|_| header.varint()).and_then(|_| header.varint())?;
    match count <= num_values.into() {
        true => Ok(()),
        false => Err("a page has more lengths than values".to_owned()),
    }
}

/// Decompresses a page of `size` bytes.
fn unpack(
    compression: Compression,
    packed: &Bytes,
    size: usize,
) -> std::result::Result<Bytes, String> {
    if let Compression::UNCOMPRESSED = compression {
        return match packed.len() == size {
            true => Ok(packed.clone()),
            false => Err("a page has another length than the declared one".to_owned()),
        };
    }
    if size as u64 > (packed.len() as u64).saturating_mul(MAX_DEFLATE_RATIO) {
        return Err(format!("a page of {} bytes would unpack to {size}", packed.len()));
    }
    let mut out = Vec::new();
    out.try_reserve_exact(size).map_err(|error| one_line(&error))?;
    if size == 0 {
        return Ok(Bytes::new());
    }
    out.resize(size, 0);
    let length = match compression {
        Compression::SNAPPY => {
            let unpacked = snap::raw::Decoder::new().decompress(packed, &mut out);
            unpacked.map_err(|error| one_line(&error))?
        }
        Compression::GZIP(_) => {
            let mut stream = MultiGzDecoder::new(&packed[..]);
            stream.read_exact(&mut out).map_err(|error| one_line(&error))?;
            // To the end, where the checksum is verified.
            size + stream.read(&mut [0]).map_err(|error| one_line(&error))?
        }
        Compression::ZSTD(_) => {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(MAX_WINDOW);
            decoder.decode_all(packed, &mut out).map_err(|error| one_line(&error))?
        }
        Compression::LZ4_RAW => {
            let unpacked = lz4_flex::block::decompress_into(packed, &mut out);
            unpacked.map_err(|error| one_line(&error))?
        }
        _ => return Err("it is compressed in a way that is not read".to_owned()),
    };
    match length == size {
        true => Ok(out.into()),
        false => Err("a page unpacks to another length than the declared one".to_owned()),
    }
}

/// A field of a Thrift structure: its id and its value.
type Field = (i64, FieldValue);

enum FieldValue {
    Number(i64),
    Structure(Vec<Field>),
    /// A value of another type.
    Other,
}

/// The integer or boolean in a field.
fn field(fields: &[Field], id: i64) -> Option<i64> {
    fields.iter().find_map(|(found, value)| match value {
        FieldValue::Number(number) if *found == id => Some(*number),
        _ => None,
    })
}

fn structure(fields: &[Field], id: i64) -> Option<&[Field]> {
    fields.iter().find_map(|(found, value)| match value {
        FieldValue::Structure(fields) if *found == id => Some(&fields[..]),
        _ => None,
    })
}

/// Bytes in Thrift's compact protocol.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    /// Structures within structures: those of a page's header are three deep.
    const MAX_DEPTH: u32 = 8;

    fn byte(&mut self) -> std::result::Result<u8, String> {
        let (first, rest) = self.0.split_first().ok_or("it ends inside the header of a page")?;
        self.0 = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> std::result::Result<u64, String> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number in the header of a page is too long".to_owned())
    }

    fn integer(&mut self) -> std::result::Result<i64, String> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn skip(&mut self, count: u64) -> std::result::Result<(), String> {
        let rest = usize::try_from(count).ok().and_then(|count| self.0.get(count..));
        self.0 = rest.ok_or("it ends inside the header of a page")?;
        Ok(())
    }

    /// The fields of a structure.
    fn fields(&mut self, depth: u32) -> std::result::Result<Vec<Field>, String> {
        let (mut fields, mut id) = (Vec::new(), 0i64);
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(fields);
            }
            id = match head >> 4 {
                0 => self.integer()?,
                step => id.saturating_add(i64::from(step)),
            };
            fields.push((id, self.value(head & 15, depth)?));
        }
    }

    fn value(&mut self, kind: u8, depth: u32) -> std::result::Result<FieldValue, String> {
        if depth > Self::MAX_DEPTH {
            return Err("the header of a page is too deep".to_owned());
        }
        Ok(match kind {
            1 => FieldValue::Number(1),
            2 => FieldValue::Number(0),
            3 => FieldValue::Number(self.byte()?.into()),
            4..=6 => FieldValue::Number(self.integer()?),
            7 => self.skip(8).map(|()| FieldValue::Other)?,
            8 => {
                let length = self.varint()?;
                self.skip(length).map(|()| FieldValue::Other)?
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { (head >> 4).into() };
                for _ in 0..count {
                    match head & 15 {
                        // In a list a boolean is a byte.
                        1 | 2 => self.skip(1)?,
                        kind => drop(self.value(kind, depth + 1)?),
                    }
                }
                FieldValue::Other
            }
            12 => FieldValue::Structure(self.fields(depth + 1)?),
            _ => return Err("the header of a page has a field of an unknown type".to_owned()),
        })
    }
}
