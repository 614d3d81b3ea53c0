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
    /// Where its primary listens; none while nobody has said so.
    pub address: Option<Address>,
    /// What Sentinels call it; none where there are none.
    pub master: Option<String>,
    /// Its slots, in ascending order, as few ranges as there can be. A shard of a cluster may have
    /// none: it has just come, or has given all away.
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

/// What holds for all shards of a [`ShardMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Servers that know nothing of slots: each takes any key, in any database. Which has which is
    /// Weir's own rule, and never changes.
    Apart,
    /// The nodes of a Redis Cluster, which know who has which slots, and move them.
    Cluster,
}

/// Which shard has which slots. Every slot has exactly one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    kind: Kind,
    /// By slot. 32 KB: two loads from a key's CRC to its shard, without a search.
    owners: Box<[ShardId]>,
    shards: Vec<Shard>,
    /// The shards that have slots.
    members: Vec<ShardId>,
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
        let shards = parts.into_iter().map(|(address, _)| (Some(address), None)).collect();
        Ok(Self::of(Kind::Apart, &owners, shards))
    }

    /// A map of the named masters of Sentinels, in even shares in this order: at least one, and no
    /// more than [`limits::SHARDS_MAX`]. Where the primaries are is known of those whose address is
    /// given.
    pub fn of_masters(masters: Vec<(String, Option<Address>)>) -> Self {
        let mut owners = vec![None; usize::from(HashSlot::COUNT)];
        for (number, range) in (0u16..).zip(even_split(masters.len())) {
            owners[usize::from(range.first)..=usize::from(range.last)].fill(Some(ShardId(number)));
        }
        let shards = masters.into_iter().map(|(name, address)| (address, Some(name))).collect();
        Self::of(Kind::Apart, &owners, shards)
    }

    /// A map of a cluster's shards, as one of its nodes tells it. What is wrong with it is the
    /// cluster's affair: a slot that nobody has is looked for at the first shard with any, which
    /// says so; if two claim one, the later has it. Before anything is known it is of one shard,
    /// without an address.
    pub fn of_cluster(parts: Vec<(Option<Address>, Vec<SlotRange>)>) -> Self {
        let mut owners = vec![None; usize::from(HashSlot::COUNT)];
        for (number, (_, ranges)) in (0u16..).zip(&parts) {
            for slot in ranges.iter().flat_map(|range| range.first..=range.last) {
                if let Some(owner) = owners.get_mut(usize::from(slot)) {
                    *owner = Some(ShardId(number));
                }
            }
        }
        let shards = parts.into_iter().map(|(address, _)| (address, None)).collect();
        Self::of(Kind::Cluster, &owners, shards)
    }

    fn of(
        kind: Kind,
        owners: &[Option<ShardId>],
        shards: Vec<(Option<Address>, Option<String>)>,
    ) -> Self {
        let with_slots = |(number, (address, master))| Shard {
            address,
            master,
            slots: ranges_where(owners, Some(ShardId(number))),
        };
        let shards: Vec<Shard> = (0u16..).zip(shards).map(with_slots).collect();
        let ids = (0u16..).map(ShardId).zip(&shards);
        let members: Vec<ShardId> =
            ids.filter(|(_, shard)| !shard.slots.is_empty()).map(|(id, _)| id).collect();
        let first = members.first().copied().unwrap_or(ShardId(0));
        let owners = owners.iter().map(|owner| owner.unwrap_or(first)).collect();
        Self { kind, owners, shards, members }
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

    /// What holds for all shards.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// For how many shards resources are set aside.
    pub fn reckoned(&self) -> usize {
        match self.kind {
            Kind::Apart => self.shards.len(),
            Kind::Cluster => limits::CLUSTER_SHARDS_RECKONED.max(self.shards.len()),
        }
    }

    /// How many shards there may ever be.
    pub fn most(&self) -> usize {
        match self.kind {
            Kind::Apart => self.shards.len(),
            Kind::Cluster => limits::SHARDS_MAX,
        }
    }

    /// Whether somebody else than an operator may change it.
    pub fn may_change(&self) -> bool {
        self.kind == Kind::Cluster || self.shards.iter().any(|shard| shard.master.is_some())
    }

    /// The shards that have slots, in ascending order: a request for all of the data goes to these.
    /// None before a cluster is known.
    pub fn members(&self) -> &[ShardId] {
        &self.members
    }

    /// The shard for what any could do.
    pub fn first(&self) -> ShardId {
        self.members.first().copied().unwrap_or(ShardId(0))
    }

    /// Whether all keys are in one shard, which takes any together.
    pub fn is_one_shard(&self) -> bool {
        self.kind == Kind::Apart && self.shards.len() == 1
    }

    /// The shard whose primary listens at `address`.
    pub fn shard_at(&self, address: &Address) -> Option<ShardId> {
        let at = |shard: &Shard| shard.address.as_ref() == Some(address);
        self.shards().find(|(_, shard)| at(shard)).map(|(id, _)| id)
    }

    /// Who has had slots that others have in `next`: pairs of before and after, each once.
    pub fn moves_to(&self, next: &Self) -> Vec<(ShardId, ShardId)> {
        let both = self.owners.iter().copied().zip(next.owners.iter().copied());
        let mut moves: Vec<_> = both.filter(|(before, after)| before != after).collect();
        moves.sort_unstable();
        moves.dedup();
        moves
    }

    /// One cursor of SCAN over all shards, of a shard's own: `cursor * radix + shard`. At the end
    /// of one (0) the next begins, and the end of the last is 0. None if it doesn't fit in 64 bits.
    ///
    /// Static shards count in their own number; those of a cluster, which comes and goes, in the
    /// largest, so that a cursor means the same before and after.
    pub fn cursor_of(&self, shard: ShardId, cursor: u64) -> Option<u64> {
        match cursor {
            0 => {
                let next = self.members.iter().find(|member| **member > shard);
                Some(next.map_or(0, |next| next.0.into()))
            }
            _ => cursor.checked_mul(self.radix())?.checked_add(shard.0.into()),
        }
    }

    /// What a client's cursor says: the shard whose turn it is, and the shard's own cursor. If that
    /// shard has no slots any more, the next begins; if there is none, the last begins again.
    pub fn at_cursor(&self, cursor: u64) -> (ShardId, u64) {
        let shard = ShardId(u16::try_from(cursor % self.radix()).unwrap_or(u16::MAX));
        match self.members.iter().find(|member| **member >= shard) {
            Some(member) if *member == shard => (shard, cursor / self.radix()),
            Some(next) => (*next, 0),
            None => (self.members.last().copied().unwrap_or_else(|| self.first()), 0),
        }
    }

    fn radix(&self) -> u64 {
        match self.kind {
            Kind::Apart => self.shards.len() as u64,
            Kind::Cluster => limits::SHARDS_MAX as u64,
        }
    }

    /// How many shards there are, with those that have no slots; at least one.
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
