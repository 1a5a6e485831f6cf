//! Parameters that were changed on the way.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn what_a_proxy_does_to_all_parameters_is_named() {
    let pieces = || BODY.split('&');
    let filled: Vec<_> = pieces().filter(|piece| !piece.ends_with('=')).collect();
    expect_of_body(BODY, &filled.join("&"), "empty values were dropped");
    let lower = |piece: &str| {
        let (name, value) = piece.split_once('=').expect("a value");
        format!("{}={value}", name.to_lowercase())
    };
    let lower_case_names: Vec<_> = pieces().map(lower).collect();
    let words = "names of the parameters were changed";
    expect_of_body(BODY, &lower_case_names.join("&"), words);
}

#[test]
fn what_a_proxy_does_to_one_text_is_named() {
    // What stands in the message, what is signed and what arrives instead of it.
    let cases = "
        &ToZip= => &ToZip= => => empty values were dropped
        tacos => tacos+ => tacos => white space around a value was cut off
        tacos => tacos%0A => tacos => white space around a value was cut off
        %2B => %2B => + => was not escaped and became a space
        %2B => whatsapp%3A%2B => whatsapp%3A+ => was not escaped and became a space
        %2B => %2B => %252B => encoded a second time
        tacos => t%0Aacos => t%0D%0Aacos => line ends
        Ana => Jos%C3%A9 => Jos%E9 => text that was UTF-8 is Latin-1 now
        Ana => Jos%C3%A9 => Jos%C3%83%C2%A9 => UTF-8 has been taken for Latin-1
        2+tacos => dos+%F0%9F%8C%AE => dos+%C3%B0%C5%B8%C5%92%C2%AE => UTF-8 has been taken for Windows-1252
        2+tacos => %E2%82%AC+3 => %80+3 => text that was UTF-8 is Windows-1252 now
        2+tacos => %E2%80%9Cs%C3%AD%E2%80%9D => %93s%ED%94 => text that was UTF-8 is Windows-1252 now
    ";
    for [text, signed, arrives, words] in rows(cases) {
        expect_of_body(
            &BODY.replace(text, signed),
            &BODY.replace(text, arrives),
            words,
        );
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
        expect(&form(empty).signed("token", &message, ""), expected);
    }
    expect_of_body("x=+a", "x=a", "white space");
}

#[test]
fn a_parameter_that_was_added_or_dropped_is_named() {
    let words = "a parameter was added on the way: number 15 of the 15";
    let hint = expect_of_body(BODY, &format!("{BODY}&_waf_id=7"), words);
    assert!(!hint.contains("_waf_id"), "{hint}");
    expect_of_body(BODY, &format!("tenant=a&{BODY}"), "number 1 of the 15");
    expect_of_body("a=1&b=2", "Digits=5&a=1&b=2", "number 1 of the 3");
    let message = format!("{BODY}&SmsSid=SM1&ApiVersion=2010-04-01&NumMedia=0");
    for dropped in "SmsSid=SM1 ApiVersion=2010-04-01 NumMedia=0 MessageSid=SM1".split(' ') {
        let (name, _) = dropped.split_once('=').expect("a value");
        let words = format!("a parameter was dropped on the way: {name}");
        let arrives = message.replace(&format!("&{dropped}"), "");
        expect_of_body(&message, &arrives, &words);
    }
}
