//! What a customer's words mean. Deterministic: the same words on the same menu mean the same, whatever was said before.
//!
//! A text is read line by line, a line word by word from left to right. Case, accents and punctuation make no
//! difference, and neither do filling words such as "please".
//!
//! ```text
//! line     = { part } [ text ]
//! part     = [ adding ] [ quantity ] item             "2 margherita", "add a coke"
//!          | ( "no" | "without" | "instead of" ) [ quantity ] item           "no coke": this one item
//!          | ( "remove" | "delete" | "cancel" … ) [ quantity ] item { item } "remove coke and water": all that follow
//!          | ( "make" | "change" ) [ item ] quantity [ item ]                "make it 3", "make the cokes 3"
//!          | ( "change" | "swap" ) item ( "to" | "for" ) item                "change coke to water"
//!          | command                                  "menu", "cart", "yes", "status", "cancel order 12"
//! text     = ( "deliver to" | "address" | "note" … ) rest of the line
//! quantity = digits | "x" digits | digits "x" | "a" | "one" … "twelve" | "dozen"
//! item     = a name or a synonym from the menu, the longest that fits; one wrong letter in a word of five or more
//! ```
//!
//! What fits nowhere is handed back as it was written, so that the answer can say what was not understood.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::menu::{ItemId, Menu};

/// The most of one item that can be ordered by message.
pub const MOST: u32 = 50;

/// How much of a text is read. Nobody orders in more words; somebody may paste a novel.
const MOST_WORDS: usize = 200;

/// One thing that the customer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// So many more of an item.
    Add(ItemId, u32),
    /// So many of an item in all, or of the item that was spoken of last.
    Set(Option<ItemId>, u32),
    /// So many less of an item, or none of it.
    Remove(ItemId, Option<u32>),
    /// Another item in place of one, and as many.
    Swap(ItemId, ItemId),
    /// Where to deliver. Empty: the customer wants to say it next.
    Address(String),
    /// A wish for the kitchen.
    Note(String),
    /// Something that is done, or asked for.
    Command(Command),
}

/// A word or two that are a request of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// "Hello".
    Greet,
    /// "Thanks".
    Thank,
    /// What is there to order?
    Menu,
    /// What have I chosen?
    Cart,
    /// That is all.
    Checkout,
    /// Yes.
    Yes,
    /// No.
    No,
    /// Forget the order with this number, or the cart, or the order there is.
    Cancel(Option<i64>),
    /// Empty the cart.
    Clear,
    /// Where is my order?
    Status,
    /// What can I say?
    Help,
}

/// A text that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Understood {
    /// In the order in which they were said.
    pub intents: Vec<Intent>,
    /// What fits nowhere, as it was written.
    pub unknown: Vec<String>,
}

const FILLERS: &str = "please pls plz por favor i id ill im we us me my our you it is the some of and also too plus then \
    with want would wanna like need get give take have can could may let lets to for just only more another extra one's \
    order so well but now this that there in an oh hmm um y un una dos see show send bring again will do does actually instead still";

const ADDING: &[&str] = &["add", "want", "like", "have"];
const REMOVING_ONE: &[&str] = &["no", "without", "not", "dont"];
const REMOVING: &[&str] = &["remove", "delete", "drop", "skip", "forget", "cancel"];
const SETTING: &[&str] = &["make", "change", "swap", "replace"];
const TOWARDS: &[&str] = &["to", "for", "into", "with", "by"];

const NUMBERS: [(&str, u32); 15] = [
    ("a", 1),
    ("an", 1),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("dozen", 12),
];

