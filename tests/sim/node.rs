//! A fake server: the process, its data, its connections, its append-only file.
//!
//! What it has is a log, as its replication stream is; the key space is the log played to its end.
//! A node that loses data loses the end of its log. A client's command is executed as soon as it
//! has arrived whole, unless the connection is blocked or the process is stopped.
//!
//! ```text
//!   log:  [ w1 | w2 | barrier | w3 | getack | w4 ]      end: the offset behind each
//!                                ^fsynced      ^offset
//! ```

use std::collections::BTreeMap;

use weir::resp::Version;

use super::cluster::Member;
use super::ledger::{Effect, EntryId, Having};
use super::lists::Popping;
use super::plan::Fsync;
use super::resp;
use super::transactions::Transaction;
use super::wire::{Far, Way, WireNo};
use super::world::{Happening, World};

/// One thing in the replication stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Write(EntryId),
    /// A key that was another shard's, by the import's number.
    Restored(usize),
    /// The key of this write has gone to another shard.
    Gone(EntryId),
    /// Something that moves the offset and no data.
    Barrier,
    /// The replicas are to say how far they are.
    GetAck,
}

/// A thing in the stream, and the offset behind it.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    pub end: u64,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica,
}

/// What a blocked connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    Wait { replicas: i64 },
    WaitAof { local: i64, replicas: i64 },
}

/// A connection, as the server sees it.
#[derive(Debug)]
pub struct Conn {
    pub id: i64,
    /// The replication offset behind the connection's last write.
    pub woff: u64,
    /// In which its replies are.
    pub resp: Version,
    pub db: usize,
    pub blocked: Option<Blocked>,
    pub transaction: Transaction,
    /// It waits for an element of a list.
    pub popping: Option<Popping>,
    input: Vec<u8>,
    /// The engine has closed it; what it had sent is still executed.
    pub gone: bool,
    /// It has said so just before.
    pub asking: bool,
    pub readonly: bool,
}

impl Conn {
    fn new(id: i64) -> Self {
        Self {
            id,
            woff: 0,
            resp: Version::Resp2,
            db: 0,
            blocked: None,
            transaction: Transaction::default(),
            popping: None,
            input: Vec::new(),
            gone: false,
            asking: false,
            readonly: false,
        }
    }
}

#[derive(Debug)]
pub struct Node {
    pub shard: usize,
    pub up: bool,
    pub stopped: bool,
    pub loading_until: u64,
    pub refusing: bool,
    /// Refuses what may need memory.
    pub oom: bool,
    pub run_id: String,
    pub replid: String,
    pub replid2: Option<(String, u64)>,
    pub role: Role,
    pub backlog: bool,
    pub offset: u64,
    pub aof: Option<Fsync>,
    pub fsynced: u64,
    fsyncing: Option<u64>,
    /// The append-only file has something that isn't fsynced.
    dirty: bool,
    pub log: Vec<Item>,
    /// How much of the log is older than the present replication id.
    pub older: usize,
    /// By the key's stored name.
    pub data: BTreeMap<Vec<u8>, Vec<u8>>,
    pub conns: BTreeMap<WireNo, Conn>,
    /// How often it was started; what an older life has begun is void.
    pub life: u64,
    next_conn: i64,
    /// GETACK is to be sent.
    pub asking: bool,
    pub member: Member,
}

/// How a server, the ledger and the clients' memory name the key of a database: apart from its
/// namesakes in others.
pub fn stored(key: &[u8], db: usize) -> Vec<u8> {
    if db == 0 { key.to_vec() } else { [key, format!("@{db}").as_bytes()].concat() }
}

impl Node {
    pub fn new(shard: usize, role: Role, aof: Option<Fsync>, id: String) -> Self {
        Self {
            shard,
            up: true,
            stopped: false,
            loading_until: 0,
            refusing: false,
            oom: false,
            run_id: format!("run-{id}"),
            replid: format!("replid-{id}"),
            replid2: None,
            role,
            backlog: false,
            offset: 0,
            aof,
            fsynced: 0,
            fsyncing: None,
            dirty: false,
            log: Vec::new(),
            older: 0,
            data: BTreeMap::new(),
            conns: BTreeMap::new(),
            life: 0,
            next_conn: 3,
            asking: false,
            member: Member::default(),
        }
    }

