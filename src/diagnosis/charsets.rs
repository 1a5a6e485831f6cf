//! Text that was read or written in another character set than UTF-8.

/// Windows-1252 from 0x80 to 0x9F. Bytes that it leaves undefined are control characters.
/// <https://encoding.spec.whatwg.org/index-windows-1252.txt>
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

/// Converts Latin-1 to UTF-8; `None` if the text is UTF-8 already.
pub(super) fn latin1_to_utf8(value: &[u8]) -> Option<Vec<u8>> {
    to_utf8(value, char::from)
}

/// Converts Windows-1252 to UTF-8; `None` if the text is UTF-8 already.
pub(super) fn windows_to_utf8(value: &[u8]) -> Option<Vec<u8>> {
    to_utf8(value, |byte| {
        let index = usize::from(byte).checked_sub(0x80);
        let special = index.and_then(|index| WINDOWS.get(index));
        special.copied().unwrap_or(char::from(byte))
    })
}

fn to_utf8(value: &[u8], char_of: fn(u8) -> char) -> Option<Vec<u8>> {
    if std::str::from_utf8(value).is_ok() {
        return None;
    }
    let text: String = value.iter().map(|byte| char_of(*byte)).collect();
    Some(text.into_bytes())
}

/// Restores UTF-8 that was read as Latin-1 and encoded as UTF-8 again; `None` if it was not.
pub(super) fn utf8_to_latin1(value: &[u8]) -> Option<Vec<u8>> {
    from_utf8(value, |char| u8::try_from(u32::from(char)).ok())
}

/// Restores UTF-8 that was read as Windows-1252 and encoded as UTF-8 again; `None` if it was not.
pub(super) fn utf8_to_windows(value: &[u8]) -> Option<Vec<u8>> {
    from_utf8(value, |char| {
        let special = WINDOWS.iter().position(|own| *own == char);
        let special = special.and_then(|index| u8::try_from(0x80 + index).ok());
        special.or_else(|| u8::try_from(u32::from(char)).ok())
    })
}

fn from_utf8(value: &[u8], byte_of: fn(char) -> Option<u8>) -> Option<Vec<u8>> {
    if value.is_ascii() {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    let bytes: Vec<u8> = text.chars().map(byte_of).collect::<Option<_>>()?;
    std::str::from_utf8(&bytes).is_ok().then_some(bytes)
}
