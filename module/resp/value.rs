//! A reply as a tree: the slow path, for replies that are looked into (never for a plain command).
//!
//! ```text
//!   RESP3                        as RESP2 says it          as a tree
//!   %1 $1 k #t                   *2 $1 k :1                Array [Bulk k, Int 1]
//!   ~2 .. and >2 ..              *2 ..                     Array [..]
//!   ,1.5  (12  =7 txt:abc        $3 1.5  $2 12  $3 abc     Bulk
//!   _                            $-1 or *-1                Nil
//!   !5 ERR x                     -ERR x                    Error
//!   |1 $1 k $1 v :5              :5                        Int 5
//! ```
//!
//! Who looks into a reply wants what it says, not how. So both versions are read into one tree:
//! what a stock server tells a client of RESP2, for which it has a rule for each kind that RESP2
//! lacks (redis `networking.c`, the functions `addReply*`). Whoever reads COMMAND, INFO or a count
//! does it in one way, on whatever connection it was asked. Attributes, which RESP2 can't say, are
//! passed over.

use super::reply::line;
use super::{parse_int, write};

/// One reply of either version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `+`
    Simple(Vec<u8>),
    /// `-`; also `!`
    Error(Vec<u8>),
    /// `:`; also `#`, as 1 or 0
    Int(i64),
    /// `$`; also `,` and `(`, as they are written, and `=` without its format
    Bulk(Vec<u8>),
    /// `$-1`; also `_`
    Nil,
    /// `*-1`
    NilArray,
    /// `*`; also `~`, `>`, and `%` as names and values in turn
    Array(Vec<Value>),
}

/// Deeper replies than this are refused: no command has them, and the parser calls itself.
const DEPTH_MAX: u32 = 64;

/// What a verbatim string has in front of its text: three letters and a colon.
const VERBATIM_FORMAT_BYTES: usize = 4;

impl Value {
    /// The first reply in `bytes` and its length; none if it is incomplete or not RESP.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut rest = bytes;
        let value = Self::read(&mut rest, DEPTH_MAX)?;
        Some((value, bytes.len() - rest.len()))
    }

    /// Takes one reply from the front of `bytes`.
    fn read(bytes: &mut &[u8], depth: u32) -> Option<Self> {
        loop {
            let (header, used) = line(bytes)?;
            *bytes = &bytes[used..];
            let (&kind, rest) = header.split_first()?;
            return Some(match kind {
                b'+' => Self::Simple(rest.to_vec()),
                b'-' => Self::Error(rest.to_vec()),
                b':' => Self::Int(parse_int(rest)?),
                b'#' => Self::Int(i64::from(truth(rest)?)),
                b'_' if rest.is_empty() => Self::Nil,
                b',' | b'(' => Self::Bulk(rest.to_vec()),
                b'$' if rest == b"-1" => Self::Nil,
                b'$' => Self::Bulk(bulk(bytes, rest)?.to_vec()),
                b'=' => Self::Bulk(bulk(bytes, rest)?.get(VERBATIM_FORMAT_BYTES..)?.to_vec()),
                b'!' => Self::Error(bulk(bytes, rest)?.to_vec()),
                b'*' if rest == b"-1" => Self::NilArray,
                b'*' | b'~' | b'>' => Self::Array(Self::elements(bytes, rest, 1, depth)?),
                b'%' => Self::Array(Self::elements(bytes, rest, 2, depth)?),
                b'|' => {
                    Self::elements(bytes, rest, 2, depth)?;
                    continue;
                }
                _ => return None,
            });
        }
    }

    /// Takes `count` times `width` elements.
    fn elements(bytes: &mut &[u8], count: &[u8], width: usize, depth: u32) -> Option<Vec<Self>> {
        let depth = depth.checked_sub(1)?;
        let count = usize::try_from(parse_int(count)?).ok()?.checked_mul(width)?;
        // Grows as elements come, since the count is only a promise.
        (0..count).map(|_| Self::read(bytes, depth)).collect()
    }

    /// The text of a bulk or simple string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) | Self::Bulk(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Appends the reply's bytes, in RESP2.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => {
                out.push(b'+');
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            Self::Error(text) => write::error_bytes(out, text),
            Self::Int(number) => write::int(out, *number),
            Self::Bulk(bytes) => write::bulk(out, bytes),
            Self::Nil => write::nil(out),
            Self::NilArray => out.extend_from_slice(b"*-1\r\n"),
            Self::Array(elements) => {
                write::array(out, elements.len());
                for element in elements {
                    element.write(out);
                }
            }
        }
    }
}

