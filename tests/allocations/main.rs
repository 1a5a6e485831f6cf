//! How often a request asks for memory, in the whole and in the part that takes longest.
#![allow(unsafe_code)] // An allocator that counts is one.

/// The allocator of these tests.
mod counting;

/// Of taking a form apart and verifying it.
mod signature;

/// Of the whole decision on a request.
mod decision;
