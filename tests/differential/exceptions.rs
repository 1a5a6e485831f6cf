//! Where the filter and a library disagree, and why. `docs/signatures.md` has the same table for people; a test
//! compares the two.

use crate::contract::{self, Spelling};
use crate::places::{Place, SHARED_KEY};
use crate::requests::{Case, Library};
use support::native::accepts;
use support::reference::{Parts, Reader, decode, has_broken_escape, pairs, parameters, signature};
use support::signing::sha256_hex;

/// A kind of disagreement.
pub(crate) struct Exception {
    pub(crate) name: &'static str,
    /// Why the filter does otherwise.
    pub(crate) why: &'static str,
    /// Whether it explains this disagreement.
    pub(crate) explains: fn(&Disagreement<'_>) -> bool,
}

/// A request that the filter accepts and a library rejects, or the other way round.
pub(crate) struct Disagreement<'a> {
    pub(crate) case: &'a Case,
    pub(crate) places: &'a [Place],
    pub(crate) library: Library,
    /// See [`crate::libraries::Answer::respelled`].
    pub(crate) respelled: &'a [String],
    /// Which spellings of a form the filter takes.
    pub(crate) spelling: Spelling,
    /// `accepted`, or the reason of the rejection.
    pub(crate) ours: &'static str,
}

