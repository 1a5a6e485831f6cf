use std::collections::{HashMap, HashSet};

use twilio_webhook_filter::{
    MAX_ABANDONED, Millis, NonceRules, OnFull, ScriptReply, Settlement, UpstreamOutcome,
};

use super::{
    CLAIMED, Claims, MARKS, START, nonce_key, nonce_rules, now, remembered, remembered_or_none,
};
use ScriptReply::{Kept, NeverAnswered, Pending, Void};
use support::random::Chance;
use support::redis::Redis;

/// What Redis must know of a nonce.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    No,
    OnItsWay {
        id: u64,
        abandoned: u16,
    },
    Kept,
    Abandoned(u16),
    /// Its senders have left once too often.
    NeverAnswered,
}

#[test]
fn claims_follow_their_table_in_any_order_of_events() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let chance = Chance::seeded(7);
    let mut known = [Known::No; 4];
    let mut void = HashSet::new();
    let (mut seen, mut voided) = (HashMap::new(), 0);
    for step in 0..6000 {
        let index = chance.below(4) as usize;
        let id = chance.below(3) + 10 * index as u64;
        // Once in a while everything is forgotten, or a table of kept ones only would be looked at.
        if chance.below(100) == 0 {
            redis.command(&["FLUSHALL"]);
            known = [Known::No; 4];
            void.clear();
        }
        let state = known[index];
        let is_own = matches!(state, Known::OnItsWay { id: own, .. } if own == id);
        let is_kept = matches!(state, Known::Kept | Known::NeverAnswered);
        // Most leave, or nobody would do so once too often.
        known[index] = match chance.below(10) {
            0..=2 => {
                let reply = claims.claim(index as u8, id);
                let expected = match state {
                    _ if void.contains(&id) => Void,
                    Known::No | Known::Abandoned(_) => CLAIMED,
                    // Caller once more.
                    Known::OnItsWay { .. } if is_own => CLAIMED,
                    Known::OnItsWay { .. } => Pending,
                    Known::Kept | Known::NeverAnswered => reply,
                };
                assert_eq!(reply, expected, "step {step}: {state:?}");
                voided += u32::from(reply == Void);
                match (reply, state) {
                    (CLAIMED, Known::OnItsWay { .. }) => state,
                    (CLAIMED, Known::Abandoned(abandoned)) => Known::OnItsWay { id, abandoned },
                    (CLAIMED, _) => Known::OnItsWay { id, abandoned: 0 },
                    (Kept { left }, Known::Kept)
                    | (NeverAnswered { left }, Known::NeverAnswered) => {
                        assert!((86_300_000..=86_400_000).contains(&left.0), "{left:?}");
                        state
                    }
                    (Pending | Void, _) => state,
                    other => panic!("step {step}: {other:?}"),
                }
            }
            3 => {
                claims.settle(index as u8, id, UpstreamOutcome::Processed);
                match state {
                    // An answer that comes after its claim has lapsed is an acceptance all the same.
                    Known::No | Known::Abandoned(_) => Known::Kept,
                    Known::OnItsWay { .. } if is_own => Known::Kept,
                    other => other,
                }
            }
            4 => {
                claims.settle(index as u8, id, UpstreamOutcome::Failed);
                match state {
                    Known::OnItsWay { abandoned: 0, .. } if is_own => Known::No,
                    Known::OnItsWay { abandoned, .. } if is_own => Known::Abandoned(abandoned),
                    other => {
                        // Given up before it arrived: it must not arrive any more.
                        if !is_kept {
                            void.insert(id);
                        }
                        other
                    }
                }
            }
            _ => {
                claims.settle(index as u8, id, UpstreamOutcome::ClientGone);
                match state {
                    Known::OnItsWay { abandoned, .. } if is_own && abandoned < MAX_ABANDONED => {
                        Known::Abandoned(abandoned + 1)
                    }
                    Known::OnItsWay { .. } if is_own => Known::NeverAnswered,
                    other => {
                        if !is_kept {
                            void.insert(id);
                        }
                        other
                    }
                }
            }
        };
        // Marks last for minutes; without this nothing could be claimed after a while.
        if void.len() > 3 {
            void.clear();
            redis.command(&["DEL", MARKS]);
        }
        *seen
            .entry(std::mem::discriminant(&known[index]))
            .or_insert(0) += 1;
    }
    assert!(
        seen.len() == 5 && seen.values().all(|times| *times > 20),
        "{seen:?}"
    );
    assert!(voided > 20, "{voided}");
    for key in redis.keys() {
        let left = redis.command(&["PTTL", &key]).number();
        assert!(left > 0, "{key} would stay for ever");
    }
}

