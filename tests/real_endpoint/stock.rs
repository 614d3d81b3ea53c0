//! The same bytes as a stock server gives, command by command.
//!
//! Each line is sent to a stock server and to the endpoint of a database that was empty at first,
//! too; the replies must not differ in a byte. Nothing here depends on time, chance or the order
//! in which a server keeps its data.

use lab::client::Client;
use lab::process::Proc;
use lab::servers;

use super::Database;
use super::scenario::{escape, words};

const NO_LINES: [&str; 0] = [];

/// All that one shard answers by itself, wherever its keys lie.
const ONE_SHARD: &str = r#"
SET a 1
GET a
GET missing
SET a 2 GET
SET a 3 NX
SET a 3 XX KEEPTTL
SET a 3 EX notanumber
SET a 3 EX 0
SET a
SETNX b 1
SETNX b 2
SETEX c 100 v
PSETEX c 0 v
GETSET a 4
GETDEL c
GETEX b PERSIST
GETRANGE a 0 -1
SETRANGE r 5 xx
SETRANGE r -1 xx
STRLEN r
APPEND r yy
INCR a
INCRBY a 10
INCRBY a x
DECR a
DECRBY a 3
INCRBYFLOAT a 0.5
INCR r
SUBSTR r 0 2
SETBIT bits 7 1
SETBIT bits 7 2
GETBIT bits 7
BITCOUNT bits
BITPOS bits 1
BITFIELD bits INCRBY u8 0 10 GET u4 0
BITFIELD_RO bits GET u8 0
SET "" empty
GET ""
SET "\x00\xff\r\n {" "\x00\xff\r\n$5\r\nvalue"
GET "\x00\xff\r\n {"
TYPE "\x00\xff\r\n {"
DEL "\x00\xff\r\n {"
SET bin ""
GET bin
RPUSH l a b c
LPUSH l z
LPUSHX nolist x
RPUSHX l d
LRANGE l 0 -1
LLEN l
LINDEX l 1
LINDEX l 100
LSET l 0 y
LSET l 100 y
LSET nolist 0 y
LINSERT l BEFORE b bb
LREM l 1 bb
LPOS l c
LPOP l
LPOP l 2
LPOP nolist 2
RPOP l
LTRIM l 0 0
LMPOP 1 l LEFT
LMPOP 1 l LEFT COUNT 10
LMPOP 0 l LEFT
GET l
LPUSH a x
SADD s 1 2 3
SADD s 3
SCARD s
SISMEMBER s 2
SMISMEMBER s 1 9
SMEMBERS s
SREM s 1
SPOP nosuchset
SRANDMEMBER nosuchset 3
SSCAN s 0
ZADD z 1 a 2 b 3 c
ZADD z NX GT 1 a
ZADD z x a
ZADD z XX CH 5 a
ZADD z INCR 1 a
ZSCORE z a
ZMSCORE z a nobody
ZRANGE z 0 -1 WITHSCORES
ZRANGE z 0 -1 REV
ZRANGE z (1 +inf BYSCORE LIMIT 0 1
ZRANGE z 0 -1 BYFOO
ZRANGEBYSCORE z -inf +inf WITHSCORES
ZREVRANGEBYSCORE z +inf -inf
ZRANGEBYLEX z - +
ZRANK z a
ZRANK z a WITHSCORE
ZREVRANK z nobody
ZCOUNT z 1 3
ZLEXCOUNT z - +
ZINCRBY z 2 b
ZCARD z
ZPOPMIN z
ZPOPMAX z 2
ZMPOP 1 z MIN
ZREM z a
ZREMRANGEBYRANK z 0 0
ZREMRANGEBYSCORE z 0 100
ZREMRANGEBYLEX z - +
HSET h f 1 g 2
HGET h f
HGET h nofield
HMGET h f nofield g
HMSET h i 3
HSETNX h f 9
HGETALL h
HKEYS h
HVALS h
HLEN h
HSTRLEN h f
HEXISTS h f
HINCRBY h f 5
HINCRBYFLOAT h f 0.25
HINCRBY h f 1
HDEL h f nofield
HSCAN h 0
HSET h odd
HGETALL nohash
XADD x 1-1 f v
XADD x 1-1 f v
XADD x 2-1 f v g w
XADD x 3-0 f
XLEN x
XRANGE x - +
XREVRANGE x + - COUNT 1
XREAD COUNT 1 STREAMS x 0
XREAD STREAMS x $
XREAD STREAMS x
XDEL x 1-1
XTRIM x MAXLEN 1
XGROUP CREATE x g 0
XGROUP CREATE x g 0
XGROUP CREATECONSUMER x g joe
XREADGROUP GROUP g joe COUNT 1 STREAMS x >
XREADGROUP GROUP nogroup joe STREAMS x >
XACK x g 2-1
XPENDING x g
XINFO STREAM x
XINFO GROUPS x
XINFO NOSUCH x
XSETID x 9-9
XAUTOCLAIM x g joe 0 0
GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEODIST geo Palermo Catania km
GEOHASH geo Palermo Catania
GEOPOS geo Palermo nobody
GEORADIUS geo 15 37 200 km ASC
GEORADIUS_RO geo 15 37 200 km WITHDIST ASC
GEORADIUSBYMEMBER geo Palermo 200 km ASC
GEOSEARCH geo FROMLONLAT 15 37 BYRADIUS 200 km ASC
GEORADIUS geo 15 37 200 km ASC STORE {geo}2
GEORADIUS geo 15 37 200 km ASC STOREDIST {geo}3
GEOSEARCHSTORE {geo}4 geo FROMLONLAT 15 37 BYRADIUS 200 km ASC
ZRANGE {geo}4 0 -1
PFADD pf a b c
PFCOUNT pf
PFMERGE {pf}2 pf
PFCOUNT pf {pf}2
EXISTS a
TYPE s
TYPE missing
OBJECT ENCODING s
OBJECT REFCOUNT missing
OBJECT HELP
EXPIREAT a 99999999999
EXPIRETIME a
PEXPIRETIME a
PERSIST a
TTL a
PTTL missing
EXPIRE a 100 BOTH
EXPIRE missing 100
RENAME a {a}b
RENAMENX {a}b a
RENAME missing {missing}b
COPY a {a}copy
COPY a {a}copy REPLACE
COPY a {a}copy DB 0
DUMP bin
RESTORE bin2 0 notadump
SORT l
RPUSH nums 3 1 2
SORT nums DESC
SORT nums LIMIT 0 1 STORE {nums}sorted
LRANGE {nums}sorted 0 -1
SORT nums BY nosort GET #
SORT nums FOO
SORT_RO nums ALPHA
MSETNX {m}1 a {m}2 b
MSETNX {m}1 a {m}3 b
BITOP AND {bits}r bits bits
SMOVE s {s}2 2
SUNION s {s}2
SINTER s {s}2
SINTERCARD 2 s {s}2
SDIFF s {s}2
SUNIONSTORE {s}3 s {s}2
RPOPLPUSH nums {nums}2
LMOVE nums {nums}2 LEFT RIGHT
LMPOP 2 {nums}2 nums LEFT COUNT 9
ZADD {z}1 1 a 2 b
ZADD {z}2 3 b 4 c
ZUNIONSTORE {z}3 2 {z}1 {z}2 WEIGHTS 1 2
ZINTERSTORE {z}4 2 {z}1 {z}2 AGGREGATE MAX
ZDIFFSTORE {z}5 2 {z}1 {z}2
ZUNION 2 {z}1 {z}2 WITHSCORES
ZINTER 2 {z}1 {z}2
ZINTERCARD 2 {z}1 {z}2
ZDIFF 2 {z}1 {z}2
ZRANGESTORE {z}6 {z}3 0 -1
ZMPOP 2 {z}4 {z}3 MAX COUNT 5
ZUNIONSTORE {z}3 0 {z}1
ZUNIONSTORE {z}3 x {z}1
ZUNIONSTORE {z}3 9 {z}1
LCS {m}1 {m}2 LEN
XREAD STREAMS {xs}a {xs}b 0 0
EVAL "return {KEYS[1], ARGV[1], 7}" 1 k v
EVAL "return redis.call('SET', KEYS[1], ARGV[1])" 1 scripted v
EVAL "return redis.call('GET', KEYS[1])" 1 scripted
EVAL_RO "return redis.call('GET', KEYS[1])" 1 scripted
EVAL "return redis.error_reply('MY error')" 0
EVAL "return {1, {2, {3, 'x'}}, false}" 0
EVAL "this is no lua" 0
EVAL "return 1" notanumber
EVAL "return 1" -1
EVAL "return 1" 2 k
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 k
FCALL nosuch 1 k
LOLWUT VERSION 5 1 1 1
ECHO hello
ECHO
PING
PING hello
PING hello world
SELECT 0
SELECT 99
SELECT -1
SELECT x
CLIENT GETNAME
CLIENT SETNAME me
CLIENT GETNAME
CLIENT SETNAME "not me"
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT NOSUCH
CLIENT
CLIENT KILL
CLIENT KILL 1.2.3.4:5
CLIENT KILL ID x
CLIENT KILL ID 0
CLIENT KILL FOO bar
CLIENT KILL TYPE nosuch
CLIENT KILL USER nobody
CLIENT KILL SKIPME maybe
CLIENT KILL ID
CLIENT LIST TYPE nosuch
CLIENT LIST ID x
CLIENT LIST FOO
CLIENT LIST TYPE replica
CLIENT UNBLOCK 999999
CLIENT UNBLOCK x
CLIENT UNBLOCK 1 FOO
CLIENT UNBLOCK
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT NO-EVICT maybe
CLIENT NO-TOUCH ON
CLIENT NO-TOUCH
CLIENT SETINFO lib-name weir-test
CLIENT SETINFO lib-ver 1.0
CLIENT SETINFO lib-foo 1.0
CLIENT SETINFO lib-name "with blanks"
CLIENT REPLY maybe
CLIENT HELP
HELLO 1
HELLO 4
HELLO x
HELLO 2 FOO
HELLO 2 SETNAME
HELLO 2 SETNAME "with blanks"
HELLO 2 AUTH nobody nothing
AUTH secret
AUTH default secret
AUTH nobody secret
AUTH a b c
AUTH
RESET
COMMAND COUNT
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS GET
COMMAND GETKEYS NOSUCH a
COMMAND GETKEYSANDFLAGS SORT a STORE b
COMMAND INFO get nosuch
COMMAND DOCS set
COMMAND LIST FILTERBY PATTERN xreadg*
COMMAND NOSUCH
COMMAND HELP
NOSUCH
NOSUCH a b c
"no\x00such" "\xff"
"nosuch\r\nwith a line" "and\r\none more"
GET
GET a b
set a
OBJECT NOSUCH a
OBJECT
CONFIG GET
CONFIG RESETSTAT
SLOWLOG LEN
SLOWLOG GET
SLOWLOG RESET
SLOWLOG GET x
SLOWLOG NOSUCH
LATENCY LATEST
LATENCY RESET
LATENCY HISTORY command
LATENCY HELP
DBSIZE x
FLUSHALL NOW
FLUSHDB NOW
CLUSTER INFO
PUBSUB CHANNELS
PUBSUB CHANNELS a b
PUBSUB ShardChannels a b
PUBSUB NUMPAT a
PUBSUB NUMSUB
PUBSUB SHARDNUMSUB a b
PUBSUB NOSUCH
PUBSUB
WAIT
WAIT 0
WAITAOF 0 0
"#;

/// Commands whose keys lie on several shards, and that are split and merged.
const SPLIT: &str = r##"
MSET k1 a k2 b k3 c k4 d k5 e k6 "" k7 "\x00\r\n"
MGET k1 k2 k3 k4 k5 k6 k7
MGET k7 k1 missing k1 k2 k7 k7 alsomissing
MGET missing1 missing2 missing3
MGET k1
MGET
MSET k1 x k1 y k2 z k2 w
MGET k1 k2
MSET k1 a k2
MSET k1
MSET
LPUSH list x
MGET k1 list k2 list
EXISTS k1 k2 k3 missing k1 k1
EXISTS list k1
EXISTS
TOUCH k1 k2 missing k2
UNLINK k1 k2 missing k1
DEL k3 k3 k4 missing list
DEL missing1 missing2
DEL
UNLINK
TOUCH
MGET k1 k2 k3 k4 k5 k6 k7
DBSIZE
SCRIPT LOAD "return KEYS[1]"
SCRIPT EXISTS 4ca238f611c9d0ae4e9a75a5dbac22aedc1e4928 4ca238f611c9d0ae4e9a75a5dbac22aedc1e4929
SCRIPT LOAD "this is no lua"
SCRIPT EXISTS
EVALSHA 4ca238f611c9d0ae4e9a75a5dbac22aedc1e4928 1 k1
EVALSHA 4ca238f611c9d0ae4e9a75a5dbac22aedc1e4928 1 k2
EVALSHA 4ca238f611c9d0ae4e9a75a5dbac22aedc1e4928 1 k3
SCRIPT FLUSH
SCRIPT EXISTS 4ca238f611c9d0ae4e9a75a5dbac22aedc1e4928
EVALSHA 4ca238f611c9d0ae4e9a75a5dbac22aedc1e4928 1 k1
SCRIPT FLUSH FOO
SCRIPT KILL
FUNCTION LOAD "#!lua name=lib\nredis.register_function('f', function(keys) return keys[1] end)"
FUNCTION LOAD "#!lua name=lib\nredis.register_function('f', function(keys) return keys[1] end)"
FCALL f 1 k1
FCALL f 1 k2
FCALL f 1 k3
FUNCTION DELETE lib
FUNCTION DELETE lib
FUNCTION FLUSH
FLUSHDB
DBSIZE
RANDOMKEY
KEYS *
FLUSHALL SYNC
FLUSHALL ASYNC
"##;

/// Commands whose keys lie in different slots, which a cluster refuses. Each is preceded by
/// nothing: what they find doesn't matter.
const CROSS_SLOT: &str = r#"
MSETNX a 1 b 2
RENAME a b
RENAMENX a b
COPY a b
SUNION a b
SINTERSTORE a b c
SINTERCARD 2 a b
SMOVE a b x
LMOVE a b LEFT LEFT
RPOPLPUSH a b
LMPOP 2 a b LEFT
LMPOP 2 {a} b LEFT
ZMPOP 2 a b MIN
ZUNIONSTORE a 2 b c
ZUNIONSTORE a 1 b
ZUNION 2 a b
ZRANGESTORE a b 0 -1
GEORADIUS a 1 1 1 km STORE b
GEORADIUSBYMEMBER a x 1 km STOREDIST b
GEOSEARCHSTORE a b FROMLONLAT 1 1 BYRADIUS 1 km
SORT a STORE b
SORT a BY w_* GET o_*
SORT a GET o_*
SORT_RO a BY w_*
BITOP AND a b c
PFMERGE a b
PFCOUNT a b
LCS a b
XREAD STREAMS a b 0 0
XREADGROUP GROUP g c STREAMS a b > >
EVAL "return 1" 2 a b
EVALSHA ffffffffffffffffffffffffffffffffffffffff 2 a b
FCALL f 2 a b
"#;

/// The same, in one slot: fine in a cluster too.
const SAME_SLOT: &str = r#"
MSETNX {a}1 1 {a}2 2
RENAME {a}1 {a}2
LMPOP 2 {a}3 {a}4 LEFT
ZUNIONSTORE {a}5 2 {a}6 {a}7
SORT {a}3 STORE {a}8
XREAD STREAMS {a}8 {a}9 0 0
EVAL "return 1" 2 {a}1 {a}2
EVAL "return #KEYS" 0
"#;

/// Sends each line to both, and tells the lines on which they differ.
fn differences(lines: &str, stock: &mut Client, endpoint: &mut Client) -> Vec<String> {
    let mut differences = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let words = words(line);
        let theirs = stock.call(&words).encode();
        let ours = endpoint.call(&words).encode();
        if theirs != ours {
            differences.push(format!(
                "{line}\n  stock    {}\n  endpoint {}",
                cut(&theirs),
                cut(&ours)
            ));
        }
    }
    differences
}

