use std::cell::Cell;

use support::decide::{Driver, NOW, one_bucket};
use support::request::Request;
use support::signing::sha256_hex;
use twilio_webhook_filter::{CasError, CasMap, Entry, MemoryMap, Millis, Reason, Version};

use crate::counting::{allocations, uncounted};
use support::message::{PATH, TOKEN, URL, message, signature};
use support::tables::publish;

/// A store whose own memory is not counted: in Envoy it is Envoy's. What it hands out is
/// counted apart, for there each value is a piece of the filter's memory, too.
#[derive(Default)]
struct CountingStore {
    store: MemoryMap,
    handed_out: Cell<usize>,
    fails: Cell<bool>,
}

impl CasMap for CountingStore {
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError> {
        if self.fails.get() {
            return Err(CasError::Unavailable);
        }
        let entry = uncounted(|| self.store.get(one_bucket(key)))?;
        let handed_out = usize::from(entry.is_some());
        self.handed_out.set(self.handed_out.get() + handed_out);
        Ok(entry)
    }

    fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<Version>,
        value: &[u8],
    ) -> Result<bool, CasError> {
        uncounted(|| {
            self.store
                .compare_and_swap(one_bucket(key), expected, value)
        })
    }
}

/// A line of the table.
struct Case {
    name: &'static str,
    /// The most allocations that it may take.
    budget: usize,
    configuration: &'static str,
    before: Before,
    request: Request,
}

/// What the store has seen before.
#[derive(PartialEq)]
enum Before {
    /// Accepted requests of four clients, of whom the request's is one. Four is what a
    /// bucket of a full table holds on average.
    Four,
    /// And the same request.
    Itself,
    Nothing,
    /// Nothing, and it answers nothing.
    Failure,
}

/// One bucket for all clients.
const ONE_BUCKET: &str = r#"{
    "webhooks": [{"url": "https://orders.example.com/api/v1/whatsapp/webhook", "methods": ["GET", "POST"]}],
    "exempt_paths": ["/healthz"], "rate_limit_capacity": 16}"#;

fn case(name: &'static str, budget: usize, request: Request) -> Case {
    Case {
        name,
        budget,
        configuration: ONE_BUCKET,
        before: Before::Four,
        request,
    }
}

/// JSON, signed by the hash in its URL.
fn json() -> Request {
    let body = br#"{"a": 1}"#;
    let query = format!("?bodySHA256={}", sha256_hex(body));
    let path = format!("{PATH}{query}");
    Request::form(body)
        .with(":path", &path)
        .with("content-type", "application/json")
        .with(
            "x-twilio-signature",
            &signature(TOKEN, &format!("{URL}{query}"), b""),
        )
}

