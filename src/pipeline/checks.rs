//! The checks that need nothing but the request and the configuration: pure functions, in
//! the order in which [`super::filter`] makes them.

use crate::config::settings::{Settings, TimestampSettings, WebhookSettings};
use crate::diagnosis::FailedSignature;
use crate::pipeline::hints;
use crate::pipeline::limits::Authenticated;
use crate::pipeline::rejection::Rejection;
use crate::reason::Reason;
use crate::request::headers::{
    BodyInHandshake, Headers, ORIGINAL_PATH_HEADER, SETTINGS_HEADER, SIGNATURE_HEADER,
};
use crate::signature::coverage::{Coverage, DeclaredBody, Method, MethodKind};
use crate::signature::form::Form;
use crate::signature::key::{ClaimedMac, Nonce, sha256};
use crate::signature::keyring::Key;
use crate::signature::url::{Behind, Target};
use crate::signature::verify::{ACCOUNT_PARAMETER, Signed, Unverified, verify};
use crate::time::Timestamp;

/// 0: the webhook takes the method, and path and query are not too long, as received and as signed.
pub fn check_target(
    settings: &Settings,
    webhook: &WebhookSettings,
    headers: Headers<'_>,
) -> Result<(), Rejection> {
    let method = headers.pseudo(":method");
    if !webhook.methods.iter().any(|own| own.as_bytes() == method) {
        let hint = hints::of_method(method, &webhook.methods);
        return Err(Rejection::from(Reason::MethodNotAllowed).with_hint(hint));
    }
    let is_long = |target: &[u8]| target.len() > settings.max_target_bytes;
    // What is signed may be another one than what was received.
    if is_long(headers.pseudo(":path"))
        || settings.trust_original_path && is_long(signed_target(settings, headers))
    {
        return Err(Reason::TargetTooLong.into());
    }
    Ok(())
}

/// What the headers say of the signature, and of what it covers. Headers cannot be read any
/// more when the body is complete.
pub struct SignatureHeaders {
    claimed: ClaimedMac,
    /// The header that selects a shared key.
    settings: Option<Vec<u8>>,
    /// Path and query as they are signed.
    target: Vec<u8>,
    method: MethodKind,
    declared: DeclaredBody,
    /// Whether it is a WebSocket handshake.
    pub websocket: bool,
}

/// 2 to 4: there is a key, there is one signature, and an unsigned timestamp is recent.
pub fn parse_signature_headers(
    settings: &Settings,
    webhook: &WebhookSettings,
    headers: Headers<'_>,
    now: Timestamp,
) -> Result<SignatureHeaders, Reason> {
    // 2
    if settings.keyring.is_empty() {
        return Err(Reason::NotConfigured);
    }

    // 3: exactly one signature, in its one spelling.
    let signature = headers.once(SIGNATURE_HEADER);
    let signature = signature.map_err(|_| Reason::MalformedSignature)?;
    let signature = signature.ok_or(Reason::MissingSignature)?;
    let claimed = ClaimedMac::parse(signature).ok_or(Reason::MalformedSignature)?;
    let settings_header = headers.once(SETTINGS_HEADER);
    let settings_header = settings_header.map_err(|_| Reason::MalformedSignature)?;

    // 4: an unsigned timestamp can only reject.
    let timestamp = &webhook.timestamp;
    if let Some(name) = &timestamp.header {
        let value = headers.once(name);
        let value = value.map_err(|_| Reason::MalformedTimestamp)?;
        if let Some(value) = value {
            timestamp.freshness.check(value, now)?;
        }
    }
    let websocket = headers.websocket();
    let websocket = websocket.map_err(|BodyInHandshake| Reason::MalformedBody)?;
    Ok(SignatureHeaders {
        claimed,
        settings: settings_header.map(<[u8]>::to_vec),
        target: signed_target(settings, headers).to_vec(),
        method: MethodKind::of(headers.pseudo(":method")),
        declared: DeclaredBody::new(
            headers.once("content-type"),
            headers.once("content-encoding"),
        ),
        websocket,
    })
}

