//! Whether a JPEG file is complete.
//!
//! The decoder is lenient: it fills missing rows with gray and reports success, which is right for
//! a viewer and wrong for a training set. A search for the end-of-image marker is not enough, since
//! an embedded thumbnail has one too; so the markers are walked (ITU-T T.81, B.1.1).

/// Whether the markers lead from the start of the image to its end (EOI). Bytes after the end are
/// ignored.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 2; // after SOI
    loop {
        // Between segments, and in entropy-coded data, the next marker is the next 0xFF that is not
        // followed by 0x00 (a stuffed byte), 0xFF (fill) or a restart marker.
        let Some(marker) = next_marker(bytes, &mut at) else { return false };
        match marker {
            0xD9 => return true,
            // TEM and SOI have no length.
            0x01 | 0xD8 => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else { return false };
                at += usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
}

fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let start = bytes.get(*at..)?.iter().position(|&byte| byte == 0xFF)?;
        *at += start + 1;
        match *bytes.get(*at)? {
            0xFF => {}
            0x00 | 0xD0..=0xD7 => *at += 1,
            marker => {
                *at += 1;
                return Some(marker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_images_own_end_counts() {
        let thumbnail = [0xFF, 0xD8, 0xFF, 0xD9];
        let app1 = [&[0xFF, 0xE1, 0, 6][..], &thumbnail].concat();
        let scan = [0xFF, 0xDA, 0, 3, 9, 0x11, 0xFF, 0x00, 0xFF, 0xD0, 0x22];
        let whole = [&[0xFF, 0xD8][..], &app1, &scan, &[0xFF, 0xFF, 0xD9], b"trailer"].concat();
        assert!(is_complete(&whole));
        let end = whole.len() - b"trailer".len();
        for length in 0..end {
            assert!(!is_complete(&whole[..length]), "cut at {length} of {end}");
        }
    }
}
