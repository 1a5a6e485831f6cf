//! One turn of a conversation: what a customer sent goes in, the answer comes out, and the session changes.
//!
//! No clock, no database, no network, so a conversation is a table in the tests below. An order is placed by one
//! message only: a plain "yes" right after the order was shown. Whatever else stands in the message, the order is
//! shown again instead.

use crate::language::{Command, Intent, MOST, Understood, understand};
use crate::menu::{ItemId, Menu};
use crate::replies;
use crate::session::{Address, Asked, MOST_LINES, OpenOrder, Session};

/// Addresses and notes are kept to this many characters.
const LONGEST_TEXT: usize = 200;

/// What a customer can send.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Written.
    Text(String),
    /// A tap on a button: what it stands for, and what is written on it.
    Button(String, String),
    /// A shared place.
    Location(Address),
    /// A picture, a voice message, or anything else without words.
    Other,
}

/// What becomes of it besides the session's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This is said, and that is all.
    Say(String),
    /// The cart becomes an order. The answer names its number, which only the database knows.
    Place,
    /// The order with this number is cancelled.
    CancelOrder(i64),
}

/// Answers what was said. `orders` are the customer's open ones.
pub fn turn(session: &mut Session, said: Said, orders: &[OpenOrder], menu: &Menu) -> Answer {
    let mut turn = Turn {
        session,
        orders,
        menu,
        said: Vec::new(),
    };
    match said {
        Said::Other => Answer::Say(replies::only_text()),
        Said::Location(address) => {
            turn.deliver_to(address);
            turn.answer()
        }
        Said::Text(text) => turn.text(&text),
        Said::Button(payload, label) => {
            // The payload is the shop's own word for it, if it is one of ours.
            let meant = understand(&payload, menu);
            let known = meant.unknown.is_empty() && !meant.intents.is_empty();
            turn.text(if known { &payload } else { &label })
        }
    }
}

struct Turn<'a> {
    session: &'a mut Session,
    orders: &'a [OpenOrder],
    menu: &'a Menu,
    /// The paragraphs of the answer.
    said: Vec<String>,
}

