//! The order in which the known mistakes are tried: the likeliest first.

use crate::diagnosis::context::{Context, FailedSignature};
use crate::diagnosis::keys::Suspected;
use crate::diagnosis::parameters::{MAX_PARAMETERS, Parameters};
use crate::diagnosis::queries::{MAX_PERMUTED, Queries};
use crate::diagnosis::urls::{Guess, Urls};
use crate::diagnosis::work::{OF_A_MAC, Search, Work};
use crate::diagnosis::{body, keys, remains};
use crate::reason::Reason;
use crate::signature::form::Form;
use crate::signature::keyring::Key;
use crate::signature::url::Target;

const TOO_LONG: &str = "URL and parameters are too long for a diagnosis";

impl FailedSignature {
    /// Returns what would have made the signature match, or what was tried if nothing would.
    pub fn explain(&self, context: &Context<'_>) -> Option<String> {
        context.verified.learn();
        let target = Target::new(&self.target, self.websocket);
        let method = context.headers.pseudo(":method");
        match self.reason {
            Reason::InvalidSignature => Some(self.explain_signature(context, target)),
            Reason::BodyHashMismatch => {
                let query = target.query.unwrap_or_default();
                Some(body::explain_mismatch(query, method, context.body))
            }
            Reason::UnsignedBody => {
                let mut work = Work::new();
                let query = parsed_query(&mut work, target);
                let keys = Suspected::new(self, context, &query);
                let mut search = Search::new(only_keys(&keys.selected), &self.claimed, work);
                let urls = candidate_urls(&mut search.work, context, target)?;
                let explained =
                    body::explain_unsigned(&mut search, &urls, target.query, method, context.body);
                Some(explained)
            }
            _ => None,
        }
    }

    fn explain_signature(&self, context: &Context<'_>, target: Target<'_>) -> String {
        let mut work = Work::new();
        let query = parsed_query(&mut work, target);
        let keys = Suspected::new(self, context, &query);
        let count = self.form.as_ref().map_or(0, |form| form.pairs().count());
        if !work.take(5 * count) {
            return TOO_LONG.into();
        }
        let mut signed = Vec::new();
        if let Some(form) = &self.form {
            form.write_signed(&mut signed);
        }
        let Some(urls) = candidate_urls(&mut work, context, target) else {
            return TOO_LONG.into();
        };
        let of_one = |url: &Vec<u8>| url.len() + signed.len() + OF_A_MAC;
        let hashed = urls.iter().map(of_one).sum();
        let body = self.form.as_ref().map_or(0, |_| context.body.len());
        work.take_own(hashed, self.claimed.length(), body, count);
        let mut unselected = Search::new(only_keys(&keys.unselected), &self.claimed, work);
        if let Some(hint) = explain_unselected(&mut unselected, &urls, &signed) {
            return hint;
        }
        if let Some(hint) = keys::explain_none(self, context) {
            return hint;
        }
        let before = unselected.work;
        let mut search = Search::new(only_keys(&keys.selected), &self.claimed, before);
        if let Some(hint) = self.find(&mut search, context, &keys, &urls, &signed) {
            return hint;
        }
        if search.tried == 0 {
            return TOO_LONG.into();
        }
        keys::explain_account(self, &query, context.keyring).unwrap_or_else(|| {
            let used_up = search.work.is_used_up();
            let id = keys::unknown_id(self, context.keyring);
            let form = self.form.as_ref();
            remains::no_match(context, target, form, &keys, id.as_deref(), used_up)
        })
    }

    /// Tries the known mistakes, the likeliest first, until one matches.
    fn find(
        &self,
        search: &mut Search<'_>,
        context: &Context<'_>,
        keys: &Suspected<'_>,
        received: &[Vec<u8>],
        signed: &[u8],
    ) -> Option<String> {
        let target = Target::new(&self.target, self.websocket);
        let form = self.form.as_ref();
        let has_own_query = context.public.url().query().is_some();
        if form.is_some() && has_own_query && received.iter().any(|url| search.fits(&[url, signed]))
        {
            return Some(
                "the URL that arrived is signed, but its query does not hold just the parameters \
                 of the one in the configured url"
                    .into(),
            );
        }
        let urls = Urls::new(search, context, target)?;
        let find = |search: &mut Search<'_>, rank, guess| match search.work.is_used_up() {
            true => None,
            false => urls.explain(search, (rank, guess), signed),
        };
        // First of all, so that it is tried for long messages, too.
        let likeliest = find(search, 1, Guess::None);
        if likeliest.is_some() {
            return likeliest;
        }
        let before = urls.origin_and_path();
        let query = target.query.filter(|query| !query.is_empty());
        let queries = query.and_then(|query| Queries::new(search, &before, query, signed));
        let first = received.first().map(Vec::as_slice).unwrap_or_default();
        let parameters = form.and_then(|form| Parameters::new(search, first, form, signed));
        let (queries, parameters) = (queries.as_ref(), parameters.as_ref());
        let first_key = keys.selected.first();
        let account = first_key.and_then(|(_, key)| key.account.as_deref());