/// The longest that fits counts, so the longer ones come first.
const COMMANDS: &[(&[&str], Command)] = &[
    (&["good", "morning"], Command::Greet),
    (&["good", "afternoon"], Command::Greet),
    (&["good", "evening"], Command::Greet),
    (&["how", "are", "you"], Command::Greet),
    (&["thank", "you"], Command::Thank),
    (&["thats", "all"], Command::Checkout),
    (&["thats", "it"], Command::Checkout),
    (&["check", "out"], Command::Checkout),
    (&["place", "order"], Command::Checkout),
    (&["place", "my", "order"], Command::Checkout),
    (&["place", "the", "order"], Command::Checkout),
    (&["start", "over"], Command::Clear),
    (&["how", "long"], Command::Status),
    (&["what", "do", "you", "have"], Command::Menu),
    (&["hello"], Command::Greet),
    (&["hi"], Command::Greet),
    (&["hey"], Command::Greet),
    (&["hola"], Command::Greet),
    (&["buenas"], Command::Greet),
    (&["thank"], Command::Thank),
    (&["gracias"], Command::Thank),
    (&["menu"], Command::Menu),
    (&["price"], Command::Menu),
    (&["cart"], Command::Cart),
    (&["basket"], Command::Cart),
    (&["done"], Command::Checkout),
    (&["checkout"], Command::Checkout),
    (&["pay"], Command::Checkout),
    (&["yes"], Command::Yes),
    (&["yep"], Command::Yes),
    (&["yeah"], Command::Yes),
    (&["ok"], Command::Yes),
    (&["okay"], Command::Yes),
    (&["sure"], Command::Yes),
    (&["correct"], Command::Yes),
    (&["confirm"], Command::Yes),
    (&["si"], Command::Yes),
    (&["nope"], Command::No),
    (&["clear"], Command::Clear),
    (&["empty"], Command::Clear),
    (&["status"], Command::Status),
    (&["where"], Command::Status),
    (&["when"], Command::Status),
    (&["help"], Command::Help),
    (&["stop"], Command::Cancel(None)),
];

/// Beginnings after which the rest of the line is text.
const ADDRESS: &[&[&str]] = &[
    &["my", "address", "is"],
    &["address", "is"],
    &["my", "address"],
    &["address"],
    &["deliver", "it", "to"],
    &["deliver", "to"],
    &["delivery", "to"],
    &["i", "live", "at"],
];
const NOTE: &[&[&str]] = &[&["note"], &["remark"], &["comment"]];

/// The words of a text, folded as names on the menu are.
pub(crate) fn words(text: &str) -> Vec<String> {
    tokens(text).into_iter().map(|token| token.word).collect()
}

/// Whether a name says something else already.
pub(crate) fn is_reserved(name: &[String]) -> bool {
    let name: Vec<&str> = name.iter().map(String::as_str).collect();
    let is_command = commands().iter().any(|(phrase, _)| *phrase == name);
    let is_text = ADDRESS.iter().chain(NOTE).any(|phrase| *phrase == name);
    let means_nothing = name.iter().all(|word| {
        is_filler(word)
            || number(word).is_some()
            || [ADDING, REMOVING_ONE, REMOVING, SETTING, TOWARDS]
                .iter()
                .any(|list| list.contains(word))
    });
    is_command || is_text || means_nothing
}

/// Reads what a customer wrote.
pub fn understand(text: &str, menu: &Menu) -> Understood {
    let mut understood = Understood::default();
    for line in text.lines() {
        Reader::new(line, menu, &mut understood).read();
    }
    understood
}

struct Token<'a> {
    /// Folded: without case, accents and the plural's `s`.
    word: String,
    /// As it was written.
    written: &'a str,
    /// What follows it in the line.
    rest: &'a str,
}

fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = line;
    while tokens.len() < MOST_WORDS {
        let Some(start) = rest.find(is_letter) else {
            break;
        };
        let (_, from) = rest.split_at(start);
        let end = from
            .find(|letter: char| !is_letter(letter) && !matches!(letter, '\'' | '’'))
            .unwrap_or(from.len());
        let (written, after) = from.split_at(end);
        tokens.push(Token {
            word: fold(written),
            written,
            rest: after,
        });
        rest = after;
    }
    tokens
}

fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '👍' | '✅')
}

