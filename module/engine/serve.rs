//! A session's bytes become requests, one after the other, until something holds it.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::ids::SessionId;
use crate::limits;
use crate::resp::{Intake, Outbox, Parsed, Parser, ProtocolError, Request, Version, write};
use crate::session::{Holds, Inbox, Profile, Reads, ReplyMode, Seats};

use super::dispatch::Served;
use super::link::TooMuch;
use super::upload::Target;
use super::{Engine, Level, Mode, Output, Peer, Session, Then};

impl Engine {
    pub(super) fn accepted(&mut self, id: SessionId, peer: Peer) {
        // Ids of different workers never meet: each counts in its own residue class.
        let client =
            self.next_client * u64::from(self.setup.workers) + u64::from(self.setup.worker.0) + 1;
        self.next_client += 1;
        self.by_client.insert(client, id);
        let session = Session {
            client,
            peer,
            since: self.now,
            active: self.now,
            lane: self.lanes.first,
            resp: Version::default(),
            pins: Vec::new(),
            transaction: None,
            tracking: None,
            monitors: false,
            profile: Profile::default(),
            last_command: None,
            intake: None,
            parser: Parser::default(),
            seats: Seats::default(),
            out: Outbox::default(),
            mode: Mode::Serving,
            holds: Holds::default(),
            ended: false,
            reading: true,
            touched: false,
            pausing: false,
            pressing: false,
            reads: Reads::default(),
            on_replicas: false,
            reply: ReplyMode::On,
            marks: crate::acks::SessionMarks::default(),
            moved: self.now,
            inbox: Inbox::default(),
        };
        self.sessions.insert(id, session);
        self.lanes.enter(self.lanes.first);
        self.stats().connections_received.add(1);
        self.stats().connected_clients.add(1);
    }

    pub(super) fn session_read(&mut self, id: SessionId, bytes: usize) {
        self.stats().net_input_bytes.add(bytes as u64);
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.active = now;
        if let Some(intake) = &mut session.intake {
            intake.filled(bytes);
        }
        self.touch(id);
    }

    pub(super) fn session_wrote(&mut self, id: SessionId, bytes: usize) {
        self.stats().net_output_bytes.add(bytes as u64);
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.out.wrote(bytes);
        if bytes > 0 {
            session.moved = now;
        }
        if session.out.is_empty() {
            let memory = std::mem::take(&mut session.out).into_memory();
            self.keep_memory(memory);
        }
        self.touch(id);
    }

