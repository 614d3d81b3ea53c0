//! The same bytes as a stock server gives. All keys have one tag, so that one shard has them all.

use lab::client::{Client, encode_into};
use lab::process::Proc;
use lab::servers::{self, Server};

use super::Database;
use super::scenario::{escape, words};

const NO_LINES: [&str; 0] = [];

const TRANSACTIONS: &str = r#"
UNWATCH
EXEC
DISCARD
MULTI
EXEC
MULTI
DISCARD
MULTI
PING
PING hello
ECHO x
EXEC
MULTI
SET {t}a 1
INCR {t}a
GET {t}a
EXEC
GET {t}a
MULTI
PING
SET {t}a 5
PING
DISCARD
GET {t}a
MULTI
MULTI
WATCH {t}a
SET {t}a 6
EXEC
MULTI
SET {t}a 7
GET
SET {t}a 8
EXEC
GET {t}a
MULTI
NOSUCH
EXEC
MULTI
SAVE
EXEC
MULTI
SHUTDOWN
PING
EXEC
MULTI
LPUSH {t}a x
INCR {t}a
EXEC
WATCH {t}a
MULTI
SET {t}a 9
EXEC
WATCH {t}a {t}b
SET {t}a 10
MULTI
SET {t}a 11
EXEC
GET {t}a
WATCH {t}a
SET {t}a 12
UNWATCH
MULTI
SET {t}a 13
EXEC
WATCH {t}a
MULTI
SET {t}a 14
DISCARD
MULTI
GET {t}a
EXEC
WATCH {t}a
UNWATCH
UNWATCH
WATCH
MULTI x
EXEC x
WATCH {t}a
MULTI
UNWATCH
EXEC
MULTI
WAIT 0 0
SET {t}w 1
WAIT x 0
EXEC
MULTI
CLIENT SETNAME inside
CLIENT GETNAME
SET {t}a 1
CLIENT GETNAME
EXEC
CLIENT GETNAME
CLIENT SETNAME ""
MULTI
BLPOP {t}list 0
BLMOVE {t}list {t}other LEFT RIGHT 0
XREAD BLOCK 0 STREAMS {t}x $
EXEC
MULTI
EVAL "return redis.call('incr', KEYS[1])" 1 {t}a
EXEC
MULTI
SET {t}a 3
RESET
EXEC
GET {t}a
"#;

const BLOCKING: &str = r#"
RPUSH {t}l a b c
BLPOP {t}l 0
BRPOP {t}none {t}l 1
BLPOP {t}none 0.01
BLPOP {t}none x
BLPOP {t}none -1
BLPOP {t}none
BLMOVE {t}l {t}m LEFT RIGHT 0
BLMOVE {t}l {t}m LEFT RIGHT 0.01
BRPOPLPUSH {t}m {t}l 0
BLMPOP 0.01 2 {t}none {t}l LEFT COUNT 2
BLMPOP 0.01 1 {t}none LEFT
BLMPOP 0 0 {t}l LEFT
ZADD {t}z 1 a 2.5 b 3 c
BZPOPMIN {t}z 0
BZPOPMAX {t}none {t}z 0
BZPOPMIN {t}none 0.01
BZMPOP 0.01 1 {t}z MIN COUNT 5
BZMPOP 0.01 1 {t}z MAX
SET {t}s string
BLPOP {t}s 0
XADD {t}x 1-1 f v
XREAD BLOCK 10 STREAMS {t}x 0
XREAD BLOCK 10 STREAMS {t}x $
XREAD COUNT 1 BLOCK 0 STREAMS {t}x 0-0
XGROUP CREATE {t}x g 0
XREADGROUP GROUP g c BLOCK 10 STREAMS {t}x >
XREADGROUP GROUP g c BLOCK 10 STREAMS {t}x >
XREADGROUP GROUP g c BLOCK 10 STREAMS {t}x 0
XREADGROUP GROUP none c BLOCK 10 STREAMS {t}x >
XREAD BLOCK x STREAMS {t}x 0
WATCH {t}l
RPUSH {t}l d
BLPOP {t}l 0
MULTI
GET {t}s
EXEC
DEL {t}l {t}m {t}x {t}z {t}s
"#;

