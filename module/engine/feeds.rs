//! Wires: the connections on which messages come, and who gets the messages.
//!
//! ```text
//!   Feeds { book, wires }        shard 0          shard 1
//!     feed of the default user   wire -> link     wire -> none: nothing is wanted there
//!     feed of user alice         wire -> link     wire -> link
//! ```
//!
//! What is wanted is in the book (`pubsub/`); here a link is opened where something is, what the
//! book has to say goes on its way, and each message goes to its listeners. A wire is always read
//! on, so a listener that is slow is closed when too much waits for it, and holds up nobody.

use std::sync::Arc;

use crate::ids::{LinkId, Mirror, SessionId, ShardId, Time};
use crate::limits;
use crate::pipeline::{Piece, Pipeline};
use crate::pubsub::{self, Book, Confirmed, FeedId, Kind, Reach, Refused, Restored, Word};
use crate::resp::{Value, write};
use crate::shards::{self, ShardMap};

use super::link::{Link, Own, Role, Token};
use super::serve::out_of;
use super::users::Login;
use super::{Engine, Level};

/// The shards at which something may be published.
fn hearable(map: &ShardMap) -> Vec<ShardId> {
    match map.kind() {
        shards::Kind::Apart => map.shards().map(|(id, _)| id).collect(),
        shards::Kind::Cluster => map.members().to_vec(),
    }
}

/// Which shards may publish to a topic. The nodes of a cluster pass on to each other what is
/// published to channels, so one of them is enough, and more would tell everything twice. But what
/// a server itself says of its keys it says alone.
pub(super) fn reach(map: &ShardMap, kind: Kind, name: &[u8]) -> Reach {
    const OF_KEYS: &[u8] = b"__key";
    let owner = |name: &[u8]| map.shard_of_key(name);
    match map.kind() {
        shards::Kind::Cluster if !name.starts_with(OF_KEYS) => Reach::One(owner(name)),
        _ => Reach::of(kind, name, owner),
    }
}

/// Whether a frame on a wire answers nothing that was said there.
fn is_unasked(begin: &[u8], next: Option<Token>) -> bool {
    let unsubscribed = matches!(next, Some(Token::Own(Own::Word(Word::Unsubscribe))));
    pubsub::is_message(begin) || pubsub::is_farewell(begin) && !unsubscribed
}

/// Whether an error says that a shard channel belongs elsewhere, or nowhere for now.
fn is_about_slots(error: &[u8]) -> bool {
    let codes = [b"MOVED ".as_slice(), b"ASK ", b"TRYAGAIN ", b"CLUSTERDOWN "];
    codes.iter().any(|code| error.starts_with(code))
}

/// A feed's connection to one shard.
#[derive(Debug, Clone)]
struct Wire {
    link: Option<LinkId>,
    /// When to open it again.
    retry_at: Time,
    /// The shard's error when it refused the feed's login last.
    refusal: Option<Vec<u8>>,
    /// It failed before it stood, and the log says so.
    failing: bool,
}

impl Wire {
    fn new() -> Self {
        Self { link: None, retry_at: Time::ZERO, refusal: None, failing: false }
    }
}

#[derive(Debug)]
struct Feed {
    login: Option<Arc<Login>>,
    wires: Vec<Wire>,
}

/// See the module's picture.
#[derive(Debug)]
pub(super) struct Feeds {
    pub book: Book<SessionId>,
    feeds: Mirror<FeedId, Feed>,
    shards: usize,
}

impl Feeds {
    pub(super) fn new(shards: usize) -> Self {
        Self { book: Book::new(shards), feeds: Mirror::default(), shards }
    }

    /// Another map holds from now on.
    pub(super) fn remap(&mut self, map: &ShardMap, now: Time) {
        self.shards = map.len().max(self.shards);
        for feed in self.feeds.tenants_mut() {
            feed.wires.resize(self.shards, Wire::new());
        }
        self.book.remap(&hearable(map), |kind, name| reach(map, kind, name), now);
    }

