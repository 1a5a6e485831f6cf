//! Limits that Twilio's own traffic exceeds, and modes that protect nothing.

use twilio_webhook_filter::{Count, Mode, RuleKey, Settings};

use crate::check_config::finding::Findings;

/// A WhatsApp message has up to 1,600 characters of up to 12 bytes each once they are escaped; a
/// batch of events is larger.
const BODY_BYTES: usize = 32_768;
/// A message with ten media has about forty, a call as many.
const PARAMETERS: usize = 100;
/// A GET callback has all of its parameters in the query.
const TARGET_BYTES: usize = 4_096;
/// One conversation each way in a second, with its status callbacks, from one address.
const A_MINUTE: u64 = 240;

pub fn check(settings: &Settings, findings: &mut Findings) {
    if settings.keyring.is_empty() {
        findings.error(
            "accounts",
            "there is no key: every webhook answers 500 not_configured",
        );
    }
    match settings.mode {
        Mode::Monitor => {
            findings.warning("mode", "monitor: requests are checked and never rejected")
        }
        Mode::Off => findings.error("mode", "off: every request passes unchecked"),
        Mode::Enforce => {}
    }
    let mut below = |place: &str, is: usize, least: usize, what: &str| {
        if is < least {
            findings.warning(
                place,
                format!("{is} is below Twilio's own traffic: {what} ({least})"),
            );
        }
    };
    below(
        "max_body_bytes",
        settings.max_body_bytes,
        BODY_BYTES,
        "a long message, every character escaped",
    );
    below(
        "max_target_bytes",
        settings.max_target_bytes,
        TARGET_BYTES,
        "a GET with all parameters in its query",
    );
    for webhook in &settings.webhooks {
        let label = &webhook.label;
        below(
            &format!("{label}.max_parameters"),
            webhook.max_parameters,
            PARAMETERS,
            "a message with ten media",
        );
    }
    for webhook in &settings.webhooks {
        let label = &webhook.label;
        for rule in &webhook.rate_limits {
            let (requests, window) = (u64::from(rule.limit.requests), rule.limit.window.0.max(1));
            let is_shared = matches!(rule.key, RuleKey::ClientIp | RuleKey::Webhook);
            if is_shared && rule.count != Count::Rejected && requests * 60_000 / window < A_MINUTE {
                findings.warning(
                    &format!("{label}.rate_limits"),
                    format!(
                        "{requests} in {} s by {} is below Twilio's own traffic: one conversation makes \
                         about {A_MINUTE} requests a minute, from few and shared addresses; count \
                         \"rejected\" by client_ip, and \"authenticated\" by account or param:From",
                        window / 1000,
                        rule.key.as_configured()
                    ),
                );
            }
        }
        match &webhook.replay {
            None => findings.note(
                &format!("{label}.replay"),
                "off: a captured request is accepted as often as it is sent",
            ),
            Some(replay) => {
                let least = usize::try_from(A_MINUTE * replay.rules.window.0 / 60_000);
                let least = least.unwrap_or(usize::MAX);
                let capacity = replay.rules.capacity;
                if capacity < least {
                    findings.warning(
                        &format!("{label}.replay.capacity"),
                        format!(
                            "{capacity} holds less than the requests of one conversation in the \
                             window ({least}): then they get 503 store_full"
                        ),
                    );
                }
            }
        }
        let max_age = webhook.timestamp.freshness.max_age.0;
        if max_age < 60_000 {
            findings.warning(
                &format!("{label}.timestamp.max_age"),
                format!("{} s: Twilio's retries alone take longer", max_age / 1000),
            );
        }
    }
}
