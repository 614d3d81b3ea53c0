//! A request goes its way: to one shard, to several, or to ourselves.

use std::sync::Arc;

use crate::command::Merge;
use crate::ids::{LaneId, LinkId, SessionId, ShardId};
use crate::limits;
use crate::pubsub::Kind;
use crate::resp::{Intake, Parser, Request, write};
use crate::route::{self, Plan};
use crate::session::{Gather, Queue, SeatNumber, Tracking};
use crate::{merge, text};

use super::event::{ClientFilter, Question};
use super::lanes::LaneLinks;
use super::link::Token;
use super::upload::Target;
use super::users::Entry;
use super::{Engine, Mode, Session, Then};

/// What has become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Served {
    /// It is on its way, or answered.
    Done,
    /// It stays where it is, and is served anew when all earlier ones have been answered.
    Later,
}

/// How the replies of several shards become one.
#[derive(Debug)]
pub(super) enum Finish {
    /// By the command's response policy. For each key, in the caller's order, which part has it.
    Merge(Merge, Vec<u16>),
    /// SCAN: the reply of one shard, whose cursor becomes one over all shards.
    Scan(ShardId),
    /// INFO.
    Info,
    /// EXEC: the endpoint's own answers are put in.
    Exec(Box<Queue>),
    /// PUBLISH or SPUBLISH: the count is put right.
    Publish {
        /// Where it was published.
        shard: ShardId,
        /// To a channel or to a shard channel.
        kind: Kind,
        /// Its name.
        channel: Arc<[u8]>,
    },
    /// If it is no error, the session is on another lane from now on.
    Move(LaneId),
    /// If it is no error, the session is logged in from now on.
    Enter(Box<Entry>),
    /// All must succeed, and then all workers are to do this.
    Tell(Question),
    /// If it is no error, the sessions of a user are closed.
    KillUser(Box<ClientFilter>),
    /// CLIENT TRACKING ON: what holds if it is refused.
    Track(Option<Box<Tracking>>),
    /// MONITOR.
    Monitor,
}

impl Engine {
    /// Serves a complete request of `len` bytes.
    pub(super) fn dispatch(&mut self, id: SessionId, request: &Request<'_>, len: usize) -> Served {
        let plain = self.sessions.get(id).is_some_and(Session::is_plain);
        if plain && self.paused.is_none() && self.knows_shards() {
            return self.dispatch_by_plan(id, request, len);
        }
        if self.paused.is_some() && self.must_pause(id, request) {
            return Served::Later;
        }
        if !self.knows_shards()
            && let Some(served) = self.without_shards(id, request)
        {
            return served;
        }
        if self.sessions.get(id).is_some_and(|session| session.inbox.listens) {
            return self.dispatch_of_listener(id, request, len);
        }
        self.dispatch_plain(id, request, len)
    }

    pub(super) fn dispatch_plain(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
        len: usize,
    ) -> Served {
        if self.sessions.get(id).is_some_and(Session::is_pushed_to) {
            return self.dispatch_of_pushed(id, request, len);
        }
        self.dispatch_now(id, request, len)
    }

    pub(super) fn dispatch_now(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
        len: usize,
    ) -> Served {
        if self.must_leave_replicas(id, request) {
            return Served::Later;
        }
        if let Some(what) = self.plan_in_multi(id, request) {
            return self.in_multi(id, what, request, len);
        }
        self.dispatch_by_plan(id, request, len)
    }

