//! Regions that go from one shard of a cluster to another, under load.
//!
//! ```text
//!   begin      the source sends whoever asks for a missing key on, the target serves who says ASKING
//!   one key    restored on the target, a write in its stream; deleted on the source, a write too
//!   the last   the target has the region, by a higher epoch; the source is told, the others hear
//!              of it when they do
//! ```
//!
//! A shard's next primary goes on with what the last one had begun, as Valkey's does. Source: redis
//! `redis-cli.c`, `clusterManagerMoveSlot`; `cluster.c`, `migrateCommand`; valkey
//! `cluster_legacy.c`, `clusterCommandSetSlot`.

use super::ledger::{Effect, EntryId, Import};
use super::node::{Item, Role, What, apply};
use super::plan::Plant;
use super::regions::Moving;
use super::world::{Happening, World};

impl World {
    /// A region begins to move, if there is one that may.
    pub fn begin_move(&mut self) {
        let Some(every) = self.plan.move_every.filter(|_| !self.healed) else {
            return;
        };
        let next = self.now + 1 + self.rng.around(every);
        self.agenda.add(next, Happening::Move);
        let number = self.rng.index(self.regions.len());
        let to = self.rng.index(self.shards.len());
        let from = self.regions[number].owner;
        let last = self.regions.iter().filter(|region| region.owner == from).count() == 1;
        // A shard that gives all away is rare.
        let rare = last && !self.rng.one_in(5);
        if from == to || rare || !self.may_move(number) || !self.both_are_well(from, to) {
            return;
        }
        self.line(|| format!("region {number} begins to move from shard {from} to shard {to}"));
        let (source, target) = (self.shards[from].primary, self.shards[to].primary);
        self.nodes[source].member.migrating.insert(number, to);
        self.nodes[target].member.importing.insert(number);
        self.regions[number].moving = Some(Moving { to, gone: Default::default() });
        self.regions[number].stirred += 1;
        self.disturb(from);
        self.disturb(to);
        self.agenda.add(self.now, Happening::MoveOn { region: number });
        // What goes along is most in danger where replicas are late.
        if self.plan.faulty() && self.rng.percent(40) {
            match self.rng.percent(50) {
                true => self.stop_some(to, true),
                false => self.replica_leaves(to),
            }
        }
    }

    /// It stands still, and all engines have seen where. One that goes and comes back between two
    /// looks of an engine can't be told from one that has stayed.
    fn may_move(&self, region: usize) -> bool {
        let truth = &self.regions[region];
        let known = self.beliefs.iter().all(|belief| belief.owner(region) == Some(truth.owner));
        truth.moving.is_none() && known
    }

    fn both_are_well(&self, from: usize, to: usize) -> bool {
        [from, to].into_iter().all(|shard| {
            let node = &self.nodes[self.shards[shard].primary];
            node.runs()
                && node.role == Role::Primary
                && node.member.isolated_at.is_none()
                && self.now >= node.loading_until
        })
    }

    /// One more key goes; or, if there is none, the region.
    pub fn move_on(&mut self, number: usize) {
        let from = self.regions[number].owner;
        let Some(to) = self.regions[number].moving.as_ref().map(|moving| moving.to) else {
            return;
        };
        let mut pause = if self.healed { 1_000 } else { self.rng.around(20_000) };
        if self.both_are_well(from, to) {
            let source = self.shards[from].primary;
            let keys = self.nodes[source].data.keys();
            let key = keys.filter(|key| self.region_of_key(key) == number).min().cloned();
            match key {
                Some(key) => self.move_key(number, &key, to),
                None => return self.end_move(number, from, to),
            }
        } else {
            pause += 20_000;
        }
        self.agenda.add(self.now + 1 + pause, Happening::MoveOn { region: number });
    }

    fn move_key(&mut self, number: usize, key: &[u8], to: usize) {
        let from = self.regions[number].owner;
        let (source, target) = (self.shards[from].primary, self.shards[to].primary);
        let here = |entry: &&EntryId| {
            let entry = &self.ledger.entries[**entry];
            entry.home() == from && entry.lost_at.is_none()
        };
        let entries: Vec<EntryId> = self.ledger.of_key(key).iter().filter(here).copied().collect();
        self.line(|| {
            let key = String::from_utf8_lossy(key);
            format!("node {source} sends {key} to node {target}, writes {entries:?}")
        });
        for &entry in &entries {
            self.ledger.entries[entry].homes.push((to, self.now));
        }
        let value = self.nodes[source].data[key].clone();
        let what = What::Restored(self.ledger.imports.len());
        let effect = Effect::Set(value.clone());
        self.ledger.imports.push(Import { key: key.to_vec(), value, entries });
        apply(&mut self.nodes[target].data, key, &effect);
        self.nodes[target].touch_watched(key);
        if self.plan.plant == Some(Plant::LeftBehind) {
            let end = self.nodes[target].offset;
            self.nodes[target].log.push(Item { end, what });
        } else {
            self.feed(target, what, 50 + key.len() as u64);
        }
        self.key_goes(source, key);
        if let Some(moving) = &mut self.regions[number].moving {
            moving.gone.insert(key.to_vec());
        }
        self.regions[number].stirred += 1;
        self.tally.keys_moved += 1;
        self.serve_popping(target);
        self.node_works(target);
        self.node_works(source);
    }

    /// All keys have gone: the target has the region.
    fn end_move(&mut self, number: usize, from: usize, to: usize) {
        let (source, target) = (self.shards[from].primary, self.shards[to].primary);
        self.line(|| format!("region {number} is shard {to}'s, that is node {target}'s"));
        self.tally.regions_moved += 1;
        self.regions[number].owner = to;
        self.regions[number].moving = None;
        self.regions[number].stirred += 1;
        // Of a key that was deleted nothing goes along, and nothing can be lost.
        for entry in 0..self.ledger.entries.len() {
            let entry = &self.ledger.entries[entry];
            if entry.home() == from
                && entry.lost_at.is_none()
                && self.region_of_key(&entry.key) == number
            {
                let key = entry.key.clone();
                self.ledger.forget_those_at(&key, from);
            }
        }
        self.cluster_epoch += 1;
        let member = &mut self.nodes[target].member;
        member.importing.remove(&number);
        member.view.owner[number] = Some(target);
        member.view.epochs[target] = self.cluster_epoch;
        self.disturb(from);
        self.disturb(to);
        self.tells(target);
        // Both are told by whoever moves slots, before anything else gets a higher epoch: a source
        // that does while it has not heard would have the region again.
        self.hear_now(source, target);
        if self.plan.faulty() && self.rng.percent(20) {
            let at = self.now + self.rng.below(50_000);
            self.agenda.add(at, Happening::FailOver { shard: to });
        }
        self.who_knows();
    }

    /// Keys are on their way. Where engines have the time to follow, no client sees that.
    fn disturb(&mut self, shard: usize) {
        let patient = self.plan.settings.failover_timeout.as_millis() >= 500;
        if !patient || self.plan.large > 0 || self.plan.faulty() {
            self.shards[shard].trouble_at = Some(self.now);
        }
    }
}