    pub fn runs(&self) -> bool {
        self.up && !self.stopped
    }

    /// It hasn't got the data of `primary` yet.
    pub fn is_not_synced_with(&self, primary: &Self) -> bool {
        self.replid != primary.replid
    }
}

impl World {
    // ---------------------------------------------------------------- connections

    pub fn node_accepts(&mut self, node: usize, wire: WireNo) {
        let server = &mut self.nodes[node];
        server.next_conn += 1;
        let id = server.next_conn;
        server.conns.insert(wire, Conn::new(id));
    }

    pub fn node_readable(&mut self, node: usize, wire: WireNo) {
        let arrived = std::mem::take(&mut self.wires[wire].to_far.arrived);
        let ended = self.wires[wire].to_far.ended;
        if let Some(conn) = self.nodes[node].conns.get_mut(&wire) {
            conn.input.extend_from_slice(&arrived);
            conn.gone |= ended;
        }
        self.room_on(wire);
        self.node_works(node);
    }

    /// The connection is gone for the engine. A server that is stopped doesn't know yet, and will
    /// execute what it has got.
    pub fn node_disconnected(&mut self, node: usize, wire: WireNo) {
        if let Some(conn) = self.nodes[node].conns.get_mut(&wire) {
            conn.gone = true;
        }
        self.node_works(node);
    }

    pub fn reply(&mut self, wire: WireNo, bytes: &[u8]) {
        self.send(wire, Way::ToEngine, bytes);
    }

    // ---------------------------------------------------------------- work

    /// Executes all that has arrived, then does what a server does before it sleeps.
    pub fn node_works(&mut self, node: usize) {
        if !self.nodes[node].runs() {
            return;
        }
        loop {
            let conns: Vec<WireNo> = self.nodes[node].conns.keys().copied().collect();
            let mut any = false;
            for wire in conns {
                while self.execute_next(node, wire) {
                    any = true;
                }
            }
            self.before_sleep(node);
            if !any {
                break;
            }
        }
        self.nodes[node].conns.retain(|_, conn| !conn.gone);
    }

    fn execute_next(&mut self, node: usize, wire: WireNo) -> bool {
        let Some(conn) = self.nodes[node].conns.get_mut(&wire) else {
            return false;
        };
        if conn.blocked.is_some() || conn.popping.is_some() {
            if conn.gone {
                conn.blocked = None;
                conn.popping = None;
                conn.input.clear();
            }
            return false;
        }
        let Some((request, len)) = resp::read_request(&conn.input) else {
            return false;
        };
        conn.input.drain(..len);
        self.execute(node, wire, &request);
        true
    }

    fn before_sleep(&mut self, node: usize) {
        self.flush_aof(node);
        self.recheck_blocked(node);
        if std::mem::take(&mut self.nodes[node].asking) && self.nodes[node].role == Role::Primary {
            self.feed(node, What::GetAck, 37);
        }
    }

    /// Answers connections whose WAIT is content.
    pub fn recheck_blocked(&mut self, node: usize) {
        let conns = self.nodes[node].conns.iter();
        let blocked: Vec<_> =
            conns.filter_map(|(&wire, conn)| Some((wire, conn.woff, conn.blocked?))).collect();
        let mut freed = false;
        for (wire, woff, wanted) in blocked {
            let (local, replicas) = self.acknowledged(node, woff, wanted);
            let content = match wanted {
                Blocked::Wait { replicas: least } => replicas >= least,
                Blocked::WaitAof { local: own, replicas: least } => {
                    local >= own && replicas >= least
                }
            };
            if content {
                self.unblock(node, wire);
                freed = true;
            }
        }
        if freed {
            self.node_works(node);
        }
    }

    /// Answers a blocked connection with the count as it stands.
    pub fn unblock(&mut self, node: usize, wire: WireNo) -> bool {
        let Some(conn) = self.nodes[node].conns.get_mut(&wire) else {
            return false;
        };
        let (woff, Some(wanted)) = (conn.woff, conn.blocked.take()) else {
            return false;
        };
        let reply = self.count_reply(node, woff, wanted);
        self.reply(wire, &reply);
        true
    }

