//! A PostgreSQL server for the tests of this process: on a Unix socket in a temporary directory, gone when the process is.

// Each of the test programs uses a part of it.
#![allow(dead_code, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes a cluster, serves it as somebody who is not root, and removes it when standard input ends, which it does
/// however this process dies. A line of standard input stops the server at once, the next one starts it again.
const KEEPER: &str = r#"
set -eu
home=$(mktemp -d /tmp/orders-postgres.XXXXXX)
as=
if [ "$(id -u)" -eq 0 ]; then
  chown nobody "$home"
  as="setpriv --reuid nobody --regid nogroup --clear-groups"
fi
trap 'cd /; rm -rf "$home"' EXIT
# Programs under the home directory of root are copied to where nobody can read them.
if [ -n "$as" ] && ! $as test -x "$BIN/initdb"; then
  cp -a "$(dirname "$(readlink -f "$BIN")")" "$home/programs"
  BIN=$home/programs/bin
fi
cd "$home"
env="env -i PATH=/usr/bin:/bin TZ=UTC LC_ALL=C"
$as $env "$BIN/initdb" -D data -U shop -A trust -E UTF8 --locale C.UTF-8 --no-sync --no-instructions >log 2>&1 </dev/null ||
  { cat log >&2; exit 1; }
serve() {
  $as $env "$BIN/postgres" -D data -k "$home" -h '' -c max_connections=200 -c shared_buffers=16MB >>log 2>&1 </dev/null &
  server=$!
  for _ in $(seq 600); do
    ! $env "$BIN/pg_isready" -q -h "$home" || { echo "$home"; return; }
    kill -0 "$server" || break
    sleep 0.05
  done
  cat log >&2
  exit 1
}
serve
while read -r _; do
  kill -QUIT "$server"
  wait "$server" || true
  echo stopped
  read -r _ || break
  serve
done
kill -QUIT "$server" 2>/dev/null || true
wait "$server" || true
"#;

/// A server, which ends with the process.
pub(crate) struct Server {
    keeper: Child,
    said: BufReader<std::process::ChildStdout>,
    directory: String,
}

impl Server {
    /// Starts one, where PostgreSQL can be had.
    pub(crate) fn start() -> Option<Self> {
        let binaries = binaries()?;
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .env("BIN", binaries)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(keeper.stdout.take().unwrap());
        let mut server = Self {
            keeper,
            said,
            directory: String::new(),
        };
        server.directory = server.hear();
        assert!(server.directory.starts_with('/'), "no PostgreSQL server");
        Some(server)
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn tell(&mut self) -> String {
        self.keeper
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"\n")
            .unwrap();
        self.hear()
    }

    /// SIGQUIT: no commit that is under way is finished, as if the machine had stopped.
    pub(crate) fn stop(&mut self) {
        assert_eq!(self.tell(), "stopped");
    }

    pub(crate) fn start_again(&mut self) {
        assert_eq!(self.tell(), self.directory);
    }

    /// The URL of a new and empty database.
    pub(crate) fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("orders{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new(binaries().unwrap().join("createdb"))
            .args(["-h", &self.directory, "-U", "shop", &name])
            .status();
        assert!(made.unwrap().success());
        let socket = self.directory.replace('/', "%2F");
        format!("postgres://shop@{socket}/{name}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.said.read_to_end(&mut Vec::new());
        let _ = self.keeper.wait();
    }
}

/// The URL of a new and empty database on the server that all tests of this process share.
pub(crate) fn database() -> Option<String> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED
        .get_or_init(Server::start)
        .as_ref()
        .map(Server::database)
}

/// Where PostgreSQL's programs are: as scripts/setup links them, or `POSTGRES_BIN` names them.
fn binaries() -> Option<PathBuf> {
    let linked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/postgresql");
    let found = std::env::var_os("POSTGRES_BIN").map_or(linked, PathBuf::from);
    if found.join("postgres").exists() {
        return Some(found);
    }
    let required = std::env::var_os("REQUIRE_POSTGRES").is_some();
    assert!(!required, "there is no PostgreSQL in {}", found.display());
    println!("skipped for PostgreSQL: scripts/setup --tests gets it");
    None
}
