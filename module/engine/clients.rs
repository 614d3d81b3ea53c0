//! CLIENT: about this connection, and about all of the endpoint's, whichever worker has them.
//!
//! LIST, KILL and UNBLOCK are asked of every worker by mail, this one included; the client's seat
//! is filled when all have answered.

use std::fmt::Write as _;

use crate::command::{How, Merge};
use crate::ids::{SessionId, WorkerId};
use crate::limits;
use crate::resp::{Intake, Request, parse_int, write};
use crate::route::ClientSub;
use crate::session::{ReplyMode, SeatNumber};
use crate::text;

use super::channels::Tally;
use super::event::{Answer, Asker, ClientFilter, Destination, Mail, Question};
use super::link::Token;
use super::{Asked, Engine, Mode, Output, Session, dispatch};

/// What those are told whose wish all workers have fulfilled.
pub(super) const OK: &[u8] = b"+OK\r\n";

/// How the workers' answers become a client's reply.
#[derive(Debug)]
pub(super) enum Finish {
    /// CLIENT LIST: all lines, by id.
    Lines,
    /// CLIENT KILL with filters, CLIENT UNBLOCK: how many.
    Count,
    /// CLIENT KILL addr: whether there was one.
    Found,
    /// What is about channels.
    PubSub(Tally),
    /// What has been decided before; the workers only had to know.
    Said(Vec<u8>),
}

/// Whether a name has only characters that CLIENT LIST can show. Source: redis `networking.c`,
/// `validateClientAttr`.
pub(super) fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// As CLIENT LIST says it.
fn is_blocked(session: &Session) -> bool {
    session.holds.pause
        || matches!(session.mode, Mode::Waiting | Mode::Blocked { sent: true } | Mode::Draining(_))
}

impl Engine {
    pub(super) fn client_command(&mut self, id: SessionId, sub: ClientSub, request: &Request<'_>) {
        match sub {
            ClientSub::Id => {
                let client = self.sessions.get(id).map_or(0, |session| session.client);
                self.answer(id, |out| write::int(out, i64::try_from(client).unwrap_or(i64::MAX)));
            }
            ClientSub::Info => {
                let line = self.sessions.get(id).map(|session| self.line(session));
                let resp = self.resp(id);
                self.answer(id, |out| write::text(out, resp, line.unwrap_or_default().as_bytes()));
            }
            ClientSub::GetName => {
                let name = self.sessions.get(id).map(|session| session.profile.name.clone());
                let resp = self.resp(id);
                self.answer(id, |out| match name.as_deref() {
                    None | Some("") => write::null(out, resp),
                    Some(name) => write::bulk(out, name.as_bytes()),
                });
            }
            ClientSub::SetName => self.set_name(id, request.arg(2)),
            ClientSub::SetInfo => self.set_info(id, request.arg(2), request.arg(3)),
            ClientSub::NoEvict | ClientSub::NoTouch => self.set_switch(id, sub, request.arg(2)),
            ClientSub::Reply => self.set_reply(id, request.arg(2)),
            ClientSub::List => match list_filter(request) {
                Ok(filter) => self.ask_workers(id, &Question::Clients(filter), Finish::Lines),
                Err(text) => self.answer_error(id, &text),
            },
            ClientSub::Kill => self.kill(id, request),
            ClientSub::Unblock => self.unblock(id, request),
            ClientSub::Pause => self.client_pause(id, request),
            ClientSub::Unpause => {
                self.ask_workers(id, &Question::Unpause, Finish::Said(OK.to_vec()))
            }
            ClientSub::Caching => self.client_caching(id, request.arg(2)),
            ClientSub::TrackingInfo => self.tracking_info(id),
            ClientSub::GetRedir => {
                let redirect = self.redirect(id);
                self.answer(id, |out| write::int(out, redirect));
            }
            // It may have to be served anew, and so is where that can be said.
            ClientSub::Tracking => {}
        }
    }

    fn set_name(&mut self, id: SessionId, name: &[u8]) {
        if !is_plain(name) {
            return self.answer_error(id, text::CLIENT_NAME);
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.profile.name = String::from_utf8_lossy(name).into_owned();
        }
        self.answer(id, |out| write::simple(out, "OK"));
    }

