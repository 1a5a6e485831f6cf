//! Is it the parameters? Changed by a proxy or a framework on the way, or signed by
//! a test client that does not do it as Twilio does.

use std::collections::BinaryHeap;

use crate::core::diagnosis::urls::replaced;
use crate::core::diagnosis::{Evidence, Search, candidate_urls};
use crate::core::signature::form::{Form, decode};
use crate::core::signature::url::Target;

/// Name and value.
type Pair = (Vec<u8>, Vec<u8>);

/// Parameters of messages and calls that are empty more often than not, and that
/// a proxy which drops empty values takes away.
const OFTEN_EMPTY: [&[&str]; 3] = [
    &[
        "FromCity",
        "FromCountry",
        "FromState",
        "FromZip",
        "ToCity",
        "ToCountry",
        "ToState",
        "ToZip",
    ],
    &[
        "CalledCity",
        "CalledCountry",
        "CalledState",
        "CalledZip",
        "CallerCity",
        "CallerCountry",
        "CallerState",
        "CallerZip",
    ],
    &[
        "Body",
        "ProfileName",
        "ButtonText",
        "ButtonPayload",
        "ErrorCode",
        "ErrorMessage",
        "Label",
    ],
];

/// Names that Twilio spells with capitals; see the messaging and voice request parameters,
/// <https://www.twilio.com/docs/messaging/guides/webhook-request>.
const NAMES: &[&str] = &[
    "AccountSid",
    "Address",
    "ApiVersion",
    "Body",
    "ButtonPayload",
    "ButtonText",
    "CallSid",
    "CallStatus",
    "Called",
    "CalledCity",
    "CalledCountry",
    "CalledState",
    "CalledZip",
    "Caller",
    "CallerCity",
    "CallerCountry",
    "CallerState",
    "CallerZip",
    "ChannelMetadata",
    "ChannelPrefix",
    "ChannelToAddress",
    "Digits",
    "Direction",
    "ErrorCode",
    "ErrorMessage",
    "Forwarded",
    "From",
    "FromCity",
    "FromCountry",
    "FromState",
    "FromZip",
    "Label",
    "Latitude",
    "Longitude",
    "MediaContentType0",
    "MediaUrl0",
    "MessageSid",
    "MessageStatus",
    "MessageType",
    "MessagingServiceSid",
    "NumMedia",
    "NumSegments",
    "OriginalRepliedMessageSender",
    "OriginalRepliedMessageSid",
    "ProfileName",
    "ReferralNumMedia",
    "SmsMessageSid",
    "SmsSid",
    "SmsStatus",
    "Timestamp",
    "To",
    "ToCity",
    "ToCountry",
    "ToState",
    "ToZip",
    "WaId",
];

/// Tries what is known to happen to parameters, one change at a time.
pub(super) fn explain(
    search: &mut Search<'_>,
    evidence: &Evidence<'_>,
    target: Target<'_>,
    form: Option<&Form>,
) -> Option<String> {
    let form = form?;
    let prefix = candidate_urls(evidence, target).into_iter().next()?;
    let mut fits = |signed: &[u8]| {
        let message = [&prefix, signed].concat();
        search.key_for(&message).is_some()
    };
    let pairs: Vec<Pair> = form
        .pairs()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    for (changed, mistake) in of_all(&pairs) {
        if changed != pairs && fits(&signed(&changed)) {
            return Some(mistake.into());
        }
    }
    for (names, group) in OFTEN_EMPTY.iter().flat_map(|group| {
        // All of a group, then each alone.
        let each = group.iter().map(std::slice::from_ref);
        std::iter::once(*group)
            .chain(each)
            .map(move |names| (names, group))
    }) {
        let missing = names
            .iter()
            .filter(|name| form.values(name.as_bytes()).next().is_none());
        let added: Vec<Pair> = missing
            .map(|name| (name.as_bytes().to_vec(), Vec::new()))
            .collect();
        if !added.is_empty() && fits(&signed(&[pairs.clone(), added].concat())) {
            let first = names.first().or(group.first()).copied().unwrap_or_default();
            return Some(format!(
                "parameters with empty values were dropped on the way, {first} among them"
            ));
        }
    }
    if let Some(mistake) = of_one_value(&pairs, &mut fits) {
        return Some(mistake);
    }
    of_a_test_client(form, evidence.body, &mut fits)
}

/// As Twilio signs: sorted by name, then value; nothing twice.
fn signed(pairs: &[Pair]) -> Vec<u8> {
    // Heaps sort here: more slowly than `sort` does, and in a tenth of its code.
    let mut sorted = pairs.iter().collect::<BinaryHeap<_>>().into_sorted_vec();
    sorted.dedup();
    joined(&sorted)
}

/// Sorted by something else; what is equal in it stays in its order.
fn sorted_by<'a>(pairs: &'a [Pair], key: &dyn Fn(&Pair) -> Vec<u8>) -> Vec<&'a Pair> {
    let keys = pairs.iter().map(key);
    let sorted = keys.zip(0_usize..).collect::<BinaryHeap<_>>();
    let places = sorted.into_sorted_vec().into_iter();
    places.filter_map(|(_, place)| pairs.get(place)).collect()
}

fn joined(pairs: &[&Pair]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    out
}

/// Each pair changed, or left out. The change is `dyn`: there are ten, and one loop.
#[inline(never)]
fn changed(pairs: &[Pair], change: &dyn Fn(&Pair) -> Option<Pair>) -> Vec<Pair> {
    pairs.iter().filter_map(change).collect()
}

