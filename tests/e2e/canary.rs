use std::time::Duration;

use serde_json::json;

use support::envoy::{Setup, new_address};
use support::filter_host::filter_host;
use support::http1::Http1;
use support::http2::{Framing, Http2};
use support::messages::{self, WEBHOOK, forged, form, message, unsigned, whatsapp};
use support::tap::Behaviour;
use support::wire::Request;

/// Bytes that are the same with each run: a failure can be looked at again.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// What may stand in a header: everything but control characters.
    fn header(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| (self.next() as u8).clamp(0x21, 0xff))
            .map(|byte| if byte == 0x7f { b'x' } else { byte })
            .collect()
    }
}

fn abuse(noise: &mut Noise) -> Request {
    let length = noise.next() as usize % 60;
    let base = match noise.next() % 4 {
        0 => message(),
        1 => forged(&whatsapp()),
        2 => messages::json("/studio/x", "{}"),
        _ => unsigned("POST", WEBHOOK),
    };
    match noise.next() % 10 {
        0 => base.with("x-twilio-signature", noise.header(length)),
        1 => base.with("content-type", noise.header(length)),
        2 => base.with("x-twilio-request-timestamp", noise.header(length)),
        3 => base.body(noise.bytes(length * 20)),
        4 => {
            let name = [
                "x-twilio-webhook-verified",
                "x-twilio-webhook-nonce",
                "x-request-id",
                "host",
            ];
            let name = name[noise.next() as usize % 4];
            base.with(name, noise.header(length))
        }
        5 => {
            let mut target = WEBHOOK.as_bytes().to_vec();
            target.push(b'?');
            target.extend(noise.header(length));
            Request { target, ..base }
        }
        6 => {
            // A broken form under a good signature of something else.
            let body = base.body.clone();
            base.body(
                [
                    b"%&=%%+=&%4&%zz=".as_slice(),
                    &body,
                    b"&",
                    &noise.bytes(9),
                    b"=%",
                ]
                .concat(),
            )
        }
        7 => base.header("x-forwarded-for", noise.header(length)),
        8 => base.header("x-twilio-webhooks-signature-settings", noise.header(length)),
        _ => Request {
            method: ["GET", "PUT", "HEADER", "TRACE"][noise.next() as usize % 4].to_owned(),
            ..base
        },
    }
}

#[test]
fn after_all_kinds_of_abuse_no_vm_has_failed_and_a_good_request_passes() {
    Setup::changed(json!({"rate_limits": [
        support::rule("client_ip", "all", 100_000, "600s"),
        support::rule("param:From", "authenticated", 100_000, "600s"),
    ]}))
    .run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let mut noise = Noise(2026);
        let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
        for round in 0..400 {
            let request = abuse(&mut noise);
            let mut connection = Http1::connect(t.envoy.address(), t.address).await;
            match round % 8 {
                // Left in the middle, at any byte.
                0 => {
                    let bytes = request.bytes();
                    let end = noise.next() as usize % bytes.len();
                    connection.write(&bytes[..end]).await;
                    if round % 16 == 0 {
                        connection.reset()
                    } else {
                        drop(connection)
                    }
                    continue;
                }
                1 => {
                    let answer = connection.send_chunked(&request, 7).await;
                    *statuses.entry(answer.status).or_default() += 1;
                }
                _ => {
                    let answer = connection.send(&request).await;
                    *statuses.entry(answer.status).or_default() += 1;
                }
            }
        }
        for round in 0..60 {
            let mut connection = Http2::connect(t.envoy.address(), new_address()).await;
            let trailers = (round % 2 == 0).then_some(("x-twilio-signature", "trailer"));
            let request = if round % 3 == 0 {
                message()
            } else {
                forged(&whatsapp())
            };
            let request = if round % 5 == 0 {
                request.body("")
            } else {
                request
            };
            let answer = connection
                .send(&request, Framing::pieces(40).trailers(trailers))
                .await;
            *statuses.entry(answer.status).or_default() += 1;
        }
        // Upstreams that fail, while clients leave.
        for behaviour in [Behaviour::Reset, Behaviour::Answer(500), Behaviour::Silence] {
            t.upstream(behaviour);
            for _ in 0..5 {
                let mut connection = t.http1().await;
                connection.write(&message().bytes()).await;
                connection.hears_within(Duration::from_millis(50)).await;
            }
        }
        t.upstream(Behaviour::Answer(200));
        // A VM that dies closes its requests with a 503 or 500 that is Envoy's; nothing here deserves one.
        assert_eq!(statuses.get(&503), None, "{statuses:?}");
        assert_eq!(statuses.get(&500), None, "{statuses:?}");
        assert!(
            statuses.len() > 3,
            "the abuse is of many kinds: {statuses:?}"
        );
        for _ in 0..20 {
            // New connections, so that every worker is asked.
            t.passes_from(new_address(), &message()).await;
        }
        let again = form(WEBHOOK, &whatsapp());
        t.passes(&again).await;
        t.rejects(&again, "duplicate").await;
        // The harness looks for signs of a VM that has died after each test; here is what it looks at.
        let stats = t.envoy.admin("/stats");
        assert!(stats.contains(filter_host().stat()), "{stats}");
    });
}
