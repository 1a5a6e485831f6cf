//! Twilio's parameters: their names, which are often empty, which hold what people write, and
//! which follow from others.

/// Parameters of the origin and destination of messages and calls. They are usually empty, and
/// dropped by proxies that drop empty values. <https://www.twilio.com/docs/messaging/guides/webhook-request>
#[rustfmt::skip]
pub(super) const OF_FROM_AND_TO: &[&str] = &[
    "FromCity", "FromCountry", "FromState", "FromZip", "ToCity", "ToCountry", "ToState", "ToZip",
];

/// Parameters of the origin and destination that only calls have. <https://www.twilio.com/docs/voice/twiml#request-parameters>
#[rustfmt::skip]
pub(super) const OF_CALLED_AND_CALLER: &[&str] = &[
    "CalledCity", "CalledCountry", "CalledState", "CalledZip", "CallerCity", "CallerCountry",
    "CallerState", "CallerZip",
];

/// Other parameters that are sometimes empty.
#[rustfmt::skip]
pub(super) const SOMETIMES_EMPTY: &[&str] = &[
    "Body", "ButtonPayload", "ButtonText", "Digits", "ErrorCode", "ErrorMessage", "FinishedOnKey",
    "Label", "OriginalRepliedMessageSid", "ProfileName",
];

/// The names of Twilio's parameters, sorted bytewise.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "AccountSid", "AddOns", "Address", "AnsweredBy", "ApiVersion", "Body", "ButtonPayload",
    "ButtonText", "CallDuration", "CallSid", "CallStatus", "CallToken", "Called", "CalledCity",
    "CalledCountry", "CalledState", "CalledZip", "Caller", "CallerCity", "CallerCountry",
    "CallerName", "CallerState", "CallerZip", "ChannelInstallSid", "ChannelMetadata",
    "ChannelPrefix", "ChannelStatusMessage", "ChannelToAddress", "Confidence", "DateCreated",
    "Digits", "Direction", "Duration", "ErrorCode", "ErrorMessage", "EventType", "FinishedOnKey",
    "Forwarded", "ForwardedFrom", "From", "FromCity", "FromCountry", "FromState", "FromZip",
    "Label", "Latitude", "Longitude", "MediaContentType0", "MediaUrl0", "MessageSid",
    "MessageStatus", "MessageType", "MessagingServiceSid", "NumMedia", "NumSegments", "OptOutType",
    "OriginalRepliedMessageSender", "OriginalRepliedMessageSid", "ParentCallSid", "ProfileName",
    "RawDlrDoneDate", "RecordingDuration", "RecordingSid", "RecordingStatus", "RecordingUrl",
    "ReferralNumMedia", "SequenceNumber", "SmsMessageSid", "SmsSid", "SmsStatus", "SpeechResult",
    "StirVerstat", "Timestamp", "To", "ToCity", "ToCountry", "ToState", "ToZip", "TranscriptionSid",
    "TranscriptionStatus", "TranscriptionText", "WaId", "msg",
];

/// Returns a name as Twilio spells it, if that differs only in case.
pub(super) fn proper(name: &[u8]) -> Option<&'static [u8]> {
    if is_known(name) {
        return None;
    }
    let mut known = NAMES.iter().map(|known| known.as_bytes());
    known.find(|known| known.eq_ignore_ascii_case(name))
}

/// Returns whether a name is one of Twilio's.
pub(crate) fn is_known(name: &[u8]) -> bool {
    let found = NAMES.binary_search_by(|known| known.as_bytes().cmp(name));
    found.is_ok()
}

/// Returns whether people write the value of a parameter.
pub(super) fn is_written_by_people(name: &[u8]) -> bool {
    [&b"Body"[..], b"SpeechResult"].contains(&name)
}

/// Returns whether a value is text, not an identifier or a number.
pub(super) fn is_text(name: &[u8], value: &[u8]) -> bool {
    let is_identifier = name.ends_with(b"Sid") || value.len() == 34 && !value.contains(&b' ');
    !is_identifier
        && value
            .iter()
            .any(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
}

/// Returns parameters that may have been dropped, with the values that follow from others.
pub(super) fn dropped<'v>(
    value_of: &dyn Fn(&str) -> Option<&'v [u8]>,
    account: Option<&'v str>,
) -> Vec<(&'static str, &'v [u8])> {
    // The same value under another name.
    const SAME: [(&str, &str); 10] = [
        ("MessageSid", "SmsSid"),
        ("MessageSid", "SmsMessageSid"),
        ("SmsSid", "MessageSid"),
        ("SmsSid", "SmsMessageSid"),
        ("SmsMessageSid", "MessageSid"),
        ("SmsMessageSid", "SmsSid"),
        ("Called", "To"),
        ("Caller", "From"),
        ("To", "Called"),
        ("From", "Caller"),
    ];
    const OF_MESSAGES: [(&str, &str); 5] = [
        ("MessageType", "text"),
        ("NumMedia", "0"),
        ("NumSegments", "1"),
        ("ReferralNumMedia", "0"),
        ("SmsStatus", "received"),
    ];
    let is_call = value_of("CallSid").is_some();
    let mut out = vec![("ApiVersion", &b"2010-04-01"[..])];
    out.extend(account.map(|account| ("AccountSid", account.as_bytes())));
    for (name, other) in SAME {
        let is_of_calls = name.contains("Call") || other.contains("Call");
        if is_call == is_of_calls && value_of(name).is_none() {
            out.extend(value_of(other).map(|value| (name, value)));
        }
    }
    if is_call {
        out.push(("Direction", b"inbound"));
    } else {
        out.extend(OF_MESSAGES.map(|(name, value)| (name, value.as_bytes())));
        let number = value_of("From").and_then(|from| from.strip_prefix(b"whatsapp:+"));
        out.extend(number.map(|number| ("WaId", number)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_names_are_sorted_so_that_each_is_found() {
        assert!(NAMES.is_sorted());
        assert!(NAMES.iter().all(|name| is_known(name.as_bytes())));
        assert!(!is_known(b"utm_source") && !is_known(b"body"));
        assert_eq!(proper(b"callsid"), Some(&b"CallSid"[..]));
        assert_eq!(proper(b"CallSid"), None);
        assert_eq!(proper(b"utm_source"), None);
    }
}
