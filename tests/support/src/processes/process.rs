//! Child processes that end when the test does, however it ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::http1::PATIENCE;
pub use crate::repository;

/// A file of the repository, or where `variable` says it is.
pub fn tool(variable: &str, default: &str) -> Result<PathBuf, String> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => repository().join(default),
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "{} does not exist: run scripts/setup, or point {variable} to it",
            path.display()
        ))
    }
}

/// What `scripts/setup --tests` installs into a directory of `target/tools`, or where `variable` says it is.
pub fn installed(variable: &str, name: &str) -> PathBuf {
    let home = match std::env::var_os(variable) {
        Some(home) => PathBuf::from(home),
        None => repository().join("target/tools").join(name),
    };
    assert!(
        home.is_dir(),
        "{} does not exist: run scripts/setup --tests, or point {variable} to what it installed",
        home.display()
    );
    home
}

/// A command that runs a script of the tests with Node.js, and with what is installed there.
pub fn node(script: &str, home: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(repository().join(script)).arg(home);
    command
}

/// The same with Python, and nothing of this machine's own packages.
pub fn python(script: &str, home: &Path) -> Command {
    let mut command = Command::new("python3");
    let script = repository().join(script);
    command
        .args(["-I", "-B"])
        .arg(script)
        .arg(home.join("python"));
    command
}

/// A port below the range from which the kernel takes its own, so that nobody takes it between now and
/// its use (or, for the tap that rejects for a while, between two uses).
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_100 + (std::process::id() % 200) as u16 * 100;
    for _ in 0..20_000 {
        let port = 10_100 + (start - 10_100 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1");
}

/// Asks again and again until `found` finds something, however busy the machine is.
pub async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a test, which may not take longer than this. (Boxed: the runtime is compiled once and not for each test.)
pub fn in_time(limit: Duration, test: Pin<Box<dyn Future<Output = ()> + '_>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let is_in_time = runtime.block_on(async { tokio::time::timeout(limit, test).await.is_ok() });
    runtime.shutdown_background();
    assert!(is_in_time, "the test takes longer than {limit:?}");
}

/// A child process, killed on drop. A second process, a shell that waits for the end of its input, does
/// the same where no drop runs: for a process that lives in a `static`, and when the tests are interrupted or
/// killed.
pub struct Process {
    child: Child,
    watchdog: Child,
}

impl Process {
    /// Starts `command` with output to `log`. `scratch` is deleted with the process.
    pub fn start(command: &mut Command, stdout: &Path, stderr: &Path, scratch: &Path) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(stdout).expect("a log file"))
            .stderr(File::create(stderr).expect("a log file"))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let watchdog = Command::new("sh")
            .args([
                "-c",
                r#"trap '' HUP INT TERM; read -r _ || { kill -9 "$1"; rm -rf "$2"; } 2>/dev/null"#,
                "watchdog",
            ])
            .args([OsStr::new(&child.id().to_string()), scratch.as_os_str()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh starts");
        Self { child, watchdog }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A line tells the watchdog that there is nothing left to kill.
        if let Some(mut stdin) = self.watchdog.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
    }
}
