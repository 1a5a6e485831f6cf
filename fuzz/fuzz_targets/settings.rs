//! The header that selects a shared key: it selects one of those that are configured, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::core::secret::Secret;
use twilio_webhook_filter::core::signature::key::SigningKey;
use twilio_webhook_filter::core::signature::keyring::{Key, Keyring};

fuzz_target!(|header: &[u8]| {
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
    let keyring = Keyring::new(vec![key(None), key(Some("a")), key(Some("wsk_1"))]);
    let shared: Vec<usize> = keyring
        .candidates(Some(header), 32)
        .map(|(place, _)| place)
        .collect();
    let tokens: Vec<usize> = keyring
        .candidates(Some(header), 20)
        .map(|(place, _)| place)
        .collect();
    assert!(
        shared.is_empty() || tokens.is_empty(),
        "either a shared key or the tokens"
    );
    assert!(shared.len() <= 1 && tokens.len() <= 1);
    if let [place] = shared[..] {
        let id = keyring
            .get(place)
            .and_then(|key| key.shared_id.as_deref())
            .expect("shared");
        assert!(header.windows(id.len()).any(|part| part == id.as_bytes()));
    }
});
