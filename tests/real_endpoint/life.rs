//! The host stays what it was: while it forks, with thousands of clients at the endpoint, when the
//! module is unloaded under load, and when it is restarted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lab::client::{Client, Value, ok, simple};
use lab::host::Host;
use lab::{procfs, servers};

use super::{Database, key_on};

/// The numbers of the process's sockets.
fn sockets(pid: i32) -> Vec<i32> {
    let all = procfs::descriptors(pid).into_iter();
    all.filter(|(_, to)| to.starts_with("socket:")).map(|(number, _)| number).collect()
}

#[test]
fn a_forked_child_has_none_of_our_sockets() {
    for server in servers::both() {
        // Ours begin above the 128 that the server adds to its own.
        let database = Database::with(&server, 2, &["maxclients 100"]);
        let ours = |pid| sockets(pid).iter().filter(|number| **number >= 228).count();
        let host = &database.host;
        let mut clients: Vec<Client> = (0..20).map(|_| database.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.call(&["SET", &key_on(number % 2, 0), "v"]), ok());
        }
        assert!(ours(host.pid()) > 20);

        // Data of its own, which takes it two seconds to save.
        let mut operator = host.host_client();
        let sets: Vec<Vec<String>> =
            (0..100).map(|n| vec!["SET".into(), n.to_string(), "v".into()]).collect();
        operator.pipeline(&sets);
        assert_eq!(operator.command("CONFIG SET rdb-key-save-delay 20000"), ok());
        assert_eq!(operator.command("BGSAVE"), simple("Background saving started"));
        let child = lab::within(Duration::from_secs(1), || procfs::children(host.pid()).pop())
            .expect("a child saves");
        lab::eventually("the child has closed what is not its own", || ours(child) == 0);
        assert!(ours(host.pid()) > 20);
        for client in &mut clients {
            assert_eq!(client.command("PING").text(), "PONG");
        }

        // The child lives on, and must not keep the endpoint's port.
        host.kill9();
        assert!(!sockets(child).is_empty() || procfs::is_there(child), "it is still saving");
        for client in &mut clients {
            client.assert_closed();
        }
        host.restart();
        assert_eq!(database.client().call(&["GET", &key_on(0, 0)]).text(), "v");
    }
}

#[test]
fn thousands_of_clients_take_nothing_from_the_hosts_own() {
    const MANY: usize = 4_000;
    procfs::allow_descriptors(MANY as u64 + 1_000, MANY as u64 + 1_000);
    for server in servers::both() {
        let database =
            Database::with(&server, 2, &["maxclients 200", "weir.threads 2", "weir.intercept no"]);
        let host = &database.host;
        lab::eventually("the shards are there", || {
            database.client().command("DBSIZE").error_text().is_none()
        });
        let before = sockets(host.pid()).len();
        let mut clients: Vec<Client> = (0..MANY).map(|_| database.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&["SET", &format!("key:{number}"), &number.to_string()]);
        }
        for client in &mut clients {
            assert_eq!(client.read(), ok());
        }
        assert_eq!(host.info_weir().int("weir_connected_clients"), MANY as i64);

        // All that the host itself may have.
        let mut own: Vec<Client> = (0..150).map(|_| host.host_client()).collect();
        for (number, client) in own.iter_mut().enumerate() {
            assert_eq!(client.call(&["SET", "k", &number.to_string()]), ok());
            assert_eq!(client.command("GET k").text(), number.to_string());
        }
        assert_eq!(own[0].command("DBSIZE").int(), 1, "the endpoint's data is not the host's");
        for (number, client) in clients.iter_mut().enumerate().step_by(97) {
            assert_eq!(client.call(&["GET", &format!("key:{number}")]).text(), number.to_string());
        }
        drop(clients);
        drop(own);
        lab::eventually("all sockets are closed", || sockets(host.pid()).len() <= before);
        assert_eq!(host.info_weir().int("weir_connected_clients"), 0);
    }
}

/// Loads the module as it was loaded at start.
fn load(database: &Database) -> Value {
    let (module, port) = (servers::module_path(), database.host.endpoint_port().to_string());
    let upstream = database.shards.upstream();
    database.host.host_client().call(&[
        "MODULE",
        "LOADEX",
        module.to_str().unwrap(),
        "CONFIG",
        "weir.upstream",
        &upstream,
        "CONFIG",
        "weir.port",
        &port,
        "CONFIG",
        "weir.threads",
        "2",
    ])
}

#[test]
fn unloading_under_load_closes_all_and_leaves_nothing() {
    for server in servers::both() {
        let lines = ["enable-module-command yes", "weir.threads 2"];
        let database = Database::with(&server, 2, &lines);
        let host = &database.host;
        let mut operator = host.host_client();
        for round in 0..3 {
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for number in 0..8 {
                    let (database, stop) = (&database, &stop);
                    scope.spawn(move || {
                        let key = key_on(number % 2, number);
                        let mut client = database.client();
                        while !stop.load(Ordering::Relaxed) {
                            let set = client.try_call(&["SET", &key, "v"]);
                            let waited = set.and_then(|_| client.try_call(&["WAIT", "1", "100"]));
                            if waited.is_err() {
                                return;
                            }
                        }
                    });
                }
                lab::pause(Duration::from_millis(200));
                assert_eq!(operator.command("MODULE UNLOAD weir"), ok(), "round {round}");
                stop.store(true, Ordering::Relaxed);
            });
            let threads = procfs::threads(host.pid());
            assert!(!threads.iter().any(|name| name.starts_with("weir")), "{threads:?}");
            // The operator's connection and the server's listener, and what it had from the start.
            assert!(sockets(host.pid()).len() <= 4, "{:?}", procfs::descriptors(host.pid()));
            assert!(Client::try_connect(&host.endpoint()).is_err(), "nobody listens any more");
            assert_eq!(load(&database), ok());
            let mut client = Client::try_connect_within(&host.endpoint(), Duration::from_secs(10))
                .expect("the endpoint is back");
            assert_eq!(client.call(&["SET", "k", "v"]), ok());
        }
    }
}

#[test]
fn a_host_restarts_on_the_same_port() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let host: &Host = &database.host;
        for killed in [true, false, true] {
            let mut clients: Vec<Client> = (0..10).map(|_| database.client()).collect();
            for client in &mut clients {
                assert_eq!(client.call(&["SET", "k", "v"]), ok());
            }
            if killed {
                host.kill9();
            } else {
                assert!(host.term().success(), "{}", host.log());
            }
            for client in &mut clients {
                client.assert_closed();
            }
            host.restart();
            assert_eq!(database.client().command("GET k").text(), "v");
        }
        // The shards have nothing left of the hosts that were.
        for shard in database.shards.iter() {
            lab::eventually("only this host's connections are there", || {
                let list = shard.primary.client().command("CLIENT LIST").text();
                list.lines().filter(|line| line.contains("name=weir")).count() <= 3
            });
        }
    }
}
