//! `GET /orders`, the page for the kitchen, and what it works with: `GET /orders.json` and
//! `POST /orders/{number}/state`. [`crate::guard`] stands before all of them.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::log;
use crate::orders::OrderState;
use crate::processing::Shop;
use crate::store::shop::{KitchenOrder, Moved};
use crate::store::{Store, StoreError};

/// The page: one file, without anything from elsewhere.
const PAGE: &str = include_str!("kitchen.html");

/// Lets the browser run what is in the file and nothing else, whatever a customer's name may hold.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let inside = PAGE
            .split_once(&open)
            .and_then(|(_, rest)| rest.split_once(&close))
            .map_or("", |(inside, _)| inside);
        let digest = ring::digest::digest(&ring::digest::SHA256, inside.as_bytes());
        format!("'sha256-{}'", STANDARD.encode(digest))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
});

/// The page.
pub async fn page() -> Response {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, &POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE).into_response()
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    order: KitchenOrder,
    /// As customers read it.
    total: String,
}

/// What the page shows.
pub async fn list(State(store): State<Store>, State(shop): State<Shop>) -> Response {
    match store.kitchen_orders().await {
        Ok(orders) => {
            let show = |order: KitchenOrder| Shown {
                total: shop.menu.money(order.total_cents),
                order,
            };
            let orders: Vec<Shown> = orders.into_iter().map(show).collect();
            Json(json!({"shop": shop.menu.shop(), "orders": orders})).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

/// A tap on a button.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The state that the kitchen saw.
    from: OrderState,
    /// Where it wants the order.
    to: OrderState,
}

/// Moves an order.
pub async fn move_order(
    State(store): State<Store>,
    State(shop): State<Shop>,
    Path(number): Path<i64>,
    body: Result<Json<Move>, JsonRejection>,
) -> Response {
    let Json(Move { from, to }) = match body {
        Ok(body) => body,
        Err(rejection) => return problem(rejection.status(), "bad_body", &rejection.body_text()),
    };
    match store.move_order(number, from, to, shop.sends).await {
        Ok(Moved::Done) => {
            log::line(format_args!("order {number} is {}", to.name()));
            Json(json!({"number": number, "state": to})).into_response()
        }
        Ok(Moved::NoSuchOrder) => problem(
            StatusCode::NOT_FOUND,
            "no_such_order",
            "There is no such order.",
        ),
        Ok(Moved::Not(state)) => {
            let message = format!("The order is {} now.", state.name());
            problem(StatusCode::CONFLICT, "changed", &message)
        }
        Err(error) => unavailable(&error),
    }
}

fn problem(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({"error": error, "message": message}))).into_response()
}

fn unavailable(error: &StoreError) -> Response {
    log::line(format_args!("the database does not answer: {error}"));
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The database does not answer.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_loads_nothing() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1);
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1);
        }
        for loaded in [
            "src=",
            "@import",
            "http://",
            "https://",
            "innerHTML",
            "style=",
        ] {
            assert!(!PAGE.contains(loaded), "{loaded}");
        }
        // The hash of nothing would allow nothing.
        assert!(!POLICY.contains("47DEQpj8HBSa"));
    }
}
