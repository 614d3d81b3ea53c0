//! MULTI and WATCH of one session.
//!
//! ```text
//!   WATCH a     MULTI     SET a 1     PING      WAIT 1 0      EXEC
//!   |           |         |           |         |             |
//!   shard 2     forwarded forwarded   forwarded kept here     forwarded: *2 +OK +PONG
//!                                               +QUEUED       and 0 is put in at place 2
//! ```
//!
//! A transaction belongs to the shard of its first key. Until one has come, what has no key waits
//! here, and the client is told QUEUED; then all of it is sent, and from there on the shard itself
//! queues, refuses, executes.

use crate::ids::ShardId;

/// What a session has between WATCH or MULTI and EXEC, DISCARD or UNWATCH.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Whose keys it is about, once one has been named.
    pub shard: Option<ShardId>,
    /// The hash slot of its keys: a number below 16384.
    pub slot: Option<u16>,
    /// Keys are watched.
    pub watching: bool,
    /// The connection with the watched keys, or with the begin of the transaction, is gone.
    pub lost: bool,
    /// What was queued since MULTI; none before it.
    pub queue: Option<Queue>,
}

/// The commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Queue {
    /// How many were queued, here or there.
    pub length: usize,
    /// Requests without a key that wait for the first with one, ...
    pub waiting: Vec<u8>,
    /// ... and how many they are.
    pub waiting_count: usize,
    /// Those that the endpoint answers itself, each with its place among all.
    pub own: Vec<(usize, Vec<u8>)>,
    /// Those that were sent, to be said again if their slot moves; none if they can't be.
    pub sent: Option<Sent>,
    /// The shard has said that their slot is another's: EXEC says all of it again there.
    pub moved: bool,
    /// Some of them may move the shard's replication offset.
    pub writes: bool,
    /// One was refused, so that EXEC will be.
    pub aborted: bool,
    /// What WAIT and WAITAOF among `own` are answered with, once that has been found out.
    pub counts: [Option<Vec<u8>>; 2],
    /// The shards of whose losses these answers tell.
    pub losses: Vec<ShardId>,
}

/// Commands of a transaction, as they were sent behind MULTI.
#[derive(Debug, Default)]
pub struct Sent {
    /// One behind the other.
    pub requests: Vec<u8>,
    /// How many.
    pub count: usize,
}

impl Queue {
    /// One more was sent. More than `most` bytes are not remembered.
    pub fn remember(&mut self, request: &[u8], most: usize) {
        if let Some(sent) = &mut self.sent {
            sent.requests.extend_from_slice(request);
            sent.count += 1;
        }
        if self.sent.as_ref().is_some_and(|sent| sent.requests.len() > most) {
            self.sent = None;
        }
    }
}

impl Transaction {
    /// Between MULTI and EXEC.
    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }
}
