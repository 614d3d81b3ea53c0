//! Parts of the hash slots, and which shard truly has each.
//!
//! ```text
//!   slots   0 ......................................... 16383
//!   static  [     shard 0      |     shard 1               ]     a region is a shard's for ever
//!   cluster [ r0 | r1 | r2 | r3 | r4 | r5 | r6 | r7 | .. ]       each may move to another shard
//! ```
//!
//! All slots of a region move together: so a few keys are enough for something to happen to them.

use std::collections::BTreeSet;

use super::resp;
use super::world::World;

/// Tells whether anything has happened to a region since.
pub type Stamp = (u64, u64);

/// A region on its way to another shard.
#[derive(Debug)]
pub struct Moving {
    pub to: usize,
    /// Keys that have gone ahead, by stored name.
    pub gone: BTreeSet<Vec<u8>>,
}

#[derive(Debug)]
pub struct Region {
    /// The shard that has it.
    pub owner: usize,
    pub moving: Option<Moving>,
    /// Counts all that may make answers uncertain.
    pub epoch: u64,
    /// Counts all that may make EXEC find its watched keys changed, besides.
    pub stirred: u64,
}

impl Region {
    pub fn new(owner: usize) -> Self {
        Self { owner, moving: None, epoch: 0, stirred: 0 }
    }

    pub fn stamp(&self) -> Stamp {
        (self.epoch, self.stirred)
    }

    /// Whether keys of it may be on this shard.
    pub fn concerns(&self, shard: usize) -> bool {
        self.owner == shard || self.moving.as_ref().is_some_and(|moving| moving.to == shard)
    }
}

impl World {
    /// The region of a key by its stored name.
    pub fn region_of_key(&self, stored: &[u8]) -> usize {
        let name = stored.split(|&byte| byte == b'@').next().unwrap_or_default();
        resp::shard_of(name, self.regions.len())
    }

    /// The shard that has a key, by its stored name.
    pub fn shard_of_key(&self, stored: &[u8]) -> usize {
        self.regions[self.region_of_key(stored)].owner
    }

    /// The epoch of a key's region.
    pub fn epoch_of_key(&self, stored: &[u8]) -> u64 {
        self.regions[self.region_of_key(stored)].epoch
    }
}
