//! Eight bytes at once: what a word of 64 bits says of each of its bytes.

/// Returns the word whose bytes are all this one.
pub(super) const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Returns the high bit of each byte that is zero, exact up to the first one: see "Determine
/// if a word has a zero byte" in Sean Anderson's Bit Twiddling Hacks.
pub(super) const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeated(1)) & !word & repeated(0x80)
}

/// Returns the high bit of each byte within bounds, if no byte is above 0x7F.
pub(super) const fn bytes_between(word: u64, first: u8, last: u8) -> u64 {
    let not_below = word.wrapping_add(repeated(0x80 - first));
    let above = word.wrapping_add(repeated(0x7F - last));
    not_below & !above
}
