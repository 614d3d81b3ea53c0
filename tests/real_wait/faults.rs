//! Primaries that die, are demoted, stop, or don't let us in.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use lab::client::{Client, Value, ok};
use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::process::Proc;
use lab::servers::both;
use lab::{pause, timed};

use crate::stage::{SILENCE, Stage, at_deadline, key_of};

const LOADERS: usize = 8;

/// What clients saw who write and read without pause.
#[derive(Debug, Default)]
struct Load {
    over: AtomicBool,
    /// By shard.
    served: [AtomicU64; 2],
    unknown: AtomicU64,
    not_sent: AtomicU64,
}

impl Load {
    /// One client's commands until the load is over. The connection has to survive all of it: a
    /// reply that doesn't come is a panic.
    fn run(&self, mut client: Client, shard: usize) {
        let key = key_of(shard, 2);
        while !self.over.load(Relaxed) {
            let pair = [vec!["SET", &key, "v"], vec!["GET", &key]];
            // Enough for something to be under way at any time.
            let replies = client.pipeline(&[&pair[..]; 10].concat());
            for reply in replies {
                match reply.error_text() {
                    None => self.served[shard].fetch_add(1, Relaxed),
                    Some(text) => self.note(&text),
                };
            }
        }
    }

    /// An error says whether the command may have happened.
    fn note(&self, text: &str) -> u64 {
        let named = text.contains("shard 0");
        if named && text.starts_with("IOERR ") && text.contains("outcome is unknown") {
            self.unknown.fetch_add(1, Relaxed)
        } else if named
            && (text.starts_with("CLUSTERDOWN ") && text.contains("not sent")
                || text.starts_with("IOERR ") && text.contains("not executed"))
        {
            self.not_sent.fetch_add(1, Relaxed)
        } else {
            panic!("{text}")
        }
    }

    fn served(&self, shard: usize) -> u64 {
        self.served[shard].load(Relaxed)
    }
}

/// Ends the load when it is dropped, so that a failure ends the test too.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

fn wrote(stage: &Stage, shards: &[usize]) -> Client {
    let mut client = stage.via();
    for &shard in shards {
        assert_eq!(client.call(&["SET", &key_of(shard, 2), "v"]), ok());
    }
    client
}

#[track_caller]
fn assert_unblocked(reply: &Value) {
    let text = reply.error_text().unwrap_or_else(|| panic!("a number: {reply:?}"));
    assert!(text.starts_with("UNBLOCKED shard 0 (") && text.contains("unknown"), "{text}");
}

/// How often the primary is killed until something was under way to it.
const KILLS_MAX: usize = 5;

#[test]
fn a_killed_primary_under_load() {
    for server in both() {
        let plan = Shards::of(&server).aof(Aof::EverySecond);
        let stage = Stage::with(&server, plan, |host| host.line("weir.failover-timeout 200"));
        let load = Load::default();
        thread::scope(|scope| {
            for number in 0..LOADERS {
                let (client, load) = (stage.via(), &load);
                scope.spawn(move || load.run(client, number % 2));
            }
            let _over = Over(&load);
            // On a busy machine all that was under way may just have been answered.
            for _ in 0..KILLS_MAX {
                kill_and_restart(&stage, &load);
                if load.unknown.load(Relaxed) > 0 {
                    break;
                }
            }
        });
        println!("{}: {load:?}", server.flavor);
        assert!(load.unknown.load(Relaxed) > 0, "nothing was under way: {load:?}");
        assert!(load.not_sent.load(Relaxed) > 0, "nobody asked meanwhile: {load:?}");
        stage.await_waiters(0);
    }
}

fn kill_and_restart(stage: &Stage, load: &Load) {
    let primary = stage.shards.primary(0);
    lab::eventually("the load is on", || load.served(0).min(load.served(1)) > 1000);
    let (mut idle, mut elsewhere) = (wrote(stage, &[0, 1]), wrote(stage, &[1]));
    // Inside WAIT when it happens, with all the time there is and with little.
    let mut waiting = [wrote(stage, &[0]), wrote(stage, &[0, 1])];
    for (client, question) in waiting.iter_mut().zip([["WAIT", "2", "0"], ["WAIT", "2", "60000"]]) {
        client.send(&question);
    }
    let mut brief = wrote(stage, &[0]);
    stage.await_waiters(2);

    primary.kill9();
    // Its time is up while nobody can say anything.
    assert_unblocked(&brief.command("WAIT 2 100"));
    let served = load.served(1);
    lab::eventually("the other shard goes on", || load.served(1) > served + 1000);
    lab::eventually("errors are told", || load.not_sent.load(Relaxed) > 10);
    primary.restart();
    let mut client = stage.via();
    let key = key_of(0, 2);
    let (_, time) = timed(|| {
        lab::eventually("the shard is served again", || client.call(&["SET", &key, "v"]) == ok());
    });
    println!("{}: served again {time:?} after the primary", primary.flavor());

    for client in &mut waiting {
        assert_unblocked(&client.read());
    }
    // The replica synchronises with the primary anew.
    let mut late = wrote(stage, &[0]);
    lab::eventually("there is a replica", || late.command("WAIT 1 100") == Value::Int(1));
    for client in waiting.iter_mut().chain([&mut idle, &mut brief]) {
        let told = client.command("WAIT 1 0");
        match told {
            // Who waited through it was told already; and was told once.
            Value::Int(count) => assert_eq!(count, 1),
            told => {
                assert_unblocked(&told);
                assert_eq!(client.command("WAIT 1 0").int(), 1, "told twice");
            }
        }
    }
    assert_eq!(elsewhere.command("WAIT 1 0").int(), 1, "another shard's history goes on");
    let served = load.served(0);
    lab::eventually("all are served again", || load.served(0) > served + 1000);
}