        let sorted = queries.filter(|queries| queries.are_sorted());
        let unsorted = queries.filter(|queries| !queries.are_sorted());

        // What the request suggests, or what changes the whole of it in one way.
        find(search, 1, Guess::PathOrQuery)
            .or_else(|| queries?.explain_one(search))
            .or_else(|| find(search, 2, Guess::None))
            .or_else(|| sorted?.explain_sorted(search))
            .or_else(|| queries?.explain_appended(search))
            .or_else(|| parameters?.explain_all(search))
            .or_else(|| parameters?.explain_dropped_empty(search))
            .or_else(|| explain_url_alone(search, form, first))
            .or_else(|| parameters?.explain_added(search, false))
            .or_else(|| find(search, 3, Guess::None))
            // What is common.
            .or_else(|| find(search, 2, Guess::PathOrQuery))
            .or_else(|| queries?.explain_added(search))
            .or_else(|| parameters?.explain_cut(search, true))
            .or_else(|| find(search, 3, Guess::PathOrQuery))
            .or_else(|| queries?.explain_pair(search))
            .or_else(|| find(search, 3, Guess::Authority))
            .or_else(|| find(search, 4, Guess::Authority))
            .or_else(|| parameters?.explain_dropped(search, account))
            .or_else(|| parameters?.explain_cut(search, false))
            // What is rare.
            .or_else(|| queries?.explain_rare_escaping(search))
            .or_else(|| unsorted?.explain_order(search, 4))
            .or_else(|| unsorted?.explain_both(search, 4))
            .or_else(|| parameters?.explain_test_client(search, context.body))
            .or_else(|| find(search, 4, Guess::PathOrQuery))
            .or_else(|| (5..=6).find_map(|rank| find(search, rank, Guess::Authority)))
            .or_else(|| queries?.explain_order(search, MAX_PERMUTED))
            .or_else(|| parameters?.explain_added(search, true))
            .or_else(|| find(search, 4, Guess::None))
            .or_else(|| find(search, 5, Guess::PathOrQuery))
    }
}

/// Explains a test client that signs no parameters.
fn explain_url_alone(search: &mut Search<'_>, form: Option<&Form>, url: &[u8]) -> Option<String> {
    form?;
    let fits = search.fits(&[url]);
    fits.then(|| "it was signed over the URL alone, without the parameters".into())
}

/// Explains a signature by a key that the request did not select.
fn explain_unselected(search: &mut Search<'_>, urls: &[Vec<u8>], signed: &[u8]) -> Option<String> {
    let key = urls.iter().find_map(|url| search.key_for(&[url, signed]))?;
    Some(format!(
        "it is signed with the key {}, which the request does not select: the header \
         x-twilio-webhooks-signature-settings is missing, or names another key",
        key.label
    ))
}

fn only_keys<'a>(keys: &[(usize, &'a Key)]) -> Vec<&'a Key> {
    keys.iter().map(|(_, key)| *key).collect()
}

/// Returns the parameters of the query, or none if there are too many.
fn parsed_query(work: &mut Work, target: Target<'_>) -> Form {
    let query = target.query.unwrap_or_default();
    let mut pieces = query.split(|byte| *byte == b'&');
    let is_small = work.take(query.len()) && pieces.nth(MAX_PARAMETERS).is_none();
    Form::parse(if is_small { query } else { b"" })
}

/// Returns every URL that may have been signed, as it is signed; `None` if no work is left. It is
/// a list, so that [`PublicUrl::candidates`] is compiled into one place only.
///
/// [`PublicUrl::candidates`]: crate::signature::url::PublicUrl::candidates
fn candidate_urls(
    work: &mut Work,
    context: &Context<'_>,
    target: Target<'_>,
) -> Option<Vec<Vec<u8>>> {
    let mut urls = Vec::new();
    for url in context.public.candidates(target) {
        let mut text = Vec::new();
        url.write(&mut text);
        if !work.take_copies(2, text.len()) {
            return None;
        }
        urls.push(text);
    }
    Some(urls)
}
