//! What lock libraries send, replayed byte by byte on a bare server and on the endpoint.
//!
//! A lock is worth no more than the answers it is built on, so these libraries ask for much within
//! one write: whether WAIT and WAITAOF are there at all, how many replicas there are, and then a
//! script and the wait for its replicas in one batch. Where one of them gets an answer that it
//! doesn't expect it goes on without replicas, and says nothing.
//!
//! Each exchange is played on a bare primary with a replica, and on an endpoint of two shards with
//! a replica each; the bytes of the replies must be the same.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::time::Duration;

use lab::client::{Client, Value, bulk, ok};
use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::servers::{self, Server};
use weir::shards::HashSlot;

/// A bare server, and an endpoint.
struct Stage {
    // Dropped in this order: the host goes before its shards, and so never misses them.
    host: Host,
    shards: Shards,
    bare: Shards,
}

impl Stage {
    fn start(server: &Server, aof: Aof) -> Stage {
        let plan = || Shards::of(server).replicas(1).aof(aof);
        let shards = plan().shards(2).start();
        let host = Host::of(server).upstream(shards.upstream()).start();
        Stage { host, shards, bare: plan().shards(1).start() }
    }

    /// Plays the same on both, and expects the same bytes of both. Gives what the endpoint said.
    #[track_caller]
    fn same<T: PartialEq + std::fmt::Debug>(&self, play: impl Fn(&dyn Fn() -> Client) -> T) -> T {
        let bare = play(&|| self.bare.primary(0).client());
        let endpoint = play(&|| self.host.client());
        assert_eq!(bare, endpoint, "the bare server on the left, the endpoint on the right");
        endpoint
    }
}

/// One name for a lock on each of the two shards.
const NAMES: [&str; 2] = ["lock:a", "lock:c"];

#[test]
fn the_names_are_on_different_shards() {
    let [a, c] = NAMES.map(|name| HashSlot::of(name.as_bytes()).number() / 8192);
    assert_ne!(a, c);
}

