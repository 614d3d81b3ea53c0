//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! The shard that has the keys does all of it, on a pin; see `session/transaction.rs` for what
//! waits here until a key has said which shard. What the endpoint answers itself is put into
//! EXEC's reply at its place.

use std::sync::Arc;

use crate::command::Flags;
use crate::ids::{LinkId, SessionId, ShardId};
use crate::limits;
use crate::merge;
use crate::resp::{Parsed, Parser, Request, is_command, write};
use crate::route::{ClientSub, CrossSlot, Local, Place, Plan, Step};
use crate::session::{Queue, ReplyMode, Sent, Transaction};
use crate::shards::{HashSlot, Kind};
use crate::text;

use super::Engine;
use super::dispatch::{Finish, Served};
use super::link::{Own, Token};
use super::pauses::may_write;
use super::pins::Pin;

/// What is to be done with a request between MULTI and EXEC.
#[derive(Debug)]
pub(super) enum InMulti {
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
    Step(Step),
    /// It is queued at the shard.
    Queue {
        /// Where its keys are, if it has any.
        place: Option<Place>,
        /// It may move the shard's replication offset.
        writes: bool,
    },
    /// The endpoint answers it itself.
    Own(Local),
    /// It can't be: why.
    Refuse(Vec<u8>),
}

impl Engine {
    /// Whether a session is between MULTI and EXEC.
    pub(super) fn is_in_multi(&self, id: SessionId) -> bool {
        let transaction = self.sessions.get(id).and_then(|s| s.transaction.as_ref());
        transaction.is_some_and(|transaction| transaction.is_open())
    }

    /// What is to be done with a request, if its session is between MULTI and EXEC.
    pub(super) fn plan_in_multi(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
    ) -> Option<InMulti> {
        if !self.is_in_multi(id) {
            return None;
        }
        let router = Arc::clone(&self.router);
        if let Ok(spec) = router.table().check(request) {
            if let Some(session) = self.sessions.get_mut(id) {
                session.last_command = Some(spec);
            }
            if router.table().spec(spec).flags.any(Flags::NO_MULTI) {
                return Some(InMulti::Refuse(text::NO_MULTI.as_bytes().to_vec()));
            }
        }
        let spec = match router.plan(request, &mut self.scratch) {
            Plan::One { spec, .. } | Plan::Blocking { spec, .. } => spec.id,
            // Listeners to a channel hear all shards, those to a shard channel its own only.
            Plan::Publish { sharded: false, .. } => {
                return Some(InMulti::Queue { place: None, writes: true });
            }
            Plan::Publish { spec, .. } => spec.id,
            Plan::Transaction { step, .. } => return Some(InMulti::Step(step)),
            Plan::Local { local: Local::Ping | Local::Echo | Local::Time | Local::Ok, .. } => {
                return Some(InMulti::Queue { place: None, writes: false });
            }
            Plan::Local { local, .. } => return Some(InMulti::Own(local)),
            Plan::Split { .. } => {
                return Some(InMulti::Refuse(text::CROSSSLOT.as_bytes().to_vec()));
            }
            Plan::All { spec, .. } | Plan::Scan { spec, .. } | Plan::Beside { spec, .. } => {
                let text = text::not_in_transaction(&spec.name);
                return Some(InMulti::Refuse(text.into_bytes()));
            }
            Plan::Error(text) => return Some(InMulti::Refuse(text.to_vec())),
        };
        let spec = router.table().spec(spec);
        Some(match router.place(spec, request, &mut self.scratch) {
            Ok(place) => InMulti::Queue { place, writes: may_write(spec, request) },
            Err(CrossSlot) => InMulti::Refuse(text::CROSSSLOT.as_bytes().to_vec()),
        })
    }

    /// Where the keys of WATCH are.
    pub(super) fn watched_place(
        &mut self,
        request: &Request<'_>,
    ) -> Result<Option<Place>, CrossSlot> {
        let router = Arc::clone(&self.router);
        match router.table().check(request) {
            Ok(spec) => router.place(router.table().spec(spec), request, &mut self.scratch),
            Err(_) => Ok(None),
        }
    }

