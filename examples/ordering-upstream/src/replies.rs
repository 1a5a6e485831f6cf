//! What customers read. Every text is here; WhatsApp shows `*stars*` as bold.

use std::fmt::Write as _;

use crate::language::MOST;
use crate::menu::{ItemId, LONGEST_REPLY, Menu};
use crate::orders::OrderState;
use crate::session::{Address, MOST_LINES, OpenOrder, Session};

/// Cuts what WhatsApp would not take. Nothing gets that long unless somebody tries.
pub(crate) fn fit(text: String) -> String {
    match text.char_indices().nth(LONGEST_REPLY) {
        None => text,
        Some(_) => {
            let mut short: String = text.chars().take(LONGEST_REPLY - 1).collect();
            short.push('…');
            short
        }
    }
}

/// The menu under its headings.
pub fn menu(menu: &Menu) -> String {
    let mut text = format!("*{}*", menu.shop());
    let mut section = "";
    for item in menu.items() {
        if item.section != section {
            section = &item.section;
            let _ = write!(text, "\n\n_{section}_");
        }
        let _ = write!(text, "\n{}  {}", item.name, menu.money(item.cents));
    }
    text.push_str("\n\nWrite what you would like, for instance: ");
    let mut items = menu.items().iter();
    let first = items.next().map_or("", |item| &item.name);
    let _ = write!(text, "2 {first}");
    if let Some(other) = items.next_back() {
        let _ = write!(text, " and a {}", other.name);
    }
    text
}

pub(crate) fn greeting(menu: &Menu) -> String {
    format!(
        "Hello, this is {}! Write *menu* to see what we have, or just what you would like.",
        menu.shop()
    )
}

pub(crate) fn help() -> String {
    "You can write:\n\
     *menu* – what we have\n\
     *2 margherita and a coke* – into the cart; *no coke* or *make it 3* changes it\n\
     *cart* – what is in it\n\
     *deliver to* and an address, or share your location\n\
     *note* and a wish for the kitchen\n\
     *done* – to order\n\
     *status* – where your order is\n\
     *cancel* – empties the cart, or cancels your order"
        .to_owned()
}

pub(crate) fn welcome() -> String {
    "You are welcome!".to_owned()
}

pub(crate) fn only_text() -> String {
    "I can read text, shared locations and buttons, nothing else. Write *help* for what you can say."
        .to_owned()
}

/// What is in the cart, line by line.
pub(crate) fn cart(session: &Session, menu: &Menu) -> String {
    if session.cart.is_empty() {
        return "Your cart is empty. Write *menu* to see what we have.".to_owned();
    }
    let mut text = "*Your cart*".to_owned();
    for line in &session.cart {
        let Some(item) = menu.get(line.item) else {
            continue;
        };
        let price = menu.money(item.cents.saturating_mul(i64::from(line.quantity)));
        let _ = write!(text, "\n{} × {}  {price}", line.quantity, item.name);
    }
    let _ = write!(text, "\n*Total {}*", menu.money(session.total(menu)));
    if let Some(note) = &session.note {
        let _ = write!(text, "\nNote: {note}");
    }
    text
}

pub(crate) fn what_next() -> String {
    "Write *done* to order, or what else you would like.".to_owned()
}

pub(crate) fn ask_for_address() -> String {
    "Where shall we deliver? Write the address, or share your location.".to_owned()
}

pub(crate) fn address_too_short() -> String {
    "That does not look like an address. Write street and number, or share your location."
        .to_owned()
}

pub(crate) fn ask_for_confirmation(address: &Address) -> String {
    format!(
        "To: {}\nReply *yes* to order, or change what you like.",
        address.text
    )
}

pub(crate) fn address_noted(address: &Address) -> String {
    format!(
        "We will deliver to: {}\nWhat would you like? Write *menu* to see what we have.",
        address.text
    )
}

pub(crate) fn note_noted() -> String {
    "Noted for the kitchen.".to_owned()
}