    fn dispatch_by_plan(&mut self, id: SessionId, request: &Request<'_>, len: usize) -> Served {
        let plan = self.router.plan(request, &mut self.scratch);
        if let (Some(session), Some(spec)) = (self.sessions.get_mut(id), plan.spec()) {
            session.last_command = Some(spec.id);
        }
        // A plan borrows from the engine, which acts on what it has copied of it.
        match plan {
            Plan::One { shard, spec } => {
                let (writes, spec) = (spec.may_write(), spec.id);
                match self.reader_of(id, shard, spec, request, len) {
                    Some(reader) => self.forward_to(id, &request.bytes[..len], reader),
                    None => self.forward(id, &request.bytes[..len], shard, writes),
                }
            }
            Plan::Split { spec, order, merge, .. } => {
                let (writes, finish) = (spec.may_write(), Finish::Merge(merge, order.to_vec()));
                self.share_out(id, request, writes, finish);
            }
            Plan::All { spec, merge } => {
                let (writes, finish) = (spec.may_write(), Finish::Merge(merge, Vec::new()));
                self.fan_out(id, request, len, writes, finish);
            }
            Plan::Scan { shard, cursor, .. } => {
                if let Some(seat) = self.reserve_parts(id, 1, Finish::Scan(shard)) {
                    let token = Token::Part { session: id, seat, part: 0, writes: false };
                    self.send(shard, token, |out| route::write_scan(out, request, cursor));
                }
            }
            Plan::Beside { merge, .. } => return self.say_beside(id, request, len, merge),
            Plan::Blocking { shard, spec } => {
                let writes = spec.may_write();
                return self.block(id, &request.bytes[..len], shard, writes);
            }
            Plan::Transaction { step, .. } => {
                return self.transaction_step(id, step, request, len);
            }
            Plan::Publish { shard, spec, sharded } => {
                let writes = spec.may_write();
                let kind = if sharded { Kind::ShardChannel } else { Kind::Channel };
                if self.is_silent() {
                    self.forward(id, &request.bytes[..len], shard, writes);
                } else {
                    self.publish(id, request, shard, kind, writes);
                }
            }
            Plan::Local { local, .. } => return self.serve_local(id, local, request),
            Plan::Error(text) if request.arg(0).eq_ignore_ascii_case(b"exec") => {
                let text = String::from_utf8_lossy(text).into_owned();
                self.refuse_exec(id, &text);
            }
            Plan::Error(text) => {
                let text = text.to_vec();
                self.stats().error_replies.add(1);
                self.answer(id, |out| write::error_bytes(out, &text));
            }
        }
        Served::Done
    }

    /// Forwards requests as long as they are what nearly all are: whole, about one key, of a
    /// session that is in the midst of nothing, for a shard whose link is there. It does with them
    /// what [`Engine::dispatch`] does, which goes on with whatever else comes. Returns the length
    /// of the next request, if that was seen to be complete.
    pub(super) fn forward_whole(
        &mut self,
        id: SessionId,
        intake: &mut Intake,
        parser: &mut Parser,
    ) -> Option<usize> {
        if self.paused.is_some() || !self.knows_shards() || self.reads_replicas() {
            return None;
        }
        let Self { sessions, links, shards, router, flushes, setup, now, .. } = self;
        let session = sessions.get_mut(id).filter(|session| session.only_forwards())?;
        let stats = &setup.stats.workers[usize::from(setup.worker.0)];
        loop {
            let len = parser.next_whole(intake.bytes())?;
            let request = Request { bytes: intake.bytes(), args: parser.args() };
            let Some((shard, spec)) = router.one_key(&request) else {
                return Some(len);
            };
            let lane = shards[shard.index()].lanes.get(session.lane);
            let Some(link_id) = lane.and_then(LaneLinks::way_of_all) else {
                return Some(len);
            };
            let link = links.get_mut(link_id)?;
            let seat = session.seats.reserve(false);
            let token = Token::Reply { session: id, seat, writes: spec.may_write() };
            link.send(token, *now, |out| out.extend_from_slice(&request.bytes[..len]));
            if !std::mem::replace(&mut link.flushing, true) {
                flushes.push(link_id);
            }
            session.last_command = Some(spec.id);
            intake.consume(len);
            stats.shards[shard.index()].commands.add(1);
            stats.commands_processed.add(1);
            if link.is_full() {
                link.holding.push(id);
                session.holds.link = true;
            }
            session.holds.seats = session.seats.len() > limits::SESSION_SEATS_MAX;
            if session.holds.any() {
                return None;
            }
        }
    }

