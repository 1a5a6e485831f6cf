//! What explains a rejection to the operator. Why a signature does not fit is found
//! by [`crate::diagnosis`].

use crate::request::headers::{Headers, SIGNATURE_HEADER};
use crate::store::local::nonces::PriorDelivery;

/// Somebody has cut a signed request into other parameters.
pub const MOVED_BOUNDARY: &str = "an account's, message's or call's SID with its name before it stands inside of another \
     parameter or the URL, or a form ends in the hash of a JSON body, as in no request of Twilio's: \
     somebody has cut a signed request into other parameters";

/// Returns why Twilio may have come with another method than the webhook takes.
pub fn of_method(method: &[u8], taken: &[String]) -> Option<&'static str> {
    let takes = |name: &str| taken.iter().any(|own| own == name);
    match method {
        b"GET" if takes("POST") => Some(
            "a redirect in front of this Envoy, from http to https for instance, turns Twilio's POST \
             into a GET: enter the URL at Twilio to which it leads; or the webhook is set to GET \
             at Twilio: then add GET to methods",
        ),
        b"POST" if takes("GET") => {
            Some("the webhook is set to POST at Twilio: change it there, or add POST to methods")
        }
        _ => None,
    }
}

/// Returns why there may be no signature header.
pub fn of_missing_signature(headers: Headers<'_>) -> &'static str {
    let agent = headers.all("user-agent").next().unwrap_or_default();
    // The second is that of Media Streams and ConversationRelay.
    if agent.starts_with(b"TwilioProxy/") || agent.starts_with(b"Twilio.TmeWs/") {
        "it looks like Twilio's: a proxy in front may strip X-Twilio-Signature"
    } else {
        "either it is not Twilio's, or a proxy in front strips X-Twilio-Signature"
    }
}

/// Returns what is wrong with a signature header that is no signature.
pub fn of_malformed_signature(headers: Headers<'_>) -> Option<&'static str> {
    let mut values = headers.all(SIGNATURE_HEADER);
    let (first, second) = (values.next()?, values.next());
    if second.is_some() {
        return Some(
            "X-Twilio-Signature is there twice: a proxy in front adds the header to those that it \
             passes on, or somebody sends two",
        );
    }
    if first.contains(&b',') {
        return Some(
            "X-Twilio-Signature holds a list: the header was there twice, and a gateway in front has \
             joined both with a comma",
        );
    }
    let is_hex = matches!(first.len(), 40 | 64) && first.iter().all(u8::is_ascii_hexdigit);
    let is_url_safe = first.contains(&b'-') || first.contains(&b'_');
    if is_hex {
        Some("X-Twilio-Signature is in hexadecimal digits: a signature is in base64")
    } else if is_url_safe {
        Some("X-Twilio-Signature is in the base64 of URLs (- and _): a signature has + and /")
    } else if first.trim_ascii() != first || first.iter().any(|byte| b"\"'".contains(byte)) {
        Some("X-Twilio-Signature has quotes or white space around it")
    } else {
        None
    }
}

/// Returns what an operator should know who wonders about a 409.
pub fn of_duplicate(prior: PriorDelivery) -> String {
    match prior {
        PriorDelivery::Accepted(age) => {
            let (number, unit) = match age.0 / 1000 {
                seconds @ ..120 => (seconds, "s"),
                seconds @ ..7200 => (seconds / 60, "minutes"),
                seconds => (seconds / 3600, "hours"),
            };
            format!(
                "the same request was accepted {number} {unit} ago; if Twilio repeats it on purpose \
                 (a <Redirect> to the same URL, a waitUrl), set replay: \"off\" for this webhook or \
                 give it a distinguishing parameter"
            )
        }
        PriorDelivery::InFlight => {
            "the same request is still on its way to the upstream: an early \
                                    retry, or a replay"
                .into()
        }
        PriorDelivery::NeverAnswered => {
            "the upstream has had the same request four times, and each time its sender left \
             before the answer: the upstream is too slow, or it is a replay"
                .into()
        }
    }
}