    /// The feed of a login.
    pub(super) fn of_login(&mut self, login: Option<Arc<Login>>, now: Time) -> FeedId {
        let known = self.feeds.iter().find(|(_, feed)| feed.login == login).map(|(id, _)| id);
        known.unwrap_or_else(|| {
            let id = self.book.open_feed(now);
            self.feeds.insert(id, Feed { login, wires: vec![Wire::new(); self.shards] });
            id
        })
    }

    /// Wires to a shard that were lost may be opened again at once.
    pub(super) fn retry_now(&mut self, shard: ShardId, now: Time) {
        let wires = self.feeds.tenants_mut().filter_map(|feed| feed.wires.get_mut(shard.index()));
        for wire in wires {
            wire.retry_at = wire.retry_at.min(now);
        }
    }

    /// Whom the shards take a feed's listeners for.
    pub(super) fn login(&self, feed: FeedId) -> Option<Arc<Login>> {
        self.feeds.get(feed)?.login.clone()
    }

    /// Whether there is a link for a wire, be it up or on its way.
    pub(super) fn is_linked(&self, feed: FeedId, shard: ShardId) -> bool {
        self.feeds.get(feed).is_some_and(|feed| feed.wires[shard.index()].link.is_some())
    }

    /// The shard's error when it refused a feed's login.
    pub(super) fn refusal(&self, feed: FeedId, shard: ShardId) -> Option<Vec<u8>> {
        self.feeds.get(feed)?.wires.get(shard.index())?.refusal.clone()
    }

    fn wire(&mut self, feed: FeedId, shard: ShardId) -> Option<&mut Wire> {
        self.feeds.get_mut(feed)?.wires.get_mut(shard.index())
    }
}

impl Engine {
    // ---------------------------------------------------------------- up and down

    /// Opens a feed's wire to a shard, if it isn't there and the shard is.
    pub(super) fn open_wire(&mut self, feed: FeedId, shard: ShardId) {
        let now = self.now;
        if !self.shards[shard.index()].is_up() {
            return;
        }
        let Some(wire) = self.feeds.wire(feed, shard) else {
            return;
        };
        if wire.link.is_some() || now < wire.retry_at {
            return;
        }
        wire.refusal = None;
        let pipeline = Pipeline::with_unasked(is_unasked, Token::Own(Own::Message));
        let link = self.open_link(shard, Role::Wire(feed), pipeline);
        if let Some(wire) = self.feeds.wire(feed, shard) {
            wire.link = Some(link);
        }
    }

    /// A wire stands.
    pub(super) fn wire_up(&mut self, feed: FeedId, shard: ShardId) {
        if let Some(wire) = self.feeds.wire(feed, shard) {
            wire.failing = false;
        }
        self.feeds.book.up(feed, shard);
        self.carry_words();
    }

    /// A wire is lost, or never stood.
    pub(super) fn wire_failed(&mut self, feed: FeedId, failed: Link, greeted: bool, why: &str) {
        let (now, id) = (self.now, failed.shard);
        self.feeds.book.down(feed, id, now);
        let Some(wire) = self.feeds.wire(feed, id) else {
            return;
        };
        wire.link = None;
        wire.retry_at = now + limits::LINK_RETRY;
        wire.refusal = failed.lane_refusal;
        let first = !greeted && !std::mem::replace(&mut wire.failing, !greeted);
        let refused = wire.refusal.is_some();
        let shard = &self.shards[id.index()];
        if first && shard.is_up() {
            let line = format!("{}: a connection for messages failed: {why}", shard.name());
            self.log(Level::Warning, line);
        }
        if refused {
            self.check_asks();
        }
    }

