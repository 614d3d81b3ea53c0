//! What lies on several shards is one database.

use std::collections::{BTreeMap, BTreeSet};

use lab::client::{Client, Value, bulk, error, ok};
use lab::servers;

use super::{Database, key_on};

/// Keys of four types, some of each on every shard; with what TYPE says of each.
fn fill(client: &mut Client, keys: usize) -> BTreeMap<String, &'static str> {
    let types = ["string", "list", "set", "hash"];
    let mut made = BTreeMap::new();
    let mut commands = Vec::new();
    for number in 0..keys {
        let kind = types[number % types.len()];
        let key = format!("{kind}:{number}");
        let words: &[&str] = match kind {
            "string" => &["SET", &key, "v"],
            "list" => &["RPUSH", &key, "v"],
            "set" => &["SADD", &key, "v"],
            _ => &["HSET", &key, "f", "v"],
        };
        commands.push(words.iter().map(|word| (*word).to_owned()).collect());
        made.insert(key, kind);
    }
    assert!(client.pipeline(&commands).iter().all(|reply| reply.error_text().is_none()));
    made
}

/// A SCAN from begin to end with these options: each key as often as it came.
fn scan(client: &mut Client, options: &[&str]) -> Vec<String> {
    let mut cursor = "0".to_owned();
    let mut keys = Vec::new();
    loop {
        let reply = client.call(&[&["SCAN", &cursor], options].concat());
        let [next, page] = reply.items() else { panic!("{reply:?}") };
        keys.extend(page.items().iter().map(Value::text));
        cursor = next.text();
        if cursor == "0" {
            return keys;
        }
    }
}

#[test]
fn a_scan_sees_every_key_of_every_shard_once() {
    for server in servers::both() {
        for shards in [2, 3] {
            let database = Database::start(&server, shards);
            let mut client = database.client();
            let made = fill(&mut client, 400);
            let all: BTreeSet<String> = made.keys().cloned().collect();
            let expect = |keys: Vec<String>, wanted: &dyn Fn(&str, &str) -> bool| {
                let seen: BTreeSet<String> = keys.iter().cloned().collect();
                assert_eq!(seen.len(), keys.len(), "nothing changes, so no key comes twice");
                let right: BTreeSet<String> =
                    made.iter().filter(|(k, t)| wanted(k, t)).map(|(k, _)| k.clone()).collect();
                assert_eq!(seen, right);
            };
            expect(scan(&mut client, &[]), &|_, _| true);
            for count in ["1", "7", "1000"] {
                expect(scan(&mut client, &["COUNT", count]), &|_, _| true);
            }
            expect(scan(&mut client, &["TYPE", "hash"]), &|_, t| t == "hash");
            expect(scan(&mut client, &["MATCH", "set:*", "COUNT", "50"]), &|_, t| t == "set");
            expect(scan(&mut client, &["MATCH", "nothing"]), &|_, _| false);

            assert_eq!(client.command("DBSIZE").int(), 400);
            let mut keys: Vec<String> =
                client.command("KEYS *").items().iter().map(Value::text).collect();
            keys.sort();
            assert_eq!(keys, all.iter().cloned().collect::<Vec<_>>());
            assert_eq!(client.command("KEYS list:*").items().len(), 100);

            let wrong = [
                ("SCAN x", "ERR invalid cursor"),
                ("SCAN 0 COUNT 0", "ERR syntax error"),
                ("SCAN 0 COUNT x", "ERR value is not an integer or out of range"),
                ("SCAN 0 FOO 1", "ERR syntax error"),
            ];
            for (line, text) in wrong {
                assert_eq!(client.command(line), error(text), "{line}");
            }
        }
    }
}

