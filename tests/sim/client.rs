//! Fake clients: what they ask, in which bytes, and when they go.
//!
//! Each connection is a client of its own, with keys of its own, so that what it reads and what it
//! waits for depends on nobody else. What its replies mean is in `check.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weir::resp::Version;

use super::exec::Transaction;
use super::node::stored;
use super::plan::Fsync;
use super::regions::{Region, Stamp};
use super::resp;
use super::wire::{Way, WireNo};
use super::world::{Happening, World};

/// What one request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    Set {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Get {
        keys: Vec<Vec<u8>>,
        many: bool,
    },
    Del {
        keys: Vec<Vec<u8>>,
    },
    MSet {
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Incr {
        key: Vec<u8>,
    },
    Append {
        key: Vec<u8>,
        piece: Vec<u8>,
    },
    Ping,
    Echo(Vec<u8>),
    Wait {
        replicas: i64,
        timeout: u64,
    },
    WaitAof {
        local: i64,
        replicas: i64,
        timeout: u64,
    },
    Id,
    Info,
    Hello {
        version: Option<Version>,
    },
    Select {
        db: usize,
    },
    Reset,
    Watch {
        keys: Vec<Vec<u8>>,
    },
    Unwatch,
    Multi,
    /// A command between MULTI and EXEC.
    Queued(Box<Ask>),
    Exec,
    Discard,
    Push {
        key: Vec<u8>,
        element: Vec<u8>,
    },
    Range {
        key: Vec<u8>,
    },
    /// BLPOP, with milliseconds.
    Pop {
        keys: Vec<Vec<u8>>,
        timeout: u64,
    },
    /// BLMOVE from the left to the right.
    Move {
        from: Vec<u8>,
        to: Vec<u8>,
        timeout: u64,
    },
    ReplyOn,
    Skip,
    Off,
    List,
    Unblock {
        client: i64,
        error: bool,
    },
    Kill {
        client: i64,
    },
    Wrong {
        request: Vec<Vec<u8>>,
        error: &'static str,
    },
    Quit,
}

/// A reply that is owed.
#[derive(Debug, Clone)]
pub struct Expected {
    pub ask: Ask,
    pub sent_at: u64,
    /// The stamp of each region when it was sent.
    pub stamps: Vec<Stamp>,
    pub mute: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Counter,
    Text,
    /// A list into which only its owner pushes.
    List,
    /// A list into which others push, and from which only its owner pops.
    Queue,
}

/// What a client believes of one of its keys.
#[derive(Debug)]
pub struct Key {
    pub kind: Kind,
    pub db: usize,
    pub value: Option<Vec<u8>>,
    /// The value is certain as long as the region's epoch is this.
    pub sure: Option<u64>,
    /// All that it was ever set to, or that was pushed into it.
    pub ever: BTreeSet<Vec<u8>>,
    /// What was popped from a queue.
    pub taken: BTreeSet<Vec<u8>>,
}

/// How a connection came to its end, or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It is there.
    No,
    /// It may be closed at any time: it was killed, or has reset the connection.
    AnyTime,
    /// It has sent its last byte, and takes what it is owed.
    WhenAnswered,
}

#[derive(Debug)]
pub struct Client {
    pub worker: usize,
    pub wire: WireNo,
    /// By CLIENT ID.
    pub id: Option<i64>,
    pub here: bool,
    pub leave: Leave,
    /// The version and the database of what it is told next.
    pub resp: Version,
    pub db: usize,
    pub transaction: Transaction,
    /// By stored name.
    pub keys: BTreeMap<Vec<u8>, Key>,
    pub expected: VecDeque<Expected>,
    /// Bytes of replies that aren't whole.
    pub tail: Vec<u8>,
    /// Shards, as engines count them, on which a write's outcome is unknown, as it was told, and no
    /// WAIT has said so since.
    pub unknown: Vec<bool>,
    /// Values of which it was told that they weren't written.
    pub denied: BTreeSet<Vec<u8>>,
    /// When somebody last asked to unblock it.
    pub unblock_at: Option<u64>,
    /// It has asked for something that may write.
    pub tried_to_write: bool,
    /// It takes its replies slowly.
    slow: bool,
    sent: u64,
    pub serial: u64,
    /// Its last requests, after all faults: answers must be right, and soon.
    pub last_words: bool,
    pub done: bool,
}

