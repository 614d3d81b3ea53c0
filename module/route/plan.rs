//! What is to be done with one request.

use super::action::{Local, Step};
use crate::command::{Merge, Spec};
use crate::ids::ShardId;

/// What is to be done with one request. Borrows from the router and from its scratch, until the
/// next request is planned.
#[derive(Debug)]
pub enum Plan<'a> {
    /// One shard answers; the request is forwarded as it is.
    One {
        /// That shard.
        shard: ShardId,
        /// The command.
        spec: &'a Spec,
    },
    /// Some shards answer, each for its own keys; a part of the request goes to each.
    Split {
        /// The command.
        spec: &'a Spec,
        /// At least two, in ascending order of shards, or of a cluster's hash slots: several of
        /// these may be on one shard.
        parts: Parts<'a>,
        /// For each key, in the caller's order: which of the parts has it.
        order: &'a [u16],
        /// How their replies become one.
        merge: Merge,
    },
    /// Every shard answers; the request is forwarded to each as it is.
    All {
        /// The command.
        spec: &'a Spec,
        /// How their replies become one, in ascending order of shards.
        merge: Merge,
    },
    /// Every shard answers, each on a connection of its own: it may be held up by something that
    /// this request is to end.
    Beside {
        /// The command.
        spec: &'a Spec,
        /// How their replies become one, in ascending order of shards.
        merge: Merge,
    },
    /// SCAN: one shard answers, for a cursor of its own; [`super::write_scan`] makes its request,
    /// `merge::scan` the client's reply.
    Scan {
        /// The command.
        spec: &'a Spec,
        /// Whose turn it is.
        shard: ShardId,
        /// The shard's own cursor.
        cursor: u64,
    },
    /// One shard answers, when it has something to answer with.
    Blocking {
        /// That shard.
        shard: ShardId,
        /// The command.
        spec: &'a Spec,
    },
    /// PUBLISH or SPUBLISH: as [`Plan::One`], but the shard knows only some of who listens.
    Publish {
        /// The shard of the channel's slot.
        shard: ShardId,
        /// The command.
        spec: &'a Spec,
        /// It is SPUBLISH.
        sharded: bool,
    },
    /// A transaction's own command.
    Transaction {
        /// The command.
        spec: &'a Spec,
        /// Which.
        step: Step,
    },
    /// The endpoint answers itself.
    Local {
        /// The command.
        spec: &'a Spec,
        /// What is asked.
        local: Local,
    },
    /// The endpoint answers with this error: a code and a text, without `-` and line end. It may
    /// quote the client, so it need be neither UTF-8 nor one line: `resp::write::error_bytes`.
    Error(&'a [u8]),
}

impl<'a> Plan<'a> {
    /// The command, if it is one.
    pub fn spec(&self) -> Option<&'a Spec> {
        match self {
            Self::One { spec, .. }
            | Self::Split { spec, .. }
            | Self::All { spec, .. }
            | Self::Beside { spec, .. }
            | Self::Scan { spec, .. }
            | Self::Blocking { spec, .. }
            | Self::Transaction { spec, .. }
            | Self::Publish { spec, .. }
            | Self::Local { spec, .. } => Some(spec),
            Self::Error(_) => None,
        }
    }
}

/// Where the keys of a request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The shard that has them.
    pub shard: ShardId,
    /// Their hash slot, below 16384.
    pub slot: u16,
}

/// What is known of a request that is not all there yet, but whose shard is certain.
#[derive(Debug)]
pub struct Head<'a> {
    /// The shard that answers; the request is forwarded as it is.
    pub shard: ShardId,
    /// The command.
    pub spec: &'a Spec,
}

/// One shard's share of a split request: a run of [`Parts`]' argument indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub(super) shard: ShardId,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The shares of a split request.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub(super) list: &'a [Part],
    pub(super) indices: &'a [u32],
}

impl<'a> Parts<'a> {
    /// How many there are; at least two.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Never: a split request has parts.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each shard with the indices of its arguments, the command's name included.
    pub fn iter(&self) -> impl Iterator<Item = (ShardId, &'a [u32])> + use<'a> {
        let Self { list, indices } = *self;
        list.iter().map(|part| (part.shard, &indices[part.start as usize..part.end as usize]))
    }
}
