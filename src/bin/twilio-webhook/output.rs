//! What a command prints, and in which colours.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// When the output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a text is, for its colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Good,
    Bad,
    Warn,
    Strong,
    Faint,
}

/// Standard output.
pub struct Output {
    out: BufWriter<Stdout>,
    /// Whether JSON is asked for.
    pub json: bool,
    coloured: bool,
}

impl Output {
    pub fn new(json: bool, colour: Colour) -> Output {
        let is_on = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let coloured = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => io::stdout().is_terminal() && !is_on("NO_COLOR") && !is_dumb,
        };
        Output {
            out: BufWriter::new(io::stdout()),
            json,
            coloured: coloured && !json,
        }
    }

    /// Prints a line.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.out, "{}", text.as_ref())?;
        Ok(())
    }

    /// Prints bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// Prints a value as JSON.
    pub fn value(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => Failure::said(error),
        }
    }

    /// Returns a text in its colour.
    pub fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.coloured => return text.to_owned(),
            Style::Plain => return text.to_owned(),
            Style::Good => "32",
            Style::Bad => "31",
            Style::Warn => "33",
            Style::Strong => "1",
            Style::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// Says something on standard error.
pub fn complain(what: &str) -> io::Result<()> {
    writeln!(io::stderr(), "twilio-webhook: {what}")
}
