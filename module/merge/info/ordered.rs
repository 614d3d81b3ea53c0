//! Named things in the order in which shards tell them.
//!
//! ```text
//!   shard 0:  a b   d         a -> b -> d
//!   shard 1:  a b c d e       a -> b -> c -> d -> e      c and e come behind what they followed
//! ```
//!
//! Each step takes the same time however many there are: a shard may tell a million.

use std::collections::HashMap;
use std::iter;

/// What `next` says of the last one.
const END: usize = usize::MAX;

/// A list whose entries are found by name, and that can grow anywhere.
#[derive(Debug)]
pub(super) struct Ordered<'a, T> {
    entries: Vec<Entry<'a, T>>,
    places: HashMap<&'a [u8], usize>,
    /// The place of the first one in `entries`, or [`END`].
    first: usize,
}

#[derive(Debug)]
struct Entry<'a, T> {
    name: &'a [u8],
    thing: T,
    next: usize,
}

impl<T> Default for Ordered<'_, T> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::new(), first: END }
    }
}

/// Where one shard's telling has come to; starts at the top.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor(Option<usize>);

impl<'a, T: Default> Ordered<'a, T> {
    /// The thing of this name, to which the cursor moves. A new one is put where the cursor was.
    pub(super) fn tell(&mut self, cursor: &mut Cursor, name: &'a [u8]) -> &mut T {
        let expected = match cursor.0 {
            Some(before) => self.entries[before].next,
            None => self.first,
        };
        // Shards mostly tell the same in the same order, so mostly nothing has to be looked up.
        let place = match self.entries.get(expected) {
            Some(entry) if entry.name == name => expected,
            _ => match self.places.get(name) {
                Some(&place) => place,
                None => self.insert(*cursor, name, expected),
            },
        };
        *cursor = Cursor(Some(place));
        &mut self.entries[place].thing
    }

    fn insert(&mut self, behind: Cursor, name: &'a [u8], next: usize) -> usize {
        let place = self.entries.len();
        match behind.0 {
            Some(before) => self.entries[before].next = place,
            None => self.first = place,
        }
        self.entries.push(Entry { name, thing: T::default(), next });
        self.places.insert(name, place);
        place
    }
}

impl<'a, T> Ordered<'a, T> {
    /// The thing of this name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&T> {
        self.places.get(name).map(|&place| &self.entries[place].thing)
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a [u8], &T)> {
        let first = self.entries.get(self.first);
        iter::successors(first, |entry| self.entries.get(entry.next))
            .map(|entry| (entry.name, &entry.thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_shard_has_more_stands_where_it_stood_there() {
        let mut letters: Ordered<'_, usize> = Ordered::default();
        for told in ["bd", "abcde", "ea"] {
            let mut cursor = Cursor::default();
            for letter in told.as_bytes().chunks(1) {
                *letters.tell(&mut cursor, letter) += 1;
            }
        }
        let told: Vec<_> = letters.iter().map(|(name, &times)| (name[0] as char, times)).collect();
        assert_eq!(told, [('a', 2), ('b', 2), ('c', 1), ('d', 2), ('e', 2)]);
        assert_eq!(letters.get(b"c"), Some(&1));
        assert_eq!(letters.get(b"x"), None);
    }
}
