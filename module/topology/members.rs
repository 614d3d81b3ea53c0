//! Which shard is whose in a Redis Cluster, by what its nodes say.
//!
//! ```text
//!   views of the nodes --> claims: "slot 7 is a's, since epoch 3" --> who has which slots
//!                      '-> kin: a2 is, or was, a's replica            |
//!                                              '-----------------> Members --> ShardMap
//! ```
//!
//! **Who has a slot.** Nodes hear of changes one by one, each in an order of its own, so no view is
//! newer than another as a whole. It is decided for each slot as the nodes do it: who claims it
//! with the higher config epoch has it, and of its own slots a node knows best. What was believed
//! stays so if some don't know it yet; if most have been heard since, and none of all knows it, it
//! was undone. Source: redis `cluster_legacy.c`, `clusterUpdateSlotsConfigWith`.
//!
//! **Which shard that is.** A shard is who it was: if one of its kin has its slots now, there was a
//! failover, and what clients wrote may be lost; its marks have to stand the test of history, even
//! if the former primary lives on, or keeps a slot. Only what goes to somebody else was moved
//! there, each key with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::shards::{Address, HashSlot, ShardMap, SlotRange};

use super::nodes::{Node, View};

/// What has come of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It lacks something that is known, and says nothing new.
    Doubted,
    /// It says what is known.
    Known,
    /// The shards, or the nodes that can be asked, are others now.
    Changed,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Members {
    shards: Vec<Member>,
    /// By slot; empty before anything was told.
    claims: Vec<Option<Claim>>,
    /// All nodes there ever were, as they were last seen.
    nodes: Vec<Node>,
    numbers: BTreeMap<String, Number>,
    /// By who was asked.
    heard: Vec<Option<Heard>>,
    /// Counts what was told.
    clock: u64,
    /// When somebody last said what is believed.
    confirmed_at: u64,
    /// When somebody last said something else than before, or could be asked no more.
    news_at: u64,
    /// Where all nodes listen that anybody names.
    addresses: Vec<Address>,
}

/// A place in `Members::nodes`.
type Number = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    node: Number,
    epoch: u64,
}

#[derive(Clone, Debug)]
struct Heard {
    view: View,
    at: u64,
    /// It says what is believed.
    agrees: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    primary: Number,
    /// None if it is no primary any more, and nobody has come in its place.
    address: Option<Address>,
    slots: Vec<SlotRange>,
    /// Who has, or had, this shard's data, and is nowhere else since.
    kin: BTreeSet<Number>,
}

/// Who could be a shard's primary.
#[derive(Clone, Debug)]
struct Candidate {
    node: Number,
    address: Address,
    epoch: u64,
    slots: Vec<SlotRange>,
}

impl Members {
    /// Other nodes are asked from now on: of each, which it was before, if it was any.
    pub fn ask_others(&mut self, before: &[Option<usize>]) {
        let mut old = std::mem::take(&mut self.heard);
        let was = |number: &Option<usize>| old.get_mut((*number)?)?.take();
        self.heard = before.iter().map(was).collect();
        self.news_at = self.clock;
    }

    /// A node can't be asked any more: its view doesn't count.
    pub fn gone(&mut self, node: usize) {
        if let Some(heard) = self.heard.get_mut(node) {
            *heard = None;
        }
        self.news_at = self.clock;
    }

    /// A node's view.
    pub fn told(&mut self, node: usize, view: View) -> Told {
        self.clock += 1;
        let now = self.clock;
        let mut is_new = true;
        match self.heard.get_mut(node) {
            None => return Told::Doubted,
            // Most of the time nothing has happened.
            Some(Some(before)) if before.view == view && before.at > self.news_at => {
                before.at = now;
                if before.agrees {
                    self.confirmed_at = now;
                    return Told::Known;
                }
                if !self.is_outvoted() {
                    return Told::Doubted;
                }
            }
            Some(heard) => {
                is_new = heard.as_ref().is_none_or(|before| before.view != view);
                *heard = Some(Heard { view, at: now, agrees: false });
            }
        }
        self.see(node);
        let news = self.take_in(node);
        let agrees = self.compare(node, news);
        // If each look at what is known already counted as news to the others, none would be the
        // last.
        if is_new || news {
            self.news_at = now;
        }
        if news || agrees {
            self.confirmed_at = now;
        } else if self.is_outvoted() {
            self.news_at = now;
            self.claims.clear();
            (0..self.heard.len()).for_each(|node| _ = self.take_in(node));
            self.compare(node, true);
            self.confirmed_at = now;
        }
        match (self.settle(), agrees || news) {
            (true, _) => Told::Changed,
            (false, true) => Told::Known,
            (false, false) => Told::Doubted,
        }
    }

