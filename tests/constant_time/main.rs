//! Verifying takes the same number of instructions wherever a forged signature differs
//! from the right one, and whichever of several keys it is closest to.
//!
//! Times vary; instruction counts do not. Each case runs in a process of its own under
//! valgrind's callgrind, which counts the instructions of one call of [`judge`] (and of
//! all that it calls). The processes differ in nothing but bytes of the signature, so
//! the counts have to be equal: not nearly, but to the instruction.
//!
//! What is counted is this machine's build of the code. Envoy's V8 compiles the same
//! source once more; `subtle`, which compares, is written so that a compiler has no
//! reason to stop early, and what was a loop over all bytes here is one there.

use support::callgrind::{self, CASE};
use support::signing::{base64, hmac_sha1};
use twilio_webhook_filter::{
    ClaimedMac, ConfiguredUrl, Form, Key, Keyring, PublicUrl, Secret, Signed, SigningKey, Target,
    verify,
};

const URL: &str = "https://h.example/hook";
const BODY: &[u8] = b"Body=2+tacos&From=whatsapp%3A%2B5215512345678&MessageSid=SM01234567";
const MESSAGE: &[u8] =
    b"https://h.example/hookBody2 tacosFromwhatsapp:+5215512345678MessageSidSM01234567";

/// One request: how many keys are configured, which of them the signature is made with,
/// and which of its bytes are changed. In fixed width: the environment of all processes
/// has to be of one size, because their stacks begin behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    judged_by: u8,
    keys: usize,
    closest: usize,
    first_changed: usize,
    last_changed: usize,
}

/// The filter's own way.
const BY_FILTER: u8 = b'f';
/// A comparison that stops at the first difference, to see that it would show.
const BY_EARLY_EXIT: u8 = b'e';

impl Case {
    fn to_text(self) -> String {
        let Case {
            judged_by,
            keys,
            closest,
            first_changed,
            last_changed,
        } = self;
        let judged_by = char::from(judged_by);
        format!("{judged_by} {keys:02} {closest:02} {first_changed:02} {last_changed:02}")
    }

    fn from_text(text: &str) -> Case {
        let mut parts = text.split(' ');
        let mut next = || parts.next().expect("five parts");
        let judged_by = next().as_bytes()[0];
        let mut number = || next().parse().expect("a number");
        Case {
            judged_by,
            keys: number(),
            closest: number(),
            first_changed: number(),
            last_changed: number(),
        }
    }

    /// The right signature of the closest key, with some of its bytes changed.
    fn claimed(self) -> [u8; 20] {
        let mut mac = hmac_sha1(token(self.closest).as_bytes(), MESSAGE);
        for byte in &mut mac[self.first_changed..=self.last_changed] {
            *byte ^= 0x55;
        }
        mac
    }
}

fn token(index: usize) -> String {
    format!("token number {index:02}")
}

/// What is counted. Its name is what valgrind knows it by.
#[inline(never)]
fn judge(keyring: &Keyring, public: &PublicUrl, form: &Form, claimed: &ClaimedMac) -> bool {
    let signed = Signed {
        target: Target::new(b"/hook", false),
        form: Some(form),
        claimed,
        settings: None,
    };
    verify(keyring, public, signed).is_ok()
}

#[inline(never)]
fn judge_with_an_early_exit(left: &[u8], right: &[u8]) -> bool {
    for (left, right) in left.iter().zip(right) {
        if std::hint::black_box(left) != right {
            return false;
        }
    }
    true
}

/// This is what runs under valgrind. Without [`CASE`] there is nothing to do.
#[test]
fn the_case_that_runs_under_valgrind() {
    let Some(case) = std::env::var(CASE).ok().as_deref().map(Case::from_text) else {
        return;
    };
    let key = |index: usize| Key {
        signing: SigningKey::auth_token(&Secret::new(token(index))).expect("a token"),
        account: None,
        label: format!("key {index:02}"),
        shared_id: None,
    };
    let keyring = Keyring::new((0..case.keys).map(key).collect());
    let public = PublicUrl::configured(&ConfiguredUrl::parse(URL).expect("a URL"));
    let form = Form::parse(BODY);
    let mac = case.claimed();
    let header = base64(&mac);
    let claimed = ClaimedMac::parse(header.as_bytes()).expect("a signature");
    if case.judged_by == BY_FILTER {
        assert!(!judge(&keyring, &public, &form, &claimed), "it is forged");
    } else {
        let right = Case {
            first_changed: 1,
            last_changed: 0,
            ..case
        };
        assert!(
            !judge_with_an_early_exit(&mac, &right.claimed()),
            "it is forged"
        );
    }
}

/// The instructions of `judge` in a case.
fn instructions(case: Case) -> u64 {
    callgrind::instructions("judge", &case.to_text())
}

/// A forged signature: the closest key's, all of it changed.
const FORGED: Case = Case {
    judged_by: BY_FILTER,
    keys: 1,
    closest: 0,
    first_changed: 0,
    last_changed: 19,
};

/// Everything in one test: the cases run one after the other, each for about a second.
#[test]
fn the_number_of_instructions_tells_nothing_about_a_forged_signature() {
    let of_all_bytes = instructions(FORGED);
    assert_eq!(
        instructions(FORGED),
        of_all_bytes,
        "the measurement repeats itself"
    );

    // Where the signature differs.
    for (first_changed, last_changed) in [(0, 0), (1, 1), (10, 10), (19, 19), (0, 9), (10, 19)] {
        let case = Case {
            first_changed,
            last_changed,
            ..FORGED
        };
        assert_eq!(instructions(case), of_all_bytes, "{case:?}");
    }

    // Which of several keys comes close, by all but the last byte or the first.
    let several = Case { keys: 5, ..FORGED };
    let of_several = instructions(several);
    for closest in 0..5 {
        for changed in [0, 19] {
            let case = Case {
                closest,
                first_changed: changed,
                last_changed: changed,
                ..several
            };
            assert_eq!(instructions(case), of_several, "{case:?}");
        }
    }

    // No key is left out: each one costs the same again, and that is a whole HMAC or two.
    let of_three = instructions(Case { keys: 3, ..FORGED });
    let of_two = instructions(Case { keys: 2, ..FORGED });
    let for_each = of_three - of_two;
    println!("one key: {of_all_bytes} instructions; for each further key {for_each}");
    assert!(for_each > of_all_bytes / 2, "{for_each} of {of_all_bytes}");
    assert_eq!(of_several - of_three, 2 * for_each);
}

/// The measurement would show what it looks for.
#[test]
fn a_comparison_that_stops_early_would_be_noticed() {
    let at = |changed| Case {
        judged_by: BY_EARLY_EXIT,
        first_changed: changed,
        last_changed: changed,
        ..FORGED
    };
    assert!(instructions(at(0)) < instructions(at(10)));
    assert!(instructions(at(10)) < instructions(at(19)));
}