/// All of them, the particular before the general: the first that explains a disagreement is the one that counts.
pub(crate) const EXCEPTIONS: [Exception; 29] = [
    Exception {
        name: "strict form",
        why: "By default a form has one spelling, which all frameworks read alike (see \"Strict forms\"); the \
              libraries are given parameters that are decoded already.",
        explains: |d| {
            let is_taken = d.spelling.takes(&d.case.body);
            d.spelling == Spelling::Strict && d.ours == "malformed_body" && !is_taken
        },
    },
    Exception {
        name: "boundary moved",
        why: "The SID of an account, message or call is in the signed string, with its name before it, and no \
              parameter has it, or a form's string ends in `bodySHA256` and a hash: somebody has cut the string in \
              another place; the libraries do not look for that.",
        explains: |d| {
            let form = d.form();
            let is_moved = contract::are_moved(&d.url(), form);
            d.ours == "malformed_body" && d.spelling.takes(&d.case.body) && is_moved
        },
    },
    Exception {
        name: "body with GET",
        why: "One upstream reads the body of a GET, the next one does not; the libraries do not look at the method.",
        explains: |d| {
            d.ours == "unsigned_body" && d.case.method == "GET" && !d.case.body.is_empty()
        },
    },
    Exception {
        name: "hash of {}",
        why: "Twilio hashes a JSON body that is missing as nothing, or as `{}`; the libraries compare with the body \
              that is there.",
        explains: |d| {
            let is_of_that = |hash: Hash| hash.value == sha256_hex(b"{}");
            d.we_accept() && d.case.body.is_empty() && d.hashes().any(is_of_that)
        },
    },
    Exception {
        name: "hash of nothing",
        why: "Where the signed URL holds a hash, no body has to be the one with that hash, or a signed JSON \
              body could be taken away; the libraries do not look at the hash if they are given a form.",
        explains: |d| d.case.body.is_empty() && d.hashes().next().is_some(),
    },
    Exception {
        name: "form of nothing",
        why: "A form of nothing but `&` and `=` has bytes and signs none, so it could take the place of a signed \
              JSON body; the libraries see an empty form.",
        explains: |d| {
            d.ours == "unsigned_body" && d.case.body.iter().all(|byte| matches!(byte, b'&' | b'='))
        },
    },
    Exception {
        name: "body that nothing signs",
        why: "A body that is no form needs its hash in the signed URL; the libraries accept any body there if \
              the URL is signed.",
        explains: |d| {
            d.ours == "unsigned_body"
                && d.hashes().all(|hash| hash.value.is_empty())
                && !d.is_form_like()
        },
    },
    Exception {
        name: "hash that is not the last",
        why: "Twilio appends `bodySHA256`; further to the front it is text that somebody has put into a parameter. \
              The libraries take it anywhere.",
        explains: |d| {
            let is_last = contract::ends_in_hash(d.case.query.as_deref());
            d.ours == "unsigned_body" && d.hashes().count() == 1 && !is_last && !d.is_form_like()
        },
    },
    Exception {
        name: "two hashes",
        why: "With two `bodySHA256` in the URL it is not clear which one an upstream checks; the libraries take \
              the first.",
        explains: |d| {
            let first_is_right = d
                .hashes()
                .next()
                .is_some_and(|hash| hash.value == d.hash_of_body());
            d.ours == "unsigned_body" && d.hashes().count() > 1 && first_is_right
        },
    },
    Exception {
        name: "escaped hash name",
        why: "`body%53HA256` is `bodySHA256`; the library for Node looks for the letters in the URL, does not \
              find them, and accepts any body.",
        explains: |d| {
            let hidden = d.hashes().next().is_some() && !d.url().contains("bodySHA256");
            d.library == Library::Node && d.ours == "body_hash_mismatch" && hidden
        },
    },
    Exception {
        name: "letters bodySHA256 in Node",
        why: "What is sent as a form is signed by its parameters, whatever its URL holds; the library for Node \
              takes any request for JSON that has the letters `bodySHA256` in its URL.",
        explains: |d| {
            let is_json_to_node = d.library == Library::Node && d.url().contains("bodySHA256");
            let is_none = d.is_form() || d.case.body.is_empty();
            let other_string = d.ours == "invalid_signature" && d.fits_without_parameters();
            is_json_to_node && is_none && (d.we_accept() || other_string)
        },
    },
    Exception {
        name: "upper-case hash",
        why: "Upper-case digits spell the same hash, and they stand in the URL that was signed; the libraries \
              compare letters.",
        explains: |d| {
            d.we_accept()
                && d.hashes()
                    .next()
                    .is_some_and(|hash| hash.value == d.hash_of_body().to_uppercase())
        },
    },
    Exception {
        name: "doubtful content type",
        why: "A form with another charset or another parameter, or a type that only resembles a form's, may be \
              read in two ways, and only one is signed; the libraries do not look at the content type.",
        explains: |d| d.ours == "unsigned_body" && d.is_form_like(),
    },
    Exception {
        name: "other account",
        why: "Parameters that name an account other than the key's are rejected; the libraries know no accounts.",
        explains: |d| d.ours == "account_mismatch",
    },
    Exception {
        name: "shared key",
        why: "The library for Node knows auth tokens only and computes a SHA-1; a shared key makes a SHA-256.",
        explains: |d| d.library == Library::Node && d.by_shared_key(),
    },
    Exception {
        name: "algorithm by header",
        why: "The header that names the algorithm is not signed, so the configured key decides; the library \
              for Python does what the header says.",
        explains: |d| {
            let named = d
                .case
                .settings
                .as_deref()
                .unwrap_or_default()
                .contains("algorithm=HMAC_SHA256");
            d.library == Library::Python && d.by_shared_key() && !named
        },
    },
    Exception {
        name: "not UTF-8",
        why: "Bytes that are not UTF-8 are signed as they are; the libraries are given text, in which every \
              such byte has become U+FFFD.",
        explains: |d| {
            let is_lost = |text: &[u8]| std::str::from_utf8(text).is_err();
            let is_lost_decoded = |text: &[u8]| is_lost(&decode(Reader::Contract, text));
            let in_the_form = d.is_misread() && d.some_part(&is_lost_decoded);
            // Node's library is given the bytes of what is no form, Python's their text.
            let in_the_hash = d.library == Library::Python && d.we_accept() && !d.is_form();
            is_lost(&d.case.body) && (in_the_hash || d.is_misread()) || in_the_form
        },
    },
    Exception {
        name: "broken escapes in Node",
        why: "A `%` that starts no escape stays a `%`; where the same value has a true escape too, \
              `node:querystring` also cuts its other characters to eight bits.",
        explains: |d| {
            d.library == Library::Node && d.is_misread() && d.some_part(&has_broken_escape)
        },
    },
    Exception {
        name: "UTF-16 order",
        why: "Names and values are sorted as bytes; the library for Node sorts UTF-16 units, and so an emoji \
              before U+E000 to U+FFFF.",
        explains: |d| d.library == Library::Node && d.is_misread(),
    },
    Exception {
        name: "query of a handshake",
        why: "Twilio's SDKs for Agent Connect sign a WebSocket's URL without its query, followed by the query's \
              parameters as a form's; the libraries do not try that.",
        explains: |d| {
            let is_dropped =
                |signed: &Parts, url: &Parts| signed.query.is_none() && url.query.is_some();
            d.is_websocket() && d.signed_otherwise(is_dropped)
        },
    },
    Exception {
        name: "user and password",
        why: "Twilio drops them before it signs, so the URL is tried without them, too; the libraries keep them.",
        explains: |d| d.signed_otherwise(|signed, url| signed.userinfo != url.userinfo),
    },
    Exception {
        name: "another query for a form",
        why: "A form is posted to the configured URL: with a query that has other parameters (or a body's hash), some \
              of the form's may have been moved there; the libraries know only the URL that they are given.",
        explains: |d| {
            let is_another = !contract::has_the_configured_query(d.case, d.place(), true);
            d.ours == "invalid_signature" && d.is_form() && is_another
        },
    },
    Exception {
        name: "default port for another",
        why: "A URL configured with any port is also tried with the default port, which Twilio may sign where \
              a balancer changes the port; the libraries only take a port away or add one where there is none.",
        explains: |d| {
            let is_another = |signed: &Parts, url: &Parts| {
                url.port.is_some() && signed.port.is_some() && signed.port != url.port
            };
            d.signed_otherwise(is_another)
        },
    },
    Exception {
        name: "port 443 of a WebSocket",
        why: "`wss` means port 443, and Twilio's library for Ruby adds it; those for Node and Python add 80, \
              which is tried too.",
        explains: |d| {
            let is_added = |signed: &Parts, url: &Parts| {
                url.port.is_none() && signed.port.as_deref() == Some("443")
            };
            d.is_websocket() && d.signed_otherwise(is_added)
        },
    },
    Exception {
        name: "slash of a WebSocket",
        why: "Twilio may sign a WebSocket's URL with a slash at the end that is not in it; the libraries do \
              not try that.",
        explains: |d| d.signed_otherwise(|signed, url| signed.path != url.path),
    },
    Exception {
        name: "configured query",
        why: "Where the configured URL spells out a query with the same parameters, that spelling is tried \
              too; the libraries know only the URL that they are given.",
        explains: |d| d.signed_otherwise(|signed, url| signed.query != url.query),
    },
    Exception {
        name: "URL respelled by Node",
        why: "The URL is signed as it is configured; the library for Node also tries what `new URL()` makes of \
              it (host in lower case, dot segments resolved, quotes escaped).",
        explains: |d| {
            let fits = |url: &String| d.fits_in_some_port_form(Reader::Node, &Parts::of(url));
            d.library == Library::Node && !d.we_accept() && d.respelled.iter().any(fits)
        },
    },
    Exception {
        name: "URL respelled by Python",
        why: "The URL is signed as it is configured; `urlparse` drops a `?` or `;` that nothing follows and \
              writes the scheme in lower case, so the library for Python cannot sign or check the rest.",
        explains: |d| {
            let url = d.parts();
            let respelled = respelled_by_python(&url);
            let changed = d.library == Library::Python && respelled.url() != url.url();
            changed && (d.we_accept() || d.fits_in_some_port_form(Reader::Python, &respelled))
        },
    },
    Exception {
        name: "colon before the port in Python",
        why: "The library for Python cuts host and port at the first colon, which in `user:pass@host:8443` or \
              `[::1]:8443` is not the port's.",
        explains: |d| {
            let is_cut = |signed: &Parts, url: &Parts| {
                let earlier = url.userinfo.contains(':') || url.host.contains(':');
                earlier && url.port.is_some() && signed.port.is_none()
            };
            d.library == Library::Python && d.signed_otherwise(is_cut)
        },
    },
];

