//! What a session of another module gets: replies of every kind, counts of WAIT, its user's rights.

use lab::client::{Client, Value, ok};
use lab::cluster::{Aof, Shards};
use lab::servers;

use super::{Stage, compile};

fn say(client: &mut Client, command: &str) -> String {
    client.command(&format!("PROBE.SAY {command}")).text()
}

#[test]
fn every_kind_of_reply_is_told_apart() {
    for server in servers::both() {
        let stage = Stage::of(&server, Shards::of(&server).replicas(0), compile::probe());
        let client = &mut stage.host.host_client();
        for (command, told) in [
            ("SET k value", "status 2 OK"),
            ("GET k", "string 5 value"),
            ("GET nothing", "null"),
            ("INCR n", "integer 1"),
            ("INCR k", "error 43 ERR value is not an integer or out of range"),
            ("HSET h f v", "integer 1"),
            ("HGETALL h", "map [string 1 f, string 1 v]"),
            ("SADD s m", "integer 1"),
            ("SMEMBERS s", "set [string 1 m]"),
            ("ZADD z 1.5 m", "integer 1"),
            ("ZSCORE z m", "double 1.5"),
            ("ZADD z inf m", "integer 0"),
            ("ZSCORE z m", "double inf"),
            ("MGET k n nothing", "array [string 5 value, string 1 1, null]"),
            ("SETNX k v", "integer 0"),
            ("DEBUG PROTOCOL bignum", "big 37 1234567999999999999999999999999999999"),
            ("DEBUG PROTOCOL true", "bool 1"),
            ("DEBUG PROTOCOL verbatim", "verbatim 25 txtThis is a verbatim\nstring"),
            ("DEBUG PROTOCOL attrib", "string 39 Some real reply following the attribute"),
            ("LRANGE none 0 -1", "array []"),
            ("ZRANGE z 0 -1 WITHSCORES", "array [array [string 1 m, double inf]]"),
        ] {
            assert_eq!(say(client, command), told, "{server:?}: {command}");
        }
        // Not as words: with a blank, a NUL and no byte at all.
        let told = client.call(&[&b"PROBE.SAY"[..], b"SET", b"a b", b"x\0y"]);
        assert_eq!(told.text(), "status 2 OK");
        assert_eq!(stage.host.client().call(&["GET", "a b"]).bytes(), b"x\0y");
        assert_eq!(client.call(&["PROBE.SAY", "SET", "", ""]).text(), "status 2 OK");
        assert_eq!(say(client, "EXISTS k n h s z"), "integer 5");
        let long = "x".repeat(200_000);
        assert_eq!(client.call(&["PROBE.SAY", "SET", "long", &long]).text(), "status 2 OK");
        assert_eq!(say(client, "STRLEN long"), "integer 200000");
        assert!(say(client, "GET long").starts_with("string 200000 xxxx"));
        assert_eq!(say(client, "SETRANGE large 20000000 x"), "integer 20000001");
        assert!(say(client, "GET large").starts_with("string 20000001 "));
        transactions_and_what_is_refused(client);
        let list = stage.host.client().command("CLIENT LIST").text();
        assert!(list.contains("addr=probe_module:0"), "{list}");
    }
}

fn transactions_and_what_is_refused(client: &mut Client) {
    for (command, told) in [
        ("SELECT 1", "status 2 OK"),
        ("GET k", "null"),
        ("SELECT 0", "status 2 OK"),
        ("MULTI", "status 2 OK"),
        ("INCR n", "status 6 QUEUED"),
        ("GET n", "status 6 QUEUED"),
        ("EXEC", "array [integer 2, string 1 2]"),
    ] {
        assert_eq!(say(client, command), told, "{command}");
    }
    let refused = "ERR this command would change how or whether replies come";
    for command in [
        "SUBSCRIBE c",
        "MONITOR",
        "HELLO 2",
        "AUTH p",
        "QUIT",
        "RESET",
        "CLIENT REPLY OFF",
        "CLIENT TRACKING ON",
        "PSYNC ? -1",
        "client caching yes",
    ] {
        assert!(say(client, command).contains(refused), "{command}");
    }
    assert_eq!(say(client, "MULTI"), "status 2 OK");
    assert!(say(client, "SUBSCRIBE c").contains(refused));
    assert!(client.command("PROBE.WAIT 0 0").text().starts_with("error ERR"), "an aborted one");
    assert!(say(client, "EXEC").contains("EXECABORT"));
    assert_eq!(say(client, "MULTI"), "status 2 OK");
    let told = client.command("PROBE.WAIT 0 0").text();
    assert!(told.starts_with("error ERR inside a transaction"), "{told}");
    assert_eq!(say(client, "EXEC"), "array [integer 0]");
    let told = client.command("PROBE.REFUSALS");
    assert_eq!(told.ints(), [3, 3, 3, 3, 3, 0, 0]);
}

