//! Pub/Sub on real servers, Valkey and Redis: what subscribers get, compared with a bare server
//! wherever one has an answer.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test may sleep, and start threads")]

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use lab::client::{Client, Value, bulk, encode, ok, simple};
use lab::cluster::Shards;
use lab::host::Host;
use lab::process::Proc;
use lab::servers::{self, Server};
use weir::shards::HashSlot;

/// Long enough for a message that must not come to have come.
const QUIET: Duration = Duration::from_millis(100);

struct Database {
    // Dropped in this order: the host goes before its shards, and so never misses them.
    host: Host,
    shards: Shards,
}

impl Database {
    fn start(server: &Server, shards: usize) -> Database {
        Database::with(server, shards, &[], &["weir.threads 2"])
    }

    /// With lines for the shards' configurations and for the host's.
    fn with(server: &Server, shards: usize, theirs: &[&str], ours: &[&str]) -> Database {
        let plan = Shards::of(server).shards(shards).replicas(0);
        let shards = theirs.iter().fold(plan, |plan, line| plan.line(*line)).start();
        let plan = Host::of(server).upstream(shards.upstream());
        let host = ours.iter().fold(plan, |plan, line| plan.line(*line)).start();
        Database { host, shards }
    }

    fn client(&self) -> Client {
        self.host.client()
    }

    fn resp3(&self) -> Client {
        let mut client = self.client();
        client.command("HELLO 3");
        client
    }
}

/// A name whose slot is on shard `shard` of so many.
fn name_on(shard: usize, shards: usize) -> String {
    let on_it = |name: &String| {
        usize::from(HashSlot::of(name.as_bytes()).number()) * shards / 16_384 == shard
    };
    (0..).map(|n: usize| format!("name:{n}")).find(on_it).unwrap()
}

fn push(words: &[&str]) -> Value {
    Value::Push(words.iter().map(bulk).collect())
}

fn array(words: &[&str]) -> Value {
    Value::Array(words.iter().map(bulk).collect())
}

// ------------------------------------------------------------------------ as a stock server

/// Plays a scene: each line names a client, says a command of it, or nothing, and how many frames
/// it gets then. Returns what each line has brought.
fn play(scene: &str, mut connect: impl FnMut() -> Client) -> Vec<String> {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut told = Vec::new();
    for line in scene.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (said, frames) = line.rsplit_once("=>").unwrap();
        let mut words = said.split_whitespace();
        let client = clients.entry(words.next().unwrap().to_owned()).or_insert_with(&mut connect);
        let words: Vec<&str> = words.collect();
        if !words.is_empty() {
            client.send(&words);
        }
        match frames.trim() {
            "closed" => client.assert_closed(),
            "silence" => assert!(client.is_silent(QUIET), "{line}: not silent"),
            count => {
                for _ in 0..count.parse().unwrap() {
                    let frame = client.try_read();
                    assert!(frame.is_ok(), "{line}: {frame:?}");
                    told.push(format!("{line}: {:?}", frame.unwrap()));
                }
            }
        }
    }
    told
}

