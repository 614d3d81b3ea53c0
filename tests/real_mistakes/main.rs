//! What proxies are known to get wrong, and what needs connections of its own, on real servers.
//!
//! ```text
//!   tracking   CLIENT TRACKING: a transcript, the writes of others, a shard that is lost
//!   monitor    MONITOR over several shards; a client that doesn't read it
//!   pauses     CLIENT PAUSE
//!   scripts    a script that never ends is killed through the endpoint
//!   replies    CLIENT REPLY in pipelines; random pipelines, in which nothing may be overtaken
//!   strangers  what one client does to another: half requests, disconnects, full shards
//!   modules    commands that only the shards know
//! ```
//!
//! Wherever a stock server has an answer, it is asked for it, and the bytes must be the same.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod modules;
mod monitor;
mod pauses;
mod replies;
#[path = "../scenario/mod.rs"]
mod scenario;
mod scripts;
mod strangers;
mod tracking;

use std::time::Duration;

use lab::client::{Client, Value};
use lab::cluster::Shards;
use lab::host::Host;
use lab::process::Proc;
use lab::servers::Server;

const NO_LINES: [&str; 0] = [];

/// A database without replicas, and its endpoint.
struct Database {
    // Dropped in this order: the host goes before its shards, and so never misses them.
    host: Host,
    shards: Shards,
}

impl Database {
    fn start(server: &Server, shards: usize) -> Database {
        Database::with(server, shards, &[], &[])
    }

    /// With these lines added to the configuration of the host, and of each shard.
    fn with(server: &Server, shards: usize, host: &[&str], shard: &[&str]) -> Database {
        let plan = Shards::of(server).shards(shards).replicas(0);
        let shards = shard.iter().fold(plan, |plan, line| plan.line(*line)).start();
        let plan = Host::of(server).upstream(shards.upstream());
        let host = host.iter().fold(plan, |plan, line| plan.line(*line)).start();
        Database { host, shards }
    }

    fn client(&self) -> Client {
        self.host.client()
    }

    /// A client that speaks RESP3.
    fn client3(&self) -> Client {
        resp3(self.client())
    }
}

fn resp3(mut client: Client) -> Client {
    assert!(matches!(client.command("HELLO 3"), Value::Map(_)));
    client
}

/// What a server says to a line: a reply, and what it says unasked around it.
fn said(client: &mut Client, line: &str) -> Vec<u8> {
    client.send(&scenario::words(line));
    let mut bytes = Vec::new();
    loop {
        let value = client.read();
        bytes.extend(value.encode());
        if !matches!(value, Value::Push(_)) {
            break;
        }
    }
    while !client.is_silent(Duration::from_millis(20)) {
        bytes.extend(client.read().encode());
    }
    bytes
}

/// Sends each line to both, and fails with all lines on which they differ.
#[track_caller]
fn assert_same(lines: &str, stock: &mut Client, endpoint: &mut Client) {
    let mut differences = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let (theirs, ours) = (said(stock, line), said(endpoint, line));
        if theirs != ours {
            let (theirs, ours) = (scenario::escape(&theirs), scenario::escape(&ours));
            differences.push(format!("{line}\n  stock    {theirs}\n  endpoint {ours}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A stock server, and an endpoint over so many shards.
fn pair(server: &Server, shards: usize) -> (Proc, Database) {
    (Proc::start(server, &NO_LINES), Database::start(server, shards))
}