    /// A shard is there: wires that it should have are opened at once.
    pub(super) fn open_wires(&mut self, shard: ShardId) {
        let feeds: Vec<FeedId> = self.feeds.feeds.iter().map(|(id, _)| id).collect();
        for feed in feeds {
            if self.feeds.book.wants(feed, shard) {
                self.open_wire(feed, shard);
            }
        }
    }

    /// Now and then: opens wires that are missing, looks after those that are quiet, closes what
    /// nobody needs, and gives up asks.
    pub(super) fn sweep_feeds(&mut self) {
        let now = self.now;
        self.feeds.book.sweep(now);
        let feeds: Vec<FeedId> = self.feeds.feeds.iter().map(|(id, _)| id).collect();
        for feed in feeds {
            let idle = self.feeds.book.idle_since(feed);
            let unused = idle.is_some_and(|since| now.since(since) >= limits::LANE_IDLE_MAX);
            for index in 0..self.shards.len() {
                self.sweep_wire(feed, self.shards[index].id, unused);
            }
            if unused {
                self.feeds.book.close_feed(feed);
                self.feeds.feeds.remove(feed);
            }
        }
        self.check_asks();
        self.count_topics();
    }

    fn sweep_wire(&mut self, feed: FeedId, shard: ShardId, unused: bool) {
        let wanted = self.feeds.book.wants(feed, shard);
        let link = self.feeds.wire(feed, shard).and_then(|wire| wire.link);
        let Some(id) = link else {
            if wanted {
                self.open_wire(feed, shard);
            }
            return;
        };
        let Some(link) = self.links.get(id) else {
            return;
        };
        let quiet = self.now.since(link.silent_since);
        if unused {
            self.feeds.book.down(feed, shard, self.now);
            self.drop_link(id);
        } else if link.pipeline.owed() > 0 && quiet >= self.settings.shard_timeout {
            self.reject_link(id, &self.silent());
        } else if wanted
            && link.pipeline.is_ready()
            && link.pipeline.owed() == 0
            && quiet >= self.settings.poll_interval
        {
            // A connection that brings nothing may be dead without anybody's having been told.
            self.send_own(id, Own::Ping, |out| write::request(out, &["PING"]));
        }
    }

    // ---------------------------------------------------------------- words

    /// What the book has to say to shards goes on its way.
    pub(super) fn carry_words(&mut self) {
        while let Some(send) = self.feeds.book.poll_send() {
            let link = self.feeds.wire(send.feed, send.shard).and_then(|wire| wire.link);
            if let Some(link) = link {
                self.send_own(link, Own::Word(send.word), |out| send.write(out));
            }
        }
    }

    /// A shard has answered what was said on a wire.
    pub(super) fn word_reply(&mut self, id: LinkId, word: Word, reply: &[u8]) {
        let Some(link) = self.links.get(id) else {
            return;
        };
        let (shard, Role::Wire(feed)) = (link.shard, link.role) else {
            return;
        };
        if let Some((Value::Error(text), _)) = Value::parse(reply) {
            if self.map.kind() == shards::Kind::Cluster && is_about_slots(&text) {
                // All of it is said anew, where it belongs then.
                self.look_again();
                return self.reject_link(id, "a channel's slot is another shard's now");
            }
            match self.feeds.book.refused(feed, shard, word) {
                Refused::Nobody => {}
                Refused::Asker(session) => self.fail_ask(session, &text),
                Refused::Listeners(sessions) => self.close_listeners(shard, &sessions, &text),
            }
        } else if let Confirmed::All(session) = self.feeds.book.confirmed(feed, shard, word) {
            self.join(session);
        }
        if matches!(word, Word::Resubscribe { .. })
            && let Some(restored) = self.feeds.book.restored(feed, shard)
        {
            self.tell_restored(shard, restored);
        }
    }