/// Everything that a client of RESP2 can do, in one scene.
const RESP2: &str = "
    s PING => 1
    s SUBSCRIBE a b a => 3
    s SUBSCRIBE a => 1
    s PING => 1
    s PING hello => 1
    s PING too many => 1
    s GET k => 1
    s NOSUCH => 1
    s GET => 1
    s SUBSCRIBE => 1
    s HELLO 3 => 1
    s PUBLISH a x => 1
    s CLIENT ID => 1
    p PUBLISH a one => 1
    s => 1
    p PUBLISH nobody one => 1
    s PSUBSCRIBE a* [bc] => 2
    p PUBLISH a two => 1
    s => 2
    p PUBLISH b three => 1
    s => 2
    p PUBLISH c four => 1
    s => 1
    p PUBSUB NUMSUB a b c => 1
    p PUBSUB NUMSUB => 1
    p PUBSUB NUMPAT => 1
    p PUBSUB CHANNELS [a] => 1
    p PUBSUB CHANNELS x* => 1
    p PUBSUB NOSUCH => 1
    p PUBSUB => 1
    s UNSUBSCRIBE a nosuch => 2
    s PUNSUBSCRIBE a* => 1
    p PUBLISH a five => 1
    s => silence
    s UNSUBSCRIBE => 1
    s UNSUBSCRIBE => 1
    s PUNSUBSCRIBE => 1
    s SET k v => 1
    s GET k => 1
    s SSUBSCRIBE t => 1
    s GET k => 1
    p SPUBLISH t six => 1
    p PUBLISH t seven => 1
    s => 1
    s => silence
    s SUBSCRIBE t => 1
    p SPUBLISH t eight => 1
    p PUBLISH t nine => 1
    s => 2
    p PUBSUB SHARDCHANNELS => 1
    p PUBSUB SHARDCHANNELS t* => 1
    p PUBSUB SHARDNUMSUB t u => 1
    p PUBSUB NUMSUB t => 1
    s UNSUBSCRIBE => 1
    s SUNSUBSCRIBE x => 1
    s SUNSUBSCRIBE => 1
    s GET k => 1
    s SUBSCRIBE a => 1
    s RESET => 1
    s GET k => 1
    p PUBLISH a ten => 1
    s => silence
    s CLIENT REPLY OFF => 0
    s SUBSCRIBE a => 1
    p PUBLISH a eleven => 1
    s => 1
    s UNSUBSCRIBE => 1
    s GET k => silence
    s CLIENT REPLY ON => 1
    s CLIENT REPLY SKIP => 0
    s PSUBSCRIBE * => 1
    p PUBLISH a twelve => 1
    s => 1
    p PUBLISH => 1
    p PUBLISH a => 1
    p PUBLISH a b c => 1
    q SUBSCRIBE a => 1
    p PUBLISH a thirteen => 1
    q => 1
    s => 1
    q QUIT => 1
    q => closed
";

/// The same of RESP3, where a client that listens may say anything.
const RESP3: &str = "
    s HELLO 2 => 1
    s SUBSCRIBE a b => 2
    s RESET => 1
    s HELLO 2 SETNAME x => 1
    s CLIENT GETNAME => 1
    p PUBLISH a zero => 1
    t SUBSCRIBE a => 1
    t PING => 1
    t PING hello => 1
    t SET k v => 1
    t GET k => 1
    p PUBLISH a one => 1
    t => 1
    t PSUBSCRIBE a? => 1
    t PUBLISH ab two => 1
    t => 1
    t PUBLISH a three => 1
    t => 1
    t SSUBSCRIBE a => 1
    t SPUBLISH a four => 1
    t => 1
    t UNSUBSCRIBE => 1
    t UNSUBSCRIBE => 1
    t PUNSUBSCRIBE => 1
    t SUNSUBSCRIBE => 1
    t CLIENT REPLY OFF => 0
    t SUBSCRIBE a => 1
    t GET k => silence
    t UNSUBSCRIBE a => 1
    t CLIENT REPLY ON => 1
    t SUBSCRIBE foo => 1
    t MULTI => 1
    t PUBLISH foo bar => 1
    t GET k => 1
    t PUBLISH foo vaz => 1
    t EXEC => 1
    t => 2
    t EVAL redis.call('publish','foo','one');redis.call('publish','foo','two');return('end') 0 => 1
    t => 2
    t HELLO 2 => 1
    t GET k => 1
    t PING => 1
    p PUBLISH foo last => 1
    t => 1
    t QUIT => 1
    t => closed
";

/// Who listens to nothing stops to. Valkey 8.0.0 and 8.0.1 alone answered with an error, which
/// broke clients and was taken back.
const UNASKED: &str = "
    s UNSUBSCRIBE => 1
    s PUNSUBSCRIBE => 1
    s SUNSUBSCRIBE => 1
    s UNSUBSCRIBE a b => 2
    s GET k => 1
";

