//! Replies and requests that the endpoint makes itself.
//!
//! What both versions of RESP write alike needs no version.

use std::io::Write as _;

use super::Version;

fn header(out: &mut Vec<u8>, kind: u8, number: i64) {
    out.push(kind);
    // Writing to a vector can't fail.
    let _ = write!(out, "{number}\r\n");
}

/// Appends `text` with what would break a line replaced by blanks, as stock servers do with errors.
fn one_line(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(|&byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

/// `+text`
pub fn simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    one_line(out, text.as_bytes());
}

/// `-text`; the text begins with its code.
pub fn error(out: &mut Vec<u8>, text: &str) {
    error_bytes(out, text.as_bytes());
}

/// `-text` for texts that quote a client and so need not be UTF-8.
pub fn error_bytes(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'-');
    one_line(out, text);
}

/// `:number`
pub fn int(out: &mut Vec<u8>, number: i64) {
    header(out, b':', number);
}

/// `$length` and the bytes.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// RESP2's null bulk.
pub fn nil(out: &mut Vec<u8>) {
    out.extend_from_slice(b"$-1\r\n");
}

/// The header of an array of `length` elements; they follow.
pub fn array(out: &mut Vec<u8>, length: usize) {
    header(out, b'*', i64::try_from(length).unwrap_or(i64::MAX));
}

/// The header of a map of `pairs` keys, each with its value behind it; in RESP2 an array.
pub fn map(out: &mut Vec<u8>, version: Version, pairs: usize) {
    match version {
        Version::Resp2 => array(out, 2 * pairs),
        Version::Resp3 => header(out, b'%', i64::try_from(pairs).unwrap_or(i64::MAX)),
    }
}

/// What isn't there: RESP2's null bulk, RESP3's null.
pub fn null(out: &mut Vec<u8>, version: Version) {
    match version {
        Version::Resp2 => nil(out),
        Version::Resp3 => out.extend_from_slice(b"_\r\n"),
    }
}

/// RESP2's null array, RESP3's null.
pub fn null_array(out: &mut Vec<u8>, version: Version) {
    match version {
        Version::Resp2 => out.extend_from_slice(b"*-1\r\n"),
        Version::Resp3 => out.extend_from_slice(b"_\r\n"),
    }
}

/// A text for people: in RESP3 a verbatim string. Source: redis `networking.c`,
/// `addReplyVerbatim`.
pub fn text(out: &mut Vec<u8>, version: Version, bytes: &[u8]) {
    match version {
        Version::Resp2 => bulk(out, bytes),
        Version::Resp3 => {
            header(out, b'=', i64::try_from(bytes.len() + 4).unwrap_or(i64::MAX));
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A whole request: an array of bulks.
pub fn request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    array(out, args.len());
    for arg in args {
        bulk(out, arg.as_ref());
    }
}
