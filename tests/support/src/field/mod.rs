//! Requests and mistakes from the field, as they are written down in `tests/vectors`; its README says how to read them.

/// The cases as they are written down.
pub mod cases;

/// A request of a case, with its placeholders filled in and signed.
pub mod request;
