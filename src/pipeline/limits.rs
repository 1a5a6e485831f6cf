//! The rate limits that a request is under.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::cas_map::{CasError, CasMap};
use crate::config::settings::{Count, RuleKey, RuleSettings};
use crate::pipeline::verdict::{Limited, Rejection};
use crate::reason::Reason;
use crate::request::client_address::ClientAddress;
use crate::signature::form::Form;
use crate::store::local::limiter::{CheckResult, Limiter};
use crate::time::{Millis, Timestamp};

/// The key of the hash that spreads addresses and parameter values over buckets.
/// It is random for each process, or, for counters that several Envoys share, made from
/// what is secret between them: nobody can choose values that collide.
#[derive(Clone, Copy)]
pub struct HashKey(pub [u8; 16]);

/// The rules of one webhook, with their counters.
pub struct Rules {
    rules: Vec<Rule>,
}

struct Rule {
    key: RuleKey,
    count: Count,
    limiter: Limiter,
}

/// A rule that looks at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitCheck {
    /// Its place among the rules of the webhook.
    pub rule: usize,
    /// Under key_hash: a keyed hash.
    pub key_hash: u64,
    /// Whether the request is counted, or is only rejected if the limit is used up.
    pub counts: bool,
}

/// When a rule looks at a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// At its headers: only the client's address and the webhook are known.
    Headers,
    /// After the signature has been checked: account and parameters can be trusted.
    Authenticated,
}

/// What rules count by.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Who sent the request.
    pub client: &'a ClientAddress,
    /// Which webhook it is for.
    pub webhook: usize,
    /// What the signature vouches for.
    pub authenticated: Option<Authenticated<'a>>,
}

/// What the signature vouches for.
#[derive(Clone, Copy)]
pub struct Authenticated<'a> {
    /// The account: of the key, or else as the parameters have it.
    pub account: &'a [u8],
    /// The parameters of the form.
    pub form: Option<&'a Form>,
    /// The parameters of the query.
    pub query: &'a Form,
}

impl Rules {
    /// Rules with counters for `capacity` keys each.
    pub fn new(settings: &[RuleSettings], capacity: usize) -> Rules {
        let rule = |settings: &RuleSettings| Rule {
            key: settings.key.clone(),
            count: settings.count,
            limiter: Limiter::new(&table_name(settings), settings.limit, capacity),
        };
        Rules {
            rules: settings.iter().map(rule).collect(),
        }
    }

    /// Whether any rule acts at this stage.
    pub fn act_at(&self, stage: Stage) -> bool {
        self.rules.iter().any(|rule| rule.stage() == stage)
    }