    /// One of the five, not between MULTI and EXEC.
    pub(super) fn transaction_step(
        &mut self,
        id: SessionId,
        step: Step,
        request: &Request<'_>,
        len: usize,
    ) -> Served {
        let bytes = &request.bytes[..len];
        let no_auth = if step == Step::Exec { text::EXEC_NO_AUTH } else { text::NO_AUTH };
        if let Err(served) = self.permit_known(id, no_auth) {
            return served;
        }
        if step == Step::Unwatch && self.awaits_moves(id) {
            return Served::Later;
        }
        match step {
            Step::Multi => self.multi(id, bytes),
            Step::Watch => match self.watched_place(request) {
                Ok(place) => self.watch(id, place, bytes),
                Err(CrossSlot) => self.error_reply(id, text::CROSSSLOT),
            },
            Step::Unwatch => self.unwatch(id, bytes),
            Step::Exec => self.error_reply(id, text::EXEC_WITHOUT_MULTI),
            Step::Discard => self.error_reply(id, text::DISCARD_WITHOUT_MULTI),
        }
    }

    fn error_reply(&mut self, id: SessionId, text: &str) -> Served {
        self.answer_error(id, text);
        Served::Done
    }

    fn ok(&mut self, id: SessionId) -> Served {
        self.answer(id, |out| write::simple(out, "OK"));
        Served::Done
    }

    fn transaction(&mut self, id: SessionId) -> Option<&mut Transaction> {
        self.sessions.get_mut(id)?.transaction.as_deref_mut()
    }

    fn multi(&mut self, id: SessionId, request: &[u8]) -> Served {
        let cluster = self.map.kind() == Kind::Cluster;
        let only = self.map.is_one_shard().then(|| self.map.first());
        let watched = self.transaction(id).map(|t| (t.shard, t.lost));
        let shard = match watched {
            // EXEC will find the watched keys changed.
            Some((_, true)) => None,
            Some((shard, false)) => shard.or(only),
            None => only,
        };
        if let Some(shard) = shard {
            match self.pin(id, shard) {
                Pin::Link(link) => {
                    self.forward_by(id, link, request);
                    self.queues_from_here(link);
                }
                Pin::Later => return Served::Later,
                Pin::Refused(text) => {
                    // What follows was meant for a transaction: none of it may be executed.
                    if let Some(session) = self.sessions.get_mut(id) {
                        let transaction = session.transaction.get_or_insert_default();
                        transaction.lost = true;
                        transaction.queue = Some(Queue { aborted: true, ..Queue::default() });
                    }
                    return self.error_reply(id, &text);
                }
            }
        } else {
            let _ = self.ok(id);
        }
        if let Some(session) = self.sessions.get_mut(id) {
            let transaction = session.transaction.get_or_insert_default();
            transaction.shard = transaction.shard.or(shard);
            // What is watched can't be watched elsewhere from when it was.
            let sent = (cluster && !transaction.watching).then(Sent::default);
            transaction.queue = Some(Queue { sent, ..Queue::default() });
        }
        Served::Done
    }

    fn watch(&mut self, id: SessionId, place: Option<Place>, request: &[u8]) -> Served {
        if let Some(transaction) = self.transaction(id) {
            if transaction.lost {
                return self.ok(id);
            }
            if !is_at(transaction, place) {
                return self.error_reply(id, text::CROSSSLOT);
            }
        }
        let shard = place.map_or(self.map.first(), |place| place.shard);
        let link = match self.pin(id, shard) {
            Pin::Link(link) => link,
            Pin::Later => return Served::Later,
            Pin::Refused(text) => return self.error_reply(id, &text),
        };
        if let Some(session) = self.sessions.get_mut(id) {
            let transaction = session.transaction.get_or_insert_default();
            transaction.shard = Some(shard);
            transaction.slot = transaction.slot.or(place.map(|place| place.slot));
            transaction.watching = true;
        }
        self.forward_by(id, link, request);
        Served::Done
    }

    fn unwatch(&mut self, id: SessionId, request: &[u8]) -> Served {
        let transaction = self.sessions.get_mut(id).and_then(|s| s.transaction.take());
        match transaction.and_then(|t| t.shard).and_then(|shard| self.pin_of(id, shard)) {
            Some(link) => self.forward_by(id, link, request),
            None => return self.ok(id),
        }
        Served::Done
    }