    pub fn count_reply(&self, node: usize, woff: u64, wanted: Blocked) -> Vec<u8> {
        let (local, replicas) = self.acknowledged(node, woff, wanted);
        let mut reply = Vec::new();
        match wanted {
            Blocked::Wait { .. } => resp::int(&mut reply, replicas),
            Blocked::WaitAof { .. } => {
                reply.extend_from_slice(b"*2\r\n");
                resp::int(&mut reply, local);
                resp::int(&mut reply, replicas);
            }
        }
        reply
    }

    // ---------------------------------------------------------------- writes

    /// Executes one change of one key. Returns whether the offset moved.
    pub fn write(&mut self, node: usize, wire: WireNo, key: &[u8], effect: Effect) -> bool {
        self.write_by(node, wire, super::client::owner_of(key), key, effect)
    }

    /// The same for a client whose key it may not be.
    pub fn write_by(
        &mut self,
        node: usize,
        wire: WireNo,
        owner: usize,
        key: &[u8],
        effect: Effect,
    ) -> bool {
        let shard = self.nodes[node].shard;
        self.executed(&effect);
        let ghost = self.wires[wire].dead;
        let home = (node, (shard, self.now));
        let entry = self.ledger.add(home, owner, key, effect.clone(), ghost);
        self.line(|| format!("node {node} executes write {entry}: {}", brief(key, &effect)));
        let len = 30 + key.len() as u64;
        apply(&mut self.nodes[node].data, key, &effect);
        self.nodes[node].touch_watched(key);
        let moved = self.feed(node, What::Write(entry), len);
        if let Some(at) = self.shard_has_other_primary(node) {
            // Who has read or written there knows nothing of what the present primary has.
            let region = self.region_of_key(key);
            self.regions[region].epoch += 1;
            self.ledger.entries[entry].lost_at = Some(at);
        }
        moved
    }

    /// Puts something into the stream. Returns whether the offset moved.
    pub fn feed(&mut self, node: usize, what: What, len: u64) -> bool {
        let server = &mut self.nodes[node];
        let data = matches!(what, What::Write(_) | What::Restored(_) | What::Gone(_));
        let in_aof = data && server.aof.is_some();
        let before = server.offset;
        if server.backlog {
            server.offset += len;
        } else if in_aof {
            server.offset += 1;
        }
        server.dirty |= in_aof;
        let item = Item { end: server.offset, what };
        let moved = server.offset > before;
        if moved || data {
            server.log.push(item);
            self.stream(node, item);
        }
        moved
    }

    /// FUNCTION RESTORE of nothing: in the append-only file as any write, but it changes no data.
    pub fn feed_empty_write(&mut self, node: usize) -> bool {
        let server = &mut self.nodes[node];
        let in_aof = server.aof.is_some();
        if server.backlog {
            server.dirty |= in_aof;
            return self.feed(node, What::Barrier, 48);
        }
        if in_aof {
            server.dirty = true;
            server.offset += 1;
            server.log.push(Item { end: server.offset, what: What::Barrier });
        }
        in_aof
    }

    // ---------------------------------------------------------------- disk

    /// What happens to the append-only file before the server sleeps.
    pub fn flush_aof(&mut self, node: usize) {
        let replica_delay = self.rng.between(50, 3_000);
        let server = &mut self.nodes[node];
        let (Some(policy), None) = (server.aof, server.fsyncing) else {
            return;
        };
        let upto = server.offset;
        if !server.dirty {
            self.now_on_disk(node, upto);
        } else if policy == Fsync::Always && server.role == Role::Primary {
            server.dirty = false;
            self.now_on_disk(node, upto);
        } else if policy == Fsync::Always {
            self.begin_fsync(node, replica_delay);
        }
    }

    fn begin_fsync(&mut self, node: usize, takes: u64) {
        let server = &mut self.nodes[node];
        let upto = server.offset;
        server.fsyncing = Some(upto);
        server.dirty = false;
        let life = server.life;
        self.agenda.add(self.now + takes, Happening::Fsynced { node, life, upto });
    }

    pub fn fsynced(&mut self, node: usize, life: u64, upto: u64) {
        if self.nodes[node].life != life || self.nodes[node].fsyncing != Some(upto) {
            return;
        }
        if self.nodes[node].stopped {
            let later = self.now + 10_000;
            self.agenda.add(later, Happening::Fsynced { node, life, upto });
            return;
        }
        self.nodes[node].fsyncing = None;
        self.now_on_disk(node, upto);
        self.node_works(node);
    }

