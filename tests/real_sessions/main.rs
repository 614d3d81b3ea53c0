//! What belongs to one client: its RESP version, its database, its transactions, the commands in
//! which it waits. On real servers, Valkey and Redis, one shard and three.
//!
//! ```text
//!   transcripts   the same bytes as a stock server gives, in RESP2 and RESP3, command by command
//!                 and as one pipeline
//!   transactions  WATCH that sees others' writes, keys elsewhere, large values, WAIT inside, a
//!                 shard that dies
//!   blocking      many clients at a time, CLIENT UNBLOCK, clients that go, bounds
//!   order         shared -> WATCH/MULTI/EXEC -> shared -> BLPOP -> shared in one pipeline
//! ```

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test may sleep")]

mod blocking;
mod order;
#[path = "../scenario/mod.rs"]
mod scenario;
mod transactions;
mod transcripts;

use lab::client::Client;
use lab::cluster::Shards;
use lab::host::Host;
use lab::servers::Server;

/// A database without replicas, and its endpoint.
struct Database {
    // Dropped in this order: the host goes before its shards, and so never misses them.
    host: Host,
    shards: Shards,
}

impl Database {
    fn start(server: &Server, shards: usize) -> Database {
        Database::with(server, shards, &[])
    }

    /// With these lines added to the host's configuration.
    fn with(server: &Server, shards: usize, lines: &[&str]) -> Database {
        let shards = Shards::of(server).shards(shards).replicas(0).start();
        let plan = Host::of(server).upstream(shards.upstream());
        let host = lines.iter().fold(plan, |plan, line| plan.line(*line)).start();
        Database { host, shards }
    }

    fn client(&self) -> Client {
        self.host.client()
    }
}
