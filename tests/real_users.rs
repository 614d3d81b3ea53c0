//! Users on real servers, Valkey and Redis: the shards' ACLs decide, and theirs are the words.
//!
//! ```text
//!   rights     who may not is told so as by a bare server, on every path and after every HELLO
//!   order      AUTH and RESET in the middle of pipelines; clients that go while they log in
//!   changes    passwords that change, users that go, rights that are taken away
//!   strangers  clients that have not logged in, a thousand wrong passwords
//!   secrets    no password stays in the host's memory, nor comes into its log
//! ```

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test may sleep, and look at the clock")]

use std::time::{Duration, Instant};

use lab::client::{Client, Value, bulk, ok, simple};
use lab::cluster::Shards;
use lab::host::Host;
use lab::process::Proc;
use lab::procfs;
use lab::servers::{Server, both};

const NO_LINES: [&str; 0] = [];

/// A database without replicas, its endpoint, and a bare server with the same users.
struct Database {
    // Dropped in this order: the host goes before its shards, and so never misses them.
    host: Host,
    shards: Shards,
    bare: Proc,
}

/// All have the password "sesam".
const USERS: &[&str] = &[
    "ACL SETUSER ann on >sesam ~* &* +@all",
    "ACL SETUSER nowait on >sesam ~* &* +@all -wait -waitaof",
    "ACL SETUSER nokeys on >sesam ~mine:* &* +@all",
    "ACL SETUSER few on >sesam ~* +get +set +ping",
    "ACL SETUSER nobody on >sesam -@all",
    "ACL SETUSER off off >sesam ~* +@all",
];

impl Database {
    fn start(server: &Server, shards: usize, lines: &[&str]) -> Database {
        let shards = Shards::of(server).shards(shards).replicas(0).start();
        let bare = Proc::start(server, &NO_LINES);
        for user in USERS {
            for server in shards.iter().map(|shard| &shard.primary).chain([&bare]) {
                assert_eq!(server.client().command(user), ok());
            }
        }
        let plan = Host::of(server).upstream(shards.upstream());
        let host = lines.iter().fold(plan, |plan, line| plan.line(*line)).start();
        Database { host, shards, bare }
    }

    fn client(&self) -> Client {
        self.host.client()
    }

    fn login(&self, user: &str) -> Client {
        logged_in(self.client(), user)
    }
}

#[track_caller]
fn logged_in(mut client: Client, user: &str) -> Client {
    assert_eq!(client.call(&["AUTH", user, "sesam"]), ok());
    client
}

/// Requests on every path: one shard, split, all shards, the endpoint itself, scripts, databases.
const EVERY_PATH: &[&str] = &[
    "GET key:0",
    "SET key:0 v",
    "MGET key:0 key:1 key:2 key:3",
    "MSET key:0 a key:1 b key:2 c key:3 d",
    "DEL key:0 key:1 key:2 key:3",
    "EXISTS key:0 key:1 key:2 key:3",
    "DBSIZE",
    "KEYS nothing",
    "SCAN 0",
    "RANDOMKEY",
    "FLUSHALL",
    "INFO",
    "INFO replication",
    "EVAL \"return 1\" 0",
    "EVAL \"return redis.call('get', KEYS[1])\" 1 key:0",
    "EVAL \"return redis.call('wait', '0', '0')\" 0",
    "SCRIPT EXISTS 0000000000000000000000000000000000000000",
    "FUNCTION LIST",
    "WAIT 0 0",
    "WAITAOF 0 0 0",
    "WAIT x y",
    "WAIT",
    "PING",
    "PING x",
    "PING too many",
    "ECHO x",
    "TIME",
    "SELECT 0",
    "SELECT 1",
    "SELECT x",
    "CLIENT ID",
    "CLIENT INFO",
    "CLIENT LIST",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT SETNAME \"not me\"",
    "CLIENT SETINFO LIB-NAME lib",
    "CLIENT KILL ID 99999999",
    "CLIENT KILL nowhere:1",
    "CLIENT UNBLOCK 99999999",
    "CLIENT NO-EVICT OFF",
    "CLIENT NO-TOUCH OFF",
    "CLIENT NOSUCH",
    "NOSUCH x",
    "ACL WHOAMI",
    "ACL CAT",
    "ACL USERS",
    "ACL GETUSER nobody",
    "ACL LOG RESET",
    "COMMAND COUNT",
    "OBJECT ENCODING key:0",
    "WATCH key:0",
    "PUBLISH news x",
    "SPUBLISH news x",
    "PUBSUB CHANNELS",
    "PUBSUB NUMPAT",
    "BLPOP key:0 0.01",
    "XREAD BLOCK 10 STREAMS key:9 $",
    "AUTH few wrong",
    "AUTH off sesam",
    "AUTH a b c",
];

