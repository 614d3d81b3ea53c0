//! A cluster's primaries fail over, and die.

use std::thread;

use lab::client::{Client, ok};
use lab::process::Proc;
use lab::redis_cluster::{RedisCluster, Takeover};
use lab::servers::both;

use crate::load::{Load, Told};
use crate::stage::{Endpoint, LONG, await_count, await_promoted, key_in, slots_of};

/// The first shard under load while its primary is replaced by its replica, as `replace` does it.
fn under_load(
    cluster: &RedisCluster,
    endpoint: &Endpoint,
    replace: impl FnOnce(&Proc, &Proc),
) -> Told {
    let load = Load::default();
    let before = cluster.primary_of(0).unwrap();
    let replica = cluster.shards()[0].servers().find(|s| s.port() != before.port()).unwrap();
    let key = key_in(slots_of(0, 3), "late");
    let told = thread::scope(|scope| {
        let load = &load;
        let writer = |number: usize| {
            let (client, slots) = (endpoint.patient(), slots_of(number % 2, 3));
            scope.spawn(move || load.writes(client, &format!("w{}:{number}", before.port()), slots))
        };
        let writers: Vec<_> = (0..4).map(writer).collect();
        let over = load.until_dropped(endpoint);
        load.await_more(200);
        replace(before, replica);
        await_promoted(replica);
        endpoint.await_primary(replica);
        // Who writes now is told what the new primary's replicas have.
        let mut late = endpoint.patient();
        assert_eq!(late.call(&["SET", &key, "v"]), ok());
        let replicas = replica.info("replication").int("connected_slaves");
        let told = late.command("WAIT 1 100").int();
        println!("WAIT right after it: {told}; replicas by now: {replicas}");
        load.await_more(200);
        drop(over);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    Told::sum(told)
}

/// All is in its place again, and so are all keys.
fn look(cluster: &RedisCluster, endpoint: &Endpoint, told: &Told, early: &mut Client) {
    cluster.wait_settled();
    told.look_for_all(&mut endpoint.client());
    let text = early.call(&["GET", &key_in(slots_of(0, 3), "early")]).text();
    assert_eq!(text, "v", "it was on both when the failover began");
    await_count(early, 1);
}

/// A client with a write on the first shard that its replica has.
fn early(endpoint: &Endpoint) -> Client {
    let mut client = endpoint.patient();
    assert_eq!(client.call(&["SET", &key_in(slots_of(0, 3), "early"), "v"]), ok());
    assert_eq!(client.command("WAIT 1 0").int(), 1);
    client
}

#[test]
fn primaries_are_replaced_by_command() {
    for server in both() {
        let cluster = RedisCluster::of(&server).start();
        let endpoint = Endpoint::over(&cluster, &[LONG]);
        for how in [Takeover::Agreed, Takeover::Forced] {
            let mut early = early(&endpoint);
            let told = under_load(&cluster, &endpoint, |_, replica| {
                cluster.failover(replica, how).unwrap();
            });
            println!("{}, {how:?}: {}", server.flavor, told.line());
            assert_eq!(told.not_sent, 0, "the new primary came in time");
            look(&cluster, &endpoint, &told, &mut early);
        }
    }
}

#[test]
fn a_primary_dies() {
    for server in both() {
        let cluster = RedisCluster::of(&server).start();
        let endpoint = Endpoint::over(&cluster, &[LONG]);
        let mut early = early(&endpoint);
        let primary = cluster.primary_of(0).unwrap();
        let told = under_load(&cluster, &endpoint, |primary, _| primary.kill9());
        println!("{}, kill -9: {}", server.flavor, told.line());
        assert_eq!(told.not_sent, 0, "the new primary came in time");
        primary.restart();
        look(&cluster, &endpoint, &told, &mut early);
    }
}
