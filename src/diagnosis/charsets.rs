//! Text that was taken for another character set than UTF-8, or written in one.

/// Windows-1252 from 0x80 to 0x9F; a zero is a byte that it leaves undefined, and that
/// software reads as the control character of that number.
/// <https://encoding.spec.whatwg.org/index-windows-1252.txt>
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

/// Text that arrived as Latin-1, as the UTF-8 that it was. `None` if nothing changes.
pub(super) fn latin1_to_utf8(value: &[u8]) -> Option<Vec<u8>> {
    to_utf8(value, char::from)
}

/// The same for Windows-1252.
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

/// Text whose UTF-8 was taken for Latin-1 and written as UTF-8 once more, as it was before.
pub(super) fn utf8_to_latin1(value: &[u8]) -> Option<Vec<u8>> {
    from_utf8(value, |char| u8::try_from(u32::from(char)).ok())
}

/// The same for Windows-1252.
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
    // What was UTF-8 before is it again.
    std::str::from_utf8(&bytes).is_ok().then_some(bytes)
}