/// Who writes before the crash and asks after it, in each order that there is.
#[test]
fn a_write_from_before_a_restart_is_told_lost_exactly_once() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1).aof(Aof::Always));
        let mut clients: Vec<Client> = (0..4).map(|_| wrote(&stage, &[0])).collect();
        stage.shards.primary(0).restart();
        let mut late = stage.via();
        lab::eventually("there is a replica", || {
            late.command("SET late v") == ok() && late.command("WAIT 1 1000") == Value::Int(1)
        });
        // A write of today doesn't hide the loss of yesterday's.
        assert_eq!(clients[1].command("SET k w"), ok());
        assert_eq!(clients[2].command("GET k"), clients[1].command("GET k"));
        for (at, client) in clients.iter_mut().enumerate() {
            let question = if at == 3 { "WAITAOF 1 1 0" } else { "WAIT 1 0" };
            assert_unblocked(&client.command(question));
            assert_eq!(client.command("WAIT 1 0").int(), 1);
            assert_eq!(client.command("SET k v"), ok());
            assert_eq!(client.command("WAITAOF 1 1 0").ints(), [1, 1]);
        }
        assert!(stage.count("waits_lost") >= 4);
    }
}

#[test]
fn a_demoted_primary_unblocks_who_waits() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1));
        let (mut bare, mut via, mut idle) = (stage.bare(), stage.via(), wrote(&stage, &[0]));
        let primary = stage.shards.primary(0);
        let other = Proc::start(&server, &["appendonly no"]);
        for client in [&mut bare, &mut via] {
            assert_eq!(client.command("SET lost v"), ok());
            client.send(&["WAIT", "2", "0"]);
            assert!(client.is_silent(SILENCE));
        }
        demote(primary, &other);
        let stock = bare.read();
        assert!(stock.is_error("UNBLOCKED"), "{stock:?}");
        assert_unblocked(&via.read());
        assert_eq!(via.command("PING").text(), "PONG", "and it isn't closed");
        // Nor may a replica's counts be told.
        let told = idle.command("WAIT 0 100");
        assert!(told.error_text().is_some(), "{told:?}");
        assert!(via.command("SET k v").is_error("CLUSTERDOWN"));

        assert_eq!(primary.client().command("REPLICAOF NO ONE"), ok());
        lab::eventually("it is served again", || via.command("SET k v") == ok());
        lab::eventually("replicas too", || via.command("WAIT 1 1000") == Value::Int(1));
    }
}

/// The connection stands all the time, so on the primary itself WAIT would count a write that is
/// gone.
#[test]
fn a_failback_is_another_history() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1));
        let primary = stage.shards.primary(0);
        let other = Proc::start(&server, &["appendonly no"]);
        let mut bare = stage.bare();
        let mut clients: Vec<Client> = (0..3).map(|_| wrote(&stage, &[0])).collect();
        assert_eq!(bare.command("SET lost v"), ok());
        assert_eq!(bare.command("WAIT 1 0").int(), 1);
        demote(primary, &other);
        lab::eventually("its data is the other's", || {
            primary.info("replication").get("master_link_status") == Some("up")
        });
        assert_eq!(primary.client().command("REPLICAOF NO ONE"), ok());
        assert!(bare.command("GET lost").is_nil());
        let stock = bare.command("WAIT 0 0");
        println!("{}: a bare connection is told {stock:?} of a write that is gone", server.flavor);

        // A write of the new history, before the endpoint has looked.
        let mut first = clients.remove(0);
        let written = first.command("SET k v");
        assert_unblocked(&first.command("WAIT 0 0"));
        println!("{}: and its next write {written:?}", server.flavor);
        for client in &mut clients {
            assert_unblocked(&client.command("WAIT 1 0"));
        }
        for client in &mut clients {
            lab::eventually("it is served again", || client.command("SET k v") == ok());
            lab::eventually("replicas too", || client.command("WAIT 1 1000") == Value::Int(1));
        }
    }
}