/// Types that the two versions write differently; databases.
const VERSIONS: &str = r#"
HSET {t}h f v g w
HGETALL {t}h
CONFIG GET maxmemory-policy
SADD {t}set a
SMEMBERS {t}set
ZADD {t}z 1.5 a
ZSCORE {t}z a
ZRANGE {t}z 0 -1 WITHSCORES
ZRANDMEMBER {t}z -1 WITHSCORES
GET {t}missing
LPOP {t}missing 2
MGET {t}h {t}missing
HMGET {t}h f missing
EVAL "return {1,'two',false}" 0
EVAL "redis.setresp(3); return redis.call('hgetall', KEYS[1])" 1 {t}h
GEOADD {t}geo 13 38 p
GEOPOS {t}geo p q
TYPE {t}h
OBJECT HELP
XADD {t}x 1-1 f v
XREAD STREAMS {t}x 0
XINFO STREAM {t}x
SCRIPT EXISTS x
LATENCY HISTORY x
LATENCY LATEST
CLIENT GETNAME
COMMAND GETKEYS SET a 1
COMMAND INFO nosuch
HELLO 4
HELLO x
HELLO 3 SETNAME "a b"
HELLO 3 NOSUCH
SELECT 3
GET {t}h
SET {t}h three
DBSIZE
SELECT 0
TYPE {t}h
SELECT 16
SELECT -1
SELECT x
SELECT 9999999999
MOVE {t}set 3
SELECT 3
SMEMBERS {t}set
COPY {t}h {t}copy DB 0
SWAPDB 0 3
GET {t}copy
SELECT 0
SMEMBERS {t}set
FLUSHALL
"#;

/// Replies to the lines, one by one.
fn one_by_one(client: &mut Client, lines: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    lines.iter().map(|words| client.call(words).encode()).collect()
}

/// Replies to the lines, sent as one.
fn as_one(client: &mut Client, lines: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    for words in lines {
        encode_into(&mut bytes, words);
    }
    client.pipeline_raw(&bytes, lines.len()).iter().map(|reply| reply.encode()).collect()
}

/// Where the client stands that is compared with one of a stock server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Endpoint {
        shards: usize,
    },
    /// The host's own port; one shard.
    Host,
}

/// What the host does itself, outside of the transaction that it doesn't know of.
const NOT_IN_A_HOSTS_TRANSACTION: &[&str] = &["CLIENT SETNAME inside"];

fn compare(script: &str, versions: &[&str]) {
    for server in servers::both() {
        for door in [Door::Endpoint { shards: 1 }, Door::Endpoint { shards: 3 }, Door::Host] {
            compare_at(&server, door, script, versions);
        }
    }
}

fn compare_at(server: &Server, door: Door, script: &str, versions: &[&str]) {
    let lines: Vec<Vec<Vec<u8>>> = script
        .lines()
        .filter(|line| !line.is_empty())
        .filter(|line| door != Door::Host || !NOT_IN_A_HOSTS_TRANSACTION.contains(line))
        .map(words)
        .collect();
    let shards = if let Door::Endpoint { shards } = door { shards } else { 1 };
    let database = Database::start(server, shards);
    for version in versions {
        for way in [one_by_one, as_one] {
            let bare = Proc::start(server, &NO_LINES);
            let mut stock = bare.client();
            let mut ours = match door {
                Door::Endpoint { .. } => database.client(),
                Door::Host => database.host.host_client(),
            };
            for client in [&mut stock, &mut ours] {
                client.call(&["HELLO", version]);
            }
            let expected = way(&mut stock, &lines);
            let got = way(&mut ours, &lines);
            for ((line, expected), got) in lines.iter().zip(&expected).zip(&got) {
                let shown: Vec<String> = line.iter().map(|word| escape(word)).collect();
                assert_eq!(
                    escape(got),
                    escape(expected),
                    "{:?}, {door:?}, RESP{version}: {}",
                    server.flavor,
                    shown.join(" ")
                );
            }
            assert_eq!(ours.command("FLUSHALL"), stock.command("FLUSHALL"));
            drop(bare);
        }
    }
}

#[test]
fn transactions() {
    compare(TRANSACTIONS, &["2", "3"]);
}

#[test]
fn commands_that_wait() {
    compare(BLOCKING, &["2", "3"]);
}

#[test]
fn both_versions_and_all_databases() {
    compare(VERSIONS, &["2", "3"]);
}