    /// RESET: nothing is watched or queued any more.
    pub(super) fn abandon_transaction(&mut self, id: SessionId) {
        let transaction = self.sessions.get_mut(id).and_then(|s| s.transaction.take());
        let Some(transaction) = transaction else {
            return;
        };
        if let Some(link) = transaction.shard.and_then(|shard| self.pin_of(id, shard)) {
            // If it was lost before MULTI, the shard knows of no transaction, and refuses DISCARD.
            let discard = transaction.is_open().then_some("DISCARD");
            let unwatch = transaction.watching.then_some("UNWATCH");
            for word in discard.into_iter().chain(unwatch) {
                self.send_by(link, Token::Own(Own::Queued), |out| write::request(out, &[word]));
            }
        }
    }

    /// Forwards a request by a pin, as it is.
    fn forward_by(&mut self, id: SessionId, link: LinkId, request: &[u8]) {
        let mute = self.next_is_mute(id);
        if let Some(session) = self.sessions.get_mut(id) {
            let seat = session.seats.reserve(mute);
            let token = Token::Reply { session: id, seat, writes: false };
            self.send_by(link, token, |out| out.extend_from_slice(request));
        }
    }

    // ---------------------------------------------------------------- between MULTI and EXEC

    /// A request between MULTI and EXEC.
    pub(super) fn in_multi(
        &mut self,
        id: SessionId,
        what: InMulti,
        request: &Request<'_>,
        len: usize,
    ) -> Served {
        let bytes = &request.bytes[..len];
        if matches!(what, InMulti::Step(Step::Exec | Step::Discard)) && self.awaits_moves(id) {
            return Served::Later;
        }
        match what {
            InMulti::Step(Step::Multi) => self.error_reply(id, text::NESTED_MULTI),
            InMulti::Step(Step::Watch) => self.error_reply(id, text::WATCH_IN_MULTI),
            InMulti::Step(Step::Exec) => self.exec(id, bytes),
            InMulti::Step(Step::Discard) => self.discard(id, bytes),
            InMulti::Own(local @ (Local::Quit | Local::Reset)) => {
                self.serve_local(id, local, request)
            }
            InMulti::Own(local) if can_be_put_in(local) => {
                if let Err(served) = self.permit(id, local) {
                    if served == Served::Done {
                        self.abort_transaction(id);
                    }
                    return served;
                }
                let Some(queue) = self.transaction(id).and_then(|t| t.queue.as_mut()) else {
                    return Served::Done;
                };
                queue.own.push((queue.length, bytes.to_vec()));
                queue.length += 1;
                self.queued(id)
            }
            InMulti::Own(_) => {
                let name = String::from_utf8_lossy(request.arg(0)).to_ascii_lowercase();
                self.refuse_in_multi(id, text::not_in_transaction(&name).as_bytes())
            }
            InMulti::Refuse(text) if request.arg(0).eq_ignore_ascii_case(b"exec") => {
                self.refuse_exec(id, &String::from_utf8_lossy(&text));
                Served::Done
            }
            InMulti::Refuse(text) => self.refuse_in_multi(id, &text),
            InMulti::Step(Step::Unwatch) => self.queue_up(id, None, false, bytes),
            InMulti::Queue { place, writes } => self.queue_up(id, place, writes, bytes),
        }
    }

    /// Where slots move, a transaction ends only when it is known of all its commands that they are
    /// queued: one whose slot has moved must not be taken for a command of its own.
    fn awaits_moves(&mut self, id: SessionId) -> bool {
        self.map.kind() == Kind::Cluster && self.must_drain(id)
    }

    fn queued(&mut self, id: SessionId) -> Served {
        self.answer(id, |out| write::simple(out, "QUEUED"));
        Served::Done
    }

    fn refuse_in_multi(&mut self, id: SessionId, text: &[u8]) -> Served {
        self.abort_transaction(id);
        self.stats().error_replies.add(1);
        self.answer(id, |out| write::error_bytes(out, text));
        Served::Done
    }

