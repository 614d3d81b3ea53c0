//! Shards that are down, die under load, or refuse us: clients keep their connections, and are told
//! what is known of each command.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lab::client::{Client, Value, bulk, ok};
use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::{procfs, servers};

use super::{Database, key_on};

fn state(host: &Host, shard: usize) -> String {
    host.info_weir().part(&format!("weir_shard{shard}"), "state").unwrap_or_default().to_owned()
}

/// Calls until the reply is no error.
#[track_caller]
fn served(client: &mut Client, words: &[&str]) -> Value {
    let mut last = Value::Null;
    lab::eventually("the shard is in service", || {
        last = client.call(words);
        last.error_text().is_none()
    });
    last
}

#[test]
fn a_shard_that_is_down_at_start_comes_into_service_by_itself() {
    for server in servers::both() {
        let shards = Shards::of(&server).replicas(0).start();
        shards.primary(1).kill9();
        let plan = Host::of(&server).upstream(shards.upstream());
        let host = plan.line("weir.failover-timeout 200").start();
        let mut client = host.client();
        assert_eq!(served(&mut client, &["SET", &key_on(0, 0), "v"]), ok());

        let address = shards.primary(1).address();
        let reply = client.call(&["GET", &key_on(1, 0)]);
        assert!(reply.is_error("CLUSTERDOWN"), "{reply:?}");
        let text = reply.error_text().unwrap();
        assert!(text.contains(&format!("shard 1 ({address})")), "{text}");
        assert!(text.contains("not sent"), "{text}");
        // What needs both says so too; what needs the other one goes on.
        for line in ["DBSIZE", "KEYS *", "FLUSHALL", "SCRIPT FLUSH", "INFO"] {
            assert!(client.command(line).is_error("CLUSTERDOWN"), "{line}");
        }
        let both = client.call(&["MGET", &key_on(0, 0), &key_on(1, 0)]);
        assert!(both.is_error("CLUSTERDOWN"), "{both:?}");
        // FLUSHALL reached the shard that is there.
        assert!(client.call(&["GET", &key_on(0, 0)]).is_nil());
        assert_eq!(client.command("PING").text(), "PONG");
        assert_eq!(state(&host, 1), "down");
        let log = host.log();
        assert!(log.contains(&format!("shard 1 ({address}) is down")), "{log}");

        shards.primary(1).restart();
        assert_eq!(served(&mut client, &["SET", &key_on(1, 0), "v"]), ok());
        assert_eq!(state(&host, 1), "up");
        assert!(host.log().contains(&format!("shard 1 ({address}) is up")));
    }
}

#[test]
fn a_command_waits_for_a_shard_that_is_away_for_a_moment() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.failover-timeout 10000"]);
        let mut client = database.client().patience(Duration::from_secs(20));
        let key = key_on(0, 0);
        assert_eq!(client.call(&["SET", &key, "v"]), ok());
        database.shards.primary(0).kill9();
        lab::eventually("it is noticed", || state(&database.host, 0) != "up");
        client.send(&["SET", &key, "w"]);
        client.send(&["GET", &key]);
        client.send(&["SET", &key_on(1, 0), "v"]);
        assert!(client.is_silent(Duration::from_millis(50)));
        // One that isn't held, but passed on as it comes.
        let mut large = database.client().patience(Duration::from_secs(20));
        let value = "x".repeat(3_000_000);
        let mut writer = large.split();
        thread::scope(|scope| {
            let bytes = lab::client::encode(&["SETRANGE", &key_on(0, 1), "0", &value]);
            scope.spawn(move || writer.write_all(&bytes).unwrap());
            assert!(large.is_silent(Duration::from_millis(50)));
            database.shards.primary(0).restart();
            assert_eq!(large.read().int(), 3_000_000);
        });
        assert_eq!([client.read(), client.read(), client.read()], [ok(), bulk("w"), ok()]);
    }
}