impl Turn<'_> {
    fn text(mut self, text: &str) -> Answer {
        let Understood { intents, unknown } = understand(text, self.menu);
        if self.session.asked == Asked::Address && is_bare_address(&intents, &unknown) {
            self.write_address(text);
            return self.answer();
        }
        if unknown.is_empty()
            && let [Intent::Command(command)] = intents.as_slice()
        {
            return self.command(*command);
        }
        self.several(intents, unknown)
    }

    fn answer(mut self) -> Answer {
        self.said.dedup();
        Answer::Say(replies::fit(self.said.join("\n\n")))
    }

    fn say(mut self, text: String) -> Answer {
        self.said.push(text);
        self.answer()
    }

    /// A message that is one command and nothing else: only such a message orders or cancels.
    fn command(mut self, command: Command) -> Answer {
        match command {
            Command::Yes if self.session.asked == Asked::Confirmation => {
                if self.session.cart.is_empty() || self.session.address.is_none() {
                    self.show_order();
                    return self.answer();
                }
                Answer::Place
            }
            Command::Yes | Command::Checkout => {
                self.show_order();
                self.answer()
            }
            Command::No => {
                self.session.asked = Asked::Nothing;
                if self.session.cart.is_empty() {
                    return self.say(replies::help());
                }
                self.say(replies::nothing_ordered())
            }
            Command::Clear => {
                self.clear();
                self.answer()
            }
            Command::Cancel(number) => self.cancel(number),
            Command::Greet => self.say_of_menu(replies::greeting),
            Command::Menu => self.say_of_menu(replies::menu),
            Command::Thank => self.say(replies::welcome()),
            Command::Help => self.say(replies::help()),
            Command::Cart => {
                self.show_cart();
                self.answer()
            }
            Command::Status => {
                let text = replies::status(self.orders, self.menu);
                self.say(text)
            }
        }
    }

    fn say_of_menu(self, text: fn(&Menu) -> String) -> Answer {
        let text = text(self.menu);
        self.say(text)
    }

    /// Everything else: changes of the cart, an address, a note, and questions beside them.
    fn several(mut self, intents: Vec<Intent>, mut unknown: Vec<String>) -> Answer {
        let asked = self.session.asked;
        let (mut changed, mut ordering) = (false, asked == Asked::Confirmation);
        let mut told = Vec::new();
        for intent in intents {
            match intent {
                Intent::Add(item, more) => {
                    let quantity = self.session.quantity(item).saturating_add(more);
                    self.set(item, quantity);
                    changed = true;
                }
                Intent::Set(item, quantity) => {
                    match item.or(self.session.last) {
                        Some(item) => self.set(item, quantity),
                        None => self.said.push(replies::of_what()),
                    }
                    changed = true;
                }
                Intent::Remove(item, less) => {
                    self.remove(item, less);
                    changed = true;
                }
                Intent::Swap(from, to) => {
                    let quantity = self.session.quantity(from);
                    self.remove(from, None);
                    if quantity > 0 {
                        let quantity = self.session.quantity(to).saturating_add(quantity);
                        self.set(to, quantity);
                    }
                    changed = true;
                }
                Intent::Address(text) if text.is_empty() => {
                    self.session.asked = Asked::Address;
                    told.push(replies::ask_for_address());
                }
                Intent::Address(text) => {
                    self.session.address = Some(Address {
                        text: shorten(&text),
                        location: None,
                    });
                    ordering = true;
                }
                Intent::Note(text) => {
                    self.session.note = Some(shorten(&text)).filter(|note| !note.is_empty());
                    self.said.push(replies::note_noted());
                    changed = changed || !self.session.cart.is_empty();
                }
                Intent::Command(Command::Yes | Command::Checkout) => ordering = true,
                Intent::Command(Command::Menu) => told.push(replies::menu(self.menu)),
                Intent::Command(Command::Help) => told.push(replies::help()),
                Intent::Command(Command::Cart) => changed = true,
                Intent::Command(Command::Status) => {
                    told.push(replies::status(self.orders, self.menu));
                }
                Intent::Command(Command::Clear) => {
                    self.clear();
                }
                // What takes something back for good is done by a message of its own.
                Intent::Command(Command::Cancel(_)) => unknown.push("cancel".to_owned()),
                Intent::Command(Command::Greet | Command::Thank | Command::No) => {}
            }
        }
        if !unknown.is_empty() {
            self.said.push(replies::not_understood(&unknown));
        }
        let said_something = !self.said.is_empty() || !told.is_empty();
        self.said.extend(told);
        if self.session.asked == Asked::Address && !changed && !ordering {
            // It was just asked, or is still open.
        } else if ordering && (changed || unknown.is_empty() || asked == Asked::Confirmation) {
            self.show_order();
        } else if changed {
            self.show_cart();
        } else if !said_something {
            self.said.push(replies::help());
        }
        self.answer()
    }

    fn set(&mut self, item: ItemId, quantity: u32) {
        self.session.last = Some(item);
        if quantity > MOST {
            self.said.push(replies::too_many(item, self.menu));
        } else if self.session.quantity(item) == 0 && self.session.cart.len() >= MOST_LINES {
            self.said.push(replies::too_many_lines());
        } else {
            self.session.set(item, quantity);
        }
    }

    fn remove(&mut self, item: ItemId, less: Option<u32>) {
        let quantity = self.session.quantity(item);
        if quantity == 0 {
            self.said.push(replies::not_in_cart(item, self.menu));
            return;
        }
        let left = less.map_or(0, |less| quantity.saturating_sub(less));
        self.session.set(item, left);
        // After "no coke", "make it 3" is about what is still there.
        let last = self.session.cart.last().filter(|_| left == 0);
        self.session.last = Some(last.map_or(item, |line| line.item));
    }

    fn clear(&mut self) {
        self.session.cart.clear();
        self.session.note = None;
        self.session.last = None;
        self.session.asked = Asked::Nothing;
        self.said.push(replies::cleared());
    }

    fn cancel(mut self, number: Option<i64>) -> Answer {
        let order = match number {
            None if !self.session.cart.is_empty() => {
                self.clear();
                return self.answer();
            }
            None => match self.orders {
                [] => return self.say(replies::nothing_to_cancel()),
                [only] => only,
                several => {
                    let text = replies::which_order(several);
                    return self.say(text);
                }
            },
            Some(number) => match self.orders.iter().find(|order| order.number == number) {
                Some(order) => order,
                None => return self.say(replies::no_such_order(number)),
            },
        };
        if order.state.customer_may_cancel() {
            Answer::CancelOrder(order.number)
        } else {
            let text = replies::too_late(order.number);
            self.say(text)
        }
    }

    fn show_cart(&mut self) {
        self.said.push(replies::cart(self.session, self.menu));
        if self.session.cart.is_empty() {
            self.session.asked = Asked::Nothing;
        } else {
            self.said.push(replies::what_next());
        }
    }

    /// Shows the whole order and asks for what is missing: something to eat, an address, a yes.
    fn show_order(&mut self) {
        if self.session.cart.is_empty() {
            self.session.asked = Asked::Nothing;
            if self.orders.is_empty() {
                match &self.session.address {
                    Some(address) => self.said.push(replies::address_noted(address)),
                    None => self.said.push(replies::cart(self.session, self.menu)),
                }
            } else {
                self.said.push(replies::cart(self.session, self.menu));
                self.said.push(replies::status(self.orders, self.menu));
            }
            return;
        }
        self.said.push(replies::cart(self.session, self.menu));
        match &self.session.address {
            Some(address) => {
                self.said.push(replies::ask_for_confirmation(address));
                self.session.asked = Asked::Confirmation;
            }
            None => {
                self.said.push(replies::ask_for_address());
                self.session.asked = Asked::Address;
            }
        }
    }

    fn write_address(&mut self, text: &str) {
        let text = shorten(text);
        if text
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .count()
            < 5
        {
            self.said.push(replies::address_too_short());
            return;
        }
        self.deliver_to(Address {
            text,
            location: None,
        });
    }

    fn deliver_to(&mut self, address: Address) {
        self.session.address = Some(address);
        self.show_order();
    }
}

