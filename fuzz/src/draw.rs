//! Decisions and texts, drawn from what the fuzzer hands in.
//!
//! One byte after the other and from the front, so that a byte that the fuzzer changes changes one decision and
//! leaves those before it alone. Where the bytes end every decision is the first one, and every text empty.

/// What is left to decide with.
pub struct Draw<'a> {
    rest: &'a [u8],
}

/// Bytes that mean something to a decoder, a splitter or a sorter.
const TELLING: &[u8] = b"abAB01zZ&=+% ;:/?#.-_~\"\\\0\r\n\x7F\x80\xC3\xA9\xFF";

/// Words that mean something to the filter, and what each has to stand before to mean it.
const WORDS: [&str; 12] = [
    "Body",
    "From",
    "AccountSid",
    "AccountSidAC",
    "MessageSid",
    "MessageSidSM",
    "SmsMessageSidSM",
    "CallSidCA",
    "0123456789abcdef0123456789ABCDEF",
    "Timestamp",
    "bodySHA256",
    "%41",
];

impl<'a> Draw<'a> {
    /// Everything is yet to be decided.
    pub fn new(rest: &'a [u8]) -> Self {
        Draw { rest }
    }

    /// One byte, zero at the end.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// A number below `of`, which is not above 256.
    pub fn below(&mut self, of: usize) -> usize {
        usize::from(self.byte()) % of
    }

    /// Yes in one case of so many.
    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == of - 1
    }

    /// One of a list.
    pub fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A text of up to `most` pieces: telling bytes, words, any bytes.
    pub fn text(&mut self, most: usize) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.below(most + 1) {
            match self.byte() {
                byte @ 0..0xC0 => text.push(TELLING[usize::from(byte) % TELLING.len()]),
                byte @ 0xC0..0xF0 => text.extend(WORDS[usize::from(byte) % WORDS.len()].bytes()),
                _ => text.push(self.byte()),
            }
        }
        text
    }

    /// Up to `most` names and values.
    pub fn pairs(&mut self, most: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs: Vec<_> = (0..self.below(most + 1))
            .map(|_| (self.text(4), self.text(6)))
            .collect();
        // Not often enough do two names begin alike by themselves.
        let alike =
            |(index, (name, value)): (usize, &(Vec<u8>, Vec<u8>))| match (index % 3, pairs.first())
            {
                (1, Some((first, _))) => ([first.as_slice(), name].concat(), value.clone()),
                (2, Some((first, _))) => (first.clone(), value.clone()),
                _ => (name.clone(), value.clone()),
            };
        match self.one_in(2) {
            true => pairs.iter().enumerate().map(alike).collect(),
            false => pairs,
        }
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len().min(256)).rev() {
            items.swap(index, self.below(index + 1));
        }
    }

    /// All that is left, as it is.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}