/// What a bare server refuses, the endpoint refuses in the same words; what it does not, neither.
#[track_caller]
fn assert_same_refusals(bare: &mut Client, endpoint: &mut Client, who: &str) {
    for line in EVERY_PATH {
        let (expected, got) = (bare.command(line), endpoint.command(line));
        let refuses = |reply: &Value| {
            ["NOPERM", "NOAUTH", "WRONGPASS"].iter().any(|code| reply.is_error(code))
        };
        if refuses(&expected) || refuses(&got) {
            assert_eq!(got, expected, "{who}: {line}");
        }
    }
}

#[test]
fn who_may_not_is_told_so_in_the_shards_own_words() {
    for server in both() {
        for shards in [1, 2] {
            let database = Database::start(&server, shards, &[]);
            for user in ["ann", "nowait", "nokeys", "few", "nobody"] {
                let (mut bare, mut here) = (database.bare.client(), database.client());
                for client in [&mut bare, &mut here] {
                    assert_eq!(client.call(&["AUTH", user, "sesam"]), ok());
                }
                assert_same_refusals(&mut bare, &mut here, user);
                // Once more, by what is known now, and in RESP3.
                for client in [&mut bare, &mut here] {
                    let hello = client.call(&["HELLO", "3", "AUTH", user, "sesam"]);
                    assert_eq!(hello.field("proto").int(), 3);
                }
                assert_same_refusals(&mut bare, &mut here, user);
            }
            let (mut bare, mut here) = (database.login("nokeys"), database.login("nokeys"));
            let own = ["MSET", "mine:0", "a", "mine:1", "b", "mine:2", "c"];
            assert_eq!(bare.call(&own), ok());
            assert_eq!(here.command("WAIT 0 0").int(), 0);
        }
    }
}

#[test]
fn a_login_holds_from_its_place_in_the_pipeline_on() {
    let lines = [
        "ACL WHOAMI",
        "SET a 1",
        "WAIT 0 0",
        "AUTH ann sesam",
        "ACL WHOAMI",
        "WAIT 0 0",
        "AUTH nowait sesam",
        "WAIT 0 0",
        "AUTH ann wrong",
        "ACL WHOAMI",
        "AUTH few sesam",
        "AUTH few wrong",
        "DBSIZE",
        "GET a",
        "RESET",
        "ACL WHOAMI",
        "AUTH sesam",
        "AUTH default anything",
        "ACL WHOAMI",
        "HELLO 2 AUTH nobody wrong SETNAME x",
        "HELLO 2 AUTH nobody sesam SETNAME \"x y\"",
        "HELLO 2 AUTH",
        "ACL WHOAMI",
        "CLIENT GETNAME",
    ];
    for server in both() {
        let database = Database::start(&server, 2, &[]);
        let commands: Vec<Vec<String>> =
            lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect();
        for _ in 0..20 {
            // One by one: in a pipeline a stock server swallows the refusal of an AUTH.
            let mut bare = database.bare.client();
            let expected: Vec<Value> = commands.iter().map(|words| bare.call(words)).collect();
            let got = database.client().pipeline(&commands);
            for ((line, got), expected) in lines.iter().zip(got).zip(expected) {
                assert_eq!(got, expected, "{line}");
            }
        }
        let mut client = database.client();
        let hello = client.call(&["HELLO", "3", "AUTH", "ann", "sesam", "SETNAME", "me"]);
        assert_eq!(hello.field("proto").int(), 3);
        assert_eq!(client.command("CLIENT GETNAME"), bulk("me"));
        assert_eq!(client.command("ACL WHOAMI"), bulk("ann"));
        assert_eq!(client.command("RESET"), simple("RESET"));
        assert_eq!(client.command("ACL WHOAMI"), bulk("default"));
    }
}

