//! Other spellings of a signed request that have the same signature.

use crate::requests::{Genuine, Parameter, genuine};
use support::random::Random;
use support::reference::{Reader, parameters as signed_parameters, signature};
use support::strictness::Rule;

pub(crate) const TOKEN: &str = "1c892n40nd03kdnc0112slzkl3091j20";
pub(crate) const PATH: &str = "/hooks/orders";
pub(crate) const BASE: &str = "https://orders.example.com";

/// A request that has a signed request's signature.
pub(crate) struct Respelling {
    /// `:path`.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    pub(crate) signature: String,
    /// As Twilio had them.
    pub(crate) genuine: Genuine,
    /// Whether the boundaries between names and values, or the URL and the form, are others than Twilio's.
    pub(crate) is_moved: bool,
    /// What was done.
    pub(crate) changes: Vec<&'static str>,
}

/// Respelling number `index` of this seed.
pub(crate) fn respelling(seed: u64, index: u64) -> Respelling {
    let random = &mut Random::new(seed, index);
    let genuine = genuine(random, index);
    let url = |query: Option<&str>| match query {
        Some(query) => format!("{BASE}{PATH}?{query}"),
        None => format!("{BASE}{PATH}"),
    };
    let own = encode(random, Style::Twilio, &genuine.parameters, None).concat();
    let signed = signed_parameters(Reader::Contract, Some(&own));
    let made = signature(false, TOKEN, &url(genuine.query), &signed);

    let mut changes = Vec::new();
    let mut parameters = genuine.parameters.clone();
    let mut query = genuine.query;
    let mut is_moved = false;
    // Nothing separates the URL from the parameters; but it stays in front of them.
    if let Some(moved) = genuine.query
        && parameters
            .iter()
            .all(|(name, _)| &name[..] > b"?".as_slice())
        && random.chance(50)
    {
        query = None;
        let (name, value) = moved.split_at(moved.find('=').expect("a name and a value"));
        parameters.insert(
            0,
            (format!("?{name}").into_bytes(), value.as_bytes().to_vec()),
        );
        is_moved = true;
        changes.push("the URL's end moved into the form");
    }
    if random.chance(35) {
        for _ in 0..=random.below(3) {
            if move_boundary(random, &mut parameters) {
                is_moved = true;
                changes.push("a boundary moved");
            }
        }
    }
    if random.chance(25) {
        let times = random.weighted(&[(80, 1), (15, 30), (5, 400)]);
        let at = random.below(parameters.len());
        // Not by the kilobyte.
        let again = parameters[at].clone();
        for _ in 0..if again.0.len() + again.1.len() < 100 {
            times
        } else {
            1
        } {
            parameters.push(again.clone());
        }
        changes.push("a parameter repeated");
    }
    if random.chance(60) {
        random.shuffle(&mut parameters);
        changes.push("another order");
    }
    let style = random.weighted(&[
        (30, Style::Twilio),
        (15, Style::Lower),
        (10, Style::Everything),
        (45, Style::Mixed),
    ]);
    let spoil = random.chance(50).then(|| spoil(random));
    let mut pieces = encode(random, style, &parameters, spoil);
    if let Some(spoil) = spoil {
        spoil_pieces(random, spoil, &mut pieces);
        changes.push(spoil.name());
    }
    let body = pieces.concat();
    let respelling = Respelling {
        target: match query {
            Some(query) => format!("{PATH}?{query}"),
            None => PATH.to_owned(),
        },
        signature: made,
        is_moved,
        genuine,
        changes,
        body,
    };
    let same = signed_parameters(Reader::Contract, Some(&respelling.body));
    assert_eq!(
        signature(false, TOKEN, &url(query), &same),
        respelling.signature,
        "{:?}: \"{}\"",
        respelling.changes,
        respelling.body.escape_ascii()
    );
    respelling
}

// --- what is signed, cut up in another way --------------------------------------------------------

/// Cuts the signed string at other places, if a few tries find one that leaves the names in their order.
fn move_boundary(random: &mut Random, parameters: &mut Vec<Parameter>) -> bool {
    let mut sorted = parameters.clone();
    sorted.sort();
    sorted.dedup();
    let before = sorted.concat_all();
    for _ in 0..20 {
        let mut moved = sorted.clone();
        let at = random.below(moved.len());
        match random.below(4) {
            // Between a name and its value.
            0 => {
                let (name, value) = &mut moved[at];
                let whole = [name.as_slice(), value].concat();
                let cut = random.below(whole.len() + 1);
                *name = whole[..cut].to_vec();
                *value = whole[cut..].to_vec();
            }
            // A parameter becomes the end of the one before it.
            1 if at > 0 => {
                let (name, value) = moved.remove(at);
                moved[at - 1].1.extend([name, value].concat());
            }
            // The end of a value becomes a parameter.
            _ => {
                let (_, value) = &mut moved[at];
                let cut = random.below(value.len() + 1);
                let rest = value.split_off(cut);
                let cut = random.below(rest.len().min(12) + 1);
                let (name, value) = rest.split_at(cut);
                let added = (name.to_vec(), value.to_vec());
                moved.insert(at + 1, added);
            }
        }
        let mut again = moved.clone();
        again.sort();
        again.dedup();
        if again.concat_all() == before && again != sorted {
            *parameters = moved;
            return true;
        }
    }
    false
}

