use crate::kinds::LIMIT;

/// What a fault has done.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) held: u64,
    pub(super) lost: u64,
    /// Requests that failed, of whatever kind.
    pub(super) failed: u64,
    /// Orders that the upstream was given again although it had taken them.
    pub(super) twice: u64,
    /// How many of the orders from before the fault passed again after it, of [`Outcome::tried`].
    pub(super) replayed: usize,
    pub(super) tried: usize,
    /// How many requests of the flood reached the upstream, which is to be the limit or less.
    pub(super) flood: u64,
}

impl Outcome {
    #[track_caller]
    pub(super) fn assert_nothing_lost_or_twice(&self) {
        assert_eq!((self.lost, self.held), (0, 0), "lost: {self:?}");
        self.assert_nothing_twice();
    }

    #[track_caller]
    pub(super) fn assert_nothing_twice(&self) {
        assert_eq!((self.twice, self.replayed), (0, 0), "twice: {self:?}");
        assert!(self.tried >= 20, "{self:?}");
        assert!(self.flood <= LIMIT, "over the limit: {self:?}");
    }

    /// What is documented of an Envoy that begins with an empty memory.
    #[track_caller]
    pub(super) fn assert_forgotten(&self) {
        assert_eq!((self.lost, self.held), (0, 0), "lost: {self:?}");
        assert_eq!(self.replayed, self.tried, "remembered: {self:?}");
        assert!(self.tried >= 20, "{self:?}");
        assert!(self.flood <= LIMIT * 2, "over the limits: {self:?}");
    }
}
