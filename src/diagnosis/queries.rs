//! The query: its parameters in another order or escaping, or more of them than were signed.

use crate::diagnosis::spellings;
use crate::diagnosis::work::{Beginning, Search};
use crate::signature::body_hash::BODY_HASH_PARAMETER;
use crate::signature::urlencoded::split_at_first_equals;
use crate::sort::sorted;

/// The maximum length of a query that is tried in other ways.
const MAX_LEN: usize = 2048;

/// The maximum number of parameters of such a query.
const MAX_PIECES: usize = 40;

/// The number of spellings that are likely.
const LIKELY: usize = 5;

/// The maximum number of parameters of which every order is tried.
pub(super) const MAX_PERMUTED: usize = 5;

const ESCAPING: &str = "the query that was signed is escaped in another way: put the url with \
                        its query, as it is at Twilio, into webhooks[].url";
const ORDER: &str = "the query that was signed is in another order: put the url with its query, \
                     as it is at Twilio, into webhooks[].url";
const BOTH: &str = "the query that was signed is in another order and escaped in another way: put \
                    the url with its query, as it is at Twilio, into webhooks[].url";

/// A query and its other spellings.
pub(super) struct Queries<'a> {
    /// What is signed up to the `?`.
    before: Beginning,
    pieces: Vec<&'a [u8]>,
    /// What is signed after the URL.
    signed: &'a [u8],
    spellings: Vec<Vec<u8>>,
    is_spelled_as_a_form: bool,
}

impl<'a> Queries<'a> {
    /// Prepares a query; `None` if it is too long.
    pub(super) fn new(
        search: &mut Search<'_>,
        before: &[u8],
        query: &'a [u8],
        signed: &'a [u8],
    ) -> Option<Queries<'a>> {
        let pieces = query.split(|byte| *byte == b'&');
        let is_short = query.len() <= MAX_LEN && pieces.clone().nth(MAX_PIECES).is_none();
        // About 16 spellings, each made in two steps.
        if !is_short || !search.work.take_copies(50, 160 * query.len()) {
            return None;
        }
        Some(Queries {
            before: search.begin(&[before, b"?"])?,
            pieces: pieces.collect(),
            signed,
            spellings: spellings::of_query(query),
            is_spelled_as_a_form: spellings::as_a_form(query) == query,
        })
    }

    #[inline(never)]
    fn fits(&self, search: &mut Search<'_>, query: &[u8]) -> bool {
        // The work of joining the query.
        let work = 10 * self.pieces.len() + query.len() / 3 + 30;
        search.work.take(work) && search.ends(&self.before, &[query, self.signed])
    }

    /// Tries single changes that proxies make.
    pub(super) fn explain_one(&self, search: &mut Search<'_>) -> Option<String> {
        let likely = self.spellings.get(..LIKELY).unwrap_or(&self.spellings);
        if let Some(hint) = self.explain_escaping(search, likely) {
            return Some(hint);
        }
        for order in orders(&self.pieces) {
            if order != self.pieces && self.fits(search, &order.join(&b'&')) {
                return Some(ORDER.into());
            }
        }
        None
    }

    /// Tries the less likely spellings.
    pub(super) fn explain_rare_escaping(&self, search: &mut Search<'_>) -> Option<String> {
        self.explain_escaping(search, self.spellings.get(LIKELY..)?)
    }

    fn explain_escaping(&self, search: &mut Search<'_>, spelled: &[Vec<u8>]) -> Option<String> {
        let mut spelled = spelled.iter();
        let fits = spelled.any(|spelling| self.fits(search, spelling));
        fits.then(|| ESCAPING.into())
    }

    /// Tries the query without parameters that have no value, and without the last one.
    pub(super) fn explain_appended(&self, search: &mut Search<'_>) -> Option<String> {
        let is_filled = |piece: &&&[u8]| !split_at_first_equals(piece).1.is_empty();
        let filled: Vec<&[u8]> = self.pieces.iter().filter(is_filled).copied().collect();
        if filled.len() < self.pieces.len() && self.fits(search, &filled.join(&b'&')) {
            return Some("the query that was signed lacks the parameters without a value".into());
        }
        self.explain_behind(search, 1)
    }

    /// Tries the query without the last `added` parameters.
    fn explain_behind(&self, search: &mut Search<'_>, added: usize) -> Option<String> {
        let count = self.pieces.len();
        let kept = self.pieces.get(..count.checked_sub(added)?)?;
        (!kept.is_empty() && self.fits(search, &kept.join(&b'&'))).then(|| {
            format!(
                "the query that was signed ends before the last {added} of its {count} \
                 parameters: something on the way has added to it"
            )
        })
    }

    /// Tries the query without one parameter, or without several at the end.
    pub(super) fn explain_added(&self, search: &mut Search<'_>) -> Option<String> {
        let count = self.pieces.len();
        for index in 0..count.saturating_sub(1) {
            let mut kept = self.pieces.clone();
            kept.remove(index);
            if self.fits(search, &kept.join(&b'&')) {
                return Some(format!(
                    "the query that was signed lacks a parameter that something on the way has \
                     added: number {} of {count}",
                    index + 1
                ));
            }
        }
        (2..count).find_map(|added| self.explain_behind(search, added))
    }

    /// Returns whether the parameters are sorted, so that something may have sorted them.
    pub(super) fn are_sorted(&self) -> bool {
        self.pieces.len() > 1 && self.pieces.is_sorted()
    }

    /// Tries every order of sorted parameters. If they are not spelled as a form, what sorted them
    /// may have changed the escaping, too.
    pub(super) fn explain_sorted(&self, search: &mut Search<'_>) -> Option<String> {
        let respelled = self.spellings.first();
        let respelled = respelled.filter(|_| !self.is_spelled_as_a_form);
        let respelled = respelled.map(std::slice::from_ref).unwrap_or_default();
        let are_many = self.pieces.len() > 2;
        self.explain_orders_of(search, respelled, 4)
            .or_else(|| self.explain_order(search, 4))
            .or_else(|| are_many.then(|| self.explain_both(search, 4))?)
    }

    /// Tries every order, of at most `max` parameters.
    pub(super) fn explain_order(&self, search: &mut Search<'_>, max: usize) -> Option<String> {
        let found = self.pieces.len() <= max
            && permute(&self.pieces, &mut Vec::new(), &mut |order| {
                self.fits(search, &order.join(&b'&')) || search.work.is_used_up()
            });
        (found && !search.work.is_used_up()).then(|| ORDER.into())
    }

    /// Tries order and escaping together: every order of at most `max` parameters, and the orders
    /// that software makes of more.
    pub(super) fn explain_both(&self, search: &mut Search<'_>, max: usize) -> Option<String> {
        self.explain_orders_of(search, &self.spellings, max)
    }

    /// Tries order and escaping together, of two parameters.
    pub(super) fn explain_pair(&self, search: &mut Search<'_>) -> Option<String> {
        (self.pieces.len() == 2).then(|| self.explain_both(search, 2))?
    }

    fn explain_orders_of(
        &self,
        search: &mut Search<'_>,
        spellings: &[Vec<u8>],
        max: usize,
    ) -> Option<String> {
        for spelling in spellings {
            let pieces: Vec<&[u8]> = spelling.split(|byte| *byte == b'&').collect();
            let found = if pieces.len() <= max {
                permute(&pieces, &mut Vec::new(), &mut |order| {
                    self.fits(search, &order.join(&b'&')) || search.work.is_used_up()
                })
            } else {
                let mut orders = orders(&pieces).into_iter();
                orders.any(|order| self.fits(search, &order.join(&b'&')))
            };
            if search.work.is_used_up() {
                return None;
            }
            if found {
                return Some(BOTH.into());
            }
        }
        None
    }
}

