//! Sharing a request's keys out over shards.
//!
//! ```text
//!   MSET k1 v1 k2 v2 k3 v3          bins    k1: 2   k2: 0   k3: 2
//!    0   1  2  3  4  5  6           parts   of 0: 0 3 4     of 2: 0 1 2 5 6
//!                                   order   1, 0, 1
//! ```
//!
//! Keys of one **bin** go together: bins are shards, or the hash slots of a cluster, whose nodes
//! take no others together. Two passes over the keys, whatever the number of bins: one counts what
//! each gets, which says where in the list of indices each part begins; one puts the indices there.

use super::action::Shape;
use super::plan::Part;
use crate::ids::ShardId;

/// The working memory of a split, and its result. Reused, so that a warm one allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// For each key: its bin.
    pub(super) bins: Vec<u16>,
    /// For each bin: how many keys it gets. All are 0 between two splits.
    counts: Vec<u32>,
    /// The bins that get any, in ascending order.
    used: Vec<u16>,
    /// For each bin that gets any: its part.
    part_of: Vec<u16>,
    /// For each part: where its next key goes in `indices`.
    next: Vec<u32>,
    pub(super) parts: Vec<Part>,
    pub(super) indices: Vec<u32>,
    pub(super) order: Vec<u16>,
}

impl Split {
    /// Shares out a request of `total` arguments whose keys have the bins in `bins`. `shape` fits:
    /// behind its first argument there are as many groups as bins. `shard_of` says where a bin's
    /// part goes.
    pub(super) fn share_out(
        &mut self,
        shape: Shape,
        total: usize,
        shard_of: impl Fn(u16) -> ShardId,
    ) {
        self.count();
        self.lay_out(shape, shard_of);
        let step = shape.step;
        for (key, &bin) in self.bins.iter().enumerate() {
            let part = self.part_of[usize::from(bin)];
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

    fn count(&mut self) {
        self.used.clear();
        let most = self.bins.iter().max().map_or(0, |&bin| usize::from(bin) + 1);
        if self.counts.len() < most {
            self.counts.resize(most, 0);
            self.part_of.resize(most, 0);
        }
        for &bin in &self.bins {
            let count = &mut self.counts[usize::from(bin)];
            if *count == 0 {
                self.used.push(bin);
            }
            *count += 1;
        }
        self.used.sort_unstable();
    }

    /// Gives each bin that has keys a part, with room for its arguments and what all parts share in
    /// front.
    fn lay_out(&mut self, shape: Shape, shard_of: impl Fn(u16) -> ShardId) {
        self.parts.clear();
        self.next.clear();
        self.order.clear();
        self.indices.clear();
        for &bin in &self.used {
            let keys = std::mem::take(&mut self.counts[usize::from(bin)]);
            // There are no more parts than hash slots.
            self.part_of[usize::from(bin)] = self.parts.len() as u16;
            let start = index(self.indices.len());
            self.indices.extend((0..shape.first).map(index));
            self.next.push(index(self.indices.len()));
            let room = keys as usize * shape.step + shape.trailer;
            self.indices.resize(self.indices.len() + room, 0);
            let end = index(self.indices.len());
            self.parts.push(Part { shard: shard_of(bin), start, end });
        }
    }
}

/// Arguments of a request are at most 2^31 (`limits::REQUEST_ARGS_MAX`); what a split adds to them
/// is their common front, once for each part.
fn index(number: usize) -> u32 {
    number as u32
}
