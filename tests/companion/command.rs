//! Running the binary.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The command without the environment of whoever runs the tests.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twilio-webhook"));
    for name in [
        "TWILIO_AUTH_TOKEN",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_SHARED_KEY_SECRET",
        "WEBHOOK_URL",
        "FORCE_TWILIO_VERIFY",
        "TWILIO_CLOCK_SKEW_MS",
        "TWILIO_NONCE_WINDOW_MS",
    ] {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// What a command has printed, and its exit status.
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran {
            status: output.status.code().expect("no signal"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// Runs a command with this environment and nothing on standard input.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = command(arguments);
    command.envs(environment.iter().copied());
    command.stdin(Stdio::null());
    command.output().expect("the binary runs").into()
}

/// Runs a command with this on standard input.
pub fn run_with(arguments: &[&str], environment: &[(&str, &str)], stdin: &[u8]) -> Ran {
    let mut command = command(arguments);
    command.envs(environment.iter().copied());
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // It may end before it has read everything.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin);
    child.wait_with_output().expect("it ends").into()
}

/// Writes a file and returns its path.
pub fn file(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}
