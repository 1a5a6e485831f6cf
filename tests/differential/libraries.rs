//! The two libraries, each in one process that is asked in lines of JSON.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::process::{Child, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::places::Place;
use crate::requests::{Case, Library};
use support::process::{installed, node, python};

/// What a library says of a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) accepts: bool,
    /// The URL as Node's `new URL` respells it; the library for Node tries that too.
    pub(crate) respelled: Vec<String>,
}

/// A library in its process, which ends when this is dropped.
pub(crate) struct Worker {
    library: Library,
    child: Child,
}

impl Worker {
    pub(crate) fn start(library: Library) -> Self {
        let home = installed("TWILIO_LIBRARIES", "twilio-libraries");
        let mut command = match library {
            Library::Node => node("tests/differential/library.mjs", &home),
            Library::Python => python("tests/differential/library.py", &home),
        };
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { library, child }
    }

    /// The signatures that the library makes.
    pub(crate) fn sign(&mut self, cases: &[Case]) -> Vec<String> {
        let question = |case: &Case| {
            json!({
                "secret": case.signed.secret,
                "url": case.signed.url,
                "contentType": case.signed.content_type,
                "body": STANDARD.encode(&case.signed.body),
                "settings": case.settings,
            })
        };
        let signature = |answer: Value| {
            answer["signature"]
                .as_str()
                .expect("a signature")
                .to_owned()
        };
        let answers = self.ask(cases.iter().map(question).collect());
        answers.into_iter().map(signature).collect()
    }

    /// What the library says of the requests as they are sent.
    pub(crate) fn judge(&mut self, cases: &[Case], places: &[Place]) -> Vec<Answer> {
        let question = |case: &Case| {
            json!({
                "secret": case.secret,
                "url": case.url(places),
                "contentType": case.content_type,
                "body": STANDARD.encode(&case.body),
                "settings": case.settings,
                "signature": case.signature,
            })
        };
        let answer = |answer: Value| Answer {
            accepts: answer["accepts"].as_bool().expect("a verdict"),
            respelled: serde_json::from_value(answer["respelled"].clone()).unwrap_or_default(),
        };
        let answers = self.ask(cases.iter().map(question).collect());
        answers.into_iter().map(answer).collect()
    }

    /// All questions at once; the answers come while the rest is still being asked.
    fn ask(&mut self, questions: Vec<Value>) -> Vec<Value> {
        let count = questions.len();
        let library = self.library;
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        let stdout = self.child.stdout.as_mut().expect("stdout is piped");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut stdin = BufWriter::new(stdin);
                for question in questions {
                    // A process that has died shows at the other end, where an answer is missing.
                    if writeln!(stdin, "{question}").is_err() {
                        return;
                    }
                }
                let _ = stdin.flush();
            });
            let lines = BufReader::new(stdout).lines().take(count);
            let answers: Vec<Value> = lines
                .map(|line| {
                    serde_json::from_str(&line.expect("a line")).expect("an answer in JSON")
                })
                .collect();
            assert_eq!(answers.len(), count, "{library:?} has ended too early");
            answers
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
