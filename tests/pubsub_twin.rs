//! Pub/Sub's book against a dumb twin: a list of who listens to what, and shards that know exactly
//! what they were told.
//!
//! Listeners ask, leave and go, wires are lost and stand again, slots move, shards answer when they
//! like or refuse, all in random order from a seed. After each step the book must say what the list
//! says, and a shard must never know of a subscription that [`Book::receivers`] doesn't count.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use scenario::Random;
use weir::ids::{ShardId, Time};
use weir::limits;
use weir::pubsub::{
    Book, Confirmed, FeedId, Kind, Reach, Refused, Send, Word, confirm, glob_matches,
};
use weir::resp::{Parsed, Parser, Request, Version};

const SHARDS: u16 = 3;
const LISTENERS: u8 = 5;
const NAMES: &[&str] = &["a", "b", "ab", "a*", "?", "[b-z]"];

/// How many seeds a run tries; `SEEDS=n` for more, `SEED=n` for the one.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(40),
    }
}

type Topic = (Kind, String);

/// A shard's side of one wire.
#[derive(Default)]
struct Wire {
    up: bool,
    under_way: VecDeque<Send>,
    subscribed: BTreeSet<Topic>,
}

struct World {
    dice: Random,
    now: Time,
    book: Book<u8>,
    layout: Layout,
    feeds: Vec<FeedId>,
    wires: BTreeMap<(usize, u16), Wire>,
    /// The twin: who listens to what, and by which feed.
    said: Vec<(u8, Topic, usize)>,
    asking: BTreeMap<u8, (Kind, Vec<String>, usize)>,
    /// Shards for which an asker doesn't wait.
    waived: BTreeSet<(u8, u16)>,
}

/// What a request says: the word and the name.
fn read(send: &Send) -> (String, String) {
    let mut bytes = Vec::new();
    send.write(&mut bytes);
    let mut parser = Parser::default();
    assert!(matches!(parser.parse(&bytes), Parsed::Complete { .. }));
    let request = Request { bytes: &bytes, args: parser.args() };
    let text = |at| String::from_utf8_lossy(request.arg(at)).into_owned();
    (text(0), text(1))
}

/// Which shards may publish to what; it changes when slots move.
#[derive(Clone, Copy, Default)]
struct Layout {
    shift: u16,
    /// A channel's messages come by one shard, as in a cluster.
    cluster: bool,
}

impl Layout {
    fn reach(self, kind: Kind, name: &[u8]) -> Reach {
        let owner = |name: &[u8]| ShardId((u16::from(name[0]) + self.shift) % SHARDS);
        if self.cluster { Reach::One(owner(name)) } else { Reach::of(kind, name, owner) }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut book = Book::new(SHARDS.into());
        let feeds: Vec<FeedId> = (0..2).map(|_| book.open_feed(Time::ZERO)).collect();
        let wires = (0..feeds.len())
            .flat_map(|feed| (0..SHARDS).map(move |shard| ((feed, shard), Wire::default())))
            .collect();
        Self {
            dice: Random::new(seed),
            now: Time::ZERO,
            book,
            layout: Layout::default(),
            feeds,
            wires,
            said: Vec::new(),
            asking: BTreeMap::new(),
            waived: BTreeSet::new(),
        }
    }

    fn name(&mut self) -> String {
        NAMES[self.dice.below(NAMES.len())].to_owned()
    }

    fn step(&mut self) {
        let listener = self.dice.below(usize::from(LISTENERS)) as u8;
        let kind = Kind::ALL[self.dice.below(3)];
        match self.dice.below(20) {
            0..=3 if !self.asking.contains_key(&listener) => self.ask(listener, kind),
            0..=10 => self.reply(false),
            11 => self.reply(true),
            12..=13 if !self.asking.contains_key(&listener) => self.leave(listener, kind),
            14 => {
                self.book.forget(listener, self.now);
                self.said.retain(|(who, ..)| *who != listener);
                self.asking.remove(&listener);
            }
            15 => self.flip_wire(),
            18 => self.waive(listener),
            19 => self.remap(),
            16..=17 => {
                let half = limits::TOPIC_LINGER / 2;
                self.now = self.now + half;
                self.book.sweep(self.now);
            }
            _ => {}
        }
        self.carry();
        self.check();
    }

    fn ask(&mut self, listener: u8, kind: Kind) {
        let names: Vec<String> = (0..1 + self.dice.below(3)).map(|_| self.name()).collect();
        let feed = self.dice.below(2);
        let bytes = names.iter().map(String::as_bytes);
        let layout = self.layout;
        let reach = |name: &[u8]| layout.reach(kind, name);
        self.book.ask(listener, self.feeds[feed], kind, bytes, reach, self.now);
        self.asking.insert(listener, (kind, names, feed));
        self.waived.retain(|(who, _)| *who != listener);
    }

