//! CLIENT PAUSE.

use std::time::Duration;

use lab::client::{Value, bulk, ok};
use lab::cluster::Shards;
use lab::host::Host;
use lab::servers;

use super::{Database, assert_same, pair};

const QUIET: Duration = Duration::from_millis(100);

#[test]
fn writes_wait_and_reads_do_not() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.threads 2"], &[]);
        let mut operator = database.client();
        let writes: [&[&str]; 7] = [
            &["SET a 1"],
            &["MSET a 1 b 2 c 3 d 4"],
            &["PFCOUNT hll"],
            &["FLUSHALL"],
            &["EVAL return 0"],
            &["EVAL #!lua\nreturn\t'flags=no-writes' 0"],
            &["MULTI", "SET a 1", "EXEC"],
        ];
        assert_eq!(operator.command("CLIENT PAUSE 100000 WRITE"), ok());
        let mut paused = Vec::new();
        for lines in writes {
            let mut client = database.client();
            for line in lines {
                client.send(&line.split(' ').collect::<Vec<_>>());
            }
            if lines.len() > 1 {
                assert_eq!(client.read(), ok());
            }
            paused.push(client);
        }
        for (client, lines) in paused.iter_mut().zip(writes) {
            assert!(client.is_silent(QUIET), "{lines:?}");
        }
        let mut reader = database.client();
        assert!(reader.command("GET a").is_nil());
        assert!(reader.command("MGET a b c").items().iter().all(Value::is_nil));
        // A script may say that it only reads.
        let script = "#!lua name=x flags=no-writes\nreturn 12";
        assert!(reader.call(&["EVAL", script, "0"]).error_text().unwrap().contains("shebang"));
        let script = "#!lua flags=allow-oom,no-writes\nreturn redis.call('get', KEYS[1]) or 12";
        assert_eq!(reader.call(&["EVAL", script, "1", "a"]), Value::Int(12));
        assert_eq!(reader.command("MULTI"), ok());
        assert_eq!(reader.call(&["EVAL", script, "1", "a"]).text(), "QUEUED");
        assert_eq!(reader.command("EXEC"), Value::Array(vec![Value::Int(12)]));
        let blocked = reader.command("INFO clients").text();
        assert!(blocked.contains("blocked_clients:7\r\n"), "{blocked}");
        assert_eq!(operator.command("CLIENT UNPAUSE"), ok());
        for (client, lines) in paused.iter_mut().zip(writes) {
            let _ = client.read();
            for _ in 2..lines.len() {
                let _ = client.read();
            }
            assert_eq!(client.command("PING").text(), "PONG");
        }
        let info = reader.command("INFO clients").text();
        assert!(info.contains("blocked_clients:0\r\n"), "{info}");
    }
}

#[test]
fn a_pause_ends_by_itself_and_the_longer_one_holds() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let (mut operator, mut client) = (database.client(), database.client());
        assert_eq!(client.command("SET a 1"), ok());
        let (told, took) = lab::timed(|| {
            operator.send_raw(b"CLIENT PAUSE 400\r\n");
            assert_eq!(operator.read(), ok());
            client.command("GET a")
        });
        assert_eq!(told, bulk("1"));
        assert!(took >= Duration::from_millis(390), "{took:?}");
        assert_eq!(operator.command("CLIENT PAUSE 400 WRITE"), ok());
        assert_eq!(operator.command("CLIENT PAUSE 1 WRITE"), ok());
        let (told, took) = lab::timed(|| client.command("SET a 2"));
        assert_eq!(told, ok());
        assert!(took >= Duration::from_millis(300), "{took:?}");
    }
}

#[test]
fn who_waits_is_answered_while_others_are_paused() {
    for server in servers::both() {
        let database = Database::start(&server, 1);
        let (mut operator, mut waiter) = (database.client(), database.client());
        assert_eq!(waiter.command("SET a 1"), ok());
        waiter.send_raw(b"WAIT 1 300\r\n");
        assert!(waiter.is_silent(QUIET));
        assert_eq!(operator.command("CLIENT PAUSE 100000 WRITE"), ok());
        assert_eq!(waiter.read(), Value::Int(0));
        assert_eq!(operator.command("CLIENT UNPAUSE"), ok());
    }
}

/// Valkey 8.0.1 dies of CLIENT UNBLOCK with TIMEOUT if the command is postponed.
#[test]
fn a_shard_that_is_paused_survives_who_waits_there() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(1).replicas(1).start();
        let host = Host::of(&server).upstream(shards.upstream()).start();
        let database = Database { host, shards };
        let shard = database.shards.primary(0);
        let (mut operator, mut writer) = (shard.client(), database.client());
        assert_eq!(writer.command("SET a 1"), ok());
        let mut pops: Vec<_> = (0..2).map(|_| database.client()).collect();
        let ids: Vec<i64> = pops.iter_mut().map(|pop| pop.command("CLIENT ID").int()).collect();
        // One is there before the pause, one comes into it.
        pops[0].send_raw(b"BLPOP list 0\r\n");
        lab::eventually("it is blocked", || shard.info("clients").int("blocked_clients") == 1);
        assert_eq!(operator.command("CLIENT PAUSE 100000 WRITE"), ok());
        pops[1].send_raw(b"BLMOVE list other LEFT RIGHT 0\r\n");
        assert_eq!(writer.command("WAIT 1 100"), Value::Int(0));
        assert_eq!(writer.command("WAITAOF 0 1 100").ints(), [0, 0]);
        for id in ids {
            let unblock = format!("CLIENT UNBLOCK {id} TIMEOUT");
            assert_eq!(database.client().command(&unblock), Value::Int(1));
        }
        assert!(pops[0].read().is_nil());
        assert_eq!(operator.command("CLIENT UNPAUSE"), ok(), "it lives");
        // Redis 8 unblocks nobody who is paused.
        assert!(pops[1].read().is_nil());
        assert_eq!(pops[1].command("PING").text(), "PONG");
        assert_eq!(writer.command("SET a 2"), ok());
        assert_eq!(writer.command("WAIT 1 0"), Value::Int(1));
    }
}

#[test]
fn what_is_wrong_is_said_as_a_stock_server_says_it() {
    for server in servers::both() {
        let (stock, database) = pair(&server, 1);
        let lines = "CLIENT PAUSE x\nCLIENT PAUSE -1\nCLIENT PAUSE 1 FOO\nCLIENT PAUSE x FOO\n\
                     CLIENT PAUSE\nCLIENT PAUSE 1 WRITE x\nCLIENT PAUSE 1 WRITE\nCLIENT UNPAUSE\n\
                     CLIENT UNPAUSE x";
        assert_same(lines, &mut stock.client(), &mut database.client());
    }
}
