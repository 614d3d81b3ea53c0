//! Who listens to what, and what the shards are still to be told of it.

mod remap; // what follows when slots move

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::{Kind, Reach, confirm, glob_matches};
use crate::ids::{ShardId, Slab, Time, slab_id};
use crate::limits;
use crate::resp::{Version, write};

slab_id! {
    /// What the listeners of one login share.
    FeedId
}
slab_id! {
    /// What some listen to, in one feed.
    TopicId
}

/// One client's request to listen; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(u64);

/// What is said to a shard on a wire, and so what its reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// For a client that asks to listen.
    Subscribe {
        /// To what.
        topic: TopicId,
        /// Its request.
        ask: AskId,
    },
    /// For those that listen already, on a new wire.
    Resubscribe {
        /// To what.
        topic: TopicId,
    },
    /// Nobody listens any more.
    Unsubscribe,
}

/// A word for one wire. Its reply goes to [`Book::confirmed`] or [`Book::refused`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// Whose wire, ...
    pub feed: FeedId,
    /// ... and where to.
    pub shard: ShardId,
    /// What it is about.
    pub word: Word,
    kind: Kind,
    name: Arc<[u8]>,
}

impl Send {
    /// Appends the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let command = match self.word {
            Word::Subscribe { .. } | Word::Resubscribe { .. } => self.kind.subscribe_word(),
            Word::Unsubscribe => self.kind.unsubscribe_word(),
        };
        write::request(out, &[command.as_bytes(), &self.name]);
    }
}

/// What a shard's confirmation has brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed<L> {
    /// Nothing yet.
    Nothing,
    /// All that this listener asks for is confirmed: [`Book::join`] is next.
    All(L),
}

/// A wire has again all that the lost one had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Topics of which messages may have been missed, ...
    pub topics: usize,
    /// ... since then.
    pub since: Time,
}

/// What a client waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The feed that it will belong to.
    pub feed: FeedId,
    /// Shards that have not confirmed all.
    pub missing: Vec<ShardId>,
    /// Since when it waits.
    pub since: Time,
}

/// Whom a shard's refusal concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused<L> {
    /// Nobody any more.
    Nobody,
    /// Who asks: it is to be told, and [`Book::cancel`] is next.
    Asker(L),
    /// Who listened before: they were allowed to, and now they are not.
    Listeners(Vec<L>),
}

/// Who gets what is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receivers {
    /// How many of them the shard may have counted as ours: one for each feed and topic.
    pub wires: u64,
    /// How many there are: one for each listener and topic.
    pub listeners: u64,
    /// How many ask to be. If the shard has counted somebody and nobody listens yet, it is they.
    pub joining: u64,
    /// How many listen by another shard, to which the nodes of a cluster pass it on.
    pub elsewhere: u64,
}

impl Receivers {
    /// How many got a message of which the shard says that `counted` did.
    pub fn of(self, counted: u64) -> u64 {
        // What the shard has counted and isn't ours came to it by another way.
        let here = match (counted, counted.saturating_sub(self.wires) + self.listeners) {
            // Whoever listens by now didn't when it was published.
            (0, _) => 0,
            (_, 0) => self.joining,
            (_, all) => all,
        };
        here + self.elsewhere
    }
}

#[derive(Debug)]
struct Topic<L> {
    feed: FeedId,
    kind: Kind,
    name: Arc<[u8]>,
    reach: Reach,
    listeners: BTreeSet<L>,
    /// Asks that wait for it, counted as often as they name it.
    asks: usize,
    /// Who asks for it and has had the confirmation of a shard, while others' are missing.
    early: BTreeSet<(ShardId, L)>,
    /// Since when nobody wants it; the shards have been told so then.
    idle_since: Option<Time>,
}

#[derive(Debug, Default)]
struct Wire {
    up: bool,
    /// Topics that reach the shard.
    topics: usize,
    /// Words of [`Word::Resubscribe`] that were not answered.
    restoring: usize,
    /// Since when listeners have had no wire.
    lost_at: Option<Time>,
}

