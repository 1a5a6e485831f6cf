//! What Envoy does around the filter.

use serde_json::Value;
use twilio_webhook_filter::Settings;

use crate::check_config::document::{around, field, is_true, seconds};
use crate::check_config::finding::Findings;
use crate::manifest::{Kind, Plugin};

/// The largest body if the configuration does not load.
const DEFAULT_BODY_BYTES: u64 = 65_536;
/// Envoy's default of `per_connection_buffer_limit_bytes`.
const DEFAULT_BUFFER: u64 = 1_048_576;
/// How long Twilio waits for an answer, in seconds.
const TWILIO_WAITS: f64 = 15.0;

/// Filters that change what is signed, by a part of their type.
const CHANGING: [(&str, &str); 9] = [
    (".lua.", "Lua"),
    (".ext_proc.", "an external processor"),
    (".wasm.", "another wasm plugin"),
    (".dynamic_modules.", "another dynamic module"),
    (".golang.", "a Go plugin"),
    (".decompressor.", "a decompressor"),
    ("transcoder", "a transcoder"),
    (".header_mutation.", "header mutation"),
    (".transform.", "a transformation"),
];

pub fn check(
    documents: &[Value],
    plugin: &Plugin,
    settings: Option<&Settings>,
    findings: &mut Findings,
) {
    let max_body = settings.map(|settings| settings.max_body_bytes as u64);
    let max_body = max_body.unwrap_or(DEFAULT_BODY_BYTES);
    check_plugin(documents, plugin, findings);
    let Some(chain) = documents
        .iter()
        .find_map(|document| around(document, &plugin.around))
    else {
        return;
    };
    for value in chain.iter().rev() {
        if let Some(list) = field(value, "http_filters").and_then(Value::as_array) {
            check_order(list, &plugin.around, findings);
            check_manager(value, settings, max_body, findings);
            check_routes(value, settings, findings);
        }
        if field(value, "filter_chains").is_some() {
            check_buffer(value, max_body, findings);
        }
        check_patch(value, findings);
    }
}

/// Checks the plugin itself.
fn check_plugin(documents: &[Value], plugin: &Plugin, findings: &mut Findings) {
    let own = &plugin.around;
    match plugin.kind {
        Kind::Json | Kind::Native => {}
        Kind::Wasm => {
            if !is_true(field(own, "allow_on_headers_stop_iteration")) {
                findings.error(
                    "allow_on_headers_stop_iteration",
                    "is not true: the filter never receives a body, and every request with one is \
                     held until Envoy's timeout",
                );
            }
            match field(own, "failure_policy").and_then(Value::as_str) {
                Some("FAIL_RELOAD") => {}
                Some("FAIL_OPEN") => findings.error(
                    "failure_policy",
                    "FAIL_OPEN: after a fault in the module every request passes unchecked",
                ),
                Some(_) => findings.warning(
                    "failure_policy",
                    "expected FAIL_RELOAD: otherwise a fault in the module closes every worker \
                     until Envoy is restarted",
                ),
                None => findings.warning(
                    "failure_policy",
                    "is missing; expected FAIL_RELOAD: otherwise a fault in the module closes a \
                     worker until Envoy is restarted",
                ),
            }
            if is_true(field(own, "fail_open")) {
                let what = "true: after a fault in the module every request passes unchecked";
                findings.error("fail_open", what);
            }
            let vm = field(own, "vm_config").and_then(|vm| field(vm, "vm_id"));
            if vm.and_then(Value::as_str).unwrap_or_default().is_empty() {
                findings.warning(
                    "vm_config.vm_id",
                    "is missing: the filter shares its memory of requests with every other plugin \
                     without one",
                );
            }
        }
        Kind::WasmPlugin => findings.error(
            "WasmPlugin",
            "has no allow_on_headers_stop_iteration, so that the filter never receives a body: use \
             an EnvoyFilter",
        ),
        Kind::ExtensionPolicy => {
            let has_patch = documents.iter().any(|document| {
                document
                    .to_string()
                    .contains("allow_on_headers_stop_iteration")
            });
            if !has_patch {
                findings.error(
                    "EnvoyExtensionPolicy",
                    "has no allow_on_headers_stop_iteration, so that the filter never receives a \
                     body: set it by an EnvoyPatchPolicy, in this file or another",
                );
            }
            if is_true(field(own, "fail_open")) {
                let what = "true: where the module cannot be loaded every request passes unchecked";
                findings.error("failOpen", what);
            }
        }
    }
}

