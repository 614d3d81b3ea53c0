//! The endpoint on real servers, Valkey and Redis: what a client of it sees, and what its host
//! feels.
//!
//! ```text
//!   stock      the same bytes as a stock server gives, command by command; CROSSSLOT as in a cluster
//!   routes     what lies on several shards is one database: KEYS, SCAN, FLUSHALL, SCRIPT, RANDOMKEY
//!   pipelines  many clients, deep pipelines: every reply is the right one, in the right place
//!   large      values of 200 MB, slow readers, clients that stop in the middle
//!   protocol   what is no request, and what isn't served
//!   clients    CLIENT, HELLO, RESET and the like; unix sockets, several addresses, maxclients
//!   outages    shards that are down, die under load, or refuse us
//!   life       BGSAVE, 4,000 clients, MODULE UNLOAD, restarts: the host stays what it was
//!   tools      redis-cli and redis-benchmark
//! ```
//!
//! Times are asserted only where a client would otherwise wait for ever.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod clients;
mod large;
mod life;
mod outages;
mod pipelines;
mod protocol;
mod routes;
#[path = "../scenario/mod.rs"]
mod scenario;
mod stock;
mod tools;

use lab::client::Client;
use lab::cluster::Shards;
use lab::host::Host;
use lab::servers::Server;
use weir::shards::HashSlot;

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

/// Key number `number` of those that lie on shard `shard` of two.
fn key_on(shard: usize, number: usize) -> String {
    let on_it = |key: &String| usize::from(HashSlot::of(key.as_bytes()).number() >= 8192) == shard;
    (0..).map(|n: usize| format!("key:{n}")).filter(on_it).nth(number).unwrap()
}
