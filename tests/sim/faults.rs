//! What goes wrong, and how it is put right again.

use super::node::{Item, Node, Role};
use super::plan::Told;
use super::wire::Far;
use super::world::{Happening, World};

/// What is to be undone after a while.
#[derive(Debug, Clone)]
pub enum Fault {
    Stopped {
        node: usize,
    },
    Crashed {
        node: usize,
        life: u64,
    },
    Detached {
        replica: usize,
    },
    Refusing {
        node: usize,
    },
    OutOfMemory {
        node: usize,
    },
    Demoted {
        node: usize,
    },
    /// It is away, or knows nothing of what happens.
    Sentinel {
        sentinel: usize,
    },
    /// It hears nothing of the others.
    Isolated {
        node: usize,
    },
    /// Its former primary is its replica meanwhile.
    TakenOver {
        shard: usize,
        old: usize,
    },
}

impl World {
    /// Something goes wrong now.
    pub fn fault(&mut self) {
        let Some(every) = self.plan.fault_every else {
            return;
        };
        if self.healed {
            return;
        }
        let shard = self.rng.index(self.shards.len());
        self.tally.faults += 1;
        let kinds = if self.plan.told == Told::Static { 14 } else { 20 };
        match self.rng.below(kinds) {
            0..=2 => self.cut_one(shard),
            3 => self.cut_shard(shard),
            4 => self.stop_some(shard, true),
            5 => self.stop_some(shard, false),
            6 => self.replica_leaves(shard),
            7 => self.crash_replica(shard),
            8 => self.crash_primary(shard),
            9 => self.fail_over(shard),
            10 | 17..=19 if self.is_cluster() => self.cluster_fault(shard),
            10 => self.demote_for_a_while(shard),
            11 => self.refuse(shard),
            12 => self.run_out_of_memory(shard),
            14..=16 => self.fail_over(shard),
            17..=19 => self.sentinel_fault(),
            _ => self.forget_backlog(shard),
        }
        let next = self.now + 1 + self.rng.around(every);
        self.agenda.add(next, Happening::Fault);
    }

    /// Plans to undo a fault after a while: mostly soon.
    pub fn undo_later(&mut self, fault: Fault) {
        let after = match self.rng.below(10) {
            0 => 2_500_000,
            1..=3 => 500_000,
            _ => 50_000,
        };
        let at = self.now + self.rng.between(1_000, after);
        self.agenda.add(at, Happening::Undo(fault));
    }

    fn replica_of(&mut self, shard: usize) -> Option<usize> {
        let truth = &self.shards[shard];
        let all: Vec<usize> =
            truth.nodes.iter().copied().filter(|&node| node != truth.primary).collect();
        (!all.is_empty()).then(|| self.rng.pick(&all))
    }

    // ---------------------------------------------------------------- connections

    fn cut_one(&mut self, shard: usize) {
        let primary = self.shards[shard].primary;
        let wires = self.wires.iter().enumerate();
        let live: Vec<usize> = wires
            .filter(|(_, wire)| !wire.dead && wire.far == Far::Node(primary))
            .map(|(number, _)| number)
            .collect();
        if live.is_empty() {
            return;
        }
        let wire = self.rng.pick(&live);
        self.line(|| format!("FAULT: connection {wire} to node {primary} is cut"));
        self.trouble(shard);
        self.cut(wire);
    }

    fn cut_shard(&mut self, shard: usize) {
        let primary = self.shards[shard].primary;
        self.line(|| format!("FAULT: all connections to node {primary} are cut"));
        self.trouble(shard);
        self.cut_all(primary);
    }

    fn refuse(&mut self, shard: usize) {
        let node = self.shards[shard].primary;
        self.line(|| format!("FAULT: node {node} refuses connections"));
        self.trouble(shard);
        self.nodes[node].refusing = true;
        if self.rng.percent(50) {
            self.cut_all(node);
        }
        self.undo_later(Fault::Refusing { node });
    }