    /// The shards as they are believed to be.
    pub fn map(&self) -> ShardMap {
        let of = |member: &Member| (member.address.clone(), member.slots.clone());
        ShardMap::of_cluster(self.shards.iter().map(of).collect())
    }

    /// How many replicas each shard should have, in the order of the map: its kin, as far as
    /// anybody still names them, whether they are up or not.
    pub fn replicas(&self) -> Vec<u32> {
        let named: BTreeSet<&String> =
            self.heard.iter().flatten().flat_map(|heard| heard.view.ids()).collect();
        let count = |member: &Member| {
            let others = member.kin.iter().filter(|kin| **kin != member.primary);
            others.filter(|kin| named.contains(&self.nodes[**kin].id)).count()
        };
        self.shards.iter().map(|shard| u32::try_from(count(shard)).unwrap_or(u32::MAX)).collect()
    }

    /// Where the nodes listen, primaries first.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    // ---------------------------------------------------------------- who has a slot

    /// Notes what a view says of each node. Where a node is, it knows itself.
    fn see(&mut self, by: usize) {
        let Some(Some(Heard { view, .. })) = self.heard.get(by) else { return };
        let others = self.heard.iter().enumerate().filter(|(other, _)| *other != by);
        let speaks = others.filter_map(|(_, heard)| Some(&heard.as_ref()?.view.myself()?.id));
        let speaks: BTreeSet<&String> = speaks.collect();
        for node in &view.nodes {
            let seen = node.clone();
            match self.numbers.get(&node.id) {
                Some(_) if !node.myself && speaks.contains(&node.id) => {}
                Some(number) => self.nodes[*number] = seen,
                None => {
                    self.numbers.insert(node.id.clone(), self.nodes.len());
                    self.nodes.push(seen);
                }
            }
        }
    }

    /// Takes in the claims of a view. Returns whether any slot has another owner now.
    fn take_in(&mut self, by: usize) -> bool {
        let Some(Some(Heard { view, .. })) = self.heard.get(by) else { return false };
        let mut claims = self.claims.clone();
        claims.resize(usize::from(HashSlot::COUNT), None);
        if let Some(myself) = view.myself() {
            let number = self.numbers[&myself.id];
            let own = owned(myself);
            for (claim, own) in claims.iter_mut().zip(own) {
                if claim.is_some_and(|c| !own && c.node == number && c.epoch <= myself.epoch) {
                    *claim = None;
                }
            }
        }
        for node in view.nodes.iter().filter(|node| node.primary.is_none()) {
            // What it has given away by its own word, others only have not heard of yet.
            let word = self.heard.iter().flatten().filter_map(|heard| heard.view.myself());
            let word = word
                .filter(|own| own.id == node.id && own.epoch >= node.epoch)
                .max_by_key(|own| own.epoch);
            let denied = word.map(owned);
            let new = Claim { node: self.numbers[&node.id], epoch: node.epoch };
            for slot in node.slots.iter().flat_map(|range| range.first..=range.last) {
                let slot = usize::from(slot);
                if denied.as_ref().is_some_and(|own| !own[slot]) {
                    continue;
                }
                let claim = &mut claims[slot];
                if claim.is_none_or(|old| new.epoch > old.epoch) {
                    *claim = Some(new);
                }
            }
        }
        let owner = |claim: &Option<Claim>| claim.map(|claim| claim.node);
        let news = !claims.iter().map(owner).eq(self.claims.iter().map(owner));
        self.claims = claims;
        news
    }

