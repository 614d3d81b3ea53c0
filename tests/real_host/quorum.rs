//! ALL and MAJORITY fail where replicas are missing, rather than make do with those that are left.

use std::time::Duration;

use lab::client::{Client, error, ok};
use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::redis_cluster::RedisCluster;
use lab::sentinel::Sentinels;
use lab::servers::{self, Server};

use super::{Database, until};

#[test]
fn all_and_majority_count_the_replicas_that_there_should_be() {
    for server in servers::both() {
        let database = Database::start(&server, 2, 2, &[]);
        let mut clients = [database.port(), database.endpoint()];
        until("the host knows of all replicas", || {
            let shards = database.port().command("WEIR.SHARDS");
            shards.items().iter().all(|shard| shard.field("replicas").items().len() == 2)
        });
        let write = |client: &mut Client| {
            for key in ["a", "b", "c", "d"] {
                assert_eq!(client.call(&["SET", key, "1"]), ok());
            }
        };
        for client in &mut clients {
            write(client);
            assert_eq!(client.call(&["WEIR.WAIT", "ALL", "5000"]).int(), 2);
            assert_eq!(client.call(&["weir.wait", "majority", "5000"]).int(), 2);
            assert_eq!(client.call(&["WEIR.WAIT", "1", "5000"]).int(), 2);
        }
        // Both replicas of the second shard have all that was written, and then one is gone.
        database.shards.replica(1, 0).kill9();
        until("its primary has noticed", || {
            database.shards.primary(1).info("replication").int("connected_slaves") == 1
        });
        for client in &mut clients {
            write(client);
            assert_eq!(client.call(&["WEIR.WAIT", "2", "50"]).int(), 1);
            let told = client.call(&["WEIR.WAIT", "ALL", "50"]);
            assert!(told.is_error("NOREPLICAS"), "{told:?}");
            let text = told.error_text().unwrap();
            assert!(text.contains("1 of the 2 replicas asked for on shard 1"), "{text}");
            // Nothing has been forgotten by it.
            assert_eq!(client.call(&["WAIT", "1", "5000"]).int(), 1);
        }
        let mut port = database.port();
        assert_eq!(port.command("CONFIG SET weir.replicas 1"), ok());
        write(&mut port);
        assert_eq!(port.call(&["WEIR.WAIT", "ALL", "5000"]).int(), 1);
        assert_eq!(port.command("CONFIG SET weir.replicas 3"), ok());
        assert!(port.call(&["WEIR.WAIT", "MAJORITY", "50"]).is_error("NOREPLICAS"));
    }
}

#[test]
fn who_has_never_had_a_replica_has_no_quorum() {
    let server = &servers::both()[0];
    let database = Database::start(server, 1, 0, &[]);
    let mut port = database.port();
    assert_eq!(port.command("SET k 1"), ok());
    for quorum in ["ALL", "MAJORITY"] {
        let told = port.call(&["WEIR.WAIT", quorum, "0"]);
        assert!(told.error_text().unwrap().contains("weir.replicas"), "{told:?}");
    }
    // The arguments are those of WAIT, with its errors.
    let cases = [
        ("WEIR.WAIT x 0", "ERR value is not an integer or out of range"),
        ("WEIR.WAIT ALL x", "ERR timeout is not an integer or out of range"),
        ("WEIR.WAIT ALL -1", "ERR timeout is negative"),
        ("WEIR.WAITAOF 2 ALL 0", "ERR value is out of range, value must between 0 and 1"),
        ("WEIR.WAITAOF ALL 1 0", "ERR value is not an integer or out of range"),
        ("WAIT ALL 0", "ERR value is not an integer or out of range"),
    ];
    for (line, text) in cases {
        assert_eq!(port.command(line), error(text), "{line}");
        assert_eq!(database.endpoint().command(line), error(text), "{line}");
    }
    for line in ["WEIR.WAIT ALL", "WEIR.WAITAOF 1 ALL"] {
        assert!(port.command(line).is_error("ERR"), "{line}");
    }
    assert_eq!(port.command("MULTI"), ok());
    assert!(port.command("WEIR.WAIT ALL 0").is_error("ERR"));
    assert!(port.command("EXEC").is_error("EXECABORT"));
}

#[test]
fn replicas_without_an_aof_are_none_for_waitaof() {
    for server in servers::both() {
        let shards = Shards::of(&server)
            .shards(1)
            .replicas(1)
            .aof(Aof::Always)
            .replica_aof(Aof::Always)
            .start();
        let host = Host::of(&server).upstream(shards.upstream()).start();
        let mut port = host.host_client();
        until("the host knows of the replica", || {
            let shards = host.host_client().command("WEIR.SHARDS");
            shards.items()[0].field("replicas").items().len() == 1
        });
        assert_eq!(port.command("SET k 1"), ok());
        assert_eq!(port.command("WEIR.WAITAOF 1 ALL 5000").ints(), [1, 1]);
        shards.replica(0, 0).client().command("CONFIG SET appendonly no");
        assert_eq!(port.command("SET k 2"), ok());
        assert!(port.command("WEIR.WAITAOF 1 ALL 50").is_error("NOREPLICAS"));
        assert_eq!(port.command("WEIR.WAIT ALL 5000").int(), 1);
    }
}

/// Who starts when a replica is already gone learns from others that there should be one more.
#[test]
fn a_replica_that_was_never_seen_is_missed_all_the_same() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(1).replicas(2).start();
        let sentinels = Sentinels::of(&server).start(&shards);
        miss_one(&server, &shards, &sentinels.upstream());
        drop(sentinels);
        let cluster = RedisCluster::of(&server).primaries(3).replicas(1).start();
        miss_one(&server, cluster.shards(), &cluster.upstream());
    }
}

fn miss_one(server: &Server, shards: &Shards, upstream: &str) {
    let all = shards.iter().next().unwrap().replicas.len();
    shards.replica(0, 0).kill9();
    until("its primary has noticed", || {
        let left = shards.primary(0).info("replication").int("connected_slaves");
        left == all as i64 - 1
    });
    let host = Host::of(server).upstream(upstream).start();
    let mut client = host.host_client().patience(Duration::from_secs(20));
    // Whichever shard has this key, one that lacks a replica is told of within a second.
    until("the missing replica is known of", || {
        for number in 0..50 {
            assert_eq!(client.call(&["SET", &format!("k{number}"), "1"]), ok());
        }
        let told = client.call(&["WEIR.WAIT", "ALL", "300"]);
        told.error_text().is_some_and(|text| {
            let want = format!("{} of the {all} replicas", all - 1);
            assert!(text.contains(&want) || text.contains("no replica since"), "{text}");
            text.contains(&want)
        })
    });
}
