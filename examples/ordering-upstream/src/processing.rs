//! The work that follows the answer: one task takes the stored messages in the order in which they were
//! stored. What a stopped process left undone is the first thing that the next one does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::conversation::{self, Answer, Said};
use crate::incoming::{Incoming, Sender};
use crate::menu::Menu;
use crate::message::Message;
use crate::orders::OrderState;
use crate::session::{Address, Asked};
use crate::store::database::Statements;
use crate::store::{Store, StoreError, inbox, outbox, shop};
use crate::{log, replies};

/// How long to wait after an error of the database before the same message is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody wrote something, and was answered.
    Message,
    /// The same message once more, under another nonce.
    Repeat,
    /// Twilio told what became of a message of ours.
    StatusCallback,
    /// Anything else that was verified; it is kept, and nothing is done about it.
    Other,
}

impl Outcome {
    /// As it stands in the table `events`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Repeat => "repeat",
            Self::StatusCallback => "status_callback",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The shop that messages are for.
#[derive(Debug, Clone)]
pub struct Shop {
    /// What it sells.
    pub menu: Arc<Menu>,
    /// Whether replies are sent, or only recorded.
    pub sends: bool,
}

impl Shop {
    /// Acts on one message.
    ///
    /// What is written through `database` commits together with the mark that the message is done, so it
    /// happens exactly once. Nothing here reaches out of the database: a reply goes into the outbox, from which
    /// another task sends it.
    pub fn process(
        &self,
        database: &mut dyn Statements,
        message: &Message,
    ) -> Result<Outcome, StoreError> {
        match Incoming::read(message) {
            Incoming::Other => Ok(Outcome::Other),
            Incoming::Status {
                sid,
                status,
                error_code,
            } => {
                outbox::delivery(database, &sid, &status, error_code.as_deref())?;
                Ok(Outcome::StatusCallback)
            }
            Incoming::Said(sender, said) => {
                let sid = message
                    .parameters
                    .message_sid
                    .as_deref()
                    .unwrap_or_default();
                if inbox::is_repeat(database, message.id, sid)? {
                    return Ok(Outcome::Repeat);
                }
                self.converse(database, message.id, sender, said)?;
                Ok(Outcome::Message)
            }
        }
    }

    fn converse(
        &self,
        database: &mut dyn Statements,
        message: i64,
        sender: Sender,
        said: Said,
    ) -> Result<(), StoreError> {
        let customer = shop::customer(database, &sender)?;
        let mut session = shop::session(database, customer, &self.menu)?;
        let orders = shop::open_orders(database, customer)?;
        let (body, order) = match conversation::turn(&mut session, said, &orders, &self.menu) {
            Answer::Say(text) => (text, None),
            Answer::Place => {
                let number = shop::place(database, customer, &session, &self.menu)?;
                let total = session.total(&self.menu);
                let nowhere = Address::default();
                let address = session.address.as_ref().unwrap_or(&nowhere);
                let text = replies::placed(number, total, address, &self.menu);
                session.cart.clear();
                session.note = None;
                session.last = None;
                session.asked = Asked::Nothing;
                (text, Some(number))
            }
            Answer::CancelOrder(number) => {
                shop::set_state(database, number, OrderState::Cancelled)?;
                (replies::cancelled(number), Some(number))
            }
        };
        shop::keep_session(database, customer, &session, &self.menu)?;
        let reply = outbox::NewReply {
            message: Some(message),
            order,
            sender: sender.shop,
            recipient: sender.contact,
            body,
        };
        outbox::queue(database, &reply, self.sends)
    }
}

/// Processes messages until `stop` holds `true`; the one in hand is finished first.
///
/// Errors of the database are tried again, since skipping a message would break the order. The exception
/// is a database that is gone for good, which is returned.
pub async fn run(
    store: Store,
    shop: Shop,
    mut stop: watch::Receiver<bool>,
) -> Result<(), StoreError> {
    while !*stop.borrow() {
        let shop = shop.clone();
        let process =
            move |database: &mut dyn Statements, message: &Message| shop.process(database, message);
        match store.process_next(process).await {
            Ok(Some(done)) => log::line(format_args!(
                "message {} processed: {} (nonce {})",
                done.message.id,
                done.outcome,
                log::short(&done.message.nonce)
            )),
            Ok(None) => tokio::select! {
                () = store.wait_for_new() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            },
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => {
                log::line(format_args!("processing will be tried again: {error}"));
                tokio::select! {
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
        }
    }
    Ok(())
}
