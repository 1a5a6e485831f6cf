//! The capacities that this process has worked with.
//!
//! A table of another capacity has other buckets. Envoy's workers do not change
//! their configuration at the same moment, and requests on their way finish with
//! the one they started with, so for a while two layouts are in use at once. Then
//!
//! - every worker claims in all layouts that it knows of, in one order: the order
//!   in which they came into use. A worker with the newer configuration knows all
//!   that a worker with the older one knows, so two identical requests always meet
//!   in the first of them, and one of them loses;
//! - when the workers have all changed, the older layouts are only asked, for as
//!   long as anything in them is remembered.
//!
//! Webhooks of one configuration may have different capacities, too. Such siblings
//! do not claim in each other's layouts, which may be of very different sizes: each
//! asks the others once it has claimed in its own. Of two that claim the same nonce
//! at once, at least one then sees the other's claim, and gives way.
//!
//! The directory of layouts is a value of the store itself:
//!
//! ```text
//! directory = magic *( buckets slots generation ) ; 64-bit little-endian words
//! ```

use crate::cas_map::{CasError, CasMap, Update, update};
use crate::store::local::buckets::{Buckets, push_word, words};
use crate::time::{Millis, Timestamp};

/// One way of spreading nonces over buckets.
pub(super) struct Layout {
    pub(super) buckets: Buckets,
    whose: Whose,
}

enum Whose {
    /// This table's.
    Own,
    /// Of another webhook of this configuration.
    Sibling,
    /// Of another configuration; so long it still matters.
    Earlier {
        claim_until: Timestamp,
        check_until: Timestamp,
    },
}

/// What tells one configuration from another.
pub(super) struct Generation<'a> {
    /// Differs from configuration to configuration.
    pub(super) id: u64,
    /// How many buckets each table of this configuration has.
    pub(super) counts: &'a [u64],
}

/// What a layout is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nonces are claimed in it.
    Claim,
    /// It is asked for what was claimed in it before.
    Check,
    /// It is asked when the claim has been made.
    CheckAfterwards,
    /// What was claimed in it has expired.
    None,
}

/// How long workers may go on with an older configuration: Envoy's drain time
/// (`--drain-time-s`, 600 s by default) and a margin.
const CHANGE_OVER: Millis = Millis::seconds(900);

/// More changes of the capacity than anybody makes before a restart; the oldest
/// layout is forgotten beyond it.
const MAX_LAYOUTS: usize = 8;

impl Layout {
    pub(super) fn own(buckets: Buckets) -> Layout {
        Layout {
            buckets,
            whose: Whose::Own,
        }
    }

    pub(super) fn is_own(&self) -> bool {
        matches!(self.whose, Whose::Own)
    }

    pub(super) fn used_at(&self, now: Timestamp) -> Use {
        match &self.whose {
            Whose::Own => Use::Claim,
            Whose::Sibling => Use::CheckAfterwards,
            Whose::Earlier { claim_until, .. } if now <= *claim_until => Use::Claim,
            Whose::Earlier { check_until, .. } if now <= *check_until => Use::Check,
            Whose::Earlier { .. } => Use::None,
        }
    }

    /// Whether a request on its way may have claimed in it: for as long as it is asked.
    pub(super) fn may_hold_a_claim_at(&self, now: Timestamp) -> bool {
        matches!(self.used_at(now), Use::Claim | Use::Check)
    }
}

/// Enters `own` into the directory and answers all layouts in it, in their order.
pub(super) fn join(
    store: &impl CasMap,
    own: Buckets,
    name: &str,
    generation: &Generation<'_>,
    max_pinned: Millis,
    now: Timestamp,
) -> Result<Vec<Layout>, CasError> {
    let entry = Entry {
        count: own.count(),
        slots: own.slots() as u64,
        generation: generation.id,
    };
    let known = update(store, &Buckets::directory_key(name), |value| {
        // Of a damaged directory nothing can be learned; it starts anew.
        let mut known = value.as_deref().and_then(read).unwrap_or_default();
        match known.iter_mut().find(|known| known.count == entry.count) {
            Some(same) if same.slots == entry.slots => return Update::Keep(known),
            // The same buckets with another number of slots hold the same entries. Who
            // used them first, did.
            Some(same) => same.slots = entry.slots,
            None => known.push(entry),
        }
        let surplus = known.len().saturating_sub(MAX_LAYOUTS);
        known.drain(..surplus);
        Update::Replace(write(&known), known)
    })?;
    let layout = |known: Entry| {
        let is_sibling = generation.counts.contains(&known.count);
        let whose = if known.count == own.count() {
            Whose::Own
        } else if is_sibling && known.generation == generation.id {
            Whose::Sibling
        } else {
            // A layout that was in use before is claimed in by workers that do not know
            // this table yet, whoever else uses it now.
            let claim_until = now.after(CHANGE_OVER);
            Whose::Earlier {
                claim_until,
                check_until: if is_sibling {
                    Timestamp(u64::MAX)
                } else {
                    claim_until.after(max_pinned)
                },
            }
        };
        Layout {
            buckets: Buckets::of_shape(
                name,
                known.count,
                usize::try_from(known.slots).unwrap_or(1),
            ),
            whose,
        }
    };
    Ok(known.into_iter().map(layout).collect())
}

/// A line of the directory.
#[derive(Clone, Copy)]
struct Entry {
    count: u64,
    slots: u64,
    /// The configuration that used it first.
    generation: u64,
}

const MAGIC: u64 = u64::from_le_bytes(*b"TWFd\0\0\0\x01");

fn read(value: &[u8]) -> Option<Vec<Entry>> {
    let mut words = words(value)?;
    if words.next()? != MAGIC {
        return None;
    }
    let mut known = Vec::new();
    while let Some(count) = words.next() {
        known.push(Entry {
            count,
            slots: words.next()?,
            generation: words.next()?,
        });
    }
    let is_sound = |entry: &Entry| entry.count > 0 && entry.slots > 0;
    (known.len() <= MAX_LAYOUTS && known.iter().all(is_sound)).then_some(known)
}

fn write(known: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + known.len() * 24);
    push_word(&mut out, MAGIC);
    for entry in known {
        push_word(&mut out, entry.count);
        push_word(&mut out, entry.slots);
        push_word(&mut out, entry.generation);
    }
    out
}
