//! Customers, their carts, orders.

use serde::Serialize;

use super::database::{Row, Statements};
use super::{End, Store, StoreError, outbox};
use crate::incoming::Sender;
use crate::menu::Menu;
use crate::orders::OrderState;
use crate::replies;
use crate::session::{Address, Asked, Line, OpenOrder, Session};

/// How many orders that are over the kitchen sees.
const LISTED_AS_DONE: u32 = 10;

/// How many open orders the kitchen sees at once, the oldest.
const LISTED_AS_OPEN: u32 = 200;

/// An order as the kitchen sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KitchenOrder {
    /// By which customer and kitchen name it.
    pub number: i64,
    /// How far it is.
    pub state: OrderState,
    /// Where it goes if all is well.
    pub next: Option<OrderState>,
    /// As the customer calls himself; anything at all.
    pub name: String,
    /// The telephone number.
    pub phone: String,
    /// Where to deliver.
    pub address: String,
    /// Latitude and longitude, where the customer shared a location.
    pub location: Option<(f64, f64)>,
    /// A wish for the kitchen.
    pub note: Option<String>,
    /// What to make.
    pub lines: Vec<KitchenLine>,
    /// In cents.
    pub total_cents: i64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Minutes since then.
    pub age_minutes: i64,
    /// Whether the newest message about it did not get to the customer.
    pub unreachable: bool,
}

/// So many of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KitchenLine {
    /// How many.
    pub quantity: u32,
    /// What.
    pub name: String,
}

/// What became of the kitchen's wish to move an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It is there now.
    Done,
    /// There is no such order.
    NoSuchOrder,
    /// It is not where the kitchen saw it, but here; or the step does not exist.
    Not(OrderState),
}

impl Store {
    /// The open orders, oldest first, and behind them the newest that are over.
    pub async fn kitchen_orders(&self) -> Result<Vec<KitchenOrder>, StoreError> {
        self.call(|database| kitchen_orders(database)).await
    }

    /// Moves an order, and tells the customer. `from` is the state that the kitchen saw: with it, a second tap on a
    /// button, or the same button on another tablet, does not move it twice.
    pub async fn move_order(
        &self,
        number: i64,
        from: OrderState,
        to: OrderState,
        sends: bool,
    ) -> Result<Moved, StoreError> {
        let moved = self.transact(move |database| {
            let found = database.first(
                "SELECT state, contact, shop FROM orders
                 JOIN customers ON customers.id = customer_id WHERE orders.id = ?1",
                &[number.into()],
            )?;
            let Some(mut row) = found else {
                return Ok(End::Drop(Moved::NoSuchOrder));
            };
            let state = take_state(&mut row, 0)?;
            if state != from || !state.may_become(to) {
                return Ok(End::Drop(Moved::Not(state)));
            }
            set_state(database, number, to)?;
            let reply = outbox::NewReply {
                message: None,
                order: Some(number),
                sender: row.take(2)?,
                recipient: row.take(1)?,
                body: replies::moved(number, to),
            };
            outbox::queue(database, &reply, sends)?;
            Ok(End::Keep(Moved::Done))
        });
        let result = moved.await;
        // Told of errors, too: where the connection broke, the reply may be there all the same.
        if matches!(result, Ok(Moved::Done) | Err(_)) {
            self.queued.notify_one();
        }
        result
    }
}

/// A customer's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerId(i64);

/// Finds the customer or makes one, and remembers how to answer from now on.
pub fn customer(database: &mut dyn Statements, sender: &Sender) -> Result<CustomerId, StoreError> {
    let row = database.first(
        "INSERT INTO customers (wa_id, contact, shop, name) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (wa_id) DO UPDATE SET contact = ?2, shop = ?3,
             name = CASE ?4 WHEN '' THEN customers.name ELSE ?4 END
         RETURNING id",
        &[
            (&sender.wa_id).into(),
            (&sender.contact).into(),
            (&sender.shop).into(),
            (&sender.name).into(),
        ],
    )?;
    let mut row = row.ok_or(StoreError::Unexpected("the customer has no row"))?;
    row.take(0).map(CustomerId)
}

