//! SUBSCRIBE, PUBLISH, PUBSUB and their kin: what a client says about channels.
//!
//! ```text
//!   SUBSCRIBE   all earlier replies leave -> ask -> shards confirm -> join: "subscribe a 1" ..
//!   UNSUBSCRIBE all earlier replies leave -> leave: "unsubscribe a 0" ..
//!   PUBLISH     shard of the channel -> its count - our wires + our listeners, of all workers
//!   PUBSUB      what all workers' clients listen to
//! ```
//!
//! While a client's SUBSCRIBE is out, nothing else of it is served: so what it published before is
//! not delivered to it, and what it publishes behind is.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::command::Flags;
use crate::ids::{SessionId, ShardId};
use crate::pubsub::{Confirmed, FeedId, Kind, Receivers, glob_matches};
use crate::resp::{Request, Value, Version, write};
use crate::route::PubSub;
use crate::session::SeatNumber;
use crate::shards::HashSlot;
use crate::text;

use super::clients::Finish as Answered;
use super::dispatch::{Finish, Served};
use super::event::{Answer, PubSubAnswer, PubSubQuestion, Question};
use super::feeds::reach;
use super::link::Token;
use super::serve::out_of;
use super::{Engine, Mode};

/// How all workers' answers about channels become a client's reply.
#[derive(Debug)]
pub(super) enum Tally {
    /// PUBLISH: what the shard has counted is put right.
    Receivers(u64),
    /// PUBSUB CHANNELS: all names.
    Names,
    /// PUBSUB NUMPAT: how many names.
    NameCount,
    /// PUBSUB NUMSUB: for each of these how many listen.
    Listeners(Vec<Arc<[u8]>>),
    /// INFO: these are the shards' texts.
    Info(Vec<Vec<u8>>),
}

/// What a client of RESP2 that listens may say: what is answered with nothing that could be taken
/// for a message. Source: redis `server.c`, `processCommand`.
const ALLOWED: [&str; 9] = [
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "unsubscribe",
    "punsubscribe",
    "sunsubscribe",
    "ping",
    "quit",
    "reset",
];

/// Why a shard's confirmation won't come, as an error for who waits.
enum Obstacle {
    /// It isn't there.
    Away(Vec<u8>),
    /// It refuses the client's login.
    Refused(Vec<u8>),
}

