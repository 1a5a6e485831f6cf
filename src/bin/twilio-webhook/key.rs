//! The key: from the environment, a file or a prompt, never from an argument, which everybody on the machine can read.

use std::env::VarError;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use twilio_webhook_filter::Secret;
use twilio_webhook_filter::companion::configuration::{SigningSecret, problem_of_key};

use crate::failure::Failure;

/// Where the key comes from.
#[derive(Args, Clone)]
#[command(next_help_heading = "Key")]
pub struct KeyArguments {
    /// Read the auth token (or the shared key's secret) from a file.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Sign with the shared key that has this id: HMAC-SHA256. Its secret is in
    /// TWILIO_SHARED_KEY_SECRET, or in --token-file.
    #[arg(long, value_name = "ID")]
    pub shared_key: Option<String>,
    /// What nobody should do, caught to say why.
    #[arg(long, visible_alias = "auth-token", hide = true, value_name = "TOKEN")]
    token: Option<String>,
}

/// The variable with the auth token.
const AUTH_TOKEN: &str = "TWILIO_AUTH_TOKEN";
/// The variable with a shared key's secret.
const SHARED_SECRET: &str = "TWILIO_SHARED_KEY_SECRET";

impl KeyArguments {
    /// Returns the key. `account` is the account that an auth token belongs to, if that is known.
    pub fn key(&self, account: Option<String>) -> Result<SigningSecret, Failure> {
        if self.token.is_some() {
            return Failure::said(format_args!(
                "a token is no argument, since everybody on this machine can read it there, and \
                 shells remember it: put it into {AUTH_TOKEN}, or into a file (--token-file)"
            ));
        }
        let (variable, what) = match &self.shared_key {
            Some(_) => (SHARED_SECRET, "the shared key's secret"),
            None => (AUTH_TOKEN, "the auth token"),
        };
        let secret = Secret::new(self.secret(variable, what)?);
        Ok(match &self.shared_key {
            Some(id) => SigningSecret::SharedKey(secret, id.clone()),
            None => SigningSecret::AuthToken(secret, account),
        })
    }

    fn secret(&self, variable: &str, what: &str) -> Result<String, Failure> {
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Failure::of_file(path, &error))?;
            // Editors end the last line.
            let text = text.trim_end_matches(['\r', '\n']);
            return match text.is_empty() {
                true => Failure::expected(format_args!("{what} in {}", path.display())),
                false => checked(text, path.display()),
            };
        }
        match std::env::var(variable) {
            Ok(text) if !text.is_empty() => return checked(&text, variable),
            Err(VarError::NotUnicode(_)) => return checked("\u{FFFD}", variable),
            _ => {}
        }
        if !io::stdin().is_terminal() {
            return Failure::expected(format_args!("{what} in {variable} or in --token-file"));
        }
        let text = rpassword::prompt_password(format!("{what}: "))?;
        match text.trim().is_empty() {
            true => Failure::expected(what),
            false => checked(text.trim(), what),
        }
    }
}

/// Returns a key, or the error that the filter itself would not load it.
fn checked(text: &str, place: impl fmt::Display) -> Result<String, Failure> {
    match problem_of_key(text) {
        Some(problem) => Failure::said(format_args!("{place}: expected {problem}")),
        None => Ok(text.to_owned()),
    }
}