/// What `urlparse` and `geturl` make of a URL.
fn respelled_by_python(parts: &Parts) -> Parts {
    let mut parts = parts.clone();
    parts.scheme = parts.scheme.to_lowercase();
    parts.query = parts.query.filter(|query| !query.is_empty());
    let last = parts.path.rsplit('/').next().unwrap_or_default();
    // For `wss` it knows no path parameters.
    if last.find(';').is_some_and(|at| at + 1 == last.len()) && parts.scheme.starts_with("http") {
        parts.path.pop();
    }
    parts
}

/// A `bodySHA256` of the query, decoded.
struct Hash {
    value: String,
}

impl Disagreement<'_> {
    fn we_accept(&self) -> bool {
        accepts(self.ours)
    }

    fn place(&self) -> &Place {
        &self.places[self.case.place]
    }

    fn is_websocket(&self) -> bool {
        self.place().websocket
    }

    fn url(&self) -> String {
        self.case.url(self.places)
    }

    fn parts(&self) -> Parts {
        Parts::of(&self.url())
    }

    fn content_type(&self) -> String {
        self.case
            .content_type
            .as_deref()
            .unwrap_or_default()
            .to_lowercase()
    }

    /// Whether a framework hands over parameters.
    fn is_form(&self) -> bool {
        let content_type = self.content_type();
        let essence = content_type.split(';').next().unwrap_or_default();
        essence.trim() == "application/x-www-form-urlencoded" && !self.case.body.is_empty()
    }

    fn is_form_like(&self) -> bool {
        self.content_type()
            .contains("application/x-www-form-urlencoded")
    }

    fn by_shared_key(&self) -> bool {
        self.case
            .settings
            .as_deref()
            .is_some_and(|settings| settings.contains(SHARED_KEY))
    }

    fn hash_of_body(&self) -> String {
        sha256_hex(&self.case.body)
    }

    fn hashes(&self) -> impl Iterator<Item = Hash> {
        let query = self.case.query.as_deref().unwrap_or_default().as_bytes();
        let text =
            |escaped| String::from_utf8_lossy(&decode(Reader::Contract, escaped)).into_owned();
        pairs(query)
            .map(move |(name, value)| (text(name), text(value)))
            .filter(|(name, _)| name == "bodySHA256")
            .map(|(_, value)| Hash { value })
    }

    fn form(&self) -> Option<&[u8]> {
        self.is_form().then_some(&self.case.body)
    }

    fn is_signed(&self, url: &str, parameters: &[u8]) -> bool {
        let by_shared_key = self.by_shared_key();
        signature(by_shared_key, self.case.secret, url, parameters) == self.case.signature
    }

    /// Whether the filter accepts it for a URL that is in such a way another than the one received.
    fn signed_otherwise(&self, in_this_way: impl Fn(&Parts, &Parts) -> bool) -> bool {
        let url = self.parts();
        let candidates = contract::candidates_of(self.case, self.place());
        let mut signed = candidates
            .iter()
            .filter(|signed| self.is_signed(&signed.url.url(), &signed.parameters));
        self.we_accept() && signed.any(|signed| in_this_way(&signed.url, &url))
    }

    fn fits_without_parameters(&self) -> bool {
        self.port_forms(&self.parts())
            .any(|url| self.is_signed(&url, b""))
    }

    fn port_forms(&self, url: &Parts) -> impl Iterator<Item = String> {
        let ports = [url.port.as_deref(), None, Some("443"), Some("80")];
        ports.map(|port| url.with_port(port).url()).into_iter()
    }

    fn fits_in_some_port_form(&self, reader: Reader, url: &Parts) -> bool {
        let parameters = parameters(reader, self.form());
        self.port_forms(url)
            .any(|url| self.is_signed(&url, &parameters))
    }

    /// Whether the library reads other parameters than were sent, and therefore says what it says.
    fn is_misread(&self) -> bool {
        let reader = match self.library {
            Library::Node => Reader::Node,
            Library::Python => Reader::Python,
        };
        let url = self.parts();
        let same = parameters(reader, self.form()) == parameters(Reader::Contract, self.form());
        !same && self.fits_in_some_port_form(reader, &url) != self.we_accept()
    }

    /// Whether some name or value of the form, still escaped, is such.
    fn some_part(&self, is_such: &dyn Fn(&[u8]) -> bool) -> bool {
        pairs(&self.case.body).any(|(name, value)| is_such(name) || is_such(value))
    }
}