impl Client {
    /// What its keys of one kind are called, in any database.
    fn names(&self, kind: Kind) -> Vec<Vec<u8>> {
        let fit = self.keys.iter().filter(|(_, key)| key.kind == kind && key.db == 0);
        fit.map(|(name, _)| name.clone()).collect()
    }
}

/// The client whose key this is.
pub fn owner_of(key: &[u8]) -> usize {
    let text = String::from_utf8_lossy(key);
    let digits = text.trim_start_matches(['{', 'c']);
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a client's key")
}

/// The client who made this value; none if it was made by counting.
pub fn writer_of(value: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(&value[..value.len().min(24)]).ok()?;
    text.strip_prefix('v')?.split('.').next()?.parse().ok()
}

impl World {
    // ---------------------------------------------------------------- coming and going

    pub fn add_client(&mut self) {
        if self.healed {
            return;
        }
        let number = self.clients.len();
        let worker = number % usize::from(self.plan.workers);
        let wire = self.accept(worker, number);
        let mut keys = BTreeMap::new();
        let names = [
            (format!("c{number}:a"), Kind::Plain),
            (format!("c{number}:b"), Kind::Plain),
            (format!("c{number}:c"), Kind::Plain),
            (format!("{{c{number}}}:d"), Kind::Plain),
            (format!("{{c{number}}}:e"), Kind::Plain),
            (format!("c{number}:n"), Kind::Counter),
            (format!("c{number}:t"), Kind::Text),
            (format!("{{c{number}}}:m"), Kind::Counter),
            (format!("{{c{number}}}:s"), Kind::Text),
            (format!("{{c{number}}}:l"), Kind::List),
            (format!("{{c{number}}}:r"), Kind::List),
            (format!("{{c{number}}}:q"), Kind::Queue),
        ];
        for (name, kind) in names {
            let sure = Some(self.epoch_of_key(name.as_bytes()));
            for db in 0..self.plan.databases {
                let (ever, taken) = (BTreeSet::new(), BTreeSet::new());
                let key = Key { kind, db, value: None, sure, ever, taken };
                keys.insert(stored(name.as_bytes(), db), key);
            }
        }
        let slow = self.rng.percent(20);
        self.clients.push(Client {
            worker,
            wire,
            id: None,
            here: true,
            leave: Leave::No,
            resp: Version::Resp2,
            db: 0,
            transaction: Transaction::default(),
            keys,
            expected: VecDeque::new(),
            tail: Vec::new(),
            unknown: vec![false; self.plan.engine_shards()],
            denied: BTreeSet::new(),
            unblock_at: None,
            tried_to_write: false,
            slow,
            sent: 0,
            serial: 0,
            last_words: false,
            done: false,
        });
        // The first of them come when the endpoint has had the time to find its shards.
        let at = self.now.max(self.plan.begins_at()) + self.rng.below(50_000);
        self.agenda.add(at, Happening::Client { client: number });
    }

    pub fn client_readable(&mut self, client: usize, wire: WireNo) {
        if self.clients[client].slow && !self.healed {
            let at = self.now + self.rng.between(1_000, 100_000);
            self.agenda.add(at, Happening::ClientReads { client });
        } else {
            self.wires[wire].to_far.arrived.clear();
            self.room_on(wire);
        }
    }

    /// A slow client takes some of what has come.
    pub fn client_reads(&mut self, client: usize) {
        let wire = self.clients[client].wire;
        let part = if self.healed { usize::MAX } else { 1 + self.rng.index(4_000) };
        let arrived = &mut self.wires[wire].to_far.arrived;
        let part = part.min(arrived.len());
        arrived.drain(..part);
        let more = !arrived.is_empty();
        self.room_on(wire);
        if more {
            let at = self.now + self.rng.between(1_000, 100_000);
            self.agenda.add(at, Happening::ClientReads { client });
        }
    }

    /// The connection is gone, from whichever side.
    pub fn client_disconnected(&mut self, client: usize, _: WireNo) {
        if !self.clients[client].here {
            return;
        }
        self.line(|| format!("client {client} is gone"));
        self.client_was_closed(client);
        self.clients[client].here = false;
        let at = self.now + self.rng.below(5_000);
        self.agenda.add(at, Happening::NewClient);
    }

    /// The client goes away without a word.
    pub fn client_resets(&mut self, client: usize) {
        if self.clients[client].here {
            self.clients[client].leave = Leave::AnyTime;
            let wire = self.clients[client].wire;
            self.cut(wire);
        }
    }

