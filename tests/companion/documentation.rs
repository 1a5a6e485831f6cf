//! The examples of the documentation: what they show is what comes.

use std::process::Stdio;

use support::repository;

use crate::command::command;

/// The words of a command line that has no more than single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in line.chars() {
        match character {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            other => words.last_mut().expect("one").push(other),
        }
    }
    words
}

/// Runs each example of a page, and returns how many there are.
fn check(page: &str) -> usize {
    let text = std::fs::read_to_string(repository().join(page)).expect("a page");
    let mut count = 0;
    for block in text.split("\n```console\n").skip(1) {
        let (block, _) = block.split_once("\n```\n").expect("an end");
        let mut variables = Vec::new();
        for example in block.split("$ ").skip(1) {
            let (line, shown) = example.split_once('\n').unwrap_or((example, ""));
            if let Some(variable) = line.strip_prefix("export ") {
                variables.push(variable.split_once('=').expect("a value"));
                continue;
            }
            let words = words(line);
            let own = match words[0].as_str() {
                "twilio-webhook" => &words[1..],
                "cargo" => &words[words.iter().position(|word| word == "--").expect("--") + 1..],
                other => panic!("{page}: {other}"),
            };
            let own: Vec<_> = own.iter().map(String::as_str).collect();
            let output = command(&own)
                .current_dir(repository())
                .env("TWILIO_AUTH_TOKEN", support::message::TOKEN)
                .envs(variables.iter().copied())
                .stdin(Stdio::null())
                .output()
                .expect("the binary runs");
            let out = String::from_utf8(output.stdout).expect("UTF-8");
            assert_eq!(out.trim_end(), shown.trim_end(), "{page}: {line}");
            count += 1;
        }
    }
    count
}

#[test]
fn the_examples_of_the_pages_show_what_comes() {
    assert_eq!(check("README.md"), 1);
    assert_eq!(check("docs/companion.md"), 5);
}
