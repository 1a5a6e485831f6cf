//! The configuration: JSON, then the environment, then defaults; all checked, or rejected.
//!
//! - [`settings`]: what the rest of the filter works with
//! - [`load`]: how that comes from JSON and environment
//! - [`reader`]: JSON values that know their path, and the list of what is wrong
//! - `document`: bytes to JSON, or words for what was pasted instead

mod document;
pub mod load;
pub mod reader;
pub mod settings;
