//! The arrays of a `.npy` file, of an `.npz` archive, or of a folder of `.npy` files.
//!
//! A header is trusted only as far as its file could hold the declared values.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use pickle::{NpyError, NpyHeader};

use super::{FORMAT_NAME, npy_files};
use crate::decode::{MAX_SIDE, one_line};
use crate::error::{DataError, FileProblem};
use crate::formats::array_source::ImageShape;
use crate::formats::zip::ZipFiles;
use crate::formats::{MAX_DEFLATE_RATIO, MAX_UNPACKED_BYTES, check_labels, io, read_start};

/// Arrays by name.
pub(super) struct ArrayFile {
    /// The file, or the folder of files.
    pub path: PathBuf,
    pub arrays: Vec<Array>,
    /// The archive that holds them, if it is one.
    archive: Option<ZipFiles>,
}

/// An array, without its values.
pub(super) struct Array {
    /// Its name without `.npy`.
    pub name: String,
    /// The file that holds it.
    pub file: PathBuf,
    pub header: NpyHeader,
    place: Place,
}

/// Where an array is.
enum Place {
    /// A file of its own.
    File,
    /// In an archive as it is, from this byte on.
    Stored { number: usize, start: u64 },
    /// In an archive, compressed to this many bytes.
    Packed { number: usize, bytes: u64 },
}

impl ArrayFile {
    /// Reads the headers of all arrays.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let path_buf = path.to_owned();
        if path.is_dir() {
            let arrays = npy_files(path)?;
            let arrays = arrays.iter().map(|file| Array::of_npy(file)).collect::<Result<_, _>>()?;
            return Ok(Self { path: path_buf, arrays, archive: None });
        }
        if !read_start(path)?.starts_with(b"PK") {
            let arrays = vec![Array::of_npy(path)?];
            return Ok(Self { path: path_buf, arrays, archive: None });
        }
        let (archive, entries) = ZipFiles::open(path)?;
        let mut arrays = Vec::new();
        for entry in &entries {
            let shown = entry.shown();
            let Some(name) = shown.strip_suffix(".npy") else { continue };
            let bad = |problem: String| {
                let problem = FileProblem::Other(format!("its array {name:?}: {problem}"));
                DataError::malformed(FORMAT_NAME, path, problem)
            };
            let header = archive
                .with(entry.number, |mut content| NpyHeader::read(&mut content))
                .and_then(|header| header.map_err(|error| one_line(&error)))
                .map_err(bad)?;
            let (stored, packed, size) = archive.place(entry.number).map_err(bad)?;
            let place = match stored {
                Some(start) => Place::Stored { number: entry.number, start: start + header.bytes },
                None => Place::Packed { number: entry.number, bytes: packed },
            };
            let array = Array { name: name.to_owned(), file: path_buf.clone(), header, place };
            array.check_length(size)?;
            arrays.push(array);
        }
        Ok(Self { path: path_buf, arrays, archive: Some(archive) })
    }

    /// The values of an array; `what` names them where there is no memory.
    pub fn read(&self, at: usize, what: &str) -> Result<Vec<u8>, DataError> {
        let array = &self.arrays[at];
        let size = array.header.elements().and_then(|count| count.checked_mul(array.width()?));
        let size = size.ok_or_else(|| array.bad_type("integers"))?;
        let memory = |bytes| DataError::Memory { what: what.to_owned(), bytes };
        let mut values = Vec::new();
        let as_io = |error| io(&array.file, error);
        let (number, packed) = match array.place {
            Place::File => {
                let mut file = file_io::open(&array.file).map_err(as_io)?;
                file.seek(SeekFrom::Start(array.header.bytes)).map_err(as_io)?;
                let capacity = usize::try_from(size).map_err(|_| memory(size))?;
                values.try_reserve_exact(capacity).map_err(|_| memory(size))?;
                file.take(size).read_to_end(&mut values).map_err(as_io)?;
                return Ok(values);
            }
            Place::Stored { number, .. } => (number, size),
            Place::Packed { number, bytes } => (number, bytes),
        };
        let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, &array.file, problem);
        if size > packed.saturating_mul(MAX_DEFLATE_RATIO) {
            let problem = format!("{size} bytes of {:?} are not in {packed}", array.name);
            return Err(bad(FileProblem::Damaged(problem)));
        }
        if size > MAX_UNPACKED_BYTES {
            return Err(bad(FileProblem::TooLarge(format!(
                "{:?} unpacks to {size} bytes, more than {MAX_UNPACKED_BYTES}: unzip it, or write \
                 it with numpy.savez, since an array that is not compressed is read in place",
                array.name
            ))));
        }
        let Some(archive) = &self.archive else { return Ok(values) };
        values.try_reserve_exact(size as usize).map_err(|_| memory(size))?;
        let damaged = |error: String| {
            bad(FileProblem::Damaged(format!("its array {:?}: {error}", array.name)))
        };
        let read = archive.with(number, |mut content| {
            NpyHeader::read(&mut content).map_err(|error| one_line(&error))?;
            Read::take(&mut content, size).read_to_end(&mut values).map_err(|e| one_line(&e))?;
            // To the end, where the checksum is verified.
            let more = content.read(&mut [0]).map_err(|error| one_line(&error))?;
            match more == 0 && values.len() as u64 == size {
                true => Ok(()),
                false => Err("its length is not the declared one".to_owned()),
            }
        });
        read.and_then(|read| read).map_err(damaged)?;
        Ok(values)
    }
}

