//! A worker thread without the thread: drives one engine as `module/worker/turn.rs` does, turn by
//! turn, with wires in place of sockets.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir::engine::{
    Answer, Asker, Destination, Engine, Event, Mail, Output, Peer, Question, Setup, ShardView,
};
use weir::ids::{LinkId, SessionId, Slab, Time, WorkerId};

use super::places::Place;
use super::wire::{Far, Way, Who, Wire, WireNo};
use super::world::{Happening, World};

/// Something that the next turn finds.
#[derive(Debug)]
pub enum Input {
    /// Bytes, an end or room may be there.
    Ready(Who),
    Opened(LinkId),
    Refused(LinkId, String),
    Mail(Mail),
}

/// A connection as the worker sees it.
#[derive(Debug)]
struct Near {
    wire: WireNo,
    reading: bool,
    ended: bool,
    /// Closes when all is written, or then.
    closing: Option<u64>,
    /// Bytes that the checker has seen, and that were written.
    tapped: u64,
    wrote: u64,
}

pub struct Worker {
    pub engine: Engine,
    sessions: Slab<SessionId, Near>,
    links: BTreeMap<LinkId, Near>,
    attempts: BTreeMap<LinkId, Place>,
    inbox: VecDeque<Input>,
    dirty: VecDeque<Who>,
    turn_at: Option<u64>,
    /// Turns in a row without time passing.
    spinning: u32,
    last_turn: u64,
    last_mail: u64,
    /// The last answer to the host's question.
    views: Option<Vec<ShardView>>,
}

impl Worker {
    pub fn new(setup: Setup) -> Self {
        Self {
            engine: Engine::new(setup, Time::ZERO),
            sessions: Slab::default(),
            links: BTreeMap::new(),
            attempts: BTreeMap::new(),
            inbox: VecDeque::new(),
            dirty: VecDeque::new(),
            turn_at: None,
            spinning: 0,
            last_turn: 0,
            last_mail: 0,
            views: None,
        }
    }
}

impl World {
    // ---------------------------------------------------------------- what comes

    pub fn wake_worker(&mut self, worker: usize, input: Input) {
        self.workers[worker].inbox.push_back(input);
        let delay = if self.rng.one_in(500) { 5_000 } else { 100 };
        let at = self.now + self.rng.below(delay);
        self.plan_turn(worker, at);
    }

    fn plan_turn(&mut self, worker: usize, at: u64) {
        let at = at.max(self.now);
        if self.workers[worker].turn_at.is_none_or(|planned| planned > at) {
            self.workers[worker].turn_at = Some(at);
            self.agenda.add(at, Happening::Turn { worker });
        }
    }

    /// A client connects.
    pub fn accept(&mut self, worker: usize, client: usize) -> WireNo {
        let wire = self.wires.len();
        let near = Near { wire, reading: true, ended: false, closing: None, tapped: 0, wrote: 0 };
        let session = self.workers[worker].sessions.insert(near);
        let room = self.plan.room;
        self.wires.push(Wire::new(worker, Who::Session(session), Far::Client(client), room));
        let peer = Peer { address: format!("client:{client}"), local: "weir".into(), fd: 0 };
        let now = Time(self.now);
        self.workers[worker].engine.handle(Event::Accepted { session, peer }, now);
        self.plan_turn(worker, self.now);
        wire
    }

    /// There is room again on a connection on which there may have been none.
    pub fn room_on(&mut self, wire: WireNo) {
        let Wire { worker, who, dead, .. } = self.wires[wire];
        if !dead {
            self.workers[worker].dirty.push_back(who);
            self.plan_turn(worker, self.now + 1);
        }
    }

    /// An attempt to connect has come to its end.
    pub fn connected(&mut self, worker: usize, link: LinkId, place: Place) {
        if self.workers[worker].attempts.remove(&link).is_none() {
            return;
        }
        let far = self.far_at(place);
        let accepts = match far {
            Far::Node(node) => self.nodes[node].up && !self.nodes[node].refusing,
            Far::Sentinel(sentinel) => self.sentinels[sentinel].up,
            Far::Client(_) => false,
        };
        if !accepts {
            let input = Input::Refused(link, "Connection refused".to_owned());
            return self.wake_worker(worker, input);
        }
        let wire = self.wires.len();
        let near = Near { wire, reading: true, ended: false, closing: None, tapped: 0, wrote: 0 };
        self.workers[worker].links.insert(link, near);
        let room = self.plan.room.max(400);
        self.wires.push(Wire::new(worker, Who::Link(link), far, room));
        match far {
            Far::Node(node) => self.node_accepts(node, wire),
            Far::Sentinel(sentinel) => self.sentinel_accepts(sentinel, wire),
            Far::Client(_) => {}
        }
        self.wake_worker(worker, Input::Opened(link));
    }

