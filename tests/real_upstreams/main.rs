//! Upstreams whose primaries change places and whose slots move, on real servers.
//!
//! ```text
//!     clients that must not notice         clients that write, and note what they are told
//!                 \                          /
//!                       endpoint (host) ------- who knows? Sentinels, the nodes of a cluster,
//!                      /    |     \                        CONFIG SET weir.upstream
//!                 shard   shard   shard  <-- killed, failed over, slots moved
//! ```
//!
//! | file | what is there |
//! |---|---|
//! | `stage.rs` | an endpoint, what it says of its shards, keys where they are wanted |
//! | `load.rs` | clients at work meanwhile |
//! | `cluster.rs` | a Redis Cluster as one server; what waits and listens while slots move |
//! | `reshard.rs` | 1,000 slots moved under load |
//! | `elections.rs` | a cluster's primaries fail over, and die |
//! | `lost.rs` | a write that is lost in a failover, and a failover back |
//! | `sentinel.rs` | masters that Sentinels watch |
//! | `readers.rs` | reads from replicas |
//! | `live.rs` | a primary's new address by `CONFIG SET` |
//!
//! No connection to the endpoint may ever be closed: [`lab::client::Client`] panics then.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
#![allow(clippy::print_stdout, reason = "what happened is shown, and judges nothing")]

mod cluster;
mod elections;
mod live;
mod load;
mod lost;
mod readers;
mod reshard;
mod sentinel;
mod stage;
