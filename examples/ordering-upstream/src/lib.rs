//! A WhatsApp ordering service behind the Twilio webhook filter: it stores each message once, answers at once, and
//! works on what it stored afterwards. In the order in which a message goes through them:
//!
//! - [`verified`]: what the filter says about a request, and the refusal of all others.
//! - [`message`]: what is stored of a webhook.
//! - [`webhook`]: `POST /api/v1/whatsapp/webhook`, from request to answer.
//! - [`processing`]: the work that follows the answer, message by message.
//! - [`incoming`]: what a webhook says: who wrote what, or how far a message of ours is.
//! - [`language`]: what a customer's words mean.
//! - [`conversation`]: one turn, from what was said to what is answered; [`replies`] holds the words.
//! - [`menu`], [`session`], [`orders`]: what is sold, what is remembered of a customer, how far an order is.
//! - [`sending`]: replies on their way to [`twilio`], again and again until one side gives up.
//! - [`kitchen`]: `GET /orders`, the page for the kitchen; [`guard`] says who may see it.
//!
//! And around them:
//!
//! - [`store`]: the database, the only place that holds SQL.
//! - [`inspection`]: `GET /healthz` and `GET /messages`.
//! - [`server`]: the life of the process, from the first socket to the last message in hand.
//! - [`config`]: what the environment says.
//! - [`log`]: lines for the operator.

#![forbid(unsafe_code)]

pub mod config;
pub mod conversation;
pub mod guard;
pub mod incoming;
pub mod inspection;
pub mod kitchen;
pub mod language;
pub mod log;
pub mod menu;
pub mod message;
pub mod orders;
pub mod processing;
pub mod replies;
pub mod sending;
pub mod server;
pub mod session;
pub mod store;
pub mod twilio;
pub mod verified;
pub mod webhook;
