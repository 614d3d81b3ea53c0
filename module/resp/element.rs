//! A reply as the row of its elements, with every kind of RESP3 kept apart.
//!
//! ```text
//!   *2 $1 a %1 +k :5     Array(2), Bulk(a), Map(1), Simple(k), Int(5)
//! ```
//!
//! An aggregate stands in front of what it holds, as on the wire. So whoever says the same reply by
//! other means, one element after the other, needs neither a tree nor recursion.

use super::parse_int;
use super::reply::line;

/// One element of a reply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element<'a> {
    /// `+`
    Simple(&'a [u8]),
    /// `-` and `!`
    Error(&'a [u8]),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(&'a [u8]),
    /// `$-1`, and `_`
    Nil,
    /// `*-1`
    NilArray,
    /// `#`
    Bool(bool),
    /// `,`: the number, and how it is written
    Double(f64, &'a str),
    /// `(`
    BigNumber(&'a [u8]),
    /// `=`: its format, three letters, and its text
    Verbatim(&'a [u8], &'a [u8]),
    /// `*`, and `>`: so many elements follow
    Array(usize),
    /// `~`: so many elements follow
    Set(usize),
    /// `%`: so many pairs of elements follow
    Map(usize),
    /// `|`: so many pairs of elements follow, and then what they tell of
    Attribute(usize),
}

/// The elements of the replies in some bytes; ends where they end, or are no replies.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Of what is in `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What hasn't been taken: when there is no next element, what was not understood.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn bulk(&mut self, header: &[u8]) -> Option<&'a [u8]> {
        let length = usize::try_from(parse_int(header)?).ok()?;
        let bytes = self.rest.get(..length)?;
        self.rest = self.rest.get(length..)?.strip_prefix(b"\r\n")?;
        Some(bytes)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let before = self.rest;
        let (header, used) = line(before)?;
        self.rest = &before[used..];
        let element = self.element(header);
        if element.is_none() {
            self.rest = before;
        }
        element
    }
}

impl<'a> Elements<'a> {
    fn element(&mut self, header: &'a [u8]) -> Option<Element<'a>> {
        let (&kind, text) = header.split_first()?;
        let count = || usize::try_from(parse_int(text)?).ok();
        Some(match kind {
            b'+' => Element::Simple(text),
            b'-' => Element::Error(text),
            b':' => Element::Int(parse_int(text)?),
            b'$' if text == b"-1" => Element::Nil,
            b'$' => Element::Bulk(self.bulk(text)?),
            b'_' if text.is_empty() => Element::Nil,
            b'*' if text == b"-1" => Element::NilArray,
            b'*' | b'>' => Element::Array(count()?),
            b'~' => Element::Set(count()?),
            b'%' => Element::Map(count()?),
            b'|' => Element::Attribute(count()?),
            b'#' if text == b"t" => Element::Bool(true),
            b'#' if text == b"f" => Element::Bool(false),
            b',' => {
                let text = std::str::from_utf8(text).ok()?;
                Element::Double(text.parse().ok()?, text)
            }
            b'(' => Element::BigNumber(text),
            b'!' => Element::Error(self.bulk(text)?),
            b'=' => {
                let text = self.bulk(text)?;
                Element::Verbatim(text.get(..3)?, text.get(4..)?)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_apart() {
        use Element::*;
        let bytes: &[u8] =
            b"%2\r\n+a\r\n-ERR b\r\n$2\r\n\r\n\r\n$-1\r\n*-1\r\n~1\r\n#f\r\n,-1.5\r\n,inf\r\n\
            (123\r\n=7\r\ntxt:abc\r\n|1\r\n+k\r\n_\r\n!5\r\nERR x\r\n:-7\r\n>0\r\n";
        let mut elements = Elements::of(bytes);
        let found: Vec<_> = elements.by_ref().collect();
        assert_eq!(
            found,
            [
                Map(2),
                Simple(b"a"),
                Error(b"ERR b"),
                Bulk(b"\r\n"),
                Nil,
                NilArray,
                Set(1),
                Bool(false),
                Double(-1.5, "-1.5"),
                Double(f64::INFINITY, "inf"),
                BigNumber(b"123"),
                Verbatim(b"txt", b"abc"),
                Attribute(1),
                Simple(b"k"),
                Nil,
                Error(b"ERR x"),
                Int(-7),
                Array(0),
            ]
        );
        assert!(elements.rest().is_empty());
    }

    #[test]
    fn what_is_cut_off_or_no_reply_ends_the_row() {
        for bytes in ["$3\r\nab", "$3\r\nabcd\r\n", ":x\r\n", "hello\r\n", "*1", "=2\r\nab\r\n"] {
            let mut elements = Elements::of(bytes.as_bytes());
            assert_eq!(elements.next(), None, "{bytes:?}");
            assert_eq!(elements.rest(), bytes.as_bytes(), "{bytes:?}");
        }
    }
}