    fn set_info(&mut self, id: SessionId, option: &[u8], value: &[u8]) {
        let shown = String::from_utf8_lossy(option);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let place = if option.eq_ignore_ascii_case(b"lib-name") {
            &mut session.profile.lib_name
        } else if option.eq_ignore_ascii_case(b"lib-ver") {
            &mut session.profile.lib_version
        } else {
            return self.answer_error(id, &format!("ERR Unrecognized option '{shown}'"));
        };
        if !is_plain(value) {
            let text =
                format!("ERR {shown} cannot contain spaces, newlines or special characters.");
            return self.answer_error(id, &text);
        }
        *place = String::from_utf8_lossy(value).into_owned();
        self.answer(id, |out| write::simple(out, "OK"));
    }

    fn set_switch(&mut self, id: SessionId, sub: ClientSub, value: &[u8]) {
        let on = value.eq_ignore_ascii_case(b"on");
        if !on && !value.eq_ignore_ascii_case(b"off") {
            return self.answer_error(id, text::SYNTAX);
        }
        if let Some(session) = self.sessions.get_mut(id) {
            match sub {
                ClientSub::NoEvict => session.profile.no_evict = on,
                _ => session.profile.no_touch = on,
            }
        }
        self.answer(id, |out| write::simple(out, "OK"));
    }

