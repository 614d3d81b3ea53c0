//! Replies and requests that the endpoint makes itself.
//!
//! What both versions of RESP write alike needs no version. The rest is what a stock server says to
//! a client of the version: the kind that RESP3 has for it, or what stands for that kind in RESP2.
//! Source: redis `networking.c`, the functions `addReply*`.

use std::io::Write as _;

use super::Version;

fn header(out: &mut Vec<u8>, kind: u8, number: i64) {
    out.push(kind);
    // Writing to a vector can't fail.
    let _ = write!(out, "{number}\r\n");
}

fn length(out: &mut Vec<u8>, kind: u8, length: usize) {
    header(out, kind, i64::try_from(length).unwrap_or(i64::MAX));
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
    length(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// RESP2's null bulk.
pub fn nil(out: &mut Vec<u8>) {
    out.extend_from_slice(b"$-1\r\n");
}

/// The header of an array of `elements`; they follow.
pub fn array(out: &mut Vec<u8>, elements: usize) {
    length(out, b'*', elements);
}

/// The header of a map of `pairs` keys, each with its value behind it; in RESP2 an array.
pub fn map(out: &mut Vec<u8>, version: Version, pairs: usize) {
    match version {
        Version::Resp2 => array(out, pairs.saturating_mul(2)),
        Version::Resp3 => length(out, b'%', pairs),
    }
}

/// The header of a set of `members`; they follow. In RESP2 an array.
pub fn set(out: &mut Vec<u8>, version: Version, members: usize) {
    match version {
        Version::Resp2 => array(out, members),
        Version::Resp3 => length(out, b'~', members),
    }
}

/// The header of a message that answers no request, of `elements` that follow. In RESP2 an array.
pub fn push(out: &mut Vec<u8>, version: Version, elements: usize) {
    match version {
        Version::Resp2 => array(out, elements),
        Version::Resp3 => length(out, b'>', elements),
    }
}

/// What isn't there: RESP2's null bulk, RESP3's null.
pub fn null(out: &mut Vec<u8>, version: Version) {
    match version {
        Version::Resp2 => nil(out),
        Version::Resp3 => out.extend_from_slice(b"_\r\n"),
    }
}

/// Nothing in place of an array, as a blocking command's time-out or an aborted EXEC says it:
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
            length(out, b'=', bytes.len().saturating_add(4));
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A whole request: an array of bulks.
pub fn request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    request_of(out, args.iter().map(AsRef::as_ref));
}

/// A whole request, of arguments that are in no slice.
pub fn request_of<'a>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = &'a [u8]> + Clone) {
    /// Of the header and the line ends around an argument, most of the time.
    const FRAME_BYTES: usize = 16;
    out.reserve(args.clone().map(|arg| arg.len() + FRAME_BYTES).sum::<usize>() + FRAME_BYTES);
    array(out, args.len());
    args.for_each(|arg| bulk(out, arg));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One kind of reply, written for a version.
    type InVersion = fn(&mut Vec<u8>, Version);

    #[test]
    fn each_version_has_its_own_word_for_the_same() {
        let kinds: [(InVersion, &str, &str); 6] = [
            (null, "$-1\r\n", "_\r\n"),
            (null_array, "*-1\r\n", "_\r\n"),
            (
                |out, version| text(out, version, b"a\r\nb"),
                "$4\r\na\r\nb\r\n",
                "=8\r\ntxt:a\r\nb\r\n",
            ),
            (|out, version| map(out, version, 7), "*14\r\n", "%7\r\n"),
            (|out, version| set(out, version, 7), "*7\r\n", "~7\r\n"),
            (|out, version| push(out, version, 3), "*3\r\n", ">3\r\n"),
        ];
        for (write, resp2, resp3) in kinds {
            for (version, wanted) in [(Version::Resp2, resp2), (Version::Resp3, resp3)] {
                let mut out = Vec::new();
                write(&mut out, version);
                assert_eq!(String::from_utf8_lossy(&out), wanted);
            }
        }
    }

    #[test]
    fn what_would_break_a_line_is_blank() {
        let mut out = Vec::new();
        simple(&mut out, "a\r\nb");
        error(&mut out, "ERR a\nb");
        assert_eq!(out, b"+a  b\r\n-ERR a b\r\n");
    }
}
