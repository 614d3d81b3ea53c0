//! Which replicas have which writes: the answers of WAIT and WAITAOF.
//!
//! Thousands of clients share a few connections to a shard, so the shard's own WAIT, which is about
//! the connection that it comes on, can't be passed through. Numbers come in here, and numbers go
//! out; no socket, no clock, no bytes. One rule is above all others: **an answer is never higher
//! than the truth.** Wherever something isn't known the answer is lower, or later.
//!
//! ```text
//!  client       data connection                tracker connection            replicas
//!    |  SET k v      |                                |                          |
//!    |-------------->|------------> primary ....................stream.........> |
//!    |  OK           |<------------    |              |                          |
//!    |<--------------|  mark: next     |              |                          |
//!    |               |  round is 7     |              |                          |
//!    |  WAIT 1 0     |                 |  round 7:    |                          |
//!    |-------------->|                 |<-- barrier --| (one flush)              |
//!    |        in the queue with        |<-- WAIT 1 0 -|                          |
//!    |        all who came by then     |<-- INFO -----|                          |
//!    |                                 |<................... acknowledged ...... |
//!    |                                 |--- 1 ------->|                          |
//!    |  1                              |--- INFO ---->| still the same history?  |
//!    |<--------------------------------|--------------|                          |
//! ```
//!
//! **Marks and rounds.** A connection's own replication offset is that of the last command on it
//! that moved the primary's. The *barrier* is a command that always moves it, so behind it WAIT is
//! about everything that the primary had done by then, also what it did for others. A write is
//! covered by a round whose barrier was sent after the write's reply was here. So a session need
//! remember nothing of a write but the number of the next round ([`Mark`]), and a round answers
//! everybody whose mark it covers: its cost doesn't grow with the number of clients.
//!
//! **Why INFO comes last.** A count is worth nothing if the server was demoted and promoted while
//! it was made: then it is about other data. A promotion always makes a new random replication id,
//! and a demoted server never gets its old one back, so if the id is still the same *after* the
//! WAIT, the history was unbroken during all of it. The same INFO's offset lies at or above every
//! write that the round covers (`history.rs`): that is how a mark can survive a failover. And it
//! tells whether the barrier did move the offset ([`Barrier`]).
//!
//! **Who never wrote** is counted all replicas that are online, as a stock server does; that is
//! what it says on a connection that never sent a barrier. So those have trackers of their own.
//!
//! **Time.** A shard looks at its timeouts only now and then, so deadlines are kept here and rounds
//! have none. At a deadline the round is unblocked (`CLIENT UNBLOCK ... TIMEOUT`): it returns the
//! count as it stands, which answers whoever has no time left, and is asked again for the others. A
//! round that has only just begun is left alone for a moment first (`ACK_SETTLE_*`): its barrier
//! moved the offset, and replicas that hold the clients' writes haven't acknowledged the barrier
//! yet. For the same reason `WAIT 0` waits that moment for all replicas. Any reply, by whatever
//! cause it came, is a count as it stands: nothing depends on which CLIENT UNBLOCK hit which
//! question.
//!
//! **History.** When it changes, all that is out is void, and a write that isn't proven to be part
//! of the new one is [`Denied::Lost`]: neither a number that may be a lie, nor an endless wait.
//!
//! | file | what is there |
//! |---|---|
//! | `words.rs` | [`Mark`], [`Need`], [`Acked`], [`Seen`], [`Action`] ... |
//! | `shard.rs` | [`ShardAcks`]: one shard; what is called from outside |
//! | `rounds.rs` | how its rounds start, come back, and give way to one another |
//! | `tracker.rs` | one connection and its round; whether its barrier held |
//! | `class.rs` | who may share a round |
//! | `waiters.rs` | rows of waiters, and their alarms |
//! | `known.rs` | what was acknowledged a moment ago |
//! | `history.rs` | generations, bounds, and what survives a failover |
//! | `marks.rs` | [`SessionMarks`]: what a session remembers |
//! | `waits.rs` | [`Waits`]: one session's answers of several shards put together |

mod class;
mod history;
mod known;
mod marks;
mod rounds;
mod shard;
mod tracker;
mod waiters;
mod waits;
mod words;

pub use history::Resolved;
pub use marks::SessionMarks;
pub use shard::ShardAcks;
pub use waits::{Confirm, Content, Part, Verdict, Waits};
pub use words::{
    Acked, Action, Answer, Barrier, Counted, Counts, Denied, Epoch, ErrorText, Generation, Mark,
    Need, Proof, RoundNumber, Seen, TrackerId, WaitNumber,
};
