//! A test for each kind of case.

use std::collections::BTreeMap;

use crate::gateway::gateway;
use crate::run::run;
use support::field::cases::{self, Case, TOKEN};
use support::signing;

/// How many cases of each kind there are at the least, beyond the first that was found.
const FEWEST: usize = 3;

/// Runs the cases of a kind side by side, and tells of all that do not hold.
fn check(class: &str) {
    let gateway = gateway();
    let cases: Vec<_> = gateway
        .cases
        .iter()
        .filter(|case| case.class == class)
        .collect();
    // A kind may be one that the other host alone has.
    let all = cases::all();
    assert!(all.iter().any(|case| case.class == class), "{class}");
    let outcomes: Vec<(&Case, Vec<String>)> = std::thread::scope(|scope| {
        let threads = cases.iter().map(|case| scope.spawn(|| (*case, run(case))));
        let threads: Vec<_> = threads.collect();
        let outcomes = threads.into_iter();
        outcomes
            .map(|thread| thread.join().expect("a case that ends"))
            .collect()
    });
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|(_, wrong)| !wrong.is_empty())
        .collect();
    for (case, wrong) in &failed {
        eprintln!("--- {} {}", case.id, case.title);
        wrong.iter().for_each(|what| eprintln!("{what}"));
    }
    let failed: Vec<_> = failed.iter().map(|(case, _)| case.id.as_str()).collect();
    assert!(
        failed.is_empty(),
        "{} of {} do not hold: {failed:?}",
        failed.len(),
        cases.len()
    );
    assert_alive_and_discreet();
}

/// No filter has crashed, and the log has no token, whole or as it was copied.
fn assert_alive_and_discreet() {
    for envoy in gateway().envoys() {
        for line in envoy.full_log().lines() {
            for sign in [
                "panicked at",
                "a fault at",
                "Uncaught RuntimeError",
                TOKEN,
                "shared-secret",
            ] {
                assert!(!line.contains(sign), "{sign:?} is in the log: {line}");
            }
            assert_eq!(signing::leaked(line), None, "a signature is in the log");
        }
        for line in envoy.admin("/stats?filter=vm_reload").lines() {
            assert!(line.ends_with(": 0"), "a filter was started anew: {line}");
        }
    }
}

#[test]
fn a_different_events_that_twilio_signs_alike_pass_or_are_explained() {
    check("A");
}

#[test]
fn b_a_hash_in_the_url_of_a_request_without_a_body_is_no_obstacle() {
    check("B");
}

#[test]
fn c_what_copying_leaves_around_a_secret_is_rejected_by_field() {
    check("C");
}

#[test]
fn d_the_hint_of_last_resort_does_not_blame_the_token_without_evidence() {
    check("D");
}

#[test]
fn e_a_query_that_was_changed_on_the_way_is_named() {
    check("E");
}

#[test]
fn f_a_path_that_was_rewritten_on_the_way_is_named() {
    check("F");
}

#[test]
fn g_the_host_that_was_signed_is_named_behind_several_proxies() {
    check("G");
}

#[test]
fn h_a_websocket_signed_with_its_query_as_a_form_is_opened() {
    check("H");
}

#[test]
fn i_a_url_with_user_and_password_is_signed_with_and_without_them() {
    check("I");
}

#[test]
fn j_a_wrong_path_a_wrong_method_and_a_doubled_header_say_what_they_are() {
    check("J");
}

#[test]
fn k_an_account_that_is_not_configured_is_named_wherever_it_stands() {
    check("K");
}

#[test]
fn l_a_long_body_is_no_obstacle_to_a_diagnosis_where_the_url_alone_is_signed() {
    check("L");
}

#[test]
fn m_a_parameter_added_dropped_or_recoded_on_the_way_is_named() {
    check("M");
}

#[test]
fn n_an_envoy_that_never_shows_the_body_to_the_filter_is_told_of() {
    check("N");
}

#[test]
fn p_a_configuration_that_does_not_fit_is_rejected_in_words() {
    check("P");
}

#[test]
fn every_kind_has_cases_and_no_two_cases_have_one_name() {
    let cases = cases::all();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names: Vec<_> = cases.iter().map(|case| &case.id).collect();
    for case in &cases {
        *kinds.entry(&case.class).or_default() += 1;
        let empty = case.steps.is_none() && case.load().is_none() && case.log.is_empty();
        assert!(!empty, "{} checks nothing", case.id);
    }
    let letters: String = kinds.keys().copied().collect();
    assert_eq!(letters, "ABCDEFGHIJKLMNP");
    for (kind, count) in kinds {
        assert!(count > FEWEST, "{kind}: {count}");
    }
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "a name occurs twice");
}