    pub(super) fn session_ended(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.ended = true;
            session.reading = false;
        }
        self.touch(id);
    }

    pub(super) fn session_closed(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        self.by_client.remove(&session.client);
        self.lanes.leave(session.lane, self.now);
        self.stats().connected_clients.sub(1);
        self.cancel_wait(id);
        self.detours.forget(id);
        self.readonly_sessions -= usize::from(session.reads == Reads::ByReplicas);
        if session.holds.pause {
            self.stats().blocked_clients.sub(1);
        }
        self.unpin_all(&session);
        self.feeds.book.forget(id, self.now);
        self.carry_words();
        if session.inbox.listens {
            self.stats().pubsub_clients.sub(1);
        }
        if let Some(mut intake) = session.intake {
            // There may be an AUTH in what was never served.
            intake.consume(intake.len());
            intake.wipe();
            self.keep_intake(intake);
        }
        self.asked.retain(|_, asked| asked.session != id);
        if session.pausing {
            self.unpause_links(id);
        }
    }

    /// Ends a session from our side.
    pub(super) fn close_session(&mut self, id: SessionId, after_flush: bool) {
        if self.sessions.get(id).is_some() {
            if after_flush {
                // Nothing comes behind what it is owed.
                self.stop_listening(id);
                self.flush_session(id);
            }
            self.outputs.push_back(Output::CloseSession { session: id, after_flush });
            if !after_flush {
                self.session_closed(id);
            }
        }
    }

    fn flush_session(&mut self, id: SessionId) {
        if self.sessions.get(id).is_some_and(|session| !session.out.is_empty()) {
            self.outputs.push_back(Output::FlushSession { session: id });
        }
    }

    /// Looks at a session to which something has happened: serves its requests, moves it on from
    /// what it waited for, writes what it is owed, and decides whether it is read on.
    pub(super) fn settle_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.touched = false;
        loop {
            self.update_holds(id);
            if let Some(session) = self.sessions.get_mut(id) {
                session.release_messages();
            }
            self.serve(id);
            if !self.next_mode(id) {
                break;
            }
        }
        self.update_holds(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let waiting_bytes = session.intake.as_ref().map_or(0, Intake::len);
        let (served, full) = match session.mode {
            Mode::Serving => (!session.holds.any(), false),
            Mode::Closing => (true, true),
            Mode::Uploading(_) => (false, false),
            Mode::Draining(_) | Mode::Waiting | Mode::Blocked { .. } | Mode::Joining => {
                (false, waiting_bytes >= limits::SESSION_READ_BYTES)
            }
        };
        let closing = served
            && session.seats.is_empty()
            && (session.ended || matches!(session.mode, Mode::Closing));
        // Who sends no more doesn't wait for counts, and the rest of a large request never comes.
        // The replies before it are still taken.
        let abandoned = session.ended
            && match session.mode {
                Mode::Waiting | Mode::Blocked { .. } | Mode::Joining => true,
                Mode::Uploading(_) => !session.holds.any(),
                _ => false,
            };
        let reading = !session.ended && !session.holds.any() && !full;
        if reading != session.reading {
            session.reading = reading;
            self.outputs.push_back(Output::ReadSession { session: id, on: reading });
        }
        let pausing = session.pausing;
        self.flush_session(id);
        if pausing {
            self.unpause_links(id);
        }
        if closing || abandoned {
            self.close_session(id, true);
        }
    }

    fn update_holds(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        // Each hold is let go at half of the bound that set it, so that it doesn't flutter.
        let output = session.out.len() + session.seats.held_bytes();
        let output_max = usize::try_from(self.settings.client_output_max).unwrap_or(usize::MAX);
        let bound = |held: bool, high: usize| if held { high / 2 } else { high };
        session.holds.output = output > bound(session.holds.output, output_max);
        session.pressing &= session.seats.held_bytes() > 0;
        session.holds.seats =
            session.seats.len() > bound(session.holds.seats, limits::SESSION_SEATS_MAX);
    }

    /// What a session waited for may be there: moves it on. Returns whether it did.
    fn next_mode(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        if !matches!(session.mode, Mode::Draining(_)) {
            return false;
        }
        // A WAIT has its own seat already, behind those that it waits for.
        let own = match &session.mode {
            Mode::Draining(Then::Wait(wait)) => usize::from(wait.has_seat()),
            _ => 0,
        };
        if session.seats.len() > own {
            return false;
        }
        if let Mode::Draining(Then::Upload(Target { shard, .. }) | Then::Pin(shard)) = session.mode
            && self.waits_for_shard(id, shard)
        {
            return false;
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let Mode::Draining(then) = std::mem::replace(&mut session.mode, Mode::Serving) else {
            return false;
        };
        match then {
            Then::Serve | Then::Pin(_) => {}
            Then::Wait(wait) => self.begin_wait(id, wait),
            Then::Upload(target) => self.begin_upload(id, target),
        }
        true
    }

    /// Serves a session's requests until there is none, or something holds it.
    fn serve(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(mut intake) = session.intake.take() else {
            return;
        };
        let mut parser = std::mem::take(&mut session.parser);
        while !intake.is_empty() {
            let next = self.forward_whole(id, &mut intake, &mut parser);
            if intake.is_empty() || !self.serve_one(id, &mut intake, &mut parser, next) {
                break;
            }
        }
        match self.sessions.get_mut(id) {
            Some(session) if intake.is_empty() => {
                session.parser = parser;
                self.keep_intake(intake);
            }
            Some(session) => {
                session.parser = parser;
                session.intake = Some(intake);
            }
            None => self.keep_intake(intake),
        }
    }

    /// Serves one request, whose length is `next` if it has been parsed. Returns whether there may
    /// be another to serve now.
    fn serve_one(
        &mut self,
        id: SessionId,
        intake: &mut Intake,
        parser: &mut Parser,
        next: Option<usize>,
    ) -> bool {
        let Some(session) = self.sessions.get(id) else {
            return false;
        };
        match session.mode {
            _ if session.holds.any() => return false,
            Mode::Serving => {}
            Mode::Uploading(_) => return self.feed_upload(id, intake),
            Mode::Closing => {
                intake.consume(intake.len());
                return false;
            }
            Mode::Draining(_) | Mode::Waiting | Mode::Blocked { .. } | Mode::Joining => {
                return false;
            }
        }
        let parsed = match next {
            Some(len) => Parsed::Complete { len },
            None => parser.parse(intake.bytes()),
        };
        match parsed {
            Parsed::Complete { len } => {
                let request = Request { bytes: intake.bytes(), args: parser.args() };
                let secret = has_password(request.arg(0));
                if self.dispatch(id, &request, len) == Served::Later {
                    return false;
                }
                intake.consume(len);
                if secret {
                    intake.wipe();
                }
                self.stats().commands_processed.add(1);
            }
            Parsed::Inline { len, args } => {
                let secret = has_password(&args[0]);
                if self.serve_inline(id, args) == Served::Later {
                    return false;
                }
                intake.consume(len);
                if secret {
                    intake.wipe();
                }
                self.stats().commands_processed.add(1);
            }
            Parsed::Empty { len } => intake.consume(len),
            Parsed::NeedMore => return self.serve_large(id, intake, parser),
            Parsed::Invalid(error) => {
                self.protocol_error(id, &error);
                intake.consume(intake.len());
                return false;
            }
        }
        self.update_holds(id);
        true
    }

    /// An inline request goes on its way as the multibulk that it stands for: what is forwarded is
    /// always in one form.
    fn serve_inline(&mut self, id: SessionId, args: Vec<Vec<u8>>) -> Served {
        let args = Zeroizing::new(args);
        let size = args.iter().map(|arg| arg.len() + 32).sum::<usize>() + 32;
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        write::request(&mut bytes, &args);
        let mut parser = Parser::default();
        match parser.parse(&bytes) {
            Parsed::Complete { len } => {
                self.dispatch(id, &Request { bytes: &bytes, args: parser.args() }, len)
            }
            _ => Served::Done,
        }
    }

    pub(super) fn protocol_error(&mut self, id: SessionId, error: &ProtocolError) {
        self.stats().protocol_errors.add(1);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let line = format!(
            "client {} ({}) sent what is no request ({}); it is told so and closed",
            session.client,
            session.peer.address,
            error.text()
        );
        session.mode = Mode::Closing;
        self.answer(id, |out| write::error(out, &error.text()));
        self.log(Level::Verbose, line);
    }

    /// Memory for the next outbox that needs some.
    pub(super) fn keep_memory(&mut self, memory: Vec<u8>) {
        if memory.capacity() <= limits::BUFFER_KEPT_BYTES
            && self.memory.len() < limits::BUFFERS_KEPT
        {
            self.memory.push(memory);
        }
    }

    fn keep_intake(&mut self, intake: Intake) {
        if intake.capacity() <= limits::BUFFER_KEPT_BYTES
            && self.intakes.len() < limits::BUFFERS_KEPT
        {
            let mut intake = intake;
            intake.consume(intake.len());
            self.intakes.push(intake);
        }
    }

    /// Now and then: closes who is idle for too long, or holds up others.
    pub(super) fn sweep(&mut self) {
        let idle = self.settings.timeout;
        let now = self.now;
        if !idle.is_zero() {
            let is_idle = |session: &Session| {
                let quiet = matches!(session.mode, Mode::Serving) && session.seats.is_empty();
                // Who listens has nothing to say. Who is inside is closed by whoever let it in.
                quiet
                    && !session.peer.is_inside()
                    && !session.inbox.listens
                    && now.since(session.active) >= idle
            };
            let idlers: Vec<SessionId> = self
                .sessions
                .iter()
                .filter(|(_, session)| is_idle(session))
                .map(|(id, _)| id)
                .collect();
            for id in idlers {
                self.stats().timeouts.add(1);
                self.close_session(id, false);
            }
        }
        self.end_stalls();
    }

    /// Nobody is held up by another client's replies for longer than `client-stall-timeout`: a
    /// client that takes nothing of a large reply is closed; replies that wait for earlier ones are
    /// no longer waited with.
    fn end_stalls(&mut self) {
        let patience = self.settings.client_stall_timeout;
        let mut stalled = Vec::new();
        for (_, link) in self.links.iter() {
            let Some(pause) = link.pause.filter(|_| link.pipeline.owed() > 1) else {
                continue;
            };
            let Some(session) = self.sessions.get(pause.session) else {
                continue;
            };
            let since = match pause.of {
                TooMuch::Output => session.moved,
                TooMuch::Held(_) => pause.since,
            };
            if self.now.since(since) >= patience {
                stalled.push(pause);
            }
        }
        for pause in stalled {
            match pause.of {
                TooMuch::Output => self.close_stalled(pause.session, patience),
                TooMuch::Held(_) => {
                    if let Some(session) = self.sessions.get_mut(pause.session) {
                        session.pressing = true;
                    }
                    self.touch(pause.session);
                }
            }
        }
    }

    fn close_stalled(&mut self, id: SessionId, patience: Duration) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let line = format!(
            "client {} ({}) takes nothing of a large reply, behind which others wait: closed after \
             {} ms",
            session.client,
            session.peer.address,
            patience.as_millis()
        );
        self.stats().stalled_clients.add(1);
        self.log(Level::Warning, line);
        self.close_session(id, false);
    }

    // ---------------------------------------------------------------- answers of our own

    /// Answers a request without asking anybody.
    pub(super) fn answer(&mut self, id: SessionId, reply: impl FnOnce(&mut Vec<u8>)) {
        if let Some(captured) = &mut self.captured {
            return reply(captured);
        }
        let held_max = self.reply_held_max();
        let mute = self.next_is_mute(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let out = out_of(&mut session.out, &mut self.memory);
        if session.seats.is_empty() {
            if !mute {
                reply(out);
            }
        } else {
            let mut bytes = Vec::new();
            reply(&mut bytes);
            let seat = session.seats.reserve(mute);
            session.seats.fill(seat, &bytes, true, held_max, out);
        }
        self.touch(id);
    }

    /// Answers with an error of our own.
    pub(super) fn answer_error(&mut self, id: SessionId, text: &str) {
        self.stats().error_replies.add(1);
        self.answer(id, |out| write::error(out, text));
    }

    /// Whether the request that is being served is not to be answered.
    pub(super) fn next_is_mute(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return true;
        };
        session.reply.next_is_mute()
    }

    pub(super) fn reply_held_max(&self) -> usize {
        usize::try_from(self.settings.reply_held_max).unwrap_or(usize::MAX)
    }
}

/// Whether there may be a password in the requests of a command.
fn has_password(name: &[u8]) -> bool {
    // Most names are ruled out by their lengths.
    match name.len() {
        3 => name.eq_ignore_ascii_case(b"acl"),
        4 => name.eq_ignore_ascii_case(b"auth"),
        5 => name.eq_ignore_ascii_case(b"hello"),
        _ => false,
    }
}

/// Where to append a session's replies; memory comes from the pool when it has none.
pub(super) fn out_of<'a>(out: &'a mut Outbox, memory: &mut Vec<Vec<u8>>) -> &'a mut Vec<u8> {
    if out.capacity() == 0
        && let Some(memory) = memory.pop()
    {
        *out = Outbox::reusing(memory);
    }
    out.end()
}
