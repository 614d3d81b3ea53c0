//! `examples/ledger.c`.

use std::path::Path;

use lab::client::{Client, Value, ok};
use lab::cluster::Shards;
use lab::process::Proc;
use lab::servers;

use super::{Stage, compile};

/// Each build on each server: one is loaded from the beginning, the other in its place.
#[test]
fn it_answers_when_a_replica_has_what_it_wrote() {
    let [c, cxx] =
        [compile::C, compile::CXX].map(|built| compile::module(built, "examples/ledger.c"));
    for (server, [module, other]) in servers::both().iter().zip([[&c, &cxx], [&cxx, &c]]) {
        let stage = Stage::of(server, Shards::of(server).shards(2), &module.path);
        let mut client = stage.host.host_client();
        let mut via = stage.host.client();
        assert_eq!(client.command("LEDGER.ADD alice 30 1 20000"), Value::Int(30));
        assert_eq!(client.command("LEDGER.ADD alice 12 1 20000"), Value::Int(42));
        assert_eq!(client.command("LEDGER.ADD bob -5 1 20000"), Value::Int(-5));
        assert_eq!(via.command("MGET alice bob").encode(), b"*2\r\n$2\r\n42\r\n$2\r\n-5\r\n");
        let of_host = stage.host.info("keyspace");
        assert_eq!(of_host.get("db0"), None, "the host itself keeps nothing");

        let wrong = client.command("LEDGER.ADD alice much 1 100");
        assert!(wrong.is_error("ERR"), "{wrong:?}");
        assert_eq!(via.command("LPUSH list x"), Value::Int(1));
        let wrong = client.command("LEDGER.ADD list 1 1 100");
        assert!(wrong.is_error("WRONGTYPE"), "{wrong:?}");

        with_a_stopped_replica(&stage, &mut client);
        with_many_clients(&stage);
        where_it_cant_wait(&mut client);
        unloaded(&stage, &mut client, &other.path);
    }
}

/// Never a replica that has not got it.
fn with_a_stopped_replica(stage: &Stage, client: &mut Client) {
    for shard in stage.shards.iter() {
        shard.replicas[0].stop();
    }
    let told = client.command("LEDGER.ADD alice 1 1 200");
    assert!(told.is_error("NOREPLICAS"), "{told:?}");
    assert!(told.error_text().unwrap().contains("only 0 replicas"), "{told:?}");
    // It goes on meanwhile, and holds up nobody.
    assert_eq!(client.command("LEDGER.ADD alice 1 0 200"), Value::Int(44));
    for shard in stage.shards.iter() {
        shard.replicas[0].cont();
    }
    assert_eq!(client.command("LEDGER.ADD alice 1 1 20000"), Value::Int(45));
    let told = client.command("LEDGER.ADD alice 1 2 100");
    assert!(told.error_text().unwrap().contains("only 1 replicas"), "{told:?}");
}

/// Each waits for its own write, and the module stays as long as one waits.
fn with_many_clients(stage: &Stage) {
    let mut clients: Vec<_> = (0..50).map(|_| stage.host.host_client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        for _ in 0..20 {
            client.send(&["LEDGER.ADD", &format!("of:{}", number % 10), "1", "1", "20000"]);
        }
    }
    for client in &mut clients {
        for _ in 0..20 {
            assert!(matches!(client.read(), Value::Int(1..=100)));
        }
    }
    for number in 0..10 {
        let balance = stage.host.client().command(&format!("GET of:{number}"));
        assert_eq!(balance.bytes(), b"100");
    }
    let (first, rest) = clients.split_first_mut().unwrap();
    first.send(&["LEDGER.ADD", "carol", "1", "2", "1000"]);
    lab::eventually("it is written", || {
        stage.host.client().command("GET carol") == lab::client::bulk("1")
    });
    let told = rest[0].command("MODULE UNLOAD ledger");
    assert!(told.error_text().unwrap().contains("blocked clients"), "{told:?}");
    assert!(first.read().is_error("NOREPLICAS"));
}

/// A client in a transaction of the host, or a script, can't be made to wait.
fn where_it_cant_wait(client: &mut Client) {
    let told = client.command("EVAL return(redis.call('LEDGER.ADD','alice','1','0','9')) 0");
    assert!(told.error_text().is_some(), "{told:?}");
}

fn unloaded(stage: &Stage, client: &mut Client, module: &Path) {
    let told = client.command("MODULE UNLOAD weir");
    assert!(told.error_text().unwrap().contains("other modules"), "{told:?}");
    assert_eq!(client.command("MODULE UNLOAD ledger"), ok());
    // Now it is data like any other that the shards don't know.
    let told = client.command("LEDGER.ADD alice 1 0 100");
    assert!(told.error_text().unwrap().contains("unknown command"), "{told:?}");
    assert_eq!(client.command(&format!("MODULE LOAD {}", module.display())), ok());
    assert_eq!(client.command("LEDGER.ADD alice 1 0 20000"), Value::Int(47));
    assert_eq!(client.command("MODULE UNLOAD ledger"), ok());
    assert_eq!(client.command("MODULE UNLOAD weir"), ok());
    assert_eq!(client.command("GET alice").encode(), b"$-1\r\n", "the host's own data");
    let told = client.command(&format!("MODULE LOAD {}", module.display()));
    assert!(told.error_text().is_some(), "without Weir it can't be loaded: {told:?}");
    assert!(stage.host.log().contains("the module weir must be loaded before this one"));
}

/// A server that shuts down while clients wait: they are told, and it ends in good order.
#[test]
fn a_shutdown_is_held_up_by_nobody_who_waits() {
    for server in servers::both() {
        let module = compile::module(compile::C, "examples/ledger.c");
        let stage = Stage::of(&server, Shards::of(&server).shards(2), &module.path);
        let mut clients: Vec<_> = (0..20).map(|_| stage.host.host_client()).collect();
        for client in &mut clients {
            client.send(&["LEDGER.ADD", "alice", "1", "2", "20000"]);
        }
        lab::eventually("all have written", || {
            stage.host.client().command("GET alice") == lab::client::bulk("20")
        });
        assert!(stage.host.term().success(), "{}", stage.host.log_end());
        assert!(!stage.host.log().contains("a bug in"), "{}", stage.host.log_end());
    }
}

#[test]
fn loaded_before_weir_it_says_so() {
    let module = compile::module(compile::C, "examples/ledger.c");
    for server in servers::both() {
        let lines = [
            format!("loadmodule {}", module.path.display()),
            format!("loadmodule {}", servers::module_path().display()),
        ];
        let refused = Proc::try_start(&server, &lines).expect_err("the wrong order");
        assert!(refused.0.contains("weir must be loaded before"), "{}", refused.0);
    }
}