#[test]
fn clients_that_go_while_they_log_in_leave_no_trace() {
    for server in both() {
        let database = Database::start(&server, 2, &["weir.threads 2"]);
        for round in 0..200 {
            let mut leaver = database.client();
            let password = if round % 2 == 0 { "sesam" } else { "wrong" };
            leaver.send(&["AUTH", "ann", password]);
            if round % 3 == 0 {
                leaver.send(&["GET", "a"]);
            }
            drop(leaver);
            if round % 20 == 0 {
                for user in ["nowait", "few"] {
                    let mut client = database.login(user);
                    let reply = client.command("WAIT 0 0");
                    let text =
                        format!("NOPERM User {user} has no permissions to run the 'wait' command");
                    assert_eq!(reply.error_text(), Some(text));
                }
            }
        }
        assert_eq!(database.client().command("ACL WHOAMI"), bulk("default"));
    }
}

#[test]
fn the_sessions_of_a_user_are_known_by_it() {
    for server in both() {
        let database = Database::start(&server, 1, &["weir.threads 2"]);
        let (mut ann, mut few) = (database.login("ann"), database.login("few"));
        assert!(ann.command("CLIENT INFO").text().contains(" user=ann "));
        let list = ann.command("CLIENT LIST").text();
        assert_eq!(list.matches(" user=few ").count(), 1, "{list}");
        assert_eq!(database.client().command("CLIENT KILL USER few").int(), 1);
        let unknown = ann.command("CLIENT KILL USER stranger");
        assert_eq!(unknown, database.bare.client().command("CLIENT KILL USER stranger"));
        few.assert_closed();
        assert_eq!(ann.command("PING"), simple("PONG"));
    }
}

#[test]
fn users_are_changed_on_all_shards_and_all_workers_know() {
    for server in both() {
        let database = Database::start(&server, 2, &["weir.threads 2"]);
        let mut operator = database.login("ann");
        assert_eq!(operator.command("ACL SETUSER eve on >sesam ~* +@all"), ok());
        for shard in database.shards.iter() {
            let known = shard.primary.client().command("ACL GETUSER eve");
            assert!(!known.is_nil());
        }
        let mut sessions: Vec<Client> = (0..6).map(|_| database.login("eve")).collect();
        for round in 0..10 {
            for session in &mut sessions {
                assert_eq!(session.command("WAIT 0 0").int(), 0, "round {round}");
            }
            assert_eq!(operator.command("ACL SETUSER eve -wait"), ok());
            for session in &mut sessions {
                let reply = session.command("WAIT 0 0");
                assert!(reply.is_error("NOPERM"), "round {round}: {reply:?}");
            }
            assert_eq!(operator.command("ACL SETUSER eve +wait"), ok());
        }
        // One that is changed on the shards themselves is noticed soon.
        for shard in database.shards.iter() {
            assert_eq!(shard.primary.client().command("ACL SETUSER eve -wait"), ok());
        }
        lab::pause(Duration::from_millis(1_500));
        assert!(sessions[0].command("WAIT 0 0").is_error("NOPERM"));
        let mut nokeys = database.login("nokeys");
        for key in ["key:0", "key:1", "key:2", "key:3"] {
            assert!(nokeys.call(&["GET", key]).is_error("NOPERM"));
        }
        let log = operator.command("ACL LOG");
        assert!(log.items().len() >= 3, "eve's and those of both shards: {log:?}");
        assert_eq!(operator.command("ACL LOG RESET"), ok());
        assert_eq!(operator.command("ACL LOG").items(), []);
        let dry = operator.command("ACL DRYRUN eve WAIT 0 0").text();
        assert_eq!(dry, "User eve has no permissions to run the 'wait' command");
        assert_eq!(operator.command("ACL DELUSER eve").int(), 1);
        for shard in database.shards.iter() {
            assert!(shard.primary.client().command("ACL GETUSER eve").is_nil());
        }
        for session in &mut sessions {
            let Ok(reply) = session.try_call(&["GET", "a"]) else { continue };
            assert!(reply.is_error("WRONGPASS") || reply.is_error("IOERR"), "{reply:?}");
        }
        assert_eq!(database.login("ann").command("PING"), simple("PONG"));
    }
}