/// Without what no two connections have in common.
fn comparable(told: Vec<String>) -> Vec<String> {
    told.into_iter().filter(|line| !line.contains("HELLO 2")).collect()
}

#[test]
fn a_subscriber_sees_what_a_stock_server_shows() {
    for server in servers::both() {
        let bare = Proc::start(&server, &["appendonly no"]);
        let connect3 = |mut client: Client| {
            client.command("HELLO 3");
            client
        };
        let expected = play(RESP2, || bare.client());
        let expected3 = comparable(play(RESP3, || connect3(bare.client())));
        for shards in [1, 3] {
            let database = Database::start(&server, shards);
            assert_eq!(play(RESP2, || database.client()), expected, "{shards} shard(s)");
            let told = comparable(play(RESP3, || connect3(database.client())));
            assert_eq!(told, expected3, "{shards} shard(s)");
            if !bare.client().command("UNSUBSCRIBE").is_error("NOSUB") {
                let told = play(UNASKED, || database.client());
                assert_eq!(told, play(UNASKED, || bare.client()));
                let told = play(UNASKED, || connect3(database.client()));
                assert_eq!(told, play(UNASKED, || connect3(bare.client())));
            }
            assert_eq!(database.client().command("PUBSUB NUMPAT"), Value::Int(0));
        }
    }
}

#[test]
fn shard_channels_of_several_slots_are_refused_as_in_a_cluster() {
    let server = &servers::both()[0];
    let database = Database::start(server, 3);
    let mut client = database.client();
    assert!(client.command("SSUBSCRIBE a b").is_error("CROSSSLOT"));
    client.send(&["SSUBSCRIBE", "{a}1", "{a}2"]);
    assert_eq!(client.read().items()[2], Value::Int(1));
    assert_eq!(client.read().items()[2], Value::Int(2));
    assert_eq!(database.client().command("SPUBLISH {a}2 x"), Value::Int(1));
    assert_eq!(client.read(), array(&["smessage", "{a}2", "x"]));
}

// ------------------------------------------------------------------------ many

#[test]
fn many_clients_are_one_subscriber_of_a_shard_and_all_are_counted() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut clients: Vec<Client> = (0..200).map(|_| database.client()).collect();
        for client in &mut clients {
            client.send(&["SUBSCRIBE", "news"]);
        }
        for client in &mut clients {
            client.read();
        }
        for shard in database.shards.iter() {
            let reply = shard.primary.client().command("PUBSUB NUMSUB news");
            assert!((1..=2).contains(&reply.items()[1].int()), "one for each worker: {reply:?}");
        }
        let mut other = database.client();
        assert_eq!(other.command("PUBSUB NUMSUB news").items()[1], Value::Int(200));
        assert_eq!(other.command("PUBLISH news x"), Value::Int(200));
        for client in &mut clients {
            assert_eq!(client.read(), array(&["message", "news", "x"]));
        }
        // Whoever leaves isn't counted from then on, however late the shards learn of it.
        for (left, mut client) in (0..200).rev().zip(clients) {
            let mut says = |command: &str, word: &str| {
                client.send(&[command, "news"]);
                while client.read().items()[0] != bulk(word) {}
            };
            says("UNSUBSCRIBE", "unsubscribe");
            assert_eq!(other.command("PUBLISH news y"), Value::Int(left));
            if left % 20 == 0 {
                says("SUBSCRIBE", "subscribe");
                assert_eq!(other.command("PUBLISH news z"), Value::Int(left + 1));
                says("UNSUBSCRIBE", "unsubscribe");
            }
            assert!(client.is_silent(Duration::from_millis(1)));
        }
        // Somebody who listens at the shard itself is a receiver too, once there is no doubt that
        // the shard doesn't mean us.
        let shard = usize::from(HashSlot::of(b"news").number() >= 8192);
        let mut direct = database.shards.primary(shard).client();
        direct.command("SUBSCRIBE news");
        lab::eventually("it is counted", || other.command("PUBLISH news x") == Value::Int(1));
        let mut client = database.client();
        client.command("PSUBSCRIBE n*");
        assert_eq!(other.command("PUBLISH news x"), Value::Int(2));
    }
}

