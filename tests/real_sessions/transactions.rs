//! What transcripts of one client can't show of transactions.

use std::time::Duration;

use lab::client::{Value, bulk, encode_into, ok, simple};
use lab::cluster::Shards;
use lab::host::Host;
use lab::servers;
use weir::shards::HashSlot;

use super::Database;

/// Key number `number` of those that lie on shard `shard` of two.
fn key_on(shard: usize, number: usize) -> String {
    let on_it = |key: &String| usize::from(HashSlot::of(key.as_bytes()).number() >= 8192) == shard;
    (0..).map(|n: usize| format!("key:{n}")).filter(on_it).nth(number).unwrap()
}

#[test]
fn a_watched_key_that_others_change_ends_the_transaction() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let (mut client, mut other) = (database.client(), database.client());
        let key = key_on(1, 0);
        for _ in 0..20 {
            assert_eq!(client.call(&["WATCH", &key]), ok());
            assert_eq!(other.call(&["INCR", &key]).error_text(), None);
            assert_eq!(client.command("MULTI"), ok());
            assert_eq!(client.call(&["SET", &key, "0"]), simple("QUEUED"));
            assert_eq!(client.command("EXEC"), Value::NilArray);
        }
        assert_eq!(client.call(&["GET", &key]), bulk("20"));
        // A read between WATCH and MULTI sees what WATCH stands on.
        let mut counters: Vec<_> = (0..8).map(|_| database.client()).collect();
        assert_eq!(client.call(&["SET", &key, "0"]), ok());
        std::thread::scope(|scope| {
            for client in &mut counters {
                scope.spawn(|| {
                    let mut done = 0;
                    while done < 50 {
                        client.call(&["WATCH", &key]);
                        let value: u64 = client.call(&["GET", &key]).text().parse().unwrap();
                        client.send(&["MULTI"]);
                        client.send(&["SET", &key, &(value + 1).to_string()]);
                        client.send(&["EXEC"]);
                        assert_eq!(client.read(), ok());
                        assert_eq!(client.read(), simple("QUEUED"));
                        done += usize::from(client.read() != Value::NilArray);
                    }
                });
            }
        });
        assert_eq!(client.call(&["GET", &key]), bulk("400"), "no increment is lost");
    }
}

#[test]
fn a_transaction_belongs_to_one_slot() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        let (here, there) = (key_on(0, 0), key_on(1, 0));
        for (first, second) in [(&here, &there), (&there, &here), (&here, &key_on(0, 1))] {
            assert_eq!(client.command("MULTI"), ok());
            assert_eq!(client.call(&["SET", first, "1"]), simple("QUEUED"));
            assert!(client.call(&["SET", second, "1"]).is_error("CROSSSLOT"));
            assert!(client.command("EXEC").is_error("EXECABORT"));
            assert_eq!(client.call(&["EXISTS", first, second]), Value::Int(0));
            assert_eq!(client.call(&["WATCH", first]), ok());
            assert!(client.call(&["WATCH", second]).is_error("CROSSSLOT"));
            assert_eq!(client.command("MULTI"), ok());
            assert!(client.call(&["GET", second]).is_error("CROSSSLOT"));
            assert!(client.command("EXEC").is_error("EXECABORT"));
        }
        assert_eq!(client.command("MULTI"), ok());
        assert!(client.call(&["MGET", &here, &there]).is_error("CROSSSLOT"));
        assert!(client.command("DBSIZE").is_error("ERR"));
        assert!(client.command("EXEC").is_error("EXECABORT"));
        // What has no key goes where the keys are.
        assert_eq!(client.command("MULTI"), ok());
        assert_eq!(client.command("PING"), simple("QUEUED"));
        assert_eq!(client.call(&["SET", &there, "1"]), simple("QUEUED"));
        assert_eq!(client.command("PING"), simple("QUEUED"));
        let reply = Value::Array(vec![simple("PONG"), ok(), simple("PONG")]);
        assert_eq!(client.command("EXEC"), reply);
        assert_eq!(client.command("MULTI"), ok());
        assert_eq!(client.command("PING"), simple("QUEUED"));
        assert_eq!(client.command("EXEC"), Value::Array(vec![simple("PONG")]));
    }
}