/// What is remembered of a customer. What the menu no longer has is no longer in the cart.
pub fn session(
    database: &mut dyn Statements,
    CustomerId(id): CustomerId,
    menu: &Menu,
) -> Result<Session, StoreError> {
    let row = database.first(
        "SELECT last_item, address, latitude, longitude, note, asked FROM customers WHERE id = ?1",
        &[id.into()],
    )?;
    let mut row = row.ok_or(StoreError::Unexpected("the customer has no row"))?;
    let last: Option<String> = row.take(0)?;
    let address: Option<String> = row.take(1)?;
    let location = row.take::<Option<f64>>(2)?.zip(row.take(3)?);
    let mut session = Session {
        cart: Vec::new(),
        last: last.and_then(|name| menu.named(&name)),
        address: address.map(|text| Address { text, location }),
        note: row.take(4)?,
        asked: Asked::from_name(&row.take::<String>(5)?),
    };
    let rows = database.rows(
        "SELECT item, quantity FROM cart_lines WHERE customer_id = ?1 ORDER BY position",
        &[id.into()],
    )?;
    for mut row in rows {
        if let Some(item) = menu.named(&row.take::<String>(0)?) {
            let quantity = row.take(1)?;
            session.cart.push(Line { item, quantity });
        }
    }
    Ok(session)
}

/// Remembers a customer's session.
pub fn keep_session(
    database: &mut dyn Statements,
    CustomerId(id): CustomerId,
    session: &Session,
    menu: &Menu,
) -> Result<(), StoreError> {
    let name = |item| menu.get(item).map(|item| item.name.as_str());
    let address = session.address.as_ref();
    let location = address.and_then(|address| address.location);
    database.rows(
        "UPDATE customers SET last_item = ?2, address = ?3, latitude = ?4, longitude = ?5,
             note = ?6, asked = ?7 WHERE id = ?1",
        &[
            id.into(),
            session.last.and_then(name).into(),
            address.map(|address| &address.text).into(),
            location.map(|(latitude, _)| latitude).into(),
            location.map(|(_, longitude)| longitude).into(),
            (&session.note).into(),
            session.asked.name().into(),
        ],
    )?;
    database.rows(
        "DELETE FROM cart_lines WHERE customer_id = ?1",
        &[id.into()],
    )?;
    for (position, line) in (0_i64..).zip(&session.cart) {
        database.rows(
            "INSERT INTO cart_lines (customer_id, position, item, quantity)
             VALUES (?1, ?2, ?3, ?4)",
            &[
                id.into(),
                position.into(),
                name(line.item).into(),
                line.quantity.into(),
            ],
        )?;
    }
    Ok(())
}

/// The customer's orders that are not over, oldest first.
pub fn open_orders(
    database: &mut dyn Statements,
    CustomerId(id): CustomerId,
) -> Result<Vec<OpenOrder>, StoreError> {
    let rows = database.rows(
        "SELECT id, state, total_cents FROM orders
         WHERE customer_id = ?1 AND state NOT IN ('delivered', 'cancelled') ORDER BY id",
        &[id.into()],
    )?;
    let orders = rows.into_iter().map(|mut row| {
        Ok(OpenOrder {
            number: row.take(0)?,
            state: take_state(&mut row, 1)?,
            total: row.take(2)?,
        })
    });
    orders.collect()
}

