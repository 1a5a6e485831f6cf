//! The life of the process, from the first socket to the last message in hand.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::store::{Store, StoreError};
use crate::{inspection, log, processing, webhook};

/// How long requests in hand may take once the service was told to stop. What supervises it kills it after
/// ten seconds (Docker) or thirty (Kubernetes).
const DRAIN: Duration = Duration::from_secs(8);

/// Why the service could not start, or stopped by itself.
#[derive(Debug)]
pub enum ServerError {
    /// The address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
    /// The database cannot be opened.
    Open(PathBuf, StoreError),
    /// The database went away.
    Database(StoreError),
    /// The operating system refused something else.
    System(std::io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(out, "cannot listen on {address}: {error}"),
            Self::Open(path, error) => write!(out, "cannot open {}: {error}", path.display()),
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

/// All routes, over one store.
pub fn router(store: Store) -> Router {
    Router::new()
        .route(webhook::PATH, post(webhook::receive))
        .layer(DefaultBodyLimit::max(webhook::MAX_BODY_BYTES))
        .route("/healthz", get(inspection::health))
        .route("/messages", get(inspection::messages))
        .with_state(store)
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
    let store = Store::open(config.database.clone()).await;
    let store = store.map_err(|error| ServerError::Open(config.database, error))?;

    let worker = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move {
            let result = processing::run(store, stop).await;
            // A service that only stores and never processes is worse than one that is restarted.
            tell.send_replace(true);
            result
        }
    });
    // Not `println!`, which panics where nobody reads.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());

    serve(listener, router(store.clone()), stop).await?;

    let worked = worker.await;
    store.close().await;
    match worked {
        Ok(result) => result.map_err(ServerError::Database),
        Err(error) => Err(ServerError::System(error.into())),
    }
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