    /// Slots move.
    fn remap(&mut self) {
        let layout = Layout { shift: self.dice.below(3) as u16, cluster: self.dice.below(2) == 0 };
        self.layout = layout;
        let shards: Vec<ShardId> = (0..SHARDS).map(ShardId).collect();
        self.book.remap(&shards, |kind, name| layout.reach(kind, name), self.now);
        let askers: Vec<u8> = self.book.askers().collect();
        for asker in askers {
            if self.book.asking(asker).is_some_and(|asking| asking.missing.is_empty()) {
                self.join(asker);
            }
        }
    }

    /// An asker no longer waits for a shard that is away.
    fn waive(&mut self, listener: u8) {
        let Some((kind, _, feed)) = self.asking.get(&listener) else {
            return;
        };
        let everywhere = *kind != Kind::ShardChannel && !self.layout.cluster;
        assert_eq!(self.book.may_waive(listener), everywhere);
        let shard = self.dice.below(SHARDS.into()) as u16;
        if !everywhere || self.wires[&(*feed, shard)].up {
            return;
        }
        self.waived.insert((listener, shard));
        if let Confirmed::All(listener) = self.book.waive(listener, ShardId(shard), self.now) {
            self.join(listener);
        }
    }

    /// A shard reads the next word on one wire, and answers.
    fn reply(&mut self, refuses: bool) {
        let busy: Vec<(usize, u16)> = self
            .wires
            .iter()
            .filter(|(_, wire)| !wire.under_way.is_empty())
            .map(|(place, _)| *place)
            .collect();
        if busy.is_empty() {
            return;
        }
        let (feed, shard) = busy[self.dice.below(busy.len())];
        let wire = self.wires.get_mut(&(feed, shard)).unwrap();
        let send = wire.under_way.pop_front().unwrap();
        let (word, name) = read(&send);
        let says = |kind: &Kind| word == kind.subscribe_word() || word == kind.unsubscribe_word();
        let kind = Kind::ALL.into_iter().find(says).unwrap();
        let (feed_id, shard_id) = (self.feeds[feed], ShardId(shard));
        if send.word == Word::Unsubscribe {
            assert_eq!(word, kind.unsubscribe_word());
            wire.subscribed.remove(&(kind, name));
            let nothing = self.book.confirmed(feed_id, shard_id, send.word);
            assert_eq!(nothing, Confirmed::Nothing);
            return;
        }
        assert_eq!(word, kind.subscribe_word());
        if refuses {
            return self.refuse(feed_id, shard_id, &send);
        }
        wire.subscribed.insert((kind, name));
        if let Confirmed::All(listener) = self.book.confirmed(feed_id, shard_id, send.word) {
            self.join(listener);
        }
    }

    fn refuse(&mut self, feed: FeedId, shard: ShardId, send: &Send) {
        match self.book.refused(feed, shard, send.word) {
            Refused::Nobody => {}
            Refused::Asker(listener) => {
                self.book.cancel(listener, self.now);
                assert!(self.asking.remove(&listener).is_some());
            }
            Refused::Listeners(listeners) => {
                for listener in listeners {
                    self.book.forget(listener, self.now);
                    let before = self.said.len();
                    self.said.retain(|(who, ..)| *who != listener);
                    assert!(self.said.len() < before, "it listened");
                    self.asking.remove(&listener);
                }
            }
        }
    }

    /// All is confirmed: every shard that may publish must know.
    fn join(&mut self, listener: u8) {
        let (kind, names, feed) = self.asking.remove(&listener).expect("it asks");
        let mut expected = Vec::new();
        for name in names {
            let topic = (kind, name.clone());
            for shard in 0..SHARDS {
                let needed = !self.waived.contains(&(listener, shard));
                if needed && self.layout.reach(kind, name.as_bytes()).has(ShardId(shard)) {
                    let wire = &self.wires[&(feed, shard)];
                    assert!(wire.up && wire.subscribed.contains(&topic), "not yet: {topic:?}");
                }
            }
            self.said.retain(|(who, what, _)| (*who, what) != (listener, &topic));
            self.said.push((listener, topic, feed));
            let count = self.count(listener, kind);
            let word = kind.subscribe_word();
            confirm(&mut expected, Version::Resp2, word, Some(name.as_bytes()), count);
        }
        let mut told = Vec::new();
        self.book.join(listener, Version::Resp2, &mut told, self.now);
        assert_eq!(String::from_utf8(told), String::from_utf8(expected));
    }

