//! The work that follows the answer: one task takes the stored messages in the order in which they were
//! stored. What a stopped process left undone is the first thing that the next one does.

use std::fmt;
use std::time::Duration;

use rusqlite::Transaction;
use tokio::sync::watch;

use crate::log;
use crate::message::Message;
use crate::store::{Store, StoreError};

/// How long to wait after an error of the database before the same message is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody wrote something.
    Message,
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

/// Acts on one message. This is where an ordering service begins.
///
/// What is written through `transaction` commits together with the mark that the message is done, so it
/// happens exactly once. Nothing here may reach out of the database: a reply that is to be sent belongs
/// into a table from which another task sends it.
pub fn process(_transaction: &Transaction<'_>, message: &Message) -> rusqlite::Result<Outcome> {
    let parameters = &message.parameters;
    Ok(if parameters.status.is_some() {
        Outcome::StatusCallback
    } else if parameters.message_sid.is_some() {
        Outcome::Message
    } else {
        Outcome::Other
    })
}

/// Processes messages until `stop` holds `true`; the one in hand is finished first.
///
/// Errors of the database are tried again, since skipping a message would break the order. The exception
/// is a database that is gone for good, which is returned.
pub async fn run(store: Store, mut stop: watch::Receiver<bool>) -> Result<(), StoreError> {
    while !*stop.borrow() {
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
