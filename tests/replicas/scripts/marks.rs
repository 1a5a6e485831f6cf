use std::collections::HashSet;

use twilio_webhook_filter::{MAX_ABANDONED, OnFull, ScriptReply, Settlement, UpstreamOutcome};

use super::{CLAIMED, Claims, MARKS, decide, nonce_rules, now, remembered_or_none};
use ScriptReply::{Kept, NeverAnswered, Void};
use support::random::spread;
use support::redis::Redis;

/// Any attempt may be the one that arrives last, and before it any number of the others.
#[test]
fn an_attempt_that_arrives_when_its_claim_is_settled_claims_nothing() {
    use UpstreamOutcome::{ClientGone, Failed, Processed};
    let outcomes = [Processed, Failed, ClientGone];
    for (in_time, outcome) in (0..=2).flat_map(|count| outcomes.map(|outcome| (count, outcome))) {
        let redis = Redis::start();
        let mut claims = Claims::new(&redis, nonce_rules(10, OnFull::Reject));
        let claim = claims.prepare(1, 0x11).asked_again();
        let rules = claims.table.rules().clone();
        let call = decide(&[], &[], Some((&claim, &rules)), now());
        for _ in 0..in_time {
            assert_eq!(claims.caller.call(&call), CLAIMED);
        }
        claims.tell(&[Settlement::new(&claim, &rules, outcome, now())]);
        let before = remembered_or_none(&redis, 1).0;
        let late = claims.caller.call(&call);
        assert_eq!(remembered_or_none(&redis, 1).0, before);
        // The sender's own retry is another request.
        let retry = claims.claim(1, 0x22);
        if outcome == Processed {
            assert!(
                matches!((late, retry), (Kept { .. }, Kept { .. })),
                "{late:?}, {retry:?}"
            );
        } else {
            assert_eq!((late, retry), (Void, CLAIMED), "{in_time}, {outcome:?}");
        }
    }
}

/// Whoever has one captured request can send it again and hang up as often as he likes.
#[test]
fn a_repeat_that_is_given_up_leaves_nothing_where_its_nonce_is_kept() {
    use UpstreamOutcome::{ClientGone, Failed, Processed};
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(10, OnFull::Reject));
    assert_eq!(claims.claim(1, 1), CLAIMED);
    claims.settle(1, 1, Processed);
    for id in 2..=u64::from(MAX_ABANDONED) + 2 {
        assert_eq!(claims.claim(2, id), CLAIMED);
        claims.settle(2, id, ClientGone);
    }
    let before: HashSet<_> = redis.keys().into_iter().collect();
    for (id, nonce) in (100..).zip([1, 2].repeat(20)) {
        for outcome in [Failed, ClientGone] {
            claims.settle(nonce, id, outcome);
        }
        let again = claims.prepare(nonce, id).asked_again();
        let rules = claims.table.rules();
        claims.tell(&[Settlement::new(&again, rules, Failed, now())]);
        let reply = claims.claim(nonce, id);
        assert!(
            matches!(reply, Kept { .. } | NeverAnswered { .. }),
            "{reply:?}"
        );
    }
    let after: HashSet<_> = redis.keys().into_iter().collect();
    assert_eq!(after, before);
}

/// Those whose nonces Redis does not know cannot be told from claims that are on their way yet.
#[test]
fn what_is_given_up_before_it_arrives_takes_a_bounded_amount_of_memory() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(10, OnFull::Reject));
    let rules = claims.table.rules().clone();
    let given_up = 11_000_u64;
    let ids: Vec<_> = (1..=given_up).collect();
    for batch in ids.chunks(32) {
        let settlements: Vec<_> = batch
            .iter()
            .map(|id| {
                let claim = claims.prepare(1, spread(*id));
                Settlement::new(&claim, &rules, UpstreamOutcome::Failed, now())
            })
            .collect();
        claims.tell(&settlements);
    }
    let bytes: i64 = redis
        .keys()
        .iter()
        .map(|key| {
            redis
                .command(&["MEMORY", "USAGE", key, "SAMPLES", "0"])
                .number()
        })
        .sum();
    println!("{bytes} bytes for {given_up} claims that were given up");
    assert!(redis.keys().len() < 5, "{} keys", redis.keys().len());
    assert!(bytes < 1_500_000, "{bytes} bytes");
    assert_eq!(redis.command(&["ZCARD", MARKS]).number(), 10_000);
    // The last ones are those that may arrive yet.
    for id in [given_up, given_up - 9_000] {
        assert_eq!(claims.claim(1, spread(id)), Void, "{id}");
    }
    assert_eq!(claims.claim(1, spread(1)), CLAIMED);
    let left = redis.command(&["PTTL", MARKS]).number();
    assert!((500_000..=600_000).contains(&left), "{left}");
}

/// The client of a request that this Envoy has let pass by itself leaves, and only then Redis gets the claim.
#[test]
fn a_claim_that_arrives_after_its_client_has_left_claims_nothing() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(10, OnFull::Reject));
    claims.settle(1, 1, UpstreamOutcome::ClientGone);
    assert_eq!(claims.claim(1, 1), Void);
    assert_eq!(claims.claim(1, 2), CLAIMED);
}