    /// Who is at an address now.
    fn far_at(&self, place: Place) -> Far {
        match place {
            Place::Shard(shard) => Far::Node(self.shards[shard].primary),
            Place::Node(node) => Far::Node(node),
            Place::Sentinel(sentinel) => Far::Sentinel(sentinel),
        }
    }

    /// An attempt to connect has taken too long.
    pub fn connect_timed_out(&mut self, worker: usize, link: LinkId) {
        if self.workers[worker].attempts.remove(&link).is_some() {
            self.wake_worker(worker, Input::Refused(link, "timed out".to_owned()));
        }
    }

    // ---------------------------------------------------------------- a turn

    pub fn turn(&mut self, worker: usize) {
        if self.workers[worker].turn_at != Some(self.now) {
            return;
        }
        let station = &mut self.workers[worker];
        station.turn_at = None;
        station.spinning = if station.last_turn == self.now { station.spinning + 1 } else { 0 };
        station.last_turn = self.now;
        if station.spinning > 1_000 {
            return self.violation(format!("worker {worker} turns on the spot"));
        }
        let now = Time(self.now);
        for input in std::mem::take(&mut self.workers[worker].inbox) {
            self.take_input(worker, input);
        }
        let engine = &mut self.workers[worker].engine;
        if engine.next_timeout().is_some_and(|due| due <= now) {
            engine.handle(Event::Timer, now);
        }
        engine.handle(Event::TurnEnd, now);
        self.carry_out(worker);
        self.note_generations(worker);
        if let Some(due) = self.workers[worker].engine.next_timeout() {
            self.plan_turn(worker, due.0);
        }
    }

    fn take_input(&mut self, worker: usize, input: Input) {
        let now = Time(self.now);
        let engine = &mut self.workers[worker].engine;
        match input {
            Input::Ready(who) => self.read(worker, who),
            Input::Opened(link) => engine.handle(Event::LinkOpened { link }, now),
            Input::Refused(link, reason) => engine.handle(Event::LinkFailed { link, reason }, now),
            Input::Mail(mail) => engine.handle(Event::Mail(mail), now),
        }
    }

    fn near(&mut self, worker: usize, who: Who) -> Option<&mut Near> {
        match who {
            Who::Session(id) => self.workers[worker].sessions.get_mut(id),
            Who::Link(id) => self.workers[worker].links.get_mut(&id),
        }
    }

    fn read(&mut self, worker: usize, who: Who) {
        let now = Time(self.now);
        loop {
            let Some(near) = self.near(worker, who) else {
                return;
            };
            let (wire, reading, ended) = (near.wire, near.reading, near.ended);
            if ended {
                if self.wires[wire].to_engine.reset {
                    self.end(worker, who, "it closed the connection");
                }
                return;
            }
            let lane = &mut self.wires[wire].to_engine;
            if lane.arrived.is_empty() {
                if lane.ended {
                    self.peer_ended(worker, who);
                }
                return;
            }
            if !reading {
                // A dead client's requests have nobody to be answered to.
                if lane.reset && matches!(who, Who::Session(_)) {
                    self.end(worker, who, "it closed the connection");
                }
                return;
            }
            let engine = &mut self.workers[worker].engine;
            let space = match who {
                Who::Session(id) => engine.session_space(id),
                Who::Link(id) => engine.link_space(id),
            };
            let Some(space) = space else {
                return;
            };
            let bytes = space.len().min(lane.arrived.len());
            space[..bytes].copy_from_slice(&lane.arrived[..bytes]);
            lane.arrived.drain(..bytes);
            let event = match who {
                Who::Session(session) => Event::SessionRead { session, bytes },
                Who::Link(link) => Event::LinkRead { link, bytes },
            };
            engine.handle(event, now);
        }
    }

    fn peer_ended(&mut self, worker: usize, who: Who) {
        let now = Time(self.now);
        let Some(near) = self.near(worker, who) else {
            return;
        };
        let wire = near.wire;
        near.ended = true;
        match who {
            Who::Session(session) if !self.wires[wire].to_engine.reset => {
                self.workers[worker].engine.handle(Event::SessionEnded { session }, now);
            }
            _ => self.end(worker, who, "it closed the connection"),
        }
    }

