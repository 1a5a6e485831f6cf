//! What the service remembers of a customer between two messages.

use crate::menu::{ItemId, Menu};

/// The most different items in a cart. With it, no answer is longer than WhatsApp takes.
pub const MOST_LINES: usize = 15;

/// One item in the cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What.
    pub item: ItemId,
    /// How many; never none.
    pub quantity: u32,
}

/// Where to deliver.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Address {
    /// As the customer wrote it, or as WhatsApp names the shared place.
    pub text: String,
    /// Latitude and longitude of a shared location.
    pub location: Option<(f64, f64)>,
}

/// What the last answer asked, which gives "yes" and a bare address their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// Nothing.
    #[default]
    Nothing,
    /// Where to deliver.
    Address,
    /// Whether to place the order that was shown.
    Confirmation,
}

impl Asked {
    /// As it stands in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Address => "address",
            Self::Confirmation => "confirmation",
        }
    }

    /// The one with this name; whatever else is there asked nothing.
    pub fn from_name(name: &str) -> Self {
        match name {
            "address" => Self::Address,
            "confirmation" => Self::Confirmation,
            _ => Self::Nothing,
        }
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Session {
    /// In the order in which it was filled.
    pub cart: Vec<Line>,
    /// What "make it 3" speaks of.
    pub last: Option<ItemId>,
    /// Kept for the next order, too.
    pub address: Option<Address>,
    /// A wish for the kitchen, for the next order only.
    pub note: Option<String>,
    /// What the last answer asked.
    pub asked: Asked,
}

impl Session {
    /// How many of an item are in the cart.
    pub fn quantity(&self, item: ItemId) -> u32 {
        let line = self.cart.iter().find(|line| line.item == item);
        line.map_or(0, |line| line.quantity)
    }

    /// Puts so many of an item in the cart; none removes it.
    pub fn set(&mut self, item: ItemId, quantity: u32) {
        if quantity == 0 {
            self.cart.retain(|line| line.item != item);
        } else if let Some(line) = self.cart.iter_mut().find(|line| line.item == item) {
            line.quantity = quantity;
        } else {
            self.cart.push(Line { item, quantity });
        }
    }

    /// What the cart costs, in cents.
    pub fn total(&self, menu: &Menu) -> i64 {
        let cents = |line: &Line| menu.get(line.item).map_or(0, |item| item.cents);
        let lines = self.cart.iter();
        lines
            .map(|line| cents(line).saturating_mul(i64::from(line.quantity)))
            .sum()
    }
}

/// An order of the customer's that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrder {
    /// By which customer and kitchen name it.
    pub number: i64,
    /// How far it is.
    pub state: crate::orders::OrderState,
    /// In cents.
    pub total: i64,
}
