use twilio_webhook_filter::{Millis, NonceRules, OnFull, ScriptReply, UpstreamOutcome};

use super::{CLAIMED, Claims, START, nonce_rules, nonces};
use ScriptReply::{Claimed, Full, Kept, Pending};
use support::redis::Redis;

#[test]
fn the_count_of_hang_ups_goes_from_a_full_table_in_redis_as_a_kept_request_does_and_no_sooner() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(2, OnFull::Reject));
    for (nonce, answer) in [
        (1, UpstreamOutcome::ClientGone),
        (2, UpstreamOutcome::Processed),
    ] {
        let now = START.after(Millis(nonce.into()));
        assert_eq!(claims.claim_at(nonce, 1, now), CLAIMED);
        claims.settle_at(nonce, 1, answer, now);
    }
    let last = START.after(Millis::seconds(300));
    assert_eq!(claims.claim_at(3, 1, last), Full);
    let later = last.after(Millis(1));
    let reply = claims.claim_at(3, 1, later);
    assert!(matches!(reply, Claimed { evicted: 1, .. }), "{reply:?}");
    assert!(matches!(claims.claim_at(2, 2, later), Kept { .. }));
}

#[test]
fn a_table_that_is_full_of_what_must_stay_rejects_or_forgets_the_oldest() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(3, OnFull::Reject));
    for nonce in 0..3 {
        assert_eq!(claims.claim(nonce, 1), CLAIMED);
    }
    claims.settle(0, 1, UpstreamOutcome::Processed);
    assert_eq!(claims.claim(3, 1), Full);
    assert!(
        matches!(claims.claim(0, 2), Kept { .. }),
        "a repeat is told as one all the same"
    );
    // What is given up makes room.
    claims.settle(1, 1, UpstreamOutcome::Failed);
    assert_eq!(claims.claim(3, 1), CLAIMED);
    assert_eq!(claims.claim(4, 1), Full);

    redis.command(&["FLUSHALL"]);
    let mut claims = Claims::new(&redis, nonce_rules(3, OnFull::EvictOldest));
    for nonce in 0..3 {
        assert_eq!(claims.claim(nonce, 1), CLAIMED);
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    assert!(matches!(claims.claim(3, 1), Claimed { evicted: 1, .. }));
    assert_eq!(claims.claim(2, 2), Pending);
    assert!(
        matches!(claims.claim(0, 2), Claimed { evicted: 1, .. }),
        "the oldest went"
    );
    assert_eq!(nonces(&redis), 3);
}

#[test]
fn what_is_kept_because_there_was_room_goes_when_there_is_none() {
    let redis = Redis::start();
    let short = NonceRules {
        window: Millis(20),
        ..nonce_rules(3, OnFull::Reject)
    };
    let mut claims = Claims::new(&redis, short);
    for nonce in 0..3 {
        assert_eq!(claims.claim(nonce, 1), CLAIMED);
        claims.settle(nonce, 1, UpstreamOutcome::Processed);
    }
    std::thread::sleep(std::time::Duration::from_millis(40));
    assert!(matches!(claims.claim(2, 2), Kept { .. }), "there was room");
    let Claimed {
        evicted,
        evicted_age,
    } = claims.claim(3, 1)
    else {
        panic!("not claimed");
    };
    assert_eq!(evicted, 1);
    assert!((20..60_000).contains(&evicted_age.0), "{evicted_age:?}");
    // Claims on their way are not what makes room.
    for nonce in 4..6 {
        assert!(matches!(claims.claim(nonce, 1), Claimed { evicted: 1, .. }));
    }
    assert_eq!(claims.claim(6, 1), Full);
    assert_eq!(nonces(&redis), 3);
}

/// While Redis is away, Envoys accept by themselves, and Redis hears of it afterwards, whether it has room or not.
#[test]
fn what_is_above_the_capacity_and_need_not_stay_makes_room_at_once() {
    let redis = Redis::start();
    let short = NonceRules {
        window: Millis(20),
        ..nonce_rules(8, OnFull::Reject)
    };
    let mut claims = Claims::new(&redis, short);
    for nonce in 0..60 {
        claims.settle(nonce, 1, UpstreamOutcome::Processed);
    }
    std::thread::sleep(std::time::Duration::from_millis(40));
    let mut stored = nonces(&redis);
    for nonce in 100..105 {
        let reply = claims.claim(nonce, 1);
        assert!(matches!(reply, Claimed { .. }), "{nonce}: {reply:?}");
        let left = nonces(&redis);
        assert!(left + 13 < stored || left == 8, "{left} of {stored}");
        stored = left;
    }
    assert_eq!(stored, 8);
}

