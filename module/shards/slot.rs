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
///
/// Each byte's step needs the result of the step before, so a key costs the latency of as many
/// loads as it has bytes. Four bytes at once need one result and four loads that don't wait for
/// each other.
fn crc16(bytes: &[u8]) -> u16 {
    let fours = bytes.chunks_exact(4);
    let rest = fours.remainder();
    let crc = fours.fold(0, |crc: u16, four| {
        let [high, low] = crc.to_be_bytes();
        TABLES[3][usize::from(high ^ four[0])]
            ^ TABLES[2][usize::from(low ^ four[1])]
            ^ TABLES[1][usize::from(four[2])]
            ^ TABLES[0][usize::from(four[3])]
    });
    rest.iter().fold(crc, |crc, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ TABLES[0][usize::from(high ^ byte)]
    })
}

/// `TABLES[n][byte]` is the CRC of `byte` with `n` zero bytes behind it.
static TABLES: [[u16; 256]; 4] = tables();

const fn tables() -> [[u16; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < 4 {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
                bit += 1;
            }
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
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
    fn four_bytes_at_once_are_what_the_definition_says_bit_by_bit() {
        let by_definition = |bytes: &[u8]| {
            bytes.iter().fold(0u16, |crc, &byte| {
                (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                    if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
                })
            })
        };
        let bytes: Vec<u8> = (0..=255u8).map(|n| n.wrapping_mul(167).rotate_left(3)).collect();
        for start in 0..64 {
            for end in start..bytes.len() {
                assert_eq!(crc16(&bytes[start..end]), by_definition(&bytes[start..end]));
            }
        }
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