    // ---------------------------------------------------------------- asking

    pub fn client_acts(&mut self, client: usize) {
        let who = &self.clients[client];
        if !who.here || who.leave != Leave::No || who.last_words || self.healed {
            return;
        }
        if who.expected.len() < 40 && who.sent < self.plan.requests {
            if who.sent > 0 && self.rng.one_in(80) {
                return self.client_leaves(client);
            }
            let count = if self.rng.percent(60) { 1 } else { self.rng.between(2, 12) };
            let mut bytes = Vec::new();
            for _ in 0..count {
                self.next_request(client, &mut bytes);
            }
            self.send(self.clients[client].wire, Way::ToEngine, &bytes);
        }
        if self.clients[client].here {
            let at = self.now + self.rng.around(30_000);
            self.agenda.add(at, Happening::Client { client });
        }
    }

    /// Asks who has its writes, without writing anything.
    pub fn client_wonders(&mut self, client: usize) {
        let who = &self.clients[client];
        let busy = !who.here || who.leave != Leave::No || who.expected.len() >= 40;
        if busy || self.healed || self.rng.percent(50) {
            return;
        }
        let mut bytes = Vec::new();
        let ask = if self.rng.percent(70) { self.some_wait() } else { self.some_waitaof() };
        self.ask(client, ask, &mut bytes);
        self.send(self.clients[client].wire, Way::ToEngine, &bytes);
    }

    fn client_leaves(&mut self, client: usize) {
        let wire = self.clients[client].wire;
        match self.rng.below(3) {
            0 => self.client_resets(client),
            1 => {
                self.line(|| format!("client {client} sends its last byte"));
                let who = &mut self.clients[client];
                let waits = |expected: &Expected| {
                    matches!(
                        expected.ask,
                        Ask::Wait { .. }
                            | Ask::WaitAof { .. }
                            | Ask::Pop { .. }
                            | Ask::Move { .. }
                            | Ask::Exec
                    )
                };
                // Who waits and sends no more is let go at any time.
                let waits = who.expected.iter().any(waits);
                who.leave = if waits { Leave::AnyTime } else { Leave::WhenAnswered };
                self.send_end(wire, Way::ToEngine);
            }
            _ => {
                let mut bytes = Vec::new();
                self.ask(client, Ask::Quit, &mut bytes);
                self.clients[client].leave = Leave::WhenAnswered;
                self.send(wire, Way::ToEngine, &bytes);
            }
        }
    }

    fn key(&mut self, client: usize, kind: Kind) -> Vec<u8> {
        let keys = self.clients[client].names(kind);
        keys[self.rng.index(keys.len())].clone()
    }

    fn some_keys(&mut self, client: usize) -> Vec<Vec<u8>> {
        let count = self.rng.between(1, 4);
        (0..count).map(|_| self.key(client, Kind::Plain)).collect()
    }

    pub fn value(&mut self, client: usize) -> Vec<u8> {
        self.clients[client].serial += 1;
        let mut value = format!("v{client}.{}", self.clients[client].serial).into_bytes();
        if self.plan.large > 0 && self.rng.one_in(self.plan.large_one_in) {
            value.push(b'.');
            value.resize(self.rng.index(self.plan.large) + 40, b'x');
        } else if self.rng.one_in(10) {
            // Binary, and with what looks like protocol.
            value.extend_from_slice(b".\r\n$5\r\n\0\xff");
        }
        value
    }

    fn next_request(&mut self, client: usize, bytes: &mut Vec<u8>) {
        if self.rng.percent(self.plan.moving_percent) {
            let ask = self.some_move();
            return self.ask(client, ask, bytes);
        }
        if self.rng.percent(self.plan.script_percent) {
            return self.next_script(client, bytes);
        }
        let ask = match self.rng.below(100) {
            0..25 => Ask::Set { key: self.key(client, Kind::Plain), value: self.value(client) },
            25..43 => Ask::Get { keys: vec![self.any_key(client)], many: false },
            43..49 => Ask::Get { keys: self.some_keys(client), many: true },
            49..53 => Ask::Del { keys: self.some_keys(client) },
            53..58 => {
                let keys = self.some_keys(client);
                let pairs = keys.into_iter().map(|key| (key, self.value(client))).collect();
                Ask::MSet { pairs }
            }
            58..64 => Ask::Incr { key: self.key(client, Kind::Counter) },
            64..67 => Ask::Append { key: self.key(client, Kind::Text), piece: b"+x".to_vec() },
            67..69 => Ask::Ping,
            69..72 => Ask::Echo(self.value(client)),
            72..84 => self.some_wait(),
            84..91 => self.some_waitaof(),
            91..93 => return self.muted(client, bytes),
            93 => Ask::List,
            94..96 => self.some_intrusion(),
            96..98 => self.some_mistake(),
            98 => Ask::Info,
            _ => Ask::Id,
        };
        self.ask(client, ask, bytes);
    }