#[test]
fn a_password_that_changes_ends_nobody_before_a_connection_is_needed() {
    for server in both() {
        let database = Database::start(&server, 1, &[]);
        let shard = database.shards.primary(0);
        let mut session = database.login("ann");
        assert_eq!(session.command("SET a 1"), ok());
        let mut operator = shard.client();
        assert_eq!(operator.command("ACL SETUSER ann resetpass >mellon"), ok());
        assert_eq!(session.command("GET a"), bulk("1"), "as a stock server's client");
        let refused = database.client().command("AUTH ann sesam");
        assert!(refused.is_error("WRONGPASS"), "{refused:?}");
        assert_eq!(database.client().command("AUTH ann mellon"), ok());
        // Its connection is lost: the new one can't log in.
        assert!(operator.command("CLIENT KILL USER ann").int() > 0);
        let closed =
            lab::within(Duration::from_secs(5), || match session.try_call(&["GET", "a"]) {
                Ok(reply) if reply.is_error("IOERR") => None,
                Ok(reply) => {
                    assert!(reply.is_error("WRONGPASS"), "{reply:?}");
                    Some(())
                }
                Err(_) => Some(()),
            });
        assert!(closed.is_some());
        session.assert_closed();
    }
}

/// What strangers ask: before their first AUTH.
const STRANGERS: &[&str] = &[
    "HELLO",
    "HELLO 2",
    "HELLO 3",
    "HELLO 9",
    "HELLO 3 SETNAME me",
    "HELLO 3 AUTH default wrong",
    "HELLO 3 AUTH nosuch wrong SETNAME \"no name\"",
    "AUTH wrong",
    "AUTH default wrong",
    "AUTH a b c",
    "AUTH",
    "NOSUCH",
    "GET",
    "MULTI",
    "EXEC",
    "DISCARD",
    "UNWATCH",
    "RESET",
];

#[test]
fn who_has_not_logged_in_may_only_do_so() {
    for server in both() {
        let lines = ["weir.shard-user ann", "weir.shard-password sesam"];
        let database = Database::start(&server, 2, &lines);
        for server in database.shards.iter().map(|shard| &shard.primary).chain([&database.bare]) {
            let mut operator = server.client();
            assert_eq!(operator.command("CONFIG SET requirepass sesam"), ok());
            // Who is logged in stays so.
            operator.command("CLIENT KILL TYPE normal");
        }
        lab::eventually("the shards are known", || {
            database.client().command("GET a").is_error("NOAUTH")
        });
        let (mut bare, mut here) = (database.bare.client(), database.client());
        assert_same_refusals(&mut bare, &mut here, "a stranger");
        for line in STRANGERS {
            assert_eq!(here.command(line), bare.command(line), "{line}");
        }
        // A stock server closes such a client; here it would close others with it.
        let many = [vec!["MGET"], vec!["a"; 20]].concat();
        assert!(here.call(&many).is_error("NOAUTH"));
        for client in [&mut bare, &mut here] {
            assert_eq!(client.command("AUTH sesam"), ok());
            assert_eq!(client.command("ACL WHOAMI"), bulk("default"));
            assert_eq!(client.command("SET a 1"), ok());
            assert_eq!(client.command("RESET"), simple("RESET"));
            assert!(client.command("GET a").is_error("NOAUTH"));
            assert!(client.command("PING").is_error("NOAUTH"));
        }
        let mut knower = database.login("default");
        let values = knower.command("MGET a b");
        assert_eq!((&values.items()[0], values.items()[1].is_nil()), (&bulk("1"), true));
    }
}

