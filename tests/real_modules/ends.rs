//! Each callback comes exactly once, whatever ends.

use lab::client::{Client, Value, ok};
use lab::cluster::Shards;
use lab::servers;

use super::{Stage, compile};

fn say(client: &mut Client, command: &str) -> String {
    client.command(&format!("PROBE.SAY {command}")).text()
}

/// What was submitted, if as much has been called back.
fn settled(client: &mut Client) -> i64 {
    let mut counts = Vec::new();
    lab::eventually("all is called back", || {
        counts = client.command("PROBE.COUNTS").ints();
        counts[0] <= counts[1]
    });
    assert_eq!(counts[0], counts[1], "nothing is called back twice");
    counts[0]
}

#[test]
fn a_session_that_ends_is_told_of_what_it_was_owed() {
    for server in servers::both() {
        let stage = Stage::of(&server, Shards::of(&server).replicas(0), compile::probe());
        let client = &mut stage.host.host_client();
        // Closed by its module while a thousand are under way, behind one that waits for ever.
        assert_eq!(client.command("PROBE.FLOOD 1 BLPOP nothing 0"), Value::Int(1));
        assert_eq!(client.command("PROBE.FLOOD 1000 INCR n"), Value::Int(1000));
        assert_eq!(client.command("PROBE.CLOSE"), ok());
        assert_eq!(settled(client), 1001);
        assert_eq!(say(client, "PING"), "status 4 PONG");

        // Ended by somebody else: what comes behind is told the same, until another is opened.
        let mut waiting = stage.host.host_client();
        waiting.send(&["PROBE.SAY", "BLPOP", "nothing", "0"]);
        let id = stage.host.client().command("CLIENT LIST").text();
        let line = id.lines().find(|line| line.contains("addr=probe_module:0")).unwrap();
        let id = line.strip_prefix("id=").unwrap().split(' ').next().unwrap();
        let killed = stage.host.client().command(&format!("CLIENT KILL ID {id}"));
        assert_eq!(killed, Value::Int(1));
        assert!(waiting.read().text().starts_with("gone "));
        assert!(say(client, "PING").starts_with("gone "));
        let told = client.command("PROBE.WAIT 0 100").text();
        assert!(told.starts_with("error IOERR the session is gone"), "{told}");
        assert_eq!(client.command("PROBE.CLOSE"), ok());
        assert_eq!(say(client, "PING"), "status 4 PONG");
        settled(client);
    }
}

/// The module is unloaded while callbacks are under way: none comes to where its code was.
#[test]
fn a_module_that_leaves_is_called_back_before() {
    for server in servers::both() {
        let stage =
            Stage::with(&server, Shards::of(&server).replicas(0), compile::probe(), |host| {
                host.line("weir.threads 2")
            });
        let client = &mut stage.host.host_client();
        for _ in 0..5 {
            assert_eq!(client.command("PROBE.FLOOD 1 BLPOP nothing 0"), Value::Int(1));
            assert_eq!(client.command("PROBE.FLOOD 20000 INCR n"), Value::Int(20000));
            assert_eq!(client.command("PROBE.CLOSE"), ok());
            assert_eq!(client.command("PROBE.FLOOD 20000 INCR m"), Value::Int(20000));
            let told = client.command("MODULE UNLOAD weir");
            assert!(told.error_text().unwrap().contains("other modules"), "{told:?}");
            assert_eq!(client.command("MODULE UNLOAD probe"), ok());
            let load = format!("MODULE LOAD {}", compile::probe().display());
            assert_eq!(client.command(&load), ok());
        }
        // Though no shard answers.
        stage.shards.iter().for_each(|shard| shard.primary.stop());
        assert_eq!(client.command("PROBE.FLOOD 20000 INCR n"), Value::Int(20000));
        assert_eq!(client.command("MODULE UNLOAD probe"), ok());
        stage.shards.iter().for_each(|shard| shard.primary.cont());
        assert_eq!(client.command("MODULE UNLOAD weir"), ok());
        assert!(!stage.host.log().contains("a bug in"), "{}", stage.host.log_end());
    }
}

#[test]
fn a_server_that_shuts_down_calls_back_first() {
    for server in servers::both() {
        for stuck in [false, true] {
            let stage = Stage::of(&server, Shards::of(&server).replicas(0), compile::probe());
            let client = &mut stage.host.host_client();
            assert_eq!(say(client, "SET k 1"), "status 2 OK");
            if stuck {
                stage.shards.iter().for_each(|shard| shard.primary.stop());
            }
            assert_eq!(client.command("PROBE.FLOOD 3000 INCR n"), Value::Int(3000));
            assert!(stage.host.term().success());
            stage.shards.iter().for_each(|shard| shard.primary.cont());
            let log = stage.host.log();
            assert!(log.contains("probe: submitted 3001 called 3001"), "{}", stage.host.log_end());
        }
    }
}

/// A session takes so much, and no more; what it took is answered.
#[test]
fn what_is_owed_is_bounded() {
    for server in servers::both() {
        let stage = Stage::of(&server, Shards::of(&server).replicas(0), compile::probe());
        let client = &mut stage.host.host_client();
        assert_eq!(client.command("PROBE.FLOOD 1 BLPOP nothing 1"), Value::Int(1));
        assert_eq!(client.command("PROBE.FLOOD 70000 INCR n"), Value::Int(65535));
        assert_eq!(client.command("PROBE.FLOOD 1 PING"), Value::Int(0));
        assert_eq!(settled(client), 65536);
        assert_eq!(say(client, "GET n"), "string 5 65535");
    }
}