    /// Compares a view, or all, with what is believed. Returns whether it says the same.
    fn compare(&mut self, node: usize, all: bool) -> bool {
        for (number, heard) in self.heard.iter_mut().enumerate() {
            if let Some(heard) = heard
                && (all || number == node)
            {
                let mut owners = vec![None; self.claims.len()];
                for node in heard.view.nodes.iter().filter(|node| node.primary.is_none()) {
                    let owner = self.numbers.get(&node.id);
                    for range in &node.slots {
                        owners[usize::from(range.first)..=usize::from(range.last)].fill(owner);
                    }
                }
                let believed = self.claims.iter().map(|claim| claim.map(|claim| claim.node));
                heard.agrees = believed.eq(owners.into_iter().map(Option::<&Number>::copied));
            }
        }
        self.heard.get(node).is_some_and(|heard| heard.as_ref().is_some_and(|h| h.agrees))
    }

    /// Whether most of the nodes have spoken since somebody last said what is believed, and nobody
    /// says it any more. One that alone was heard may be cut off from the others.
    fn is_outvoted(&self) -> bool {
        let heard = || self.heard.iter().flatten();
        let since = heard().filter(|heard| heard.at > self.confirmed_at).count();
        2 * since > self.heard.len() && !heard().any(|heard| heard.agrees)
    }

    // ---------------------------------------------------------------- which shard that is

    /// Gives each primary its shard. Returns whether anything is other than before.
    fn settle(&mut self) -> bool {
        let (serving, idle) = self.candidates();
        let mut all = serving;
        let serving = all.len();
        all.extend(idle);
        let places = self.places_of(&all, serving);
        let mut shards = self.shards.clone();
        for member in &mut shards {
            (member.address, member.slots) = (None, Vec::new());
        }
        for (candidate, place) in all.into_iter().zip(places) {
            let Some((place, stays)) = place else { continue };
            let Candidate { node, address, slots, .. } = candidate;
            let mut kin = BTreeSet::new();
            if let Some(before) = self.shards.get(place).filter(|_| stays) {
                kin.clone_from(&before.kin);
                kin.insert(before.primary);
            }
            let member = Member { primary: node, address: Some(address), slots, kin };
            match shards.get_mut(place) {
                Some(shard) => *shard = member,
                None => shards.push(member),
            }
        }
        let shards = self.with_kin(shards);
        let addresses = self.named(&shards);
        let changed = shards != self.shards || addresses != self.addresses;
        (self.shards, self.addresses) = (shards, addresses);
        changed
    }

    /// Who has slots, in their order; and who could have some.
    fn candidates(&self) -> (Vec<Candidate>, Vec<Candidate>) {
        let candidate = |number: Number| {
            let node = &self.nodes[number];
            let address = node.address.clone()?;
            Some(Candidate { node: number, address, epoch: node.epoch, slots: Vec::new() })
        };
        let mut serving: Vec<Candidate> = Vec::new();
        for (slot, claim) in (0u16..).zip(&self.claims) {
            let Some(claim) = claim else { continue };
            let place = serving.iter().position(|known| known.node == claim.node);
            let place = match place {
                Some(place) => place,
                None => {
                    let Some(new) = candidate(claim.node) else { continue };
                    serving.push(new);
                    serving.len() - 1
                }
            };
            let owner = &mut serving[place];
            owner.epoch = owner.epoch.max(claim.epoch);
            match owner.slots.last_mut() {
                Some(range) if range.last + 1 == slot => range.last = slot,
                _ => owner.slots.push(SlotRange { first: slot, last: slot }),
            }
        }
        let named: BTreeSet<&String> = self.views().flat_map(View::ids).collect();
        let idle = self.nodes.iter().enumerate().filter(|(number, node)| {
            let serves = serving.iter().any(|known| known.node == *number);
            node.primary.is_none() && !node.failing && !serves && named.contains(&node.id)
        });
        let idle = idle.filter_map(|(number, _)| candidate(number)).collect();
        (serving, idle)
    }

