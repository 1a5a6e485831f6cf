use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread::sleep;

use super::load::under_load;
use super::outcome::Outcome;
use super::{CALM, address, plugin, setup};
use crate::client::Client;
use crate::kinds;
use crate::upstream::Upstream;
use support::envoy::Setup;
use support::messages::now;
use support::process::repository;

/// A wall clock that is stepped while it runs: clock.c says how.
struct Clock(tempfile::TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(tempfile::tempdir().expect("a directory"));
        clock.set(0);
        let source = repository().join("tests/soak/clock.c");
        let status = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .args([clock.library(), source])
            .status();
        assert!(status.expect("a C compiler").success(), "clock.c");
        clock
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("clock.so")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clock")
    }

    /// By so many seconds from the right time, at once.
    fn set(&self, seconds: i64) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.file());
        let written = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
        written.expect("a file");
    }

    fn given_to(&self, setup: Setup) -> Setup {
        let text = |path: PathBuf| path.display().to_string();
        setup
            .env("LD_PRELOAD", &text(self.library()))
            .env("CLOCK_FILE", &text(self.file()))
    }
}

/// What Envoy's clock makes of an order that says when it was sent: that was now.
fn verdict_on_now(to: SocketAddr) -> String {
    let now = now().as_secs().to_string();
    let request = kinds::message()
        .request
        .header("x-twilio-request-timestamp", now);
    Client::new(to)
        .send(&request.bytes())
        .expect("an answer")
        .reason
}

/// An Envoy whose clock is stepped to each of these, in seconds from the right time, one after the other.
fn step_clock(fault: &str, steps: &[(i64, &str)]) -> Outcome {
    let (upstream, to) = (Upstream::start(), address());
    let clock = Clock::new();
    let _envoy = clock.given_to(setup(&plugin(), &upstream, to)).start();
    assert_eq!(verdict_on_now(to), "", "the clock is right");
    under_load(fault, &[to], &upstream, |load| {
        load.begins();
        for (seconds, verdict) in steps {
            // Tomorrow is long ago then.
            load.is_ahead.store(*seconds > 86_400, Ordering::SeqCst);
            clock.set(*seconds);
            assert_eq!(verdict_on_now(to), *verdict, "Envoy's clock by {seconds} s");
            sleep(CALM);
        }
        load.ends();
    })
}

#[test]
fn a_clock_that_goes_an_hour_back_loses_nothing_and_lets_nothing_pass_twice() {
    step_clock("clock an hour back", &[(-3600, "future_timestamp")]).assert_nothing_lost_or_twice();
}

#[test]
fn a_clock_that_goes_a_minute_ahead_and_back_loses_nothing_and_lets_nothing_pass_twice() {
    let steps = [(60, ""), (0, "")];
    step_clock("clock a minute ahead, and back", &steps).assert_nothing_lost_or_twice();
}

#[test]
fn a_clock_that_goes_an_hour_ahead_loses_nothing_and_lets_nothing_pass_twice() {
    // While there is space, what was accepted is known for `replay.keep`, a day.
    step_clock("clock an hour ahead", &[(3600, "stale_timestamp")]).assert_nothing_lost_or_twice();
}

#[test]
fn a_clock_that_goes_a_week_ahead_loses_no_order_but_the_nonces_whose_time_has_come() {
    step_clock("clock a week ahead", &[(604_800, "stale_timestamp")]).assert_forgotten();
}
