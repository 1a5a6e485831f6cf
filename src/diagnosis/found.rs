//! What a search has found to be signed, kept for the companion, which shows where it parts from
//! what the filter signs. The filter itself keeps nothing: there it is a type without a size.

#[cfg(feature = "companion")]
mod kept {
    /// The beginning of a message that is tried.
    #[derive(Clone)]
    pub struct Trail(Vec<u8>);

    impl Trail {
        /// Returns the empty beginning.
        pub fn new() -> Trail {
            Trail(Vec::new())
        }

        /// Appends to it.
        pub fn push(&mut self, pieces: &[&[u8]]) {
            for piece in pieces {
                self.0.extend_from_slice(piece);
            }
        }

        /// Returns the whole message.
        pub fn message(&self) -> &[u8] {
            &self.0
        }
    }
}

#[cfg(not(feature = "companion"))]
mod kept {
    /// The beginning of a message that is tried, of which nothing is kept.
    #[derive(Clone)]
    pub struct Trail;

    impl Trail {
        /// Returns the beginning of which nothing is kept.
        #[inline(always)]
        pub fn new() -> Trail {
            Trail
        }

        /// Keeps nothing.
        #[inline(always)]
        pub fn push(&mut self, _: &[&[u8]]) {}

        /// Returns nothing.
        #[inline(always)]
        pub fn message(&self) -> &[u8] {
            b""
        }
    }
}

pub(super) use kept::Trail;