/// The names in a request.
fn names<'a>(request: &'a Request<'_>, from: usize) -> impl Iterator<Item = &'a [u8]> {
    (from..request.len()).map(|at| request.arg(at))
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Engine {
    pub(super) fn serve_pubsub(
        &mut self,
        id: SessionId,
        word: PubSub,
        request: &Request<'_>,
    ) -> Served {
        let pattern = || request.get(2).map(Arc::from);
        let listed = || names(request, 2).map(Arc::from).collect();
        if matches!(word, PubSub::Channels | PubSub::ShardChannels) && request.len() > 3 {
            self.answer_error(id, &text::unknown_subcommand("PUBSUB", request.arg(1)));
            return Served::Done;
        }
        match word {
            PubSub::Subscribe => return self.subscribe(id, Kind::Channel, request),
            PubSub::PSubscribe => return self.subscribe(id, Kind::Pattern, request),
            PubSub::SSubscribe => return self.subscribe(id, Kind::ShardChannel, request),
            PubSub::Unsubscribe => return self.unsubscribe(id, Kind::Channel, request),
            PubSub::PUnsubscribe => return self.unsubscribe(id, Kind::Pattern, request),
            PubSub::SUnsubscribe => return self.unsubscribe(id, Kind::ShardChannel, request),
            PubSub::Channels => self.ask_names(id, Kind::Channel, pattern()),
            PubSub::ShardChannels => self.ask_names(id, Kind::ShardChannel, pattern()),
            PubSub::NumPat => {
                let question = PubSubQuestion::Names { kind: Kind::Pattern, pattern: None };
                self.ask_about_channels(id, question, Tally::NameCount);
            }
            PubSub::NumSub => self.ask_listeners(id, Kind::Channel, listed()),
            PubSub::ShardNumSub => self.ask_listeners(id, Kind::ShardChannel, listed()),
        }
        Served::Done
    }

    // ---------------------------------------------------------------- beginning to listen

    /// `SUBSCRIBE channel [channel ...]`, PSUBSCRIBE, SSUBSCRIBE. Source: redis `pubsub.c`.
    fn subscribe(&mut self, id: SessionId, kind: Kind, request: &Request<'_>) -> Served {
        if kind == Kind::ShardChannel && !self.map.is_one_shard() {
            let mut slots = names(request, 1).map(HashSlot::of);
            let first = slots.next();
            if slots.any(|slot| Some(slot) != first) {
                self.answer_error(id, text::CROSSSLOT);
                return Served::Done;
            }
        }
        if self.must_drain(id) {
            return Served::Later;
        }
        let login = self.lane_key(id).login;
        let feed = self.feeds.of_login(login, self.now);
        let map = Arc::clone(&self.map);
        let reach = |name: &[u8]| reach(&map, kind, name);
        self.feeds.book.ask(id, feed, kind, names(request, 1), reach, self.now);
        self.count_topics();
        if let Some(session) = self.sessions.get_mut(id) {
            session.mode = Mode::Joining;
        }
        let missing = self.feeds.book.asking(id).map_or_else(Vec::new, |asking| asking.missing);
        for shard in missing {
            self.open_wire(feed, shard);
        }
        self.carry_words();
        self.check_ask(id);
        Served::Done
    }

    /// All that a client has asked to listen to is confirmed.
    pub(super) fn join(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        // Confirmations come even if the client wants no replies. Source: redis `networking.c`,
        // `prepareClientToWrite`.
        session.reply.next_is_mute();
        session.mode = Mode::Serving;
        let out = out_of(&mut session.out, &mut self.memory);
        self.feeds.book.join(id, session.resp, out, self.now);
        session.inbox.held.append(&mut session.inbox.early);
        session.inbox.early = Vec::new();
        self.carry_words();
        self.note_listening(id);
        self.touch(id);
    }

    /// What a client has asked to listen to is not to be had.
    pub(super) fn fail_ask(&mut self, id: SessionId, text: &[u8]) {
        self.feeds.book.cancel(id, self.now);
        self.carry_words();
        if let Some(session) = self.sessions.get_mut(id) {
            session.mode = Mode::Serving;
            session.inbox.early = Vec::new();
        }
        self.stats().error_replies.add(1);
        self.answer(id, |out| write::error_bytes(out, text));
    }

    /// Gives up what waits for shards that can't be reached.
    pub(super) fn check_asks(&mut self) {
        let askers: Vec<SessionId> = self.feeds.book.askers().collect();
        for id in askers {
            self.check_ask(id);
        }
    }

    /// Gives up what a client waits for, or a part of it, if that won't come. Where any shard may
    /// publish, those that are away are not waited for: they publish nothing, and when they are
    /// back they are told.
    fn check_ask(&mut self, id: SessionId) {
        let Some(asking) = self.feeds.book.asking(id) else {
            return;
        };
        if asking.missing.is_empty() {
            return self.join(id);
        }
        let given_up = self.now >= asking.since + self.settings.failover_timeout;
        let alive = self.shards.iter().any(|shard| shard.is_up());
        for shard in asking.missing {
            let Some(obstacle) = self.obstacle(asking.feed, shard, given_up) else {
                continue;
            };
            let (Obstacle::Away(text) | Obstacle::Refused(text)) = &obstacle;
            let away = matches!(obstacle, Obstacle::Away(_));
            if !(away && alive && self.feeds.book.may_waive(id)) {
                return self.fail_ask(id, text);
            }
            if self.feeds.book.waive(id, shard, self.now) == Confirmed::All(id) {
                return self.join(id);
            }
        }
    }

    /// Why there is no sense in waiting for a shard's confirmation; as for commands that wait for a
    /// link.
    fn obstacle(&self, feed: FeedId, id: ShardId, given_up: bool) -> Option<Obstacle> {
        if self.feeds.is_linked(feed, id) {
            return None;
        }
        if let Some(text) = self.feeds.refusal(feed, id) {
            return Some(Obstacle::Refused(text));
        }
        let shard = &self.shards[id.index()];
        let hopeless = !shard.is_up() && self.now >= shard.patience(&self.settings);
        let text = || text::shard_down(&shard.name(), shard.why()).into_bytes();
        (given_up || hopeless).then(|| Obstacle::Away(text()))
    }

    // ---------------------------------------------------------------- ceasing to listen

    /// `UNSUBSCRIBE [channel ...]`, PUNSUBSCRIBE, SUNSUBSCRIBE. Source: redis `pubsub.c`.
    fn unsubscribe(&mut self, id: SessionId, kind: Kind, request: &Request<'_>) -> Served {
        if self.must_drain(id) {
            return Served::Later;
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return Served::Done;
        };
        session.reply.next_is_mute();
        let out = out_of(&mut session.out, &mut self.memory);
        let named = (request.len() > 1).then(|| names(request, 1));
        self.feeds.book.leave(id, kind, named, session.resp, out, self.now);
        self.carry_words();
        self.note_listening(id);
        self.touch(id);
        Served::Done
    }

    /// The client listens to nothing from now on, and isn't told.
    pub(super) fn stop_listening(&mut self, id: SessionId) {
        self.feeds.book.forget(id, self.now);
        self.carry_words();
        self.note_listening(id);
    }

    fn note_listening(&mut self, id: SessionId) {
        let listens = self.feeds.book.listens(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        match (std::mem::replace(&mut session.inbox.listens, listens), listens) {
            (false, true) => self.stats().pubsub_clients.add(1),
            (true, false) => self.stats().pubsub_clients.sub(1),
            _ => {}
        }
    }

    // ---------------------------------------------------------------- while it listens

    /// Serves a request of a client that listens.
    pub(super) fn dispatch_of_listener(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
        len: usize,
    ) -> Served {
        let table = Arc::clone(self.router.table());
        // What is no request of any command is told so as ever.
        let spec = table.check(request).map(|spec| table.spec(spec)).ok();
        if let Some(spec) = spec
            && self.resp(id) == Version::Resp2
            && !ALLOWED.iter().any(|name| spec.name.eq_ignore_ascii_case(name))
        {
            self.answer_error(id, &text::barred_while_listening(&spec.name));
            return Served::Done;
        }
        let before = self.sessions.get(id).map_or(0, |session| session.seats.next());
        let served = self.dispatch_plain(id, request, len);
        // What it makes shards publish to its own client comes behind its reply; but who waits for
        // an element doesn't wait for messages as well. Source: redis `networking.c`,
        // `pending_push_messages`.
        let may_publish = spec.is_some_and(|spec| {
            let waits = spec.flags.any(Flags::BLOCKING);
            spec.name.eq_ignore_ascii_case("exec") || spec.may_write() && !waits
        });
        if let Some(session) = self.sessions.get_mut(id)
            && may_publish
            && session.seats.next() > before
        {
            session.seats.newest_publishes();
        }
        served
    }

    // ---------------------------------------------------------------- publishing

    /// `PUBLISH channel message` and SPUBLISH, when anybody may listen.
    pub(super) fn publish(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
        shard: ShardId,
        kind: Kind,
        writes: bool,
    ) {
        let finish = Finish::Publish { shard, kind, channel: request.arg(1).into() };
        let Some(seat) = self.reserve_parts(id, 1, finish) else {
            return;
        };
        let token = Token::Part { session: id, seat, part: 0, writes };
        self.send(shard, token, |out| {
            write::request(out, &[request.arg(0), request.arg(1), request.arg(2)]);
        });
    }

    /// The shard has answered a PUBLISH.
    pub(super) fn published(
        &mut self,
        id: SessionId,
        seat: SeatNumber,
        (shard, kind, channel): (ShardId, Kind, Arc<[u8]>),
        reply: &[u8],
    ) {
        if let Some((Value::Int(counted), _)) = Value::parse(reply) {
            let counted = u64::try_from(counted).unwrap_or(0);
            let question = PubSubQuestion::Receivers { shard, kind, channel };
            let finish = Answered::PubSub(Tally::Receivers(counted));
            self.put_question(id, seat, &Question::PubSub(question), finish);
        } else {
            self.fill_seat(id, seat, reply);
        }
    }

    /// Whether no worker has subscribed anything at any shard: then its counts are right.
    pub(super) fn is_silent(&self) -> bool {
        self.setup.stats.workers.iter().all(|worker| worker.pubsub_topics.get() == 0)
    }

    pub(super) fn count_topics(&mut self) {
        self.stats().pubsub_topics.set(self.feeds.book.topic_count() as u64);
    }

    // ---------------------------------------------------------------- who listens

    fn ask_names(&mut self, id: SessionId, kind: Kind, pattern: Option<Arc<[u8]>>) {
        self.ask_about_channels(id, PubSubQuestion::Names { kind, pattern }, Tally::Names);
    }

    fn ask_listeners(&mut self, id: SessionId, kind: Kind, names: Vec<Arc<[u8]>>) {
        let question = PubSubQuestion::Listeners { kind, names: names.clone() };
        self.ask_about_channels(id, question, Tally::Listeners(names));
    }

    fn ask_about_channels(&mut self, id: SessionId, question: PubSubQuestion, tally: Tally) {
        self.ask_workers(id, &Question::PubSub(question), Answered::PubSub(tally));
    }

    /// INFO's texts of the shards are there; before they are merged all workers are asked how much
    /// their clients listen to.
    pub(super) fn info_with_channels(
        &mut self,
        id: SessionId,
        seat: SeatNumber,
        parts: Vec<Vec<u8>>,
    ) {
        let question = Question::PubSub(PubSubQuestion::Topics);
        self.put_question(id, seat, &question, Answered::PubSub(Tally::Info(parts)));
    }

    /// This worker's answer.
    pub(super) fn tell_of_channels(&self, question: &PubSubQuestion) -> Answer {
        let book = &self.feeds.book;
        Answer::PubSub(match question {
            PubSubQuestion::Receivers { shard, kind, channel } => {
                PubSubAnswer::Receivers(book.receivers(*shard, *kind, channel))
            }
            PubSubQuestion::Names { kind, pattern } => {
                let fits = |name: &Arc<[u8]>| {
                    pattern.as_ref().is_none_or(|pattern| glob_matches(pattern, name))
                };
                let names: BTreeSet<&Arc<[u8]>> =
                    book.heard(*kind).map(|(name, _)| name).filter(|name| fits(name)).collect();
                PubSubAnswer::Names(names.into_iter().cloned().collect())
            }
            PubSubQuestion::Listeners { kind, names } => {
                let counts = names.iter().map(|name| book.listener_count(*kind, name) as u64);
                PubSubAnswer::Listeners(counts.collect())
            }
            PubSubQuestion::Topics => PubSubAnswer::Topics(
                Kind::ALL.map(|kind| book.heard(kind).map(|(name, _)| hash(name)).collect()),
            ),
        })
    }

    /// All workers have answered.
    pub(super) fn tally(
        &mut self,
        id: SessionId,
        seat: SeatNumber,
        tally: Tally,
        answers: Vec<Answer>,
    ) {
        let mut receivers = Receivers::default();
        let mut names = BTreeSet::new();
        let mut counts: Vec<u64> = Vec::new();
        let mut topics: [BTreeSet<u64>; 3] = Default::default();
        for answer in answers {
            match answer {
                Answer::PubSub(PubSubAnswer::Receivers(more)) => {
                    receivers.wires += more.wires;
                    receivers.listeners += more.listeners;
                    receivers.joining += more.joining;
                    receivers.elsewhere += more.elsewhere;
                }
                Answer::PubSub(PubSubAnswer::Names(more)) => names.extend(more),
                Answer::PubSub(PubSubAnswer::Listeners(more)) => {
                    counts.resize(more.len(), 0);
                    counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
                }
                Answer::PubSub(PubSubAnswer::Topics(more)) => {
                    topics.iter_mut().zip(more).for_each(|(topics, more)| topics.extend(more));
                }
                Answer::Shards(_) | Answer::Clients(_) | Answer::Count(_) => {}
            }
        }
        let mut reply = Vec::new();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match tally {
            Tally::Receivers(counted) => {
                write::int(&mut reply, count(receivers.of(counted)));
            }
            Tally::Names => {
                write::array(&mut reply, names.len());
                names.iter().for_each(|name| write::bulk(&mut reply, name));
            }
            Tally::NameCount => write::int(&mut reply, count(names.len() as u64)),
            Tally::Listeners(names) => {
                write::array(&mut reply, 2 * names.len());
                for (name, listeners) in names.iter().zip(counts) {
                    write::bulk(&mut reply, name);
                    write::int(&mut reply, count(listeners));
                }
            }
            Tally::Info(parts) => {
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                let topics = topics.map(|names| names.len() as u64);
                self.merge_info(&parts, self.resp(id), topics, &mut reply);
            }
        }
        self.fill_seat(id, seat, &reply);
    }
}