    /// Sends a request to one shard as it is.
    fn forward(&mut self, id: SessionId, request: &[u8], shard: ShardId, writes: bool) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let mute = session.reply.next_is_mute();
        let seat = session.seats.reserve(mute);
        let token = Token::Reply { session: id, seat, writes };
        let (pin, lane) = (session.pin(shard), session.lane);
        self.send_to(shard, (pin, lane), token, |out| out.extend_from_slice(request));
    }

    /// Sends a read to a replica as it is.
    fn forward_to(&mut self, id: SessionId, request: &[u8], reader: LinkId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let mute = session.reply.next_is_mute();
        let seat = session.seats.reserve(mute);
        let token = Token::Reply { session: id, seat, writes: false };
        self.send_by(reader, token, |out| out.extend_from_slice(request));
    }

    /// Sends each shard its part of the request that was planned last.
    fn share_out(&mut self, id: SessionId, request: &Request<'_>, writes: bool, finish: Finish) {
        self.stats().commands_split.add(1);
        // The parts are in the scratch, which can't be borrowed from the engine meanwhile.
        let scratch = std::mem::take(&mut self.scratch);
        let parts = scratch.parts();
        if let Some(seat) = self.reserve_parts(id, parts.len(), finish) {
            for (part, (shard, args)) in (0u16..).zip(parts.iter()) {
                let token = Token::Part { session: id, seat, part, writes };
                self.send(shard, token, |out| route::write_part(out, request, args));
            }
        }
        self.scratch = scratch;
    }

    /// Sends a request to every shard as it is.
    pub(super) fn fan_out(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
        len: usize,
        writes: bool,
        finish: Finish,
    ) {
        self.stats().commands_fanned_out.add(1);
        let map = Arc::clone(&self.map);
        let Some(seat) = self.reserve_parts(id, map.members().len(), finish) else {
            return;
        };
        for (part, &shard) in (0u16..).zip(map.members()) {
            let token = Token::Part { session: id, seat, part, writes };
            self.send(shard, token, |out| out.extend_from_slice(&request.bytes[..len]));
        }
    }

    pub(super) fn reserve_parts(
        &mut self,
        id: SessionId,
        parts: usize,
        finish: Finish,
    ) -> Option<SeatNumber> {
        let mute = self.next_is_mute(id);
        let session = self.sessions.get_mut(id)?;
        Some(session.seats.reserve_parts(parts, finish, mute))
    }

    /// All parts of a seat are there: makes them one reply.
    pub(super) fn finish_parts(&mut self, id: SessionId, seat: SeatNumber, gather: Gather<Finish>) {
        let Gather { parts: gathered, finish, .. } = gather;
        let parts: Vec<&[u8]> = gathered.iter().map(Vec::as_slice).collect();
        let mut reply = self.memory.pop().unwrap_or_default();
        reply.clear();
        match finish {
            Finish::Merge(merge, order) => self.merger.merge(merge, &order, &parts, &mut reply),
            Finish::Scan(shard) => merge::scan(parts[0], shard, &self.map, &mut reply),
            Finish::Info if self.is_silent() => {
                self.merge_info(&parts, self.resp(id), [0; 3], &mut reply);
            }
            Finish::Info => return self.info_with_channels(id, seat, gathered),
            Finish::Publish { shard, kind, channel } => {
                return self.published(id, seat, (shard, kind, channel), parts[0]);
            }
            Finish::Exec(queue) => self.put_in(id, &queue, parts[0], &mut reply),
            Finish::Track(before) => self.finish_tracking(id, before, &parts, &mut reply),
            Finish::Monitor => self.finish_monitor(id, &parts, &mut reply),
            Finish::Move(lane) => {
                self.finish_move(id, lane, parts[0]);
                reply.extend_from_slice(parts[0]);
            }
            Finish::Enter(entry) => self.enter(id, &entry, parts[0], &mut reply),
            Finish::KillUser(filter) => return self.user_known(id, seat, &filter, parts[0]),
            Finish::Tell(question) => return self.tell_workers(id, seat, &question, &parts),
        }
        self.stats().error_replies.add(u64::from(reply.starts_with(b"-")));
        self.fill_seat(id, seat, &reply);
        self.keep_memory(reply);
    }

    /// Sends a command to a shard by the lane of its session.
    pub(super) fn send(&mut self, shard: ShardId, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(session) = token.session().and_then(|id| self.sessions.get(id)) else {
            return;
        };
        let way = (session.pin(shard), session.lane);
        self.send_to(shard, way, token, write);
    }

    /// Sends a command to a shard by its session's own link, if it has one, or by its lane.
    fn send_to(
        &mut self,
        shard: ShardId,
        (pin, lane): (Option<LinkId>, LaneId),
        token: Token,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        match pin {
            Some(pin) => self.send_by(pin, token, write),
            None => self.send_on(shard, lane, token, write),
        }
    }

    /// Sends a command to a shard, or keeps it for the shard to come back, or says that it can't.
    pub(super) fn send_on(
        &mut self,
        id: ShardId,
        lane_id: LaneId,
        token: Token,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let now = self.now;
        let Some(session) = token.session() else {
            return;
        };
        if let Some(former) = self.former_link(id, lane_id, session) {
            return self.send_by(former, token, write);
        }
        if let Some(link_id) = self.shared_link(id, lane_id) {
            return self.send_by(link_id, token, write);
        }
        let patience = self.shards[id.index()].patience(&self.settings);
        let shard = &mut self.shards[id.index()];
        let refusal = shard.lane(lane_id, now).refusal.clone();
        if refusal.is_some() || now >= patience && !shard.is_up() {
            let down = || text::shard_down(&shard.name(), shard.why()).into_bytes();
            let text = refusal.unwrap_or_else(down);
            self.stats().commands_not_sent.add(1);
            self.fail_command(token, &text);
            self.end_if_refused_by(token, &text);
            return;
        }
        shard.parks(lane_id);
        let lane = shard.lane(lane_id, now);
        lane.parked_since.get_or_insert(now);
        lane.parked.send(token, write);
        if lane.parked.backlog() > limits::LINK_BACKLOG_HIGH {
            lane.holding.push(session);
            self.hold_for_link(session);
        }
        self.stats().commands_delayed.add(1);
    }

    pub(super) fn hold_for_link(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.holds.link = true;
        }
    }

    // ---------------------------------------------------------------- large requests

    /// A request is not complete. If it is large, it is forwarded as it arrives where its begin
    /// tells where it goes; where not, it is held up to a bound. Returns whether it may be served
    /// on now.
    pub(super) fn serve_large(
        &mut self,
        id: SessionId,
        intake: &mut Intake,
        parser: &mut Parser,
    ) -> bool {
        let known = parser.parsed() + parser.open_bulk().unwrap_or(0);
        let size = known.max(intake.len());
        if size < limits::UPLOAD_BYTES_MIN || parser.promised() == 0 {
            return false;
        }
        let head = Request { bytes: intake.bytes(), args: parser.args() };
        let router = Arc::clone(&self.router);
        // Who listens may perhaps not say this: it is held, and judged when it is whole.
        let listens = self.sessions.get(id).is_some_and(|session| session.inbox.listens);
        let planned = (!head.is_empty() && !listens)
            .then(|| router.plan_head(&head, parser.promised(), &mut self.scratch))
            .flatten();
        if let Some(planned) = planned {
            let place = router.place(planned.spec, &head, &mut self.scratch).unwrap_or_default();
            if self.is_elsewhere(id, place) {
                self.abort_transaction(id);
                return self.refuse_large(id, intake, parser, text::CROSSSLOT);
            }
            let (shard, writes) = (planned.shard, planned.spec.may_write());
            if self.must_pause_large(id, writes) {
                return false;
            }
            if let Some(session) = self.sessions.get_mut(id) {
                // The parser's place is kept; the request is taken over once its turn has come.
                let target = Target { shard, place, writes };
                session.mode = Mode::Draining(Then::Upload(target));
            }
            return false;
        }
        let bound = usize::try_from(self.settings.request_max).unwrap_or(usize::MAX);
        if size <= bound.min(limits::REQUEST_BYTES_MAX) {
            return false;
        }
        self.abort_transaction(id);
        self.refuse_large(id, intake, parser, &too_large(bound))
    }
}

/// The text of an error for a request that is too large to be held.
fn too_large(bound: usize) -> String {
    format!(
        "ERR request is larger than {bound} bytes (weir.request-max) and of a kind that must be held \
         whole; it was not executed"
    )
}
