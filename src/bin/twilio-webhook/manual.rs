//! Completions and manual pages, made from the command line itself.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::{Ended, Failure};
use crate::output::Output;

#[derive(Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Args)]
pub struct Man {
    /// Write a page for each command into this folder.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub fn completions(
    arguments: &Completions,
    mut command: Command,
    out: &mut Output,
) -> Result<Ended, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "twilio-webhook", &mut script);
    out.bytes(&script)?;
    Ok(Ended::Well)
}

pub fn man(arguments: &Man, command: Command, out: &mut Output) -> Result<Ended, Failure> {
    match &arguments.dir {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| Failure::of_file(folder, &error))?;
            let written = clap_mangen::generate_to(command, folder);
            written.map_err(|error| Failure::of_file(folder, &error))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            out.bytes(&page)?;
        }
    }
    Ok(Ended::Well)
}
