//! Hash slot -> shard.

use std::fmt;

use super::{Address, HashSlot};
use crate::ids::ShardId;
use crate::limits;

/// Slots next to each other, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotRange {
    /// The first slot's number.
    pub first: u16,
    /// The last slot's number; not below `first`.
    pub last: u16,
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// One shard of a [`ShardMap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Where its primary listens.
    pub address: Address,
    /// Its slots, in ascending order, as few ranges as there can be.
    pub slots: Vec<SlotRange>,
}

impl Shard {
    /// Its slots as a person writes them: `0-5460,7000`.
    pub fn slots_text(&self) -> String {
        join(&self.slots)
    }
}

/// Why some shards are no [`ShardMap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No shard at all.
    Empty,
    /// More than [`limits::SHARDS_MAX`].
    TooMany(usize),
    /// Two shards at one address.
    DuplicateAddress(Address),
    /// A slot that doesn't exist, or a range that ends before it begins.
    BadRange(SlotRange),
    /// A slot that two shards claim.
    Overlap {
        /// The first such slot.
        slot: u16,
        /// Who claims it.
        owners: [Address; 2],
    },
    /// Slots that no shard has.
    Uncovered(Vec<SlotRange>),
    /// A shard that has no slot.
    NoSlots(Address),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no shard is named"),
            Self::TooMany(count) => {
                write!(f, "{count} shards; at most {} are possible", limits::SHARDS_MAX)
            }
            Self::DuplicateAddress(address) => write!(f, "{address} is named twice"),
            Self::BadRange(SlotRange { first, last }) => write!(
                f,
                "{first}-{last} is not a range of slots; slots are 0-{}",
                HashSlot::COUNT - 1
            ),
            Self::Overlap { slot, owners: [one, other] } => {
                write!(f, "slot {slot} is given to both {one} and {other}")
            }
            Self::Uncovered(ranges) => write!(f, "no shard has the slots {}", join(ranges)),
            Self::NoSlots(address) => write!(f, "{address} has no slots"),
        }
    }
}

impl std::error::Error for MapError {}

/// Which shard has which slots. Every slot has exactly one shard, every shard at least one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    /// By slot. 32 KB: two loads from a key's CRC to its shard, without a search.
    owners: Box<[ShardId]>,
    shards: Vec<Shard>,
}

impl ShardMap {
    /// A map of the given shards, which get their ids in this order.
    pub fn new(parts: Vec<(Address, Vec<SlotRange>)>) -> Result<Self, MapError> {
        if parts.is_empty() {
            return Err(MapError::Empty);
        }
        if parts.len() > limits::SHARDS_MAX {
            return Err(MapError::TooMany(parts.len()));
        }
        let mut owners: Vec<Option<ShardId>> = vec![None; usize::from(HashSlot::COUNT)];
        for (number, (address, ranges)) in parts.iter().enumerate() {
            if parts[..number].iter().any(|(earlier, _)| earlier == address) {
                return Err(MapError::DuplicateAddress(address.clone()));
            }
            if ranges.is_empty() {
                return Err(MapError::NoSlots(address.clone()));
            }
            // `SHARDS_MAX` is below 2^16.
            let id = ShardId(u16::try_from(number).unwrap_or(u16::MAX));
            for &range in ranges {
                if range.first > range.last || range.last >= HashSlot::COUNT {
                    return Err(MapError::BadRange(range));
                }
                for slot in range.first..=range.last {
                    if let Some(other) = owners[usize::from(slot)].replace(id) {
                        let owners = [parts[other.index()].0.clone(), address.clone()];
                        return Err(MapError::Overlap { slot, owners });
                    }
                }
            }
        }
        let uncovered = ranges_where(&owners, None);
        if !uncovered.is_empty() {
            return Err(MapError::Uncovered(uncovered));
        }
        let shards = (0u16..).zip(parts).map(|(number, (address, _))| Shard {
            address,
            slots: ranges_where(&owners, Some(ShardId(number))),
        });
        Ok(Self { shards: shards.collect(), owners: owners.into_iter().flatten().collect() })
    }

