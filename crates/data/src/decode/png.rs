//! What the PNG decoder does not read: a file without its end, EXIF metadata outside the header,
//! and transparency that does not fit the palette.

use std::borrow::Cow;

const SIGNATURE: usize = 8;
const END: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xAE, 0x42, 0x60, 0x82];

struct Chunk<'a> {
    kind: [u8; 4],
    /// The chunk's data, as far as the file has it.
    data: &'a [u8],
    start: usize,
    /// Whether all of it is there, its checksum included.
    whole: bool,
}

/// The chunks up to the end (IEND) or to one that is cut off.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut next = Some(SIGNATURE);
    std::iter::from_fn(move || {
        let start = next?;
        let head = bytes.get(start..start + 8)?;
        let kind = [head[4], head[5], head[6], head[7]];
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let end = start + 8 + length;
        let whole = end + 4 <= bytes.len();
        next = (whole && kind != *b"IEND").then_some(end + 4);
        Some(Chunk { kind, data: &bytes[start + 8..end.min(bytes.len())], start, whole })
    })
}

/// The file with its last chunk (IEND), if it ends after or within its image data (IDAT) without
/// one: like other readers, this one only wants the pixels, and the decoder notices missing ones.
pub(super) fn with_end(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (mut has_data, mut end) = (false, SIGNATURE);
    for chunk in chunks(bytes) {
        has_data |= chunk.kind == *b"IDAT";
        if chunk.whole {
            if chunk.kind == *b"IEND" {
                return Cow::Borrowed(bytes);
            }
            end = chunk.start + 12 + chunk.data.len();
            continue;
        }
        if !has_data {
            break;
        }
        let mut mended = bytes[..chunk.start].to_vec();
        if chunk.kind == *b"IDAT" {
            let mut crc = flate2::Crc::new();
            crc.update(&chunk.kind);
            crc.update(chunk.data);
            mended.extend_from_slice(&(chunk.data.len() as u32).to_be_bytes());
            mended.extend_from_slice(&chunk.kind);
            mended.extend_from_slice(chunk.data);
            mended.extend_from_slice(&crc.sum().to_be_bytes());
        }
        mended.extend_from_slice(&END);
        return Cow::Owned(mended);
    }
    match has_data {
        true => Cow::Owned([&bytes[..end], &END].concat()),
        false => Cow::Borrowed(bytes),
    }
}

/// Refuses transparency of a palette that the decoder leaves out without a word, and others do not:
/// that of more colors than the palette has, or before it.
pub(super) fn check_transparency(bytes: &[u8]) -> Result<(), String> {
    let is_palette = chunks(bytes).next().is_some_and(|header| header.data.get(9) == Some(&3));
    let mut colors = 0;
    for chunk in chunks(bytes).filter(|_| is_palette) {
        match &chunk.kind {
            b"PLTE" => colors = chunk.data.len() / 3,
            b"tRNS" if chunk.data.len() > colors => {
                return Err(format!(
                    "its transparency (tRNS) has {} entries after a palette of {colors} colors: \
                     save it again",
                    chunk.data.len()
                ));
            }
            b"IDAT" => break,
            _ => {}
        }
    }
    Ok(())
}

/// The EXIF metadata, before or after the image data: eXIf, or the text in which ImageMagick
/// writes them.
pub(super) fn exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    for chunk in chunks(bytes) {
        match &chunk.kind {
            b"eXIf" => found = Some(chunk.data.to_vec()),
            b"tEXt" | b"zTXt" if found.is_none() => found = raw_profile(&chunk),
            _ => {}
        }
    }
    found
}

/// The contents of a text `Raw profile type exif`: a name, a length and hexadecimal digits.
fn raw_profile(chunk: &Chunk<'_>) -> Option<Vec<u8>> {
    let text = chunk.data.strip_prefix(b"Raw profile type exif\0")?;
    let text = match &chunk.kind {
        b"zTXt" => unpack(text.strip_prefix(&[0])?)?,
        _ => text.to_vec(),
    };
    let digits = text.splitn(4, |&byte| byte == b'\n').nth(3)?;
    let digits: Vec<u8> = digits.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    hex::decode(digits).ok()
}

/// The text of a zTXt chunk, of at most a megabyte.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    flate2::read::ZlibDecoder::new(packed).take(1 << 20).read_to_end(&mut text).ok()?;
    Some(text)
}