    fn queue_up(
        &mut self,
        id: SessionId,
        place: Option<Place>,
        writes: bool,
        request: &[u8],
    ) -> Served {
        let first = self.map.first();
        let Some(transaction) = self.transaction(id) else {
            return Served::Done;
        };
        if transaction.lost {
            return self.queued(id);
        }
        if !is_at(transaction, place) {
            return self.refuse_in_multi(id, text::CROSSSLOT.as_bytes());
        }
        let chosen = transaction.shard;
        let Some(queue) = &mut transaction.queue else {
            return Served::Done;
        };
        let shard = match (chosen, place) {
            (Some(shard), _) | (None, Some(Place { shard, .. })) => shard,
            (None, None) if queue.waiting.len() > limits::TRANSACTION_WAITING_MAX => first,
            (None, None) => {
                queue.waiting.extend_from_slice(request);
                queue.waiting_count += 1;
                queue.length += 1;
                queue.writes |= writes;
                return self.queued(id);
            }
        };
        match self.join_transaction(id, shard, place, writes) {
            Ok(link) => {
                self.remember_sent(id, Some(request));
                self.forward_by(id, link, request);
            }
            Err(served) => return served,
        }
        Served::Done
    }

    /// A command of the transaction leaves; none if its bytes can't be remembered.
    pub(super) fn remember_sent(&mut self, id: SessionId, request: Option<&[u8]>) {
        let Some(queue) = self.transaction(id).and_then(|t| t.queue.as_mut()) else {
            return;
        };
        match request {
            Some(request) => queue.remember(request, limits::TRANSACTION_WAITING_MAX),
            None => queue.sent = None,
        }
    }

    /// One more command of the transaction is about to leave: by which link.
    pub(super) fn join_transaction(
        &mut self,
        id: SessionId,
        shard: ShardId,
        place: Option<Place>,
        writes: bool,
    ) -> Result<LinkId, Served> {
        if self.transaction(id).is_some_and(|transaction| transaction.lost) {
            return Err(self.queued(id));
        }
        let link = match self.settle_at(id, shard) {
            Pin::Link(link) => link,
            Pin::Later => return Err(Served::Later),
            Pin::Refused(text) => return Err(self.refuse_in_multi(id, text.as_bytes())),
        };
        if let Some(transaction) = self.transaction(id) {
            transaction.slot = transaction.slot.or(place.map(|place| place.slot));
            if let Some(queue) = &mut transaction.queue {
                queue.length += 1;
                queue.writes |= writes;
            }
        }
        Ok(link)
    }

    /// Whether the session is in a transaction to which keys of this place don't belong.
    pub(super) fn is_elsewhere(&mut self, id: SessionId, place: Option<Place>) -> bool {
        self.transaction(id).is_some_and(|t| t.is_open() && !t.lost && !is_at(t, place))
    }

    /// A command of the transaction was refused, so EXEC will be; if there is a transaction.
    pub(super) fn abort_transaction(&mut self, id: SessionId) {
        if let Some(queue) = self.transaction(id).and_then(|t| t.queue.as_mut()) {
            queue.aborted = true;
        }
    }

    /// The transaction's pin. If this decides where it is: opens it there, with all that waited.
    fn settle_at(&mut self, id: SessionId, shard: ShardId) -> Pin {
        let link = match self.pin(id, shard) {
            Pin::Link(link) => link,
            other => return other,
        };
        let Some(transaction) = self.transaction(id) else {
            return Pin::Link(link);
        };
        if transaction.shard.is_some() {
            return Pin::Link(link);
        }
        transaction.shard = Some(shard);
        let Some(queue) = &mut transaction.queue else {
            return Pin::Link(link);
        };
        let (waiting, count) = (std::mem::take(&mut queue.waiting), queue.waiting_count);
        self.send_by(link, Token::Own(Own::Queued), |out| write::request(out, &["MULTI"]));
        self.queues_from_here(link);
        let mut rest = waiting.as_slice();
        let mut parser = Parser::default();
        for _ in 0..count {
            let Parsed::Complete { len } = parser.parse(rest) else {
                break;
            };
            let (request, others) = rest.split_at(len);
            self.remember_sent(id, Some(request));
            self.send_by(link, Token::Own(Own::Queued), |out| out.extend_from_slice(request));
            rest = others;
        }
        Pin::Link(link)
    }