/// Demoted and back before anything was taken from the other: the primary proves that it has all of
/// its past, so a number is true; and so is an error.
#[test]
fn a_demotion_without_consequence_is_none() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1));
        let mut via = wrote(&stage, &[0]);
        let mut config = stage.bare();
        config.pipeline(&[vec!["REPLICAOF", "127.0.0.1", "1"], vec!["REPLICAOF", "NO", "ONE"]]);
        let told = via.command("WAIT 1 5000");
        println!("{}: {told:?}", server.flavor);
        match told {
            Value::Int(count) => assert!((0..=1).contains(&count)),
            told => assert_unblocked(&told),
        }
        lab::eventually("it is served", || via.command("SET k v") == ok());
        lab::eventually("replicas too", || via.command("WAIT 1 1000") == Value::Int(1));
    }
}

fn demote(primary: &Proc, other: &Proc) {
    let reply = primary.client().command(&format!("REPLICAOF 127.0.0.1 {}", other.port()));
    assert_eq!(reply, ok());
}

#[test]
fn a_stopped_primary_is_told_of_by_nothing_above_the_truth() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server));
        let (mut here, mut there) = (wrote(&stage, &[0]), wrote(&stage, &[1]));
        let mut never = stage.via();
        stage.shards.primary(0).stop();
        assert_eq!(there.command("WAIT 1 0").int(), 1, "it holds up no other shard");
        for client in [&mut here, &mut never] {
            let (told, time) = timed(|| client.command("WAIT 1 50"));
            println!("{}: WAIT 1 50 took {time:?}: {told:?}", server.flavor);
            assert!(told.error_text().is_some() || (0..=1).contains(&told.int()), "{told:?}");
        }
        // The other shard's number alone is no answer for who wrote to both.
        let mut both = [there, here];
        for (client, shard) in both.iter_mut().zip([0, 1]) {
            client.send(&["SET", &key_of(shard, 2), "w"]);
            client.send(&["WAIT", "1", "0"]);
        }
        assert_eq!(both[1].read(), ok());
        assert!(both.iter_mut().all(|client| client.is_silent(SILENCE)));
        stage.shards.primary(0).cont();
        assert_eq!(both[0].read(), ok());
        for client in &mut both {
            assert_eq!(client.read().int(), 1);
        }
        let [_, mut here] = both;
        assert_eq!(here.command("WAIT 1 0").int(), 1);
    }
}

#[test]
fn a_primary_that_refuses_us_is_named_and_tried_again() {
    for server in both() {
        let shards = Shards::of(&server).shards(1).start();
        assert_eq!(shards.primary(0).client().command("CONFIG SET requirepass right"), ok());
        let host = Host::of(&server)
            .upstream(shards.upstream())
            .line("weir.shard-password wrong")
            .line("weir.failover-timeout 100")
            .start();
        let mut client = host.client();
        let mut told = Value::Null;
        lab::eventually("the reason is told", || {
            told = client.command("SET k v");
            told.is_error("CLUSTERDOWN")
        });
        let text = told.error_text().unwrap();
        assert!(text.contains("refuses our login"), "{text}");
        let told = client.command("WAIT 1 50");
        assert!(told.error_text().is_some() || told.int() == 0, "{told:?}");
        let mut config = host.host_client();
        assert_eq!(config.command("CONFIG SET weir.shard-password right"), ok());
        lab::eventually("the shard is in service", || client.command("AUTH right") == ok());
        assert_eq!(client.command("SET k v"), ok());
        assert_eq!(client.command("WAIT 1 0").int(), 1);
    }
}

/// What Weir asks on its own, beside the clients' commands.
const RIGHTS: &str = "+command +info +wait +waitaof +spublish +function|restore +client|id \
    +client|setname +client|unblock &__weir:barrier";

#[test]
fn few_rights_are_enough_and_a_missing_one_is_an_error() {
    for server in both() {
        let shards = Shards::of(&server).shards(1).aof(Aof::Always).start();
        let mut config = shards.primary(0).client();
        let user = format!("ACL SETUSER weir on >secret -@all {RIGHTS}");
        assert_eq!(config.command(&user), ok());
        let host = Host::of(&server)
            .upstream(shards.upstream())
            .line("weir.shard-user weir")
            .line("weir.shard-password secret")
            .start();
        let mut client = host.client();
        assert_eq!(client.command("SET k v"), ok());
        assert_eq!(client.command("WAIT 1 0").int(), 1);
        assert_eq!(client.command("WAITAOF 1 1 0").ints(), [1, 1]);
        at_deadline(&[1], || client.command("WAIT 2 300"));
        assert!(!host.log().contains("NOPERM"), "{}", host.log());

        // Without the right to unblock itself, the count at a deadline is what is known.
        assert_eq!(config.command("ACL SETUSER weir -client|unblock"), ok());
        assert_eq!(client.command("SET k v"), ok());
        assert!((0..=1).contains(&client.command("WAIT 2 50").int()));
        assert_eq!(client.command("WAIT 1 0").int(), 1);

        assert_eq!(config.command("ACL SETUSER weir -spublish"), ok());
        assert_eq!(client.command("SET k v"), ok());
        let told = client.command("WAIT 1 0");
        assert!(told.is_error("NOPERM"), "{told:?}");
        pause(Duration::from_millis(10));
        assert_eq!(client.command("GET k").text(), "v", "and nobody else is disturbed");
    }
}