/// Tells all players to stop, also when the test fails before its end.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One client of a shard that is killed: every reply is the right one, or an error that says what
/// is known. Returns how often it was told of an error.
fn play(host: &Host, client: usize, stop: &AtomicBool, acknowledged: &AtomicU64) -> u64 {
    let mut connection = host.client().patience(Duration::from_secs(20));
    let keys =
        [format!("{}:{client}", key_on(0, client)), format!("{}:{client}", key_on(1, client))];
    // What each key may hold: the last value that was acknowledged, or one whose outcome is
    // unknown.
    let mut possible: [Vec<String>; 2] = [vec![String::new()], vec![String::new()]];
    for key in &keys {
        assert_eq!(connection.call(&["SET", key, ""]), ok());
    }
    let mut errors = 0;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        for (key, possible) in keys.iter().zip(&mut possible) {
            number += 1;
            let value = number.to_string();
            let commands = [vec!["SET", key, &value], vec!["GET", key]];
            let replies = connection.pipeline(&commands);
            match &replies[0] {
                reply if *reply == ok() => {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    *possible = vec![value];
                }
                reply => {
                    let text = reply.error_text().unwrap_or_else(|| panic!("{reply:?}"));
                    errors += 1;
                    if text.contains("outcome is unknown") {
                        possible.push(value);
                    } else {
                        let known = ["not sent", "not executed", "LOADING"];
                        assert!(known.iter().any(|word| text.contains(word)), "{text}");
                    }
                }
            }
            match &replies[1] {
                Value::Bulk(found) => {
                    let found = String::from_utf8_lossy(found).into_owned();
                    assert!(possible.contains(&found), "{key} is {found}, not of {possible:?}");
                    *possible = vec![found];
                }
                reply => assert!(reply.error_text().is_some(), "{key}: {reply:?} of {possible:?}"),
            }
        }
    }
    errors
}

#[test]
fn a_shard_that_is_killed_under_load_costs_errors_and_no_connection() {
    for (server, threads) in servers::both().into_iter().zip(["weir.threads 2", "weir.threads 1"]) {
        let shards = Shards::of(&server).replicas(0).aof(Aof::Always).start();
        let plan = Host::of(&server).upstream(shards.upstream()).line(threads);
        let host = plan.line("weir.failover-timeout 100").start();
        let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        let progress = |host: &Host| {
            lab::eventually("both are up", || [0, 1].iter().all(|s| state(host, *s) == "up"));
            let before = acknowledged.load(Ordering::Relaxed);
            lab::eventually("writes are acknowledged", || {
                acknowledged.load(Ordering::Relaxed) > before + 100
            });
        };
        let errors: u64 = thread::scope(|scope| {
            let (host, stop, acknowledged) = (&host, &stop, &acknowledged);
            let players: Vec<_> = (0..8)
                .map(|client| scope.spawn(move || play(host, client, stop, acknowledged)))
                .collect();
            let stopping = Stop(stop);
            for shard in [0, 1] {
                progress(host);
                shards.primary(shard).kill9();
                lab::pause(Duration::from_millis(300));
                shards.primary(shard).restart();
            }
            progress(host);
            drop(stopping);
            players.into_iter().map(|player| player.join().unwrap()).sum()
        });
        assert!(errors > 0, "nobody noticed");
        assert!(host.is_running());
    }
}

#[test]
fn a_shard_that_hangs_is_given_up_and_taken_back() {
    for server in servers::both() {
        let lines =
            ["weir.shard-timeout 300", "weir.poll-interval 50", "weir.failover-timeout 100"];
        let database = Database::with(&server, 2, &lines);
        let mut client = database.client();
        let mut other = database.client();
        let (here, there) = (key_on(0, 0), key_on(1, 0));
        assert_eq!(client.call(&["SET", &here, "v"]), ok());
        database.shards.primary(0).stop();
        client.send(&["SET", &here, "w"]);
        for _ in 0..20 {
            assert_eq!(other.call(&["SET", &there, "v"]), ok(), "the other shard goes on");
        }
        let reply = client.read();
        assert!(reply.error_text().unwrap().contains("outcome is unknown"), "{reply:?}");
        let why = database.host.log();
        assert!(why.contains("it has not answered for 300 ms"), "{why}");
        // The kernel still takes connections in its name; that must not look like an answer.
        let reply = client.call(&["GET", &here]);
        assert!(reply.is_error("CLUSTERDOWN"), "{reply:?}");
        lab::eventually("it counts as down", || state(&database.host, 0) == "down");
        database.shards.primary(0).cont();
        assert_eq!(served(&mut client, &["SET", &here, "x"]), ok());
        assert_eq!(client.call(&["GET", &here]), bulk("x"));
    }
}

