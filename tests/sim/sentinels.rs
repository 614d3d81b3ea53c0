//! Fake Sentinels: what each has heard of each failover, and whom it tells.
//!
//! ```text
//!   failover --after a while, to each its own--> word (config epoch, node) --asked--> engine
//!                                                       '-- +switch-master --pushed----^
//! ```
//!
//! They vote for nobody: failovers are the world's, and Sentinels hear of them. One that is cut off
//! from the others goes on to tell what it knows. Source: redis `sentinel.c`, `sentinelCommand`,
//! `sentinelEvent`.

use std::collections::BTreeMap;

use super::places::{Place, master};
use super::plan::Plant;
use super::resp;
use super::wire::{Far, Way, WireNo};
use super::world::{Happening, World};

/// What one says of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    pub epoch: u64,
    pub node: usize,
}

#[derive(Debug, Default)]
struct Conn {
    input: Vec<u8>,
    resp3: bool,
    subscribed: bool,
}

#[derive(Debug)]
pub struct Sentinel {
    pub up: bool,
    /// It hears nothing of the others.
    pub isolated: bool,
    /// By shard.
    words: Vec<Word>,
    conns: BTreeMap<WireNo, Conn>,
}

impl World {
    /// Sentinels that know who is there at the beginning.
    pub fn make_sentinels(&mut self) {
        let words: Vec<Word> =
            self.shards.iter().map(|shard| Word { epoch: 0, node: shard.primary }).collect();
        for _ in 0..self.plan.sentinels {
            let (words, conns) = (words.clone(), BTreeMap::new());
            self.sentinels.push(Sentinel { up: true, isolated: false, words, conns });
        }
    }

    // ---------------------------------------------------------------- news

    /// The shard's primary is another one: Sentinels hear of it one after the other.
    pub fn announce(&mut self, shard: usize) {
        self.shards[shard].config_epoch += 1;
        self.shards[shard].told_at = None;
        let word =
            Word { epoch: self.shards[shard].config_epoch, node: self.shards[shard].primary };
        let leader = self.rng.index(self.sentinels.len());
        for sentinel in 0..self.sentinels.len() {
            let most = if sentinel == leader { 10_000 } else { 500_000 };
            let at = self.now + self.rng.below(most);
            self.agenda.add(at, Happening::Heard { sentinel, shard, word });
        }
    }

    /// A Sentinel hears of a failover, if nothing is between it and the others.
    pub fn heard(&mut self, sentinel: usize, shard: usize, word: Word) {
        let (known, plan) = (&mut self.sentinels[sentinel], &self.plan);
        let deaf = known.isolated || plan.plant == Some(Plant::FirstWord);
        if deaf || known.words[shard].epoch >= word.epoch {
            return;
        }
        let before = std::mem::replace(&mut known.words[shard], word);
        let publishes = known.up && plan.publishing;
        self.line(|| format!("sentinel {sentinel}: shard {shard} is node {} now", word.node));
        self.somebody_knows();
        let place = |node| Place::Node(node).host_and_port();
        let ((old, old_port), (new, new_port)) = (place(before.node), place(word.node));
        let text = format!("{} {old} {old_port} {new} {new_port}", master(shard));
        for (channel, text) in [("+switch-master", text.as_str()), ("+slave", "slave x")] {
            self.publish(sentinel, publishes, channel, text);
        }
    }

    fn publish(&mut self, sentinel: usize, publishes: bool, channel: &str, text: &str) {
        let conns = self.sentinels[sentinel].conns.iter();
        let subscribed: Vec<WireNo> =
            conns.filter(|(_, conn)| conn.subscribed && publishes).map(|(wire, _)| *wire).collect();
        let mut push = b">4\r\n".to_vec();
        for word in ["pmessage", "*", channel, text] {
            resp::bulk(&mut push, word.as_bytes());
        }
        for wire in subscribed {
            self.send(wire, Way::ToEngine, &push);
        }
    }

    /// Notes since when somebody who can be asked knows where each primary is.
    pub fn somebody_knows(&mut self) {
        let now = self.now;
        for (number, shard) in self.shards.iter_mut().enumerate() {
            let newest =
                |known: &Sentinel| known.up && known.words[number].epoch == shard.config_epoch;
            let known = self.sentinels.iter().any(newest);
            shard.told_at = shard.told_at.filter(|_| known).or(known.then_some(now));
        }
    }

    // ---------------------------------------------------------------- being asked

    pub fn sentinel_accepts(&mut self, sentinel: usize, wire: WireNo) {
        self.sentinels[sentinel].conns.insert(wire, Conn::default());
    }

