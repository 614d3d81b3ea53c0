//! Shards that Sentinels watch.

use std::thread;
use std::time::Duration;

use lab::client::{Client, ok};
use lab::cluster::Shards;
use lab::process::Proc;
use lab::sentinel::Sentinels;
use lab::servers::{Flavor, Server, both};

use crate::load::{Load, Told};
use crate::stage::{Endpoint, LONG, await_count, await_promoted, key_in, slots_of};

/// Sentinels that take nobody for dead, so failovers are ours to order.
const NEVER: Duration = Duration::from_secs(600);

#[test]
fn masters_fail_over_and_die_under_load() {
    for server in both() {
        let shards = Shards::of(&server).start();
        let sentinels = Sentinels::of(&server).start(&shards);
        // From the start one of them isn't there.
        sentinels[0].kill9();
        let endpoint = Endpoint::of(&server, &sentinels.upstream(), &[LONG]);
        let said = format!("Sentinel {} can't be asked", sentinels[0].address());
        lab::eventually("the log says so", || endpoint.log().contains(&said));
        let mut early = wrote_everywhere(&endpoint);
        let load = Load::default();
        let told = thread::scope(|scope| {
            let load = &load;
            let writer = |number: usize| {
                let (client, slots) = (endpoint.patient(), slots_of(number % 2, 2));
                scope.spawn(move || load.writes(client, &format!("w{number}"), slots))
            };
            let writers: Vec<_> = (0..4).map(writer).collect();
            let over = load.until_dropped(&endpoint);
            load.await_more(200);
            sentinels.failover("master-a").unwrap();
            replaced(&endpoint, shards.replica(0, 0));
            load.await_more(200);
            shards.primary(1).kill9();
            replaced(&endpoint, shards.replica(1, 0));
            load.await_more(200);
            drop(over);
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let told = Told::sum(told);
        println!("{}: {}", server.flavor, told.line());
        assert_eq!(told.not_sent, 0, "the new primaries came in time");
        shards.primary(1).restart();
        sentinels.restart(0);
        sentinels.wait_settled(&shards);
        told.look_for_all(&mut endpoint.client());
        await_count(&mut early, 1);
        let said = format!("Sentinel {} can be asked again", sentinels[0].address());
        lab::eventually("the log says so", || endpoint.log().contains(&said));
    }
}

/// A client with a write on both shards that their replicas have.
fn wrote_everywhere(endpoint: &Endpoint) -> Client {
    let mut client = endpoint.patient();
    for shard in 0..2 {
        assert_eq!(client.call(&["SET", &key_in(slots_of(shard, 2), "early"), "v"]), ok());
    }
    assert_eq!(client.command("WAIT 1 0").int(), 1);
    client
}

/// The endpoint has followed to this server, and clients are told what is true of it.
fn replaced(endpoint: &Endpoint, replica: &Proc) {
    await_promoted(replica);
    endpoint.await_primary(replica);
    let shard = endpoint.shard_at(replica).unwrap().field("shard").int();
    let key = key_in(slots_of(usize::try_from(shard).unwrap(), 2), "late");
    let mut client = endpoint.patient();
    assert_eq!(client.call(&["SET", &key, "v"]), ok());
    let told = client.command("WAIT 1 100").int();
    assert!((0..=1).contains(&told));
    assert_eq!(replica.client().call(&["GET", &key]).text(), "v");
}

#[test]
fn commands_wait_for_a_shard_that_is_away() {
    for server in both() {
        let shards = Shards::of(&server).start();
        let sentinels = Sentinels::of(&server).count(1).down_after(NEVER).start(&shards);
        let short = "weir.failover-timeout 100";
        let endpoint = Endpoint::of(&server, &sentinels.upstream(), &[short]);
        let (here, there) = (key_in(slots_of(0, 2), "k"), key_in(slots_of(1, 2), "k"));
        let mut clients: Vec<Client> = (0..3).map(|_| endpoint.patient()).collect();
        for client in &mut clients {
            assert_eq!(client.call(&["SET", &here, "before"]), ok());
        }
        shards.primary(0).kill9();
        lab::eventually("it is away", || endpoint.shards()[0].field("state").text() != "up");
        let told = clients[0].call(&["SET", &here, "v"]);
        assert!(told.is_error("CLUSTERDOWN"), "{told:?}");
        assert!(told.error_text().unwrap().contains("not sent"), "{told:?}");
        assert_eq!(clients[0].call(&["SET", &there, "v"]), ok(), "the other one is there");

        let long: Vec<&str> = LONG.split(' ').collect();
        let told = endpoint.host_client().call(&[&["CONFIG", "SET"], &long[..]].concat());
        assert_eq!(told, ok());
        clients[0].send(&["SET", &here, "after"]);
        clients[1].send(&["MSET", &there, "after", &here, "after"]);
        clients[2].send(&["BLPOP", "queue", &here, "0.1"]);
        for client in &mut clients[..2] {
            assert!(client.is_silent(Duration::from_millis(100)), "it waits");
        }
        sentinels.failover("master-a").unwrap();
        for client in &mut clients[..2] {
            assert_eq!(client.read(), ok());
        }
        // Its keys are on two shards, so it waits for none.
        assert!(clients[2].read().is_error("CROSSSLOT"));
        assert_eq!(clients[2].call(&["GET", &here]).text(), "after");
        endpoint.await_primary(shards.replica(0, 0));
    }
}

#[test]
fn sentinels_may_want_a_password() {
    for server in both() {
        let shards = Shards::of(&server).shards(1).start();
        let sentinels = Sentinels::of(&server).count(1).down_after(NEVER).start(&shards);
        let mut config = sentinels[0].client();
        assert_eq!(config.command("ACL SETUSER default resetpass >secret"), ok());
        let watcher = "ACL SETUSER watcher on >other -@all +sentinel +psubscribe +hello +auth \
                       +client|setname allchannels";
        assert_eq!(config.command(watcher), ok());

        let short = "weir.failover-timeout 100";
        let endpoint = Endpoint::unready(&server, &sentinels.upstream(), &[short]);
        let mut client = endpoint.client();
        let told = client.command("SET k v");
        assert!(told.is_error("CLUSTERDOWN"), "{told:?}");
        lab::eventually("the log says why", || {
            let log = endpoint.log();
            let said = format!("Sentinel {} can't be asked: ", sentinels[0].address());
            log.lines().any(|line| line.contains(&said) && line.contains("NOAUTH"))
        });
        let mut host = endpoint.host_client();
        assert_eq!(host.command("CONFIG SET weir.sentinel-password secret"), ok());
        endpoint.await_primary(shards.primary(0));
        assert_eq!(client.command("SET k v"), ok());
        drop(endpoint);

        let lines = ["weir.sentinel-user watcher", "weir.sentinel-password other", LONG];
        let endpoint = Endpoint::of(&server, &sentinels.upstream(), &lines);
        let mut client = endpoint.client();
        assert_eq!(client.command("WAIT 1 0").int(), 1);
        assert_eq!(config.command("SENTINEL FAILOVER master-a"), ok());
        endpoint.await_primary(shards.replica(0, 0));
        assert_eq!(client.command("SET k v"), ok());
    }
}

#[test]
fn a_master_that_nobody_knows_and_sentinels_that_are_added() {
    for flavor in [Flavor::Valkey, Flavor::Redis] {
        let server = Server::of(flavor);
        let shards = Shards::of(&server).shards(1).start();
        let sentinels = Sentinels::of(&server).start(&shards);
        let upstream = |places: &[usize], names: &str| {
            let places: Vec<String> = places.iter().map(|&at| sentinels[at].address()).collect();
            format!("sentinel://{}/{names}", places.join(","))
        };
        let lines = ["weir.failover-timeout 100"];
        let endpoint = Endpoint::unready(&server, &upstream(&[1], "master-a,nobody"), &lines);
        endpoint.await_primary(shards.primary(0));
        let mut client = endpoint.client();
        let (here, there) = (key_in(slots_of(0, 2), "k"), key_in(slots_of(1, 2), "k"));
        assert_eq!(client.call(&["SET", &here, "v"]), ok());
        assert_eq!(client.command("WAIT 1 0").int(), 1, "it wrote on one shard only");
        let told = client.call(&["SET", &there, "v"]);
        assert!(told.is_error("CLUSTERDOWN"), "{told:?}");
        assert!(told.error_text().unwrap().contains("nobody"), "it names the master: {told:?}");

        let mut config = endpoint.host_client();
        let mut set = |value: &str| config.call(&["CONFIG", "SET", "weir.upstream", value]);
        let told = set(&upstream(&[1], "nobody,master-a"));
        let text = told.error_text().expect("a refusal");
        assert!(text.contains("the masters are master-a,nobody"), "{text}");
        let told = set(&shards.upstream());
        let text = told.error_text().expect("a refusal");
        assert!(text.contains("can't take each other's place"), "{text}");

        assert_eq!(set(&upstream(&[1, 0, 2], "master-a,nobody")), ok());
        // Who was asked at first is gone, so it is by the others that the endpoint knows.
        sentinels[1].kill9();
        sentinels.failover("master-a").unwrap();
        endpoint.await_primary(shards.replica(0, 0));
        assert_eq!(client.call(&["SET", &here, "w"]), ok());
    }
}
