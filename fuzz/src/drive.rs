//! Hands requests to the filter.

use std::rc::Rc;

use twilio_webhook_filter::{ClientAddress, Filter, HashKey, Headers, MemoryMap, Next, Outcome, Surroundings, Timestamp, load};

/// A filter and what it remembers. One for each configuration, since reading that takes longer than many requests.
#[derive(Clone)]
pub struct Driven {
    filter: Rc<Filter>,
    claims: u64,
}

/// When everything happens, in milliseconds.
pub const NOW: u64 = 1_800_000_000_000;

impl Driven {
    /// By a configuration as an operator writes it.
    pub fn new(configuration: &str) -> Driven {
        let nothing = |_: &str| None::<String>;
        let settings = load(configuration.as_bytes(), &nothing);
        let settings = settings.unwrap_or_else(|problems| panic!("{problems}"));
        Driven {
            filter: Rc::new(Filter::new(settings, HashKey([7; 16]))),
            claims: 0,
        }
    }

    /// What becomes of a request, whose body is there at once. What is rejected is explained, too, if that is wanted:
    /// it takes as long as a hundred requests.
    pub fn outcome(
        &mut self,
        store: &MemoryMap,
        headers: &[(&[u8], &[u8])],
        body: &[u8],
        explain: bool,
    ) -> Outcome {
        let around = Surroundings {
            store,
            now: Timestamp(NOW),
        };
        self.claims += 1;
        let client = ClientAddress::from_source_address(b"192.0.2.1:1");
        let next = match self.filter.arrive(Headers::new(headers), client, around) {
            Next::AwaitingBody(held) => held.complete(body, self.claims, around),
            next => next,
        };
        let Next::Decided(verdict) = next else {
            panic!("shared data answers at once")
        };
        if explain {
            // So many a second are explained and no more, so each has a second of its own.
            let now = Timestamp(NOW + 1_000 * self.claims);
            let around = Surroundings { now, ..around };
            let headers = Headers::new(headers);
            let _ = self.filter.diagnose(&verdict, headers, body, around);
        }
        verdict.outcome
    }
}
