//! One database behind two ports.

use std::thread;
use std::time::Duration;

use lab::client::ok;
use lab::servers;

use super::Database;

/// Clients on each port.
const CLIENTS: usize = 20;
const ROUNDS: usize = 50;

#[test]
fn clients_of_both_ports_read_each_others_writes() {
    for server in servers::both() {
        let database = Database::start(&server, 2, 0, &["weir.threads 2"]);
        // Each writes under its own name, then reads what its partner on the other port wrote.
        let barrier = std::sync::Barrier::new(2 * CLIENTS);
        thread::scope(|scope| {
            for number in 0..2 * CLIENTS {
                let mut client =
                    if number < CLIENTS { database.endpoint() } else { database.port() };
                let barrier = &barrier;
                let partner = (number + CLIENTS) % (2 * CLIENTS);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let (key, value) = (format!("k{number}"), format!("{number}:{round}"));
                        assert_eq!(client.call(&["SET", &key, &value]), ok());
                        assert_eq!(client.call(&["INCR", "sum"]).int().signum(), 1);
                        barrier.wait();
                        let got = client.call(&["GET", &format!("k{partner}")]).text();
                        assert_eq!(got, format!("{partner}:{round}"));
                        barrier.wait();
                    }
                });
            }
        });
        let sum = database.port().call(&["GET", "sum"]).text();
        assert_eq!(sum, (2 * CLIENTS * ROUNDS).to_string());
        let shard = database.shards.primary(0).client().command("DBSIZE").int();
        assert!(shard > 0 && shard < 2 * CLIENTS as i64 + 1, "both shards have some keys");
        assert!(database.host.info("keyspace").get("db0").is_none(), "the host keeps no data");
    }
}

#[test]
fn wait_counts_who_has_the_clients_own_writes_on_both_ports() {
    for server in servers::both() {
        let database = Database::start(&server, 1, 2, &[]);
        let (mut port, mut endpoint) = (database.port(), database.endpoint());
        for client in [&mut port, &mut endpoint] {
            assert_eq!(client.call(&["SET", "k", "1"]), ok());
            assert_eq!(client.call(&["WAIT", "2", "5000"]).int(), 2);
        }
        database.shards.replica(0, 0).stop();
        for client in [&mut port, &mut endpoint] {
            assert_eq!(client.call(&["SET", "k", "2"]), ok());
            assert_eq!(client.call(&["WAIT", "2", "100"]).int(), 1);
            assert_eq!(client.call(&["WAIT", "1", "0"]).int(), 1);
        }
        // Who has written nothing since then is not held up, and who reads is not either.
        let mut other = database.port();
        assert_eq!(other.call(&["GET", "k"]).text(), "2");
        database.shards.replica(0, 0).cont();
        assert_eq!(port.call(&["WAIT", "2", "5000"]).int(), 2);
        assert_eq!(port.call(&["MULTI"]), ok());
        port.call(&["SET", "k", "3"]);
        port.call(&["EXEC"]);
        assert_eq!(port.call(&["WAIT", "2", "5000"]).int(), 2);
        assert_eq!(port.call(&["WAITAOF", "0", "0", "100"]).ints(), [0, 0]);
    }
}

#[test]
fn a_client_whose_session_is_killed_is_closed_and_never_told_a_count() {
    let server = &servers::both()[0];
    let database = Database::start(server, 1, 1, &[]);
    let mut port = database.port().patience(Duration::from_secs(5));
    assert_eq!(port.call(&["SET", "k", "1"]), ok());
    database.shards.replica(0, 0).stop();
    assert_eq!(port.call(&["SET", "k", "2"]), ok());
    let lines = database.endpoint().command("CLIENT LIST").text();
    let id = lines
        .lines()
        .find(|line| line.contains("laddr=host:0"))
        .and_then(|line| line.strip_prefix("id=")?.split(' ').next())
        .unwrap()
        .to_owned();
    assert_eq!(database.endpoint().call(&["CLIENT", "KILL", "ID", &id]).int(), 1);
    // A fresh session would have written nothing, and so would count every replica.
    let told = port.try_call(&["WAIT", "1", "100"]);
    assert!(told.as_ref().map_or(true, |told| told.is_error("IOERR")), "{told:?}");
    if told.is_ok() {
        port.assert_closed();
    }
    database.shards.replica(0, 0).cont();
    assert_eq!(database.port().call(&["GET", "k"]).text(), "2");
}
