use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::contract::{self, Spelling};
use crate::exceptions::{Disagreement, EXCEPTIONS};
use crate::libraries::{Answer, Worker};
use crate::places::{Place, configuration, places};
use crate::requests::{Case, Library, case};
use support::envoy::Setup;
use support::http1::Http1;
use support::native::{Incoming, Native, accepts};
use support::size;
use support::tap::Behaviour;
use support::wire::Request;

const SEED: u64 = 20_261_001;
const REQUESTS: u64 = 12_000;
/// How many of them go through Envoy too.
const THROUGH_ENVOY: usize = 1_000;

/// Everything that is known of the requests of a run.
struct Run {
    seed: u64,
    places: Vec<Place>,
    cases: Vec<Case>,
    /// The filter's verdicts with strict forms, and with lenient ones.
    strict: Vec<&'static str>,
    lenient: Vec<&'static str>,
    node: Vec<Answer>,
    python: Vec<Answer>,
}

impl Run {
    fn new() -> Self {
        let seed = size("DIFFERENTIAL_SEED", SEED);
        let requests = size("DIFFERENTIAL_REQUESTS", REQUESTS);
        println!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_REQUESTS={requests}");
        let places = places(seed);
        let mut cases: Vec<Case> = (0..requests)
            .map(|index| case(seed, index, &places))
            .collect();
        let mut node = Worker::start(Library::Node);
        let mut python = Worker::start(Library::Python);
        let (by_node, by_python) = std::thread::scope(|scope| {
            let by_node = scope.spawn(|| node.sign(&cases));
            let by_python = python.sign(&cases);
            (by_node.join().expect("signatures"), by_python)
        });
        for ((case, by_node), by_python) in cases.iter_mut().zip(&by_node).zip(&by_python) {
            case.take(match case.by {
                Library::Node => by_node,
                Library::Python => by_python,
            });
        }
        let judge_all = |spelling| -> Vec<&'static str> {
            let native = Native::new(&configuration(&places, spelling));
            let verdicts = cases.iter().map(|case| judge(&native, case, &places));
            verdicts.collect()
        };
        let (node, python, strict, lenient) = std::thread::scope(|scope| {
            let node = scope.spawn(|| node.judge(&cases, &places));
            let python = scope.spawn(|| python.judge(&cases, &places));
            let strict = judge_all(Spelling::Strict);
            let lenient = judge_all(Spelling::Lenient);
            (
                node.join().expect("verdicts"),
                python.join().expect("verdicts"),
                strict,
                lenient,
            )
        });
        Self {
            seed,
            places,
            cases,
            strict,
            lenient,
            node,
            python,
        }
    }

    fn answer(&self, library: Library, index: usize) -> &Answer {
        match library {
            Library::Node => &self.node[index],
            Library::Python => &self.python[index],
        }
    }

    fn ours(&self, spelling: Spelling) -> &[&'static str] {
        match spelling {
            Spelling::Strict => &self.strict,
            Spelling::Lenient => &self.lenient,
        }
    }

    fn disagreements(&self, spelling: Spelling) -> impl Iterator<Item = (usize, Disagreement<'_>)> {
        let both = [Library::Node, Library::Python];
        let pairs =
            (0..self.cases.len()).flat_map(move |index| both.map(|library| (index, library)));
        pairs
            .filter(move |(index, library)| {
                let ours = self.ours(spelling)[*index];
                self.answer(*library, *index).accepts != accepts(ours)
            })
            .map(move |(index, library)| (index, self.beside(library, spelling, index)))
    }

    fn beside(&self, library: Library, spelling: Spelling, index: usize) -> Disagreement<'_> {
        Disagreement {
            case: &self.cases[index],
            places: &self.places,
            library,
            respelled: &self.answer(library, index).respelled,
            spelling,
            ours: self.ours(spelling)[index],
        }
    }

    /// A request and what all say of it, for whoever has to find out why.
    fn describe(&self, index: usize) -> String {
        let case = &self.cases[index];
        let signed = &case.signed;
        format!(
            "request {index} of seed {seed}: {method} {target}\n  url {url}\n  configured {place:?}\n  \
             {content_type:?}, settings {settings:?}, signature {signature:?}\n  body \"{body}\"\n  \
             signed by {by:?} with {secret:?} for {signed_url}, {signed_type:?}\n  signed body \"{signed_body}\"\n  \
             changes {changes:?}\n  Node {node:?}\n  Python {python:?}\n  \
             filter: strict {strict}, lenient {lenient}\n",
            seed = self.seed,
            method = case.method,
            target = case.target(&self.places),
            url = case.url(&self.places),
            place = self.places[case.place],
            content_type = case.content_type,
            settings = case.settings,
            signature = case.signature,
            body = case.body.escape_ascii(),
            by = case.by,
            secret = signed.secret,
            signed_url = signed.url,
            signed_type = signed.content_type,
            signed_body = signed.body.escape_ascii(),
            changes = case.changes,
            node = self.node[index],
            python = self.python[index],
            strict = self.strict[index],
            lenient = self.lenient[index],
        )
    }
}

