//! WAIT beside the primary's own.

use lab::client::{Value, ok};
use lab::cluster::Shards;
use lab::servers::{Server, both};
use lab::timed;

use crate::stage::{SILENCE, Stage};

fn two_replicas(server: &Server) -> Stage {
    Stage::of(server, Shards::of(server).shards(1).replicas(2))
}

fn ints(replies: &[Value]) -> Vec<i64> {
    replies.iter().filter(|reply| matches!(reply, Value::Int(_))).map(Value::int).collect()
}

#[test]
fn wrong_arguments_get_the_texts_of_a_primary_in_its_order() {
    const ERRORS: [&str; 38] = [
        "WAIT",
        "WAIT 1",
        "WAIT 1 2 3",
        "WAIT x 0",
        "WAIT 1 x",
        "WAIT x x",
        "WAIT x -1",
        "WAIT 1 -1",
        "WAIT 1.5 0",
        "WAIT 1 1.5",
        "WAIT +1 0",
        "WAIT 01 0",
        "WAIT 1 0x1",
        "WAIT 9223372036854775808 0",
        "WAIT -9223372036854775809 0",
        "WAIT 1 9223372036854775808",
        "WAIT 1 9223372036854775807",
        "WAIT 1 -9223372036854775808",
        "WAITAOF",
        "WAITAOF 1",
        "WAITAOF 1 1",
        "WAITAOF 1 1 1 1",
        "WAITAOF x 1 0",
        "WAITAOF 2 1 0",
        "WAITAOF -1 1 0",
        "WAITAOF 9223372036854775808 1 0",
        "WAITAOF 2 x x",
        "WAITAOF 2 -1 -1",
        "WAITAOF 0 x 0",
        "WAITAOF 0 -1 0",
        "WAITAOF 0 -1 x",
        "WAITAOF 0 9223372036854775808 0",
        "WAITAOF 0 1 x",
        "WAITAOF 0 1 -1",
        "WAITAOF 0 1 9223372036854775807",
        // A wrong time-out is told before the missing file.
        "WAITAOF 1 1 x",
        "WAITAOF 1 1 0",
        "waitaof 1 9999 0",
    ];
    for server in both() {
        let stage = two_replicas(&server);
        for wrote in [&["SET k v"][..], &[]] {
            let replies = stage.same(&[wrote, &ERRORS].concat());
            let errors = replies.iter().filter(|reply| reply.error_text().is_some());
            assert_eq!(errors.count(), ERRORS.len(), "{replies:?}");
        }
        // Time-outs that end just before and just behind the end of time.
        let now = stage.bare().command("TIME").items()[0].text().parse::<i64>().unwrap() * 1000;
        let end = i64::MAX - now;
        let before = format!("WAIT 2 {}", end - 3_600_000);
        let behind = format!("WAIT 2 {}", end + 3_600_000);
        let replies = stage.same(&["SET k v", &before, &behind]);
        assert_eq!(replies[1].int(), 2);
        assert!(replies[2].is_error("ERR"));
        // Arguments that no line of words can hold.
        let (mut bare, mut via) = (stage.bare(), stage.via());
        for odd in ["", " 1", "1 ", "1\0", "\r\n"] {
            for question in [["WAIT", odd, "0"], ["WAIT", "1", odd]] {
                let stock = bare.call(&question);
                assert!(stock.error_text().is_some(), "{question:?}");
                assert_eq!(via.call(&question), stock, "{question:?}");
            }
        }
    }
}

#[test]
fn who_wrote_is_told_how_many_have_it() {
    for server in both() {
        let stage = two_replicas(&server);
        let met = ["SET k v", "WAIT 2 0", "WAIT 2 10000"];
        assert_eq!(ints(&stage.same(&met)), [2; 2]);
        // More than there are: the time is used up, and there isn't more to tell.
        let unmet = ["SET k v", "WAIT 3 300", "WAIT 9999 300", "WAIT 9223372036854775807 300"];
        assert_eq!(ints(&stage.same(&unmet)), [2; 3]);
        // A time-out of some hundred million years is one.
        assert_eq!(ints(&stage.same(&["SET k v", "WAIT 2 9000000000000000000"])), [2]);
        let mut third = None;
        let after = stage.same_after(&["SET k v", "WAIT 3 0"], || {
            third = Some(stage.attach_replica(0, &[]));
        });
        assert_eq!(after.int(), 3);
    }
}

#[test]
fn who_never_wrote_is_told_how_many_are_online() {
    for server in both() {
        let stage = two_replicas(&server);
        let script =
            ["WAIT 0 0", "WAIT 1 0", "WAIT 2 0", "WAIT -1 0", "GET k", "WAIT 2 50", "WAIT 3 50"];
        assert_eq!(ints(&stage.same(&script)), [2; 6]);
        // A replica that answers nothing is online all the same, as long as its connection stands.
        stage.shards.replica(0, 1).stop();
        assert_eq!(ints(&stage.same(&script)), [2; 6]);
        stage.shards.replica(0, 1).cont();
        stage.shards.replica(0, 1).kill9();
        lab::eventually("the primary has noticed", || {
            stage.shards.primary(0).info("replication").int("connected_slaves") == 1
        });
        let script = ["WAIT 1 0", "WAIT 2 50", "WAIT 0 0"];
        assert_eq!(ints(&stage.same(&script)), [1; 3]);
    }
}

#[test]
fn a_time_out_is_used_up_and_not_more() {
    for server in both() {
        let stage = two_replicas(&server);
        let mut via = stage.via();
        for millis in [1, 50, 300] {
            assert_eq!(via.command("SET k v"), ok());
            let (reply, time) = timed(|| via.command(&format!("WAIT 3 {millis}")));
            assert!((0..=2).contains(&reply.int()), "{reply:?}");
            assert!(time.as_millis() >= millis, "{millis} ms took {time:?}");
            println!("{}: WAIT 3 {millis} took {time:?}: {reply:?}", server.flavor);
        }
    }
}

