//! How often a request asks for memory, in the whole and in the part that takes longest.
#![allow(unsafe_code)] // An allocator that counts is one.

/// The allocator of these tests.
mod counting;

/// Of taking a form apart and verifying it.
mod signature;

/// Of the whole decision on a request.
mod decision;

#[path = "../common/decision.rs"]
mod deciding;
#[path = "../common/message.rs"]
mod message;
#[allow(dead_code)] // Other tests need more of it.
#[path = "../common/tables.rs"]
mod tables;