/// Returns path and query as they were before a trusted Envoy in front rewrote them.
pub(crate) fn signed_target<'a>(settings: &Settings, headers: Headers<'a>) -> &'a [u8] {
    let received = headers.pseudo(":path");
    if !settings.trust_original_path {
        return received;
    }
    // Repeated, it is not what an Envoy in front has set: then the path counts,
    // and with a path that was rewritten no signature fits.
    match headers.once(ORIGINAL_PATH_HEADER) {
        Ok(Some(original)) => original,
        _ => received,
    }
}

/// Why a complete request is rejected, signed or not.
pub enum ContentProblem {
    /// For a reason that the signature has nothing to do with.
    Rejected(Rejection),
    /// Its signature may be explained to the operator, with the form if there is one.
    Unsigned(Reason, Option<Form>),
}

impl From<Rejection> for ContentProblem {
    fn from(rejection: Rejection) -> ContentProblem {
        ContentProblem::Rejected(rejection)
    }
}

impl ContentProblem {
    /// Returns the rejection of the request with these headers.
    pub fn into_rejection(self, headers: SignatureHeaders) -> Rejection {
        let (reason, form) = match self {
            ContentProblem::Rejected(rejection) => return rejection,
            ContentProblem::Unsigned(reason, form) => (reason, form),
        };
        let failed_signature = FailedSignature::can_be_explained(reason).then(|| {
            Box::new(FailedSignature {
                reason,
                claimed: headers.claimed,
                settings: headers.settings,
                target: headers.target,
                websocket: headers.websocket,
                form,
            })
        });
        Rejection {
            failed_signature,
            ..Rejection::from(reason)
        }
    }
}

/// What the signature has to cover besides the URL.
pub struct SignedContent<'a> {
    target: Target<'a>,
    coverage: Coverage,
    form: Option<Form>,
}

/// 6: the body is one that can be signed.
pub fn read_content<'a>(
    webhook: &WebhookSettings,
    headers: &'a SignatureHeaders,
    body: &[u8],
) -> Result<SignedContent<'a>, ContentProblem> {
    let target = Target::new(&headers.target, headers.websocket);
    let method = Method {
        kind: headers.method,
        webhook_takes_bodies: webhook.takes_bodies(),
    };
    let query = target.query.unwrap_or_default();
    let coverage = Coverage::of(method, headers.declared, body, query)
        .map_err(|reason| ContentProblem::Unsigned(reason, None))?;
    let form = match coverage {
        Coverage::Form => {
            let form = Form::read(body, webhook.form, webhook.max_parameters);
            Some(form.map_err(|malformed| {
                let hint = malformed.to_string();
                let sentence = format!("The {}.", hint.strip_prefix("the ").unwrap_or(&hint));
                Rejection {
                    detail: Some(sentence.into()),
                    hint: Some(hint.into()),
                    ..Rejection::from(Reason::MalformedBody)
                }
            })?)
        }
        _ => None,
    };
    if form.as_ref().is_some_and(Form::signs_nothing) {
        // A body of nothing but `&` and `=` would pass under the signature of the URL
        // alone, in the place of the JSON that was signed with it.
        return Err(ContentProblem::Unsigned(Reason::UnsignedBody, None));
    }
    let behind = match coverage {
        Coverage::Empty | Coverage::Missing => Behind::Nothing,
        Coverage::Form => Behind::Form,
        Coverage::Hash(_) => Behind::HashedBody,
    };
    let target = target.with(behind);
    if behind == Behind::HashedBody && webhook.public_url.candidates(target).next().is_none() {
        // No URL that may have been signed ends in the hash.
        return Err(ContentProblem::Unsigned(Reason::UnsignedBody, None));
    }
    Ok(SignedContent {
        target,
        coverage,
        form,
    })
}

