//! The URL: another scheme, host, port or path than configured, or no query.
//!
//! Each part has variants with a rank: variants that the request names rank before those that are
//! merely common. URLs are tried in the order of the sum of their ranks, so that one likely mistake
//! comes before two, and two likely ones before one that is rare. At most one part besides the
//! scheme is a guess that nothing in the request suggests.

mod named;
mod parts;
mod variants;

use crate::diagnosis::context::Context;
use crate::diagnosis::urls::named::{HEADERS_WITH_A_PATH, Named, target_in};
use crate::diagnosis::urls::parts::{
    authorities, authority, own_path, own_scheme, paths, queries, schemes, split_host,
};
use crate::diagnosis::urls::variants::{Mistake, Part, Variant};
use crate::diagnosis::work::Search;
use crate::signature::url::Target;

/// Which part is a guess that nothing in the request suggests.
#[derive(Clone, Copy)]
pub(super) enum Guess {
    None,
    PathOrQuery,
    Authority,
}

/// The variants of each part.
pub(super) struct Urls {
    own: [Vec<u8>; 2],
    schemes: Part,
    authorities: Part,
    paths: Part,
    queries: Part,
}

impl Urls {
    /// Collects the variants; `None` if no work is left.
    pub(super) fn new(
        search: &mut Search<'_>,
        context: &Context<'_>,
        target: Target<'_>,
    ) -> Option<Urls> {
        let url = context.public.url();
        let path = own_path(context, target);
        let query = target.query.unwrap_or_default();
        // About 40 texts.
        let bytes = 8 * path.len() + 4 * query.len();
        if !search.work.take_copies(80, bytes) {
            return None;
        }
        let named = Named::new(context);
        let mut in_headers = Vec::new();
        for name in HEADERS_WITH_A_PATH {
            let Some(target) = target_in(context, name) else {
                continue;
            };
            let length = target.path.len() + target.query.unwrap_or_default().len();
            if !search.work.take_copies(4, 3 * length) {
                return None;
            }
            in_headers.push((name, target));
        }
        let own_scheme = own_scheme(url, target);
        Some(Urls {
            schemes: schemes(own_scheme, target.websocket),
            authorities: authorities(&named, url),
            paths: paths(context, path, target, &in_headers),
            queries: queries(url, target, &in_headers),
            own: [own_scheme.into(), authority(url.host(), url.port())],
        })
    }

    /// Returns scheme, authority and path as configured.
    pub(super) fn origin_and_path(&self) -> Vec<u8> {
        let parts = [&self.schemes, &self.authorities, &self.paths];
        let right = parts.iter().filter_map(|part| part.0.first());
        right
            .flat_map(|variant| variant.text.iter().copied())
            .collect()
    }

    /// Tries all URLs of a rank and with a guess. `signed` is what is signed after the URL.
    pub(super) fn explain(
        &self,
        search: &mut Search<'_>,
        (rank, guess): (u8, Guess),
        signed: &[u8],
    ) -> Option<String> {
        for query in self.queries.up_to(rank) {
            for path in self.paths.up_to(rank - query.rank) {
                if search.work.is_used_up() {
                    return None;
                }
                let left = rank - query.rank - path.rank;
                for authority in self.authorities.up_to(left) {
                    let left = left - authority.rank;
                    for scheme in self.schemes.up_to(left) {
                        let parts = [scheme, authority, path, query];
                        let guesses = (authority.is_guess, path.is_guess, query.is_guess);
                        let is_of_kind = match guess {
                            Guess::None => guesses == (false, false, false),
                            Guess::Authority => guesses == (true, false, false),
                            Guess::PathOrQuery => {
                                matches!(guesses, (false, true, false) | (false, false, true))
                            }
                        };
                        if scheme.rank != left || !is_of_kind {
                            continue;
                        }
                        let texts = parts.map(|part| part.text.as_slice());
                        let [scheme, authority, path, query] = texts;
                        if search.fits(&[scheme, authority, path, query, signed]) {
                            return Some(self.describe(parts));
                        }
                    }
                }
            }
        }
        None
    }

    /// Puts all mistakes into words.
    fn describe(&self, parts: [&Variant; 4]) -> String {
        let [own_scheme, own_authority] = &self.own;
        let mut mistakes = Vec::new();
        for part in parts {
            let text = shown(&part.text);
            match part.mistake {
                Mistake::None => {}
                Mistake::Scheme => mistakes.push(format!(
                    "the scheme that was signed is {}, not {}",
                    text.trim_end_matches("://"),
                    shown(own_scheme)
                )),
                Mistake::Authority => {
                    describe_authority(&text, &shown(own_authority), &mut mistakes)
                }
                Mistake::Said(mistake) => mistakes.push(mistake.into()),
                Mistake::Header(name) => mistakes.push(format!(
                    "the path was rewritten on the way: the one that was signed is in the header \
                     {name}"
                )),
            }
        }
        mistakes.join("; and ")
    }
}

/// Describes a wrong host or port. The signature matches, so that the holder of the key chose them.
fn describe_authority(signed: &str, own: &str, mistakes: &mut Vec<String>) {
    let (host, port) = split_host(signed);
    let (own_host, own_port) = split_host(own);
    if host != own_host {
        let without_user = host.rsplit('@').next().unwrap_or_default();
        mistakes.push(format!(
            "the host that was signed is {without_user}, not the configured one"
        ));
    }
    if port != own_port {
        mistakes.push(match port {
            Some(port) => format!("the URL that was signed has the port {port}"),
            None => "the URL that was signed has no port".into(),
        });
    }
}

/// The maximum number of characters of a part that a hint shows.
const MAX_SHOWN: usize = 255;

/// Returns the printable characters of a part.
fn shown(text: &[u8]) -> String {
    let printable = |byte: &u8| match byte {
        0x21..=0x7E => char::from(*byte),
        _ => '?',
    };
    text.iter().map(printable).take(MAX_SHOWN).collect()
}