fn judge(native: &Native, case: &Case, places: &[Place]) -> &'static str {
    native.judge(&Incoming {
        method: case.method,
        target: &case.target(places),
        websocket: places[case.place].websocket,
        content_type: case.content_type.as_deref(),
        settings: case.settings.as_deref(),
        signature: &case.signature,
        body: &case.body,
    })
}

/// Whether a request can be written down in HTTP, with a body that Envoy holds for the filter. A header has no
/// spaces around its value.
fn is_sendable(case: &Case, places: &[Place]) -> bool {
    let is_ascii = case
        .target(places)
        .bytes()
        .all(|byte| byte.is_ascii_graphic());
    is_ascii && case.body.len() < 200_000 && case.signature.trim() == case.signature
}

fn as_sent(case: &Case, places: &[Place]) -> Request {
    let mut request = Request::new(case.method, case.target(places))
        .header("x-twilio-signature", &case.signature);
    if let Some(content_type) = &case.content_type {
        request = request.header("content-type", content_type);
    }
    if let Some(settings) = &case.settings {
        request = request.header("x-twilio-webhooks-signature-settings", settings);
    }
    if places[case.place].websocket {
        return request
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    request.body(&case.body)
}

#[test]
fn the_filter_says_what_the_libraries_say_or_a_named_exception_says_why_not() {
    let run = Run::new();
    let mut counts: BTreeMap<&str, usize> = EXCEPTIONS
        .iter()
        .map(|exception| (exception.name, 0))
        .collect();
    let mut examples: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let mut disagreements = 0;
    for spelling in [Spelling::Strict, Spelling::Lenient] {
        for (index, disagreement) in run.disagreements(spelling) {
            disagreements += 1;
            match explained(&disagreement) {
                Some(name) => {
                    *counts.entry(name).or_default() += 1;
                    examples.entry(name).or_default().push(index);
                }
                None => unexplained.push(format!(
                    "{:?} and the filter, {spelling:?}\n{}",
                    disagreement.library,
                    run.describe(index)
                )),
            }
        }
        for (index, case) in run.cases.iter().enumerate() {
            let verdict = run.ours(spelling)[index];
            let ours = accepts(verdict);
            if ours != contract::accepts(case, &run.places, spelling) {
                unexplained.push(format!(
                    "the contract and the filter, {spelling:?}\n{}",
                    run.describe(index)
                ));
            }
            // What a library has signed passes here, even if that library would not accept it itself. A wrong hash of
            // a body is not the library's doing.
            let is_about_the_body = matches!(verdict, "unsigned_body" | "body_hash_mismatch");
            let is_signed = case.changes.is_empty() && !is_about_the_body;
            let beside = run.beside(case.by, spelling, index);
            if is_signed && !ours && explained(&beside).is_none() {
                unexplained.push(format!(
                    "signed, sent and rejected\n{}",
                    run.describe(index)
                ));
            }
        }
    }
    let report = report(&run, disagreements, &counts);
    println!("{report}");
    let first = unexplained
        .iter()
        .take(5)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        unexplained.is_empty(),
        "{} not explained, such as\n{first}",
        unexplained.len()
    );
    let dead: Vec<_> = counts.iter().filter(|(_, count)| **count == 0).collect();
    assert!(dead.is_empty(), "exceptions that nothing needs: {dead:?}");
    for ours in [&run.strict, &run.lenient] {
        let accepted = ours.iter().filter(|ours| accepts(ours)).count();
        let share = accepted * 100 / run.cases.len();
        assert!(
            (30..=80).contains(&share),
            "{share} % accepted: that tests too little of one side"
        );
    }

    through_envoy(&run, &examples);
}

