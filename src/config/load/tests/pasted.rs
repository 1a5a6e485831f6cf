//! What is pasted in place of valid JSON.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_field_that_occurs_twice_is_named_by_its_path_at_any_depth() {
    for (json, path) in [
        (r#"{"mode": "off", "log": {}, "mode": "enforce"}"#, "mode"),
        (r#"{"mode": "off", "\u006dode": "enforce"}"#, "mode"),
        (
            r#"{"accounts": [{"auth_tokens": ["first"]}], "accounts": [{"auth_tokens": ["second"]}]}"#,
            "accounts",
        ),
        (
            r#"{"webhooks": [{"url": "https://h/a"}, {"url": "https://h/b", "url": "https://h/b"}]}"#,
            "webhooks[1].url",
        ),
        (
            r#"{"webhooks": [{"url": "https://h/a", "replay": {"keep": "1s", "keep": "1s"}}]}"#,
            "webhooks[0].replay.keep",
        ),
        (
            r#"{"accounts": [{"auth_tokens": [{"env": "TWILIO_AUTH_TOKEN", "env": "TWILIO_AUTH_TOKEN"}]}]}"#,
            "accounts[0].auth_tokens[0].env",
        ),
    ] {
        let found = problems(json);
        assert_eq!(
            found,
            format!("{path}: this field occurs twice, and only one of them could count")
        );
    }
}

#[test]
fn what_is_pasted_in_the_place_of_json_is_called_by_its_name() {
    let deep = format!("{{\"mode\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let huge = format!("{{\"max_body_bytes\": 1{}}}", "0".repeat(400));
    for (text, words) in [
        (
            "\u{FEFF}{}",
            "byte order mark in front of it: save it as UTF-8 without BOM",
        ),
        ("\u{FEFF}", "byte order mark"),
        ("webhooks:\n- path: /a\n", "it looks like YAML"),
        ("---\nmode: off", "it looks like YAML"),
        ("- path: /a", "it looks like YAML"),
        ("{'mode': 'off'}", "straight double quotes"),
        ("'{\"mode\": \"off\"}'", "straight double quotes"),
        ("{“mode”: “off”}", "straight double quotes"),
        ("{\"mode\": \"off\",}", "trailing comma"),
        ("{\"webhooks\": [{}, ]}", "trailing comma"),
        ("{\"mode\": \"off\"", "EOF while parsing an object"),
        ("{\"mode\": \"off\"}}", "trailing characters"),
        ("{\"mode\": off}", "expected value"),
        ("// all of it\n{}", "JSON has no comments"),
        ("{\"mode\": \"off\" # really\n}", "JSON has no comments"),
        ("{\u{A0}\"mode\": \"off\"}", "white space that is not ASCII"),
        ("eyJtb2RlIjogIm9mZiJ9", "it looks like base64"),
        ("ewogICJtb2RlIjogIm9mZiIKfQo=\n", "it looks like base64"),
        ("${CONFIGURATION}", "variable or a template"),
        ("$CONFIGURATION", "variable or a template"),
        ("{{ toJson .Values.filter }}", "variable or a template"),
        (
            "\"{\\\"mode\\\": \\\"off\\\"}\"",
            "one layer of quotes too many",
        ),
        (
            r#"{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{}"}"#,
            "what belongs here is its \"value\"",
        ),
        (&deep, "recursion limit exceeded"),
        (&huge, "number out of range"),
        ("{\"mode\": \"o\0ff\"}", "control character"),
        ("{\"mode\": \"\\ud800\"}", "line 1 column"),
        ("\0\0\0", "bytes that are no text"),
        ("NaN", "line 1 column 1"),
    ] {
        let found = problems(text);
        assert!(
            found.starts_with("configuration: expected "),
            "{text}: {found}"
        );
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
        assert!(
            !found.contains("the bytes of a google.protobuf.Struct"),
            "{length}: {found}"
        );
    }
    // A StringValue in its own wrapping is no Struct.
    let found = said(b"\x0a\x02{}\x10\x01");
    assert_says(&found, "another protobuf message");
    let found = said(b"\xFF\xFE{\0}\0");
    assert_says(&found, "UTF-16");
    let found = said(b"{\"mode\": \"\xFC\"}");
    assert_says(
        &found,
        "configuration: expected JSON, which it is not at line 1",
    );
    // Text that begins with a line end is no protobuf, though its first byte is the same.
    assert!(load(b"\n{\n  \"mode\": \"off\"}", &environment).is_ok());
}
