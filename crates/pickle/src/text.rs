//! The texts inside a pickle: escapes of protocol 0, and what is quoted in messages.

use std::borrow::Cow;

/// At most the first 80 characters, for a message, which is to escape them.
pub(crate) fn start(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(end, _)| &text[..end])
}

/// The bytes of a `str` of Python 2 as `repr` writes it, without its quotes.
pub(crate) fn unescape(repr: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !repr.contains(&b'\\') {
        return Some(Cow::Borrowed(repr));
    }
    let mut bytes = Vec::with_capacity(repr.len());
    let mut rest = repr;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [kind, after @ ..] = rest else { return None };
        rest = after;
        bytes.push(match kind {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let [high, low, after @ ..] = rest else { return None };
                rest = after;
                let digit = |digit: u8| char::from(digit).to_digit(16);
                (digit(*high)? * 16 + digit(*low)?) as u8
            }
            b'\\' | b'\'' | b'"' => *kind,
            _ => return None,
        });
    }
    Some(Cow::Owned(bytes))
}

/// A text in Python's encoding `raw-unicode-escape`: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(crate) fn raw_unicode_escape(line: &[u8]) -> Cow<'_, str> {
    if let (true, Ok(text)) = (line.is_ascii() && !line.contains(&b'\\'), std::str::from_utf8(line))
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let [first, after @ ..] = rest {
        let digits = match after.first() {
            Some(b'u') if *first == b'\\' => after.get(1..5),
            Some(b'U') if *first == b'\\' => after.get(1..9),
            _ => None,
        };
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match (code, digits) {
            (Some(code), Some(digits)) => {
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = &after[1 + digits.len()..];
            }
            _ => {
                text.push(char::from(*first));
                rest = after;
            }
        }
    }
    Cow::Owned(text)
}
