//! The parameters of a form: changed by a proxy or framework on the way, or signed by a test
//! client in another way than by Twilio.
//!
//! Everything starts from the sorted list. A change of all parameters makes a new list; a change of
//! one is hashed in its place, after what precedes it.

use std::borrow::Cow;

use crate::diagnosis::charsets;
use crate::diagnosis::names::{self, OF_CALLED_AND_CALLER, OF_FROM_AND_TO, SOMETIMES_EMPTY};
use crate::diagnosis::spellings::replaced;
use crate::diagnosis::work::{Beginning, Search};
use crate::signature::form::Form;
use crate::signature::urlencoded::decode;
use crate::sort::sorted;

/// The maximum number of parameters of a form that is tried: Twilio's largest have about 60.
pub(super) const MAX_PARAMETERS: usize = 100;

/// A name and value as received.
type Sent<'a> = (&'a [u8], &'a [u8]);

/// A name and value, changed or as received.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// A predicate about one parameter, given what is signed before and after it.
type OfOne<'f> = dyn FnMut(&mut Search<'_>, &Beginning, Sent<'_>, &[u8]) -> bool + 'f;

/// The parameters as received.
pub(super) struct Parameters<'a> {
    /// The URL, hashed.
    before: Beginning,
    form: &'a Form,
    /// The sorted parameters.
    pairs: Vec<Sent<'a>>,
    /// The sorted parameters, joined.
    signed: &'a [u8],
    /// The traits that any of them has.
    traits: u8,
}

/// What parameters contain, by which a change applies or not.
mod traits {
    pub(super) const BLANK: u8 = 1;
    pub(super) const PERCENT: u8 = 2;
    pub(super) const LINE_END: u8 = 4;
    /// Bytes beyond ASCII.
    pub(super) const HIGH: u8 = 8;
    pub(super) const EMPTY_VALUE: u8 = 16;
    pub(super) const UNKNOWN_NAME: u8 = 32;
    /// White space of any kind.
    pub(super) const SPACE: u8 = 64;
    pub(super) const PLUS: u8 = 128;
}

/// The work of inspecting a parameter.
const OF_A_LOOK: usize = 7;
/// The work of looking up its name.
const OF_A_NAME: usize = 50;

