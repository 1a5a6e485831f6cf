//! Customers, their carts, orders.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;

use super::{Store, StoreError, outbox};
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
        self.call(|connection| kitchen_orders(connection)).await
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
        let queued = std::sync::Arc::clone(&self.queued);
        self.call(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found = transaction
                .prepare_cached(
                    "SELECT state, contact, shop FROM orders
                     JOIN customers ON customers.id = customer_id WHERE orders.id = ?1",
                )?
                .query_row([number], |row| {
                    Ok((state_at(row, 0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((state, contact, shop)) = found else {
                return Ok(Moved::NoSuchOrder);
            };
            if state != from || !state.may_become(to) {
                return Ok(Moved::Not(state));
            }
            set_state(&transaction, number, to)?;
            let reply = outbox::NewReply {
                message: None,
                order: Some(number),
                sender: shop,
                recipient: contact,
                body: replies::moved(number, to),
            };
            outbox::queue(&transaction, &reply, sends)?;
            transaction.commit()?;
            queued.notify_one();
            Ok(Moved::Done)
        })
        .await
    }
}

/// A customer's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerId(i64);

/// Finds the customer or makes one, and remembers how to answer from now on.
pub fn customer(connection: &Connection, sender: &Sender) -> rusqlite::Result<CustomerId> {
    connection
        .prepare_cached(
            "INSERT INTO customers (wa_id, contact, shop, name) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (wa_id) DO UPDATE SET contact = ?2, shop = ?3,
                 name = CASE ?4 WHEN '' THEN name ELSE ?4 END
             RETURNING id",
        )?
        .query_row(
            params![sender.wa_id, sender.contact, sender.shop, sender.name],
            |row| row.get(0).map(CustomerId),
        )
}

/// What is remembered of a customer. What the menu no longer has is no longer in the cart.
pub fn session(
    connection: &Connection,
    CustomerId(id): CustomerId,
    menu: &Menu,
) -> rusqlite::Result<Session> {
    let mut session = connection
        .prepare_cached(
            "SELECT last_item, address, latitude, longitude, note, asked FROM customers WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let last: Option<String> = row.get(0)?;
            let address: Option<String> = row.get(1)?;
            let location = row.get::<_, Option<f64>>(2)?.zip(row.get(3)?);
            let asked: String = row.get(5)?;
            Ok(Session {
                cart: Vec::new(),
                last: last.and_then(|name| menu.named(&name)),
                address: address.map(|text| Address { text, location }),
                note: row.get(4)?,
                asked: Asked::from_name(&asked),
            })
        })?;
    let mut select = connection.prepare_cached(
        "SELECT item, quantity FROM cart_lines WHERE customer_id = ?1 ORDER BY position",
    )?;
    let mut rows = select.query([id])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let quantity = row.get(1)?;
        if let Some(item) = menu.named(&name) {
            session.cart.push(Line { item, quantity });
        }
    }
    Ok(session)
}

/// Remembers a customer's session.
pub fn keep_session(
    connection: &Connection,
    CustomerId(id): CustomerId,
    session: &Session,
    menu: &Menu,
) -> rusqlite::Result<()> {
    let name = |item| menu.get(item).map(|item| item.name.as_str());
    let address = session.address.as_ref();
    let location = address.and_then(|address| address.location);
    connection
        .prepare_cached(
            "UPDATE customers SET last_item = ?2, address = ?3, latitude = ?4, longitude = ?5,
                 note = ?6, asked = ?7 WHERE id = ?1",
        )?
        .execute(params![
            id,
            session.last.and_then(name),
            address.map(|address| &address.text),
            location.map(|(latitude, _)| latitude),
            location.map(|(_, longitude)| longitude),
            session.note,
            session.asked.name(),
        ])?;
    connection
        .prepare_cached("DELETE FROM cart_lines WHERE customer_id = ?1")?
        .execute([id])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO cart_lines (customer_id, position, item, quantity) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (position, line) in (0_i64..).zip(&session.cart) {
        insert.execute(params![id, position, name(line.item), line.quantity])?;
    }
    Ok(())
}