    /// Which rules of this stage look at a request, and under key_hash.
    pub fn due<'a>(
        &'a self,
        stage: Stage,
        subject: Subject<'a>,
        hash_key: HashKey,
    ) -> impl Iterator<Item = LimitCheck> + Clone + 'a {
        self.dues(subject, hash_key, move |rule| rule.stage() == stage)
            .map(|due| LimitCheck {
                counts: !self.is_of_rejections(due),
                ..due
            })
    }

    /// Which rules count a rejection, and under key_hash: rules of rejections, and of a replay
    /// only those by what the replayer cannot choose.
    pub fn due_for<'a>(
        &'a self,
        rejection: &Rejection,
        subject: Subject<'a>,
        hash_key: HashKey,
    ) -> impl Iterator<Item = LimitCheck> + 'a {
        let (counts, is_replay) = (rejection.is_counted(), rejection.comes_with_a_replay());
        self.dues(subject, hash_key, move |rule| {
            counts && rule.count == Count::Rejected && (rule.key.is_known_early() || !is_replay)
        })
    }

    fn dues<'a>(
        &'a self,
        subject: Subject<'a>,
        hash_key: HashKey,
        wanted: impl Fn(&Rule) -> bool + Clone + 'a,
    ) -> impl Iterator<Item = LimitCheck> + Clone + 'a {
        let rules = self.rules.iter().enumerate();
        rules.filter_map(move |(index, rule)| {
            if !wanted(rule) {
                return None;
            }
            Some(LimitCheck {
                rule: index,
                key_hash: rule.key_hash(subject, hash_key)?,
                counts: true,
            })
        })
    }

    fn is_of_rejections(&self, due: LimitCheck) -> bool {
        let rule = self.rules.get(due.rule);
        rule.is_some_and(|rule| rule.count == Count::Rejected)
    }

    /// The counters of a rule.
    pub fn limiter(&self, due: LimitCheck) -> Option<&Limiter> {
        self.rules.get(due.rule).map(|rule| &rule.limiter)
    }

    /// Counts a request by every rule that is due, or by none: what one rule
    /// rejects, the others have not counted.
    ///
    /// # Errors
    /// The rejection, by the first rule that is used up; [`Reason::StoreUnavailable`].
    pub fn admit(
        &self,
        due: impl Iterator<Item = LimitCheck> + Clone,
        store: &impl CasMap,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        let all = due.clone();
        for (index, due) in due.enumerate() {
            let Some(limiter) = self.limiter(due) else {
                continue;
            };
            let wait = if due.counts {
                limiter
                    .check_and_count(store, due.key_hash, now)
                    .map(|taken| match taken {
                        CheckResult::Limited(wait) => Some(wait),
                        CheckResult::Permitted(_) => None,
                    })
            } else {
                limiter.check(store, due.key_hash, now)
            };
            let rejection = match wait {
                Ok(None) => continue,
                Ok(Some(wait)) => limited(limiter, wait),
                Err(error) => unavailable(error),
            };
            for counted in all.take(index).filter(|due| due.counts) {
                if let Some(limiter) = self.limiter(counted) {
                    // A count that cannot be taken back counts: nothing passes for it.
                    let _ = limiter.undo(store, counted.key_hash, limiter.permit_at(now), now);
                }
            }
            return Err(rejection);
        }
        Ok(())
    }

    /// Counts a rejected request by the rules that count just those. Where that is
    /// one rejection too many, the rate limit is the answer.
    pub fn count_rejection(
        &self,
        due: impl Iterator<Item = LimitCheck>,
        store: &impl CasMap,
        now: Timestamp,
    ) -> Option<Rejection> {
        let mut answer = None;
        for due in due {
            let Some(limiter) = self.limiter(due) else {
                continue;
            };
            // It is rejected as it is: a store that fails changes nothing about that.
            if let Ok(CheckResult::Limited(wait)) =
                limiter.check_and_count(store, due.key_hash, now)
            {
                answer = Some(limited(limiter, wait));
            }
        }
        answer
    }
}

impl Rule {
    fn stage(&self) -> Stage {
        match self.count {
            Count::Authenticated => Stage::Authenticated,
            Count::All | Count::Rejected if self.key.is_known_early() => Stage::Headers,
            // Before the signature is checked anybody could use up another's limit.
            Count::All | Count::Rejected => Stage::Authenticated,
        }
    }

    /// A keyed hash of whom the rule counts; `None` while that cannot be known.
    fn key_hash(&self, subject: Subject<'_>, hash_key: HashKey) -> Option<u64> {
        let mut hasher = SipHasher24::new_with_key(&hash_key.0);
        match &self.key {
            RuleKey::ClientIp => hasher.write(&subject.client.counted),
            RuleKey::Webhook => hasher.write_usize(subject.webhook),
            RuleKey::Account => hasher.write(subject.authenticated?.account),
            RuleKey::Param(name) => {
                let authenticated = subject.authenticated?;
                let form = authenticated.form.into_iter();
                let of_form = form.flat_map(|form| form.values(name.as_bytes()));
                let of_query = authenticated.query.values(name.as_bytes());
                // All values, with their lengths: those without any are counted together.
                for value in of_form.chain(of_query) {
                    hasher.write_usize(value.len());
                    hasher.write(value);
                }
            }
        }
        Some(hasher.finish())
    }
}

/// The rejection by a limit that is used up for so long.
pub fn limited(limiter: &Limiter, wait: Millis) -> Rejection {
    Rejection::from(Limited {
        limit: limiter.limit(),
        wait,
    })
}

/// Counters belong to a rule as it is configured: whoever changes a rule starts anew.
fn table_name(settings: &RuleSettings) -> String {
    let RuleSettings {
        key,
        count,
        limit,
        scope,
    } = settings;
    format!(
        "limit:{scope}:{}:{}:{}:{}",
        key.as_configured(),
        count.as_configured(),
        limit.requests,
        limit.window.0
    )
}

/// No answer from the store, or too many that collided: the request is rejected.
pub fn unavailable(error: CasError) -> Rejection {
    match error {
        CasError::Unavailable | CasError::Contended => Rejection::from(Reason::StoreUnavailable),
    }
}
