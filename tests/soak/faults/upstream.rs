use std::thread::sleep;

use super::load::under_load;
use super::{CALM, address, plugin, setup};
use crate::upstream::{Upstream, Way};

#[test]
fn an_upstream_killed_and_started_again_loses_nothing_and_takes_nothing_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let _envoy = setup(&plugin(), &upstream, to).start();
    let outcome = under_load(
        "upstream killed and started again",
        &[to],
        &upstream,
        |load| {
            load.begins();
            upstream.kill();
            sleep(CALM);
            upstream.start_again();
            load.ends();
        },
    );
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn an_upstream_that_hangs_loses_nothing_and_takes_nothing_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let _envoy = setup(&plugin(), &upstream, to).start();
    let outcome = under_load("upstream hung", &[to], &upstream, |load| {
        load.begins();
        upstream.behave(Way::Hang);
        sleep(CALM * 2);
        upstream.behave(Way::Answer);
        load.ends();
    });
    outcome.assert_nothing_lost_or_twice();
    assert!(upstream.late() > 0, "no request was given up");
}

#[test]
fn an_upstream_that_resets_half_loses_nothing_and_takes_nothing_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let _envoy = setup(&plugin(), &upstream, to).start();
    let outcome = under_load(
        "upstream resets every other request",
        &[to],
        &upstream,
        |load| {
            load.begins();
            upstream.behave(Way::ResetHalf);
            sleep(CALM * 2);
            upstream.behave(Way::Answer);
            load.ends();
        },
    );
    outcome.assert_nothing_lost_or_twice();
}
