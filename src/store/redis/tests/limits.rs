//! Limits that count what is signed, and those that count rejections.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Otherwise one captured request could lock its account out.
#[test]
fn a_repeat_is_asked_to_be_counted_by_address_and_webhook_alone() {
    let rules = ["client_ip", "account", "webhook", "param:From"].map(|key| {
        format!(r#"{{"key": "{key}", "count": "rejected", "requests": 9, "window": "5s"}}"#)
    });
    let world = world(
        "reject",
        &format!(r#", "rate_limits": [{}]"#, rules.join(",")),
    );
    for (request, takes) in [
        (form("From=1"), 2),
        (form("From=1&Timestamp=1"), 2),
        (form("From=1&Timestamp=1900000000"), 2),
        (form("From=1&AccountSid=ACother"), 4),
        (form("From=1&Timestamp=soon"), 4),
    ] {
        let mut last = None;
        let verdict = world.send_with(&request, &mut |words| {
            last = Some(words.iter().filter(|word| *word == "take").count());
            let is_claim = words.iter().any(|word| word == "reject");
            Ok(if is_claim { KEPT } else { ScriptReply::Passed })
        });
        assert!(
            matches!(verdict.outcome, Outcome::Rejected(_)),
            "{verdict:?}"
        );
        assert_eq!(last, Some(takes), "{verdict:?}");
    }
}

/// What a rejected request is told must not reject the next one at its headers,
/// which is all that it may have in common with a flood.
#[test]
fn a_limit_that_is_used_up_by_what_was_inherited_is_asked_for_at_the_headers_all_the_same() {
    let world = world(
        "reject",
        r#", "rate_limits": [{"key": "client_ip", "count": "rejected", "requests": 1, "window": "60s"}]"#,
    );
    let forged = form("a=1").signed("wrong", "https://orders.example.com/hook", "a=1");
    let limited = [Ok(SECOND_LIMITED)];
    assert_eq!(ended(&world, &forged, &limited), "rate_limited");
    let genuine = [Ok(CLAIMED)];
    assert_eq!(ended(&world, &form("a=1"), &genuine), "accepted");
    // One more rejection is asked for again, since it has to be looked for its own.
    assert_eq!(ended(&world, &forged, &limited), "rate_limited");
    // Its own rejections are another matter.
    assert_eq!(ended(&world, &form("a=2"), &[Ok(LIMITED)]), "rate_limited");
    assert_eq!(ended(&world, &form("a=2"), &[]), "rate_limited");
}

/// Once the key was public without credentials, and whoever knows it can choose
/// addresses that share their counters with another's.
#[test]
fn without_credentials_the_key_of_the_counters_is_made_from_what_signs() {
    let key = |tokens: &str, store: &str| {
        let json = format!(
            r#"{{"accounts": [{{"account_sid": "ACa", "auth_tokens": [{tokens}]}}],
                "store": {{"type": "redis", "cluster": "c", "api": "webdis" {store}}}}}"#
        );
        let world = Redis::new(&json);
        world.world.filter.store().hash_key().0
    };
    let own = key(r#""one""#, "");
    assert_eq!(own, key(r#""one""#, ""), "at every Envoy");
    assert_ne!(own, key(r#""two""#, ""), "and at no other");
    assert_ne!(own, key(r#""one", "two""#, ""), "a rotation begins anew");
    let both = key(r#""one", "two""#, "");
    assert_eq!(both, key(r#""two", "one""#, ""), "in any order");
    assert_ne!(own, key(r#""one""#, r#", "key_prefix": "other""#));
    // With credentials it is theirs, whatever the tokens are.
    let password = r#", "username": "u", "password": "p""#;
    let with_password = key(r#""one""#, password);
    assert_eq!(with_password, key(r#""two""#, password));
    assert_ne!(with_password, own);
    let other = r#", "username": "u", "password": "q""#;
    assert_ne!(with_password, key(r#""one""#, other));
}

#[test]
fn what_is_rejected_leaves_no_claim_here() {
    for reply in [LIMITED, ScriptReply::Full] {
        let world = world(
            "reject",
            r#", "rate_limits": [{"key": "account", "count": "authenticated", "requests": 9, "window": "5s"}]"#,
        );
        let (verdict, _) = send(&world, &form("a=1"), &[Ok(reply)]);
        assert_ne!(verdict.outcome.name(), "accepted");
        assert_eq!(world.report().nonces, 0, "{reply:?}");
        assert_eq!(told(&world), [], "Redis has no claim either");
        let again = form("a=1").at(after(6));
        assert_eq!(
            ended(&world, &again, &[Ok(CLAIMED)]),
            "accepted",
            "{reply:?}"
        );
    }
}

#[test]
fn who_is_over_the_limit_is_not_asked_for_until_his_time_has_come() {
    let world = world("reject", "");
    let request = form("a=1");
    let (verdict, _) = send(&world, &request, &[Ok(LIMITED)]);
    let wait = |verdict: &Verdict| match &verdict.outcome {
        Outcome::Rejected(rejection) => rejection.limited.map(|limited| limited.wait),
        _ => None,
    };
    assert_eq!(wait(&verdict), Some(Millis(5000)));
    for _ in 0..100 {
        let (verdict, asked) = send(&world, &request.clone().at(after(4)), &[]);
        assert_eq!((wait(&verdict), asked), (Some(Millis(1000)), 0));
    }
    let answers = [Ok(CLAIMED)];
    assert_eq!(ended(&world, &request.at(after(5)), &answers), "accepted");
}

#[test]
fn a_limit_of_rejections_is_asked_for_where_there_is_a_rejection() {
    let world = world(
        "reject",
        r#", "rate_limits": [{"key": "client_ip", "count": "rejected", "requests": 1, "window": "5s"}]"#,
    );
    let forged = form("a=1").signed("wrong", "https://orders.example.com/hook", "a=1");
    let passes = [Ok(ScriptReply::Passed)];
    assert_eq!(ended(&world, &forged, &passes), "invalid_signature");
    assert_eq!(
        ended(&world, &forged, &[Ok(SECOND_LIMITED)]),
        "rate_limited"
    );
    // One that passes is counted by nobody.
    let genuine = form("a=1").at(after(6));
    assert_eq!(ended(&world, &genuine, &[Ok(CLAIMED)]), "accepted");
}