fn explained(disagreement: &Disagreement<'_>) -> Option<&'static str> {
    let exception = EXCEPTIONS
        .iter()
        .find(|exception| (exception.explains)(disagreement));
    exception.map(|exception| exception.name)
}

fn report(run: &Run, disagreements: usize, counts: &BTreeMap<&str, usize>) -> String {
    let mut text = String::new();
    let mut line = |label: &str, count: usize| {
        let _ = writeln!(text, "{count:7}  {label}");
    };
    line("requests", run.cases.len());
    line(
        "sent as they were signed",
        run.cases
            .iter()
            .filter(|case| case.changes.is_empty())
            .count(),
    );
    line(
        "accepted by Node's library",
        run.node.iter().filter(|answer| answer.accepts).count(),
    );
    line(
        "accepted by Python's library",
        run.python.iter().filter(|answer| answer.accepts).count(),
    );
    for spelling in [Spelling::Strict, Spelling::Lenient] {
        let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
        for ours in run.ours(spelling) {
            *verdicts.entry(ours).or_default() += 1;
        }
        for (verdict, count) in verdicts {
            line(&format!("filter, {}: {verdict}", spelling.name()), count);
        }
    }
    line("disagreements", disagreements);
    for (name, count) in counts {
        line(&format!("exception: {name}"), *count);
    }
    text
}

/// The same requests to the module in Envoy: the same verdicts, and at the upstream what was accepted.
fn through_envoy(run: &Run, examples: &BTreeMap<&str, Vec<usize>>) {
    let sendable: Vec<usize> = (0..run.cases.len())
        .filter(|index| is_sendable(&run.cases[*index], &run.places))
        .collect();
    let step = (sendable.len() / THROUGH_ENVOY).max(1);
    let mut chosen: Vec<usize> = sendable.iter().copied().step_by(step).collect();
    for indices in examples.values() {
        chosen.extend(
            indices
                .iter()
                .filter(|index| sendable.contains(index))
                .take(3),
        );
    }
    chosen.sort_unstable();
    chosen.dedup();
    Setup::with(&configuration(&run.places, Spelling::Strict)).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let mut connection: Option<Http1> = None;
        let mut wrong = Vec::new();
        for index in &chosen {
            let request = as_sent(&run.cases[*index], &run.places);
            let mut client = match connection.take() {
                Some(client) => client,
                None => t.http1().await,
            };
            let before = t.received_count();
            let answer = client.send(&request).await;
            if answer.header("connection") != Some("close") && answer.status == 200 {
                connection = Some(client);
            }
            let expected = run.strict[*index];
            let said = match answer.status {
                200 => "accepted".to_owned(),
                _ => answer.reason(),
            };
            let passed_on = t.received_count() - before;
            if said != expected || passed_on != usize::from(accepts(expected)) {
                wrong.push(format!(
                    "{} {said}, passed on {passed_on}\n{}",
                    answer.status,
                    run.describe(*index)
                ));
            }
        }
        println!(
            "{:7}  through Envoy, {} of them to the upstream",
            chosen.len(),
            t.received_count()
        );
        let first = wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            wrong.is_empty(),
            "{} verdicts differ in Envoy, such as\n{first}",
            wrong.len()
        );
    });
}
