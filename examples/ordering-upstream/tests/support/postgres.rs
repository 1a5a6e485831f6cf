//! A PostgreSQL server for the tests of this process: on a Unix socket in a temporary directory, gone when the process is.

// Each of the test programs uses a part of it.
#![allow(dead_code, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes a cluster, serves it as somebody who is not root, and removes it when standard input ends, which it does
/// however this process dies. A line of standard input is an order, answered by a line when it is done: `stop` stops the
/// server at once, `start` starts it again; `hang` makes every one of its processes do nothing, `resume` lets them go on.
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
listen=
if [ -n "$CERTIFICATE" ]; then
  # Written by whom the server runs as, which will not read a key that is anybody else's.
  $as sh -c 'umask 077; cat >data/server.crt' <"$CERTIFICATE"
  $as sh -c 'umask 077; cat >data/server.key' <"$KEY"
  $as sh -c 'cat >data/pg_hba.conf' <<HBA
local all all trust
hostnossl open all 127.0.0.1/32 scram-sha-256
hostssl all all 127.0.0.1/32 scram-sha-256
HBA
  listen="-c ssl=on -c listen_addresses=127.0.0.1"
fi
serve() {
  $as $env "$BIN/postgres" -D data -k "$home" -h '' -p "$PORT" -c max_connections=200 -c shared_buffers=16MB $listen >>log 2>&1 </dev/null &
  server=$!
  for _ in $(seq 600); do
    ! $env "$BIN/pg_isready" -q -h "$home" -p "$PORT" || return 0
    kill -0 "$server" || break
    sleep 0.05
  done
  cat log >&2
  exit 1
}
# To the server first, which makes no more processes then. They are in sessions of their own, so there is no group.
signal() {
  kill -s "$1" "$server" 2>/dev/null || true
  for stat in /proc/[0-9]*/stat; do
    { read -r process name _ parent _ <"$stat"; } 2>/dev/null || continue
    [ "$name $parent" != "(postgres) $server" ] || kill -s "$1" "$process" 2>/dev/null || true
  done
}
stop() {
  # What does nothing does not end either.
  signal CONT
  kill -QUIT "$server" 2>/dev/null || true
  wait "$server" || true
}
serve
echo "$home"
while read -r order; do
  case $order in
    start) serve ;;
    stop) stop ;;
    hang) signal STOP ;;
    resume) signal CONT ;;
  esac
  echo "$order"
done
stop
"#;

/// What the password of `shop` is for those who come by TCP.
pub(crate) const PASSWORD: &str = "s3cret";

/// A server, which ends with the process.
pub(crate) struct Server {
    keeper: Child,
    said: BufReader<std::process::ChildStdout>,
    directory: String,
    pub(crate) port: u16,
}

impl Server {
    /// Starts one, where PostgreSQL can be had.
    pub(crate) fn start() -> Option<Self> {
        // The number is in the socket's name only.
        Self::start_at(5432, None)
    }

    /// Starts one that also listens on loopback, with this certificate and its key. Whoever comes that way needs the
    /// password, and TLS unless the database is called `open`.
    pub(crate) fn start_with_tls(port: u16, certificate: &Path, key: &Path) -> Option<Self> {
        let server = Self::start_at(port, Some((certificate, key)))?;
        let set = format!("ALTER ROLE shop PASSWORD '{PASSWORD}'");
        server.run("psql", &["-q", "-c", &set, "postgres"]);
        Some(server)
    }

    fn start_at(port: u16, certificate: Option<(&Path, &Path)>) -> Option<Self> {
        let binaries = binaries()?;
        let (certificate, key) = certificate.unwrap_or((Path::new(""), Path::new("")));
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .env("BIN", binaries)
            .env("PORT", port.to_string())
            .env("CERTIFICATE", certificate)
            .env("KEY", key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(keeper.stdout.take().unwrap());
        let mut server = Self {
            keeper,
            said,
            directory: String::new(),
            port,
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

    fn order(&mut self, order: &str) {
        let stdin = self.keeper.stdin.as_mut().unwrap();
        stdin.write_all(format!("{order}\n").as_bytes()).unwrap();
        assert_eq!(self.hear(), order);
    }

    /// SIGQUIT: no commit that is under way is finished, as if the machine had stopped.
    pub(crate) fn stop(&mut self) {
        self.order("stop");
    }

    pub(crate) fn start_again(&mut self) {
        self.order("start");
    }

    /// SIGSTOP to all of it: connections stay, and nothing is answered.
    pub(crate) fn hang(&mut self) {
        self.order("hang");
    }

    pub(crate) fn resume(&mut self) {
        self.order("resume");
    }

    /// The URL of a new and empty database.
    pub(crate) fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("orders{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.create(&name);
        let socket = self.directory.replace('/', "%2F");
        format!("postgres://shop@{socket}:{}/{name}", self.port)
    }

    /// Makes an empty database.
    pub(crate) fn create(&self, name: &str) {
        self.run("createdb", &[name]);
    }

    /// Runs one of PostgreSQL's programs on it.
    fn run(&self, program: &str, arguments: &[&str]) {
        let ended = Command::new(binaries().unwrap().join(program))
            .args(["-h", &self.directory, "-U", "shop"])
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .status();
        assert!(ended.unwrap().success());
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