    /// Closes a connection and tells the engine.
    fn end(&mut self, worker: usize, who: Who, reason: &str) {
        let now = Time(self.now);
        if !self.forget(worker, who) {
            return;
        }
        let event = match who {
            Who::Session(session) => Event::SessionClosed { session },
            Who::Link(link) => Event::LinkFailed { link, reason: reason.to_owned() },
        };
        self.workers[worker].engine.handle(event, now);
    }

    fn forget(&mut self, worker: usize, who: Who) -> bool {
        let near = match who {
            Who::Session(id) => self.workers[worker].sessions.remove(id),
            Who::Link(id) => self.workers[worker].links.remove(&id),
        };
        let Some(near) = near else {
            return false;
        };
        self.engine_closes(near.wire);
        true
    }

    // ---------------------------------------------------------------- what the engine asks for

    fn carry_out(&mut self, worker: usize) {
        let mut later = VecDeque::new();
        let mut written = Vec::new();
        loop {
            while let Some(output) = self.workers[worker].engine.poll_output() {
                self.carry_out_one(worker, output);
            }
            let Some(who) = self.workers[worker].dirty.pop_front() else {
                break;
            };
            if written.contains(&who) {
                later.push_back(who);
            } else {
                written.push(who);
                self.flush(worker, who);
            }
        }
        if !later.is_empty() {
            self.workers[worker].dirty = later;
            self.plan_turn(worker, self.now + 1);
        }
    }

    fn carry_out_one(&mut self, worker: usize, output: Output) {
        match output {
            Output::Connect { link, whom: _, address, timeout } => {
                self.connect(worker, link, Place::of(&address), timeout);
            }
            Output::CloseLink { link } => {
                self.workers[worker].attempts.remove(&link);
                self.forget(worker, Who::Link(link));
            }
            Output::FlushSession { session } => {
                self.tap(worker, session);
                self.workers[worker].dirty.push_back(Who::Session(session));
            }
            Output::FlushLink { link } => {
                self.workers[worker].dirty.push_back(Who::Link(link));
            }
            Output::CloseSession { session, after_flush: false } => {
                self.end(worker, Who::Session(session), "");
            }
            Output::CloseSession { session, after_flush: true } => {
                let until = self.now + 5_000_000;
                if let Some(near) = self.near(worker, Who::Session(session)) {
                    near.closing.get_or_insert(until);
                    near.reading = false;
                }
                self.agenda.add(until, Happening::CloseUnflushed { worker, session });
                self.workers[worker].dirty.push_back(Who::Session(session));
            }
            Output::ReadSession { session, on } => {
                self.set_reading(worker, Who::Session(session), on);
            }
            Output::ReadLink { link, on } => self.set_reading(worker, Who::Link(link), on),
            Output::Mail { to: Destination::Worker(WorkerId(to)), mail } => {
                // A mailbox is read in the order in which it is filled.
                let at = self.now + self.rng.between(1, 200);
                let last = &mut self.workers[usize::from(to)].last_mail;
                *last = at.max(*last);
                let at = *last;
                self.agenda.add(at, Happening::Mail { worker: usize::from(to), mail });
            }
            Output::Mail { to: Destination::Host, mail } => {
                if let Mail::Answer { answer: Answer::Shards(views), .. } = mail {
                    self.workers[worker].views = Some(views);
                }
            }
            Output::Log { text, .. } => {
                self.line(|| format!("worker {worker} logs: {text}"));
            }
        }
    }

    pub fn close_unflushed(&mut self, worker: usize, session: SessionId) {
        self.end(worker, Who::Session(session), "");
        self.plan_turn(worker, self.now);
    }

    fn connect(&mut self, worker: usize, link: LinkId, place: Place, timeout: Duration) {
        self.workers[worker].attempts.insert(link, place);
        let patience = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        let far = self.far_at(place);
        let up = match far {
            Far::Node(node) => self.nodes[node].up,
            Far::Sentinel(sentinel) => self.sentinels[sentinel].up,
            Far::Client(_) => true,
        };
        // A machine that is gone says nothing; a process that is gone is refused by its machine.
        let silent = !up && self.rng.percent(10);
        let takes = self.latency();
        if silent || takes > patience {
            // Who needs a connection of its own is told so.
            for shard in 0..self.shards.len() {
                let concerned = match far {
                    Far::Node(node) => self.nodes[node].shard == shard,
                    _ => true,
                };
                if concerned {
                    self.shards[shard].trouble_at = Some(self.now);
                }
            }
            self.agenda.add(self.now + patience, Happening::ConnectTimedOut { worker, link });
        } else {
            self.agenda.add(self.now + takes, Happening::Connected { worker, link, place });
        }
    }