/// Makes an order of the cart and returns its number. Names and prices are copied: what was ordered does not change
/// with the menu.
pub fn place(
    database: &mut dyn Statements,
    CustomerId(id): CustomerId,
    session: &Session,
    menu: &Menu,
) -> Result<i64, StoreError> {
    let address = session.address.as_ref();
    let location = address.and_then(|address| address.location);
    let row = database.first(
        "INSERT INTO orders
             (customer_id, state, name, address, latitude, longitude, note, total_cents)
         SELECT id, ?2, name, ?3, ?4, ?5, ?6, ?7 FROM customers WHERE id = ?1
         RETURNING id",
        &[
            id.into(),
            OrderState::Received.name().into(),
            address.map_or("", |address| address.text.as_str()).into(),
            location.map(|(latitude, _)| latitude).into(),
            location.map(|(_, longitude)| longitude).into(),
            (&session.note).into(),
            session.total(menu).into(),
        ],
    )?;
    let mut row = row.ok_or(StoreError::Unexpected("the customer has no row"))?;
    let number: i64 = row.take(0)?;
    for (position, line) in (0_i64..).zip(&session.cart) {
        if let Some(item) = menu.get(line.item) {
            database.rows(
                "INSERT INTO order_lines (order_id, position, name, quantity, unit_cents)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                &[
                    number.into(),
                    position.into(),
                    (&item.name).into(),
                    line.quantity.into(),
                    item.cents.into(),
                ],
            )?;
        }
    }
    Ok(number)
}

/// Moves an order without asking whether it may.
pub fn set_state(
    database: &mut dyn Statements,
    number: i64,
    state: OrderState,
) -> Result<(), StoreError> {
    database.rows(
        "UPDATE orders SET state = ?2, updated_at = {now} WHERE id = ?1",
        &[number.into(), state.name().into()],
    )?;
    Ok(())
}

fn take_state(row: &mut Row, column: usize) -> Result<OrderState, StoreError> {
    let name: String = row.take(column)?;
    OrderState::from_name(&name).ok_or(StoreError::Unexpected("an order is in an unknown state"))
}

fn kitchen_orders(database: &mut dyn Statements) -> Result<Vec<KitchenOrder>, StoreError> {
    const ORDER: &str = "SELECT orders.id, state, orders.name, wa_id, orders.address,
            orders.latitude, orders.longitude, orders.note, total_cents, created_at, {minutes},
            coalesce((SELECT replies.state = 'failed' OR status IN ('failed', 'undelivered')
                      FROM replies LEFT JOIN deliveries USING (sid)
                      WHERE order_id = orders.id ORDER BY replies.id DESC LIMIT 1), FALSE)
         FROM orders JOIN customers ON customers.id = customer_id";
    const OPEN: &str = "WHERE state NOT IN ('delivered', 'cancelled') ORDER BY orders.id LIMIT ?1";
    const DONE: &str =
        "WHERE state IN ('delivered', 'cancelled') ORDER BY updated_at DESC LIMIT ?1";
    let mut orders = Vec::new();
    for (which, limit) in [(OPEN, LISTED_AS_OPEN), (DONE, LISTED_AS_DONE)] {
        for mut row in database.rows(&format!("{ORDER} {which}"), &[limit.into()])? {
            let state = take_state(&mut row, 1)?;
            orders.push(KitchenOrder {
                number: row.take(0)?,
                state,
                next: state.next(),
                name: row.take(2)?,
                phone: format!("+{}", row.take::<String>(3)?),
                address: row.take(4)?,
                location: row.take::<Option<f64>>(5)?.zip(row.take(6)?),
                note: row.take(7)?,
                lines: Vec::new(),
                total_cents: row.take(8)?,
                created_at: row.take(9)?,
                age_minutes: row.take(10)?,
                unreachable: row.take(11)?,
            });
        }
    }
    for order in &mut orders {
        let rows = database.rows(
            "SELECT quantity, name FROM order_lines WHERE order_id = ?1 ORDER BY position",
            &[order.number.into()],
        )?;
        let lines = rows.into_iter().map(|mut row| {
            Ok(KitchenLine {
                quantity: row.take(0)?,
                name: row.take(1)?,
            })
        });
        order.lines = lines.collect::<Result<_, StoreError>>()?;
    }
    Ok(orders)
}
