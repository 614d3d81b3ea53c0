//! WAITAOF beside the primary's own.

use lab::client::{Value, ok};
use lab::cluster::{Aof, Shards};
use lab::servers::both;

use crate::stage::Stage;

const DISABLED: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

fn pairs(replies: &[Value]) -> Vec<Vec<i64>> {
    replies.iter().filter(|reply| matches!(reply, Value::Array(_))).map(Value::ints).collect()
}

#[test]
fn fsynced_here_and_there() {
    for server in both() {
        for aof in [Aof::Always, Aof::EverySecond] {
            let stage = Stage::of(&server, Shards::of(&server).shards(1).replicas(2).aof(aof));
            let script = ["SET k v", "WAITAOF 1 2 0", "WAITAOF 0 2 0", "WAITAOF 1 0 0"];
            assert_eq!(pairs(&stage.same(&script)), [[1, 2], [1, 2], [1, 2]], "{aof:?}");
            let script = ["WAITAOF 0 0 0", "WAITAOF 1 2 0", "WAITAOF 1 3 1500", "WAIT 2 0"];
            assert_eq!(pairs(&stage.same(&script)), [[1, 2], [1, 2], [1, 2]], "{aof:?}");
            let mut via = stage.via();
            assert_eq!(via.command("SET k v"), ok());
            assert_eq!(via.command("WAITAOF 0 1 0").ints()[1].min(1), 1);
            assert_eq!(via.command("WAITAOF 1 9999 50").ints().len(), 2);
        }
    }
}

#[test]
fn a_file_that_is_never_synced_is_never_counted() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1).aof(Aof::No));
        // Before the first write there is nothing that isn't on disk.
        assert_eq!(pairs(&stage.same(&["WAITAOF 1 1 0"])), [[1, 1]]);
        let mut bare = stage.bare();
        assert_eq!(bare.command("SET k v"), ok());
        let script =
            ["SET k v", "WAITAOF 1 0 100", "WAITAOF 0 1 100", "WAITAOF 1 1 100", "WAIT 1 0"];
        assert_eq!(pairs(&stage.same(&script)), [[0, 0], [0, 0], [0, 0]]);
    }
}

/// Where nobody replicates, what moves an offset for replicas doesn't move it: a barrier for them
/// would be about nothing, and the answer "it is on disk".
#[test]
fn without_a_replica_the_own_file_is_asked_all_the_same() {
    for server in both() {
        for (aof, local) in [(Aof::No, 0), (Aof::EverySecond, 1), (Aof::Always, 1)] {
            let stage = Stage::of(&server, Shards::of(&server).shards(1).replicas(0).aof(aof));
            assert_eq!(stage.shards.primary(0).info("replication").int("repl_backlog_active"), 0);
            let wait = if local == 1 { "WAITAOF 1 0 0" } else { "WAITAOF 1 0 100" };
            let mut via = stage.via();
            for _ in 0..3 {
                assert_eq!(via.command("SET k v"), ok());
                assert_eq!(via.command(wait).ints(), [local, 0], "{aof:?}");
            }
            let script = ["SET k v", wait, "WAITAOF 0 1 50", "WAIT 1 50", "WAIT 0 0"];
            assert_eq!(pairs(&stage.same(&script)), [[local, 0]; 2], "{aof:?}");
        }
    }
}

#[test]
fn replicas_without_a_file_are_not_counted() {
    for server in both() {
        let plan = Shards::of(&server).shards(1).aof(Aof::Always).replica_aof(Aof::Off);
        let stage = Stage::of(&server, plan);
        let script = ["SET k v", "WAITAOF 1 0 0", "WAITAOF 0 1 100", "WAIT 1 0"];
        assert_eq!(pairs(&stage.same(&script)), [[1, 0], [1, 0]]);
    }
}

#[test]
fn a_primary_without_a_file_says_so() {
    for server in both() {
        let plan = Shards::of(&server).shards(1).replica_aof(Aof::Always);
        let stage = Stage::of(&server, plan);
        let script =
            ["WAITAOF 1 0 0", "SET k v", "WAITAOF 1 1 0", "WAITAOF 1 0 50", "WAITAOF 0 1 0"];
        let replies = stage.same(&script);
        for at in [0, 2, 3] {
            assert_eq!(replies[at].error_text().as_deref(), Some(DISABLED));
        }
        assert_eq!(replies[4].ints(), [0, 1]);
        // It may be switched on and off while we are here.
        let mut config = stage.bare();
        assert_eq!(config.command("CONFIG SET appendonly yes"), ok());
        lab::eventually("the file is there", || {
            let info = stage.shards.primary(0).info("persistence");
            info.int("aof_rewrite_in_progress") == 0 && info.int("aof_rewrite_scheduled") == 0
        });
        assert_eq!(pairs(&stage.same(&["SET k v", "WAITAOF 1 1 0"])), [[1, 1]]);
        assert_eq!(config.command("CONFIG SET appendonly no"), ok());
        let replies = stage.same(&["SET k v", "WAITAOF 1 1 0"]);
        assert_eq!(replies[1].error_text().as_deref(), Some(DISABLED));
        assert_eq!(pairs(&stage.same(&["SET k v", "WAITAOF 0 1 0"])), [[0, 1]]);
    }
}

#[test]
fn a_stopped_replica_has_synced_nothing() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1).aof(Aof::Always));
        let replica = stage.shards.replica(0, 0);
        replica.stop();
        let script = ["SET k v", "WAITAOF 1 0 0", "WAITAOF 0 1 50", "WAITAOF 1 1 50", "WAIT 1 50"];
        assert_eq!(pairs(&stage.same(&script)), [[1, 0]; 3]);
        let script = ["SET k v", "WAITAOF 1 1 0"];
        assert_eq!(stage.same_after(&script, || replica.cont()).ints(), [1, 1]);
    }
}