    pub fn any_key(&mut self, client: usize) -> Vec<u8> {
        let kind =
            self.rng.pick(&[Kind::Plain, Kind::Plain, Kind::Plain, Kind::Counter, Kind::Text]);
        self.key(client, kind)
    }

    /// How many replicas of every shard can fsync.
    fn fsyncing_replicas(&self) -> i64 {
        let shards = self.shards.iter().map(|shard| {
            let fit = |node: &&usize| {
                matches!(self.nodes[**node].aof, Some(Fsync::Always | Fsync::EverySecond))
            };
            shard.nodes.iter().filter(fit).count() as i64 - 1
        });
        shards.min().unwrap_or(0).max(0)
    }

    fn some_wait(&mut self) -> Ask {
        let replicas = self.rng.below(self.plan.replicas as u64 + 2) as i64;
        let timeout = self.rng.pick(&[0, 1, 10, 100, 1_000]);
        // Nobody is to wait for ever for what never comes.
        let ever = replicas <= self.plan.replicas as i64;
        Ask::Wait { replicas, timeout: if ever { timeout } else { timeout.max(5) } }
    }

    fn some_waitaof(&mut self) -> Ask {
        let replicas = self.rng.below(self.plan.replicas as u64 + 2) as i64;
        let local = i64::from(self.plan.aof.is_some() && self.rng.percent(60));
        let timeout = self.rng.pick(&[0, 1, 20, 200, 1_500]);
        let ever = replicas <= self.fsyncing_replicas() && self.plan.aof != Some(Fsync::No);
        Ask::WaitAof { local, replicas, timeout: if ever { timeout } else { timeout.max(5) } }
    }

    fn some_intrusion(&mut self) -> Ask {
        let ids: Vec<i64> = self.clients.iter().filter_map(|other| other.id).collect();
        if ids.is_empty() {
            return Ask::Id;
        }
        let client = self.rng.pick(&ids);
        if self.rng.one_in(4) {
            Ask::Kill { client }
        } else {
            Ask::Unblock { client, error: self.rng.percent(50) }
        }
    }

    /// What changes how a session speaks, or of which database.
    pub fn some_move(&mut self) -> Ask {
        match self.rng.below(10) {
            0 => Ask::Hello { version: None },
            1..=3 => Ask::Hello { version: Some(Version::Resp2) },
            4..=6 => Ask::Hello { version: Some(Version::Resp3) },
            7 => Ask::Reset,
            // One in a while that isn't there.
            _ => Ask::Select { db: self.rng.index(self.plan.databases * 6 / 5 + 1) },
        }
    }

    fn some_mistake(&mut self) -> Ask {
        let (request, error): (&[&str], _) = match self.rng.below(5) {
            0 => (&["GET"], "ERR wrong number of arguments for 'get' command"),
            1 => (&["NOSUCH", "a"], "ERR unknown command 'NOSUCH', with args beginning with: 'a' "),
            2 => (&["WAIT", "a", "1"], "ERR value is not an integer or out of range"),
            3 => (&["WAIT", "1", "-1"], "ERR timeout is negative"),
            _ => (
                &["WAITAOF", "2", "0", "0"],
                "ERR value is out of range, value must between 0 and 1",
            ),
        };
        Ask::Wrong { request: request.iter().map(|arg| arg.as_bytes().to_vec()).collect(), error }
    }