pub(crate) fn nothing_ordered() -> String {
    "All right, nothing is ordered. Your cart stays as it is; *cancel* empties it.".to_owned()
}

pub(crate) fn cleared() -> String {
    "Your cart is empty now.".to_owned()
}

pub(crate) fn not_in_cart(item: ItemId, menu: &Menu) -> String {
    let name = menu.get(item).map_or("", |item| &item.name);
    format!("There was no {name} in your cart.")
}

pub(crate) fn too_many(item: ItemId, menu: &Menu) -> String {
    let name = menu.get(item).map_or("", |item| &item.name);
    format!("We take up to {MOST} × {name} by message; please call us for more.")
}

pub(crate) fn too_many_lines() -> String {
    format!("We take up to {MOST_LINES} different items by message; please call us for more.")
}

pub(crate) fn of_what() -> String {
    "Of what? Write for instance: make the margherita 3".to_owned()
}

pub(crate) fn not_understood(pieces: &[String]) -> String {
    let quoted: Vec<String> = pieces
        .iter()
        .take(3)
        .map(|piece| {
            let mut short: String = piece.chars().take(40).collect();
            if short.len() < piece.len() {
                short.push('…');
            }
            format!("“{short}”")
        })
        .collect();
    format!(
        "I did not understand {}. *menu* shows what we have, *help* what you can say.",
        quoted.join(", ")
    )
}

pub(crate) fn placed(number: i64, total: i64, address: &Address, menu: &Menu) -> String {
    format!(
        "Thank you! Order #{number} is received: {}, to {}.\nWe write when the kitchen confirms it. \
         *status* tells where it is, *cancel* cancels it.",
        menu.money(total),
        address.text
    )
}

pub(crate) fn status(orders: &[OpenOrder], menu: &Menu) -> String {
    if orders.is_empty() {
        return "You have no open order.".to_owned();
    }
    let lines: Vec<String> = orders
        .iter()
        .map(|order| {
            let total = menu.money(order.total);
            format!("Order #{} ({total}): {}.", order.number, words(order.state))
        })
        .collect();
    lines.join("\n")
}

fn words(state: OrderState) -> &'static str {
    match state {
        OrderState::Received => "received, the kitchen has not confirmed it yet",
        OrderState::Confirmed => "confirmed by the kitchen",
        OrderState::Preparing => "being prepared",
        OrderState::OutForDelivery => "on its way to you",
        OrderState::Delivered => "delivered",
        OrderState::Cancelled => "cancelled",
    }
}

pub(crate) fn no_such_order(number: i64) -> String {
    format!("You have no open order #{number}.")
}

pub(crate) fn which_order(orders: &[OpenOrder]) -> String {
    let first = orders.first().map_or(0, |order| order.number);
    format!("Which one? Write for instance: cancel order {first}")
}

pub(crate) fn cancelled(number: i64) -> String {
    format!("Order #{number} is cancelled.")
}

pub(crate) fn too_late(number: i64) -> String {
    format!("The kitchen is already working on order #{number}, so please call us to cancel it.")
}

pub(crate) fn nothing_to_cancel() -> String {
    "There is nothing to cancel: your cart is empty and you have no open order.".to_owned()
}

/// What a customer hears when the kitchen moves an order.
pub fn moved(number: i64, state: OrderState) -> String {
    match state {
        OrderState::Received => format!("Order #{number} is received."),
        OrderState::Confirmed => format!("The kitchen has confirmed your order #{number}."),
        OrderState::Preparing => format!("We are preparing your order #{number}."),
        OrderState::OutForDelivery => format!("Your order #{number} is on its way to you!"),
        OrderState::Delivered => format!("Order #{number} is delivered. Enjoy your meal!"),
        OrderState::Cancelled => {
            format!(
                "We are sorry: we had to cancel your order #{number}. Please call us with any question."
            )
        }
    }
}
