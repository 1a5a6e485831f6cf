//! What comes back from Redis, whatever it is, and what is sent there.

use proptest::prelude::*;
use twilio_webhook_filter::{Api, Failure, ScriptReply};

use crate::generators::cases;

const APIS: [Api; 2] = [Api::Webdis, Api::Upstash];

/// Everything that lets a request go on.
fn lets_pass(answer: Result<ScriptReply, Failure>) -> bool {
    matches!(
        answer,
        Ok(ScriptReply::Passed | ScriptReply::Claimed { .. })
    )
}

/// The words of a body as Webdis takes it apart.
fn words(body: &[u8]) -> Vec<Vec<u8>> {
    let unescaped = |word: &[u8]| {
        let mut bytes = Vec::new();
        let mut rest = word;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            if *first == b'%' {
                let (digits, after) = rest.split_at(2);
                let digits = std::str::from_utf8(digits).expect("digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("digits"));
                rest = after;
            } else {
                bytes.push(*first);
            }
        }
        bytes
    };
    body.split(|byte| *byte == b'/').map(unescaped).collect()
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn no_bytes_but_an_answer_let_a_request_pass(status in 0..600_u16, body in any::<Vec<u8>>()) {
        for api in APIS {
            prop_assert!(!lets_pass(api.read(status, &body, "fa")));
            prop_assert!(!lets_pass(api.read(200, &body, "fa")));
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_changed_does_not_pass(
        index in 0..64_usize,
        change in any::<Option<u8>>(),
    ) {
        for (api, whole) in [
            (Api::Webdis, &br#"{"EVALSHA":"fa claimed 0 0"}"#[..]),
            (Api::Webdis, br#"{"EVAL":"fa passed"}"#),
            (Api::Upstash, br#"{"result":"fa claimed 0 0"}"#),
            (Api::Upstash, br#"{"result":"fa passed"}"#),
        ] {
            prop_assert!(lets_pass(api.read(200, whole, "fa")));
            let index = index % whole.len();
            let mut broken = whole.to_vec();
            match change {
                None => broken.truncate(index),
                Some(byte) => broken[index] = byte,
            }
            // Another number is another answer of the same kind; white space in JSON is none.
            let digits = |bytes: &[u8]| -> Vec<u8> {
                let plain = bytes.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte });
                plain.collect()
            };
            let is_same = digits(&broken) == digits(whole);
            prop_assert_eq!(lets_pass(api.read(200, &broken, "fa")), is_same, "{:?}", broken);
        }
    }

    #[test]
    fn whatever_the_words_are_they_arrive_as_they_were(
        command in prop::collection::vec("(?s).{1,40}", 1..8),
    ) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let arrived = words(&Api::Webdis.write(&command));
        let sent: Vec<Vec<u8>> = command.iter().map(|word| word.as_bytes().to_vec()).collect();
        prop_assert_eq!(arrived, sent);
        let arrived: Vec<String> =
            serde_json::from_slice(&Api::Upstash.write(&command)).expect("JSON");
        prop_assert_eq!(arrived, command);
    }
}
