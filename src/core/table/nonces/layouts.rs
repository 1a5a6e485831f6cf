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
//! The directory of layouts is a value of the store itself:
//!
//! ```text
//! directory = magic *( buckets slots )    ; 64-bit little-endian words
//! ```

use crate::core::clock::{Moment, Span};
use crate::core::table::buckets::{Buckets, push_word, words};
use crate::core::table::store::{SharedStore, Step, StoreError, update};

/// One way of spreading nonces over buckets.
pub(super) struct Layout {
    pub(super) buckets: Buckets,
    /// `None` for the layout of this configuration.
    earlier: Option<Earlier>,
}

/// Until when a layout of another configuration still matters.
struct Earlier {
    claim_until: Moment,
    check_until: Moment,
}

/// What a layout is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nonces are claimed in it.
    Claim,
    /// It is asked for what was claimed in it before.
    Check,
    /// What was claimed in it has expired.
    None,
}

/// How long workers may go on with an older configuration: Envoy's drain time
/// (`--drain-time-s`, 600 s by default) and a margin.
const CHANGE_OVER: Span = Span::seconds(900);

/// More changes of the capacity than anybody makes before a restart; the oldest
/// layout is forgotten beyond it.
const MOST_LAYOUTS: usize = 8;

impl Layout {
    pub(super) fn own(buckets: Buckets) -> Layout {
        Layout {
            buckets,
            earlier: None,
        }
    }

    pub(super) fn is_own(&self) -> bool {
        self.earlier.is_none()
    }

    pub(super) fn used_at(&self, now: Moment) -> Use {
        match &self.earlier {
            None => Use::Claim,
            Some(earlier) if now <= earlier.claim_until => Use::Claim,
            Some(earlier) if now <= earlier.check_until => Use::Check,
            Some(_) => Use::None,
        }
    }

    /// Whether a request on its way may have claimed in it: for as long as it is asked.
    pub(super) fn may_hold_a_claim_at(&self, now: Moment) -> bool {
        self.used_at(now) != Use::None
    }
}

/// Enters `own` into the directory and answers all layouts in it, in their order.
pub(super) fn join(
    store: &impl SharedStore,
    own: Buckets,
    name: &str,
    longest: Span,
    now: Moment,
) -> Result<Vec<Layout>, StoreError> {
    let entry = (own.count(), own.slots() as u64);
    let known = update(store, &Buckets::directory_key(name), |value| {
        // Of a damaged directory nothing can be learned; it starts anew.
        let mut known = value.and_then(read).unwrap_or_default();
        match known.iter_mut().find(|known| known.0 == entry.0) {
            Some(same) if *same == entry => return Step::Leave(known),
            // The same buckets with another number of slots hold the same entries.
            Some(same) => *same = entry,
            None => known.push(entry),
        }
        let surplus = known.len().saturating_sub(MOST_LAYOUTS);
        known.drain(..surplus);
        Step::Write(write(&known), known)
    })?;
    let layout = |(count, slots): (u64, u64)| Layout {
        buckets: Buckets::of_shape(name, count, usize::try_from(slots).unwrap_or(1)),
        earlier: (count != own.count()).then(|| Earlier {
            claim_until: now.after(CHANGE_OVER),
            check_until: now.after(CHANGE_OVER).after(longest),
        }),
    };
    Ok(known.into_iter().map(layout).collect())
}

const MAGIC: u64 = u64::from_le_bytes(*b"TWFd\0\0\0\x01");

fn read(value: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut words = words(value)?;
    if words.next()? != MAGIC {
        return None;
    }
    let mut known = Vec::new();
    while let Some(count) = words.next() {
        known.push((count, words.next()?));
    }
    let is_sound = |(count, slots): &(u64, u64)| *count > 0 && *slots > 0;
    (known.len() <= MOST_LAYOUTS && known.iter().all(is_sound)).then_some(known)
}

fn write(known: &[(u64, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + known.len() * 16);
    push_word(&mut out, MAGIC);
    for (count, slots) in known {
        push_word(&mut out, *count);
        push_word(&mut out, *slots);
    }
    out
}
