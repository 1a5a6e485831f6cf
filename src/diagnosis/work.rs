//! The work that a diagnosis may do, and the messages that it tries within that.

use crate::diagnosis::found::Trail;
use crate::signature::key::{BegunMac, ClaimedMac};
use crate::signature::keyring::Key;

/// The work that one diagnosis may do, in bytes hashed or their equivalent.
///
/// A byte of SHA-1 takes about 20 instructions, so that this is about 1.2 million. Rejecting a
/// usual forged request takes a worker 400,000, mostly in Envoy and V8, and a request may cost ten
/// times that. Tests count the filter's part for the worst known requests, and `scripts/work` the
/// worker's.
pub(crate) const MAX_WORK: usize = 55_000;

/// The work of rejecting that usual request, in the same unit.
const OF_A_USUAL_REQUEST: usize = 2_900;

/// The maximum that verifying an expensive request counts: the likeliest mistakes are tried for a
/// long message, too.
const MAX_OF_ITS_OWN: usize = MAX_WORK * 2 / 5;

/// The work of an HMAC besides the bytes of its message: copying the state, padding, the outer
/// hash, the comparison.
pub(super) const OF_A_MAC: usize = 170;

/// The work of a piece of a message besides its bytes.
const OF_A_PIECE: usize = 4;

/// The work of an allocation.
const OF_A_COPY: usize = 16;

/// The work of a byte of SHA-256, in halves of one of SHA-1.
const HALVES_OF_A_SHA256_BYTE: usize = 5;

/// The work that is left. Every loop over what an unauthenticated client sends takes some first.
#[derive(Debug)]
pub(crate) struct Work {
    left: usize,
    is_exhausted: bool,
}

impl Work {
    /// Returns the work of one diagnosis.
    pub(crate) fn new() -> Work {
        Work {
            left: MAX_WORK,
            is_exhausted: false,
        }
    }

    /// Takes what rejecting the request took beyond a usual one, up to [`MAX_OF_ITS_OWN`]: hashing
    /// bytes for MACs of this length, and parsing a form.
    pub(crate) fn take_own(&mut self, hashed: usize, mac: usize, body: usize, count: usize) {
        let hashed = match mac {
            32 => hashed.saturating_mul(HALVES_OF_A_SHA256_BYTE) / 2,
            _ => hashed,
        };
        let own = hashed.saturating_add(body).saturating_add(14 * count);
        let beyond = own.saturating_sub(OF_A_USUAL_REQUEST);
        self.left = self.left.saturating_sub(beyond.min(MAX_OF_ITS_OWN));
    }

    /// Takes work, and returns whether there was enough. After the first failure all others fail,
    /// so that a search ends where its next step is too expensive.
    #[must_use]
    #[inline(never)]
    pub(crate) fn take(&mut self, work: usize) -> bool {
        self.is_exhausted |= work > self.left;
        if !self.is_exhausted {
            self.left -= work;
        }
        !self.is_exhausted
    }

    /// Takes the work of a number of copies with this number of bytes in all.
    #[must_use]
    pub(crate) fn take_copies(&mut self, copies: usize, bytes: usize) -> bool {
        self.take(copies.saturating_mul(OF_A_COPY).saturating_add(bytes / 4))
    }

    /// Takes the work of inspecting or changing each byte of a text.
    #[must_use]
    pub(crate) fn take_text(&mut self, bytes: usize) -> bool {
        self.take(bytes / 2 + OF_A_COPY)
    }

    /// Takes the work of a SHA-256.
    #[must_use]
    pub(crate) fn take_sha256(&mut self, bytes: usize) -> bool {
        self.take((bytes + 64) * HALVES_OF_A_SHA256_BYTE / 2)
    }

    /// Returns whether there was not enough.
    pub(crate) fn is_used_up(&self) -> bool {
        self.is_exhausted
    }
}

/// A search for the message that was signed.
pub(super) struct Search<'a> {
    keys: Vec<&'a Key>,
    claimed: &'a ClaimedMac,
    pub(super) work: Work,
    /// The number of messages tried.
    pub(super) tried: usize,
}

/// The beginning of messages, hashed with each key.
#[derive(Clone)]
pub(super) struct Beginning(Vec<BegunMac>, Trail);