fn fold(written: &str) -> String {
    let mut word = String::new();
    for letter in written.chars().flat_map(char::to_lowercase) {
        match letter {
            'à'..='å' => word.push('a'),
            'ç' => word.push('c'),
            'è'..='ë' => word.push('e'),
            'ì'..='ï' => word.push('i'),
            'ñ' => word.push('n'),
            'ò'..='ö' | 'ø' => word.push('o'),
            'ù'..='ü' => word.push('u'),
            'ß' => word.push_str("ss"),
            '👍' | '✅' => word.push_str("yes"),
            // What is left of a decomposed accent, and apostrophes.
            '\u{300}'..='\u{36f}' | '\'' | '’' => {}
            other => word.push(other),
        }
    }
    // "cokes" and "coke"; not "yes", "is", "si".
    if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") {
        word.pop();
    }
    word
}

fn is_filler(word: &str) -> bool {
    static FOLDED: LazyLock<HashSet<String>> =
        LazyLock::new(|| FILLERS.split_whitespace().map(fold).collect());
    FOLDED.contains(word)
}

/// [`COMMANDS`] as a text's words are compared with them.
fn commands() -> &'static [(Vec<String>, Command)] {
    static FOLDED: LazyLock<Vec<(Vec<String>, Command)>> = LazyLock::new(|| {
        let fold_all = |phrase: &[&str]| phrase.iter().map(|word| fold(word)).collect();
        let commands = COMMANDS.iter();
        commands
            .map(|(phrase, command)| (fold_all(phrase), *command))
            .collect()
    });
    &FOLDED
}

/// Digits beyond all reason are still a number, so that the answer can say so.
fn number(word: &str) -> Option<u32> {
    let named = NUMBERS.iter().find(|(name, _)| *name == word);
    if let Some((_, value)) = named {
        return Some(*value);
    }
    let digits = word.strip_prefix('x').unwrap_or(word);
    let digits = digits.strip_suffix('x').unwrap_or(digits);
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// What the words before an item say about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    RemoveOne,
    Remove,
    Set,
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    menu: &'a Menu,
    out: &'a mut Understood,
    verb: Verb,
    /// Said and not used yet.
    quantity: Option<u32>,
    /// The item of "make the cokes …", whose number or replacement is still to come.
    target: Option<ItemId>,
    /// Where the last unknown word stood, so that words beside each other are handed back as one piece.
    unknown_at: Option<usize>,
}

impl<'a> Reader<'a> {
    fn new(line: &'a str, menu: &'a Menu, out: &'a mut Understood) -> Self {
        Self {
            tokens: tokens(line),
            menu,
            out,
            verb: Verb::Add,
            quantity: None,
            target: None,
            unknown_at: None,
        }
    }