#[test]
fn a_thousand_wrong_passwords_slow_nobody_and_leave_nothing() {
    for server in both() {
        let database = Database::start(&server, 2, &[]);
        let mut worker = database.login("ann");
        let mut attackers: Vec<Client> = (0..50).map(|_| database.client()).collect();
        // All that is opened for good is opened by these.
        assert_eq!(worker.command("MSET key:0 a key:1 b key:2 c"), ok());
        assert!(attackers[0].command("AUTH ann wrong").is_error("WRONGPASS"));
        let connections = |database: &Database| -> usize {
            let shards = database.shards.iter();
            shards
                .map(|shard| shard.primary.client().command("CLIENT LIST").text().lines().count())
                .sum()
        };
        let before = (connections(&database), procfs::resident_bytes(database.host.pid()));
        let log = database.host.log();

        let mut slowest = Duration::ZERO;
        for round in 0..20 {
            for (number, attacker) in attackers.iter_mut().enumerate() {
                let user = format!("user{number}");
                attacker.send(&["AUTH", if number % 2 == 0 { "ann" } else { &user }, "wrong"]);
            }
            for _ in 0..50 {
                let begin = Instant::now();
                assert_eq!(worker.command("GET key:0"), bulk("a"));
                slowest = slowest.max(begin.elapsed());
            }
            for attacker in &mut attackers {
                let reply = attacker.read();
                assert!(reply.is_error("WRONGPASS"), "round {round}: {reply:?}");
            }
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        assert_eq!(database.host.info_weir().int("weir_logins_refused"), 1_001);
        let opened = connections(&database) - before.0;
        assert!(opened < 8, "only doors: {opened}");
        let grown = procfs::resident_bytes(database.host.pid()).saturating_sub(before.1);
        assert!(grown < 4 * 1024 * 1024, "{grown} bytes");
        assert_eq!(database.host.log(), log, "nothing to read for the operator");
    }
}

#[test]
fn no_password_outlives_its_sessions() {
    // Put together at run time, so that only what was sent can be found.
    let secret = |word: &str| format!("{word}-{}", "7f3a9c51e0d24b68");
    for server in both() {
        let database = Database::start(&server, 2, &["weir.threads 2"]);
        let right = secret("right");
        for shard in database.shards.iter() {
            let user = ["ACL", "SETUSER", "zoe", "on", &format!(">{right}"), "~*", "&*", "+@all"];
            assert_eq!(shard.primary.client().call(&user), ok());
        }
        let pid = database.host.pid();
        let mut sessions = Vec::new();
        for number in 0..20 {
            let mut session = database.client();
            match number % 4 {
                0 => assert_eq!(session.call(&["AUTH", "zoe", &right]), ok()),
                1 => {
                    session.send_raw(format!("AUTH zoe {right}\r\n").as_bytes());
                    assert_eq!(session.read(), ok());
                }
                2 => {
                    let hello = session.call(&["HELLO", "3", "AUTH", "zoe", &right]);
                    assert_eq!(hello.field("proto").int(), 3);
                }
                _ => {
                    session.send_raw(format!("PING\r\nAUTH zoe {right}\r\n").as_bytes());
                    assert_eq!([session.read(), session.read()], [simple("PONG"), ok()]);
                }
            }
            assert_eq!(session.call(&["SET", &format!("key:{number}"), "v"]), ok());
            // A connection of its own.
            assert_eq!(session.command("WATCH key:0"), ok());
            let wrong = secret("wrong");
            assert!(session.call(&["AUTH", "zoe", &wrong]).is_error("WRONGPASS"));
            sessions.push(session);
        }
        let mut listener = database.login("ann");
        assert_eq!(listener.call(&["AUTH", "zoe", &right]), ok());
        assert_eq!(listener.command("SUBSCRIBE news").items()[2].int(), 1);
        sessions.push(listener);
        // Never served: half of an AUTH.
        let mut half = database.client();
        half.send_raw(
            format!("*3\r\n$4\r\nAUTH\r\n$3\r\nzoe\r\n$900\r\n{}", secret("half")).as_bytes(),
        );
        assert!(procfs::memory_holds(pid, right.as_bytes()) > 0, "the search finds what is there");
        assert_eq!(procfs::memory_holds(pid, secret("wrong").as_bytes()), 0);
        drop((sessions, half));

        for word in ["right", "half"] {
            let gone = lab::within(Duration::from_secs(40), || {
                lab::pause(Duration::from_millis(500));
                (procfs::memory_holds(pid, secret(word).as_bytes()) == 0).then_some(())
            });
            let left = procfs::memory_holds(pid, secret(word).as_bytes());
            assert!(gone.is_some(), "{word}: {left} copies are left");
        }
        let info = database.host.info_weir().0;
        for (what, text) in [("log", database.host.log()), ("INFO", info)] {
            assert!(!text.contains("7f3a9c51e0d24b68"), "a password is not for the {what}");
        }
    }
}

#[test]
fn a_database_that_was_chosen_before_the_login_stays() {
    for server in both() {
        let database = Database::start(&server, 2, &[]);
        let mut client = database.client();
        assert_eq!(client.command("SELECT 9"), ok());
        assert_eq!(client.command("SET key:0 nine"), ok());
        // Who may not SELECT.
        assert_eq!(client.call(&["AUTH", "few", "sesam"]), ok());
        assert_eq!(client.command("GET key:0"), bulk("nine"));
        assert!(client.command("SELECT 8").is_error("NOPERM"));
        // The same on a connection of its own.
        let mut client = database.login("ann");
        assert_eq!(client.command("SELECT 9"), ok());
        assert_eq!(client.command("WATCH key:0"), ok());
        assert_eq!(client.call(&["AUTH", "few", "sesam"]), ok());
        assert_eq!(client.command("GET key:0"), bulk("nine"));
    }
}
