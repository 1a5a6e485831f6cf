//! What a command reads.

use std::fs;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use twilio_webhook_filter::Timestamp;

use crate::failure::Failure;
use crate::output::complain;

/// Returns the content of a file, or of standard input for `-`.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return fs::read(path).map_err(|error| Failure::of_file(path, &error));
    }
    let mut stdin = io::stdin();
    if stdin.is_terminal() {
        complain("reading standard input; Ctrl-D ends it")?;
    }
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads what is there, or waits for something; 0 is the end. A signal, or a machine that stood still for a while, is no
/// error.
pub fn read_some(mut from: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        #[expect(clippy::disallowed_methods, reason = "what interrupts it is seen to")]
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Returns the current time.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().into()
}

/// Parses `NAME=VALUE`.
pub fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as Body='2 tacos'".into()),
    }
}
