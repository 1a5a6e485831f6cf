//! Parameters that were changed on the way.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn what_a_proxy_does_to_parameters_is_named() {
    let without_empty: Vec<_> = BODY
        .split('&')
        .filter(|piece| !piece.ends_with('='))
        .collect();
    let lower_case_names: Vec<_> = BODY
        .split('&')
        .filter_map(|piece| piece.split_once('='))
        .map(|(name, value)| format!("{}={value}", name.to_lowercase()))
        .collect();
    let cases = [
        (
            BODY.to_owned(),
            without_empty.join("&"),
            "empty values were dropped",
        ),
        (
            BODY.to_owned(),
            BODY.replace("&ToZip=", ""),
            "empty values were dropped",
        ),
        (
            BODY.to_owned(),
            lower_case_names.join("&"),
            "names of the parameters were changed",
        ),
        (
            BODY.replace("tacos", "tacos+"),
            BODY.to_owned(),
            "white space around a value was cut off",
        ),
        (
            BODY.replace("tacos", "tacos%0A"),
            BODY.to_owned(),
            "white space around a value was cut off",
        ),
        (
            BODY.to_owned(),
            BODY.replace("%2B", "+"),
            "was not escaped and became a space",
        ),
        (
            BODY.replace("%2B", "whatsapp%3A%2B"),
            BODY.replace("%2B", "whatsapp%3A+"),
            "was not escaped and became a space",
        ),
        (
            BODY.to_owned(),
            BODY.replace("%2B", "%252B"),
            "encoded a second time",
        ),
        (
            BODY.replace("tacos", "t%0Aacos"),
            BODY.replace("tacos", "t%0D%0Aacos"),
            "line ends",
        ),
        (
            BODY.replace("Ana", "Jos%C3%A9"),
            BODY.replace("Ana", "Jos%E9"),
            "is Latin-1 now",
        ),
        (
            BODY.replace("Ana", "Jos%C3%A9"),
            BODY.replace("Ana", "Jos%C3%83%C2%A9"),
            "taken for Latin-1",
        ),
    ];
    for (signed, arrives, expected) in cases {
        let request = form("")
            .body(&arrives)
            .with("x-twilio-signature", &genuine(&signed));
        let hint = world().hint(&request);
        assert_says(&hint, expected);
    }
}

#[test]
fn what_a_test_client_does_wrong_is_named() {
    let empty = "b=2&a=1";
    for (message, expected) in [
        (URL.to_owned(), "over the URL alone"),
        (format!("{URL}{empty}"), "the raw body"),
        (format!("{URL}b2a1"), "not sorted by name"),
    ] {
        let request = form(empty).signed("token", &message, "");
        let hint = world().hint(&request);
        assert_says(&hint, expected);
    }
    let hint = arrives_as("x=+a", "x=a");
    assert_says(&hint, "white space");
}

#[test]
fn a_parameter_that_was_added_or_dropped_is_named() {
    let hint = arrives_as(BODY, &format!("{BODY}&_waf_id=7"));
    assert_says(
        &hint,
        "a parameter was added on the way: number 15 of the 15",
    );
    assert!(!hint.contains("_waf_id"), "{hint}");
    let front = arrives_as(BODY, &format!("tenant=a&{BODY}"));
    assert_says(&front, "number 1 of the 15");
    let known = arrives_as("a=1&b=2", "Digits=5&a=1&b=2");
    assert_says(&known, "number 1 of the 3");
    let message = format!("{BODY}&SmsSid=SM1&ApiVersion=2010-04-01&NumMedia=0");
    for dropped in [
        "&SmsSid=SM1",
        "&ApiVersion=2010-04-01",
        "&NumMedia=0",
        "&MessageSid=SM1",
    ] {
        let hint = arrives_as(&message, &message.replace(dropped, ""));
        let (name, _) = dropped[1..].split_once('=').expect("a value");
        assert_says(
            &hint,
            &format!("a parameter was dropped on the way: {name}"),
        );
    }
}

#[test]
fn windows_1252_is_told_from_latin_1() {
    let cases = [
        (
            "dos+%F0%9F%8C%AE",
            "dos+%C3%B0%C5%B8%C5%92%C2%AE",
            "taken for Windows-1252",
        ),
        (
            "%E2%82%AC+3",
            "%80+3",
            "text that was UTF-8 is Windows-1252 now",
        ),
        (
            "%E2%80%9Cs%C3%AD%E2%80%9D",
            "%93s%ED%94",
            "text that was UTF-8 is Windows-1252 now",
        ),
    ];
    for (signed, arrives, expected) in cases {
        let body = |text: &str| BODY.replace("2+tacos", text);
        let request = form("")
            .body(&body(arrives))
            .with("x-twilio-signature", &genuine(&body(signed)));
        let hint = world().hint(&request);
        assert!(hint.contains(expected) && hint.contains("UTF-8"), "{hint}");
    }
}
