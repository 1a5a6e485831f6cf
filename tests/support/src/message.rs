//! A message of the usual kind, and what Twilio does to sign it.

use std::borrow::Cow;

use crate::signing::{base64, hmac_sha1};

pub const TOKEN: &str = "5ce117c0de5ce117c0de5ce117c0de00";
pub const ACCOUNT: &str = "ACfedcba9876543210fedcba9876543210";
pub const PATH: &str = "/api/v1/whatsapp/webhook";
pub const URL: &str = "https://orders.example.com/api/v1/whatsapp/webhook";

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

/// The same, as it has to be: a message of another size is another measurement.
pub fn message() -> &'static str {
    assert_eq!(MESSAGE.len(), 755);
    assert_eq!(MESSAGE.split('&').count(), 20);
    MESSAGE
}

/// What one writes who is in no hurry and careful all the same: borrowed where the
/// decoder can borrow, one string, the key set up for each message.
pub fn straightforward(token: &str, url: &str, body: &[u8]) -> [u8; 20] {
    let mut parameters: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(body).collect();
    parameters.sort();
    let mut message = url.to_owned();
    for (name, value) in &parameters {
        message.push_str(name);
        message.push_str(value);
    }
    hmac_sha1(token.as_bytes(), message.as_bytes())
}

/// The header `X-Twilio-Signature`.
pub fn signature(token: &str, url: &str, body: &[u8]) -> String {
    base64(&straightforward(token, url, body))
}
