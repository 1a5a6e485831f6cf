//! Is it the body? JSON that was parsed and written anew on the way has other bytes.

use crate::core::signature::coverage::signed_hash;
use crate::core::signature::key::sha256;

/// Tries the usual ways of writing the same JSON.
pub(super) fn explain(body: &[u8], query: &[u8]) -> String {
    let Some(signed) = signed_hash(query) else {
        return "the query holds no usable bodySHA256".into();
    };
    let compact = written_anew(body, "", "");
    let spaced = written_anew(body, " ", " ");
    let line_end = |text: &[u8]| [text, b"\n"].concat();
    let crlf: Vec<u8> = crate::core::diagnosis::urls::replaced(body, b"\r\n", b"\n");
    let attempts = [
        (
            compact.clone(),
            "white space that was not in the JSON when it was signed",
        ),
        (
            spaced.clone(),
            "other white space than the JSON had when it was signed",
        ),
        (
            written_anew(body, "", " "),
            "other white space than the JSON had when it was signed",
        ),
        (
            line_end(body),
            "no line end, which it had when it was signed",
        ),
        (
            body.trim_ascii().to_vec(),
            "white space around it that was not signed",
        ),
        (
            line_end(&compact),
            "other white space than the JSON had when it was signed",
        ),
        (crlf, "line ends that were changed from LF to CR LF"),
    ];
    for (written, difference) in attempts {
        if sha256(&[&written]) == signed {
            return format!("the body was parsed and written anew on the way: it has {difference}");
        }
    }
    "the body was changed on the way: it is not the one whose hash is in the signed URL".into()
}

/// JSON with other white space between its tokens, and the same tokens.
fn written_anew(json: &[u8], after_comma: &str, after_colon: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut in_text = false;
    let mut escaped = false;
    for byte in json {
        if in_text {
            out.push(*byte);
            in_text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b',' => {
                out.push(b',');
                out.extend_from_slice(after_comma.as_bytes());
            }
            b':' => {
                out.push(b':');
                out.extend_from_slice(after_colon.as_bytes());
            }
            byte => {
                in_text = *byte == b'"';
                out.push(*byte);
            }
        }
    }
    out
}
