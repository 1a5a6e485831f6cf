//! The filter's configuration, wherever it stands: by itself, in an envoy.yaml, or in a Kubernetes manifest.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;

use crate::failure::Failure;

/// Where a configuration was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The filter's JSON by itself.
    Json,
    /// A WebAssembly plugin in Envoy's configuration, also inside of a `TypedStruct`.
    Wasm,
    /// A dynamic module in Envoy's configuration.
    Native,
    /// Istio's `WasmPlugin`.
    WasmPlugin,
    /// Envoy Gateway's `EnvoyExtensionPolicy`.
    ExtensionPolicy,
}

/// A configuration of the filter.
#[derive(Debug)]
pub struct Plugin {
    /// Where it stands, as a path; empty for JSON by itself.
    pub place: String,
    /// What it stands in.
    pub kind: Kind,
    /// The filter's JSON, as the filter gets it. The error says why it gets none.
    pub json: Result<Vec<u8>, String>,
    /// What it stands in: the plugin with its `vm_config`, or the filter with its module.
    pub around: Value,
    /// The variables that Envoy sets for it.
    pub variables: BTreeMap<String, String>,
    /// The variables that it gets from Envoy's environment; `None`: all of them.
    pub host_variables: Option<Vec<String>>,
}

impl Plugin {
    /// Returns a variable as the filter sees it.
    pub fn variable(&self, name: &str) -> Option<String> {
        if let Some(value) = self.variables.get(name) {
            return Some(value.clone());
        }
        let passes = self.host_variables.as_ref();
        let passes = passes.is_none_or(|names| names.iter().any(|own| own == name));
        let value = passes.then(|| std::env::var(name).ok()).flatten();
        value.filter(|value| !value.is_empty())
    }
}

/// A file, and the configurations in it.
pub struct Manifest {
    /// Its documents; none for the filter's JSON by itself.
    pub documents: Vec<Value>,
    /// What was found, at least one.
    pub plugins: Vec<Plugin>,
}

/// Finds the configurations of the filter in a file.
pub fn read(bytes: &[u8]) -> Result<Manifest, Failure> {
    let documents = documents(bytes);
    let mut found = Vec::new();
    if let Ok(documents) = &documents {
        for (index, document) in documents.iter().enumerate() {
            let place = match documents.len() {
                1 => String::new(),
                _ => format!("document {}", index + 1),
            };
            find(document, &place, &mut found);
        }
    }
    // Other plugins stand beside it; whoever calls it something else has only one.
    if found.iter().any(is_named) {
        found.retain(is_named);
    }
    if !found.is_empty() {
        return Ok(Manifest {
            documents: documents.unwrap_or_default(),
            plugins: found,
        });
    }
    let is_other = documents.as_ref().is_ok_and(|documents| {
        documents.iter().any(|document| {
            ["static_resources", "apiVersion", "resources", "admin"]
                .iter()
                .any(|field| document.get(field).is_some())
        })
    });
    if is_other {
        return Failure::expected(
            "a configuration of the filter in the file: a wasm plugin with vm_config and \
             configuration, a dynamic module with filter_config, a WasmPlugin, or an \
             EnvoyExtensionPolicy; found none",
        );
    }
    Ok(Manifest {
        documents: Vec::new(),
        plugins: vec![Plugin {
            place: String::new(),
            kind: Kind::Json,
            json: Ok(bytes.to_owned()),
            around: Value::Null,
            variables: BTreeMap::new(),
            host_variables: None,
        }],
    })
}

/// Returns the documents of a YAML or JSON file.
fn documents(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut documents = Vec::new();
    for document in yaml_serde::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| error.to_string())?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

fn is_named(plugin: &Plugin) -> bool {
    let text = plugin.around.to_string();
    text.contains("twilio_webhook") || text.contains("twilio-webhook")
}