#[test]
fn a_shard_without_room_for_us_is_asked_calmly() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(2).replicas(0).line("maxclients 20").start();
        let mut taken: Vec<Client> = Vec::new();
        lab::eventually("no place is left", || {
            let mut client = shards.primary(0).client();
            let refused =
                client.try_call(&["PING"]).map_or(true, |reply| reply.error_text().is_some());
            taken.push(client);
            refused
        });
        let plan = Host::of(&server).upstream(shards.upstream());
        let host = plan.line("weir.failover-timeout 100").start();
        let mut client = host.client();
        let reply = client.call(&["GET", &key_on(0, 0)]);
        assert!(reply.is_error("CLUSTERDOWN"), "{reply:?}");
        assert!(
            host.log().contains("it refuses us: ERR max number of clients reached"),
            "{}",
            host.log()
        );
        let before = procfs::cpu_time(host.pid());
        let time = Duration::from_secs(1);
        lab::pause(time);
        let spent = procfs::cpu_time(host.pid()) - before;
        assert!(spent < time / 2, "{spent:?} of {time:?}");
        // One line when it begins, not one for each attempt.
        assert!(host.log().matches("is down").count() <= 2, "{}", host.log());
        assert_eq!(client.call(&["SET", &key_on(1, 0), "v"]), ok());
        drop(taken);
        assert_eq!(served(&mut client, &["SET", &key_on(0, 0), "v"]), ok());
    }
}

#[test]
fn who_is_no_primary_or_lets_us_not_in_is_said_in_the_log() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(2).replicas(1).start();
        let upstream =
            format!("static://{},{}", shards.replica(0, 0).address(), shards.primary(1).address());
        let host = Host::of(&server).upstream(upstream).line("weir.failover-timeout 100").start();
        let mut client = host.client();
        let reply = client.call(&["SET", &key_on(0, 0), "v"]);
        assert!(reply.is_error("CLUSTERDOWN"), "{reply:?}");
        assert!(host.log().contains("replica"), "{}", host.log());
        assert_eq!(client.call(&["SET", &key_on(1, 0), "v"]), ok());

        let locked = Shards::of(&server).replicas(0).start();
        for shard in locked.iter() {
            assert_eq!(shard.primary.client().command("CONFIG SET requirepass sesam"), ok());
        }
        let plan = Host::of(&server).upstream(locked.upstream()).line("weir.failover-timeout 100");
        let outside = plan.clone().line("weir.shard-password wrong").start();
        let reply = outside.client().command("GET k");
        assert!(reply.is_error("CLUSTERDOWN"), "{reply:?}");
        assert!(outside.log().contains("it refuses our login: WRONGPASS"), "{}", outside.log());
        // The right one is taken up without a restart.
        let mut operator = outside.host_client();
        assert_eq!(operator.command("CONFIG SET weir.shard-password sesam"), ok());
        let mut client = outside.client();
        assert_eq!(served(&mut client, &["AUTH", "sesam"]), ok());
        assert_eq!(served(&mut client, &["SET", "k", "v"]), ok());
        // That was Weir's; a client that has not said it is told so, as by the shard.
        let reply = outside.client().command("GET k");
        assert!(reply.is_error("NOAUTH"), "{reply:?}");
        assert!(!outside.log().contains("sesam"), "a password is not for the log");

        let nothing = plan.start();
        let reply = nothing.client().command("GET k");
        assert!(reply.is_error("CLUSTERDOWN"), "{reply:?}");
        assert!(nothing.log().contains("NOAUTH"), "{}", nothing.log());
    }
}
