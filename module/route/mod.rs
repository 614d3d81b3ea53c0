//! Request -> plan.
//!
//! ```text
//!   request --CommandTable::check--> spec --Action, one per spec--> what to do with such a request
//!      |                                                              |
//!      +----- keys --> slots --> shards <-----------------------------+
//!                                  |
//!                 Plan::One | Split | All | Scan | Local | Error
//!
//!   MGET a b c      keys    a -> shard 1,  b -> shard 0,  c -> shard 1
//!      parts        shard 0: MGET b        shard 1: MGET a c
//!      order        [1, 0, 1]: whose reply has the next element
//! ```
//!
//! What is to be done with a command is decided once, when a [`Router`] is made, in two steps: a
//! row by name in `rows.rs` where only knowledge of the command can tell, else by the class into
//! which its flags and policies put it (`class.rs`). A request then costs a look-up of the name, an
//! array access, and CRC16 over its key.
//!
//! The room has no sockets and no sessions; it doesn't know whether a shard is up.

mod action;
mod class;
mod debug;
mod options;
mod plan;
mod router;
mod rows;
mod split;
mod write;

pub use action::{ClientSub, Local, PubSub, Step};
pub use plan::{Head, Part, Parts, Place, Plan};
pub use router::{CrossSlot, Router, Scratch};
pub use write::{write_part, write_scan};
