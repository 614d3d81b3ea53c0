//! Name -> place in a table, whatever the case, without allocation.

/// An open-addressing hash table of places. The names themselves stay with the specs, and are asked
/// for by place.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Places by hash, [`EMPTY`] where there is none. Its length is a power of two and at least
    /// twice the number of names, so that a search always ends, and mostly at once.
    places: Box<[u16]>,
    /// No name is longer.
    longest: usize,
}

const EMPTY: u16 = u16::MAX;
const _: () = assert!(crate::limits::COMMANDS_MAX < EMPTY as usize);

impl Names {
    /// A table of the names at the given places.
    pub(super) fn new<'a>(names: impl Iterator<Item = (u16, &'a str)> + Clone) -> Self {
        let size = (names.clone().count() * 4).next_power_of_two().max(4);
        let mut places = vec![EMPTY; size].into_boxed_slice();
        for (place, name) in names.clone() {
            let mut at = hash(name.as_bytes()) & (size - 1);
            while places[at] != EMPTY {
                at = (at + 1) & (size - 1);
            }
            places[at] = place;
        }
        Self { places, longest: names.map(|(_, name)| name.len()).max().unwrap_or(0) }
    }

    /// The place of `name`; `name_at` says which name is at a place.
    pub(super) fn find<'a>(&self, name: &[u8], name_at: impl Fn(u16) -> &'a str) -> Option<u16> {
        // So nobody hashes a megabyte here.
        if name.len() > self.longest {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut at = hash(name) & mask;
        loop {
            let place = self.places[at];
            if place == EMPTY {
                return None;
            }
            if name_at(place).as_bytes().eq_ignore_ascii_case(name) {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
    }
}

/// FNV-1a over the bytes with the bit set that tells small letters from capitals.
fn hash(name: &[u8]) -> usize {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x0100_0193);
    let hash = name.iter().fold(0x811c_9dc5, mix);
    // The low bits, which are used, depend least on the last byte.
    (hash ^ (hash >> 15)) as usize
}
