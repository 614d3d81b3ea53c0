//! A client of several shards: the smallest of those that it wrote to.

use lab::client::{Client, ok};
use lab::cluster::{Aof, Shards};
use lab::servers::{Server, both};

use crate::stage::{SILENCE, Stage, at_deadline, key_of};

fn two_shards(server: &Server) -> Stage {
    Stage::of(server, Shards::of(server).shards(2).replicas(1).aof(Aof::Always))
}

/// A new client that has written to these shards, of two.
fn writer(stage: &Stage, shards: &[usize]) -> Client {
    let mut client = stage.via();
    for &shard in shards {
        assert_eq!(client.call(&["SET", &key_of(shard, 2), "v"]), ok());
    }
    client
}

#[test]
fn the_smallest_counts_and_only_of_those_written_to() {
    for server in both() {
        let stage = two_shards(&server);
        let third = stage.attach_replica(1, &["appendonly yes", "appendfsync always"]);
        for (shards, count) in [(&[0][..], 1), (&[1], 2), (&[0, 1], 1)] {
            at_deadline(&[count], || writer(&stage, shards).command("WAIT 2 300"));
        }
        at_deadline(&[1], || stage.via().command("WAIT 2 300"));
        drop(third);

        stage.shards.replica(1, 0).stop();
        for (shards, count) in [(&[0][..], 1), (&[1], 0), (&[0, 1], 0), (&[1, 0], 0)] {
            at_deadline(&[count], || writer(&stage, shards).command("WAIT 1 300"));
        }
        assert_eq!(writer(&stage, &[0]).command("WAIT 1 0").int(), 1, "the other holds up nobody");
        assert_eq!(stage.via().command("WAIT 1 0").int(), 1);
        let mut both = writer(&stage, &[0, 1]);
        both.send(&["WAIT", "1", "0"]);
        assert!(both.is_silent(SILENCE));
        stage.shards.replica(1, 0).cont();
        assert_eq!(both.read().int(), 1);
    }
}

#[test]
fn a_command_for_several_shards_is_a_write_on_each() {
    for server in both() {
        let stage = two_shards(&server);
        let (here, there) = (key_of(0, 2), key_of(1, 2));
        let commands: [&[&str]; 5] = [
            &["MSET", &here, "v", &there, "w"],
            &["DEL", &there, &here],
            &["FLUSHALL"],
            &["SCRIPT", "FLUSH"],
            &["UNLINK", "none:1", "none:2", &here, &there],
        ];
        for command in commands {
            let mut client = stage.via();
            assert_eq!(client.call(command).error_text(), None, "{command:?}");
            assert_eq!(client.command("WAIT 1 0").int(), 1, "{command:?}");
        }
        for stopped in 0..2 {
            let replica = stage.shards.replica(stopped, 0);
            replica.stop();
            let mut client = stage.via();
            assert_eq!(client.call(commands[0]), ok());
            assert_eq!(client.command("WAIT 1 100").int(), 0);
            assert_eq!(client.command("WAITAOF 1 1 500").ints(), [1, 0]);
            client.send(&["WAITAOF", "1", "1", "0"]);
            assert!(client.is_silent(SILENCE));
            replica.cont();
            assert_eq!(client.read().ints(), [1, 1]);
        }
    }
}

/// One shard has it on its replica's disk and not on its own, the other the other way round: the
/// truth is neither pair.
#[test]
fn each_number_of_the_pair_is_the_smallest_by_itself() {
    for server in both() {
        let stage = two_shards(&server);
        let mut config = stage.bare();
        assert_eq!(config.command("CONFIG SET appendfsync no"), ok());
        stage.shards.replica(1, 0).stop();
        at_deadline(&[0, 1], || writer(&stage, &[0]).command("WAITAOF 1 1 300"));
        at_deadline(&[1, 0], || writer(&stage, &[1]).command("WAITAOF 1 1 300"));
        at_deadline(&[0, 0], || writer(&stage, &[0, 1]).command("WAITAOF 1 1 300"));
        assert_eq!(config.command("CONFIG SET appendfsync always"), ok());
        stage.shards.replica(1, 0).cont();
        let mut both = writer(&stage, &[0, 1]);
        assert_eq!(both.command("WAITAOF 1 1 0").ints(), [1, 1]);
    }
}

#[test]
fn a_shard_without_a_file_is_an_error_for_all() {
    for server in both() {
        let stage = two_shards(&server);
        let mut config = stage.shards.primary(1).client();
        assert_eq!(config.command("CONFIG SET appendonly no"), ok());
        let stock = config.command("WAITAOF 1 0 0");
        assert!(stock.is_error("ERR"), "{stock:?}");
        assert_eq!(writer(&stage, &[0]).command("WAITAOF 1 0 0").ints()[0], 1);
        assert_eq!(writer(&stage, &[1]).command("WAITAOF 1 0 0"), stock);
        assert_eq!(writer(&stage, &[0, 1]).command("WAITAOF 1 0 0"), stock);
        assert_eq!(stage.via().command("WAITAOF 1 0 0"), stock);
    }
}
