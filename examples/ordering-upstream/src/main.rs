//! Reads the configuration and runs the service until it is told to stop.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use ordering_upstream::{config::Config, log, server};

fn main() -> ExitCode {
    let config = match Config::from_environment() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(server::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    log::line(format_args!("error: {error}"));
    ExitCode::FAILURE
}