/// Words with no space in them.
fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// A command that runs a script on one lock, or on a lock and its channel.
fn eval(script: &str, keys: &[&str], args: &[&str]) -> Vec<Vec<u8>> {
    let count = keys.len().to_string();
    let words = [&["EVAL", script, &count], keys, args].concat();
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn field(info: &Value, name: &str) -> i64 {
    let text = info.text();
    let prefix = format!("{name}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// A lock that its holder may take again: a hash of who holds it and how often. Gives nothing when
/// it was taken, and the milliseconds that it is still held otherwise.
const TAKE: &str = "\
if redis.call('exists', KEYS[1]) == 0 or redis.call('hexists', KEYS[1], ARGV[2]) == 1 then \
    redis.call('hincrby', KEYS[1], ARGV[2], 1) \
    redis.call('pexpire', KEYS[1], ARGV[1]) \
    return nil \
end \
return redis.call('pttl', KEYS[1])";

/// Gives it back, and tells the channel in KEYS[2] once nobody holds it. 1 if that is so, 0 if its
/// holder still does, nothing if somebody else does.
const GIVE_BACK: &str = "\
if redis.call('hexists', KEYS[1], ARGV[1]) == 0 then return nil end \
if redis.call('hincrby', KEYS[1], ARGV[1], -1) > 0 then return 0 end \
redis.call('del', KEYS[1]) \
redis.call('publish', KEYS[2], '0') \
return 1";

/// Gives back a lock that is a value.
const UNLOCK: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

#[test]
fn the_probe_for_wait_and_waitaof() {
    for server in servers::both() {
        let stage = Stage::start(&server, Aof::EverySecond);
        let probe = [words("WAIT 0 0"), words("WAITAOF 0 0 0")];
        // On a connection that wrote nothing. A bare server says how many replicas there are, and
        // what was fsynced of nothing.
        let replies = stage.same(|connect| connect().pipeline(&probe));
        assert_eq!(replies[0].int(), 1, "{replies:?}");
        assert_eq!(replies[1].ints().len(), 2, "{replies:?}");
        // The connection is as good as any afterwards.
        stage.same(|connect| {
            let mut client = connect();
            client.pipeline(&probe);
            client.pipeline(&[words("SET probe v"), words("WAIT 1 5000"), words("GET probe")])
        });
    }
}

#[test]
fn info_all_says_how_many_replicas_and_whether_there_is_a_file() {
    for server in servers::both() {
        for aof in [Aof::EverySecond, Aof::Off] {
            let stage = Stage::start(&server, aof);
            for section in ["INFO ALL", "INFO all", "INFO replication", "INFO persistence", "INFO"]
            {
                let said = stage.same(|connect| {
                    let info = connect().command(section);
                    let has = |name: &str| info.text().contains(&format!("\r\n{name}:"));
                    let slaves = has("connected_slaves").then(|| field(&info, "connected_slaves"));
                    (slaves, has("aof_enabled").then(|| field(&info, "aof_enabled")))
                });
                let file = i64::from(aof != Aof::Off);
                match section {
                    "INFO replication" => assert_eq!(said, (Some(1), None)),
                    "INFO persistence" => assert_eq!(said, (None, Some(file))),
                    _ => assert_eq!(said, (Some(1), Some(file))),
                }
            }
        }
    }
}

#[test]
fn a_script_and_the_wait_for_its_replicas_in_one_batch() {
    for server in servers::both() {
        let stage = Stage::start(&server, Aof::EverySecond);
        for name in NAMES {
            let channel = format!("channel:{{{name}}}");
            let give_back = |who: &str| eval(GIVE_BACK, &[name, &channel], &[who]);
            stage.same(|connect| {
                let (mut client, mut other) = (connect(), connect());
                // How it goes by INFO, as the library does it, then one write for the batch.
                let info = client.command("INFO ALL");
                assert_eq!(field(&info, "aof_enabled"), 1);
                let wait = words(&format!("WAIT {} 1000", field(&info, "connected_slaves")));
                let files = words("WAITAOF 1 1 5000");
                let take = |who| eval(TAKE, &[name], &["30000", who]);
                let mut replies = client.pipeline(&[take("me:1"), wait.clone()]);
                replies.extend(client.pipeline(&[take("me:1"), wait.clone(), files.clone()]));
                // Whoever is refused has changed nothing, and so nothing to wait for.
                let refused = other.pipeline(&[take("you:1"), words("WAIT 0 0")]);
                assert!((1..=30_000).contains(&refused[0].int()), "{refused:?}");
                replies.push(refused[1].clone());
                replies.extend(other.pipeline(&[give_back("you:1"), wait.clone()]));
                replies.extend(client.pipeline(&[give_back("me:1"), wait.clone()]));
                replies.extend(client.pipeline(&[give_back("me:1"), wait.clone(), files]));
                replies.extend(other.pipeline(&[take("you:1"), wait.clone()]));
                replies.extend(other.pipeline(&[give_back("you:1"), wait.clone()]));
                replies
            });
        }
    }
}

#[test]
fn a_batch_over_locks_of_several_shards() {
    for server in servers::both() {
        let stage = Stage::start(&server, Aof::Always);
        let replies = stage.same(|connect| {
            let take = |name: &&str| eval(TAKE, &[name], &["30000", "me:1"]);
            let mut batch: Vec<_> = NAMES.iter().map(take).collect();
            batch.extend([words("WAIT 1 5000"), words("WAITAOF 1 1 5000")]);
            connect().pipeline(&batch)
        });
        assert_eq!(replies[2..], [Value::Int(1), Value::Array(vec![Value::Int(1); 2])]);
        for name in NAMES {
            let held = (0..2).filter(|&shard| {
                stage.shards.replica(shard, 0).client().command(&format!("EXISTS {name}")).int()
                    == 1
            });
            assert_eq!(held.count(), 1, "{name} is on the replica of its shard");
        }
    }
}

#[test]
fn a_batch_within_a_transaction() {
    for server in servers::both() {
        let stage = Stage::start(&server, Aof::EverySecond);
        for name in NAMES {
            let replies = stage.same(|connect| {
                let batch = [
                    words("MULTI"),
                    eval(TAKE, &[name], &["30000", "me:1"]),
                    words(&format!("HGET {name} me:1")),
                    words("EXEC"),
                    words("WAIT 1 5000"),
                ];
                connect().pipeline(&batch)
            });
            assert_eq!(replies[4], Value::Int(1));
        }
    }
}

#[test]
fn who_waits_for_a_lock_is_told_when_it_is_free() {
    for server in servers::both() {
        let stage = Stage::start(&server, Aof::EverySecond);
        for name in NAMES {
            let channel = format!("channel:{{{name}}}");
            stage.same(|connect| {
                let (mut holder, mut waiter, mut ears) = (connect(), connect(), connect());
                let take = |who| eval(TAKE, &[name], &["30000", who]);
                let mut replies = vec![holder.call(&take("me:1"))];
                assert!(waiter.call(&take("you:1")).int() > 0);
                replies.push(ears.call(&["SUBSCRIBE", &channel]));
                replies.push(holder.call(&eval(GIVE_BACK, &[name, &channel], &["me:1"])));
                replies.push(ears.read());
                replies.push(waiter.call(&take("you:1")));
                replies.push(waiter.call(&eval(GIVE_BACK, &[name, &channel], &["you:1"])));
                replies.push(ears.read());
                replies
            });
        }
    }
}

#[test]
fn locks_by_set_and_a_script_that_unlocks() {
    for server in servers::both() {
        let stage = Stage::start(&server, Aof::EverySecond);
        for name in NAMES {
            let replies = stage.same(|connect| {
                let (mut one, mut other) = (connect(), connect());
                let set = |who: &str| words(&format!("SET {name} {who} NX PX 30000"));
                let unlock = |who: &str| eval(UNLOCK, &[name], &[who]);
                let mut replies = one.pipeline(&[set("one"), words("WAIT 1 5000")]);
                replies.extend(other.pipeline(&[set("other"), words("WAIT 0 0")]));
                replies.extend(other.pipeline(&[unlock("other"), words("WAIT 0 0")]));
                replies.extend(one.pipeline(&[unlock("one"), words("WAIT 1 5000")]));
                replies.extend(other.pipeline(&[set("other"), words("WAIT 1 5000")]));
                replies.push(other.call(&unlock("other")));
                replies
            });
            assert_eq!(replies[..2], [ok(), Value::Int(1)]);
        }
    }
}

#[test]
fn a_lock_by_hash_of_the_script() {
    for server in servers::both() {
        let stage = Stage::start(&server, Aof::EverySecond);
        for name in NAMES {
            let replies = stage.same(|connect| {
                let mut client = connect();
                client.command("SCRIPT FLUSH");
                client.command(&format!("SET {name} me"));
                let unknown = client.command(&format!("EVALSHA {} 1 {name} me", "0".repeat(40)));
                // As a library does it: the hash alone first, then the script, then the hash again.
                let sha = client.call(&["SCRIPT", "LOAD", UNLOCK]).text();
                let batch = [
                    words(&format!("SCRIPT EXISTS {sha}")),
                    words(&format!("EVALSHA {sha} 1 {name} you")),
                    words(&format!("EVALSHA {sha} 1 {name} me")),
                    words("WAIT 1 5000"),
                ];
                let mut replies = client.pipeline(&batch);
                replies.insert(0, unknown);
                replies.insert(1, bulk(sha));
                replies
            });
            assert!(replies[0].is_error("NOSCRIPT"), "{replies:?}");
            assert_eq!(replies[5], Value::Int(1), "the replica has it: {replies:?}");
        }
    }
}

#[test]
fn a_lock_that_the_replicas_do_not_have_is_said_to_be_held_by_none() {
    for server in servers::both() {
        let stage = Stage::start(&server, Aof::EverySecond);
        for name in NAMES {
            for shards in [&stage.shards, &stage.bare] {
                shards.iter().for_each(|shard| shard.replicas[0].stop());
            }
            let replies = stage.same(|connect| {
                let mut client = connect().patience(Duration::from_secs(20));
                let batch = [eval(TAKE, &[name], &["30000", "me:1"]), words("WAIT 1 1000")];
                client.pipeline(&batch)
            });
            assert_eq!(replies[1], Value::Int(0), "{replies:?}");
            for shards in [&stage.shards, &stage.bare] {
                shards.iter().for_each(|shard| shard.replicas[0].cont());
            }
            stage.shards.wait_online();
            stage.bare.wait_online();
        }
    }
}
