//! A Redis Cluster as one server; what waits and listens while slots move.

use std::collections::BTreeSet;
use std::time::Duration;

use lab::client::{Client, Value, bulk, error, ok, simple};
use lab::process::Proc;
use lab::redis_cluster::{RedisCluster, slot_of};
use lab::servers::{Flavor, Server, both};

use crate::stage::{Endpoint, key_in};

const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

#[test]
fn a_cluster_is_used_as_one_server() {
    for server in both() {
        let cluster = RedisCluster::of(&server).start();
        let endpoint = Endpoint::over(&cluster, &[]);
        let mut client = endpoint.client();
        many_keys(&mut client);
        one_slot(&mut client);
        assert_eq!(client.command("WAIT 1 0").int(), 1);
        blocking(&endpoint);
        assert_eq!(client.command("FLUSHALL"), ok());
        let left = cluster.shards().iter().map(|shard| shard.primary.client());
        assert!(left.into_iter().all(|mut primary| primary.command("DBSIZE").int() == 0));
    }
}

fn many_keys(client: &mut Client) {
    let keys: Vec<String> = (0..300).map(|number| format!("k:{number}")).collect();
    let values = (0..300).map(|number| bulk(number.to_string())).collect();
    let mut mset = vec!["MSET".to_owned()];
    for (number, key) in keys.iter().enumerate() {
        mset.extend([key.clone(), number.to_string()]);
    }
    let of_all = |name: &str| [vec![name.to_owned()], keys.clone()].concat();
    assert_eq!(client.call(&mset), ok());
    assert_eq!(client.call(&of_all("MGET")), Value::Array(values));
    for name in ["EXISTS", "TOUCH"] {
        assert_eq!(client.call(&of_all(name)).int(), 300, "{name}");
    }
    assert_eq!(client.command("DBSIZE").int(), 300);
    assert_eq!(client.command("KEYS k:*").items().len(), 300);
    let (mut cursor, mut seen) = ("0".to_owned(), BTreeSet::new());
    loop {
        let reply = client.call(&["SCAN", &cursor, "COUNT", "7"]);
        let found = reply.items()[1].items().iter().map(Value::text);
        found.for_each(|key| assert!(seen.insert(key.clone()), "{key} came twice"));
        cursor = reply.items()[0].text();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, keys.iter().cloned().collect());
    assert_eq!(client.call(&of_all("DEL")).int(), 300);
    assert_eq!(client.call(&of_all("UNLINK")).int(), 0);
    // What a cluster doesn't split isn't split here.
    for line in ["MSETNX a 1 b 2", "SUNION a b", "RENAME a b", "EVAL return{} 2 a b"] {
        assert_eq!(client.command(line), error(CROSSSLOT), "{line}");
    }
    assert!(client.command("SELECT 1").error_text().is_some());
}

fn one_slot(client: &mut Client) {
    for line in ["WATCH {t}a", "MULTI"] {
        assert_eq!(client.command(line), ok());
    }
    assert_eq!(client.command("SET {t}a 1"), simple("QUEUED"));
    assert_eq!(client.command("INCR {t}b"), simple("QUEUED"));
    assert_eq!(client.command("EXEC"), Value::Array(vec![ok(), Value::Int(1)]));
    assert_eq!(client.command("MULTI"), ok());
    assert_eq!(client.command("SET {t}a 2"), simple("QUEUED"));
    assert_eq!(client.command("SET elsewhere 2"), error(CROSSSLOT));
    assert!(client.command("EXEC").is_error("EXECABORT"));
    assert_eq!(client.command("GET {t}a"), bulk("1"));

    let script = "return {KEYS[1], redis.call('incr', KEYS[2])}";
    let told = Value::Array(vec![bulk("{t}a"), Value::Int(2)]);
    assert_eq!(client.call(&["EVAL", script, "2", "{t}a", "{t}b"]), told);
    let sha = client.call(&["SCRIPT", "LOAD", "return redis.call('get', KEYS[1])"]).text();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(client.call(&["SET", key, key]), ok());
        assert_eq!(client.call(&["EVALSHA", &sha, "1", key]), bulk(key), "on every shard");
    }
    assert_eq!(client.command("EVAL return(7) 0"), Value::Int(7));
}

fn blocking(endpoint: &Endpoint) {
    let (mut waits, mut brings) = (endpoint.client(), endpoint.client());
    waits.send(&["BLPOP", "queue", "0"]);
    await_blocked(endpoint, 1);
    assert_eq!(brings.command("LPUSH queue x").int(), 1);
    assert_eq!(waits.read(), Value::Array(vec![bulk("queue"), bulk("x")]));
    assert_eq!(waits.command("BLPOP a-list b-list 0.1"), error(CROSSSLOT));
    assert_eq!(waits.command("BLPOP queue 0.01"), Value::NilArray);
}

#[track_caller]
fn await_blocked(endpoint: &Endpoint, count: i64) {
    lab::eventually("as many clients wait as should", || {
        endpoint.count("blocked_clients") == count
    });
}

/// Moves the slot of a key to the primary that is not its owner.
fn move_slot_of<'a>(cluster: &'a RedisCluster, key: &str) -> &'a Proc {
    let slot = slot_of(key.as_bytes());
    let source = cluster.owner(slot).unwrap();
    let shards = cluster.shards();
    let target = shards.iter().map(|shard| &shard.primary).find(|p| p.port() != source.port());
    let target = target.unwrap();
    cluster.move_slots([slot], source, target).unwrap();
    target
}

