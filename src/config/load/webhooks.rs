//! `webhooks` and `exempt_paths`, and the URL that each webhook has at Twilio.

use crate::config::load::loader::{Given, Globals, Loader, form_reading, max_parameters, variable};
use crate::config::load::policies::with_max_pinned;
use crate::config::reader::{Node, Object, Problems};
use crate::config::settings::WebhookSettings;
use crate::request::path::{PathPattern, normalize_leniently};
use crate::signature::configured_url::ConfiguredUrl;
use crate::signature::url::PublicUrl;

/// The maximum number of webhooks: each has a metric for each verdict.
const MAX_WEBHOOKS: usize = 256;

impl Loader<'_> {
    pub(super) fn webhooks(&self, root: &Object<'_>, globals: &Globals) -> Vec<WebhookSettings> {
        let of_the_environment = self.webhook_url();
        let nodes = match root.field("webhooks").map(|node| node.list()) {
            None => Vec::new(),
            Some(Some(nodes)) => nodes,
            // No list, which was said.
            Some(None) => return Vec::new(),
        };
        let mut webhooks = Vec::new();
        for node in &nodes {
            let webhook = self.webhook(node, globals, &of_the_environment, &webhooks);
            webhooks.extend(webhook);
        }
        if nodes.is_empty() {
            match of_the_environment {
                Given::Right(url) => {
                    webhooks.extend(self.webhook_of_the_environment(&url, globals));
                }
                Given::Wrong => {}
                Given::Nothing => self.problems.expected(
                    "webhooks",
                    "at least one webhook, here or as the environment variable WEBHOOK_URL \
                     (vm_config.environment_variables)",
                ),
            }
        }
        if webhooks.len() > MAX_WEBHOOKS {
            self.problems
                .expected("webhooks", format_args!("at most {MAX_WEBHOOKS}"));
        }
        agree_on_max_pinned(&mut webhooks);
        webhooks
    }

    fn webhook_url(&self) -> Given<ConfiguredUrl> {
        let Some(text) = self.variable(variable::WEBHOOK_URL) else {
            return Given::Nothing;
        };
        match ConfiguredUrl::parse(&text) {
            Ok(url) => Given::Right(url),
            Err(what) => {
                self.problems.expected(variable::WEBHOOK_URL, what);
                Given::Wrong
            }
        }
    }

    fn webhook_of_the_environment(
        &self,
        url: &ConfiguredUrl,
        globals: &Globals,
    ) -> Option<WebhookSettings> {
        let path = path_of(url, variable::WEBHOOK_URL, self.problems)?;
        Some(WebhookSettings {
            label: label(&path, &[]),
            path,
            public_url: PublicUrl::configured(url),
            methods: default_methods(),
            form: globals.form,
            max_parameters: globals.max_parameters,
            timestamp: globals.timestamp.clone(),
            replay: with_max_pinned(&globals.replay, &globals.timestamp),
            rate_limits: globals.rate_limits.clone(),
        })
    }

    fn webhook(
        &self,
        node: &Node<'_>,
        globals: &Globals,
        of_the_environment: &Given<ConfiguredUrl>,
        before: &[WebhookSettings],
    ) -> Option<WebhookSettings> {
        let object = node
            .object("path, url, methods, form, max_parameters, timestamp, replay, rate_limits")?;
        let url_node = object.field("url");
        let configured = url_node.as_ref().and_then(url);
        let path = match (object.field("path"), &configured) {
            (Some(node), _) => path_pattern(&node),
            (None, Some(url)) => path_of(url, node.path(), self.problems),
            (None, None) => {
                // A URL that is wrong may be that of the path.
                if url_node.is_none() {
                    object.required("path");
                }
                None
            }
        };
        let timestamp = self.timestamp(object.field("timestamp"), &globals.timestamp);
        let replay = self.replay(
            object.field("replay"),
            globals.replay.as_ref(),
            &globals.replay_basis,
        );
        let methods = match object.field("methods") {
            Some(node) => methods(&node),
            None => default_methods(),
        };
        let form = form_reading(&object);
        let max_parameters = max_parameters(&object);
        let path = path?;
        if before.iter().any(|earlier| earlier.path == path) {
            self.problems.expected(
                format_args!("{}.path", node.path()),
                "a path that no other webhook has",
            );
        }
        let label = label(&path, before);
        let rate_limits = match object.field("rate_limits") {
            Some(node) => self.rate_limits(&node, &label),
            None => globals.rate_limits.clone(),
        };
        if let (Some(url), true) = (&url_node, path.is_prefix()) {
            return url.expected(
                "no url here, since the path is a prefix: its URL is public_base_url and the \
                 path as received",
            );
        }
        let fits = |url: &ConfiguredUrl| !path.is_prefix() && path.matches(url.path().as_bytes());
        let public_url = match (&url_node, &globals.base, of_the_environment) {
            (Some(_), ..) => PublicUrl::configured(&configured?),
            (None, Given::Right(base), _) => base.clone(),
            (None, Given::Nothing, Given::Right(url)) if fits(url) => PublicUrl::configured(url),
            (None, Given::Wrong, _) | (None, Given::Nothing, Given::Wrong) => return None,
            (None, Given::Nothing, _) => {
                self.problems.expected(
                    format_args!("{}.url", node.path()),
                    "a url here, or a public_base_url for all webhooks: the filter never \
                     guesses the URL that Twilio signs",
                );
                return None;
            }
        };
        Some(WebhookSettings {
            path,
            label,
            public_url,
            methods,
            form: form.unwrap_or(globals.form),
            max_parameters: max_parameters.unwrap_or(globals.max_parameters),
            replay: with_max_pinned(&replay, &timestamp),
            timestamp,
            rate_limits,
        })
    }

    pub(super) fn exempt_paths(
        &self,
        root: &Object<'_>,
        webhooks: &[WebhookSettings],
    ) -> Vec<PathPattern> {
        let nodes = root.field("exempt_paths").and_then(|node| node.list());
        let pattern = |node: &Node<'_>| {
            let pattern = path_pattern(node)?;
            let text = pattern.as_configured();
            let plain = normalize_leniently(text.as_bytes());
            let is_webhook = |webhook: &WebhookSettings| webhook.path.could_reach(&plain);
            if !pattern.is_prefix() && webhooks.iter().any(is_webhook) {
                return node.expected("a path that is not a webhook's, however it is spelled");
            }
            self.warn_of_exempt_prefix(node.path(), &pattern, webhooks);
            Some(pattern)
        };
        let nodes = nodes.unwrap_or_default();
        nodes.iter().filter_map(pattern).collect()
    }

    /// Warns of an exempt prefix around a webhook: a path that an upstream takes for the webhook,
    /// and this filter does not, passes unchecked.
    fn warn_of_exempt_prefix(
        &self,
        path: &str,
        pattern: &PathPattern,
        webhooks: &[WebhookSettings],
    ) {
        let is_inside = |webhook: &WebhookSettings| {
            let path = webhook.path.as_configured();
            pattern.could_reach(&normalize_leniently(path.trim_end_matches('*').as_bytes()))
        };
        if pattern.is_prefix() && webhooks.iter().any(is_inside) {
            self.warn(
                path,
                "this prefix contains a webhook, and what lies around that passes unchecked; name \
                 the exempt paths one by one",
            );
        }
    }
}

