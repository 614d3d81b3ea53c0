//! 1,000 slots moved from one primary to another under load, without one error at any client.

use std::thread;

use lab::client::{Value, bulk, ok};
use lab::process::Proc;
use lab::redis_cluster::RedisCluster;
use lab::servers::both;

use crate::load::Load;
use crate::stage::{Endpoint, key_in, keys_in, slots_of};

const MOVED: std::ops::Range<u16> = 0..1000;

/// Several at a time: the nodes take some milliseconds for each.
fn move_all(cluster: &RedisCluster, source: &Proc, target: &Proc) {
    const AT_A_TIME: u16 = 8;
    thread::scope(|scope| {
        for first in 0..AT_A_TIME {
            let slots = MOVED.skip(first.into()).step_by(AT_A_TIME.into());
            scope.spawn(move || cluster.move_slots(slots, source, target).unwrap());
        }
    });
}

#[test]
fn a_thousand_slots_move_and_no_client_notices() {
    for server in both() {
        let cluster = RedisCluster::of(&server).start();
        let endpoint = Endpoint::over(&cluster, &[]);
        let load = Load::default();
        let (source, target) = (cluster.shards().primary(0), cluster.shards().primary(1));
        let (said, time) = thread::scope(|scope| {
            let load = &load;
            for name in ["a", "b"] {
                let client = endpoint.client();
                scope.spawn(move || load.counts(client, name, MOVED));
            }
            // And some for whom nothing moves.
            let client = endpoint.client();
            scope.spawn(move || load.counts(client, "c", slots_of(2, 3)));
            let (waits, brings) = (endpoint.client(), endpoint.client());
            scope.spawn(move || load.lists(waits, brings, MOVED));
            let client = endpoint.client();
            scope.spawn(move || load.transactions(client, MOVED));
            let redis_py = scope.spawn(|| load.redis_py(&endpoint));
            let over = load.until_dropped(&endpoint);
            load.await_more(200);
            let ((), time) = lab::timed(|| move_all(&cluster, source, target));
            load.await_more(200);
            drop(over);
            (redis_py.join().unwrap(), time)
        });
        println!("{}: moved in {time:?}, {} rounds; {said}", server.flavor, load.rounds());
        println!("redirected: {}", endpoint.count("commands_redirected"));
        assert!(endpoint.count("commands_redirected") > 0, "nobody met a slot on its way");
        cluster.wait_settled();
        let mut client = endpoint.client();
        client.call(&["SET", &key_in(MOVED, "last"), "v"]);
        assert_eq!(client.command("WAIT 1 0").int(), 1);
    }
}

/// A key that has gone ahead of its slot is not at the slot's owner any more; the owner's replica
/// knows nothing of that, and says that there is no such key.
#[test]
fn who_reads_from_replicas_misses_no_key_while_slots_move() {
    for server in both() {
        let cluster = RedisCluster::of(&server).start();
        let lines = ["weir.read-from replica", "weir.replica-max-lag 1000"];
        let endpoint = Endpoint::over(&cluster, &lines);
        let load = Load::default();
        let (source, target) = (cluster.shards().primary(0), cluster.shards().primary(1));
        let keys: Vec<String> = keys_in(MOVED, "key").take(1000).collect();
        let mut client = endpoint.client();
        for key in &keys {
            assert_eq!(client.call(&["SET", key, key]), ok());
            let mate = format!("{{{key}}}:mate");
            assert_eq!(client.call(&["SADD", &mate, "x"]), Value::Int(1));
        }
        assert_eq!(client.command("WAIT 1 0").int(), 1);
        thread::scope(|scope| {
            for _ in 0..3 {
                let mut client = endpoint.client();
                let (load, keys) = (&load, &keys);
                scope.spawn(move || {
                    for key in keys.iter().cycle() {
                        let mate = format!("{{{key}}}:mate");
                        assert_eq!(client.call(&["GET", key]), bulk(key));
                        assert_eq!(client.call(&["MGET", key, &mate]).items()[0], bulk(key));
                        assert_eq!(client.call(&["SMISMEMBER", &mate, "x", "y"]).ints(), [1, 0]);
                        assert_eq!(
                            client
                                .call(&["SDIFF", &mate, &format!("{{{key}}}:none")])
                                .items()
                                .len(),
                            1
                        );
                        if !load.next() {
                            return;
                        }
                    }
                });
            }
            let (client, writes) = (endpoint.client(), &load);
            scope.spawn(move || writes.counts(client, "reads too", MOVED));
            let over = load.until_dropped(&endpoint);
            load.await_more(50);
            move_all(&cluster, source, target);
            load.await_more(50);
            drop(over);
        });
        let by_replicas = endpoint.count("commands_to_replicas");
        println!("{}: {} rounds, {by_replicas} reads of replicas", server.flavor, load.rounds());
    }
}