#[test]
fn what_was_published_before_is_not_delivered_and_what_comes_behind_is() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut others = database.client();
        others.command("SUBSCRIBE c");
        for number in 0..200 {
            let mut client = database.resp3();
            let mut bytes = encode(&["PUBLISH", "c", "before"]);
            bytes.extend(encode(&["SUBSCRIBE", "c"]));
            bytes.extend(encode(&["PUBLISH", "c", "behind"]));
            bytes.extend(encode(&["ECHO", "end"]));
            client.send_raw(&bytes);
            assert_eq!(client.read(), Value::Int(1), "{number}");
            assert_eq!(client.read().items()[0], bulk("subscribe"));
            assert_eq!(client.read(), Value::Int(2));
            let rest = [client.read(), client.read()];
            assert!(rest.contains(&push(&["message", "c", "behind"])), "{rest:?}");
            assert!(rest.contains(&bulk("end")));
            assert_eq!(others.read(), array(&["message", "c", "before"]));
            assert_eq!(others.read(), array(&["message", "c", "behind"]));
            client.command("UNSUBSCRIBE c");
        }
    }
}

#[test]
fn whoever_publishes_wherever_is_heard() {
    for server in servers::both() {
        let lines = &["notify-keyspace-events KEA"];
        let database = Database::with(&server, 3, lines, &["weir.threads 2"]);
        let mut listener = database.client();
        listener.command("SUBSCRIBE __keyevent@0__:set");
        let mut by_pattern = database.client();
        by_pattern.command("PSUBSCRIBE __keyspace@0__:name*");
        let mut channel = database.client();
        channel.command("SUBSCRIBE c");
        let mut client = database.client();
        for shard in 0..3 {
            let key = name_on(shard, 3);
            client.command(&format!("SET {key} v"));
            assert_eq!(listener.read(), array(&["message", "__keyevent@0__:set", &key]));
            assert_eq!(by_pattern.read().items()[2].text(), format!("__keyspace@0__:{key}"));
            // A script and a transaction publish where their keys are.
            let script = "return redis.call('publish', 'c', 'script')";
            client.call(&["EVAL", script, "1", &key]);
            assert_eq!(channel.read(), array(&["message", "c", "script"]));
            client.command("MULTI");
            client.command(&format!("GET {key}"));
            assert_eq!(client.command("PUBLISH c transaction"), simple("QUEUED"));
            assert_eq!(client.command("EXEC").items().len(), 2);
            assert_eq!(channel.read(), array(&["message", "c", "transaction"]));
        }
        assert!(listener.is_silent(QUIET) && by_pattern.is_silent(QUIET));
        assert!(channel.is_silent(QUIET));
    }
}

#[test]
fn messages_never_come_inside_a_reply() {
    let server = &servers::both()[0];
    let database = Database::start(server, 1);
    let mut client = database.resp3();
    let value = "v".repeat(16 * 1024 * 1024);
    client.call(&["SET", "large", &value]);
    client.command("SUBSCRIBE c");
    client.send(&["GET", "large"]);
    let publisher = thread::spawn({
        let mut other = database.client();
        move || {
            for number in 0..500 {
                assert_eq!(other.command(&format!("PUBLISH c {number}")), Value::Int(1));
            }
        }
    });
    let mut numbers = 0;
    let mut replies = 0;
    while numbers < 500 || replies < 1 {
        match client.read_slowly(256 * 1024, Duration::from_millis(1)) {
            Value::Bulk(bytes) => {
                assert!(bytes == value.as_bytes());
                replies += 1;
            }
            message => {
                assert_eq!(message, push(&["message", "c", &numbers.to_string()]));
                numbers += 1;
            }
        }
    }
    publisher.join().unwrap();
}

// ------------------------------------------------------------------------ who is slow, or gone

