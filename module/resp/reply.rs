//! Where one reply ends.
//!
//! A reply is a tree, but to find its end one number is enough: how many elements are still owed.
//! It begins at one; each element takes one away, and an aggregate of n adds n. So a reply of any
//! size or depth is followed in constant space, and its bytes can be passed on as they arrive.

use super::parse_int;
use super::request::short_number;

/// How far a [`Scanner`] got. All bytes before `used` belong to the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// The reply ends at `used`; what follows is the next one.
    Done { used: usize },
    /// The reply goes on after `used`. What lies between `used` and the end of the bytes is a
    /// header that is not complete: show it again, with more behind it.
    More { used: usize },
    /// These are not RESP bytes; the connection can't be followed any more.
    Invalid,
}

/// Follows one reply after the other on a connection. RESP2 and RESP3.
#[derive(Debug, Clone)]
pub struct Scanner {
    /// Elements still owed by the reply that is being followed; at least 1 between calls.
    owed: u64,
    /// Bytes still owed by the bulk that is being followed, its line end included.
    bulk_left: u64,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { owed: 1, bulk_left: 0 }
    }
}

/// The length of the reply, or the element of one, that `bytes` begin with, if it is one of the
/// usual: a short line or string, all there, and no error. None of any other, which is for a
/// [`Scanner`].
pub fn whole_reply(bytes: &[u8]) -> Option<usize> {
    const LINE_BYTES_MAX: usize = 32;
    match *bytes.first()? {
        b'+' if bytes.starts_with(b"+OK\r\n") => Some(5),
        b'$' if bytes.starts_with(b"$-1\r\n") => Some(5),
        b'$' => {
            let (length, used) = short_number(&bytes[1..])?;
            let end = 1 + used + length;
            (bytes.get(end..end + 2)? == b"\r\n").then_some(end + 2)
        }
        b'+' | b':' | b'_' | b'#' => {
            let end = bytes.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\n')?;
            Some(end + 1)
        }
        _ => None,
    }
}

impl Scanner {
    /// Whether a reply has begun and not ended.
    pub fn in_reply(&self) -> bool {
        self.owed != 1 || self.bulk_left != 0
    }

    /// Follows the reply through `bytes`, which begin where the last call's `used` ended.
    #[must_use]
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut used = 0;
        loop {
            if self.bulk_left > 0 {
                let here = (bytes.len() - used) as u64;
                if here < self.bulk_left {
                    self.bulk_left -= here;
                    return Scan::More { used: bytes.len() };
                }
                used += usize::try_from(self.bulk_left).unwrap_or(usize::MAX);
                self.bulk_left = 0;
                self.owed -= 1;
                if self.owed == 0 {
                    self.owed = 1;
                    return Scan::Done { used };
                }
            }
            if let Some(length) = whole_reply(&bytes[used..]) {
                used += length;
                self.owed -= 1;
                if self.owed == 0 {
                    self.owed = 1;
                    return Scan::Done { used };
                }
                continue;
            }
            let Some((line, next)) = line(&bytes[used..]) else {
                return Scan::More { used };
            };
            if !self.element(line) {
                return Scan::Invalid;
            }
            used += next;
            if self.owed == 0 {
                self.owed = 1;
                return Scan::Done { used };
            }
        }
    }

    /// Takes the header line of one element; false if it isn't one.
    fn element(&mut self, line: &[u8]) -> bool {
        let Some((&kind, rest)) = line.split_first() else {
            return false;
        };
        match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {
                self.owed -= 1;
                true
            }
            b'$' | b'!' | b'=' => match parse_int(rest) {
                Some(-1) => {
                    self.owed -= 1;
                    true
                }
                Some(length) if length >= 0 => {
                    self.bulk_left = length.unsigned_abs() + 2;
                    true
                }
                _ => false,
            },
            b'*' | b'~' | b'>' => self.aggregate(rest, 1, 0),
            b'%' => self.aggregate(rest, 2, 0),
            // An attribute comes before the element that it tells of, which is still owed.
            b'|' => self.aggregate(rest, 2, 1),
            _ => false,
        }
    }

    fn aggregate(&mut self, count: &[u8], width: u64, behind: u64) -> bool {
        let elements = match parse_int(count) {
            Some(-1) => 0,
            Some(count) if count >= 0 => count.unsigned_abs(),
            _ => return false,
        };
        let Some(more) = elements.checked_mul(width) else {
            return false;
        };
        match (self.owed - 1).checked_add(more).and_then(|owed| owed.checked_add(behind)) {
            Some(owed) => {
                self.owed = owed;
                true
            }
            None => false,
        }
    }
}

/// The first line without its end, and where the next begins.
pub(super) fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Some((line, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[&str] = &[
        "+OK\r\n",
        "-ERR no\r\n",
        ":12\r\n",
        "$3\r\nabc\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n",
        "%1\r\n+k\r\n*1\r\n:1\r\n",
        "|1\r\n+k\r\n+v\r\n:5\r\n",
        "~2\r\n#t\r\n,1.5\r\n",
        "=7\r\ntxt:abc\r\n",
        ">2\r\n+message\r\n+x\r\n",
        "_\r\n",
    ];

    #[test]
    fn any_chunking_finds_the_same_ends() {
        let all = REPLIES.concat();
        let bytes = all.as_bytes();
        let mut ends = Vec::new();
        let mut end = 0;
        for reply in REPLIES {
            end += reply.len();
            ends.push(end);
        }
        for chunk in 1..=bytes.len() {
            let mut scanner = Scanner::default();
            let (mut start, mut filled, mut found) = (0, 0, Vec::new());
            while start < bytes.len() {
                match scanner.scan(&bytes[start..filled]) {
                    Scan::Done { used } => {
                        start += used;
                        found.push(start);
                    }
                    Scan::More { used } => {
                        start += used;
                        assert!(filled < bytes.len(), "chunk {chunk}: stuck at {start}");
                        filled = (filled + chunk).min(bytes.len());
                    }
                    Scan::Invalid => panic!("chunk {chunk}: invalid at {start}"),
                }
            }
            assert_eq!(found, ends, "chunk {chunk}");
            assert!(!scanner.in_reply());
        }
    }

    #[test]
    fn a_usual_reply_ends_where_a_scanner_ends_it() {
        let mut known = 0;
        for reply in REPLIES {
            for behind in ["", "+OK\r\n", "$", "\n"] {
                let bytes = [reply, behind].concat();
                if let Some(length) = whole_reply(bytes.as_bytes()) {
                    assert_eq!(length, reply.len(), "{bytes:?}");
                    known += 1;
                }
            }
            for end in 0..reply.len() {
                assert_eq!(whole_reply(&reply.as_bytes()[..end]), None, "{reply:?} cut at {end}");
            }
        }
        assert_eq!(known, 6 * 4);
        for unusual in ["-ERR no\r\n", "$3\r\nabcde\r\n", "$01\r\na\r\n", "$-2\r\n", "x\r\n"] {
            assert_eq!(whole_reply(unusual.as_bytes()), None, "{unusual:?}");
        }
    }

    #[test]
    fn what_is_not_resp_is_refused() {
        for bytes in ["x\r\n", "\r\n", "$x\r\n", "$-2\r\n", "*1x\r\n", "*9223372036854775808\r\n"] {
            assert_eq!(Scanner::default().scan(bytes.as_bytes()), Scan::Invalid, "{bytes:?}");
        }
    }
}