trait ConcatAll {
    fn concat_all(&self) -> Vec<u8>;
}

impl ConcatAll for Vec<Parameter> {
    fn concat_all(&self) -> Vec<u8> {
        let each = self.iter().map(|(name, value)| [&name[..], value].concat());
        each.collect::<Vec<_>>().concat()
    }
}

// --- escaping ------------------------------------------------------------------------------------

/// How names and values are escaped.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// As Twilio does it.
    Twilio,
    /// Digits in lower case, a space as `%20`.
    Lower,
    /// Every byte.
    Everything,
    /// Each byte as it comes, raw wherever that is strict.
    Mixed,
}

/// Whether a form that is to break this rule has this byte of a name or a value as it is.
fn leaves(rule: Rule, byte: u8, rest: &[u8], in_value: bool) -> bool {
    match rule {
        Rule::SecondEquals => byte == b'=' && in_value,
        Rule::Semicolon => byte == b';',
        Rule::Blank => byte == b' ',
        Rule::Control => byte < b' ' || byte == 0x7F,
        Rule::HighByte => byte > 0x7F,
        // Any byte but hexadecimal digits may come after it; what they are escaped to begins with `%`.
        Rule::BrokenEscape => byte == b'%' && !rest.first().is_some_and(u8::is_ascii_hexdigit),
        _ => false,
    }
}

/// What is done that a strict form must not have.
fn spoil(random: &mut Random) -> Rule {
    // Many pieces make most of the work.
    let any = Rule::ALL[random.below(Rule::ALL.len())];
    match any {
        Rule::TooMany if random.chance(70) => Rule::Blank,
        other => other,
    }
}

/// The pieces, each but the last with its `&`.
struct Pieces(Vec<Vec<u8>>);

impl Pieces {
    fn concat(&self) -> Vec<u8> {
        self.0.join(&b'&')
    }
}

fn encode(
    random: &mut Random,
    style: Style,
    parameters: &[Parameter],
    spoil: Option<Rule>,
) -> Pieces {
    let piece = |(name, value): &Parameter| {
        let mut piece = Vec::new();
        escape(random, style, name, spoil, false, &mut piece);
        piece.push(b'=');
        escape(random, style, value, spoil, true, &mut piece);
        piece
    };
    Pieces(parameters.iter().map(piece).collect())
}

fn escape(
    random: &mut Random,
    style: Style,
    text: &[u8],
    spoil: Option<Rule>,
    in_value: bool,
    out: &mut Vec<u8>,
) {
    for (at, byte) in text.iter().enumerate() {
        if spoil.is_some_and(|spoil| leaves(spoil, *byte, &text[at + 1..], in_value))
            && random.chance(70)
        {
            out.push(*byte);
            continue;
        }
        let style = match style {
            Style::Mixed => random.weighted(&[
                (3, Style::Mixed),
                (1, Style::Twilio),
                (1, Style::Lower),
                (1, Style::Everything),
            ]),
            same => same,
        };
        let plain = byte.is_ascii_alphanumeric() || b"-._*".contains(byte);
        let raw = byte.is_ascii_graphic() && !b"%+&=;".contains(byte);
        match (style, byte) {
            (Style::Twilio, b' ') => out.push(b'+'),
            (Style::Twilio | Style::Lower, _) if plain => out.push(*byte),
            (Style::Mixed, _) if raw => out.push(*byte),
            (Style::Lower, _) => out.extend(format!("%{byte:02x}").into_bytes()),
            _ => out.extend(format!("%{byte:02X}").into_bytes()),
        }
    }
}

fn spoil_pieces(random: &mut Random, spoil: Rule, pieces: &mut Pieces) {
    let Pieces(pieces) = pieces;
    match spoil {
        Rule::EmptyPiece => {
            let at = random.below(pieces.len() + 1);
            for _ in 0..=random.below(3) {
                pieces.insert(at, Vec::new());
            }
        }
        Rule::NoEquals => {
            // A value that is empty needs none. An empty name and an empty value would be an empty piece.
            for piece in pieces {
                if piece.len() > 1 && piece.ends_with(b"=") {
                    piece.pop();
                }
            }
        }
        Rule::TooMany => {
            // More than the filter takes, more than others take.
            let wanted = random.weighted(&[(3, 501), (2, 900), (3, 1001), (1, 1400)]);
            let short = pieces.iter().filter(|piece| piece.len() < 40).cloned();
            let short = short.min_by_key(Vec::len).unwrap_or_default();
            let filling = random.weighted(&[(2, 0), (1, 1), (1, 2)]);
            let filling = [short, b"=".to_vec(), Vec::new()][filling].clone();
            // In front, where they use up what others take.
            while pieces.len() < wanted {
                pieces.insert(0, filling.clone());
            }
        }
        _ => {}
    }
}