#[derive(Debug)]
struct Feed {
    by_name: [HashMap<Arc<[u8]>, TopicId>; 3],
    wires: Vec<Wire>,
    /// Since when it has no topics.
    idle_since: Option<Time>,
}

#[derive(Debug)]
struct Ask<L> {
    listener: L,
    feed: FeedId,
    /// In the client's order, with its repetitions.
    topics: Vec<TopicId>,
    /// Confirmations that have not come, by shard.
    missing: BTreeMap<ShardId, usize>,
    since: Time,
}

#[derive(Debug, Default)]
struct Listener {
    topics: [BTreeMap<Arc<[u8]>, TopicId>; 3],
    ask: Option<AskId>,
}

impl Listener {
    /// What confirmations of this kind count.
    fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.topics[0].len() + self.topics[1].len(),
            Kind::ShardChannel => self.topics[2].len(),
        }
    }
}

/// See the room's text. `L` names a listener.
#[derive(Debug)]
pub struct Book<L> {
    /// All shards that there are, in ascending order.
    shards: Vec<ShardId>,
    feeds: Slab<FeedId, Feed>,
    topics: Slab<TopicId, Topic<L>>,
    listeners: BTreeMap<L, Listener>,
    asks: BTreeMap<AskId, Ask<L>>,
    next_ask: u64,
    sends: VecDeque<Send>,
    /// Topics that became idle, with the time. Some may be wanted again.
    idle: VecDeque<(Time, TopicId)>,
    topic_count: usize,
}

impl<L: Copy + Ord> Book<L> {
    /// An empty book for a database of `shards` shards.
    pub fn new(shards: usize) -> Self {
        Self {
            // There are at most `limits::SHARDS_MAX` shards.
            shards: (0..shards).map(|index| ShardId(index as u16)).collect(),
            feeds: Slab::default(),
            topics: Slab::default(),
            listeners: BTreeMap::new(),
            asks: BTreeMap::new(),
            next_ask: 0,
            sends: VecDeque::new(),
            idle: VecDeque::new(),
            topic_count: 0,
        }
    }

    // ---------------------------------------------------------------- what there is

    /// How many channels, patterns and shard channels a listener listens to.
    pub fn counts(&self, listener: L) -> [usize; 3] {
        let known = self.listeners.get(&listener);
        known.map_or([0; 3], |known| Kind::ALL.map(|kind| known.topics[kind.index()].len()))
    }

    /// Whether it listens to anything.
    pub fn listens(&self, listener: L) -> bool {
        self.counts(listener) != [0; 3]
    }

    /// How many topics the shards may have been told of. If none, no shard sends us anything.
    pub fn topic_count(&self) -> usize {
        self.topic_count
    }