    fn read(mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            if self.text(at) {
                break;
            }
            at = self.part(at);
        }
        self.finish();
    }

    /// Takes an address or a note, which is the rest of the line.
    fn text(&mut self, at: usize) -> bool {
        let phrases = ADDRESS.iter().map(|phrase| (phrase, true));
        let phrases = phrases.chain(NOTE.iter().map(|phrase| (phrase, false)));
        for (phrase, is_address) in phrases {
            let Some(next) = self.phrase(at, phrase) else {
                continue;
            };
            let last = next.checked_sub(1).and_then(|last| self.tokens.get(last));
            let rest = last.map_or("", |token| token.rest);
            let rest = rest.trim_matches(|letter: char| {
                letter.is_whitespace() || matches!(letter, ':' | '-' | '=')
            });
            self.out.intents.push(if is_address {
                Intent::Address(rest.to_owned())
            } else {
                Intent::Note(rest.to_owned())
            });
            return true;
        }
        false
    }

    /// Reads one part and returns where the next begins.
    fn part(&mut self, at: usize) -> usize {
        if let Some((item, next)) = self.item(at) {
            self.take_item(item);
            return next;
        }
        let Some(word) = self.tokens.get(at).map(|token| token.word.clone()) else {
            return at + 1;
        };
        let word = word.as_str();
        if let Some(quantity) = number(word) {
            let is_article = matches!(word, "a" | "an");
            match (self.verb, self.target) {
                // "swap the coke for a water": the article counts nothing.
                (Verb::Set, Some(_)) if is_article => {}
                (Verb::Set, Some(item)) => {
                    self.target = None;
                    self.out.intents.push(Intent::Set(Some(item), quantity));
                    self.verb = Verb::Add;
                }
                // "one dozen", "a two": the last word counts.
                _ => self.quantity = Some(quantity),
            }
            return at + 1;
        }
        if word == "instead" && self.word_is(at + 1, "of") {
            self.verb = Verb::RemoveOne;
            return at + 2;
        }
        if word == "cancel" {
            return self.cancel(at);
        }
        if let Some((command, next)) = self.command(at) {
            self.out.intents.push(Intent::Command(command));
            return next;
        }
        if REMOVING_ONE.contains(&word) {
            self.verb = Verb::RemoveOne;
        } else if REMOVING.contains(&word) {
            self.verb = Verb::Remove;
        } else if SETTING.contains(&word) {
            self.verb = Verb::Set;
        } else if ADDING.contains(&word) {
            // "I don't want coke" is not "I want coke".
            if self.verb != Verb::RemoveOne {
                self.verb = Verb::Add;
            }
        } else if !(is_filler(word) || TOWARDS.contains(&word)) {
            self.unknown(at);
        }
        at + 1
    }

    fn take_item(&mut self, item: ItemId) {
        let quantity = self.quantity.take();
        let intent = match (self.verb, self.target.take()) {
            (Verb::Set, Some(from)) => {
                self.verb = Verb::Add;
                Intent::Swap(from, item)
            }
            (Verb::Set, None) => match quantity {
                Some(quantity) => {
                    self.verb = Verb::Add;
                    Intent::Set(Some(item), quantity)
                }
                None => {
                    self.target = Some(item);
                    return;
                }
            },
            (Verb::RemoveOne, _) => {
                self.verb = Verb::Add;
                Intent::Remove(item, quantity)
            }
            // "remove coke, add 2 waters" has its own verb; "remove coke and 2 waters" takes both away.
            (Verb::Remove, _) => Intent::Remove(item, quantity),
            (Verb::Add, _) => match quantity {
                Some(0) => Intent::Remove(item, None),
                quantity => Intent::Add(item, quantity.unwrap_or(1)),
            },
        };
        self.out.intents.push(intent);
    }

    /// "Cancel", "cancel order 12", "cancel the coke".
    fn cancel(&mut self, at: usize) -> usize {
        let mut next = at + 1;
        while self
            .tokens
            .get(next)
            .is_some_and(|token| is_filler(&token.word) || token.word == "number")
        {
            next += 1;
        }
        // An item, or so many of it, is taken out of the cart.
        let quantity = self.tokens.get(next).and_then(|token| number(&token.word));
        let item_at = if quantity.is_some() { next + 1 } else { next };
        if self.item(item_at).is_some() {
            self.verb = Verb::Remove;
            return next;
        }
        let order = quantity.map(i64::from);
        let command = Command::Cancel(order);
        self.out.intents.push(Intent::Command(command));
        item_at
    }

    /// What is left over when the line ends.
    fn finish(mut self) {
        if let Some(item) = self.target.take() {
            // "make it margherita": at least it is known what is wanted.
            self.out.intents.push(Intent::Add(item, 1));
        }
        match (self.verb, self.quantity.take()) {
            (Verb::Set, Some(quantity)) => self.out.intents.push(Intent::Set(None, quantity)),
            (_, Some(quantity)) => self.out.unknown.push(quantity.to_string()),
            // "No" and nothing after it.
            (Verb::RemoveOne, None) => {
                self.out.intents.push(Intent::Command(Command::No));
            }
            _ => {}
        }
    }

    fn unknown(&mut self, at: usize) {
        let Some(written) = self.tokens.get(at).map(|token| token.written) else {
            return;
        };
        let before = at.checked_sub(1);
        let mut piece = String::new();
        if before.is_some() && self.unknown_at == before {
            piece = self.out.unknown.pop().unwrap_or_default();
            piece.push(' ');
        } else if let Some(quantity) = self.quantity.take() {
            // "3 unicorns" is one piece; the 3 is not of what comes after.
            piece = format!("{quantity} ");
        }
        piece.push_str(written);
        self.out.unknown.push(piece);
        self.unknown_at = Some(at);
        if self.verb == Verb::RemoveOne {
            self.verb = Verb::Add;
        }
    }

    fn word_is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.word == word)
    }

    /// Where the phrase ends, if it stands here.
    fn phrase<W: AsRef<str>>(&self, at: usize, phrase: &[W]) -> Option<usize> {
        let found = phrase
            .iter()
            .enumerate()
            .all(|(offset, word)| self.word_is(at + offset, word.as_ref()));
        found.then_some(at + phrase.len())
    }

    fn command(&self, at: usize) -> Option<(Command, usize)> {
        commands().iter().find_map(|(phrase, command)| {
            let next = self.phrase(at, phrase)?;
            Some((*command, next))
        })
    }

    /// The item that is named here, and where its name ends. Exact names first: "cole" is one letter from "coke", but
    /// not if the menu has it.
    fn item(&self, at: usize) -> Option<(ItemId, usize)> {
        let exact = self.menu.names().iter().find_map(|(name, item)| {
            let next = self.phrase(at, name)?;
            Some((*item, next))
        });
        exact.or_else(|| {
            let mut near = self.menu.names().iter().filter_map(|(name, item)| {
                let fits = name.iter().enumerate().all(|(offset, word)| {
                    let token = self.tokens.get(at + offset);
                    token.is_some_and(|token| nearly(&token.word, word))
                });
                fits.then_some((*item, at + name.len()))
            });
            let first = near.next()?;
            // Two items that both could be meant are neither.
            let ambiguous = near.any(|(item, next)| item != first.0 && next == first.1);
            (!ambiguous).then_some(first)
        })
    }
}