#[test]
fn a_stopped_replica_is_not_counted_until_it_goes_on() {
    for server in both() {
        let stage = two_replicas(&server);
        let replica = stage.shards.replica(0, 1);
        replica.stop();
        let one = ["SET k v", "WAIT 1 0", "WAIT 2 300", "WAIT 9999 300"];
        assert_eq!(ints(&stage.same(&one)), [1; 3]);
        let script = ["SET k v", "WAIT 2 0"];
        assert_eq!(stage.same_after(&script, || replica.cont()).int(), 2);

        stage.shards.replica(0, 0).stop();
        replica.stop();
        assert_eq!(ints(&stage.same(&["SET k v", "WAIT 1 50", "WAIT 0 0"])), [0, 0]);
        let script = ["SET k v", "WAIT 1 0"];
        assert_eq!(stage.same_after(&script, || replica.cont()).int(), 1);
    }
}

#[test]
fn a_killed_replica_counts_again_when_it_has_come_back() {
    for server in both() {
        let stage = two_replicas(&server);
        let replica = stage.shards.replica(0, 0);
        replica.kill9();
        assert_eq!(ints(&stage.same(&["SET k v", "WAIT 1 0", "WAIT 2 300"])), [1, 1]);
        let script = ["SET k v", "WAIT 2 0"];
        assert_eq!(stage.same_after(&script, || replica.restart()).int(), 2);
    }
}

#[test]
fn without_a_replica_nobody_has_it() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1).replicas(0));
        let script = ["WAIT 0 0", "WAIT 1 50", "SET k v", "WAIT 0 0", "WAIT 1 50", "WAIT -1 0"];
        assert_eq!(ints(&stage.same(&script)), [0; 5]);
    }
}

#[test]
fn writes_of_every_kind_count_and_what_changes_nothing_does_no_harm() {
    for server in both() {
        let stage = two_replicas(&server);
        let replica = stage.shards.replica(0, 1);
        let mut keys = stage.bare();
        let lua = "redis.call('SET',KEYS[1],'v')";
        let writes: [&[&str]; 8] = [
            &["SET", "k", "v"],
            &["EVAL", lua, "1", "k"],
            &["LPUSH", "list", "a"],
            &["FLUSHALL"],
            &["MSET", "k", "v", "l", "w"],
            &["DEL", "k"],
            &["XADD", "stream", "*", "a", "b"],
            &["SETEX", "k", "1000", "v"],
        ];
        for write in writes {
            for mut client in [stage.bare(), stage.via()] {
                let mut again = || {
                    keys.command("DEL list stream");
                    keys.command("SET k v");
                    assert_eq!(client.call(write).error_text(), None, "{write:?}");
                    client.command("WAIT 2 100").int()
                };
                replica.stop();
                // As many as have it by then: one on a machine that isn't too busy.
                let told = again();
                assert!((0..=1).contains(&told), "{write:?}: {told}");
                replica.cont();
                lab::eventually("both have it", || again() == 2);
            }
        }
        // The writes that aren't.
        let script = ["SET k v", "WAIT 2 0", "SETNX k w", "WAIT 2 0", "LPUSH k w", "WAIT 2 0"];
        assert_eq!(ints(&stage.same(&script)), [2, 0, 2, 2]);
        // A shared connection can't see that they changed nothing: less may be told, never more.
        replica.stop();
        for script in [["SETNX k w", "WAIT 2 50"], ["LPUSH k w", "WAIT 2 50"]] {
            let mut via = stage.via();
            via.command(script[0]);
            let told = via.command(script[1]).int();
            assert!((1..=2).contains(&told), "{script:?}: {told}");
        }
    }
}

#[test]
fn a_reset_forgets_no_write() {
    for server in both() {
        let stage = two_replicas(&server);
        stage.shards.replica(0, 1).stop();
        let script = ["SET k v", "RESET", "SELECT 0", "WAIT 1 0", "WAIT 2 300"];
        assert_eq!(ints(&stage.same(&script)), [1, 1]);
    }
}

/// A primary that gets its first replica begins a new history, and can't prove that its data went
/// on: so an error is allowed where the primary itself says 1. It is told once, and nobody waits
/// for ever.
#[test]
fn the_first_replica_of_all_may_come_later() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1).replicas(0));
        let (mut bare, mut via, mut other) = (stage.bare(), stage.via(), stage.via());
        assert_eq!(other.command("SET other v"), ok());
        for client in [&mut bare, &mut via] {
            assert_eq!(client.command("SET k v"), ok());
            client.send(&["WAIT", "1", "0"]);
            assert!(client.is_silent(SILENCE));
        }
        let replica = stage.attach_replica(0, &[]);
        assert_eq!(bare.read().int(), 1);
        let told = via.read();
        assert!(told == Value::Int(1) || told.is_error("UNBLOCKED"), "{told:?}");
        let told = other.command("WAIT 1 0");
        assert!(told == Value::Int(1) || told.is_error("UNBLOCKED"), "{told:?}");
        for client in [&mut via, &mut other] {
            assert_eq!(client.command("SET other v"), ok());
            assert_eq!(client.command("WAIT 1 0").int(), 1);
        }
        replica.stop();
        assert_eq!(other.command("SET other v"), ok());
        other.send(&["WAIT", "1", "0"]);
        assert!(other.is_silent(SILENCE));
        replica.cont();
        assert_eq!(other.read().int(), 1);
    }
}