#[test]
fn the_index_outlives_the_nonces_of_every_webhook_that_shares_it() {
    let redis = Redis::start();
    let long = nonce_rules(10, OnFull::Reject);
    let short = NonceRules {
        window: Millis::seconds(1),
        keep: Millis(0),
        ..long.clone()
    };
    let (mut long, mut short) = (Claims::new(&redis, long), Claims::new(&redis, short));
    let left = || redis.command(&["PTTL", "{twf:1}:i:10"]).number();
    assert_eq!(long.claim(1, 1), CLAIMED);
    assert!(left() > 86_400_000, "{}", left());
    assert_eq!(short.claim(2, 2), CLAIMED);
    assert!(left() > 86_400_000, "after a claim: {}", left());
    long.settle(1, 1, UpstreamOutcome::Processed);
    short.settle(2, 2, UpstreamOutcome::Processed);
    assert!(left() > 86_400_000, "after an answer: {}", left());
}

/// A webhook's capacity was changed between two deliveries, and another one still has the capacity before.
#[test]
fn a_nonce_in_two_indices_goes_only_with_the_one_that_it_was_written_with() {
    use UpstreamOutcome::{ClientGone, Failed, Processed};
    for (on_full, settled) in [OnFull::Reject, OnFull::EvictOldest]
        .into_iter()
        .flat_map(|on_full| [Some(Processed), None].map(|settled| (on_full, settled)))
    {
        let redis = Redis::start();
        let mut before = Claims::new(&redis, nonce_rules(2, on_full));
        let mut after = Claims::new(&redis, nonce_rules(5, OnFull::Reject));
        assert_eq!(before.claim_at(1, 1, START), CLAIMED);
        before.settle_at(1, 1, ClientGone, START);
        let later = START.after(Millis::seconds(299));
        assert_eq!(after.claim_at(1, 2, later), CLAIMED);
        if let Some(outcome) = settled {
            after.settle_at(1, 2, outcome, later);
        }
        let latest = START.after(Millis::seconds(301));
        assert_eq!(before.claim_at(2, 3, latest), CLAIMED);
        // Room was made, and nothing evicted.
        assert_eq!(before.claim_at(3, 4, latest), CLAIMED);
        let repeat = after.claim_at(1, 5, latest);
        match settled {
            Some(_) => assert!(matches!(repeat, Kept { .. }), "{repeat:?}"),
            None => assert_eq!(repeat, Pending),
        }
        // What its own index evicts is gone.
        before.settle_at(2, 3, Failed, latest);
        before.settle_at(3, 4, Failed, latest);
        let much_later = latest.after(Millis::seconds(301));
        for nonce in 10..15 {
            let reply = after.claim_at(nonce, 9, much_later);
            assert!(matches!(reply, Claimed { .. }), "{reply:?}");
        }
        assert_eq!(nonces(&redis), 5);
    }
}

/// What has expired goes before what is kept because there was room, however old that is.
#[test]
fn nonces_that_have_expired_make_room_before_those_that_are_kept() {
    for (kept, expired) in [(1, 3), (20, 130)] {
        let redis = Redis::start();
        let long = NonceRules {
            window: Millis(20),
            ..nonce_rules(usize::from(kept + expired), OnFull::Reject)
        };
        let short = NonceRules {
            keep: Millis(0),
            ..long.clone()
        };
        let (mut long, mut short) = (Claims::new(&redis, long), Claims::new(&redis, short));
        for nonce in 0..kept {
            long.settle(nonce, 1, UpstreamOutcome::Processed);
        }
        for nonce in kept..kept + expired {
            short.settle(nonce, 1, UpstreamOutcome::Processed);
        }
        std::thread::sleep(std::time::Duration::from_millis(60));
        let mut evicted = 0;
        for number in 0..expired - expired / 3 {
            match long.claim(kept + expired + number, 1) {
                Claimed { evicted: more, .. } => evicted += more,
                other => panic!("{other:?}"),
            }
        }
        // Of many, not all are looked at.
        assert!(evicted <= u64::from(kept / 4), "{evicted} of {kept}");
        if kept == 1 {
            let repeat = long.claim(0, 99);
            assert!(matches!(repeat, Kept { .. }), "{repeat:?}");
        }
    }
}

#[test]
fn the_age_of_what_is_evicted_is_known_where_nonces_are_not_kept_beyond_their_window() {
    let redis = Redis::start();
    let pinned_only = NonceRules {
        keep: Millis(0),
        ..nonce_rules(1, OnFull::EvictOldest)
    };
    let mut claims = Claims::new(&redis, pinned_only);
    assert_eq!(claims.claim(1, 1), CLAIMED);
    std::thread::sleep(std::time::Duration::from_millis(50));
    match claims.claim(2, 2) {
        Claimed {
            evicted: 1,
            evicted_age,
        } => assert!((50..60_000).contains(&evicted_age.0), "{evicted_age:?}"),
        other => panic!("{other:?}"),
    }
}