/// Takes a bulk whose header says `length`, and its line end.
fn bulk<'a>(bytes: &mut &'a [u8], length: &[u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(parse_int(length)?).ok()?;
    let all: &'a [u8] = bytes;
    *bytes = all.get(length.checked_add(2)?..)?;
    all.get(..length)
}

fn truth(letter: &[u8]) -> Option<bool> {
    match letter {
        b"t" => Some(true),
        b"f" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_resp2(bytes: &[u8]) -> Option<Vec<u8>> {
        let (value, used) = Value::parse(bytes)?;
        assert_eq!(used, bytes.len());
        let mut out = Vec::new();
        value.write(&mut out);
        Some(out)
    }

    #[test]
    fn a_value_written_is_the_value_read() {
        let text = b"*7\r\n+OK\r\n-ERR x\r\n:-5\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*1\r\n:1\r\n";
        assert_eq!(as_resp2(text).unwrap(), text);
        for cut in 0..text.len() {
            assert_eq!(Value::parse(&text[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn resp3_is_read_as_resp2_would_say_it() {
        for (resp3, resp2) in [
            ("_\r\n", "$-1\r\n"),
            ("#t\r\n", ":1\r\n"),
            ("#f\r\n", ":0\r\n"),
            (",1.5\r\n", "$3\r\n1.5\r\n"),
            (",-inf\r\n", "$4\r\n-inf\r\n"),
            ("(-12345678901234567890\r\n", "$21\r\n-12345678901234567890\r\n"),
            ("=7\r\ntxt:abc\r\n", "$3\r\nabc\r\n"),
            ("=4\r\ntxt:\r\n", "$0\r\n\r\n"),
            ("!5\r\nERR x\r\n", "-ERR x\r\n"),
            ("!7\r\nERR\r\nx.\r\n", "-ERR  x.\r\n"),
            ("%0\r\n", "*0\r\n"),
            ("%1\r\n+k\r\n%1\r\n$1\r\na\r\n_\r\n", "*2\r\n+k\r\n*2\r\n$1\r\na\r\n$-1\r\n"),
            ("~2\r\n:1\r\n:2\r\n", "*2\r\n:1\r\n:2\r\n"),
            (">2\r\n+message\r\n+x\r\n", "*2\r\n+message\r\n+x\r\n"),
            ("|1\r\n+k\r\n+v\r\n:5\r\n", ":5\r\n"),
            ("*1\r\n|1\r\n+k\r\n|0\r\n*0\r\n|0\r\n:5\r\n", "*1\r\n:5\r\n"),
        ] {
            assert_eq!(as_resp2(resp3.as_bytes()).as_deref(), Some(resp2.as_bytes()), "{resp3:?}");
            for cut in 0..resp3.len() {
                assert_eq!(Value::parse(&resp3.as_bytes()[..cut]), None, "{resp3:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            "x\r\n",
            "\r\n",
            ":\r\n",
            "#x\r\n",
            "#tt\r\n",
            "_1\r\n",
            "$-2\r\n\r\n",
            "=-1\r\n",
            "=3\r\nabc\r\n",
            "!-1\r\n",
            "~-1\r\n",
            "%-1\r\n",
            "%9223372036854775807\r\n:1\r\n",
            "$9223372036854775807\r\n",
            "$?\r\n",
        ] {
            assert_eq!(Value::parse(bytes.as_bytes()), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_bottomless_reply_is_refused() {
        for header in ["*1\r\n", "%1\r\n:1\r\n", "|1\r\n:1\r\n", "~1\r\n"] {
            assert_eq!(Value::parse(header.repeat(100_000).as_bytes()), None, "{header:?}");
        }
        let attributes = "|0\r\n".repeat(100_000) + ":1\r\n";
        assert_eq!(as_resp2(attributes.as_bytes()).unwrap(), b":1\r\n");
    }
}