/// Once the count was forgotten after the window.
#[test]
fn hang_ups_are_counted_in_redis_for_as_long_as_the_request_would_be_kept() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let mut now = START;
    let mut id = 0;
    for hung_up in 1..=MAX_ABANDONED + 1 {
        for answer in [UpstreamOutcome::Failed, UpstreamOutcome::ClientGone] {
            id += 1;
            assert_eq!(claims.claim_at(1, id, now), CLAIMED, "{hung_up}");
            claims.settle_at(1, id, answer, now);
            let (value, left) = remembered_or_none(&redis, 1);
            let before = hung_up - u16::from(answer == UpstreamOutcome::Failed);
            match before {
                0 => assert_eq!(value, None, "what failed is forgotten"),
                _ => assert!(left > 86_000_000, "{value:?}, for {left} ms"),
            }
        }
        now = now.after(Millis::seconds(301));
    }
    assert!(remembered(&redis, 1).0.starts_with("k:4@"));
    for _ in 0..2 {
        id += 1;
        let reply = claims.claim_at(1, id, now);
        assert!(matches!(reply, NeverAnswered { .. }), "{reply:?}");
    }
}

/// A VM that dies leaves a claim that nobody settles: then nobody knows whether the upstream
/// has the request, as where the sender left.
#[test]
fn a_claim_that_lapses_in_redis_counts_as_a_hang_up() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let mut now = START;
    for id in 1..=u64::from(MAX_ABANDONED) + 1 {
        assert_eq!(claims.claim_at(1, id, now), CLAIMED);
        let last = now.after(Millis::seconds(300));
        assert_eq!(claims.claim_at(1, 99, last), Pending);
        now = last.after(Millis(1));
    }
    let reply = claims.claim_at(1, 100, now);
    assert!(matches!(reply, NeverAnswered { .. }), "{reply:?}");
    // Its own answer, if it comes yet, is what counts.
    claims.settle_at(
        1,
        u64::from(MAX_ABANDONED) + 1,
        UpstreamOutcome::Processed,
        now,
    );
    let reply = claims.claim_at(1, 101, now);
    assert!(matches!(reply, Kept { .. }), "{reply:?}");

    // One that has lapsed and was claimed again, and then was taken after all, was taken.
    assert_eq!(claims.claim_at(2, 1, START), CLAIMED);
    let later = START.after(Millis::seconds(301));
    assert_eq!(claims.claim_at(2, 2, later), CLAIMED);
    let latest = later.after(Millis::seconds(301));
    claims.settle_at(2, 1, UpstreamOutcome::Processed, latest);
    let reply = claims.claim_at(2, 3, latest);
    assert!(matches!(reply, Kept { .. }), "{reply:?}");
}

/// Envoys with the version before, which share the Redis during an update.
#[test]
fn what_the_version_before_has_written_is_understood() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let key = nonce_key(1);
    for (value, expected) in [
        ("k", None),
        ("k:4", None),
        ("p:5:0", Some(Pending)),
        ("a:2", Some(CLAIMED)),
    ] {
        redis.command(&["SET", &key, value, "PX", "300000"]);
        let reply = claims.claim(1, 9);
        match expected {
            Some(expected) => assert_eq!(reply, expected, "{value}"),
            None => assert!(
                matches!(reply, Kept { .. } | NeverAnswered { .. }),
                "{value}: {reply:?}"
            ),
        }
    }
}

#[test]
fn to_settle_twice_is_to_settle_once() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    for (nonce, answer) in [
        (1, UpstreamOutcome::Processed),
        (2, UpstreamOutcome::Failed),
        (3, UpstreamOutcome::ClientGone),
    ] {
        let own = 10 * u64::from(nonce);
        assert_eq!(claims.claim(nonce, own), CLAIMED);
        claims.settle(nonce, own, answer);
        let value = |redis: &Redis| redis.command(&["GET", &nonce_key(nonce)]);
        let once = value(&redis);
        claims.settle(nonce, own, answer);
        assert_eq!(value(&redis), once, "{answer:?}");
        // Also when another has claimed it meanwhile.
        if answer != UpstreamOutcome::Processed {
            assert_eq!(claims.claim(nonce, own + 1), CLAIMED);
            claims.settle(nonce, own, answer);
            assert_eq!(claims.claim(nonce, own + 2), Pending, "{answer:?}");
        }
    }
}

#[test]
fn several_are_settled_at_once_each_in_its_own_way() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let mut settlements = Vec::new();
    for nonce in 0..9 {
        assert_eq!(claims.claim(nonce, u64::from(nonce)), CLAIMED);
        let answer = [
            UpstreamOutcome::Processed,
            UpstreamOutcome::Failed,
            UpstreamOutcome::ClientGone,
        ][usize::from(nonce % 3)];
        let claim = claims.prepare(nonce, u64::from(nonce));
        settlements.push(Settlement::new(&claim, claims.table.rules(), answer, now()));
    }
    claims.tell(&settlements);
    for nonce in 0..9 {
        let reply = claims.claim(nonce, 100);
        let is_kept = matches!(reply, Kept { .. });
        assert_eq!(is_kept, nonce % 3 == 0, "{nonce}: {reply:?}");
    }
}

#[test]
fn a_request_need_not_be_remembered_for_longer_than_it_must() {
    let redis = Redis::start();
    let short = NonceRules {
        window: Millis(30),
        keep: Millis(0),
        ..nonce_rules(10, OnFull::Reject)
    };
    let mut claims = Claims::new(&redis, short);
    assert_eq!(claims.claim(1, 1), CLAIMED);
    claims.settle(1, 1, UpstreamOutcome::Processed);
    assert!(matches!(claims.claim(1, 2), Kept { .. }));
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(claims.claim(1, 3), CLAIMED);
}
