//! What the contract says of a request, by the plain functions of [`support::contract`]. The libraries cannot tell
//! whether the filter is right where it differs from them on purpose; this can.

use crate::places::{ACCOUNT, Place, SHARED_KEY};
use crate::requests::{Case, own_query};
use support::contract::{
    Must, ends_in_a_hash, has_moved_boundaries, pairs, same_parameters, signed,
};
use support::reference::{Parts, signature};
use support::signing::sha256_hex;
use support::strictness::{Rule, broken};

/// Which spellings of a form the filter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    Strict,
    Lenient,
}

impl Spelling {
    /// As the configuration has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Spelling::Strict => "strict",
            Spelling::Lenient => "lenient",
        }
    }

    pub(crate) fn takes(self, form: &[u8]) -> bool {
        match self {
            Spelling::Strict => broken(form).is_empty(),
            Spelling::Lenient => !broken(form).contains(&Rule::TooMany),
        }
    }
}

/// What is signed behind the URL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind<'a> {
    /// There is no body.
    Nothing,
    Form(&'a [u8]),
    /// Nothing, and the URL ends in the hash of the body.
    HashedBody,
}

/// Whether the filter has to accept it.
pub(crate) fn accepts(case: &Case, places: &[Place], spelling: Spelling) -> bool {
    let place = &places[case.place];
    let Some(behind) = covered(case, spelling) else {
        return false;
    };
    let by_shared_key = case
        .settings
        .as_deref()
        .is_some_and(|settings| settings.contains(SHARED_KEY));
    let is_signed = candidates(case, place, behind).iter().any(|signed| {
        let url = signed.url.url();
        let made = signature(by_shared_key, case.secret, &url, &signed.parameters);
        made == case.signature && !are_moved(&url, signed.form)
    });
    let query = case.query.as_deref().unwrap_or_default().as_bytes();
    let form = match behind {
        Behind::Form(form) => form,
        _ => b"",
    };
    let mut all = pairs(form).into_iter().chain(pairs(query));
    let of_another = all.any(|(name, value)| name == b"AccountSid" && value != ACCOUNT.as_bytes());
    is_signed && (by_shared_key || !of_another)
}

/// What covers the body; `None` for one that no signature covers, and for a form that is spelled otherwise.
fn covered(case: &Case, spelling: Spelling) -> Option<Behind<'_>> {
    let content_type = case.content_type.as_deref().unwrap_or_default();
    let content_type = content_type.to_lowercase().replace(' ', "");
    let hashes: Vec<String> = hashes(case.query.as_deref()).collect();
    if case.body.is_empty() {
        // All webhooks here take POST.
        let of_nothing = [sha256_hex(b""), sha256_hex(b"{}")];
        let all = hashes.iter().all(|hash| of_nothing.contains(hash));
        return all.then_some(Behind::Nothing);
    }
    if case.method == "GET" {
        return None;
    }
    if ["", ";charset=utf-8"]
        .iter()
        .any(|rest| content_type == format!("{FORM}{rest}"))
    {
        // Of `&` and `=` alone nothing is signed.
        let is_signed = !signed(&pairs(&case.body)).is_empty();
        return (is_signed && spelling.takes(&case.body)).then_some(Behind::Form(&case.body));
    }
    let is_right = hashes == [sha256_hex(&case.body)] && !content_type.contains(FORM);
    is_right.then_some(Behind::HashedBody)
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Every `bodySHA256` of a query, in lower case.
fn hashes(query: Option<&str>) -> impl Iterator<Item = String> {
    let all = pairs(query.unwrap_or_default().as_bytes()).into_iter();
    all.filter(|(name, _)| name == b"bodySHA256")
        .map(|(_, value)| String::from_utf8_lossy(&value).to_ascii_lowercase())
}

/// Whether its last parameter is a `bodySHA256`.
pub(crate) fn ends_in_hash(query: Option<&str>) -> bool {
    let last = query.unwrap_or_default().rsplit('&').next();
    hashes(last).next().is_some()
}

