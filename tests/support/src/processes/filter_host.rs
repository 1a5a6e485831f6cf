//! Which host runs the filter in the Envoys of a test, and everything that this changes: the tests themselves are
//! written for `envoy/envoy.yaml`, and translated here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::repository;

/// What the filter runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterHost {
    /// A module for Envoy's WebAssembly filter.
    Wasm,
    /// A dynamic module in native code.
    Native,
}

const NATIVE_MODULE: &str = "target/release/libtwilio_webhook_filter.so";
const WASM_MODULE: &str = "target/wasm32-wasip1/release/twilio_webhook_filter.wasm";
const WASM_VERDICT: &str = "wasm.twilio_webhook_verdict";
const NATIVE_VERDICT: &str = "twilio_webhook_verdict";

/// The host that the environment asks for: `FILTER_HOST=native`, or `wasm`, which is the default.
pub fn filter_host() -> FilterHost {
    static HOST: LazyLock<FilterHost> =
        LazyLock::new(|| match std::env::var("FILTER_HOST").as_deref() {
            Err(_) | Ok("" | "wasm") => FilterHost::Wasm,
            Ok("native") => FilterHost::Native,
            Ok(other) => panic!("FILTER_HOST is wasm or native, not {other}"),
        });
    *HOST
}

/// The table of docs/hosts.md: what differs, and how it is with a WebAssembly module and a native one.
pub fn differences() -> BTreeMap<String, [String; 2]> {
    let file = repository().join("docs/hosts.md");
    let page = std::fs::read_to_string(file).expect("docs/hosts.md");
    let lines = page.lines().filter(|line| line.starts_with("| "));
    let rows = lines.filter_map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let row = (cells.next()?, cells.next()?, cells.next()?);
        Some((row.0.to_owned(), [row.1.to_owned(), row.2.to_owned()]))
    });
    rows.filter(|(name, _)| !name.is_empty()).collect()
}

/// Whether a test, or a part of one, that holds for one host only is to run. It says by which row of
/// [`differences`], so that nothing is left out without an operator being told why.
pub fn only(host: FilterHost, row: &str) -> bool {
    assert!(
        differences().contains_key(row),
        "docs/hosts.md has no row {row:?} in its table"
    );
    let runs = filter_host() == host;
    if !runs {
        eprintln!("left out with the other host: {row}");
    }
    runs
}

impl FilterHost {
    /// What the metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Native => "native",
        }
    }

    /// The configuration that is shipped for it.
    pub fn shipped_file(self) -> &'static str {
        match self {
            Self::Wasm => "envoy/envoy.yaml",
            Self::Native => "envoy/native/envoy.yaml",
        }
    }

    /// The module that must have been built.
    pub fn module(self) -> PathBuf {
        repository().join(self.module_name())
    }

    /// Its path in the repository.
    pub fn module_name(self) -> &'static str {
        match self {
            Self::Wasm => WASM_MODULE,
            Self::Native => NATIVE_MODULE,
        }
    }

    /// The key of the filter state that the access log shows.
    pub fn verdict_key(self) -> &'static str {
        match self {
            Self::Wasm => WASM_VERDICT,
            Self::Native => NATIVE_VERDICT,
        }
    }

    /// What each of the filter's lines in Envoy's log has in it.
    pub fn log_marker(self) -> &'static str {
        match self {
            Self::Wasm => "wasm log",
            Self::Native => "[dynamic_modules]",
        }
    }

    /// What the names of the filter's metrics begin with in Envoy's stats.
    pub fn stat_prefix(self) -> &'static str {
        match self {
            Self::Wasm => "wasmcustom.",
            Self::Native => "dynamicmodulescustom.",
        }
    }

    /// The name of a metric that is there while the filter is alive.
    pub fn stat(self) -> &'static str {
        match self {
            Self::Wasm => "wasm.envoy.wasm.runtime.v8.active",
            Self::Native => "dynamicmodulescustom.twilio_webhook.nonces_in_use",
        }
    }

    /// After this time Envoy shows whatever the filter has counted.
    pub fn metrics_lag(self) -> Duration {
        match self {
            Self::Wasm => Duration::ZERO,
            // Five times the period, for a machine that is busy.
            Self::Native => Duration::from_millis(250),
        }
    }

    /// Turns a configuration for the WebAssembly filter, or a part of one, into one for this host.
    pub fn translate(self, config: &mut Value) {
        if self == Self::Wasm {
            return;
        }
        match config {
            Value::String(text) if text.contains(WASM_VERDICT) => {
                *text = text.replace(WASM_VERDICT, NATIVE_VERDICT);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.translate(item)),
            Value::Object(fields) => {
                if let Some(filter) = dynamic_module(fields.get("typed_config")) {
                    fields["typed_config"] = filter;
                }
                fields.values_mut().for_each(|value| self.translate(value));
                if fields.contains_key("static_resources") {
                    fields.remove("stats_config");
                    fields.insert("layered_runtime".into(), runtime());
                }
            }
            _ => {}
        }
    }
}

/// A dynamic module with the configuration of a WebAssembly filter; `None` for what is none.
fn dynamic_module(filter: Option<&Value>) -> Option<Value> {
    let filter = filter?;
    let kind = filter["@type"].as_str()?;
    kind.ends_with("envoy.extensions.filters.http.wasm.v3.Wasm")
        .then(|| {
            let plugin = &filter["config"];
            let module = plugin["vm_config"]["code"]["local"]["filename"].as_str();
            let module = module
                .filter(|module| *module != WASM_MODULE)
                .unwrap_or(NATIVE_MODULE);
            json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
                "dynamic_module_config": {
                    "module": {"local": {"filename": module}},
                    "do_not_close": true,
                },
                "filter_name": plugin["vm_config"]["vm_id"],
                "filter_config": plugin["configuration"],
            })
        })
}

/// Without it, a metric's name in Prometheus' text begins with `envoy_dynamicmodulescustom_`.
fn runtime() -> Value {
    json!({"layers": [{
        "name": "static",
        "static_layer": {"envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix": true},
    }]})
}