/// Whether two words differ by one letter that is wrong, missing, too much, or changed places with its neighbour.
fn nearly(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.len() < 4 || long.len() < 5 || long.len() - short.len() > 1 {
        return false;
    }
    let same = short.iter().zip(&long).take_while(|(x, y)| x == y).count();
    let after = |word: &[char], skipped: usize| word.get(same + skipped..).map(<[char]>::to_vec);
    if short.len() < long.len() {
        return after(&short, 0) == after(&long, 1);
    }
    let swapped = short.get(same) == long.get(same + 1) && short.get(same + 1) == long.get(same);
    after(&short, 1) == after(&long, 1) || (swapped && after(&short, 2) == after(&long, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::menu::BUILT_IN;

    fn menu() -> Menu {
        Menu::from_toml(BUILT_IN).unwrap()
    }

    /// What was understood, in a shape that a table can hold.
    fn read(text: &str) -> String {
        let menu = menu();
        let name = |item: &ItemId| menu.get(*item).unwrap().name.to_lowercase();
        let understood = understand(text, &menu);
        let mut pieces: Vec<String> = understood
            .intents
            .iter()
            .map(|intent| match intent {
                Intent::Add(item, quantity) => format!("+{quantity} {}", name(item)),
                Intent::Set(Some(item), quantity) => format!("={quantity} {}", name(item)),
                Intent::Set(None, quantity) => format!("={quantity} last"),
                Intent::Remove(item, Some(quantity)) => format!("-{quantity} {}", name(item)),
                Intent::Remove(item, None) => format!("-all {}", name(item)),
                Intent::Swap(from, to) => format!("{}>{}", name(from), name(to)),
                Intent::Address(text) => format!("to({text})"),
                Intent::Note(text) => format!("note({text})"),
                Intent::Command(command) => format!("{command:?}"),
            })
            .collect();
        pieces.extend(understood.unknown.iter().map(|text| format!("?{text}")));
        pieces.join(", ")
    }

    #[test]
    fn customers_are_understood_as_the_table_says() {
        for (text, meaning) in [
            // Adding
            ("2 margherita and a coke", "+2 margherita, +1 coke"),
            (
                "Hi! I'd like two Margheritas, please.",
                "Greet, +2 margherita",
            ),
            ("margherita", "+1 margherita"),
            ("3x coke x2 water", "+3 coke, +2 water"),
            ("2 tacos al pastor, por favor", "+2 taco al pastor"),
            ("2 tacos", "+2 taco al pastor"),
            ("a dozen tacos", "+12 taco al pastor"),
            ("TIRAMISÙ", "+1 tiramisu"),
            ("tiramisu\u{300}", "+1 tiramisu"),
            ("four cheese pizza", "+1 quattro formaggi"),
            (
                "2 four cheese and 1 coca-cola",
                "+2 quattro formaggi, +1 coke",
            ),
            ("another water", "+1 water"),
            (
                "2 margherita 1 coke 3 water",
                "+2 margherita, +1 coke, +3 water",
            ),
            ("1 coke\n2 waters", "+1 coke, +2 water"),
            ("99999999999 cokes", "+4294967295 coke"),
            // One wrong letter, in words that are long enough to tell
            ("2 margerita", "+2 margherita"),
            ("peperoni", "+1 pepperoni"),
            ("pepperoin", "+1 pepperoni"),
            ("cake", "?cake"),
            // A change of mind
            ("no coke", "-all coke"),
            ("no coke, a water", "-all coke, +1 water"),
            ("no coke and a water instead", "-all coke, +1 water"),
            ("I don't want coke", "-all coke"),
            ("without garlic bread", "-all garlic bread"),
            ("remove 1 margherita", "-1 margherita"),
            ("remove the coke and the water", "-all coke, -all water"),
            ("remove coke, add 2 waters", "-all coke, +2 water"),
            ("cancel the coke", "-all coke"),
            ("cancel 2 cokes", "-2 coke"),
            ("0 coke", "-all coke"),
            ("a water instead of the coke", "+1 water, -all coke"),
            ("make it 3", "=3 last"),
            ("actually make that three please", "=3 last"),
            ("make it 3 cokes", "=3 coke"),
            ("make the cokes 3", "=3 coke"),
            ("change coke to water", "coke>water"),
            ("swap the coke for a water", "coke>water"),
            // Commands
            ("hello", "Greet"),
            ("Good evening!", "Greet"),
            ("can I see the menu?", "Menu"),
            ("what do you have", "Menu"),
            ("yes", "Yes"),
            ("👍", "Yes"),
            ("Yes!!", "Yes"),
            ("no", "No"),
            ("nope", "No"),
            ("that's all", "Checkout"),
            ("place my order", "Checkout"),
            ("cancel", "Cancel(None)"),
            ("cancel my order", "Cancel(None)"),
            ("cancel order #12", "Cancel(Some(12))"),
            ("cancel 12", "Cancel(Some(12))"),
            ("where is my order?", "Status"),
            ("thanks", "Thank"),
            ("thank you!", "Thank"),
            ("2 cokes, thanks", "+2 coke, Thank"),
            // The rest of the line is text
            (
                "deliver to 12 Margherita St, apt. 3",
                "to(12 Margherita St, apt. 3)",
            ),
            ("My address is: Elm Street 5", "to(Elm Street 5)"),
            ("address", "to()"),
            (
                "2 cokes\naddress: Elm 5\nnote: ring twice",
                "+2 coke, to(Elm 5), note(ring twice)",
            ),
            ("note: no onions", "note(no onions)"),
            // Not understood
            ("2 margherita and a unicorn", "+2 margherita, ?1 unicorn"),
            ("flying unicorns with coke", "+1 coke, ?flying unicorns"),
            ("2", "?2"),
            ("no unicorns", "?unicorns"),
            ("yes but ring the bell", "Yes, ?ring, ?bell"),
            ("", ""),
            ("?!…", ""),
        ] {
            assert_eq!(read(text), meaning, "{text:?}");
        }
    }

    #[test]
    fn a_novel_is_read_for_a_while_and_not_for_ever() {
        let novel = "unicorn ".repeat(20_000);
        let understood = understand(&novel, &menu());
        assert_eq!(understood.unknown.len(), 1);
    }
}