/// What may have been signed.
pub(crate) struct Candidate<'a> {
    pub(crate) url: Parts,
    /// The form whose parameters are signed behind it.
    pub(crate) form: Option<&'a [u8]>,
    pub(crate) parameters: Vec<u8>,
}

/// All that may have been signed for this request.
pub(crate) fn candidates_of<'a>(case: &'a Case, place: &Place) -> Vec<Candidate<'a>> {
    // Strict forms are lenient ones, too.
    match covered(case, Spelling::Lenient) {
        Some(behind) => candidates(case, place, behind),
        None => Vec::new(),
    }
}

fn candidates<'a>(case: &'a Case, place: &Place, behind: Behind<'a>) -> Vec<Candidate<'a>> {
    let received = Parts::of(&place.url(case.query.as_deref()));
    let form = match behind {
        Behind::Form(form) => Some(form),
        _ => None,
    };
    let mut urls = Vec::new();
    let as_received = match behind {
        Behind::Nothing => true,
        Behind::Form(_) => has_the_configured_query(case, place, true),
        Behind::HashedBody => ends_in_hash(case.query.as_deref()),
    };
    if as_received {
        urls.push(received.clone());
    }
    if place.own_query.is_some() && has_the_configured_query(case, place, form.is_some()) {
        urls.push(Parts {
            query: own_query(place, case.query.as_deref()),
            ..received.clone()
        });
    }
    let mut all = Vec::new();
    for url in in_all_forms(&urls, &received, place.websocket) {
        all.push(Candidate {
            url,
            form,
            parameters: signed(&pairs(form.unwrap_or_default())),
        });
    }
    let query = case.query.as_deref().unwrap_or_default().as_bytes();
    if place.websocket && !query.is_empty() && Spelling::Strict.takes(query) {
        let without = Parts {
            query: None,
            ..received.clone()
        };
        for url in in_all_forms(&[without], &received, false) {
            all.push(Candidate {
                url,
                form: Some(query),
                parameters: signed(&pairs(query)),
            });
        }
    }
    all
}

/// Each with every port, with and without user and password, and with a slash at its end where that is tried.
fn in_all_forms(urls: &[Parts], received: &Parts, with_slash: bool) -> Vec<Parts> {
    let mut ports = vec![
        received.port.as_deref(),
        None,
        Some(received.default_port()),
    ];
    if received.scheme == "wss" {
        ports.push(Some("80"));
    }
    let mut all = Vec::new();
    for url in urls {
        for port in &ports {
            for userinfo in [&*received.userinfo, ""] {
                let url = Parts {
                    userinfo: userinfo.to_owned(),
                    ..url.with_port(*port)
                };
                if with_slash && !url.path.ends_with('/') {
                    all.push(Parts {
                        path: format!("{}/", url.path),
                        ..url.clone()
                    });
                }
                all.push(url);
            }
        }
    }
    all
}

/// Whether the query holds just the parameters that the configured URL spells out, if it does; besides a hash, unless it
/// is a form's.
pub(crate) fn has_the_configured_query(case: &Case, place: &Place, is_form: bool) -> bool {
    let own = place.own_query.as_deref();
    let received = case.query.as_deref().unwrap_or_default();
    let has_hash = hashes(case.query.as_deref()).next().is_some();
    own.is_none_or(|own| {
        same_parameters(own.as_bytes(), received.as_bytes()) && !(is_form && has_hash)
    })
}

/// Whether more identifiers are in the signed string than there are parameters with them, or a form's string ends as
/// that of another body.
pub(crate) fn are_moved(url: &str, form: Option<&[u8]>) -> bool {
    let pairs = pairs(form.unwrap_or_default());
    let signed = [url.as_bytes(), &signed(&pairs)].concat();
    has_moved_boundaries(&signed, &pairs) != Must::Pass || form.is_some() && ends_in_a_hash(&signed)
}
