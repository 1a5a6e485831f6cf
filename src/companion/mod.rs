//! What the command line and the page share: reading captured requests, explaining, signing.
//!
//! It is pure: text and time come in, text goes out. It decides nothing itself. A captured request
//! takes the way of a real one, through [`Filter`](crate::Filter), and the filter's diagnosis says
//! why its signature does not fit, so that both say the same.
//!
//! - `captured`: requests as people have them at hand: raw HTTP, curl, HAR, JSON
//! - `explain`: what the filter makes of a captured request
//! - `configuration`: the filter's configuration where there is just a URL and a token
//! - `parts`: what was signed, part by part, beside what the filter signs
//! - `mask`: what is shown of personal data
//! - `advice`: what to do about a verdict
//! - `sign`: the headers of a request that is to pass
//! - `page`: what the page in the browser asks and gets
//! - `encode`: how Twilio spells forms

pub mod advice;
pub mod captured;
pub mod configuration;
pub mod encode;
pub mod explain;
pub mod mask;
pub mod page;
pub mod parts;
pub mod sign;
