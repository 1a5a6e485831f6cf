//! The same parameters, spelled in other ways.

use crate::draw::Draw;
use support::contract::Pair;

/// A form of these parameters: any order, some of them twice, each byte as it is or escaped with digits of either
/// case, a space as a plus or escaped. Every framework reads it alike.
pub fn strict(pairs: &[Pair], draw: &mut Draw<'_>) -> Vec<u8> {
    let mut pieces = Vec::new();
    for (name, value) in pairs {
        for _ in 0..=usize::from(draw.one_in(4)) {
            pieces.push([part(name, b"", draw), b"=".to_vec(), part(value, b"", draw)].concat());
        }
    }
    draw.shuffle(&mut pieces);
    pieces.join(&b'&')
}

/// The same, and what the signature does not tell apart from it: empty pieces, a name without `=`, a second `=`, bytes
/// that a form escapes.
pub fn lenient(pairs: &[Pair], draw: &mut Draw<'_>) -> Vec<u8> {
    let mut pieces = Vec::new();
    for (name, value) in pairs {
        let name = part(name, b"; \0\r\n\x7F\x80\xC3\xA9\xFF", draw);
        let value = part(value, b"=; \0\r\n\x7F\x80\xC3\xA9\xFF", draw);
        for _ in 0..=usize::from(draw.one_in(4)) {
            let bare = value.is_empty() && !name.is_empty() && draw.one_in(2);
            pieces.push(if bare {
                name.clone()
            } else {
                [&name[..], b"=", &value].concat()
            });
        }
        if draw.one_in(4) {
            pieces.push(Vec::new());
        }
    }
    draw.shuffle(&mut pieces);
    pieces.join(&b'&')
}

/// What a form may hold as it is, besides letters and digits.
const PLAIN: &[u8] = b"-._~:/?#\"\\";

fn part(decoded: &[u8], also_plain: &[u8], draw: &mut Draw<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in decoded {
        let is_plain =
            byte.is_ascii_alphanumeric() || PLAIN.contains(byte) || also_plain.contains(byte);
        match draw.below(8) {
            0 => out.extend(format!("%{byte:02X}").bytes()),
            1 => out.extend(format!("%{byte:02x}").bytes()),
            2 => out.extend(format!("%{:x}{:X}", byte >> 4, byte & 0xF).bytes()),
            _ if *byte == b' ' => out.push(b'+'),
            _ if is_plain => out.push(*byte),
            _ => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
    out
}
