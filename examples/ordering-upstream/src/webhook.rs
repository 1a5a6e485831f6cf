//! `POST /api/v1/whatsapp/webhook`, from request to answer.
//!
//! The answer comes after the message is on disk and before anything is done about it. Twilio waits
//! fifteen seconds at most, and forgets a message once it has been answered 200.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::log;
use crate::message::NewMessage;
use crate::store::Store;
use crate::store::inbox::Saved;
use crate::verified::Verified;

/// Where Twilio sends messages and status callbacks.
pub const PATH: &str = "/api/v1/whatsapp/webhook";

/// The longest body that is read. The filter in front is stricter.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// An answer that makes Twilio do nothing more.
pub const EMPTY_TWIML: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response></Response>"#;

/// Why a webhook is not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// The request did not come through the filter.
    NotVerified,
    /// The body is too long or ended early.
    Body(BytesRejection),
    /// The message could not be stored. The filter forgets the nonce on a 5xx, so a retry may pass.
    NotStored,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, message) = match self {
            Self::NotVerified => (
                StatusCode::FORBIDDEN,
                "not_verified",
                "The request did not come through the Twilio webhook filter.".to_owned(),
            ),
            Self::Body(rejection) => (rejection.status(), "bad_body", rejection.body_text()),
            Self::NotStored => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "not_stored",
                "The message could not be stored; send it again.".to_owned(),
            ),
        };
        let body = json!({"error": error, "message": message});
        (status, Json(body)).into_response()
    }
}

/// Stores one webhook and answers. A repeat gets the same answer as the original, and is not stored again.
pub async fn receive(
    State(store): State<Store>,
    verified: Verified,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let body = body.map_err(Refusal::Body)?;
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let nonce = verified.nonce.clone();
    let message = NewMessage::new(verified, content_type, body.to_vec());
    match store.save(message).await {
        Ok(Saved::New { .. }) => {}
        Ok(Saved::Known) => log::line(format_args!(
            "a repeat of nonce {} was answered without storing it again",
            log::short(&nonce)
        )),
        Err(error) => {
            log::line(format_args!(
                "nonce {} was not stored: {error}",
                log::short(&nonce)
            ));
            return Err(Refusal::NotStored);
        }
    }
    Ok(([(header::CONTENT_TYPE, "text/xml")], EMPTY_TWIML).into_response())
}
