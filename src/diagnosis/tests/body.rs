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
    ] {
        let hint = world().hint(&json(signed, arrives));
        assert_says(&hint, "parsed and written anew");
    }
    let hint = world().hint(&json(compact, "{}"));
    assert_says(&hint, "it is not the one whose hash");
}

#[test]
fn json_without_its_hash_is_explained() {
    let unsigned = form("")
        .signed("token", URL, "")
        .with("content-type", "application/json");
    let hint = world().hint(&unsigned.clone().body("{}"));
    assert_says(&hint, "does not send bodySHA256");
    let dropped = json("{}", "{}").to("/hook");
    let hint = world().hint(&dropped);
    assert_says(&hint, "dropped or changed the query");
    let retyped = form("a=1").with("content-type", "text/plain");
    let hint = world().hint(&retyped);
    assert_says(&hint, "changed its content-type");
}

#[test]
fn a_hash_without_its_body_or_in_the_wrong_place_is_explained() {
    let hash = "bodySHA256=".to_owned() + &"ab".repeat(32);
    let signed = |query: &str| {
        let url = format!("{URL}?{query}");
        form("")
            .signed("token", &url, "")
            .with("content-type", "application/json")
            .body("{}")
    };
    let to = |request: Request, query: &str| request.to(&format!("/hook?{query}"));
    let other = "bodySHA256=".to_owned() + &"cd".repeat(32);
    let twice = format!("{hash}&{other}");
    for (request, expected) in [
        (to(signed(&hash), &hash).body(""), "there is no body"),
        (to(signed(&twice), &twice), "more than one bodySHA256"),
        (
            to(signed(&hash), &format!("{hash}&gclid=7")),
            "something on the way has added to it",
        ),
        (
            to(signed(&format!("zone=7&{hash}")), &format!("{hash}&zone=7")),
            "in another order",
        ),
    ] {
        let hint = world().hint(&request);
        assert_says(&hint, expected);
    }
}

#[test]
fn json_whose_escapes_were_undone_or_added_is_named() {
    for (signed, arrives) in [
        (r#"{"a":"x/y"}"#, r#"{"a":"x\/y"}"#),
        (r#"{"a":"é🌮"}"#, r#"{"a": "\u00e9\ud83c\udf2e"}"#),
        (r#"{"a":"\u00e9\ud83c\udf2e"}"#, r#"{"a": "é🌮"}"#),
    ] {
        let hint = world().hint(&json(signed, arrives));
        assert_says(&hint, "parsed and written anew");
    }
}
