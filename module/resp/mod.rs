//! Bytes <-> frames.
//!
//! ```text
//!   client bytes --request::Parser--> ranges of arguments      (checked as strictly as a shard does)
//!   shard bytes  --reply::Scanner---> where each reply ends    (not looked into)
//!   our replies  --write------------> bytes
//!   slow path    --value::Value-----> a tree (reading INFO, COMMAND, counts)
//!   retelling    --element::Elements> a row (replies that leave by the host's own port)
//! ```
//!
//! A frame is a range, not a copy. Requests are checked to the byte, because they are forwarded
//! untouched on connections that many clients share: a frame that the shard would read differently
//! from us could answer one client with another's data.

pub mod buffer;
pub mod element;
pub mod reply;
pub mod request;
pub mod value;
pub mod write;

pub use buffer::{Intake, Outbox};
pub use element::{Element, Elements};
pub use reply::{Scan, Scanner, whole_reply};
pub use request::{Args, Follower, Parsed, Parser, ProtocolError, Request, is_command};
pub use value::Value;

/// Which RESP a connection speaks, as HELLO chose it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// What every connection begins with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Version {
    /// As HELLO and CLIENT LIST write it.
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// A decimal number as Redis reads one in a RESP header: an optional minus, no plus, no leading
/// zero, no blank. Source: redis `util.c`, `string2ll`.
pub fn parse_int(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    match digits {
        [] => return None,
        [b'0'] => return if negative { None } else { Some(0) },
        [b'0', ..] => return None,
        _ if digits.len() > 19 => return None,
        _ => {}
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Nineteen digits fit in 64 bits, so this can't overflow.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::parse_int;

    #[test]
    fn numbers_are_read_as_strictly_as_the_server_reads_them() {
        for (text, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
        ] {
            assert_eq!(parse_int(text.as_bytes()), value, "{text:?}");
        }
    }
}
