//! What transcripts of one client can't show of commands that wait.

use std::time::Duration;

use lab::client::{Client, Value, bulk, ok};
use lab::{procfs, servers};

use super::Database;

/// Until so many clients of the endpoint wait.
fn wait_until_blocked(client: &mut Client, wanted: usize) {
    for _ in 0..1000 {
        let lines = client.command("CLIENT LIST").text();
        if lines.lines().filter(|line| line.contains("flags=b")).count() == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not {wanted} clients wait:\n{}", client.command("CLIENT LIST").text());
}

fn pair(list: &str, value: &str) -> Value {
    Value::Array(vec![bulk(list), bulk(value)])
}

#[test]
fn many_clients_wait_and_hold_up_nobody() {
    const WAITERS: usize = 500;
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.threads 2"]);
        let mut client = database.client();
        let mut waiters: Vec<Client> = (0..WAITERS).map(|_| database.client()).collect();
        for (number, waiter) in waiters.iter_mut().enumerate() {
            waiter.send(&["BLPOP", &format!("list:{number}"), "0"]);
        }
        wait_until_blocked(&mut client, WAITERS);
        for number in 0..1000 {
            assert_eq!(client.call(&["SET", &format!("k:{number}"), "v"]), ok());
        }
        for number in 0..WAITERS {
            client.send(&["RPUSH", &format!("list:{number}"), &number.to_string()]);
        }
        for _ in 0..WAITERS {
            assert_eq!(client.read(), Value::Int(1));
        }
        for (number, waiter) in waiters.iter_mut().enumerate() {
            assert_eq!(waiter.read(), pair(&format!("list:{number}"), &number.to_string()));
        }
        wait_until_blocked(&mut client, 0);
        // They are all served on, by shared connections again.
        for waiter in &mut waiters {
            assert_eq!(waiter.command("GET k:1"), bulk("v"));
        }
        let clients = database.shards.primary(0).client().command("CLIENT LIST").text();
        let pinned = clients.lines().filter(|line| line.contains("name=weir-pinned")).count();
        assert!(pinned <= 64, "{pinned} connections are kept for nobody");
    }
}

/// How many clients of the endpoint wait.
fn blocked(client: &mut Client) -> usize {
    let info = client.command("INFO clients").text();
    let field = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    field.and_then(|number| number.parse().ok()).expect("INFO tells")
}

/// All at once, so that their connections to the shards are opened at once too. Where the machine
/// doesn't let a process have twice as many descriptors, those for whom there are none are told so.
#[test]
fn ten_thousand_clients_wait() {
    const CLIENTS: usize = 10_000;
    let limit = procfs::allow_descriptors(2 * CLIENTS as u64 + 1_000, CLIENTS as u64 + 1_000);
    // The host's own, and those that each worker needs beside those of its clients.
    let waiting = CLIENTS.min(usize::try_from(limit).unwrap() - CLIENTS - 500);
    for server in servers::both() {
        let lines = ["maxclients 100", "weir.maxclients 10100", "weir.threads 2"];
        let database = Database::with(&server, 2, &lines);
        let mut client = database.client();
        assert_eq!(client.command("SET k v"), ok());
        let mut waiters: Vec<Client> = (0..CLIENTS).map(|_| database.client()).collect();
        for (number, waiter) in waiters.iter_mut().enumerate() {
            waiter.send(&["BLPOP", &format!("list:{number}"), "0"]);
        }
        let enough = lab::within(Duration::from_secs(60), || {
            (blocked(&mut client) >= waiting).then_some(())
        });
        assert!(enough.is_some(), "{} of {CLIENTS} wait", blocked(&mut client));
        assert_eq!(client.command("SET k w"), ok());
        for number in 0..CLIENTS {
            client.send(&["RPUSH", &format!("list:{number}"), &number.to_string()]);
        }
        for _ in 0..CLIENTS {
            assert_eq!(client.read(), Value::Int(1));
        }
        let mut refused = 0;
        for (number, waiter) in waiters.iter_mut().enumerate() {
            match waiter.read() {
                Value::Error(text) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    assert!(text.contains("was not executed (Too many open files"), "{text}");
                    refused += 1;
                }
                told => {
                    assert_eq!(told, pair(&format!("list:{number}"), &number.to_string()));
                }
            }
        }
        assert!(refused <= CLIENTS - waiting, "{refused} were refused");
        assert_eq!(blocked(&mut client), 0);
    }
}

