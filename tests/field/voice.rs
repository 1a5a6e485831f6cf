//! Calls and mass messages, with the configurations that the documentation shows for them.
//!
//! Each is taken from `docs/operations.md`, where a comment gives it a name, and is used as it stands there.

use std::net::{IpAddr, Ipv4Addr};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use support::envoy::{Envoy, Setup, Test};
use support::messages::{
    self, ACCOUNT, ORIGIN, Parameters, TOKEN, bare, form, form_for, pairs, set, sid,
    status_callback, unsigned, whatsapp,
};
use support::process::repository;
use support::signing;
use support::tap::Behaviour;
use support::wire::Request;

/// The configuration that the documentation gives this name.
fn example(name: &str) -> String {
    let file = repository().join("docs/operations.md");
    let text = std::fs::read_to_string(file).expect("the documentation");
    let comment = format!("<!-- {name}: driven by tests/field/voice.rs -->");
    let block = text
        .split_once(&comment)
        .and_then(|(_, rest)| rest.split_once("```json\n"))
        .and_then(|(_, rest)| rest.split_once("```"));
    let (block, _) = block.unwrap_or_else(|| panic!("no configuration after {comment}"));
    block.to_owned()
}

/// An Envoy with it: keys come from the environment.
fn start(name: &str) -> Envoy {
    Setup::with_text(example(name)).workers(4).start()
}

/// A request of a call. Only what Twilio says of its state differs from one to the next.
fn of_call(call: &str, status: &str) -> Parameters {
    pairs([
        ("AccountSid", ACCOUNT),
        ("ApiVersion", "2010-04-01"),
        ("CallSid", call),
        ("CallStatus", status),
        ("Called", "+15005550006"),
        ("Caller", "+15005550001"),
        ("Direction", "inbound"),
        ("From", "+15005550001"),
        ("FromCity", ""),
        ("To", "+15005550006"),
    ])
}

/// What becomes of a call, with the time, which is signed.
fn progress(call: &str, status: &str, number: &str) -> Parameters {
    let now = OffsetDateTime::now_utc().format(&Rfc2822);
    let parameters = set(of_call(call, status), "SequenceNumber", number);
    let parameters = set(parameters, "CallbackSource", "call-progress-events");
    set(parameters, "Timestamp", &now.expect("a date"))
}

fn wss(target: &str) -> String {
    format!("{}{target}", ORIGIN.replace("https", "wss"))
}

/// A handshake that is signed over `url` and these parameters.
fn handshake(target: &str, url: &str, parameters: &Parameters) -> Request {
    unsigned("GET", target)
        .with("user-agent", "Twilio.TmeWs/1.0")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("x-twilio-signature", signing::sign(TOKEN, url, parameters))
}

/// The WebSocket opens, and what is sent comes back.
async fn assert_opens(t: &Test<'_>, request: &Request) {
    t.upstream(Behaviour::Echo);
    let mut connection = t.http1().await;
    let answer = connection.send(request).await;
    assert_eq!(answer.status, 101, "{}", answer.text());
    connection.write(b"media").await;
    assert_eq!(connection.read_exactly(5).await, b"media");
    t.upstream(Behaviour::Answer(200));
}

async fn assert_all_pass(t: &Test<'_>, requests: &[Request]) {
    for request in requests {
        t.passes(request).await;
    }
}

#[test]
fn everything_that_twilio_sends_for_two_calls_passes_with_the_configuration_for_calls() {
    let envoy = start("voice");
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for _ in 0..2 {
            let call = sid("CA");
            t.passes(&form("/voice/answer", &of_call(&call, "ringing")))
                .await;
            // The menu times out three times, and begins again with <Redirect> to its own URL.
            let round = form("/voice/menu", &of_call(&call, "in-progress"));
            assert_all_pass(t, &[round.clone(), round.clone(), round]).await;
            let chosen = set(of_call(&call, "in-progress"), "Digits", "2");
            t.passes(&form("/voice/order", &chosen)).await;
            // The music of a conference ends, and is asked for again.
            let music = pairs([
                ("ConferenceSid", "CF00000000000000000000000000000001"),
                ("FriendlyName", "Kitchen"),
                ("AccountSid", ACCOUNT),
            ]);
            let music = form("/voice/wait", &music);
            assert_all_pass(t, &[music.clone(), music]).await;
            // A stream's handshake is the same for each call, and may have a slash at its end.
            let stream = wss("/voice/stream");
            assert_opens(t, &handshake("/voice/stream", &stream, &vec![])).await;
            let slash = format!("{stream}/");
            assert_opens(t, &handshake("/voice/stream", &slash, &vec![])).await;
            // A relay's has the call in it; Twilio signs it with its query, its SDKs check it without.
            let target = format!("/voice/relay?call={call}&lang=es");
            assert_opens(t, &handshake(&target, &wss(&target), &vec![])).await;
            let target = format!("/voice/relay?call={call}&lang=en");
            let query = pairs([("call", &call), ("lang", "en")]);
            assert_opens(t, &handshake(&target, &wss("/voice/relay"), &query)).await;
            let states = ["initiated", "ringing", "in-progress", "completed"];
            for (number, status) in states.iter().enumerate() {
                let callback = progress(&call, status, &number.to_string());
                t.passes(&form("/voice/status", &callback)).await;
            }
        }
    });
}

