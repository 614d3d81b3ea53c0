//! Fake nodes of a Redis Cluster: each with a view of its own, and what it hears of the others.
//!
//! ```text
//!   node 4 takes over --news--> node 0 after 2 ms, node 1 after 90 ms, node 2 not at all (isolated)
//!   slot moves to 1   --news--> node 0 after 60 ms, node 4 after 1 ms, ..
//!                                  |
//!                                  v
//!                  view: who has which region, with which epoch, who replicates whom
//! ```
//!
//! News come from each node separately, so a view can know the highest epoch and still lack an
//! earlier change of another shard. Source: redis `cluster_legacy.c`, `clusterProcessPacket`,
//! `clusterUpdateSlotsConfigWith`, `clusterUpdateState`.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::Fault;
use super::ledger::Effect;
use super::node::{Node, Role, What, apply};
use super::plan::Told;
use super::world::{Happening, World};

/// The cluster as one node sees it: all but the first by node.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// By region.
    pub owner: Vec<Option<usize>>,
    pub epochs: Vec<u64>,
    /// Whose replica it is.
    pub of: Vec<Option<usize>>,
    pub failed: Vec<bool>,
}

impl View {
    fn count(&self, node: usize) -> usize {
        self.owner.iter().filter(|owner| **owner == Some(node)).count()
    }
}

/// A node's part in the cluster.
#[derive(Debug, Default)]
pub struct Member {
    pub view: View,
    /// Regions whose missing keys are to be asked for at another shard.
    pub migrating: BTreeMap<usize, usize>,
    /// Regions whose keys are served to whoever says ASKING.
    pub importing: BTreeSet<usize>,
    /// Since when it hears nothing of the others, nor they of it.
    pub isolated_at: Option<u64>,
    /// It has just been started, and waits for news.
    pub joining_until: u64,
    /// The last news from each node, by their number.
    heard: Vec<u64>,
    serial: u64,
}

/// What a node says of itself.
#[derive(Debug, Clone)]
pub struct News {
    from: usize,
    serial: u64,
    epoch: u64,
    of: Option<usize>,
    claims: Vec<bool>,
}

impl World {
    pub fn is_cluster(&self) -> bool {
        self.plan.told == Told::Cluster
    }

    /// All nodes know all.
    pub fn make_cluster(&mut self) {
        let count = self.nodes.len();
        let primaries: Vec<usize> = self.shards.iter().map(|shard| shard.primary).collect();
        for (place, primary) in primaries.iter().enumerate() {
            self.nodes[*primary].member.view.epochs = vec![0; count];
            self.nodes[*primary].member.view.epochs[*primary] = place as u64 + 1;
        }
        self.cluster_epoch = primaries.len() as u64;
        for node in 0..count {
            self.nodes[node].member.heard = vec![0; count];
        }
        self.all_know_all();
        self.first_view = self.nodes[0].member.view.clone();
    }

    /// As if everybody had heard everything: at the beginning, and when the storm is over.
    pub fn all_know_all(&mut self) {
        let count = self.nodes.len();
        let mut view = View {
            owner: Vec::new(),
            epochs: vec![0; count],
            of: vec![None; count],
            failed: vec![false; count],
        };
        for region in &self.regions {
            view.owner.push(Some(self.shards[region.owner].primary));
        }
        for shard in &self.shards {
            let primary = shard.primary;
            view.epochs[primary] = self.nodes[primary].member.view.epochs[primary];
            for &node in shard.nodes.iter().filter(|node| **node != primary) {
                view.of[node] = Some(primary);
            }
        }
        let serials: Vec<u64> = self.nodes.iter().map(|node| node.member.serial).collect();
        for node in 0..count {
            self.nodes[node].member.view = view.clone();
            // What is under way is older.
            self.nodes[node].member.heard.clone_from(&serials);
            self.inherit_moves(node);
        }
        self.who_knows();
    }

    /// What a shard's primary knows of regions on their way, all others don't.
    fn inherit_moves(&mut self, node: usize) {
        let shard = self.nodes[node].shard;
        let is_primary = self.shards[shard].primary == node;
        let member = &mut self.nodes[node].member;
        member.migrating.clear();
        member.importing.clear();
        for (number, region) in self.regions.iter().enumerate().filter(|_| is_primary) {
            let Some(moving) = &region.moving else {
                continue;
            };
            if region.owner == shard {
                member.migrating.insert(number, moving.to);
            } else if moving.to == shard {
                member.importing.insert(number);
            }
        }
    }

    // ---------------------------------------------------------------- news

    fn news_of(&mut self, from: usize) -> News {
        let member = &mut self.nodes[from].member;
        member.serial += 1;
        let claims = member.view.owner.iter().map(|owner| *owner == Some(from)).collect();
        let (epoch, of) = (member.view.epochs[from], member.view.of[from]);
        News { from, serial: member.serial, epoch, of, claims }
    }