    /// MULTI was sent: what follows on this link is queued.
    fn queues_from_here(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(link) {
            link.queued_from = link.pipeline.end();
        }
    }

    fn discard(&mut self, id: SessionId, request: &[u8]) -> Served {
        if self.transaction(id).is_some_and(|transaction| transaction.lost) {
            self.abandon_transaction(id);
            return self.ok(id);
        }
        let transaction = self.sessions.get_mut(id).and_then(|s| s.transaction.take());
        match transaction.and_then(|t| t.shard).and_then(|shard| self.pin_of(id, shard)) {
            Some(link) => self.forward_by(id, link, request),
            None => return self.ok(id),
        }
        Served::Done
    }

    fn exec(&mut self, id: SessionId, request: &[u8]) -> Served {
        let Some(transaction) = self.transaction(id) else {
            return Served::Done;
        };
        let (lost, watching, chosen) = (transaction.lost, transaction.watching, transaction.shard);
        let Some(queue) = &mut transaction.queue else {
            return Served::Done;
        };
        if queue.aborted || lost {
            let aborted = queue.aborted || !watching;
            self.abandon_transaction(id);
            if aborted {
                return self.error_reply(id, text::EXECABORT);
            }
            // Nobody knows whether the watched keys have changed, so it is not executed, as if they
            // had.
            let resp = self.resp(id);
            self.answer(id, |out| write::null_array(out, resp));
            return Served::Done;
        }
        let anywhere = queue.waiting_count > 0;
        if let Some(aof) = wanted_count(queue) {
            self.count_for_exec(id, aof);
            return Served::Later;
        }
        if chosen.is_none() && !anywhere {
            return self.exec_alone(id);
        }
        let link = match self.settle_at(id, chosen.unwrap_or(self.map.first())) {
            Pin::Link(link) => link,
            Pin::Later => return Served::Later,
            Pin::Refused(text) => {
                self.end_transaction(id);
                return self.error_reply(id, &text::exec_aborted(&text));
            }
        };
        let slot = self.transaction(id).and_then(|t| t.slot).and_then(HashSlot::new);
        let mut queue = self.end_transaction(id);
        let (writes, moved) = (queue.writes, queue.moved);
        let sent = queue.sent.take().zip(slot);
        let mute = self.next_is_mute(id);
        if mute {
            queue.losses.clear();
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return Served::Done;
        };
        let token = if queue.own.is_empty() {
            Token::Reply { session: id, seat: session.seats.reserve(mute), writes }
        } else {
            let finish = Finish::Exec(Box::new(queue));
            let seat = session.seats.reserve_parts(1, finish, mute);
            Token::Part { session: id, seat, part: 0, writes }
        };
        // What the endpoint answers in it is done when the shard's reply comes; and what may have
        // to be said again must not be overtaken meanwhile.
        let drains = matches!(token, Token::Part { .. }) || sent.is_some();
        match sent {
            Some((sent, slot)) if moved => {
                self.send_by(link, Token::Own(Own::Queued), |out| {
                    write::request(out, &["DISCARD"]);
                });
                self.say_again(token, link, sent, slot);
            }
            sent => {
                self.keep_for_detour(token, sent, watching);
                self.send_by(link, token, |out| out.extend_from_slice(request));
            }
        }
        if drains {
            self.must_drain(id);
        }
        Served::Done
    }

    /// EXEC can't be looked at, and ends the transaction all the same.
    pub(super) fn refuse_exec(&mut self, id: SessionId, error: &str) {
        self.abandon_transaction(id);
        self.answer_error(id, &text::exec_aborted(error));
    }

    fn end_transaction(&mut self, id: SessionId) -> Queue {
        let transaction = self.sessions.get_mut(id).and_then(|s| s.transaction.take());
        transaction.and_then(|transaction| transaction.queue).unwrap_or_default()
    }