    /// A map in which shards get even numbers of slots in the order in which they are given: the
    /// split of `redis-cli --cluster create`, so that a database made by it keeps its slots.
    pub fn even(addresses: Vec<Address>) -> Result<Self, MapError> {
        if addresses.len() > limits::SHARDS_MAX {
            return Err(MapError::TooMany(addresses.len()));
        }
        let split = even_split(addresses.len());
        Self::new(addresses.into_iter().zip(split.into_iter().map(|range| vec![range])).collect())
    }

    /// The shard that has `slot`.
    pub fn shard_of(&self, slot: HashSlot) -> ShardId {
        self.owners[slot.index()]
    }

    /// The shard that has `key`.
    pub fn shard_of_key(&self, key: &[u8]) -> ShardId {
        self.shard_of(HashSlot::of(key))
    }

    /// How many shards there are; at least one.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Never: a map has a shard.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// Shard `id`, if there is one.
    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.get(id.index())
    }

    /// All shards with their ids, in the order of their ids.
    pub fn shards(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        (0u16..).map(ShardId).zip(&self.shards)
    }
}

/// Even ranges for `count` shards. Source: redis `redis-cli.c`, `clusterManagerCommandCreate`: it
/// counts in single precision and adds up the rounding errors, so equal slots need equal
/// arithmetic.
fn even_split(count: usize) -> Vec<SlotRange> {
    let last_slot = HashSlot::COUNT - 1;
    // Both numbers are far below 2^24, so they are exact.
    let slots_per_shard = f32::from(HashSlot::COUNT) / count as f32;
    let (mut first, mut cursor) = (0u16, 0f32);
    let mut ranges = Vec::with_capacity(count);
    for shard in 0..count {
        // `round` takes halves away from zero, as C's `lround` does.
        let rounded = f64::from(cursor + slots_per_shard - 1.0).round() as u16;
        let last = if shard + 1 == count { last_slot } else { rounded.clamp(first, last_slot) };
        ranges.push(SlotRange { first, last });
        first = last.saturating_add(1);
        cursor += slots_per_shard;
    }
    ranges
}

/// The ranges of slots whose owner is `owner`.
fn ranges_where(owners: &[Option<ShardId>], owner: Option<ShardId>) -> Vec<SlotRange> {
    let mut ranges: Vec<SlotRange> = Vec::new();
    for slot in (0u16..).zip(owners).filter(|&(_, &o)| o == owner).map(|(slot, _)| slot) {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == slot => range.last = slot,
            _ => ranges.push(SlotRange { first: slot, last: slot }),
        }
    }
    ranges
}

fn join(ranges: &[SlotRange]) -> String {
    ranges.iter().map(SlotRange::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum was made by the same loop in C, with `float` and `lround`.
    #[test]
    fn even_splits_are_those_of_redis_cli_for_every_number_of_shards() {
        let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
        for count in 1..=1024 {
            for range in even_split(count) {
                for end in [range.first, range.last] {
                    sum = (sum ^ u64::from(end)).wrapping_mul(0x0100_0000_01b3);
                }
            }
        }
        assert_eq!(sum, 0x3ef7_49af_0c0b_5fdd);
    }

    #[test]
    fn as_many_shards_as_there_may_be_and_no_more() {
        let addresses = |count: usize| (0..count).map(|n| Address::Unix(format!("/{n}"))).collect();
        assert_eq!(
            ShardMap::even(addresses(limits::SHARDS_MAX)).unwrap().len(),
            limits::SHARDS_MAX
        );
        for count in [limits::SHARDS_MAX + 1, 20_000] {
            assert_eq!(ShardMap::even(addresses(count)), Err(MapError::TooMany(count)));
        }
    }
}