    fn now_on_disk(&mut self, node: usize, upto: u64) {
        let server = &mut self.nodes[node];
        if upto <= server.fsynced {
            return;
        }
        let before = server.fsynced;
        server.fsynced = upto;
        // What came from a file, or with all data, may have no offset of its own.
        let from = match before {
            0 => 0,
            _ => server.log.partition_point(|item| item.end <= before),
        };
        for item in &server.log[from..] {
            if item.end <= upto {
                self.ledger.gains(&item.what, node, Having::OnDisk, self.now);
            }
        }
    }

    /// Once a second.
    pub fn cron(&mut self, node: usize) {
        self.agenda.add(self.now + 1_000_000, Happening::Cron { node });
        if !self.nodes[node].runs() {
            return;
        }
        let takes = self.rng.between(1_000, 60_000);
        let server = &mut self.nodes[node];
        if server.aof == Some(Fsync::EverySecond) && server.dirty && server.fsyncing.is_none() {
            self.begin_fsync(node, takes);
        }
        self.acknowledge(node);
        self.node_works(node);
    }

    // ---------------------------------------------------------------- losing and getting data

    /// The log is now this one. What was on disk of the old one is not any more.
    pub fn replace_log(&mut self, node: usize, log: Vec<Item>, offset: u64) {
        let (now, old) = (self.now, std::mem::take(&mut self.nodes[node].log));
        for item in old {
            self.ledger.loses(&item.what, node, Having::InMemory, now);
            self.ledger.loses(&item.what, node, Having::OnDisk, now);
        }
        let mut data = BTreeMap::new();
        for item in &log {
            if let Some((key, effect)) = self.ledger.change(item.what) {
                apply(&mut data, key, &effect);
            }
        }
        let server = &mut self.nodes[node];
        let before = std::mem::replace(&mut server.data, data);
        let after = server.data.clone();
        server.touch_all_watched(|key| before.contains_key(key) || after.contains_key(key));
        server.log = log;
        server.offset = offset;
        server.fsynced = 0;
        server.fsyncing = None;
        server.dirty = server.aof.is_some();
    }

    /// All of the log is on disk, as after a restart from it.
    pub fn all_on_disk(&mut self, node: usize) {
        let server = &mut self.nodes[node];
        server.dirty = false;
        server.fsynced = server.offset;
        for item in &server.log {
            self.ledger.gains(&item.what, node, Having::OnDisk, self.now);
        }
    }

    /// A replica that has this log counts for what is in it.
    pub fn counts_as_replica(&mut self, node: usize, counts: bool) {
        for item in &self.nodes[node].log {
            if counts {
                self.ledger.gains(&item.what, node, Having::InMemory, self.now);
            } else {
                self.ledger.loses(&item.what, node, Having::InMemory, self.now);
            }
        }
    }

    /// One more thing has come from the primary.
    pub fn apply_item(&mut self, node: usize, item: Item) {
        if let Some((key, effect)) = self.ledger.change(item.what) {
            let server = &mut self.nodes[node];
            apply(&mut server.data, key, &effect);
            server.touch_watched(key);
            server.dirty |= server.aof.is_some();
        }
        self.ledger.gains(&item.what, node, Having::InMemory, self.now);
        let server = &mut self.nodes[node];
        server.log.push(item);
        server.offset = item.end;
    }

    /// Every connection of the node is cut.
    pub fn cut_all(&mut self, node: usize) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].far == Far::Node(node) {
                self.cut(wire);
            }
        }
    }
}

pub fn apply(data: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8], effect: &Effect) {
    match effect {
        Effect::Set(value) => {
            data.insert(key.to_vec(), value.clone());
        }
        Effect::Del => {
            data.remove(key);
        }
    }
}

fn brief(key: &[u8], effect: &Effect) -> String {
    let key = String::from_utf8_lossy(key);
    match effect {
        Effect::Set(value) => {
            format!("{key} = {}", String::from_utf8_lossy(&value[..value.len().min(24)]))
        }
        Effect::Del => format!("{key} deleted"),
    }
}