#[test]
fn waits_count_what_is_true() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(1).replicas(2).aof(Aof::Always);
        let stage = Stage::of(&server, shards, compile::probe());
        let client = &mut stage.host.host_client();
        assert_eq!(say(client, "SET k 1"), "status 2 OK");
        assert_eq!(client.command("PROBE.WAIT 2 20000").text(), "0 2");
        assert_eq!(client.command("PROBE.WAITAOF 1 2 20000").text(), "1 2");
        // ALL, and MAJORITY.
        assert_eq!(client.command("PROBE.WAIT -1 20000").text(), "0 2");
        assert_eq!(client.command("PROBE.WAITAOF 1 -2 20000").text(), "1 2");
        stage.shards.replica(0, 0).stop();
        assert_eq!(say(client, "SET k 2"), "status 2 OK");
        assert_eq!(client.command("PROBE.WAIT 2 300").text(), "0 1");
        assert_eq!(client.command("PROBE.WAITAOF 1 2 300").text(), "1 1");
        let told = client.command("PROBE.WAIT -1 300").text();
        assert!(told.starts_with("error NOREPLICAS"), "{told}");
        stage.shards.replica(0, 1).stop();
        assert_eq!(say(client, "SET k 3"), "status 2 OK");
        assert_eq!(client.command("PROBE.WAIT 1 300").text(), "0 0");
        stage.shards.replica(0, 0).cont();
        stage.shards.replica(0, 1).cont();
        assert_eq!(client.command("PROBE.WAIT 2 20000").text(), "0 2");
        // Whose write is lost is told, not counted.
        assert_eq!(say(client, "SET k 4"), "status 2 OK");
        stage.shards.primary(0).restart();
        let told = client.command("PROBE.WAIT 1 2000").text();
        assert!(told.starts_with("error UNBLOCKED"), "{told}");
    }
}

#[test]
fn the_state_of_shards_is_what_the_command_shows() {
    for server in servers::both() {
        let stage = Stage::with(&server, Shards::of(&server), compile::probe(), |host| {
            host.line("weir.threads 2")
        });
        let client = &mut stage.host.host_client();
        let shown = |client: &mut Client| client.command("PROBE.SHARDS").text();
        lab::eventually("both shards are up with a replica", || {
            let told = shown(client);
            told.matches("state up").count() == 2 && told.matches("state online").count() == 2
        });
        let told = shown(client);
        for (number, (shard, slots)) in
            stage.shards.iter().zip(["0-8191", "8192-16383"]).enumerate()
        {
            let primary = shard.primary.address();
            let line = format!("shard {number} slots {slots} primary {primary} state up");
            assert!(told.contains(&line), "{told}");
            let replica = format!("replica {} state online", shard.replicas[0].address());
            assert!(told.contains(&replica), "{told}");
        }
        stage.shards.primary(1).kill9();
        lab::eventually("one is down", || shown(client).contains("state down: "));
    }
}

/// As the user that the setting names, and as nobody else, even if the login is refused at first.
#[test]
fn sessions_log_in_as_the_setting_says() {
    for server in servers::both() {
        let stage =
            Stage::with(&server, Shards::of(&server).replicas(0), compile::probe(), |host| {
                host.line("weir.intercept-user app").line("weir.intercept-password secret")
            });
        let client = &mut stage.host.host_client();
        assert!(say(client, "SET k 1").contains("WRONGPASS"));
        assert!(say(client, "SET k 2").contains("WRONGPASS"), "not as the default user either");
        assert!(client.command("SET k 3").is_error("WRONGPASS"), "nor a client of the port");
        assert!(client.command("SET k 4").is_error("WRONGPASS"));
        for shard in stage.shards.iter() {
            let mut bare = shard.primary.client();
            assert_eq!(bare.command("ACL SETUSER app on >secret +@all -del ~*"), ok());
            assert_eq!(bare.command("DBSIZE"), Value::Int(0));
        }
        assert_eq!(client.command("PROBE.FLOOD 1000 INCR n"), Value::Int(1000));
        assert_eq!(say(client, "GET n"), "string 4 1000");
        assert!(say(client, "DEL n").contains("NOPERM"));
        assert_eq!(say(client, "ACL WHOAMI"), "string 3 app");
        assert_eq!(client.command("SET k 5"), ok());
        // Who was let in late can be unblocked too.
        let id = client.command("CLIENT ID").int();
        client.send(&["BLPOP", "nothing", "0"]);
        let mut other = stage.host.host_client();
        let unblock = format!("CLIENT UNBLOCK {id}");
        lab::eventually("it is unblocked", || other.command(&unblock) == Value::Int(1));
        assert!(client.read().is_nil());
        // A new password is for sessions that are opened from now on.
        assert_eq!(client.command("CONFIG SET weir.intercept-password wrong"), ok());
        assert_eq!(say(client, "GET k"), "string 1 5");
        assert_eq!(client.command("PROBE.CLOSE"), ok());
        assert!(say(client, "GET k").contains("WRONGPASS"));
        assert!(client.command("DEL k").is_error("NOPERM"));
    }
}

#[test]
fn many_threads_at_once_are_told_all_in_order() {
    for server in servers::both() {
        let stage =
            Stage::with(&server, Shards::of(&server).replicas(0), compile::probe(), |host| {
                host.line("weir.threads 2")
            });
        let client = &mut stage.host.host_client();
        let told = client.command("PROBE.STRESS 8 2000").text();
        assert_eq!(told, "good 32000 bad 0 out-of-order 0");
        assert_eq!(client.command("PROBE.COUNTS").ints(), [32000, 32000]);
        assert_eq!(stage.host.client().command("GET stress:shared").bytes(), b"16000");
    }
}