    fn count(&self, listener: u8, kind: Kind) -> usize {
        let alone = kind == Kind::ShardChannel;
        let same = |other: Kind| (other == Kind::ShardChannel) == alone;
        self.said.iter().filter(|(who, (kind, _), _)| *who == listener && same(*kind)).count()
    }

    fn leave(&mut self, listener: u8, kind: Kind) {
        let mut expected = Vec::new();
        let mut told = Vec::new();
        let word = kind.unsubscribe_word();
        let names: Option<Vec<String>> =
            (self.dice.below(2) == 0).then(|| (0..2).map(|_| self.name()).collect());
        let mine = |(who, (k, _), _): &&(u8, Topic, usize)| *who == listener && *k == kind;
        let mut all: Vec<String> =
            self.said.iter().filter(mine).map(|(_, (_, name), _)| name.clone()).collect();
        all.sort();
        for name in names.as_ref().unwrap_or(&all) {
            self.said.retain(|(who, what, _)| {
                (*who, what.0, what.1.as_str()) != (listener, kind, name.as_str())
            });
            let count = self.count(listener, kind);
            confirm(&mut expected, Version::Resp3, word, Some(name.as_bytes()), count);
        }
        if names.is_none() && all.is_empty() {
            let count = self.count(listener, kind);
            confirm(&mut expected, Version::Resp3, word, None, count);
        }
        let bytes = names.as_ref().map(|names| names.iter().map(String::as_bytes));
        self.book.leave(listener, kind, bytes, Version::Resp3, &mut told, self.now);
        assert_eq!(String::from_utf8(told), String::from_utf8(expected));
    }

    fn flip_wire(&mut self) {
        let place = (self.dice.below(2), self.dice.below(SHARDS.into()) as u16);
        let up = self.wires[&place].up;
        self.set_wire(place, !up);
    }

    fn set_wire(&mut self, place: (usize, u16), up: bool) {
        let (feed, shard) = (self.feeds[place.0], ShardId(place.1));
        if up {
            self.book.up(feed, shard);
        } else {
            self.book.down(feed, shard, self.now);
        }
        *self.wires.get_mut(&place).unwrap() = Wire { up, ..Wire::default() };
    }

    /// What the book wants said goes on its way.
    fn carry(&mut self) {
        while let Some(send) = self.book.poll_send() {
            let feed = self.feeds.iter().position(|feed| *feed == send.feed).unwrap();
            let wire = self.wires.get_mut(&(feed, send.shard.0)).unwrap();
            assert!(wire.up, "a word for a wire that is lost");
            wire.under_way.push_back(send);
        }
    }

    fn check(&mut self) {
        for listener in 0..LISTENERS {
            let counts = Kind::ALL.map(|kind| {
                self.said.iter().filter(|(who, what, _)| (*who, what.0) == (listener, kind)).count()
            });
            assert_eq!(self.book.counts(listener), counts);
            assert_eq!(self.book.asking(listener).is_some(), self.asking.contains_key(&listener));
        }
        for kind in Kind::ALL {
            for name in NAMES {
                let mut total = 0;
                for (feed, &id) in self.feeds.iter().enumerate() {
                    let mut expected: Vec<u8> = self
                        .said
                        .iter()
                        .filter(|(_, (k, n), by)| (*k, n.as_str(), *by) == (kind, *name, feed))
                        .map(|(who, ..)| *who)
                        .collect();
                    expected.sort_unstable();
                    total += expected.len();
                    let found: Vec<u8> = self.book.listeners(id, kind, name.as_bytes()).collect();
                    assert_eq!(found, expected, "{kind:?} {name}");
                }
                assert_eq!(self.book.listener_count(kind, name.as_bytes()), total);
            }
        }
        self.check_receivers();
    }