    fn run_out_of_memory(&mut self, shard: usize) {
        let node = self.shards[shard].primary;
        self.line(|| format!("FAULT: node {node} is out of memory"));
        self.trouble(shard);
        self.nodes[node].oom = true;
        self.undo_later(Fault::OutOfMemory { node });
    }

    // ---------------------------------------------------------------- processes

    pub fn stop_some(&mut self, shard: usize, replica: bool) {
        let node = if replica { self.replica_of(shard) } else { Some(self.shards[shard].primary) };
        let Some(node) = node.filter(|&node| self.nodes[node].runs()) else {
            return;
        };
        if !replica {
            self.trouble(shard);
        }
        self.stop(node);
    }

    pub fn stop(&mut self, node: usize) {
        self.line(|| format!("FAULT: node {node} is stopped"));
        self.nodes[node].stopped = true;
        self.suspect_later(node);
        self.undo_later(Fault::Stopped { node });
    }

    fn go_on(&mut self, node: usize) {
        if self.nodes[node].stopped {
            self.line(|| format!("node {node} goes on"));
            self.nodes[node].stopped = false;
            self.catch_up(node);
            self.exchange(node);
        }
    }

    pub fn replica_leaves(&mut self, shard: usize) {
        if let Some(replica) = self.replica_of(shard) {
            self.line(|| format!("FAULT: node {replica} loses its primary"));
            self.detach(replica);
            self.undo_later(Fault::Detached { replica });
        }
    }

    fn crash_replica(&mut self, shard: usize) {
        if let Some(replica) = self.replica_of(shard) {
            self.crash(replica);
        }
    }

    fn crash_primary(&mut self, shard: usize) {
        let primary = self.shards[shard].primary;
        self.trouble(shard);
        self.crash(primary);
    }

    /// The process is gone, with its connections.
    pub fn crash(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        self.line(|| format!("FAULT: node {node} crashes"));
        // What its kernel had for it goes too.
        self.nodes[node].up = false;
        self.nodes[node].stopped = false;
        self.nodes[node].life += 1;
        let life = self.nodes[node].life;
        self.detach(node);
        self.detach_all(node);
        self.cut_all(node);
        self.nodes[node].conns.clear();
        self.suspect_later(node);
        self.undo_later(Fault::Crashed { node, life });
    }

    fn restart(&mut self, node: usize, life: u64) {
        if self.nodes[node].up || self.nodes[node].life != life {
            return;
        }
        let (log, proof) = self.survivors(node);
        let (run, id) = (self.fresh_id("run"), self.fresh_id("restarted"));
        let takes = if self.rng.percent(50) { 0 } else { self.rng.between(1_000, 300_000) };
        let offset = log.last().map_or(0, |item: &Item| item.end);
        self.line(|| format!("node {node} is started again with {} items", log.len()));
        self.replace_log(node, log, offset);
        self.all_on_disk(node);
        let loading_until = self.now + takes;
        let server = &mut self.nodes[node];
        server.up = true;
        server.run_id = run;
        server.replid2 = proof.map(|end| (std::mem::replace(&mut server.replid, id.clone()), end));
        server.replid = id;
        server.older = server.log.len();
        server.backlog = server.replid2.is_some();
        server.loading_until = loading_until;
        server.oom = false;
        let shard = server.shard;
        if self.is_cluster() {
            self.nodes[node].member.joining_until = self.now + self.rng.below(200_000);
            self.exchange(node);
        }
        if self.shards[shard].primary == node {
            self.nodes[node].role = Role::Primary;
            if self.is_cluster() {
                self.drop_strays(node);
            }
            self.find_losses(shard);
            self.reattach_all(shard);
        } else {
            // Whoever was a primary is one again, until it is told what has happened meanwhile.
            if self.plan.told == Told::Static {
                self.nodes[node].role = Role::Replica;
            }
            self.undo_later(Fault::Detached { replica: node });
        }
    }

