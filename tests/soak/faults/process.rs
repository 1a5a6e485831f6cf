use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::load::{ON_THEIR_WAY, under_load};
use super::{address, plugin, post, setup};
use crate::upstream::Upstream;
use support::envoy::Envoy;
use support::http1::PATIENCE;
use support::redis::{self, Redis, Webdis};

/// Another with each call, and hardly that of somebody else's.
pub(super) fn base_id() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = u64::from(std::process::id()) * 8 + NEXT.fetch_add(1, Ordering::SeqCst);
    (number % 60_000) as u16
}

#[test]
fn an_envoy_that_is_drained_loses_nothing_and_the_next_one_knows_no_nonces() {
    let (upstream, to) = (Upstream::start(), address());
    // For the time that its listeners drain.
    let old = setup(&plugin(), &upstream, to)
        .hot_restart(base_id(), 0)
        .start();
    let mut new = None;
    let outcome = under_load(
        "Envoy drained, then another one",
        &[to],
        &upstream,
        |load| {
            load.begins();
            post(&old, "/drain_listeners?graceful");
            sleep(Duration::from_millis(2500));
            drop(old);
            new = Some(setup(&plugin(), &upstream, to).start());
            load.ends();
        },
    );
    outcome.assert_forgotten();
}

/// Waits until a process has ended by itself.
pub(super) fn wait_for_end(envoy: &Envoy) {
    let start = Instant::now();
    while !envoy.has_ended() {
        assert!(start.elapsed() < PATIENCE, "Envoy does not end");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_hot_restart_loses_nothing_and_the_new_process_knows_no_nonces() {
    let (upstream, to) = (Upstream::start(), address());
    let id = base_id();
    let old = setup(&plugin(), &upstream, to).hot_restart(id, 0).start();
    let mut new = None;
    let outcome = under_load("Envoy hot-restarted", &[to], &upstream, |load| {
        load.begins();
        new = Some(setup(&plugin(), &upstream, to).hot_restart(id, 1).start());
        wait_for_end(&old);
        load.ends();
    });
    outcome.assert_forgotten();
}

#[test]
fn an_envoy_killed_and_started_anew_loses_no_order_but_its_nonces() {
    let (upstream, to) = (Upstream::start(), address());
    let old = setup(&plugin(), &upstream, to).start();
    let mut new = None;
    let outcome = under_load("Envoy killed and started anew", &[to], &upstream, |load| {
        load.begins();
        drop(old);
        new = Some(setup(&plugin(), &upstream, to).start());
        load.ends();
    });
    outcome.assert_forgotten();
}

#[test]
fn with_redis_an_envoy_killed_and_started_anew_still_knows_its_nonces() {
    let (upstream, to) = (Upstream::start(), address());
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let mut plugin = plugin();
    plugin["store"] = redis::store();
    let start = || redis::asking(setup(&plugin, &upstream, to), webdis.address()).start();
    let old = start();
    let mut new = None;
    let outcome = under_load(
        "Envoy killed and started anew, Redis",
        &[to],
        &upstream,
        |load| {
            load.begins();
            drop(old);
            new = Some(start());
            load.ends();
        },
    );
    assert_eq!(
        (outcome.lost, outcome.twice, outcome.replayed),
        (0, 0, 0),
        "{outcome:?}"
    );
    // What was under way: nobody knows whether the upstream has it, and Redis keeps its claim for `replay.window`.
    assert!(outcome.held <= ON_THEIR_WAY, "{outcome:?}");
}

#[test]
fn with_redis_a_hot_restart_loses_nothing_and_forgets_nothing() {
    let (upstream, to) = (Upstream::start(), address());
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let mut plugin = plugin();
    plugin["store"] = redis::store();
    let id = base_id();
    let start = |epoch| {
        let setup = setup(&plugin, &upstream, to).hot_restart(id, epoch);
        redis::asking(setup, webdis.address()).start()
    };
    let old = start(0);
    let mut new = None;
    let fault = "Envoy hot-restarted, Redis";
    let outcome = under_load(fault, &[to], &upstream, |load| {
        load.begins();
        new = Some(start(1));
        wait_for_end(&old);
        load.ends();
    });
    outcome.assert_nothing_lost_or_twice();
}
