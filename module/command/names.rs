//! Name -> place in a table, whatever the case, without allocation.
//!
//! A name is taken as two words and its length: all of its bytes if it has up to sixteen, which is
//! nearly every one, and else the first eight and the last eight. Bytes as they were said are
//! compared with those of the table: they may differ in what tells small letters from capitals, and
//! that only where the table has a letter.

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
    /// Small letters only.
    words: Words,
    /// [`CASE`] at its letters.
    letters: Words,
    length: usize,
    place: u16,
}

/// Some bytes of a name, which together with its length say all of them if there are up to sixteen.
/// Short names fill the words by having bytes in them twice.
#[derive(Clone, Copy, Debug)]
struct Words {
    first: u64,
    last: u64,
}

const WORD: usize = size_of::<u64>();

/// What tells small letters from capitals, in each byte.
const CASE: u64 = u64::from_le_bytes([b'a' ^ b'A'; WORD]);

impl Names {
    /// A table of the names at the given places.
    pub(super) fn new<'a>(names: impl Iterator<Item = (u16, &'a str)> + Clone) -> Self {
        let size = (names.clone().count() * 4).next_power_of_two().max(4);
        let mut entries = vec![None; size].into_boxed_slice();
        for (place, name) in names {
            let entry = Entry::new(name, place);
            let mut at = entry.words.hash(entry.length) & (size - 1);
            while entries[at].is_some() {
                at = (at + 1) & (size - 1);
            }
            entries[at] = Some(entry);
        }
        Self { entries }
    }

    /// The place of `name`; `name_at` says which name is at a place.
    pub(super) fn find<'a>(&self, name: &[u8], name_at: impl Fn(u16) -> &'a str) -> Option<u16> {
        let words = Words::of(name);
        let mask = self.entries.len() - 1;
        let mut at = words.hash(name.len()) & mask;
        while let Some(entry) = &self.entries[at] {
            if entry.length == name.len()
                && entry.is(words)
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

impl Entry {
    fn new(name: &str, place: u16) -> Self {
        let small = name.to_ascii_lowercase();
        let letters: Vec<u8> = small
            .bytes()
            .map(|byte| if byte.is_ascii_lowercase() { b'a' ^ b'A' } else { 0 })
            .collect();
        Self {
            words: Words::of(small.as_bytes()),
            letters: Words::of(&letters),
            length: name.len(),
            place,
        }
    }

    /// Whether these are its words, in any case.
    fn is(&self, said: Words) -> bool {
        let first = (self.words.first ^ said.first) & !self.letters.first;
        let last = (self.words.last ^ said.last) & !self.letters.last;
        first | last == 0
    }
}

impl Words {
    fn of(name: &[u8]) -> Self {
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            return Self { first: u64::from_le_bytes(*first), last: u64::from_le_bytes(*last) };
        }
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let [first, last] = [first, last].map(|four| u64::from(u32::from_le_bytes(*four)));
            return Self { first, last };
        }
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let [first, last] = [first, last].map(|two| u64::from(u16::from_le_bytes(*two)));
            return Self { first, last };
        }
        Self { first: name.first().map_or(0, |byte| u64::from(*byte)), last: 0 }
    }

    /// Fibonacci hashing: the high bits of the product depend on all of the factor's. Those that
    /// may differ between one name's spellings are not among these.
    fn hash(self, length: usize) -> usize {
        let mixed = (self.first | CASE) ^ (self.last | CASE).rotate_left(32) ^ length as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }
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
            "sixteen\rbytes-ab",
            "sixteen-bytes\rab",
        ] {
            assert_eq!(find(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(find(&[b'x'; 1 << 20]), None);
    }
}