    /// What of its log a server has after a crash, and the offset from which on its history is
    /// another one, if its file tells.
    fn survivors(&mut self, node: usize) -> (Vec<Item>, Option<u64>) {
        let only_process = self.rng.percent(50);
        let server = &self.nodes[node];
        let mut log = server.log.clone();
        if server.aof.is_some() {
            if !only_process {
                log.retain(|item| item.end <= server.fsynced);
            }
            // An append-only file knows of no offsets.
            for item in &mut log {
                item.end = 0;
            }
            return (log, None);
        }
        // A snapshot of some time ago. It tells the replication id and offset of then.
        let keep = self.rng.index(log.len() + 1);
        log.truncate(keep);
        let same_history = self.nodes[node].backlog && keep >= self.nodes[node].older;
        if same_history && self.rng.percent(50) {
            let end = log.last().map_or(0, |item| item.end);
            return (log, Some(end + 1));
        }
        for item in &mut log {
            item.end = 0;
        }
        (log, None)
    }

    /// All that can be a replica of the shard's primary becomes one, sooner or later.
    fn reattach_all(&mut self, shard: usize) {
        for replica in self.shards[shard].nodes.clone() {
            if replica != self.shards[shard].primary {
                self.undo_later(Fault::Detached { replica });
            }
        }
    }

    // ---------------------------------------------------------------- roles

    /// A former replica is the shard's primary from now on. Where each has an address of its own,
    /// the old one may go on for a while, and its clients with it.
    pub fn fail_over(&mut self, shard: usize) {
        if self.healed {
            return;
        }
        let old = self.shards[shard].primary;
        let fit = |heir: &Node| {
            heir.runs() && heir.role == Role::Replica && heir.member.isolated_at.is_none()
        };
        let heir = self.replica_of(shard);
        let Some(heir) = heir.filter(|&heir| fit(&self.nodes[heir])) else {
            return;
        };
        if self.is_cluster() {
            return self.fail_over_in_cluster(shard, old, heir);
        }
        self.tally.failovers += 1;
        self.line(|| format!("FAULT: node {heir} takes over from node {old}"));
        self.trouble(shard);
        let mut back = false;
        let kinds = if self.plan.told == Told::Static { 3 } else { 6 };
        match self.rng.below(kinds) {
            0 => self.crash(old),
            1 if self.nodes[old].runs() => {
                self.demote(old);
                let at = self.now + self.rng.between(1_000, 400_000);
                self.agenda.add(at, Happening::Undo(Fault::TakenOver { shard, old }));
                back = true;
            }
            2 => {
                self.cut_all(old);
                self.demote(old);
            }
            3 if self.nodes[old].runs() => {
                self.nodes[old].stopped = true;
                self.undo_later(Fault::Stopped { node: old });
            }
            // It knows of nothing.
            _ => {}
        }
        self.promote(heir);
        self.shards[shard].primary = heir;
        self.find_losses(shard);
        if self.plan.told == Told::Sentinel {
            self.announce(shard);
        }
        if back {
            self.attach(old, heir);
        }
        self.reattach_all(shard);
    }

    /// The former primary takes over again: its idle connections have seen nothing of all this, and
    /// its data is the other's now.
    fn fail_back(&mut self, shard: usize, old: usize) {
        let heir = self.shards[shard].primary;
        let both = [heir, old].iter().all(|&node| self.nodes[node].runs());
        if heir == old || !both || self.nodes[old].is_not_synced_with(&self.nodes[heir]) {
            return;
        }
        if self.is_cluster() {
            return self.fail_over_by_hand(shard, heir, old);
        }
        self.line(|| format!("FAULT: node {old} takes over again from node {heir}"));
        self.trouble(shard);
        self.demote(heir);
        self.promote(old);
        self.shards[shard].primary = old;
        self.tally.failovers += 1;
        self.find_losses(shard);
        if self.plan.told == Told::Sentinel {
            self.announce(shard);
        }
        self.reattach_all(shard);
    }

