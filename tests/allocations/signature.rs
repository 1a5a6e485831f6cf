//! Of the path of a webhook's signature: for the decoded bytes, for the list of
//! parameters, and for the message. Not for each parameter.

use twilio_webhook_filter::{
    ClaimedMac, ConfiguredUrl, Form, Key, Keyring, PublicUrl, Secret, Signed, SigningKey, Target,
    verify,
};

use crate::counting;

fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    counting::allocations(work).0
}

/// As many parameters, of about 750 bytes in all, in an order that has to be sorted.
fn body(parameters: usize) -> Vec<u8> {
    let value = "x%20y+".repeat(120 / parameters.max(1));
    let name = |index: usize| format!("Parameter{}={value}", index * 7 % parameters);
    let pieces: Vec<_> = (0..parameters).map(name).collect();
    pieces.join("&").into_bytes()
}

#[test]
fn a_form_takes_two_allocations_and_one_more_to_sort_many_parameters() {
    for (parameters, expected) in [(1, 2), (2, 2), (20, 2), (32, 3)] {
        let body = body(parameters);
        let allocations = allocations(|| Form::parse(&body));
        assert_eq!(allocations, expected, "{parameters}");
    }
    // The list is made for as many as a message has; for more it grows by doubling.
    let body = body(500);
    assert!(allocations(|| Form::parse(&body)) <= 7);
}

#[test]
fn to_verify_takes_one_allocation_more_whatever_the_number_of_keys_and_urls() {
    let key = |index: usize| Key {
        signing: SigningKey::auth_token(&Secret::new(format!("token {index}"))).expect("a token"),
        account: None,
        label: String::new(),
        shared_id: None,
    };
    let url = ConfiguredUrl::parse("https://h.example:8443/hook").expect("a URL");
    let public = PublicUrl::configured(&url);
    let claimed = ClaimedMac::parse(b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("a signature");
    let body = body(20);
    let form = Form::parse(&body);
    for keys in [1, 2, 20] {
        let keyring = Keyring::new((0..keys).map(key).collect());
        let signed = Signed {
            target: Target::new(b"/hook", false),
            form: Some(&form),
            claimed: &claimed,
            settings: None,
        };
        assert_eq!(
            allocations(|| verify(&keyring, &public, signed).is_ok()),
            1,
            "{keys}"
        );
    }
}