#[test]
fn a_slow_subscriber_is_closed_and_holds_up_nobody() {
    for server in servers::both() {
        let lines = &["weir.threads 1", "weir.pubsub-output-max 1mb"];
        let database = Database::with(&server, 1, &[], lines);
        let mut slow = database.client();
        slow.command("SUBSCRIBE c");
        let mut fast = database.client();
        fast.command("SUBSCRIBE c");
        let mut publisher = database.client();
        let message = "m".repeat(100 * 1024);
        for _ in 0..300 {
            let receivers = publisher.call(&["PUBLISH", "c", &message]).int();
            assert!((1..=2).contains(&receivers));
            assert_eq!(fast.read().items()[2].bytes(), message.as_bytes());
        }
        lab::eventually("the slow one is closed", || {
            publisher.call(&["PUBLISH", "c", "x"]) == Value::Int(1)
        });
        assert!(database.host.log().contains("takes its messages too slowly"));
        assert_eq!(database.host.info_weir().int("weir_pubsub_slow_clients"), 1);
        let rest = slow.read_to_end();
        assert!(rest.len() < 30 * 1024 * 1024, "{} bytes", rest.len());
        // A message that is too large for anybody.
        let message = "m".repeat(3 * 1024 * 1024);
        publisher.call(&["PUBLISH", "c", &message]);
        let closed = (0..1000).find_map(|_| fast.try_read().err());
        assert!(closed.is_some(), "who can't have it is closed");
        assert_eq!(publisher.command("PING"), simple("PONG"));
    }
}

#[test]
fn a_shard_that_is_back_is_subscribed_again() {
    for server in servers::both() {
        let lines = &["weir.threads 1", "weir.failover-timeout 200"];
        let database = Database::with(&server, 2, &[], lines);
        let channel = name_on(1, 2);
        let mut client = database.client();
        client.command(&format!("SUBSCRIBE {channel}"));
        let mut other = database.client();
        assert_eq!(other.command(&format!("PUBLISH {channel} 1")), Value::Int(1));
        client.read();
        database.shards.primary(1).kill9();
        lab::eventually("it is noticed", || {
            other.command(&format!("PUBLISH {channel} 2")).is_error("CLUSTERDOWN")
        });
        // Other shards are there: a channel can be listened to, a shard channel can't.
        let mut late = database.client();
        late.command("PSUBSCRIBE *");
        let refused = late.command(&format!("SSUBSCRIBE {channel}"));
        assert!(refused.is_error("CLUSTERDOWN"), "{refused:?}");
        let elsewhere = name_on(0, 2);
        assert_eq!(other.command(&format!("PUBLISH {elsewhere} 3")), Value::Int(1));
        assert_eq!(late.read().items()[3], bulk("3"));
        database.shards.primary(1).restart();
        lab::eventually("it is subscribed again", || {
            other.command(&format!("PUBLISH {channel} 4")) == Value::Int(2)
                && !client.is_silent(Duration::from_millis(20))
        });
        assert_eq!(client.read().items()[2], bulk("4"));
        assert_eq!(late.read().items()[3], bulk("4"));
        let log = database.host.log();
        assert!(log.contains("may have been missed"), "{log}");
    }
}

#[test]
fn a_wire_that_is_cut_is_mended() {
    let server = &servers::both()[0];
    let database = Database::start(server, 1);
    let mut client = database.client();
    client.command("SUBSCRIBE c");
    let mut shard = database.shards.primary(0).client();
    assert!(shard.command("CLIENT KILL TYPE pubsub").int() >= 1);
    let mut other = database.client();
    lab::eventually("messages come again", || {
        other.command("PUBLISH c x");
        !client.is_silent(Duration::from_millis(20))
    });
}

