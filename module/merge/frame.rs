//! Looking into RESP2 frames without taking them apart.

use crate::resp::{Scan, Scanner, parse_int};

/// The elements of an array, as one run of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a> {
    frame: &'a [u8],
    /// Where the next element begins.
    next: usize,
    count: usize,
}

impl<'a> Elements<'a> {
    /// The elements of `frame`, if it is an array; a nil array has none.
    pub(super) fn of(frame: &'a [u8]) -> Option<Self> {
        let (number, next) = header(frame, b'*')?;
        let count = if number == -1 { 0 } else { usize::try_from(number).ok()? };
        Some(Self { frame, next, count })
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
    frame.strip_prefix(b"-")?.strip_suffix(b"\r\n")
}

/// The number of an integer frame.
pub(super) fn int(frame: &[u8]) -> Option<i64> {
    parse_int(frame.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a bulk or simple string.
pub(super) fn string(frame: &[u8]) -> Option<&[u8]> {
    let line_end = frame.strip_suffix(b"\r\n")?;
    match line_end.strip_prefix(b"+") {
        Some(text) => Some(text),
        None => line_end.get(header(frame, b'$')?.1..),
    }
}

/// Whether it is the nil that stands for a missing bulk.
pub(super) fn is_nil(frame: &[u8]) -> bool {
    frame == b"$-1\r\n"
}

/// The number in the first line behind `kind`, and where the next line begins.
fn header(frame: &[u8], kind: u8) -> Option<(i64, usize)> {
    let rest = frame.strip_prefix(&[kind])?;
    let end = memchr::memchr(b'\r', rest)?;
    Some((parse_int(&rest[..end])?, 1 + end + 2)).filter(|&(_, next)| next <= frame.len())
}
