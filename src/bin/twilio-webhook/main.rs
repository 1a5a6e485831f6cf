//! `twilio-webhook`: signs, sends and explains Twilio's webhooks, and checks what an operator has of the filter.
//!
//! The command line only: what it says about a request is the filter's own code, by way of
//! `twilio_webhook_filter::companion`.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented
    )
)]

mod check_config;
mod explain;
mod failure;
mod input;
mod interrupt;
mod key;
mod manifest;
mod manual;
mod output;
mod report;
mod send;
mod sign;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::failure::{Ended, Failure};
use crate::output::{Colour, Output};

/// Signs, sends and explains Twilio's webhooks, and checks what an operator has of the filter.
#[derive(Parser)]
#[command(name = "twilio-webhook", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// When to colour the output. NO_COLOR is respected.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Colour,
}

const AFTER_HELP: &str = "\
Auth tokens come from TWILIO_AUTH_TOKEN, a file (--token-file) or a prompt, never from an argument.

Exit status: 0 it verifies, passes, or is right; 1 it does not; 2 the command or its input is wrong.";

#[derive(Subcommand)]
enum Command {
    /// Print the headers that make a request pass.
    Sign(sign::Arguments),
    /// Send a signed request as Twilio does, and show what comes back.
    Send(send::Arguments),
    /// Say whether a captured request verifies and, if not, why: by the filter's own diagnosis.
    Explain(explain::Arguments),
    /// Say what the filter's loader says of a configuration, and what is risky around it.
    CheckConfig(check_config::Arguments),
    /// Say what Envoy's log says: verdicts by webhook and hour, hints with what to do, addresses.
    Report(report::Arguments),
    /// Print a script that completes commands in a shell.
    Completions(manual::Completions),
    /// Print the manual page, or write all of them.
    Man(manual::Man),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new(cli.json, cli.color);
    let ended = match cli.command {
        Command::Sign(arguments) => sign::run(&arguments, &mut out),
        Command::Send(arguments) => send::run(&arguments, &mut out),
        Command::Explain(arguments) => explain::run(&arguments, &mut out),
        Command::CheckConfig(arguments) => check_config::run(&arguments, &mut out),
        Command::Report(arguments) => report::run(&arguments, &mut out),
        Command::Completions(arguments) => {
            manual::completions(&arguments, Cli::command(), &mut out)
        }
        Command::Man(arguments) => manual::man(&arguments, Cli::command(), &mut out),
    };
    let ended = ended.and_then(|ended| out.flush().map(|()| ended));
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Badly) => ExitCode::from(1),
        // Whoever read it has read enough.
        Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nowhere left to say that this failed, too.
            let _ = output::complain(&failure.to_string());
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
