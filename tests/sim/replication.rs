//! Primaries and replicas: the stream one way, acknowledgements the other, and who attaches to
//! whom.
//!
//! ```text
//!   primary --[ sync | w1 | barrier | getack ]--> replica        in order, each link with its delays
//!           <--[ ACK offset FACK fsynced ]-------
//! ```

use std::collections::VecDeque;

use super::node::{Blocked, Conn, Item, Role, What};
use super::plan::Plant;
use super::world::{Happening, World};

/// From the primary.
#[derive(Debug)]
enum Down {
    /// All of the primary's data, as it was when the replica came.
    Sync {
        log: Vec<Item>,
        offset: u64,
        replid: String,
    },
    /// What the replica has is part of the primary's history.
    Continue {
        replid: String,
    },
    Item(Item),
}

/// From the replica: up to where it has the stream, and up to where on disk.
#[derive(Debug, Clone, Copy)]
struct Ack {
    offset: u64,
    fsynced: u64,
}

/// One replica's connection to its primary.
#[derive(Debug)]
pub struct Repl {
    pub primary: usize,
    pub replica: usize,
    pub alive: bool,
    online: bool,
    acked: u64,
    acked_disk: u64,
    down: VecDeque<(u64, Down)>,
    up: VecDeque<(u64, Ack)>,
    last_down: u64,
    last_up: u64,
}

impl World {
    // ---------------------------------------------------------------- who is there

    /// The links of a primary's replicas.
    fn links_of(&self, primary: usize) -> impl Iterator<Item = (usize, &Repl)> {
        let alive = move |(_, link): &(usize, &Repl)| link.alive && link.primary == primary;
        self.repls.iter().enumerate().filter(alive)
    }

    /// The replicas of a primary: number, online, acknowledged offset.
    pub fn replicas_of(&self, primary: usize) -> Vec<(usize, bool, u64)> {
        self.links_of(primary).map(|(_, link)| (link.replica, link.online, link.acked)).collect()
    }

    /// The link of a replica to its primary.
    pub fn link_of_replica(&self, replica: usize) -> Option<usize> {
        self.repls.iter().position(|link| link.alive && link.replica == replica)
    }

    /// What WAIT or WAITAOF would say of this offset.
    pub fn acknowledged(&self, primary: usize, woff: u64, asked: Blocked) -> (i64, i64) {
        let server = &self.nodes[primary];
        let online = self.links_of(primary).filter(|(_, link)| link.online);
        match asked {
            Blocked::Wait { .. } => {
                (0, online.filter(|(_, link)| link.acked >= woff).count() as i64)
            }
            Blocked::WaitAof { .. } => {
                let local = server.aof.is_some() && server.fsynced >= woff;
                let replicas = online.filter(|(_, link)| link.acked_disk >= woff).count();
                (i64::from(local), replicas as i64)
            }
        }
    }

    // ---------------------------------------------------------------- the stream

    /// Sends one item to all replicas.
    pub fn stream(&mut self, primary: usize, item: Item) {
        let links: Vec<usize> = self.links_of(primary).map(|(number, _)| number).collect();
        for link in links {
            self.send_down(link, Down::Item(item), 0);
        }
    }

    fn send_down(&mut self, link: usize, what: Down, extra: u64) {
        let at = self.now + self.latency() + extra;
        let repl = &mut self.repls[link];
        repl.last_down = repl.last_down.max(at);
        repl.down.push_back((repl.last_down, what));
        self.agenda.add(repl.last_down, Happening::Stream { link });
    }

    fn send_ack(&mut self, link: usize) {
        let at = self.now + self.latency();
        let replica = &self.nodes[self.repls[link].replica];
        let fsynced = match replica.aof {
            Some(_) if self.plan.plant == Some(Plant::EarlyFsync) => replica.offset,
            Some(_) => replica.fsynced,
            None => 0,
        };
        let ack = Ack { offset: replica.offset, fsynced };
        if self.plan.plant == Some(Plant::DeafReplicas) {
            return;
        }
        let repl = &mut self.repls[link];
        repl.last_up = repl.last_up.max(at);
        repl.up.push_back((repl.last_up, ack));
        self.agenda.add(repl.last_up, Happening::Acked { link });
    }

    /// A replica tells its primary how far it is, as it does once a second.
    pub fn acknowledge(&mut self, replica: usize) {
        if let Some(link) = self.link_of_replica(replica) {
            let synced = !matches!(self.repls[link].down.front(), Some((_, Down::Sync { .. })));
            if synced {
                self.send_ack(link);
            }
        }
    }

