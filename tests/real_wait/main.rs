//! WAIT and WAITAOF through the endpoint, on real servers of both flavors.
//!
//! ```text
//!            case
//!           /    \
//!     bare client  via client        the same commands, one after the other
//!          |         |
//!          |      endpoint (host)
//!          v         v
//!         primary of shard 0 --- replicas, which are stopped, killed, attached
//! ```
//!
//! Where a stock server has an answer for the case, the judge is that answer: the case is played on
//! a bare connection to the primary first, then on one to the endpoint before the same primary, and
//! each reply has to be the same bytes. Where there is no such thing (several shards, a primary
//! that dies under thousands of shared commands) the expectation is written down.
//!
//! Times are printed where somebody may want to see them, and never decide: nothing here fails
//! because a machine is slow, short of a reply that doesn't come for ten seconds.
//!
//! | file | what is there |
//! |---|---|
//! | `stage.rs` | a database, an endpoint before it, and the two ways to its first primary |
//! | `answers.rs` | WAIT of one shard beside the primary's own |
//! | `aof.rs` | WAITAOF of one shard beside the primary's own |
//! | `several.rs` | the smallest of several shards |
//! | `sessions.rs` | whose writes count and who waits: pipelines, CLIENT UNBLOCK, leaving |
//! | `faults.rs` | primaries that die, are demoted, stop, or don't let us in |
//! | `crowd.rs` | many clients: rounds, latency, and what WAITAOF costs |

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
#![allow(clippy::print_stdout, reason = "times are shown, and judge nothing")]

mod answers;
mod aof;
mod crowd;
mod faults;
mod sessions;
mod several;
mod stage;
