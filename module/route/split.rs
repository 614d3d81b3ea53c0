//! Sharing a request's keys out over shards.
//!
//! ```text
//!   MSET k1 v1 k2 v2 k3 v3          owners  k1: shard 2   k2: shard 0   k3: shard 2
//!    0   1  2  3  4  5  6           parts   shard 0: 0 3 4     shard 2: 0 1 2 5 6
//!                                   order   1, 0, 1
//! ```
//!
//! Two passes over the keys, whatever the number of shards: one counts what each shard gets, which
//! says where in the list of indices each part begins; one puts the indices there.

use super::action::Shape;
use super::plan::Part;
use crate::ids::ShardId;

/// The working memory of a split, and its result. Reused, so that a warm one allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// For each key: its shard.
    pub(super) owners: Vec<ShardId>,
    /// For each shard: how many keys it gets.
    counts: Vec<u32>,
    /// For each shard that gets any: its part.
    part_of: Vec<u16>,
    /// For each part: where its next key goes in `indices`.
    next: Vec<u32>,
    pub(super) parts: Vec<Part>,
    pub(super) indices: Vec<u32>,
    pub(super) order: Vec<u16>,
}

impl Split {
    /// Shares out a request of `total` arguments whose keys have the shards in `owners`, out of
    /// `shards`. `shape` fits: behind its first argument there are as many groups as owners.
    pub(super) fn share_out(&mut self, shape: Shape, total: usize, shards: usize) {
        self.count(shards);
        self.lay_out(shape);
        let step = shape.step;
        for (key, owner) in self.owners.iter().enumerate() {
            let part = self.part_of[owner.index()];
            self.order.push(part);
            let next = &mut self.next[usize::from(part)];
            let at = shape.first + key * step;
            for arg in at..at + step {
                self.indices[*next as usize] = index(arg);
                *next += 1;
            }
        }
        for (part, &next) in self.parts.iter().zip(&self.next) {
            let trailer = &mut self.indices[next as usize..part.end as usize];
            for (place, arg) in trailer.iter_mut().zip(total - shape.trailer..) {
                *place = index(arg);
            }
        }
    }

    fn count(&mut self, shards: usize) {
        self.counts.clear();
        self.counts.resize(shards, 0);
        for owner in &self.owners {
            self.counts[owner.index()] += 1;
        }
    }

    /// Gives each shard that has keys a part, with room for its arguments and what all parts share
    /// in front.
    fn lay_out(&mut self, shape: Shape) {
        self.parts.clear();
        self.next.clear();
        self.order.clear();
        self.indices.clear();
        self.part_of.clear();
        self.part_of.resize(self.counts.len(), 0);
        for (shard, &keys) in (0u16..).zip(&self.counts) {
            if keys == 0 {
                continue;
            }
            // There are at most `limits::SHARDS_MAX` parts.
            self.part_of[usize::from(shard)] = self.parts.len() as u16;
            let start = index(self.indices.len());
            self.indices.extend((0..shape.first).map(index));
            self.next.push(index(self.indices.len()));
            let room = keys as usize * shape.step + shape.trailer;
            self.indices.resize(self.indices.len() + room, 0);
            self.parts.push(Part { shard: ShardId(shard), start, end: index(self.indices.len()) });
        }
    }
}

/// Arguments of a request are at most 2^31 (`limits::REQUEST_ARGS_MAX`); what a split adds to them
/// is their common front, once for each shard.
fn index(number: usize) -> u32 {
    number as u32
}