impl<'a> Search<'a> {
    /// Returns a search for a message that one of these keys has signed.
    pub(super) fn new(keys: Vec<&'a Key>, claimed: &'a ClaimedMac, work: Work) -> Search<'a> {
        Search {
            keys,
            claimed,
            work,
            tried: 0,
        }
    }

    /// Returns whether these pieces in a row are what was signed.
    pub(super) fn fits(&mut self, pieces: &[&[u8]]) -> bool {
        self.key_for(pieces).is_some()
    }

    /// Returns the key that signed these pieces in a row.
    #[inline(never)]
    pub(super) fn key_for(&mut self, pieces: &[&[u8]]) -> Option<&'a Key> {
        if !self.take(pieces, OF_A_MAC) {
            return None;
        }
        self.tried += 1;
        let mut keys = self.keys.iter().copied();
        let key = keys.find(|key| ends(key.signing.begin(), pieces, self.claimed));
        if key.is_some() {
            self.keep(Trail::new(), pieces);
        }
        key
    }

    /// Hashes the beginning of messages; `None` if no work is left.
    pub(super) fn begin(&mut self, pieces: &[&[u8]]) -> Option<Beginning> {
        if !self.take(pieces, OF_A_COPY) {
            return None;
        }
        let keys = self.keys.iter();
        let begun = keys.map(|key| key.signing.begin()).collect();
        let mut beginning = Beginning(begun, Trail::new());
        for begun in &mut beginning.0 {
            update(begun, pieces);
        }
        beginning.1.push(pieces);
        Some(beginning)
    }

    /// Appends to the beginning of messages.
    pub(super) fn append(&mut self, beginning: &mut Beginning, piece: &[u8]) {
        if self.take(&[piece], 0) {
            for begun in &mut beginning.0 {
                begun.update(piece);
            }
            beginning.1.push(&[piece]);
        }
    }

    /// Returns whether the beginning followed by these pieces is what was signed.
    #[inline(never)]
    pub(super) fn ends(&mut self, beginning: &Beginning, pieces: &[&[u8]]) -> bool {
        if !self.take(pieces, OF_A_MAC) {
            return false;
        }
        self.tried += 1;
        let mut begun = beginning.0.iter();
        let fits = begun.any(|begun| ends(begun.clone(), pieces, self.claimed));
        if fits {
            self.keep(beginning.1.clone(), pieces);
        }
        fits
    }

    /// Keeps the message that was found to be signed.
    #[inline(always)]
    fn keep(&self, mut trail: Trail, pieces: &[&[u8]]) {
        trail.push(pieces);
        self.claimed.keep_message(trail.message());
    }

    /// Takes the work of hashing pieces with every key.
    #[inline(never)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn key() -> Key {
        let token = Secret::new("token".into());
        Key::auth_token(&token, None, "token".into()).expect("a token")
    }

    fn sign(message: &[u8]) -> ClaimedMac {
        let header = crate::tests::sign("token", message);
        ClaimedMac::parse(header.as_bytes()).expect("canonical")
    }

    #[test]
    fn work_is_taken_until_it_fails_once_and_then_always_fails() {
        let mut work = Work::new();
        assert!(work.take(MAX_WORK - 1) && work.take(1) && !work.is_used_up());
        assert!(!work.take(1) && work.is_used_up());
        let mut work = Work::new();
        assert!(!work.take(MAX_WORK + 1) && !work.take(1) && work.is_used_up());
        let mut work = Work::new();
        assert!(!work.take_copies(usize::MAX, 0) && work.is_used_up());
    }

    #[test]
    fn what_the_request_itself_took_counts_up_to_a_bound() {
        let mut work = Work::new();
        work.take_own(1_800, 20, 755, 20);
        assert_eq!(work.left, MAX_WORK);
        work.take_own(3_800, 20, 755, 20);
        assert!((MAX_WORK - 2100..MAX_WORK - 1900).contains(&work.left));
        let mut work = Work::new();
        work.take_own(1_800, 32, 755, 20);
        assert!(work.left < MAX_WORK - 2500);
        let mut work = Work::new();
        work.take_own(130_000, 20, 65_000, 1);
        assert_eq!(work.left, MAX_WORK - MAX_OF_ITS_OWN);
    }

    #[test]
    fn a_search_computes_no_more_hmacs_than_its_work_allows_and_then_finds_nothing() {
        let (key, claimed) = (key(), sign(b"the right one"));
        for (keys, max) in [(1, MAX_WORK / OF_A_MAC), (4, MAX_WORK / OF_A_MAC / 4)] {
            let mut search = Search::new(vec![&key; keys], &claimed, Work::new());
            while !search.work.is_used_up() {
                assert!(!search.fits(&[b"a wrong one"]));
            }
            let tried = search.tried;
            assert!(tried > max / 2 && tried <= max, "{tried}");
            // There is no work left for it.
            assert!(!search.fits(&[b"the right one"]));
            assert_eq!(search.tried, tried);
        }
        let mut search = Search::new(vec![&key], &claimed, Work::new());
        assert!(search.fits(&[b"the ", b"right one"]));
    }

    #[test]
    fn a_long_message_takes_as_much_work_as_it_has_bytes() {
        let (key, claimed) = (key(), sign(b"x"));
        let long = vec![b'x'; MAX_WORK / 2];
        let mut search = Search::new(vec![&key], &claimed, Work::new());
        assert!(!search.fits(&[&long]) && !search.fits(&[&long]));
        assert_eq!((search.tried, search.work.is_used_up()), (1, true));
    }

    #[test]
    fn a_message_goes_on_behind_its_beginning() {
        let (key, claimed) = (key(), sign(b"one two three"));
        let mut search = Search::new(vec![&key], &claimed, Work::new());
        let mut beginning = search.begin(&[b"one", b" "]).expect("work");
        assert!(search.ends(&beginning, &[b"two", b" three"]));
        search.append(&mut beginning, b"two");
        assert!(search.ends(&beginning, &[b" three"]));
        assert!(!search.ends(&beginning, &[b"two three"]));
    }
}
