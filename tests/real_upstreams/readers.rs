//! Reads from replicas.

use std::thread;
use std::time::Duration;

use lab::client::{Client, Value, bulk, ok};
use lab::cluster::Shards;
use lab::process::Proc;
use lab::redis_cluster::RedisCluster;
use lab::servers::{Flavor, Server, both};

use crate::load::Load;
use crate::stage::Endpoint;

/// No replica here is ever so far behind, unless it is stopped.
const AMPLE: &str = "weir.replica-max-lag 10000";
const BRIEF: &str = "weir.replica-max-lag 200";
const REPLICAS: &str = "weir.read-from replica";

const KEYS: usize = 50;

/// How many GETs a server has executed.
#[track_caller]
fn gets(server: &Proc) -> i64 {
    let info = server.info("commandstats");
    info.part("cmdstat_get", "calls").map_or(0, |calls| calls.parse().unwrap())
}

fn gets_of(servers: &[&Proc]) -> Vec<i64> {
    servers.iter().map(|server| gets(server)).collect()
}

/// Sets all keys, and waits until the servers which are expected to are read from.
#[track_caller]
fn fill(endpoint: &Endpoint, readers: &[&Proc]) {
    let mut client = endpoint.client();
    for number in 0..KEYS {
        assert_eq!(client.call(&["SET", &format!("k{number}"), &number.to_string()]), ok());
    }
    let replicas = endpoint.shards()[0].field("replicas").items().len();
    assert!(client.command(&format!("WAIT {replicas} 0")).int() > 0, "all replicas have them");
    lab::eventually("replicas are read from", || {
        let before = gets_of(readers);
        for mut client in clients(endpoint) {
            read_all(&mut client);
        }
        gets_of(readers).iter().zip(before).all(|(now, before)| *now > before)
    });
}

/// As many as reach every replica: they are shared out by the clients' numbers.
fn clients(endpoint: &Endpoint) -> Vec<Client> {
    (0..6).map(|_| endpoint.client()).collect()
}

#[track_caller]
fn read_all(client: &mut Client) {
    for number in 0..KEYS {
        assert_eq!(client.call(&["GET", &format!("k{number}")]), bulk(number.to_string()));
    }
}

#[track_caller]
fn set(endpoint: &Endpoint, name: &str, value: &str) {
    assert_eq!(endpoint.host_client().call(&["CONFIG", "SET", name, value]), ok());
}

/// What each server has executed while `reads` read.
#[track_caller]
fn shares(servers: &[&Proc], reads: impl FnOnce()) -> Vec<i64> {
    let before = gets_of(servers);
    reads();
    gets_of(servers).iter().zip(before).map(|(now, before)| now - before).collect()
}

fn servers_of(shards: &Shards) -> [&Proc; 3] {
    [shards.primary(0), shards.replica(0, 0), shards.replica(0, 1)]
}

#[test]
fn a_setting_says_who_is_read_from_and_so_does_a_client() {
    for server in both() {
        let shards = Shards::of(&server).shards(1).replicas(2).start();
        let endpoint = Endpoint::of(&server, &shards.upstream(), &[REPLICAS, AMPLE]);
        let servers = servers_of(&shards);
        fill(&endpoint, &servers[1..]);
        let all = i64::try_from(6 * KEYS).unwrap();
        let everybody = || clients(&endpoint).iter_mut().for_each(read_all);
        let told = shares(&servers, everybody);
        assert!(told[0] == 0 && told[1] > 0 && told[2] > 0, "{told:?}");
        assert_eq!(told.iter().sum::<i64>(), all);

        set(&endpoint, "weir.read-from", "any");
        lab::eventually("all three are read from", || {
            shares(&servers, everybody).iter().all(|share| *share > 0)
        });

        set(&endpoint, "weir.read-from", "primary");
        lab::eventually("the primary alone is read from", || {
            shares(&servers, everybody) == [all, 0, 0]
        });
        let mut client = endpoint.client();
        assert_eq!(client.command("READONLY"), ok());
        lab::eventually("replicas answer who said READONLY", || {
            shares(&servers, || read_all(&mut client))[0] == 0
        });
        assert_eq!(shares(&servers, everybody), [all, 0, 0], "and nobody else");
        assert_eq!(client.command("READWRITE"), ok());
        assert_eq!(shares(&servers, || read_all(&mut client))[1..], [0, 0]);
    }
}

