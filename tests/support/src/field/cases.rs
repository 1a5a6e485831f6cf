//! The cases as they are written down.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::process::repository;

/// The files that hold them.
const FILES: [&str; 2] = ["field_cases.json", "field_cases_more.json"];

/// The auth token of the base configuration.
pub const TOKEN: &str = "8f1c0de5a7b94c2299d0aa1122334455";
/// Its account.
pub const ACCOUNT: &str = "AC0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
/// Its only webhook's path …
pub const PATH: &str = "/api/v1/whatsapp/webhook";
/// … and what is in front of it.
pub const ORIGIN: &str = "https://orders.example.com";

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: IgnoredAny,
    #[serde(default, rename = "forms")]
    _forms: IgnoredAny,
    cases: Vec<Case>,
}

type Pairs = Vec<(String, String)>;

/// A form as it may stand in a file: its pairs, or what makes it from one with a name.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Form {
    Pairs(Pairs),
    Named(String),
    Changed {
        of: String,
        /// Other values; a name that is not there is one more at the end.
        #[serde(default)]
        set: Map<String, Value>,
        #[serde(default)]
        without: Vec<String>,
    },
}

impl Form {
    fn pairs(self, forms: &BTreeMap<String, Pairs>) -> Pairs {
        let named = |name: &str| {
            let form = forms.get(name);
            form.unwrap_or_else(|| panic!("no form {name}")).clone()
        };
        match self {
            Form::Pairs(pairs) => pairs,
            Form::Named(name) => named(&name),
            Form::Changed { of, set, without } => {
                let mut pairs = named(&of);
                pairs.retain(|(name, _)| !without.contains(name));
                for (name, value) in set {
                    let value = value.as_str().expect("a text").to_owned();
                    match pairs.iter_mut().find(|(other, _)| *other == name) {
                        Some(pair) => pair.1 = value,
                        None => pairs.push((name, value)),
                    }
                }
                pairs
            }
        }
    }
}

/// Writes the pairs of each form in place of its name.
fn spell_out(value: &mut Value, forms: &BTreeMap<String, Pairs>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if ["form", "params"].contains(&name.as_str()) && !value.is_null() {
                    let form: Form = serde_json::from_value(value.take()).expect("a form");
                    *value = json!(form.pairs(forms));
                } else {
                    spell_out(value, forms);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| spell_out(value, forms)),
        _ => {}
    }
}

/// A configuration, and what is sent to it. A field that nobody reads would be a case that checks nothing, so none is
/// taken that is not known.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub id: String,
    pub title: String,
    /// The letter of its kind.
    pub class: String,
    /// Fields that replace those of the base configuration.
    config: Option<Map<String, Value>>,
    /// The plugin's configuration as text, in place of the base one.
    raw: Option<String>,
    /// The VM's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What is different in Envoy's own configuration.
    #[serde(default)]
    pub envoy: EnvoySettings,
    /// What loading it must come to.
    load: Option<Load>,
    /// The same, as it would be better.
    wish_load: Option<Load>,
    /// Words, each of which Envoy's log must have once all steps are done.
    #[serde(default)]
    pub log: Vec<String>,
    /// Words that the log must not have.
    #[serde(default)]
    pub log_not: Vec<String>,
    pub steps: Option<Vec<Step>>,
    /// Its requests are the same each time: no other case may have sent them.
    #[serde(default)]
    pub alone: bool,
    /// Where requests go that do not say it.
    path: Option<String>,
    /// What is signed by requests that do not say it.
    pub url: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvoySettings {
    /// `allow_on_headers_stop_iteration`
    pub allow_stop: Option<bool>,
    /// The plugin's `configuration` as it stands in Envoy's file, in place of a text.
    pub configuration: Option<Value>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    pub loads: Option<bool>,
    /// Words, one of which the log must have when the configuration is loaded.
    #[serde(default)]
    pub says: Vec<String>,
    /// What it must say where it loads all the same.
    #[serde(default, rename = "or_else")]
    _or_else: IgnoredAny,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub send: Send,
    pub expect: Expected,
    /// What would be better than acceptable; it is asked for as well.
    #[serde(default)]
    pub wish: Expected,
    /// What Twilio's own library makes of it; the differential tests compare with that.
    #[serde(default, rename = "oracle")]
    _oracle: IgnoredAny,
}

/// A request.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    pub method: Option<String>,
    pub path: Option<String>,
    pub form: Option<Pairs>,
    pub body: Option<String>,
    /// `null`: the header is not sent.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub websocket: bool,
    #[serde(default)]
    pub sign: Sign,
}

/// What was signed, where that is not what is sent.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    pub url: Option<String>,
    pub params: Option<Pairs>,
    pub token: Option<String>,
    /// `sha1` or `sha256`
    pub algo: Option<String>,
}

/// What must come.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    status: Option<Status>,
    pub reason: Option<String>,
    /// Whether the upstream receives it.
    pub upstream: Option<bool>,
    /// Words, one of which the hint must have.
    #[serde(default)]
    pub hint: Vec<String>,
    /// Words that the hint must not have.
    #[serde(default)]
    pub hint_not: Vec<String>,
    /// Fields of the log line, and their values.
    #[serde(default)]
    pub line: Map<String, Value>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Status {
    One(u16),
    /// Any of these. 0: the connection is closed without an answer.
    Any(Vec<u16>),
}

impl Expected {
    pub fn takes(&self, status: u16) -> bool {
        match &self.status {
            None => true,
            Some(Status::One(one)) => *one == status,
            Some(Status::Any(any)) => any.contains(&status),
        }
    }
}

impl Case {
    /// What loading it must come to: the better of the two, where there are two.
    pub fn load(&self) -> Option<&Load> {
        self.wish_load.as_ref().or(self.load.as_ref())
    }

    /// Whether the filter takes the configuration.
    pub fn loads(&self) -> bool {
        self.load().and_then(|load| load.loads).unwrap_or(true)
    }

    /// The plugin's configuration.
    pub fn plugin(&self) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut plugin = json!({
            "accounts": [{"account_sid": ACCOUNT, "auth_tokens": [TOKEN]}],
            "webhooks": [{"path": PATH, "url": format!("{ORIGIN}{PATH}")}],
            "rate_limits": [],
        });
        for (name, value) in self.config.iter().flatten() {
            plugin[name] = value.clone();
        }
        plugin.to_string()
    }

    /// Where a request goes that does not say it: to the first webhook.
    pub fn path(&self) -> String {
        let configured = self.config.as_ref().and_then(|config| {
            let path = config.get("webhooks")?.get(0)?.get("path")?.as_str()?;
            Some(path.to_owned())
        });
        self.path
            .clone()
            .or(configured)
            .unwrap_or_else(|| PATH.to_owned())
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for name in FILES {
        let file = repository().join("tests/vectors").join(name);
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut file: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let forms = serde_json::from_value(file["forms"].take()).unwrap_or_default();
        let steps = file["cases"].as_array_mut().expect("a list").iter_mut();
        steps.for_each(|case| spell_out(&mut case["steps"], &forms));
        let file: File =
            serde_json::from_value(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        all.extend(file.cases);
    }
    all
}
