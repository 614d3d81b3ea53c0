//! Weir: a Redis module that makes its host the endpoint of a sharded, replicated database.
//!
//! This file is the table of contents, in the order in which a command meets the rooms. What each
//! room may import is checked by `tests/tidy.rs`; ARCHITECTURE.md says why.

// Layer 0: words that every room uses.
#[forbid(unsafe_code)]
pub mod ids; // who is who: sessions, links, shards, and time
#[forbid(unsafe_code)]
pub mod limits; // every bound, named, with its reason
#[forbid(unsafe_code)]
pub mod stats; // counters, one row each
#[forbid(unsafe_code)]
pub mod text; // the error texts of stock servers, and ours

// Layers 1 to 4: no I/O, no clock, no thread, no unsafe.
#[forbid(unsafe_code)]
pub mod acks; // which replicas have which writes: WAIT, WAITAOF
#[forbid(unsafe_code)]
pub mod command; // what a command is: flags, keys, policies
#[forbid(unsafe_code)]
pub mod engine; // all rooms put together; still no I/O
#[forbid(unsafe_code)]
pub mod merge; // parts of a split request -> one reply
#[forbid(unsafe_code)]
pub mod pipeline; // one shard connection: greeting, what the wire owes us
#[forbid(unsafe_code)]
pub mod pubsub; // who listens to what, and what the shards are to send for it
#[forbid(unsafe_code)]
pub mod resp; // bytes <-> frames
#[forbid(unsafe_code)]
pub mod route; // request -> plan
#[forbid(unsafe_code)]
pub mod session; // one client: seats, mode
#[forbid(unsafe_code)]
pub mod settings; // one row per option
#[forbid(unsafe_code)]
pub mod shards; // key -> hash slot -> shard
#[forbid(unsafe_code)]
pub mod topology; // who the primaries and replicas are, and what changed

// Layer 5: the machine.
pub mod os; // epoll, sockets, TLS, eventfd, clock
pub mod worker; // threads, listener, mailboxes

// Layer 6: Redis.
#[cfg(feature = "host")]
pub mod host; // commands, config, INFO, log