#[test]
fn client_unblock_and_clients_that_go() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        let mut waiter = database.client();
        let id = waiter.command("CLIENT ID").int().to_string();
        for (reason, reply) in [
            ("TIMEOUT", Value::NilArray),
            ("ERROR", lab::client::error("UNBLOCKED client unblocked via CLIENT UNBLOCK")),
        ] {
            waiter.send(&["BLPOP", "list", "0"]);
            waiter.send(&["PING"]);
            wait_until_blocked(&mut client, 1);
            assert_eq!(client.call(&["CLIENT", "UNBLOCK", &id, reason]), Value::Int(1));
            assert_eq!(waiter.read(), reply);
            assert_eq!(waiter.read(), lab::client::simple("PONG"));
            assert_eq!(client.call(&["CLIENT", "UNBLOCK", &id, reason]), Value::Int(0));
        }
        // Who goes takes nothing with it.
        for _ in 0..20 {
            let mut gone = database.client();
            gone.send(&["BLPOP", "list", "0"]);
            wait_until_blocked(&mut client, 1);
            drop(gone);
            wait_until_blocked(&mut client, 0);
        }
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(client.command("RPUSH list a b"), Value::Int(2));
        assert_eq!(client.command("LRANGE list 0 -1").items().len(), 2, "nobody waits any more");
        // Who was killed neither.
        waiter.send(&["BLPOP", "other", "0"]);
        wait_until_blocked(&mut client, 1);
        assert_eq!(client.call(&["CLIENT", "KILL", "ID", &id]), Value::Int(1));
        waiter.assert_closed();
        wait_until_blocked(&mut client, 0);
        assert_eq!(client.command("RPUSH other a"), Value::Int(1));
        assert_eq!(client.command("LLEN other"), Value::Int(1));
    }
}

#[test]
fn connections_of_their_own_are_bounded() {
    for server in servers::both() {
        let database = Database::with(&server, 1, &["weir.shard-pinned-max 3"]);
        let mut client = database.client();
        let mut waiters: Vec<Client> = (0..3).map(|_| database.client()).collect();
        for waiter in &mut waiters {
            waiter.send(&["BLPOP", "list", "0"]);
        }
        wait_until_blocked(&mut client, 3);
        let refused = client.command("BLPOP list 0");
        assert!(refused.error_text().unwrap().contains("weir.shard-pinned-max"), "{refused:?}");
        assert_eq!(client.command("RPUSH list a b c"), Value::Int(3));
        for waiter in &mut waiters {
            waiter.read();
        }
        assert_eq!(client.command("RPUSH list d"), Value::Int(1));
        assert_eq!(client.command("BLPOP list 0"), pair("list", "d"));

        // A shard that has no room says so, and goes on to serve who is there.
        let database = Database::start(&server, 1);
        let mut client = database.client();
        let mut direct = database.shards.primary(0).client();
        direct.command("CONFIG SET maxclients 12");
        let mut waiters: Vec<Client> = (0..20).map(|_| database.client()).collect();
        for waiter in &mut waiters {
            waiter.send(&["BLPOP", "list", "0"]);
        }
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(client.command("SET k v"), ok());
        for _ in 0..20 {
            assert_eq!(client.command("RPUSH list x").error_text(), None);
        }
        let replies: Vec<Value> = waiters.iter_mut().map(Client::read).collect();
        let refused = replies.iter().filter_map(Value::error_text);
        let refused: Vec<String> = refused.collect();
        assert!(!refused.is_empty() && refused.len() < 20, "{replies:?}");
        assert!(
            refused.iter().all(|text| text.contains("max number of clients reached")),
            "{refused:?}"
        );
    }
}