/// The customer's orders that are not over, oldest first.
pub fn open_orders(
    connection: &Connection,
    CustomerId(id): CustomerId,
) -> rusqlite::Result<Vec<OpenOrder>> {
    let mut select = connection.prepare_cached(
        "SELECT id, state, total_cents FROM orders
         WHERE customer_id = ?1 AND state NOT IN ('delivered', 'cancelled') ORDER BY id",
    )?;
    let rows = select.query_map([id], |row| {
        Ok(OpenOrder {
            number: row.get(0)?,
            state: state_at(row, 1)?,
            total: row.get(2)?,
        })
    })?;
    rows.collect()
}

/// Makes an order of the cart and returns its number. Names and prices are copied: what was ordered does not change
/// with the menu.
pub fn place(
    connection: &Connection,
    CustomerId(id): CustomerId,
    session: &Session,
    menu: &Menu,
) -> rusqlite::Result<i64> {
    let location = session
        .address
        .as_ref()
        .and_then(|address| address.location);
    let number = connection
        .prepare_cached(
            "INSERT INTO orders
                 (customer_id, state, name, address, latitude, longitude, note, total_cents)
             SELECT id, ?2, name, ?3, ?4, ?5, ?6, ?7 FROM customers WHERE id = ?1
             RETURNING id",
        )?
        .query_row(
            params![
                id,
                OrderState::Received.name(),
                session.address.as_ref().map_or("", |address| &address.text),
                location.map(|(latitude, _)| latitude),
                location.map(|(_, longitude)| longitude),
                session.note,
                session.total(menu)
            ],
            |row| row.get(0),
        )?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO order_lines (order_id, position, name, quantity, unit_cents)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, line) in (0_i64..).zip(&session.cart) {
        if let Some(item) = menu.get(line.item) {
            insert.execute(params![
                number,
                position,
                item.name,
                line.quantity,
                item.cents
            ])?;
        }
    }
    Ok(number)
}

/// Moves an order without asking whether it may.
pub fn set_state(connection: &Connection, number: i64, state: OrderState) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE orders SET state = ?2, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ')
             WHERE id = ?1",
        )?
        .execute(params![number, state.name()])?;
    Ok(())
}

fn state_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<OrderState> {
    let name: String = row.get(column)?;
    OrderState::from_name(&name).ok_or(rusqlite::Error::InvalidQuery)
}

fn kitchen_orders(connection: &Connection) -> rusqlite::Result<Vec<KitchenOrder>> {
    const ORDER: &str = "SELECT orders.id, state, orders.name, wa_id, orders.address,
            orders.latitude, orders.longitude, orders.note, total_cents, created_at,
            CAST((julianday('now') - julianday(created_at)) * 1440 AS INTEGER),
            coalesce((SELECT replies.state = 'failed' OR status IN ('failed', 'undelivered')
                      FROM replies LEFT JOIN deliveries USING (sid)
                      WHERE order_id = orders.id ORDER BY replies.id DESC LIMIT 1), 0)
         FROM orders JOIN customers ON customers.id = customer_id";
    let open = format!(
        "{ORDER} WHERE state NOT IN ('delivered', 'cancelled') ORDER BY orders.id LIMIT ?1"
    );
    let done = format!(
        "{ORDER} WHERE state IN ('delivered', 'cancelled') ORDER BY updated_at DESC LIMIT ?1"
    );
    let mut orders = Vec::new();
    for (sql, limit) in [(open, LISTED_AS_OPEN), (done, LISTED_AS_DONE)] {
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map([limit], |row| {
            let state = state_at(row, 1)?;
            Ok(KitchenOrder {
                number: row.get(0)?,
                state,
                next: state.next(),
                name: row.get(2)?,
                phone: row.get::<_, String>(3).map(|digits| format!("+{digits}"))?,
                address: row.get(4)?,
                location: row.get::<_, Option<f64>>(5)?.zip(row.get(6)?),
                note: row.get(7)?,
                lines: Vec::new(),
                total_cents: row.get(8)?,
                created_at: row.get(9)?,
                age_minutes: row.get(10)?,
                unreachable: row.get::<_, Option<bool>>(11)?.unwrap_or(false),
            })
        })?;
        for order in rows {
            orders.push(order?);
        }
    }
    let mut select = connection.prepare_cached(
        "SELECT quantity, name FROM order_lines WHERE order_id = ?1 ORDER BY position",
    )?;
    for order in &mut orders {
        let lines = select.query_map([order.number], |row| {
            Ok(KitchenLine {
                quantity: row.get(0)?,
                name: row.get(1)?,
            })
        })?;
        order.lines = lines.collect::<rusqlite::Result<_>>()?;
    }
    Ok(orders)
}