/// Whether a message that follows "Where shall we deliver?" is the answer to it. "2 cokes" and "menu" are not, while
/// "12 Margherita Street" is, though there is an item in it.
fn is_bare_address(intents: &[Intent], unknown: &[String]) -> bool {
    let says_so = intents
        .iter()
        .any(|intent| matches!(intent, Intent::Address(_) | Intent::Note(_)));
    !unknown.is_empty() && !says_so
}

/// One line of at most [`LONGEST_TEXT`] characters.
fn shorten(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let visible = |letter: &char| !letter.is_control();
    words
        .join(" ")
        .chars()
        .filter(visible)
        .take(LONGEST_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::menu::BUILT_IN;
    use crate::orders::OrderState;

    /// A conversation about one cart.
    struct Table {
        menu: Menu,
        session: Session,
        orders: Vec<OpenOrder>,
    }

    impl Table {
        fn new() -> Self {
            let menu = Menu::from_toml(BUILT_IN).unwrap();
            Self {
                menu,
                session: Session::default(),
                orders: Vec::new(),
            }
        }

        fn with_order(number: i64, state: OrderState) -> Self {
            let mut table = Self::new();
            let total = 1980;
            table.orders.push(OpenOrder {
                number,
                state,
                total,
            });
            table
        }

        fn say(&mut self, text: &str) -> Answer {
            let said = Said::Text(text.to_owned());
            turn(&mut self.session, said, &self.orders, &self.menu)
        }

        fn cart(&self) -> String {
            let line = |line: &crate::session::Line| {
                let name = &self.menu.get(line.item).unwrap().name;
                format!("{} {name}", line.quantity)
            };
            let lines: Vec<String> = self.session.cart.iter().map(line).collect();
            lines.join(", ")
        }

        /// Each row: what the customer says, what must be in the answer, and the cart afterwards.
        fn run(mut self, rows: &[(&str, &[&str], &str)]) -> Self {
            for (text, answer, cart) in rows {
                let got = match self.say(text) {
                    Answer::Say(text) => text,
                    other => format!("{other:?}"),
                };
                for piece in *answer {
                    assert!(got.contains(piece), "{text:?} was answered {got:?}");
                }
                assert_eq!(self.cart(), *cart, "after {text:?}, answered {got:?}");
            }
            self
        }
    }

    #[test]
    fn a_customer_orders_with_a_change_of_mind() {
        Table::new().run(&[
            ("Hello!", &["this is Aurora", "*menu*"], ""),
            (
                "menu",
                &["Margherita  € 8.50", "_Drinks_", "2 Margherita and a Water"],
                "",
            ),
            (
                "2 margherita and a coke",
                &[
                    "2 × Margherita  € 17.00",
                    "1 × Coke  € 2.80",
                    "Total € 19.80",
                    "*done*",
                ],
                "2 Margherita, 1 Coke",
            ),
            ("no coke", &["Total € 17.00"], "2 Margherita"),
            (
                "make it 3",
                &["3 × Margherita", "Total € 25.50"],
                "3 Margherita",
            ),
            ("and 2 waters", &["Total € 29.90"], "3 Margherita, 2 Water"),
            (
                "swap the water for coke",
                &["2 × Coke"],
                "3 Margherita, 2 Coke",
            ),
            ("done", &["Where shall we deliver?"], "3 Margherita, 2 Coke"),
            (
                "12 Margherita Street",
                &["To: 12 Margherita Street", "Reply *yes*"],
                "3 Margherita, 2 Coke",
            ),
            ("yes", &["Place"], "3 Margherita, 2 Coke"),
        ]);
    }

    #[test]
    fn an_order_is_placed_only_by_a_plain_yes_after_it_was_shown() {
        let cart = "1 Coke";
        Table::new().run(&[
            ("yes", &["cart is empty"], ""),
            (
                "yes, a coke",
                &["Total € 2.80", "Where shall we deliver?"],
                cart,
            ),
            ("yes", &["Where shall we deliver?"], cart),
            ("Elm Street 5", &["Reply *yes*"], cart),
            (
                "yes but ring the bell",
                &["did not understand “ring”", "Reply *yes*"],
                cart,
            ),
            ("no", &["nothing is ordered"], cart),
            ("yes", &["Reply *yes*"], cart),
            ("hello", &["this is Aurora"], cart),
            ("ok 👍", &["Reply *yes*"], cart),
            ("make it 2 and yes", &["2 × Coke", "Reply *yes*"], "2 Coke"),
            ("YES!", &["Place"], "2 Coke"),
        ]);
    }

    #[test]
    fn an_address_can_come_first_last_or_as_a_shared_location() {
        let table = Table::new().run(&[
            (
                "deliver to Elm Street 5",
                &["deliver to: Elm Street 5", "What would you like?"],
                "",
            ),
            ("a coke", &["Total € 2.80", "*done*"], "1 Coke"),
            ("done", &["To: Elm Street 5", "Reply *yes*"], "1 Coke"),
            ("address", &["Where shall we deliver?"], "1 Coke"),
            ("no", &["nothing is ordered"], "1 Coke"),
            ("address", &["Where shall we deliver?"], "1 Coke"),
            ("Oak", &["does not look like an address"], "1 Coke"),
            (
                "Oak Lane 7\nsecond floor",
                &["To: Oak Lane 7 second floor"],
                "1 Coke",
            ),
        ]);
        let Table {
            menu, mut session, ..
        } = table;
        let home = Address {
            text: "Home".to_owned(),
            location: Some((52.5, 13.4)),
        };
        let said = Said::Location(home.clone());
        let Answer::Say(answer) = turn(&mut session, said, &[], &menu) else {
            panic!("a location is answered");
        };
        assert!(answer.contains("To: Home"), "{answer}");
        assert_eq!(session.address, Some(home));
        assert_eq!(session.asked, Asked::Confirmation);
    }

    #[test]
    fn while_an_address_is_awaited_orders_and_commands_are_still_understood() {
        Table::new().run(&[
            ("a coke", &["*done*"], "1 Coke"),
            ("done", &["Where shall we deliver?"], "1 Coke"),
            ("and 2 waters", &["2 × Water"], "1 Coke, 2 Water"),
            ("menu", &["Margherita"], "1 Coke, 2 Water"),
            ("cancel", &["cart is empty"], ""),
        ]);
    }

    #[test]
    fn what_is_not_understood_is_named_and_the_rest_is_done() {
        Table::new().run(&[
            (
                "2 margherita and a unicorn",
                &["“1 unicorn”", "2 × Margherita"],
                "2 Margherita",
            ),
            ("blah", &["“blah”", "*help*"], "2 Margherita"),
            ("", &["*menu*", "*status*"], "2 Margherita"),
            ("7", &["“7”"], "2 Margherita"),
            (
                "don't cancel",
                &["did not understand “cancel”"],
                "2 Margherita",
            ),
            (
                "remove the water",
                &["no Water in your cart"],
                "2 Margherita",
            ),
            ("remove 1 margherita", &["1 × Margherita"], "1 Margherita"),
            ("no margherita", &["cart is empty"], ""),
            ("make it 3", &["3 × Margherita"], "3 Margherita"),
            ("clear", &["cart is empty"], ""),
            ("make it 3", &["Of what?"], ""),
        ]);
    }

    #[test]
    fn a_note_goes_with_the_order() {
        let table = Table::new().run(&[
            (
                "a taco\nnote: no onions",
                &["Noted", "Note: no onions", "Total"],
                "1 Taco al pastor",
            ),
            ("thanks", &["welcome"], "1 Taco al pastor"),
        ]);
        assert_eq!(table.session.note.as_deref(), Some("no onions"));
    }

    #[test]
    fn nobody_orders_more_than_a_kitchen_makes() {
        Table::new().run(&[
            ("50 cokes", &["50 × Coke"], "50 Coke"),
            ("one more coke", &["up to 50"], "50 Coke"),
            ("make it 99999999999", &["up to 50"], "50 Coke"),
        ]);
    }

    #[test]
    fn status_and_cancel_speak_of_the_open_order() {
        Table::new().run(&[
            ("status", &["no open order"], ""),
            ("cancel", &["nothing to cancel"], ""),
            ("cancel order 7", &["no open order #7"], ""),
        ]);
        for (state, status, cancel) in [
            (
                OrderState::Received,
                "not confirmed it yet",
                "CancelOrder(12)",
            ),
            (
                OrderState::Confirmed,
                "confirmed by the kitchen",
                "CancelOrder(12)",
            ),
            (OrderState::Preparing, "being prepared", "please call us"),
            (OrderState::OutForDelivery, "on its way", "please call us"),
        ] {
            Table::with_order(12, state).run(&[
                ("where is my order?", &["#12", "€ 19.80", status], ""),
                ("cancel", &[cancel], ""),
                ("cancel order 12", &[cancel], ""),
                ("cancel order 13", &["no open order #13"], ""),
                // With something in the cart, a bare "cancel" is about the cart.
                ("a coke", &["Total"], "1 Coke"),
                ("cancel order 12", &[cancel], "1 Coke"),
                ("cancel", &["cart is empty"], ""),
                ("yes", &["cart is empty", "#12"], ""),
            ]);
        }
        let mut two = Table::with_order(12, OrderState::Received);
        two.orders.push(OpenOrder {
            number: 14,
            state: OrderState::Received,
            total: 100,
        });
        two.run(&[
            ("cancel", &["Which one?", "cancel order 12"], ""),
            ("cancel order 14", &["CancelOrder(14)"], ""),
        ]);
    }

    #[test]
    fn a_button_means_what_its_payload_or_else_its_label_says() {
        let mut table = Table::new().run(&[(
            "a coke\ndeliver to Elm Street 5",
            &["Reply *yes*"],
            "1 Coke",
        )]);
        let mut tap = |payload: &str, label: &str| {
            let said = Said::Button(payload.to_owned(), label.to_owned());
            turn(&mut table.session, said, &[], &table.menu)
        };
        assert!(matches!(tap("id_4711", "Menu"), Answer::Say(text) if text.contains("Margherita")));
        assert_eq!(tap("CONFIRM_ORDER", "Bestellen!"), Answer::Place);
        assert_eq!(tap("", "Yes"), Answer::Place);
    }

    #[test]
    fn pictures_and_voice_messages_are_answered_with_what_can_be_read() {
        let mut table = Table::new();
        let answer = turn(&mut table.session, Said::Other, &[], &table.menu);
        assert!(matches!(answer, Answer::Say(text) if text.contains("*help*")));
    }

    #[test]
    fn no_answer_is_longer_than_whatsapp_takes() {
        let items: String = (0..30)
            .map(|number| {
                format!(
                    "[[item]]\nname = \"Dish{number} {}\"\nprice = 1000000\n",
                    "a".repeat(8)
                )
            })
            .collect();
        let menu = Menu::from_toml(&format!("shop = \"x\"\ncurrency = \"€\"\n{items}")).unwrap();
        let mut session = Session::default();
        let everything: Vec<String> = (0..30).map(|n| format!("50 dish{n} aaaaaaaa")).collect();
        let text = format!(
            "{}\nnote: {}\n{}",
            everything.join(" "),
            "n".repeat(5000),
            "unknown, ".repeat(5000)
        );
        for text in [
            text,
            format!("deliver to {}", "å".repeat(5000)),
            "menu help cart status".to_owned(),
        ] {
            let Answer::Say(answer) = turn(&mut session, Said::Text(text), &[], &menu) else {
                panic!("an answer");
            };
            let length = answer.chars().count();
            assert!(length <= crate::menu::LONGEST_REPLY, "{length}: {answer}");
        }
        assert_eq!(session.cart.len(), MOST_LINES);
    }
}
