//! The headers that tell the upstream what was verified. What a client sends under these
//! names never reaches it.

use crate::pipeline::verdict::{Accepted, RequestRecord};
use crate::stream::host::{HeaderBlock, Host, HostError};

/// `true`, or in the mode `monitor` the reason why the request would have been rejected.
pub const VERIFIED: &str = "x-twilio-webhook-verified";
/// The request's nonce in hex: an idempotency key.
const NONCE: &str = "x-twilio-webhook-nonce";
/// The account that signed.
const ACCOUNT: &str = "x-twilio-webhook-account";

const ALL: [&str; 3] = [VERIFIED, NONCE, ACCOUNT];

/// What a host has shown cannot be read.
const DAMAGED: HostError = HostError(u32::MAX);

/// Removes from a request what its client has sent under these names.
pub fn remove_from_request(host: &impl Host, sent: &[(&[u8], &[u8])]) -> Result<(), HostError> {
    let mut spoofed = sent.iter().filter(|(name, _)| is_ours(name));
    spoofed.try_for_each(|(name, _)| host.remove_request_header(name))
}

/// Removes from trailers what their client has sent under these names: an HTTP/2 upstream
/// may read trailers as it reads headers.
pub fn remove_from_trailers(host: &impl Host) -> Result<(), HostError> {
    let trailers = host.request_trailers()?;
    let sent = trailers.pairs().ok_or(DAMAGED)?;
    let mut spoofed = sent.iter().filter(|(name, _)| is_ours(name));
    spoofed.try_for_each(|(name, _)| host.remove_request_trailer(name))
}

/// Tells the upstream what was verified.
pub fn add_verified(
    host: &impl Host,
    accepted: &Accepted,
    record: &RequestRecord,
) -> Result<(), HostError> {
    host.add_request_header(VERIFIED, "true")?;
    host.add_request_header(NONCE, &accepted.nonce.to_hex())?;
    match &record.account {
        Some(account) => host.add_request_header(ACCOUNT, account.as_str()),
        None => Ok(()),
    }
}

/// Returns whether an upstream may take a name for one of these: CGI and what descends from
/// it (WSGI, Rack, PHP) reads `_` for `-`.
fn is_ours(name: &[u8]) -> bool {
    let same =
        |(sent, own): (&u8, &u8)| sent.eq_ignore_ascii_case(own) || (*sent == b'_' && *own == b'-');
    ALL.iter().any(|own| {
        let own = own.as_bytes();
        name.len() == own.len() && name.iter().zip(own).all(same)
    })
}
