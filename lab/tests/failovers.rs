//! Sentinels and clusters: they come up, fail over, come together again, and move slots.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lab::client::{Value, bulk, ok};
use lab::cluster::Shards;
use lab::redis_cluster::{RedisCluster, Takeover, slot_of};
use lab::sentinel::{Sentinels, Switches};
use lab::servers::{self, Flavor, Server};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn sentinels_promote_a_replica_by_command_and_when_a_primary_dies() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(2).replicas(2).start();
        let sentinels = Sentinels::of(&server).start(&shards);
        assert!(sentinels.upstream().ends_with("/master-a,master-b"), "{}", sentinels.upstream());
        let first = shards.primary(0).address();
        assert_eq!(sentinels.primary_of("master-a"), Some(first.clone()));
        let mut switches = Switches::of(&sentinels[1]).unwrap();
        assert_eq!(switches.next(Duration::from_millis(10)).unwrap(), None);

        sentinels.failover("master-a").unwrap();
        let switch = switches.next(SOON).unwrap().expect("a switch");
        assert_eq!((switch.name.as_str(), &switch.from), ("master-a", &first));
        sentinels.wait_settled(&shards);
        assert_eq!(sentinels.primary_of("master-a"), Some(switch.to.clone()));
        assert_eq!(shards.primary(0).info("replication").get("role"), Some("slave"));

        sentinels[2].kill9();
        let (shard, primary) = shards.at(&switch.to).unwrap();
        assert_eq!(shard, 0);
        primary.kill9();
        let second = switches.next(SOON).unwrap().expect("a switch");
        assert_eq!(second.from, switch.to);
        primary.restart();
        sentinels.restart(2);
        sentinels.wait_settled(&shards);
        assert_eq!(sentinels.primary_of("master-b"), Some(shards.primary(1).address()));
    }
}

#[test]
fn a_cluster_promotes_a_replica_by_command_and_when_a_primary_dies() {
    for server in servers::both() {
        let cluster = RedisCluster::of(&server).start();
        let shards = cluster.shards();
        let slot = slot_of(b"k");
        let owner = cluster.owner(slot).unwrap();
        assert_eq!(owner.client().command("SET k v"), ok());
        let (shard, _) = shards.at(&owner.address()).unwrap();
        for how in [Takeover::Agreed, Takeover::Forced, Takeover::Unasked] {
            let before = cluster.primary_of(shard).unwrap();
            let replica = shards[shard].servers().find(|s| s.port() != before.port()).unwrap();
            cluster.failover(replica, how).unwrap();
            lab::eventually("the replica is the primary", || {
                replica.info("replication").get("role") == Some("master")
            });
            cluster.wait_settled();
            assert_eq!(cluster.owner(slot).unwrap().port(), replica.port(), "{how:?}");
            assert_eq!(replica.client().command("GET k"), bulk("v"));
        }
        let before = cluster.primary_of(shard).unwrap();
        before.kill9();
        lab::eventually("another one is the primary", || {
            cluster.primary_of(shard).is_some_and(|now| now.port() != before.port())
        });
        before.restart();
        cluster.wait_settled();
    }
}

/// The load says MOVED and ASK where a client library would follow them; all that must not happen
/// is that a key is lost.
#[test]
fn slots_move_with_their_keys_under_load() {
    for flavor in [Flavor::Valkey, Flavor::Redis] {
        let cluster = RedisCluster::of(&Server::of(flavor)).replicas(0).start();
        let shards = cluster.shards();
        let (source, target) = (shards.primary(0), shards.primary(1));
        let keys: Vec<String> = (0..)
            .map(|n| format!("key:{n}"))
            .filter(|key| slot_of(key.as_bytes()) < 50)
            .take(500)
            .collect();
        let mut client = source.client();
        for key in &keys {
            assert_eq!(client.call(&["SET", key, "0"]), ok());
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut refused = 0;
                while !done.load(Ordering::Relaxed) {
                    for key in &keys {
                        let reply = client.call(&["INCR", key]);
                        refused += i32::from(!matches!(reply, Value::Int(_)));
                    }
                }
                assert!(refused > 0, "all was over before anybody noticed");
            });
            cluster.move_slots(0..50, source, target).unwrap();
            done.store(true, Ordering::Relaxed);
        });
        cluster.wait_settled();
        let mut client = target.client();
        for key in &keys {
            assert_eq!(cluster.owner(slot_of(key.as_bytes())).unwrap().port(), target.port());
            assert!(client.call(&["INCR", key]).int() > 0);
        }
        assert_eq!(client.command("DBSIZE").int(), 500);
        assert_eq!(source.client().command("DBSIZE").int(), 0);
    }
}
