//! The first directory (IFD) of a TIFF file, or of EXIF metadata, which has the same structure.

/// The entries of a directory; those that lie outside the file are left out.
pub(super) struct Ifd<'a> {
    bytes: &'a [u8],
    pub big_endian: bool,
    entries: Vec<IfdEntry>,
}

struct IfdEntry {
    tag: u16,
    /// The type's number.
    kind: u16,
    count: usize,
    /// The offset of the values.
    at: usize,
}

impl<'a> Ifd<'a> {
    /// Reads the directory of a TIFF or BigTIFF structure; `None` if `bytes` are neither.
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..2)? {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let mut ifd = Self { bytes, big_endian, entries: Vec::new() };
        let big = match ifd.number(2, 2)? {
            42 => false,
            43 => true,
            _ => return None,
        };
        // Lengths of an offset, of the number of entries and of an entry.
        let (word, counter, entry) = if big { (8, 8, 20) } else { (4, 2, 12) };
        let start = ifd.number(word, word)? as usize;
        let count = ifd.number(start, counter)?;
        let mut at = start.saturating_add(counter);
        for _ in 0..count {
            let (Some(tag), Some(kind), Some(count)) =
                (ifd.number(at, 2), ifd.number(at + 2, 2), ifd.number(at + 4, word))
            else {
                break;
            };
            let (kind, count) = (kind as u16, count as usize);
            let inside = at + 4 + word;
            let place = match width(kind).checked_mul(count) {
                Some(length) if length <= word => Some(inside),
                Some(length) => {
                    let far = ifd.number(inside, word).map(|far| far as usize);
                    far.filter(|far| far.checked_add(length).is_some_and(|end| end <= bytes.len()))
                }
                None => None,
            };
            if let Some(at) = place {
                ifd.entries.push(IfdEntry { tag: tag as u16, kind, count, at });
            }
            at += entry;
        }
        Some(ifd)
    }

    /// The values of an entry whose type is one of the integer types; empty without such an entry.
    /// Negative values are beyond any valid one.
    pub fn integers(&self, tag: u16) -> Vec<u64> {
        let Some(entry) = self.entries.iter().find(|entry| entry.tag == tag) else {
            return Vec::new();
        };
        // Not ASCII, fractions, undefined bytes or floating point.
        if matches!(entry.kind, 2 | 5 | 7 | 10 | 11 | 12) {
            return Vec::new();
        }
        let width = width(entry.kind);
        (0..entry.count).map_while(|k| self.number(entry.at + k * width, width)).collect()
    }

    /// The first of the [`integers`](Self::integers).
    pub fn integer(&self, tag: u16) -> Option<u64> {
        self.integers(tag).first().copied()
    }

    /// The first value of an entry of any numeric type, if it is a whole number.
    pub fn whole_number(&self, tag: u16) -> Option<u64> {
        let entry = self.entries.iter().find(|entry| entry.tag == tag && entry.count > 0)?;
        let number = |offset, width| self.number(entry.at + offset, width);
        let signed = |offset| Some(f64::from(number(offset, 4)? as u32 as i32));
        let value = match entry.kind {
            5 => number(0, 4)? as f64 / number(4, 4)? as f64,
            10 => signed(0)? / signed(4)?,
            11 => f64::from(f32::from_bits(number(0, 4)? as u32)),
            12 => f64::from_bits(number(0, 8)?),
            _ => return self.integer(tag),
        };
        (value >= 0.0 && value.fract() == 0.0).then_some(value as u64)
    }

    /// Whether there is an entry of this tag.
    pub fn has(&self, tag: u16) -> bool {
        self.entries.iter().any(|entry| entry.tag == tag)
    }

    /// The bytes of an entry's values in the file.
    pub fn place(&self, tag: u16) -> Option<std::ops::Range<usize>> {
        let entry = self.entries.iter().find(|entry| entry.tag == tag)?;
        Some(entry.at..entry.at + width(entry.kind) * entry.count)
    }

    /// The unsigned number of `width` bytes at an offset.
    fn number(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        let append = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        Some(match self.big_endian {
            true => bytes.iter().fold(0, append),
            false => bytes.iter().rev().fold(0, append),
        })
    }
}

/// Bytes of a value of a type.
fn width(kind: u16) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}