    pub fn sentinel_disconnected(&mut self, sentinel: usize, wire: WireNo) {
        self.sentinels[sentinel].conns.remove(&wire);
    }

    pub fn sentinel_readable(&mut self, sentinel: usize, wire: WireNo) {
        let arrived = std::mem::take(&mut self.wires[wire].to_far.arrived);
        self.room_on(wire);
        let Some(conn) = self.sentinels[sentinel].conns.get_mut(&wire) else {
            return;
        };
        conn.input.extend_from_slice(&arrived);
        loop {
            let Some(conn) = self.sentinels[sentinel].conns.get_mut(&wire) else {
                return;
            };
            let Some((request, len)) = resp::read_request(&conn.input) else {
                return;
            };
            conn.input.drain(..len);
            let reply = self.sentinel_replies(sentinel, wire, &request);
            self.send(wire, Way::ToEngine, &reply);
        }
    }

    fn sentinel_replies(&mut self, sentinel: usize, wire: WireNo, request: &[Vec<u8>]) -> Vec<u8> {
        let word = |at: usize| -> String {
            let word = request.get(at).map_or(&[] as &[u8], Vec::as_slice);
            String::from_utf8_lossy(word).into_owned()
        };
        let (name, argument) = (word(0).to_ascii_uppercase(), word(1).to_ascii_uppercase());
        let conn = self.sentinels[sentinel].conns.entry(wire).or_default();
        let mut reply = Vec::new();
        match (name.as_str(), argument.as_str()) {
            ("HELLO", "3") => {
                conn.resp3 = true;
                reply.extend_from_slice(b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n");
            }
            ("PSUBSCRIBE", "*") => {
                assert!(conn.resp3, "or it could ask nothing else");
                conn.subscribed = true;
                reply.extend_from_slice(b">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n");
            }
            ("SENTINEL", "MASTERS") => return self.masters(sentinel),
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME") => {
                let shard: usize = word(2)[1..].parse().expect("a master's name");
                let node = self.sentinels[sentinel].words[shard].node;
                let (host, port) = Place::Node(node).host_and_port();
                reply = resp::request(&[host.into_bytes(), port.to_string().into_bytes()]);
            }
            ("CLIENT" | "AUTH", _) => reply.extend_from_slice(b"+OK\r\n"),
            _ => self.violation(format!("a Sentinel is asked {name} {argument}")),
        }
        reply
    }

    /// SENTINEL MASTERS: maps, as RESP3 has them, in an order of its own.
    fn masters(&self, sentinel: usize) -> Vec<u8> {
        let words = &self.sentinels[sentinel].words;
        let mut reply = format!("*{}\r\n", words.len()).into_bytes();
        for (shard, word) in words.iter().enumerate().rev() {
            let (host, port) = Place::Node(word.node).host_and_port();
            let (name, port, epoch) = (master(shard), port.to_string(), word.epoch.to_string());
            let fields = ["name", &name, "ip", &host, "port", &port, "config-epoch", &epoch];
            reply.extend_from_slice(format!("%{}\r\n", fields.len() / 2).as_bytes());
            fields.iter().for_each(|field| resp::bulk(&mut reply, field.as_bytes()));
        }
        reply
    }

    // ---------------------------------------------------------------- what goes wrong

    /// A fault of a Sentinel, or of its connections.
    pub fn sentinel_fault(&mut self) {
        let sentinel = self.rng.index(self.sentinels.len());
        match self.rng.below(4) {
            0 => {
                self.line(|| format!("FAULT: sentinel {sentinel} hears nothing"));
                self.sentinels[sentinel].isolated = true;
            }
            1 => {
                self.line(|| format!("FAULT: connections to sentinel {sentinel} are cut"));
                return self.cut_sentinel(sentinel);
            }
            _ => {
                self.line(|| format!("FAULT: sentinel {sentinel} is away"));
                self.sentinels[sentinel].up = false;
                self.cut_sentinel(sentinel);
                self.somebody_knows();
            }
        }
        self.undo_later(super::faults::Fault::Sentinel { sentinel });
    }

    fn cut_sentinel(&mut self, sentinel: usize) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].far == Far::Sentinel(sentinel) {
                self.cut(wire);
            }
        }
    }

    /// All is well with it again: it hears what it has missed.
    pub fn sentinel_recovers(&mut self, sentinel: usize) {
        self.sentinels[sentinel].up = true;
        self.sentinels[sentinel].isolated = false;
        for shard in 0..self.shards.len() {
            let truth = &self.shards[shard];
            let word = Word { epoch: truth.config_epoch, node: truth.primary };
            self.heard(sentinel, shard, word);
        }
        self.somebody_knows();
    }
}
