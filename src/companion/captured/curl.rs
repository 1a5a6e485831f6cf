//! A curl command line, as browsers, tunnels and tutorials give it.

use crate::companion::captured::request::{CapturedRequest, Unreadable};
use crate::companion::encode::encode_into;

/// Reads a command line in the spelling of a POSIX shell.
pub(super) fn read(text: &str) -> Result<CapturedRequest, Unreadable> {
    let text = text.trim();
    let text = text.strip_prefix("$ ").unwrap_or(text);
    let words = words(text)?;
    let mut words = words.into_iter();
    if !words.next().is_some_and(|word| word.starts_with(b"curl")) {
        return Unreadable::expected("a command that begins with curl");
    }
    let mut command = Command::default();
    while let Some(word) = words.next() {
        let word_text = String::from_utf8_lossy(&word).into_owned();
        if let Some(long) = word_text.strip_prefix("--").filter(|long| !long.is_empty()) {
            let mut next = || words.next();
            command.long(long, &mut next)?;
        } else if word.first() == Some(&b'-') && word.len() > 1 {
            let mut next = || words.next();
            command.short(word.get(1..).unwrap_or_default(), &mut next)?;
        } else {
            command.url.get_or_insert(word_text);
        }
    }
    command.into_request()
}

/// What a command line says so far.
#[derive(Default)]
struct Command {
    method: Option<String>,
    url: Option<String>,
    request: CapturedRequest,
    data: Option<Vec<u8>>,
    is_json: bool,
    is_get: bool,
    is_head: bool,
}

type Next<'a> = &'a mut dyn FnMut() -> Option<Vec<u8>>;

impl Command {
    fn long(&mut self, option: &str, next: Next<'_>) -> Result<(), Unreadable> {
        let (name, own) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.as_bytes().to_owned())),
            None => (option, None),
        };
        if !TAKES_VALUE.contains(&name) {
            match name {
                "get" => self.is_get = true,
                "head" => self.is_head = true,
                _ => {}
            }
            return Ok(());
        }
        let Some(value) = own.or_else(next) else {
            return Unreadable::expected(format_args!("a value behind --{name}"));
        };
        self.option(name, value)
    }

    fn short(&mut self, letters: &[u8], next: Next<'_>) -> Result<(), Unreadable> {
        let mut rest = letters;
        while let Some((letter, behind)) = rest.split_first() {
            let name = SHORT.iter().find(|(short, _)| short == letter);
            match (letter, name) {
                (_, Some((_, name))) => {
                    let value = match behind {
                        b"" => next(),
                        behind => Some(behind.to_owned()),
                    };
                    let Some(value) = value else {
                        let letter = char::from(*letter);
                        return Unreadable::expected(format_args!("a value behind -{letter}"));
                    };
                    return self.option(name, value);
                }
                (b'G', None) => self.is_get = true,
                (b'I', None) => self.is_head = true,
                _ => {}
            }
            rest = behind;
        }
        Ok(())
    }

    fn option(&mut self, name: &str, value: Vec<u8>) -> Result<(), Unreadable> {
        let text = || String::from_utf8_lossy(&value).into_owned();
        match name {
            "request" => self.method = Some(text()),
            "url" => self.url = Some(text()),
            "header" => {
                // `Name;` is an empty header, `Name:` takes one away.
                let colon = value.iter().position(|byte| *byte == b':');
                let split = colon.and_then(|colon| value.split_at_checked(colon));
                match split {
                    Some((name, value)) => {
                        let value = value.get(1..).unwrap_or_default();
                        if !value.trim_ascii().is_empty() {
                            let name = String::from_utf8_lossy(name);
                            self.request.add_header(&name, value);
                        }
                    }
                    None => {
                        let name = text();
                        self.request.add_header(name.trim_end_matches(';'), b"");
                    }
                }
            }
            "user-agent" => self.request.add_header("user-agent", &value),
            "referer" => self.request.add_header("referer", &value),
            "cookie" => self.request.add_header("cookie", &value),
            "data" | "data-ascii" | "data-binary" | "json" => {
                self.no_file(name, &value)?;
                self.is_json |= name == "json";
                self.add_data(&value, if name == "json" { b"" } else { b"&" });
            }
            "data-raw" => self.add_data(&value, b"&"),
            "data-urlencode" => {
                let encoded = self.url_encoded(&value)?;
                self.add_data(encoded.as_bytes(), b"&");
            }
            "form" | "form-string" => {
                return Unreadable::expected(
                    "data (-d, --data-raw, --data-binary): Twilio sends no multipart form (-F)",
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn no_file(&self, name: &str, value: &[u8]) -> Result<(), Unreadable> {
        if value.starts_with(b"@") {
            return Unreadable::expected(format_args!(
                "the data itself behind --{name}, found the name of a file (@…): put the file's \
                 content there with --data-raw"
            ));
        }
        Ok(())
    }

    fn add_data(&mut self, value: &[u8], between: &[u8]) {
        match &mut self.data {
            Some(data) => {
                data.extend_from_slice(between);
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_owned()),
        }
    }

    fn url_encoded(&self, value: &[u8]) -> Result<String, Unreadable> {
        let mut out = String::new();
        let (name, content) = match value.iter().position(|byte| *byte == b'=') {
            Some(at) => value.split_at_checked(at).unwrap_or_default(),
            None => (&b""[..], value),
        };
        self.no_file("data-urlencode", content)?;
        if !name.is_empty() {
            out.push_str(&String::from_utf8_lossy(name));
            out.push('=');
        }
        let content = content.strip_prefix(b"=").unwrap_or(content);
        encode_into(&mut out, content);
        Ok(out)
    }

    fn into_request(self) -> Result<CapturedRequest, Unreadable> {
        let Some(url) = self.url else {
            return Unreadable::expected("a URL in the curl command");
        };
        let mut request = self.request;
        let url = match url.contains("://") {
            true => url,
            // As curl does.
            false => format!("http://{url}"),
        };
        request.set_url(&url);
        let data = self.data;
        let method = match (&data, self.is_get, self.is_head) {
            (_, true, _) => "GET",
            (_, _, true) => "HEAD",
            (Some(_), ..) => "POST",
            (None, ..) => "GET",
        };
        request.method = self.method.unwrap_or_else(|| method.into());
        if let Some(data) = data {
            if self.is_get {
                request.add_to_query(&data);
            } else {
                request.body = data;
                if !request.has_header("content-type") {
                    let kind: &[u8] = match self.is_json {
                        true => b"application/json",
                        false => b"application/x-www-form-urlencoded",
                    };
                    request.add_header("content-type", kind);
                }
            }
        }
        Ok(request)
    }
}

/// Short options that take a value.
const SHORT: [(u8, &str); 15] = [
    (b'X', "request"),
    (b'H', "header"),
    (b'd', "data"),
    (b'A', "user-agent"),
    (b'e', "referer"),
    (b'b', "cookie"),
    (b'F', "form"),
    (b'u', "user"),
    (b'o', "output"),
    (b'x', "proxy"),
    (b'm', "max-time"),
    (b'w', "write-out"),
    (b'c', "cookie-jar"),
    (b'E', "cert"),
    (b'T', "upload-file"),
];

/// Long options that take a value, as far as they occur in commands that are pasted.
const TAKES_VALUE: [&str; 29] = [
    "request",
    "url",
    "header",
    "user-agent",
    "referer",
    "cookie",
    "data",
    "data-ascii",
    "data-binary",
    "data-raw",
    "data-urlencode",
    "json",
    "form",
    "form-string",
    "user",
    "output",
    "proxy",
    "max-time",
    "connect-timeout",
    "write-out",
    "cookie-jar",
    "cert",
    "key",
    "cacert",
    "resolve",
    "connect-to",
    "retry",
    "interface",
    "upload-file",
];

/// Splits a command line as a POSIX shell does, with bash's `$'…'`.
fn words(text: &str) -> Result<Vec<Vec<u8>>, Unreadable> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => words.extend(word.take()),
            b'\\' => match rest.split_first() {
                Some((b'\n', behind)) => rest = behind,
                Some((b'\r', behind)) => rest = behind.strip_prefix(b"\n").unwrap_or(behind),
                Some((byte, behind)) => {
                    word.get_or_insert_default().push(*byte);
                    rest = behind;
                }
                None => {}
            },
            b'\'' => {
                let end = end_of_quote(rest, b'\'')?;
                let (inside, behind) = rest.split_at_checked(end).unwrap_or_default();
                word.get_or_insert_default().extend_from_slice(inside);
                rest = behind.get(1..).unwrap_or_default();
            }
            b'"' => rest = double_quoted(rest, word.get_or_insert_default())?,
            b'$' if rest.starts_with(b"'") => {
                let inside = rest.get(1..).unwrap_or_default();
                rest = ansi_quoted(inside, word.get_or_insert_default())?;
            }
            b'^' if rest.starts_with(b"\"") || rest.starts_with(b"\r\n") => {
                return Unreadable::expected(
                    "the spelling of a POSIX shell (in a browser: Copy as cURL (bash)), found that \
                     of Windows' cmd",
                );
            }
            // Behind it is another command.
            b'|' | b';' | b'>' | b'&' if word.is_none() => break,
            byte => word.get_or_insert_default().push(*byte),
        }
    }
    words.extend(word);
    Ok(words)
}