    /// What was due of a replica's stream is read by it, unless it is stopped.
    pub fn stream_arrives(&mut self, link: usize) {
        let replica = self.repls[link].replica;
        if !self.repls[link].alive || !self.nodes[replica].runs() {
            return;
        }
        let mut any = false;
        while self.repls[link].down.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, what)) = self.repls[link].down.pop_front() else {
                break;
            };
            any = true;
            self.take_from_stream(link, replica, what);
        }
        if any {
            self.flush_aof(replica);
        }
    }

    fn take_from_stream(&mut self, link: usize, replica: usize, what: Down) {
        match what {
            Down::Sync { log, offset, replid } => {
                self.line(|| format!("node {replica} has all data up to {offset}"));
                self.replace_log(replica, log, offset);
                self.nodes[replica].replid = replid;
                self.nodes[replica].replid2 = None;
                self.nodes[replica].backlog = true;
                self.counts_as_replica(replica, true);
                self.repls[link].online = true;
                self.send_ack(link);
            }
            Down::Continue { replid } => {
                let server = &mut self.nodes[replica];
                if server.replid != replid {
                    let old = std::mem::replace(&mut server.replid, replid);
                    server.replid2 = Some((old, server.offset + 1));
                }
                self.counts_as_replica(replica, true);
                self.send_ack(link);
            }
            Down::Item(item) => {
                self.apply_item(replica, item);
                if item.what == What::GetAck {
                    // Before its append-only file is flushed, so what it says of that is old.
                    self.send_ack(link);
                }
            }
        }
    }

    /// An acknowledgement has come to the primary.
    pub fn ack_arrives(&mut self, link: usize) {
        let primary = self.repls[link].primary;
        if !self.repls[link].alive || !self.nodes[primary].runs() {
            return;
        }
        let repl = &mut self.repls[link];
        while repl.up.front().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((_, ack)) = repl.up.pop_front() {
                repl.acked = repl.acked.max(ack.offset);
                repl.acked_disk = repl.acked_disk.max(ack.fsynced);
            }
        }
        self.node_works(primary);
    }

    /// A node runs again: what has come for it meanwhile is there.
    pub fn catch_up(&mut self, node: usize) {
        for link in 0..self.repls.len() {
            if self.repls[link].alive {
                self.stream_arrives(link);
                self.ack_arrives(link);
            }
        }
        self.node_works(node);
    }

    // ---------------------------------------------------------------- attaching, leaving

    /// A replica connects to a primary: goes on where it was if that is part of the primary's
    /// history, else gets all data anew.
    pub fn attach(&mut self, replica: usize, primary: usize) {
        self.detach(replica);
        self.nodes[replica].role = Role::Replica;
        let shard = self.nodes[primary].shard;
        if !self.nodes[primary].backlog {
            // The first replica: the server begins a new history, though its data goes on.
            let id = self.fresh_id("backlog");
            let server = &mut self.nodes[primary];
            server.replid = id;
            server.replid2 = None;
            server.backlog = true;
            server.older = server.log.len();
            self.trouble(shard);
        }
        let (from, to) = (&self.nodes[primary], &self.nodes[replica]);
        let second = from.replid2.as_ref();
        let goes_on = (to.replid == from.replid && to.offset <= from.offset)
            || second.is_some_and(|(id, end)| *id == to.replid && to.offset < *end);
        let goes_on = goes_on && to.backlog;
        let (replid, offset) = (from.replid.clone(), from.offset);
        let old_offset = to.offset;
        let log = from.log.clone();
        let online = goes_on || self.rng.percent(30);
        self.line(|| {
            let how = if goes_on { "goes on" } else { "begins anew" };
            format!("node {replica} attaches to node {primary} and {how} at {offset}")
        });
        let link = self.repls.len();
        self.repls.push(Repl {
            primary,
            replica,
            alive: true,
            online,
            acked: 0,
            acked_disk: 0,
            down: VecDeque::new(),
            up: VecDeque::new(),
            last_down: 0,
            last_up: 0,
        });
        self.shards[shard].attached(replica, self.now);
        if goes_on {
            self.send_down(link, Down::Continue { replid }, 0);
            for item in log.into_iter().filter(|item| item.end > old_offset) {
                self.send_down(link, Down::Item(item), 0);
            }
        } else {
            let takes = self.rng.between(100, 100_000);
            self.send_down(link, Down::Sync { log, offset, replid }, takes);
        }
    }

    /// A replica's connection to its primary is lost.
    pub fn detach(&mut self, replica: usize) {
        while let Some(link) = self.link_of_replica(replica) {
            self.repls[link].alive = false;
            self.repls[link].down.clear();
            self.repls[link].up.clear();
            let shard = self.nodes[replica].shard;
            self.shards[shard].detached(replica, self.now);
            self.line(|| format!("node {replica} is detached"));
        }
    }

    /// All replicas of a node lose it.
    pub fn detach_all(&mut self, primary: usize) {
        let replicas: Vec<usize> = self.links_of(primary).map(|(_, link)| link.replica).collect();
        for replica in replicas {
            self.detach(replica);
        }
    }

    // ---------------------------------------------------------------- changes of role

    /// `REPLICAOF NO ONE`.
    pub fn promote(&mut self, node: usize) {
        self.detach(node);
        let id = self.fresh_id("promoted");
        let server = &mut self.nodes[node];
        let old = std::mem::replace(&mut server.replid, id);
        server.replid2 = Some((old, server.offset + 1));
        server.role = Role::Primary;
        server.older = server.log.len();
        self.counts_as_replica(node, false);
        self.line(|| format!("node {node} is a primary now"));
        self.node_works(node);
    }

    /// `REPLICAOF` somebody: who waits is sent away, the others keep their connections.
    pub fn demote(&mut self, node: usize) {
        self.detach_all(node);
        self.nodes[node].role = Role::Replica;
        // What it has is cached as of its former history, to go on with.
        self.nodes[node].backlog = true;
        self.line(|| format!("node {node} is a replica now"));
        let conns = self.nodes[node].conns.iter();
        let waits = |conn: &Conn| conn.blocked.is_some() || conn.popping.is_some();
        let blocked: Vec<usize> =
            conns.filter(|(_, conn)| waits(conn)).map(|(&wire, _)| wire).collect();
        for wire in blocked {
            self.reply(
                wire,
                b"-UNBLOCKED force unblock from blocking operation, instance state changed \
                  (master -> replica?)\r\n",
            );
            self.nodes[node].conns.remove(&wire);
            self.far_closes(wire);
        }
    }
}