    /// EXEC of nothing that a shard would have to do.
    fn exec_alone(&mut self, id: SessionId) -> Served {
        let mut queue = self.end_transaction(id);
        if self.sessions.get(id).is_some_and(|session| session.reply != ReplyMode::On) {
            queue.losses.clear();
        }
        let mut reply = Vec::new();
        self.put_in(id, &queue, b"*0\r\n", &mut reply);
        self.answer(id, |out| out.extend_from_slice(&reply));
        Served::Done
    }

    /// EXEC's reply with the answers of the endpoint's own at their places.
    pub(super) fn put_in(&mut self, id: SessionId, queue: &Queue, reply: &[u8], out: &mut Vec<u8>) {
        // A null, or an error: nothing was executed.
        if !reply.starts_with(b"*") || reply.starts_with(b"*-1") {
            return out.extend_from_slice(reply);
        }
        let own: Vec<(usize, Vec<u8>)> = queue
            .own
            .iter()
            .map(|(place, request)| (*place, self.own_answer(id, queue, request)))
            .collect();
        self.losses_are_told(id, &queue.losses);
        merge::insert(reply, &own, out);
    }

    /// What the endpoint answers to one of the commands of a transaction.
    fn own_answer(&mut self, id: SessionId, queue: &Queue, request: &[u8]) -> Vec<u8> {
        let mut parser = Parser::default();
        let Parsed::Complete { .. } = parser.parse(request) else {
            return Vec::new();
        };
        let request = Request { bytes: request, args: parser.args() };
        let Plan::Local { local, .. } = self.router.plan(&request, &mut self.scratch) else {
            return Vec::new();
        };
        match local {
            Local::Wait | Local::WaitAof => {
                let aof = local == Local::WaitAof;
                let counted = queue.counts[usize::from(aof)].clone();
                match self.wait_error(aof, &request) {
                    None => counted.unwrap_or_default(),
                    Some(error) => error,
                }
            }
            _ => {
                self.captured = Some(Vec::new());
                let _ = self.serve_local(id, local, &request);
                self.captured.take().unwrap_or_default()
            }
        }
    }

    /// What WAIT or WAITAOF in a transaction is to be answered with is known.
    pub(super) fn counted_for_exec(&mut self, id: SessionId, aof: bool, reply: &[u8]) {
        if let Some(queue) = self.transaction(id).and_then(|t| t.queue.as_mut()) {
            queue.counts[usize::from(aof)] = Some(reply.to_vec());
        }
    }

    /// One of these answers tells of a loss on this shard.
    pub(super) fn will_tell_of(&mut self, id: SessionId, lost: ShardId) {
        if let Some(queue) = self.transaction(id).and_then(|t| t.queue.as_mut()) {
            queue.losses.push(lost);
        }
    }
}

/// Whether keys of this place belong to the transaction. Those of another slot don't, though its
/// shard may be the same: it must not work today and fail when a shard is added.
fn is_at(transaction: &Transaction, place: Option<Place>) -> bool {
    place.is_none_or(|place| match transaction.slot {
        // It may have moved since the transaction began.
        Some(ours) => ours == place.slot,
        None => transaction.shard.is_none_or(|ours| ours == place.shard),
    })
}

/// Which of WAIT (false) and WAITAOF (true) has to be counted before EXEC.
fn wanted_count(queue: &Queue) -> Option<bool> {
    let named = |name| queue.own.iter().any(|(_, request)| is_command(request, &[name]));
    match &queue.counts {
        [None, _] if named("wait") => Some(false),
        [_, None] if named("waitaof") => Some(true),
        _ => None,
    }
}

/// Whether the endpoint's answer can be put into EXEC's reply: it is given at once, and changes
/// nothing that the transaction itself stands on.
fn can_be_put_in(local: Local) -> bool {
    use ClientSub::{
        GetName, GetRedir, Id, Info, NoEvict, NoTouch, SetInfo, SetName, TrackingInfo,
    };
    match local {
        Local::Wait | Local::WaitAof => true,
        Local::Client(sub) => {
            matches!(
                sub,
                Id | Info
                    | GetName
                    | SetName
                    | SetInfo
                    | NoEvict
                    | NoTouch
                    | TrackingInfo
                    | GetRedir
            )
        }
        _ => false,
    }
}