fn end_of_quote(bytes: &[u8], quote: u8) -> Result<usize, Unreadable> {
    match bytes.iter().position(|byte| *byte == quote) {
        Some(end) => Ok(end),
        None => Unreadable::expected(format_args!("a closing {}", char::from(quote))),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unreadable> {
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, rest.split_first()) {
            (b'"', _) => return Ok(rest),
            (b'\\', Some((b'\n', behind))) => rest = behind,
            (b'\\', Some((escaped @ (b'"' | b'\\' | b'$' | b'`'), behind))) => {
                word.push(*escaped);
                rest = behind;
            }
            (byte, _) => word.push(*byte),
        }
    }
    Unreadable::expected("a closing \"")
}

fn ansi_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unreadable> {
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let escaped = match byte {
            b'\'' => return Ok(rest),
            b'\\' => rest.split_first(),
            byte => {
                word.push(*byte);
                continue;
            }
        };
        let Some((letter, behind)) = escaped else {
            break;
        };
        rest = behind;
        let digits = match letter {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let is_hex = |byte: &&u8| byte.is_ascii_hexdigit();
            let count = rest.iter().take(digits).take_while(is_hex).count();
            let (hex, behind) = rest.split_at_checked(count).unwrap_or_default();
            let hex = std::str::from_utf8(hex).unwrap_or_default();
            let value = u32::from_str_radix(hex, 16).unwrap_or_default();
            rest = behind;
            match (letter, u8::try_from(value)) {
                (b'x', Ok(byte)) => word.push(byte),
                _ => {
                    let own = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
                    word.extend_from_slice(own.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            continue;
        }
        word.push(match letter {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            other => *other,
        });
    }
    Unreadable::expected("a closing '")
}
