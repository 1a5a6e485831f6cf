//! The service behind the Twilio webhook filter: it stores each message once, answers at once, and works
//! on what it stored afterwards.
//!
//! - [`config`]: what the environment says.
//! - [`verified`]: what the filter says about a request, and the refusal of all others.
//! - [`message`]: what is stored of a webhook.
//! - [`webhook`]: `POST /api/v1/whatsapp/webhook`, from request to answer.
//! - [`store`]: the database, the only place that holds SQL.
//! - [`processing`]: the work that follows the answer.
//! - [`inspection`]: `GET /healthz` and `GET /messages`.
//! - [`server`]: the life of the process, from the first socket to the last message in hand.
//! - [`log`]: lines for the operator.

#![forbid(unsafe_code)]

pub mod config;
pub mod inspection;
pub mod log;
pub mod message;
pub mod processing;
pub mod server;
pub mod store;
pub mod verified;
pub mod webhook;
