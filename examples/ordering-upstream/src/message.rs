//! What is stored of a webhook: its body as it came, and beside it the few parameters that are looked at.

use std::borrow::Cow;

use crate::verified::Verified;

/// A webhook that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// What makes a repeat the same message.
    pub nonce: String,
    /// The Twilio account, where the filter knows it.
    pub account: Option<String>,
    /// As the request had it.
    pub content_type: Option<String>,
    /// Byte for byte. Nothing that was accepted is lost because this version could not read it.
    pub body: Vec<u8>,
    /// What could be read of it.
    pub parameters: Parameters,
}

/// The parameters that have columns of their own, each only where the body has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `MessageSid`. Many webhooks may share it: a message and each of its status callbacks.
    pub message_sid: Option<String>,
    /// `From`, such as `whatsapp:+15550001111`.
    pub from: Option<String>,
    /// `Body`, what the customer wrote.
    pub text: Option<String>,
    /// `MessageStatus`, which only status callbacks have.
    pub status: Option<String>,
}

impl NewMessage {
    /// Takes a webhook apart.
    pub fn new(verified: Verified, content_type: Option<String>, body: Vec<u8>) -> Self {
        let parameters = match &content_type {
            Some(value) if is_form(value) => Parameters::from_form(&body),
            _ => Parameters::default(),
        };
        Self {
            nonce: verified.nonce,
            account: verified.account,
            content_type,
            body,
            parameters,
        }
    }
}

pub(crate) fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

impl Parameters {
    /// Reads a form. Of a name that is there twice, the first counts.
    pub fn from_form(body: &[u8]) -> Self {
        let mut found = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let field = match &*name {
                "MessageSid" => &mut found.message_sid,
                "From" => &mut found.from,
                "Body" => &mut found.text,
                "MessageStatus" => &mut found.status,
                _ => continue,
            };
            field.get_or_insert_with(|| Cow::into_owned(value));
        }
        found
    }
}

/// A stored message, as the worker gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Ascends in the order in which messages were stored.
    pub id: i64,
    /// What makes a repeat the same message.
    pub nonce: String,
    /// The Twilio account, where the filter knows it.
    pub account: Option<String>,
    /// As the request had it.
    pub content_type: Option<String>,
    /// Byte for byte.
    pub body: Vec<u8>,
    /// What could be read of the body.
    pub parameters: Parameters,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_apart(content_type: Option<&str>, body: &[u8]) -> NewMessage {
        let verified = Verified {
            nonce: "00".repeat(32),
            account: None,
        };
        NewMessage::new(verified, content_type.map(str::to_owned), body.to_vec())
    }

    const FORM: Option<&str> = Some("application/x-www-form-urlencoded; charset=utf-8");

    #[test]
    fn a_message_is_read_and_its_bytes_are_kept() {
        let body = b"MessageSid=SM1&From=whatsapp%3A%2B15550001111&Body=2+tacos+%F0%9F%8C%AE&To=x";
        let message = take_apart(FORM, body);
        assert_eq!(message.body, body);
        let parameters = message.parameters;
        assert_eq!(parameters.message_sid.as_deref(), Some("SM1"));
        assert_eq!(parameters.from.as_deref(), Some("whatsapp:+15550001111"));
        assert_eq!(parameters.text.as_deref(), Some("2 tacos 🌮"));
        assert_eq!(parameters.status, None);
    }

    #[test]
    fn an_empty_text_is_a_text_and_not_a_missing_one() {
        let parameters = take_apart(FORM, b"Body=&MessageSid=SM1").parameters;
        assert_eq!(parameters.text.as_deref(), Some(""));
    }

    #[test]
    fn of_a_repeated_parameter_the_first_counts() {
        let parameters = take_apart(FORM, b"Body=first&Body=second").parameters;
        assert_eq!(parameters.text.as_deref(), Some("first"));
    }

    #[test]
    fn bytes_that_are_no_form_are_kept_and_nothing_is_read_from_them() {
        for body in [&b""[..], b"%", b"\xff\x00\xfe", b"{\"Body\":1}"] {
            let message = take_apart(FORM, body);
            assert_eq!(message.body, body);
            assert_eq!(message.parameters, Parameters::default());
        }
    }

    #[test]
    fn parameters_are_read_from_forms_only() {
        let body = b"MessageSid=SM1";
        for content_type in [None, Some("application/json"), Some("text/plain"), Some("")] {
            let message = take_apart(content_type, body);
            assert_eq!(message.parameters, Parameters::default());
        }
        let upper = take_apart(Some("Application/X-WWW-Form-URLencoded"), body);
        assert_eq!(upper.parameters.message_sid.as_deref(), Some("SM1"));
    }
}