    fn set_reading(&mut self, worker: usize, who: Who, on: bool) {
        let Some(near) = self.near(worker, who) else {
            return;
        };
        near.reading = on && near.closing.is_none();
        // What has arrived meanwhile is reported again.
        self.workers[worker].inbox.push_back(Input::Ready(who));
        self.plan_turn(worker, self.now + 1);
    }

    /// Shows the checker what the engine has added to a session's output.
    fn tap(&mut self, worker: usize, session: SessionId) {
        let station = &mut self.workers[worker];
        let Some(near) = station.sessions.get_mut(session) else {
            return;
        };
        let pending = station.engine.session_output(session);
        let total = near.wrote + pending.len() as u64;
        // None: the engine has let go of the session since, with what it was to be told.
        let Some(fresh) = total.checked_sub(near.tapped) else {
            return;
        };
        let fresh = pending[pending.len() - fresh as usize..].to_vec();
        near.tapped = total;
        let wire = near.wire;
        if let (Far::Client(client), false) = (self.wires[wire].far, fresh.is_empty()) {
            self.client_is_told(client, &fresh);
        }
    }

    fn flush(&mut self, worker: usize, who: Who) {
        let now = Time(self.now);
        if let Who::Session(session) = who {
            self.tap(worker, session);
        }
        let station = &mut self.workers[worker];
        let bytes = match who {
            Who::Session(id) => station.engine.session_output(id).to_vec(),
            Who::Link(id) => station.engine.link_output(id).concat(),
        };
        let Some(near) = self.near(worker, who) else {
            return;
        };
        let wire = near.wire;
        let count = if self.wires[wire].dead {
            // What is written to a dead connection is lost, and nobody says so at once.
            bytes.len()
        } else {
            bytes.len().min(self.wires[wire].room_left())
        };
        if count > 0 {
            self.send(wire, Way::ToFar, &bytes[..count]);
            if let Some(near) = self.near(worker, who) {
                near.wrote += count as u64;
            }
            let event = match who {
                Who::Session(session) => Event::SessionWrote { session, bytes: count },
                Who::Link(link) => Event::LinkWrote { link, bytes: count },
            };
            self.workers[worker].engine.handle(event, now);
        }
        let drained = match who {
            Who::Session(id) => self.workers[worker].engine.session_output(id).is_empty(),
            Who::Link(_) => false,
        };
        if drained && self.near(worker, who).is_some_and(|near| near.closing.is_some()) {
            self.end(worker, who, "");
        }
    }

    // ---------------------------------------------------------------- looking in from outside

    /// How the engine sees its shards.
    pub fn views(&mut self, worker: usize) -> Vec<ShardView> {
        let mail = Mail::Ask { from: Asker::Host, ticket: 0, question: Question::Shards };
        self.workers[worker].engine.handle(Event::Mail(mail), Time(self.now));
        self.carry_out(worker);
        self.workers[worker].views.take().expect("an answer")
    }

    /// The sessions that a worker has, for people.
    pub fn sessions(&self, worker: usize) -> String {
        let sessions = self.workers[worker].sessions.iter();
        let all = sessions.map(|(_, near)| format!("{near:?} {:?}", self.wires[near.wire]));
        all.collect::<Vec<_>>().join("; ")
    }

    /// Bytes that wait to be written to shards.
    pub fn unsent(&self, worker: usize) -> usize {
        let station = &self.workers[worker];
        let links = station.links.keys();
        links.map(|&link| station.engine.link_output(link).concat().len()).sum()
    }

    /// Notes when an engine has seen that a shard's history is another one.
    fn note_generations(&mut self, worker: usize) {
        if self.is_cluster() {
            return self.note_beliefs(worker);
        }
        for shard in 0..self.plan.shards {
            let generation = self.stats.workers[worker].shards[shard].generation.get();
            if self.shards[shard].known[worker].0 != generation {
                // Of a former primary's history nobody learns what the present one has.
                let primary = Far::Node(self.shards[shard].primary);
                let there =
                    |wire: &Wire| wire.worker == worker && !wire.dead && wire.far == primary;
                let (since, seen) = (self.now, self.wires.iter().any(there));
                let known = &mut self.shards[shard].known[worker];
                *known = (generation, if seen { since } else { known.1 });
                self.line(|| format!("worker {worker}: shard {shard} generation {generation}"));
            }
        }
    }
}