    /// For each candidate its place among shards, and whether its shard was there before; none if
    /// it has none. The first `serving` have slots.
    fn places_of(&self, all: &[Candidate], serving: usize) -> Vec<Option<(usize, bool)>> {
        let mut places: Vec<Option<(usize, bool)>> = vec![None; all.len()];
        let live = || self.shards.iter().enumerate().filter(|(_, m)| m.address.is_some());
        let is_primary = |node: Number| live().any(|(_, member)| member.primary == node);
        for (place, member) in live() {
            let heirs = (0..serving).filter(|&c| {
                let node = all[c].node;
                places[c].is_none() && member.kin.contains(&node) && !is_primary(node)
            });
            let own = || all.iter().position(|candidate| candidate.node == member.primary);
            let heir = heirs.max_by_key(|&c| all[c].epoch);
            let stranger = || {
                let own_serves = own().is_some_and(|own| own < serving);
                let takes_all = |c: &usize| {
                    let node = all[*c].node;
                    let is_kin = || self.shards.iter().any(|member| member.kin.contains(&node));
                    let all = covers(&all[*c].slots, &member.slots);
                    places[*c].is_none() && all && !is_primary(node) && !is_kin()
                };
                let loses = !own_serves && !member.slots.is_empty();
                (0..serving).filter(|_| loses).find(takes_all)
            };
            if let Some(chosen) = heir.or_else(stranger).or_else(own) {
                places[chosen] = Some((place, true));
            }
        }
        let is_taken = |places: &[Option<(usize, bool)>], place: usize| {
            places.iter().flatten().any(|(taken, _)| *taken == place)
        };
        for c in 0..all.len() {
            if places[c].is_some() || (c >= serving && !self.begins_anew(all[c].node)) {
                continue;
            }
            // A place that is free is one whose clients have been told.
            let own = self.shards.iter().position(|member| member.primary == all[c].node);
            let own = own.filter(|place| !is_taken(&places, *place));
            // Views together may name more than each of them.
            let free = || (0..limits::SHARDS_MAX).find(|place| !is_taken(&places, *place));
            places[c] = own.or_else(free).map(|place| (place, false));
        }
        places
    }

    /// Whether a primary without slots is one that could get some, and not one that is yet to learn
    /// that another has its slots.
    fn begins_anew(&self, node: Number) -> bool {
        let was_there = |member: &Member| {
            member.kin.contains(&node) || (member.primary == node && !member.slots.is_empty())
        };
        let known = &self.nodes[node];
        let says_so =
            |own: &Node| own.id == known.id && own.primary.is_none() && own.slots.is_empty();
        known.slots.is_empty() && !self.shards.iter().any(was_there)
            || self.views().filter_map(View::myself).any(says_so)
    }

    /// The same shards, each with its kin: replicas, former ones, and former primaries.
    fn with_kin(&self, mut shards: Vec<Member>) -> Vec<Member> {
        let primaries: BTreeMap<&str, usize> = (shards.iter().enumerate())
            .filter(|(_, member)| member.address.is_some())
            .map(|(place, member)| (self.nodes[member.primary].id.as_str(), place))
            .collect();
        let of = |number: Number| {
            let node = &self.nodes[number];
            let is_primary = primaries.contains_key(node.id.as_str());
            let replicates = node.primary.as_ref().and_then(|id| primaries.get(id.as_str()));
            (is_primary, replicates.copied())
        };
        let whose: Vec<(bool, Option<usize>)> = (0..self.nodes.len()).map(of).collect();
        for (place, member) in shards.iter_mut().enumerate() {
            if member.address.is_none() {
                member.kin.clear();
                continue;
            }
            member.kin.retain(|node| match whose[*node] {
                (true, _) => false,
                (false, Some(other)) => other == place,
                (false, None) => true,
            });
            let replicas = whose.iter().enumerate().filter(|(_, of)| **of == (false, Some(place)));
            member.kin.extend(replicas.map(|(number, _)| number));
            while member.kin.len() > limits::KIN_MAX {
                member.kin.pop_first();
            }
        }
        shards
    }

    fn views(&self) -> impl Iterator<Item = &View> {
        self.heard.iter().flatten().map(|heard| &heard.view)
    }

    /// Where all nodes listen that any view names, those of `shards` first.
    fn named(&self, shards: &[Member]) -> Vec<Address> {
        let ids: BTreeSet<&String> = self.views().flat_map(View::ids).collect();
        let numbers = ids.into_iter().filter_map(|id| self.numbers.get(id).copied());
        let serves = |number: &Number| shards.iter().any(|member| member.primary == *number);
        let (primaries, others): (Vec<Number>, Vec<Number>) = numbers.partition(serves);
        let all = primaries.into_iter().chain(others);
        all.filter_map(|number| self.nodes[number].address.clone()).collect()
    }
}

/// By slot: whether it is this node's.
fn owned(node: &Node) -> Vec<bool> {
    let mut own = vec![false; usize::from(HashSlot::COUNT)];
    for range in node.slots.iter().filter(|_| node.primary.is_none()) {
        own[usize::from(range.first)..=usize::from(range.last)].fill(true);
    }
    own
}

