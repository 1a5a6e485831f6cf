//! A host that writes down what it is asked for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::BODY;
use crate::store::port::HttpCall;
use crate::stream::host::{
    CallId, Direction, HeaderBlock, Host, HostError, Level, LocalResponse, Metric, MetricKind,
};

/// A call of the host that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Broken {
    Nothing,
    Headers,
    DamagedHeaders,
    Address,
    Remove,
    Add,
    Body,
    Trailers,
    DamagedTrailers,
    Call,
    Answer,
    Resume,
}

/// A host that writes down what it is asked for.
#[derive(Clone)]
pub(in crate::stream) struct ScriptedHost(pub(super) Rc<Script>);

pub(super) struct Script {
    broken: Broken,
    signature: String,
    pub(super) status: Cell<Option<u16>>,
    pub(super) calls: Cell<u32>,
    pub(super) verified: Cell<bool>,
    pub(super) responses: RefCell<Vec<u16>>,
    pub(super) resumed: RefCell<Vec<Direction>>,
    pub(super) verdicts: RefCell<Vec<String>>,
    /// The label `verdict` of each metric that was defined; empty where it has none.
    pub(super) defined: RefCell<Vec<String>>,
    pub(super) counted: RefCell<Vec<Metric>>,
}

impl ScriptedHost {
    fn fails(&self, what: Broken) -> Result<(), HostError> {
        if self.0.broken == what {
            Err(HostError(1))
        } else {
            Ok(())
        }
    }
}

pub(in crate::stream) struct Block {
    pairs: Vec<(&'static str, String)>,
    is_damaged: bool,
}

impl HeaderBlock for Block {
    fn pairs(&self) -> Option<Vec<(&[u8], &[u8])>> {
        let pairs = self.pairs.iter();
        let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        (!self.is_damaged).then(|| pairs.collect())
    }
}

impl Host for ScriptedHost {
    type Headers = Block;

    const NAME: &'static str = "scripted";

    const ABI: &'static str = "none";

    fn now(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    fn log(&self, _: Level, _: &str) {}

    fn define_metric(
        &self,
        _: MetricKind,
        _: &str,
        labels: &[(&str, &str)],
    ) -> Result<Metric, HostError> {
        let verdict = labels.iter().find(|(name, _)| *name == "verdict");
        let verdict = verdict.map_or("", |(_, value)| *value);
        let mut defined = self.0.defined.borrow_mut();
        defined.push(verdict.to_owned());
        Ok(Metric(u32::try_from(defined.len() - 1).expect("few")))
    }

    fn increment(&self, metric: Metric, by: i64) {
        assert_ne!(by, 0, "that is an error to a host");
        self.0.counted.borrow_mut().push(metric);
    }

    fn record(&self, _: Metric, _: u64) {}

    fn call(&self, _: &HttpCall) -> Result<CallId, HostError> {
        self.fails(Broken::Call)?;
        self.0.calls.set(self.0.calls.get() + 1);
        Ok(CallId(self.0.calls.get()))
    }

    fn request_headers(&self) -> Result<Block, HostError> {
        self.fails(Broken::Headers)?;
        Ok(Block {
            pairs: vec![
                (":method", "POST".into()),
                (":path", "/hook".into()),
                ("content-type", "application/x-www-form-urlencoded".into()),
                ("x-twilio-signature", self.0.signature.clone()),
                // A client that claims to be verified.
                ("X_Twilio-Webhook_Verified", "true".into()),
            ],
            is_damaged: self.0.broken == Broken::DamagedHeaders,
        })
    }

    fn request_trailers(&self) -> Result<Block, HostError> {
        self.fails(Broken::Trailers)?;
        Ok(Block {
            pairs: vec![("x-twilio-webhook-nonce", "0".into())],
            is_damaged: self.0.broken == Broken::DamagedTrailers,
        })
    }

    fn request_header(&self, _: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(None)
    }

    fn add_request_header(&self, name: &str, value: &str) -> Result<(), HostError> {
        self.fails(Broken::Add)?;
        if name == "x-twilio-webhook-verified" {
            assert_eq!(value, "true");
            assert!(!self.0.verified.replace(true), "verified twice");
        }
        Ok(())
    }

    fn remove_request_header(&self, name: &[u8]) -> Result<(), HostError> {
        assert_eq!(name, b"X_Twilio-Webhook_Verified");
        self.fails(Broken::Remove)
    }

    fn remove_request_trailer(&self, _: &[u8]) -> Result<(), HostError> {
        self.fails(Broken::Remove)
    }

    fn client_address(&self) -> Result<Vec<u8>, HostError> {
        self.fails(Broken::Address)?;
        Ok(b"192.0.2.1:5".to_vec())
    }

    fn request_body(&self, size: usize) -> Result<Vec<u8>, HostError> {
        self.fails(Broken::Body)?;
        Ok(BODY[..size].to_vec())
    }

    fn received_body_bytes(&self) -> Option<u64> {
        None
    }

    fn response_status(&self) -> Option<u16> {
        self.0.status.get()
    }

    fn is_upstream_response(&self) -> bool {
        true
    }

    fn set_verdict(&self, name: &str) -> Result<(), HostError> {
        self.0.verdicts.borrow_mut().push(name.to_owned());
        Ok(())
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) -> Result<(), HostError> {
        self.0.responses.borrow_mut().push(response.status);
        self.fails(Broken::Answer)
    }

    fn resume(&self, direction: Direction) -> Result<(), HostError> {
        self.0.resumed.borrow_mut().push(direction);
        self.fails(Broken::Resume)
    }
}

pub(in crate::stream) fn host(broken: Broken, signature: &str) -> ScriptedHost {
    ScriptedHost(Rc::new(Script {
        broken,
        signature: signature.to_owned(),
        status: Cell::new(None),
        calls: Cell::new(0),
        verified: Cell::new(false),
        responses: RefCell::default(),
        resumed: RefCell::default(),
        verdicts: RefCell::default(),
        defined: RefCell::default(),
        counted: RefCell::default(),
    }))
}