    /// Who listens to a topic of a feed.
    pub fn listeners(
        &self,
        feed: FeedId,
        kind: Kind,
        name: &[u8],
    ) -> impl Iterator<Item = L> + use<'_, L> {
        let topic = self.topic(feed, kind, name).and_then(|id| self.topics.get(id));
        topic.into_iter().flat_map(|topic| topic.listeners.iter().copied())
    }

    /// Who will listen to a topic of a feed, and has had the confirmation of `shard` already: what
    /// comes from there is theirs as soon as they join.
    pub fn early_listeners(
        &self,
        feed: FeedId,
        shard: ShardId,
        kind: Kind,
        name: &[u8],
    ) -> impl Iterator<Item = L> + use<'_, L> {
        let topic = self.topic(feed, kind, name).and_then(|id| self.topics.get(id));
        let early = topic.into_iter().flat_map(|topic| topic.early.iter());
        early.filter(move |(at, _)| *at == shard).map(|(_, listener)| *listener)
    }

    /// All names of a kind that somebody listens to, and how many do. A name is told once for each
    /// feed.
    pub fn heard(&self, kind: Kind) -> impl Iterator<Item = (&Arc<[u8]>, usize)> {
        let of_kind = self.topics.iter().filter(move |(_, topic)| topic.kind == kind);
        of_kind
            .map(|(_, topic)| (&topic.name, topic.listeners.len()))
            .filter(|(_, listeners)| *listeners > 0)
    }

    /// How many listen to one channel, pattern or shard channel.
    pub fn listener_count(&self, kind: Kind, name: &[u8]) -> usize {
        let feeds = self.feeds.iter();
        let topics = feeds.filter_map(|(_, feed)| feed.by_name[kind.index()].get(name));
        topics.filter_map(|id| self.topics.get(*id)).map(|topic| topic.listeners.len()).sum()
    }

    /// Who gets what is published to a channel (or, of that kind, a shard channel) on `shard`.
    pub fn receivers(&self, shard: ShardId, kind: Kind, name: &[u8]) -> Receivers {
        let mut receivers = Receivers::default();
        let mut count = |id: &TopicId| match self.topics.get(*id) {
            Some(topic) if topic.reach.has(shard) => {
                receivers.wires += 1;
                receivers.listeners += topic.listeners.len() as u64;
                receivers.joining += topic.asks as u64;
            }
            Some(topic) => receivers.elsewhere += topic.listeners.len() as u64,
            None => {}
        };
        for (_, feed) in self.feeds.iter() {
            if let Some(topic) = feed.by_name[kind.index()].get(name) {
                count(topic);
            }
            if kind == Kind::Channel {
                let patterns = feed.by_name[Kind::Pattern.index()].iter();
                patterns
                    .filter(|(pattern, _)| glob_matches(pattern, name))
                    .for_each(|(_, topic)| count(topic));
            }
        }
        receivers
    }

    fn topic(&self, feed: FeedId, kind: Kind, name: &[u8]) -> Option<TopicId> {
        self.feeds.get(feed)?.by_name[kind.index()].get(name).copied()
    }

    // ---------------------------------------------------------------- feeds and wires

    /// Makes a feed, without topics and wires.
    pub fn open_feed(&mut self, now: Time) -> FeedId {
        let count = self.shards.last().map_or(0, |last| last.index() + 1);
        let wires = (0..count).map(|_| Wire::default()).collect();
        self.feeds.insert(Feed { by_name: Default::default(), wires, idle_since: Some(now) })
    }

    /// Since when a feed has had no topics; none if it has some.
    pub fn idle_since(&self, feed: FeedId) -> Option<Time> {
        self.feeds.get(feed)?.idle_since
    }

    /// A feed without topics goes, and its wires with it.
    pub fn close_feed(&mut self, feed: FeedId) {
        debug_assert!(self.idle_since(feed).is_some(), "a feed with topics");
        self.feeds.remove(feed);
    }

    /// Whether a feed has use for a wire to this shard.
    pub fn wants(&self, feed: FeedId, shard: ShardId) -> bool {
        self.wire(feed, shard).is_some_and(|wire| wire.topics > 0)
    }

    fn wire(&self, feed: FeedId, shard: ShardId) -> Option<&Wire> {
        self.feeds.get(feed)?.wires.get(shard.index())
    }

    fn wire_mut(&mut self, feed: FeedId, shard: ShardId) -> Option<&mut Wire> {
        self.feeds.get_mut(feed)?.wires.get_mut(shard.index())
    }

    /// A new wire stands: it is sent all that is wanted there.
    pub fn up(&mut self, feed: FeedId, shard: ShardId) {
        let listened = self.listened(feed, shard);
        let again: Vec<Send> = listened
            .map(|(id, topic)| topic.send(shard, Word::Resubscribe { topic: id }))
            .collect();
        let restoring = again.len();
        self.sends.extend(again);
        for (&ask, asked) in self.asks.iter().filter(|(_, asked)| asked.feed == feed) {
            for &id in &asked.topics {
                if let Some(topic) = self.topics.get(id).filter(|topic| topic.reach.has(shard)) {
                    self.sends.push_back(topic.send(shard, Word::Subscribe { topic: id, ask }));
                }
            }
        }
        if let Some(wire) = self.wire_mut(feed, shard) {
            wire.up = true;
            wire.restoring = restoring;
            if restoring == 0 {
                wire.lost_at = None;
            }
        }
        self.invariants();
    }

    /// A wire is lost: what it had confirmed is no longer so.
    pub fn down(&mut self, feed: FeedId, shard: ShardId, now: Time) {
        let listened = self.listened(feed, shard).next().is_some();
        self.sends.retain(|send| (send.feed, send.shard) != (feed, shard));
        for (_, topic) in self.topics.iter_mut().filter(|(_, topic)| topic.feed == feed) {
            topic.early.retain(|(at, _)| *at != shard);
        }
        for asked in self.asks.values_mut().filter(|asked| asked.feed == feed) {
            let reaching =
                |id: &&TopicId| self.topics.get(**id).is_some_and(|topic| topic.reach.has(shard));
            let missing = asked.topics.iter().filter(reaching).count();
            if missing > 0 {
                asked.missing.insert(shard, missing);
            }
        }
        if let Some(wire) = self.wire_mut(feed, shard) {
            if wire.up && listened {
                wire.lost_at.get_or_insert(now);
            }
            wire.up = false;
            wire.restoring = 0;
        }
        self.invariants();
    }

    /// What is to be said next on a wire that is up; to be asked after each call that changes
    /// anything, until there is nothing.
    #[must_use]
    pub fn poll_send(&mut self) -> Option<Send> {
        self.sends.pop_front()
    }

    // ---------------------------------------------------------------- beginning to listen

    /// A client asks to listen to topics of one kind. It must not be asking already; until it joins
    /// or cancels, nothing else changes for it.
    pub fn ask<'a>(
        &mut self,
        listener: L,
        feed: FeedId,
        kind: Kind,
        names: impl Iterator<Item = &'a [u8]>,
        reach: impl Fn(&[u8]) -> Reach,
        now: Time,
    ) {
        let topics = names.map(|name| self.want(feed, kind, name, &reach)).collect();
        debug_assert!(self.asking(listener).is_none(), "it asks already");
        self.begin_ask(listener, feed, topics, now);
        self.invariants();
    }

    fn begin_ask(&mut self, listener: L, feed: FeedId, topics: Vec<TopicId>, since: Time) {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let mut missing = BTreeMap::new();
        for &topic_id in &topics {
            let Some(topic) = self.topics.get(topic_id) else {
                continue;
            };
            for shard in topic.reach.shards(&self.shards) {
                *missing.entry(shard).or_insert(0) += 1;
                let wires = self.feeds.get(feed).map(|feed| &feed.wires);
                if wires.and_then(|wires| wires.get(shard.index())).is_some_and(|wire| wire.up) {
                    let word = Word::Subscribe { topic: topic_id, ask: id };
                    self.sends.push_back(topic.send(shard, word));
                }
            }
        }
        self.listeners.entry(listener).or_default().ask = Some(id);
        self.asks.insert(id, Ask { listener, feed, topics, missing, since });
    }

    /// Finds or makes a topic that is asked for.
    fn want(
        &mut self,
        feed_id: FeedId,
        kind: Kind,
        name: &[u8],
        reach: impl Fn(&[u8]) -> Reach,
    ) -> TopicId {
        if let Some(id) = self.topic(feed_id, kind, name)
            && let Some(topic) = self.topics.get_mut(id)
        {
            topic.asks += 1;
            topic.idle_since = None;
            return id;
        }
        let (name, reach): (Arc<[u8]>, _) = (name.into(), reach(name));
        let id = self.topics.insert(Topic {
            feed: feed_id,
            kind,
            name: Arc::clone(&name),
            reach,
            listeners: BTreeSet::new(),
            asks: 1,
            early: BTreeSet::new(),
            idle_since: None,
        });
        self.topic_count += 1;
        if let Some(feed) = self.feeds.get_mut(feed_id) {
            feed.by_name[kind.index()].insert(name, id);
            feed.idle_since = None;
            for shard in reach.shards(&self.shards) {
                feed.wires[shard.index()].topics += 1;
            }
        }
        id
    }

    /// What a client that asks waits for; none if it doesn't ask.
    pub fn asking(&self, listener: L) -> Option<Asking> {
        let ask = self.asks.get(&self.listeners.get(&listener)?.ask?)?;
        Some(Asking {
            feed: ask.feed,
            missing: ask.missing.keys().copied().collect(),
            since: ask.since,
        })
    }

    /// All clients that ask, in the order in which they began.
    pub fn askers(&self) -> impl Iterator<Item = L> + '_ {
        self.asks.values().map(|ask| ask.listener)
    }

    /// A shard has confirmed a word.
    pub fn confirmed(&mut self, feed: FeedId, shard: ShardId, word: Word) -> Confirmed<L> {
        match word {
            Word::Unsubscribe => Confirmed::Nothing,
            Word::Subscribe { ask, topic } => {
                let Some(ask) = self.asks.get_mut(&ask) else {
                    return Confirmed::Nothing;
                };
                let topic = self.topics.get_mut(topic);
                if let Some(topic) = topic.filter(|t| !t.listeners.contains(&ask.listener)) {
                    topic.early.insert((shard, ask.listener));
                }
                if let Some(missing) = ask.missing.get_mut(&shard) {
                    *missing -= 1;
                    if *missing == 0 {
                        ask.missing.remove(&shard);
                    }
                }
                match ask.missing.is_empty() {
                    true => Confirmed::All(ask.listener),
                    false => Confirmed::Nothing,
                }
            }
            Word::Resubscribe { .. } => {
                self.one_restored(feed, shard);
                Confirmed::Nothing
            }
        }
    }

    /// Whether a client that asks can be told that it listens although a shard has not confirmed:
    /// other shards may publish to its topics as well.
    pub fn may_waive(&self, listener: L) -> bool {
        let ask = self.listeners.get(&listener).and_then(|entry| self.asks.get(&entry.ask?));
        ask.is_some_and(|ask| {
            ask.topics
                .iter()
                .all(|id| self.topics.get(*id).is_some_and(|topic| topic.reach == Reach::All))
        })
    }

    /// A client that asks is not to wait for a shard that is away. What is published there between
    /// its coming back and its being told may be missed, as when a wire is lost.
    pub fn waive(&mut self, listener: L, shard: ShardId, now: Time) -> Confirmed<L> {
        let entry = self.listeners.get(&listener);
        let Some(ask) = entry.and_then(|entry| self.asks.get_mut(&entry.ask?)) else {
            return Confirmed::Nothing;
        };
        ask.missing.remove(&shard);
        let (feed, all) = (ask.feed, ask.missing.is_empty());
        if let Some(wire) = self.wire_mut(feed, shard).filter(|wire| !wire.up) {
            wire.lost_at.get_or_insert(now);
        }
        if all { Confirmed::All(listener) } else { Confirmed::Nothing }
    }

    fn one_restored(&mut self, feed: FeedId, shard: ShardId) {
        if let Some(wire) = self.wire_mut(feed, shard) {
            wire.restoring = wire.restoring.saturating_sub(1);
        }
    }

    /// Whether a wire has just got back all that a lost one had; to be asked after the answer to a
    /// [`Word::Resubscribe`]. Told once.
    #[must_use]
    pub fn restored(&mut self, feed: FeedId, shard: ShardId) -> Option<Restored> {
        let wire = self.wire_mut(feed, shard)?;
        if !wire.up || wire.restoring > 0 {
            return None;
        }
        let since = wire.lost_at.take()?;
        Some(Restored { topics: self.listened(feed, shard).count(), since })
    }

    /// The topics with listeners for which a wire is needed.
    fn listened(&self, feed: FeedId, shard: ShardId) -> impl Iterator<Item = (TopicId, &Topic<L>)> {
        self.topics.iter().filter(move |(_, topic)| {
            topic.feed == feed && topic.reach.has(shard) && !topic.listeners.is_empty()
        })
    }

    /// A shard has refused a word.
    pub fn refused(&mut self, feed: FeedId, shard: ShardId, word: Word) -> Refused<L> {
        match word {
            Word::Unsubscribe => Refused::Nobody,
            Word::Subscribe { ask, .. } => {
                self.asks.get(&ask).map_or(Refused::Nobody, |ask| Refused::Asker(ask.listener))
            }
            Word::Resubscribe { topic } => {
                self.one_restored(feed, shard);
                match self.topics.get(topic) {
                    Some(topic) if !topic.listeners.is_empty() => {
                        Refused::Listeners(topic.listeners.iter().copied().collect())
                    }
                    _ => Refused::Nobody,
                }
            }
        }
    }

    /// A client whose ask is confirmed becomes a listener. Appends what it is to be told.
    pub fn join(&mut self, listener: L, version: Version, out: &mut Vec<u8>, now: Time) {
        let Some(ask) = self.take_ask(listener) else {
            return;
        };
        debug_assert!(ask.missing.is_empty(), "not all is confirmed");
        for id in ask.topics {
            let Some(topic) = self.topics.get_mut(id) else {
                continue;
            };
            topic.asks -= 1;
            topic.early.retain(|(_, early)| *early != listener);
            topic.listeners.insert(listener);
            let (kind, name) = (topic.kind, Arc::clone(&topic.name));
            let entry = self.listeners.entry(listener).or_default();
            let before = entry.topics[kind.index()].insert(Arc::clone(&name), id);
            let count = entry.count(kind);
            if let Some(before) = before.filter(|before| *before != id) {
                // It listened to that as another user; from now on it does as this one.
                self.leave_topic(listener, before, now);
            }
            confirm(out, version, kind.subscribe_word(), Some(&name), count);
        }
        self.invariants();
    }

    /// What a client asks for is not to be.
    pub fn cancel(&mut self, listener: L, now: Time) {
        let Some(ask) = self.take_ask(listener) else {
            return;
        };
        for id in ask.topics {
            if let Some(topic) = self.topics.get_mut(id) {
                topic.asks -= 1;
                topic.early.retain(|(_, early)| *early != listener);
            }
            self.if_idle(id, now);
        }
        self.forget_if_nobody(listener);
        self.invariants();
    }

    fn take_ask(&mut self, listener: L) -> Option<Ask<L>> {
        let ask = self.listeners.get_mut(&listener)?.ask.take()?;
        self.asks.remove(&ask)
    }

    // ---------------------------------------------------------------- ceasing to listen

    /// A client listens no more to topics of one kind: to those that are named, else to all.
    /// Appends what it is to be told.
    pub fn leave<'a>(
        &mut self,
        listener: L,
        kind: Kind,
        names: Option<impl Iterator<Item = &'a [u8]>>,
        version: Version,
        out: &mut Vec<u8>,
        now: Time,
    ) {
        let word = kind.unsubscribe_word();
        if let Some(names) = names {
            for name in names {
                self.leave_one(listener, kind, name, now);
                let count = self.listeners.get(&listener).map_or(0, |entry| entry.count(kind));
                confirm(out, version, word, Some(name), count);
            }
        } else {
            let entry = self.listeners.get(&listener);
            let all = entry.map_or_else(Vec::new, |entry| {
                entry.topics[kind.index()].keys().cloned().collect()
            });
            if all.is_empty() {
                let count = entry.map_or(0, |entry| entry.count(kind));
                confirm(out, version, word, None, count);
            }
            for name in all {
                self.leave_one(listener, kind, &name, now);
                let count = self.listeners.get(&listener).map_or(0, |entry| entry.count(kind));
                confirm(out, version, word, Some(&name), count);
            }
        }
        self.forget_if_nobody(listener);
        self.invariants();
    }

    fn leave_one(&mut self, listener: L, kind: Kind, name: &[u8], now: Time) {
        let entry = self.listeners.get_mut(&listener);
        if let Some(topic) = entry.and_then(|entry| entry.topics[kind.index()].remove(name)) {
            self.leave_topic(listener, topic, now);
        }
    }

    fn leave_topic(&mut self, listener: L, topic: TopicId, now: Time) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.listeners.remove(&listener);
        }
        self.if_idle(topic, now);
    }

    /// A client is gone, or listens to nothing from now on.
    pub fn forget(&mut self, listener: L, now: Time) {
        self.cancel(listener, now);
        if let Some(entry) = self.listeners.remove(&listener) {
            for topic in entry.topics.into_iter().flat_map(BTreeMap::into_values) {
                self.leave_topic(listener, topic, now);
            }
        }
        self.invariants();
    }

    fn forget_if_nobody(&mut self, listener: L) {
        let nobody =
            |entry: &Listener| entry.ask.is_none() && entry.topics.iter().all(BTreeMap::is_empty);
        if self.listeners.get(&listener).is_some_and(nobody) {
            self.listeners.remove(&listener);
        }
    }

    /// If nobody wants a topic any more, the shards are told; it is remembered for a while.
    fn if_idle(&mut self, id: TopicId, now: Time) {
        let Some(topic) = self.topics.get_mut(id) else {
            return;
        };
        if topic.asks > 0 || !topic.listeners.is_empty() || topic.idle_since.is_some() {
            return;
        }
        topic.idle_since = Some(now);
        self.idle.push_back((now, id));
        let Some(feed) = self.feeds.get(topic.feed) else {
            return;
        };
        let shards = topic.reach.shards(&self.shards);
        for shard in shards.filter(|shard| feed.wires[shard.index()].up) {
            self.sends.push_back(topic.send(shard, Word::Unsubscribe));
        }
    }

    /// Now and then: forgets topics that nobody has wanted for so long that no count of receivers
    /// which includes them can be under way.
    pub fn sweep(&mut self, now: Time) {
        while let Some(&(since, id)) = self.idle.front()
            && now.since(since) >= limits::TOPIC_LINGER
        {
            self.idle.pop_front();
            if self.topics.get(id).is_some_and(|topic| topic.idle_since == Some(since)) {
                self.remove_topic(id, now);
            }
        }
        self.invariants();
    }

    fn remove_topic(&mut self, id: TopicId, now: Time) {
        let Some(topic) = self.topics.remove(id) else {
            return;
        };
        self.topic_count -= 1;
        let Some(feed) = self.feeds.get_mut(topic.feed) else {
            return;
        };
        feed.by_name[topic.kind.index()].remove(&topic.name);
        for shard in topic.reach.shards(&self.shards) {
            feed.wires[shard.index()].topics -= 1;
        }
        if feed.by_name.iter().all(HashMap::is_empty) {
            feed.idle_since = Some(now);
        }
    }

    /// Costs more than the calls it checks, so small books only.
    fn invariants(&self) {
        if !cfg!(debug_assertions) || self.topics.len() > 64 {
            return;
        }
        for (id, topic) in self.topics.iter() {
            let wanted = topic.asks > 0 || !topic.listeners.is_empty();
            debug_assert_eq!(wanted, topic.idle_since.is_none(), "idle is who is not wanted");
            debug_assert!(
                topic.early.len() <= topic.asks * self.shards.len(),
                "only who asks is early"
            );
            debug_assert!(self.topic(topic.feed, topic.kind, &topic.name) == Some(id));
            let known =
                |l: &L| self.listeners[l].topics[topic.kind.index()].get(&topic.name) == Some(&id);
            debug_assert!(topic.listeners.iter().all(known), "both sides know it");
        }
        for ask in self.asks.values() {
            debug_assert!(ask.topics.iter().all(|id| self.topics.get(*id).is_some()));
        }
    }
}

impl<L> Topic<L> {
    fn send(&self, shard: ShardId, word: Word) -> Send {
        Send { feed: self.feed, shard, word, kind: self.kind, name: Arc::clone(&self.name) }
    }
}