    /// Requests whose replies aren't wanted.
    fn muted(&mut self, client: usize, bytes: &mut Vec<u8>) {
        let off = self.rng.percent(40);
        self.ask(client, if off { Ask::Off } else { Ask::Skip }, bytes);
        for _ in 0..if off { self.rng.between(0, 4) } else { 1 } {
            let first = self.clients[client].expected.len();
            let ask = match self.rng.below(4) {
                0 => Ask::Get { keys: self.some_keys(client), many: true },
                1 => Ask::Wait { replicas: self.plan.replicas as i64, timeout: 20 },
                _ => Ask::Set { key: self.key(client, Kind::Plain), value: self.value(client) },
            };
            self.ask(client, ask, bytes);
            for expected in self.clients[client].expected.range_mut(first..) {
                expected.mute = true;
            }
        }
        if off {
            self.ask(client, Ask::ReplyOn, bytes);
        }
    }

    /// Writes one request, and what its reply is to be.
    pub fn ask(&mut self, client: usize, ask: Ask, bytes: &mut Vec<u8>) {
        let request = encode(&ask);
        self.line(|| {
            let words =
                request.iter().map(|arg| String::from_utf8_lossy(&arg[..arg.len().min(24)]));
            format!("client {client} asks {}", words.collect::<Vec<_>>().join(" "))
        });
        self.remember_targets(&ask);
        let short = request.iter().map(Vec::len).sum::<usize>() < 1_000;
        let plain = request.iter().all(|arg| arg.iter().all(u8::is_ascii_graphic));
        if short && plain && self.rng.percent(self.plan.inline_percent) {
            bytes.extend_from_slice(&request.join(&b' '));
            bytes.extend_from_slice(b"\r\n");
        } else {
            bytes.extend_from_slice(&resp::request(&request));
        }
        let stamps = self.regions.iter().map(Region::stamp).collect();
        let mute = matches!(ask, Ask::Skip | Ask::Off);
        let who = &mut self.clients[client];
        who.tried_to_write |= ask.may_write();
        who.sent += 1;
        let owner = match &ask {
            Ask::Push { key, .. } => owner_of(key),
            _ => client,
        };
        let who = &mut self.clients[owner];
        for (key, value) in written(&ask) {
            // In which database it will be is told by the reply to an earlier SELECT.
            for db in 0..self.plan.databases {
                if let Some(key) = who.keys.get_mut(&stored(key, db)) {
                    key.ever.insert(value.clone());
                }
            }
        }
        let who = &mut self.clients[client];
        who.expected.push_back(Expected { ask, sent_at: self.now, stamps, mute });
    }

    /// Others to whom the request may do something.
    fn remember_targets(&mut self, ask: &Ask) {
        let now = self.now;
        let (id, kill) = match ask {
            Ask::Unblock { client, .. } => (*client, false),
            Ask::Kill { client } => (*client, true),
            _ => return,
        };
        for other in self.clients.iter_mut().filter(|other| other.id == Some(id)) {
            if kill {
                other.leave = Leave::AnyTime;
            } else {
                other.unblock_at = Some(now);
            }
        }
    }

    /// After all faults: writes to every key, waits for everybody, and reads all back.
    pub fn last_words(&mut self, client: usize) {
        let who = &mut self.clients[client];
        if !who.here || who.leave != Leave::No {
            who.done = true;
            return;
        }
        who.last_words = true;
        let names = who.names(Kind::Plain);
        let mut bytes = Vec::new();
        for key in names.clone() {
            let value = self.value(client);
            self.ask(client, Ask::Set { key, value }, &mut bytes);
        }
        for key in names {
            self.ask(client, Ask::Get { keys: vec![key], many: false }, &mut bytes);
        }
        self.send(self.clients[client].wire, Way::ToEngine, &bytes);
        self.last_wait(client, false);
    }

    /// What must be reached at the end, and is asked for until it is told.
    pub fn last_wait(&mut self, client: usize, aof: bool) {
        let ask = if aof {
            let fsyncs = |node: usize| {
                matches!(self.nodes[node].aof, Some(Fsync::Always | Fsync::EverySecond))
            };
            let local = self.shards.iter().all(|shard| fsyncs(shard.primary));
            let replicas = self.shards.iter().map(|shard| {
                let all = shard.nodes.iter().filter(|&&node| fsyncs(node)).count() as i64;
                all - i64::from(fsyncs(shard.primary))
            });
            let replicas = replicas.min().unwrap_or(0);
            Ask::WaitAof { local: i64::from(local), replicas, timeout: 20_000 }
        } else {
            Ask::Wait { replicas: self.plan.replicas as i64, timeout: 20_000 }
        };
        let mut bytes = Vec::new();
        self.ask(client, ask, &mut bytes);
        self.send(self.clients[client].wire, Way::ToEngine, &bytes);
    }
}