impl Array {
    /// Reads the header of a file.
    pub fn of_npy(path: &Path) -> Result<Self, DataError> {
        let as_io = |error| io(path, error);
        let file = file_io::open(path).map_err(as_io)?;
        let length = file.metadata().map_err(as_io)?.len();
        let header = NpyHeader::read(&mut BufReader::new(file)).map_err(|error| match error {
            NpyError::Malformed(problem) => {
                DataError::malformed(FORMAT_NAME, path, FileProblem::Damaged(problem))
            }
            NpyError::Io(error) => as_io(error),
        })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let array = Self { name, file: path.to_owned(), header, place: Place::File };
        array.check_length(length)?;
        Ok(array)
    }

    /// Checks that the values fill the rest of a file of `length` bytes, if their size is known.
    fn check_length(&self, length: u64) -> Result<(), DataError> {
        let Some(width) = self.width() else { return Ok(()) };
        let expected = self.header.elements().and_then(|count| count.checked_mul(width));
        let held = length.saturating_sub(self.header.bytes);
        if expected == Some(held) {
            return Ok(());
        }
        let expected = expected.map_or("more than can exist".to_owned(), |bytes| bytes.to_string());
        let (name, shape) = (&self.name, self.shape());
        let problem = format!("{name:?} of {shape} needs {expected} bytes, it holds {held}");
        Err(DataError::malformed(FORMAT_NAME, &self.file, FileProblem::Truncated(problem)))
    }

    /// Bytes of an element; `None` of an element of variable or unknown size.
    fn width(&self) -> Option<u64> {
        let digits = self.header.dtype.trim_start_matches(['|', '<', '>', '=']);
        let (kind, size) = digits.split_at_checked(1)?;
        matches!(kind, "b" | "i" | "u" | "f" | "c").then(|| size.parse().ok()).flatten()
    }

    /// The images that an array of this shape is; an error says why such images are not read.
    /// `None` if it is no array of images.
    pub fn images(&self) -> Option<Result<ImageShape, String>> {
        let shape = &self.header.shape[..];
        let shown = self.shape();
        let is_channels = |extent: u64| matches!(extent, 1 | 3 | 4);
        let (sides, planar) = match *shape {
            // Only bytes: numbers for each image may have as many columns.
            [count, length] if length >= 16 && count != length && self.is_bytes() => {
                let side = length.isqrt();
                if side * side != length {
                    return None;
                }
                ([count, side, side, 1], false)
            }
            [_, _, 1 | 3 | 4] => {
                let problem = format!(
                    "{:?} of {shown} is one image: give it a first axis for the images",
                    self.name
                );
                return Some(Err(problem));
            }
            [count, height, width] => ([count, height, width, 1], false),
            [_, first, _, last] if is_channels(first) && is_channels(last) => {
                let problem = format!(
                    "{:?} of {shown} may have its channels second or last: transpose it, so that \
                     only the last axis has 1, 3 or 4",
                    self.name
                );
                return Some(Err(problem));
            }
            [count, height, width, last] if is_channels(last) => {
                ([count, height, width, last], false)
            }
            [count, first, height, width] if is_channels(first) => {
                ([count, height, width, first], true)
            }
            [_, _, _, last] => {
                let problem =
                    format!("{:?} of {shown} has {last} channels: 1, 3 and 4 are read", self.name);
                return Some(Err(problem));
            }
            _ => return None,
        };
        if sides.contains(&0) {
            return Some(Err(format!("{:?} of {shown} holds no images", self.name)));
        }
        let [count, height, width, channels] = sides;
        if height.max(width) > MAX_SIDE.into() {
            let problem = format!("{:?} of {shown}: at most {MAX_SIDE} pixels a side", self.name);
            return Some(Err(problem));
        }
        let Ok(count) = usize::try_from(count) else { return None };
        let (height, width, channels) = (height as u32, width as u32, channels as u8);
        Some(Ok(ImageShape { count, height, width, channels, planar }))
    }

