//! What a strict form is, as plainly as it can be said.

/// Why a form is not strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    EmptyPiece,
    NoEquals,
    SecondEquals,
    Semicolon,
    Blank,
    Control,
    HighByte,
    BrokenEscape,
    TooMany,
}

impl Rule {
    pub const ALL: [Rule; 9] = [
        Rule::EmptyPiece,
        Rule::NoEquals,
        Rule::SecondEquals,
        Rule::Semicolon,
        Rule::Blank,
        Rule::Control,
        Rule::HighByte,
        Rule::BrokenEscape,
        Rule::TooMany,
    ];

    /// As the documentation calls it, who reads a form that breaks this rule alone otherwise than it is signed, and what
    /// they make of it.
    fn row(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            Rule::EmptyPiece => (
                "an empty piece",
                &["Ruby"],
                "A parameter of neither name nor value.",
            ),
            Rule::NoEquals => (
                "a piece without `=`",
                &["Rack"],
                "A parameter without a value, and not with an empty one.",
            ),
            Rule::SecondEquals => (
                "a second raw `=` in a piece",
                &["qs", "Express simple", "Express extended"],
                "In `a=[b]=c` the name is `a=[b]`.",
            ),
            Rule::Semicolon => (
                "a raw `;`",
                &["Go", "CGI"],
                "Perl's CGI separates there; Go rejects the form, or loses the parameter where nobody looks at the error.",
            ),
            Rule::Blank => ("a raw blank", &["Rack"], "One behind an `&` is dropped."),
            Rule::Control => (
                "a raw control byte",
                &["PHP"],
                "A NUL ends the form. (Rack drops one at the end.)",
            ),
            Rule::HighByte => (
                "a raw byte above 0x7F",
                &[
                    "querystring",
                    "URLSearchParams",
                    "qs",
                    "Express simple",
                    "Express extended",
                    "busboy",
                    "fast-querystring",
                    "urllib",
                    "Django",
                    "Werkzeug",
                    "Starlette",
                    "Ruby",
                ],
                "Where they are no UTF-8, U+FFFD; busboy and Starlette take them for Latin-1, and Ruby rejects the form.",
            ),
            Rule::BrokenEscape => (
                "a `%` without two hexadecimal digits",
                &[
                    "qs",
                    "Express simple",
                    "Express extended",
                    "busboy",
                    "fast-querystring",
                    "Go",
                    "Rack",
                    "CGI",
                ],
                "Go, Rack and busboy reject the form, qs and fast-querystring leave the whole value escaped, and Perl's CGI decodes `%u0041`.",
            ),
            Rule::TooMany => (
                "more than 500 pieces",
                &[
                    "querystring",
                    "qs",
                    "Express simple",
                    "Express extended",
                    "Django",
                    "Starlette",
                    "PHP",
                ],
                "The parameters behind the 1000th are lost; Express, Django and Starlette reject the form.",
            ),
        }
    }

    pub fn name(self) -> &'static str {
        self.row().0
    }

    pub fn readers(self) -> &'static [&'static str] {
        self.row().1
    }

    pub fn what(self) -> &'static str {
        self.row().2
    }
}

/// The most pieces that a form may have.
pub const MAX_PIECES: usize = 500;

/// Every rule that a form breaks.
pub fn broken(body: &[u8]) -> Vec<Rule> {
    let pieces: Vec<&[u8]> = body.split(|byte| *byte == b'&').collect();
    let equals = |piece: &[u8]| piece.iter().filter(|byte| **byte == b'=').count();
    let is_escape = |at: usize| {
        let digits = body.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let breaks = |rule: &Rule| match rule {
        Rule::EmptyPiece => pieces.iter().any(|piece| piece.is_empty()),
        Rule::NoEquals => pieces
            .iter()
            .any(|piece| !piece.is_empty() && equals(piece) == 0),
        Rule::SecondEquals => pieces.iter().any(|piece| equals(piece) > 1),
        Rule::Semicolon => body.contains(&b';'),
        Rule::Blank => body.contains(&b' '),
        Rule::Control => body.iter().any(|byte| *byte < b' ' || *byte == 0x7F),
        Rule::HighByte => body.iter().any(|byte| *byte > 0x7F),
        Rule::BrokenEscape => (0..body.len()).any(|at| body[at] == b'%' && !is_escape(at)),
        Rule::TooMany => pieces.len() > MAX_PIECES,
    };
    Rule::ALL.into_iter().filter(breaks).collect()
}
