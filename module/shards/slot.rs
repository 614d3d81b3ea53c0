//! Key -> hash slot.

use std::fmt;

/// One of the 16384 parts into which all keys fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashSlot(u16);

impl HashSlot {
    /// How many there are. Source: redis `cluster.h`, `CLUSTER_SLOTS`.
    pub const COUNT: u16 = 16_384;

    /// Slot `number`, if there is one.
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The slot of `key`, or of its hash tag. Source: redis `cluster.h`, `keyHashSlot`.
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key).unwrap_or(key)) % Self::COUNT)
    }

    /// The slot in which every key that matches `pattern` lies; none if they may lie in several.
    /// Source: redis `cluster.c`, `patternHashSlot`.
    pub fn of_pattern(pattern: &[u8]) -> Option<Self> {
        // What follows a closed tag doesn't matter; in front of it and inside, a wildcard does.
        let decisive = match hash_tag(pattern) {
            Some(tag) => &pattern[..tag_start(pattern)? + 1 + tag.len()],
            None => pattern,
        };
        let open = decisive.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
        (!open).then(|| Self::of(pattern))
    }

    /// Its number, from 0.
    pub fn number(self) -> u16 {
        self.0
    }

    /// As an index into tables by slot.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for HashSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What stands between the first `{` and the first `}` behind it, unless that is nothing.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let behind = &key[tag_start(key)? + 1..];
    match memchr::memchr(b'}', behind) {
        None | Some(0) => None,
        Some(end) => Some(&behind[..end]),
    }
}

fn tag_start(key: &[u8]) -> Option<usize> {
    memchr::memchr(b'{', key)
}

/// CRC-16/XMODEM: polynomial 0x1021, nothing reflected, begins at 0. Source: redis `crc16.c`.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ TABLE[usize::from(high ^ byte)]
    })
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_xmodem() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn a_pattern_has_a_slot_only_if_all_that_it_matches_has_that_slot() {
        for (pattern, slot_of) in [
            ("plain", Some("plain")),
            ("{tag}*", Some("tag")),
            ("a{tag}[x]?", Some("tag")),
            ("*{tag}", None),
            ("{t*g}", None),
            ("a*", None),
            ("a\\*", None),
            ("{}a", Some("{}a")),
            ("{}a*", None),
            ("{open*", None),
        ] {
            let want = slot_of.map(|key| HashSlot::of(key.as_bytes()));
            assert_eq!(HashSlot::of_pattern(pattern.as_bytes()), want, "{pattern}");
        }
    }
}
