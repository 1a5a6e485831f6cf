//! `GET /healthz` for whoever supervises the process, `GET /messages` for whoever develops it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::log;
use crate::store::{Store, StoreError};

/// How many messages `GET /messages` shows.
pub const LISTED: u32 = 100;

/// 200 `ok` if the database answers, else 503.
pub async fn health(State(store): State<Store>) -> Response {
    match store.ping().await {
        Ok(()) => "ok".into_response(),
        Err(error) => unavailable(&error),
    }
}

/// The newest messages as JSON, newest first. For local development: it shows what customers wrote to
/// anyone who can reach the port.
pub async fn messages(State(store): State<Store>) -> Response {
    match store.newest(LISTED).await {
        Ok(messages) => Json(messages).into_response(),
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &StoreError) -> Response {
    log::line(format_args!("the database does not answer: {error}"));
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the database does not answer",
    )
        .into_response()
}