    fn tell_restored(&mut self, shard: ShardId, restored: Restored) {
        let micros = |time: Time| {
            let start = u64::try_from(self.setup.wall.as_micros()).unwrap_or(u64::MAX);
            start.saturating_add(time.0)
        };
        let seconds = |time| micros(time) as f64 / 1e6;
        let line = format!(
            "{}: {} channel(s) and pattern(s) are subscribed again; messages that were published \
             there in the {} ms before may have been missed (Unix time {:.3} to {:.3})",
            self.shards[shard.index()].name(),
            restored.topics,
            self.now.since(restored.since).as_millis(),
            seconds(restored.since),
            seconds(self.now),
        );
        self.log(Level::Warning, line);
    }

    /// Who listened and may no longer is closed, as a stock server does with clients whose user
    /// loses a channel.
    fn close_listeners(&mut self, shard: ShardId, sessions: &[SessionId], text: &[u8]) {
        let line = format!(
            "{} refuses what {} client(s) listen to ({}); they are closed",
            self.shards[shard.index()].name(),
            sessions.len(),
            String::from_utf8_lossy(text)
        );
        self.log(Level::Warning, line);
        for &session in sessions {
            self.close_session(session, false);
        }
    }

    // ---------------------------------------------------------------- messages

    /// A message has come, or a piece of one.
    pub(super) fn message(&mut self, id: LinkId, piece: &Piece<Token>) {
        let max = usize::try_from(self.settings.pubsub_output_max).unwrap_or(usize::MAX);
        let Self { links, feeds, sessions, memory, touched, .. } = self;
        let Some(link) = links.get_mut(id) else {
            return;
        };
        let bytes = link.pipeline.bytes(piece);
        let whole = piece.first && piece.last;
        let farewell = piece.first && pubsub::is_farewell(bytes);
        if !whole && link.own_reply.len() <= max {
            link.own_reply.extend_from_slice(bytes);
        }
        let mut sent = 0;
        let mut slow = Vec::new();
        if piece.last {
            let gathered = std::mem::take(&mut link.own_reply);
            let frame = if whole { bytes } else { &gathered };
            if let (Role::Wire(feed), Some((kind, name))) = (link.role, pubsub::topic_of(frame)) {
                for listener in feeds.book.listeners(feed, kind, name) {
                    let Some(to) = sessions.get_mut(listener) else {
                        continue;
                    };
                    let waiting = to.out.len() + to.inbox.held.len() + to.inbox.early.len();
                    // What is larger than the bound has not been gathered whole.
                    if frame.len() > max || waiting + frame.len() > max {
                        slow.push((listener, waiting + frame.len()));
                        continue;
                    }
                    let out = match to.must_hold_messages() {
                        true => &mut to.inbox.held,
                        false => out_of(&mut to.out, memory),
                    };
                    pubsub::deliver(out, to.resp, frame);
                    sent += 1;
                    if !std::mem::replace(&mut to.touched, true) {
                        touched.push(listener);
                    }
                }
                for listener in feeds.book.early_listeners(feed, link.shard, kind, name) {
                    let Some(to) = sessions.get_mut(listener) else {
                        continue;
                    };
                    let waiting = to.out.len() + to.inbox.early.len() + frame.len();
                    if waiting > max {
                        slow.push((listener, waiting));
                        continue;
                    }
                    pubsub::deliver(&mut to.inbox.early, to.resp, frame);
                    sent += 1;
                }
            }
        }
        link.pipeline.done(piece);
        self.stats().pubsub_messages.add(sent);
        if farewell {
            self.look_again();
        }
        for (session, waiting) in slow {
            self.close_slow(session, waiting);
        }
    }

    pub(super) fn close_slow(&mut self, id: SessionId, waiting: usize) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let line = format!(
            "client {} ({}) takes its messages too slowly: at least {waiting} bytes wait for it, \
             and {} may (weir.pubsub-output-max); closed",
            session.client, session.peer.address, self.settings.pubsub_output_max
        );
        self.stats().pubsub_slow_clients.add(1);
        self.log(Level::Warning, line);
        self.close_session(id, false);
    }
}