    fn check_receivers(&mut self) {
        for (shard, name) in (0..SHARDS).flat_map(|shard| NAMES.iter().map(move |n| (shard, *n))) {
            let hears = |(kind, topic): &Topic| match kind {
                Kind::Channel => topic == name,
                Kind::Pattern => glob_matches(topic.as_bytes(), name.as_bytes()),
                Kind::ShardChannel => false,
            };
            let at_shard =
                self.wires.iter().filter(|((_, at), _)| *at == shard).flat_map(|(_, w)| {
                    // The shard may learn late that nobody listens.
                    let leaving = w.under_way.iter().any(|send| send.word == Word::Unsubscribe);
                    w.subscribed.iter().filter(move |topic| !leaving && hears(topic))
                });
            let listening = self.said.iter().filter(|(_, topic, _)| {
                hears(topic) && self.layout.reach(topic.0, topic.1.as_bytes()).has(ShardId(shard))
            });
            let receivers = self.book.receivers(ShardId(shard), Kind::Channel, name.as_bytes());
            let (here, all) = (listening.count(), self.said.iter().filter(|(_, t, _)| hears(t)));
            assert_eq!(receivers.listeners, here as u64);
            assert_eq!(receivers.elsewhere, (all.count() - here) as u64);
            for &feed in &self.feeds {
                let early =
                    self.book.early_listeners(feed, ShardId(shard), Kind::Channel, name.as_bytes());
                for listener in early {
                    let (_, names, _) = &self.asking[&listener];
                    assert!(names.iter().any(|asked| asked == name), "who asks is early");
                }
            }
            assert!(receivers.wires >= at_shard.count() as u64, "a wire that isn't counted");
        }
    }

    /// Everything is answered and everybody is patient: the shards know exactly what is listened
    /// to.
    fn quiesce(&mut self) {
        let places: Vec<(usize, u16)> = self.wires.keys().copied().collect();
        for place in places {
            if !self.wires[&place].up {
                self.set_wire(place, true);
            }
        }
        for _ in 0..4 {
            self.carry();
            while self.wires.values().any(|wire| !wire.under_way.is_empty()) {
                self.reply(false);
                self.carry();
            }
            self.check();
            self.now = self.now + limits::TOPIC_LINGER;
            self.book.sweep(self.now);
        }
        assert!(self.asking.is_empty(), "an ask that nobody answers");
        for ((feed, shard), wire) in &self.wires {
            let wanted: BTreeSet<Topic> = self
                .said
                .iter()
                .filter(|(_, topic, by)| {
                    by == feed
                        && self.layout.reach(topic.0, topic.1.as_bytes()).has(ShardId(*shard))
                })
                .map(|(_, topic, _)| topic.clone())
                .collect();
            assert_eq!(wire.subscribed, wanted, "feed {feed}, shard {shard}");
            assert_eq!(self.book.wants(self.feeds[*feed], ShardId(*shard)), !wanted.is_empty());
        }
        for (index, &feed) in self.feeds.iter().enumerate() {
            let used = self.said.iter().any(|(_, _, by)| *by == index);
            assert_eq!(self.book.idle_since(feed).is_none(), used);
        }
    }
}

#[test]
fn the_book_says_what_the_list_says() {
    for seed in seeds() {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        world.quiesce();
    }
}

#[test]
fn when_all_have_gone_nothing_is_left() {
    for seed in seeds() {
        let mut world = World::new(seed);
        for _ in 0..100 {
            world.step();
        }
        for listener in 0..LISTENERS {
            world.book.forget(listener, world.now);
        }
        world.said.clear();
        world.asking.clear();
        world.quiesce();
        assert!(world.wires.values().all(|wire| wire.subscribed.is_empty()));
        for feed in world.feeds {
            world.book.close_feed(feed);
        }
    }
}

/// What an operator is told when a shard was away.
#[test]
fn a_wire_that_is_back_says_what_may_have_been_missed() {
    let mut book: Book<u8> = Book::new(1);
    let (feed, shard) = (book.open_feed(Time::ZERO), ShardId(0));
    let asks = |book: &mut Book<u8>, listener, name: &str| {
        let names = std::iter::once(name.as_bytes());
        book.ask(listener, feed, Kind::Channel, names, |_| Reach::One(shard), Time(1));
    };
    let answer_all = |book: &mut Book<u8>| {
        let mut told = Vec::new();
        let mut restored = Vec::new();
        while let Some(send) = book.poll_send() {
            if let Confirmed::All(listener) = book.confirmed(feed, shard, send.word) {
                book.join(listener, Version::Resp2, &mut told, Time(2));
            }
            restored.extend(book.restored(feed, shard));
        }
        restored
    };
    asks(&mut book, 1, "a");
    asks(&mut book, 2, "a");
    asks(&mut book, 3, "b");
    book.up(feed, shard);
    assert_eq!(answer_all(&mut book), [], "nobody listened before");
    book.down(feed, shard, Time(100));
    asks(&mut book, 4, "c");
    book.down(feed, shard, Time(200));
    book.up(feed, shard);
    let restored = answer_all(&mut book);
    assert_eq!(restored.len(), 1);
    assert_eq!((restored[0].topics, restored[0].since), (2, Time(100)));
}