#[test]
fn who_waits_for_an_element_gets_it_from_the_new_owner() {
    for server in both() {
        let cluster = RedisCluster::of(&server).replicas(0).start();
        let endpoint = Endpoint::over(&cluster, &[]);
        let key = key_in(0..100, "queue");
        let waiting = [
            vec!["BLPOP", &key, "0"],
            vec!["BRPOP", &key, "0"],
            vec!["BLMPOP", "0", "1", &key, "LEFT"],
        ];
        let mut clients: Vec<Client> = waiting.iter().map(|_| endpoint.client()).collect();
        for (number, (client, command)) in clients.iter_mut().zip(&waiting).enumerate() {
            client.send(command);
            await_blocked(&endpoint, i64::try_from(number).unwrap() + 1);
        }
        let target = move_slot_of(&cluster, &key);
        lab::eventually("they wait on the new owner", || {
            target.info("clients").int("blocked_clients") == 3
        });
        // One more element than there are clients; each is served once, the order is nobody's.
        let mut brings = endpoint.client();
        assert!(brings.call(&["RPUSH", &key, "1", "2", "3", "4"]).int() > 0);
        let mut seen = BTreeSet::new();
        for client in &mut clients {
            let reply = client.read();
            assert_eq!(reply.items()[0], bulk(&key), "{reply:?}");
            let element = match &reply.items()[1] {
                Value::Array(elements) => elements[0].text(),
                element => element.text(),
            };
            assert!(seen.insert(element));
        }
        assert_eq!(brings.call(&["LLEN", &key]).int(), 1);
        assert_eq!(endpoint.count("blocked_clients"), 0);
    }
}

/// The messages that a client has got so far: channel and text. It waits until nothing comes.
fn messages(client: &mut Client) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while !client.is_silent(Duration::from_millis(100)) {
        let message = client.read();
        let words: Vec<String> = message.items().iter().map(Value::text).collect();
        assert!(words[0].ends_with("message"), "{message:?}");
        all.push((words[words.len() - 2].clone(), words[words.len() - 1].clone()));
    }
    all
}

#[test]
fn each_message_comes_once() {
    for server in both() {
        let cluster = RedisCluster::of(&server).line("notify-keyspace-events KEA").start();
        let endpoint = Endpoint::over(&cluster, &[]);
        let listen = |lines: &[&str]| {
            let mut client = endpoint.client();
            for line in lines {
                client.send(&line.split(' ').collect::<Vec<_>>());
            }
            lines.iter().for_each(|_| drop(client.read()));
            client
        };
        let mut listeners = [
            listen(&["SUBSCRIBE news", "SUBSCRIBE sport"]),
            listen(&["PSUBSCRIBE n*", "SUBSCRIBE sport"]),
            listen(&["PSUBSCRIBE [ns]*"]),
        ];
        let mut events = listen(&["PSUBSCRIBE __keyevent@0__:set"]);
        let mut client = endpoint.client();
        assert_eq!(client.command("PUBLISH news 0").int(), 3);
        let mut expected = vec![("news".to_owned(), "0".to_owned())];
        // In a cluster every node passes on what is published on any.
        for (number, server) in cluster.shards().iter().flat_map(|s| s.servers()).enumerate() {
            let text = format!("by node {number}");
            server.client().call(&["PUBLISH", "sport", &text]);
            expected.push(("sport".to_owned(), text));
        }
        let script = "return redis.call('publish', 'news', 's')";
        // The shard of the key counts only who listens there.
        assert!((0..=1).contains(&client.call(&["EVAL", script, "1", "k"]).int()));
        expected.push(("news".to_owned(), "s".to_owned()));
        for listener in &mut listeners {
            let mut heard = messages(listener);
            heard.sort();
            expected.sort();
            assert_eq!(heard, expected);
        }
        let keys: BTreeSet<String> = (0..30).map(|number| format!("event:{number}")).collect();
        keys.iter().for_each(|key| assert_eq!(client.call(&["SET", key, "v"]), ok()));
        let heard = messages(&mut events);
        assert_eq!(heard.len(), 30, "{heard:?}");
        assert_eq!(heard.into_iter().map(|(_, key)| key).collect::<BTreeSet<_>>(), keys);
    }
}

#[test]
fn shard_channels_go_along_with_their_slot() {
    for flavor in [Flavor::Valkey, Flavor::Redis] {
        let cluster = RedisCluster::of(&Server::of(flavor)).replicas(0).start();
        let endpoint = Endpoint::over(&cluster, &[]);
        let channel = key_in(0..100, "channel");
        let (mut listener, mut client) = (endpoint.client(), endpoint.client());
        let confirmed = listener.call(&["SSUBSCRIBE", &channel]);
        assert_eq!(confirmed.items()[1], bulk(&channel));
        assert_eq!(client.call(&["SPUBLISH", &channel, "before"]).int(), 1);
        assert_eq!(messages(&mut listener), [(channel.clone(), "before".to_owned())]);
        let target = move_slot_of(&cluster, &channel);
        lab::eventually("the endpoint listens at the new owner", || {
            let reply = target.client().command("PUBSUB SHARDCHANNELS");
            reply.items() == [bulk(&channel)]
        });
        let sent = ["after", "and again"];
        for text in sent {
            assert_eq!(client.call(&["SPUBLISH", &channel, text]).int(), 1, "{text}");
        }
        let heard: Vec<String> = messages(&mut listener).into_iter().map(|(_, t)| t).collect();
        assert_eq!(heard, sent, "each once, and the client was told of nothing else");
    }
}
