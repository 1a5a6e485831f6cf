//! Whether a path belongs to a webhook. Paths are compared byte for byte: another spelling
//! belongs to no webhook, and is rejected.

use crate::copied::{is_blank, trim};
use crate::signature::urlencoded::{decode, hex_digit};

/// A configured path: exact, or everything below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// The exact path, or the prefix up to and with its last slash.
    text: String,
    is_prefix: bool,
    /// The path as the most lenient upstream would read it.
    plain: Vec<u8>,
}

impl PathPattern {
    /// Parses `/exact/path` or `/prefix/*`.
    ///
    /// # Errors
    /// One sentence that says what a path has to look like.
    pub fn parse(text: &str) -> Result<PathPattern, &'static str> {
        if !text.starts_with('/') {
            return Err("a path that starts with a slash");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['?', '#']) {
            return Err("a path of visible ASCII characters without query and fragment");
        }
        let (text, is_prefix) = match text.strip_suffix("/*") {
            Some(prefix) => (format!("{prefix}/"), true),
            None => (text.to_owned(), false),
        };
        if text.contains('*') {
            return Err("a path with * only as its last segment (/prefix/*)");
        }
        let plain = normalize_leniently(text.as_bytes());
        Ok(PathPattern {
            text,
            is_prefix,
            plain,
        })
    }

    /// Returns whether this is `/prefix/*`.
    pub fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// Returns whether a request's path, without its query, matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.is_prefix {
            path.strip_prefix(self.text.as_bytes())
                .is_some_and(is_contained)
        } else {
            path == self.text.as_bytes()
        }
    }

    /// Returns whether some upstream could take a path, given as [`normalize_leniently`] returns
    /// it, for one that matches.
    pub fn could_reach(&self, plain: &[u8]) -> bool {
        let own = self.plain.as_slice();
        if self.is_prefix {
            let below = plain.strip_prefix(own);
            below.is_some_and(|rest| own == b"/" || rest.is_empty() || rest.starts_with(b"/"))
        } else {
            plain == own
        }
    }

    /// Returns whether a leniently normalised path begins with this one, whatever follows:
    /// frameworks take `/webhook.json`, `/webhook/x` or `/webhook%20` for `/webhook`. The path `/`
    /// is excepted, since every path begins with it.
    ///
    /// What follows a prefix must not go on like its name: `/hooks.json` and `/hooks%20/a` may be
    /// below `/hooks/*` to somebody, `/hooks-2/a` is a name of its own.
    pub fn begins(&self, plain: &[u8]) -> bool {
        let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        let rest = plain.strip_prefix(self.plain.as_slice());
        self.plain != b"/"
            && rest.is_some_and(|rest| match self.is_prefix {
                true => rest.first().is_some_and(|next| !is_of_a_name(next)),
                false => true,
            })
    }

    /// Returns in what a path, given as received and leniently normalised, differs from this one,
    /// if it is a near miss.
    pub fn difference(&self, path: &[u8], plain: &[u8]) -> Option<&'static str> {
        let own = self.text.as_bytes();
        let is_root = self.plain == b"/";
        if self.is_prefix {
            return if is_root {
                None
            } else {
                self.difference_of_prefix(path, plain)
            };
        }
        fn trimmed(path: &[u8]) -> &[u8] {
            path.strip_suffix(b"/").unwrap_or(path)
        }
        if !is_root && trimmed(path) == trimmed(own) {
            return Some(if own.ends_with(b"/") {
                "by the slash that is missing at its end"
            } else {
                "by a slash at its end"
            });
        }
        if path.eq_ignore_ascii_case(own) {
            return Some("in capital and small letters");
        }
        if plain == self.plain {
            return Some(
                "in its spelling (// or /./, escapes, capital letters, a slash at its end)",
            );
        }
        if is_root || plain == b"/" {
            return None;
        }
        if plain.ends_with(&self.plain) {
            Some("by a prefix that the request has in front of it")
        } else if self.plain.ends_with(plain) {
            Some("by a prefix that the request lacks")
        } else if plain.starts_with(&self.plain) {
            Some("by what the request has behind it")
        } else {
            None
        }
    }

    /// The same for a prefix, which is not that of all paths.
    fn difference_of_prefix(&self, path: &[u8], plain: &[u8]) -> Option<&'static str> {
        if Some(path) == self.text.as_bytes().strip_suffix(b"/") {
            return Some("by the slash that is missing at its end");
        }
        if self.could_reach(plain) {
            return Some("in its spelling");
        }
        let own = [&self.plain, &b"/"[..]].concat();
        if plain.windows(own.len()).any(|part| part == own) {
            return Some("by a prefix that the request has in front of it");
        }
        // Without its first segments, in turn.
        let mut end = own.as_slice();
        while let Some((_, after)) = end.split_first() {
            end = after;
            if end.len() > 1 && end.starts_with(b"/") && plain.starts_with(end) {
                return Some("by a prefix that the request lacks");
            }
        }
        None
    }

    /// Returns the pattern as it is configured.
    pub fn as_configured(&self) -> String {
        if self.is_prefix {
            format!("{}*", self.text)
        } else {
            self.text.clone()
        }
    }
}

