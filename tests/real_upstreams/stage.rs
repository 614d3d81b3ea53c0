//! An endpoint, what it says of its shards, and keys where they are wanted.

use std::ops::{Deref, Range};
use std::time::Duration;

use lab::client::{Client, Value};
use lab::host::Host;
use lab::process::Proc;
use lab::redis_cluster::{RedisCluster, slot_of};
use lab::servers::Server;

/// Longer than any election takes: who waits for it is told no `CLUSTERDOWN`.
pub(crate) const LONG: &str = "weir.failover-timeout 20000";

/// A host whose log is shown when its test fails.
#[derive(Debug)]
pub(crate) struct Endpoint(Host);

impl Deref for Endpoint {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the end of the host's log:\n{}", self.0.log_end());
        }
    }
}

impl Endpoint {
    /// One of two workers, which has reached every shard.
    #[track_caller]
    pub(crate) fn of(server: &Server, upstream: &str, lines: &[&str]) -> Endpoint {
        let endpoint = Endpoint::unready(server, upstream, lines);
        lab::eventually("all shards are up", || {
            let shards = endpoint.shards();
            !shards.is_empty() && shards.iter().all(|shard| shard.field("state").text() == "up")
        });
        endpoint
    }

    /// One that may not have reached them.
    #[track_caller]
    pub(crate) fn unready(server: &Server, upstream: &str, lines: &[&str]) -> Endpoint {
        let plan = Host::of(server).upstream(upstream).line("weir.threads 2");
        Endpoint(lines.iter().fold(plan, |plan, line| plan.line(*line)).start())
    }

    #[track_caller]
    pub(crate) fn over(cluster: &RedisCluster, lines: &[&str]) -> Endpoint {
        Endpoint::of(cluster.shards().primary(0).server(), &cluster.upstream(), lines)
    }

    /// `WEIR.SHARDS`.
    #[track_caller]
    pub(crate) fn shards(&self) -> Vec<Value> {
        self.host_client().command("WEIR.SHARDS").items().to_vec()
    }

    /// What it shows of the shard whose primary this is, if there is one.
    #[track_caller]
    pub(crate) fn shard_at(&self, primary: &Proc) -> Option<Value> {
        let is_it = |shard: &&Value| shard.field("primary").text() == primary.address();
        self.shards().iter().find(is_it).cloned()
    }

    /// Waits until all workers serve the shard of this primary.
    #[track_caller]
    pub(crate) fn await_primary(&self, primary: &Proc) {
        lab::eventually("WEIR.SHARDS shows the new primary", || {
            self.shard_at(primary).is_some_and(|shard| shard.field("state").text() == "up")
        });
    }

    /// A number of `INFO weir`.
    #[track_caller]
    pub(crate) fn count(&self, field: &str) -> i64 {
        self.info_weir().int(&format!("weir_{field}"))
    }

    /// A client who waits longer than the endpoint does.
    #[track_caller]
    pub(crate) fn patient(&self) -> Client {
        self.client().patience(Duration::from_secs(40))
    }
}

/// Keys that begin like this, in these slots.
pub(crate) fn keys_in<'a>(slots: Range<u16>, prefix: &'a str) -> impl Iterator<Item = String> + 'a {
    let keys = (0..).map(move |number: u32| format!("{prefix}:{number}"));
    keys.filter(move |key| slots.contains(&slot_of(key.as_bytes())))
}

/// One of them.
pub(crate) fn key_in(slots: Range<u16>, prefix: &str) -> String {
    keys_in(slots, prefix).next().expect("there are always more")
}

/// The slots of this shard of so many, which have even shares.
pub(crate) fn slots_of(shard: usize, shards: usize) -> Range<u16> {
    let bound = |number: usize| u16::try_from(16_384 * number / shards).expect("at most 16384");
    bound(shard)..bound(shard + 1)
}

/// A number that WAIT says sooner or later. Before, it may say less, or once that it can't say.
///
/// # Panics
/// If it ever says more.
#[track_caller]
pub(crate) fn await_count(client: &mut Client, count: i64) {
    lab::eventually("WAIT says as many", || match client.command("WAIT 1 200") {
        Value::Int(told) => {
            assert!(told <= count, "{told} replicas, where there are {count}");
            told == count
        }
        told => {
            assert!(told.is_error("UNBLOCKED"), "{told:?}");
            false
        }
    });
}

/// Waits until this server says that it is a primary.
#[track_caller]
pub(crate) fn await_promoted(server: &Proc) {
    lab::eventually("a replica is promoted", || {
        server.try_info("replication").is_ok_and(|info| info.get("role") == Some("master"))
    });
}