fn cases() -> Vec<Case> {
    let timestamp = "x-twilio-request-timestamp";
    let tomorrow = (NOW.0 / 1000 + 86_400).to_string();
    let for_another = message().replace("=ACfedcba98", "=AC01234567");
    let message = Request::message;
    vec![
        case("accepted", 10, message()),
        Case {
            before: Before::Nothing,
            ..case("accepted, the first of all", 13, message())
        },
        case("accepted, JSON", 11, json()),
        case(
            "accepted, without a body",
            8,
            Request::form(b"").with(":method", "GET"),
        ),
        case("exempt", 0, message().with(":path", "/healthz")),
        case("unknown_webhook", 13, message().with(":path", "/elsewhere")),
        case("method_not_allowed", 3, message().with(":method", "PUT")),
        case(
            "target_too_long",
            3,
            message().with(":path", &format!("{PATH}?{}", "q".repeat(16_384))),
        ),
        Case {
            configuration: r#"{"rate_limit_capacity": 16,
                "rate_limits": [{"key": "client_ip", "requests": 1, "window": "60s"}]}"#,
            ..case("rate_limited", 3, message())
        },
        Case {
            configuration: r#"{"accounts": [], "rate_limit_capacity": 16}"#,
            ..case("not_configured", 4, message())
        },
        case(
            "missing_signature",
            4,
            message().without("x-twilio-signature"),
        ),
        case(
            "malformed_signature",
            4,
            message().with("x-twilio-signature", "x"),
        ),
        Case {
            configuration: r#"{"timestamp": {"required": true}, "rate_limit_capacity": 16}"#,
            ..case("missing_timestamp", 8, message())
        },
        case("malformed_timestamp", 4, message().with(timestamp, "soon")),
        case("stale_timestamp", 5, message().with(timestamp, "1")),
        case("future_timestamp", 4, message().with(timestamp, &tomorrow)),
        case("body_too_large", 5, message().with_body(&[b'x'; 65_537])),
        case(
            "unsigned_body",
            6,
            message().with("content-type", "text/plain"),
        ),
        case(
            "malformed_body",
            5,
            message().with("content-encoding", "gzip"),
        ),
        case("invalid_signature", 9, message().with_body(b"Body=other")),
        case("body_hash_mismatch", 8, json().with_body(br#"{"a": 2}"#)),
        case("account_mismatch", 8, Request::form(for_another.as_bytes())),
        Case {
            before: Before::Itself,
            ..case("duplicate", 10, message())
        },
        Case {
            before: Before::Failure,
            ..case("store_unavailable", 2, message())
        },
        Case {
            configuration: r#"{"replay": {"capacity": 4}, "rate_limit_capacity": 16}"#,
            ..case("store_full", 9, message())
        },
    ]
}

/// As the table has it: name, allocations, values that the store has handed out.
fn row(case: &Case, allocations: usize, store: &CountingStore) -> Vec<String> {
    let Case { name, budget, .. } = case;
    assert!(
        allocations <= *budget,
        "{name}: {allocations} allocations of {budget}"
    );
    let numbers = [allocations, store.handed_out.get()];
    let cells = numbers.map(|number| number.to_string());
    [vec![(*name).to_owned()], cells.to_vec()].concat()
}

/// A filter and its store after what comes before.
fn prepare(case: &Case) -> Driver<CountingStore> {
    let driver = Driver::<CountingStore>::new(case.configuration);
    let mut before = Vec::new();
    if matches!(case.before, Before::Four | Before::Itself) {
        before.push(Request::form(b"Body=0"));
        before.extend((1..4).map(|client| {
            let body = format!("Body={client}");
            Request::form(body.as_bytes()).by_client(client)
        }));
    }
    if case.before == Before::Itself {
        before.push(case.request.clone());
    }
    let earlier = NOW.before(Millis::seconds(10));
    for (claim_id, request) in (1..).zip(&before) {
        driver.decide(request.sent(&request.pairs()), claim_id, earlier);
    }
    let store = driver.store();
    store.fails.set(case.before == Before::Failure);
    store.handed_out.set(0);
    driver
}

fn count(case: &Case) -> Vec<String> {
    let driver = prepare(case);
    let headers = case.request.pairs();
    let sent = case.request.sent(&headers);
    let (allocations, verdict) = allocations(|| driver.decide(sent, 7, NOW));
    let outcome = case.name.split(',').next().unwrap_or_default();
    assert_eq!(
        verdict.outcome.name(),
        outcome,
        "{}: {verdict:?}",
        case.name
    );
    row(case, allocations, driver.store())
}

/// Nothing makes the core fail but a host that does: the adapter says so in the place of the body.
fn count_internal() -> Vec<String> {
    let case = case(Reason::Internal.name(), 5, Request::message());
    let driver = prepare(&case);
    let headers = case.request.pairs();
    let sent = case.request.sent(&headers);
    let (allocations, verdict) = allocations(|| driver.fail(sent, NOW));
    assert_eq!(verdict.outcome.name(), case.name);
    row(&case, allocations, driver.store())
}

#[test]
fn each_verdict_stays_within_its_budget_of_allocations() {
    let mut counted: Vec<_> = cases().iter().map(count).collect();
    counted.push(count_internal());
    for reason in Reason::ALL {
        let is_counted = counted.iter().any(|cells| cells[0] == reason.name());
        assert!(is_counted, "{}", reason.name());
    }
    publish("docs/performance.md", "allocations", &counted);
}
