//! What a stored webhook says, read from its body when the worker comes to it.

use std::collections::HashMap;

use crate::conversation::Said;
use crate::message::{Message, is_form};
use crate::session::Address;

/// Names are kept to this many characters.
const LONGEST_NAME: usize = 60;

/// Who wrote, and how to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// WhatsApp's name for the customer: the telephone number's digits.
    pub wa_id: String,
    /// Where replies go, such as `whatsapp:+15550001111`.
    pub contact: String,
    /// Our own number, as the customer has it.
    pub shop: String,
    /// As the customer calls himself; anything at all.
    pub name: String,
}

/// One webhook.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// A customer sent something.
    Said(Sender, Said),
    /// Twilio tells how far a message of ours is.
    Status {
        /// Which message.
        sid: String,
        /// Such as `delivered`.
        status: String,
        /// Why not, where it failed.
        error_code: Option<String>,
    },
    /// Nothing that this service knows, or nobody to answer.
    Other,
}

impl Incoming {
    /// Reads a webhook. Of a parameter that is there twice, the first counts.
    pub fn read(message: &Message) -> Self {
        let mut parameters: HashMap<String, String> = HashMap::new();
        if message.content_type.as_deref().is_some_and(is_form) {
            for (name, value) in form_urlencoded::parse(&message.body) {
                let value = value.into_owned();
                parameters.entry(name.into_owned()).or_insert(value);
            }
        }
        let get = |name: &str| {
            let value = parameters.get(name).map(|value| value.trim());
            value.filter(|value| !value.is_empty())
        };
        let Some(sid) = get("MessageSid") else {
            return Self::Other;
        };
        if let Some(status) = get("MessageStatus") {
            return Self::Status {
                sid: sid.to_owned(),
                status: status.to_owned(),
                error_code: get("ErrorCode").map(str::to_owned),
            };
        }
        let (Some(contact), Some(shop)) = (get("From"), get("To")) else {
            return Self::Other;
        };
        let number = contact.rsplit(':').next().unwrap_or(contact);
        let wa_id = get("WaId").unwrap_or(number);
        let sender = Sender {
            wa_id: wa_id.trim_start_matches('+').to_owned(),
            contact: contact.to_owned(),
            shop: shop.to_owned(),
            name: name(get("ProfileName").unwrap_or_default()),
        };
        let text = get("Body").unwrap_or_default();
        let said = if let Some(address) = location(&get) {
            Said::Location(address)
        } else if let Some(payload) = get("ButtonPayload") {
            Said::Button(
                payload.to_owned(),
                get("ButtonText").unwrap_or(text).to_owned(),
            )
        } else if text.is_empty() {
            Said::Other
        } else {
            Said::Text(text.to_owned())
        };
        Self::Said(sender, said)
    }
}

fn name(given: &str) -> String {
    let visible = given.chars().filter(|letter| !letter.is_control());
    visible.take(LONGEST_NAME).collect()
}

fn location<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Option<Address> {
    let coordinate = |name, most: f64| {
        let value: f64 = get(name)?.parse().ok()?;
        // Not a number, and places that are none, are no location.
        (value.abs() <= most).then_some(value)
    };
    let (latitude, longitude) = (
        coordinate("Latitude", 90.0)?,
        coordinate("Longitude", 180.0)?,
    );
    let named: Vec<&str> = [get("Label"), get("Address")]
        .into_iter()
        .flatten()
        .collect();
    let mut text: String = named.join(", ").chars().take(200).collect();
    text.retain(|letter| !letter.is_control());
    if text.is_empty() {
        text = format!("the location that you shared ({latitude:.5}, {longitude:.5})");
    }
    Some(Address {
        text,
        location: Some((latitude, longitude)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Parameters;

    fn read(pairs: &[(&str, &str)]) -> Incoming {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(pairs);
        Incoming::read(&Message {
            id: 1,
            nonce: String::new(),
            account: None,
            content_type: Some("application/x-www-form-urlencoded; charset=utf-8".to_owned()),
            body: form.finish().into_bytes(),
            parameters: Parameters::default(),
        })
    }

    const PEOPLE: [(&str, &str); 3] = [
        ("MessageSid", "SM1"),
        ("From", "whatsapp:+15550001111"),
        ("To", "whatsapp:+14155238886"),
    ];

    fn said(more: &[(&str, &str)]) -> Said {
        match read(&[&PEOPLE[..], more].concat()) {
            Incoming::Said(_, said) => said,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sender_is_known_by_wa_id_and_answered_at_from() {
        let with_id = [
            &PEOPLE[..],
            &[("WaId", "5215550001111"), ("ProfileName", "Ana\n🌮")],
        ];
        let Incoming::Said(sender, _) = read(&with_id.concat()) else {
            panic!("somebody wrote");
        };
        assert_eq!(sender.wa_id, "5215550001111");
        assert_eq!(sender.contact, "whatsapp:+15550001111");
        assert_eq!(sender.shop, "whatsapp:+14155238886");
        assert_eq!(sender.name, "Ana🌮");
        let Incoming::Said(sender, _) = read(&PEOPLE) else {
            panic!("somebody wrote");
        };
        assert_eq!(sender.wa_id, "15550001111");
    }

    #[test]
    fn text_buttons_locations_and_pictures_are_told_apart() {
        assert_eq!(
            said(&[("Body", " 2 tacos ")]),
            Said::Text("2 tacos".to_owned())
        );
        let tapped = [
            ("Body", "Yes"),
            ("ButtonPayload", "confirm"),
            ("ButtonText", "Yes!"),
        ];
        let button = Said::Button("confirm".to_owned(), "Yes!".to_owned());
        assert_eq!(said(&tapped), button);
        assert_eq!(said(&[("Body", ""), ("NumMedia", "1")]), Said::Other);
        let place = [
            ("Latitude", "52.5"),
            ("Longitude", "-13.4"),
            ("Label", "Home"),
            ("Address", "Elm 5"),
        ];
        let address = Address {
            text: "Home, Elm 5".to_owned(),
            location: Some((52.5, -13.4)),
        };
        assert_eq!(said(&place), Said::Location(address));
    }

    #[test]
    fn places_that_do_not_exist_are_no_locations() {
        for (latitude, longitude) in [
            ("91", "0"),
            ("NaN", "0"),
            ("inf", "0"),
            ("0", "181"),
            ("x", "y"),
            ("1", ""),
        ] {
            let pairs = [
                ("Latitude", latitude),
                ("Longitude", longitude),
                ("Body", "here"),
            ];
            assert_eq!(said(&pairs), Said::Text("here".to_owned()));
        }
    }

    #[test]
    fn a_status_callback_is_no_message() {
        let callback = [
            ("MessageStatus", "failed"),
            ("ErrorCode", "63016"),
            ("SmsStatus", "failed"),
        ];
        let expected = Incoming::Status {
            sid: "SM1".to_owned(),
            status: "failed".to_owned(),
            error_code: Some("63016".to_owned()),
        };
        assert_eq!(read(&[&PEOPLE[..], &callback].concat()), expected);
    }

    #[test]
    fn what_nobody_can_be_answered_for_is_kept_and_left_alone() {
        assert_eq!(read(&[("Body", "x")]), Incoming::Other);
        assert_eq!(read(&PEOPLE[..2]), Incoming::Other);
        assert_eq!(read(&[]), Incoming::Other);
    }
}
