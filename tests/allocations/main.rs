//! How often the path of a webhook's signature asks for memory: for the decoded bytes,
//! for the list of parameters, and for the message. Not for each parameter.
#![allow(unsafe_code)] // An allocator that counts is one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use twilio_webhook_filter::core::secret::Secret;
use twilio_webhook_filter::core::signature::form::Form;
use twilio_webhook_filter::core::signature::key::{ClaimedMac, SigningKey};
use twilio_webhook_filter::core::signature::keyring::{Key, Keyring};
use twilio_webhook_filter::core::signature::url::{ConfiguredUrl, PublicUrl, Target};
use twilio_webhook_filter::core::signature::verify::{Signed, verify};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all of it is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread asks for memory meanwhile; to grow is to ask again.
fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = COUNT.get();
    std::hint::black_box(work());
    COUNT.get() - before
}

/// As many parameters, of about 750 bytes in all, in an order that has to be sorted.
fn body(parameters: usize) -> Vec<u8> {
    let value = "x%20y+".repeat(120 / parameters.max(1));
    let name = |place: usize| format!("Parameter{}={value}", place * 7 % parameters);
    let pieces: Vec<_> = (0..parameters).map(name).collect();
    pieces.join("&").into_bytes()
}

#[test]
fn a_form_takes_two_allocations_however_many_parameters_it_has() {
    for parameters in [1, 2, 20, 32] {
        let body = body(parameters);
        assert_eq!(allocations(|| Form::parse(&body)), 2, "{parameters}");
    }
    // The list is made for as many as a message has; for more it grows by doubling.
    let body = body(500);
    assert!(allocations(|| Form::parse(&body)) <= 6);
}

#[test]
fn to_verify_takes_one_allocation_more_whatever_the_number_of_keys_and_urls() {
    let key = |place: usize| Key {
        signing: SigningKey::auth_token(&Secret::new(format!("token {place}"))).expect("a token"),
        account: None,
        label: String::new(),
        shared_id: None,
    };
    let url = ConfiguredUrl::parse("https://h.example:8443/hook").expect("a URL");
    let public = PublicUrl::configured(&url);
    let claimed = ClaimedMac::parse(b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("a signature");
    let body = body(20);
    let form = Form::parse(&body);
    for keys in [1, 2, 20] {
        let keyring = Keyring::new((0..keys).map(key).collect());
        let signed = Signed {
            target: Target::new(b"/hook", false),
            form: Some(&form),
            claimed: &claimed,
            settings: None,
        };
        assert_eq!(
            allocations(|| verify(&keyring, &public, signed).is_some()),
            1,
            "{keys}"
        );
    }
}
