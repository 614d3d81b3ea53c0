//! One worker: its turn, and what is done with each thing that can happen in it.
//!
//! ```text
//!   sleep -> mail -> accept, read, connect -> timers -> TurnEnd -> outputs, one write each -> bells
//!     ^                                                                                        |
//!     +----------------------------------------------------------------------------------------+
//! ```
//!
//! The order within a turn: bytes before timers, so that an answer which has come in time counts
//! even if its reader was busy; `TurnEnd` after both, so that it sees all that this turn brought;
//! writes last, so that all that goes to one connection goes in one.
//!
//! Events on the bell need no handling: it has ended the sleep, and the mail is opened in every
//! turn.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::engine::{Destination, Event, Level, Output};
use crate::ids::{LinkId, Mirror, SessionId, Time, WorkerId};
use crate::limits;
use crate::os::clock;
use crate::os::epoll::{Epoll, Events, Interest, Readiness};
use crate::os::socket::{Written, is_out_of_resources};
use crate::os::tls::Tls;
use crate::os::wire::{Wire, begins_with_tls};
use crate::settings::Settings;
use crate::stats::WorkerStats;
use crate::text;

use super::alarm::{Alarm, Alarms};
use super::connection::{Connection, Connections, Reading, Watched, Who};
use super::dial::Attempt;
use super::fleet::Shared;
use super::guest::GuestId;
use super::listener::{Newcomer, Reception, Ticket};
use super::machine::{Machine, Place};
use super::mailbox::{Letter, Mailbox};
use super::names::Lookup;

/// What a worker works with, made before its thread starts.
pub(super) struct Station {
    pub(super) shared: Arc<Shared>,
    pub(super) epoll: Epoll,
    pub(super) reception: Reception,
    pub(super) tls: Arc<Tls>,
    pub(super) lookups: Sender<Lookup>,
}

/// See the module's picture.
pub(super) struct Worker<M> {
    pub(super) id: WorkerId,
    pub(super) machine: M,
    pub(super) shared: Arc<Shared>,
    pub(super) epoll: Epoll,
    pub(super) settings: Arc<Settings>,
    /// What new TLS connections are made with.
    pub(super) tls: Arc<Tls>,
    pub(super) lookups: Sender<Lookup>,
    pub(super) alarms: Alarms,
    /// Links whose connection isn't made yet.
    pub(super) attempts: Mirror<LinkId, Attempt>,
    /// Links that failed while the engine was asking for something. It hears of them in the next
    /// turn, so that one which tries again at once can't keep this turn from ending.
    pub(super) failures: Vec<(LinkId, String)>,
    pub(super) connections: Connections,
    reception: Reception,
    /// Clients without a socket.
    pub(super) guests: HashMap<GuestId, SessionId>,
    /// Who gets the next client.
    next_host: u16,
    /// Steps of TLS handshakes that were done in this turn.
    pub(super) handshakes: usize,
    /// Connections that have something to be read of which the kernel knows nothing, each once.
    eager: Vec<Who>,
    /// Connections that have something to be written, each once.
    dirty: Vec<Who>,
    /// Those of them that have been written to in this turn, and are for the next.
    later: Vec<Who>,
    /// Workers that got mail in this turn.
    bells: Vec<WorkerId>,
    turn: u64,
    stopping: bool,
}

impl<M: Machine> Worker<M> {
    pub(super) fn new(place: Place, station: Station, machine: M) -> Self {
        let Station { shared, epoll, reception, tls, lookups } = station;
        Self {
            id: place.worker,
            machine,
            shared,
            epoll,
            settings: place.settings,
            tls,
            lookups,
            alarms: Alarms::default(),
            attempts: Mirror::default(),
            failures: Vec::new(),
            connections: Connections::default(),
            guests: HashMap::new(),
            reception,
            next_host: 0,
            handshakes: 0,
            eager: Vec::new(),
            dirty: Vec::new(),
            later: Vec::new(),
            bells: Vec::new(),
            turn: 0,
            stopping: false,
        }
    }

