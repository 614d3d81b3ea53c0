//! Name -> place in a table, whatever the case, without allocation.
//!
//! A name is taken as three numbers: its first eight bytes, its last eight, and its length. Those
//! of up to sixteen bytes, which is nearly all, are known by these alone.

/// An open-addressing hash table. The names themselves stay with the specs, and are asked for by
/// place.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Its length is a power of two and at least twice the number of names, so that a search always
    /// ends, and mostly at once.
    entries: Box<[Option<Entry>]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    words: Words,
    place: u16,
}

/// Small letters only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words {
    first: u64,
    /// Zero of a name that the first word has all of.
    last: u64,
    length: usize,
}

const WORD: usize = size_of::<u64>();

impl Names {
    /// A table of the names at the given places.
    pub(super) fn new<'a>(names: impl Iterator<Item = (u16, &'a str)> + Clone) -> Self {
        let size = (names.clone().count() * 4).next_power_of_two().max(4);
        let mut entries = vec![None; size].into_boxed_slice();
        for (place, name) in names {
            let words = Words::of(name.as_bytes());
            let mut at = words.hash() & (size - 1);
            while entries[at].is_some() {
                at = (at + 1) & (size - 1);
            }
            entries[at] = Some(Entry { words, place });
        }
        Self { entries }
    }

    /// The place of `name`; `name_at` says which name is at a place.
    pub(super) fn find<'a>(&self, name: &[u8], name_at: impl Fn(u16) -> &'a str) -> Option<u16> {
        let words = Words::of(name);
        let mask = self.entries.len() - 1;
        let mut at = words.hash() & mask;
        while let Some(entry) = &self.entries[at] {
            if entry.words == words
                && (name.len() <= 2 * WORD
                    || name_at(entry.place).as_bytes().eq_ignore_ascii_case(name))
            {
                return Some(entry.place);
            }
            at = (at + 1) & mask;
        }
        None
    }
}

impl Words {
    fn of(name: &[u8]) -> Self {
        let (first, last) = match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) if name.len() > WORD => (word(*first), word(*last)),
            _ => (name.iter().rev().fold(0, |word, byte| word << 8 | small(*byte)), 0),
        };
        Self { first, last, length: name.len() }
    }

    /// Fibonacci hashing: the high bits of the product depend on all of the factor's.
    fn hash(self) -> usize {
        let mixed = self.first ^ self.last.rotate_left(32) ^ self.length as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }
}

fn word(bytes: [u8; WORD]) -> u64 {
    u64::from_le_bytes(bytes.map(|byte| byte.to_ascii_lowercase()))
}

fn small(byte: u8) -> u64 {
    u64::from(byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_and_no_other_is() {
        let known = [
            "get",
            "set",
            "getrange",
            "zrangebylex",
            "zrangebyscore",
            "a",
            "get-keys",
            "georadiusbymember_ro",
            "georadiusbymember_rw",
            "sixteen-bytes-ab",
            "",
        ];
        let names = Names::new((0u16..).zip(known));
        let find = |name: &[u8]| names.find(name, |place| known[usize::from(place)]);
        for (place, name) in (0u16..).zip(known) {
            assert_eq!(find(name.as_bytes()), Some(place), "{name}");
            assert_eq!(find(name.to_uppercase().as_bytes()), Some(place), "{name}");
        }
        // What differs in a bit that tells small letters from capitals, in bytes that no word has,
        // or in bytes of nothing.
        for other in [
            "ge",
            "gett",
            "get\0",
            "get\rkeys",
            "georadiusbymemberXro",
            "zrangebyzcore",
            "georaDIUSbyMEmber_rO ",
            "\0",
            "g\u{5}t",
            "sixteen-bytes-aB-",
        ] {
            assert_eq!(find(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(find(&[b'x'; 1 << 20]), None);
    }
}