#[test]
fn every_shard_is_asked_where_all_are_meant() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        let of = |shard: usize| database.shards.primary(shard).client();
        let sizes = || [0, 1].map(|shard| of(shard).command("DBSIZE").int());

        assert_eq!(client.command("RANDOMKEY"), Value::NilBulk);
        assert_eq!(client.call(&["SET", &key_on(1, 0), "v"]), ok());
        for _ in 0..20 {
            assert_eq!(client.command("RANDOMKEY"), bulk(key_on(1, 0)));
        }
        fill(&mut client, 100);
        let seen: BTreeSet<bool> = (0..200)
            .map(|_| client.command("RANDOMKEY").text())
            .map(|key| of(0).call(&["EXISTS", &key]).int() == 1)
            .collect();
        assert_eq!(seen.len(), 2, "both shards have a random key to give");

        assert!(sizes().iter().all(|size| *size > 20), "{:?}", sizes());
        assert_eq!(client.command("FLUSHDB ASYNC"), ok());
        assert_eq!(sizes(), [0, 0]);
        fill(&mut client, 100);
        assert_eq!(client.command("FLUSHALL"), ok());
        assert_eq!(sizes(), [0, 0]);

        let sha = client.call(&["SCRIPT", "LOAD", "return 1"]).text();
        for shard in [0, 1] {
            assert_eq!(of(shard).call(&["SCRIPT", "EXISTS", &sha]).ints(), [1]);
        }
        assert_eq!(of(0).command("SCRIPT FLUSH"), ok());
        assert_eq!(client.call(&["SCRIPT", "EXISTS", &sha]).ints(), [0], "it is not everywhere");
        assert_eq!(client.command("SCRIPT FLUSH SYNC"), ok());
        assert_eq!(of(1).call(&["SCRIPT", "EXISTS", &sha]).ints(), [0]);

        assert_eq!(client.command("CONFIG RESETSTAT"), ok());
        let time = client.command("TIME");
        let [seconds, micros] = time.items() else { panic!("{time:?}") };
        assert!(seconds.text().parse::<u64>().unwrap() > 1_600_000_000);
        assert!(micros.text().parse::<u64>().unwrap() < 1_000_000);
        assert!(client.command("LOLWUT").bytes().len() > 10);
        assert!(client.command("LASTSAVE").int() > 1_600_000_000);
    }
}

#[test]
fn settings_of_the_data_are_one_for_all_shards() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        let policy = |client: &mut Client| {
            let reply = client.command("CONFIG GET maxmemory-policy");
            reply.field("maxmemory-policy").text()
        };
        assert_eq!(policy(&mut client), "noeviction");
        assert_eq!(client.command("CONFIG SET maxmemory-policy allkeys-lru"), ok());
        assert_eq!(policy(&mut client), "allkeys-lru");
        for shard in database.shards.iter() {
            assert_eq!(policy(&mut shard.primary.client()), "allkeys-lru");
        }
        assert!(client.command("CONFIG SET maxmemory-policy nonsense").is_error("ERR"));
        assert_eq!(policy(&mut client), "allkeys-lru");
        let refused = client.command("CONFIG SET port 1").error_text().unwrap();
        assert!(refused.contains("not supported by this endpoint"), "{refused}");
    }
}

#[test]
fn info_is_that_of_one_server() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        fill(&mut client, 100);
        let info = |client: &mut Client, section: &str| client.call(&["INFO", section]).text();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::to_owned)
        };
        let replication = info(&mut client, "replication");
        assert_eq!(field(&replication, "role").as_deref(), Some("master"));
        assert_eq!(field(&replication, "connected_slaves").as_deref(), Some("0"));
        let keyspace = info(&mut client, "keyspace");
        assert!(field(&keyspace, "db0").unwrap().starts_with("keys=100,"), "{keyspace}");
        let everything = info(&mut client, "everything");
        let port = database.host.endpoint_port().to_string();
        assert_eq!(field(&everything, "tcp_port"), Some(port));
        assert_eq!(field(&everything, "aof_enabled").as_deref(), Some("0"));
    }
}