/// Checks what stands in front of the filter.
fn check_order(filters: &[Value], plugin: &Value, findings: &mut Findings) {
    let Some(own) = filters
        .iter()
        .position(|filter| around(filter, plugin).is_some())
    else {
        return;
    };
    for filter in filters.get(..own).unwrap_or_default() {
        let name = filter
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let typed = field(filter, "typed_config");
        let kind = typed.and_then(|typed| typed.get("@type")?.as_str());
        let kind = format!("{}.{name}.", kind.unwrap_or_default());
        if kind.contains(".router.") || kind.contains("http.router") {
            findings.error(
                "http_filters",
                "the filter stands behind the router, so that it never sees a request: place it in \
                 front of everything that changes path, query or body",
            );
        } else if let Some((_, what)) = CHANGING.iter().find(|(part, _)| kind.contains(part)) {
            findings.warning(
                "http_filters",
                format!(
                    "the filter stands behind {name} ({what}), which may change the path, query or \
                     body that is signed: place it in front of that"
                ),
            );
        }
    }
}

/// Checks the HTTP connection manager.
fn check_manager(
    manager: &Value,
    settings: Option<&Settings>,
    max_body: u64,
    findings: &mut Findings,
) {
    for name in ["normalize_path", "merge_slashes"] {
        if is_true(field(manager, name)) {
            findings.warning(
                name,
                "is on: Twilio signs the path as it sends it; another one has another signature, \
                 and other spellings reach the webhook",
            );
        }
    }
    let escaped = field(manager, "path_with_escaped_slashes_action").and_then(Value::as_str);
    if escaped.is_some_and(|action| {
        !["KEEP_UNCHANGED", "IMPLEMENTATION_SPECIFIC_DEFAULT"].contains(&action)
    }) {
        findings.warning(
            "path_with_escaped_slashes_action",
            "expected KEEP_UNCHANGED: Twilio signs the path as it sends it",
        );
    }
    let counts_addresses = settings.is_some_and(|settings| {
        let mut rules = settings.webhooks.iter().flat_map(|own| &own.rate_limits);
        rules.any(|rule| rule.key == twilio_webhook_filter::RuleKey::ClientIp)
    });
    if counts_addresses && !is_true(field(manager, "use_remote_address")) {
        findings.warning(
            "use_remote_address",
            "is not true: the address that is rate-limited is whatever X-Forwarded-For says",
        );
    }
    let http2 = field(manager, "http2_protocol_options");
    let window = http2.and_then(|http2| field(http2, "initial_stream_window_size")?.as_u64());
    if let Some(window) = window.filter(|window| *window < max_body) {
        findings.warning(
            "http2_protocol_options.initial_stream_window_size",
            format!("{window} is below max_body_bytes ({max_body}): over HTTP/2 a longer body never arrives"),
        );
    }
    let common = field(manager, "common_http_protocol_options");
    let underscores =
        common.and_then(|common| field(common, "headers_with_underscores_action")?.as_str());
    if underscores.is_none_or(|action| action == "ALLOW") {
        findings.note(
            "common_http_protocol_options.headers_with_underscores_action",
            "expected DROP_HEADER: upstreams that read _ as - confuse such headers with the filter's",
        );
    }
}

fn check_buffer(listener: &Value, max_body: u64, findings: &mut Findings) {
    let limit = field(listener, "per_connection_buffer_limit_bytes").and_then(Value::as_u64);
    let limit = limit.unwrap_or(DEFAULT_BUFFER);
    if limit < max_body {
        findings.error(
            "per_connection_buffer_limit_bytes",
            format!(
                "{limit} is below max_body_bytes ({max_body}): Envoy answers 413 itself, without a \
                 reason, to bodies that the filter would take"
            ),
        );
    }
}

