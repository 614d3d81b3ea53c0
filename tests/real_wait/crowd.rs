//! Many clients: rounds, latency, and what WAITAOF costs.

use std::thread;
use std::time::Duration;

use lab::client::{Client, ok};
use lab::cluster::{Aof, Shards};
use lab::servers::both;
use lab::timed;

use crate::stage::{SILENCE, Stage};

/// The one below which so many of a hundred lie.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

#[test]
fn a_thousand_clients_share_few_rounds() {
    const CLIENTS: usize = 1000;
    const WAITS_EACH: usize = 5;
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1));
        let clients: Vec<Client> = (0..CLIENTS).map(|_| stage.via()).collect();
        let ((), time) = timed(|| {
            thread::scope(|scope| {
                for (number, mut client) in clients.into_iter().enumerate() {
                    let play = move || {
                        for _ in 0..WAITS_EACH {
                            let set = format!("SET k:{number} v");
                            assert_eq!(client.command(&set), ok());
                            assert_eq!(client.command("WAIT 1 0").int(), 1);
                        }
                    };
                    let builder = thread::Builder::new().stack_size(256 * 1024);
                    builder.spawn_scoped(scope, play).unwrap();
                }
            });
        });
        let (waits, rounds) = (stage.count("waits"), stage.count("wait_rounds"));
        println!(
            "{}: {CLIENTS} clients, {waits} WAITs in {time:?}: {rounds} rounds, {} known",
            server.flavor,
            stage.count("waits_known")
        );
        assert_eq!(waits, (CLIENTS * WAITS_EACH) as i64);
        assert!(rounds * 5 < waits, "{rounds} rounds for {waits} WAITs");
    }
}

#[test]
fn one_who_waits_for_ever_is_in_nobodys_way() {
    const COMMANDS: usize = 1000;
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1).aof(Aof::EverySecond));
        stage.shards.replica(0, 0).stop();
        let mut other = stage.via();
        let mut times = [Vec::new(), Vec::new()];
        // One after the other, several times over, so that both meet the same machine.
        for turn in 0..6 {
            let waits = turn % 2 == 1;
            let mut waiting: Vec<Client> = Vec::new();
            if waits {
                for question in [["WAIT", "1", "0"].as_slice(), &["WAITAOF", "0", "1", "0"]] {
                    let mut client = stage.via();
                    assert_eq!(client.command("SET k v"), ok());
                    client.send(question);
                    assert!(client.is_silent(SILENCE));
                    waiting.push(client);
                }
            }
            for number in 0..COMMANDS {
                let line = if number % 2 == 0 { "SET other v" } else { "GET other" };
                let (reply, time) = timed(|| other.command(line));
                assert_eq!(reply.error_text(), None);
                times[usize::from(waits)].push(time);
            }
            assert!(waiting.iter_mut().all(|client| client.is_silent(Duration::from_millis(1))));
        }
        for (times, who) in times.iter_mut().zip(["nobody waits", "two wait for a stopped replica"])
        {
            let [half, most, all] = [50, 99, 100].map(|percent| percentile(times, percent));
            println!("{}: {who}: SET/GET p50 {half:?} p99 {most:?} max {all:?}", server.flavor);
        }
    }
}

/// A replica that reads a write and the question about it at once tells of the fsync before it, and
/// not again for a second. It does so whenever the two travel together.
#[test]
fn waitaof_does_not_wait_for_a_replicas_next_second() {
    for server in both() {
        let stage = Stage::of(&server, Shards::of(&server).shards(1).aof(Aof::Always));
        let median = |mut client: Client, together: bool, count: usize| {
            let mut times: Vec<Duration> = Vec::new();
            for _ in 0..count {
                let (set, question) = (vec!["SET", "k", "v"], vec!["WAITAOF", "0", "1", "0"]);
                let (reply, time) = timed(|| {
                    if together {
                        client.pipeline(&[set, question]).pop().unwrap()
                    } else {
                        client.call(&set);
                        client.call(&question)
                    }
                });
                assert_eq!(reply.ints()[1], 1);
                times.push(time);
            }
            percentile(&mut times, 50)
        };
        for (together, how) in [(true, "in one pipeline"), (false, "one after the other")] {
            let stock = median(stage.bare(), together, 5);
            let ours = median(stage.via(), together, 100);
            println!(
                "{}: SET, WAITAOF 0 1 {how}, median: primary {stock:?}, endpoint {ours:?}: {:.3}",
                server.flavor,
                ours.as_secs_f64() / stock.as_secs_f64()
            );
        }
    }
}
