//! What the shop sells: a TOML file, checked when it is read, so that no customer is the first to find the mistake.

use std::fmt;

use serde::Deserialize;

use crate::language::{self, words};

/// The longest message that WhatsApp takes.
pub const LONGEST_REPLY: usize = 1600;

/// Prices are cents in integers; nothing in a shop costs more than this.
const HIGHEST_PRICE: i64 = 1_000_000;

/// The menu that comes with the program, for when `MENU_PATH` names no other.
pub const BUILT_IN: &str = include_str!("../menu.toml");

/// Names an item of one [`Menu`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemId(usize);

/// One thing to order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Under which heading it stands.
    #[serde(default)]
    pub section: String,
    /// As the customer and the kitchen read it. Carts remember an item by its name.
    pub name: String,
    /// In cents.
    #[serde(rename = "price")]
    pub cents: i64,
    /// What customers write for it besides its name.
    #[serde(default)]
    pub synonyms: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    shop: String,
    currency: String,
    #[serde(default)]
    item: Vec<Item>,
}

/// A checked menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menu {
    shop: String,
    currency: String,
    items: Vec<Item>,
    /// Every name as the words that a customer would write, the longest first.
    names: Vec<(Vec<String>, ItemId)>,
}

/// What is wrong with a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MenuError {
    /// It is not TOML, or not this TOML.
    Syntax(String),
    /// There is nothing to order.
    Empty,
    /// A price is below zero or beyond all reason.
    Price(String),
    /// A name has no letters or digits.
    Name(String),
    /// A name is a word by which customers say something else, or begins with a number.
    Reserved(String),
    /// Two items answer to one name.
    Twice(String),
    /// As a message it would be longer than WhatsApp takes.
    TooLong(usize),
}

impl fmt::Display for MenuError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => out.write_str(error.trim_end()),
            Self::Empty => out.write_str("there is no [[item]]"),
            Self::Price(name) => write!(
                out,
                "the price of {name:?}: expected cents from 0 to {HIGHEST_PRICE}"
            ),
            Self::Name(name) => write!(out, "the name {name:?}: expected letters or digits in it"),
            Self::Reserved(name) => write!(
                out,
                "the name {name:?}: customers say something else with it, such as a number or a command"
            ),
            Self::Twice(name) => write!(out, "the name {name:?} belongs to two items"),
            Self::TooLong(length) => write!(
                out,
                "as a message the menu has {length} characters; WhatsApp takes {LONGEST_REPLY}"
            ),
        }
    }
}

impl std::error::Error for MenuError {}

impl Menu {
    /// Reads and checks a menu.
    pub fn from_toml(text: &str) -> Result<Self, MenuError> {
        let file: File =
            toml::from_str(text).map_err(|error| MenuError::Syntax(error.to_string()))?;
        if file.item.is_empty() {
            return Err(MenuError::Empty);
        }
        let mut names: Vec<(Vec<String>, ItemId)> = Vec::new();
        for (index, item) in file.item.iter().enumerate() {
            if !(0..=HIGHEST_PRICE).contains(&item.cents) {
                return Err(MenuError::Price(item.name.clone()));
            }
            for name in std::iter::once(&item.name).chain(&item.synonyms) {
                let spoken = words(name);
                if spoken.is_empty() {
                    return Err(MenuError::Name(name.clone()));
                }
                if language::is_reserved(&spoken) {
                    return Err(MenuError::Reserved(name.clone()));
                }
                match names.iter().find(|(known, _)| *known == spoken) {
                    // A synonym that differs from the name by its plural only.
                    Some((_, ItemId(same))) if *same == index => {}
                    Some(_) => return Err(MenuError::Twice(name.clone())),
                    None => names.push((spoken, ItemId(index))),
                }
            }
        }
        names.sort_by_key(|(spoken, _)| std::cmp::Reverse(spoken.len()));
        let menu = Self {
            shop: file.shop,
            currency: file.currency,
            items: file.item,
            names,
        };
        let length = crate::replies::menu(&menu).chars().count();
        if length > LONGEST_REPLY {
            return Err(MenuError::TooLong(length));
        }
        Ok(menu)
    }

    /// What the shop calls itself.
    pub fn shop(&self) -> &str {
        &self.shop
    }

    /// In the order of the file.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The item, which is there for every id that this menu gave out.
    pub fn get(&self, ItemId(index): ItemId) -> Option<&Item> {
        self.items.get(index)
    }

    /// The item with exactly this name, as a cart remembers it. Nothing if the menu has changed since.
    pub fn named(&self, name: &str) -> Option<ItemId> {
        let index = self.items.iter().position(|item| item.name == name)?;
        Some(ItemId(index))
    }

    /// All names as folded words, the longest first.
    pub(crate) fn names(&self) -> &[(Vec<String>, ItemId)] {
        &self.names
    }

    /// An amount as customers read it.
    pub fn money(&self, cents: i64) -> String {
        format!("{} {}.{:02}", self.currency, cents / 100, cents % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn menu_of(items: &str) -> Result<Menu, MenuError> {
        Menu::from_toml(&format!("shop = \"x\"\ncurrency = \"$\"\n{items}"))
    }

    fn item(name: &str, more: &str) -> String {
        format!("[[item]]\nname = {name:?}\nprice = 100\n{more}\n")
    }

    #[test]
    fn the_built_in_menu_is_sound() {
        let menu = Menu::from_toml(BUILT_IN).unwrap();
        let coke = menu.named("Coke").unwrap();
        assert_eq!(menu.get(coke).unwrap().cents, 280);
        assert_eq!(menu.money(1005), "€ 10.05");
    }

    #[test]
    fn every_mistake_is_found_before_a_customer_finds_it() {
        let two = |a: &str, b: &str| format!("{}{}", item(a, ""), item(b, ""));
        let many: String = (0..200)
            .map(|n| item(&format!("Dish number{n}x"), ""))
            .collect();
        for (items, expected) in [
            (String::new(), "there is no [[item]]"),
            (two("Coke", "cokes"), "\"cokes\" belongs to two items"),
            (item("!!", ""), "expected letters or digits"),
            (item("Menu", ""), "customers say something else"),
            (
                item("Coke", "synonyms = [\"2\"]"),
                "customers say something else",
            ),
            (item("Coke", "price_in_euros = 3"), "unknown field"),
            (many, "WhatsApp takes 1600"),
        ] {
            let error = menu_of(&items).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let negative = "[[item]]\nname = \"Coke\"\nprice = -1\n";
        assert_eq!(
            menu_of(negative).unwrap_err(),
            MenuError::Price("Coke".to_owned())
        );
        let fraction = "[[item]]\nname = \"Coke\"\nprice = 2.5\n";
        assert!(matches!(menu_of(fraction), Err(MenuError::Syntax(_))));
    }

    #[test]
    fn a_synonym_that_only_differs_in_its_plural_is_no_mistake() {
        assert!(menu_of(&item("Coke", "synonyms = [\"cokes\", \"COKE\"]")).is_ok());
    }
}