/// What there is to be seen of a reply: all, or its begin.
fn cut(reply: &[u8]) -> String {
    const SHOWN: usize = 400;
    let text = escape(reply);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], reply.len()),
        None => text,
    }
}

fn assert_same(differences: &[String]) {
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn commands_of_one_shard() {
    for server in servers::both() {
        let stock = Proc::start(&server, &NO_LINES);
        let database = Database::start(&server, 2);
        assert_same(&differences(ONE_SHARD, &mut stock.client(), &mut database.client()));
    }
}

#[test]
fn commands_of_several_shards() {
    for server in servers::both() {
        let stock = Proc::start(&server, &NO_LINES);
        let database = Database::start(&server, 3);
        assert_same(&differences(SPLIT, &mut stock.client(), &mut database.client()));
    }
}

#[test]
fn a_database_of_one_shard_is_a_stock_server() {
    for server in servers::both() {
        let stock = Proc::start(&server, &NO_LINES);
        let database = Database::start(&server, 1);
        let (mut stock, mut endpoint) = (stock.client(), database.client());
        for lines in [ONE_SHARD, SPLIT, CROSS_SLOT, SAME_SLOT] {
            assert_same(&differences(lines, &mut stock, &mut endpoint));
        }
    }
}

#[test]
fn keys_of_several_slots_are_refused_as_in_a_cluster() {
    for server in servers::both() {
        let node = Proc::start(&server, &["cluster-enabled yes"]);
        node.client().command("CLUSTER ADDSLOTSRANGE 0 16383");
        lab::eventually("the cluster is up", || {
            node.client().command("CLUSTER INFO").text().contains("cluster_state:ok")
        });
        let database = Database::start(&server, 2);
        let (mut stock, mut endpoint) = (node.client(), database.client());
        for lines in [CROSS_SLOT, SAME_SLOT] {
            assert_same(&differences(lines, &mut stock, &mut endpoint));
        }
    }
}