/// Checks the routes that webhooks take.
fn check_routes(manager: &Value, settings: Option<&Settings>, findings: &mut Findings) {
    let hosts = field(manager, "route_config").and_then(|routes| field(routes, "virtual_hosts"));
    let hosts = hosts.and_then(Value::as_array);
    let webhooks = settings.into_iter().flat_map(|settings| &settings.webhooks);
    let paths: Vec<String> = webhooks.map(|own| own.path.as_configured()).collect();
    for host in hosts.into_iter().flatten() {
        let routes = field(host, "routes").and_then(Value::as_array);
        for path in &paths {
            let route = routes
                .into_iter()
                .flatten()
                .find(|route| takes(route, path));
            let Some(route) = route else {
                continue;
            };
            let action = field(route, "route").unwrap_or(&Value::Null);
            for (name, because) in NONE_OF {
                if field(action, name).or_else(|| field(host, name)).is_some() {
                    findings.warning(&format!("the route of {path}: {name}"), because);
                }
            }
            let timeout = field(action, "timeout").and_then(seconds);
            if let Some(timeout) = timeout.filter(|own| *own > TWILIO_WAITS || *own == 0.0) {
                findings.warning(
                    &format!("the route of {path}: timeout"),
                    format!(
                        "{timeout} s: Twilio waits {TWILIO_WAITS} s, and its retry is a duplicate while \
                         the first delivery is undecided"
                    ),
                );
            }
            for holder in [route, host] {
                let overrides = field(holder, "typed_per_filter_config");
                if overrides.is_some_and(|own| own.to_string().contains("\"disabled\":true")) {
                    findings.error(
                        &format!("the route of {path}: typed_per_filter_config"),
                        "a filter is disabled there; if it is this one, requests pass unchecked",
                    );
                }
            }
        }
    }
}

/// Settings that undermine the check, and why.
const NONE_OF: [(&str, &str); 4] = [
    (
        "retry_policy",
        "the service may have accepted the failed attempt, and the filter does not see the second",
    ),
    (
        "hedge_policy",
        "the service receives a request twice, and the filter sees it once",
    ),
    (
        "internal_redirect_policy",
        "Envoy follows the service's 302 with a path and body that are not signed",
    ),
    (
        "request_mirror_policies",
        "a copy reaches a second service, without replay protection",
    ),
];

/// Returns whether a route takes a webhook's path.
fn takes(route: &Value, path: &str) -> bool {
    let Some(matches) = field(route, "match") else {
        return false;
    };
    let text = |name: &str| field(matches, name).and_then(Value::as_str);
    let base = path.trim_end_matches('*');
    if let Some(prefix) = text("prefix") {
        return base.starts_with(prefix);
    }
    if let Some(exact) = text("path") {
        return path == exact;
    }
    if let Some(prefix) = text("path_separated_prefix") {
        let rest = base.strip_prefix(prefix);
        return rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    }
    // A pattern that this does not evaluate.
    field(matches, "safe_regex").is_some() || field(matches, "path_match_policy").is_some()
}

/// Checks the patch of an EnvoyFilter that inserts the filter.
fn check_patch(value: &Value, findings: &mut Findings) {
    let Some(patch) = field(value, "patch") else {
        return;
    };
    let applies = field(value, "apply_to").and_then(Value::as_str);
    let operation = field(patch, "operation").and_then(Value::as_str);
    if applies == Some("HTTP_FILTER")
        && let Some(operation) = operation
        && !["INSERT_FIRST", "REPLACE", "MERGE"].contains(&operation)
    {
        findings.warning(
            "patch.operation",
            format!(
                "{operation}: expected INSERT_FIRST, so that nothing in front changes path, query or \
                 body"
            ),
        );
    }
}
