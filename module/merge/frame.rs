//! Looking into frames without taking them apart, of either version of RESP.

use crate::resp::{Scan, Scanner, Version, parse_int, write};

/// What holds elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Array,
    Set,
    /// Its elements are names and values in turn.
    Map,
}

impl Kind {
    /// The header of such a one with so many elements; of a map, an even number.
    pub(super) fn write(self, out: &mut Vec<u8>, elements: usize) {
        match self {
            Self::Array => write::array(out, elements),
            Self::Set => write::set(out, Version::Resp3, elements),
            Self::Map => write::map(out, Version::Resp3, elements / 2),
        }
    }
}

/// The elements of an array, a set or a map, as one run of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a> {
    kind: Option<Kind>,
    frame: &'a [u8],
    /// Where the next element begins.
    next: usize,
    count: usize,
}

impl<'a> Elements<'a> {
    /// The elements of `frame`, if it holds any; a nil in place of an array has none.
    pub(super) fn of(frame: &'a [u8]) -> Option<Self> {
        if let b"*-1\r\n" | b"_\r\n" = frame {
            return Some(Self { kind: None, frame, next: frame.len(), count: 0 });
        }
        let (kind, width) = match frame.first()? {
            b'*' => (Kind::Array, 1),
            b'~' => (Kind::Set, 1),
            b'%' => (Kind::Map, 2),
            _ => return None,
        };
        let (number, next) = header(frame)?;
        let count = usize::try_from(number).ok()?.checked_mul(width)?;
        Some(Self { kind: Some(kind), frame, next, count })
    }

    /// What holds them; none if it is the nil in its place.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// How many there were at the beginning.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Where the next one begins in the frame.
    pub(super) fn offset(&self) -> usize {
        self.next
    }

    /// All that are left.
    pub(super) fn bytes(&self) -> &'a [u8] {
        &self.frame[self.next..]
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let element = at(self.frame, self.next)?;
        self.next += element.len();
        Some(element)
    }
}

/// The frame that begins at `offset` of `bytes`, if it is complete.
pub(super) fn at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = bytes.get(offset..)?;
    match Scanner::default().scan(rest) {
        Scan::Done { used } => rest.get(..used),
        Scan::More { .. } | Scan::Invalid => None,
    }
}

/// The text of an error frame.
pub(super) fn error_text(frame: &[u8]) -> Option<&[u8]> {
    let all = frame.strip_suffix(b"\r\n")?;
    match all.first()? {
        b'-' => all.get(1..),
        b'!' => all.get(header(frame)?.1..),
        _ => None,
    }
}

/// The number of an integer frame.
pub(super) fn int(frame: &[u8]) -> Option<i64> {
    parse_int(frame.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a bulk or simple string.
pub(super) fn string(frame: &[u8]) -> Option<&[u8]> {
    let all = frame.strip_suffix(b"\r\n")?;
    match all.first()? {
        b'+' => all.get(1..),
        b'$' => all.get(header(frame)?.1..),
        _ => None,
    }
}

/// Whether it is the nil that stands for a missing bulk.
pub(super) fn is_nil(frame: &[u8]) -> bool {
    matches!(frame, b"$-1\r\n" | b"_\r\n")
}

/// The number in the first line behind the kind, and where the next line begins.
fn header(frame: &[u8]) -> Option<(i64, usize)> {
    let end = memchr::memchr(b'\r', frame)?;
    Some((parse_int(frame.get(1..end)?)?, end + 2)).filter(|&(_, next)| next <= frame.len())
}
