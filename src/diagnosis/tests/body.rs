//! Bodies and their hashes.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn json_written_anew_is_named() {
    let compact = r#"{"a":"x: y, z \\\" ","b":[1,2]}"#;
    let spaced = r#"{"a": "x: y, z \\\" ", "b": [1, 2]}"#;
    for (signed, arrives) in [
        (compact, spaced),
        (spaced, compact),
        (compact, " {\"a\" : \"x: y, z \\\\\\\" \",\n \"b\":[1,2]}"),
        // Escapes undone or added.
        (r#"{"a":"x/y"}"#, r#"{"a":"x\/y"}"#),
        (r#"{"a":"é🌮"}"#, r#"{"a": "\u00e9\ud83c\udf2e"}"#),
        (r#"{"a":"\u00e9\ud83c\udf2e"}"#, r#"{"a": "é🌮"}"#),
    ] {
        expect(&json(signed, arrives), "parsed and written anew");
    }
    expect(&json(compact, "{}"), "it is not the one whose hash");
}

#[test]
fn json_without_its_hash_is_explained() {
    let unsigned = with_json(form("").signed("token", URL, ""), "{}");
    expect(&unsigned, "does not send bodySHA256");
    let dropped = json("{}", "{}").to("/hook");
    expect(&dropped, "dropped or changed the query");
    let retyped = form("a=1").with("content-type", "text/plain");
    expect(&retyped, "changed its content-type");
}

#[test]
fn a_hash_without_its_body_or_in_the_wrong_place_is_explained() {
    let hash = "bodySHA256=".to_owned() + &"ab".repeat(32);
    let twice = format!("{hash}&bodySHA256={}", "cd".repeat(32));
    let sent = |signed: &str, query: &str, body: &str| {
        let request = form("").signed("token", &format!("{URL}?{signed}"), "");
        with_json(request.to(&format!("/hook?{query}")), body)
    };
    expect(&sent(&hash, &hash, ""), "there is no body");
    expect(&sent(&twice, &twice, "{}"), "more than one bodySHA256");
    let request = sent(&hash, &format!("{hash}&gclid=7"), "{}");
    expect(&request, "something on the way has added to it");
    let (signed, sorted) = (format!("zone=7&{hash}"), format!("{hash}&zone=7"));
    expect(&sent(&signed, &sorted, "{}"), "in another order");
}
