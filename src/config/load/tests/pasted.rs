//! What is pasted in place of valid JSON.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_field_that_occurs_twice_is_named_by_its_path_at_any_depth() {
    let cases = r#"
        {"mode": "off", "log": {}, "mode": "enforce"} => mode
        {"mode": "off", "\u006dode": "enforce"} => mode
        {"accounts": [{"auth_tokens": ["first"]}], "accounts": [{"auth_tokens": ["second"]}]} => accounts
        {"webhooks": [{"url": "https://h/a"}, {"url": "https://h/b", "url": "https://h/b"}]} => webhooks[1].url
        {"webhooks": [{"url": "https://h/a", "replay": {"keep": "1s", "keep": "1s"}}]} => webhooks[0].replay.keep
        {"accounts": [{"auth_tokens": [{"env": "TWILIO_AUTH_TOKEN", "env": "TWILIO_AUTH_TOKEN"}]}]} => accounts[0].auth_tokens[0].env
    "#;
    for [json, path] in rows(cases) {
        let expected = "this field occurs twice, and only one of them could count";
        assert_eq!(problems(json), format!("{path}: {expected}"));
    }
}

#[test]
fn what_is_pasted_in_the_place_of_json_is_called_by_its_name() {
    let deep = format!("{{\"mode\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let huge = format!("{{\"max_body_bytes\": 1{}}}", "0".repeat(400));
    let cases = r#"
        - path: /a => it looks like YAML
        {'mode': 'off'} => straight double quotes
        '{"mode": "off"}' => straight double quotes
        {“mode”: “off”} => straight double quotes
        {"mode": "off",} => trailing comma
        {"webhooks": [{}, ]} => trailing comma
        {"mode": "off" => EOF while parsing an object
        {"mode": "off"}} => trailing characters
        {"mode": off} => expected value
        {"mode": "\ud800"} => line 1 column
        eyJtb2RlIjogIm9mZiJ9 => it looks like base64
        ${CONFIGURATION} => variable or a template
        $CONFIGURATION => variable or a template
        {{ toJson .Values.filter }} => variable or a template
        "{\"mode\": \"off\"}" => one layer of quotes too many
        {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{}"} => what belongs here is its "value"
        NaN => line 1 column 1
    "#;
    let with_other_bytes = [
        [
            "\u{FEFF}{}",
            "mark in front of it: save it as UTF-8 without BOM",
        ],
        ["\u{FEFF}", "byte order mark"],
        ["webhooks:\n- path: /a\n", "it looks like YAML"],
        ["---\nmode: off", "it looks like YAML"],
        ["// all of it\n{}", "JSON has no comments"],
        ["{\"mode\": \"off\" # really\n}", "JSON has no comments"],
        ["{\u{A0}\"mode\": \"off\"}", "white space that is not ASCII"],
        ["ewogICJtb2RlIjogIm9mZiIKfQo=\n", "it looks like base64"],
        [&deep, "recursion limit exceeded"],
        [&huge, "number out of range"],
        ["{\"mode\": \"o\0ff\"}", "control character"],
        ["\0\0\0", "bytes that are no text"],
    ];
    for [text, words] in rows(cases).into_iter().chain(with_other_bytes) {
        let found = problems(text);
        assert!(found.starts_with("configuration: expected "), "{found}");
        assert_says(&found, words);
    }
}

#[test]
fn bytes_that_are_no_text_are_called_by_their_name() {
    let said = |bytes: &[u8]| load(bytes, &environment).expect_err("no JSON").to_string();
    // {"mode": "enforce", "log": {"accepted": true}} as protobuf has it.
    let mode = b"\x0a\x11\x0a\x04mode\x12\x09\x1a\x07enforce";
    let log = b"\x0a\x17\x0a\x03log\x12\x10\x2a\x0e\x0a\x0c\x0a\x08accepted\x12\x00";
    let of_a_struct: [&[u8]; 2] = [mode, &[mode.as_slice(), log].concat()];
    for bytes in of_a_struct {
        let found = said(bytes);
        assert_says(&found, "the bytes of a google.protobuf.Struct");
        assert_says(&found, "use google.protobuf.StringValue with JSON text");
    }
    for length in 2..mode.len() {
        let found = said(mode.get(..length).unwrap_or_default());
        assert!(!found.contains("of a google.protobuf.Struct"), "{length}");
    }
    // A StringValue in its own wrapping is no Struct.
    assert_says(&said(b"\x0a\x02{}\x10\x01"), "another protobuf message");
    assert_says(&said(b"\xFF\xFE{\0}\0"), "UTF-16");
    let no_utf8 = said(b"{\"mode\": \"\xFC\"}");
    assert_says(&no_utf8, "expected JSON, which it is not at line 1");
    // Text that begins with a line end is no protobuf, though its first byte is the same.
    assert!(load(b"\n{\n  \"mode\": \"off\"}", &environment).is_ok());
}