/// Looks for configurations at any depth.
fn find(value: &Value, place: &str, found: &mut Vec<Plugin>) {
    match value {
        Value::Object(fields) => {
            if let Some(plugin) = plugin_at(value, place) {
                found.push(plugin);
                return;
            }
            for (name, value) in fields {
                let place = match place {
                    "" => name.clone(),
                    place => format!("{place}.{name}"),
                };
                find(value, &place, found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                find(value, &format!("{place}[{index}]"), found);
            }
        }
        // A file inside of a ConfigMap.
        Value::String(text) if text.contains('\n') && text.contains("twilio") => {
            for document in documents(text.as_bytes()).unwrap_or_default() {
                if document.is_object() {
                    find(&document, place, found);
                }
            }
        }
        _ => {}
    }
}

fn plugin_at(value: &Value, place: &str) -> Option<Plugin> {
    let plugin = |kind, json, variables, host_variables| Plugin {
        place: place.to_owned(),
        kind,
        json,
        around: value.clone(),
        variables,
        host_variables,
    };
    if let Some(vm) = value.get("vm_config") {
        let (variables, host) = vm_environment(vm.get("environment_variables"));
        let json = wrapped(value.get("configuration"), "configuration");
        return Some(plugin(Kind::Wasm, json, variables, Some(host)));
    }
    if value.get("dynamic_module_config").is_some() {
        let json = wrapped(value.get("filter_config"), "filter_config");
        return Some(plugin(Kind::Native, json, BTreeMap::new(), None));
    }
    let is_plugin = value.get("pluginConfig").is_some() && value.get("url").is_some();
    if is_plugin {
        let (mut variables, mut host) = (BTreeMap::new(), Vec::new());
        let env = value.pointer("/vmConfig/env").and_then(Value::as_array);
        for one in env.into_iter().flatten() {
            let text = |name: &str| Some(one.get(name)?.as_str()?.to_owned());
            match (text("name"), text("value")) {
                (Some(name), Some(value)) => drop(variables.insert(name, value)),
                (Some(name), None) => host.push(name),
                (None, _) => {}
            }
        }
        let json = object(value.get("pluginConfig"));
        return Some(plugin(Kind::WasmPlugin, json, variables, Some(host)));
    }
    let is_policy = value.get("config").is_some_and(|config| !config.is_null())
        && value.get("code").is_some()
        && (value.get("rootID").is_some()
            || value.get("env").is_some()
            || value.get("name").is_some());
    if is_policy {
        let host = value.pointer("/env/hostKeys").and_then(Value::as_array);
        let host = host.into_iter().flatten().filter_map(Value::as_str);
        let host = host.map(str::to_owned).collect();
        let json = object(value.get("config"));
        return Some(plugin(
            Kind::ExtensionPolicy,
            json,
            BTreeMap::new(),
            Some(host),
        ));
    }
    None
}

fn vm_environment(value: Option<&Value>) -> (BTreeMap<String, String>, Vec<String>) {
    let pairs = value.and_then(|value| value.get("key_values")?.as_object());
    let pairs = pairs.into_iter().flatten();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let pairs = pairs.map(|(name, value)| (name.clone(), text(value)));
    let host = value.and_then(|value| value.get("host_env_keys")?.as_array());
    let host = host.into_iter().flatten().filter_map(Value::as_str);
    (pairs.collect(), host.map(str::to_owned).collect())
}

/// Returns the text of a `StringValue`; what else may stand there reaches the filter as other bytes.
fn wrapped(value: Option<&Value>, field: &str) -> Result<Vec<u8>, String> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let kind = value
        .get("@type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match value.get("value") {
        Some(Value::String(text)) if kind.ends_with("google.protobuf.StringValue") => {
            Ok(text.clone().into_bytes())
        }
        _ => Err(format!(
            "{field}: expected \"@type\": type.googleapis.com/google.protobuf.StringValue and the \
             JSON as text in \"value\": anything else reaches the filter as other bytes than JSON"
        )),
    }
}

/// Returns the text that a mesh makes of an object.
fn object(value: Option<&Value>) -> Result<Vec<u8>, String> {
    match value {
        Some(Value::String(text)) => Ok(text.clone().into_bytes()),
        Some(value) => Ok(value.to_string().into_bytes()),
        None => Ok(Vec::new()),
    }
}
