//! Slots have moved: what is listened to may be published elsewhere.

use std::collections::BTreeSet;

use super::{Ask, Book, TopicId, Wire, Word};
use crate::ids::{ShardId, Time};
use crate::pubsub::{Kind, Reach};

impl<L: Copy + Ord> Book<L> {
    /// These are all shards from now on, in ascending order, and topics reach as `reach` says: what
    /// is wanted elsewhere now is said there, and no more where it was.
    pub fn remap(&mut self, shards: &[ShardId], reach: impl Fn(Kind, &[u8]) -> Reach, now: Time) {
        let before = std::mem::replace(&mut self.shards, shards.to_vec());
        let count = shards.last().map_or(0, |last| last.index() + 1);
        for (_, feed) in self.feeds.iter_mut() {
            let most = count.max(feed.wires.len());
            feed.wires.resize_with(most, Wire::default);
        }
        let ids: Vec<TopicId> = self.topics.iter().map(|(id, _)| id).collect();
        let mut changed = BTreeSet::new();
        for id in ids {
            let Some(topic) = self.topics.get_mut(id) else { continue };
            let old: BTreeSet<ShardId> = topic.reach.shards(&before).collect();
            topic.reach = reach(topic.kind, &topic.name);
            let new: BTreeSet<ShardId> = topic.reach.shards(shards).collect();
            if old != new {
                changed.insert(id);
            }
            for &shard in old.difference(&new) {
                self.reaches_no_more(id, shard);
            }
            for &shard in new.difference(&old) {
                self.reaches_now(id, shard, now);
            }
        }
        self.ask_again(&changed);
        self.invariants();
    }

    /// Who asks for a topic whose reach has changed asks anew: a confirmation that is under way may
    /// be of what has been given up since.
    fn ask_again(&mut self, changed: &BTreeSet<TopicId>) {
        let is_affected = |ask: &Ask<L>| ask.topics.iter().any(|topic| changed.contains(topic));
        let affected = self.asks.iter().filter(|(_, ask)| is_affected(ask)).map(|(id, _)| *id);
        for id in affected.collect::<Vec<_>>() {
            let Some(ask) = self.asks.remove(&id) else { continue };
            for id in &ask.topics {
                if let Some(topic) = self.topics.get_mut(*id) {
                    topic.early.retain(|(_, early)| *early != ask.listener);
                }
            }
            self.begin_ask(ask.listener, ask.feed, ask.topics, ask.since);
        }
    }

    fn reaches_no_more(&mut self, id: TopicId, shard: ShardId) {
        let Some(topic) = self.topics.get(id) else {
            return;
        };
        let wire = self.feeds.get_mut(topic.feed).and_then(|f| f.wires.get_mut(shard.index()));
        let Some(wire) = wire else {
            return;
        };
        wire.topics -= 1;
        if wire.up && topic.idle_since.is_none() {
            self.sends.push_back(topic.send(shard, Word::Unsubscribe));
        }
    }

    fn reaches_now(&mut self, id: TopicId, shard: ShardId, now: Time) {
        let Some(topic) = self.topics.get(id) else {
            return;
        };
        let wire = self.feeds.get_mut(topic.feed).and_then(|f| f.wires.get_mut(shard.index()));
        let Some(wire) = wire else {
            return;
        };
        wire.topics += 1;
        if !topic.listeners.is_empty() {
            // What is published there before the shard has been told is missed.
            wire.lost_at.get_or_insert(now);
            if wire.up {
                wire.restoring += 1;
                self.sends.push_back(topic.send(shard, Word::Resubscribe { topic: id }));
            }
        }
    }
}
