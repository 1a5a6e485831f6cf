//! What a diagnosis looks at: the failed request and its context.

use crate::diagnosis::last_verified::LastVerified;
use crate::reason::Reason;
use crate::request::headers::Headers;
use crate::signature::form::Form;
use crate::signature::key::ClaimedMac;
use crate::signature::keyring::Keyring;
use crate::signature::url::PublicUrl;
use crate::time::Timestamp;

/// A rejected request whose signature might be explained.
#[derive(Debug)]
pub struct FailedSignature {
    /// Why it was rejected.
    pub reason: Reason,
    /// The signature that it carries.
    pub claimed: ClaimedMac,
    /// The header that selects a shared key.
    pub settings: Option<Vec<u8>>,
    /// The path and query that should have been signed.
    pub target: Vec<u8>,
    /// Whether it is a WebSocket handshake.
    pub websocket: bool,
    /// The parameters of a form body.
    pub form: Option<Form>,
}

/// What a diagnosis may look at besides the failed signature.
pub struct Context<'a> {
    /// All configured keys.
    pub keyring: &'a Keyring,
    /// When each key last verified a request.
    pub verified: &'a LastVerified,
    /// The webhook's URL.
    pub public: &'a PublicUrl,
    /// The request's headers.
    pub headers: Headers<'a>,
    /// The body as received.
    pub body: &'a [u8],
    /// The current time.
    pub now: Timestamp,
}

impl FailedSignature {
    /// Returns whether a rejection for this reason can be explained.
    pub fn can_be_explained(reason: Reason) -> bool {
        matches!(
            reason,
            Reason::InvalidSignature | Reason::BodyHashMismatch | Reason::UnsignedBody
        )
    }
}