impl<'a> Parameters<'a> {
    /// Prepares the parameters; `None` if there are too many.
    pub(super) fn new(
        search: &mut Search<'_>,
        url: &[u8],
        form: &'a Form,
        signed: &'a [u8],
    ) -> Option<Parameters<'a>> {
        let count = form.pairs().take(MAX_PARAMETERS + 1).count();
        if count > MAX_PARAMETERS || !search.work.take(count * 2 * OF_A_LOOK + signed.len() / 2) {
            return None;
        }
        let pairs: Vec<_> = form.pairs().collect();
        let of_byte = |traits: u8, byte: &u8| {
            traits
                | match byte {
                    b' ' => traits::BLANK | traits::SPACE,
                    b'%' => traits::PERCENT,
                    b'+' => traits::PLUS,
                    b'\n' => traits::LINE_END | traits::SPACE,
                    b'\t' | b'\r' => traits::SPACE,
                    0x80.. => traits::HIGH,
                    _ => 0,
                }
        };
        let mut traits = signed.iter().fold(0, of_byte);
        if pairs.iter().any(|(_, value)| value.is_empty()) {
            traits |= traits::EMPTY_VALUE;
        }
        if !pairs.iter().all(|(name, _)| names::is_known(name)) {
            traits |= traits::UNKNOWN_NAME;
        }
        Some(Parameters {
            before: search.begin(&[url])?,
            form,
            pairs,
            signed,
            traits,
        })
    }

    /// Tries changes of all parameters.
    pub(super) fn explain_all(&self, search: &mut Search<'_>) -> Option<String> {
        let changes: [(Change, &str); 12] = [
            (
                of_value(traits::BLANK, with_plus_of_a_number),
                "the body was encoded anew on the way: the + of a number was not escaped and \
                 became a space",
            ),
            (
                Change {
                    // The change loses a plus as well.
                    excludes: traits::PLUS,
                    ..of_value(traits::BLANK, |value| {
                        with(value, b' ', |value| replaced(value, b" ", b"+"))
                    })
                },
                "the body was encoded anew on the way: a + in a value was not escaped and became \
                 a space",
            ),
            (
                Change {
                    name: |name| names::proper(name).map(Cow::Borrowed),
                    look: OF_A_NAME,
                    ..of_value(traits::UNKNOWN_NAME, |_| None)
                },
                "the names of the parameters were changed on the way, to lower case for instance",
            ),
            (
                of_value(traits::PERCENT, |value| {
                    let is_encoded = value.iter().any(|byte| b"%+".contains(byte));
                    is_encoded.then(|| decode(value))
                }),
                "the body was encoded a second time on the way",
            ),
            (
                of_value(traits::LINE_END, |value| {
                    with(value, b'\r', |value| replaced(value, b"\r\n", b"\n"))
                }),
                "line ends in the values were changed on the way from LF to CR LF",
            ),
            (
                of_value(traits::LINE_END, |value| {
                    with(value, b'\n', |value| {
                        replaced(&replaced(value, b"\r\n", b"\n"), b"\n", b"\r\n")
                    })
                }),
                "line ends in the values were changed on the way from CR LF to LF",
            ),
            (
                of_value(traits::HIGH, charsets::latin1_to_utf8),
                "the body was encoded anew on the way: text that was UTF-8 is Latin-1 now",
            ),
            (
                of_value(traits::HIGH, charsets::windows_to_utf8),
                "the body was encoded anew on the way: text that was UTF-8 is Windows-1252 now",
            ),
            (
                of_value(traits::HIGH, charsets::utf8_to_latin1),
                "the body was encoded anew on the way: text that was UTF-8 has been taken for \
                 Latin-1",
            ),
            (
                of_value(traits::HIGH, charsets::utf8_to_windows),
                "the body was encoded anew on the way: text that was UTF-8 has been taken for \
                 Windows-1252",
            ),
            (
                of_value(traits::SPACE, |value| {
                    let trimmed = value.trim_ascii();
                    (trimmed.len() < value.len()).then(|| trimmed.to_vec())
                }),
                "it was signed with white space around the values removed",
            ),
            (
                Change {
                    name: |name| {
                        with(name, b'_', |name| replaced(name, b"_", b".")).map(Cow::Owned)
                    },
                    ..of_value(traits::UNKNOWN_NAME, |_| None)
                },
                "the names of the parameters were changed on the way: a dot became an underscore, \
                 as PHP makes it",
            ),
        ];
        for (change, mistake) in changes {
            let Some(changed) = self.changed(search, &change) else {
                continue;
            };
            if search.ends(&self.before, &[&signed(changed)]) {
                return Some(mistake.into());
            }
        }
        None
    }

    /// Applies a change to every parameter; `None` if it changes nothing.
    fn changed(&self, search: &mut Search<'_>, change: &Change) -> Option<Vec<Pair<'a>>> {
        let look = self.pairs.len() * change.look + self.signed.len() / 2;
        let applies = self.traits & change.needs != 0 && self.traits & change.excludes == 0;
        if !applies || !search.work.take(look) {
            return None;
        }
        let mut any = false;
        let mut out = Vec::new();
        for (name, value) in &self.pairs {
            if !(change.keeps)(value) {
                any = true;
                continue;
            }
            let (new_name, new_value) = ((change.name)(name), (change.value)(value));
            any |= new_name.is_some() || new_value.is_some();
            out.push((
                new_name.unwrap_or(Cow::Borrowed(name)),
                new_value.map_or(Cow::Borrowed(*value), Cow::Owned),
            ));
        }
        // The work of copying, sorting and joining.
        let work = 2 * self.signed.len();
        (any && search.work.take_copies(3 * out.len(), work)).then_some(out)
    }

    /// Tries to add all parameters that are usually empty.
    pub(super) fn explain_dropped_empty(&self, search: &mut Search<'_>) -> Option<String> {
        if self.has("WaId") {
            // WhatsApp has no cities.
            return None;
        }
        let indices = self.missing(OF_FROM_AND_TO);
        let mut sets = vec![indices.clone()];
        if self.has("CallSid") {
            let of_calls = self.missing(OF_CALLED_AND_CALLER);
            sets.push(of_calls.clone());
            sets.push([indices, of_calls].concat());
        }
        for set in sets {
            let count = 2 * (self.pairs.len() + set.len());
            if set.is_empty() || !search.work.take_copies(count, 2 * self.signed.len()) {
                continue;
            }
            let kept = self.pairs.iter();
            let kept = kept.map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)));
            let empty = |name: &&'static str| -> Pair<'a> {
                (Cow::Borrowed(name.as_bytes()), Cow::Borrowed(b""))
            };
            let all = kept.chain(set.iter().map(empty)).collect();
            if search.ends(&self.before, &[&signed(all)]) {
                return Some(dropped_empty(set.first().copied()));
            }
        }
        None
    }

    fn value_of(&self, name: &str) -> Option<&'a [u8]> {
        let name = name.as_bytes();
        let index = self.pairs.partition_point(|(own, _)| *own < name);
        let (own, value) = self.pairs.get(index)?;
        (*own == name).then_some(*value)
    }

    fn has(&self, name: &str) -> bool {
        self.value_of(name).is_some()
    }

    fn missing(&self, names: &[&'static str]) -> Vec<&'static str> {
        let names = names.iter().copied();
        names.filter(|name| !self.has(name)).collect()
    }

    /// Tries to add one parameter that is empty, or whose value follows from others.
    pub(super) fn explain_dropped(
        &self,
        search: &mut Search<'_>,
        account: Option<&str>,
    ) -> Option<String> {
        if !search.work.take_copies(60, 0) {
            return None;
        }
        let mut dropped = names::dropped(&|name| self.value_of(name), account);
        let mut empty = self.missing(SOMETIMES_EMPTY);
        if !self.has("WaId") {
            empty.extend(self.missing(OF_FROM_AND_TO));
        }
        if self.has("CallSid") {
            empty.extend(self.missing(OF_CALLED_AND_CALLER));
        }
        dropped.extend(empty.into_iter().map(|name| (name, &b""[..])));
        let mut dropped = sorted(dropped).into_iter().peekable();
        // Each in its place.
        let mut before = self.before.clone();
        let mut behind = self.signed;
        for index in 0..=self.pairs.len() {
            let pair = self.pairs.get(index);
            while let Some((name, value)) =
                dropped.next_if(|(name, _)| pair.is_none_or(|(next, _)| name.as_bytes() < *next))
            {
                if search.ends(&before, &[name.as_bytes(), value, behind]) {
                    return Some(match value {
                        b"" => dropped_empty(Some(name)),
                        _ => format!("a parameter was dropped on the way: {name}"),
                    });
                }
            }
            let (own, rest) = behind.split_at_checked(pair.map_or(0, length))?;
            search.append(&mut before, own);
            behind = rest;
            // Those that are present were not dropped.
            while dropped
                .next_if(|(name, _)| pair.is_some_and(|(own, _)| name.as_bytes() == *own))
                .is_some()
            {}
            if search.work.is_used_up() {
                return None;
            }
        }
        None
    }

    /// Tries to remove one parameter with a known or unknown name.
    pub(super) fn explain_added(&self, search: &mut Search<'_>, known: bool) -> Option<String> {
        if !known && self.traits & traits::UNKNOWN_NAME == 0 {
            return None;
        }
        let index = self.one(search, &mut |search, before, (name, _), behind| {
            names::is_known(name) == known && search.ends(before, &[behind])
        })?;
        let (name, value) = self.pairs.get(index)?;
        let mut sent = self.form.pairs_as_sent();
        let number = sent.position(|pair| pair == (*name, *value))? + 1;
        Some(format!(
            "a parameter was added on the way: number {number} of the {} that arrived was not \
             signed",
            self.pairs.len()
        ))
    }

    /// Tries to add white space around one value: what is usual in text that people write, or any.
    pub(super) fn explain_cut(&self, search: &mut Search<'_>, usual: bool) -> Option<String> {
        const CUT: [(&[u8], &[u8]); 6] = [
            (b"", b" "),
            (b"", b"\n"),
            (b" ", b""),
            (b" ", b" "),
            (b"", b"  "),
            (b"", b"\r\n"),
        ];
        self.one(search, &mut |search, before, (name, value), behind| {
            let by_people = names::is_written_by_people(name);
            let cuts = match (usual, by_people) {
                (true, true) => CUT.get(..4),
                (false, true) => CUT.get(4..),
                (false, false) if names::is_text(name, value) => CUT.get(..3),
                _ => None,
            };
            cuts.unwrap_or_default()
                .iter()
                .any(|(front, back)| search.ends(before, &[name, front, value, back, behind]))
        })?;
        Some("white space around a value was cut off on the way".into())
    }

    /// Returns the index of the first parameter for which the predicate holds.
    fn one(&self, search: &mut Search<'_>, holds: &mut OfOne<'_>) -> Option<usize> {
        let mut before = self.before.clone();
        let mut behind = self.signed;
        for (index, pair) in self.pairs.iter().enumerate() {
            if !search.work.take(2 * OF_A_LOOK) {
                return None;
            }
            let (own, rest) = behind.split_at_checked(length(pair))?;
            if holds(search, &before, *pair, rest) {
                return Some(index);
            }
            search.append(&mut before, own);
            behind = rest;
        }
        None
    }

    /// Tries mistakes of test clients.
    pub(super) fn explain_test_client(
        &self,
        search: &mut Search<'_>,
        body: &[u8],
    ) -> Option<String> {
        if search.ends(&self.before, &[body]) {
            return Some("it was signed over the URL and the raw body, not the parameters".into());
        }
        let (copies, bytes) = (6 * self.pairs.len(), 8 * self.signed.len());
        if !search.work.take_copies(copies, bytes) {
            return None;
        }
        let filled = Change {
            keeps: |value| !value.is_empty(),
            ..of_value(traits::EMPTY_VALUE, |_| None)
        };
        if let Some(filled) = self.changed(search, &filled)
            && search.ends(&self.before, &[&signed(filled)])
        {
            return Some("it was signed without the parameters whose values are empty".into());
        }
        let sent: Vec<Sent<'_>> = self.form.pairs_as_sent().collect();
        let by_text = sorted_by(&sent, |(name, value)| [*name, value].concat());
        let by_folded_name = sorted_by(&sent, |(name, _)| name.to_ascii_lowercase());
        let attempts = [
            (
                joined(&sent),
                "it was signed with the parameters as they are sent, not sorted by name",
            ),
            (
                joined(&by_folded_name),
                "it was signed with the names sorted regardless of case, not by bytes",
            ),
            (
                joined(&by_text),
                "it was signed with name and value sorted as one text, not by name",
            ),
        ];
        let mut found = attempts.iter();
        let found =
            found.find(|(signed, _)| signed != self.signed && search.ends(&self.before, &[signed]));
        found.map(|(_, mistake)| (*mistake).to_owned())
    }
}

fn dropped_empty(first: Option<&str>) -> String {
    format!(
        "parameters with empty values were dropped on the way, {} among them",
        first.unwrap_or_default()
    )
}

fn length(pair: &Sent<'_>) -> usize {
    pair.0.len() + pair.1.len()
}

/// A change of every parameter, by functions that return `None` for no change.
struct Change {
    /// The traits of which any is needed.
    needs: u8,
    /// The traits that exclude it.
    excludes: u8,
    /// The work of seeing whether it changes a parameter.
    look: usize,
    name: fn(&[u8]) -> Option<Cow<'static, [u8]>>,
    value: fn(&[u8]) -> Option<Vec<u8>>,
    keeps: fn(&[u8]) -> bool,
}

/// Returns a change of values.
fn of_value(needs: u8, value: fn(&[u8]) -> Option<Vec<u8>>) -> Change {
    Change {
        needs,
        excludes: 0,
        look: OF_A_LOOK,
        name: |_| None,
        value,
        keeps: |_| true,
    }
}

/// Changes a value if it contains a byte.
fn with(value: &[u8], byte: u8, change: impl Fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    value.contains(&byte).then(|| change(value))
}

/// Joins parameters as Twilio signs them: distinct, sorted by name, then value.
fn signed(pairs: Vec<Pair<'_>>) -> Vec<u8> {
    // Most changes leave them sorted.
    let mut pairs = match pairs.is_sorted() {
        true => pairs,
        false => sorted(pairs),
    };
    pairs.dedup();
    let mut out = Vec::new();
    for (name, value) in &pairs {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    out
}

/// Returns the pairs in the order of a key; equal ones stay in their order.
fn sorted_by<'a>(pairs: &[Sent<'a>], key: fn(&Sent<'a>) -> Vec<u8>) -> Vec<Sent<'a>> {
    let keys = sorted(pairs.iter().map(key).zip(0_usize..).collect());
    let pair = |(_, index): (_, usize)| pairs.get(index).copied();
    keys.into_iter().filter_map(pair).collect()
}

fn joined(pairs: &[Sent<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    out
}

/// Restores the plus of a telephone number (`+49…` or `whatsapp:+49…`) that became a space.
fn with_plus_of_a_number(value: &[u8]) -> Option<Vec<u8>> {
    let channel = value.iter().take_while(|byte| byte.is_ascii_lowercase());
    let (channel, rest) = value.split_at_checked(channel.count())?;
    let (colon, rest) = match rest.strip_prefix(b":") {
        Some(rest) if !channel.is_empty() => (&b":"[..], rest),
        _ => (&b""[..], rest),
    };
    if !channel.is_empty() && colon.is_empty() {
        return None;
    }
    let number = rest.strip_prefix(b" ")?;
    Some([channel, colon, b"+", number].concat())
}