    /// A node tells all others how it is, each after a while of its own.
    pub fn tells(&mut self, from: usize) {
        let news = self.news_of(from);
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let most = if self.healed { 2_000 } else { self.plan.gossip_max };
            let delay = match self.rng.below(4) {
                0 => self.rng.below(most + 1),
                _ => self.rng.below(most / 10 + 1),
            };
            self.agenda.add(self.now + delay, Happening::Gossip { to, news: news.clone() });
        }
    }

    /// A node tells one other how it is.
    pub fn tells_one(&mut self, from: usize, to: usize, within: u64) {
        let news = self.news_of(from);
        let at = self.now + self.rng.below(within + 1);
        self.agenda.add(at, Happening::Gossip { to, news });
    }

    /// A node is there again: it hears of all others, and they of it.
    pub fn exchange(&mut self, node: usize) {
        if !self.is_cluster() {
            return;
        }
        self.tells(node);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let within = self.plan.gossip_max;
            self.tells_one(other, node, within);
        }
    }

    /// A node hears of another at once.
    pub fn hear_now(&mut self, to: usize, from: usize) {
        let news = self.news_of(from);
        self.hear(to, news);
    }

    /// A node hears of another.
    pub fn hear(&mut self, to: usize, news: News) {
        let from = news.from;
        let apart = |node: usize| self.nodes[node].member.isolated_at.is_some();
        if !self.nodes[to].up || apart(to) || apart(from) {
            return;
        }
        if self.nodes[to].stopped {
            return self.agenda.add(self.now + 10_000, Happening::Gossip { to, news });
        }
        let member = &mut self.nodes[to].member;
        if member.heard[from] >= news.serial {
            return;
        }
        member.heard[from] = news.serial;
        let view = &mut member.view;
        let before = view.clone();
        view.failed[from] = false;
        view.epochs[from] = view.epochs[from].max(news.epoch);
        view.of[from] = news.of;
        for region in 0..view.owner.len() {
            let owner = view.owner[region];
            let stands = owner.is_some_and(|owner| view.epochs[owner] >= news.epoch);
            if news.of.is_some() && owner == Some(from) {
                view.owner[region] = None;
            } else if news.claims[region] && owner != Some(from) && !stands {
                view.owner[region] = Some(from);
            }
        }
        let changed = before.owner != view.owner || before.of != view.of;
        let primary = before.of[to].unwrap_or(to);
        let lost_all = before.count(primary) > 0 && view.count(primary) == 0;
        let (owner, of) = (view.owner.clone(), view.of[to]);
        member.migrating.retain(|region, _| owner[*region] == Some(to));
        member.importing.retain(|region| owner[*region] != Some(to));
        if changed {
            self.line(|| format!("node {to} hears of node {from}: {owner:?}, of {:?}", news.of));
        }
        // Its last slot went to an heir of its own. Source: `clusterUpdateSlotsConfigWith`, with
        // `cluster-allow-replica-migration no`: who has given all away stays as it is.
        let heir = lost_all
            && primary != from
            && news.of.is_none()
            && self.nodes[from].shard == self.nodes[to].shard;
        match news.of {
            None if heir => self.follow(to, from),
            Some(other) if of == Some(from) && other != to => self.follow(to, other),
            _ => {}
        }
        self.redirect_blocked(to);
        self.who_knows();
    }

    /// A node is the replica of another from now on, to which it attaches after a while.
    fn follow(&mut self, node: usize, primary: usize) {
        self.line(|| format!("node {node} is to be a replica of node {primary}"));
        self.nodes[node].member.view.of[node] = Some(primary);
        self.nodes[node].member.migrating.clear();
        self.nodes[node].member.importing.clear();
        if self.nodes[node].role == Role::Primary {
            self.demote(node);
        }
        self.tells(node);
        let at = self.now + self.rng.below(100_000);
        self.agenda.add(at, Happening::Undo(Fault::Detached { replica: node }));
    }

    /// Notes since when all who can be asked know where each primary is, and what it has.
    pub fn who_knows(&mut self) {
        for number in 0..self.shards.len() {
            let primary = self.shards[number].primary;
            let knows = |node: &Node| {
                let view = &node.member.view;
                let mut regions = self.regions.iter().zip(&view.owner);
                view.of[primary].is_none()
                    && regions.all(|(region, owner)| {
                        (region.owner == number) == (*owner == Some(primary))
                    })
            };
            let asked = |node: &&Node| node.up && node.member.isolated_at.is_none();
            let known = self.nodes.iter().filter(asked).all(knows);
            let now = self.now;
            let shard = &mut self.shards[number];
            shard.told_at = shard.told_at.filter(|_| known).or(known.then_some(now));
        }
    }

    // ---------------------------------------------------------------- changes

    /// A replica has its shard's regions from now on, by an epoch that is higher than all others.
    pub fn take_over(&mut self, shard: usize, heir: usize) {
        self.promote(heir);
        self.shards[shard].primary = heir;
        self.cluster_epoch += 1;
        let view = &mut self.nodes[heir].member.view;
        view.epochs[heir] = self.cluster_epoch;
        view.of[heir] = None;
        for (region, owner) in self.regions.iter().zip(&mut view.owner) {
            if region.owner == shard {
                *owner = Some(heir);
            } else if *owner == Some(heir) {
                *owner = None;
            }
        }
        self.inherit_moves(heir);
        self.drop_strays(heir);
        self.find_losses(shard);
        self.tells(heir);
        self.who_knows();
    }

    /// A primary forgets keys that have gone to another shard. A replica that takes over before it
    /// has heard that a key went would have it a second time: that is beyond what can be right.
    pub fn drop_strays(&mut self, node: usize) {
        let shard = self.nodes[node].shard;
        let keys: Vec<Vec<u8>> = self.nodes[node].data.keys().cloned().collect();
        for key in keys {
            let region = &self.regions[self.region_of_key(&key)];
            let gone = region.moving.as_ref().is_some_and(|moving| moving.gone.contains(&key));
            let here = match region.owner == shard {
                true => !gone,
                false => region.concerns(shard),
            };
            if !here {
                self.key_goes(node, &key);
            }
        }
    }

    /// The key is gone: deleted as by MIGRATE.
    pub fn key_goes(&mut self, node: usize, key: &[u8]) {
        let Some(&entry) = self.ledger.of_key(key).last() else {
            return;
        };
        let server = &mut self.nodes[node];
        apply(&mut server.data, key, &Effect::Del);
        server.touch_watched(key);
        self.feed(node, What::Gone(entry), 30 + key.len() as u64);
    }
}