#[test]
fn large_values_are_part_of_transactions() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        let key = key_on(1, 0);
        let value = "x".repeat(8 * 1024 * 1024);
        let mut bytes = Vec::new();
        let large = ["SET", &key, &value];
        for words in [&["MULTI"] as &[&str], &["PING"], &large, &["STRLEN", &key], &["EXEC"]] {
            encode_into(&mut bytes, words);
        }
        let replies = client.pipeline_raw(&bytes, 5);
        let exec = Value::Array(vec![simple("PONG"), ok(), Value::Int(8 * 1024 * 1024)]);
        let queued = || simple("QUEUED");
        assert_eq!(replies, [ok(), queued(), queued(), queued(), exec]);
        assert_eq!(client.command("MULTI"), ok());
        assert_eq!(client.call(&["SET", &key_on(0, 0), "1"]), simple("QUEUED"));
        assert!(client.call(&["SET", &key, &value]).is_error("CROSSSLOT"));
        assert!(client.command("EXEC").is_error("EXECABORT"));
        assert_eq!(client.call(&["EXISTS", &key_on(0, 0)]), Value::Int(0));
    }
}

#[test]
fn wait_knows_the_writes_of_transactions() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(2).replicas(1).start();
        shards.wait_online();
        let host = Host::of(&server).upstream(shards.upstream()).start();
        let mut client = host.client();
        let key = key_on(1, 0);
        let transact = |client: &mut lab::client::Client| {
            client.command("MULTI");
            client.call(&["SET", &key, "1"]);
            client.command("EXEC")
        };
        assert_eq!(transact(&mut client), Value::Array(vec![ok()]));
        assert_eq!(client.command("WAIT 1 5000"), Value::Int(1));
        shards.replica(1, 0).stop();
        assert_eq!(transact(&mut client), Value::Array(vec![ok()]));
        assert_eq!(client.command("WAIT 1 50"), Value::Int(0), "its replica has stopped");
        // Inside a transaction it answers at once, and says the same.
        assert_eq!(client.command("MULTI"), ok());
        assert_eq!(client.command("WAIT 1 0"), simple("QUEUED"));
        assert_eq!(client.call(&["GET", &key]), simple("QUEUED"));
        assert_eq!(client.command("EXEC"), Value::Array(vec![Value::Int(0), bulk("1")]));
        shards.replica(1, 0).cont();
        assert_eq!(client.command("WAIT 1 5000"), Value::Int(1));
        assert_eq!(client.command("MULTI"), ok());
        assert_eq!(client.command("WAIT 1 0"), simple("QUEUED"));
        assert_eq!(client.command("EXEC"), Value::Array(vec![Value::Int(1)]));
    }
}

#[test]
fn a_shard_that_dies_ends_the_transaction_and_not_the_connection() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        let (here, there) = (key_on(0, 0), key_on(1, 0));
        assert_eq!(client.call(&["WATCH", &there]), ok());
        let mut open = database.client();
        assert_eq!(open.command("MULTI"), ok());
        assert_eq!(open.call(&["SET", &there, "1"]), simple("QUEUED"));
        database.shards.primary(1).kill9();
        database.shards.primary(1).restart();
        let mut other = database.client().patience(Duration::from_secs(20));
        while other.call(&["SET", &there, "2"]) != ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nobody knows whether the watched key was changed: as if it had been.
        assert_eq!(client.command("MULTI"), ok());
        assert_eq!(client.call(&["SET", &there, "3"]), simple("QUEUED"));
        assert_eq!(client.command("EXEC"), Value::NilArray);
        assert!(open.command("EXEC").is_error("EXECABORT"));
        assert_eq!(client.call(&["GET", &there]), bulk("2"));
        for client in [&mut client, &mut open] {
            assert_eq!(client.command("MULTI"), ok());
            assert_eq!(client.call(&["SET", &here, "3"]), simple("QUEUED"));
            assert_eq!(client.command("EXEC"), Value::Array(vec![ok()]));
        }
    }
}

#[test]
fn the_list_of_clients_tells_what_a_transaction_did_last() {
    for server in servers::both() {
        let database = Database::start(&server, 1);
        let (mut client, mut other) = (database.client(), database.client());
        let id = client.command("CLIENT ID").int();
        for (line, told) in [("MULTI", "multi"), ("GET k", "get"), ("EXEC", "exec")] {
            client.command(line);
            let list = other.command(&format!("CLIENT LIST ID {id}")).text();
            assert!(list.contains(&format!(" cmd={told} ")), "{line}: {list}");
        }
    }
}
