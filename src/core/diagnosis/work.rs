//! How much a diagnosis may do, and what is tried within that.

use crate::core::signature::key::{BegunMac, ClaimedMac};
use crate::core::signature::keyring::Key;

/// What one diagnosis may do, in bytes hashed, and whatever else takes as long as those.
///
/// With SHA-1 a byte takes some twenty instructions, so that this is some nine times what it
/// takes to refuse a usual forged request, which hashes two messages of 700 bytes and sorts
/// 20 parameters. A test counts the instructions for the worst requests that are known.
pub(crate) const MOST_WORK: usize = 23_000;

/// An HMAC besides the bytes of its message: copying the state, filling up the last block,
/// the outer hash, the comparison.
const OF_A_MAC: usize = 170;

/// A piece of a message, however short.
const OF_A_PIECE: usize = 4;

/// Something made anew, with memory of its own.
const OF_A_COPY: usize = 16;

/// A byte of SHA-256 takes as long as so many halves of one of SHA-1.
const HALVES_OF_A_SHA256_BYTE: usize = 5;

/// How much may still be done. Whatever loops over what a stranger sends asks first.
#[derive(Debug)]
pub(crate) struct Work {
    left: usize,
    refused: bool,
}

impl Work {
    /// All that one diagnosis may do.
    pub(crate) fn new() -> Work {
        Work {
            left: MOST_WORK,
            refused: false,
        }
    }

    /// Takes some of it, if there is as much left. What is refused once is not given later,
    /// so that a search ends where its next step is too dear.
    #[must_use]
    pub(crate) fn take(&mut self, work: usize) -> bool {
        self.refused |= work > self.left;
        if !self.refused {
            self.left -= work;
        }
        !self.refused
    }

    /// For so many new copies of so many bytes in all.
    #[must_use]
    pub(crate) fn take_copies(&mut self, copies: usize, bytes: usize) -> bool {
        self.take(copies.saturating_mul(OF_A_COPY).saturating_add(bytes / 4))
    }

    /// For a look at each byte of a text, or a change of it.
    #[must_use]
    pub(crate) fn take_text(&mut self, bytes: usize) -> bool {
        self.take(bytes / 2 + OF_A_COPY)
    }

    /// For the SHA-256 of so many bytes.
    #[must_use]
    pub(crate) fn take_sha256(&mut self, bytes: usize) -> bool {
        self.take((bytes + 64) * HALVES_OF_A_SHA256_BYTE / 2)
    }

    /// Whether something was not done for want of it.
    pub(crate) fn is_used_up(&self) -> bool {
        self.refused
    }
}

/// Tries messages until one fits or the work is done.
pub(super) struct Search<'a> {
    keys: Vec<&'a Key>,
    claimed: &'a ClaimedMac,
    pub(super) work: Work,
    /// How many messages were tried.
    pub(super) tried: usize,
}

/// What messages begin with, hashed with each key.
#[derive(Clone)]
pub(super) struct Beginning(Vec<BegunMac>);

impl<'a> Search<'a> {
    /// For a message that one of these keys has signed like this.
    pub(super) fn new(keys: Vec<&'a Key>, claimed: &'a ClaimedMac, work: Work) -> Search<'a> {
        Search {
            keys,
            claimed,
            work,
            tried: 0,
        }
    }

    /// Whether these pieces, one after the other, are what was signed.
    pub(super) fn fits(&mut self, pieces: &[&[u8]]) -> bool {
        self.key_for(pieces).is_some()
    }

    /// The key that has signed them.
    pub(super) fn key_for(&mut self, pieces: &[&[u8]]) -> Option<&'a Key> {
        if !self.take(pieces, OF_A_MAC) {
            return None;
        }
        self.tried += 1;
        let mut keys = self.keys.iter().copied();
        keys.find(|key| ends(key.signing.begin(), pieces, self.claimed))
    }

    /// What the next messages begin with. `None` where there is no work left for it.
    pub(super) fn begin(&mut self, pieces: &[&[u8]]) -> Option<Beginning> {
        if !self.take(pieces, OF_A_COPY) {
            return None;
        }
        let keys = self.keys.iter();
        let mut beginning = Beginning(keys.map(|key| key.signing.begin()).collect());
        for begun in &mut beginning.0 {
            update(begun, pieces);
        }
        Some(beginning)
    }

    /// They go on like this.
    pub(super) fn go_on(&mut self, beginning: &mut Beginning, piece: &[u8]) {
        if self.take(&[piece], 0) {
            for begun in &mut beginning.0 {
                begun.update(piece);
            }
        }
    }

    /// Whether these pieces behind the beginning are what was signed.
    pub(super) fn ends(&mut self, beginning: &Beginning, pieces: &[&[u8]]) -> bool {
        if !self.take(pieces, OF_A_MAC) {
            return false;
        }
        self.tried += 1;
        let mut begun = beginning.0.iter();
        begun.any(|begun| ends(begun.clone(), pieces, self.claimed))
    }

    /// For pieces hashed with every key.
    fn take(&mut self, pieces: &[&[u8]], besides: usize) -> bool {
        let bytes: usize = pieces.iter().map(|piece| piece.len() + OF_A_PIECE).sum();
        let one_key = match self.claimed.length() {
            32 => bytes * HALVES_OF_A_SHA256_BYTE / 2 + besides * 2,
            _ => bytes + besides,
        };
        self.work.take(one_key.saturating_mul(self.keys.len()))
    }
}

fn ends(mut begun: BegunMac, pieces: &[&[u8]], claimed: &ClaimedMac) -> bool {
    update(&mut begun, pieces);
    bool::from(begun.finish().equals(claimed))
}

fn update(begun: &mut BegunMac, pieces: &[&[u8]]) {
    for piece in pieces {
        begun.update(piece);
    }
}
