//! What one callback knows of its request, so that it asks the host for nothing twice:
//! each call costs about a microsecond.

use std::time::SystemTime;

use crate::host::wasm::abi::{self as host, Map};
use crate::host::wasm::root::Worker;
use crate::host::wasm::shared_data::SharedData;
use crate::pipeline::state::Surroundings;
use crate::request::headers::Headers;
use crate::time::Timestamp;

/// What one callback knows of its request.
#[derive(Default)]
pub(super) struct Known<'a> {
    /// The headers, in the callback in which they came.
    pub(super) headers: Option<Headers<'a>>,
    /// The body, once it is complete.
    pub(super) body: Option<Vec<u8>>,
    now: Option<Timestamp>,
}

impl<'a> Known<'a> {
    /// The callback in which these headers came.
    pub(super) fn of(headers: Headers<'a>) -> Known<'a> {
        Known {
            headers: Some(headers),
            ..Known::default()
        }
    }

    /// The time of the callback.
    pub(super) fn now(&mut self) -> Timestamp {
        *self.now.get_or_insert_with(now)
    }

    /// What the core works with in this callback.
    pub(super) fn around<'w>(&mut self, worker: &'w Worker) -> Surroundings<'w, SharedData> {
        Surroundings {
            store: &worker.store,
            now: self.now(),
        }
    }

    /// Envoy's `x-request-id`, in visible ASCII. Envoy makes one itself; where it is told to
    /// preserve a client's (`preserve_external_request_id`), that may hold what a terminal
    /// acts on, such as U+009B or U+202E, which JSON does not escape.
    pub(super) fn request_id(&self) -> String {
        const NAME: &str = "x-request-id";
        match self.headers {
            Some(headers) => visible(headers.all(NAME).next().unwrap_or_default()),
            None => {
                let id = host::header(Map::Request, NAME).ok().flatten();
                visible(&id.unwrap_or_default())
            }
        }
    }
}

fn visible(id: &[u8]) -> String {
    let visible = |byte: &u8| match byte {
        0x21..=0x7E => char::from(*byte),
        _ => '?',
    };
    id.iter().take(128).map(visible).collect()
}

/// The time.
pub(super) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(Timestamp(0), Timestamp::from)
}