fn default_methods() -> Vec<String> {
    vec!["POST".to_owned()]
}

fn methods(node: &Node<'_>) -> Vec<String> {
    let Some(names) = node.list() else {
        return Vec::new();
    };
    if names.is_empty() {
        node.expected::<()>("at least one method, such as \"POST\"");
    }
    let name = |node: &Node<'_>| {
        let what = "a method in upper case, such as \"POST\"";
        let name = node.text_of(what, |byte| byte.is_ascii_uppercase())?;
        Some(name.to_owned())
    };
    names.iter().filter_map(name).collect()
}

pub(super) fn url(node: &Node<'_>) -> Option<ConfiguredUrl> {
    let what = "a URL such as https://orders.example.com/webhook";
    ConfiguredUrl::parse(node.text(what)?)
        .map_err(|what| node.expected::<()>(what))
        .ok()
}

fn path_pattern(node: &Node<'_>) -> Option<PathPattern> {
    let what = "a path such as /webhook or /webhooks/*";
    PathPattern::parse(node.text(what)?)
        .map_err(|what| node.expected::<()>(what))
        .ok()
}

/// Returns the path of a webhook that only has a URL, which stands at `field`.
fn path_of(url: &ConfiguredUrl, field: &str, problems: &Problems) -> Option<PathPattern> {
    let path = match url.path() {
        "" => "/",
        path => path,
    };
    match PathPattern::parse(path) {
        Ok(pattern) if !pattern.is_prefix() => Some(pattern),
        _ => {
            problems.expected(
                field,
                "a path beside this URL, since the URL's own is not one as it arrives here",
            );
            None
        }
    }
}

/// Returns a name for metrics: the path in `[a-z0-9_-]`, unique among the webhooks `before`.
fn label(path: &PathPattern, before: &[WebhookSettings]) -> String {
    let text = path
        .as_configured()
        .to_ascii_lowercase()
        .replace('*', "all");
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => plain.push(char::from(byte)),
            _ if plain.ends_with('-') || plain.is_empty() => {}
            _ => plain.push('-'),
        }
    }
    let plain = match plain.trim_end_matches('-') {
        "" => "root",
        text => text,
    };
    let taken = |label: &str| before.iter().any(|webhook| webhook.label == label);
    let mut label = plain.to_owned();
    for number in 2..=MAX_WEBHOOKS {
        if !taken(&label) {
            break;
        }
        label = format!("{plain}-{number}");
    }
    label
}

/// Gives all webhooks the same `max_pinned`: they share tables, where one webhook's long retention
/// must not look to another like an entry from a clock that was ahead.
fn agree_on_max_pinned(webhooks: &mut [WebhookSettings]) {
    let rules = webhooks.iter_mut().flat_map(|webhook| &mut webhook.replay);
    let mut rules: Vec<_> = rules.map(|replay| &mut replay.rules).collect();
    let max_pinned = rules.iter().map(|rules| rules.max_pinned).max();
    for rules in &mut rules {
        rules.max_pinned = max_pinned.unwrap_or(rules.max_pinned);
    }
}
