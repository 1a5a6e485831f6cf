//! The variants of one part of the URL, and the mistake that each of them is.

/// A variant of a part of the URL.
pub(super) struct Variant {
    pub(super) text: Vec<u8>,
    /// How unlikely it is; 0 is as configured.
    pub(super) rank: u8,
    /// Whether nothing in the request suggests it.
    pub(super) is_guess: bool,
    pub(super) mistake: Mistake,
}

/// The mistake if a variant matches, to be put into words only then.
#[derive(Clone, Copy)]
pub(super) enum Mistake {
    None,
    Scheme,
    /// The host, the port, or both.
    Authority,
    Said(&'static str),
    /// The path is in this header.
    Header(&'static str),
}

/// The variants of a part, in the order of their ranks.
pub(super) struct Part(pub(super) Vec<Variant>);

impl Part {
    pub(super) fn new(right: impl Into<Vec<u8>>) -> Part {
        Part(vec![Variant {
            text: right.into(),
            rank: 0,
            is_guess: false,
            mistake: Mistake::None,
        }])
    }

    /// Adds a variant.
    pub(super) fn add(&mut self, rank: u8, text: Vec<u8>, mistake: Mistake) {
        self.insert(rank, false, text, mistake);
    }

    /// Adds a guess.
    pub(super) fn guess(&mut self, rank: u8, text: Vec<u8>, mistake: Mistake) {
        self.insert(rank, true, text, mistake);
    }

    /// Inserts a variant after those of its rank, unless its text is there already.
    #[inline(never)]
    fn insert(&mut self, rank: u8, is_guess: bool, text: Vec<u8>, mistake: Mistake) {
        if self.0.iter().any(|variant| variant.text == text) {
            return;
        }
        let index = self.up_to(rank).count();
        let variant = Variant {
            text,
            rank,
            is_guess,
            mistake,
        };
        self.0.insert(index, variant);
    }

    /// Adds a variant whose mistake is a fixed text.
    pub(super) fn say(&mut self, rank: u8, text: Vec<u8>, mistake: &'static str) {
        self.add(rank, text, Mistake::Said(mistake));
    }

    /// Returns the variants of at most this rank.
    pub(super) fn up_to(&self, rank: u8) -> impl Iterator<Item = &Variant> {
        self.0
            .iter()
            .take_while(move |variant| variant.rank <= rank)
    }
}