/// What proxies are known to get wrong.
#[test]
fn clients_that_go_leave_nothing_behind() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        for round in 0..50 {
            let mut client = database.client();
            match round % 5 {
                0 => client.send(&["SUBSCRIBE", "c"]),
                1 => client.send(&["UNSUBSCRIBE", "c"]),
                2 => client.send_raw(b"SUBSCRIBE c\r\nUNSUBSCRIBE\r\nPSUBSCRIBE *\r\n"),
                3 => {
                    client.command("SUBSCRIBE c d");
                    client.command("RESET");
                }
                _ => client.send_raw(b"SUBSCRIBE c\r\nSUBSC"),
            }
        }
        let mut other = database.client();
        lab::eventually("nobody listens", || other.command("PUBLISH c x") == Value::Int(0));
        assert_eq!(other.command("PUBSUB CHANNELS"), Value::Array(vec![]));
        assert_eq!(other.command("PUBSUB NUMPAT"), Value::Int(0));
        lab::eventually("the shards know", || {
            database.shards.iter().all(|shard| {
                let mut shard = shard.primary.client();
                shard.command("PUBSUB NUMPAT") == Value::Int(0)
                    && shard.command("PUBSUB CHANNELS") == Value::Array(vec![])
            })
        });
        lab::eventually("nothing is counted", || {
            let info = database.host.info_weir();
            (info.int("weir_pubsub_clients"), info.int("weir_pubsub_topics")) == (0, 0)
        });
    }
}

#[test]
fn what_is_told_of_subscribers() {
    for server in servers::both() {
        let lines = &["weir.threads 2", "weir.timeout 1"];
        let database = Database::with(&server, 2, &[], lines);
        let mut clients: Vec<Client> = (0..4).map(|_| database.resp3()).collect();
        for client in &mut clients {
            client.send_raw(b"SUBSCRIBE a b\r\nPSUBSCRIBE c*\r\nSSUBSCRIBE d\r\nCLIENT INFO\r\n");
            for _ in 0..4 {
                client.read();
            }
            let line = client.read().text();
            assert!(line.contains(" flags=P ") && line.contains(" sub=2 psub=1 ssub=1 "), "{line}");
        }
        let mut other = database.client();
        let info = other.command("INFO").text();
        for field in
            ["pubsub_clients:4", "pubsub_channels:2", "pubsub_patterns:1", "pubsubshard_channels:1"]
        {
            assert!(info.contains(&format!("{field}\r\n")), "no {field} in {info}");
        }
        let listed = other.command("CLIENT LIST TYPE pubsub").text();
        assert_eq!(listed.lines().count(), 4, "{listed}");
        // Who listens may be silent for as long as it likes.
        thread::sleep(Duration::from_millis(1500));
        let mut other = database.client();
        assert_eq!(other.command("PUBLISH a x"), Value::Int(4));
        assert_eq!(other.command("CLIENT KILL TYPE pubsub"), Value::Int(4));
        assert_eq!(other.command("PUBLISH a x"), Value::Int(0));
        assert!(!other.command("INFO clients").text().contains("pubsub_clients:4"));
    }
}

// ------------------------------------------------------------------------ permissions

#[test]
fn a_shard_decides_what_may_be_listened_to() {
    for server in servers::both() {
        let acl = "user default on nopass ~* +@all resetchannels &ok* &weir*";
        let bare = Proc::start(&server, &[acl]);
        let database = Database::with(&server, 2, &[acl], &["weir.threads 1"]);
        let scene = "
            s SUBSCRIBE secret => 1
            s PSUBSCRIBE * => 1
            s SSUBSCRIBE secret => 1
            s SUBSCRIBE ok1 secret => 1
            s SET k v => 1
            s SUBSCRIBE ok1 ok2 => 2
            p PUBLISH secret x => 1
            p PUBLISH ok1 x => 1
            s => 1
            s SUBSCRIBE secret => 1
            p PUBLISH ok2 y => 1
            s => 1
            s PING => 1
        ";
        assert_eq!(play(scene, || database.client()), play(scene, || bare.client()));
        // A permission that is taken away: a stock server closes who listens there.
        let mut client = database.client();
        client.command("SUBSCRIBE ok3");
        for shard in database.shards.iter() {
            let mut shard = shard.primary.client();
            assert_eq!(shard.command("ACL SETUSER default resetchannels &weir* &ok1"), ok());
        }
        client.assert_closed();
        assert!(database.host.log().contains("refuses what"));
    }
}