#[test]
fn what_would_act_twice_is_rejected_with_the_configuration_for_calls() {
    let envoy = start("voice");
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let call = sid("CA");
        for (path, parameters) in [
            ("/voice/answer", of_call(&call, "ringing")),
            ("/voice/order", of_call(&call, "in-progress")),
            ("/voice/status", progress(&call, "completed", "3")),
        ] {
            let request = form(path, &parameters);
            t.passes(&request).await;
            t.rejects(&request, "duplicate").await;
        }
        let target = format!("/voice/relay?call={call}");
        let relay = handshake(&target, &wss(&target), &vec![]);
        assert_opens(t, &relay).await;
        t.rejects(&relay, "duplicate").await;
        // What claims nothing is checked all the same.
        let other = handshake("/voice/stream", &wss("/voice/streams"), &vec![]);
        t.rejects(&other, "invalid_signature").await;
        let late = OffsetDateTime::now_utc() - time::Duration::seconds(400);
        let late = late.format(&Rfc2822).expect("a date");
        let late = set(progress(&call, "completed", "4"), "Timestamp", &late);
        t.rejects(&form("/voice/status", &late), "stale_timestamp")
            .await;
    });
}

#[test]
fn conversations_events_and_flows_pass_twice_where_they_are_two_events() {
    let envoy = start("conversations");
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for _ in 0..2 {
            let added = pairs([
                ("EventType", "onMessageAdded"),
                ("ConversationSid", &sid("CH")),
                ("MessageSid", &sid("IM")),
                ("AccountSid", ACCOUNT),
                ("Body", "two tacos"),
                ("RetryCount", "0"),
            ]);
            let again = set(added.clone(), "RetryCount", "1");
            let both = [form("/conversations", &added), form("/conversations", &again)];
            assert_all_pass(t, &both).await;
            // Retried for hours if it did not get a 2xx: that it does, and the service is left in peace.
            let events = format!(r#"[{{"specversion":"1.0","id":"{}"}}]"#, sid("EZ"));
            let events = messages::json("/events", &events);
            t.passes(&events).await;
            let before = t.received_count();
            t.passes(&events).await;
            assert_eq!(t.received_count(), before, "not passed on");
            let order = format!(r#"{{"flow":"{}","choice":1}}"#, sid("FN"));
            t.passes(&messages::json("/studio/order", &order)).await;
            let hours = messages::json("/studio/hours", r#"{"ask":"hours"}"#);
            assert_all_pass(t, &[hours.clone(), hours]).await;
            let hash = signing::sha256_hex(b"sent elsewhere");
            let inquiry = sid("BU");
            let target = format!(
                "/compliance/status?bodySHA256={hash}&bodySHA256={hash}&BundleSid={inquiry}&Status=approved"
            );
            t.passes(&bare("GET", &target)).await;
        }
        let constant = messages::json("/studio/order", r#"{"choice":1}"#);
        t.passes(&constant).await;
        t.rejects(&constant, "duplicate").await;
    });
}

/// Callbacks of so many messages, three for each.
fn callbacks(path: &str, messages: usize) -> Vec<Request> {
    let one = |message: String| {
        ["sent", "delivered", "read"].map(|status| form(path, &status_callback(&message, status)))
    };
    let messages = std::iter::repeat_with(|| sid("SM")).take(messages);
    messages.flat_map(one).collect()
}

#[test]
fn the_default_limit_rejects_the_callbacks_of_mass_messages() {
    let path = "/voice/status";
    let envoy = Setup::changed(serde_json::json!({})).start();
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let mut statuses = Vec::new();
        for request in callbacks(path, 25) {
            statuses.push(t.send(&request).await.status);
        }
        assert!(statuses[..60].iter().all(|status| *status == 200));
        assert!(statuses[60..].iter().all(|status| *status == 429));
    });
}

#[test]
fn the_rules_for_mass_messages_let_them_pass_and_stop_unauthenticated_clients_and_one_busy_sender()
{
    let envoy = start("mass");
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        // From the same few addresses.
        let addresses = [1, 2, 3].map(|last| IpAddr::from(Ipv4Addr::new(127, 32, 0, last)));
        for (index, request) in callbacks("/messages/status", 250).iter().enumerate() {
            let address = addresses[index % addresses.len()];
            t.passes_from(address, request).await;
        }
        // One customer is limited, another is not.
        let inbound = |from: &str| {
            let message = set(whatsapp(), "From", from);
            form("/messages/inbound", &message)
        };
        for index in 0..21 {
            let answer = t
                .send_from(addresses[0], &inbound("whatsapp:+15005550001"))
                .await;
            assert_eq!(answer.status, if index < 20 { 200 } else { 429 });
        }
        t.passes_from(addresses[0], &inbound("whatsapp:+15005550002"))
            .await;
        // An unauthenticated client is limited by its rejected requests.
        let attacker = IpAddr::from(Ipv4Addr::new(127, 32, 0, 9));
        let url = format!("{ORIGIN}/messages/status");
        let forged = || {
            let callback = status_callback(&sid("SM"), "sent");
            form_for(
                "00112233445566778899aabbccddeeff",
                &url,
                "/messages/status",
                &callback,
            )
        };
        for _ in 0..600 {
            assert_eq!(t.send_from(attacker, &forged()).await.status, 403);
        }
        t.rejects_from(attacker, &forged(), "rate_limited").await;
        let genuine = form("/messages/status", &status_callback(&sid("SM"), "sent"));
        t.passes_from(addresses[0], &genuine).await;
    });
}
