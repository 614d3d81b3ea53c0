//! The host's own port, with `weir.intercept`: its clients get the database. On real servers,
//! Valkey and Redis. That single replies are those of a stock server, byte by byte, is shown by the
//! transcripts of `real_sessions`, which are played there too.
//!
//! ```text
//!   both      the endpoint and the host's port at once: one database, WAIT exact on both
//!   users     the host's ACL, on the command that was said
//!   waiting   BLPOP and WAIT: CLIENT UNBLOCK, CLIENT KILL, clients that go
//!   channels  what is published on the shards is heard here
//!   commands  WEIR.DO, and what is left alone
//!   quorum    WEIR.WAIT and WEIR.WAITAOF with ALL and MAJORITY
//! ```

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test may sleep")]

mod both;
mod channels;
mod commands;
mod quorum;
mod users;
mod waiting;

use std::time::{Duration, Instant};

use lab::client::Client;
use lab::cluster::Shards;
use lab::host::Host;
use lab::servers::Server;

/// A database and its host.
struct Database {
    // Dropped in this order: the host goes before its shards, and so never misses them.
    host: Host,
    shards: Shards,
}

impl Database {
    fn start(server: &Server, shards: usize, replicas: usize, lines: &[&str]) -> Database {
        let shards = Shards::of(server).shards(shards).replicas(replicas).start();
        let plan = Host::of(server).upstream(shards.upstream());
        let host = lines.iter().fold(plan, |plan, line| plan.line(*line)).start();
        Database { host, shards }
    }

    /// A client of the endpoint's port.
    fn endpoint(&self) -> Client {
        self.host.client()
    }

    /// A client of the host's own port.
    fn port(&self) -> Client {
        self.host.host_client()
    }
}

/// Looks until it is so, for ten seconds.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