    /// Turn after turn, until a letter says stop.
    pub(super) fn run(mut self) {
        let bell = self.mailbox().bell().fd();
        let watched = self.epoll.add(bell, Interest::EDGE_READ, Watched::Bell.token());
        if let Err(error) = watched.and_then(|()| self.watch_listeners(Interest::READ)) {
            // Without its bell a worker can't even be stopped.
            panic!("the kernel refuses to watch a worker's own descriptors: {error}");
        }
        let mut events = Events::with_capacity(limits::TURN_EVENTS_MAX);
        // What the engine asked for when it was made.
        self.carry_out(clock::now());
        while !self.stopping {
            self.sleep(&mut events);
            self.take_turn(&events, clock::now());
        }
    }

    fn sleep(&mut self, events: &mut Events) {
        let timeout = self.timeout();
        let sleeps = timeout != Some(Duration::ZERO) && self.mailbox().may_sleep();
        let waited = self.epoll.wait(events, if sleeps { timeout } else { Some(Duration::ZERO) });
        self.mailbox().awake();
        if let Err(error) = waited {
            panic!("the kernel refuses to wait for a worker's descriptors: {error}");
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.dirty.is_empty() || !self.eager.is_empty() || !self.failures.is_empty() {
            return Some(Duration::ZERO);
        }
        let first =
            [self.machine.next_timeout(), self.alarms.next()].into_iter().flatten().min()?;
        Some(first.since(clock::now()))
    }

    fn take_turn(&mut self, events: &Events, now: Time) {
        self.turn += 1;
        self.handshakes = 0;
        self.stats().turns.add(1);
        for (link, reason) in std::mem::take(&mut self.failures) {
            self.machine.handle(Event::LinkFailed { link, reason }, now);
        }
        self.open_mail(now);
        for who in std::mem::take(&mut self.eager) {
            self.read_eager(who, now);
        }
        let mut index = 0;
        while let Some((token, ready)) = events.get(index) {
            index += 1;
            match Watched::of(token) {
                Watched::Bell => {}
                Watched::Listener(door) => self.accept_clients(door as usize, now),
                Watched::Connection(who) => self.connection_ready(who, ready, now),
            }
        }
        while let Some(alarm) = self.alarms.due(now) {
            self.alarm_rings(alarm, now);
        }
        if self.machine.next_timeout().is_some_and(|due| due <= now) {
            self.machine.handle(Event::Timer, now);
        }
        self.machine.handle(Event::TurnEnd, now);
        self.carry_out(now);
        for worker in self.bells.drain(..) {
            self.shared.mailbox(worker).wake();
        }
    }

    fn open_mail(&mut self, now: Time) {
        for _ in 0..limits::TURN_LETTERS_MAX {
            let Some(letter) = self.mailbox().take() else {
                return;
            };
            match letter {
                Letter::Newcomer(newcomer) => self.admit(newcomer, now),
                Letter::Mail(mail) => self.machine.handle(Event::Mail(mail), now),
                Letter::Guest(guest, word) => self.guest_says(guest, word, now),
                Letter::Settings(settings) => self.change_settings(settings, now),
                Letter::Tls(tls) => self.tls = tls,
                Letter::Resolved(link, resolved) => self.resolved(link, resolved),
                Letter::Stop => self.stopping = true,
            }
        }
    }

    fn change_settings(&mut self, settings: Arc<Settings>, now: Time) {
        if !self.reception.doors.is_empty() && settings.maxclients != self.settings.maxclients {
            match self.shared.clients_max(&settings) {
                Ok(max) => self.reception.clients_max = max,
                Err(room) => self.log(Level::Warning, &room.to_string()),
            }
        }
        self.settings = Arc::clone(&settings);
        self.machine.handle(Event::Settings(settings), now);
    }

    fn alarm_rings(&mut self, alarm: Alarm, now: Time) {
        match alarm {
            Alarm::GiveUpConnecting(link) => self.connect_timed_out(link),
            Alarm::CloseUnflushed(session) => self.end(Who::Session(session), "", now),
            Alarm::GiveUpArriving(session) => self.arrival_timed_out(session),
            Alarm::AcceptAgain => {
                if let Err(error) = self.watch_listeners(Interest::READ) {
                    self.log(Level::Warning, &format!("can't watch a listener: {error}"));
                    self.alarms.set(now + limits::ACCEPT_REST, Alarm::AcceptAgain);
                }
            }
        }
    }

    // ---------------------------------------------------------------------------- newcomers

    fn watch_listeners(&self, interest: Interest) -> io::Result<()> {
        for (index, door) in (0u32..).zip(&self.reception.doors) {
            let (fd, token) = (door.listener.fd(), Watched::Listener(index).token());
            match self.epoll.modify(fd, interest, token) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.epoll.add(fd, interest, token)?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn accept_clients(&mut self, door: usize, now: Time) {
        for _ in 0..limits::TURN_ACCEPTS_MAX {
            let Some(door) = self.reception.doors.get(door) else {
                return;
            };
            let (stream, address) = match door.listener.accept(self.shared.space) {
                Ok(client) => client,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_out_of_resources(&error) => return self.rest(&error, now),
                // A client that went away before it was accepted.
                Err(_) => continue,
            };
            let Some(ticket) = Ticket::take(&self.shared.clients, self.reception.clients_max)
            else {
                self.stats().rejected_connections.add(1);
                if !door.secure {
                    // Whoever can't take even this doesn't get it.
                    let _ = stream.write([format!("-{}\r\n", text::MAX_CLIENTS).as_bytes(), b""]);
                }
                continue;
            };
            let (peer, secure) = (door.peer(&stream, &address), door.secure);
            if door.unix.is_none() {
                // These fail only if the client is gone already, which its first read will tell.
                let _ = stream.set_nodelay();
                let _ = stream.set_keepalive(self.settings.tcp_keepalive);
            }
            self.deal(Newcomer { stream, peer, ticket, secure }, now);
        }
    }

    /// The process has no more descriptors. To ask again at once would be to spin; clients wait in
    /// the kernel's queue.
    fn rest(&mut self, error: &io::Error, now: Time) {
        self.log(
            Level::Warning,
            &format!(
                "can't accept a client: {error}. Trying again in {} ms; see the limit of open files.",
                limits::ACCEPT_REST.as_millis()
            ),
        );
        // If this fails the listener is simply reported again.
        let _ = self.watch_listeners(Interest::NONE);
        self.alarms.set(now + limits::ACCEPT_REST, Alarm::AcceptAgain);
    }

    fn deal(&mut self, newcomer: Newcomer, now: Time) {
        let worker = WorkerId(self.next_host);
        self.next_host = (self.next_host + 1) % self.shared.workers();
        if worker == self.id {
            self.admit(newcomer, now);
        } else {
            self.post(worker, Letter::Newcomer(newcomer));
        }
    }

    fn admit(&mut self, newcomer: Newcomer, now: Time) {
        if newcomer.secure {
            return self.await_handshake(newcomer, now);
        }
        let Newcomer { stream, peer, ticket, .. } = newcomer;
        let connection = Connection::new(Wire::Plain(stream), Some(ticket));
        let session = self.connections.sessions.insert(connection);
        let who = Who::Session(session);
        if let Err(error) = self.watch(who) {
            self.log(Level::Warning, &format!("can't watch a client's connection: {error}"));
            self.connections.remove(who);
            return;
        }
        self.machine.handle(Event::Accepted { session, peer }, now);
    }

    // ---------------------------------------------------------------------------- reading

    fn connection_ready(&mut self, who: Who, ready: Readiness, now: Time) {
        if let Who::Link(link) = who
            && self.attempts.get(link).is_some()
        {
            return self.attempt_ready(link, now);
        }
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        if let (Who::Session(session), Some(_)) = (who, &connection.arriving) {
            return self.arrival_ready(session, now);
        }
        if connection.full && (ready.writable() || ready.dead()) {
            // Epoll is told after the write, which may well fill the socket again.
            connection.full = false;
            self.soil(who);
        }
        match self.connections.get(who).map(|connection| connection.reading) {
            Some(Reading::On) if ready.readable() => self.read(who, now),
            Some(Reading::Off | Reading::OffAtEnd) if ready.hung_up() => {
                self.peer_left_unread(who, ready, now);
            }
            Some(Reading::Ended) if ready.dead() => self.end(who, "it closed the connection", now),
            _ => {}
        }
    }

    pub(super) fn read(&mut self, who: Who, now: Time) {
        let mut share = match who {
            Who::Session(_) => limits::TURN_READ_BYTES,
            Who::Link(_) => limits::TURN_READ_LINK_BYTES,
        };
        while share > 0 {
            let Some(connection) = self.connections.get_mut(who) else {
                return;
            };
            let space = match who {
                Who::Session(id) => self.machine.session_space(id),
                Who::Link(id) => self.machine.link_space(id),
            };
            // None: the machine has let go of it, and has asked for it to be closed.
            let Some(space) = space else {
                return;
            };
            let room = space.len().min(share);
            match connection.wire.read(&mut space[..room]) {
                Ok(0) => return self.peer_ended(who, now),
                Ok(bytes) => {
                    let fresh = std::mem::replace(&mut connection.fresh, false);
                    if fresh && begins_with_tls(&space[..bytes]) {
                        return self.unexpected_tls(who, now);
                    }
                    self.machine.handle(read_event(who, bytes), now);
                    // A short read has emptied the socket: to ask again would be in vain.
                    if bytes < room {
                        break;
                    }
                    share -= bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return self.end(who, &error.to_string(), now),
            }
        }
        self.look_after(who);
    }

    /// What reading may leave behind, of which the kernel knows nothing: more to be read, and what
    /// TLS has to say for itself.
    pub(super) fn look_after(&mut self, who: Who) {
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        if connection.reading == Reading::On && connection.wire.has_more() && !connection.eager {
            connection.eager = true;
            self.eager.push(who);
        }
        if connection.wire.holds() && !connection.full {
            self.soil(who);
        }
    }

    fn read_eager(&mut self, who: Who, now: Time) {
        if let Some(connection) = self.connections.get_mut(who) {
            connection.eager = false;
            if connection.reading == Reading::On {
                self.read(who, now);
            }
        }
    }

    /// The peer of a connection that isn't being read has sent its last byte.
    fn peer_left_unread(&mut self, who: Who, ready: Readiness, now: Time) {
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        // A dead client's requests have nobody to be answered to; a dead link's replies have. Bytes
        // from a peer that has only sent its last one are worth reading in any case.
        let worth_reading = match who {
            Who::Session(_) => !ready.dead(),
            Who::Link(_) => true,
        };
        if !worth_reading {
            self.end(who, "it closed the connection", now);
        } else if connection.wire.unread() == 0 {
            self.peer_ended(who, now);
        } else if ready.dead() {
            connection.reading = Reading::OffUnwatched;
            self.unwatch(who);
        } else {
            connection.reading = Reading::OffAtEnd;
            self.tell_epoll(who);
        }
    }

    /// All that the peer has sent was read, and it sends no more. A client may still be there for
    /// its replies, as behind `printf ... | nc`; the machine closes when they have left. A shard
    /// isn't.
    fn peer_ended(&mut self, who: Who, now: Time) {
        let Who::Session(session) = who else {
            return self.end(who, "it closed the connection", now);
        };
        if let Some(connection) = self.connections.get_mut(who) {
            connection.reading = Reading::Ended;
            self.tell_epoll(who);
            self.machine.handle(Event::SessionEnded { session }, now);
        }
    }

    /// Closes a connection and tells the machine.
    pub(super) fn end(&mut self, who: Who, reason: &str, now: Time) {
        let Some(connection) = self.connections.remove(who) else {
            return;
        };
        self.leave(&connection);
        let event = match who {
            Who::Session(session) => Event::SessionClosed { session },
            Who::Link(link) => {
                let reason = connection.deaf.as_deref().unwrap_or(reason);
                // A stock server with TLS says nothing to who speaks none.
                let silent = connection.fresh && !connection.wire.is_secure();
                let hint = if silent { " before it said anything: does it want TLS?" } else { "" };
                Event::LinkFailed { link, reason: format!("{reason}{hint}") }
            }
        };
        drop(connection);
        self.machine.handle(event, now);
    }

    // ---------------------------------------------------------------------------- asked for

    /// Does all that the machine asks for, and writes once to each connection that has something to
    /// say. What a write makes possible is still done in this turn; a second write to the same
    /// connection is not.
    fn carry_out(&mut self, now: Time) {
        loop {
            while let Some(output) = self.machine.poll_output() {
                self.carry_out_one(output, now);
            }
            let Some(who) = self.dirty.pop() else {
                break;
            };
            match self.connections.get(who) {
                Some(connection) if connection.wrote_in == self.turn => self.later.push(who),
                Some(_) => self.flush(who, now),
                None => {}
            }
        }
        std::mem::swap(&mut self.dirty, &mut self.later);
    }

    fn carry_out_one(&mut self, output: Output, now: Time) {
        match output {
            Output::Connect { link, whom, address, timeout } => {
                self.connect(link, whom, &address, timeout, now);
            }
            Output::CloseLink { link } => {
                self.failures.retain(|(failed, _)| *failed != link);
                self.forget_attempt(link);
                if let Some(connection) = self.connections.remove(Who::Link(link)) {
                    self.leave(&connection);
                }
            }
            Output::FlushSession { session } => self.soil(Who::Session(session)),
            Output::FlushLink { link } => self.soil(Who::Link(link)),
            Output::CloseSession { session, after_flush } => {
                self.close_session(session, after_flush, now);
            }
            Output::ReadSession { session, on } => {
                self.set_reading(Who::Session(session), on);
                if !on {
                    self.let_go_if_unread(Who::Session(session), now);
                }
            }
            Output::ReadLink { link, on } => self.set_reading(Who::Link(link), on),
            Output::Mail { to: Destination::Worker(worker), mail } => {
                self.post(worker, Letter::Mail(mail));
            }
            Output::Mail { to: Destination::Host, mail } => (self.shared.to_host)(mail),
            Output::Log { level, text } => self.log(level, &text),
        }
    }

    fn close_session(&mut self, session: SessionId, after_flush: bool, now: Time) {
        let who = Who::Session(session);
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        if !after_flush {
            return self.end(who, "", now);
        }
        if !connection.closing {
            connection.closing = true;
            // A client that has sent its last byte is still owed its replies.
            connection.reading = Reading::OffAtEnd;
            self.alarms.set(now + limits::CLOSE_FLUSH_MAX, Alarm::CloseUnflushed(session));
            self.tell_epoll(who);
            self.soil(who);
        }
    }

    fn set_reading(&mut self, who: Who, on: bool) {
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        match (connection.reading, on && !connection.closing) {
            (Reading::On, false) => connection.reading = Reading::Off,
            (Reading::OffUnwatched, true) => {
                connection.reading = Reading::On;
                if let Err(error) = self.watch(who) {
                    self.log(Level::Warning, &format!("can't watch a connection: {error}"));
                }
                return self.look_after(who);
            }
            (Reading::Off | Reading::OffAtEnd, true) => connection.reading = Reading::On,
            _ => return,
        }
        self.tell_epoll(who);
        self.look_after(who);
    }

    /// Puts a connection on the list of those to be written to.
    fn soil(&mut self, who: Who) {
        if let Some(connection) = self.connections.get_mut(who)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(who);
        }
    }

    fn flush(&mut self, who: Who, now: Time) {
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        connection.dirty = false;
        if connection.full {
            return;
        }
        if connection.deaf.is_some() {
            return self.tell_epoll(who);
        }
        let pieces = output(&self.machine, who);
        if pieces.iter().any(|piece| !piece.is_empty()) || connection.wire.holds() {
            connection.wrote_in = self.turn;
            let written = connection.wire.write(pieces);
            self.stats().flushes.add(1);
            match written {
                Ok(written) => self.wrote(who, written, now),
                Err(error) => return self.write_failed(who, &error, now),
            }
        }
        let drained = output(&self.machine, who).iter().all(|piece| piece.is_empty());
        match self.connections.get(who) {
            Some(connection) if connection.closing && drained && !connection.full => {
                self.end(who, "", now);
            }
            Some(connection) if !connection.full && !drained => self.soil(who),
            _ => {}
        }
        self.tell_epoll(who);
    }

    fn wrote(&mut self, who: Who, written: Written, now: Time) {
        let mut is_guest = false;
        if let Some(connection) = self.connections.get_mut(who) {
            connection.full = written.full;
            is_guest = connection.guest.is_some();
        }
        if written.bytes > 0 {
            self.machine.handle(wrote_event(who, written.bytes), now);
        }
        if is_guest {
            self.pass_on(who, now);
        }
    }

    /// A client that can't be written to is gone. A link may still hold replies, among them perhaps
    /// the one that says why the shard has closed it: it is read to its end, which comes by itself.
    fn write_failed(&mut self, who: Who, error: &io::Error, now: Time) {
        match who {
            Who::Session(_) => self.end(who, "", now),
            Who::Link(_) => {
                if let Some(connection) = self.connections.get_mut(who) {
                    connection.deaf = Some(error.to_string());
                }
                self.tell_epoll(who);
            }
        }
    }

    // ---------------------------------------------------------------------------- small things

    /// Starts to watch a connection.
    pub(super) fn watch(&mut self, who: Who) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(who) else {
            return Ok(());
        };
        connection.told = connection.interest();
        let token = Watched::Connection(who).token();
        connection.wire.fd().map_or(Ok(()), |fd| self.epoll.add(fd, connection.told, token))
    }

    /// Watches a connection no more, though it is open.
    fn unwatch(&mut self, who: Who) {
        if let Some(fd) = self.connections.get(who).and_then(|connection| connection.wire.fd()) {
            self.epoll.remove(fd);
        }
    }

    /// What is left to be done for a connection that is none of ours any more.
    pub(super) fn leave(&mut self, connection: &Connection) {
        if let Some(fd) = connection.wire.fd() {
            self.epoll.remove(fd);
        }
        if let Some(guest) = &connection.guest {
            self.guests.remove(&guest.id);
        }
    }

    /// Tells epoll what is wanted of a connection, if it is something else than before.
    pub(super) fn tell_epoll(&mut self, who: Who) {
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        let wanted = connection.interest();
        if connection.told == wanted || connection.reading == Reading::OffUnwatched {
            return;
        }
        connection.told = wanted;
        let token = Watched::Connection(who).token();
        let Some(fd) = connection.wire.fd() else {
            return;
        };
        if let Err(error) = self.epoll.modify(fd, wanted, token) {
            panic!("the kernel refuses to watch an open connection: {error}");
        }
    }

    fn post(&mut self, worker: WorkerId, letter: Letter) {
        let Some(mailbox) = self.shared.mailboxes.get(usize::from(worker.0)) else {
            return;
        };
        mailbox.put(letter);
        if !self.bells.contains(&worker) {
            self.bells.push(worker);
        }
    }

    pub(super) fn log(&self, level: Level, text: &str) {
        (self.shared.log)(level, text);
    }

    fn mailbox(&self) -> &Mailbox {
        self.shared.mailbox(self.id)
    }

    pub(super) fn stats(&self) -> &WorkerStats {
        &self.shared.stats.workers[usize::from(self.id.0)]
    }
}

fn output<M: Machine>(machine: &M, who: Who) -> [&[u8]; 2] {
    match who {
        Who::Session(id) => [machine.session_output(id), &[]],
        Who::Link(id) => machine.link_output(id),
    }
}

fn read_event(who: Who, bytes: usize) -> Event {
    match who {
        Who::Session(session) => Event::SessionRead { session, bytes },
        Who::Link(link) => Event::LinkRead { link, bytes },
    }
}

fn wrote_event(who: Who, bytes: usize) -> Event {
    match who {
        Who::Session(session) => Event::SessionWrote { session, bytes },
        Who::Link(link) => Event::LinkWrote { link, bytes },
    }
}
