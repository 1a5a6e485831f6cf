//! The life of the process, from the first socket to the last message in hand.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::guard::{self, Guard};
use crate::menu::{self, Menu};
use crate::processing::{self, Shop};
use crate::sending;
use crate::store::{Location, Store, StoreError};
use crate::twilio::Twilio;
use crate::{inspection, kitchen, log, webhook};

/// How long requests in hand may take once the service was told to stop. What supervises it kills it after
/// ten seconds (Docker) or thirty (Kubernetes).
const DRAIN: Duration = Duration::from_secs(8);

/// Why the service could not start, or stopped by itself.
#[derive(Debug)]
pub enum ServerError {
    /// The address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
    /// The menu cannot be read, or there is something wrong with it.
    Menu(PathBuf, String),
    /// The database cannot be opened.
    Open(Location, StoreError),
    /// The database went away.
    Database(StoreError),
    /// The operating system refused something else.
    System(std::io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(out, "cannot listen on {address}: {error}"),
            Self::Menu(path, error) => write!(out, "the menu {}: {error}", path.display()),
            Self::Open(location, error) => write!(out, "cannot open {location}: {error}"),
            Self::Database(error) => error.fmt(out),
            Self::System(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for ServerError {}

impl From<std::io::Error> for ServerError {
    fn from(error: std::io::Error) -> Self {
        Self::System(error)
    }
}

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    /// The database.
    pub store: Store,
    /// The shop.
    pub shop: Shop,
}

impl FromRef<App> for Store {
    fn from_ref(app: &App) -> Self {
        app.store.clone()
    }
}

impl FromRef<App> for Shop {
    fn from_ref(app: &App) -> Self {
        app.shop.clone()
    }
}

/// All routes.
pub fn router(app: App, guard: Guard) -> Router {
    // What shows or changes what customers wrote.
    let guarded = Router::new()
        .route("/orders", get(kitchen::page))
        .route("/orders.json", get(kitchen::list))
        .route("/orders/{number}/state", post(kitchen::move_order))
        .route("/messages", get(inspection::messages))
        // On these routes only: to any other path the answer is 404, whoever asks.
        .route_layer(from_fn_with_state(guard, guard::guard));
    Router::new()
        .route(webhook::PATH, post(webhook::receive))
        .layer(DefaultBodyLimit::max(webhook::MAX_BODY_BYTES))
        .route("/healthz", get(inspection::health))
        .merge(guarded)
        .with_state(app)
}

fn read_menu(path: Option<PathBuf>) -> Result<Menu, ServerError> {
    let (path, text) = match path {
        None => ("(built in)".into(), Ok(menu::BUILT_IN.to_owned())),
        Some(path) => {
            let text = std::fs::read_to_string(&path);
            (path, text)
        }
    };
    let menu = match text {
        Ok(text) => Menu::from_toml(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    menu.map_err(|error| ServerError::Menu(path, error))
}

/// Runs the service until SIGTERM or SIGINT, then finishes what is in hand.
pub async fn run(config: Config) -> Result<(), ServerError> {
    // Before anything else, so that a signal right after the ready line is a request and not a kill.
    let (tell, stop) = watch::channel(false);
    stop_on_signal(tell.clone())?;

    // The socket comes first: a second instance by mistake fails here, before it touches the database.
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.map_err(|error| ServerError::Listen(config.listen, error))?;
    let address = listener.local_addr()?;
    let shop = Shop {
        menu: Arc::new(read_menu(config.menu)?),
        sends: config.twilio.is_some(),
    };
    let (kept, by) = (config.database.to_string(), config.database.backend());
    let store = Store::open(config.database.clone()).await;
    let store = store.map_err(|error| ServerError::Open(config.database, error))?;
    log::line(format_args!("orders are kept by {by} in {kept}"));

    // A service that only stores and never processes or replies is worse than one that is restarted.
    let worker = tokio::spawn({
        let (store, shop, stop, tell) = (store.clone(), shop.clone(), stop.clone(), tell.clone());
        async move {
            let result = processing::run(store, shop, stop).await;
            tell.send_replace(true);
            result
        }
    });
    let sender = tokio::spawn({
        let (store, stop, backoff) = (store.clone(), stop.clone(), config.backoff);
        let twilio = config.twilio.as_ref().map(Twilio::new);
        async move {
            let result = match twilio {
                Some(twilio) => sending::run(store, twilio, backoff, stop).await,
                None => Ok(()),
            };
            if result.is_err() {
                tell.send_replace(true);
            }
            result
        }
    });
    if !shop.sends {
        log::line("TWILIO_API_URL is not set: replies are recorded and not sent");
    }
    // Not `println!`, which panics where nobody reads.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());

    let app = App {
        store: store.clone(),
        shop,
    };
    serve(listener, router(app, Guard::new(config.password)), stop).await?;

    let (worked, sent) = (worker.await, sender.await);
    store.close().await;
    for ended in [worked, sent] {
        match ended {
            Ok(result) => result.map_err(ServerError::Database)?,
            Err(error) => return Err(ServerError::System(error.into())),
        }
    }
    Ok(())
}

/// Serves until `stop` holds `true` and all requests are answered, or [`DRAIN`] has passed.
async fn serve(
    listener: TcpListener,
    router: Router,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let server = axum::serve(listener, router).with_graceful_shutdown(stopped(stop.clone()));
    let too_late = async {
        stopped(stop).await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = server => result,
        () = too_late => {
            log::line("stopping with requests still open");
            Ok(())
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left to say it, which is the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn stop_on_signal(tell: watch::Sender<bool>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tell.send_replace(true);
    });
    Ok(())
}
