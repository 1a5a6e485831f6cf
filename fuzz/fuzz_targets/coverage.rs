//! Content type, content coding, query and body: what covers a body, if anything does.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::core::signature::coverage::{Coverage, DeclaredBody};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
    /// Whether the content type is the form's, with what was drawn behind it.
    form: bool,
    query: &'a [u8],
    body: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let form = b"application/x-www-form-urlencoded";
    let content_type = match (input.form, input.content_type) {
        (true, behind) => Some([form, behind.unwrap_or_default()].concat()),
        (false, content_type) => content_type.map(<[u8]>::to_vec),
    };
    let declared = DeclaredBody::new(Ok(content_type.as_deref()), Ok(input.content_encoding));
    match Coverage::of(declared, input.body, input.query) {
        Ok(Coverage::Empty) => assert!(input.body.is_empty()),
        Ok(Coverage::Form) => {
            let content_type = content_type.expect("a form says that it is one");
            let essence = content_type.trim_ascii_start();
            assert!(
                essence
                    .get(..form.len())
                    .is_some_and(|own| own.eq_ignore_ascii_case(form))
            );
        }
        Ok(Coverage::Hash(_)) => {
            let looks_like_a_form = content_type.is_some_and(|content_type| {
                let mut windows = content_type.windows(form.len());
                windows.any(|window| window.eq_ignore_ascii_case(form))
            });
            assert!(
                !looks_like_a_form,
                "a form is covered by its parameters alone"
            );
        }
        Err(_) => assert!(!input.body.is_empty()),
    }
});
