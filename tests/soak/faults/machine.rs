use std::net::SocketAddr;
use std::process::Command;
use std::thread::sleep;

use super::cgroup::MemoryGroup;
use super::load::under_load;
use super::process::wait_for_end;
use super::{CALM, address, plugin, setup};
use crate::client::Client;
use crate::kinds;
use crate::upstream::Upstream;
use support::envoy::Envoy;
use support::messages::{TOKEN, WEBHOOK};

fn limit(envoy: &Envoy, resource: &str) {
    let pid = envoy.pid().to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &pid, resource])
        .status();
    assert!(status.expect("prlimit").success(), "prlimit {resource}");
}

#[test]
fn an_envoy_short_of_file_descriptors_loses_nothing_and_lets_nothing_pass_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let envoy = setup(&plugin(), &upstream, to).start();
    let outcome = under_load("file descriptors short", &[to], &upstream, |load| {
        load.begins();
        // Of those that it has open, some: nobody new gets in.
        limit(&envoy, "--nofile=20:4096");
        sleep(CALM * 2);
        limit(&envoy, "--nofile=4096:4096");
        load.ends();
    });
    outcome.assert_nothing_lost_or_twice();
}

/// Makes Envoy ask for more memory until it has ended.
fn exhaust(envoy: &Envoy, to: SocketAddr) {
    // Bodies as large as they may be.
    let message = support::messages::whatsapp();
    let message = support::messages::set(message, "Body", &"x".repeat(60_000));
    let form = kinds::form(WEBHOOK, TOKEN, &message);
    let bytes = form.request.bytes();
    let mut large: Vec<_> = (0..1500).map(|_| Client::new(to)).collect();
    for client in &mut large {
        // All but the last byte, which is never sent.
        let _ = client.write(&bytes[..bytes.len() - 1]);
    }
    wait_for_end(envoy);
}

#[test]
fn an_envoy_that_gets_no_more_memory_dies_and_the_next_one_loses_no_order() {
    let (upstream, to) = (Upstream::start(), address());
    let envoy = setup(&plugin(), &upstream, to).start();
    let mut new = None;
    let fault = "no more memory: Envoy dies, then another one";
    let outcome = under_load(fault, &[to], &upstream, |load| {
        load.begins();
        // Less than it has: it keeps that, and gets nothing more.
        limit(&envoy, "--data=1000000:unlimited");
        exhaust(&envoy, to);
        new = Some(setup(&plugin(), &upstream, to).start());
        load.ends();
    });
    outcome.assert_forgotten();
}

#[test]
fn an_envoy_above_the_memory_of_its_cgroup_is_killed_and_the_next_one_loses_no_order() {
    let group = MemoryGroup::new();
    let (upstream, to) = (Upstream::start(), address());
    let envoy = setup(&plugin(), &upstream, to).start();
    let mut new = None;
    let fault = "cgroup's memory used up: Envoy killed, then another one";
    let outcome = under_load(fault, &[to], &upstream, |load| {
        // What it has is not counted, what it asks for from now on is.
        group.take(&envoy, 16 << 20);
        load.begins();
        exhaust(&envoy, to);
        new = Some(setup(&plugin(), &upstream, to).start());
        load.ends();
    });
    assert!(group.kills() > 0, "the kernel has killed nobody");
    outcome.assert_forgotten();
}