/// A request that Twilio has signed: what it says is Twilio's word.
pub struct VerifiedRequest<'a> {
    /// The key that signed it.
    pub key: &'a Key,
    /// Its index in the keyring.
    pub key_index: usize,
    /// The request's nonce.
    pub nonce: Nonce,
    form: Option<Form>,
    query: Form,
}

/// 7: the signature is right, for the URL and for the body.
pub fn verify_signature<'a>(
    settings: &'a Settings,
    webhook: &'a WebhookSettings,
    headers: &'a SignatureHeaders,
    content: SignedContent<'a>,
    body: &[u8],
) -> Result<VerifiedRequest<'a>, ContentProblem> {
    let signed = Signed {
        target: content.target,
        form: content.form.as_ref(),
        claimed: &headers.claimed,
        settings: headers.settings.as_deref(),
    };
    let covers_body = || match content.coverage {
        Coverage::Empty | Coverage::Form => true,
        Coverage::Missing => false,
        Coverage::Hash(hash) => sha256(&[body]) == hash,
    };
    let verified = verify(&settings.keyring, &webhook.public_url, signed);
    let verified = verified.map(|own| {
        let query = covers_body().then(|| own.url.query_parameters());
        (own.key_index, own.mac.nonce(), query)
    });
    let (key_index, nonce, query) = match verified {
        Ok((key_index, nonce, Some(query))) => (key_index, nonce, query),
        Ok((_, _, None)) => return Err(ContentProblem::Unsigned(Reason::BodyHashMismatch, None)),
        Err(Unverified::NoMatch) => {
            let reason = Reason::InvalidSignature;
            return Err(ContentProblem::Unsigned(reason, content.form));
        }
        Err(Unverified::MovedBoundary) => {
            let rejection = Rejection::from(Reason::MalformedBody);
            return Err(rejection.with_hint(Some(hints::MOVED_BOUNDARY)).into());
        }
    };
    let key = settings.keyring.get(key_index);
    Ok(VerifiedRequest {
        key: key.ok_or(Rejection::from(Reason::Internal))?,
        key_index,
        nonce,
        form: content.form,
        query,
    })
}

impl VerifiedRequest<'_> {
    /// Returns what the signature vouches for.
    pub fn authenticated(&self) -> Authenticated<'_> {
        let account = match &self.key.account {
            Some(account) => account.as_bytes(),
            None => self.values(ACCOUNT_PARAMETER).next().unwrap_or_default(),
        };
        Authenticated {
            account,
            form: self.form.as_ref(),
            query: &self.query,
        }
    }

    /// 8: a key that belongs to an account signs for no other.
    pub fn check_account(&self) -> Result<(), Rejection> {
        let Some(account) = &self.key.account else {
            return Ok(());
        };
        let mut named = self.values(ACCOUNT_PARAMETER);
        if named.any(|named| named != account.as_bytes()) {
            return Err(Reason::AccountMismatch.into());
        }
        Ok(())
    }

    /// 9: every signed timestamp is recent. Returns until when the youngest is; `None` if
    /// there is none.
    pub fn check_timestamps(
        &self,
        settings: &TimestampSettings,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Reason> {
        let mut until = None;
        for value in self.timestamps(settings) {
            let signed = settings.freshness.check(value, now)?;
            until = until.max(Some(signed.after(settings.freshness.max_age)));
        }
        if until.is_none() && settings.required {
            return Err(Reason::MissingTimestamp);
        }
        Ok(until)
    }

    /// Returns the signed timestamps, as they are spelled.
    pub fn timestamps<'s>(
        &'s self,
        settings: &'s TimestampSettings,
    ) -> impl Iterator<Item = &'s [u8]> {
        let names = settings.params.iter();
        names.flat_map(|name| self.values(name.as_bytes()))
    }

    /// Returns the values of a parameter, in the form and in the query that was signed.
    fn values<'s>(&'s self, name: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
        let form = self.form.iter().flat_map(move |form| form.values(name));
        form.chain(self.query.values(name))
    }
}