/// By turns: one by one, in a pipeline, read before write, with keys of its own and of others.
fn reads_own_writes(client: &mut Client, name: &str, rounds: usize) {
    for round in 0..rounds {
        let number = round.to_string();
        if round % 50 == 49 {
            // A while after its last write, so that replicas have it and are asked.
            lab::pause(Duration::from_millis(100));
            let set = vec!["SET", name, "between"];
            let replies = client.pipeline(&[vec!["GET", name], set, vec!["GET", name]]);
            assert_eq!(replies, [bulk("later"), ok(), bulk("between")]);
        }
        assert_eq!(client.call(&["SET", name, &number]), ok());
        assert_eq!(client.call(&["GET", name]), bulk(&number), "one by one");
        let (other, list) = (format!("{name}:2"), format!("{name}:list"));
        let pipeline = [
            vec!["SET", &other, &number],
            vec!["GET", &other],
            vec!["GET", name],
            vec!["RPUSH", &list, &number],
            vec!["LINDEX", &list, "-1"],
            vec!["SET", name, "later"],
            vec!["MGET", name, &other],
        ];
        let replies = client.pipeline(&pipeline);
        assert_eq!(replies[1], bulk(&number), "in a pipeline");
        assert_eq!(replies[2], bulk(&number), "before the write behind it");
        assert_eq!(replies[4], bulk(&number));
        assert_eq!(replies[6], Value::Array(vec![bulk("later"), bulk(&number)]));
    }
}

#[test]
fn a_client_reads_what_it_wrote() {
    for server in both() {
        let shards = Shards::of(&server).shards(1).replicas(2).start();
        let endpoint = Endpoint::of(&server, &shards.upstream(), &[REPLICAS, BRIEF]);
        let servers = servers_of(&shards);
        fill(&endpoint, &servers[1..]);
        let told = shares(&servers, || {
            thread::scope(|scope| {
                for name in ["a", "b", "c"] {
                    let mut client = endpoint.client();
                    scope.spawn(move || {
                        reads_own_writes(&mut client, name, 300);
                        // A while after its last write a client reads from replicas again.
                        lab::pause(Duration::from_millis(100));
                        assert_eq!(client.call(&["GET", name]), bulk("later"));
                    });
                }
            });
        });
        println!("{}: GETs of who writes too, by server: {told:?}", server.flavor);
    }
}

#[test]
fn a_replica_that_is_behind_or_gone_is_not_read_from() {
    for server in both() {
        let shards = Shards::of(&server).shards(1).replicas(2).start();
        let endpoint = Endpoint::of(&server, &shards.upstream(), &[REPLICAS, BRIEF]);
        let servers = servers_of(&shards);
        fill(&endpoint, &servers[1..]);

        // Asked at once, so some reads have been sent to it, and it owes them.
        let mut readers = clients(&endpoint);
        servers[1].stop();
        readers.iter_mut().for_each(read_all);
        servers[1].cont();
        fill(&endpoint, &servers[1..]);

        // It answers, but has no primary any more.
        let told = servers[2].client().command("REPLICAOF 127.0.0.1 1");
        assert_eq!(told, ok());
        let mut writer = endpoint.client();
        let fresh = |value: &str, readers: &mut Vec<Client>| {
            readers.iter_mut().all(|client| client.command("GET k0") == bulk(value))
        };
        assert_eq!(writer.command("SET k0 new"), ok());
        lab::eventually("everybody reads what is new", || fresh("new", &mut readers));
        let everybody = || readers.iter_mut().for_each(|client| drop(client.command("GET k1")));
        assert_eq!(shares(&servers, everybody)[2], 0, "nobody reads there");

        // All at work, and one replica dies.
        assert_eq!(writer.command("SET k0 0"), ok());
        lab::eventually("everybody reads what is new", || fresh("0", &mut readers));
        let load = Load::default();
        thread::scope(|scope| {
            for mut client in readers {
                let load = &load;
                scope.spawn(move || {
                    while !load.is_over() {
                        read_all(&mut client);
                        load.next();
                    }
                });
            }
            let over = load.until_dropped(&endpoint);
            load.await_more(20);
            servers[1].kill9();
            load.await_more(20);
            drop(over);
        });
    }
}

#[test]
fn replicas_of_a_cluster_are_read_from() {
    for flavor in [Flavor::Valkey, Flavor::Redis] {
        let cluster = RedisCluster::of(&Server::of(flavor)).start();
        let endpoint = Endpoint::over(&cluster, &[REPLICAS, AMPLE]);
        let shards = cluster.shards();
        let primaries: Vec<&Proc> = shards.iter().map(|shard| &shard.primary).collect();
        let replicas: Vec<&Proc> = shards.iter().map(|shard| &shard.replicas[0]).collect();
        fill(&endpoint, &replicas);
        let everybody = || clients(&endpoint).iter_mut().for_each(read_all);
        assert_eq!(shares(&primaries, everybody), [0, 0, 0]);
        set(&endpoint, "weir.replica-max-lag", "200");
        reads_own_writes(&mut endpoint.client(), "{own}", 100);
        replicas[0].kill9();
        everybody();
    }
}