/// What a request sets, whatever its reply will be.
fn written(ask: &Ask) -> Vec<(&Vec<u8>, &Vec<u8>)> {
    match ask {
        Ask::Set { key, value } => vec![(key, value)],
        Ask::MSet { pairs } => pairs.iter().map(|(key, value)| (key, value)).collect(),
        Ask::Push { key, element } => vec![(key, element)],
        Ask::Queued(inner) => written(inner),
        _ => Vec::new(),
    }
}

impl Ask {
    pub fn may_write(&self) -> bool {
        match self {
            Self::Set { .. }
            | Self::MSet { .. }
            | Self::Del { .. }
            | Self::Incr { .. }
            | Self::Append { .. }
            | Self::Push { .. }
            | Self::Pop { .. }
            | Self::Move { .. } => true,
            Self::Queued(inner) => inner.may_write(),
            _ => false,
        }
    }
}

/// A number of milliseconds as BLPOP has it.
fn seconds(millis: u64) -> Vec<u8> {
    format!("{}.{:03}", millis / 1_000, millis % 1_000).into_bytes()
}

fn words(text: &str) -> Vec<Vec<u8>> {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn encode(ask: &Ask) -> Vec<Vec<u8>> {
    let with = |name: &str, args: &[Vec<u8>]| {
        let mut all = words(name);
        all.extend_from_slice(args);
        all
    };
    match ask {
        Ask::Set { key, value } => with("SET", &[key.clone(), value.clone()]),
        Ask::Get { keys, many: false } => with("get", keys),
        Ask::Get { keys, many: true } => with("MGET", keys),
        Ask::Del { keys } => with("Del", keys),
        Ask::MSet { pairs } => {
            let flat: Vec<Vec<u8>> =
                pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
            with("MSET", &flat)
        }
        Ask::Incr { key } => with("INCR", std::slice::from_ref(key)),
        Ask::Append { key, piece } => with("APPEND", &[key.clone(), piece.clone()]),
        Ask::Ping => words("PING"),
        Ask::Echo(text) => with("ECHO", std::slice::from_ref(text)),
        Ask::Wait { replicas, timeout } => words(&format!("WAIT {replicas} {timeout}")),
        Ask::WaitAof { local, replicas, timeout } => {
            words(&format!("WAITAOF {local} {replicas} {timeout}"))
        }
        Ask::Id => words("CLIENT ID"),
        Ask::Info => words("INFO"),
        Ask::Hello { version: None } => words("HELLO"),
        Ask::Hello { version: Some(version) } => words(&format!("HELLO {}", version.number())),
        Ask::Select { db } => words(&format!("SELECT {db}")),
        Ask::Reset => words("RESET"),
        Ask::Watch { keys } => with("WATCH", keys),
        Ask::Unwatch => words("UNWATCH"),
        Ask::Multi => words("MULTI"),
        Ask::Queued(inner) => encode(inner),
        Ask::Exec => words("EXEC"),
        Ask::Discard => words("DISCARD"),
        Ask::Push { key, element } => with("RPUSH", &[key.clone(), element.clone()]),
        Ask::Range { key } => {
            let mut all = with("LRANGE", std::slice::from_ref(key));
            all.extend(words("0 -1"));
            all
        }
        Ask::Pop { keys, timeout } => {
            with("BLPOP", &[keys.as_slice(), &[seconds(*timeout)]].concat())
        }
        Ask::Move { from, to, timeout } => {
            let mut all = with("BLMOVE", &[from.clone(), to.clone()]);
            all.extend(words("LEFT RIGHT"));
            all.push(seconds(*timeout));
            all
        }
        Ask::ReplyOn => words("CLIENT REPLY ON"),
        Ask::Skip => words("CLIENT REPLY SKIP"),
        Ask::Off => words("CLIENT REPLY OFF"),
        Ask::List => words("CLIENT LIST"),
        Ask::Unblock { client, error: true } => words(&format!("CLIENT UNBLOCK {client} ERROR")),
        Ask::Unblock { client, error: false } => words(&format!("CLIENT UNBLOCK {client} TIMEOUT")),
        Ask::Kill { client } => words(&format!("CLIENT KILL ID {client}")),
        Ask::Wrong { request, .. } => request.clone(),
        Ask::Quit => words("QUIT"),
    }
}