/// Returns the orders that software makes: sorted, reversed, and with the hash of the body at the
/// end, where Twilio puts it.
fn orders<'a>(pieces: &[&'a [u8]]) -> Vec<Vec<&'a [u8]>> {
    let sorted = sorted(pieces.to_vec());
    let reversed = |pieces: &[&'a [u8]]| pieces.iter().rev().copied().collect::<Vec<_>>();
    let mut orders = vec![reversed(&sorted), reversed(pieces)];
    let is_hash = |piece: &&'a [u8]| split_at_first_equals(piece).0 == BODY_HASH_PARAMETER;
    if let Some(hash) = pieces.iter().find(|piece| is_hash(piece)) {
        for order in [pieces, &sorted] {
            let others = order.iter().filter(|piece| !is_hash(piece));
            orders.push(others.chain([hash]).copied().collect());
        }
    }
    orders.insert(0, sorted);
    orders
}

/// Visits every order until `visit` returns true, and returns whether it did.
fn permute<'a>(
    left: &[&'a [u8]],
    chosen: &mut Vec<&'a [u8]>,
    visit: &mut dyn FnMut(&[&[u8]]) -> bool,
) -> bool {
    if left.is_empty() {
        return visit(chosen);
    }
    for (index, piece) in left.iter().enumerate() {
        let mut rest = left.to_vec();
        rest.remove(index);
        chosen.push(piece);
        let done = permute(&rest, chosen, visit);
        chosen.pop();
        if done {
            return true;
        }
    }
    false
}
