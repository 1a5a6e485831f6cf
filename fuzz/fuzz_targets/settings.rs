//! The header that selects a shared key: it selects one of those that are configured, or none.
#![no_main]

use apart::draw::Draw;
use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::{Key, Keyring, Secret, SigningKey};

const IDS: [Option<&str>; 4] = [None, Some("a"), Some("wsk_1"), None];

/// Which place the first `key=` of a list names.
fn named(header: &[u8]) -> Option<usize> {
    let parts = header.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let mut ids = parts.filter(|part| part.starts_with(b"key="));
    let id = ids.next()?[4..].trim_ascii();
    IDS.iter()
        .position(|own| own.is_some_and(|own| own.as_bytes() == id))
}

fn check(header: &[u8]) {
    let key = |id: Option<&str>| {
        let secret = Secret::new("secret".into());
        let signing = match id {
            Some(_) => SigningKey::shared_key(&secret),
            None => SigningKey::auth_token(&secret),
        };
        Key {
            signing: signing.expect("not empty"),
            account: None,
            label: "a key".into(),
            shared_id: id.map(str::to_owned),
        }
    };
    let keyring = Keyring::new(IDS.map(key).into());
    let candidates = |length| -> Vec<usize> {
        let candidates = keyring.candidates(Some(header), length);
        candidates.map(|(index, _)| index).collect()
    };
    let shown = header.escape_ascii().to_string();
    let named = named(header);
    assert_eq!(candidates(32), Vec::from_iter(named), "{shown}");
    // The algorithm is the key's: who names a shared key does not fall back on a token.
    let tokens = if named.is_some() { &[][..] } else { &[0, 3] };
    assert_eq!(candidates(20), tokens, "{shown}");
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut draw = Draw::new(bytes);
    let parts = [
        "key=",
        "a",
        "wsk_1",
        ",",
        " ",
        "\t",
        "algorithm=HMAC_SHA256",
        "=",
        "KEY=",
        "key",
    ];
    let header: Vec<&str> = (0..draw.below(12)).map(|_| draw.one_of(&parts)).collect();
    check(header.concat().as_bytes());
});
