//! What it costs to take a webhook apart, to put together what Twilio signed, and to check it.
//!
//! `webhook_form` is the comparison that matters: one WhatsApp message, by this
//! filter and by the code that anybody would write with `form_urlencoded`, a sorted
//! `Vec` and `hmac`, in one run on one machine. Both compute the same MAC, which is
//! asserted before anything is timed, and the ratio is printed at the end.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use criterion::{BenchmarkId, Criterion, Throughput};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use twilio_webhook_filter::core::secret::Secret;
use twilio_webhook_filter::core::signature::form::Form;
use twilio_webhook_filter::core::signature::key::{ClaimedMac, ComputedMac, SigningKey};
use twilio_webhook_filter::core::signature::keyring::{Key, Keyring};
use twilio_webhook_filter::core::signature::url::{ConfiguredUrl, PublicUrl, Target};
use twilio_webhook_filter::core::signature::verify::{Signed, verify};

const TOKEN: &str = "5ce117c0de5ce117c0de5ce117c0de00";
const PATH: &str = "/api/v1/whatsapp/webhook";
const URL: &str = "https://orders.example.com/api/v1/whatsapp/webhook";

/// A WhatsApp message with a location and a button's answer: 20 parameters, 755 bytes.
const MESSAGE: &str = "SmsMessageSid=SM0123456789abcdef0123456789abcdef&NumMedia=0\
    &ProfileName=Ana+Mar%C3%ADa+%F0%9F%8C%AE&MessageType=text\
    &SmsSid=SM0123456789abcdef0123456789abcdef&WaId=5215512345678&SmsStatus=received\
    &Body=Two+al+pastor%2C+one+suadero+%26+a+large+horchata%2C+please%21+%F0%9F%8C%AE%F0%9F%8C%AE\
    &To=whatsapp%3A%2B14155238886&NumSegments=1&ReferralNumMedia=0\
    &MessageSid=SM0123456789abcdef0123456789abcdef&AccountSid=ACfedcba9876543210fedcba9876543210\
    &ChannelMetadata=%7B%22type%22%3A%22whatsapp%22%2C%22data%22%3A%7B%22context%22%3A%7B%22Profile\
Name%22%3A%22Ana%22%2C%22WaId%22%3A%225215512345678%22%7D%7D%7D\
    &From=whatsapp%3A%2B5215512345678&ApiVersion=2010-04-01\
    &ButtonText=Confirm+order&ButtonPayload=confirm-order-no-4711\
    &OriginalRepliedMessageSid=&Label=Home";

/// The same, as it has to be: a message of another size is another benchmark.
fn message() -> &'static [u8] {
    assert_eq!(MESSAGE.len(), 755);
    assert_eq!(MESSAGE.split('&').count(), 20);
    MESSAGE.as_bytes()
}

/// What this filter does, without the comparison: parse, sort, MAC.
fn own(key: &SigningKey, url: &[u8], body: &[u8], out: &mut Vec<u8>) -> ComputedMac {
    let form = Form::parse(body);
    out.clear();
    out.extend_from_slice(url);
    form.write_signed(out);
    key.mac(out)
}

/// What one writes who is in no hurry and careful all the same: borrowed where the
/// decoder can borrow, one string, the key set up for each message.
fn straightforward(token: &str, url: &str, body: &[u8]) -> [u8; 20] {
    let mut parameters: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(body).collect();
    parameters.sort();
    let mut message = url.to_owned();
    for (name, value) in &parameters {
        message.push_str(name);
        message.push_str(value);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("any key will do");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

fn key() -> SigningKey {
    SigningKey::auth_token(&Secret::new(TOKEN.into())).expect("a token")
}

fn claimed(mac: &[u8]) -> ClaimedMac {
    ClaimedMac::parse(STANDARD.encode(mac).as_bytes()).expect("20 bytes")
}

fn webhook_form(criterion: &mut Criterion) {
    let (key, body) = (key(), message());
    let mut out = Vec::with_capacity(1024);
    let theirs = claimed(&straightforward(TOKEN, URL, body));
    let equal = own(&key, URL.as_bytes(), body, &mut out).equals(&theirs);
    assert!(bool::from(equal), "both have to compute the same MAC");

    let mut group = criterion.benchmark_group("webhook_form");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("this filter", |bencher| {
        bencher.iter(|| own(&key, URL.as_bytes(), black_box(body), &mut out));
    });
    group.bench_function("form_urlencoded, sorted Vec, hmac", |bencher| {
        bencher.iter(|| straightforward(TOKEN, URL, black_box(body)));
    });
    group.bench_function("of which: parse and sort", |bencher| {
        bencher.iter(|| Form::parse(black_box(body)));
    });
    let message = out.clone();
    group.bench_function("of which: HMAC", |bencher| {
        bencher.iter(|| key.mac(black_box(&message)));
    });
    group.finish();
}

/// The ratio by alternating short runs, so that whatever else the machine does slows
/// both; the median of the ratios, so that a hiccup in one of them does not count.
fn print_ratio() {
    let (key, body) = (key(), message());
    let mut out = Vec::with_capacity(1024);
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..2_000).for_each(|_| run());
        start.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..101)
        .map(|_| {
            let own = time(&mut || {
                black_box(own(&key, URL.as_bytes(), black_box(body), &mut out));
            });
            let theirs = time(&mut || {
                black_box(straightforward(TOKEN, URL, black_box(body)));
            });
            own / theirs
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!(
        "webhook_form: this filter takes {median:.3} of the straightforward way (median of 101)"
    );
}

/// The whole search for key and URL, by the size of the body and the number of parameters.
fn by_size(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    for size in [100, 1_024, 8_192, 65_536] {
        let body = format!("Body={}", "a%20b+c%C3%A9".repeat(size / 12 + 1));
        let body = body.as_bytes().get(..size).expect("long enough").to_vec();
        group.throughput(Throughput::Bytes(size as u64));
        verify_one(&mut group, BenchmarkId::new("bytes", size), &body);
    }
    for parameters in [1, 20, 100, 500] {
        // In an order that has to be sorted, as what Twilio sends.
        let name = |place: usize| format!("Parameter{}=value+{place}", place * 7919 % 1000);
        let body = (0..parameters).map(name).collect::<Vec<_>>().join("&");
        group.throughput(Throughput::Elements(parameters as u64));
        verify_one(
            &mut group,
            BenchmarkId::new("parameters", parameters),
            body.as_bytes(),
        );
    }
    group.finish();
}

fn verify_one(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    id: BenchmarkId,
    body: &[u8],
) {
    let keyring = Keyring::new(vec![Key {
        signing: key(),
        account: None,
        label: "the token".into(),
        shared_id: None,
    }]);
    let public = PublicUrl::configured(&ConfiguredUrl::parse(URL).expect("a URL"));
    let claimed = claimed(&straightforward(TOKEN, URL, body));
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let form = Form::parse(black_box(body));
            let signed = Signed {
                target: Target::new(PATH.as_bytes(), false),
                form: Some(&form),
                claimed: &claimed,
                settings: None,
            };
            verify(&keyring, &public, signed).is_some()
        });
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
        .configure_from_args();
    webhook_form(&mut criterion);
    by_size(&mut criterion);
    criterion.final_summary();
    print_ratio();
}
