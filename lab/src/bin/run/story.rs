//! What is shown: a write that doesn't wait, one that waits for a replica, one that waits for the
//! disks, and one whose replica doesn't answer.
//!
//! Everything that is printed was just observed: answers and times at the endpoint, offsets at the
//! servers themselves, asked behind the endpoint's back. What must be so is asserted.
//!
//! The story holds wherever there is one address with a primary and a replica somewhere behind it;
//! so the test below tells it on a bare primary, which is what the endpoint must be like.

use std::time::{Duration, Instant};

use lab::client::{Client, ok};
use lab::cluster::{Shard, Shards};
use lab::timed;

use crate::Interrupted;
use crate::paper::{Paper, time};

/// Two keys that lie in different halves of the hash slots: 5152 and 9018.
const FIRST_KEY: &str = "pear";
const SECOND_KEY: &str = "cart:18";

pub(crate) struct Story<'a> {
    shards: &'a Shards,
    endpoint: String,
    client: Client,
    paper: Paper,
}

/// Whether to go on; asked between steps.
type GoOn<'a> = &'a dyn Fn() -> Result<(), Interrupted>;

impl<'a> Story<'a> {
    pub(crate) fn new(shards: &'a Shards, endpoint: &str) -> Story<'a> {
        let client = Client::connect(endpoint);
        Story { shards, endpoint: endpoint.into(), client, paper: Paper::default() }
    }

    pub(crate) fn tell(mut self, go_on: GoOn<'_>) -> Result<(), Interrupted> {
        self.write_without_waiting();
        go_on()?;
        self.write_and_wait();
        go_on()?;
        self.write_and_wait_for_disks(go_on)?;
        self.write_while_the_replica_is_stopped(go_on)
    }

    fn write_without_waiting(&mut self) {
        self.paper.chapter("A write that does not wait");
        let before = self.offsets();
        self.set(FIRST_KEY, "green");
        let replied = Instant::now();

        self.paper.step("The endpoint sent it to the primary that owns the key.");
        let owner = self.owner(FIRST_KEY);
        let shard = &self.shards[owner];
        self.paper.note(&format!("shard {owner} has it, {}", shard.primary.address()));

        self.paper.step("The primary sends it to its replica, by itself, after the reply.");
        let written = shard.offsets().0;
        lab::eventually("the replica follows", || replica_offset(shard) >= written);
        let moved = format!("replica's offset {} -> {}", before[owner], replica_offset(shard));
        self.paper.answer(&format!("{moved}, seen at the latest after"), replied.elapsed());

        let command = format!("GET {FIRST_KEY}");
        self.paper.step(&command);
        let (reply, took) = timed(|| self.client.command(&command));
        assert_eq!(reply.text(), "green");
        self.paper.answer(&format!("{reply:?}"), took);
    }

    fn write_and_wait(&mut self) {
        self.paper.chapter("A write that waits until a replica has it");
        let before = self.offsets();
        self.set(SECOND_KEY, "3 pears");
        let count = self.wait("WAIT 1 0", "replica has every write of this client");
        assert_eq!(count, 1);

        self.paper.step("The client that waited knows where its write is.");
        let owner = self.owner(SECOND_KEY);
        let shard = &self.shards[owner];
        self.paper.note(&format!("shard {owner} has it, {}", shard.primary.address()));
        let after = replica_offset(shard);
        self.paper.note(&format!("replica's offset {} -> {after}", before[owner]));
    }

    fn write_and_wait_for_disks(&mut self, go_on: GoOn<'_>) -> Result<(), Interrupted> {
        self.paper.chapter("A write that waits until it is on two disks");
        self.paper.step("SET and WAITAOF 1 1 0, sent together, on the endpoint");
        let through = set_and_waitaof(&mut self.client, Sent::Together, go_on)?;
        self.paper.answer("[1, 1]: fsynced by its primary and by a replica", through);

        let owner = self.owner(SECOND_KEY);
        let primary = &self.shards[owner].primary;
        self.paper.step(&format!("The same on that primary itself, {}", primary.address()));
        let direct = set_and_waitaof(&mut primary.client(), Sent::Together, go_on)?;
        self.paper.answer("[1, 1]", direct);
        let ratio = direct.as_secs_f64() / through.as_secs_f64();
        if ratio > 2.0 {
            self.paper.note(&format!("{ratio:.0} times as long: a replica that is asked while it"));
            self.paper.note("takes the write reports the fsync before, and is heard again a");
            self.paper.note("second later. Weir asks it again at once.");
        }

        self.paper.step("There, the WAITAOF sent after the SET's reply");
        let apart = set_and_waitaof(&mut primary.client(), Sent::Apart, go_on)?;
        self.paper.answer("[1, 1]: nobody else writes, so the question comes later", apart);
        Ok(())
    }

    fn write_while_the_replica_is_stopped(&mut self, go_on: GoOn<'_>) -> Result<(), Interrupted> {
        const LIMIT: Duration = Duration::from_millis(500);
        self.paper.chapter("A write whose replica does not answer");
        let owner = self.owner(FIRST_KEY);
        let replica = &self.shards[owner].replicas[0];
        self.paper.step(&format!("SIGSTOP to shard {owner}'s replica, {}", replica.address()));
        replica.stop();
        self.set(FIRST_KEY, "ripe");

        self.paper.step(&format!("WAIT 1 {}", LIMIT.as_millis()));
        let sent = Instant::now();
        self.client.send(&["WAIT", "1", &LIMIT.as_millis().to_string()]);
        let others = others_meanwhile(&self.endpoint);
        let count = self.client.read().int();
        assert_eq!(count, 0);
        self.paper.answer("0: when the time is up no replica is known to have it", sent.elapsed());
        self.paper.note(&format!(
            "meanwhile another client's SET on the same shard took {} (median of 100)",
            time(others)
        ));
        go_on()?;

        self.paper.step("SIGCONT to the replica");
        replica.cont();
        let count = self.wait("WAIT 1 0", "replica has caught up");
        assert_eq!(count, 1);
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) {
        self.paper.step(&format!("SET {key} \"{value}\""));
        let (reply, took) = timed(|| self.client.call(&["SET", key, value]));
        assert_eq!(reply, ok());
        self.paper.answer("OK", took);
    }

    fn wait(&mut self, command: &str, meaning: &str) -> i64 {
        self.paper.step(command);
        let (reply, took) = timed(|| self.client.command(command));
        self.paper.answer(&format!("{}: {meaning}", reply.int()), took);
        reply.int()
    }

    /// The shard that has the key: its primary is asked, not computed.
    fn owner(&self, key: &str) -> usize {
        let has = |shard: &Shard| shard.primary.client().call(&["EXISTS", key]).int() == 1;
        self.shards.iter().position(has).expect("one of the shards has the key")
    }

    /// The offset of each shard's replica.
    fn offsets(&self) -> Vec<i64> {
        self.shards.iter().map(replica_offset).collect()
    }
}

fn replica_offset(shard: &Shard) -> i64 {
    shard.replicas[0].info("replication").int("slave_repl_offset")
}

/// How a client that pipelines sends two commands, and one that doesn't.
#[derive(Clone, Copy)]
enum Sent {
    Together,
    Apart,
}

/// The median time of three SETs with a WAITAOF each, from the first byte sent to the last answer.
fn set_and_waitaof(
    client: &mut Client,
    sent: Sent,
    go_on: GoOn<'_>,
) -> Result<Duration, Interrupted> {
    let mut times = Vec::new();
    for number in ["1", "2", "3"] {
        let commands = [vec!["SET", SECOND_KEY, number], vec!["WAITAOF", "1", "1", "0"]];
        let (replies, took) = timed(|| match sent {
            Sent::Together => client.pipeline(&commands),
            Sent::Apart => commands.iter().map(|command| client.call(command)).collect(),
        });
        assert_eq!(replies[0], ok());
        assert_eq!(replies[1].ints(), [1, 1]);
        times.push(took);
        go_on()?;
    }
    Ok(median(times))
}

/// The median time of a hundred SETs by a client that waits for nothing.
fn others_meanwhile(endpoint: &str) -> Duration {
    let mut other = Client::connect(endpoint);
    let key = format!("{{{FIRST_KEY}}}:other");
    let mut one = || {
        let (reply, took) = timed(|| other.call(&["SET", &key, "x"]));
        assert_eq!(reply, ok());
        took
    };
    median((0..100).map(|_| one()).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use lab::cluster::Aof;
    use lab::servers;

    use super::*;

    #[test]
    fn the_story_is_true_of_a_bare_primary() {
        for server in servers::both() {
            let shards = Shards::of(&server).shards(1).aof(Aof::Always).start();
            let endpoint = shards.primary(0).address();
            Story::new(&shards, &endpoint).tell(&|| Ok(())).expect("nobody interrupts");
        }
    }
}