    /// The primary becomes a replica in place, and later a primary again.
    fn demote_for_a_while(&mut self, shard: usize) {
        let node = self.shards[shard].primary;
        if self.nodes[node].role == Role::Replica || !self.nodes[node].runs() {
            return;
        }
        self.line(|| format!("FAULT: node {node} is demoted"));
        self.trouble(shard);
        self.demote(node);
        self.undo_later(Fault::Demoted { node });
    }

    fn promote_again(&mut self, node: usize) {
        let shard = self.nodes[node].shard;
        let right = self.shards[shard].primary == node && self.nodes[node].role == Role::Replica;
        if right && self.nodes[node].up {
            self.promote(node);
            self.find_losses(shard);
            self.reattach_all(shard);
        }
    }

    /// A primary without replicas frees its backlog, and begins a new history by it.
    fn forget_backlog(&mut self, shard: usize) {
        let node = self.shards[shard].primary;
        let server = &self.nodes[node];
        let fit = server.runs() && server.role == Role::Primary && server.backlog;
        if !fit || !self.replicas_of(node).is_empty() {
            return;
        }
        self.line(|| format!("FAULT: node {node} frees its backlog"));
        self.trouble(shard);
        let id = self.fresh_id("freed");
        let server = &mut self.nodes[node];
        server.replid = id;
        server.replid2 = None;
        server.backlog = false;
    }

    // ---------------------------------------------------------------- putting right

    pub fn undo(&mut self, fault: Fault) {
        match fault {
            Fault::Stopped { node } => self.go_on(node),
            Fault::Crashed { node, life } => self.restart(node, life),
            Fault::Detached { replica } => self.attach_again(replica),
            Fault::Refusing { node } => self.nodes[node].refusing = false,
            Fault::OutOfMemory { node } => self.nodes[node].oom = false,
            Fault::Demoted { node } => self.promote_again(node),
            Fault::Sentinel { sentinel } => self.sentinel_recovers(sentinel),
            Fault::Isolated { node } => self.rejoin(node),
            Fault::TakenOver { shard, old } if !self.healed => self.fail_back(shard, old),
            Fault::TakenOver { .. } => {}
        }
    }

    fn attach_again(&mut self, replica: usize) {
        if self.is_cluster() {
            return self.attach_in_cluster(replica);
        }
        let shard = self.nodes[replica].shard;
        let primary = self.shards[shard].primary;
        if self.nodes[replica].stopped && self.nodes[replica].role == Role::Primary {
            // A process that is stopped is told of nothing.
            return self.undo_later(Fault::Detached { replica });
        }
        let fit = replica != primary
            && self.nodes[replica].up
            && self.nodes[primary].up
            && self.nodes[primary].role == Role::Primary;
        let there = self.link_of_replica(replica);
        if fit && there.is_none_or(|link| self.repls[link].primary != primary) {
            if self.nodes[replica].role == Role::Primary {
                self.demote(replica);
            }
            self.attach(replica, primary);
        }
    }

    /// The storm is over: everything is put right.
    pub fn heal(&mut self) {
        self.line(|| "the storm is over".to_owned());
        self.healed = true;
        for node in 0..self.nodes.len() {
            self.nodes[node].refusing = false;
            self.nodes[node].oom = false;
            self.go_on(node);
            self.promote_again(node);
            let life = self.nodes[node].life;
            self.restart(node, life);
        }
        for sentinel in 0..self.sentinels.len() {
            self.sentinel_recovers(sentinel);
        }
        if self.is_cluster() {
            self.all_is_well();
        }
        for shard in 0..self.shards.len() {
            self.promote_again(self.shards[shard].primary);
            for replica in self.shards[shard].nodes.clone() {
                self.attach_again(replica);
            }
        }
        for wire in 0..self.wires.len() {
            if let (Far::Client(client), false) = (self.wires[wire].far, self.wires[wire].dead) {
                self.agenda.add(self.now + 1, Happening::ClientReads { client });
            }
        }
    }
}