/// Changes that something makes to every parameter.
fn of_all(pairs: &[Pair]) -> Vec<(Vec<Pair>, &'static str)> {
    let values = |change: &dyn Fn(&[u8]) -> Vec<u8>| -> Vec<Pair> {
        changed(pairs, &|(name, value)| Some((name.clone(), change(value))))
    };
    let filled = |pair: &Pair| (!pair.1.is_empty()).then(|| pair.clone());
    let proper = |name: &[u8]| -> Vec<u8> {
        let known = NAMES
            .iter()
            .find(|known| known.as_bytes().eq_ignore_ascii_case(name));
        known.map_or(name, |known| known.as_bytes()).to_vec()
    };
    let named = |(name, value): &Pair| Some((proper(name), value.clone()));
    vec![
        (
            changed(pairs, &named),
            "the names of the parameters were changed on the way, to lower case for instance",
        ),
        (
            changed(pairs, &filled),
            "it was signed without the parameters whose values are empty",
        ),
        (
            values(&|value| value.trim_ascii().to_vec()),
            "it was signed with white space around the values removed",
        ),
        (
            values(&decode),
            "the body was encoded a second time on the way",
        ),
        (
            values(&|value| replaced(value, b" ", b"+")),
            "the body was encoded anew on the way: a + in a value was not escaped and became a \
             space",
        ),
        (
            values(&with_plus_of_a_number),
            "the body was encoded anew on the way: the + of a number was not escaped and became a \
             space",
        ),
        (
            values(&|value| replaced(value, b"\r\n", b"\n")),
            "line ends in the values were changed on the way from LF to CR LF",
        ),
        (
            values(&|value| replaced(&replaced(value, b"\r\n", b"\n"), b"\n", b"\r\n")),
            "line ends in the values were changed on the way from CR LF to LF",
        ),
        (
            values(&latin1_to_utf8),
            "the body was encoded anew on the way: text that was UTF-8 is Latin-1 now",
        ),
        (
            values(&utf8_to_latin1),
            "the body was encoded anew on the way: text that was UTF-8 has been taken for Latin-1",
        ),
    ]
}

/// A space where the plus of a telephone number stands: at the start (`+49…`), or behind
/// the channel (`whatsapp:+49…`).
fn with_plus_of_a_number(value: &[u8]) -> Vec<u8> {
    let before = value.iter().take_while(|byte| byte.is_ascii_lowercase());
    let (channel, number) = value.split_at(before.count());
    let (colon, number) = match number.strip_prefix(b":") {
        Some(number) if !channel.is_empty() => (&b":"[..], number),
        _ => (&b""[..], number),
    };
    match number.strip_prefix(b" ") {
        Some(rest) if channel.is_empty() || !colon.is_empty() => {
            [channel, colon, b"+", rest].concat()
        }
        _ => value.to_vec(),
    }
}

/// White space that was cut off one value.
fn of_one_value(pairs: &[Pair], fits: &mut impl FnMut(&[u8]) -> bool) -> Option<String> {
    const CUT: [(&[u8], &[u8]); 6] = [
        (b"", b" "),
        (b" ", b""),
        (b"", b"\n"),
        (b" ", b" "),
        (b"", b"  "),
        (b"", b"\r\n"),
    ];
    for (before, after) in CUT {
        for place in 0..pairs.len().min(64) {
            let mut changed = pairs.to_vec();
            let (_, value) = changed.get_mut(place)?;
            *value = [before, value, after].concat();
            if fits(&signed(&changed)) {
                return Some("white space around a value was cut off on the way".into());
            }
        }
    }
    None
}

/// What test clients get wrong. Twilio does not.
fn of_a_test_client(
    form: &Form,
    body: &[u8],
    fits: &mut impl FnMut(&[u8]) -> bool,
) -> Option<String> {
    let sent: Vec<Pair> = form
        .pairs_as_sent()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    let by_text = sorted_by(&sent, &|(name, value)| [name.as_slice(), value].concat());
    let by_folded_name = sorted_by(&sent, &|(name, _)| name.to_ascii_lowercase());
    let attempts: [(Vec<u8>, &str); 5] = [
        (
            Vec::new(),
            "it was signed over the URL alone, without the parameters",
        ),
        (
            body.to_vec(),
            "it was signed over the URL and the raw body, not the parameters",
        ),
        (
            joined(&sent.iter().collect::<Vec<_>>()),
            "it was signed with the parameters as they are sent, not sorted by name",
        ),
        (
            joined(&by_text),
            "it was signed with name and value sorted as one text, not by name",
        ),
        (
            joined(&by_folded_name),
            "it was signed with the names sorted regardless of case, not by bytes",
        ),
    ];
    let found = attempts.iter().find(|(signed, _)| fits(signed));
    found.map(|(_, mistake)| (*mistake).to_owned())
}

fn latin1_to_utf8(value: &[u8]) -> Vec<u8> {
    value
        .iter()
        .map(|byte| char::from(*byte))
        .collect::<String>()
        .into_bytes()
}

fn utf8_to_latin1(value: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(value) else {
        return value.to_vec();
    };
    let bytes: Option<Vec<u8>> = text
        .chars()
        .map(|char| u8::try_from(u32::from(char)).ok())
        .collect();
    bytes.unwrap_or_else(|| value.to_vec())
}
