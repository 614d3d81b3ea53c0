//! A reply as a tree: the slow path, for replies that are looked into (never for a plain command).

use super::parse_int;
use super::reply::line;

/// One RESP2 reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `+`
    Simple(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    Nil,
    /// `*-1`
    NilArray,
    /// `*`
    Array(Vec<Value>),
}

/// Deeper replies than this are refused: no command has them, and the parser calls itself.
const DEPTH_MAX: u32 = 64;

impl Value {
    /// The first reply in `bytes` and its length; none if it is incomplete or not RESP2.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        Self::parse_at(bytes, DEPTH_MAX)
    }

    fn parse_at(bytes: &[u8], depth: u32) -> Option<(Self, usize)> {
        let (header, mut used) = line(bytes)?;
        let (&kind, rest) = header.split_first()?;
        let value = match kind {
            b'+' => Self::Simple(rest.to_vec()),
            b'-' => Self::Error(rest.to_vec()),
            b':' => Self::Int(parse_int(rest)?),
            b'$' => match parse_int(rest)? {
                -1 => Self::Nil,
                length => {
                    let length = usize::try_from(length).ok()?;
                    let end = used.checked_add(length)?;
                    let bulk = bytes.get(used..end)?.to_vec();
                    used = end + 2;
                    bytes.get(end..used)?;
                    Self::Bulk(bulk)
                }
            },
            b'*' => match parse_int(rest)? {
                -1 => Self::NilArray,
                count => {
                    let count = usize::try_from(count).ok()?;
                    let depth = depth.checked_sub(1)?;
                    let mut elements = Vec::with_capacity(count.min(bytes.len()));
                    for _ in 0..count {
                        let (element, length) = Self::parse_at(&bytes[used..], depth)?;
                        elements.push(element);
                        used += length;
                    }
                    Self::Array(elements)
                }
            },
            _ => return None,
        };
        Some((value, used))
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

    /// Appends the reply's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        use super::write;
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

    #[test]
    fn a_value_written_is_the_value_read() {
        let text = b"*7\r\n+OK\r\n-ERR x\r\n:-5\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*1\r\n:1\r\n";
        let (value, used) = Value::parse(text).unwrap();
        assert_eq!(used, text.len());
        let mut out = Vec::new();
        value.write(&mut out);
        assert_eq!(out, text);
        for cut in 0..text.len() {
            assert_eq!(Value::parse(&text[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_bottomless_reply_is_refused() {
        assert_eq!(Value::parse("*1\r\n".repeat(100_000).as_bytes()), None);
    }
}