/// Returns whether what follows a prefix stays below it for every upstream.
///
/// `/public/../webhook` starts with `/public/`, and is the webhook to an upstream that resolves
/// dot segments. So dot segments, backslashes, path parameters, and escapes of these (or of `%`,
/// for an upstream that decodes twice) match no prefix. Empty segments are harmless.
fn is_contained(rest: &[u8]) -> bool {
    rest.split(|byte| *byte == b'/')
        .all(|segment| !matches!(segment, b"." | b"..") && is_plain(segment))
}

/// Returns a path as the most lenient upstream would read it: escapes decoded (twice), in lower
/// case, backslashes as slashes, without path parameters, empty and dot segments and the slash at
/// the end.
///
/// It serves rejections only: two paths that differ here, and as [`normalize_trimmed`] has them,
/// differ for every upstream; two that are equal may be the same for some.
pub fn normalize_leniently(path: &[u8]) -> Vec<u8> {
    normalize(path, |segment| segment)
}

/// Returns a path as an upstream would read it that also takes white space away from segments
/// (Spring once did), and dots from their ends (Windows does).
pub fn normalize_trimmed(path: &[u8]) -> Vec<u8> {
    normalize(path, |segment| {
        let Ok(text) = std::str::from_utf8(segment) else {
            return segment;
        };
        let mut name = trim(text, is_blank);
        if !matches!(name, "." | "..") {
            while let Some(shorter) = name.strip_suffix('.') {
                name = trim(shorter, is_blank);
            }
        }
        name.as_bytes()
    })
}

fn normalize(path: &[u8], trim: fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let mut bytes = path.to_vec();
    for _ in 0..2 {
        // An encoded plus would decode to a plus, which form decoding reads as a space.
        let mut plus_kept = Vec::with_capacity(bytes.len());
        for byte in bytes {
            match byte {
                b'+' => plus_kept.extend_from_slice(b"%2B"),
                other => plus_kept.push(other),
            }
        }
        bytes = decode(&plus_kept);
    }
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in bytes.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| matches!(byte, b';' | 0)).next();
        match trim(name.unwrap_or_default()) {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            name => segments.push(name.to_ascii_lowercase()),
        }
    }
    let mut plain = vec![b'/'];
    plain.extend_from_slice(&segments.join(&b'/'));
    plain
}

/// Returns the path of a request target (`:path`), without its query.
pub fn path_of(target: &[u8]) -> &[u8] {
    target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default()
}