/// Whether all of `some` are in `ranges`, which are in order and as few as there can be.
fn covers(ranges: &[SlotRange], some: &[SlotRange]) -> bool {
    let within = |a: &SlotRange, b: &SlotRange| b.first <= a.first && a.last <= b.last;
    some.iter().all(|one| ranges.iter().any(|range| within(one, range)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "0-16383";

    /// A primary: `id`, where it listens, its epoch, its slots, and other flags.
    fn primary(id: &str, port: u16, epoch: u64, slots: &str, flags: &str) -> String {
        format!("{id} 1.1.1.1:{port}@1 {flags}master - 0 0 {epoch} connected {slots}\n")
    }

    fn replica(id: &str, port: u16, of: &str) -> String {
        format!("{id} 1.1.1.1:{port}@1 slave {of} 0 0 0 connected\n")
    }

    fn view(lines: &[String]) -> View {
        View::parse(&lines.concat(), &"1.1.1.1:9".parse().unwrap()).unwrap()
    }

    fn asking(nodes: usize) -> Members {
        let mut members = Members::default();
        members.ask_others(&vec![None; nodes]);
        members
    }

    /// Ports and slots of shards in their order.
    fn shards(members: &Members) -> Vec<String> {
        let map = members.map();
        let line = |shard: &crate::shards::Shard| {
            let address = shard.address.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("{} {}", address.trim_start_matches("1.1.1.1:"), shard.slots_text())
        };
        map.shards().map(|(_, shard)| line(shard)).collect()
    }

    /// `a` and `b` share the slots, `a2` is `a`'s replica.
    fn two() -> Vec<String> {
        vec![
            primary("a", 1, 1, "0-99", ""),
            primary("b", 2, 2, "100-16383", ""),
            replica("a2", 3, "a"),
        ]
    }

    #[test]
    fn a_replica_that_takes_over_has_its_primarys_shard() {
        for flags in ["", "fail,", "fail?,"] {
            let mut members = asking(2);
            assert_eq!(members.told(0, view(&two())), Told::Changed);
            assert_eq!(members.told(1, view(&two())), Told::Known);
            let over = [
                primary("a", 1, 1, "", flags),
                primary("b", 2, 2, "100-16383", ""),
                primary("a2", 3, 10, "0-99", ""),
            ];
            assert_eq!(members.told(1, view(&over)), Told::Changed);
            assert_eq!(shards(&members), ["3 0-99", "2 100-16383"], "{flags}");
            assert_eq!(members.replicas(), [1, 0], "a should come back");
            assert_eq!(members.told(0, view(&two())), Told::Doubted, "it has yet to hear of it");
            assert_eq!(shards(&members), ["3 0-99", "2 100-16383"], "{flags}");
        }
    }

    #[test]
    fn a_former_primary_that_keeps_a_slot_is_another_shard() {
        let mut members = asking(1);
        members.told(0, view(&two()));
        let both = [
            primary("a", 1, 1, "7", ""),
            primary("b", 2, 2, "100-16383", ""),
            primary("a2", 3, 10, "0-6 8-99", ""),
        ];
        members.told(0, view(&both));
        assert_eq!(shards(&members), ["3 0-6,8-99", "2 100-16383", "1 7"]);
    }

    #[test]
    fn two_changes_heard_in_different_orders_are_both_believed() {
        let with = |epoch_a, port_a, epoch_b, port_b| {
            let (of_a, of_b) = (format!("a{port_a}"), format!("b{port_b}"));
            view(&[
                primary(&of_a, port_a, epoch_a, "0-99", ""),
                primary(&of_b, port_b, epoch_b, "100-16383", ""),
                replica("a11", 11, &of_a),
                replica("b12", 12, &of_b),
            ])
        };
        let mut members = asking(3);
        members.told(0, with(1, 1, 2, 2));
        let changed = |port_a, epoch_a, port_b, epoch_b| {
            let lines = [
                primary(&format!("a{port_a}"), port_a, epoch_a, "0-99", ""),
                primary(&format!("b{port_b}"), port_b, epoch_b, "100-16383", ""),
            ];
            view(&lines)
        };
        assert_eq!(members.told(0, changed(11, 3, 2, 2)), Told::Changed);
        assert_eq!(members.told(1, changed(1, 1, 12, 4)), Told::Changed);
        assert_eq!(shards(&members), ["11 0-99", "12 100-16383"]);
        assert_eq!(members.told(0, changed(11, 3, 2, 2)), Told::Doubted);
        assert_eq!(members.told(2, changed(1, 1, 2, 2)), Told::Doubted);
        assert_eq!(shards(&members), ["11 0-99", "12 100-16383"]);
    }

    #[test]
    fn of_its_own_slots_a_node_knows_best() {
        let mut members = asking(2);
        let after = [primary("a", 1, 9, "0-98", "myself,"), primary("b", 2, 8, "99-16383", "")];
        members.told(0, view(&after));
        // It knows a's newest epoch, and not yet what b had got before.
        let before = [primary("a", 1, 9, "0-99", ""), primary("b", 2, 7, "100-16383", "")];
        assert_eq!(members.told(1, view(&before)), Told::Doubted);
        assert_eq!(shards(&members), ["1 0-98", "2 99-16383"]);
    }

    #[test]
    fn a_primary_without_slots_has_a_shard_while_it_is_there() {
        let mut members = asking(1);
        members.told(0, view(&[primary("a", 1, 1, ALL, ""), primary("b", 2, 0, "", "")]));
        assert_eq!(shards(&members), ["1 0-16383", "2 "]);
        members.told(0, view(&[primary("b", 2, 2, ALL, "")]));
        assert_eq!(shards(&members), ["- ", "2 0-16383"]);
    }

    #[test]
    fn a_primary_that_gave_all_away_keeps_its_shard() {
        let mut members = asking(1);
        members.told(0, view(&[primary("a", 1, 1, ALL, ""), primary("b", 2, 0, "", "")]));
        members.told(0, view(&[primary("a", 1, 1, "", ""), primary("b", 2, 2, ALL, "")]));
        assert_eq!(shards(&members), ["1 ", "2 0-16383"]);
    }

    #[test]
    fn who_was_a_replica_may_begin_anew() {
        let mut members = asking(2);
        members.told(0, view(&two()));
        let [a, b, _] = two().try_into().unwrap();
        let alone = primary("a2", 3, 0, "", "");
        members.told(0, view(&[a.clone(), b.clone(), alone]));
        assert_eq!(shards(&members), ["1 0-99", "2 100-16383"], "it may be about to take over");
        let itself = primary("a2", 3, 0, "", "myself,");
        members.told(1, view(&[a, b, itself]));
        assert_eq!(shards(&members), ["1 0-99", "2 100-16383", "3 "]);
        let with_slot = [
            primary("a", 1, 1, "1-99", ""),
            primary("b", 2, 2, "100-16383", ""),
            primary("a2", 3, 3, "0", ""),
        ];
        members.told(0, view(&with_slot));
        assert_eq!(shards(&members), ["1 1-99", "2 100-16383", "3 0"]);
    }

    #[test]
    fn a_stranger_with_all_slots_is_taken_for_an_heir() {
        let mut members = asking(1);
        members.told(0, view(&[primary("a", 1, 1, ALL, "")]));
        members.told(0, view(&[primary("b", 2, 2, ALL, "")]));
        assert_eq!(shards(&members), ["2 0-16383"]);
    }

    #[test]
    fn what_was_undone_is_believed_when_most_say_so() {
        let at = |epoch: u64, port: u16| view(&[primary("a", port, epoch, ALL, "")]);
        let by = |id: &str, epoch, port| view(&[primary(id, port, epoch, ALL, "")]);
        let mut members = asking(3);
        let told = |members: &mut Members, node, view| {
            members.told(node, view);
            shards(members)
        };
        assert_eq!(told(&mut members, 0, by("b", 5, 2)), ["2 0-16383"]);
        assert_eq!(told(&mut members, 1, at(4, 1)), ["2 0-16383"]);
        members.ask_others(&[Some(1), Some(0), Some(2)]);
        assert_eq!(told(&mut members, 0, at(4, 1)), ["2 0-16383"], "who said what is remembered");
        members.gone(1);
        assert_eq!(told(&mut members, 0, at(4, 1)), ["2 0-16383"], "one node may be cut off");
        assert_eq!(told(&mut members, 2, at(4, 1)), ["1 0-16383"], "most say so");
    }
}
