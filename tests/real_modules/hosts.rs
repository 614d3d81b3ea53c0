//! A host that has data of its own all the same: what replication and files bring is the host's,
//! and none of it goes to the shards.

use lab::client::{Client, Value, bulk, ok};
use lab::cluster::Shards;
use lab::process::Proc;
use lab::servers;

use super::{Stage, compile};

/// What the host itself has.
fn own(client: &mut Client, command: &str) -> Value {
    client.command(&format!("PROBE.CALL E {command}"))
}

#[test]
fn a_replicas_stream_is_the_hosts_own() {
    for server in servers::both() {
        let primary = Proc::of(&server).start();
        let place = format!("replicaof 127.0.0.1 {}", primary.port());
        let shards = Shards::of(&server).replicas(0);
        let stage = Stage::with(&server, shards, compile::probe(), |host| host.line(place));
        let client = &mut stage.host.host_client();
        lab::eventually("it is a replica", || {
            stage.host.info("replication").get("master_link_status") == Some("up")
        });

        let mut source = primary.client();
        assert_eq!(source.command("SET k source"), ok());
        assert_eq!(source.command("SELECT 1"), ok());
        assert_eq!(source.command("SET k source1"), ok());
        assert_eq!(source.command("SELECT 0"), ok());
        assert_eq!(source.command("SET gone 1 PX 1"), ok());
        assert_eq!(source.command("MULTI"), ok());
        for command in ["INCR n", "RPUSH l a", "INCR n"] {
            assert_eq!(source.command(command).text(), "QUEUED");
        }
        assert_eq!(source.command("EXEC").items().len(), 3);
        let script = "redis.call('SET', 'lua', '1') return redis.call('INCR', 'n')";
        assert_eq!(source.call(&["EVAL", script, "0"]), Value::Int(3));
        assert_eq!(source.command("WAIT 1 20000"), Value::Int(1), "it goes on to acknowledge");
        assert_eq!(own(client, "GET k"), bulk("source"));
        assert_eq!(own(client, "GET n"), bulk("3"));
        assert_eq!(own(client, "GET lua"), bulk("1"));
        assert_eq!(own(client, "LLEN l"), Value::Int(1));

        // Clients of its port get the database meanwhile, and may write to it.
        assert_eq!(client.command("DBSIZE"), Value::Int(0), "nothing came through");
        assert_eq!(client.command("SET k shards"), ok());
        assert_eq!(client.command("GET k"), bulk("shards"));
        assert_eq!(client.command("PROBE.SAY GET k").text(), "string 6 shards");
        assert_eq!(own(client, "GET k"), bulk("source"));

        // From now on it is nobody's replica; and then one again, from the beginning. Who waits for
        // the shards is then told by the server itself.
        assert_eq!(client.command("REPLICAOF NO ONE"), ok());
        assert_eq!(client.command("GET k"), bulk("shards"));
        let mut waiting = stage.host.host_client();
        waiting.send(&["BLPOP", "nothing", "0"]);
        lab::eventually("it waits", || {
            stage.host.client().command("CLIENT LIST").text().contains("cmd=blpop")
        });
        let place = format!("REPLICAOF 127.0.0.1 {}", primary.port());
        assert_eq!(client.command(&place), ok());
        assert!(waiting.read().is_error("UNBLOCKED"));
        waiting.assert_closed();
        assert_eq!(source.command("INCR n"), Value::Int(4));
        lab::eventually("it has caught up", || own(client, "GET n") == bulk("4"));
        assert_eq!(client.command("DBSIZE"), Value::Int(1));
        assert_eq!(client.command("GET k"), bulk("shards"));
    }
}

#[test]
fn an_append_only_file_is_the_hosts_own() {
    for server in servers::both() {
        let shards = Shards::of(&server).replicas(0);
        let stage = Stage::with(&server, shards, compile::probe(), |host| {
            host.line("appendonly yes").line("appendfsync always")
        });
        let client = &mut stage.host.host_client();
        assert_eq!(client.command("SET k shards"), ok());
        assert_eq!(client.command("INCR n"), Value::Int(1));
        for command in ["SET k host", "INCR n", "INCR n", "RPUSH l a b"] {
            let told = client.command(&format!("PROBE.CALL !E {command}"));
            assert_eq!(told.error_text(), None);
        }
        stage.host.restart();
        let client = &mut stage.host.host_client();
        assert_eq!(own(client, "GET k"), bulk("host"));
        assert_eq!(own(client, "GET n"), bulk("2"));
        assert_eq!(own(client, "LLEN l"), Value::Int(2));
        assert_eq!(client.command("GET k"), bulk("shards"));
        assert_eq!(stage.host.client().command("GET n"), bulk("1"));
        assert_eq!(stage.host.client().command("EXISTS l"), Value::Int(0));
        assert_eq!(stage.host.client().command("DBSIZE"), Value::Int(2));
    }
}