/// Returns whether every upstream reads a segment as it is spelled.
fn is_plain(segment: &[u8]) -> bool {
    let mut bytes = segment.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' | b';' | b'#' | 0..=0x20 | 0x7F.. => return false,
            b'%' => {
                let digits = [bytes.next(), bytes.next()];
                let [Some(high), Some(low)] = digits else {
                    return false;
                };
                let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low)) else {
                    return false;
                };
                let is_special = |byte: u8| b"/\\.%;?#".contains(&byte) || byte.is_ascii_control();
                if is_special(high << 4 | low) {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::rows;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern = PathPattern::parse(pattern).expect(pattern);
        pattern.matches(path.as_bytes())
    }

    #[test]
    fn an_exact_path_matches_itself_and_no_other_spelling() {
        assert!(matches("/api/hook", "/api/hook"));
        let others = "/api/hook/ /api//hook //api/hook /API/hook /api/%68ook /api/./hook \
            /api%2Fhook /x/../api/hook /api/hook;x api/hook /api/hook%00";
        for other in others.split(' ').chain([""]) {
            assert!(!matches("/api/hook", other), "{other}");
        }
    }

    #[test]
    fn a_prefix_matches_what_lies_below_it() {
        let paths = "/hooks//a /hooks/ /hooks/a /hooks/a/b /hooks/a%20b /hooks/.well-known";
        for below in paths.split(' ') {
            assert!(matches("/hooks/*", below), "{below}");
        }
        assert!(!matches("/hooks/*", "/hooks"));
        assert!(!matches("/hooks/*", "/hooksx/a"));
    }

    #[test]
    fn nothing_leaves_a_prefix_by_its_spelling() {
        let escapes = "/hooks/.. /hooks/../admin /hooks/a/../../admin /hooks/%2e%2e/admin \
            /hooks/.%2E/admin /hooks/..%2fadmin /hooks/..\\admin /hooks/%5c.. /hooks/..;/admin \
            /hooks/%252e%252e/admin /hooks/% /hooks/%4 /hooks/%zz /hooks/%00 /hooks/a%3Fb \
            /hooks/a%23b /hooks/a#b /hooks/./a /hooks/\u{fc}";
        for escape in escapes.split(' ') {
            assert!(!matches("/hooks/*", escape), "{escape}");
        }
    }

    #[test]
    fn a_respelled_path_still_means_the_webhook() {
        let could_reach = |pattern: &str, path: &str| {
            let pattern = PathPattern::parse(pattern).expect(pattern);
            pattern.could_reach(&normalize_leniently(path.as_bytes()))
        };
        let spellings = "/Api/hook /api/hook //api///hook/ /api/./hook /x/../api/hook /api%2Fhook \
            /api%252fhook /api\\hook /api;v=1/hook;x /API/HOOK%00.png /../api/hook";
        for spelling in spellings.split(' ') {
            assert!(could_reach("/Api/hook", spelling), "{spelling}");
        }
        for other in "/api /api/hooks /api/hook/x /api/ho+ok /".split(' ') {
            assert!(!could_reach("/Api/hook", other), "{other}");
        }
        for (path, expected) in [("/HOOKS//a", true), ("/hooks", true), ("/hooksx", false)] {
            assert_eq!(could_reach("/hooks/*", path), expected, "{path}");
        }
    }

    #[test]
    fn what_may_be_taken_for_a_webhook_begins_like_one_and_goes_on_in_any_way() {
        let begins = |pattern: &str, path: &str| {
            let pattern = PathPattern::parse(pattern).expect(pattern);
            let plain = normalize_leniently(path.as_bytes());
            pattern.begins(&plain) && !pattern.could_reach(&plain)
        };
        for behind in ". .json ~ %20 %C3%A9 : ! ( ) , = %25 @ ./a ~/a %20/a .json/a".split(' ') {
            for pattern in ["/hooks", "/hooks/*"] {
                let path = format!("/Hooks{behind}");
                assert!(begins(pattern, &path), "{path} for {pattern}");
            }
        }
        for behind in "x 2 -2 _old x/a 2/a -2/a".split(' ') {
            let path = format!("/hooks{behind}");
            assert!(begins("/hooks", &path), "{path}");
            assert!(!begins("/hooks/*", &path), "{path}");
        }
        for pattern in ["/", "/*"] {
            assert!(!begins(pattern, "/.json"), "{pattern}");
        }
    }

    #[test]
    fn white_space_and_dots_around_segments_are_taken_away_where_an_upstream_may() {
        let cases = "
            /api%20/hook => /api/hook
            /api./hook... => /api/hook
            /%09api%20.%20/%C2%A0hook%E2%80%83 => /api/hook
            /x/..%20/api/hook => /api/hook
            /x/%20./api => /x/api
            /x/.../a => /x/a
            /.well-known/a.b => /.well-known/a.b
            /a%20b/c => /a b/c
        ";
        for [path, expected] in rows(cases) {
            let plain = normalize_trimmed(path.as_bytes());
            assert_eq!(plain, expected.as_bytes(), "{path}");
        }
        assert_eq!(normalize_trimmed(b"/%ff%20/a"), b"/\xff /a");
        // To an upstream that takes nothing away this is no dot segment.
        assert_eq!(normalize_leniently(b"/x/..%20"), b"/x/.. ");
    }

    #[test]
    fn in_what_a_path_differs_is_said_only_where_that_is_little() {
        let difference = |pattern: &str, path: &str| {
            let pattern = PathPattern::parse(pattern).expect(pattern);
            pattern.difference(path.as_bytes(), &normalize_leniently(path.as_bytes()))
        };
        let cases = "
            /hooks/* => /HOOKS/x => in its spelling
            /hooks/* => /hooks => by the slash that is missing at its end
            /hooks/* => /HOOKS => in its spelling
            /hooks/* => /v1/hooks/a => by a prefix that the request has in front of it
            /hooks/* => /v1/hooks =>
            /hooks/* => /v1/hooks2/a =>
            /api/hooks/* => /hooks/a => by a prefix that the request lacks
            /api/hooks/* => /hooks2/a =>
            /api/hooks/* => /a =>
            /hooks/* => /other =>
            /* => //x =>
            /a/ => /a => by the slash that is missing at its end
            /a => /a/ => by a slash at its end
            / => /x =>
            / => /x/ =>
            /a => / =>
            /a => // =>
            /a/b => /b => by a prefix that the request lacks
            /b => /a/b => by a prefix that the request has in front of it
            /a => /a/b => by what the request has behind it
            /a => /b =>
        ";
        for [pattern, path, expected] in rows(cases) {
            let found = difference(pattern, path).unwrap_or_default();
            assert_eq!(found, expected, "{path} for {pattern}");
        }
    }

    #[test]
    fn what_is_no_path_is_rejected() {
        for text in [
            "", "hook", "/a b", "/a?b", "/a#b", "/*/a", "/a*", "/\u{fc}", "h://p",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
        assert_eq!(PathPattern::parse("/*").expect("all").as_configured(), "/*");
    }
}
