//! What goes wrong between the nodes of a cluster: failovers of each kind, and who is cut off.
//!
//! ```text
//!   killed, stopped     its heir is elected, it hears of it when it is back
//!   CLUSTER FAILOVER    it hands over what it has, and is its heir's replica at once
//!   TAKEOVER            it hears of it when it does; what it has taken meanwhile is lost
//!   cut off             it goes on, until it has been alone for node-timeout
//! ```

use super::faults::Fault;
use super::node::{Node, Role};
use super::world::{Happening, World};

impl World {
    // ---------------------------------------------------------------- failovers

    /// A replica takes over from a shard's primary.
    pub fn fail_over_in_cluster(&mut self, shard: usize, old: usize, heir: usize) {
        let in_step = self.nodes[heir].offset == self.nodes[old].offset
            && !self.nodes[heir].is_not_synced_with(&self.nodes[old]);
        let how = self.rng.below(6);
        if how < 2 && in_step && self.nodes[old].runs() {
            self.fail_over_by_hand(shard, old, heir);
            let at = self.now + self.rng.between(1_000, 400_000);
            return self.agenda.add(at, Happening::Undo(Fault::TakenOver { shard, old }));
        }
        self.tally.failovers += 1;
        self.line(|| format!("FAULT: node {heir} takes over from node {old}"));
        self.trouble(shard);
        match how {
            2 => self.crash(old),
            3 if self.nodes[old].runs() => self.stop(old),
            4 => self.isolate(old),
            // It knows of nothing.
            _ => {}
        }
        self.take_over(shard, heir);
    }

    /// CLUSTER FAILOVER: the primary hands over.
    pub fn fail_over_by_hand(&mut self, shard: usize, old: usize, heir: usize) {
        let apart = |node: usize| self.nodes[node].member.isolated_at.is_some();
        let fit = self.nodes[heir].role == Role::Replica && !apart(old) && !apart(heir);
        if !fit || self.nodes[heir].offset != self.nodes[old].offset {
            return;
        }
        self.tally.failovers += 1;
        self.line(|| format!("FAULT: node {old} hands over to node {heir}"));
        self.trouble(shard);
        self.take_over(shard, heir);
        self.hear_now(old, heir);
    }

    /// A replica attaches to whom it believes to be its primary, if it is one; else it tries again.
    pub fn attach_in_cluster(&mut self, replica: usize) {
        let Some(primary) = self.nodes[replica].member.view.of[replica] else {
            return;
        };
        if !self.nodes[replica].up {
            return;
        }
        let apart = |node: &Node| node.member.isolated_at.is_some();
        let (from, to) = (&self.nodes[primary], &self.nodes[replica]);
        let fit =
            from.up && from.role == Role::Primary && !to.stopped && !apart(from) && !apart(to);
        let there = self.link_of_replica(replica);
        if there.is_some_and(|link| self.repls[link].primary == primary) {
            return;
        }
        if fit {
            self.attach(replica, primary);
        } else if !self.healed {
            self.undo_later(Fault::Detached { replica });
        }
    }

    /// The storm is over: nobody is cut off, and all know all.
    pub fn all_is_well(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].member.isolated_at = None;
            self.nodes[node].member.joining_until = 0;
        }
        self.all_know_all();
        for node in 0..self.nodes.len() {
            let is_primary = self.shards[self.nodes[node].shard].primary == node;
            if !is_primary && self.nodes[node].role == Role::Primary {
                self.demote(node);
            }
            self.redirect_blocked(node);
        }
    }

    // ---------------------------------------------------------------- what goes wrong

    /// Something between the nodes goes wrong.
    pub fn cluster_fault(&mut self, shard: usize) {
        let nodes = self.shards[shard].nodes.clone();
        let node =
            if self.rng.percent(50) { self.shards[shard].primary } else { self.rng.pick(&nodes) };
        self.isolate(node);
    }

    /// A node is cut off from all others, but not from the engines.
    pub fn isolate(&mut self, node: usize) {
        if self.nodes[node].member.isolated_at.is_some() {
            return;
        }
        self.line(|| format!("FAULT: node {node} is cut off from the others"));
        self.trouble(self.nodes[node].shard);
        self.nodes[node].member.isolated_at = Some(self.now);
        self.detach(node);
        self.detach_all(node);
        self.suspect_later(node);
        self.undo_later(Fault::Isolated { node });
        self.who_knows();
    }

    /// A node is not cut off any more.
    pub fn rejoin(&mut self, node: usize) {
        if self.nodes[node].member.isolated_at.take().is_none() {
            return;
        }
        self.line(|| format!("node {node} is not cut off any more"));
        self.exchange(node);
        for replica in self.shards[self.nodes[node].shard].nodes.clone() {
            self.undo_later(Fault::Detached { replica });
        }
        self.who_knows();
    }

    /// The others will find that a node is away, if it still is then.
    pub fn suspect_later(&mut self, node: usize) {
        if !self.is_cluster() {
            return;
        }
        for by in (0..self.nodes.len()).filter(|by| *by != node) {
            let at = self.now + self.plan.node_timeout + self.rng.below(50_000);
            self.agenda.add(at, Happening::Suspected { by, node });
        }
    }

    pub fn suspected(&mut self, by: usize, node: usize) {
        let away = |node: &Node| !node.runs() || node.member.isolated_at.is_some();
        if away(&self.nodes[node]) && !away(&self.nodes[by]) {
            self.trouble_everywhere();
            self.nodes[by].member.view.failed[node] = true;
            self.redirect_blocked(by);
        }
    }

    /// A node's whole cluster may refuse to serve, or keys may be on their way: no answer is wrong
    /// for that, but an error may be right.
    fn trouble_everywhere(&mut self) {
        for shard in &mut self.shards {
            shard.trouble_at = Some(self.now);
        }
    }
}