    fn is_bytes(&self) -> bool {
        self.header.dtype.trim_start_matches(['|', '<', '>', '=']) == "u1"
    }

    /// Refuses images that are not bytes, row by row.
    pub fn require_bytes(&self) -> Result<(), DataError> {
        if !self.is_bytes() {
            return Err(self.bad_type("bytes (uint8)"));
        }
        self.require_rows()
    }

    fn require_rows(&self) -> Result<(), DataError> {
        let extents = self.header.shape.iter().filter(|&&extent| extent > 1).count();
        if !self.header.fortran_order || extents < 2 {
            return Ok(());
        }
        let problem = FileProblem::ColumnOrder { array: self.name.clone() };
        Err(DataError::malformed(FORMAT_NAME, &self.file, problem))
    }

    fn bad_type(&self, wanted: &'static str) -> DataError {
        let problem = FileProblem::ElementType {
            array: self.name.clone(),
            found: type_name(&self.header.dtype),
            wanted,
        };
        DataError::malformed(FORMAT_NAME, &self.file, problem)
    }

    /// The offset of the values in the file, if they can be read in place.
    pub fn position(&self) -> Option<u64> {
        match self.place {
            Place::File => Some(self.header.bytes),
            Place::Stored { start, .. } => Some(start),
            Place::Packed { .. } => None,
        }
    }

    /// The values of an array of integers or booleans as labels.
    pub fn labels(&self, values: &[u8]) -> Result<Vec<u32>, DataError> {
        self.require_rows()?;
        let (big, kind) = match self.header.dtype.split_at_checked(1) {
            Some(("|" | "<" | "=", kind)) => (false, kind),
            Some((">", kind)) => (true, kind),
            _ => (false, self.header.dtype.as_str()),
        };
        let labels = match kind {
            "b1" | "u1" => labels(values, big, |b: [u8; 1]| b[0].into()),
            "i1" => labels(values, big, |b| i8::from_le_bytes(b).into()),
            "i2" => labels(values, big, |b| i16::from_le_bytes(b).into()),
            "i4" => labels(values, big, |b| i32::from_le_bytes(b).into()),
            "i8" => labels(values, big, |b| i64::from_le_bytes(b).into()),
            "u2" => labels(values, big, |b| u16::from_le_bytes(b).into()),
            "u4" => labels(values, big, |b| u32::from_le_bytes(b).into()),
            "u8" => labels(values, big, |b| u64::from_le_bytes(b).into()),
            _ => return Err(self.bad_type("integers")),
        };
        labels.map_err(|problem| DataError::malformed(FORMAT_NAME, &self.file, problem))
    }

    /// The extents with `×` between them.
    pub fn shape(&self) -> String {
        let extents = self.header.shape.iter().take(8).map(u64::to_string).collect::<Vec<_>>();
        match extents[..] {
            [] => "()".to_owned(),
            _ => extents.join("×"),
        }
    }

    /// Name, type and shape.
    pub fn describe(&self) -> String {
        format!("{} of {} {}", self.name, type_name(&self.header.dtype), self.shape())
    }
}

/// Labels from integers of `N` bytes, the first of which is the highest if `big`.
fn labels<const N: usize>(
    values: &[u8],
    big: bool,
    number: impl Fn([u8; N]) -> i128,
) -> Result<Vec<u32>, FileProblem> {
    let one = |(image, &bytes): (usize, &[u8; N])| {
        let mut bytes = bytes;
        if big {
            bytes.reverse();
        }
        let number = number(bytes);
        let Ok(label) = u64::try_from(number) else {
            let problem = format!("label {number} of image {image} is less than 0");
            return Err(FileProblem::Labels(problem));
        };
        check_labels(label)?;
        Ok(label as u32)
    };
    values.as_chunks().0.iter().enumerate().map(one).collect()
}

/// NumPy's name of a type, such as float32 for `<f4`.
fn type_name(dtype: &str) -> String {
    let digits = dtype.trim_start_matches(['|', '<', '>', '=']);
    let Some((kind, size)) = digits.split_at_checked(1) else { return dtype.to_owned() };
    let word = match kind {
        "b" => return "bool".to_owned(),
        "O" => return "object".to_owned(),
        "U" | "S" => return "str".to_owned(),
        "i" => "int",
        "u" => "uint",
        "f" => "float",
        "c" => "complex",
        _ => return dtype.chars().take(40).collect(),
    };
    match size.parse::<u32>() {
        Ok(bytes @ 1..=16) => format!("{word}{}", 8 * bytes),
        _ => dtype.chars().take(40).collect(),
    }
}
