//! What is shown of personal data: the shape of a value, which tells a blank from a plus and one
//! length from another, and not what it says.

/// How much of a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Shapes of values only.
    Masked,
    /// Everything.
    All,
}

impl Shown {
    /// Returns how much is shown where somebody has asked for everything, or has not.
    pub fn all_if(everything: bool) -> Shown {
        match everything {
            true => Shown::All,
            false => Shown::Masked,
        }
    }
}

/// Parameters that say nothing of a person.
const PLAIN: [&str; 24] = [
    "ApiVersion",
    "AnsweredBy",
    "CallbackSource",
    "CallDuration",
    "CallStatus",
    "ChannelPrefix",
    "Direction",
    "Duration",
    "ErrorCode",
    "EventType",
    "MessageStatus",
    "MessageType",
    "NumMedia",
    "NumSegments",
    "ReferralNumMedia",
    "SequenceNumber",
    "SmsStatus",
    "StreamEvent",
    "Timestamp",
    "TimeStamp",
    "CallCost",
    "DigitsTimeout",
    "Source",
    "Type",
];

/// The longest that a value is shown, in characters.
const LONGEST: usize = 60;

/// Returns a value as it is shown beside its name.
pub fn value(name: &[u8], value: &[u8], shown: Shown) -> String {
    let is_plain = || PLAIN.iter().any(|plain| plain.as_bytes() == name);
    match shown {
        Shown::All => visible(value),
        Shown::Masked if is_plain() && value.len() <= LONGEST => visible(value),
        Shown::Masked if name == b"bodySHA256" => beginning(value),
        Shown::Masked if is_sid(value) => sid(value),
        Shown::Masked => shape(value),
    }
}

/// Returns a name, or its shape where it does not look like one: who moves boundaries puts data there.
pub fn name(name: &[u8], shown: Shown) -> String {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    match shown {
        Shown::Masked if name.len() > LONGEST || !name.iter().all(is_usual) => shape(name),
        _ => visible(name),
    }
}

/// Returns the shape of a text: `x` for a letter, `X` for a capital one, `0` for a digit, `·` for a
/// character that is not ASCII; everything else as it is.
pub fn shape(text: &[u8]) -> String {
    // What says nothing of a person, and much of a mistake.
    for prefix in ["whatsapp:", "client:", "sip:", "http://", "https://"] {
        if let Some(rest) = text.strip_prefix(prefix.as_bytes()) {
            return format!("{prefix}{}", shape(rest));
        }
    }
    let text = String::from_utf8_lossy(text);
    let one = |character: char| match character {
        'a'..='z' => 'x',
        'A'..='Z' => 'X',
        '0'..='9' => '0',
        other if other.is_ascii() => other,
        _ => '·',
    };
    let shape: String = text.chars().map(one).collect();
    shortened(&visible(shape.as_bytes()), text.len())
}

/// Returns a text in one line, without what a terminal acts on.
pub fn visible(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                // Marks of direction would change the order of what follows.
                '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' => {
                    out.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
                }
                other if other.is_control() => {
                    out.push_str(&format!("\\u{{{:x}}}", u32::from(other)));
                }
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

fn shortened(text: &str, bytes: usize) -> String {
    if text.chars().nth(LONGEST).is_none() {
        return text.to_owned();
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start}… ({bytes} bytes)")
}

fn beginning(text: &[u8]) -> String {
    let text = visible(text);
    match text.chars().nth(8) {
        Some(_) => format!("{}…", text.chars().take(8).collect::<String>()),
        None => text,
    }
}

/// Returns whether a text is two capital letters and 32 hex digits.
fn is_sid(text: &[u8]) -> bool {
    let Some((kind, digits)) = text.split_at_checked(2) else {
        return false;
    };
    let is_kind = kind.iter().all(u8::is_ascii_uppercase);
    is_kind && digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Returns a SID by its beginning and end.
fn sid(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let (start, end) = (text.get(..6), text.get(30..));
    format!("{}…{}", start.unwrap_or_default(), end.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_masked_value_has_its_shape_and_nothing_else() {
        let masked =
            |name: &str, text: &str| value(name.as_bytes(), text.as_bytes(), Shown::Masked);
        assert_eq!(masked("Body", "2 tacos, señor"), "0 xxxxx, xx·xx");
        assert_eq!(
            masked("From", "whatsapp:+15551234567"),
            "whatsapp:+00000000000"
        );
        assert_eq!(masked("NumMedia", "0"), "0");
        let sid = "SM0123456789abcdef0123456789abcdef";
        assert_eq!(masked("MessageSid", sid), "SM0123…cdef");
        assert!(masked("Body", &"x".repeat(1000)).ends_with("… (1000 bytes)"));
        assert_eq!(name("Juan Pérez".as_bytes(), Shown::Masked), "Xxxx X·xxx");
        assert_eq!(
            value(b"Body", b"2\n\x1b[2J\xff", Shown::All),
            "2\\n\\u{1b}[2J\\xff"
        );
    }
}