    fn set_reply(&mut self, id: SessionId, value: &[u8]) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if value.eq_ignore_ascii_case(b"on") {
            session.reply = ReplyMode::On;
            self.answer(id, |out| write::simple(out, "OK"));
        } else if value.eq_ignore_ascii_case(b"off") {
            session.reply = ReplyMode::Off;
        } else if value.eq_ignore_ascii_case(b"skip") {
            if session.reply != ReplyMode::Off {
                session.reply = ReplyMode::SkipNext;
            }
        } else {
            self.answer_error(id, text::SYNTAX);
        }
    }

    /// `CLIENT KILL addr:port`, or `CLIENT KILL [ID id ...] [TYPE t] [USER u] [ADDR a] [LADDR a]
    /// [SKIPME yes|no] [MAXAGE seconds]`. Source: redis `networking.c`, `clientKillCommand`.
    fn kill(&mut self, id: SessionId, request: &Request<'_>) {
        if request.len() == 3 {
            let address = Some(String::from_utf8_lossy(request.arg(2)).into_owned());
            let filter = ClientFilter { address, ..ClientFilter::default() };
            return self.ask_workers(id, &Question::Kill(filter), Finish::Found);
        }
        let own = self.sessions.get(id).map_or(0, |session| session.client);
        match kill_filter(request, own) {
            Ok(filter) if filter.user.is_some() => self.kill_user(id, filter),
            Ok(filter) => self.ask_workers(id, &Question::Kill(filter), Finish::Count),
            Err(text) => self.answer_error(id, &text),
        }
    }

    /// CLIENT KILL with USER: only a shard knows whether there is such a user.
    fn kill_user(&mut self, id: SessionId, filter: ClientFilter) {
        let user = filter.user.clone().unwrap_or_default();
        let finish = dispatch::Finish::KillUser(Box::new(filter));
        let Some(seat) = self.reserve_parts(id, 1, finish) else {
            return;
        };
        let token = Token::Part { session: id, seat, part: 0, writes: false };
        let shard = self.any_shard();
        self.send(shard, token, |out| {
            // None of its own clients ever has this id.
            write::request(out, &["CLIENT", "KILL", "USER", &user, "ID", "9223372036854775807"]);
        });
    }

    /// A shard has said whether there is the user whose sessions are to be closed.
    pub(super) fn user_known(
        &mut self,
        id: SessionId,
        seat: SeatNumber,
        filter: &ClientFilter,
        reply: &[u8],
    ) {
        if reply.starts_with(b"-") {
            return self.fill_seat(id, seat, reply);
        }
        self.put_question(id, seat, &Question::Kill(filter.clone()), Finish::Count);
    }

    /// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`. Source: redis `networking.c`, `clientUnblockCommand`.
    fn unblock(&mut self, id: SessionId, request: &Request<'_>) {
        let error = match request.get(3) {
            None => false,
            Some(reason) if reason.eq_ignore_ascii_case(b"timeout") => false,
            Some(reason) if reason.eq_ignore_ascii_case(b"error") => true,
            Some(_) => return self.answer_error(id, text::UNBLOCK_REASON),
        };
        let Some(client) = parse_int(request.arg(2)) else {
            return self.answer_error(id, text::NOT_AN_INTEGER);
        };
        // No client has an id below 1, and nobody is asked about one.
        let client = u64::try_from(client).unwrap_or(0);
        self.ask_workers(id, &Question::Unblock { client, error }, Finish::Count);
    }

    // ---------------------------------------------------------------- questions to all workers

    pub(super) fn ask_workers(&mut self, id: SessionId, question: &Question, finish: Finish) {
        let mute = self.next_is_mute(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let seat = session.seats.reserve(mute);
        self.put_question(id, seat, question, finish);
    }

    /// Asks all workers; their answers will fill a seat that is reserved already.
    pub(super) fn put_question(
        &mut self,
        id: SessionId,
        seat: SeatNumber,
        question: &Question,
        finish: Finish,
    ) {
        let missing = self.setup.workers;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let answers = Vec::with_capacity(usize::from(missing));
        self.asked.insert(ticket, Asked { session: id, seat, missing, answers, finish });
        let from = self.setup.worker;
        for worker in (0..self.setup.workers).map(WorkerId).filter(|worker| *worker != from) {
            let question = question.clone();
            let mail = Mail::Ask { from: Asker::Worker(from), ticket, question };
            self.outputs.push_back(Output::Mail { to: Destination::Worker(worker), mail });
        }
        let answer = self.answer_question(question, Some(id));
        self.all_answered(ticket, answer);
    }

    /// ACL SETUSER, DELUSER, LOAD; CONFIG RESETSTAT: for all shards; then every worker has
    /// something to do too, and the client is told when it has been done.
    pub(super) fn ask_everybody(&mut self, id: SessionId, request: &Request<'_>, then: Question) {
        let mut bytes = Vec::new();
        let words: Vec<&[u8]> = (0..request.len()).map(|at| request.arg(at)).collect();
        write::request(&mut bytes, &words);
        let len = bytes.len();
        let whole = Request { bytes: &bytes, args: request.args };
        self.fan_out(id, &whole, len, false, super::Finish::Tell(then));
    }

    /// All shards have answered such a command.
    pub(super) fn tell_workers(
        &mut self,
        id: SessionId,
        seat: SeatNumber,
        question: &Question,
        parts: &[&[u8]],
    ) {
        let mut reply = Vec::new();
        let merge = Merge { how: How::AllSucceeded, may_write: true };
        self.merger.merge(merge, &[], parts, &mut reply);
        self.put_question(id, seat, question, Finish::Said(reply));
    }

    pub(super) fn mail(&mut self, mail: Mail) {
        match mail {
            Mail::Ask { from, ticket, question } => {
                let answer = self.answer_question(&question, None);
                let to = match from {
                    Asker::Worker(worker) => Destination::Worker(worker),
                    Asker::Host => Destination::Host,
                };
                let worker = self.setup.worker;
                let mail = Mail::Answer { ticket, worker, answer };
                self.outputs.push_back(Output::Mail { to, mail });
            }
            Mail::Answer { ticket, answer, .. } => self.all_answered(ticket, answer),
            Mail::Map(map) => self.map_changed(map),
            Mail::Replicas(replicas) => self.replicas_told(&replicas),
            Mail::Doubt => self.look_again(),
        }
    }

    fn all_answered(&mut self, ticket: u64, answer: Answer) {
        // The client may have gone since.
        let Some(asked) = self.asked.get_mut(&ticket) else {
            return;
        };
        asked.answers.push(answer);
        asked.missing -= 1;
        if asked.missing > 0 {
            return;
        }
        let Some(Asked { session, seat, answers, finish, .. }) = self.asked.remove(&ticket) else {
            return;
        };
        if let Finish::PubSub(tally) = finish {
            return self.tally(session, seat, tally, answers);
        }
        let mut lines = Vec::new();
        let mut count = 0;
        for answer in answers {
            match answer {
                Answer::Clients(more) => lines.extend(more),
                Answer::Count(more) => count += more,
                Answer::Shards(_) | Answer::PubSub(_) => {}
            }
        }
        let mut reply = Vec::new();
        match finish {
            Finish::Lines => {
                lines.sort_unstable();
                let text: String = lines.into_iter().map(|(_, line)| line).collect();
                write::text(&mut reply, self.resp(session), text.as_bytes());
            }
            Finish::Count => write::int(&mut reply, i64::try_from(count).unwrap_or(i64::MAX)),
            Finish::Found if count > 0 => write::simple(&mut reply, "OK"),
            Finish::Found | Finish::PubSub(_) => write::error(&mut reply, text::NO_SUCH_CLIENT),
            Finish::Said(said) => reply = said,
        }
        self.fill_seat(session, seat, &reply);
    }

    /// Fills a seat with a whole reply of our own.
    pub(super) fn fill_seat(&mut self, id: SessionId, seat: SeatNumber, reply: &[u8]) {
        let held_max = self.reply_held_max();
        if let Some(session) = self.sessions.get_mut(id) {
            let out = super::serve::out_of(&mut session.out, &mut self.memory);
            session.seats.fill(seat, reply, true, held_max, out);
        }
        self.touch(id);
    }

    fn answer_question(&mut self, question: &Question, asker: Option<SessionId>) -> Answer {
        match question {
            Question::Pause { time, all } => {
                self.pause(*time, *all);
                Answer::Count(0)
            }
            Question::Unpause => {
                self.unpause();
                Answer::Count(0)
            }
            Question::Shards => Answer::Shards(self.views()),
            Question::Clients(filter) => {
                let matching = self.sessions.iter().filter(|(_, s)| self.matches(s, filter));
                Answer::Clients(matching.map(|(_, s)| (s.client, self.line(s))).collect())
            }
            Question::Kill(filter) => {
                let doomed: Vec<SessionId> = self
                    .sessions
                    .iter()
                    .filter(|(_, session)| self.matches(session, filter))
                    .map(|(id, _)| id)
                    .collect();
                let count = doomed.len() as u64;
                for id in doomed {
                    if Some(id) == asker {
                        // It is to read the answer first.
                        if let Some(session) = self.sessions.get_mut(id) {
                            session.mode = Mode::Closing;
                        }
                    } else {
                        self.close_session(id, false);
                    }
                }
                Answer::Count(count)
            }
            Question::PubSub(question) => self.tell_of_channels(question),
            Question::ResetStats => {
                self.stats().reset();
                Answer::Count(0)
            }
            Question::ForgetRights => {
                self.forget_rights();
                Answer::Count(0)
            }
            Question::Unblock { client, error } => {
                let found = self.by_client.get(client).copied();
                Answer::Count(u64::from(found.is_some_and(|id| {
                    self.unblock_wait(id, *error) || self.unblock_blocked(id, *error)
                })))
            }
        }
    }

    fn matches(&self, session: &Session, filter: &ClientFilter) -> bool {
        let age = self.now.since(session.since).as_secs();
        (filter.ids.is_empty() || filter.ids.contains(&session.client))
            && filter.address.as_ref().is_none_or(|address| *address == session.peer.address)
            && filter.local.as_ref().is_none_or(|local| *local == session.peer.local)
            && filter.user.as_ref().is_none_or(|user| *user == self.user(session))
            && filter.max_age.is_none_or(|least| age >= least)
            && filter
                .kind
                .as_ref()
                .is_none_or(|kind| kind == if session.inbox.listens { "pubsub" } else { "normal" })
            && filter.skip != Some(session.client)
    }

    /// A session's line in CLIENT LIST, with a line end.
    fn line(&self, session: &Session) -> String {
        let held = session.intake.as_ref().map_or(0, Intake::len);
        let room = session.intake.as_ref().map_or(0, Intake::capacity) - held;
        let mut flags = String::new();
        for (set, flag) in [
            (session.inbox.listens, 'P'),
            (is_blocked(session), 'b'),
            (matches!(session.mode, Mode::Closing), 'c'),
            (session.transaction.as_ref().is_some_and(|t| t.is_open()), 'x'),
            (session.monitors, 'O'),
            (session.tracking.is_some(), 't'),
            (session.tracking.as_ref().is_some_and(|tracking| tracking.bcast), 'B'),
            (session.profile.no_evict, 'e'),
            (session.profile.no_touch, 'T'),
        ] {
            if set {
                flags.push(flag);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let memory = room + held + session.out.capacity() + size_of::<Session>();
        let command = session
            .last_command
            .map_or("NULL", |spec| self.router.table().spec(spec).name.as_ref());
        let transaction = session.transaction.as_deref();
        let queue = transaction.and_then(|t| t.queue.as_ref());
        let multi = queue.map_or(-1, |queue| i64::try_from(queue.length).unwrap_or(i64::MAX));
        let watch = u8::from(transaction.is_some_and(|t| t.watching));
        let db = self.lanes.key(session.lane).db;
        let known = self.by_client.get(&session.client);
        let [sub, psub, ssub] = known.map_or([0; 3], |id| self.feeds.book.counts(*id));
        let redirect = if session.tracking.is_some() { 0 } else { -1 };
        let mut line = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(
            line,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={db} sub={sub} \
             psub={psub} ssub={ssub} multi={multi} watch={watch} qbuf={held} qbuf-free={room} \
             argv-mem=0 multi-mem=0 rbs={} rbp=0 obl={} oll=0 omem=0 tot-mem={memory} events={} \
             cmd={command} user={} redir={redirect} resp={} lib-name={} lib-ver={}",
            session.client,
            session.peer.address,
            session.peer.local,
            session.peer.fd,
            session.profile.name,
            self.now.since(session.since).as_secs(),
            self.now.since(session.active).as_secs(),
            session.out.capacity(),
            session.out.len(),
            if session.out.is_empty() { "r" } else { "rw" },
            self.user(session),
            session.resp.number(),
            session.profile.lib_name,
            session.profile.lib_version,
        );
        line
    }
}

/// `CLIENT LIST [TYPE type] [ID id [id ...]]`. Source: redis `networking.c`, `clientListCommand`.
fn list_filter(request: &Request<'_>) -> Result<ClientFilter, String> {
    let mut filter = ClientFilter::default();
    match (request.get(2), request.len()) {
        (None, _) => {}
        (Some(option), 4) if option.eq_ignore_ascii_case(b"type") => {
            filter.kind = Some(kind(request.arg(3))?);
        }
        (Some(option), 4..) if option.eq_ignore_ascii_case(b"id") => {
            for at in 3..request.len() {
                let id = parse_int(request.arg(at)).and_then(|id| u64::try_from(id).ok());
                filter.ids.push(id.ok_or_else(|| text::INVALID_CLIENT_ID.to_owned())?);
            }
        }
        _ => return Err(text::SYNTAX.to_owned()),
    }
    Ok(filter)
}

/// Source: redis `networking.c`, `getClientTypeByName`.
fn kind(name: &[u8]) -> Result<String, String> {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    if ["normal", "slave", "replica", "pubsub", "master", "primary"].contains(&name.as_str()) {
        Ok(name)
    } else {
        Err(format!("ERR Unknown client type '{name}'"))
    }
}

fn kill_filter(request: &Request<'_>, own: u64) -> Result<ClientFilter, String> {
    let mut filter = ClientFilter { skip: Some(own), ..ClientFilter::default() };
    let mut at = 2;
    while let Some(option) = request.get(at) {
        let value = request.get(at + 1).ok_or_else(|| text::SYNTAX.to_owned())?;
        let shown = String::from_utf8_lossy(value).into_owned();
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                // Valkey takes several ids, up to the next option.
                while let Some(value) = request.get(at + 1) {
                    match parse_int(value) {
                        Some(id) if id > 0 => filter.ids.push(id.unsigned_abs()),
                        _ if filter.ids.is_empty() => {
                            return Err(text::CLIENT_ID_RANGE.to_owned());
                        }
                        _ => break,
                    }
                    if filter.ids.len() > limits::CLIENT_FILTER_IDS_MAX {
                        return Err(text::SYNTAX.to_owned());
                    }
                    at += 1;
                }
                at += 1;
                continue;
            }
            b"maxage" => match parse_int(value) {
                Some(age) if age > 0 => filter.max_age = Some(age.unsigned_abs()),
                Some(_) => return Err(text::MAX_AGE_RANGE.to_owned()),
                None => return Err(text::MAX_AGE_NOT_AN_INTEGER.to_owned()),
            },
            b"type" => filter.kind = Some(kind(value)?),
            b"addr" => filter.address = Some(shown),
            b"laddr" => filter.local = Some(shown),
            b"user" => filter.user = Some(shown),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip = Some(own),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip = None,
            _ => return Err(text::SYNTAX.to_owned()),
        }
        at += 2;
    }
    Ok(filter)
}
