//! What the contract says of a request, by the plain functions of [`crate::reference`]. The libraries cannot tell
//! whether the filter is right where it differs from them on purpose; this can.

use crate::places::{ACCOUNT, Place, SHARED_KEY};
use crate::reference::{Parts, Reader, decode, pairs, parameters, sha256_hex, signature};
use crate::requests::{Case, own_query};

/// Whether the filter has to accept it.
pub(crate) fn accepts(case: &Case, places: &[Place]) -> bool {
    let place = &places[case.place];
    let Some(form) = covered(case) else {
        return false;
    };
    let by_shared_key = case
        .settings
        .as_deref()
        .is_some_and(|settings| settings.contains(SHARED_KEY));
    let signed_parameters = parameters(Reader::Contract, form);
    let is_signed = urls(case, place).iter().any(|url| {
        let url = url.url();
        signature(by_shared_key, case.secret, &url, &signed_parameters) == case.signature
    });
    let query = case.query.as_deref().unwrap_or_default().as_bytes();
    let mut accounts = pairs(form.unwrap_or_default())
        .chain(pairs(query))
        .filter(|(name, _)| decode(Reader::Contract, name) == b"AccountSid");
    let of_another =
        |value: &[u8]| decode(Reader::Contract, value) != ACCOUNT.as_bytes() && !by_shared_key;
    is_signed && !accounts.any(|(_, value)| of_another(value))
}

/// The parameters that are signed with the URL, if any; `None` for a body that no signature covers.
fn covered(case: &Case) -> Option<Option<&[u8]>> {
    let content_type = case.content_type.as_deref().unwrap_or_default();
    let content_type = content_type.to_lowercase().replace(' ', "");
    let is_empty = case.body.is_empty();
    if !is_empty
        && ["", ";charset=utf-8"]
            .iter()
            .any(|rest| content_type == format!("{FORM}{rest}"))
    {
        // Of `&` and `=` alone nothing is signed.
        let is_signed = !parameters(Reader::Contract, Some(&case.body)).is_empty();
        return is_signed.then_some(Some(&case.body));
    }
    let query = case.query.as_deref().unwrap_or_default().as_bytes();
    let mut hashes =
        pairs(query).filter(|(name, _)| decode(Reader::Contract, name) == b"bodySHA256");
    let (Some((_, hash)), None) = (hashes.next(), hashes.next()) else {
        return (is_empty
            && pairs(query).all(|(name, _)| decode(Reader::Contract, name) != b"bodySHA256"))
        .then_some(None);
    };
    let hash = decode(Reader::Contract, hash).to_ascii_lowercase();
    let is_right = hash == sha256_hex(&case.body).as_bytes();
    (is_right && (is_empty || !content_type.contains(FORM))).then_some(None)
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Every URL that may have been signed.
pub(crate) fn urls(case: &Case, place: &Place) -> Vec<Parts> {
    let received = Parts::of(&place.url(case.query.as_deref()));
    let mut queries = vec![received.clone()];
    let own = own_query(place, case.query.as_deref());
    if place.own_query.is_some() && decoded(&own) == decoded(&case.query) {
        queries.push(Parts {
            query: own,
            ..received.clone()
        });
    }
    let mut ports = vec![
        received.port.as_deref(),
        None,
        Some(received.default_port()),
    ];
    if place.websocket {
        ports.push(Some("80"));
    }
    let mut urls = Vec::new();
    for url in queries {
        for port in &ports {
            let url = url.with_port(*port);
            if place.websocket && !url.path.ends_with('/') {
                urls.push(Parts {
                    path: format!("{}/", url.path),
                    ..url.clone()
                });
            }
            urls.push(url);
        }
    }
    urls
}

/// Decoded, in any order, equal ones as often as they occur.
fn decoded(query: &Option<String>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = |escaped| decode(Reader::Contract, escaped);
    let mut pairs: Vec<_> = pairs(query.as_deref().unwrap_or_default().as_bytes())
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    pairs.sort();
    pairs
}
