//! The configuration: JSON first, then the environment, then defaults.
//!
//! - [`settings`]: the types of a valid configuration
//! - [`load`]: from JSON and environment to those, or to the list of all mistakes
//! - [`reader`]: JSON values that know their path, and the list of mistakes
//! - `document`: from bytes to JSON, or words for what was pasted instead

mod document;
pub mod load;
pub mod reader;
pub mod settings;
