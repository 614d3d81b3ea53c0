//! Clients that wait in a command, and what ends their wait.

use std::thread;
use std::time::Duration;

use lab::client::{Client, bulk, error, ok};
use lab::servers::{self, Server};

use super::{Database, until};

fn id(client: &mut Client) -> String {
    client.command("CLIENT ID").int().to_string()
}

/// How many clients the shard has in a blocking command.
fn blocked(database: &Database) -> i64 {
    database.shards.primary(0).info("clients").int("blocked_clients")
}

fn database(server: &Server) -> Database {
    Database::start(server, 1, 0, &[])
}

#[test]
fn an_element_reaches_who_waits_whichever_port_it_came_by() {
    for server in servers::both() {
        let database = database(&server);
        let mut waits = database.port();
        waits.send(&["BLPOP", "q", "0"]);
        until("it waits", || blocked(&database) == 1);
        assert_eq!(database.endpoint().command("LPUSH q a").int(), 1);
        assert_eq!(waits.read().items(), [bulk("q"), bulk("a")]);
        waits.send(&["BLPOP", "q", "0"]);
        until("it waits", || blocked(&database) == 1);
        assert_eq!(database.port().command("LPUSH q b").int(), 1);
        assert_eq!(waits.read().items(), [bulk("q"), bulk("b")]);
        assert!(waits.command("BLPOP q 0.05").is_nil());
    }
}

#[test]
fn client_unblock_ends_what_waits_on_the_shards() {
    for server in servers::both() {
        let database = database(&server);
        let (mut waits, mut admin) = (database.port(), database.port());
        let id = id(&mut waits);
        assert_eq!(admin.call(&["CLIENT", "UNBLOCK", &id]).int(), 0, "it doesn't wait");
        waits.send(&["BLPOP", "q", "0"]);
        until("it waits", || blocked(&database) == 1);
        let wrong = admin.call(&["CLIENT", "UNBLOCK", &id, "NOW"]);
        assert_eq!(wrong, error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        assert_eq!(admin.call(&["CLIENT", "UNBLOCK", &id]).int(), 1);
        assert!(waits.read().is_nil());
        waits.send(&["BLPOP", "q", "0"]);
        until("it waits", || blocked(&database) == 1);
        assert_eq!(admin.call(&["CLIENT", "UNBLOCK", &id, "ERROR"]).int(), 1);
        assert!(waits.read().is_error("UNBLOCKED"));
        // Nothing is lost by it.
        assert_eq!(admin.command("LPUSH q a").int(), 1);
        assert_eq!(waits.command("LPOP q"), bulk("a"));
        // WAIT too; and ids of nobody are the host's affair.
        assert_eq!(waits.command("SET k 1"), ok());
        waits.send(&["WAIT", "1", "0"]);
        thread::sleep(Duration::from_millis(50));
        until("it waits", || admin.call(&["CLIENT", "UNBLOCK", &id]).int() == 1);
        assert_eq!(waits.read().int(), 0);
        assert_eq!(admin.command("CLIENT UNBLOCK 99999").int(), 0);
        let stock = admin.command("CLIENT UNBLOCK x");
        assert_eq!(stock, error("ERR value is not an integer or out of range"));
    }
}

#[test]
fn who_goes_or_is_killed_takes_no_element_along() {
    for server in servers::both() {
        let database = database(&server);
        let mut admin = database.port();
        for round in 0..10 {
            let mut waits = database.port();
            let id = id(&mut waits);
            waits.send(&["BLPOP", "q", "0"]);
            until("it waits", || blocked(&database) == 1);
            if round % 2 == 0 {
                drop(waits);
            } else {
                assert_eq!(admin.call(&["CLIENT", "KILL", "ID", &id]).int(), 1);
                waits.assert_closed();
            }
            until("its wait has ended", || blocked(&database) == 0);
            assert_eq!(admin.command("LPUSH q a").int(), 1);
            assert_eq!(admin.command("LPOP q"), bulk("a"));
        }
        // Their sessions are gone too: the two of admin and of this one are left.
        let guests = |list: String| list.matches("laddr=host:0").count();
        until("the sessions have gone", || {
            guests(database.endpoint().command("CLIENT LIST").text()) == 1
        });
    }
}

#[test]
fn nobody_waits_for_who_waits() {
    for server in servers::both() {
        let database = database(&server);
        let mut waiting: Vec<Client> = (0..50).map(|_| database.port()).collect();
        for client in &mut waiting {
            client.send(&["BLPOP", "q", "0"]);
        }
        until("all wait", || blocked(&database) == 50);
        let mut other = database.port();
        for number in 0..200 {
            assert_eq!(other.call(&["SET", "k", &number.to_string()]), ok());
        }
        for _ in 0..50 {
            assert_eq!(other.command("RPUSH q x").int(), 1);
        }
        for client in &mut waiting {
            assert_eq!(client.read().items(), [bulk("q"), bulk("x")]);
        }
    }
}

#[test]
fn a_host_that_ends_leaves_no_client_without_a_word() {
    for server in servers::both() {
        let database = database(&server);
        let mut waits = database.port();
        waits.send(&["BLPOP", "q", "0"]);
        until("it waits", || blocked(&database) == 1);
        assert!(database.host.term().success(), "{}", database.host.log());
        waits.read_to_end();
        until("the shard is rid of it", || blocked(&database) == 0);
    }
}
