//! Who may see orders and messages, and change them.
//!
//! With a password: whoever knows it, by HTTP basic authentication with any user name. Without one the service listens
//! on loopback only, and whoever is on the machine may; then the `Host` must be a name of the machine itself, or a page
//! on the internet whose name suddenly leads to 127.0.0.1 could read along in the kitchen's browser.
//!
//! What changes something must come from the page itself: a header that no form can send and no other site's script may,
//! and no `Origin` but our own.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, http};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;

use crate::log;

/// The header that the page sends with what changes something.
pub const FROM_PAGE: &str = "x-kitchen";

/// Wrong passwords are answered one after the other, each after this long.
const WRONG_PASSWORD_PAUSE: Duration = Duration::from_millis(300);

/// A password that cannot be printed, and is compared in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes it from the environment.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether it is this one. Digests are compared, so that not even its length shows in the time that it takes.
    fn is(&self, other: &str) -> bool {
        let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let same = digest(&self.0).as_ref().ct_eq(digest(other).as_ref());
        same.into()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Password(…)")
    }
}

/// The check, to be put before routes.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    password: Option<Password>,
    wrong: Arc<Mutex<()>>,
}

/// Why a request may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The password is missing or wrong.
    Password,
    /// The name in `Host` is not one of this machine.
    Host,
    /// What changes something did not come from the page.
    NotFromPage,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, message) = match self {
            Self::Password => (
                StatusCode::UNAUTHORIZED,
                "wrong_password",
                "The kitchen's password is needed.",
            ),
            Self::Host => (
                StatusCode::FORBIDDEN,
                "wrong_host",
                "Without a password this is there for the machine itself only: use localhost or 127.0.0.1.",
            ),
            Self::NotFromPage => (
                StatusCode::FORBIDDEN,
                "not_from_page",
                "Orders are changed from the page at /orders only.",
            ),
        };
        let body = Json(json!({"error": error, "message": message}));
        let mut response = (status, body).into_response();
        if self == Self::Password {
            let challenge = HeaderValue::from_static("Basic realm=\"kitchen\", charset=\"UTF-8\"");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl Guard {
    /// With a password or, on loopback, without one.
    pub fn new(password: Option<Password>) -> Self {
        Self {
            password,
            wrong: Arc::default(),
        }
    }

    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = text(headers, header::HOST);
        match &self.password {
            Some(password) => {
                let given = text(headers, header::AUTHORIZATION).and_then(password_in);
                if !given.is_some_and(|given| password.is(&given)) {
                    return Err(Refusal::Password);
                }
            }
            None if host.is_some_and(is_this_machine) => {}
            None => return Err(Refusal::Host),
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        let ours = match text(headers, header::ORIGIN) {
            Some(origin) => origin.split_once("://").map(|(_, host)| host) == host,
            // Not every client sends one, but every browser does with what changes something.
            None => !headers.contains_key(header::ORIGIN),
        };
        if changes && !(ours && headers.contains_key(FROM_PAGE)) {
            return Err(Refusal::NotFromPage);
        }
        Ok(())
    }
}

/// Lets a request go on, or answers it.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            // A browser's first request has no password; that is no guess.
            if refusal == Refusal::Password && request.headers().contains_key(header::AUTHORIZATION)
            {
                let _one_at_a_time = guard.wrong.lock().await;
                log::line("a wrong password for the kitchen's page");
                tokio::time::sleep(WRONG_PASSWORD_PAUSE).await;
            }
            refusal.into_response()
        }
    };
    // Names, addresses and telephone numbers stay out of caches.
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn password_in(authorization: &str) -> Option<String> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(password.to_owned())
}

/// Whether a host, with or without a port, is a name that always leads to the machine itself.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        password: Option<&str>,
        method: Method,
        headers: &[(&'static str, &str)],
    ) -> Result<(), Refusal> {
        let guard = Guard::new(password.map(|text| Password::new(text.to_owned())));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        guard.check(&method, &map)
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn without_a_password_only_names_of_this_machine_lead_here() {
        for (host, expected) in [
            ("localhost:5000", Ok(())),
            ("LOCALHOST", Ok(())),
            ("127.0.0.1:5000", Ok(())),
            ("[::1]:5000", Ok(())),
            ("evil.example", Err(Refusal::Host)),
            ("localhost.evil.example:5000", Err(Refusal::Host)),
            ("127.0.0.1.evil.example", Err(Refusal::Host)),
            ("10.0.0.1:5000", Err(Refusal::Host)),
            ("", Err(Refusal::Host)),
        ] {
            assert_eq!(
                check(None, Method::GET, &[("host", host)]),
                expected,
                "{host}"
            );
        }
        assert_eq!(check(None, Method::GET, &[]), Err(Refusal::Host));
    }

    #[test]
    fn with_a_password_only_it_leads_here_whatever_the_user_is_called() {
        let password = "correct horse: battery";
        let get = |authorization: &str| {
            let headers = [("host", "shop.example"), ("authorization", authorization)];
            check(Some(password), Method::GET, &headers)
        };
        assert_eq!(get(&basic("kitchen:correct horse: battery")), Ok(()));
        assert_eq!(get(&basic(":correct horse: battery")), Ok(()));
        for wrong in [
            String::new(),
            "Basic".to_owned(),
            "Basic !!".to_owned(),
            basic("correct horse: battery"),
            basic("kitchen:"),
            basic("kitchen:correct horse: batter"),
            basic("kitchen:Correct horse: battery"),
            format!(
                "Bearer {}",
                STANDARD.encode("kitchen:correct horse: battery")
            ),
        ] {
            assert_eq!(get(&wrong), Err(Refusal::Password), "{wrong}");
        }
        let host = [("host", "localhost")];
        assert_eq!(
            check(Some(password), Method::GET, &host),
            Err(Refusal::Password)
        );
    }

    #[test]
    fn what_changes_something_comes_from_the_page_or_not_at_all() {
        let host = ("host", "localhost:5000");
        let page = ("x-kitchen", "1");
        for (headers, expected) in [
            (vec![host, page], Ok(())),
            (
                vec![host, page, ("origin", "http://localhost:5000")],
                Ok(()),
            ),
            (vec![host], Err(Refusal::NotFromPage)),
            (
                vec![host, ("origin", "http://localhost:5000")],
                Err(Refusal::NotFromPage),
            ),
            (
                vec![host, page, ("origin", "http://localhost:6000")],
                Err(Refusal::NotFromPage),
            ),
            (
                vec![host, page, ("origin", "https://evil.example")],
                Err(Refusal::NotFromPage),
            ),
            (
                vec![host, page, ("origin", "null")],
                Err(Refusal::NotFromPage),
            ),
        ] {
            assert_eq!(check(None, Method::POST, &headers), expected, "{headers:?}");
        }
        assert_eq!(
            check(None, Method::GET, &[host, ("origin", "null")]),
            Ok(())
        );
    }

    #[test]
    fn a_password_is_never_printed() {
        let password = Password::new("correct horse".to_owned());
        assert_eq!(format!("{password:?}"), "Password(…)");
    }
}
