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

use super::element::{Element, Elements};
use super::write;

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

impl Value {
    /// The first reply in `bytes` and its length; none if it is incomplete or not RESP.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut elements = Elements::of(bytes);
        let value = Self::read(&mut elements, DEPTH_MAX)?;
        Some((value, bytes.len() - elements.rest().len()))
    }

    /// Takes one reply.
    fn read(from: &mut Elements<'_>, depth: u32) -> Option<Self> {
        loop {
            return Some(match from.next()? {
                Element::Simple(text) => Self::Simple(text.to_vec()),
                Element::Error(text) => Self::Error(text.to_vec()),
                Element::Int(number) => Self::Int(number),
                Element::Bool(truth) => Self::Int(i64::from(truth)),
                Element::Double(_, text) => Self::Bulk(text.as_bytes().to_vec()),
                Element::Bulk(bytes) | Element::BigNumber(bytes) | Element::Verbatim(_, bytes) => {
                    Self::Bulk(bytes.to_vec())
                }
                Element::Nil => Self::Nil,
                Element::NilArray => Self::NilArray,
                Element::Array(count) | Element::Set(count) => {
                    Self::Array(Self::elements(from, count, 1, depth)?)
                }
                Element::Map(count) => Self::Array(Self::elements(from, count, 2, depth)?),
                Element::Attribute(count) => {
                    Self::elements(from, count, 2, depth)?;
                    continue;
                }
            });
        }
    }

    /// Takes `count` times `width` replies.
    fn elements(
        from: &mut Elements<'_>,
        count: usize,
        width: usize,
        depth: u32,
    ) -> Option<Vec<Self>> {
        let depth = depth.checked_sub(1)?;
        // Grows as elements come, since the count is only a promise.
        (0..count.checked_mul(width)?).map(|_| Self::read(from, depth)).collect()
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
