//! What a diagnosis looks at: the request that failed, and what surrounds it.

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
    /// Path and query as they were to be signed.
    pub target: Vec<u8>,
    /// Whether it is a WebSocket handshake.
    pub websocket: bool,
    /// The parameters, for a form.
    pub form: Option<Form>,
}

/// What a diagnosis may look at besides the failed_signature.
pub struct Context<'a> {
    /// All keys.
    pub keyring: &'a Keyring,
    /// Which of them are known to be right.
    pub verified: &'a LastVerified,
    /// The webhook's URL.
    pub public: &'a PublicUrl,
    /// All headers.
    pub headers: Headers<'a>,
    /// The body as it was received.
    pub body: &'a [u8],
    /// The time.
    pub now: Timestamp,
}

impl FailedSignature {
    /// Whether a rejection for this reason has a cause that can be looked for.
    pub fn can_be_explained(reason: Reason) -> bool {
        matches!(
            reason,
            Reason::InvalidSignature | Reason::BodyHashMismatch | Reason::UnsignedBody
        )
    }
}
