//! Whose writes count, and who waits.

use lab::client::{Client, Value, bulk, error, ok};
use lab::cluster::{Aof, Shards};
use lab::servers::{Server, both};

use crate::stage::{SILENCE, Stage, key_of};

/// One shard, one replica, and more workers than one, so that clients who speak of each other are
/// not neighbours.
fn stage(server: &Server) -> Stage {
    let plan = Shards::of(server).shards(1).aof(Aof::Always);
    Stage::with(server, plan, |host| host.line("weir.threads 2"))
}

#[test]
fn a_pipeline_of_writes_and_waits_is_answered_in_order() {
    for server in both() {
        let stage = stage(&server);
        let commands: Vec<Vec<&str>> = [
            "GET none",
            "SET k 1",
            "WAIT 1 0",
            "INCR k",
            "WAITAOF 1 1 0",
            "WAIT x 0",
            "GET k",
            "WAIT 2 20",
            "SET k 3",
            "WAITAOF 0 1 0",
            "PING",
        ]
        .iter()
        .map(|line| line.split(' ').collect())
        .collect();
        let stock = stage.bare().pipeline(&commands);
        assert_eq!(stock[4].ints(), [1, 1]);
        assert_eq!(stage.via().pipeline(&commands), stock);
        // Many of them, behind one another.
        let many: Vec<Vec<&str>> = (0..20).flat_map(|_| commands.clone()).collect();
        let replies = stage.via().pipeline(&many);
        for (at, reply) in replies.iter().enumerate() {
            assert_eq!(reply, &stock[at % commands.len()], "{:?}", many[at]);
        }
    }
}

/// What was acknowledged stays acknowledged, whatever others have written since.
#[test]
fn others_writes_are_not_waited_for() {
    for server in both() {
        let stage = stage(&server);
        let script = ["SET early v", "WAIT 1 0", "WAITAOF 1 1 0"];
        let mut early = [stage.bare(), stage.via()];
        for client in &mut early {
            let replies: Vec<Value> = script.iter().map(|line| client.command(line)).collect();
            assert_eq!(replies[1..], [Value::Int(1), Value::Array(vec![Value::Int(1); 2])]);
        }
        stage.shards.replica(0, 0).stop();
        let mut late = stage.via();
        assert_eq!(late.command("SET late v"), ok());
        late.send(&["WAIT", "1", "0"]);
        assert!(late.is_silent(SILENCE));
        for client in &mut early {
            assert_eq!(client.command("WAIT 1 0").int(), 1);
            assert_eq!(client.command("WAIT 2 50").int(), 1);
            assert_eq!(client.command("WAITAOF 1 1 0").ints(), [1, 1]);
            assert_eq!(client.command("WAIT 0 0").int(), 1);
            assert_eq!(client.command("SET early w"), ok());
            assert_eq!(client.command("WAIT 1 50").int(), 0);
        }
        stage.shards.replica(0, 0).cont();
        assert_eq!(late.read().int(), 1);
    }
}

#[test]
fn a_client_that_leaves_is_waited_for_no_longer() {
    for server in both() {
        let stage = stage(&server);
        let replica = stage.shards.replica(0, 0);
        replica.stop();
        let mut leaving: Vec<Client> = (0..20).map(|_| stage.via()).collect();
        for (number, client) in leaving.iter_mut().enumerate() {
            client.command("SET k v");
            let question =
                ["WAIT 1 0", "WAITAOF 0 1 0", "WAIT 2 60000", "WAITAOF 1 2 0"][number % 4];
            client.send(&question.split(' ').collect::<Vec<_>>());
        }
        stage.await_waiters(20);
        assert_eq!(stage.said_of(0, "waiters"), "20");
        leaving.truncate(7);
        stage.await_waiters(7);
        // Some say goodbye, others just go.
        leaving.drain(..).for_each(|mut client| client.send(&["QUIT"]));
        stage.await_waiters(0);
        assert_eq!(stage.said_of(0, "waiters"), "0");
        replica.cont();
        assert_eq!(stage.via().command("WAIT 1 0").int(), 1);
    }
}

#[test]
fn client_unblock_works_as_on_a_primary() {
    for server in both() {
        let stage = stage(&server);
        stage.shards.replica(0, 0).stop();
        let cases = [
            ("WAIT 1 0", "", Value::Int(0)),
            ("WAIT 1 60000", " TIMEOUT", Value::Int(0)),
            ("WAITAOF 1 1 0", " timeout", Value::Array(vec![Value::Int(1), Value::Int(0)])),
            ("WAIT 1 0", " ERROR", error("UNBLOCKED client unblocked via CLIENT UNBLOCK")),
            ("WAITAOF 0 1 0", " error", error("UNBLOCKED client unblocked via CLIENT UNBLOCK")),
        ];
        let (mut bare_other, mut via_other) = (stage.bare(), stage.via());
        for (question, how, expected) in cases {
            let players = [(stage.bare(), &mut bare_other), (stage.via(), &mut via_other)];
            for (mut client, other) in players {
                let id = client.command("CLIENT ID").int();
                let unblock = format!("CLIENT UNBLOCK {id}{how}");
                assert_eq!(other.command(&unblock).int(), 0, "it doesn't wait yet");
                client.command("SET k v");
                client.send(&question.split(' ').collect::<Vec<_>>());
                assert!(client.is_silent(SILENCE));
                assert_eq!(other.command(&unblock).int(), 1, "{question}{how}");
                assert_eq!(client.read(), expected, "{question}{how}");
                assert_eq!(other.command(&unblock).int(), 0, "it waits no longer");
                assert_eq!(client.command("PING").text(), "PONG");
            }
        }
        stage.await_waiters(0);
    }
}

#[test]
fn a_killed_waiter_is_gone() {
    for server in both() {
        let stage = stage(&server);
        stage.shards.replica(0, 0).stop();
        let mut client = stage.via();
        let id = client.command("CLIENT ID").int();
        client.command("SET k v");
        client.send(&["WAIT", "1", "0"]);
        stage.await_waiters(1);
        assert_eq!(stage.via().command(&format!("CLIENT KILL ID {id}")).int(), 1);
        client.assert_closed();
        stage.await_waiters(0);
    }
}

#[test]
fn large_values_and_muted_writes_are_waited_for_too() {
    for server in both() {
        let stage = stage(&server);
        let replica = stage.shards.replica(0, 0);
        let large = "x".repeat(8 << 20);
        let key = key_of(0, 1);
        let mut via = stage.via();
        assert_eq!(via.call(&["SET", &key, &large]), ok());
        assert_eq!(via.command("WAIT 1 0").int(), 1);
        assert_eq!(replica.client().call(&["GET", &key]), bulk(&large));

        replica.stop();
        for silence in ["OFF", "SKIP"] {
            let mut via = stage.via();
            via.send(&["CLIENT", "REPLY", silence]);
            via.send(&["SET", &key, "muted"]);
            if silence == "OFF" {
                via.send(&["CLIENT", "REPLY", "ON"]);
                assert_eq!(via.read(), ok());
            }
            assert_eq!(via.command("WAIT 1 100").int(), 0, "{silence}");
        }
    }
}
